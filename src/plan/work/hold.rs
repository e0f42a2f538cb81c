//! What is held: hosts that did not answer or are not ours, and everything that needs what is held.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::change::Change;
use crate::model::id::{FleetName, HostId, ResourceId};
use crate::model::inventory::Inventory;
use crate::model::manifest::{Manifest, ManifestState};
use crate::model::observation::{HostView, Reach};
use crate::model::plan::{Held, HeldWhat, HeldWhy};
use crate::plan::{graph, waves};
use crate::resource::desired::DesiredHost;

use super::Work;

impl<'a> Work<'a> {
    /// Returns why a whole host is held, if it is.
    pub(super) fn host_hold(&self, host: &HostId, desired: &DesiredHost, view: &HostView) -> Option<HeldWhy> {
        if let Reach::Unreachable(why) = &view.reach {
            return Some(HeldWhy::Unreachable(why.clone()));
        }
        if let Some(why) = &desired.held {
            return Some(HeldWhy::Unknown(why.clone()));
        }
        machine_hold(self.input.inventory, self.input.lineages, host, view)
    }

    pub(super) fn hold_host(&mut self, host: &HostId, why: HeldWhy) {
        self.down.insert(host.clone());
        if !self.is_limited_out(host) {
            self.held.push(Held {
                what: HeldWhat::Host(host.clone()),
                why,
            });
        }
    }

    /// Takes changes away that wait for an output which nothing in this plan produces, since its producer is held, or left
    /// out by the limit.
    pub(in crate::plan) fn hold_what_nobody_produces(&mut self) {
        let waits = |change: &Change| {
            let bodies = change.ops.iter().flat_map(|op| op.bodies());
            let mut outputs = bodies.flat_map(|body| body.outputs());
            let missing = outputs.find(|output| self.change(&output.resource).is_none())?;
            Some((change.target.clone(), missing.resource.clone()))
        };
        let changes = self.diffs.values().flat_map(|diff| diff.changes.values());
        let waiting: Vec<(ResourceId, ResourceId)> = changes.filter_map(waits).collect();
        for (id, producer) in waiting {
            self.hold_change(&id, HeldWhy::Needs(producer));
        }
    }

    /// Takes changes away that need something held, or would wipe it, on whatever host, until none is left.
    pub(in crate::plan) fn hold_what_needs_held(&mut self) {
        loop {
            self.hold_users_of_held();
            let wiping = self.changes_that_wipe_held();
            if wiping.is_empty() {
                return;
            }
            for (id, lost) in wiping {
                self.hold_change(&id, HeldWhy::Wipes(lost));
            }
        }
    }

    /// Returns changes that wipe something which is held, each with what it wipes.
    fn changes_that_wipe_held(&self) -> BTreeMap<ResourceId, ResourceId> {
        let is_held = |id: &ResourceId| {
            let what = HeldWhat::Resource(id.clone());
            let held = self.diffs.get(&id.host).map(|diff| &diff.held);
            self.down.contains(&id.host) || held.into_iter().flatten().any(|held| held.what == what)
        };
        let losing = self
            .input
            .desired
            .iter()
            .filter(|(_, entry)| !entry.loses_on.is_empty());
        let held = losing.filter(|(id, _)| is_held(id));
        let pairs = held.flat_map(|(id, entry)| {
            entry
                .loses_on
                .iter()
                .map(move |wipes| (wipes.clone(), id.clone()))
        });
        pairs.filter(|(wipes, _)| self.change(wipes).is_some()).collect()
    }

    fn hold_users_of_held(&mut self) {
        let held_hosts: BTreeSet<HostId> = self.down.clone();
        let mut held: BTreeSet<ResourceId> = self
            .diffs
            .values()
            .flat_map(|diff| &diff.held)
            .filter_map(|held| match &held.what {
                HeldWhat::Resource(id) => Some(id.clone()),
                HeldWhat::Host(_) => None,
            })
            .collect();
        if held.is_empty() && held_hosts.is_empty() {
            return;
        }
        let mut needs: BTreeMap<ResourceId, BTreeSet<ResourceId>> = self
            .diffs
            .iter()
            .flat_map(|(host, diff)| diff.changes.keys().map(|key| key.on(host)))
            .filter_map(|id| Some((id.clone(), self.input.desired.get(&id)?.needs.clone())))
            .collect();
        // What cannot go, or cannot change, keeps what it stands on.
        needs.extend(self.users_of_deletions());
        for id in graph::order(&needs, |_| 0) {
            let blocked = needs[id]
                .iter()
                .find(|need| held.contains(*need) || held_hosts.contains(&need.host));
            if let Some(need) = blocked {
                held.insert(id.clone());
                self.hold_change(id, HeldWhy::Needs(need.clone()));
            }
        }
    }

    pub(super) fn hold_change(&mut self, id: &ResourceId, why: HeldWhy) {
        if let Some(diff) = self.diffs.get_mut(&id.host) {
            diff.changes.remove(&id.key);
            diff.seen.remove(&id.key);
            diff.held.push(Held {
                what: HeldWhat::Resource(id.clone()),
                why,
            });
        }
    }

    /// Where too many hosts are down already, nothing that disrupts goes on, nor what needs it.
    pub(in crate::plan) fn hold_without_room(&mut self) {
        let Some(why) = no_room(self.input.inventory, self.down.len()) else {
            return;
        };
        let disrupting: Vec<ResourceId> = self
            .diffs
            .values()
            .flat_map(|diff| diff.changes.values())
            .filter(|change| waves::is_disrupting(change))
            .map(|change| change.target.clone())
            .collect();
        for id in &disrupting {
            self.hold_change(id, HeldWhy::NoRoom(why.clone()));
        }
        if !disrupting.is_empty() {
            self.hold_what_needs_held();
        }
    }
}

/// Says why nothing that disrupts may go on while so many hosts are down, if so.
pub(in crate::plan) fn no_room(inventory: &Inventory, down: usize) -> Option<String> {
    let whole = inventory.hosts.len();
    let most = inventory.policy.down_max.of(whole);
    (down >= most.max(1) || most == 0)
        .then(|| format!("{down} of {whole} hosts are down or unknown, and the policy allows {most}"))
}

/// Returns why nothing may be changed on the machine that answered as a host, if so.
pub(in crate::plan) fn machine_hold(
    inventory: &Inventory,
    lineages: &BTreeMap<HostId, String>,
    host: &HostId,
    view: &HostView,
) -> Option<HeldWhy> {
    let declared = inventory.hosts.get(host)?;
    let before = declared.renamed_from.as_ref().and_then(|old| lineages.get(old));
    let lineage = lineages.get(host).or(before);
    match (&view.manifest, lineage) {
        (ManifestState::Unreadable(why), _) => {
            Some(HeldWhy::NotOurs(format!("its manifest cannot be read: {why}")))
        }
        (ManifestState::Absent, Some(lineage)) => Some(HeldWhy::NotOurs(format!(
            "it had a manifest (lineage {lineage}) and has none: reinstalled or wiped? \
             `muster adopt --new-lineage {host}` begins anew"
        ))),
        (ManifestState::Absent, None) => None,
        (ManifestState::Present(manifest), lineage) => foreign(
            manifest,
            &inventory.name,
            host,
            declared.renamed_from.as_ref(),
            lineage,
        ),
    }
}

/// Says why a manifest is not this host's, if it is not.
fn foreign(
    manifest: &Manifest,
    fleet: &FleetName,
    host: &HostId,
    renamed_from: Option<&HostId>,
    lineage: Option<&String>,
) -> Option<HeldWhy> {
    let is_named = manifest.host == *host || renamed_from == Some(&manifest.host);
    if manifest.fleet != *fleet || !is_named {
        return Some(HeldWhy::NotOurs(format!(
            "this machine is `{}` of fleet `{}`; say `renamed_from = \"{}\"`, or take it over with \
             `muster adopt --take-over {host}`",
            manifest.host, manifest.fleet, manifest.host
        )));
    }
    lineage.filter(|lineage| **lineage != manifest.lineage).map(|lineage| {
        HeldWhy::NotOurs(format!(
            "its lineage is {} and was {lineage}: another machine, or reinstalled? `muster adopt --new-lineage {host}` \
             accepts it",
            manifest.lineage
        ))
    })
}
