//! Plans: everything decided, nothing left to think about when they are applied.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::aim::Aimed;
use super::change::{Change, Keep};
use super::digest::{Digest, canonical_json};
use super::hook::Hook;
use super::id::{FleetName, HostId, PlanId, ResourceId, ResourceKey, RunId};
use super::manifest::Owned;
use super::op::Probe;
use super::switch::Switch;
use super::target::Target;
use super::wave::{RolloutPolicy, Wave};

/// The number of the form in which plans are saved.
pub const PLAN_FORMAT: u32 = 4;

/// What would be done to a fleet, and on what ground.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The fleet.
    pub fleet: FleetName,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Purpose::is_declared")]
    pub purpose: Purpose,
    /// The digests of the files that it was made from, by path.
    pub inputs: BTreeMap<String, Digest>,
    /// What it rests on, by host that it changes.
    pub basis: BTreeMap<HostId, Basis>,
    /// What is done, by resource.
    pub changes: BTreeMap<ResourceId, Change>,
    /// What is only recorded: things found as declared that no manifest knows yet.
    pub takes: BTreeMap<HostId, Vec<Take>>,
    /// When it is done.
    pub waves: Vec<Wave>,
    /// What is made under a dead-man switch, by host: one switch for all that may cut us off from it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub switches: BTreeMap<HostId, Switch>,
    /// What is wanted and not planned.
    pub held: Vec<Held>,
    /// What the reader should know.
    pub notes: Vec<Note>,
    /// How its hosts are reached.
    pub hosts: BTreeMap<HostId, Target>,
    /// What is called around its run, in the order of the inventory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<Hook>,
    /// The policy that it was cut by.
    pub policy: RolloutPolicy,
    /// How many hosts the fleet has in all.
    pub fleet_size: usize,
    /// The selector that limited it, if one did, with the number of hosts that it picked.
    pub limited_to: Option<(String, usize)>,
    /// The resources that it was limited to, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aimed: Option<Aimed>,
    /// The folder of the inventory, from which secret files are found, as given on the command line.
    pub inventory_file: String,
}

/// What the changes of one host rest on. No clocks, no uptimes, no boot ids.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Basis {
    /// The manifest's lineage; `None` where there was no manifest.
    pub lineage: Option<String>,
    /// The manifest's generation; 0 where there was none.
    pub generation: u64,
    /// The fleet and the name under which the manifest knows the host, where those are not the inventory's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<(FleetName, HostId)>,
    /// The digest of each fact of this host that a template read, by its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, Digest>,
    /// The digest of what was there, for every resource that the plan changes.
    pub seen: BTreeMap<ResourceKey, Digest>,
}

/// Something found as declared, which the manifest will know from now on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Take {
    /// The resource.
    pub key: ResourceKey,
    /// What is wanted, in its kind's own form.
    pub spec: serde_json::Value,
    /// The entry's further fields.
    pub keep: Keep,
    /// What is looked at to tell what is there.
    pub probes: Vec<Probe>,
    /// The digest of what is there.
    pub after: Digest,
    /// Values that it produced, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, String>,
    /// What the manifest says of it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<Owned>,
}

/// What a plan is for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// To make the fleet what is declared.
    #[default]
    Declared,
    /// To take back what a run did.
    Rollback(RunId),
    /// To take away what muster made.
    Destroy,
}

impl Purpose {
    fn is_declared(&self) -> bool {
        *self == Self::Declared
    }
}

/// Something that is wanted and not planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The host, or one resource of it.
    pub what: HeldWhat,
    /// Why not.
    pub why: HeldWhy,
}

/// What is held.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldWhat {
    /// Everything on a host.
    Host(HostId),
    /// One resource.
    Resource(ResourceId),
}

impl fmt::Display for HeldWhat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => write!(f, "{host}"),
            Self::Resource(resource) => write!(f, "{resource}"),
        }
    }
}

/// Why something is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldWhy {
    /// The host did not answer.
    Unreachable(String),
    /// It could not be read.
    Unknown(String),
    /// The machine is not what the inventory says, or its manifest is damaged or gone.
    NotOurs(String),
    /// It is no longer declared, and was changed by hand since muster made it.
    ChangedByHand,
    /// `protect = true` refuses it.
    Protected,
    /// It may never be deleted, or not without `delete = true`.
    Kept(String),
    /// It needs something that is held.
    Needs(ResourceId),
    /// It would wipe something that is held, and so could not be made again in the same plan.
    Wipes(ResourceId),
    /// It exists only because of a value that is not known yet: apply, then plan again.
    AfterApply(String),
    /// It may cut us off, and no dead-man switch could take it back.
    NoSwitch(String),
    /// The policy leaves no room: too many hosts are down already.
    NoRoom(String),
    /// A tool is missing on the host.
    MissingTool(String),
    /// It would change and was left out by the caller, though something that is wanted rests on it.
    LeftOut(String),
    /// What is there is no longer what the run left, and why that is so.
    ChangedSince(String),
    /// What the run kept for its undo is no longer there.
    UndoExpired(RunId),
    /// Nothing can undo it, and why.
    CannotUndo(String),
}

impl fmt::Display for HeldWhy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "unreachable: {why}"),
            Self::Unknown(why) => write!(f, "could not be read: {why}"),
            Self::NotOurs(why) => f.write_str(why),
            Self::ChangedByHand => f.write_str(
                "no longer declared, but changed by hand since muster made it; delete or keep it yourself",
            ),
            Self::Protected => f.write_str("`protect = true` refuses to delete or replace it"),
            Self::Kept(why) => f.write_str(why),
            Self::Needs(id) => write!(f, "needs {id}, which is held"),
            Self::Wipes(id) => write!(f, "would wipe {id}, which is held"),
            Self::AfterApply(why) => write!(f, "{why}; after apply, plan again"),
            Self::NoSwitch(why) => write!(
                f,
                "may cut us off, and cannot be put under the dead-man switch: {why}"
            ),
            Self::NoRoom(why) => f.write_str(why),
            Self::LeftOut(by) => f.write_str(by),
            Self::MissingTool(tool) => write!(f, "`{tool}` is missing on the host"),
            Self::ChangedSince(why) => write!(f, "{why}; it stays as it is"),
            Self::UndoExpired(run) => write!(
                f,
                "what run {run} kept for its undo is gone; a host keeps that of the last five runs"
            ),
            Self::CannotUndo(why) => write!(f, "cannot be undone: {why}"),
        }
    }
}

/// Something that the reader of a plan should know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Note {
    /// What it speaks of, such as a host.
    pub subject: String,
    /// One clause.
    pub text: String,
}

/// Numbers of a plan, for its last line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// Resources to create.
    pub create: usize,
    /// Resources to change in place.
    pub change: usize,
    /// Resources to replace.
    pub replace: usize,
    /// Resources to delete.
    pub delete: usize,
    /// Resources to forget.
    pub forget: usize,
    /// Hosts that are changed.
    pub hosts: usize,
    /// Waves.
    pub waves: usize,
    /// Resources and hosts that are held.
    pub held: usize,
}

impl Plan {
    /// Returns the digest of the plan's canonical form; equal inputs give equal digests.
    ///
    /// It is that of [`Digest::of_value`], made change by change: as one value, a plan of thousands of changes takes many times its
    /// size.
    pub fn digest(&self) -> Digest {
        let mut changes: Vec<(String, &Change)> = self
            .changes
            .iter()
            .map(|(id, change)| (id.to_string(), change))
            .collect();
        changes.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
        let mut parts = Digest::in_parts();
        let name = |name: &str, separator: &str| format!("{separator}{}:", serde_json::Value::from(name));
        let mut separator = "{";
        for (field, value) in self.without_changes().sorted_fields() {
            parts.add(&name(&field, separator));
            separator = ",";
            if field != "changes" {
                parts.add(&canonical_json(&value));
                continue;
            }
            parts.add("{");
            for (at, (id, change)) in changes.iter().enumerate() {
                parts.add(&name(id, if at == 0 { "" } else { "," }));
                parts.add(&canonical_json(change));
            }
            parts.add("}");
        }
        parts.add("}");
        parts.finish()
    }

    /// Returns the plan with none of its changes, which are what is long about it.
    pub fn without_changes(&self) -> Self {
        Self {
            changes: BTreeMap::new(),
            fleet: self.fleet.clone(),
            purpose: self.purpose.clone(),
            inputs: self.inputs.clone(),
            basis: self.basis.clone(),
            takes: self.takes.clone(),
            waves: self.waves.clone(),
            switches: self.switches.clone(),
            held: self.held.clone(),
            notes: self.notes.clone(),
            hosts: self.hosts.clone(),
            policy: self.policy.clone(),
            fleet_size: self.fleet_size,
            limited_to: self.limited_to.clone(),
            aimed: self.aimed.clone(),
            hooks: self.hooks.clone(),
            inventory_file: self.inventory_file.clone(),
        }
    }

    fn sorted_fields(&self) -> BTreeMap<String, serde_json::Value> {
        let value = serde_json::to_value(self).expect("plans serialise to JSON: no maps with odd keys");
        match value {
            serde_json::Value::Object(fields) => fields.into_iter().collect(),
            _ => unreachable!("a plan has fields"),
        }
    }

    /// Returns the plan's name: the first twelve digits of its digest.
    pub fn id(&self) -> PlanId {
        PlanId::of(&self.digest())
    }

    /// Counts.
    pub fn sums(&self) -> Sums {
        use super::change::Action;
        let count = |action| {
            self.changes
                .values()
                .filter(|change| change.action == action)
                .count()
        };
        Sums {
            create: count(Action::Create),
            change: count(Action::Update),
            replace: count(Action::Replace),
            delete: count(Action::Delete),
            forget: count(Action::Forget),
            hosts: self.changed_hosts().len(),
            waves: self.waves.len(),
            held: self.held.len(),
        }
    }

    /// Returns the switch that a change is made under, if it is.
    pub fn switch_of(&self, change: &ResourceId) -> Option<&Switch> {
        let switch = self.switches.get(&change.host)?;
        switch.changes.contains(change).then_some(switch)
    }

    /// Returns the hosts that the plan changes.
    pub fn changed_hosts(&self) -> std::collections::BTreeSet<&HostId> {
        self.changes.keys().map(|id| &id.host).collect()
    }
}
