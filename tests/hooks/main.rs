//! Hooks with real programs and real web servers, around runs over a fleet in memory: when each is called, what it is told,
//! what its failure stops, and that a resume calls none twice.

mod server;
#[path = "../support/mod.rs"]
mod support;
mod web;

use std::collections::BTreeMap;
use std::path::Path;

use muster::apply::{Log, Progress, Run, Start, call_hook, drive};
use muster::model::event::{Event, RunOutcome, Task};
use muster::model::hook::{Call, Hook, Moment};
use muster::model::plan::Plan;
use muster::model::secret::Secret;
use muster::ports::{HookSaid, Secrets};
use muster::rollout::{Rollout, replay};
use muster::store::StoreError;
use support::fleet::Fleet;
use support::plans::{Builder, file};
use tokio::sync::mpsc::unbounded_channel;

struct Quiet;

impl Progress for Quiet {
    fn started(&mut self, _: jiff::Timestamp, _: &Task) {}
    fn happened(&mut self, _: jiff::Timestamp, _: &Event) {}
}

/// A journal in memory that dies before or after one of its lines.
#[derive(Default)]
struct Memory {
    events: Vec<Event>,
    dies_at: Option<usize>,
}

impl Log for Memory {
    fn append(&mut self, _: jiff::Timestamp, event: &Event) -> Result<(), StoreError> {
        if self.dies_at == Some(self.events.len()) {
            panic!("killed");
        }
        self.events.push(event.clone());
        Ok(())
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(work)
}

fn hook(on: Moment, call: Call) -> Hook {
    Hook {
        name: format!("the {on} one"),
        on,
        call,
        timeout_secs: 20,
        retry_within_secs: 0,
        retry_every_secs: 1,
        required: false,
    }
}

/// A hook that notes its moment and its wave in a file, and then ends with a status.
fn noting(on: Moment, folder: &Path, status: u8) -> Hook {
    let script = folder.join("note.sh");
    let text = "#!/bin/sh\nset -e\ncat > \"$1/$2.json\"\nprintf '%s\\n' \"$2$(grep -o '\"number\":[0-9]*' \"$1/$2.json\" | tr -dc 0-9)\" >> \"$1/calls\"\nexit $3\n";
    std::fs::write(&script, text).unwrap();
    let words = [
        "sh",
        script.to_str().unwrap(),
        folder.to_str().unwrap(),
        &on.to_string(),
        &status.to_string(),
    ];
    hook(on, Call::Command(words.map(str::to_owned).to_vec()))
}

fn calls(folder: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("calls")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn told(folder: &Path, on: &str) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(folder.join(format!("{on}.json"))).unwrap()).unwrap()
}

const OF_RUN: [Moment; 5] = [
    Moment::BeforeRun,
    Moment::BeforeWave,
    Moment::AfterWave,
    Moment::AfterRun,
    Moment::Failure,
];

fn two_waves(folder: &Path) -> Plan {
    let mut plan = Builder::new()
        .wave(1, [file("file[/a]@h1", &[])])
        .wave(1, [file("file[/b]@h2", &[])])
        .plan;
    plan.hooks = OF_RUN.map(|on| noting(on, folder, 0)).to_vec();
    plan
}

fn go(plan: &Plan, fleet: &Fleet, rollout: Rollout<'_>, is_resumed: bool, log: &mut Memory) -> RunOutcome {
    let run = Run {
        plan,
        id: "0123456789ab-1".parse().unwrap(),
        who: "alice@laptop".to_owned(),
        secrets: fleet.secrets.clone(),
        ports: fleet.ports(),
    };
    let start = Start {
        is_resumed,
        ..Start::default()
    };
    let mut interrupts = unbounded_channel().1;
    let mut quiet = Quiet;
    let driven = drive(&run, rollout, start, log, &mut interrupts, &mut quiet);
    block_on(driven).expect("the journal can be written")
}

fn walk(plan: &Plan, fleet: &Fleet) -> (RunOutcome, Vec<Event>) {
    let mut log = Memory::default();
    let outcome = go(plan, fleet, Rollout::new(plan), false, &mut log);
    (outcome, log.events)
}

#[test]
fn hooks_come_in_their_order_and_are_told_what_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (outcome, events) = walk(&two_waves(folder), &Fleet::default());
    assert_eq!(outcome.exit, 0);
    assert_eq!(
        calls(folder),
        [
            "before-run",
            "before-wave1",
            "after-wave1",
            "before-wave2",
            "after-wave2",
            "after-run"
        ]
    );
    let wave = told(folder, "before-wave");
    assert_eq!(wave["wave"]["of"], 2);
    assert_eq!(wave["wave"]["hosts"], serde_json::json!(["h2"]));
    assert_eq!(
        wave["wave"]["changes"],
        serde_json::json!([{ "resource": "file[/b]@h2", "action": "create" }])
    );
    assert_eq!(
        (&wave["format"], &wave["plan"]["id"]),
        (&1.into(), &"0123456789ab".into())
    );
    assert_eq!(told(folder, "after-run")["outcome"]["applied"], 2);
    // The first host is worked on only after the hook before the run, and the journal has each in its place.
    let place = |is: &dyn Fn(&Event) -> bool| events.iter().position(is).unwrap();
    let said = place(&|event| matches!(event, Event::HookSaid { .. }));
    let locked = place(&|event| matches!(event, Event::Locked { .. }));
    assert!(said < locked);
    assert!(matches!(events.last(), Some(Event::Ended { .. })));
}

#[test]
fn what_is_required_stops_what_it_comes_before_and_nothing_else_does() {
    for (on, exit, applied) in [
        (Moment::BeforeRun, 7, 0),
        (Moment::BeforeWave, 8, 0),
        (Moment::AfterWave, 0, 2),
    ] {
        for required in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let mut plan = two_waves(folder.path());
            let place = OF_RUN.iter().position(|moment| *moment == on).unwrap();
            plan.hooks[place] = noting(on, folder.path(), 3);
            plan.hooks[place].required = required;
            let fleet = Fleet::default();
            let (outcome, events) = walk(&plan, &fleet);
            let wanted = if required { (exit, applied) } else { (0, 2) };
            assert_eq!((outcome.exit, outcome.applied), wanted, "{on} {required}");
            if exit != 0 && required {
                assert!(
                    outcome.not_done.values().all(|why| why.contains("status 3")),
                    "{:?}",
                    outcome.not_done
                );
                assert!(
                    !events.iter().any(|event| matches!(event, Event::Locked { .. })),
                    "nothing was touched"
                );
                let last = calls(folder.path());
                assert!(
                    last.ends_with(&["after-run".to_owned(), "failure".to_owned()]),
                    "{last:?}"
                );
                assert_eq!(told(folder.path(), "failure")["outcome"]["exit"], exit);
            }
        }
    }
}

#[test]
fn a_run_that_a_hook_held_up_goes_on_when_the_hook_is_content() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = two_waves(folder.path());
    let gate = folder.path().join("open");
    let script = format!("test -e {}", gate.display());
    plan.hooks[1].call = Call::Command(["sh", "-c", &script].map(str::to_owned).to_vec());
    plan.hooks[1].required = true;
    let fleet = Fleet::default();
    let (outcome, events) = walk(&plan, &fleet);
    assert_eq!(outcome.exit, 8);
    std::fs::write(gate, "").unwrap();
    let outcome = go(
        &plan,
        &fleet,
        replay(&plan, &events),
        true,
        &mut Memory::default(),
    );
    assert_eq!((outcome.exit, outcome.applied), (0, 2));
    assert_eq!(
        calls(folder.path())
            .iter()
            .filter(|call| *call == "before-run")
            .count(),
        1
    );
}

/// A hook is called again only where nobody saw its end: killed at any line, each is called once, or twice if it was the one in flight.
#[test]
fn killed_at_any_line_no_hook_is_called_again_whose_end_was_seen() {
    let whole = {
        let folder = tempfile::tempdir().unwrap();
        walk(&two_waves(folder.path()), &Fleet::default()).1.len()
    };
    assert!(whole > 12, "{whole}");
    for dies_at in 0..whole {
        let folder = tempfile::tempdir().unwrap();
        let plan = two_waves(folder.path());
        let fleet = Fleet::default();
        let mut log = Memory {
            dies_at: Some(dies_at),
            ..Memory::default()
        };
        let walked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            go(&plan, &fleet, Rollout::new(&plan), false, &mut log)
        }));
        assert!(walked.is_err(), "killed at {dies_at}");
        let seen = |event: &&Event| matches!(event, Event::HookSaid { .. });
        let before: usize = log.events.iter().filter(seen).count();
        let called_before = calls(folder.path()).len();
        let outcome = go(
            &plan,
            &fleet,
            replay(&plan, &log.events),
            true,
            &mut Memory::default(),
        );
        assert_eq!((outcome.exit, outcome.applied), (0, 2), "killed at {dies_at}");
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for call in calls(folder.path()) {
            *counts.entry(call).or_default() += 1;
        }
        assert_eq!(counts.len(), 6, "killed at {dies_at}: {counts:?}");
        // The end of a run is told at the end of each session; what was in flight may be called twice.
        let again: usize = counts
            .iter()
            .filter(|(name, _)| *name != "after-run")
            .map(|(_, count)| count - 1)
            .sum();
        assert!(again <= called_before - before, "killed at {dies_at}: {counts:?}");
    }
}

fn call(hook: &Hook, secrets: Secrets) -> HookSaid {
    let mut fleet = Fleet::default();
    fleet.secrets = secrets;
    block_on(call_hook(&fleet.ports(), hook, &serde_json::json!({ "a": 1 })))
}

fn shell(script: &str) -> Hook {
    hook(
        Moment::AfterRun,
        Call::Command(["sh", "-c", script].map(str::to_owned).to_vec()),
    )
}

#[test]
fn a_program_gets_no_secret_and_what_it_says_is_cut() {
    // The variable stands for one that a secret's source names; it was set for this test by the build.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    let said = call(
        &shell("env | grep -c CARGO; cat; echo; seq 1 100000"),
        Secrets::default(),
    );
    assert_eq!(said.result, Ok(()));
    assert_eq!(said.tail.last().unwrap(), "100000");
    assert!(said.tail.len() <= 10);
    let said = call(&shell("env | grep CARGO_; cat; exit 4"), Secrets::default());
    assert_eq!(said.tail, ["{\"a\":1}"]);
    assert_eq!(said.result.unwrap_err().why, "`sh` ended with status 4");
    let secrets = Secrets::new([("env:X".parse().unwrap(), Secret::new("hunter2"))].into());
    assert_eq!(
        call(&shell("echo it is hunter2"), secrets.clone()).tail,
        ["it is ***"]
    );
    let named = hook(Moment::AfterRun, Call::Command(vec!["/no/hunter2".to_owned()]));
    let why = call(&named, secrets).result.unwrap_err().why;
    assert!(why.contains("/no/***") && !why.contains("hunter2"), "{why}");
}

#[test]
fn a_program_that_does_not_end_is_ended_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("pid");
    let mut slow = shell(&format!("sleep 300 & echo $! > {}; wait", mark.display()));
    slow.timeout_secs = 1;
    let said = call(&slow, Secrets::default());
    assert_eq!(said.result.unwrap_err().why, "no end within 1 s");
    let child = std::fs::read_to_string(mark).unwrap();
    let is_gone = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        let status = std::fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
        status.is_empty() || status.contains(") Z")
    });
    assert!(is_gone, "what it started still runs");
    let missing = hook(
        Moment::AfterRun,
        Call::Command(vec!["/nowhere/at-all".to_owned()]),
    );
    assert!(
        call(&missing, Secrets::default())
            .result
            .unwrap_err()
            .why
            .contains("cannot be started")
    );
}
