//! The state machine that walks a plan: events in, tasks out. Pure.
//!
//! It decides what may start and when the run is over; it never performs, waits or reads a clock. The journal is the
//! list of the events that it was fed, so a resume is the same machine fed the same events (see [`replay`]).
//! `apply::drive` is the loop around it. What is absent: nothing here looks at a host, and nothing here retries.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::event::{CheckOutcome, Event, GateId, RunOutcome, Task};
use crate::model::gate::OnDeadline;
use crate::model::hook::HookId;
use crate::model::id::{HostId, ResourceId};
use crate::model::plan::{HeldWhat, HeldWhy, Plan};
use crate::model::wave::OnFailure;

mod advance;
mod exit;
pub mod gates;
mod hooks;
mod outcome;
mod part;
mod replay;
mod state;
mod switch;

pub use exit::{Trouble, exit_code};
pub use replay::replay;

use state::{Doing, GateState, HookState, HostRun, Phase, Standing, State, Stops};

/// A plan on its way through the fleet.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollout<'p> {
    plan: &'p Plan,
    changes: BTreeMap<&'p ResourceId, State>,
    // INVARIANT: has an entry for every host of `waves` and of `plan.takes`.
    hosts: BTreeMap<&'p HostId, HostRun<'p>>,
    gates: BTreeMap<GateId, GateState>,
    hooks: BTreeMap<HookId, HookState>,
    /// Changes that were about to begin at some time: what they left is looked at, never assumed.
    begun: BTreeSet<&'p ResourceId>,
    outputs: BTreeMap<&'p ResourceId, BTreeMap<String, String>>,
    /// Hosts that did not answer when the plan was made.
    down_before: BTreeSet<&'p HostId>,
    /// The last wave that asks something of each host.
    last_waves: BTreeMap<&'p HostId, usize>,
    /// Whether something went otherwise than planned, so that changes may be barred and hosts be lost. It stays so.
    is_troubled: bool,
    /// The wave, from 0; the number of waves stands for the hosts that have only something to record.
    wave: usize,
    phase: Phase,
    stops: Stops,
}

impl<'p> Rollout<'p> {
    /// Makes the rollout of a plan, of which nothing is done yet.
    pub fn new(plan: &'p Plan) -> Self {
        let hosts = plan
            .waves
            .iter()
            .flat_map(|wave| &wave.hosts)
            .chain(plan.takes.keys())
            .chain(plan.changes.keys().map(|id| &id.host));
        Self {
            plan,
            changes: plan.changes.keys().map(|id| (id, State::Waiting)).collect(),
            hosts: hosts.map(|host| (host, HostRun::default())).collect(),
            gates: BTreeMap::new(),
            hooks: BTreeMap::new(),
            begun: BTreeSet::new(),
            outputs: BTreeMap::new(),
            down_before: down_before(plan),
            last_waves: part::last_waves(plan),
            is_troubled: false,
            wave: 0,
            phase: Phase::Before,
            stops: Stops::default(),
        }
    }

    /// Takes one event in and returns what may start because of it, in the order in which it should.
    ///
    /// Every task is returned once; it is in flight until its event comes. Events about what the plan does not hold are
    /// passed over: the journal's header has said that it is this plan's.
    pub fn on(&mut self, event: &Event) -> Vec<Task> {
        match event {
            Event::Started {
                left_out, resumed, ..
            } => self.started(*resumed, left_out),
            Event::Locked { .. } | Event::Ended { .. } => return Vec::new(),
            Event::Checked { host, outcome, .. } => self.checked(host, outcome),
            Event::Began { changes } => self.began(changes),
            Event::Armed { host, changes, .. } => self.armed(host, changes),
            Event::Confirmed { host } => self.confirmed(host),
            Event::Restored { host, why, trouble } => self.restored(host, why, trouble),
            Event::Unarmed { host } => self.unarmed(host),
            Event::Unsettled { host, why } => self.unsettled(host, why),
            Event::Applied { change, outputs, .. } => self.applied(change, outputs),
            Event::Failed {
                change, why, unknown, ..
            } => self.failed(change, why, *unknown),
            Event::Unmade { changes } => self.unmade(changes),
            Event::Recorded { host, error } => self.recorded(host, error.as_deref()),
            Event::Undone { change, error, held } => self.undone(change, error.as_deref(), *held),
            Event::GateSaid { gate, open, why } => self.gate_said(gate, *open, why),
            Event::HookSaid { hook, error, .. } => self.hook_said(hook, error.as_deref()),
            Event::Interrupted => self.stops.interrupted = true,
        }
        // Counting hosts with every event would cost more than all else that is decided here.
        self.is_troubled |= is_trouble(event);
        self.stops.over_budget |= self.is_troubled && self.is_over_budget();
        if self.is_amid(event) {
            return Vec::new();
        }
        self.advance()
    }

    /// Says whether more is to come at once of the same host: what may start is worked out when all is known.
    fn is_amid(&self, event: &Event) -> bool {
        let change = match event {
            Event::Began { .. } => return true,
            Event::Applied { change, .. } | Event::Failed { change, .. } => change,
            _ => return false,
        };
        let host = self.hosts.get(&change.host);
        host.is_some_and(|host| matches!(host.doing, Doing::Changing(_)))
    }

    /// Says whether nothing is in flight and nothing will start any more. Gates that are being asked change nothing on a
    /// host, so a run that stops does not wait for them; a resumed run asks them again.
    pub fn is_over(&self) -> bool {
        let is_done = self.phase == Phase::Over || self.stops.any();
        let is_calling = self.hooks.values().any(|state| *state == HookState::Called);
        is_done && !is_calling && self.hosts.values().all(|host| host.doing == Doing::Nothing)
    }

    /// Says whether a change was about to begin before, so that its host must be looked at first.
    pub fn has_begun(&self, change: &ResourceId) -> bool {
        self.begun.contains(change)
    }

    /// Says whether this run has changed something on a host, or was about to.
    pub fn has_touched(&self, host: &HostId) -> bool {
        self.hosts.get(host).is_some_and(|run| run.is_touched)
    }

    /// Returns the changes of one host in the present wave that never began.
    pub fn untouched(&self, host: &HostId) -> Vec<&'p ResourceId> {
        let queue = self.hosts.get(host).map(|run| &run.queue);
        let changes = queue.into_iter().flatten().copied();
        changes.filter(|change| !self.begun.contains(change)).collect()
    }

    /// Returns the values that changes of this run produced.
    pub fn outputs(&self) -> BTreeMap<ResourceId, BTreeMap<String, String>> {
        let outputs = self.outputs.iter();
        outputs
            .map(|(id, values)| ((*id).clone(), values.clone()))
            .collect()
    }

    /// Returns how the run stands, and how it ended once it [is over](Self::is_over).
    pub fn outcome(&self) -> RunOutcome {
        outcome::outcome(self)
    }

    /// Returns changes that began and of which nobody has seen the end.
    pub fn unseen(&self) -> Vec<&'p ResourceId> {
        let is_unseen = |id: &&&ResourceId| self.changes.get(**id) == Some(&State::Running);
        self.begun.iter().filter(is_unseen).copied().collect()
    }

    fn started(&mut self, resumed: bool, left_out: &BTreeMap<HostId, Vec<String>>) {
        if resumed {
            self.take_up();
        }
        for (host, differs) in left_out {
            if let Some(host) = self.hosts.get_mut(host) {
                host.standing = Standing::LeftOut(differs.clone());
            }
        }
        (self.wave, self.phase) = (0, Phase::Opening);
    }

    fn checked(&mut self, host: &HostId, outcome: &CheckOutcome) {
        let Some(host) = self.hosts.get_mut(host) else {
            return;
        };
        host.doing = Doing::Nothing;
        host.is_checked = true;
        if *outcome != CheckOutcome::Fresh {
            host.standing = Standing::Held(outcome.clone());
        }
    }

    fn began(&mut self, changes: &[ResourceId]) {
        for change in changes {
            if let Some((id, _)) = self.plan.changes.get_key_value(change) {
                self.begun.insert(id);
                self.changes.insert(id, State::Running);
                self.run_mut(&id.host).is_touched = true;
                if self.plan.switch_of(id).is_some() {
                    self.expect_switch(&id.host);
                }
            }
        }
    }

    fn applied(&mut self, change: &ResourceId, outputs: &BTreeMap<String, String>) {
        let Some((id, planned)) = self.plan.changes.get_key_value(change) else {
            return;
        };
        self.changes.insert(id, State::Applied);
        match outputs.is_empty() {
            true => drop(self.outputs.remove(id)),
            false => drop(self.outputs.insert(id, outputs.clone())),
        }
        let host = self.end_change(id);
        if !planned.gates.is_empty() {
            host.to_ask.insert(id);
        }
    }

    fn failed(&mut self, change: &ResourceId, why: &str, unknown: bool) {
        let Some((id, _)) = self.plan.changes.get_key_value(change) else {
            return;
        };
        self.changes.insert(id, State::Failed { unknown });
        let host = self.end_change(id);
        host.fail(format!("{id} failed: {why}"));
        if self.plan.policy.on_failure == OnFailure::Hold {
            self.stops.halt(format!("{id} failed"));
        }
    }

    /// Takes in that changes were not made. They are waiting again; if one before them failed, that says what becomes of them.
    fn unmade(&mut self, changes: &[ResourceId]) {
        for change in changes.iter().rev() {
            let Some((id, _)) = self.plan.changes.get_key_value(change) else {
                continue;
            };
            self.changes.insert(id, State::Waiting);
            let host = self
                .hosts
                .get_mut(&id.host)
                .expect("every host of a change is known");
            host.doing.end(id);
            host.queue.push_front(id);
        }
    }

    /// Takes a change off its host's hands and notes the order, which is the reverse of that of an undo.
    fn end_change(&mut self, change: &'p ResourceId) -> &mut HostRun<'p> {
        let host = self
            .hosts
            .get_mut(&change.host)
            .expect("every host of a change is known");
        host.doing.end(change);
        host.is_begun = true;
        host.ended.retain(|ended| *ended != change);
        host.ended.push(change);
        host
    }

    fn recorded(&mut self, host: &HostId, error: Option<&str>) {
        let Some(host) = self.hosts.get_mut(host) else {
            return;
        };
        host.doing = Doing::Nothing;
        host.is_recorded = error.is_none();
        if let Some(error) = error {
            host.fail(format!(
                "what was found as declared could not be recorded: {error}"
            ));
        }
    }

    fn undone(&mut self, change: &ResourceId, error: Option<&str>, held: bool) {
        let Some((id, _)) = self.plan.changes.get_key_value(change) else {
            return;
        };
        let host = self
            .hosts
            .get_mut(&id.host)
            .expect("every host of a change is known");
        match error {
            None => {
                host.doing.end(id);
                self.changes.insert(id, State::Undone);
            }
            // It stays as it is, on purpose: whatever it came to before is still so.
            Some(_) if held => host.doing.end(id),
            // Whatever hinders one undo is not understood, so nothing is done on top of it, here or elsewhere.
            Some(error) => {
                host.doing = Doing::Nothing;
                self.changes.insert(id, State::UndoFailed);
                self.stops.halt(format!("{id} could not be undone: {error}"));
            }
        }
    }

    fn gate_said(&mut self, id: &GateId, open: bool, why: &str) {
        let Some((host, on_deadline, name)) = self.gate(id) else {
            return;
        };
        let state = match (open, on_deadline) {
            (true, _) => GateState::Open,
            (false, OnDeadline::GoOn) => GateState::WentOn,
            (false, OnDeadline::Fail) => GateState::Failed,
            (false, OnDeadline::Halt) => GateState::Halted,
        };
        self.gates.insert(id.clone(), state);
        let said = format!("gate \"{name}\" did not open on {host}: {why}");
        if let Some(run) = self.hosts.get_mut(host) {
            run.asking.remove(id);
        }
        match state {
            GateState::Failed => self.fail_by_gate(id, host, &said),
            GateState::Halted => self.stops.halt(said),
            GateState::Asked | GateState::Open | GateState::WentOn => {}
        }
    }

    /// Fails the host that a gate speaks of; a gate after a wave that is asked elsewhere speaks of all its hosts.
    fn fail_by_gate(&mut self, id: &GateId, asked_on: &HostId, said: &str) {
        let wave = match id {
            GateId::Change(..) => None,
            GateId::Wave(wave, _) => self.plan.waves.get(*wave).map(|wave| &wave.hosts),
        };
        let elsewhere = wave.filter(|hosts| !hosts.contains(asked_on));
        for (host, run) in &mut self.hosts {
            if elsewhere.map_or(*host == asked_on, |hosts| hosts.contains(host)) {
                run.fail(said.to_owned());
            }
        }
    }

    fn gate(&self, id: &GateId) -> Option<(&'p HostId, OnDeadline, &'p str)> {
        let (host, gate) = match id {
            GateId::Change(change, n) => {
                let (id, change) = self.plan.changes.get_key_value(change)?;
                (&id.host, change.gates.get(*n)?)
            }
            GateId::Wave(wave, n) => {
                let after = self.plan.waves.get(*wave)?.after.get(*n)?;
                (&after.host, &after.gate)
            }
        };
        Some((host, gate.on_deadline, &gate.name))
    }

    /// Hosts that were down before count, but never stop a run by themselves: the plan was made without them.
    fn is_over_budget(&self) -> bool {
        let lost = self.hosts.values().filter(|host| host.standing.is_lost()).count();
        lost > 0 && lost + self.down_before.len() > self.plan.policy.failures_max
    }
}

/// Says whether an event may bar a change or lose a host.
fn is_trouble(event: &Event) -> bool {
    match event {
        Event::Checked { outcome, .. } => *outcome != CheckOutcome::Fresh,
        Event::GateSaid { open, .. } => !open,
        Event::Recorded { error, .. } => error.is_some(),
        Event::Started {
            left_out, resumed, ..
        } => *resumed || !left_out.is_empty(),
        Event::Locked { .. }
        | Event::Began { .. }
        | Event::Armed { .. }
        | Event::Confirmed { .. }
        | Event::Unarmed { .. }
        | Event::Applied { .. }
        | Event::Unmade { .. }
        | Event::HookSaid { .. }
        | Event::Interrupted
        | Event::Ended { .. } => false,
        Event::Restored { .. } | Event::Unsettled { .. } | Event::Failed { .. } | Event::Undone { .. } => {
            true
        }
    }
}

fn down_before(plan: &Plan) -> BTreeSet<&HostId> {
    let unreachable = plan
        .held
        .iter()
        .filter(|held| matches!(held.why, HeldWhy::Unreachable(_)));
    unreachable
        .map(|held| match &held.what {
            HeldWhat::Host(host) => host,
            HeldWhat::Resource(resource) => &resource.host,
        })
        .collect()
}
