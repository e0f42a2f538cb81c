//! Hosts that a run is done with before it ends.

use std::collections::BTreeMap;

use crate::model::id::{HostId, ResourceId};
use crate::model::plan::Plan;
use crate::model::wave::OnFailure;

use super::Rollout;
use super::state::{HostRun, Phase, Standing};

/// Returns the last wave that asks something of each host; the number of waves for those that have only something to record.
pub(super) fn last_waves(plan: &Plan) -> BTreeMap<&HostId, usize> {
    let recorded = plan.takes.keys().map(|host| (host, plan.waves.len()));
    let mut last: BTreeMap<&HostId, usize> = recorded.collect();
    for (index, wave) in plan.waves.iter().enumerate() {
        let changed = wave.changes.iter().map(|change| &change.host);
        let asked = wave.after.iter().map(|after| &after.host);
        last.extend(
            wave.hosts
                .iter()
                .chain(changed)
                .chain(asked)
                .map(|host| (host, index)),
        );
    }
    last
}

/// Where a run stands between its beginning and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stage(usize, Phase);

impl<'p> Rollout<'p> {
    /// Lists the hosts that have a part in the run.
    pub fn hosts(&self) -> impl Iterator<Item = &'p HostId> {
        self.hosts.keys().copied()
    }

    /// Says whether nothing more will be done on a host, asked of it or taken back there, whatever becomes of the others.
    pub fn is_through(&self, host: &HostId) -> bool {
        let Some(run) = self.hosts.get(host) else {
            return false;
        };
        let is_failed = matches!(run.standing, Standing::Failed(_));
        let is_undone = run.is_undo_asked || self.plan.policy.on_failure != OnFailure::Undo;
        run.is_settled() && self.is_free(host, run) && (!is_failed || is_undone)
    }

    /// Says whether a host will be through once these changes, which are about to begin, have been applied.
    pub fn ends_with(&self, host: &HostId, changes: &[ResourceId]) -> bool {
        let Some(run) = self.hosts.get(host) else {
            return false;
        };
        let mut planned = changes.iter().filter_map(|id| self.plan.changes.get(id));
        let is_idle_after = run.queue.is_empty() && run.to_ask.is_empty() && run.asking.is_empty();
        is_idle_after && planned.all(|change| change.gates.is_empty()) && self.is_free(host, run)
    }

    /// Returns where the run stands: when this changes, any host may be through.
    pub fn stage(&self) -> Stage {
        Stage(self.wave, self.phase)
    }

    /// Says whether neither a later wave, nor a gate after the present one, nor a switch, nor something to record keeps a host.
    fn is_free(&self, host: &HostId, run: &HostRun<'_>) -> bool {
        let has_switch = run.is_switch_open || run.must_settle || !run.armed.is_empty();
        !has_switch && !self.must_record(host) && self.is_past(host)
    }

    /// A gate after a wave may give up each of its hosts, and what was done there is then perhaps undone.
    fn is_past(&self, host: &HostId) -> bool {
        let Some(last) = self.last_waves.get(host) else {
            return true;
        };
        let is_in_last = self.wave == *last
            && match self.phase {
                Phase::Changing => self
                    .plan
                    .waves
                    .get(*last)
                    .is_none_or(|wave| wave.after.is_empty()),
                Phase::Closing => true,
                Phase::Before
                | Phase::Opening
                | Phase::Announcing
                | Phase::Checking
                | Phase::Gating
                | Phase::Over => false,
            };
        is_in_last || self.wave > *last
    }
}
