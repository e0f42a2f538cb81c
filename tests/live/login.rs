//! Logging in: host keys, jump hosts, sudo with and without a password, hosts that hang.

use crate::fleet::{Fleet, Project};

const FILE: &str = "[[file]]\npath = \"/etc/app.conf\"\ncontent = \"v1\\n\"\n";

/// Writes an inventory of one host with these keys.
fn inventory(project: &Project<'_>, hosts: &str) {
    project.write(
        "inventories/fleet.toml",
        &format!("[fleet]\nname = \"live\"\n\n{hosts}\n[[use]]\nmodule = \"app\"\non = \"all\"\n"),
    );
    project.module(FILE);
}

#[test]
fn wrong_host_key_is_refused_with_what_to_do() {
    let fleet = Fleet::up(2);
    let project = Project::new(&fleet, &["h1"]);
    let wrong = project.host_key("h2");
    inventory(
        &project,
        &project.host("h1", &format!("host_key = \"{wrong}\"\n")),
    );
    let ran = project.muster(&["plan", "--no-input"]);
    assert_eq!(ran.code, 4, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("key"), "{}", ran.stdout);

    inventory(&project, &project.host("h1", "host_key = \"known-hosts\"\n"));
    let ran = project.muster(&["plan", "--no-input"]);
    assert_eq!(ran.code, 4, "{}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stdout.contains("known_hosts"),
        "an unknown key names the file to mend: {}",
        ran.stdout
    );
}

#[test]
fn jump_host_reaches_what_is_behind_it() {
    let fleet = Fleet::up(2);
    fleet.act("isolate", "h2");
    let project = Project::new(&fleet, &["h1"]);
    let (jump, direct) = (project.host("h1", ""), project.host("h2", ""));
    inventory(&project, &format!("{jump}{direct}"));
    assert_eq!(project.muster(&["plan", "--no-input"]).code, 4);
    inventory(
        &project,
        &format!("{jump}{}", project.host("h2", "via = \"h1\"\n")),
    );
    project.apply();
    assert_eq!(fleet.sh("h2", "cat /etc/app.conf"), "v1\n");
}

#[test]
fn sudo_makes_root_of_accounts_with_and_without_a_password() {
    let fleet = Fleet::up(2);
    let project = Project::new(&fleet, &["h1"]);
    let password = fleet.file("op2.password");
    let as_user = |host: &str, user: &str, sudo: &str| {
        project
            .host(host, &format!("sudo = \"{sudo}\"\n"))
            .replace("user = \"root\"", &format!("user = \"{user}\""))
    };
    let secret = format!("file:{}", password.display());
    inventory(
        &project,
        &format!(
            "{}{}",
            as_user("h1", "ops", "passwordless"),
            as_user("h2", "op2", &secret)
        ),
    );
    project.apply();
    assert_eq!(fleet.sh("h1", "stat -c %U /etc/app.conf"), "root\n");
    assert_eq!(fleet.sh("h2", "stat -c %U /etc/app.conf"), "root\n");

    let without = as_user("h2", "op2", "passwordless");
    inventory(
        &project,
        &format!("{}{without}", as_user("h1", "ops", "passwordless")),
    );
    let ran = project.muster(&["plan", "--no-input"]);
    assert_eq!(ran.code, 4, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("sudo"), "{}", ran.stdout);
}

#[test]
fn host_that_hangs_does_not_hold_the_others_up() {
    let fleet = Fleet::up(2);
    let project = Project::new(&fleet, &["h1", "h2"]);
    project.module(FILE);
    fleet.act("pause", "h1");
    let ran = project.muster(&["apply", "-y", "--no-input"]);
    fleet.act("unpause", "h1");
    assert_eq!(ran.code, 4, "{}{}", ran.stdout, ran.stderr);
    assert_eq!(fleet.sh("h2", "cat /etc/app.conf"), "v1\n");
    project.apply();
}

#[test]
fn held_package_lock_is_waited_for() {
    let fleet = Fleet::up(1);
    let project = Project::new(&fleet, &["h1"]);
    project.module("[[package]]\nname = \"muster-probe\"\n");
    fleet.sh("h1", "setsid apt-get install -y -q muster-slow >/dev/null 2>&1 </dev/null & while ! pgrep -x dpkg >/dev/null; do sleep 0.1; done");
    fleet.sh(
        "h1",
        "setsid sh -c 'sleep 3; touch /run/muster-slow.go' >/dev/null 2>&1 </dev/null &",
    );
    project.apply();
    assert_eq!(
        fleet.sh("h1", "dpkg-query -W -f '${db:Status-Status}' muster-probe"),
        "installed"
    );
}
