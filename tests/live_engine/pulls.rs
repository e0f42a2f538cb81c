//! Pulls from a real registry: by tag, by digest, with credentials, and what goes wrong.

use muster::model::body::Body;
use muster::model::engine::{EngineOp, EngineProbe, Login};
use muster::model::observation::Answer;
use muster::ports::{Fence, PerformError};

use crate::bed::{Bed, POISON, secret, text};
use crate::fleet::{Fleet, Project};
use crate::registry::Registry;

fn pull(image: &str, login: Option<Login>) -> EngineOp {
    EngineOp::Pull {
        image: image.to_owned(),
        platform: None,
        login,
        newer: false,
    }
}

fn is_there(bed: &Bed, image: &str) -> bool {
    match bed.ask(EngineProbe::Image(image.to_owned())) {
        Answer::Text { output, status: 0 } => output != "null",
        other => panic!("{other:?}"),
    }
}

/// Returns what a pull that fails says.
fn refused(bed: &Bed, fence: &Fence, op: EngineOp) -> String {
    match bed.act(fence, vec![op]) {
        Err(PerformError::Failed { operation, tail, .. }) => format!("{operation}: {}", tail.join("\n")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn image_comes_by_tag_and_by_digest_and_is_not_asked_for_twice() {
    let fleet = Fleet::up_with_engines(1);
    let registry = Registry::start(&fleet, None);
    registry.admit(&fleet, "h1");
    let tag = format!("{}/box:1", registry.name);
    let push = format!(
        "docker tag box:1 {tag} && docker push -q {tag} && docker inspect -f '{{{{index .RepoDigests 0}}}}' {tag}"
    );
    let digest = fleet.sh("h1", &push).lines().last().expect("a digest").to_owned();
    assert!(digest.contains("@sha256:"), "{digest}");
    fleet.sh("h1", &format!("docker rmi {tag} box:1"));
    let bed = Bed::new(&fleet, "root");
    let fence = bed.lock("0123456789ab-1");
    assert!(!is_there(&bed, &tag));
    bed.act(&fence, vec![pull(&tag, None)])
        .expect("it comes by its tag");
    assert!(is_there(&bed, &tag) && is_there(&bed, &digest));
    fleet.sh("h1", &format!("docker rmi {tag}"));
    bed.act(&fence, vec![pull(&digest, None)])
        .expect("it comes by its digest");
    assert!(is_there(&bed, &digest));
    // A name with both: the digest decides.
    let both = digest.replacen("/box@", "/box:whatever@", 1);
    bed.act(&fence, vec![pull(&both, None)]).expect("it is there");

    let wrong = format!("{}/box@sha256:{}", registry.name, "0".repeat(64));
    let said = refused(&bed, &fence, pull(&wrong, None));
    assert!(said.contains("not found") || said.contains("unknown"), "{said}");
    registry.stop();
    bed.act(&fence, vec![pull(&digest, None)])
        .expect("what is there is not asked for");
    let said = refused(&bed, &fence, pull(&tag.replace(":1", ":2"), None));
    assert!(said.contains("connection refused"), "{said}");
}

#[test]
fn registry_with_an_account_lets_nobody_else_in_and_no_password_is_seen() {
    let fleet = Fleet::up_with_engines(1);
    let registry = Registry::start(&fleet, Some(("puller", POISON)));
    registry.admit(&fleet, "h1");
    let tag = format!("{}/box:1", registry.name);
    fleet.sh(
        "h1",
        &format!(
            "docker tag box:1 {tag} && echo {POISON} | docker login -u puller --password-stdin {} && docker push -q {tag} && \
             docker logout {} && docker rmi {tag} box:1",
            registry.name, registry.name
        ),
    );
    let bed = Bed::new(&fleet, "root");
    let fence = bed.lock("0123456789ab-1");
    let login = |password: Body| Login {
        user: text("puller"),
        password,
    };
    let said = refused(&bed, &fence, pull(&tag, None));
    assert!(said.contains("auth"), "{said}");
    let said = refused(&bed, &fence, pull(&tag, Some(login(text("not-the-password")))));
    assert!(said.contains("unauthorized"), "{said}");
    let right = login(secret());
    bed.act(&fence, vec![pull(&tag, Some(right))]).expect("it comes");
    assert!(is_there(&bed, &tag));
    fleet.sh(
        "h1",
        &format!("! grep -r {POISON} /var/lib/muster /root/.docker 2>/dev/null"),
    );
}

/// How many layers the big image has that the host lacks, and how much each has.
const LAYERS: usize = 4;
const LAYER_MIB: usize = 3;

/// Returns how many lines say how far a pull has come, and makes sure that they come further.
fn steps(lines: &[(u64, u64, u64, u64)]) -> usize {
    for (layers_done, layers, bytes_done, bytes) in lines {
        assert!(layers_done <= layers && bytes_done <= bytes, "{lines:?}");
        assert_eq!(*layers, LAYERS as u64 + 1, "one of them is there: {lines:?}");
    }
    let ordered = lines
        .windows(2)
        .all(|pair| pair[0].0 <= pair[1].0 && pair[0].2 < pair[1].2);
    assert!(ordered, "{lines:?}");
    lines.len()
}

#[test]
fn pull_that_takes_long_is_told_by_its_layers_in_few_lines_and_the_journal_knows_nothing_of_it() {
    let fleet = Fleet::up_with_engines(1);
    let registry = Registry::start_slow(&fleet, 700 * 1024);
    registry.admit(&fleet, "h1");
    let tag = format!("{}/big:1", registry.name);
    let layers: String = (0..LAYERS)
        .map(|number| format!("COPY {number} /{number}\\n"))
        .collect();
    fleet.sh(
        "h1",
        &format!(
            "mkdir /root/big && cd /root/big && for n in $(seq 0 {}); do head -c {LAYER_MIB}M /dev/urandom >$n; done && \
             printf 'FROM box:1\\n{layers}' >Dockerfile && docker build -q -t {tag} . && docker push -q {tag} && docker rmi {tag} && docker image prune -f",
            LAYERS - 1
        ),
    );
    let project = Project::new(&fleet, &["h1"]);
    project.module(&format!("[[image]]\nname = \"{tag}\"\n"));

    // In plain lines.
    let plain = project.muster(&["apply", "-y", "--no-input"]);
    assert_eq!(plain.code, 0, "{}{}", plain.stdout, plain.stderr);
    let number = |text: &str| text.trim().parse::<f64>().expect("a number");
    let of = |text: &str, unit: &str| {
        let (done, all) = text
            .trim_end_matches(unit)
            .split_once(" of ")
            .expect("a part of a whole");
        (number(done), number(all))
    };
    let told: Vec<(u64, u64, u64, u64)> = plain
        .stderr
        .lines()
        .filter_map(|line| line.split_once(&format!("h1: pulls {tag}: ")))
        .map(|(_, said)| {
            let (layers, bytes) = said.split_once(", ").expect("layers and bytes");
            let (layers, bytes) = (of(layers, " layers"), of(bytes, " MiB"));
            (
                layers.0 as u64,
                layers.1 as u64,
                (bytes.0 * 10.0) as u64,
                (bytes.1 * 10.0) as u64,
            )
        })
        .collect();
    assert!((2..=10).contains(&steps(&told)), "{}", plain.stderr);

    // For programs.
    let again = format!("docker rmi {tag}");
    fleet.sh("h1", &again);
    let json = project.muster(&["apply", "-y", "--no-input", "--json"]);
    assert_eq!(json.code, 0, "{}{}", json.stdout, json.stderr);
    let objects = json
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    let told: Vec<(u64, u64, u64, u64)> = objects
        .filter(|object| object["type"] == "pulling")
        .map(|object| {
            assert_eq!(
                (object["host"].as_str(), object["image"].as_str()),
                (Some("h1"), Some(tag.as_str()))
            );
            let number = |name: &str| object[name].as_u64().expect("a number");
            (
                number("layers_done"),
                number("layers"),
                number("bytes_done"),
                number("bytes"),
            )
        })
        .collect();
    assert!((2..=10).contains(&steps(&told)), "{}", json.stdout);
    assert!(
        told.iter()
            .all(|said| said.3 <= (LAYERS * LAYER_MIB + 1) as u64 * 1024 * 1024)
    );

    // On a terminal: more often, in the host's own line.
    fleet.sh("h1", &again);
    let apply = format!("{} apply -y --no-input", env!("CARGO_BIN_EXE_muster"));
    let shown = std::process::Command::new("script")
        .args(["-qefc", &apply, "/dev/null"])
        .current_dir(project.folder())
        .env("HOME", project.folder())
        .env("TERM", "xterm")
        .env_remove("SSH_AUTH_SOCK")
        // Where these are set there is no live display, terminal or not.
        .env_remove("CI")
        .env_remove("NO_COLOR")
        .stdin(std::process::Stdio::null())
        .output()
        .expect("script is installed");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let part = format!("h1: pulls {tag}: ");
    let states: std::collections::BTreeSet<&str> = shown
        .split(&part)
        .skip(1)
        .filter_map(|rest| rest.split_once(" MiB").map(|(said, _)| said))
        .collect();
    assert!(states.len() > 10, "{states:?}: {shown}");
    let whole = format!(" of {} layers", LAYERS + 1);
    let done: std::collections::BTreeSet<&str> = states
        .iter()
        .filter_map(|said| said.split_once(&whole).map(|(done, _)| done))
        .collect();
    assert!(
        done.len() > 1,
        "layers come to their end one after another: {states:?}"
    );

    let runs = std::fs::read_dir(project.folder().join("plans/fleet")).expect("plans are kept");
    let journals: Vec<String> = runs
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.to_string_lossy().ends_with(".journal.jsonl"))
        .map(|path| std::fs::read_to_string(path).expect("a journal"))
        .collect();
    assert_eq!(journals.len(), 3);
    for journal in journals {
        assert!(
            !journal.contains("pull") && journal.lines().count() < 12,
            "{journal}"
        );
    }
}
