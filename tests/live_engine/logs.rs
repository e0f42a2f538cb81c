//! `muster logs` on real engines: what many containers say, put together, without their secrets.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use crate::bed::POISON;
use crate::fleet::{Fleet, Project};

const FILE: &str = r#"services:
  talk:
    image: box:1
    stop_grace_period: 1s
    command: ["sh", "-c", "echo first $$PASS of {{ host.id }}; echo {{ word }} $$LEVEL >&2; exec sleep 3600"]
    x-muster: { public_env: [LEVEL] }
    environment: { PASS: "{{ password | compose }}", HAND: made-by-hand, LEVEL: info }
  vault:
    image: box:1
    stop_grace_period: 1s
    command: ["sh", "-c", "echo mnemonic; exec sleep 3600"]
    x-muster: { logs: secret }
"#;

const MODULE: &str = r#"
[inputs]
word     = { type = "string", default = "second", doc = "What is said." }
password = { type = "secret", doc = "A password." }

[[compose]]
name   = "join"
folder = "/srv/join"
files  = ["docker-compose.yml.j2"]
"#;

fn project<'a>(fleet: &'a Fleet, hosts: &[&str]) -> Project<'a> {
    let project = Project::new(fleet, hosts);
    project.module(MODULE);
    project.write("modules/app/templates/docker-compose.yml.j2", FILE);
    project.write("inventories/secret", POISON);
    project.extend_inventory("\n[values.app]\npassword = \"file:secret\"\n");
    project
}

#[test]
fn logs_of_many_hosts_are_put_in_order_and_hold_no_secret() {
    let fleet = Fleet::up_with_engines(2);
    let project = project(&fleet, &["h1", "h2"]);
    let none = project.muster(&["logs", "--no-input"]);
    assert_eq!(none.code, 0, "{}", none.stderr);
    assert!(
        none.stderr.contains("h1: there is no container `join-talk-1`"),
        "{}",
        none.stderr
    );
    project.apply();

    let ran = project.muster(&["logs", "--no-input"]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    for line in [
        "h1 talk | first *** of h1",
        "h2 talk | first *** of h2",
        "h1 talk | second info",
    ] {
        assert!(
            ran.stdout.lines().any(|said| said == line),
            "{line}: {}",
            ran.stdout
        );
    }
    let told = format!("{}{}", ran.stdout, ran.stderr);
    assert!(!told.contains(POISON) && !told.contains("mnemonic"), "{told}");
    let how = "h2 join-vault-1: its log is secret; on the host `docker logs join-vault-1` shows it";
    assert!(ran.stderr.contains(how), "{}", ran.stderr);

    // What a variable holds that nobody declared public goes even where no secret is asked for.
    let ran = project.muster(&["logs", "--no-input", "--no-secrets", "-l", "h1", "tal*"]);
    assert!(ran.stdout.contains("first ***"), "{}{}", ran.stdout, ran.stderr);

    let ran = project.muster(&["--json", "logs", "--no-input", "-n", "1", "join/talk"]);
    let lines: Vec<serde_json::Value> = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect();
    let ours = |line: &&serde_json::Value| line["type"] == "line" && line["container"] == "join-talk-1";
    assert_eq!(
        lines.iter().filter(ours).count(),
        2,
        "the last line of each: {}",
        ran.stdout
    );

    let ran = project.muster(&["logs", "--no-input", "tolk"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("no container is declared for `tolk`"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("talk"), "it is guessed: {}", ran.stderr);
    fleet.act("pause", "h2");
    let ran = project.muster(&["logs", "--no-input", "talk"]);
    fleet.act("unpause", "h2");
    assert_ne!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stdout.contains("h1 talk"),
        "the others are shown: {}{}",
        ran.stdout,
        ran.stderr
    );
}

#[test]
fn following_goes_on_with_the_container_that_comes_in_ones_place() {
    let fleet = Fleet::up_with_engines(1);
    let project = project(&fleet, &["h1"]);
    project.apply();
    let mut following = project
        .command(&["logs", "-f", "--no-input", "-l", "h1", "talk"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("muster runs");
    let mut said = BufReader::new(following.stdout.take().expect("a pipe")).lines();
    let mut next = || said.next().expect("it goes on").expect("text");
    let mut first = [next(), next()];
    first.sort();
    assert_eq!(first, ["h1 talk | first *** of h1", "h1 talk | second info"]);
    project.extend_inventory("word = \"third\"\n");
    project.apply();
    let mut then = [next(), next()];
    then.sort();
    assert_eq!(
        then,
        ["h1 talk | first *** of h1", "h1 talk | third info"],
        "each is heard once"
    );
    let pid = following.id().to_string();
    let killed = Command::new("kill")
        .args(["-INT", &pid])
        .status()
        .expect("kill runs");
    assert!(killed.success());
    assert_eq!(following.wait().expect("it ends").code(), Some(0));
}
