//! Restarts: derived from what a unit consumed at its last start, and never from a notification that can get lost.

use crate::fleet::{Fleet, Project};

/// A unit that reads a file with a secret in it.
const UNIT: &str = r#"
[inputs.level]
type    = "string"
default = "info"
doc     = "How much it says."

[inputs.password]
type = "secret"
doc  = "Its password."

[[file]]
path    = "/etc/app.conf"
content = "level = {{ level }}\npassword = {{ password }}\n"
mode    = "0600"

[[unit]]
name       = "app.service"
content    = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"
enabled    = true
running    = true
restart_on = ["file:/etc/app.conf"]
"#;

fn invocation(fleet: &Fleet) -> String {
    fleet.sh("h1", "systemctl show -P InvocationID app.service")
}

fn project(fleet: &Fleet) -> Project<'_> {
    let project = Project::new(fleet, &["h1"]);
    project.write("inventories/pass.txt", "a-password-for-tests\n");
    project.extend_inventory("\n[values]\npassword = \"file:pass.txt\"\n");
    project.module(UNIT);
    project
}

#[test]
fn unit_restarts_when_what_it_consumes_changes_and_only_then() {
    let fleet = Fleet::up(1);
    let project = project(&fleet);
    project.apply();
    let first = invocation(&fleet);

    // Mode alone is nothing that the unit reads.
    fleet.sh("h1", "chmod 0644 /etc/app.conf");
    project.apply();
    assert_eq!(invocation(&fleet), first);

    project.module(&UNIT.replace("\"info\"", "\"debug\""));
    let plan = project.muster(&["plan", "--no-input"]);
    assert!(
        plan.stdout.contains("it consumes file[/etc/app.conf]"),
        "the restart has no reason: {}",
        plan.stdout
    );
    project.apply();
    let second = invocation(&fleet);
    assert_ne!(second, first);

    // Another secret is another content.
    project.write("inventories/pass.txt", "another-password-for-tests\n");
    project.apply();
    assert_ne!(invocation(&fleet), second);
}

#[test]
fn unit_started_by_hand_after_the_last_change_counts_as_fresh() {
    let fleet = Fleet::up(1);
    let project = project(&fleet);
    project.apply();
    let before = invocation(&fleet);
    // In the second of the change itself nobody could tell which came first.
    fleet.sh("h1", "now=$(date +%s); while [ \"$(date +%s)\" -le \"$now\" ]; do sleep 0.1; done; systemctl restart app.service");
    assert_ne!(invocation(&fleet), before);
    project.assert_settled();
}

#[test]
fn drift_without_secrets_finds_no_restart_to_be_due() {
    let fleet = Fleet::up(1);
    let project = project(&fleet);
    project.apply();
    let drift = project.muster(&["drift", "--no-input", "--no-secrets"]);
    assert_eq!(drift.code, 0, "{}{}", drift.stdout, drift.stderr);
}
