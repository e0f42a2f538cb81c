//! Taking back what a run did, and taking a fleet down, on real hosts.

use std::time::{Duration, Instant};

use crate::fleet::{Fleet, Project, Ran};

/// One resource of almost every kind. `V` stands for what changes between the runs.
const MODULE: &str = r#"
[[group]]
name = "rolled"

[[account]]
name  = "rolled"
group = "rolled"
shell = "/usr/sbin/nologin"
home  = "/srv/rolled"

[[directory]]
path  = "/srv/rolled"
owner = "rolled"
group = "rolled"
mode  = "0750"

[[authorized_keys]]
user = "rolled"
home = "/srv/rolled"
keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ rolled@test"]

[[package]]
name = "muster-probe"

[[file]]
path    = "/etc/rolled.conf"
content = "value = V\n"
mode    = "0640"

[[file]]
path    = "/etc/made.conf"
content = "made = V\n"

[[symlink]]
path = "/etc/rolled.link"
to   = "rolled.conf"

[[settings]]
path = "/etc/rolled.json"
keys = { level = "V" }

[[sysctl]]
key   = "net.ipv4.ip_local_port_range"
value = "20000 60000"

[[unit]]
name       = "rolled.service"
content    = "[Service]\nExecStart=/bin/sh -c 'cp /etc/rolled.conf /run/rolled.seen; exec sleep infinity'\n[Install]\nWantedBy=multi-user.target\n"
enabled    = true
running    = true
restart_on = ["file:/etc/rolled.conf"]
"#;

/// Everything on a host that the module is about, byte for byte.
const STATE: &str = r#"
for path in /etc/rolled.conf /etc/made.conf /etc/rolled.link /etc/rolled.json /srv/rolled /srv/rolled/.ssh/authorized_keys \
    /etc/systemd/system/rolled.service /etc/sysctl.d/60-muster-net.ipv4.ip_local_port_range.conf; do
    stat -c '%n %F %U:%G %a' "$path" 2>/dev/null || echo "$path absent"
    if [ -L "$path" ]; then readlink "$path"; elif [ -f "$path" ]; then sha256sum <"$path"; fi
done
grep -s '^rolled:' /etc/passwd /etc/group
cat /proc/sys/net/ipv4/ip_local_port_range
systemctl is-enabled rolled.service; systemctl is-active rolled.service
dpkg-query -W -f '${db:Status-Status} ${Version}\n' muster-probe 2>/dev/null | grep '^installed'
true
"#;

/// What a host's manifest owns, without its head.
const OWNED: &str = "grep -v -e '^generation ' -e '^last_run ' -e '^sha256 ' /var/lib/muster/manifest";

/// Waits until the service has read a value.
fn wait_for_seen(fleet: &Fleet, value: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !fleet
        .try_sh("h1", &format!("grep -q {value} /run/rolled.seen"))
        .status
        .success()
    {
        assert!(Instant::now() < deadline, "the service never read {value}");
        std::thread::yield_now();
    }
}

fn said(ran: &Ran) -> String {
    format!("{}{}", ran.stdout, ran.stderr)
}

fn project(fleet: &Fleet) -> Project<'_> {
    let project = Project::new(fleet, &["h1"]);
    fleet.sh(
        "h1",
        "printf 'value = hand\\n' >/etc/rolled.conf; chmod 0600 /etc/rolled.conf; chown daemon:adm /etc/rolled.conf
         printf '{\\n  \"theirs\": 1,\\n  \"level\": \"old\"\\n}\\n' >/etc/rolled.json",
    );
    project
}

#[test]
fn a_run_of_every_kind_is_taken_back_byte_for_byte_and_forth_again() {
    let fleet = Fleet::up(1);
    let project = project(&fleet);
    let before = fleet.sh("h1", STATE);
    project.module(&MODULE.replace('V', "v1"));
    project.apply();
    let applied = fleet.sh("h1", STATE);
    assert_ne!(before, applied);
    let owned = fleet.sh("h1", OWNED);

    let ran = project.muster(&["rollback", "-y", "--no-input"]);
    assert_eq!(ran.code, 0, "{}", said(&ran));
    assert_eq!(fleet.sh("h1", STATE), before, "{}", said(&ran));
    fleet.sh("h1", &format!("! {OWNED} | grep -F '['"));
    let plan = project.muster(&["plan", "--no-input", "--detailed-exitcode"]);
    assert_eq!(plan.code, 2, "a plain plan shows it all again: {}", said(&plan));

    // The rollback is a run like any other. An account that went does not come back as it was.
    let again = project.muster(&["rollback", "-y", "--no-input"]);
    assert_eq!(again.code, 0, "{}", said(&again));
    assert!(
        again.stdout.contains("account[rolled] on h1: cannot be undone"),
        "{}",
        said(&again)
    );
    let now = fleet.sh(
        "h1",
        "cat /etc/rolled.conf /etc/made.conf; systemctl is-active rolled.service",
    );
    assert_eq!(now, "value = v1\nmade = v1\nactive\n");
    project.apply();
    assert_eq!(fleet.sh("h1", STATE), applied);
    assert_eq!(owned.lines().count(), fleet.sh("h1", OWNED).lines().count());

    let history = project.muster(&["history"]);
    assert_eq!(history.code, 0, "{}", said(&history));
    assert!(
        history.stdout.contains("rollback of") && history.stdout.trim_end().ends_with("4 runs."),
        "{}",
        history.stdout
    );
}

#[test]
fn a_change_is_taken_back_and_its_service_reads_what_came_back() {
    let fleet = Fleet::up(1);
    let project = project(&fleet);
    project.module(&MODULE.replace('V', "v1"));
    project.apply();
    wait_for_seen(&fleet, "v1");
    let (before, owned) = (
        fleet.sh("h1", STATE),
        fleet.sh("h1", "grep -F '[' /var/lib/muster/manifest"),
    );
    project.module(&MODULE.replace('V', "v2"));
    project.apply();
    wait_for_seen(&fleet, "v2");
    let saved = project.muster(&["rollback", "--no-input", "-o", "back.plan.json"]);
    assert_eq!(saved.code, 0, "{}", said(&saved));
    assert!(
        fleet.sh("h1", "cat /etc/rolled.conf").contains("v2"),
        "a plan that is saved changes nothing"
    );
    let ran = project.muster(&["apply", "back.plan.json", "--no-input"]);
    assert_eq!(ran.code, 0, "{}", said(&ran));
    assert_eq!(fleet.sh("h1", STATE), before, "{}", said(&ran));
    assert_eq!(fleet.sh("h1", "grep -F '[' /var/lib/muster/manifest"), owned);
    wait_for_seen(&fleet, "v1");
}

#[test]
fn what_was_changed_by_hand_since_is_held_also_another_key_of_the_same_file() {
    let fleet = Fleet::up(1);
    let project = project(&fleet);
    project.module(&MODULE.replace('V', "v1"));
    project.apply();
    fleet.sh(
        "h1",
        "echo by-hand >/etc/made.conf; sed -i 's/\"theirs\": 1/\"theirs\": 2/' /etc/rolled.json",
    );
    let theirs = fleet.sh("h1", "cat /etc/rolled.json");
    let ran = project.muster(&["rollback", "-y", "--no-input"]);
    assert_eq!(ran.code, 0, "{}", said(&ran));
    for held in ["file[/etc/made.conf] on h1", "settings[/etc/rolled.json] on h1"] {
        assert!(ran.stdout.contains(held), "{}", said(&ran));
    }
    assert_eq!(
        fleet.sh("h1", "cat /etc/made.conf /etc/rolled.json"),
        format!("by-hand\n{theirs}")
    );
    assert_eq!(
        fleet.sh("h1", "cat /etc/rolled.conf"),
        "value = hand\n",
        "the rest is taken back"
    );
    let unknown = project.muster(&["rollback", "0123456789ab-7", "--no-input"]);
    assert_eq!(unknown.code, 1);
    assert!(
        unknown.stderr.contains("M0606") && unknown.stderr.contains("the latest runs are"),
        "{}",
        said(&unknown)
    );
}

#[test]
fn a_fleet_is_taken_down_but_for_what_is_not_its_own() {
    let fleet = Fleet::up(1);
    let project = project(&fleet);
    project.module(&format!(
        "{}{}",
        MODULE.replace('V', "v1"),
        "[[directory]]\npath = \"/srv/shared\"\n[[directory]]\npath = \"/srv/deep\"\n[[directory]]\npath = \"/srv/deep/er\"\n\
         [[file]]\npath = \"/srv/deep/er/a\"\ncontent = \"a\\n\"\n[[file]]\npath = \"/etc/kept.conf\"\ncontent = \"x\\n\"\nprotect = true\n"
    ));
    project.apply();
    fleet.sh("h1", "touch /srv/shared/theirs; echo by-hand >/etc/made.conf");

    for args in [
        &["destroy", "-y", "--no-input"][..],
        &["destroy", "-y", "--no-input", "--confirm", "other"],
    ] {
        let ran = project.muster(args);
        assert!([64, 1].contains(&ran.code), "{}", said(&ran));
        fleet.sh("h1", "test -e /srv/deep/er/a");
    }
    let ran = project.muster(&["destroy", "--no-input", "--confirm", "live"]);
    assert_eq!(ran.code, 0, "{}", said(&ran));
    fleet.sh(
        "h1",
        "test ! -e /srv/deep && test ! -e /etc/rolled.link && test ! -e /etc/systemd/system/rolled.service",
    );
    fleet.sh("h1", "test -e /srv/shared/theirs && test -e /etc/rolled.conf && test -e /etc/kept.conf && test -e /etc/made.conf");
    assert!(
        ran.stdout.contains("holds what muster did not make"),
        "{}",
        said(&ran)
    );
    let left = fleet.sh("h1", "grep -F '[' /var/lib/muster/manifest | cut -f1");
    assert_eq!(
        left, "file[/etc/kept.conf]\nfile[/etc/made.conf]\n",
        "only what is held is still owned"
    );

    fleet.sh("h1", "printf 'made = v1\\n' >/etc/made.conf");
    let ran = project.muster(&["destroy", "--no-input", "--confirm", "live"]);
    assert_eq!(ran.code, 0, "{}", said(&ran));
    let ran = project.muster(&["destroy", "--no-input", "--confirm", "live"]);
    assert!(
        ran.stdout
            .contains("No changes, but the plan is incomplete: 1 held."),
        "{}",
        said(&ran)
    );
}
