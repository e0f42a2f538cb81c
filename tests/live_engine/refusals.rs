//! What the engine or the container itself refuses: the container before it serves on, and the message says what people need.

use crate::fleet::Fleet;
use crate::trial::{FILE, Trial};

/// Asserts that all of these are said.
pub fn says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "`{part}` is missing: {said}");
    }
}

fn with_port(port: u16) -> String {
    FILE.replace(
        "    volumes: [",
        &format!("    ports: [\"127.0.0.1:{port}:8080\"]\n    volumes: ["),
    )
}

#[test]
fn port_that_somebody_has_is_named_with_who_has_it() {
    let fleet = Fleet::up_with_engines(1);
    let trial = Trial::up(&fleet);
    trial.sh(
        "setsid perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(Listen => 1, LocalAddr => \"127.0.0.1:18081\") or die; sleep 600' \
         </dev/null >/dev/null 2>&1 & until ss -Hltn 'sport = :18081' | grep -q LISTEN; do sleep 0.1; done",
    );
    let pid = trial.sh("ss -Hltnp 'sport = :18081' | sed 's/.*pid=\\([0-9]*\\).*/\\1/'");
    trial.sh("docker run -d --name squatter -p 127.0.0.1:18082:80 box:1");
    trial.file(&with_port(18081));
    trial.set("level = \"debug\"");
    let said = trial.fails();
    says(
        &said,
        &[
            "make container trial-app-1",
            "already in use",
            &format!("127.0.0.1:18081 is taken by the process `perl` ({})", pid.trim()),
            "the container before it is back",
        ],
    );
    trial.assert_runs_as("info");
    trial.file(&with_port(18082));
    let said = trial.fails();
    says(
        &said,
        &[
            "already allocated",
            "127.0.0.1:18082 is taken by the container `squatter`",
            "the container before it is back",
        ],
    );
    trial.assert_runs_as("info");
    trial.sh("docker rm -f squatter");
    trial.resume();
    trial.assert_runs_as("debug");
    assert_eq!(
        trial.sh("docker port trial-app-1"),
        "8080/tcp -> 127.0.0.1:18082\n"
    );
}

#[test]
fn first_container_of_a_service_whose_port_is_taken_is_started_when_it_is_free() {
    let fleet = Fleet::up_with_engines(1);
    let trial = Trial::new(&fleet);
    trial.sh(
        "docker volume create trial_data >/dev/null && touch /var/lib/docker/volumes/trial_data/_data/well",
    );
    trial.sh("docker run -d --name squatter -p 127.0.0.1:18082:80 box:1");
    trial.file(&with_port(18082));
    let said = trial.fails();
    says(&said, &["18082 is taken by the container `squatter`"]);
    trial.sh("docker rm -f squatter");
    // By a plan of its own, and not by going on with the run that failed.
    trial.project.apply();
    trial.assert_runs_as("info");
}

#[test]
fn container_that_ends_or_never_gets_well_is_described_without_its_secrets() {
    let fleet = Fleet::up_with_engines(1);
    let trial = Trial::up(&fleet);
    let before = trial.sh("docker inspect -f '{{.Id}}' trial-app-1");
    let command = |text: &str, more: &str| {
        let line = FILE
            .lines()
            .find(|line| line.contains("command:"))
            .expect("a command");
        let command = format!("    command: [\"sh\", \"-c\", \"{text}\"]");
        FILE.replace(line, &command)
            .replace("    volumes: [", &format!("{more}    volumes: ["))
    };
    let serves_on = || {
        trial.assert_runs_as("info");
        assert_eq!(trial.sh("docker inspect -f '{{.Id}}' trial-app-1"), before);
    };
    // It ends by itself.
    trial.file(&command(
        "i=0; while [ $$i -lt 40 ]; do echo line $$i of $$PASS; i=$$((i + 1)); done; exit 7",
        "",
    ));
    let said = trial.fails();
    says(
        &said,
        &[
            "make container trial-app-1 ended with status 7",
            "| line 10 of ***",
            "| line 39 of ***",
            "it ended with status 7",
            "the container before it is back",
        ],
    );
    assert!(!said.contains("line 9 of"), "only the last 30 lines: {said}");
    serves_on();
    // It wants more memory than it may have.
    trial.file(&command(
        "echo it grows; a=0123456789abcdef; while :; do a=$$a$$a; done",
        "    mem_limit: 16m\n    memswap_limit: 16m\n",
    ));
    let said = trial.fails();
    says(
        &said,
        &[
            "it grows",
            "status 137",
            "killed for want of memory",
            "the container before it is back",
        ],
    );
    serves_on();
    // It runs, and is never well.
    trial.file(
        &command("echo it begins; exec sleep 3600", "")
            .replace("retries: 100", "retries: 2")
            .replace("/data/well", "/data/never"),
    );
    let said = trial.fails();
    says(
        &said,
        &[
            "| it begins",
            "its health check says `unhealthy`",
            "the last check ended with status 1: probed with ***",
            "the container before it is back",
        ],
    );
    serves_on();
    trial.file(FILE);
    trial.set("level = \"debug\"");
    trial.project.apply();
    trial.assert_runs_as("debug");
}
