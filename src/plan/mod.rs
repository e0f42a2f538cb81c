//! The planner: desired × observation × policy → plan. Pure: equal inputs give equal bytes.
//!
//! [`desire::desire`] says what every host must be; [`plan`] says what differs, in which order and in which waves.
//! Nothing here reads a clock, a file or the network.

pub mod claims;
pub mod desire;
pub mod diff;
pub mod graph;
pub mod listeners;
pub mod reference;
pub mod scope;
pub mod template;
pub mod values;
pub mod waves;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::change::{Action, Change};
use crate::model::code;
use crate::model::diagnostic::{Diagnostic, Diagnostics};
use crate::model::digest::{Digest, Fingerprint};
use crate::model::id::{FleetName, HostId, OutputRef, ResourceId, ResourceKey};
use crate::model::inventory::Inventory;
use crate::model::known::Known;
use crate::model::manifest::{Manifest, ManifestState};
use crate::model::observation::{HostView, Observation, Observed, Reach};
use crate::model::plan::{Basis, Held, HeldWhat, HeldWhy, Note, Plan};
use crate::resource::Consumed;
use crate::resource::desired::{Desired, DesiredHost, Entry};

use diff::{HostDiff, HostInput};

/// What a plan is made from.
pub struct PlanInput<'a> {
    /// The inventory.
    pub inventory: &'a Inventory,
    /// What every host must be.
    pub desired: &'a Desired,
    /// What every host said.
    pub seen: &'a Observation,
    /// Fingerprints of bodies with secrets, by host.
    pub prints: &'a BTreeMap<HostId, BTreeMap<Digest, Fingerprint>>,
    /// Whether secrets were left unresolved on purpose.
    pub without_secrets: bool,
    /// The hosts that may be changed, with the selector that picked them; `None` is all.
    pub limit: Option<(String, BTreeSet<HostId>)>,
    /// The digests of the files that all this was read from.
    pub inputs: BTreeMap<String, Digest>,
    /// The lineage that each host had when muster last saw it.
    pub lineages: &'a BTreeMap<HostId, String>,
}

/// Makes the plan.
///
/// Hosts that did not answer, hosts that are not ours, and resources that could not be read are held; the rest proceeds.
///
/// # Errors
/// Diagnostics where two hosts of the inventory are one machine: nothing may be changed then.
pub fn plan(input: &PlanInput<'_>) -> Result<Plan, Diagnostics> {
    let twins = same_machines(input);
    if twins.has_errors() {
        return Err(twins);
    }
    let mut work = Work::new(input);
    work.compare_all();
    work.hold_what_nobody_produces();
    work.hold_what_needs_held();
    work.fill_needs();
    work.hold_without_room();
    Ok(work.finish())
}

/// Finds hosts that share a machine-id or a lineage.
fn same_machines(input: &PlanInput<'_>) -> Diagnostics {
    let mut found = Diagnostics::default();
    let mut owners: BTreeMap<(&str, &str), &HostId> = BTreeMap::new();
    for (host, view) in &input.seen.hosts {
        let machine = view
            .machine
            .as_ref()
            .map(|machine| ("machine-id", machine.id.as_str()));
        let lineage = view
            .manifest
            .present()
            .map(|manifest| ("lineage", manifest.lineage.as_str()));
        for mark in machine
            .into_iter()
            .chain(lineage)
            .filter(|(_, mark)| !mark.is_empty())
        {
            let Some(other) = owners.insert(mark, host) else {
                continue;
            };
            let message = format!(
                "hosts `{other}` and `{host}` are one machine: they have one {}",
                mark.0
            );
            let mut diagnostic = Diagnostic::error(code::SAME_MACHINE, message);
            if let (Some(host), Some(other)) =
                (input.inventory.hosts.get(host), input.inventory.hosts.get(other))
            {
                diagnostic = diagnostic
                    .at(host.origin.clone(), "this one")
                    .and(other.origin.clone(), "and this one");
            }
            found.push(
                diagnostic.hint("remove one of them, or give a cloned machine a machine-id of its own"),
            );
        }
    }
    found
}

/// A plan in the making.
struct Work<'a> {
    input: &'a PlanInput<'a>,
    known: BTreeMap<HostId, Known>,
    diffs: BTreeMap<HostId, HostDiff>,
    held: Vec<Held>,
    down: BTreeSet<HostId>,
    notes: Vec<Note>,
}

impl<'a> Work<'a> {
    fn new(input: &'a PlanInput<'a>) -> Self {
        let outputs = outputs(input.desired, input.seen);
        let known = |host: &HostId| Known {
            outputs: outputs.clone(),
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
        }
    }

    fn is_limited_out(&self, host: &HostId) -> bool {
        self.input
            .limit
            .as_ref()
            .is_some_and(|(_, hosts)| !hosts.contains(host))
    }

    /// Compares every host. What starts something comes after what it may consume.
    fn compare_all(&mut self) {
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
        self.replan_what_is_lost();
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
        let changed_at_secs = entry
            .restart_on
            .iter()
            .filter_map(|id| owned(id)?.changed_at_secs)
            .max();
        let changes_content = |id: &&ResourceId| self.change(id).is_some_and(changes_content);
        let changing = entry.restart_on.iter().filter(changes_content).cloned().collect();
        Consumed {
            digest: Digest::of_value(&parts),
            changed_at_secs,
            changing,
        }
    }

    fn change(&self, id: &ResourceId) -> Option<&Change> {
        self.diffs.get(&id.host)?.changes.get(&id.key)
    }

    /// What a change wipes is planned anew as if absent, in the same plan, so that the second plan stays empty.
    fn replan_what_is_lost(&mut self) {
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
                if !lost_on.is_empty() && !is_absent && self.diffs.contains_key(&id.host) {
                    self.compare_one(id, entry, &lost_on);
                    is_settled = false;
                }
            }
            if is_settled {
                break;
            }
        }
    }

    /// Returns why a whole host is held, if it is.
    fn host_hold(&self, host: &HostId, desired: &DesiredHost, view: &HostView) -> Option<HeldWhy> {
        if let Reach::Unreachable(why) = &view.reach {
            return Some(HeldWhy::Unreachable(why.clone()));
        }
        if let Some(why) = &desired.held {
            return Some(HeldWhy::Unknown(why.clone()));
        }
        let declared = self.input.inventory.hosts.get(host)?;
        let before = declared
            .renamed_from
            .as_ref()
            .and_then(|old| self.input.lineages.get(old));
        let lineage = self.input.lineages.get(host).or(before);
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
                &self.input.inventory.name,
                host,
                declared.renamed_from.as_ref(),
                lineage,
            ),
        }
    }

    fn hold_host(&mut self, host: &HostId, why: HeldWhy) {
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
    fn hold_what_nobody_produces(&mut self) {
        let waits = |change: &Change| {
            let bodies = change
                .ops
                .iter()
                .flat_map(|op| op.bodies().into_iter().cloned().collect::<Vec<_>>());
            let outputs: Vec<OutputRef> = bodies
                .flat_map(|body| body.outputs().cloned().collect::<Vec<_>>())
                .collect();
            let missing = outputs
                .into_iter()
                .find(|output| self.change(&output.resource).is_none())?;
            Some((change.target.clone(), missing.resource))
        };
        let changes = self.diffs.values().flat_map(|diff| diff.changes.values());
        let waiting: Vec<(ResourceId, ResourceId)> = changes.filter_map(waits).collect();
        for (id, producer) in waiting {
            self.hold_change(&id, HeldWhy::Needs(producer));
        }
    }

    /// Takes changes away that need something held, on whatever host, until none is left.
    fn hold_what_needs_held(&mut self) {
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
        let needs: BTreeMap<ResourceId, BTreeSet<ResourceId>> = self
            .diffs
            .iter()
            .flat_map(|(host, diff)| diff.changes.keys().map(|key| key.on(host)))
            .filter_map(|id| Some((id.clone(), self.input.desired.get(&id)?.needs.clone())))
            .collect();
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

    fn hold_change(&mut self, id: &ResourceId, why: HeldWhy) {
        if let Some(diff) = self.diffs.get_mut(&id.host) {
            diff.changes.remove(&id.key);
            diff.seen.remove(&id.key);
            diff.held.push(Held {
                what: HeldWhat::Resource(id.clone()),
                why,
            });
        }
    }

    /// Fills the needs of changes: what they need that changes too, also through what does not change.
    fn fill_needs(&mut self) {
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

    /// Where too many hosts are down already, nothing that disrupts goes on, nor what needs it.
    fn hold_without_room(&mut self) {
        let whole = self.input.inventory.hosts.len();
        let most = self.input.inventory.policy.down_max.of(whole);
        if self.down.len() < most.max(1) && most > 0 {
            return;
        }
        let disrupting: Vec<ResourceId> = self
            .diffs
            .values()
            .flat_map(|diff| diff.changes.values())
            .filter(|change| waves::is_disrupting(change))
            .map(|change| change.target.clone())
            .collect();
        let why = format!(
            "{} of {whole} hosts are down or unknown, and the policy allows {most}",
            self.down.len()
        );
        for id in &disrupting {
            self.hold_change(id, HeldWhy::NoRoom(why.clone()));
        }
        if !disrupting.is_empty() {
            self.hold_what_needs_held();
        }
    }

    fn finish(mut self) -> Plan {
        let input = self.input;
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
        let needs: BTreeMap<ResourceId, BTreeSet<ResourceId>> = changes
            .iter()
            .map(|(id, change)| (id.clone(), change.needs.clone()))
            .collect();
        let ordered = graph::order(&needs, rank);
        let waves = waves::WaveInput {
            inventory: input.inventory,
            ordered,
            changes: &changes,
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
            inputs: input.inputs.clone(),
            hosts: hosts.collect(),
            basis,
            changes,
            takes,
            waves,
            held: self.held,
            notes: self.notes,
            policy: input.inventory.policy.clone(),
            fleet_size: input.inventory.hosts.len(),
            limited_to: input
                .limit
                .as_ref()
                .map(|(selector, hosts)| (selector.clone(), hosts.len())),
            inventory_file: input.inventory.file.clone(),
        }
    }

    fn basis(&self, host: &HostId, seen: BTreeMap<ResourceKey, Digest>) -> Basis {
        let view = self.input.seen.hosts.get(host);
        let manifest = view.and_then(|view| view.manifest.present());
        let reads_facts = self
            .input
            .desired
            .hosts
            .get(host)
            .is_some_and(|desired| desired.reads_facts);
        let facts = view.and_then(|view| view.facts.as_ref()).filter(|_| reads_facts);
        Basis {
            lineage: manifest.map(|manifest| manifest.lineage.clone()),
            generation: manifest.map_or(0, |manifest| manifest.generation),
            former: manifest
                .map(|manifest| (manifest.fleet.clone(), manifest.host.clone()))
                .filter(|former| *former != (self.input.inventory.name.clone(), host.clone())),
            facts: facts.map(Digest::of_value),
            seen,
        }
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

/// Returns every output that is known: from manifests, else from what producers say now.
pub fn outputs(desired: &Desired, seen: &Observation) -> BTreeMap<OutputRef, String> {
    let mut known = BTreeMap::new();
    for (host, view) in &seen.hosts {
        let desired = desired.hosts.get(host).map(|desired| &desired.entries);
        for (key, entry) in desired
            .into_iter()
            .flatten()
            .filter(|(_, entry)| !entry.spec.declared_outputs().is_empty())
        {
            let answers = view.answers.get(key).map(|answers| entry.spec.read(answers));
            if let Some(Observed::Present(actual)) = answers {
                let outputs = entry.spec.outputs(&actual).into_iter();
                known.extend(outputs.map(|(output, value)| {
                    (
                        OutputRef {
                            resource: key.on(host),
                            output,
                        },
                        value,
                    )
                }));
            }
        }
        for (key, owned) in view
            .manifest
            .present()
            .into_iter()
            .flat_map(|manifest| &manifest.owned)
        {
            let outputs = owned.outputs.iter();
            known.extend(outputs.map(|(output, value)| {
                (
                    OutputRef {
                        resource: key.on(host),
                        output: output.clone(),
                    },
                    value.clone(),
                )
            }));
        }
    }
    known
}

/// Says whether a change alters what a consumer reads, and not only who may read it.
fn changes_content(change: &Change) -> bool {
    let only_attributes = |field: &str| ["owner", "group", "mode"].contains(&field);
    match change.action {
        Action::Create | Action::Replace | Action::Delete => true,
        Action::Update => change.fields.iter().any(|field| !only_attributes(&field.field)),
        Action::Forget => false,
    }
}

/// Ranks kinds so that neighbours batch well and services start late, where needs leave a choice.
fn rank(id: &ResourceId) -> usize {
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
    ];
    order
        .iter()
        .position(|kind| *kind == id.key.kind.as_str())
        .unwrap_or(order.len())
}

#[cfg(test)]
pub(crate) mod fixture {
    use crate::model::module::Module;

    /// Makes a module that declares nothing.
    pub fn module(name: &str) -> Module {
        Module {
            name: name.parse().expect("test names are names"),
            description: String::new(),
            needs: Vec::new(),
            inputs: Vec::new(),
            derived: Vec::new(),
            declared: Vec::new(),
            rules: Vec::new(),
            listeners: Vec::new(),
            gates: Vec::new(),
            moved: Vec::new(),
            templates: Default::default(),
            files: Default::default(),
            data: Default::default(),
            file: format!("modules/{name}/module.toml"),
        }
    }
}
