//! Ends inside a remote operation: its shell is killed, or its host loses power, at a chosen file system call or in the middle
//! of a package. The next `resume` repairs, and each effect comes once.

use crate::bed::{Bed, said};

/// How an operation ends.
#[derive(Debug, Clone, Copy)]
enum End {
    /// The shell and everything that it started is killed.
    Shell,
    /// The whole host is.
    Power,
}

/// `mv` as muster's scripts find it: it stops before a chosen rename, says which process it is, and waits for its end.
const MV: &str = r#"cat > /usr/local/sbin/mv <<'END'
#!/bin/sh
for last; do :; done
if read -r pattern nth 2>/dev/null </run/stop; then
    case $last in
    $pattern)
        [ "$nth" -gt 1 ] || { rm /run/stop; echo $$ >/run/stopped; while :; do sleep 1; done; }
        echo "$pattern $((nth - 1))" >/run/stop
        ;;
    esac
fi
exec /usr/bin/mv "$@"
END
chmod 755 /usr/local/sbin/mv"#;

/// Ends the operation that has stopped, and brings the host back.
fn end(bed: &Bed, way: End) {
    match way {
        // `sh -s` leads the group of its session.
        End::Shell => {
            drop(bed.sh("read -r _ _ _ _ group _ </proc/$(cat /run/stopped)/stat && kill -s KILL -- -$group"))
        }
        End::Power => {
            bed.fleet.act("kill", bed.host());
            bed.fleet.act("start", bed.host());
        }
    }
}

/// Goes on until the run is done, however far it came by itself.
fn go_on(bed: &Bed, ran: &crate::fleet::Ran) {
    if ran.code == 0 {
        bed.project.assert_settled();
    } else {
        assert!(said(ran).contains(bed.host()), "{}", said(ran));
        bed.resume();
    }
}

const LEFT_OVER: &str = "find / -xdev -name '.muster-*'; find /var/lib/muster -name '*.new' -o -name 'manifest.*' ! -name manifest.previous -o -name output -o -name apt; ! grep '\"state\":\"intent\"' /var/lib/muster/manifest";

fn module(generation: &str) -> String {
    let command = |name: &str, after: &str| {
        format!(
            "[[command]]\nname = \"{name}\"\nrun = \"echo GEN >> /srv/{name}\"\nprobe = \"test -e /srv/{name} && grep -qx GEN /srv/{name}\"\n{after}"
        )
    };
    let file = "[[file]]\npath = \"/srv/app.conf\"\ncontent = \"GEN\\n\"\nafter = [\"command:first\"]\n";
    let text = command("first", "") + file + &command("second", "after = [\"file:/srv/app.conf\"]\n");
    text.replace("GEN", generation)
}

/// Stops at each of these renames in turn, ends there, and goes on.
fn ends_at(way: End, renames: &[(&str, usize)]) {
    let bed = Bed::new(1);
    bed.sh(MV);
    bed.project.module(&module("gen00"));
    bed.project.apply();
    for (n, (path, nth)) in renames.iter().enumerate() {
        let generation = format!("gen{:02}", n + 1);
        bed.project.module(&module(&generation));
        bed.sh(&format!("echo '{path} {nth}' >/run/stop; rm -f /run/stopped"));
        let running = bed.start(&["apply", "-y", "--no-input"]);
        bed.until(bed.host(), "test -s /run/stopped");
        end(&bed, way);
        let ran = running.end();
        go_on(&bed, &ran);
        let what = format!("{way:?} at {path} {nth}");
        let counts = bed.sh(&format!(
            "cat /srv/app.conf; grep -cx {generation} /srv/first /srv/second"
        ));
        assert_eq!(
            counts,
            format!("{generation}\n/srv/first:1\n/srv/second:1\n"),
            "{what}"
        );
        assert_eq!(bed.sh(LEFT_OVER), "", "{what} leaves something over");
    }
}

/// A file between its temporary name and its own, what undo keeps of it, the manifest with the intent and with the result (the
/// first two belong to the first command), the one before it, and the lease.
const RENAMES: [(&str, usize); 6] = [
    ("/srv/app.conf", 1),
    ("*.meta", 1),
    ("/var/lib/muster/manifest", 1),
    ("/var/lib/muster/manifest", 2),
    ("*/manifest.previous", 3),
    ("/var/lib/muster/fence", 2),
];

#[test]
fn shell_that_is_killed_between_two_system_calls_leaves_what_resume_repairs() {
    ends_at(End::Shell, &RENAMES);
}

#[test]
fn host_that_loses_power_between_two_system_calls_leaves_what_resume_repairs() {
    ends_at(End::Power, &RENAMES);
}

#[test]
fn temporary_file_of_a_write_that_nobody_wants_any_more_does_not_stay() {
    let bed = Bed::new(1);
    bed.sh(MV);
    let other = "[[file]]\npath = \"/srv/other.conf\"\ncontent = \"1\\n\"\n";
    bed.project.module(&format!(
        "{other}[[file]]\npath = \"/srv/app.conf\"\ncontent = \"1\\n\"\nafter = [\"file:/srv/other.conf\"]\n"
    ));
    bed.sh("echo '/srv/app.conf 1' >/run/stop");
    let running = bed.start(&["apply", "-y", "--no-input"]);
    bed.until(bed.host(), "test -s /run/stopped");
    assert_ne!(bed.sh("find /srv -name '.muster-*'"), "", "there is one");
    end(&bed, End::Power);
    assert_eq!(running.end().code, 3);
    bed.project.module(&other.replace("1\\n", "2\\n"));
    bed.project.apply();
    assert_eq!(bed.sh(LEFT_OVER), "");
}

/// A package whose configuration waits, in the fleet's own repository.
const SLOW_TO_CONFIGURE: &str = r#"
tree=$(mktemp -d) && mkdir "$tree/DEBIAN"
printf 'Package: fire-slow\nVersion: 1.0\nArchitecture: all\nMaintainer: tests <nobody@example.test>\nDescription: configures when told to\n' >"$tree/DEBIAN/control"
printf '#!/bin/sh\n: >/run/configuring\nwhile [ ! -e /run/configure.go ]; do sleep 0.1; done\necho configured >>/srv/configured\n' >"$tree/DEBIAN/postinst"
chmod 755 "$tree/DEBIAN/postinst"
cd /var/lib/fleet-apt && dpkg-deb --root-owner-group -b "$tree" fire-slow_1.0_all.deb >/dev/null
{ dpkg-deb -f fire-slow_1.0_all.deb
  printf 'Filename: ./fire-slow_1.0_all.deb\nSize: %s\nSHA256: %s\n\n' "$(stat -c %s fire-slow_1.0_all.deb)" "$(sha256sum fire-slow_1.0_all.deb | cut -d' ' -f1)"
} >>Packages
"#;

/// The processes of a package that is being installed, down to its script.
const KILL_DPKG: &str = "pkill -KILL -x apt-get; pkill -KILL -x dpkg; pkill -KILL -f '/var/lib/[d]pkg/(info|tmp.ci)/'; pkill -KILL -f 'sh -[s]' || true";

fn package_that_is_cut_off_is_mended(way: End) {
    let bed = Bed::new(1);
    bed.sh(SLOW_TO_CONFIGURE);
    for (package, begun, go) in [
        (
            "muster-slow",
            "pgrep -f 'preinst [i]nstall' >/dev/null",
            "/run/muster-slow.go",
        ),
        ("fire-slow", "test -e /run/configuring", "/run/configure.go"),
    ] {
        bed.project.module(&format!("[[package]]\nname = \"{package}\"\n[[file]]\npath = \"/srv/{package}\"\ncontent = \"1\\n\"\nafter = [\"package:{package}\"]\n"));
        let running = bed.start(&["apply", "-y", "--no-input"]);
        bed.until(bed.host(), begun);
        match way {
            End::Shell => drop(bed.sh(KILL_DPKG)),
            End::Power => end(&bed, way),
        }
        let ran = running.end();
        assert!(
            matches!(ran.code, 3 | 4),
            "{package}: code {}: {}",
            ran.code,
            said(&ran)
        );
        bed.sh(&format!("test ! -e /srv/{package}; touch {go}"));
        bed.resume();
        let states = bed.sh(&format!(
            "dpkg-query -W -f '${{db:Status-Status}}\\n' {package}; dpkg --audit; cat /srv/{package}"
        ));
        assert_eq!(states, "installed\n1\n", "{package}");
        assert_eq!(bed.sh(LEFT_OVER), "");
    }
    assert_eq!(
        bed.sh("cat /srv/configured"),
        "configured\n",
        "it was configured once"
    );
}

#[test]
fn package_whose_installation_is_killed_is_mended() {
    package_that_is_cut_off_is_mended(End::Shell);
}

#[test]
fn package_whose_host_loses_power_is_mended() {
    package_that_is_cut_off_is_mended(End::Power);
}
