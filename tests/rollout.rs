//! The rollout's promises: stories over plans made by hand, and laws over generated ones.

mod support;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use muster::model::body::Body;
use muster::model::change::Change;
use muster::model::digest::Digest;
use muster::model::event::{CheckOutcome, Event, RunOutcome, Task};
use muster::model::gate::OnDeadline;
use muster::model::id::{HostId, ResourceId};
use muster::model::op::Op;
use muster::model::plan::Plan;
use muster::model::wave::OnFailure;
use muster::rollout::{Rollout, replay};
use proptest::prelude::*;

use support::plans::{Builder, file, gate, host, id, package};

/// How the pretend world answers tasks: as well as can be, but for what is named here.
#[derive(Debug, Clone, Default)]
struct World {
    fail: BTreeSet<ResourceId>,
    checks: BTreeMap<HostId, CheckOutcome>,
    shut: BTreeSet<String>,
    undo_fails: BTreeSet<ResourceId>,
}

impl World {
    fn failing(changes: &[&str]) -> Self {
        Self {
            fail: changes.iter().map(|change| id(change)).collect(),
            ..Self::default()
        }
    }

    fn checking(name: &str, outcome: CheckOutcome) -> Self {
        Self {
            checks: BTreeMap::from([(host(name), outcome)]),
            ..Self::default()
        }
    }

    fn answer(&self, task: &Task) -> Vec<Event> {
        match task {
            Task::Check { host, wave } => {
                let outcome = self.checks.get(host).cloned().unwrap_or(CheckOutcome::Fresh);
                vec![Event::Checked {
                    host: host.clone(),
                    wave: *wave,
                    outcome,
                }]
            }
            Task::Apply { changes, .. } => self.ends(changes),
            Task::Arm { host, changes } => vec![Event::Armed {
                host: host.clone(),
                changes: changes.clone(),
                within_secs: 60,
            }],
            Task::Switched { host, changes } => {
                if changes.iter().any(|change| self.fail.contains(change)) {
                    return vec![restored(host)];
                }
                let confirmed = Event::Confirmed { host: host.clone() };
                let ends = changes.iter().map(|change| self.end(change));
                std::iter::once(confirmed).chain(ends).collect()
            }
            Task::Settle { host } => vec![restored(host)],
            Task::Record { host } => vec![Event::Recorded {
                host: host.clone(),
                error: None,
            }],
            Task::Undo { changes, .. } => {
                let fails = |change: &&ResourceId| self.undo_fails.contains(change);
                let ok = changes.iter().take_while(|change| !fails(change));
                let bad = changes
                    .iter()
                    .find(fails)
                    .map(|change| undone(change, Some("no")));
                ok.map(|change| undone(change, None)).chain(bad).collect()
            }
            Task::Hook { hook } => vec![Event::HookSaid {
                hook: hook.clone(),
                name: String::new(),
                error: None,
                tail: Vec::new(),
            }],
            Task::Gate { gate, ask, .. } => {
                let open = !self.shut.contains(&ask.name);
                vec![Event::GateSaid {
                    gate: gate.clone(),
                    open,
                    why: "said".to_owned(),
                }]
            }
        }
    }

    /// Packages fail each by itself; a row ends with the first that fails.
    fn ends(&self, changes: &[ResourceId]) -> Vec<Event> {
        let is_row = changes.iter().all(|change| change.key.kind.as_str() == "file");
        let fails = |change: &ResourceId| is_row && self.fail.contains(change);
        let until = changes.iter().position(fails).map_or(changes.len(), |at| at + 1);
        let (made, unmade) = changes.split_at(until);
        let mut ends: Vec<Event> = made.iter().map(|change| self.end(change)).collect();
        if !unmade.is_empty() {
            ends.push(Event::Unmade {
                changes: unmade.to_vec(),
            });
        }
        ends
    }

    fn end(&self, change: &ResourceId) -> Event {
        match self.fail.contains(change) {
            false => Event::Applied {
                change: change.clone(),
                after: Digest::of("x"),
                outputs: BTreeMap::new(),
            },
            true => failed(change),
        }
    }
}

fn failed(change: &ResourceId) -> Event {
    Event::Failed {
        change: change.clone(),
        why: "broken".to_owned(),
        tail: Vec::new(),
        unknown: false,
    }
}

fn undone(change: &ResourceId, error: Option<&str>) -> Event {
    Event::Undone {
        change: change.clone(),
        error: error.map(str::to_owned),
        held: false,
    }
}

fn start() -> Event {
    Event::Started {
        who: "a@b".to_owned(),
        resumed: false,
        left_out: BTreeMap::new(),
    }
}

fn resume() -> Event {
    Event::Started {
        who: "a@b".to_owned(),
        resumed: true,
        left_out: BTreeMap::new(),
    }
}

/// A run as it unfolds: tasks in flight wait until `step` picks one of them.
struct Run<'p> {
    rollout: Rollout<'p>,
    world: World,
    in_flight: VecDeque<Task>,
    events: Vec<Event>,
    trace: Vec<String>,
    /// Hosts of which the rollout said that nothing more will be done there.
    through: BTreeSet<HostId>,
    /// Changes after which a host is through, as the rollout said when they began.
    last: BTreeMap<HostId, Vec<ResourceId>>,
}

impl<'p> Run<'p> {
    fn new(plan: &'p Plan, world: World) -> Self {
        let rollout = Rollout::new(plan);
        let mut run = Self {
            rollout,
            world,
            in_flight: VecDeque::new(),
            events: Vec::new(),
            trace: Vec::new(),
            through: BTreeSet::new(),
            last: BTreeMap::new(),
        };
        run.feed(start());
        run
    }

    fn feed(&mut self, event: Event) {
        if event == resume() {
            (self.through, self.last) = Default::default();
        }
        let tasks = self.rollout.on(&event);
        self.events.push(event);
        for task in tasks {
            self.trace.push(told(&task));
            let is_left = place(&task).is_none_or(|host| !self.through.contains(host));
            assert!(is_left, "its host was through: {:#?}", self.trace);
            if let Task::Apply { host, changes } = &task
                && self.rollout.ends_with(host, changes)
            {
                self.last.insert(host.clone(), changes.clone());
            }
            if let Task::Apply { changes, .. } | Task::Arm { changes, .. } = &task {
                let began = Event::Began {
                    changes: changes.clone(),
                };
                assert!(
                    self.rollout.on(&began).is_empty(),
                    "an announcement starts nothing"
                );
                self.events.push(began);
            }
            self.in_flight.push_back(task);
        }
        self.see_through();
    }

    /// Who is through stays so, and whose last changes were applied is.
    fn see_through(&mut self) {
        let applied = |change: &ResourceId| {
            let mut events = self.events.iter();
            events.any(|event| matches!(event, Event::Applied { change: done, .. } if done == change))
        };
        let ended = self
            .last
            .iter()
            .filter(|(_, changes)| changes.iter().all(applied));
        for host in ended.map(|(host, _)| host).chain(&self.through) {
            assert!(
                self.rollout.is_through(host),
                "{host} is not through: {:#?}",
                self.trace
            );
        }
        let hosts = self.rollout.hosts().filter(|host| self.rollout.is_through(host));
        self.through = hosts.cloned().collect();
    }

    fn step(&mut self, n: usize) {
        let n = n % self.in_flight.len();
        let task = self.in_flight.remove(n).expect("n is below the length");
        self.world
            .answer(&task)
            .into_iter()
            .for_each(|event| self.feed(event));
    }

    fn finish(mut self) -> Self {
        while !self.rollout.is_over() {
            assert!(!self.in_flight.is_empty(), "it stands still: {:#?}", self.trace);
            self.step(0);
        }
        self
    }

    fn outcome(&self) -> RunOutcome {
        assert!(self.rollout.is_over());
        self.rollout.outcome()
    }
}

/// Returns the host that a task is for.
fn place(task: &Task) -> Option<&HostId> {
    match task {
        Task::Check { host, .. }
        | Task::Apply { host, .. }
        | Task::Arm { host, .. }
        | Task::Switched { host, .. }
        | Task::Settle { host }
        | Task::Record { host }
        | Task::Undo { host, .. }
        | Task::Gate { host, .. } => Some(host),
        Task::Hook { .. } => None,
    }
}

fn told(task: &Task) -> String {
    let list = |changes: &[ResourceId]| {
        changes
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    };
    match task {
        Task::Check { host, wave } => format!("check {host} {wave}"),
        Task::Apply { changes, .. } => list(changes),
        Task::Arm { host, .. } => format!("arm {host}"),
        Task::Switched { changes, .. } => format!("switched {}", list(changes)),
        Task::Settle { host } => format!("settle {host}"),
        Task::Record { host } => format!("record {host}"),
        Task::Undo { changes, .. } => format!("undo {}", list(changes)),
        Task::Gate { host, ask, .. } => format!("gate {} {host}", ask.name),
        Task::Hook { hook } => format!("hook {}", hook.index),
    }
}

fn walk(plan: &Plan, world: World) -> (Vec<String>, RunOutcome) {
    let run = Run::new(plan, world).finish();
    (run.trace.clone(), run.outcome())
}

fn reason<'a>(outcome: &'a RunOutcome, change: &str) -> &'a str {
    outcome.not_done.get(&id(change)).map_or("(done)", String::as_str)
}

#[test]
fn waves_come_in_order_and_each_looks_first() {
    let plan = Builder::new()
        .wave(1, [file("file[/a]@h1", &[]), file("file[/b]@h1", &[])])
        .wave(2, [file("file[/a]@h2", &[]), file("file[/a]@h3", &[])])
        .plan;
    let (trace, outcome) = walk(&plan, World::default());
    let wanted = [
        "check h1 0",
        "file[/a]@h1 file[/b]@h1",
        "check h2 1",
        "check h3 1",
        "file[/a]@h2",
        "file[/a]@h3",
    ];
    assert_eq!(trace, wanted);
    assert_eq!((outcome.exit, outcome.applied), (0, 4));
}

#[test]
fn a_host_is_through_with_its_last_change_unless_a_gate_after_the_wave_may_give_it_up() {
    let plan = |has_gate: bool| {
        let builder = Builder::new()
            .wave(2, [file("file[/a]@h1", &[]), file("file[/a]@h2", &[])])
            .wave(1, [file("file[/b]@h2", &[])]);
        let builder = match has_gate {
            true => builder.after("h2", gate("w", OnDeadline::Fail)),
            false => builder,
        };
        builder.wave(1, [file("file[/c]@h3", &[])]).plan
    };
    let through = |plan: &Plan| {
        let mut run = Run::new(plan, World::default());
        let mut told = Vec::new();
        while !run.rollout.is_over() {
            run.step(0);
            told.push(
                run.through
                    .iter()
                    .map(HostId::as_str)
                    .collect::<Vec<_>>()
                    .join(" "),
            );
        }
        told.dedup();
        told
    };
    assert_eq!(through(&plan(false)), ["", "h1", "h1 h2", "h1 h2 h3"]);
    // What is asked on h2 after the second wave keeps it until then; h1 is in no wave any more.
    assert_eq!(through(&plan(true)), ["", "h1", "h1 h2", "h1 h2 h3"]);
    let gated = Builder::new()
        .wave(2, [file("file[/a]@h1", &[]), file("file[/a]@h2", &[])])
        .after("h2", gate("w", OnDeadline::Fail))
        .plan;
    assert_eq!(through(&gated), ["", "h1 h2"], "the gate speaks of both");
}

#[test]
fn a_plan_without_changes_ends_at_once() {
    let (trace, outcome) = walk(&Builder::new().plan, World::default());
    assert_eq!((trace.len(), outcome.exit), (0, 0));
}

#[test]
fn a_wave_is_never_wider_than_it_says() {
    let changes = (1..=4).map(|n| file(&format!("file[/a]@h{n}"), &[]));
    let plan = Builder::new().wave(2, changes).plan;
    let mut run = Run::new(&plan, World::default());
    (0..4).for_each(|_| run.step(0));
    assert_eq!(run.in_flight.len(), 2, "all looked at, two in progress");
    run.step(0);
    assert_eq!(run.in_flight.len(), 2, "the next takes the free place");
}

#[test]
fn hosts_that_wait_for_each_other_do_not_stand_still_in_a_narrow_wave() {
    let plan = Builder::new()
        .wave(
            1,
            [
                file("file[/1]@a", &[]),
                file("file[/2]@b", &["file[/1]@a"]),
                file("file[/3]@a", &["file[/2]@b"]),
                file("file[/4]@b", &["file[/3]@a"]),
            ],
        )
        .plan;
    let (trace, outcome) = walk(&plan, World::default());
    assert_eq!(
        trace[2..],
        ["file[/1]@a", "file[/2]@b", "file[/3]@a", "file[/4]@b"]
    );
    assert_eq!(outcome.exit, 0);
}

#[test]
fn neighbouring_packages_go_together_and_nothing_else_does() {
    let plan = Builder::new()
        .wave(
            1,
            [
                package("package[a]@h", &[]),
                package("package[b]@h", &[]),
                package("package[c]@h", &["package[a]@h"]),
                file("file[/f]@h", &[]),
                package("package[d]@h", &[]),
            ],
        )
        .plan;
    let (trace, _) = walk(&plan, World::default());
    let wanted = [
        "package[a]@h package[b]@h",
        "package[c]@h",
        "file[/f]@h",
        "package[d]@h",
    ];
    assert_eq!(trace[1..], wanted);
}

/// A file that a program checks before it is put in place.
fn checked_file(target: &str) -> Change {
    let mut change = file(target, &[]);
    for op in &mut change.ops {
        if let Op::WriteFile { validate, .. } = op {
            *validate = Some("app --check {}".to_owned());
        }
    }
    change
}

#[test]
fn brief_changes_go_in_a_row_up_to_a_gate_a_program_and_what_is_needed_from_elsewhere() {
    let gated = Change {
        gates: vec![gate("g", OnDeadline::Fail)],
        ..file("file[/b]@h1", &["file[/a]@h1"])
    };
    let plan = Builder::new()
        .wave(
            2,
            [
                file("file[/a]@h1", &[]),
                gated,
                file("file[/c]@h1", &[]),
                file("file[/d]@h1", &["file[/c]@h1"]),
                checked_file("file[/e]@h1"),
                file("file[/f]@h1", &[]),
                file("file[/x]@h2", &["file[/f]@h1"]),
                file("file[/y]@h2", &["file[/x]@h2"]),
                file("file[/g]@h1", &["file[/y]@h2"]),
            ],
        )
        .plan;
    let (trace, outcome) = walk(&plan, World::default());
    let wanted = [
        "file[/a]@h1 file[/b]@h1",
        "gate g h1",
        "file[/c]@h1 file[/d]@h1",
        "file[/e]@h1",
        "file[/f]@h1",
        "file[/x]@h2 file[/y]@h2",
        "file[/g]@h1",
    ];
    assert_eq!(trace[2..], wanted);
    assert_eq!((outcome.exit, outcome.applied), (0, 9));
}

#[test]
fn a_row_is_neither_endless_nor_heavy() {
    let row = |sizes: &[usize]| {
        let change = |(n, size): (usize, &usize)| {
            let mut change = file(&format!("file[/{n:02}]@h"), &[]);
            for op in &mut change.ops {
                if let Op::WriteFile { body, .. } = op {
                    *body = Body::text("x".repeat(*size));
                }
            }
            change
        };
        let plan = Builder::new().wave(1, sizes.iter().enumerate().map(change)).plan;
        let (trace, _) = walk(&plan, World::default());
        trace[1..]
            .iter()
            .map(|row| row.split(' ').count())
            .collect::<Vec<_>>()
    };
    assert_eq!(row(&[1; 40]), [16, 16, 8]);
    assert_eq!(row(&[200_000, 50_000, 20_000, 300_000, 1]), [2, 1, 1, 1]);
}

#[test]
fn what_was_not_made_after_a_failure_is_tried_by_a_resume() {
    let names = ["file[/a]@h", "file[/b]@h", "file[/c]@h"];
    let plan = Builder::new().wave(1, names.map(|name| file(name, &[]))).plan;
    let mut run = Run::new(&plan, World::failing(&["file[/b]@h"]));
    while !run.rollout.is_over() {
        run.step(0);
    }
    let outcome = run.outcome();
    assert_eq!((outcome.exit, outcome.applied, outcome.failed.len()), (3, 1, 1));
    assert_eq!(reason(&outcome, "file[/c]@h"), "h: file[/b]@h failed: broken");
    run.world = World::default();
    run.feed(resume());
    let run = run.finish();
    assert_eq!(run.trace.last().unwrap(), "file[/b]@h file[/c]@h");
    assert_eq!((run.outcome().exit, run.outcome().applied), (0, 3));
}

#[test]
fn a_failure_stops_its_host_and_what_needs_it_anywhere() {
    let plan = Builder::new()
        .policy(|policy| policy.failures_max = 5)
        .wave(
            4,
            [
                file("file[/a]@h1", &[]),
                file("file[/b]@h1", &[]),
                file("file[/c]@h2", &["file[/a]@h1"]),
                file("file[/d]@h2", &[]),
                file("file[/e]@h3", &["file[/c]@h2"]),
            ],
        )
        .plan;
    let (trace, outcome) = walk(&plan, World::failing(&["file[/a]@h1"]));
    assert_eq!(trace[3..], ["file[/a]@h1 file[/b]@h1", "file[/d]@h2"]);
    assert_eq!((outcome.exit, outcome.applied, outcome.failed.len()), (3, 1, 1));
    assert_eq!(reason(&outcome, "file[/b]@h1"), "h1: file[/a]@h1 failed: broken");
    assert_eq!(reason(&outcome, "file[/c]@h2"), "needs file[/a]@h1, which failed");
    assert_eq!(
        reason(&outcome, "file[/e]@h3"),
        "needs file[/c]@h2, which was not done"
    );
}

#[test]
fn a_spent_budget_starts_nothing_more_and_ends_what_is_in_flight() {
    let changes = (1..=3).map(|n| file(&format!("file[/a]@h{n}"), &[]));
    let plan = Builder::new().wave(2, changes).plan;
    let (trace, outcome) = walk(&plan, World::failing(&["file[/a]@h1"]));
    assert_eq!(trace[3..], ["file[/a]@h1", "file[/a]@h2"]);
    assert_eq!((outcome.exit, outcome.applied), (3, 1));
    assert_eq!(
        reason(&outcome, "file[/a]@h3"),
        "the run stopped: lost h1, and failures_max is 0"
    );
}

#[test]
fn a_budget_with_room_goes_on() {
    let changes = (1..=3).map(|n| file(&format!("file[/a]@h{n}"), &[]));
    let plan = Builder::new()
        .policy(|policy| policy.failures_max = 1)
        .wave(1, changes)
        .plan;
    let (_, outcome) = walk(&plan, World::failing(&["file[/a]@h1"]));
    assert_eq!((outcome.exit, outcome.applied), (3, 2));
}

#[test]
fn an_unreachable_host_costs_budget_and_alone_exits_4() {
    let changes = |n: usize| (1..=n).map(|n| file(&format!("file[/a]@h{n}"), &[]));
    let gone = || World::checking("h1", CheckOutcome::Unreachable("no route".to_owned()));
    let plan = Builder::new()
        .policy(|policy| policy.failures_max = 1)
        .wave(2, changes(3))
        .plan;
    let (_, outcome) = walk(&plan, gone());
    assert_eq!((outcome.exit, outcome.applied), (4, 2));
    assert_eq!(reason(&outcome, "file[/a]@h1"), "h1: unreachable: no route");
    let plan = Builder::new().wave(2, changes(3)).plan;
    let (_, outcome) = walk(&plan, gone());
    assert_eq!(
        (outcome.exit, outcome.applied),
        (4, 0),
        "the check comes before the first change"
    );
}

#[test]
fn hosts_down_when_planning_exit_4_and_spend_the_budget_only_together_with_new_ones() {
    let changes = |n: usize| (1..=n).map(|n| file(&format!("file[/a]@h{n}"), &[]));
    let plan = Builder::new().down("h9").wave(1, changes(2)).plan;
    let (_, outcome) = walk(&plan, World::default());
    assert_eq!((outcome.exit, outcome.applied), (4, 2));
    assert_eq!(outcome.unreachable, BTreeSet::from([host("h9")]));
    let plan = Builder::new()
        .policy(|policy| policy.failures_max = 1)
        .down("h9")
        .wave(1, changes(2))
        .plan;
    let (_, outcome) = walk(&plan, World::failing(&["file[/a]@h1"]));
    assert_eq!(
        (outcome.exit, outcome.applied),
        (3, 0),
        "one down before and one lost are two"
    );
}

#[test]
fn a_stale_host_is_held_in_its_wave_and_in_later_ones() {
    let plan = Builder::new()
        .policy(|policy| policy.failures_max = 1)
        .wave(
            2,
            [
                file("file[/a]@h1", &[]),
                file("file[/a]@h2", &["file[/a]@h1"]),
                file("file[/b]@h2", &[]),
            ],
        )
        .wave(1, [file("file[/z]@h1", &[])])
        .plan;
    let stale = CheckOutcome::Stale(vec!["file[/a]: content differs".to_owned()]);
    let (trace, outcome) = walk(&plan, World::checking("h1", stale));
    assert_eq!(trace, ["check h1 0", "check h2 0", "file[/b]@h2"]);
    assert_eq!(outcome.exit, 3);
    assert_eq!(
        reason(&outcome, "file[/z]@h1"),
        "h1: stale: file[/a]: content differs"
    );
    assert_eq!(
        reason(&outcome, "file[/a]@h2"),
        "needs file[/a]@h1, which was not done"
    );
}

#[test]
fn stale_without_any_change_exits_6_and_locked_exits_5() {
    let plan = Builder::new().wave(1, [file("file[/a]@h1", &[])]).plan;
    let (_, outcome) = walk(
        &plan,
        World::checking("h1", CheckOutcome::Stale(vec!["x".to_owned()])),
    );
    assert_eq!(outcome.exit, 6);
    let (_, outcome) = walk(
        &plan,
        World::checking("h1", CheckOutcome::Locked("bob".to_owned())),
    );
    assert_eq!(outcome.exit, 5);
}

#[test]
fn hosts_left_out_cost_no_budget() {
    let plan = Builder::new()
        .wave(2, [file("file[/a]@h1", &[]), file("file[/a]@h2", &[])])
        .plan;
    let mut rollout = Rollout::new(&plan);
    let left_out = BTreeMap::from([(host("h1"), vec!["file[/a]: it is gone".to_owned()])]);
    let tasks = rollout.on(&Event::Started {
        who: "a@b".to_owned(),
        resumed: false,
        left_out,
    });
    assert_eq!(tasks.iter().map(told).collect::<Vec<_>>(), ["check h2 0"]);
    let checked = Event::Checked {
        host: host("h2"),
        wave: 0,
        outcome: CheckOutcome::Fresh,
    };
    assert_eq!(
        rollout.on(&checked).iter().map(told).collect::<Vec<_>>(),
        ["file[/a]@h2"]
    );
    assert_eq!(
        reason(&rollout.outcome(), "file[/a]@h1"),
        "h1: left out as stale: file[/a]: it is gone"
    );
}

fn undo_plan(failures_max: usize) -> Plan {
    Builder::new()
        .policy(|policy| (policy.on_failure, policy.failures_max) = (OnFailure::Undo, failures_max))
        .wave(
            1,
            [
                file("file[/a]@h1", &[]),
                package("package[p]@h1", &[]),
                file("file[/b]@h1", &[]),
                file("file[/c]@h1", &[]),
                file("file[/d]@h2", &[]),
            ],
        )
        .plan
}

#[test]
fn undo_goes_backwards_over_what_can_be_undone() {
    let (trace, outcome) = walk(&undo_plan(0), World::failing(&["file[/b]@h1"]));
    assert_eq!(
        trace[2..],
        [
            "file[/a]@h1",
            "package[p]@h1",
            "file[/b]@h1 file[/c]@h1",
            "undo file[/b]@h1 file[/a]@h1"
        ]
    );
    assert_eq!(
        (outcome.exit, outcome.undone),
        (3, 2),
        "a package is left, so not everything was undone"
    );
}

#[test]
fn a_run_of_which_everything_was_undone_exits_9() {
    let (_, outcome) = walk(&undo_plan(0), World::failing(&["file[/a]@h1"]));
    assert_eq!((outcome.exit, outcome.undone, outcome.applied), (9, 1, 0));
}

#[test]
fn an_undo_that_fails_halts_the_run() {
    let world = World {
        undo_fails: BTreeSet::from([id("file[/b]@h1")]),
        ..World::failing(&["file[/b]@h1"])
    };
    let (trace, outcome) = walk(&undo_plan(5), world.clone());
    assert_eq!(
        trace.last().map(String::as_str),
        Some("undo file[/b]@h1 file[/a]@h1")
    );
    assert_eq!((outcome.exit, outcome.undone), (8, 0));
    assert!(reason(&outcome, "file[/d]@h2").contains("could not be undone"));
    // Going on does the rest, and does not try that undo again.
    let plan = undo_plan(5);
    let mut run = Run::new(&plan, world).finish();
    run.trace.clear();
    run.feed(resume());
    let run = run.finish();
    assert_eq!(run.trace, ["check h2 0", "file[/d]@h2"]);
}

#[test]
fn hold_halts_at_once_and_resume_tries_again() {
    let plan = Builder::new()
        .policy(|policy| (policy.on_failure, policy.failures_max) = (OnFailure::Hold, 9))
        .wave(1, [file("file[/a]@h1", &[]), file("file[/a]@h2", &[])])
        .plan;
    let mut run = Run::new(&plan, World::failing(&["file[/a]@h1"])).finish();
    assert_eq!((run.outcome().exit, run.outcome().applied), (8, 0));
    run.world = World::default();
    run.trace.clear();
    run.feed(resume());
    assert!(run.rollout.has_begun(&id("file[/a]@h1")) && !run.rollout.has_begun(&id("file[/a]@h2")));
    let run = run.finish();
    assert_eq!(
        run.trace,
        ["check h1 0", "check h2 0", "file[/a]@h1", "file[/a]@h2"]
    );
    assert_eq!((run.outcome().exit, run.outcome().applied), (0, 2));
}

fn gated(on_deadline: OnDeadline) -> Plan {
    let first = Change {
        gates: vec![gate("up", on_deadline)],
        ..file("file[/a]@h1", &[])
    };
    Builder::new()
        .policy(|policy| policy.failures_max = 9)
        .wave(
            2,
            [
                first,
                file("file[/b]@h2", &["file[/a]@h1"]),
                file("file[/c]@h1", &[]),
            ],
        )
        .plan
}

#[test]
fn what_needs_a_change_waits_for_its_gate() {
    let plan = gated(OnDeadline::Halt);
    let mut run = Run::new(&plan, World::default());
    (0..3).for_each(|_| run.step(0));
    assert_eq!(run.trace[2..], ["file[/a]@h1", "gate up h1", "file[/c]@h1"]);
    run.step(1);
    assert_eq!(run.trace.len(), 5, "the gate has not spoken");
    run.step(0);
    assert_eq!(run.trace[5..], ["file[/b]@h2"]);
}

#[test]
fn a_shut_gate_halts_fails_or_goes_on_as_it_says() {
    let shut = || World {
        shut: BTreeSet::from(["up".to_owned()]),
        ..World::default()
    };
    let (_, outcome) = walk(&gated(OnDeadline::Halt), shut());
    assert_eq!(outcome.exit, 8);
    assert!(reason(&outcome, "file[/b]@h2").contains("gate \"up\" did not open on h1: said"));
    let (_, outcome) = walk(&gated(OnDeadline::Fail), shut());
    assert_eq!(
        (outcome.exit, reason(&outcome, "file[/b]@h2")),
        (3, "needs file[/a]@h1, whose gate did not open")
    );
    let (_, outcome) = walk(&gated(OnDeadline::GoOn), shut());
    assert_eq!((outcome.exit, outcome.applied), (0, 3));
}

#[test]
fn a_gate_after_a_wave_stands_before_the_next_and_is_asked_again_on_resume() {
    let plan = Builder::new()
        .wave(1, [file("file[/a]@h1", &[])])
        .after("h1", gate("healthy", OnDeadline::Halt))
        .wave(1, [file("file[/a]@h2", &[])])
        .plan;
    let shut = World {
        shut: BTreeSet::from(["healthy".to_owned()]),
        ..World::default()
    };
    let mut run = Run::new(&plan, shut).finish();
    assert_eq!(run.trace, ["check h1 0", "file[/a]@h1", "gate healthy h1"]);
    assert_eq!(run.outcome().exit, 8);
    (run.world, run.trace) = (World::default(), Vec::new());
    run.feed(resume());
    let run = run.finish();
    assert_eq!(run.trace, ["gate healthy h1", "check h2 1", "file[/a]@h2"]);
    assert_eq!(run.outcome().exit, 0);
}

#[test]
fn hosts_of_a_wave_whose_gate_fails_are_undone() {
    let plan = Builder::new()
        .policy(|policy| (policy.on_failure, policy.failures_max) = (OnFailure::Undo, 1))
        .wave(1, [file("file[/a]@h1", &[])])
        .after("h1", gate("healthy", OnDeadline::Fail))
        .wave(1, [file("file[/a]@h2", &[])])
        .plan;
    let shut = World {
        shut: BTreeSet::from(["healthy".to_owned()]),
        ..World::default()
    };
    let (trace, outcome) = walk(&plan, shut);
    assert_eq!(trace[3..], ["undo file[/a]@h1", "check h2 1", "file[/a]@h2"]);
    assert_eq!((outcome.exit, outcome.undone, outcome.applied), (3, 1, 1));
}

#[test]
fn an_interruption_ends_what_is_in_flight_and_nothing_else() {
    let plan = Builder::new()
        .wave(
            2,
            [
                file("file[/a]@h1", &[]),
                package("package[b]@h1", &[]),
                file("file[/a]@h2", &[]),
            ],
        )
        .plan;
    let mut run = Run::new(&plan, World::default());
    run.step(0);
    run.step(0);
    run.feed(Event::Interrupted);
    assert!(!run.rollout.is_over());
    run.step(0);
    run.step(0);
    let outcome = run.outcome();
    assert_eq!((outcome.exit, outcome.applied), (130, 2));
    assert_eq!(reason(&outcome, "package[b]@h1"), "the run was interrupted");
    run.feed(resume());
    assert_eq!(run.finish().outcome().exit, 0);
}

#[test]
fn what_was_found_is_recorded_with_the_first_wave_or_after_the_last() {
    let mut plan = Builder::new()
        .wave(1, [file("file[/a]@h1", &[])])
        .wave(1, [file("file[/b]@h1", &[])])
        .plan;
    plan.takes = BTreeMap::from([(host("h1"), Vec::new()), (host("h2"), Vec::new())]);
    let (trace, outcome) = walk(&plan, World::default());
    let wanted = [
        "check h1 0",
        "record h1",
        "file[/a]@h1",
        "check h1 1",
        "file[/b]@h1",
        "check h2 2",
        "record h2",
    ];
    assert_eq!(trace, wanted);
    assert_eq!(outcome.exit, 0);
}

/// A plan of a few hosts: each change needs some of those before it.
fn plans() -> impl Strategy<Value = Plan> {
    let change = (
        0..4usize,
        any::<bool>(),
        prop::collection::vec(0..100usize, 0..3),
        any::<bool>(),
    );
    let policy = (0..3usize, 0..3u8, 1..4usize, 0..3usize);
    (
        prop::collection::vec(change, 1..14),
        policy,
        prop::collection::vec(1..4usize, 3),
    )
        .prop_map(|(changes, (failures_max, on_failure, parallel, waves), widths)| {
            let mut made: Vec<Change> = Vec::new();
            for (n, (on, is_package, needs, is_gated)) in changes.into_iter().enumerate() {
                let needs: Vec<String> = needs
                    .iter()
                    .filter(|_| n > 0)
                    .map(|need| made[need % n].target.to_string())
                    .collect();
                let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
                let mut change = match is_package {
                    true => package(&format!("package[p{n}]@h{on}"), &needs),
                    false => file(&format!("file[/f{n}]@h{on}"), &needs),
                };
                if is_gated {
                    change.gates.push(gate(
                        "g",
                        [OnDeadline::Halt, OnDeadline::Fail, OnDeadline::GoOn][n % 3],
                    ));
                }
                made.push(change);
            }
            let size = made.len().div_ceil(waves + 1);
            let policies = [OnFailure::Stop, OnFailure::Undo, OnFailure::Hold];
            let mut builder = Builder::new().policy(|policy| {
                policy.failures_max = failures_max;
                policy.on_failure = policies[usize::from(on_failure)];
                policy.parallel = parallel;
            });
            for (n, chunk) in made.chunks(size).enumerate() {
                let last = chunk
                    .last()
                    .expect("chunks are not empty")
                    .target
                    .host
                    .to_string();
                builder = builder.wave(widths[n % 3], chunk.to_vec());
                if widths[(n + 1) % 3] > 1 {
                    builder = builder.after(&last, gate("w", OnDeadline::Fail));
                }
            }
            builder.plan
        })
}

/// Faults: which changes fail, which hosts are unfit, which gates stay shut.
fn worlds() -> impl Strategy<Value = (Vec<bool>, Vec<u8>, bool, bool, bool)> {
    let often_not = prop::bool::weighted(0.2);
    (
        prop::collection::vec(often_not, 14),
        prop::collection::vec(0..12u8, 4),
        often_not,
        often_not,
        often_not,
    )
}

fn world(plan: &Plan, faults: &(Vec<bool>, Vec<u8>, bool, bool, bool)) -> World {
    let (fail, checks, shut_g, shut_w, undo_fails) = faults;
    let fail: BTreeSet<ResourceId> = plan
        .changes
        .keys()
        .zip(fail)
        .filter(|(_, fails)| **fails)
        .map(|(id, _)| id.clone())
        .collect();
    let outcome = |n: u8| match n {
        0 => CheckOutcome::Stale(vec!["x".to_owned()]),
        1 => CheckOutcome::Unreachable("x".to_owned()),
        2 => CheckOutcome::Locked("x".to_owned()),
        _ => CheckOutcome::Fresh,
    };
    let shut = [("g", shut_g), ("w", shut_w)]
        .into_iter()
        .filter(|(_, shut)| **shut);
    World {
        undo_fails: if *undo_fails {
            fail.clone()
        } else {
            BTreeSet::new()
        },
        fail,
        checks: checks
            .iter()
            .enumerate()
            .map(|(n, check)| (host(&format!("h{n}")), outcome(*check)))
            .collect(),
        shut: shut.map(|(name, _)| name.to_owned()).collect(),
    }
}

fn restored(host: &HostId) -> Event {
    Event::Restored {
        host: host.clone(),
        why: "nobody logged in".to_owned(),
        trouble: Vec::new(),
    }
}

/// Says what is wrong with a run at one moment.
fn broken(plan: &Plan, run: &Run<'_>) -> Option<String> {
    let applied: BTreeSet<&ResourceId> = run
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Applied { change, .. } => Some(change),
            _ => None,
        })
        .collect();
    let mut wave = 0;
    let mut busy: BTreeMap<&HostId, usize> = BTreeMap::new();
    for task in &run.in_flight {
        match task {
            Task::Apply { host, changes }
            | Task::Arm { host, changes }
            | Task::Switched { host, changes } => {
                let missing = changes.iter().flat_map(|change| &plan.changes[change].needs);
                let missing = missing.filter(|need| !changes.contains(need));
                if let Some(need) = missing.into_iter().find(|need| !applied.contains(need)) {
                    return Some(format!("{changes:?} began before {need}"));
                }
                wave = plan
                    .waves
                    .iter()
                    .position(|wave| wave.changes.contains(&changes[0]))
                    .expect("a wave");
                *busy.entry(host).or_default() += 1;
            }
            Task::Check { host, .. }
            | Task::Undo { host, .. }
            | Task::Record { host }
            | Task::Settle { host } => {
                *busy.entry(host).or_default() += 1;
            }
            Task::Gate { .. } | Task::Hook { .. } => {}
        }
    }
    if let Some((host, count)) = busy.iter().find(|(_, count)| **count > 1) {
        return Some(format!("{host} does {count} things at once"));
    }
    let is_changing = run
        .in_flight
        .iter()
        .any(|task| matches!(task, Task::Apply { .. }));
    let undoing = run
        .in_flight
        .iter()
        .filter(|task| matches!(task, Task::Undo { .. }))
        .count();
    let places = plan.waves[wave].width.min(plan.policy.parallel);
    (is_changing && busy.len() - undoing > places).then(|| format!("{busy:?} in {places} places"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_run_ends_with_every_change_accounted_for(
        plan in plans(), faults in worlds(), picks in prop::collection::vec(any::<u8>(), 1..40), stop_at in 0..60usize,
    ) {
        let mut run = Run::new(&plan, world(&plan, &faults));
        let mut steps = 0;
        while !run.rollout.is_over() {
            prop_assert!(!run.in_flight.is_empty(), "it stands still: {:#?}", run.trace);
            prop_assert_eq!(broken(&plan, &run), None);
            if steps == stop_at {
                run.feed(Event::Interrupted);
                if run.rollout.is_over() { break; }
            }
            run.step(usize::from(picks[steps % picks.len()]));
            steps += 1;
        }
        let outcome = run.outcome();
        let undo_failed = plan.changes.len() - outcome.applied - outcome.undone - outcome.not_done.len();
        prop_assert_eq!(outcome.failed.len(), undo_failed, "every change is exactly one of them");
        prop_assert!(outcome.not_done.values().all(|why| !why.is_empty()));
        prop_assert_eq!(replay(&plan, &run.events), run.rollout);
    }

    #[test]
    fn a_run_cut_anywhere_and_resumed_ends_as_if_it_had_not_been(
        plan in plans(), picks in prop::collection::vec(any::<u8>(), 1..40), cut in 0..40usize,
    ) {
        let mut run = Run::new(&plan, World::default());
        for step in 0..cut {
            if run.in_flight.is_empty() { break; }
            run.step(usize::from(picks[step % picks.len()]));
        }
        let mut again = Run { rollout: replay(&plan, &run.events), in_flight: VecDeque::new(), ..run };
        again.feed(resume());
        let again = again.finish();
        prop_assert_eq!((again.outcome().exit, again.outcome().applied), (0, plan.changes.len()));
        let ends = again.events.iter().filter(|event| matches!(event, Event::Applied { .. })).count();
        prop_assert_eq!(ends, plan.changes.len(), "each is applied once");
    }
}

/// A host that is not fit, changes elsewhere that need one of its own, and one on a third host behind these.
#[test]
fn what_a_change_that_never_begins_hid_begins_in_the_same_moment() {
    let plan = Builder::new()
        .policy(|policy| policy.failures_max = 1)
        .wave(
            2,
            [
                file("file[/f0]@h1", &[]),
                file("file[/f1]@h0", &[]),
                file("file[/f2]@h1", &["file[/f1]@h0"]),
                file("file[/f3]@h3", &["file[/f2]@h1"]),
                file("file[/f4]@h3", &[]),
            ],
        )
        .plan;
    let stale = CheckOutcome::Stale(vec!["x".to_owned()]);
    let mut run = Run::new(&plan, World::checking("h0", stale));
    (0..3).for_each(|_| run.step(0));
    // `feed` asserts that an announcement starts nothing; a driver that starts nothing then would stand still for ever.
    assert_eq!(run.trace[3..], ["file[/f0]@h1", "file[/f4]@h3"]);
    assert_eq!(run.finish().outcome().applied, 2);
}

fn guarded() -> Plan {
    Builder::new()
        .policy(|policy| policy.failures_max = 5)
        .wave(
            2,
            [
                file("file[/x]@h2", &[]),
                file("file[/a]@h1", &[]),
                file("file[/b]@h1", &["file[/a]@h1", "file[/x]@h2"]),
                file("file[/z]@h1", &["file[/b]@h1"]),
            ],
        )
        .switch(&["file[/a]@h1", "file[/b]@h1"])
        .plan
}

#[test]
fn what_is_under_one_switch_is_armed_once_and_begins_when_all_of_it_may() {
    let (trace, outcome) = walk(&guarded(), World::default());
    let wanted = [
        "file[/x]@h2",
        "arm h1",
        "switched file[/a]@h1 file[/b]@h1",
        "file[/z]@h1",
    ];
    assert_eq!(trace[2..], wanted);
    assert_eq!((outcome.exit, outcome.applied), (0, 4));
}

#[test]
fn what_a_host_put_back_is_undone_and_the_exit_tells_whether_anything_stays() {
    let (_, outcome) = walk(&guarded(), World::failing(&["file[/b]@h1"]));
    assert_eq!((outcome.exit, outcome.applied, outcome.undone), (3, 1, 2));
    assert_eq!(
        reason(&outcome, "file[/z]@h1"),
        "h1: the host put everything back: nobody logged in"
    );
    let plan = Builder::new()
        .wave(1, [file("file[/a]@h1", &[])])
        .switch(&["file[/a]@h1"])
        .plan;
    let (_, outcome) = walk(&plan, World::failing(&["file[/a]@h1"]));
    assert_eq!((outcome.exit, outcome.applied, outcome.undone), (9, 0, 1));
}

#[test]
fn what_could_not_be_put_back_has_failed() {
    let plan = Builder::new()
        .wave(1, [file("file[/a]@h1", &[])])
        .switch(&["file[/a]@h1"])
        .plan;
    let changes = vec![id("file[/a]@h1")];
    let events = [
        start(),
        Event::Began { changes },
        Event::Restored {
            host: host("h1"),
            why: "nobody logged in".to_owned(),
            trouble: vec!["starting ssh.service: no".to_owned()],
        },
    ];
    let outcome = replay(&plan, &events).outcome();
    assert_eq!((outcome.exit, outcome.undone, outcome.failed.len()), (3, 0, 1));
}

#[test]
fn an_interruption_waits_for_what_is_armed() {
    let plan = guarded();
    let mut run = Run::new(&plan, World::default());
    while !run.trace.contains(&"arm h1".to_owned()) {
        run.step(0);
    }
    run.feed(Event::Interrupted);
    assert!(!run.rollout.is_over());
    let run = run.finish();
    assert_eq!(run.trace.last().unwrap(), "switched file[/a]@h1 file[/b]@h1");
    assert_eq!(
        (run.rollout.outcome().exit, run.rollout.outcome().applied),
        (130, 3)
    );
}

#[test]
fn a_resume_first_finds_out_what_became_of_a_switch() {
    let plan = guarded();
    let begun = |more: &[Event]| {
        let began = |changes: &[&str]| Event::Began {
            changes: changes.iter().map(|change| id(change)).collect(),
        };
        let mut events = vec![start(), began(&["file[/a]@h1", "file[/b]@h1"])];
        events.extend(more.iter().cloned());
        events
    };
    let armed = Event::Armed {
        host: host("h1"),
        changes: vec![id("file[/a]@h1"), id("file[/b]@h1")],
        within_secs: 60,
    };
    let confirmed = Event::Confirmed { host: host("h1") };
    let again = resume();
    let tasks = |events: Vec<Event>| {
        let tasks = replay(&plan, &events).on(&again);
        tasks.iter().map(told).collect::<Vec<_>>()
    };
    for open in [begun(&[]), begun(std::slice::from_ref(&armed))] {
        assert_eq!(tasks(open)[0], "settle h1");
    }
    let settled = begun(&[armed.clone(), confirmed]);
    assert!(!tasks(settled).contains(&"settle h1".to_owned()));

    let mut rollout = replay(&plan, &begun(&[armed]));
    rollout.on(&again);
    rollout.on(&restored(&host("h1")));
    let outcome = rollout.outcome();
    assert_eq!((outcome.undone, outcome.applied), (2, 0));
    // Nobody knows: the next resume asks again, and nothing is begun on the host before.
    let mut rollout = replay(&plan, &begun(&[]));
    rollout.on(&again);
    let why = "no route".to_owned();
    rollout.on(&Event::Unsettled {
        host: host("h1"),
        why,
    });
    assert_eq!(told(&rollout.on(&again)[0]), "settle h1");
}
