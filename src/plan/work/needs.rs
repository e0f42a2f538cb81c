//! Needs of changes: what must change before, directly or behind what stays as it is.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::change::Action;
use crate::model::id::ResourceId;

use super::Work;

impl<'a> Work<'a> {
    /// Fills the needs of changes: what they need that changes too, also through what does not change.
    pub(in crate::plan) fn fill_needs(&mut self) {
        let mut through: BTreeMap<ResourceId, BTreeSet<ResourceId>> = BTreeMap::new();
        let mut needs: BTreeMap<ResourceId, BTreeSet<ResourceId>> = BTreeMap::new();
        for (host, diff) in &self.diffs {
            let Some(desired) = self.input.desired.hosts.get(host) else {
                continue;
            };
            // Most changes need nothing, and a large fleet has a hundred thousand of them: those cost no name.
            let declared = diff
                .changes
                .keys()
                .filter_map(|key| Some((key, desired.entries.get(key)?)));
            for (key, entry) in declared.filter(|(_, entry)| !entry.needs.is_empty()) {
                let wanted = entry
                    .needs
                    .iter()
                    .flat_map(|need| self.changed_behind(need, &mut through));
                needs.insert(key.on(host), wanted.collect());
            }
        }
        for (id, users) in self.users_of_deletions() {
            let changing = users.into_iter().filter(|user| self.change(user).is_some());
            needs.entry(id).or_default().extend(changing);
        }
        for change in self.diffs.values_mut().flat_map(|diff| diff.changes.values_mut()) {
            change.needs.clear();
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
        through: &mut BTreeMap<ResourceId, BTreeSet<ResourceId>>,
    ) -> BTreeSet<ResourceId> {
        if self.change(id).is_some() {
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
            .flat_map(|need| self.changed_behind(need, through))
            .collect();
        through.insert(id.clone(), found.clone());
        found
    }

    /// Returns what still stands on that which goes, as the manifests say: a deletion comes after the end, or the change,
    /// of all of it.
    pub(super) fn users_of_deletions(&self) -> BTreeMap<ResourceId, BTreeSet<ResourceId>> {
        let mut users: BTreeMap<ResourceId, BTreeSet<ResourceId>> = BTreeMap::new();
        for (host, view) in &self.input.seen.hosts {
            for (key, owned) in view
                .manifest
                .present()
                .into_iter()
                .flat_map(|manifest| &manifest.owned)
            {
                let goes = |id: &&ResourceId| {
                    self.change(id)
                        .is_some_and(|change| change.action == Action::Delete)
                };
                for needed in owned.needs.iter().filter(goes) {
                    users.entry(needed.clone()).or_default().insert(key.on(host));
                }
            }
        }
        users
    }
}
