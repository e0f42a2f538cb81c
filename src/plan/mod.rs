//! The planner: desired × observation × policy → plan. Pure: equal inputs give equal bytes.
//!
//! [`desire::desire`] says what every host must be; [`plan`] says what differs, in which order and in which waves.
//! Nothing here reads a clock, a file or the network.

pub mod claims;
mod connection;
pub mod desire;
pub mod diff;
pub mod graph;
pub mod listeners;
pub mod reference;
pub mod rollback;
pub mod scope;
mod section;
pub mod template;
pub mod values;
pub mod waves;
mod work;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::aim::Aims;
use crate::model::code;
use crate::model::diagnostic::{Diagnostic, Diagnostics};
use crate::model::digest::{Digest, Fingerprint};
use crate::model::id::{HostId, OutputRef};
use crate::model::inventory::Inventory;
use crate::model::observation::{Observation, Observed};
use crate::model::plan::Plan;
use crate::resource::desired::Desired;

use work::Work;

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
    /// The resources that may be changed, and those that may not.
    pub aims: &'a Aims,
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
/// Diagnostics where two hosts of the inventory are one machine: nothing may be changed then. And where an aim means nothing.
pub fn plan(input: &PlanInput<'_>) -> Result<Plan, Diagnostics> {
    let twins = same_machines(input);
    if twins.has_errors() {
        return Err(twins);
    }
    let mut work = Work::new(input);
    work.compare_all();
    work.aim()?;
    work.replan_what_is_lost();
    work.hold_what_nobody_produces();
    work.hold_what_needs_held();
    work.hold_without_room();
    work.fill_needs();
    work.hold_without_switch();
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
