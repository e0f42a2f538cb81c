//! Disks that are full: under `/etc`, under the guard's own folder, and on the controller. Nothing is half-written.

use crate::bed::{Bed, assert_said, said};

/// Gives a host an `/etc` of its own file system, without a free byte.
const FILL_ETC: &str = r#"
mount -t tmpfs -o size=24m tmpfs /mnt
cp -a /etc/. /mnt
mount --bind /mnt /etc
echo '{ "a": 1 }' > /etc/app.json
printf 'old\n' > /etc/app.conf
dd if=/dev/zero of=/etc/filler bs=4096 2>/dev/null || true
"#;

/// What lies under `/etc`, byte by byte.
const SUMS: &str = "cd /etc && find . -xdev -type f ! -name '*.lock' ! -name '.pwd.lock' -print0 | sort -z | xargs -0 sha256sum; find . -xdev | sort";

#[test]
fn full_disk_under_etc_leaves_the_old_content_and_nothing_beside_it() {
    let bed = Bed::new(1);
    bed.sh(FILL_ETC);
    let before = bed.sh(SUMS);
    let long = "x".repeat(20_000);
    let cases = [
        (
            "write /etc/new.conf",
            format!("[[file]]\npath = \"/etc/new.conf\"\ncontent = \"{long}\"\n"),
        ),
        (
            "write /etc/app.conf",
            format!("[[file]]\npath = \"/etc/app.conf\"\ncontent = \"{long}\"\n"),
        ),
        (
            "change keys of /etc/app.json",
            format!("[[settings]]\npath = \"/etc/app.json\"\nkeys = {{ b = \"{long}\" }}\n"),
        ),
        (
            "write /etc/systemd/system/app.service",
            format!(
                "[[unit]]\nname = \"app.service\"\ncontent = \"[Service]\\nExecStart=/bin/true\\n# {long}\\n\"\n"
            ),
        ),
        (
            "set net.ipv4.ip_forward",
            "[[sysctl]]\nkey = \"net.ipv4.ip_forward\"\nvalue = \"1\"\n".to_owned(),
        ),
        (
            "make or change account app",
            "[[account]]\nname = \"app\"\nuid = 4242\n".to_owned(),
        ),
    ];
    for (operation, module) in &cases {
        bed.project.module(module);
        let ran = bed.project.muster(&["apply", "-y", "--no-input"]);
        assert_eq!(ran.code, 3, "{operation}: {}", said(&ran));
        assert_said(&ran, &[bed.host(), operation, "status "]);
        let reason = said(&ran).to_lowercase();
        assert!(
            reason.contains("no space left on device"),
            "{operation}: {reason}"
        );
        let after = bed.sh(SUMS);
        assert!(
            after == before,
            "{operation}: /etc is another\n{}",
            differing(&before, &after)
        );
    }

    // With room the same plan goes through.
    bed.sh("rm /etc/filler");
    let all: String = cases.iter().map(|(_, module)| module.as_str()).collect();
    bed.project.module(&all);
    bed.project.apply();
    assert_eq!(
        bed.sh("find / -xdev -name '.muster-*'; find /etc -name '.muster-*'"),
        ""
    );
}

fn differing(before: &str, after: &str) -> String {
    let lines = after
        .lines()
        .filter(|line| !before.lines().any(|there| there == *line));
    lines.collect::<Vec<_>>().join("\n")
}

/// Gives the guard's folder a small file system of its own, with what is in it.
const SMALL_STATE: &str = r#"
mkdir -p /var/lib/muster
mount -t tmpfs -o size=3m,mode=0700 tmpfs /mnt
cp -a /var/lib/muster/. /mnt
mount --bind /mnt /var/lib/muster
"#;
const FILL_STATE: &str = "dd if=/dev/zero of=/var/lib/muster/filler bs=4096 2>/dev/null || true";

#[test]
fn full_disk_under_the_guard_stops_before_anything_is_changed() {
    let bed = Bed::new(1);
    bed.project
        .module("[[file]]\npath = \"/srv/a\"\ncontent = \"1\\n\"\n");
    bed.sh(SMALL_STATE);
    // A host that muster never saw, and one that it knows.
    for content in ["1", "2"] {
        bed.project.module(&format!(
            "[[file]]\npath = \"/srv/a\"\ncontent = \"{content}\\n\"\n"
        ));
        let before = bed.sh("cat /srv/a 2>/dev/null || true");
        let kept = bed.sh("cat /var/lib/muster/manifest 2>/dev/null || true");
        bed.sh(FILL_STATE);
        let ran = bed.project.muster(&["apply", "-y", "--no-input"]);
        assert!(matches!(ran.code, 3 | 4), "code {}: {}", ran.code, said(&ran));
        assert_said(&ran, &[bed.host(), "no space left on device"]);
        assert_eq!(bed.sh("cat /srv/a 2>/dev/null || true"), before);
        assert_eq!(bed.sh("cat /var/lib/muster/manifest 2>/dev/null || true"), kept);
        bed.sh("rm /var/lib/muster/filler");
        bed.project.apply();
        assert_eq!(bed.sh("cat /srv/a"), format!("{content}\n"));
    }
}

#[test]
fn guard_that_fills_up_in_the_middle_is_told_and_resumed() {
    let bed = Bed::new(1);
    bed.project
        .module("[[file]]\npath = \"/srv/a\"\ncontent = \"1\\n\"\n");
    bed.project.apply();
    bed.sh(SMALL_STATE);
    bed.project.module(&format!(
        "[[command]]\nname = \"fill\"\nrun = \"echo once >> /srv/fill; {FILL_STATE}\"\nprobe = \"test -s /srv/fill\"\n[[file]]\npath = \"/srv/b\"\ncontent = \"1\\n\"\nafter = [\"command:fill\"]\n"
    ));
    let ran = bed.project.muster(&["apply", "-y", "--no-input"]);
    assert_eq!(ran.code, 3, "{}", said(&ran));
    assert_said(&ran, &[bed.host(), "command[fill]", "no space left on device"]);
    let unknown: Vec<_> = bed
        .events()
        .into_iter()
        .map(|event| event["event"]["failed"]["unknown"].clone())
        .filter(|unknown| !unknown.is_null())
        .collect();
    assert_eq!(
        unknown,
        [true],
        "the command was run, and nobody could write that down"
    );
    bed.sh("test ! -e /srv/b");
    bed.sh("rm /var/lib/muster/filler");
    bed.resume();
    assert_eq!(bed.sh("cat /srv/fill /srv/b"), "once\n1\n");
    assert_eq!(
        bed.sh("find /var/lib/muster -name '*.new' -o -name 'manifest.*' ! -name manifest.previous -o -name output"),
        ""
    );
}

#[test]
fn controller_whose_journal_cannot_be_written_does_nothing_more() {
    let bed = Bed::new(1);
    let module = |content: &str| -> String {
        let commands = (1..=30).map(|n| {
            format!("[[command]]\nname = \"c{n:02}\"\nrun = \"echo {content} >> /srv/c{n:02}\"\nprobe = \"test -e /srv/c{n:02} && grep -qx {content} /srv/c{n:02}\"\n")
        });
        commands.collect()
    };
    bed.project.module(&module("one"));
    bed.project.apply();
    bed.project.module(&module("two"));
    // A small file system for the plans, of which the journal gets one page. It is seen by this shell only.
    let script = r#"
set -e
mkdir kept && cp -a plans/. kept
mount -t tmpfs -o size=2m tmpfs plans && cp -a kept/. plans
"$0" plan --no-input -o saved.plan.json >/dev/null
cp saved.plan.json plans/fleet/"$(grep -o '"id": *"[0-9a-f]*"' saved.plan.json | head -n 1 | grep -o '[0-9a-f]\{12\}')".plan.json
dd if=/dev/zero of=plans/filler bs=4096 2>/dev/null || true
truncate -s -4096 plans/filler
set +e
"$0" apply saved.plan.json -y --no-input >first.out 2>&1
echo $? >first.code
tail -c 200 plans/fleet/*.journal.jsonl >torn
rm plans/filler
"$0" resume -y --no-input >second.out 2>&1
echo $? >second.code
"#;
    let mut command = bed.project.command(&[]);
    let muster = command.get_program().to_owned();
    command = {
        let mut shell = std::process::Command::new("unshare");
        shell.args(["--mount", "--map-root-user", "sh", "-c", script]);
        shell.arg(&muster).current_dir(bed.project.folder());
        shell.env("HOME", bed.project.folder()).env("NO_COLOR", "1");
        shell
    };
    let output = command.output().expect("unshare runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let first = bed.project.read("first.out");
    assert_eq!(bed.project.read("first.code"), "1\n", "{first}");
    assert!(
        first.contains("the journal cannot be kept") && first.contains("No space left on device"),
        "{first}"
    );
    let second = bed.project.read("second.out");
    assert_eq!(bed.project.read("second.code"), "0\n", "{first}\n{second}");
    let counts = bed.sh("cat /srv/c* | sort | uniq -c | tr -s ' '");
    assert_eq!(counts, " 30 one\n 30 two\n", "each effect came once");
}
