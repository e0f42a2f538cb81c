//! Looking: one login a host, one call of the package manager, gates that are asked from where the host stands.

use crate::fleet::{Fleet, Project};

/// Counts the logins that a host's sshd has seen.
fn logins(fleet: &Fleet, host: &str) -> usize {
    let log = fleet.sh(host, "journalctl -q -u ssh --no-pager -o cat");
    log.lines()
        .filter(|line| line.starts_with("Accepted publickey"))
        .count()
}

#[test]
fn plan_logs_in_once_a_host_however_much_it_asks() {
    let fleet = Fleet::up(2);
    let project = Project::new(&fleet, &["h1", "h2"]);
    // Facts, many resources and, after the first apply, leftovers: three looks on one login.
    let files: String = (0..50)
        .map(|number| {
            format!("[[file]]\npath = \"/etc/app.{number}\"\ncontent = \"{{{{ facts.hostname }}}}\\n\"\n")
        })
        .collect();
    project.module(&files);
    project.apply();
    project.module("[[file]]\npath = \"/etc/app.0\"\ncontent = \"{{ facts.hostname }}\\n\"\n");
    for host in ["h1", "h2"] {
        let before = logins(&fleet, host);
        let ran = project.muster(&["plan", "--no-input"]);
        assert!(
            ran.stdout.contains("98 to delete"),
            "{}{}",
            ran.stdout,
            ran.stderr
        );
        assert_eq!(logins(&fleet, host), before + 1);
    }
}

#[test]
fn packages_of_a_host_go_to_apt_in_one_call() {
    let fleet = Fleet::up(1);
    let project = Project::new(&fleet, &["h1"]);
    project.module(
        "[[package]]\nname = \"muster-probe\"\nversion = \"1.0\"\n[[package]]\nname = \"muster-daemon\"\n",
    );
    project.apply();
    let installs = fleet.sh("h1", "grep -c '^Install:' /var/log/apt/history.log");
    assert_eq!(
        installs.trim(),
        "1",
        "{}",
        fleet.sh("h1", "cat /var/log/apt/history.log")
    );
}

#[test]
fn gate_is_asked_from_the_host_and_shuts_when_its_time_is_up() {
    let fleet = Fleet::up(2);
    let project = Project::new(&fleet, &["h1", "h2"]);
    project.module("[[file]]\npath = \"/etc/app.conf\"\ncontent = \"v1\\n\"\n");
    let policy = |gate: &str| {
        format!(
            "\n[policy]\nbatch = 1\n\n[[policy.gate]]\nname = \"open\"\n{gate}\nwithin = \"3s\"\nevery = \"1s\"\n"
        )
    };
    let declared = project.read("inventories/fleet.toml");
    project.extend_inventory(&policy("command = \"test -e /run/open\""));
    let ran = project.muster(&["apply", "-y", "--no-input"]);
    assert_eq!(ran.code, 8, "{}{}", ran.stdout, ran.stderr);
    fleet.sh("h2", "test ! -e /etc/app.conf");
    for host in ["h1", "h2"] {
        fleet.sh(host, "touch /run/open");
    }
    let ran = project.muster(&["resume", "-y", "--no-input"]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert_eq!(fleet.sh("h2", "cat /etc/app.conf"), "v1\n");

    project.module("[[file]]\npath = \"/etc/app.conf\"\ncontent = \"v2\\n\"\n");
    project.write(
        "inventories/fleet.toml",
        &(declared + &policy("tcp = \"127.0.0.1:22\"")),
    );
    project.apply();
}

#[test]
fn hold_of_what_must_go_goes_with_it_and_stays_where_the_call_fails() {
    let fleet = Fleet::up(1);
    let project = Project::new(&fleet, &["h1"]);
    let held =
        |name: &str| format!("apt-get install -y -q {name} >/dev/null && apt-mark hold {name} >/dev/null");
    fleet.sh("h1", &held("muster-probe"));
    let absent = "[[package]]\nname = \"muster-probe\"\nstate = \"absent\"\n";
    project.module(&format!("{absent}[[package]]\nname = \"muster-no-such\"\n"));
    let failed = project.muster(&["apply", "-y", "--no-input"]);
    assert_eq!(failed.code, 3, "{}{}", failed.stdout, failed.stderr);
    assert_eq!(
        fleet.sh("h1", "apt-mark showhold"),
        "muster-probe\n",
        "the hold is put back"
    );
    // Both changes are of one call, whose last lines are told once.
    let told = format!("{}{}", failed.stdout, failed.stderr);
    assert_eq!(told.matches("Unable to locate package").count(), 1, "{told}");
    assert!(told.contains("failed in the same call"), "{told}");

    project.module(absent);
    let planned = project.muster(&["plan", "--no-input"]);
    assert!(
        planned.stdout.contains("hold: held → not held"),
        "{}",
        planned.stdout
    );
    project.apply();
    assert_eq!(fleet.sh("h1", "apt-mark showhold"), "");
}
