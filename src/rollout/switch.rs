//! Changes under a host's dead-man switch: armed, made and confirmed in one go, or taken back by the host.

use crate::model::event::Task;
use crate::model::id::{HostId, ResourceId};
use crate::model::wave::OnFailure;

use super::Rollout;
use super::advance::Readiness;
use super::state::{Doing, Standing, State};
use crate::model::event::CheckOutcome;

impl<'p> Rollout<'p> {
    /// Returns what switches wait for. Nothing hinders it, neither a halt nor an interruption: what is armed is in flight, and
    /// what an earlier session left is found out before anything else is decided.
    pub(super) fn switches(&mut self) -> Vec<Task> {
        let mut tasks = Vec::new();
        if self.plan.switches.is_empty() {
            return tasks;
        }
        for (host, run) in &mut self.hosts {
            if !run.armed.is_empty() {
                tasks.push(Task::Switched {
                    host: (*host).clone(),
                    changes: std::mem::take(&mut run.armed),
                });
            }
            if run.must_settle && run.doing == Doing::Nothing {
                run.must_settle = false;
                run.doing = Doing::Settling;
                tasks.push(Task::Settle {
                    host: (*host).clone(),
                });
            }
        }
        tasks
    }

    /// Begins all that a host's switch is for, where the next change is one of these and none waits for others.
    pub(super) fn arm(&mut self, host: &'p HostId) -> Option<Task> {
        let next = self.run(host).queue.front().copied()?;
        let switch = self.plan.switch_of(next)?;
        if !matches!(self.readiness(next), Readiness::Ready) {
            return None;
        }
        let is_waiting = |id: &&ResourceId| self.changes.get(*id) == Some(&State::Waiting);
        let changes: Vec<ResourceId> = switch.changes.iter().filter(is_waiting).cloned().collect();
        for id in &switch.changes {
            if changes.contains(id) {
                self.changes.insert(id, State::Running);
            }
        }
        let run = self.run_mut(host);
        run.queue.retain(|id| !switch.changes.contains(id));
        run.doing = Doing::Changing(changes.iter().cloned().collect());
        Some(Task::Arm {
            host: host.clone(),
            changes,
        })
    }

    /// From the moment in which a change under a switch begins, nobody knows whether it is armed until its host says so.
    pub(super) fn expect_switch(&mut self, host: &HostId) {
        if let Some(run) = self.hosts.get_mut(host) {
            run.is_switch_open = true;
        }
    }

    pub(super) fn armed(&mut self, host: &HostId, changes: &[ResourceId]) {
        if let Some(run) = self.hosts.get_mut(host) {
            run.is_switch_open = true;
            run.armed = changes.to_vec();
        }
    }

    pub(super) fn confirmed(&mut self, host: &HostId) {
        self.close_switch(host);
    }

    pub(super) fn unarmed(&mut self, host: &HostId) {
        self.close_switch(host);
    }

    /// What is done under a switch goes on; finding out what became of one is over.
    fn close_switch(&mut self, host: &HostId) {
        if let Some(run) = self.hosts.get_mut(host) {
            run.is_switch_open = false;
            run.armed.clear();
            if run.doing == Doing::Settling {
                run.doing = Doing::Nothing;
            }
        }
    }

    pub(super) fn unsettled(&mut self, host: &HostId, why: &str) {
        if let Some(run) = self.hosts.get_mut(host) {
            run.doing = Doing::Nothing;
            run.standing = Standing::Held(CheckOutcome::Unreachable(why.to_owned()));
        }
    }

    /// Takes in that a host is as it was before its switch was armed. What it could not put back has failed for good.
    pub(super) fn restored(&mut self, host: &HostId, why: &str, trouble: &[String]) {
        let Some(switch) = self.plan.switches.get(host) else {
            return;
        };
        let end = match trouble.is_empty() {
            true => State::Undone,
            false => State::Failed { unknown: false },
        };
        let is_open = |state: Option<&State>| {
            matches!(
                state,
                Some(State::Waiting | State::Running | State::Failed { .. } | State::Blocked(_))
            )
        };
        for id in &switch.changes {
            if self.begun.contains(id) && is_open(self.changes.get(id)) {
                self.changes.insert(id, end.clone());
                self.end_change(id);
            }
        }
        let run = self.run_mut(host);
        run.queue.retain(|id| !switch.changes.contains(id));
        run.doing = Doing::Nothing;
        run.is_switch_open = false;
        run.armed.clear();
        let trouble = match trouble {
            [] => String::new(),
            trouble => format!(", but for {}", trouble.join("; ")),
        };
        run.fail(format!("the host put everything back{trouble}: {why}"));
        if self.plan.policy.on_failure == OnFailure::Hold {
            self.stops.halt(format!("{host} put back what was changed"));
        }
    }
}
