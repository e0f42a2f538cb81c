//! Hooks on the way: those before the run, and around each wave, one after the other.

use crate::model::event::Task;
use crate::model::hook::{HookId, Moment};

use super::Rollout;
use super::state::{HookState, Standing, State};

impl Rollout<'_> {
    /// Calls the hooks of a moment, one after the other in the order of the inventory, and says whether all were.
    ///
    /// What was called to a good end is not called again, by whatever session.
    pub(super) fn call_hooks(&mut self, moment: Moment, wave: Option<usize>, tasks: &mut Vec<Task>) -> bool {
        for (index, hook) in self.plan.hooks.iter().enumerate() {
            if hook.on != moment {
                continue;
            }
            let id = HookId { index, wave };
            match self.hooks.get(&id) {
                Some(HookState::Heard) => {}
                Some(HookState::Called) => return false,
                None => {
                    self.hooks.insert(id.clone(), HookState::Called);
                    tasks.push(Task::Hook { hook: id });
                    return false;
                }
            }
        }
        true
    }

    /// Takes in what a hook said. What fails and comes after something is a warning; so is what is not required.
    pub(super) fn hook_said(&mut self, id: &HookId, error: Option<&str>) {
        let Some(hook) = self.plan.hooks.get(id.index) else {
            return;
        };
        self.hooks.insert(id.clone(), HookState::Heard);
        let Some(error) = error.filter(|_| hook.required && hook.on.is_before()) else {
            return;
        };
        // It is called again when the run goes on.
        self.hooks.remove(id);
        let why = format!("hook \"{}\" {} failed: {error}", hook.name, hook.on);
        match self.begun.is_empty() && hook.on == Moment::BeforeRun {
            true => self.stops.refused = Some(why),
            false => self.stops.halt(why),
        }
    }

    /// Says whether something of a wave is yet to be done, so that hooks before it have a meaning.
    pub(super) fn has_work(&self, wave: usize) -> bool {
        let changes = self
            .plan
            .waves
            .get(wave)
            .into_iter()
            .flat_map(|wave| &wave.changes);
        changes.into_iter().any(|id| {
            let is_good = self
                .hosts
                .get(&id.host)
                .is_some_and(|run| run.standing == Standing::Good);
            is_good && self.changes.get(id) == Some(&State::Waiting)
        })
    }

    /// Says whether something of a wave was begun, so that hooks after it have a meaning.
    pub(super) fn was_begun(&self, wave: usize) -> bool {
        let mut changes = self
            .plan
            .waves
            .get(wave)
            .into_iter()
            .flat_map(|wave| &wave.changes);
        changes.any(|id| self.begun.contains(id))
    }
}
