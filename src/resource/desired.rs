//! Desired: what every host must be, rendered and checked.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::diagnostic::Place;
use crate::model::gate::Gate;
use crate::model::id::{HostId, ModuleName, ResourceId, ResourceKey};

use super::Spec;

/// What a fleet must be.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Desired {
    /// The hosts, each with its resources. A host without resources stands here too.
    pub hosts: BTreeMap<HostId, DesiredHost>,
}

/// What one host must be.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DesiredHost {
    /// The resources by key.
    pub entries: BTreeMap<ResourceKey, Entry>,
    /// Old names by new ones.
    pub moved: BTreeMap<ResourceKey, ResourceKey>,
    /// Why this host's resources could not be said, where they need facts of a host that does not answer.
    pub held: Option<String>,
    /// The facts of this host that templates read, on whatever host, so that its basis holds them.
    pub facts_read: BTreeSet<String>,
}

/// One declared resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// What is declared.
    pub spec: Spec,
    /// What must be there before, on whatever host: declared, implied by the kind, or by an output in it.
    pub needs: BTreeSet<ResourceId>,
    /// What it consumes at its start.
    pub restart_on: BTreeSet<ResourceId>,
    /// What wipes it when it changes.
    pub loses_on: BTreeSet<ResourceId>,
    /// Whether deletion and replacement are refused.
    pub protect: bool,
    /// Whether it may be deleted though its kind is otherwise kept.
    pub delete: bool,
    /// Fields that are left to others.
    pub ignore: BTreeSet<String>,
    /// What must hold after it has changed.
    pub gates: Vec<Gate>,
    /// The modules that declare it.
    pub modules: BTreeSet<ModuleName>,
    /// Where it is declared.
    pub origins: Vec<Place>,
}

impl Desired {
    /// Returns an entry.
    pub fn get(&self, id: &ResourceId) -> Option<&Entry> {
        self.hosts.get(&id.host)?.entries.get(&id.key)
    }

    /// Returns every resource in order.
    pub fn iter(&self) -> impl Iterator<Item = (ResourceId, &Entry)> {
        self.hosts.iter().flat_map(|(host, desired)| {
            desired
                .entries
                .iter()
                .map(move |(key, entry)| (key.on(host), entry))
        })
    }
}
