//! Dead-man switches of a plan: what they are made of, and what is held since none could take it back.

use std::collections::BTreeMap;

use crate::model::change::{Action, Change};
use crate::model::id::ResourceId;
use crate::model::plan::HeldWhy;
use crate::plan::connection;
use crate::plan::section::Sections;

use super::Work;

impl Work<'_> {
    /// Holds what may cut us off where no switch could take it back, until all of the rest has its section.
    pub(in crate::plan) fn hold_without_switch(&mut self) {
        loop {
            let held = self.sections().unguarded();
            if held.is_empty() {
                return;
            }
            for (id, why) in held {
                self.hold_change(&id, HeldWhy::NoSwitch(why));
            }
            self.hold_what_needs_held();
            self.fill_needs();
        }
    }

    pub(super) fn sections(&self) -> Sections<'_> {
        let changes = self.diffs.values().flat_map(|diff| diff.changes.values());
        Sections::of(
            self.input.inventory,
            self.input.seen,
            changes,
            |change, cutting| self.read_anew(change, cutting),
        )
    }

    /// Says whether a change may have its resource read what may cut us off, and what that is about.
    fn read_anew(&self, change: &Change, cutting: &BTreeMap<ResourceId, String>) -> Option<String> {
        if change.action == Action::Forget {
            return None;
        }
        let entry = self.input.desired.get(&change.target)?;
        if entry.restart_on.is_empty() {
            return None;
        }
        let host = self.input.inventory.hosts.get(&change.target.host)?;
        let consumed = entry.restart_on.iter().filter(|id| id.host == host.id);
        // What does not change in this plan may be read for the first time all the same.
        let mut whys = consumed.filter_map(|id| {
            let why = cutting.get(id).cloned();
            why.or_else(|| connection::key_cuts(&id.key, &host.target))
        });
        whys.next()
    }
}
