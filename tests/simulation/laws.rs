//! What every run keeps, whatever goes wrong: read from its journal, and from what happened on the hosts.

use std::collections::{BTreeMap, BTreeSet};

use muster::model::change::{Disruption, Undo};
use muster::model::digest::Digest;
use muster::model::event::{CheckOutcome, Event, GateId};
use muster::model::gate::OnDeadline;
use muster::model::id::{HostId, ResourceId};
use muster::model::op::Op;
use muster::model::plan::{HeldWhat, HeldWhy, Plan};
use muster::resource::Spec;
use muster::rollout::replay;
use muster::sim::{Deed, Happened, Station};

use crate::scenes::look;
use crate::trip::{End, Trip};

/// A law that was broken: which, and how.
pub type Broken = String;

/// Where everything of a run stands, event by event.
struct Course<'p> {
    plan: &'p Plan,
    wave_of: BTreeMap<&'p ResourceId, usize>,
    applied: BTreeSet<ResourceId>,
    in_flight: BTreeSet<ResourceId>,
    /// Gates that let the run go on since their change was applied.
    passed: BTreeSet<GateId>,
    lost: BTreeSet<HostId>,
    /// Hosts of which something was undone, or could not be: they stay given up when the run goes on.
    given_up: BTreeSet<HostId>,
    halted: bool,
    down_before: BTreeSet<HostId>,
    open_waves: BTreeSet<usize>,
    /// Hosts whose dead-man switch was armed, and of which nobody has said since what became of it.
    armed: BTreeSet<HostId>,
}

/// Checks the course of a run: order, gates, budgets, switches.
pub fn course(plan: &Plan, events: &[Event]) -> Result<(), Broken> {
    let waves = plan.waves.iter().enumerate();
    let mut course = Course {
        plan,
        wave_of: waves
            .flat_map(|(at, wave)| wave.changes.iter().map(move |id| (id, at)))
            .collect(),
        applied: BTreeSet::new(),
        in_flight: BTreeSet::new(),
        passed: BTreeSet::new(),
        lost: BTreeSet::new(),
        given_up: BTreeSet::new(),
        halted: false,
        down_before: down_before(plan),
        open_waves: BTreeSet::new(),
        armed: BTreeSet::new(),
    };
    events.iter().try_for_each(|event| course.take(event))
}

fn down_before(plan: &Plan) -> BTreeSet<HostId> {
    let unreachable = plan
        .held
        .iter()
        .filter(|held| matches!(held.why, HeldWhy::Unreachable(_)));
    let host = |what: &HeldWhat| match what {
        HeldWhat::Host(host) => host.clone(),
        HeldWhat::Resource(id) => id.host.clone(),
    };
    unreachable.map(|held| host(&held.what)).collect()
}

impl Course<'_> {
    fn take(&mut self, event: &Event) -> Result<(), Broken> {
        match event {
            Event::Started { resumed, .. } => {
                if *resumed {
                    self.lost.clone_from(&self.given_up);
                    self.in_flight.clear();
                    self.halted = false;
                }
            }
            Event::Began { changes } => {
                for change in changes {
                    self.may_begin(change, changes)?;
                    self.in_flight.insert(change.clone());
                    self.open_waves.insert(self.wave_of[change]);
                }
                self.may_be_down(&changes[0].host)?;
            }
            Event::Applied { change, .. } => {
                self.may_be_done(change)?;
                self.in_flight.remove(change);
                self.applied.insert(change.clone());
                self.passed
                    .retain(|gate| !matches!(gate, GateId::Change(of, _) if of == change));
            }
            Event::Failed { change, .. } => {
                self.in_flight.remove(change);
                self.lost.insert(change.host.clone());
            }
            Event::Unmade { changes } => self.in_flight.retain(|change| !changes.contains(change)),
            // It stays as it was applied, and a resume asks its gates anew.
            Event::Undone {
                change, held: true, ..
            } => drop(self.lost.insert(change.host.clone())),
            Event::Undone { change, .. } => {
                self.applied.remove(change);
                self.given_up.insert(change.host.clone());
                self.lost.insert(change.host.clone());
            }
            Event::Armed { host, .. } => drop(self.armed.insert(host.clone())),
            Event::Confirmed { host } | Event::Unarmed { host } => drop(self.armed.remove(host)),
            Event::Restored { host, .. } => {
                self.armed.remove(host);
                self.in_flight.retain(|change| change.host != *host);
                self.given_up.insert(host.clone());
                self.lost.insert(host.clone());
            }
            Event::Unsettled { host, .. } => drop(self.lost.insert(host.clone())),
            Event::Checked { host, outcome, .. } if *outcome != CheckOutcome::Fresh => {
                self.lost.insert(host.clone());
            }
            Event::Recorded { host, error: Some(_) } => drop(self.lost.insert(host.clone())),
            Event::GateSaid { gate, open, .. } => self.gate_said(gate, *open),
            Event::Interrupted => self.halted = true,
            Event::Locked { .. }
            | Event::HookSaid { .. }
            | Event::Checked { .. }
            | Event::Recorded { .. }
            | Event::Ended { .. } => {}
        }
        Ok(())
    }

    fn gate_said(&mut self, gate: &GateId, open: bool) {
        let (on_deadline, hosts) = match gate {
            GateId::Change(id, n) => (self.plan.changes[id].gates[*n].on_deadline, vec![id.host.clone()]),
            GateId::Wave(wave, n) => {
                let wave = &self.plan.waves[*wave];
                (wave.after[*n].gate.on_deadline, vec![wave.after[*n].host.clone()])
            }
        };
        match (open, on_deadline) {
            (true, _) | (false, OnDeadline::GoOn) => drop(self.passed.insert(gate.clone())),
            (false, OnDeadline::Fail) => self.lost.extend(hosts),
            (false, OnDeadline::Halt) => self.halted = true,
        }
    }

    fn may_begin(&self, id: &ResourceId, together: &[ResourceId]) -> Result<(), Broken> {
        let change = &self.plan.changes[id];
        let wave = self.wave_of[id];
        for need in &change.needs {
            let is_first = self.applied.contains(need) || together.contains(need);
            if !is_first {
                return Err(format!("edges: {id} began before {need}, which it needs"));
            }
            let gates = 0..self.plan.changes[need].gates.len();
            let shut = gates
                .map(|n| GateId::Change(need.clone(), n))
                .find(|gate| !self.passed.contains(gate));
            if let Some(gate) = shut {
                return Err(format!("gates: {id} began while {gate:?} had not opened"));
            }
        }
        for earlier in 0..wave {
            let cut = &self.plan.waves[earlier];
            if let Some(other) = cut.changes.iter().find(|other| self.in_flight.contains(*other)) {
                return Err(format!(
                    "waves: {id} began while {other} of an earlier wave was in flight"
                ));
            }
            let asked = cut.after.iter().enumerate();
            let is_skipped = |(n, gate): &(usize, &muster::model::gate::HostGate)| {
                let is_done = cut
                    .changes
                    .iter()
                    .any(|done| done.host == gate.host && self.applied.contains(done));
                is_done
                    && !self.lost.contains(&gate.host)
                    && !self.passed.contains(&GateId::Wave(earlier, *n))
            };
            if let Some((n, gate)) = asked.clone().find(is_skipped) {
                return Err(format!(
                    "gates: {id} began, and gate {n} after wave {earlier} on {} was not passed",
                    gate.host
                ));
            }
        }
        if self.lost.contains(&id.host) {
            return Err(format!("failures: {id} began on a host that was given up"));
        }
        if self.halted {
            return Err(format!("failures: {id} began after the run was to stop"));
        }
        let lost = self.lost.len() + self.down_before.len();
        if !self.lost.is_empty() && lost > self.plan.policy.failures_max {
            return Err(format!(
                "failures: {id} began with {lost} hosts lost, of which {} may be",
                self.plan.policy.failures_max
            ));
        }
        Ok(())
    }

    /// What may cut us off is done only once a new login has confirmed it.
    fn may_be_done(&self, id: &ResourceId) -> Result<(), Broken> {
        let switch = self.plan.switches.get(&id.host);
        let is_under = switch.is_some_and(|switch| switch.changes.contains(id));
        match is_under && self.armed.contains(&id.host) {
            true => Err(format!(
                "switch: {id} was done, and no new login had confirmed it"
            )),
            false => Ok(()),
        }
    }

    /// Counts the hosts at work, and those that are disrupted.
    fn may_be_down(&self, host: &HostId) -> Result<(), Broken> {
        let at_work: BTreeSet<&HostId> = self.in_flight.iter().map(|id| &id.host).collect();
        let wave = self
            .in_flight
            .iter()
            .filter(|id| id.host == *host)
            .map(|id| self.wave_of[id])
            .max();
        let width = wave.map_or(1, |wave| self.plan.waves[wave].width);
        if at_work.len() > width {
            return Err(format!(
                "budget: {at_work:?} at work at once, of which {width} may be"
            ));
        }
        let disrupts = |id: &&ResourceId| self.plan.changes[*id].disruption != Disruption::None;
        let mut down: BTreeSet<&HostId> = self
            .in_flight
            .iter()
            .filter(disrupts)
            .map(|id| &id.host)
            .collect();
        let is_any = !down.is_empty();
        down.extend(&self.down_before);
        let max = self.plan.policy.down_max.of(self.plan.fleet_size);
        if is_any && down.len() > max {
            return Err(format!("budget: {down:?} down at once, of which {max} may be"));
        }
        Ok(())
    }
}

/// A journal, fed to a new rollout, ends where the run did.
pub fn replays(trip: &Trip<'_>, end: &End) -> Result<(), Broken> {
    let End::Ended(outcome) = end else { return Ok(()) };
    let events = trip.events();
    let again = replay(trip.plan, &events).outcome();
    if again != *outcome {
        return Err(format!("replay: {again:?}, and the run ended {outcome:?}"));
    }
    match events.last() {
        Some(Event::Ended { outcome: said }) if said == outcome => Ok(()),
        other => Err(format!("replay: the journal ends with {other:?}")),
    }
}

/// What a dead-man switch put back is as it was before the run.
pub fn put_back(
    plan: &Plan,
    events: &[Event],
    before: &BTreeMap<HostId, Station>,
    after: &BTreeMap<HostId, Station>,
) -> Result<(), Broken> {
    let host_of = |event: &Event| match event {
        Event::Restored { host, .. } => Some(host.clone()),
        _ => None,
    };
    for host in events.iter().filter_map(host_of) {
        let Some(switch) = plan.switches.get(&host) else {
            return Err(format!(
                "switch: {host} was put back, and the plan has no switch for it"
            ));
        };
        for id in &switch.changes {
            let change = &plan.changes[id];
            let spec = Spec::decode(id.key.kind.as_str(), &change.spec).expect("the planner wrote it");
            let at = |stations: &BTreeMap<HostId, Station>| look(&stations[&host].guarded.host, &spec);
            if spec.seen(&at(before)) != spec.seen(&at(after)) {
                return Err(format!(
                    "switch: {host} was put back, and {id} was {:?} and is {:?}",
                    at(before),
                    at(after)
                ));
            }
        }
    }
    Ok(())
}

/// No operation was done under an old token, and none had its effect more often than the plan has it.
pub fn once(plan: &Plan, happened: &[Happened], is_disturbed: bool) -> Result<(), Broken> {
    if let Some(happened) = happened
        .iter()
        .find(|happened| matches!(happened.deed, Deed::Unfenced { .. }))
    {
        return Err(format!("fence: {happened:?}"));
    }
    if is_disturbed {
        return Ok(());
    }
    let mut planned: BTreeMap<(&HostId, String), usize> = BTreeMap::new();
    for (id, change) in &plan.changes {
        let undo: &[Op] = match &change.undo {
            Undo::Exact(ops) | Undo::Inverse { ops, .. } => ops,
            Undo::Impossible(_) => &[],
        };
        // What runs by a trigger has nothing that tells one run from another, and runs again where nobody saw its end.
        let nothing = Digest::of_value(&BTreeMap::<String, Digest>::new());
        let is_triggered = id.key.kind.as_str() == "container_run"
            && change
                .keep
                .consumed
                .as_ref()
                .is_some_and(|consumed| *consumed != nothing);
        for op in change.ops.iter().chain(undo) {
            *planned.entry((&id.host, op.to_string())).or_default() += 1 + usize::from(is_triggered);
        }
    }
    let mut done: BTreeMap<(&HostId, &String), usize> = BTreeMap::new();
    for happened in happened {
        if let (
            Some(host),
            Deed::Done {
                op, is_effect: true, ..
            },
        ) = (&happened.host, &happened.deed)
        {
            *done.entry((host, op)).or_default() += 1;
        }
    }
    for ((host, op), times) in done {
        // Packages of several changes go in one call, which the plan does not name.
        let most = planned.get(&(host, op.clone())).copied().unwrap_or(1);
        if times > most {
            return Err(format!(
                "once: `{op}` had its effect {times} times on {host}, and the plan has it {most} times"
            ));
        }
    }
    Ok(())
}

/// Nothing that is saved or said holds a secret.
pub fn no_secret(secret: &str, texts: &[(&str, String)]) -> Result<(), Broken> {
    let found = texts.iter().find(|(_, text)| text.contains(secret));
    match found {
        Some((what, text)) => Err(format!("secrets: in {what}: {text}")),
        None => Ok(()),
    }
}
