//! What is no longer declared: deleted, held or forgotten, as the host's own manifest says.

use crate::fleet::{Fleet, Project};

const FILE: &str = "[[file]]\npath = \"/etc/owned.conf\"\ncontent = \"mine\\n\"\n";
const OTHER: &str = "[[file]]\npath = \"/etc/other.conf\"\ncontent = \"other\\n\"\n";

fn planned<'a>(project: &Project<'_>, stdout: &'a mut String) -> &'a str {
    let ran = project.muster(&["plan", "--no-input"]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    *stdout = ran.stdout;
    stdout
}

#[test]
fn what_muster_made_is_deleted_and_what_it_needs_stays_in_order() {
    let fleet = Fleet::up(1);
    let project = Project::new(&fleet, &["h1"]);
    project.module(&format!(
        "{OTHER}[[directory]]\npath = \"/srv/owned\"\n[[file]]\npath = \"/srv/owned/a\"\ncontent = \"a\\n\"\n"
    ));
    project.apply();
    project.module(OTHER);
    let mut text = String::new();
    let plan = planned(&project, &mut text);
    assert!(
        plan.contains("- file[/srv/owned/a]") && plan.contains("- directory[/srv/owned]"),
        "{plan}"
    );
    project.apply();
    fleet.sh("h1", "test ! -e /srv/owned && test -e /etc/other.conf");
}

#[test]
fn what_was_changed_by_hand_since_is_held_and_not_deleted() {
    let fleet = Fleet::up(1);
    let project = Project::new(&fleet, &["h1"]);
    project.module(&format!("{FILE}{OTHER}"));
    project.apply();
    fleet.sh("h1", "echo by-hand > /etc/owned.conf");
    project.module(OTHER);
    let ran = project.muster(&["apply", "-y", "--no-input"]);
    assert!(
        ran.stdout.contains("changed by hand"),
        "{}{}",
        ran.stdout,
        ran.stderr
    );
    assert_eq!(fleet.sh("h1", "cat /etc/owned.conf"), "by-hand\n");
    let drift = project.muster(&["drift", "--no-input"]);
    assert_eq!(drift.code, 2, "{}", drift.stdout);
    assert!(drift.stdout.contains("file[/etc/owned.conf]"), "{}", drift.stdout);
}

#[test]
fn what_was_found_is_forgotten_and_not_deleted() {
    let fleet = Fleet::up(1);
    fleet.sh("h1", "printf 'mine\\n' > /etc/owned.conf");
    let project = Project::new(&fleet, &["h1"]);
    project.module(&format!("{FILE}{OTHER}"));
    project.apply();
    project.module(OTHER);
    let mut text = String::new();
    let plan = planned(&project, &mut text);
    assert!(plan.contains(". file[/etc/owned.conf]"), "{plan}");
    project.apply();
    assert_eq!(fleet.sh("h1", "cat /etc/owned.conf"), "mine\n");
}

#[test]
fn directory_that_holds_something_of_others_is_not_deleted() {
    let fleet = Fleet::up(1);
    let project = Project::new(&fleet, &["h1"]);
    project.module(&format!("{OTHER}[[directory]]\npath = \"/srv/owned\"\n"));
    project.apply();
    fleet.sh("h1", "touch /srv/owned/theirs");
    project.module(OTHER);
    let ran = project.muster(&["apply", "-y", "--no-input"]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stdout.contains("holds what muster did not make"),
        "{}",
        ran.stdout
    );
    fleet.sh("h1", "test -e /srv/owned/theirs");
    project.assert_settled();
}

#[test]
fn protected_resource_stays() {
    let fleet = Fleet::up(1);
    let project = Project::new(&fleet, &["h1"]);
    project.module(&format!("{FILE}protect = true\n{OTHER}"));
    project.apply();
    project.module(OTHER);
    let ran = project.muster(&["apply", "-y", "--no-input"]);
    assert!(
        ran.stdout.contains("protect = true"),
        "{}{}",
        ran.stdout,
        ran.stderr
    );
    fleet.sh("h1", "test -e /etc/owned.conf");
}

#[test]
fn ignored_field_may_be_changed_by_others() {
    let fleet = Fleet::up(1);
    let project = Project::new(&fleet, &["h1"]);
    project.module(&format!("{FILE}ignore = [\"mode\"]\n"));
    project.apply();
    fleet.sh("h1", "chmod 0600 /etc/owned.conf");
    project.assert_settled();
    fleet.sh("h1", "echo by-hand > /etc/owned.conf");
    project.apply();
    assert_eq!(
        fleet.sh("h1", "cat /etc/owned.conf; stat -c %a /etc/owned.conf"),
        "mine\n600\n"
    );
}

#[test]
fn host_of_another_fleet_is_held_and_a_wiped_one_too() {
    let fleet = Fleet::up(1);
    let project = Project::new(&fleet, &["h1"]);
    project.module(FILE);
    project.apply();
    let other = Project::new(&fleet, &["h1"]);
    other.module(OTHER);
    let text = other
        .read("inventories/fleet.toml")
        .replace("name = \"live\"", "name = \"another\"");
    other.write("inventories/fleet.toml", &text);
    let ran = other.muster(&["apply", "-y", "--no-input"]);
    assert!(
        ran.stdout.contains("this machine is `h1` of fleet `live`"),
        "{}{}",
        ran.stdout,
        ran.stderr
    );
    fleet.sh("h1", "test ! -e /etc/other.conf");

    // The plan after the apply has noted the lineage; a host that comes back without it is not taken for a new one.
    project.assert_settled();
    fleet.sh("h1", "rm -r /var/lib/muster");
    let ran = project.muster(&["plan", "--no-input"]);
    assert!(
        ran.stdout.contains("reinstalled or wiped"),
        "{}{}",
        ran.stdout,
        ran.stderr
    );
    assert_eq!(ran.code, 3);
}
