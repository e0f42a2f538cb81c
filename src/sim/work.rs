//! A host at work: the ops of one script under its guard, one after the other, whether anybody still listens or not.

use std::collections::BTreeMap;

use crate::model::id::{HostId, ResourceKey};
use crate::model::manifest::Owned;
use crate::model::op::{Op, Probe};
use crate::ports::{Call, Fence, Outcome, PerformError, Salt};

use super::estimate;
use super::fault::{Fault, Scene, What};
use super::host::{Host, Node};
use super::session::Leg;
use super::station::{Deed, no_room};
use super::world::{State, Tick};

/// A script that runs on a host.
#[derive(Debug, Clone)]
pub(super) struct Job {
    id: u64,
    fence: Fence,
    is_under_switch: bool,
    intents: BTreeMap<ResourceKey, Option<Owned>>,
    ops: Vec<Op>,
    /// The place of the first of them in the call.
    from: usize,
    probes: BTreeMap<ResourceKey, Vec<Probe>>,
    /// The op that is being done.
    at: usize,
    is_entered: bool,
    /// What is wrong with the op that is being done.
    flaw: Option<What>,
}

/// What a controller hears of a script.
#[derive(Debug, Clone)]
pub(super) enum JobEnd {
    /// It ended.
    Done(Box<Result<Outcome, PerformError>>),
    /// The connection broke.
    Broken,
}

impl Job {
    /// Makes the script of one leg of a call.
    pub(super) fn new(call: &Call, leg: Leg<'_>) -> Self {
        let intents = call.intents.iter().filter(|_| leg.is_first);
        let probes = call.probes.iter().filter(|_| leg.is_last);
        Self {
            id: 0,
            fence: call.fence.clone(),
            is_under_switch: call.is_under_switch,
            intents: intents
                .map(|(key, owned)| (key.clone(), Some(owned.clone())))
                .collect(),
            ops: leg.ops.to_vec(),
            from: leg.from,
            probes: probes
                .map(|(key, probes)| (key.clone(), probes.clone()))
                .collect(),
            at: 0,
            is_entered: false,
            flaw: None,
        }
    }
}

impl State {
    /// Starts a script; nothing while another one runs. The slot is where its end is heard.
    pub(super) fn begin(&mut self, host: &HostId, job: Job) -> Option<u64> {
        if self.station(host).job.is_some() {
            return None;
        }
        let slot = self.open();
        self.station(host).job = Some(Job { id: slot, ..job });
        let entered = self.dice.about(60);
        self.at(self.now_ms + entered, Tick::Step(host.clone(), slot));
        Some(slot)
    }

    /// Goes on with a script, if it still runs: enters, or ends the op that its time is over for, and begins the next.
    pub(super) fn step(&mut self, host: &HostId, id: u64) {
        let (now, secs) = (self.now_ms, self.host_secs());
        let station = self.station(host);
        station.guarded.host.clock = secs;
        let Some(job) = station.job.take_if(|job| job.id == id) else {
            return;
        };
        let done = if job.is_entered {
            self.end_op(host, &job)
        } else {
            self.enter(host, &job)
        };
        let at = job.at + usize::from(job.is_entered);
        let job = Job {
            at,
            is_entered: true,
            flaw: None,
            ..job
        };
        if let Err(error) = done {
            if !matches!(error, PerformError::Fenced(_)) {
                self.station(host).guarded.extend(now);
            }
            return self.fire(id, Some(JobEnd::Done(Box::new(Err(error)))));
        }
        match job.ops.get(job.at).cloned() {
            Some(op) => self.begin_op(host, job, &op),
            None => {
                let outcome = self.leave(host, &job);
                self.fire(id, Some(JobEnd::Done(Box::new(Ok(outcome)))));
            }
        }
    }

    fn enter(&mut self, host: &HostId, job: &Job) -> Result<(), PerformError> {
        let now = self.now_ms;
        let station = self.station(host);
        station
            .guarded
            .check(&job.fence, now)
            .map_err(PerformError::Fenced)?;
        station.guarded.come_to_switch(now);
        if job.is_under_switch && station.guarded.armed() != Some(&job.fence.run) {
            return Err(PerformError::Fenced(
                "the dead-man switch is not armed, or no longer".to_owned(),
            ));
        }
        station.guarded.host.begin(job.fence.run.as_str());
        if job.intents.is_empty() {
            return Ok(());
        }
        if now < station.full_until {
            return Err(no_room());
        }
        station.guarded.record(&job.fence.run, &job.intents)
    }

    /// Looks when all ops are done.
    fn leave(&mut self, host: &HostId, job: &Job) -> Outcome {
        let now = self.now_ms;
        let station = self.station(host);
        station.guarded.extend(now);
        Outcome {
            answers: station.answer(&job.probes),
            host_now_secs: station.guarded.host.clock,
            salt: Salt(station.guarded.host.salt.clone().unwrap_or_default()),
            tail: Vec::new(),
        }
    }

    /// Begins an op: the faults that wait for it strike, and its time begins.
    fn begin_op(&mut self, host: &HostId, mut job: Job, op: &Op) {
        let id = job.id;
        let mut takes = self.dice.about(estimate::op_ms(op));
        self.station(host).ops += 1;
        let count = self.station(host).ops;
        let mut goes_on = true;
        for fault in self.due(Some(host), Scene::Op, count) {
            goes_on &= self.strike_op(host, &mut job, &fault, &mut takes);
            self.note(Some(host), Deed::Struck(fault));
        }
        if goes_on {
            self.station(host).job = Some(job);
            self.at(self.now_ms + takes, Tick::Step(host.clone(), id));
        }
    }

    /// Lets a fault strike at an op. Returns whether the script goes on.
    fn strike_op(&mut self, host: &HostId, job: &mut Job, fault: &Fault, takes: &mut u64) -> bool {
        let (now, until) = (self.now_ms, self.until(fault));
        let station = self.station(host);
        match fault.what {
            What::Unreachable => {
                station.down_until = until;
                self.fire(job.id, Some(JobEnd::Broken));
            }
            What::LostAnswer => self.fire(job.id, Some(JobEnd::Broken)),
            What::LostRequest => {
                self.fire(job.id, Some(JobEnd::Broken));
                return false;
            }
            What::Reboot => {
                station.down_until = until;
                station.guarded.reboot(until.min(now + 600_000));
                self.fire(job.id, Some(JobEnd::Broken));
                return false;
            }
            What::FullDisk => station.full_until = until,
            What::Slow => *takes += fault.lasts().unwrap_or(90) * 1000,
            What::Fails | What::Lies => job.flaw = Some(fault.what),
            What::Garbage
            | What::GateShut
            | What::ByHand
            | What::OtherRun
            | What::Interrupt
            | What::InterruptTwice
            | What::Kill
            | What::Pause => {}
        }
        true
    }

    /// Ends an op: what it does is done now.
    fn end_op(&mut self, host: &HostId, job: &Job) -> Result<(), PerformError> {
        let op = &job.ops[job.at];
        let now = self.now_ms;
        let secrets = self.secrets.clone();
        let station = self.station(host);
        let is_last = station.guarded.lock.token == job.fence.token;
        let is_full = now < station.full_until && estimate::writes(op);
        let before = station.guarded.host.clone();
        let done = match job.flaw {
            Some(What::Fails) => Err("it failed".to_owned()),
            Some(_) => Ok(()),
            None if is_full => Err("No space left on device".to_owned()),
            None => station.guarded.host.perform(op, &secrets),
        };
        let is_effect = !is_same(&before, &station.guarded.host);
        let what = op.to_string();
        station.guarded.log.push(what.clone());
        if !is_last {
            self.note(Some(host), Deed::Unfenced { op: what.clone() });
        }
        let run = job.fence.run.clone();
        match done {
            Ok(()) => {
                self.note(
                    Some(host),
                    Deed::Done {
                        op: what,
                        run,
                        is_effect,
                    },
                );
                Ok(())
            }
            Err(why) => {
                let failed = Deed::Failed {
                    op: what.clone(),
                    why: why.clone(),
                };
                self.note(Some(host), failed);
                Err(PerformError::Failed {
                    at: Some(job.from + job.at),
                    operation: what,
                    status: 1,
                    tail: vec![why],
                })
            }
        }
    }
}

/// Says whether nothing is another way; times and what is kept for undo do not count.
fn is_same(before: &Host, after: &Host) -> bool {
    let is_same_node = |((path, node), (other_path, other)): ((&String, &Node), (&String, &Node))| {
        path == other_path
            && node.kind == other.kind
            && (&node.owner, &node.group, &node.mode) == (&other.owner, &other.group, &other.mode)
    };
    before.paths.len() == after.paths.len()
        && before.paths.iter().zip(&after.paths).all(is_same_node)
        && (&before.groups, &before.accounts, &before.packages)
            == (&after.groups, &after.accounts, &after.packages)
        && (&before.units, &before.parameters, &before.ran) == (&after.units, &after.parameters, &after.ran)
}
