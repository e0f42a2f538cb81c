//! Dead-man switches: for each host the changes that may cut us off, with what stands between them, as one section.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::change::{Action, Change};
use crate::model::id::{HostId, ResourceId};
use crate::model::plan::HeldWhy;
use crate::model::switch::{Restores, Switch};
use crate::plan::{connection, graph};

use super::Work;

/// The section of one host: why, for each change that may cut us off, and everything that is changed in one go with these.
#[derive(Default)]
struct Section {
    cuts: BTreeMap<ResourceId, String>,
    members: BTreeSet<ResourceId>,
}

impl Work<'_> {
    /// Holds what may cut us off where no switch could take it back, until all of the rest has its section.
    pub(in crate::plan) fn hold_without_switch(&mut self) {
        loop {
            let sections = self.sections();
            if sections.is_empty() {
                return;
            }
            let held: Vec<(ResourceId, String)> = sections
                .iter()
                .filter_map(|(host, section)| Some((section, self.unguarded(host, section)?)))
                .flat_map(|(section, why)| section.cuts.keys().map(move |id| (id.clone(), why.clone())))
                .collect();
            let held = if held.is_empty() {
                self.in_circles(&sections)
            } else {
                held
            };
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

    /// Returns the switch of each host that needs one, with its changes in the order in which they are made.
    pub(super) fn switches(&self, ordered: &[ResourceId]) -> BTreeMap<HostId, Switch> {
        let within_secs = self.input.inventory.policy.login_within_secs;
        let switch = |(host, section): (HostId, Section)| {
            let changes: Vec<ResourceId> = ordered
                .iter()
                .filter(|id| section.members.contains(*id))
                .cloned()
                .collect();
            let switch = Switch {
                restores: self.restores(&section).ok()?,
                changes,
                cuts: section.cuts,
                within_secs,
            };
            Some((host, switch))
        };
        self.sections().into_iter().filter_map(switch).collect()
    }

    /// Returns needs with every section in one piece: what any of its changes needs, all need.
    pub(super) fn needs_in_one_piece(&self) -> BTreeMap<ResourceId, BTreeSet<ResourceId>> {
        let mut needs: BTreeMap<ResourceId, BTreeSet<ResourceId>> = self
            .all_changes()
            .map(|change| (change.target.clone(), change.needs.clone()))
            .collect();
        for section in self.sections().values() {
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
        let parts: BTreeMap<ResourceId, BTreeSet<ResourceId>> = self
            .sections()
            .into_values()
            .flat_map(|section| {
                let members = section.members.clone();
                section.members.into_iter().map(move |id| (id, members.clone()))
            })
            .collect();
        for (id, needed) in &mut needs {
            let whole: Vec<ResourceId> = needed
                .iter()
                .filter_map(|need| parts.get(need))
                .filter(|section| !section.contains(id))
                .flatten()
                .cloned()
                .collect();
            needed.extend(whole);
        }
        needs
    }

    fn sections(&self) -> BTreeMap<HostId, Section> {
        let mut sections: BTreeMap<HostId, Section> = BTreeMap::new();
        for (id, why) in self.cutting() {
            sections.entry(id.host.clone()).or_default().cuts.insert(id, why);
        }
        for section in sections.values_mut() {
            section.members = section.cuts.keys().cloned().collect();
            section.members.extend(self.between(&section.cuts));
        }
        sections
    }

    /// Returns what may cut us off: what touches the list, and what is restarted to read that anew.
    fn cutting(&self) -> BTreeMap<ResourceId, String> {
        let direct = self.all_changes().filter_map(|change| {
            let host = self.input.inventory.hosts.get(&change.target.host)?;
            Some((change.target.clone(), connection::cuts(change, &host.target)?))
        });
        let mut cutting: BTreeMap<ResourceId, String> = direct.collect();
        let restarted: Vec<(ResourceId, String)> = self
            .all_changes()
            .filter(|change| !cutting.contains_key(&change.target) && change.action != Action::Forget)
            .filter_map(|change| Some((change.target.clone(), self.read_anew(change, &cutting)?)))
            .collect();
        cutting.extend(restarted);
        cutting
    }

    /// Says whether a change may have its resource read what may cut us off, and what that is about.
    fn read_anew(&self, change: &Change, cutting: &BTreeMap<ResourceId, String>) -> Option<String> {
        let host = self.input.inventory.hosts.get(&change.target.host)?;
        let entry = self.input.desired.get(&change.target)?;
        let consumed = entry.restart_on.iter().filter(|id| id.host == host.id);
        // What does not change in this plan may be read for the first time all the same.
        let mut whys = consumed.filter_map(|id| {
            let why = cutting.get(id).cloned();
            why.or_else(|| connection::key_cuts(&id.key, &host.target))
        });
        whys.next()
    }

    /// Returns what stands between changes that may cut us off: it needs one of them, and another needs it.
    fn between(&self, cuts: &BTreeMap<ResourceId, String>) -> BTreeSet<ResourceId> {
        if cuts.len() < 2 {
            return BTreeSet::new();
        }
        let needs: BTreeMap<&ResourceId, &BTreeSet<ResourceId>> = self
            .all_changes()
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
    fn unguarded(&self, host: &HostId, section: &Section) -> Option<String> {
        let machine = self
            .input
            .seen
            .hosts
            .get(host)
            .and_then(|view| view.machine.as_ref());
        if machine.is_some_and(|machine| !machine.has_systemd) {
            return Some("the host has no systemd to take it back".to_owned());
        }
        if let Some(far) = section.members.iter().find(|id| id.host != *host) {
            return Some(format!("{far} would have to be done in the middle of it"));
        }
        // A gate would have to be asked while nobody knows yet whether what was changed will stay.
        let gated = section.members.iter().find(|id| {
            let is_needed = |other: &ResourceId| self.change(other).is_some_and(|c| c.needs.contains(*id));
            self.change(id).is_some_and(|change| !change.gates.is_empty())
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
        for change in section.members.iter().filter_map(|id| self.change(id)) {
            connection::restores(change, &mut restores)?;
        }
        // A unit that is restarted in any case needs no second look.
        let Restores { units, readers, .. } = &mut restores;
        readers.retain(|unit| !units.contains(unit));
        Ok(restores)
    }

    /// Sections of several hosts that wait for each other cannot each be done in one go.
    fn in_circles(&self, sections: &BTreeMap<HostId, Section>) -> Vec<(ResourceId, String)> {
        let needs = self.needs_in_one_piece();
        let ordered: BTreeSet<&ResourceId> = graph::order(&needs, |_| 0).into_iter().collect();
        let cuts = sections.values().flat_map(|section| section.cuts.keys());
        cuts.filter(|id| !ordered.contains(*id))
            .map(|id| {
                (
                    id.clone(),
                    "another host would have to be changed in the middle of it".to_owned(),
                )
            })
            .collect()
    }

    fn all_changes(&self) -> impl Iterator<Item = &Change> {
        self.diffs.values().flat_map(|diff| diff.changes.values())
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
