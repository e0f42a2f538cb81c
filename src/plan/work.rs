//! A plan in the making: every host compared, what must wait held, what is left ordered and cut.

mod aim;
pub(super) mod hold;
mod needs;
mod switch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::aim::Aimed;
use crate::model::change::{Action, Change};
use crate::model::digest::Digest;
use crate::model::id::{HostId, ResourceId, ResourceKey};
use crate::model::inventory::Inventory;
use crate::model::known::Known;
use crate::model::manifest::OwnedState;
use crate::model::observation::HostView;
use crate::model::plan::{Basis, Held, HeldWhat, HeldWhy, Note, Plan, Purpose};
use crate::resource::desired::{DesiredHost, Entry};
use crate::resource::{Consumed, others};

use super::diff::{HostDiff, HostInput};
use super::{PlanInput, graph, outputs, waves};

/// A plan in the making.
pub(super) struct Work<'a> {
    input: &'a PlanInput<'a>,
    known: BTreeMap<HostId, Known>,
    diffs: BTreeMap<HostId, HostDiff>,
    held: Vec<Held>,
    down: BTreeSet<HostId>,
    notes: Vec<Note>,
    aimed: Option<Aimed>,
    wanted: Option<aim::Wanted>,
}

impl<'a> Work<'a> {
    pub(super) fn new(input: &'a PlanInput<'a>) -> Self {
        let outputs = Arc::new(outputs(input.desired, input.seen));
        let known = |host: &HostId| Known {
            outputs: Arc::clone(&outputs),
            prints: input.prints.get(host).cloned().unwrap_or_default(),
            is_without_secrets: input.without_secrets,
        };
        let known = input
            .desired
            .hosts
            .keys()
            .map(|host| (host.clone(), known(host)))
            .collect();
        Self {
            input,
            known,
            diffs: BTreeMap::new(),
            held: Vec::new(),
            down: BTreeSet::new(),
            notes: Vec::new(),
            aimed: None,
            wanted: None,
        }
    }

    fn is_limited_out(&self, host: &HostId) -> bool {
        self.input
            .limit
            .as_ref()
            .is_some_and(|(_, hosts)| !hosts.contains(host))
    }

    /// Compares every host. What starts something comes after what it may consume.
    pub(super) fn compare_all(&mut self) {
        let mut ready: Vec<(&'a HostId, &'a DesiredHost, &'a HostView)> = Vec::new();
        for (host, desired) in &self.input.desired.hosts {
            let Some(view) = self.input.seen.hosts.get(host) else {
                if !self.is_limited_out(host) {
                    self.hold_host(host, HeldWhy::Unreachable("nobody looked at it".to_owned()));
                }
                continue;
            };
            match self.host_hold(host, desired, view) {
                Some(why) => self.hold_host(host, why),
                None => ready.push((host, desired, view)),
            }
        }
        ready.retain(|(host, _, _)| !self.is_limited_out(host));
        for (host, desired, view) in &ready {
            let found = others::findings(desired, view.manifest.present(), &view.answers);
            self.notes.extend(found.into_iter().map(|text| Note {
                subject: host.to_string(),
                text,
            }));
        }
        let mut starting: BTreeMap<ResourceId, BTreeSet<ResourceId>> = BTreeMap::new();
        for (host, desired, view) in &ready {
            let mut diff = HostDiff::default();
            let input = HostInput {
                host,
                desired,
                view,
                known: &self.known[*host],
            };
            for (key, entry) in &desired.entries {
                if entry.spec.info().starts {
                    starting.insert(key.on(host), entry.needs.clone());
                } else {
                    diff.compare(&input, key, entry, None, &[]);
                }
            }
            diff.remove(&input);
            self.diffs.insert((*host).clone(), diff);
        }
        for id in graph::order(&starting, |_| 0) {
            if let Some(entry) = self.input.desired.get(id) {
                self.compare_one(id, entry, &[]);
            }
        }
    }

    fn compare_one(&mut self, id: &ResourceId, entry: &Entry, lost_on: &[ResourceId]) {
        let (Some(desired), Some(view)) = (
            self.input.desired.hosts.get(&id.host),
            self.input.seen.hosts.get(&id.host),
        ) else {
            return;
        };
        let consumed = entry.spec.info().starts.then(|| self.consumed(&id.host, entry));
        let mut diff = self.diffs.remove(&id.host).unwrap_or_default();
        let input = HostInput {
            host: &id.host,
            desired,
            view,
            known: &self.known[&id.host],
        };
        diff.takes.retain(|take| take.key != id.key);
        diff.held
            .retain(|held| held.what != HeldWhat::Resource(id.clone()));
        diff.compare(&input, &id.key, entry, consumed.as_ref(), lost_on);
        self.diffs.insert(id.host.clone(), diff);
    }

    /// Returns what a resource consumes: the digest of all of it as it will be, and what of it this plan changes.
    fn consumed(&self, host: &HostId, entry: &Entry) -> Consumed {
        // Resources of the same host stand without its name, so that a renamed host restarts nothing.
        let name = |id: &ResourceId| {
            if id.host == *host {
                id.key.to_string()
            } else {
                id.to_string()
            }
        };
        let consumed = |id| Some((name(id), self.input.desired.get(id)?.spec.consumed()));
        let parts: BTreeMap<String, Digest> = entry.restart_on.iter().filter_map(consumed).collect();
        let owned = |id: &ResourceId| {
            self.input
                .seen
                .hosts
                .get(&id.host)?
                .manifest
                .present()?
                .owned
                .get(&id.key)
        };
        let same_host = || entry.restart_on.iter().filter(|id| id.host == *host);
        let changed_at_secs = same_host().filter_map(|id| owned(id)?.changed_at_secs).max();
        let is_unfinished =
            same_host().any(|id| owned(id).is_some_and(|owned| owned.state == OwnedState::Intent));
        let changes_content = |id: &&ResourceId| self.change(id).is_some_and(Change::changes_content);
        let changing = entry.restart_on.iter().filter(changes_content).cloned().collect();
        Consumed {
            digest: Digest::of_value(&parts),
            changed_at_secs,
            is_unfinished,
            changing,
        }
    }

    fn change(&self, id: &ResourceId) -> Option<&Change> {
        self.diffs.get(&id.host)?.changes.get(&id.key)
    }

    /// What a change wipes is planned anew as if absent, in the same plan, so that the second plan stays empty. What was left out is
    /// not, and holds what would wipe it.
    pub(super) fn replan_what_is_lost(&mut self) {
        let losing: Vec<(ResourceId, &Entry)> = self
            .input
            .desired
            .iter()
            .filter(|(_, entry)| !entry.loses_on.is_empty())
            .collect();
        // Each pass settles at least one more resource of a chain, so there are never more passes than resources.
        for _ in 0..losing.len() {
            let mut is_settled = true;
            for (id, entry) in &losing {
                let lost_on: Vec<ResourceId> = entry
                    .loses_on
                    .iter()
                    .filter(|lost| self.change(lost).is_some())
                    .cloned()
                    .collect();
                let is_absent = self
                    .change(id)
                    .is_some_and(|change| change.action == Action::Create);
                if lost_on.is_empty() || !self.diffs.contains_key(&id.host) {
                    continue;
                }
                if self.is_left_out(id) {
                    self.hold_left_out(id.clone());
                } else if !is_absent {
                    self.compare_one(id, entry, &lost_on);
                    is_settled = false;
                }
            }
            if is_settled {
                break;
            }
        }
    }

    pub(super) fn finish(mut self) -> Plan {
        let input = self.input;
        let sections = self.sections();
        let needs = sections.needs_in_one_piece();
        let ordered: Vec<ResourceId> = graph::order(&needs, rank).into_iter().cloned().collect();
        let switches = sections.switches(&ordered);
        let aimed = self.aimed_at();
        let mut changes: BTreeMap<ResourceId, Change> = BTreeMap::new();
        let mut takes = BTreeMap::new();
        let mut basis = BTreeMap::new();
        for (host, diff) in std::mem::take(&mut self.diffs) {
            if !diff.changes.is_empty() || !diff.takes.is_empty() {
                basis.insert(host.clone(), self.basis(&host, diff.seen));
            }
            self.held.extend(diff.held);
            changes.extend(
                diff.changes
                    .into_iter()
                    .map(|(key, change)| (key.on(&host), change)),
            );
            if !diff.takes.is_empty() {
                takes.insert(host, diff.takes);
            }
        }
        let waves = waves::WaveInput {
            inventory: input.inventory,
            ordered: ordered.iter().collect(),
            changes: &changes,
            switches: &switches,
            down: self.down.clone(),
        }
        .waves();
        self.held.sort_by(|left, right| left.what.cmp(&right.what));
        self.notes.sort();
        let hosts = basis
            .keys()
            .filter_map(|host| Some((host.clone(), input.inventory.hosts.get(host)?.target.clone())));
        Plan {
            fleet: input.inventory.name.clone(),
            purpose: Purpose::Declared,
            inputs: input.inputs.clone(),
            hosts: hosts.collect(),
            basis,
            changes,
            takes,
            waves,
            switches,
            held: self.held,
            notes: self.notes,
            hooks: input
                .inventory
                .hooks
                .iter()
                .filter(|hook| hook.on.is_of_run())
                .cloned()
                .collect(),
            policy: input.inventory.policy.clone(),
            fleet_size: input.inventory.hosts.len(),
            limited_to: input
                .limit
                .as_ref()
                .map(|(selector, hosts)| (selector.clone(), hosts.len())),
            aimed,
            inventory_file: input.inventory.file.clone(),
        }
    }

    fn basis(&self, host: &HostId, seen: BTreeMap<ResourceKey, Digest>) -> Basis {
        let view = self.input.seen.hosts.get(host);
        let facts = view.and_then(|view| view.facts.as_ref());
        let read = self
            .input
            .desired
            .hosts
            .get(host)
            .map(|desired| &desired.facts_read);
        Basis {
            facts: facts
                .zip(read)
                .map(|(facts, read)| facts.digests(read))
                .unwrap_or_default(),
            seen,
            ..manifest_basis(self.input.inventory, host, view)
        }
    }
}

/// Returns the basis that a host's manifest gives.
pub(super) fn manifest_basis(inventory: &Inventory, host: &HostId, view: Option<&HostView>) -> Basis {
    let manifest = view.and_then(|view| view.manifest.present());
    Basis {
        lineage: manifest.map(|manifest| manifest.lineage.clone()),
        generation: manifest.map_or(0, |manifest| manifest.generation),
        former: manifest
            .map(|manifest| (manifest.fleet.clone(), manifest.host.clone()))
            .filter(|former| *former != (inventory.name.clone(), host.clone())),
        ..Basis::default()
    }
}

/// Ranks kinds so that neighbours batch well and services start late, where needs leave a choice.
pub(super) fn rank(id: &ResourceId) -> usize {
    let order = [
        "group",
        "account",
        "authorized_keys",
        "package",
        "directory",
        "symlink",
        "file",
        "settings",
        "sysctl",
        "image",
        "network",
        "volume",
    ];
    order
        .iter()
        .position(|kind| *kind == id.key.kind.as_str())
        .unwrap_or(order.len())
}
