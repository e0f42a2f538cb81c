//! Rollbacks: what a run did × what is there now → a plan that takes it back. Pure.
//!
//! The plan is like any other: it has its own basis, waves and gates, and is applied by the same run. Its changes restore from what
//! the hosts kept of that run, so it holds pointers and no contents. What others changed since is held, and so is what cannot be
//! undone. [`trace`] says what the journal knows; [`change`] judges one change.

mod change;
pub mod trace;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::change::{Action, Change};
use crate::model::digest::Digest;
use crate::model::id::{HostId, ResourceId, ResourceKey, RunId};
use crate::model::inventory::Inventory;
use crate::model::observation::{HostView, Observation, Reach};
use crate::model::op::Probe;
use crate::model::plan::{Held, HeldWhat, HeldWhy, Plan, Purpose};
use crate::model::undo;
use crate::resource::since;

use super::section::Sections;
use super::work::hold::{machine_hold, no_room};
use super::work::{manifest_basis, rank};
use super::{graph, waves};

use change::{Judged, Judging};
use trace::Trace;

/// What a rollback is made from.
pub struct RollbackInput<'a> {
    /// The inventory: its hosts, its policy.
    pub inventory: &'a Inventory,
    /// The run that is taken back.
    pub run: &'a RunId,
    /// The plan that it carried out.
    pub then: &'a Plan,
    /// What its journal says that it did.
    pub trace: &'a Trace,
    /// What the hosts say to [`probes`].
    pub seen: &'a Observation,
    /// The lineage that each host had when muster last saw it.
    pub lineages: &'a BTreeMap<HostId, String>,
    /// The hosts that may be changed, with the selector that picked them; `None` is all.
    pub limit: Option<(String, BTreeSet<HostId>)>,
}

/// Returns what must be looked at, by host.
pub fn probes(
    then: &Plan,
    trace: &Trace,
    run: &RunId,
) -> BTreeMap<HostId, BTreeMap<ResourceKey, Vec<Probe>>> {
    let mut hosts: BTreeMap<HostId, BTreeMap<ResourceKey, Vec<Probe>>> = BTreeMap::new();
    for id in trace.changes.keys() {
        if let Some(change) = then.changes.get(id) {
            let probes = hosts.entry(id.host.clone()).or_default();
            probes.insert(id.key.clone(), since::probes(change, run));
        }
    }
    for host in &trace.recorded {
        let takes = then.takes.get(host).into_iter().flatten();
        let probes = takes.map(|take| (take.key.clone(), take.probes.clone()));
        hosts.entry(host.clone()).or_default().extend(probes);
    }
    hosts
}

/// Makes the plan.
pub fn rollback(input: &RollbackInput<'_>) -> Plan {
    let mut rollback = Rollback {
        input,
        changes: BTreeMap::new(),
        now: BTreeMap::new(),
        held: BTreeMap::new(),
        held_hosts: BTreeMap::new(),
    };
    rollback.judge_hosts();
    rollback.judge_changes();
    rollback.judge_takes();
    rollback.hold_what_stands_on_held();
    rollback.hold_without_room();
    rollback.fill_needs();
    rollback.hold_without_switch();
    rollback.finish()
}

/// A rollback in the making.
struct Rollback<'a> {
    input: &'a RollbackInput<'a>,
    changes: BTreeMap<ResourceId, Change>,
    now: BTreeMap<ResourceId, Digest>,
    held: BTreeMap<ResourceId, HeldWhy>,
    held_hosts: BTreeMap<HostId, HeldWhy>,
}

impl<'a> Rollback<'a> {
    fn judge_hosts(&mut self) {
        let touched = self.input.trace.changes.keys().map(|id| &id.host);
        let hosts: BTreeSet<&HostId> = touched.chain(&self.input.trace.recorded).collect();
        for host in hosts {
            if let Some(why) = self.host_hold(host) {
                self.held_hosts.insert(host.clone(), why);
            }
        }
    }

    fn host_hold(&self, host: &HostId) -> Option<HeldWhy> {
        if !self.input.inventory.hosts.contains_key(host) {
            return Some(HeldWhy::NotOurs(
                "it is no longer declared under this name".to_owned(),
            ));
        }
        let Some(view) = self.input.seen.hosts.get(host) else {
            return Some(HeldWhy::Unreachable("nobody looked at it".to_owned()));
        };
        match &view.reach {
            Reach::Unreachable(why) => Some(HeldWhy::Unreachable(why.clone())),
            Reach::Reached => machine_hold(self.input.inventory, self.input.lineages, host, view),
        }
    }

    /// Returns what a host said, if something may be done there.
    fn view(&self, host: &HostId) -> Option<&'a HostView> {
        let limit = self.input.limit.as_ref();
        let is_picked = limit.is_none_or(|(_, hosts)| hosts.contains(host));
        let is_open = is_picked && !self.held_hosts.contains_key(host);
        self.input.seen.hosts.get(host).filter(|_| is_open)
    }

    fn judging(&self, view: &'a HostView) -> Judging<'a> {
        Judging {
            run: self.input.run,
            then: self.input.then,
            view,
        }
    }

    fn judge_changes(&mut self) {
        for (id, traced) in &self.input.trace.changes {
            let (Some(change), Some(view)) = (self.input.then.changes.get(id), self.view(&id.host)) else {
                continue;
            };
            let judged = self.judging(view).change(change, traced);
            self.take(id, judged);
        }
    }

    fn judge_takes(&mut self) {
        for host in &self.input.trace.recorded {
            let Some(view) = self.view(host) else { continue };
            for take in self.input.then.takes.get(host).into_iter().flatten() {
                let id = take.key.on(host);
                let judged = self.judging(view).take(&id, take);
                self.take(&id, judged);
            }
        }
    }

    fn take(&mut self, id: &ResourceId, judged: Judged) {
        match judged {
            Judged::Nothing => {}
            Judged::Held(why) => drop(self.held.insert(id.clone(), why)),
            Judged::Change(change, now) => {
                self.now.insert(id.clone(), now);
                self.changes.insert(id.clone(), *change);
            }
        }
    }

    /// What may cut us off is taken back under a switch, or not at all.
    fn hold_without_switch(&mut self) {
        loop {
            let held = self.sections().unguarded();
            if held.is_empty() {
                return;
            }
            for (id, why) in held {
                self.changes.remove(&id);
                self.held.insert(id, HeldWhy::NoSwitch(why));
            }
            self.hold_what_stands_on_held();
            self.fill_needs();
        }
    }

    /// Whatever was under a switch in the run is under one again, also where only the inventory told why.
    fn sections(&self) -> Sections<'_> {
        let then = |change: &Change| {
            let switch = self.input.then.switches.get(&change.target.host)?;
            switch.cuts.get(&change.target).cloned()
        };
        Sections::of(
            self.input.inventory,
            self.input.seen,
            self.changes.values(),
            |change, _| then(change).filter(|_| !change.ops.is_empty()),
        )
    }

    /// What stays keeps what it stands on. What cannot be undone at all keeps nothing: a command that ran once would otherwise keep
    /// everything that it was run after. But what went and does not come back can carry nothing.
    fn hold_what_stands_on_held(&mut self) {
        let went = |id: &ResourceId| {
            let change = self.input.then.changes.get(id);
            change.is_some_and(|change| change.action == Action::Delete)
        };
        let keeps = |(id, why): &(&ResourceId, &HeldWhy)| !matches!(why, HeldWhy::CannotUndo(_)) || went(id);
        let held: BTreeSet<ResourceId> = self.held.iter().filter(keeps).map(|(id, _)| id.clone()).collect();
        let all: BTreeSet<ResourceId> = self.changes.keys().chain(&held).cloned().collect();
        let needs = undo::needs(&self.input.then.changes, &all);
        let mut kept = held;
        for id in graph::order(&needs, |_| 0) {
            let Some(need) = needs[id].iter().find(|need| kept.contains(*need)) else {
                continue;
            };
            if self.changes.remove(id).is_some() {
                self.held.insert(id.clone(), HeldWhy::Needs(need.clone()));
                kept.insert(id.clone());
            }
        }
    }

    fn hold_without_room(&mut self) {
        let Some(why) = no_room(self.input.inventory, self.held_hosts.len()) else {
            return;
        };
        let disrupting = |change: &&Change| waves::is_disrupting(change);
        let disrupting: Vec<ResourceId> = self
            .changes
            .values()
            .filter(disrupting)
            .map(|change| change.target.clone())
            .collect();
        for id in disrupting {
            self.changes.remove(&id);
            self.held.insert(id, HeldWhy::NoRoom(why.clone()));
        }
        self.hold_what_stands_on_held();
    }

    fn fill_needs(&mut self) {
        let taken: BTreeSet<ResourceId> = self.changes.keys().cloned().collect();
        let mut needs = undo::needs(&self.input.then.changes, &taken);
        for (id, change) in &mut self.changes {
            change.needs = needs.remove(id).unwrap_or_default();
        }
    }

    fn finish(self) -> Plan {
        let input = self.input;
        let sections = self.sections();
        let needs = sections.needs_in_one_piece();
        let ordered: Vec<ResourceId> = graph::order(&needs, rank).into_iter().cloned().collect();
        let switches = sections.switches(&ordered);
        let waves = waves::WaveInput {
            inventory: input.inventory,
            ordered: ordered.iter().collect(),
            changes: &self.changes,
            switches: &switches,
            down: self.held_hosts.keys().cloned().collect(),
        }
        .waves();
        let mut basis = BTreeMap::new();
        for id in self.changes.keys() {
            let view = input.seen.hosts.get(&id.host);
            let basis = basis
                .entry(id.host.clone())
                .or_insert_with(|| manifest_basis(input.inventory, &id.host, view));
            basis
                .seen
                .extend(self.now.get(id).map(|now| (id.key.clone(), now.clone())));
        }
        let hosts = basis
            .keys()
            .filter_map(|host| Some((host.clone(), input.inventory.hosts.get(host)?.target.clone())));
        Plan {
            fleet: input.inventory.name.clone(),
            purpose: Purpose::Rollback(input.run.clone()),
            inputs: BTreeMap::new(),
            hosts: hosts.collect(),
            basis,
            waves,
            held: held(&input.limit, self.held_hosts, self.held),
            notes: Vec::new(),
            changes: self.changes,
            switches,
            takes: BTreeMap::new(),
            hooks: input
                .inventory
                .hooks
                .iter()
                .filter(|hook| hook.on.is_of_run())
                .cloned()
                .collect(),
            policy: input.inventory.policy.clone(),
            fleet_size: input.inventory.hosts.len(),
            limited_to: input
                .limit
                .as_ref()
                .map(|(selector, hosts)| (selector.clone(), hosts.len())),
            aimed: None,
            inventory_file: input.inventory.file.clone(),
        }
    }
}

/// Returns everything that is held, hosts first.
fn held(
    limit: &Option<(String, BTreeSet<HostId>)>,
    hosts: BTreeMap<HostId, HeldWhy>,
    resources: BTreeMap<ResourceId, HeldWhy>,
) -> Vec<Held> {
    let is_picked = |host: &HostId| limit.as_ref().is_none_or(|(_, hosts)| hosts.contains(host));
    let hosts = hosts.into_iter().filter(|(host, _)| is_picked(host));
    let hosts = hosts.map(|(host, why)| Held {
        what: HeldWhat::Host(host),
        why,
    });
    let resources = resources.into_iter().map(|(id, why)| Held {
        what: HeldWhat::Resource(id),
        why,
    });
    hosts.chain(resources).collect()
}
