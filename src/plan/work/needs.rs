//! Needs of changes: what must change before, directly or behind what stays as it is.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::change::Action;
use crate::model::id::ResourceId;

use super::Work;

impl<'a> Work<'a> {
    /// Fills the needs of changes: what they need that changes too, also through what does not change.
    pub(in crate::plan) fn fill_needs(&mut self) {
        let changed: BTreeSet<ResourceId> = self
            .diffs
            .iter()
            .flat_map(|(host, diff)| diff.changes.keys().map(|key| key.on(host)))
            .collect();
        let mut through: BTreeMap<ResourceId, BTreeSet<ResourceId>> = BTreeMap::new();
        let mut needs: BTreeMap<ResourceId, BTreeSet<ResourceId>> = BTreeMap::new();
        for id in &changed {
            if let Some(entry) = self.input.desired.get(id) {
                let wanted = entry
                    .needs
                    .iter()
                    .flat_map(|need| self.changed_behind(need, &changed, &mut through));
                needs.insert(id.clone(), wanted.collect());
            }
        }
        for (id, needed) in self.needs_of_deletions(&changed) {
            needs.entry(id).or_default().extend(needed);
        }
        for (id, mut needed) in needs {
            needed.remove(&id);
            if let Some(change) = self
                .diffs
                .get_mut(&id.host)
                .and_then(|diff| diff.changes.get_mut(&id.key))
            {
                change.needs = needed;
            }
        }
    }

    fn changed_behind(
        &self,
        id: &ResourceId,
        changed: &BTreeSet<ResourceId>,
        through: &mut BTreeMap<ResourceId, BTreeSet<ResourceId>>,
    ) -> BTreeSet<ResourceId> {
        if changed.contains(id) {
            return BTreeSet::from([id.clone()]);
        }
        if let Some(found) = through.get(id) {
            return found.clone();
        }
        // Needs have no circles: `desire` refuses them.
        let needs = self
            .input
            .desired
            .get(id)
            .map(|entry| entry.needs.clone())
            .unwrap_or_default();
        let found: BTreeSet<ResourceId> = needs
            .iter()
            .flat_map(|need| self.changed_behind(need, changed, through))
            .collect();
        through.insert(id.clone(), found.clone());
        found
    }

    /// A deletion comes after the end, or the change, of all that needed what goes.
    fn needs_of_deletions(
        &self,
        changed: &BTreeSet<ResourceId>,
    ) -> BTreeMap<ResourceId, BTreeSet<ResourceId>> {
        let mut needs: BTreeMap<ResourceId, BTreeSet<ResourceId>> = BTreeMap::new();
        for id in changed {
            let manifest = self
                .input
                .seen
                .hosts
                .get(&id.host)
                .and_then(|view| view.manifest.present());
            let Some(owned) = manifest.and_then(|manifest| manifest.owned.get(&id.key)) else {
                continue;
            };
            for needed in &owned.needs {
                let goes = self
                    .change(needed)
                    .is_some_and(|change| change.action == Action::Delete);
                let still = self
                    .input
                    .desired
                    .get(id)
                    .is_some_and(|entry| entry.needs.contains(needed));
                if goes && !still {
                    needs.entry(needed.clone()).or_default().insert(id.clone());
                }
            }
        }
        needs
    }
}
