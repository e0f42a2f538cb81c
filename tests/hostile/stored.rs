//! Files of the controller that somebody altered: plans, journals, looks, manifests. Words, and never a panic or another value.

use std::path::Path;
use std::time::Duration;

use muster::model::event::{Event, RunOutcome};
use muster::model::manifest_text;
use muster::model::op::Op;
use muster::model::plan::Plan;
use muster::store::journal::{self, Header, JOURNAL_FORMAT, Journal};
use muster::store::plan::{self as stored, Made};
use muster::store::recorded;
use proptest::prelude::*;

use super::plans::{self, Builder};

const MANIFEST: &str = include_str!("../formats/v1/manifest.txt");
const NOW: jiff::Timestamp = jiff::Timestamp::UNIX_EPOCH;

/// One alteration of a text.
#[derive(Debug, Clone)]
enum Cut {
    Byte(usize, u8),
    Away(usize, usize),
    Twice(usize, usize),
    In(usize, &'static str),
}

fn cut() -> impl Strategy<Value = Cut> {
    let pieces: &[&str] = &[
        "\"",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "null",
        "-1",
        "1e999",
        "99999999999999999999",
        "\\ud800",
        "\u{0}",
        "\n",
        "\t",
        "[[[[[[[[",
        "{\"a\":",
        "\u{202e}",
        "../../etc/passwd",
        "{\"$blob\":\"../x\"}",
    ];
    prop_oneof![
        4 => (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Cut::Byte(at, byte)),
        1 => (any::<usize>(), 0..60_usize).prop_map(|(at, count)| Cut::Away(at, count)),
        1 => (any::<usize>(), 0..60_usize).prop_map(|(at, count)| Cut::Twice(at, count)),
        2 => (any::<usize>(), prop::sample::select(pieces.to_vec())).prop_map(|(at, piece)| Cut::In(at, piece)),
    ]
}

fn altered(bytes: &[u8], cuts: &[Cut]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for cut in cuts {
        let count = bytes.len().max(1);
        match cut {
            Cut::Byte(at, byte) => bytes[at % count] = *byte,
            Cut::Away(at, length) => drop(bytes.drain(at % count..(at % count + length).min(count))),
            Cut::Twice(at, length) => {
                let again = bytes[at % count..(at % count + length).min(count)].to_vec();
                bytes.splice(at % count..at % count, again);
            }
            Cut::In(at, piece) => drop(bytes.splice(at % count..at % count, piece.bytes())),
        }
        if bytes.is_empty() {
            bytes.push(b'x');
        }
    }
    bytes
}

fn sample() -> Plan {
    let long = "a long content\n".repeat(400);
    let mut big = plans::file("file[/big]@a", &["file[/a]@a"]);
    big.spec = plans::file_spec(&big.target.key, &long).encode();
    let gate = plans::gate("up", muster::model::gate::OnDeadline::Halt);
    Builder::new()
        .wave(1, [plans::file("file[/a]@a", &[]), big])
        .wave(
            2,
            [
                plans::file("file[/a]@b", &[]),
                plans::file("file[/a]@c", &["file[/a]@b"]),
            ],
        )
        .after("b", gate)
        .down("d")
        .plan
}

/// Saves the sample and returns the bytes of the plan's file.
fn saved(folder: &Path) -> (std::path::PathBuf, Vec<u8>) {
    let saved = stored::save(sample(), Made::now(NOW), folder).expect("it is saved");
    let bytes = std::fs::read(&saved.path).expect("it is there");
    (saved.path, bytes)
}

fn events() -> Vec<Event> {
    let (a, b) = (plans::id("file[/a]@a"), plans::id("file[/a]@b"));
    let checked = |host: &str, wave| Event::Checked {
        host: plans::host(host),
        wave,
        outcome: muster::model::event::CheckOutcome::Fresh,
    };
    vec![
        Event::Started {
            who: "alice@laptop".to_owned(),
            resumed: false,
            left_out: [].into(),
        },
        Event::Locked {
            host: plans::host("a"),
            token: 3,
            lineage: Some("8b6f2f5e-3b1e-4f0a-9c39-0a1b2c3d4e5f".to_owned()),
        },
        checked("a", 0),
        Event::Began {
            changes: vec![a.clone()],
        },
        Event::Applied {
            change: a.clone(),
            after: muster::model::digest::Digest::of("x"),
            outputs: [].into(),
        },
        checked("b", 1),
        Event::Began {
            changes: vec![b.clone()],
        },
        Event::Failed {
            change: b.clone(),
            why: "no".to_owned(),
            tail: vec!["x".to_owned()],
            unknown: false,
        },
        Event::GateSaid {
            gate: muster::model::event::GateId::Wave(1, 0),
            open: false,
            why: "no".to_owned(),
        },
        Event::Undone {
            change: b.clone(),
            error: None,
            held: false,
        },
        Event::Interrupted,
        Event::Ended {
            outcome: RunOutcome {
                exit: 3,
                applied: 1,
                failed: [b].into(),
                undone: 0,
                not_done: [(a, "x".to_owned())].into(),
                unreachable: [plans::host("d")].into(),
            },
        },
    ]
}

fn written_journal(folder: &Path) -> std::path::PathBuf {
    let plan = sample().id();
    let run: muster::model::id::RunId = format!("{plan}-1").parse().expect("a run");
    let header = Header {
        format: JOURNAL_FORMAT,
        plan,
        run: run.clone(),
        by_version: "0.1.0".to_owned(),
        at: NOW,
    };
    let mut journal = Journal::create(folder, &header).expect("a journal");
    events()
        .iter()
        .for_each(|event| journal.append(NOW, event).expect("a line"));
    journal::path(folder, &run)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_altered_plan_is_refused_or_the_same_plan(cuts in prop::collection::vec(cut(), 1..4)) {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, bytes) = saved(folder.path());
        std::fs::write(&path, altered(&bytes, &cuts)).expect("written");
        if let Ok(loaded) = stored::load(&path) {
            prop_assert_eq!(loaded.plan, sample());
        }
    }

    #[test]
    fn an_altered_journal_is_read_or_refused_and_replayed_either_way(cuts in prop::collection::vec(cut(), 1..4)) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = written_journal(folder.path());
        let bytes = std::fs::read(&path).expect("it is there");
        std::fs::write(&path, altered(&bytes, &cuts)).expect("written");
        if let Ok(recorded) = journal::read(&path) {
            let plan = sample();
            let rollout = muster::rollout::replay(&plan, recorded.events());
            drop((rollout.outcome(), rollout.outputs(), recorded.is_unfinished()));
        }
    }

    #[test]
    fn events_in_any_order_and_of_other_plans_are_replayed(order in prop::collection::vec(0..12_usize, 0..20), wave in any::<usize>(), index in any::<usize>()) {
        let mut all = events();
        let elsewhere = plans::id("file[/nowhere]@nobody");
        all[8] = Event::GateSaid { gate: muster::model::event::GateId::Wave(wave % 9, index % 9), open: index % 2 == 0, why: String::new() };
        all.push(Event::Began { changes: vec![elsewhere.clone()] });
        all.push(Event::GateSaid { gate: muster::model::event::GateId::Change(elsewhere, index), open: true, why: String::new() });
        let plan = sample();
        let chosen: Vec<&Event> = order.iter().map(|n| &all[(n + wave % 3) % all.len()]).collect();
        let rollout = muster::rollout::replay(&plan, chosen);
        drop((rollout.outcome(), rollout.outputs()));
    }

    #[test]
    fn an_altered_manifest_is_refused_or_the_same(cuts in prop::collection::vec(cut(), 1..4)) {
        let text = altered(MANIFEST.as_bytes(), &cuts);
        if let Ok(manifest) = manifest_text::read(&String::from_utf8_lossy(&text)) {
            prop_assert_eq!(manifest_text::write(&manifest), MANIFEST);
        }
    }

    #[test]
    fn a_manifest_that_says_nonsense_under_a_right_checksum_is_read_or_refused(cuts in prop::collection::vec(cut(), 1..4)) {
        let above = MANIFEST.rfind("sha256 ").expect("it has a checksum");
        let text = String::from_utf8_lossy(&altered(&MANIFEST.as_bytes()[..above], &cuts)).into_owned();
        let sum = muster::model::digest::Digest::of(&text);
        drop(manifest_text::read(&format!("{text}sha256 {sum}\n")));
    }

    #[test]
    fn an_altered_look_is_read_or_refused(cuts in prop::collection::vec(cut(), 1..4)) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.observation.json");
        let mut seen = muster::model::observation::Observation::default();
        seen.hosts.insert(plans::host("a"), muster::model::observation::HostView::unreachable("no route"));
        recorded::save(&seen, &path).expect("saved");
        let bytes = std::fs::read(&path).expect("it is there");
        std::fs::write(&path, altered(&bytes, &cuts)).expect("written");
        drop(recorded::load(&path));
    }
}

#[test]
fn a_forged_plan_runs_no_script_under_another_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = Op::Run {
        script: muster::model::body::Body::text("touch /tmp/muster-hostile"),
        env: [].into(),
        user: None,
        directory: None,
        timeout_secs: 5,
    };
    for is_undo in [false, true] {
        let mut plan = sample();
        let change = plan.changes.values_mut().next().expect("a change");
        match is_undo {
            true => change.undo = muster::model::change::Undo::Exact(vec![run.clone()]),
            false => change.ops.push(run.clone()),
        }
        // Whoever can write the file can write its digest too.
        let saved = stored::save(plan, Made::now(NOW), folder.path()).expect("saved");
        let error = stored::load(&saved.path).expect_err("it is refused").to_string();
        assert!(
            error.contains("file[/a]@a") && error.contains("script"),
            "{error}"
        );
    }
}

#[test]
fn nesting_without_end_is_refused_and_overflows_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("deep.plan.json");
    for depth in [100, 10_000, 1_000_000] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("{\"$blob\":[", "]}")] {
            let deep = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            let text =
                format!("{{\"format\":1,\"made\":{deep},\"id\":\"x\",\"digest\":\"x\",\"plan\":{deep}}}");
            std::fs::write(&path, &text).expect("written");
            assert!(stored::load(&path).is_err());
            std::fs::write(&path, format!("{{\"format\":1,\"observation\":{deep}}}")).expect("written");
            assert!(recorded::load(&path).is_err());
            std::fs::write(
                &path,
                format!(
                    "{{\"format\":1,\"plan\":\"x\",\"run\":\"x-1\",\"by_version\":\"x\",\"at\":{deep}}}\n"
                ),
            )
            .expect("written");
            assert!(journal::read(&path).is_err());
        }
    }
}

#[test]
fn what_is_no_file_in_the_folder_of_plans_is_said_and_waited_for_by_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("a-1.journal.jsonl")).expect("a folder");
    std::os::unix::fs::symlink("/dev/zero", at("b-1.journal.jsonl")).expect("a link");
    std::os::unix::fs::symlink("/dev/zero", at("zero.plan.json")).expect("a link");
    std::os::unix::fs::symlink("nowhere", at("none.plan.json")).expect("a link");
    let made = std::process::Command::new("mkfifo")
        .arg(at("pipe.plan.json"))
        .status()
        .expect("mkfifo runs");
    assert!(made.success());
    let (done, waiting) = std::sync::mpsc::channel();
    let path = folder.path().to_owned();
    std::thread::spawn(move || {
        for name in ["zero.plan.json", "none.plan.json", "pipe.plan.json"] {
            assert!(stored::load(&path.join(name)).is_err(), "{name}");
            assert!(recorded::load(&path.join(name)).is_err(), "{name}");
        }
        for name in ["a-1.journal.jsonl", "b-1.journal.jsonl"] {
            assert!(journal::read(&path.join(name)).is_err(), "{name}");
        }
        assert!(journal::all(&path).is_err());
        done.send(()).expect("somebody waits");
    });
    waiting
        .recv_timeout(Duration::from_secs(20))
        .expect("nothing of it takes time");
}
