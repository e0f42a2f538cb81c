//! What may start now: checks, then changes, then gates, wave by wave.

use std::collections::BTreeSet;

use crate::model::change::Undo;
use crate::model::event::{GateId, Task};
use crate::model::hook::Moment;
use crate::model::id::{HostId, ResourceId};
use crate::model::op::Op;
use crate::model::undo;
use crate::model::wave::OnFailure;

use super::Rollout;
use super::state::{Doing, GateState, HostRun, Phase, Standing, State};

/// How many brief changes go in one row at most: an interruption waits for the end of the row.
const ROW_MAX: usize = 16;
/// How much they bring along at most in all. A larger one goes alone.
const ROW_MAX_BYTES: usize = 256 * 1024;

/// Whether a change may begin.
pub(super) enum Readiness {
    /// It may.
    Ready,
    /// Something that it needs is not done yet.
    Wait,
    /// It never can, and why.
    Never(String),
}

impl<'p> Rollout<'p> {
    /// Starts whatever may start.
    pub(super) fn advance(&mut self) -> Vec<Task> {
        let mut tasks = self.switches();
        tasks.extend(self.undos());
        while !self.stops.any() {
            let is_through = match self.phase {
                Phase::Before | Phase::Over => break,
                Phase::Opening => self.call_hooks(Moment::BeforeRun, None, &mut tasks),
                Phase::Announcing => {
                    !self.has_work(self.wave)
                        || self.call_hooks(Moment::BeforeWave, Some(self.wave), &mut tasks)
                }
                Phase::Checking => self.check(&mut tasks),
                Phase::Changing => self.change(&mut tasks),
                Phase::Gating => self.gate_wave(&mut tasks),
                Phase::Closing => {
                    !self.was_begun(self.wave)
                        || self.call_hooks(Moment::AfterWave, Some(self.wave), &mut tasks)
                }
            };
            // A gate that said "fail" may have given hosts up since.
            tasks.extend(self.undos());
            if !is_through {
                break;
            }
            self.next_phase();
        }
        tasks
    }

    fn next_phase(&mut self) {
        match self.phase {
            Phase::Before | Phase::Over => {}
            Phase::Opening => self.enter(0),
            Phase::Announcing => self.phase = Phase::Checking,
            Phase::Checking => self.phase = Phase::Changing,
            Phase::Changing => self.phase = Phase::Gating,
            Phase::Gating => self.phase = Phase::Closing,
            Phase::Closing => self.enter(self.wave + 1),
        }
    }

    /// Enters a wave, or ends the run after the last.
    pub(super) fn enter(&mut self, wave: usize) {
        self.wave = wave;
        self.phase = if wave > self.plan.waves.len() {
            Phase::Over
        } else {
            Phase::Announcing
        };
        let hosts: BTreeSet<&HostId> = self.wave_hosts().into_iter().collect();
        for (host, run) in &mut self.hosts {
            (run.is_checked, run.is_begun) = (false, false);
            run.is_in_wave = hosts.contains(host);
            run.queue.clear();
        }
        for change in self
            .plan
            .waves
            .get(wave)
            .into_iter()
            .flat_map(|wave| &wave.changes)
        {
            if self.changes.get(change) == Some(&State::Waiting) {
                let host = self
                    .hosts
                    .get_mut(&change.host)
                    .expect("every host of a change is known");
                host.queue.push_back(change);
            }
        }
    }

    /// Returns the hosts of the present wave; after the last wave those that only have something to record.
    fn wave_hosts(&self) -> Vec<&'p HostId> {
        match self.plan.waves.get(self.wave) {
            Some(wave) => wave.hosts.iter().collect(),
            None => {
                let in_waves: BTreeSet<&HostId> =
                    self.plan.waves.iter().flat_map(|wave| &wave.hosts).collect();
                self.plan
                    .takes
                    .keys()
                    .filter(|host| !in_waves.contains(host))
                    .collect()
            }
        }
    }

    pub(super) fn run(&self, host: &HostId) -> &HostRun<'p> {
        self.hosts.get(host).expect("every host of a wave is known")
    }

    pub(super) fn run_mut(&mut self, host: &HostId) -> &mut HostRun<'p> {
        self.hosts.get_mut(host).expect("every host of a wave is known")
    }

    pub(super) fn must_record(&self, host: &HostId) -> bool {
        self.has_to_record(host, self.run(host))
    }

    fn has_to_record(&self, host: &HostId, run: &HostRun<'_>) -> bool {
        !run.is_recorded && run.standing == Standing::Good && self.plan.takes.contains_key(host)
    }

    /// Looks at every host of the wave before the first of them is changed, so that a budget that is spent on stale hosts
    /// stops the wave while it is still untouched.
    fn check(&mut self, tasks: &mut Vec<Task>) -> bool {
        let is_wanted = |run: &HostRun<'_>| run.standing == Standing::Good && !run.is_checked;
        let has_work =
            |host: &HostId, run: &HostRun<'_>| !run.queue.is_empty() || self.has_to_record(host, run);
        let places = self.plan.policy.parallel.max(1);
        let mut busy = self.in_progress();
        let mut is_through = true;
        let mut due = Vec::new();
        for (host, run) in self.hosts.iter().filter(|(_, run)| run.is_in_wave) {
            let is_idle = run.doing == Doing::Nothing;
            if is_idle && !(is_wanted(run) && has_work(host, run)) {
                continue;
            }
            is_through = false;
            if busy >= places {
                break;
            }
            if is_idle {
                busy += 1;
                due.push(*host);
            }
        }
        for host in due {
            self.run_mut(host).doing = Doing::Checking;
            tasks.push(Task::Check {
                host: host.clone(),
                wave: self.wave,
            });
        }
        is_through
    }

    fn in_progress(&self) -> usize {
        self.hosts.values().filter(|host| host.is_in_progress()).count()
    }

    fn places(&self) -> usize {
        let width = self
            .plan
            .waves
            .get(self.wave)
            .map_or(usize::MAX, |wave| wave.width);
        width.min(self.plan.policy.parallel).max(1)
    }

    /// Starts changes, those of hosts that are half-way first.
    ///
    /// A host that only waits for others gives its place up: two hosts that wait for each other's changes would
    /// otherwise stand still in a wave that is one host wide. Each host keeps the plan's order, in which nothing comes before what it needs, so the
    /// first unfinished change of a wave can always begin.
    fn change(&mut self, tasks: &mut Vec<Task>) -> bool {
        // What can never begin is found first, since hosts that come earlier may wait for it. Work takes changes off the
        // queues, behind which there may be more of it: what waits for that is to start now, and not with the next event.
        let mut hosts = self.left();
        loop {
            while hosts.iter().any(|(host, _)| self.block(host)) {}
            self.work_all(&hosts, tasks);
            if !hosts.iter().any(|(host, _)| self.block(host)) {
                break;
            }
            hosts = self.left();
        }
        hosts.iter().all(|(host, _)| self.run(host).is_settled())
    }

    /// Returns the hosts of the wave that are not done, those first that are half-way, and whether each has a place.
    ///
    /// This is asked with every event, and a wave may hold thousands of hosts: they are walked once, and not looked up.
    fn left(&self) -> Vec<(&'p HostId, bool)> {
        let is_left = |host: &HostId, run: &HostRun<'_>| {
            run.is_in_wave && (!run.is_settled() || self.has_to_record(host, run))
        };
        let left = self.hosts.iter().filter(|(host, run)| is_left(host, run));
        let (mut hosts, mut fresh) = (Vec::new(), Vec::new());
        for (host, run) in left {
            let half = if run.is_begun { &mut hosts } else { &mut fresh };
            half.push((*host, run.is_in_progress()));
        }
        hosts.extend(fresh);
        hosts
    }

    /// Starts what may start now on hosts that have a place in the wave.
    fn work_all(&mut self, hosts: &[(&'p HostId, bool)], tasks: &mut Vec<Task>) {
        let (mut busy, places) = (self.in_progress(), self.places());
        for (host, holds_place) in hosts {
            if *holds_place || busy < places {
                self.work(host, tasks);
                busy += usize::from(!holds_place && self.run(host).is_in_progress());
            }
        }
    }

    /// Drops the changes of a host that can never begin, and says whether there were any.
    fn block(&mut self, host: &HostId) -> bool {
        // Nothing is barred where nothing has failed.
        if !self.is_troubled {
            return false;
        }
        let mut is_any = false;
        let trouble = self.run(host).standing.trouble();
        while let Some(change) = self.run(host).queue.front().copied() {
            let why = match (&trouble, self.readiness(change)) {
                (Some(trouble), _) => format!("{host}: {trouble}"),
                (None, Readiness::Never(why)) => why,
                (None, Readiness::Ready | Readiness::Wait) => break,
            };
            self.changes.insert(change, State::Blocked(why));
            self.run_mut(host).queue.pop_front();
            is_any = true;
        }
        is_any
    }

    fn work(&mut self, host: &'p HostId, tasks: &mut Vec<Task>) {
        for change in std::mem::take(&mut self.run_mut(host).to_ask) {
            self.ask_change(change, tasks);
        }
        let run = self.run(host);
        if run.doing != Doing::Nothing || run.standing != Standing::Good {
            return;
        }
        if self.must_record(host) {
            self.run_mut(host).doing = Doing::Recording;
            tasks.push(Task::Record { host: host.clone() });
            return;
        }
        if let Some(task) = self.arm(host) {
            tasks.push(task);
            return;
        }
        let batch = self.batch(host);
        if !batch.is_empty() {
            self.run_mut(host).doing = Doing::Changing(batch.iter().cloned().collect());
            tasks.push(Task::Apply {
                host: host.clone(),
                changes: batch,
            });
        }
    }

    /// Takes the next change of a host, with its neighbours where all of them are packages: one call of the package
    /// manager waits for its lock and reads its lists once. Brief changes go in a row, since each call of its own costs
    /// more than they do.
    fn batch(&mut self, host: &HostId) -> Vec<ResourceId> {
        let mut batch: Vec<ResourceId> = Vec::new();
        while let Some(change) = self.run(host).queue.front().copied() {
            if self.plan.switch_of(change).is_some() {
                break;
            }
            if !self.joins(&batch, change) {
                break;
            }
            self.run_mut(host).queue.pop_front();
            self.changes.insert(change, State::Running);
            batch.push(change.clone());
        }
        batch
    }

    /// Says whether a change may begin together with those that begin now.
    fn joins(&self, batch: &[ResourceId], change: &ResourceId) -> bool {
        let Some(last) = batch.last() else {
            return matches!(self.readiness(change), Readiness::Ready);
        };
        if self.is_package(last) {
            return self.is_package(change) && matches!(self.readiness(change), Readiness::Ready);
        }
        // A gate is asked before anything more is done to the host, and nothing of a row has an output.
        let is_open = self.plan.changes[last].gates.is_empty();
        let has_room = batch.len() < ROW_MAX
            && batch
                .iter()
                .chain([change])
                .map(|id| self.weight(id))
                .sum::<usize>()
                <= ROW_MAX_BYTES;
        is_open
            && has_room
            && self.plan.changes[last].is_brief()
            && self.plan.changes[change].is_brief()
            && matches!(self.readiness_after(change, batch), Readiness::Ready)
    }

    /// Returns how many bytes a change brings along.
    fn weight(&self, change: &ResourceId) -> usize {
        let ops = &self.plan.changes[change].ops;
        let bodies = ops.iter().flat_map(Op::bodies);
        bodies.filter_map(|body| body.plain()).map(str::len).sum()
    }

    fn is_package(&self, change: &ResourceId) -> bool {
        let ops = self
            .plan
            .changes
            .get(change)
            .map_or(&[][..], |change| &change.ops);
        !ops.is_empty() && ops.iter().all(|op| matches!(op, Op::Packages { .. }))
    }

    /// What is made under one switch begins together: what one of these needs of others, all need.
    pub(super) fn readiness(&self, change: &ResourceId) -> Readiness {
        self.readiness_after(change, &[])
    }

    /// Says whether a change may begin right after others that begin now.
    fn readiness_after(&self, change: &ResourceId, before: &[ResourceId]) -> Readiness {
        let section = self
            .plan
            .switch_of(change)
            .map_or(&[][..], |switch| &switch.changes);
        let needs = std::iter::once(change)
            .chain(section)
            .filter_map(|change| self.plan.changes.get(change))
            .flat_map(|change| &change.needs)
            .filter(|need| !section.contains(need) && !before.contains(need));
        let mut readiness = Readiness::Ready;
        for need in needs {
            match self.need(need) {
                Readiness::Ready => {}
                Readiness::Wait => readiness = Readiness::Wait,
                never @ Readiness::Never(_) => return never,
            }
        }
        readiness
    }

    /// Says whether what a change needs is there. What the plan does not change is there already.
    fn need(&self, need: &ResourceId) -> Readiness {
        let Some(state) = self.changes.get(need) else {
            return Readiness::Ready;
        };
        match state {
            State::Waiting | State::Running => Readiness::Wait,
            State::Blocked(_) => Readiness::Never(format!("needs {need}, which was not done")),
            State::Failed { .. } => Readiness::Never(format!("needs {need}, which failed")),
            State::Undone | State::UndoFailed => Readiness::Never(format!("needs {need}, which was undone")),
            State::Applied => self.gates_of(need),
        }
    }

    fn gates_of(&self, change: &ResourceId) -> Readiness {
        let count = self
            .plan
            .changes
            .get(change)
            .map_or(0, |change| change.gates.len());
        let mut readiness = Readiness::Ready;
        for n in 0..count {
            match self.gates.get(&GateId::Change(change.clone(), n)) {
                Some(GateState::Open | GateState::WentOn) => {}
                None | Some(GateState::Asked | GateState::Halted) => readiness = Readiness::Wait,
                Some(GateState::Failed) => {
                    return Readiness::Never(format!("needs {change}, whose gate did not open"));
                }
            }
        }
        // A host that was given up asks nothing any more.
        match (readiness, self.run(&change.host).standing.trouble()) {
            (Readiness::Wait, Some(_)) => {
                Readiness::Never(format!("needs {change}, whose host was given up"))
            }
            (readiness, _) => readiness,
        }
    }

    fn ask_change(&mut self, change: &'p ResourceId, tasks: &mut Vec<Task>) {
        let gates = self
            .plan
            .changes
            .get(change)
            .map_or(&[][..], |change| &change.gates);
        for (n, gate) in gates.iter().enumerate() {
            let id = GateId::Change(change.clone(), n);
            if !self.gates.contains_key(&id) {
                self.gates.insert(id.clone(), GateState::Asked);
                self.run_mut(&change.host).asking.insert(id.clone());
                tasks.push(Task::Gate {
                    gate: id,
                    host: change.host.clone(),
                    ask: gate.clone(),
                });
            }
        }
    }

    /// Asks the gates after a wave, on hosts that are still good and were changed; the rest has been counted already.
    fn gate_wave(&mut self, tasks: &mut Vec<Task>) -> bool {
        let Some(wave) = self.plan.waves.get(self.wave) else {
            return true;
        };
        for (n, after) in wave.after.iter().enumerate() {
            let id = GateId::Wave(self.wave, n);
            if !self.gates.contains_key(&id) && self.is_worth_asking(&after.host) {
                self.gates.insert(id.clone(), GateState::Asked);
                if let Some(run) = self.hosts.get_mut(&after.host) {
                    run.asking.insert(id.clone());
                }
                tasks.push(Task::Gate {
                    gate: id,
                    host: after.host.clone(),
                    ask: after.gate.clone(),
                });
            }
        }
        let gates = (0..wave.after.len()).filter_map(|n| self.gates.get(&GateId::Wave(self.wave, n)));
        let is_undoing = wave
            .hosts
            .iter()
            .any(|host| self.run(host).doing != Doing::Nothing);
        !is_undoing && gates.into_iter().all(|state| *state != GateState::Asked)
    }

    fn is_worth_asking(&self, host: &HostId) -> bool {
        let wave = &self.plan.waves[self.wave];
        let is_good = self
            .hosts
            .get(host)
            .is_none_or(|run| run.standing == Standing::Good);
        let is_done = |change: &ResourceId| self.changes.get(change) == Some(&State::Applied);
        let is_changed =
            |change: &ResourceId| is_done(change) && (&change.host == host || !wave.hosts.contains(host));
        is_good && wave.changes.iter().any(is_changed)
    }

    /// Undoes hosts that failed, where the policy says so. A spent budget does not hinder it; a halt and an interruption do.
    fn undos(&mut self) -> Vec<Task> {
        let is_hindered = self.stops.interrupted || self.stops.halted.is_some();
        if self.plan.policy.on_failure != OnFailure::Undo || is_hindered {
            return Vec::new();
        }
        let is_due = |run: &HostRun<'_>| {
            let is_failed = matches!(run.standing, Standing::Failed(_));
            // A host whose switch may still be armed takes everything back by itself, and undoing goes on after that.
            is_failed && run.doing == Doing::Nothing && !run.is_undo_asked && !run.is_switch_open
        };
        let due: Vec<&'p HostId> = self
            .hosts
            .iter()
            .filter(|(_, run)| is_due(run))
            .map(|(host, _)| *host)
            .collect();
        due.into_iter().filter_map(|host| self.undo(host)).collect()
    }

    fn undo(&mut self, host: &'p HostId) -> Option<Task> {
        let ended: Vec<&ResourceId> = self.run(host).ended.clone();
        let changes: Vec<ResourceId> = undo::order(&self.plan.changes, &ended)
            .into_iter()
            .filter(|id| self.can_undo(id))
            .cloned()
            .collect();
        let run = self.run_mut(host);
        run.is_undo_asked = true;
        if changes.is_empty() {
            return None;
        }
        run.doing = Doing::Undoing(changes.iter().cloned().collect());
        Some(Task::Undo {
            host: host.clone(),
            changes,
        })
    }

    fn can_undo(&self, change: &ResourceId) -> bool {
        let is_done = matches!(
            self.changes.get(change),
            Some(State::Applied | State::Failed { .. })
        );
        let undo = self.plan.changes.get(change).map(|change| &change.undo);
        is_done && matches!(undo, Some(Undo::Exact(_) | Undo::Inverse { .. }))
    }
}
