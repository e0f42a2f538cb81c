//! Applying: stale plans, hosts that are down, failures and their budget, waves, outputs, and a killed controller.

use std::time::{Duration, Instant};

use crate::fleet::{Fleet, Project};

const FILE: &str = "[[file]]\npath = \"/etc/app.conf\"\ncontent = \"v1\\n\"\n";

#[test]
fn stale_plan_is_refused_by_name_and_changes_nothing() {
    let fleet = Fleet::up(2);
    let project = Project::new(&fleet, &["h1", "h2"]);
    project.module(FILE);
    project.apply();
    project.module(&FILE.replace("v1", "v2"));
    let saved = project.muster(&["plan", "--no-input", "-o", "saved.plan.json"]);
    assert_eq!(saved.code, 0, "{}{}", saved.stdout, saved.stderr);
    fleet.sh("h2", "echo by-hand > /etc/app.conf");
    let ran = project.muster(&["apply", "saved.plan.json", "-y", "--no-input"]);
    assert_eq!(ran.code, 6, "{}{}", ran.stdout, ran.stderr);
    assert!(
        format!("{}{}", ran.stdout, ran.stderr).contains("h2"),
        "{}{}",
        ran.stdout,
        ran.stderr
    );
    assert_eq!(fleet.sh("h1", "cat /etc/app.conf"), "v1\n");

    let ran = project.muster(&["apply", "saved.plan.json", "-y", "--no-input", "--skip-stale"]);
    assert_ne!(ran.code, 6, "{}{}", ran.stdout, ran.stderr);
    assert_eq!(fleet.sh("h1", "cat /etc/app.conf"), "v2\n");
    assert_eq!(fleet.sh("h2", "cat /etc/app.conf"), "by-hand\n");
}

#[test]
fn one_of_five_down_leaves_the_others_done() {
    let fleet = Fleet::up(5);
    let hosts = fleet.hosts();
    let names: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let project = Project::new(&fleet, &names);
    project.module(FILE);
    fleet.act("kill", "h3");
    let ran = project.muster(&["apply", "-y", "--no-input"]);
    assert_eq!(ran.code, 4, "{}{}", ran.stdout, ran.stderr);
    for host in ["h1", "h2", "h4", "h5"] {
        assert_eq!(fleet.sh(host, "cat /etc/app.conf"), "v1\n");
    }
    assert_eq!(project.muster(&["drift", "--no-input"]).code, 4);

    // With a failed operation besides, the failure is what counts.
    project.module(&format!("{FILE}[[file]]\npath = \"/etc/bad.conf\"\ncontent = \"x\\n\"\nvalidate = \"false {{}}\"\nwhen = \"host.id == 'h5'\"\n"));
    let ran = project.muster(&["apply", "-y", "--no-input"]);
    assert_eq!(ran.code, 3, "{}{}", ran.stdout, ran.stderr);
    fleet.sh("h5", "test ! -e /etc/bad.conf");
}

#[test]
fn canary_that_fails_stops_the_run_within_its_budget() {
    let fleet = Fleet::up(3);
    let project = Project::new(&fleet, &["h1", "h2", "h3"]);
    project.extend_inventory("\n[policy]\ncanary = 1\nbatch = 1\nfailures_max = 0\n");
    project.module(
        "[[file]]\npath = \"/etc/app.conf\"\ncontent = \"v1\\n\"\n[[file]]\npath = \"/etc/z.conf\"\ncontent = \"x\\n\"\nvalidate = \"echo the-reason-is-here >&2; false {}\"\n",
    );
    let ran = project.muster(&["apply", "-y", "--no-input"]);
    assert_eq!(ran.code, 3, "{}{}", ran.stdout, ran.stderr);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(
        said.contains("the-reason-is-here") && said.contains("h1"),
        "{said}"
    );
    fleet.sh("h1", "test -e /etc/app.conf");
    for host in ["h2", "h3"] {
        fleet.sh(host, "test ! -e /etc/app.conf");
    }
}

#[test]
fn failed_host_is_undone_where_the_policy_says_so() {
    let fleet = Fleet::up(1);
    let project = Project::new(&fleet, &["h1"]);
    project.extend_inventory("\n[policy]\non_failure = \"undo\"\n");
    project.module(FILE);
    project.apply();
    project.module(&format!(
        "{}[[file]]\npath = \"/etc/z.conf\"\ncontent = \"x\\n\"\nvalidate = \"false {{}}\"\nafter = [\"file:/etc/app.conf\"]\n",
        FILE.replace("v1", "v2")
    ));
    let ran = project.muster(&["apply", "-y", "--no-input"]);
    assert_eq!(ran.code, 9, "{}{}", ran.stdout, ran.stderr);
    assert_eq!(fleet.sh("h1", "cat /etc/app.conf"), "v1\n");
}

const OUTPUTS: &str = r#"
[[command]]
name    = "identity"
run     = "echo addr-$(hostname) > /srv/identity"
probe   = "test -s /srv/identity && echo address=$(cat /srv/identity)"
outputs = { address = "addr-[a-z0-9-]+" }
when    = "host.id == 'h1'"

[[file]]
path    = "/etc/peers.conf"
content = "peer = {{ output('h1:command:identity', 'address') }}\n"
when    = "host.id == 'h2'"
"#;

#[test]
fn output_of_one_host_fills_a_file_of_another_in_one_apply() {
    let fleet = Fleet::up(2);
    let project = Project::new(&fleet, &["h1", "h2"]);
    project.module(OUTPUTS);
    let plan = project.muster(&["plan", "--no-input"]);
    assert!(plan.stdout.contains("? address of h1"), "{}", plan.stdout);
    project.apply();
    let address = fleet.sh("h1", "cat /srv/identity");
    assert_eq!(fleet.sh("h2", "cat /etc/peers.conf"), format!("peer = {address}"));

    // Once known, another value is never taken over.
    fleet.sh("h1", "echo addr-else > /srv/identity");
    let drift = project.muster(&["drift", "--no-input"]);
    assert_ne!(drift.code, 0, "{}", drift.stdout);
    assert!(fleet.sh("h2", "cat /etc/peers.conf").contains(address.trim()));
}

/// Waits until a condition on a host holds.
fn wait_for(fleet: &Fleet, host: &str, condition: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !fleet.try_sh(host, condition).status.success() {
        assert!(Instant::now() < deadline, "on {host} never: {condition}");
        std::thread::yield_now();
    }
}

#[test]
fn resume_goes_on_after_the_controller_was_killed_in_the_middle() {
    let fleet = Fleet::up(2);
    let project = Project::new(&fleet, &["h1", "h2"]);
    // The producer is done when the kill comes; the slow step is under way, and the consumer has not begun.
    project.module(&format!(
        "{OUTPUTS}after = [\"h1:command:slow\"]\n\n[[command]]\nname = \"slow\"\nafter = [\"command:identity\"]\nrun = \"touch /srv/slow.began; while [ ! -e /srv/go ]; do sleep 0.1; done; echo once >> /srv/slow\"\nprobe = \"test -s /srv/slow\"\nwhen = \"host.id == 'h1'\"\n"
    ));
    let mut child = project
        .command(&["apply", "-y", "--no-input"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("muster runs");
    wait_for(&fleet, "h1", "test -e /srv/slow.began");
    child.kill().expect("the controller can be killed");
    child.wait().expect("the controller ends");
    fleet.sh("h1", "touch /srv/go");
    wait_for(&fleet, "h1", "test -s /srv/slow");
    fleet.sh("h2", "test ! -e /etc/peers.conf");

    let ran = project.muster(&["resume", "-y", "--no-input"]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let address = fleet.sh("h1", "cat /srv/identity");
    assert_eq!(fleet.sh("h2", "cat /etc/peers.conf"), format!("peer = {address}"));
    assert_eq!(
        fleet.sh("h1", "cat /srv/slow"),
        "once\n",
        "the step that was under way was not done twice"
    );
    project.assert_settled();
}

#[test]
fn secret_joins_on_the_host_and_is_nowhere_else() {
    let fleet = Fleet::up(1);
    let project = Project::new(&fleet, &["h1"]);
    let secret = "correct-horse-battery-staple";
    project.write("inventories/pass.txt", &format!("{secret}\n"));
    project.extend_inventory("\n[values]\npassword = \"file:pass.txt\"\n");
    project.module("[inputs.password]\ntype = \"secret\"\n\n[[file]]\npath = \"/etc/pass.conf\"\ncontent = \"password = {{ password }}\\n\"\nmode = \"0600\"\n");
    let plan = project.muster(&["plan", "--no-input", "-o", "saved.plan.json"]);
    let ran = project.apply();
    assert_eq!(
        fleet.sh("h1", "cat /etc/pass.conf"),
        format!("password = {secret}\n")
    );
    fleet.sh("h1", "echo 'password = old' > /etc/pass.conf");
    project.assert_drift(&["file[/etc/pass.conf]"]);
    let without = project.muster(&["drift", "--no-input", "--no-secrets"]);
    assert_eq!(without.code, 2, "{}{}", without.stdout, without.stderr);
    project.apply();
    let without = project.muster(&["drift", "--no-input", "--no-secrets"]);
    assert_eq!(without.code, 0, "{}{}", without.stdout, without.stderr);

    for said in [plan.stdout, plan.stderr, ran.stdout, ran.stderr] {
        assert!(!said.contains(secret));
    }
    let grep = std::process::Command::new("grep")
        .args(["-rl", secret, "--exclude=pass.txt", "."])
        .current_dir(project.folder())
        .output()
        .expect("grep runs");
    assert_eq!(
        String::from_utf8_lossy(&grep.stdout),
        "",
        "the secret lies in a file of the project"
    );
    fleet.sh(
        "h1",
        &format!("! grep -rl {secret} /var/lib/muster --exclude-dir=undo"),
    );
}

#[test]
fn plan_that_rests_on_a_fact_is_stale_when_the_fact_has_changed() {
    let fleet = Fleet::up(1);
    let project = Project::new(&fleet, &["h1"]);
    project.module("[[file]]\npath = \"/etc/app.conf\"\ncontent = \"{{ facts.addresses | length }}\\n\"\n");
    let saved = project.muster(&["plan", "--no-input", "-o", "saved.plan.json"]);
    assert_eq!(saved.code, 0, "{}{}", saved.stdout, saved.stderr);
    fleet.sh("h1", "ip addr add 192.0.2.9/32 dev eth0");
    let ran = project.muster(&["apply", "saved.plan.json", "-y", "--no-input"]);
    assert_eq!(ran.code, 6, "{}{}", ran.stdout, ran.stderr);
    assert!(
        format!("{}{}", ran.stdout, ran.stderr).contains("`addresses` has changed"),
        "{}",
        ran.stderr
    );
    project.apply();
}
