//! Replay: a journal's events bring a rollout to where it was; going on begins from there.

use std::collections::BTreeSet;

use crate::model::event::Event;
use crate::model::plan::Plan;

use super::Rollout;
use super::state::{Doing, GateState, HookState, HostRun, Standing, State, Stops};

/// Feeds a journal's events to a fresh rollout. What it asks for on the way was asked for then, and is dropped.
pub fn replay<'p, 'e>(plan: &'p Plan, events: impl IntoIterator<Item = &'e Event>) -> Rollout<'p> {
    let mut rollout = Rollout::new(plan);
    for event in events {
        rollout.on(event);
    }
    rollout
}

impl Rollout<'_> {
    /// Makes the rollout ready to go on after an interruption: whatever was in flight is open again, whatever could not be done is
    /// tried again, and the waves are walked from the first. What was applied stays so; a host of which something was undone stays given up.
    pub(super) fn take_up(&mut self) {
        self.stops = Stops::default();
        self.gates
            .retain(|_, state| matches!(state, GateState::Open | GateState::WentOn));
        self.hooks.retain(|_, state| *state == HookState::Heard);
        let undone = self.hosts_with_undo();
        for (host, run) in &mut self.hosts {
            let is_given_up = undone.contains(host) || matches!(run.standing, Standing::LeftOut(_));
            *run = HostRun {
                standing: if is_given_up {
                    run.standing.clone()
                } else {
                    Standing::Good
                },
                is_recorded: run.is_recorded,
                is_touched: run.is_touched,
                is_switch_open: run.is_switch_open,
                must_settle: run.is_switch_open,
                // An undo is never tried twice, but one that an interruption kept from its end goes on.
                is_undo_asked: is_given_up && run.is_undo_asked && !matches!(run.doing, Doing::Undoing(_)),
                ended: std::mem::take(&mut run.ended),
                ..HostRun::default()
            };
        }
        for (id, state) in &mut self.changes {
            let is_open = match state {
                State::Waiting | State::Blocked(_) | State::Running => true,
                State::Failed { .. } => !undone.contains(&id.host),
                State::Applied | State::Undone | State::UndoFailed => false,
            };
            if is_open {
                *state = State::Waiting;
            }
        }
        self.ask_again();
    }

    /// Hosts of which something was undone or is about to be.
    fn hosts_with_undo(&self) -> BTreeSet<crate::model::id::HostId> {
        let is_undone = |state: &State| matches!(state, State::Undone | State::UndoFailed);
        let undone = self
            .changes
            .iter()
            .filter(|(_, state)| is_undone(state))
            .map(|(id, _)| id.host.clone());
        let undoing = self
            .hosts
            .iter()
            .filter(|(_, run)| matches!(run.doing, Doing::Undoing(_)));
        undone.chain(undoing.map(|(host, _)| (*host).clone())).collect()
    }

    fn ask_again(&mut self) {
        for (id, change) in &self.plan.changes {
            let run = self
                .hosts
                .get_mut(&id.host)
                .expect("every host of a change is known");
            let is_applied = self.changes.get(id) == Some(&State::Applied);
            if is_applied && !change.gates.is_empty() && run.standing == Standing::Good {
                run.to_ask.insert(id);
            }
        }
    }
}
