//! Dead-man switches: for each host the changes that may cut us off, with what stands between them, as one section.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::change::Change;
use crate::model::id::{HostId, ResourceId};
use crate::model::inventory::Inventory;
use crate::model::observation::Observation;
use crate::model::switch::{Restores, Switch};

use super::{connection, graph};

/// The section of one host: why, for each change that may cut us off, and everything that is changed in one go with these.
#[derive(Default)]
struct Section {
    cuts: BTreeMap<ResourceId, String>,
    members: BTreeSet<ResourceId>,
}

/// The sections of a plan in the making.
pub(super) struct Sections<'a> {
    inventory: &'a Inventory,
    seen: &'a Observation,
    changes: BTreeMap<&'a ResourceId, &'a Change>,
    by_host: BTreeMap<HostId, Section>,
}

impl<'a> Sections<'a> {
    /// Finds them. `also` says why a change may cut us off although its own ops do not show it; it is given those whose ops do.
    pub(super) fn of(
        inventory: &'a Inventory,
        seen: &'a Observation,
        changes: impl Iterator<Item = &'a Change>,
        also: impl Fn(&Change, &BTreeMap<ResourceId, String>) -> Option<String>,
    ) -> Self {
        let mut sections = Self {
            inventory,
            seen,
            changes: changes.map(|change| (&change.target, change)).collect(),
            by_host: BTreeMap::new(),
        };
        let mut by_host: BTreeMap<HostId, Section> = BTreeMap::new();
        for (id, why) in sections.cutting(also) {
            by_host.entry(id.host.clone()).or_default().cuts.insert(id, why);
        }
        for section in by_host.values_mut() {
            section.members = section.cuts.keys().cloned().collect();
            section.members.extend(sections.between(&section.cuts));
        }
        sections.by_host = by_host;
        sections
    }

    /// Returns what may cut us off and cannot be put under a switch, and why. When that is held, others may follow: ask again.
    pub(super) fn unguarded(&self) -> Vec<(ResourceId, String)> {
        let held: Vec<(ResourceId, String)> = self
            .by_host
            .iter()
            .filter_map(|(host, section)| Some((section, self.hindrance(host, section)?)))
            .flat_map(|(section, why)| section.cuts.keys().map(move |id| (id.clone(), why.clone())))
            .collect();
        if held.is_empty() { self.in_circles() } else { held }
    }

    /// Returns the switch of each host that needs one, with its changes in the order in which they are made.
    pub(super) fn switches(&self, ordered: &[ResourceId]) -> BTreeMap<HostId, Switch> {
        let within_secs = self.inventory.policy.login_within_secs;
        let switch = |(host, section): (&HostId, &Section)| {
            let changes: Vec<ResourceId> = ordered
                .iter()
                .filter(|id| section.members.contains(*id))
                .cloned()
                .collect();
            let switch = Switch {
                restores: self.restores(section).ok()?,
                changes,
                cuts: section.cuts.clone(),
                within_secs,
            };
            Some((host.clone(), switch))
        };
        self.by_host.iter().filter_map(switch).collect()
    }

    /// Returns needs with every section in one piece: what any of its changes needs, all need.
    pub(super) fn needs_in_one_piece(&self) -> BTreeMap<ResourceId, BTreeSet<ResourceId>> {
        let mut needs: BTreeMap<ResourceId, BTreeSet<ResourceId>> = self
            .changes
            .values()
            .map(|change| (change.target.clone(), change.needs.clone()))
            .collect();
        for section in self.by_host.values() {
            let outside: BTreeSet<ResourceId> = section
                .members
                .iter()
                .flat_map(|id| &needs[id])
                .filter(|need| !section.members.contains(*need))
                .cloned()
                .collect();
            for id in &section.members {
                needs
                    .entry(id.clone())
                    .or_default()
                    .extend(outside.iter().cloned());
            }
        }
        // What needs a part of a section waits for all of it.
        let parts: BTreeMap<&ResourceId, &BTreeSet<ResourceId>> = self
            .by_host
            .values()
            .flat_map(|section| section.members.iter().map(|id| (id, &section.members)))
            .collect();
        for (id, needed) in &mut needs {
            let whole: Vec<ResourceId> = needed
                .iter()
                .filter_map(|need| parts.get(need))
                .filter(|section| !section.contains(id))
                .flat_map(|section| section.iter().cloned())
                .collect();
            needed.extend(whole);
        }
        needs
    }

    /// Returns what may cut us off: what touches the list, and what is otherwise known to.
    fn cutting(
        &self,
        also: impl Fn(&Change, &BTreeMap<ResourceId, String>) -> Option<String>,
    ) -> BTreeMap<ResourceId, String> {
        // A name is made only for what is found: a large fleet has a hundred thousand changes that are not on the list.
        let direct = self.changes.values().filter_map(|change| {
            let host = self.inventory.hosts.get(&change.target.host)?;
            let why = connection::cuts(change, &host.target)?;
            Some((change.target.clone(), why))
        });
        let mut cutting: BTreeMap<ResourceId, String> = direct.collect();
        let others: Vec<(ResourceId, String)> = self
            .changes
            .values()
            .filter(|change| !cutting.contains_key(&change.target))
            .filter_map(|change| {
                let why = also(change, &cutting)?;
                Some((change.target.clone(), why))
            })
            .collect();
        cutting.extend(others);
        cutting
    }

    /// Returns what stands between changes that may cut us off: it needs one of them, and another needs it.
    fn between(&self, cuts: &BTreeMap<ResourceId, String>) -> BTreeSet<ResourceId> {
        if cuts.len() < 2 {
            return BTreeSet::new();
        }
        let needs: BTreeMap<&ResourceId, &BTreeSet<ResourceId>> = self
            .changes
            .values()
            .map(|change| (&change.target, &change.needs))
            .collect();
        let mut users: BTreeMap<&ResourceId, BTreeSet<&ResourceId>> = BTreeMap::new();
        for (id, needed) in &needs {
            for need in *needed {
                users.entry(need).or_default().insert(id);
            }
        }
        let below = reached(cuts.keys(), |id| {
            needs.get(id).into_iter().flat_map(|needed| needed.iter())
        });
        let above = reached(cuts.keys(), |id| {
            users.get(id).into_iter().flat_map(|users| users.iter().copied())
        });
        below
            .intersection(&above)
            .filter(|id| !cuts.contains_key(**id))
            .map(|id| (*id).clone())
            .collect()
    }

    /// Says why a section cannot be put under a switch.
    fn hindrance(&self, host: &HostId, section: &Section) -> Option<String> {
        let machine = self.seen.hosts.get(host).and_then(|view| view.machine.as_ref());
        if machine.is_some_and(|machine| !machine.has_systemd) {
            return Some("the host has no systemd to take it back".to_owned());
        }
        if let Some(far) = section.members.iter().find(|id| id.host != *host) {
            return Some(format!("{far} would have to be done in the middle of it"));
        }
        // A gate would have to be asked while nobody knows yet whether what was changed will stay.
        let gated = section.members.iter().find(|id| {
            let is_needed =
                |other: &ResourceId| self.changes.get(other).is_some_and(|c| c.needs.contains(*id));
            self.changes
                .get(id)
                .is_some_and(|change| !change.gates.is_empty())
                && section.members.iter().any(is_needed)
        });
        if let Some(gated) = gated {
            return Some(format!(
                "a gate of {} would have to open in the middle of it",
                gated.key
            ));
        }
        self.restores(section).err()
    }

    fn restores(&self, section: &Section) -> Result<Restores, String> {
        let mut restores = Restores::default();
        for change in section.members.iter().filter_map(|id| self.changes.get(id)) {
            connection::restores(change, &mut restores)?;
        }
        // A unit that is restarted in any case needs no second look.
        let Restores { units, readers, .. } = &mut restores;
        readers.retain(|unit| !units.contains(unit));
        Ok(restores)
    }

    /// Sections of several hosts that wait for each other cannot each be done in one go.
    fn in_circles(&self) -> Vec<(ResourceId, String)> {
        if self.by_host.is_empty() {
            return Vec::new();
        }
        let needs = self.needs_in_one_piece();
        let ordered: BTreeSet<&ResourceId> = graph::order(&needs, |_| 0).into_iter().collect();
        let cuts = self.by_host.values().flat_map(|section| section.cuts.keys());
        cuts.filter(|id| !ordered.contains(*id))
            .map(|id| {
                (
                    id.clone(),
                    "another host would have to be changed in the middle of it".to_owned(),
                )
            })
            .collect()
    }
}

/// Returns everything that is reached from some, themselves included only where another reaches them.
fn reached<'a, I: Iterator<Item = &'a ResourceId>>(
    from: impl Iterator<Item = &'a ResourceId>,
    next: impl Fn(&ResourceId) -> I,
) -> BTreeSet<&'a ResourceId> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&ResourceId> = from.collect();
    while let Some(id) = open.pop() {
        open.extend(next(id).filter(|id| found.insert(*id)));
    }
    found
}
