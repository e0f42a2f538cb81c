//! The driver's promises, over a fleet in memory: what is done is recorded, what is stale is refused, what is killed goes on.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::path::Path;

use muster::apply::{DriveError, Log, Progress, Ready, Refusal, Run, Start, drive, preflight};
use muster::model::body::{Body, Piece};
use muster::model::change::Change;
use muster::model::event::{Event, RunOutcome, Task};
use muster::model::gate::OnDeadline;
use muster::model::id::{ResourceKey, RunId};
use muster::model::manifest::{Origin, OwnedState};
use muster::model::op::Op;
use muster::model::plan::Plan;
use muster::model::secret::Secret;
use muster::model::wave::OnFailure;
use muster::ports::Secrets;
use muster::resource::Spec;
use muster::rollout::{Rollout, replay};
use muster::store::StoreError;
use muster::store::journal::{Header, JOURNAL_FORMAT, Journal, read};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use support::fleet::Fleet;
use support::plans::{Builder, file, gate, host, id};

struct Quiet;

impl Progress for Quiet {
    fn started(&mut self, _: jiff::Timestamp, _: &Task) {}
    fn happened(&mut self, _: jiff::Timestamp, _: &Event) {}
}

/// A journal on disk that dies at one of its lines: before it is written, or after.
struct Mortal {
    journal: Journal,
    lines_left: usize,
    dies_after: bool,
}

impl Log for Mortal {
    fn append(&mut self, at: jiff::Timestamp, event: &Event) -> Result<(), StoreError> {
        let dies = self.lines_left == 0;
        self.lines_left = self.lines_left.saturating_sub(1);
        if dies && !self.dies_after {
            panic!("killed");
        }
        self.journal.append(at, event)?;
        if dies {
            panic!("killed")
        }
        Ok(())
    }
}

fn run_id() -> RunId {
    "0123456789ab-1".parse().expect("a run id")
}

fn run<'p>(plan: &'p Plan, fleet: &Fleet) -> Run<'p> {
    Run {
        plan,
        id: run_id(),
        who: "alice@laptop".to_owned(),
        secrets: fleet.secrets.clone(),
        ports: fleet.ports(),
    }
}

fn header(plan: &Plan) -> Header {
    Header {
        format: JOURNAL_FORMAT,
        plan: plan.id(),
        run: run_id(),
        by_version: "0".to_owned(),
        at: jiff::Timestamp::UNIX_EPOCH,
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime")
        .block_on(work)
}

fn silent() -> UnboundedReceiver<()> {
    unbounded_channel().1
}

/// Carries a plan out from the start and returns how it ended, with the journal's text.
fn walk(plan: &Plan, fleet: &Fleet) -> (RunOutcome, String) {
    walk_with(plan, fleet, Start::default(), &mut silent())
}

fn walk_with(
    plan: &Plan,
    fleet: &Fleet,
    start: Start,
    interrupts: &mut UnboundedReceiver<()>,
) -> (RunOutcome, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut journal = Journal::create(folder.path(), &header(plan)).expect("a journal");
    let (run, mut quiet) = (run(plan, fleet), Quiet);
    let driven = drive(
        &run,
        Rollout::new(plan),
        start,
        &mut journal,
        interrupts,
        &mut quiet,
    );
    let outcome = block_on(driven).expect("the journal can be written");
    let text =
        std::fs::read_to_string(muster::store::journal::path(folder.path(), &run_id())).expect("a journal");
    (outcome, text)
}

fn owned(fleet: &Fleet, name: &str, key: &str) -> Option<(OwnedState, Origin)> {
    let key: ResourceKey = key.parse().expect("a key");
    fleet.host(name, |host| {
        let entry = host.manifest.as_ref()?.owned.get(&key)?;
        assert_eq!(entry.after.is_some(), entry.state == OwnedState::Done);
        Some((entry.state, entry.origin))
    })
}

/// A journal that notes who has which host when a change begins.
struct Watched<'f> {
    fleet: &'f Fleet,
    journal: Journal,
    seen: Vec<String>,
}

impl Log for Watched<'_> {
    fn append(&mut self, at: jiff::Timestamp, event: &Event) -> Result<(), StoreError> {
        if let Event::Began { changes } = event {
            let has = |name: &str| self.fleet.host(name, |host| host.locked_by.is_some());
            let locked: Vec<&str> = ["h1", "h2"].into_iter().filter(|name| has(name)).collect();
            self.seen
                .push(format!("{}: {}", changes[0].key, locked.join(" ")));
        }
        self.journal.append(at, event)
    }
}

#[test]
fn a_host_is_given_back_after_its_last_change_and_not_at_the_end() {
    let fleet = Fleet::default();
    let plan = Builder::new()
        .wave(1, [file("file[/a]@h1", &[]), file("file[/b]@h2", &[])])
        .wave(1, [file("file[/c]@h2", &[])])
        .plan;
    // What a host heard last may be lost; its manifest says that it was done.
    for lost in [BTreeSet::new(), BTreeSet::from([host("h1"), host("h2")])] {
        fleet.faults(|faults| faults.lost_endings = lost);
        let folder = tempfile::tempdir().expect("a folder");
        let mut watched = Watched {
            fleet: &fleet,
            journal: Journal::create(folder.path(), &header(&plan)).expect("a journal"),
            seen: Vec::new(),
        };
        let (run, mut quiet, mut interrupts) = (run(&plan, &fleet), Quiet, silent());
        let driven = drive(
            &run,
            Rollout::new(&plan),
            Start::default(),
            &mut watched,
            &mut interrupts,
            &mut quiet,
        );
        let outcome = block_on(driven).expect("the journal can be written");
        assert_eq!((outcome.exit, outcome.applied), (0, 3), "{outcome:?}");
        assert_eq!(watched.seen, ["file[/a]: h1 h2", "file[/b]: h2", "file[/c]: h2"]);
        assert!(fleet.host("h2", |host| host.locked_by.is_none()));
        assert_eq!(
            owned(&fleet, "h2", "file[/c]"),
            Some((OwnedState::Done, Origin::Made)),
            "its last entry is written"
        );
        fleet.host("h1", |host| *host = Default::default());
        fleet.host("h2", |host| *host = Default::default());
    }
}

fn two_hosts() -> Plan {
    Builder::new()
        .policy(|policy| policy.failures_max = 5)
        .wave(
            2,
            [
                file("file[/a]@h1", &[]),
                file("file[/b]@h2", &["file[/a]@h1"]),
                file("file[/c]@h1", &[]),
            ],
        )
        .plan
}

#[test]
fn what_is_done_is_recorded_and_the_locks_are_freed() {
    let (plan, fleet) = (two_hosts(), Fleet::default());
    let (outcome, journal) = walk(&plan, &fleet);
    assert_eq!((outcome.exit, outcome.applied), (0, 3));
    assert_eq!(
        fleet.host("h2", |host| host.files.clone()),
        BTreeMap::from([("/b".into(), "new".into())])
    );
    assert_eq!(
        owned(&fleet, "h1", "file[/a]"),
        Some((OwnedState::Done, Origin::Made))
    );
    assert!(fleet.host("h1", |host| host.locked_by.is_none() && host.token == 1));
    let lines: Vec<&str> = journal.lines().collect();
    let line = |what: &str| lines.iter().position(|line| line.contains(what)).expect(what);
    assert!(line("\"locked\"") < line("\"checked\"") && line("\"began\"") < line("\"applied\""));
    assert!(lines.last().expect("lines").contains("\"ended\""));
}

/// Kills a run at every line of its journal, goes on, and compares with an undisturbed run.
#[test]
fn a_run_killed_at_any_line_goes_on_to_the_same_end_and_does_everything_once() {
    let plan = Builder::new()
        .wave(
            2,
            [
                file("file[/a]@h1", &[]),
                file("file[/b]@h2", &["file[/a]@h1"]),
                file("file[/c]@h1", &[]),
            ],
        )
        .after("h1", gate("up", OnDeadline::Halt))
        .wave(1, [file("file[/d]@h1", &["file[/b]@h2"])])
        .plan;
    let undisturbed = Fleet::default();
    let (outcome, journal) = walk(&plan, &undisturbed);
    assert_eq!((outcome.exit, outcome.applied), (0, 4));
    let lines = journal.lines().count() - 1;
    assert!(lines > 12, "the run is worth killing");
    std::panic::set_hook(Box::new(|_| {}));
    for (dies_at, dies_after) in (0..lines).flat_map(|at| [(at, false), (at, true)]) {
        let fleet = Fleet::default();
        let folder = tempfile::tempdir().expect("a folder");
        let journal = Journal::create(folder.path(), &header(&plan)).expect("a journal");
        let mut mortal = Mortal {
            journal,
            lines_left: dies_at,
            dies_after,
        };
        let run = run(&plan, &fleet);
        let killed = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let mut none = silent();
            block_on(drive(
                &run,
                Rollout::new(&plan),
                Start::default(),
                &mut mortal,
                &mut none,
                &mut Quiet,
            ))
        }));
        assert!(killed.is_err(), "it dies at line {dies_at}");
        drop(mortal);
        let outcome = resume(&plan, &fleet, folder.path());
        let at = format!("killed at line {dies_at}, after it: {dies_after}");
        assert_eq!((outcome.exit, outcome.applied), (0, 4), "{at}: {outcome:?}");
        assert_eq!(fleet.files(), undisturbed.files(), "{at}");
        for name in ["h1", "h2"] {
            let writes = fleet.host(name, |host| host.writes.clone());
            assert!(writes.values().all(|count| *count == 1), "{at}: {writes:?}");
        }
        assert_eq!(
            owned(&fleet, "h1", "file[/d]"),
            Some((OwnedState::Done, Origin::Made)),
            "{at}"
        );
    }
    let _ = std::panic::take_hook();
}

fn resume(plan: &Plan, fleet: &Fleet, folder: &Path) -> RunOutcome {
    let path = muster::store::journal::path(folder, &run_id());
    let (mut journal, recorded) = Journal::open(&path).expect("a journal");
    let rollout = replay(plan, recorded.events());
    let start = Start {
        is_resumed: true,
        ..Start::default()
    };
    let run = run(plan, fleet);
    let outcome = block_on(drive(
        &run,
        rollout,
        start,
        &mut journal,
        &mut silent(),
        &mut Quiet,
    ))
    .expect("it goes on");
    assert!(!read(&path).expect("a journal").is_unfinished() || outcome.exit != 0);
    outcome
}

#[test]
fn a_stale_fleet_is_refused_by_name_before_anything_changes() {
    let (plan, fleet) = (two_hosts(), Fleet::default());
    fleet.host("h1", |host| host.files.insert("/a".into(), "by hand".into()));
    let refusal = block_on(preflight(&run(&plan, &fleet), None, false)).unwrap_err();
    let wanted = BTreeMap::from([(host("h1"), vec!["file[/a]: it is there, and was not".to_owned()])]);
    assert_eq!(refusal, Refusal::Stale(wanted.clone()));
    let is_free = |name| fleet.host(name, |host| host.reserved_by.is_none());
    assert!(is_free("h1") && is_free("h2"), "a refused run has nothing");
    let ready = Ready {
        left_out: wanted,
        reserved: BTreeSet::from([host("h2")]),
    };
    assert_eq!(block_on(preflight(&run(&plan, &fleet), None, true)), Ok(ready));
    assert!(is_free("h1") && !is_free("h2"));
    assert!(fleet.host("h1", |host| host.token == 0 && host.writes.is_empty()));
}

#[test]
fn stale_hosts_that_are_skipped_stay_out_with_what_needs_them() {
    let (plan, fleet) = (two_hosts(), Fleet::default());
    fleet.host("h1", |host| host.files.insert("/a".into(), "by hand".into()));
    let Ready { left_out, reserved } = block_on(preflight(&run(&plan, &fleet), None, true)).expect("skipped");
    let (outcome, _) = walk_with(
        &plan,
        &fleet,
        Start {
            is_resumed: false,
            left_out,
            reserved,
        },
        &mut silent(),
    );
    assert_eq!((outcome.exit, outcome.applied, outcome.not_done.len()), (6, 0, 3));
    assert!(
        fleet.host("h2", |host| host.reserved_by.is_none()),
        "what was reserved for nothing is given back"
    );
    assert_eq!(fleet.host("h1", |host| host.files["/a"].clone()), "by hand");
}

#[test]
fn a_host_that_another_run_wrote_is_stale() {
    let (mut plan, fleet) = (two_hosts(), Fleet::default());
    walk(&plan, &fleet);
    fleet.host("h1", |host| {
        host.files.clear();
        host.manifest.as_mut().expect("there").last_run = Some("0123456789ab-2".parse().expect("a run id"));
    });
    let stale = |plan: &Plan| match block_on(preflight(&run(plan, &fleet), None, false)) {
        Err(Refusal::Stale(stale)) => stale[&host("h1")].clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        stale(&plan),
        ["manifest: it is there, and was not; run 0123456789ab-2 wrote it"]
    );
    let basis = plan.basis.get_mut(&host("h1")).expect("a basis");
    (basis.lineage, basis.generation) = (Some("l-h1".to_owned()), 1);
    assert_eq!(
        stale(&plan),
        ["manifest: it has changed since; run 0123456789ab-2 wrote it"]
    );
    plan.basis.get_mut(&host("h1")).expect("a basis").lineage = Some("other".to_owned());
    assert_eq!(
        stale(&plan),
        ["manifest: it is another one; the host was reinstalled or exchanged"]
    );
    fleet.host("h1", |host| host.manifest = None);
    assert_eq!(
        stale(&plan),
        ["manifest: it is gone; the host was reinstalled or wiped"]
    );
}

#[test]
fn an_old_plan_is_refused() {
    let (mut plan, fleet) = (two_hosts(), Fleet::default());
    plan.policy.plan_max_age_secs = 60;
    let made = |secs| Some(jiff::Timestamp::from_second(secs).expect("a small number"));
    assert!(block_on(preflight(&run(&plan, &fleet), made(-60), false)).is_ok());
    let refused = block_on(preflight(&run(&plan, &fleet), made(-61), false));
    assert_eq!(
        refused,
        Err(Refusal::TooOld {
            age_secs: 61,
            max_secs: 60
        })
    );
}

#[test]
fn a_run_reserves_all_its_hosts_or_none() {
    for other in [false, true] {
        let (plan, fleet) = (two_hosts(), Fleet::default());
        let rival: RunId = "ffffffffffff-9".parse().expect("a run id");
        fleet.host("h2", |host| match other {
            true => host.locked_by = Some(rival.clone()),
            false => host.reserved_by = Some(rival.clone()),
        });
        let taken = match block_on(preflight(&run(&plan, &fleet), None, true)) {
            Err(Refusal::Taken(taken)) => taken,
            other => panic!("{other:?}"),
        };
        let told: Vec<String> = taken.iter().map(|(host, who)| format!("{host}: {who}")).collect();
        let word = if other { "locked" } else { "reserved" };
        assert_eq!(told, [format!("h2: {word} by run ffffffffffff-9 of bob for 3 s")]);
        assert!(
            fleet.host("h1", |host| host.reserved_by.is_none()),
            "h1 is given back"
        );
        fleet.host("h2", |host| (host.locked_by, host.reserved_by) = (None, None));
        let ready = block_on(preflight(&run(&plan, &fleet), None, true)).expect("nobody has them");
        assert_eq!(ready.reserved.len(), 2);
    }
}

#[test]
fn a_host_that_changes_before_its_wave_is_held_there() {
    let fleet = Fleet::default();
    let plan = Builder::new()
        .policy(|policy| policy.failures_max = 1)
        .wave(1, [file("file[/a]@h1", &[])])
        .wave(1, [file("file[/a]@h2", &[])])
        .plan;
    fleet.host("h2", |host| host.files.insert("/a".into(), "by hand".into()));
    let (outcome, _) = walk(&plan, &fleet);
    assert_eq!((outcome.exit, outcome.applied), (3, 1));
    let why = &outcome.not_done[&id("file[/a]@h2")];
    assert_eq!(why, "h2: stale: file[/a]: it is there, and was not");
    assert_eq!(fleet.host("h2", |host| host.files["/a"].clone()), "by hand");
}

#[test]
fn a_lock_of_another_run_holds_the_host() {
    let (plan, fleet) = (two_hosts(), Fleet::default());
    fleet.host("h1", |host| {
        host.locked_by = Some("ffffffffffff-9".parse().expect("a run id"))
    });
    let (outcome, _) = walk(&plan, &fleet);
    assert_eq!((outcome.exit, outcome.applied), (5, 0));
    let why = &outcome.not_done[&id("file[/a]@h1")];
    assert_eq!(why, "h1: locked by run ffffffffffff-9 of bob for 3 s");
    assert!(fleet.host("h2", |host| host.locked_by.is_none()));
}

#[test]
fn a_lock_that_is_lost_half_way_stops_the_host() {
    let fleet = Fleet::default();
    let first = Change {
        gates: vec![gate("up", OnDeadline::Halt)],
        ..file("file[/a]@h1", &[])
    };
    let plan = Builder::new()
        .wave(1, [first, file("file[/b]@h1", &["file[/a]@h1"])])
        .plan;
    // The gate's question is the moment in which somebody takes the lock over.
    struct Thief(Fleet);
    impl Progress for Thief {
        fn started(&mut self, _: jiff::Timestamp, task: &Task) {
            if matches!(task, Task::Gate { .. }) {
                self.0.host("h1", |host| host.token += 1);
            }
        }
        fn happened(&mut self, _: jiff::Timestamp, _: &Event) {}
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut journal = Journal::create(folder.path(), &header(&plan)).expect("a journal");
    let (run, mut none, mut thief) = (run(&plan, &fleet), silent(), Thief(fleet.clone()));
    let driven = drive(
        &run,
        Rollout::new(&plan),
        Start::default(),
        &mut journal,
        &mut none,
        &mut thief,
    );
    let outcome = block_on(driven).expect("the journal can be written");
    assert_eq!((outcome.exit, outcome.applied, outcome.failed.len()), (3, 1, 1));
    assert!(fleet.host("h1", |host| !host.files.contains_key("/b")));
}

#[test]
fn success_that_is_none_is_found_out() {
    let (plan, fleet) = (two_hosts(), Fleet::default());
    fleet.host("h1", |host| host.files.insert("/c".into(), "old".into()));
    fleet.faults(|faults| faults.lies.extend(["/a".into()]));
    let (_, journal) = walk(&plan, &fleet);
    assert!(
        journal.contains("h1") && journal.contains("stale"),
        "the old file is seen: {journal}"
    );
    fleet.host("h1", |host| host.files.clear());
    let (outcome, journal) = walk(&plan, &fleet);
    assert!(outcome.failed.contains(&id("file[/a]@h1")));
    assert!(journal.contains("was applied, but is not there"), "{journal}");
    assert_eq!(
        owned(&fleet, "h1", "file[/a]"),
        Some((OwnedState::Intent, Origin::Made))
    );
}

#[test]
fn what_is_still_not_as_declared_is_named_by_its_field() {
    let fleet = Fleet::default();
    let mut wrong = file("file[/a]@h1", &[]);
    let Some(Op::WriteFile { body, .. }) = wrong.ops.first_mut() else {
        panic!("a file is written")
    };
    *body = Body::text("something else");
    let (_, journal) = walk(&Builder::new().wave(1, [wrong]).plan, &fleet);
    assert!(
        journal.contains("was applied but is still not as declared: content"),
        "{journal}"
    );
}

#[test]
fn a_connection_that_breaks_after_the_work_does_not_do_it_twice() {
    let (plan, fleet) = (two_hosts(), Fleet::default());
    fleet.faults(|faults| faults.breaks.extend(["/a".into()]));
    let (outcome, _) = walk(&plan, &fleet);
    assert_eq!((outcome.exit, outcome.applied), (0, 3));
    assert_eq!(fleet.host("h1", |host| host.writes["/a"]), 1);
}

#[test]
fn of_a_row_in_which_one_fails_those_before_it_are_applied_and_those_after_it_were_never_begun() {
    let fleet = Fleet::default();
    let names = ["file[/a]@h1", "file[/b]@h1", "file[/c]@h1", "file[/d]@h1"];
    let plan = Builder::new().wave(1, names.map(|name| file(name, &[]))).plan;
    fleet.faults(|faults| faults.fails.extend(["/b".into()]));
    let (outcome, journal) = walk(&plan, &fleet);
    assert_eq!((outcome.exit, outcome.applied), (3, 1), "{journal}");
    assert_eq!(outcome.failed, BTreeSet::from([id("file[/b]@h1")]));
    let not_done: Vec<_> = outcome.not_done.keys().cloned().collect();
    assert_eq!(not_done, [id("file[/c]@h1"), id("file[/d]@h1")]);
    let states =
        ["file[/a]", "file[/b]", "file[/c]"].map(|name| owned(&fleet, "h1", name).map(|(state, _)| state));
    assert_eq!(states, [Some(OwnedState::Done), Some(OwnedState::Intent), None]);
}

#[test]
fn a_failed_operation_says_what_the_host_said_and_leaves_its_intent() {
    let (plan, fleet) = (two_hosts(), Fleet::default());
    fleet.faults(|faults| faults.fails.extend(["/a".into()]));
    let (outcome, journal) = walk(&plan, &fleet);
    assert_eq!((outcome.exit, outcome.applied), (3, 0));
    assert!(journal.contains("write ended with status 1") && journal.contains("no space"));
    assert_eq!(
        owned(&fleet, "h1", "file[/a]"),
        Some((OwnedState::Intent, Origin::Made))
    );
}

#[test]
fn undo_brings_back_files_and_manifest() {
    let fleet = Fleet::default();
    let plan = Builder::new()
        .policy(|policy| policy.on_failure = OnFailure::Undo)
        .wave(1, [file("file[/a]@h1", &[]), file("file[/b]@h1", &[])])
        .plan;
    fleet.faults(|faults| faults.fails.extend(["/b".into()]));
    let (outcome, _) = walk(&plan, &fleet);
    assert_eq!((outcome.exit, outcome.undone), (9, 2));
    assert!(fleet.host("h1", |host| host.files.is_empty()));
    assert_eq!(
        (owned(&fleet, "h1", "file[/a]"), owned(&fleet, "h1", "file[/b]")),
        (None, None)
    );
}

#[test]
fn a_host_that_does_not_answer_exits_4() {
    let (plan, fleet) = (two_hosts(), Fleet::default());
    fleet.faults(|faults| faults.unreachable.extend([host("h2")]));
    let ready = block_on(preflight(&run(&plan, &fleet), None, false)).expect("no refusal");
    assert_eq!(
        (ready.left_out.len(), ready.reserved),
        (0, BTreeSet::from([host("h1")]))
    );
    let (outcome, _) = walk(&plan, &fleet);
    assert_eq!((outcome.exit, outcome.applied), (4, 2));
}

#[test]
fn secrets_are_written_and_compared_and_never_in_the_journal() {
    let source: muster::model::secret::SecretSource = "env:PASS".parse().expect("a source");
    let secrets = Secrets::new(BTreeMap::from([(source, Secret::new("hunter2-very-secret"))]));
    let mut fleet = Fleet::default();
    fleet.secrets = secrets;
    let body = Body::from_pieces([
        Piece::Text("pass=".into()),
        Piece::Secret("plain|env:PASS".parse().expect("a reference")),
    ]);
    let value = serde_json::json!({ "path": "/s", "content": body });
    let spec = Spec::decode("file", &value).expect("a spec");
    let mut change = file("file[/s]@h1", &[]);
    (change.spec, change.probes) = (spec.encode(), spec.probes());
    let Some(Op::WriteFile { body: written, .. }) = change.ops.first_mut() else {
        panic!("a file is written")
    };
    *written = body;
    let plan = Builder::new().wave(1, [change.clone()]).plan;
    let (outcome, journal) = walk(&plan, &fleet);
    assert_eq!((outcome.exit, outcome.applied), (0, 1));
    assert_eq!(
        fleet.host("h1", |host| host.files["/s"].clone()),
        "pass=hunter2-very-secret"
    );
    assert!(!journal.contains("hunter2"));
    let Some(Op::WriteFile { body: written, .. }) = change.ops.first_mut() else {
        panic!("a file is written")
    };
    *written = Body::text("pass=wrong");
    let (outcome, _) = walk(&Builder::new().wave(1, [change]).plan, &{
        fleet.host("h1", |host| *host = Default::default());
        fleet.clone()
    });
    assert_eq!(outcome.failed.len(), 1, "another content is told by its print");
}

#[test]
fn a_gate_is_asked_until_it_opens_or_its_time_is_up() {
    let gated = Change {
        gates: vec![gate("up", OnDeadline::Halt)],
        ..file("file[/a]@h1", &[])
    };
    let plan = Builder::new()
        .wave(1, [gated, file("file[/b]@h1", &["file[/a]@h1"])])
        .plan;
    let fleet = Fleet::default();
    fleet.faults(|faults| faults.said.extend([false, false, false]));
    assert_eq!(walk(&plan, &fleet).0.exit, 0);
    let fleet = Fleet::default();
    fleet.faults(|faults| faults.said.extend([false; 20]));
    let (outcome, journal) = walk(&plan, &fleet);
    assert_eq!((outcome.exit, outcome.applied), (8, 1));
    assert!(journal.contains("down, after 10 s"), "{journal}");
}

#[test]
fn an_interruption_ends_cleanly_and_a_second_one_names_what_is_unknown() {
    let (plan, fleet) = (two_hosts(), Fleet::default());
    let (ask, mut asked) = unbounded_channel();
    ask.send(()).expect("it listens");
    let (outcome, _) = walk_with(&plan, &fleet, Start::default(), &mut asked);
    assert_eq!(outcome.exit, 130);
    assert!(fleet.host("h1", |host| host.locked_by.is_none()));
    // Twice, once something is in flight.
    struct Hasty(tokio::sync::mpsc::UnboundedSender<()>);
    impl Progress for Hasty {
        fn started(&mut self, _: jiff::Timestamp, _: &Task) {}
        fn happened(&mut self, _: jiff::Timestamp, event: &Event) {
            if matches!(event, Event::Began { .. }) {
                self.0
                    .send(())
                    .and_then(|()| self.0.send(()))
                    .expect("it listens");
            }
        }
    }
    let fleet = Fleet::default();
    let (ask, mut asked) = unbounded_channel();
    let folder = tempfile::tempdir().expect("a folder");
    let mut journal = Journal::create(folder.path(), &header(&plan)).expect("a journal");
    let (run, mut hasty) = (run(&plan, &fleet), Hasty(ask));
    let driven = drive(
        &run,
        Rollout::new(&plan),
        Start::default(),
        &mut journal,
        &mut asked,
        &mut hasty,
    );
    match block_on(driven) {
        // Which of the two is in flight by then is the scheduler's business; both ends are right.
        Err(DriveError::Left { unknown }) => assert_eq!(unknown, [id("file[/a]@h1"), id("file[/c]@h1")]),
        Ok(outcome) => assert_eq!(outcome.exit, 130),
        Err(error) => panic!("{error}"),
    }
    drop(journal);
    assert_eq!(resume(&plan, &fleet, folder.path()).exit, 0);
}

#[test]
fn a_journal_that_cannot_be_kept_stops_the_run_and_frees_the_locks() {
    struct Full(usize);
    impl Log for Full {
        fn append(&mut self, _: jiff::Timestamp, _: &Event) -> Result<(), StoreError> {
            self.0 += 1;
            if self.0 < 6 {
                return Ok(());
            }
            let source = std::io::Error::from(std::io::ErrorKind::StorageFull);
            Err(StoreError::Write {
                path: "journal".into(),
                source,
            })
        }
    }
    let (plan, fleet) = (two_hosts(), Fleet::default());
    let (run, mut none, mut full, mut quiet) = (run(&plan, &fleet), silent(), Full(0), Quiet);
    let driven = drive(
        &run,
        Rollout::new(&plan),
        Start::default(),
        &mut full,
        &mut none,
        &mut quiet,
    );
    assert!(matches!(block_on(driven), Err(DriveError::Journal(_))));
    for name in ["h1", "h2"] {
        assert!(fleet.host(name, |host| host.locked_by.is_none()));
    }
    assert!(
        fleet.host("h1", |host| host.writes.is_empty()),
        "nothing begins that is not on disk"
    );
}

/// A host whose two files are changed under its switch, after one that is not.
fn guarded() -> Plan {
    Builder::new()
        .wave(
            1,
            [
                file("file[/free]@h1", &[]),
                file("file[/a]@h1", &[]),
                file("file[/b]@h1", &["file[/a]@h1"]),
            ],
        )
        .switch(&["file[/a]@h1", "file[/b]@h1"])
        .plan
}

/// Returns the names of a journal's events that speak of a switch, and of what was applied.
fn switch_story(journal: &str) -> Vec<&str> {
    let names = [
        "armed",
        "confirmed",
        "restored",
        "unarmed",
        "unsettled",
        "applied",
        "failed",
    ];
    let name = |line| {
        names
            .into_iter()
            .find(|name| str::contains(line, &format!("\"event\":{{\"{name}\"")))
    };
    journal.lines().filter_map(name).collect()
}

#[test]
fn what_is_under_a_switch_is_recorded_when_a_new_login_confirmed_it() {
    let (plan, fleet) = (guarded(), Fleet::default());
    fleet.faults(|faults| faults.lost_confirmations = 1);
    let (outcome, journal) = walk(&plan, &fleet);
    assert_eq!(
        (outcome.exit, outcome.applied),
        (0, 3),
        "a lost answer is no failure"
    );
    assert_eq!(
        switch_story(&journal),
        ["applied", "armed", "confirmed", "applied", "applied"]
    );
    assert_eq!(
        owned(&fleet, "h1", "file[/b]"),
        Some((OwnedState::Done, Origin::Made))
    );
    let began = journal
        .find("\"began\":{\"changes\":[\"file[/a]@h1\",\"file[/b]@h1\"]")
        .unwrap();
    assert!(
        began < journal.find("\"armed\"").unwrap(),
        "announced before it is armed"
    );
}

#[test]
fn what_cut_us_off_is_as_it_was_and_the_manifest_says_so() {
    let (plan, fleet) = (guarded(), Fleet::default());
    fleet.faults(|faults| faults.cuts.extend(["/b".to_owned()]));
    let (outcome, journal) = walk(&plan, &fleet);
    assert_eq!(
        (outcome.exit, outcome.applied, outcome.undone),
        (3, 1, 2),
        "{journal}"
    );
    assert_eq!(switch_story(&journal), ["applied", "armed", "restored"]);
    assert!(
        journal.contains("no new login within 60 s: nobody may log in"),
        "{journal}"
    );
    assert_eq!(fleet.files()[&host("h1")].keys().collect::<Vec<_>>(), ["/free"]);
    assert_eq!(owned(&fleet, "h1", "file[/a]"), None);
    assert_eq!(fleet.host("h1", |host| host.locked_by.clone()), None);
}

#[test]
fn what_fails_under_a_switch_is_taken_back_at_once() {
    for broken in ["fails", "lies"] {
        let (plan, fleet) = (guarded(), Fleet::default());
        fleet.faults(|faults| {
            let paths = if broken == "fails" {
                &mut faults.fails
            } else {
                &mut faults.lies
            };
            paths.insert("/b".to_owned());
        });
        let before = fleet.ports().clock.now();
        let (outcome, journal) = walk(&plan, &fleet);
        assert_eq!((outcome.exit, outcome.undone), (3, 2), "{broken}: {journal}");
        assert!(!fleet.files()[&host("h1")].contains_key("/a"), "{broken}");
        let took = fleet.ports().clock.now().duration_since(before).as_secs();
        assert!(took < 10, "{broken}: {took} s");
    }
}

#[test]
fn a_connection_that_breaks_under_a_switch_is_no_failure_where_all_was_done() {
    let (plan, fleet) = (guarded(), Fleet::default());
    fleet.faults(|faults| faults.breaks.extend(["/b".to_owned()]));
    let (outcome, journal) = walk(&plan, &fleet);
    assert_eq!((outcome.exit, outcome.applied), (0, 3), "{journal}");
}

#[test]
fn what_a_host_could_not_put_back_has_failed_and_is_named() {
    let (plan, fleet) = (guarded(), Fleet::default());
    fleet.faults(|faults| {
        faults.cuts.insert("/b".to_owned());
        faults.switch_trouble = vec!["starting ssh.service: no".to_owned()];
    });
    let (outcome, journal) = walk(&plan, &fleet);
    assert_eq!(
        (outcome.exit, outcome.undone, outcome.failed.len()),
        (3, 0, 2),
        "{journal}"
    );
    assert!(journal.contains("starting ssh.service: no"), "{journal}");
    let state = owned(&fleet, "h1", "file[/a]").map(|(state, _)| state);
    assert_eq!(state, Some(OwnedState::Intent));
}

#[test]
fn what_a_new_login_confirmed_stays_where_the_rest_is_undone() {
    let mut plan = Builder::new()
        .policy(|policy| policy.on_failure = OnFailure::Undo)
        .wave(
            1,
            [
                file("file[/base]@h1", &[]),
                file("file[/a]@h1", &["file[/base]@h1"]),
                file("file[/b]@h1", &["file[/a]@h1"]),
                file("file[/free]@h1", &["file[/b]@h1"]),
                file("file[/z]@h1", &["file[/free]@h1"]),
            ],
        )
        .switch(&["file[/a]@h1", "file[/b]@h1"])
        .plan;
    let switch = plan.switches.get_mut(&host("h1")).expect("it has one");
    switch.cuts.insert(id("file[/a]@h1"), "sshd".to_owned());
    let fleet = Fleet::default();
    fleet.faults(|faults| faults.fails.extend(["/z".to_owned()]));
    let (outcome, journal) = walk(&plan, &fleet);
    let files = &fleet.files()[&host("h1")];
    assert_eq!(
        files.keys().collect::<Vec<_>>(),
        ["/a", "/b", "/base"],
        "{journal}"
    );
    assert!(outcome.exit == 3 && outcome.undone > 0, "{outcome:?}");
    let held = |change: &str| {
        let line = journal
            .lines()
            .find(|line| line.contains("\"undone\"") && line.contains(&format!("{change}@h1\"")))
            .unwrap_or_default();
        line.contains("\"held\":true").then(|| line.to_owned())
    };
    assert!(
        held("file[/a]").is_some_and(|line| line.contains("it may cut us off (sshd)")),
        "{journal}"
    );
    assert!(
        held("file[/b]").is_some_and(|line| line.contains("muster rollback")),
        "{journal}"
    );
    assert!(
        held("file[/base]").is_some(),
        "what it stands on stays, too: {journal}"
    );
    assert_eq!(
        owned(&fleet, "h1", "file[/a]").map(|(state, _)| state),
        Some(OwnedState::Done)
    );
}

/// Wherever the controller dies, the host and the journal tell the same: all is changed and confirmed, or all is as it was.
#[test]
fn a_controller_that_dies_under_a_switch_leaves_a_host_that_is_before_or_after() {
    std::panic::set_hook(Box::new(|_| {}));
    let plan = guarded();
    let (_, whole) = walk(&plan, &Fleet::default());
    let mut ends = BTreeSet::new();
    let points = (0..whole.lines().count() - 1).flat_map(|line| [(line, false), (line, true)]);
    for (dies_at, dies_after) in points {
        let (fleet, folder) = (Fleet::default(), tempfile::tempdir().expect("a folder"));
        let journal = Journal::create(folder.path(), &header(&plan)).expect("a journal");
        let mut mortal = Mortal {
            journal,
            lines_left: dies_at,
            dies_after,
        };
        let run = run(&plan, &fleet);
        let killed = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let (start, mut none) = (Start::default(), silent());
            block_on(drive(
                &run,
                Rollout::new(&plan),
                start,
                &mut mortal,
                &mut none,
                &mut Quiet,
            ))
        }));
        assert!(killed.is_err(), "it dies at line {dies_at}");
        drop(mortal);
        let outcome = resume(&plan, &fleet, folder.path());
        let at = format!("killed at line {dies_at}, after it: {dies_after}");
        let files: Vec<String> = fleet.files()[&host("h1")].keys().cloned().collect();
        let state = owned(&fleet, "h1", "file[/b]").map(|(state, _)| state);
        match outcome.exit {
            0 => assert_eq!((files.len(), state), (3, Some(OwnedState::Done)), "{at}"),
            3 => assert_eq!((files, state), (vec!["/free".to_owned()], None), "{at}"),
            other => panic!("{at}: exit {other}: {outcome:?}"),
        }
        ends.insert(outcome.exit);
    }
    let _ = std::panic::take_hook();
    assert_eq!(
        ends,
        BTreeSet::from([0, 3]),
        "some deaths come before the login, some after"
    );
}
