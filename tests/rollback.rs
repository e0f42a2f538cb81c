//! Taking runs back, through the planner and the driver over a fleet in memory.

#[path = "support/pretend.rs"]
#[allow(dead_code)]
mod pretend;
mod support;

use std::collections::BTreeMap;

use muster::apply::{Log, Progress, Run, Start, drive};
use muster::model::change::{Action, Undo};
use muster::model::event::{Event, RunOutcome, Task};
use muster::model::id::{ResourceKey, RunId};
use muster::model::manifest::Owned;
use muster::model::observation::FactsSeen;
use muster::model::plan::{HeldWhat, HeldWhy, Plan, Purpose};
use muster::model::target::{HostKey, SshTarget, Transport};
use muster::model::wave::OnFailure;
use muster::observe::{LookOptions, look, look_for};
use muster::plan::rollback::{RollbackInput, probes, rollback, trace};
use muster::ports::LookRequest;
use muster::rollout::Rollout;
use muster::store::StoreError;
use tokio::sync::mpsc::unbounded_channel;

use pretend::{Pretend, file};
use support::fleet::Fleet;
use support::plans::host;

const LOOK: LookOptions = LookOptions {
    parallel: 4,
    closes: false,
};

struct Quiet;

impl Progress for Quiet {
    fn started(&mut self, _: jiff::Timestamp, _: &Task) {}
    fn happened(&mut self, _: jiff::Timestamp, _: &Event) {}
}

/// A journal in memory.
#[derive(Default)]
struct Lines(Vec<Event>);

impl Log for Lines {
    fn append(&mut self, _: jiff::Timestamp, event: &Event) -> Result<(), StoreError> {
        self.0.push(event.clone());
        Ok(())
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime")
        .block_on(work)
}

/// A declared fleet, the fleet itself, and the number of runs so far.
struct Bed {
    pretend: Pretend,
    fleet: Fleet,
    runs: usize,
}

/// A run that came to its end.
struct Done {
    id: RunId,
    plan: Plan,
    events: Vec<Event>,
    outcome: RunOutcome,
}

type Manifests = BTreeMap<String, BTreeMap<ResourceKey, Owned>>;

impl Bed {
    fn new(hosts: &[&str]) -> Self {
        Self {
            pretend: Pretend::new(hosts),
            fleet: Fleet::default(),
            runs: 0,
        }
    }

    /// Declares files anew, the same on every host.
    fn declare(&mut self, files: &[(&str, &str)]) {
        let names: Vec<String> = self
            .pretend
            .inventory
            .hosts
            .keys()
            .map(ToString::to_string)
            .collect();
        for name in names {
            let host = self.pretend.desired.hosts.get_mut(&host(&name)).expect("a host");
            host.entries.clear();
            for (path, content) in files {
                let entry = file(path, content);
                host.entries.insert(entry.spec.key(), entry);
            }
        }
    }

    fn plan(&mut self) -> Plan {
        let hosts = self.pretend.inventory.hosts.keys().cloned().collect();
        let (ports, facts) = (self.fleet.ports(), FactsSeen::default());
        let seen = block_on(look(&ports, &self.pretend.desired, &hosts, &facts, LOOK));
        self.pretend.seen = seen.observation;
        self.pretend.plan()
    }

    fn run(&mut self, plan: Plan) -> Done {
        self.runs += 1;
        let id: RunId = format!("0123456789ab-{}", self.runs).parse().expect("a run");
        let run = Run {
            plan: &plan,
            id: id.clone(),
            who: "alice@laptop".to_owned(),
            secrets: self.fleet.secrets.clone(),
            ports: self.fleet.ports(),
        };
        let (mut lines, mut quiet, mut none) = (Lines::default(), Quiet, unbounded_channel().1);
        let rollout = Rollout::new(&plan);
        let driven = drive(&run, rollout, Start::default(), &mut lines, &mut none, &mut quiet);
        let outcome = block_on(driven).expect("the journal can be written");
        Done {
            id,
            events: lines.0,
            outcome,
            plan,
        }
    }

    fn apply(&mut self) -> Done {
        let plan = self.plan();
        self.run(plan)
    }

    fn rollback(&mut self, done: &Done) -> Plan {
        let trace = trace::trace(&done.events);
        let request = |probes| LookRequest {
            probes,
            ..LookRequest::default()
        };
        let wanted = probes(&done.plan, &trace, &done.id);
        let wanted = wanted
            .into_iter()
            .map(|(host, probes)| (host, request(probes)))
            .collect();
        let seen = block_on(look_for(&self.fleet.ports(), &wanted, LOOK));
        rollback(&RollbackInput {
            inventory: &self.pretend.inventory,
            run: &done.id,
            then: &done.plan,
            trace: &trace,
            seen: &seen,
            lineages: &BTreeMap::new(),
            limit: self.pretend.limit.clone(),
        })
    }

    fn manifests(&self) -> Manifests {
        let names = self.pretend.inventory.hosts.keys();
        let owned = |name: &str| {
            self.fleet.host(name, |host| {
                host.manifest.as_ref().map(|manifest| manifest.owned.clone())
            })
        };
        names
            .map(|name| (name.to_string(), owned(name.as_str()).unwrap_or_default()))
            .collect()
    }
}

fn held(plan: &Plan) -> Vec<(String, &HeldWhy)> {
    let what = |what: &HeldWhat| what.to_string();
    plan.held
        .iter()
        .map(|held| (what(&held.what), &held.why))
        .collect()
}

fn actions(plan: &Plan) -> Vec<(String, Action)> {
    plan.changes
        .values()
        .map(|change| (change.target.to_string(), change.action))
        .collect()
}

#[test]
fn what_a_run_did_is_taken_back_with_its_entries_and_then_planned_again() {
    let mut bed = Bed::new(&["h1", "h2"]);
    bed.declare(&[("/a", "v1"), ("/gone", "v1")]);
    bed.apply();
    bed.fleet
        .host("h1", |host| host.files.insert("/found".into(), "v2".into()));
    let (files, manifests) = (bed.fleet.files(), bed.manifests());

    bed.declare(&[("/a", "v2"), ("/b", "v2"), ("/found", "v2")]);
    let done = bed.apply();
    assert_eq!((done.outcome.exit, done.outcome.applied), (0, 7));
    let (files_then, manifests_then) = (bed.fleet.files(), bed.manifests());

    let plan = bed.rollback(&done);
    assert_eq!(plan.purpose, Purpose::Rollback(done.id.clone()));
    assert_eq!(plan.held, []);
    let on_h1: Vec<_> = actions(&plan)
        .into_iter()
        .filter(|(id, _)| id.ends_with("@h1"))
        .collect();
    let wanted = [
        ("file[/a]@h1".to_owned(), Action::Update),
        ("file[/b]@h1".to_owned(), Action::Delete),
        ("file[/found]@h1".to_owned(), Action::Forget),
        ("file[/gone]@h1".to_owned(), Action::Create),
    ];
    assert_eq!(on_h1, wanted);
    let back = bed.run(plan);
    assert_eq!((back.outcome.exit, back.outcome.applied), (0, 8));
    assert_eq!((bed.fleet.files(), bed.manifests()), (files, manifests));
    assert_eq!(
        actions(&bed.plan()),
        actions(&done.plan),
        "a plain plan shows it all again"
    );

    // And back again.
    let plan = bed.rollback(&back);
    assert_eq!(plan.held, []);
    assert_eq!(bed.run(plan).outcome.exit, 0);
    assert_eq!((bed.fleet.files(), bed.manifests()), (files_then, manifests_then));
    assert!(bed.plan().changes.is_empty());
}

#[test]
fn what_others_changed_since_is_held_with_what_it_stands_on_and_the_rest_is_taken_back() {
    let mut bed = Bed::new(&["h1"]);
    bed.declare(&[("/a", "v1"), ("/b", "v1"), ("/c", "v1")]);
    let mut plan = bed.plan();
    // `/a` was changed by hand; it needs `/b`, so that stays too.
    let needs = |plan: &mut Plan, user: &str, used: &str| {
        let change = plan
            .changes
            .get_mut(&user.parse().expect("an id"))
            .expect("a change");
        change.needs.insert(used.parse().expect("an id"));
    };
    needs(&mut plan, "file[/a]@h1", "file[/b]@h1");
    plan.waves[0]
        .changes
        .sort_by_key(|id| std::cmp::Reverse(id.key.name.clone()));
    let done = bed.run(plan);
    assert_eq!(done.outcome.exit, 0);
    bed.fleet
        .host("h1", |host| host.files.insert("/a".into(), "by hand".into()));
    let plan = bed.rollback(&done);
    let why = HeldWhy::ChangedSince("it is no longer as that run left it".to_owned());
    let needs = HeldWhy::Needs("file[/a]@h1".parse().expect("an id"));
    assert_eq!(
        held(&plan),
        [
            ("file[/a]@h1".to_owned(), &why),
            ("file[/b]@h1".to_owned(), &needs)
        ]
    );
    assert_eq!(bed.run(plan).outcome.exit, 0);
    let files = bed.fleet.host("h1", |host| host.files.clone());
    assert_eq!(
        files,
        BTreeMap::from([("/a".into(), "by hand".into()), ("/b".into(), "v1".into())])
    );
}

#[test]
fn an_older_run_gives_way_to_a_later_one_and_a_store_that_is_gone_holds() {
    let mut bed = Bed::new(&["h1"]);
    bed.declare(&[("/a", "v1"), ("/b", "v1")]);
    let first = bed.apply();
    bed.declare(&[("/a", "v2"), ("/b", "v1")]);
    bed.apply();
    let plan = bed.rollback(&first);
    let why = HeldWhy::ChangedSince("a later run changed it".to_owned());
    assert_eq!(held(&plan), [("file[/a]@h1".to_owned(), &why)]);
    assert_eq!(actions(&plan), [("file[/b]@h1".to_owned(), Action::Delete)]);

    bed.fleet.host("h1", |host| host.kept.remove(&first.id));
    let plan = bed.rollback(&first);
    let expired = HeldWhy::UndoExpired(first.id.clone());
    let held = held(&plan);
    assert!(
        held.contains(&("file[/b]@h1".to_owned(), &expired)) && plan.changes.is_empty(),
        "{held:?}"
    );
}

#[test]
fn a_failed_run_is_taken_back_as_far_as_it_came_and_what_cannot_be_undone_is_named() {
    let mut bed = Bed::new(&["h1"]);
    bed.declare(&[("/a", "v1"), ("/b", "v1"), ("/c", "v1")]);
    let mut plan = bed.plan();
    let change = plan
        .changes
        .get_mut(&"file[/a]@h1".parse().expect("an id"))
        .expect("a change");
    change.undo = Undo::Impossible("nobody knows what undoes a command".to_owned());
    bed.fleet.faults(|faults| faults.fails.extend(["/c".into()]));
    let done = bed.run(plan);
    assert_eq!(done.outcome.exit, 3);
    bed.fleet.faults(|faults| faults.fails.clear());
    let plan = bed.rollback(&done);
    let why = HeldWhy::CannotUndo("nobody knows what undoes a command".to_owned());
    assert_eq!(held(&plan), [("file[/a]@h1".to_owned(), &why)]);
    // Of what failed nothing is there but an entry that says that it was begun.
    let wanted = [
        ("file[/b]@h1".to_owned(), Action::Delete),
        ("file[/c]@h1".to_owned(), Action::Forget),
    ];
    assert_eq!(actions(&plan), wanted);
    assert_eq!(bed.run(plan).outcome.exit, 0);
    let owned = bed.manifests()["h1"]
        .keys()
        .map(ToString::to_string)
        .collect::<Vec<_>>();
    assert_eq!(owned, ["file[/a]"]);
}

#[test]
fn hosts_that_do_not_answer_are_held_and_a_limit_leaves_hosts_out() {
    let mut bed = Bed::new(&["h1", "h2", "h3"]);
    bed.declare(&[("/a", "v1")]);
    let done = bed.apply();
    bed.pretend.limit = Some(("h1,h2".to_owned(), [host("h1"), host("h2")].into()));
    bed.fleet.faults(|faults| faults.unreachable.extend([host("h2")]));
    let plan = bed.rollback(&done);
    assert_eq!(actions(&plan), [("file[/a]@h1".to_owned(), Action::Delete)]);
    assert!(matches!(held(&plan).as_slice(), [(host, HeldWhy::Unreachable(_))] if host == "h2"));
    assert_eq!(plan.limited_to, Some(("h1,h2".to_owned(), 2)));
}

#[test]
fn a_rollback_is_stale_when_the_host_changed_after_it_was_made() {
    let mut bed = Bed::new(&["h1"]);
    bed.declare(&[("/a", "v1")]);
    let done = bed.apply();
    let plan = bed.rollback(&done);
    bed.fleet
        .host("h1", |host| host.files.insert("/a".into(), "by hand".into()));
    assert_eq!(bed.run(plan).outcome.exit, 6);
    assert_eq!(bed.fleet.host("h1", |host| host.files["/a"].clone()), "by hand");
}

#[test]
fn what_may_cut_us_off_is_taken_back_under_a_switch() {
    let mut bed = Bed::new(&["h1"]);
    bed.declare(&[("/a", "v1"), ("/etc/ssh/x", "v1")]);
    let done = bed.apply();
    let declared = bed.pretend.inventory.hosts.get_mut(&host("h1"));
    declared.expect("a host").target.transport = Transport::Ssh(SshTarget {
        address: "h1".to_owned(),
        port: None,
        user: Some("ops".to_owned()),
        identity_file: None,
        host_key: HostKey::KnownHosts,
        via: None,
    });
    let plan = bed.rollback(&done);
    assert_eq!(plan.held, []);
    let switch = &plan.switches[&host("h1")];
    assert_eq!(switch.changes, ["file[/etc/ssh/x]@h1".parse().expect("an id")]);
    assert_eq!(switch.restores.paths, ["/etc/ssh/x".to_owned()].into());
    assert!(switch.restores.readers.contains("ssh.service"));

    // Where no switch could take the rollback back, it stays, and the rest goes.
    bed.fleet
        .faults(|faults| faults.without_systemd.extend([host("h1")]));
    let plan = bed.rollback(&done);
    let why = HeldWhy::NoSwitch("the host has no systemd to take it back".to_owned());
    assert_eq!(held(&plan), [("file[/etc/ssh/x]@h1".to_owned(), &why)]);
    assert_eq!(actions(&plan), [("file[/a]@h1".to_owned(), Action::Delete)]);
    assert!(plan.switches.is_empty());
}

/// A fleet on which `/b` fails, and whose policy undoes what was done before it.
fn undoing() -> (Bed, Plan) {
    let mut bed = Bed::new(&["h1"]);
    bed.pretend.inventory.policy.on_failure = OnFailure::Undo;
    bed.declare(&[("/a", "v1")]);
    bed.apply();
    bed.declare(&[("/a", "v2"), ("/b", "v2")]);
    let plan = bed.plan();
    bed.fleet.faults(|faults| faults.fails.extend(["/b".into()]));
    (bed, plan)
}

#[test]
fn an_undo_is_held_against_what_was_there_before_and_halts_when_it_is_not() {
    let (mut bed, plan) = undoing();
    let before = bed.manifests();
    bed.fleet.faults(|faults| faults.restores.extend(["/a".into()]));
    let done = bed.run(plan);
    assert_eq!(done.outcome.exit, 8, "{:?}", done.outcome);
    let is_said = |event: &Event| matches!(event, Event::Undone { error: Some(why), held: false, .. } if why.contains("not as it was before"));
    assert!(done.events.iter().any(is_said), "{:?}", done.events);
    assert_ne!(
        bed.manifests(),
        before,
        "the manifest does not say what is not so"
    );

    let (mut bed, plan) = undoing();
    let before = bed.manifests();
    assert_eq!(bed.run(plan).outcome.exit, 9);
    assert_eq!(bed.manifests(), before);
    assert_eq!(
        bed.fleet.host("h1", |host| host.files.clone()),
        BTreeMap::from([("/a".into(), "v1".into())])
    );
}

#[test]
fn an_undo_leaves_what_others_changed_meanwhile() {
    let (mut bed, plan) = undoing();
    bed.fleet.faults(|faults| {
        drop(
            faults
                .meddles
                .insert("/b".into(), ("/a".into(), "by hand".into())),
        )
    });
    let done = bed.run(plan);
    assert_eq!(done.outcome.exit, 3, "something is left: {:?}", done.outcome);
    assert_eq!(bed.fleet.host("h1", |host| host.files["/a"].clone()), "by hand");
    let is_held = |event: &Event| matches!(event, Event::Undone { held: true, .. });
    assert_eq!(done.events.iter().filter(|event| is_held(event)).count(), 1);
}
