//! Containers that run once, on a real engine: the controller is killed, the engine restarts, the program fails.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::bed::POISON;
use crate::fleet::{Fleet, Project, Ran};
use crate::pin::push;
use crate::registry::Registry;

/// Each start notes itself, waits until it is let go on, and does what the probe looks at.
const RUNS: &str = "echo start >>/srv/starts; while [ ! -e /srv/go ]; do sleep 0.1; done; echo $PASS $LEVEL >/srv/done; sync";

fn module(more: &str) -> String {
    format!(
        r#"
[inputs]
password = {{ type = "secret", doc = "What it is given." }}

[[directory]]
path = "/srv/once"

[[file]]
path    = "/srv/once/settings"
content = "one\n"

[[container_run]]
name        = "warm-key"
image       = "box:1"
pull_policy = "never"
command     = ["sh", "-c", "{RUNS}"]
environment = {{ PASS = "{{{{ password }}}}", LEVEL = "info", ALSO = "told-to-nobody" }}
public_env  = ["LEVEL"]
volumes     = ["/srv/once:/srv"]
probe       = "test -e /srv/once/done && echo level=$(cut -d' ' -f2 /srv/once/done) || exit 1"
outputs     = {{ level = "[a-z]+" }}
within      = "2m"
{more}
"#
    )
}

fn project<'f>(fleet: &'f Fleet, more: &str) -> Project<'f> {
    let project = Project::new(fleet, &["h1"]);
    project.module(&module(more));
    project.write("inventories/secret", POISON);
    project.extend_inventory("\n[values.app]\npassword = \"file:secret\"\n");
    project
}

fn said(ran: &Ran) -> String {
    format!("{}{}", ran.stdout, ran.stderr)
}

fn starts(fleet: &Fleet) -> String {
    fleet
        .sh("h1", "cat /srv/once/starts 2>/dev/null | wc -l")
        .trim()
        .to_owned()
}

fn names(fleet: &Fleet) -> String {
    fleet
        .sh("h1", "docker ps -a --format '{{.Names}} {{.State}}'")
        .trim()
        .to_owned()
}

fn wait_until(fleet: &Fleet, script: &str) {
    let deadline = Instant::now() + Duration::from_secs(90);
    while !fleet.try_sh("h1", script).status.success() {
        assert!(Instant::now() < deadline, "it never comes to this: {script}");
    }
}

#[test]
fn it_runs_once_goes_when_it_is_done_and_runs_again_for_what_it_consumes() {
    let fleet = Fleet::up_with_engines(1);
    let project = project(&fleet, "restart_on = [\"file:/srv/once/settings\"]");
    fleet.sh("h1", "mkdir -p /srv/once && touch /srv/once/go");
    let plan = project.muster(&["plan", "--no-input"]);
    assert!(plan.stdout.contains("container_run[warm-key]"), "{}", said(&plan));
    for hidden in [POISON, "told-to-nobody"] {
        assert!(!said(&plan).contains(hidden), "{}", said(&plan));
    }
    project.apply();
    assert_eq!(fleet.sh("h1", "cat /srv/once/done"), format!("{POISON} info\n"));
    assert_eq!((starts(&fleet).as_str(), names(&fleet).as_str()), ("1", ""));

    // Nothing says that it is needed, but what it consumes is another.
    let changed = module("restart_on = [\"file:/srv/once/settings\"]").replace("one\\n", "two\\n");
    project.module(&changed);
    let plan = project.muster(&["plan", "--no-input"]);
    assert!(
        plan.stdout.contains("it consumes file[/srv/once/settings]"),
        "{}",
        said(&plan)
    );
    project.apply();
    assert_eq!((starts(&fleet).as_str(), names(&fleet).as_str()), ("2", ""));

    // What the probe looks at is gone.
    fleet.sh("h1", "rm /srv/once/done");
    project.assert_drift(&["container_run[warm-key]"]);
    project.apply();
    assert_eq!(starts(&fleet), "3");

    // A container of others has its name: it is held, and nothing happens to that.
    fleet.sh(
        "h1",
        "rm /srv/once/done; docker run -d --name warm-key box:1 sleep 3600",
    );
    let held = project.muster(&["apply", "-y", "--no-input"]);
    assert!(said(&held).contains("was not made for this"), "{}", said(&held));
    assert_eq!(
        (starts(&fleet).as_str(), names(&fleet).as_str()),
        ("3", "warm-key running")
    );
}

#[test]
fn one_whose_controller_is_killed_is_gone_on_with_and_never_runs_twice() {
    let fleet = Fleet::up_with_engines(1);
    let project = project(&fleet, "");
    let mut first = project.command(&["apply", "-y", "--no-input"]);
    first.stdout(Stdio::null()).stderr(Stdio::null());
    let mut first = first.spawn().expect("muster runs");
    wait_until(&fleet, "grep -q start /srv/once/starts");
    first.kill().expect("it can be killed");
    first.wait().expect("it ends");
    fleet.wait_until_quiet("h1");
    // It still waits. Whoever goes on waits for this one, and begins no other.
    let mut second = project.command(&["resume", "-y", "--no-input"]);
    second.stdout(Stdio::piped()).stderr(Stdio::piped());
    let second = second.spawn().expect("muster runs");
    wait_until(&fleet, "pgrep -f '^sshd: .*@notty' >/dev/null");
    fleet.sh("h1", "sleep 2; touch /srv/once/go");
    let ended = second.wait_with_output().expect("it ends");
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&ended.stdout),
        String::from_utf8_lossy(&ended.stderr)
    );
    assert_eq!(ended.status.code(), Some(0), "{text}");
    assert_eq!(
        (starts(&fleet).as_str(), names(&fleet).as_str()),
        ("1", ""),
        "{text}"
    );
    project.assert_settled();
}

#[test]
fn one_that_ended_well_while_nobody_listened_is_taken_in_and_not_run_again() {
    let fleet = Fleet::up_with_engines(1);
    let project = project(&fleet, "");
    let mut first = project.command(&["apply", "-y", "--no-input"]);
    first.stdout(Stdio::null()).stderr(Stdio::null());
    let mut first = first.spawn().expect("muster runs");
    wait_until(&fleet, "grep -q start /srv/once/starts");
    first.kill().expect("it can be killed");
    first.wait().expect("it ends");
    fleet.sh("h1", "touch /srv/once/go");
    wait_until(&fleet, "docker ps -a --format '{{.State}}' | grep -q exited");
    fleet.wait_until_quiet("h1");
    let resumed = project.muster(&["resume", "-y", "--no-input"]);
    assert_eq!(resumed.code, 0, "{}", said(&resumed));
    assert_eq!((starts(&fleet).as_str(), names(&fleet).as_str()), ("1", ""));
    project.assert_settled();
}

#[test]
fn one_that_fails_says_so_stays_and_is_tried_again() {
    let fleet = Fleet::up_with_engines(1);
    let project = project(&fleet, "success = [0, 4]");
    let fails = |status: &str| {
        let run = format!("echo $((40+2)) with $PASS $ALSO; test -e /srv/done || exit {status}");
        module("success = [0, 4]").replace(RUNS, &run)
    };
    project.module(&fails("3"));
    fleet.sh("h1", "mkdir -p /srv/once");
    let failed = project.muster(&["apply", "-y", "--no-input"]);
    assert_ne!(failed.code, 0);
    for part in ["it ended with status 3", "42 with"] {
        assert!(said(&failed).contains(part), "{part}: {}", said(&failed));
    }
    for hidden in [POISON, "told-to-nobody"] {
        assert!(!said(&failed).contains(hidden), "{}", said(&failed));
    }
    assert_eq!(names(&fleet), "warm-key exited");

    // What it had to do was done by a hand: what is left of the try goes.
    fleet.sh("h1", "echo x hand >/srv/once/done");
    project.assert_drift(&["container_run[warm-key]", "ended with status 3"]);
    project.apply();
    assert_eq!(names(&fleet), "");

    // It never comes to its end, or its log is secret.
    fleet.sh("h1", "rm /srv/once/done");
    project.module(
        &fails("3")
            .replace("within      = \"2m\"", "within = \"2s\"\nlogs = \"secret\"")
            .replace("test -e /srv/done", "sleep 600"),
    );
    let failed = project.muster(&["apply", "-y", "--no-input"]);
    for part in ["it was stopped after 2 s", "its log is secret"] {
        assert!(said(&failed).contains(part), "{part}: {}", said(&failed));
    }
    assert!(!said(&failed).contains("42 with"), "{}", said(&failed));
    assert_eq!(names(&fleet), "warm-key exited");
}

#[test]
fn an_engine_that_restarts_under_it_is_waited_for_and_the_end_is_told() {
    let fleet = Fleet::up_with_engines(1);
    let project = project(&fleet, "");
    let mut first = project.command(&["apply", "-y", "--no-input"]);
    first.stdout(Stdio::piped()).stderr(Stdio::piped());
    let first = first.spawn().expect("muster runs");
    wait_until(&fleet, "grep -q start /srv/once/starts");
    fleet.sh("h1", "systemctl restart docker");
    let ended = first.wait_with_output().expect("it ends");
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&ended.stdout),
        String::from_utf8_lossy(&ended.stderr)
    );
    assert_ne!(ended.status.code(), Some(0), "{text}");
    assert!(text.contains("it ended with status"), "{text}");
    assert_eq!(
        (starts(&fleet).as_str(), names(&fleet).as_str()),
        ("1", "warm-key exited")
    );
    fleet.sh("h1", "touch /srv/once/go");
    project.apply();
    assert_eq!((starts(&fleet).as_str(), names(&fleet).as_str()), ("2", ""));
}

#[test]
fn its_image_comes_by_digest_from_where_its_registry_is_rewritten_to() {
    let fleet = Fleet::up_with_engines(1);
    let registry = Registry::start(&fleet, Some(("ops", POISON)));
    registry.admit(&fleet, "h1");
    let digest = push(&fleet, &registry, "FIRST");
    let project = Project::new(&fleet, &["h1"]);
    project.module(
        r#"
[[container_run]]
name    = "once"
image   = "ghcr.io/team/box:1"
command = ["sh", "-c", "echo $FIRST >/srv/first"]
volumes = ["/srv/once:/srv"]
probe   = "test -e /srv/once/first"
"#,
    );
    project.write("inventories/secret", POISON);
    let local = &registry.name;
    project.extend_inventory(&format!(
        "\n[registries.\"ghcr.io\"]\nrewrite = \"{local}\"\n\n[registries.\"{local}\"]\nuser = \"ops\"\npassword = \"file:secret\"\n"
    ));
    let pinned = project.muster(&["pin", "--no-input"]);
    assert_eq!(
        pinned.stdout,
        format!("+ ghcr.io/team/box:1 {digest}\n"),
        "{}",
        said(&pinned)
    );
    let plan = project.muster(&["plan", "--no-input"]);
    let image = format!("{local}/team/box:1@{digest}");
    let named = plan.stdout.matches(&image).count();
    assert!(
        named >= 2,
        "as an image, and as that of the container: {}",
        said(&plan)
    );
    project.apply();
    assert_eq!(fleet.sh("h1", "cat /srv/once/first"), "1\n");
    assert_eq!(names(&fleet), "");
}
