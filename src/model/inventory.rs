//! The inventory: what people declare of their fleet, read and checked, before any module is applied.

use std::collections::{BTreeMap, BTreeSet};

use super::diagnostic::Place;
use super::hook::Hook;
use super::id::{FleetName, GroupName, HostId, ModuleName, ResourceKey};
use super::registry::Images;
use super::selector::{Field, Selector};
use super::target::Target;
use super::wave::RolloutPolicy;

/// A fleet as declared.
#[derive(Debug, Clone)]
pub struct Inventory {
    /// The fleet's name.
    pub name: FleetName,
    /// The path of the main file as people know it.
    pub file: String,
    /// The hosts by name.
    pub hosts: BTreeMap<HostId, Host>,
    /// The groups by name.
    pub groups: BTreeMap<GroupName, Group>,
    /// The values of the fleet layer.
    pub values: Values,
    /// The layers above those of the files, the lowest first: `MUSTER_VAR_*`, each `--var-file`, `--var`.
    pub overrides: Vec<Values>,
    /// Which modules go where, in the order of the files.
    pub uses: Vec<Use>,
    /// What is called around plans and runs, in the order of the files.
    pub hooks: Vec<Hook>,
    /// How rollouts go.
    pub policy: RolloutPolicy,
    /// Where images come from, and which digests their tags mean.
    pub images: Images,
    /// Hosts that have left.
    pub retired: Vec<Retired>,
    /// Where the age identity lies that opens encrypted values; `~` allowed.
    pub age_identity: Option<String>,
}

/// A host as declared.
#[derive(Debug, Clone)]
pub struct Host {
    /// Its name.
    pub id: HostId,
    /// How it is reached.
    pub target: Target,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The values of its own layer.
    pub values: Values,
    /// The name under which muster knew it before.
    pub renamed_from: Option<HostId>,
    /// Where it is declared.
    pub origin: Place,
}

/// A group as declared, its members found.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its hosts.
    pub members: BTreeSet<HostId>,
    /// The values of its layer.
    pub values: Values,
    /// Where it is declared.
    pub origin: Place,
}

/// The values of one layer by key: `port`, or `module.port` where a value is meant for one module only.
pub type Values = BTreeMap<ValueKey, Given>;

/// The name of a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ValueKey {
    /// The module that alone takes it; `None` is every module with an input of that name.
    pub module: Option<ModuleName>,
    /// The input.
    pub input: String,
}

impl std::fmt::Display for ValueKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.module {
            Some(module) => write!(f, "{module}.{}", self.input),
            None => f.write_str(&self.input),
        }
    }
}

/// A value as somebody gave it.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// The value, as TOML has it.
    pub value: toml::Value,
    /// Where it was given.
    pub origin: GivenAt,
}

/// Where a value was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GivenAt {
    /// In a file.
    File(Place),
    /// On the command line, under this key.
    Flag(String),
    /// In this variable of the environment.
    Environment(String),
}

impl GivenAt {
    /// Returns the place, where there is a line to point to.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::File(place) => Some(place),
            Self::Flag(_) | Self::Environment(_) => None,
        }
    }
}

impl std::fmt::Display for GivenAt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(place) => write!(f, "{place}"),
            Self::Flag(key) => write!(f, "--var {key}"),
            Self::Environment(name) => f.write_str(name),
        }
    }
}

/// A module in use.
#[derive(Debug, Clone)]
pub struct Use {
    /// The module.
    pub module: ModuleName,
    /// Where it goes.
    pub on: Selector,
    /// The hosts that the selector picks.
    pub hosts: BTreeSet<HostId>,
    /// Where this is said.
    pub origin: Place,
}

/// A host that has left the fleet: muster knows it, and does nothing there.
#[derive(Debug, Clone)]
pub struct Retired {
    /// The name that it had.
    pub host: HostId,
    /// Why and when, for people.
    pub note: Option<String>,
    /// Where this is said.
    pub origin: Place,
}

/// A resource that got another name: what the manifest knows as `from` is now `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// The name in the manifest.
    pub from: ResourceKey,
    /// The name now declared.
    pub to: ResourceKey,
    /// Where this is said.
    pub origin: Place,
}

impl Inventory {
    /// Returns the hosts that a selector picks from.
    pub fn field<'a>(&'a self, groups: &'a BTreeMap<GroupName, BTreeSet<HostId>>) -> Field<'a> {
        Field {
            hosts: self.hosts.iter().map(|(id, host)| (id, &host.labels)).collect(),
            groups,
        }
    }

    /// Returns the members of every group.
    pub fn members(&self) -> BTreeMap<GroupName, BTreeSet<HostId>> {
        self.groups
            .iter()
            .map(|(name, group)| (name.clone(), group.members.clone()))
            .collect()
    }

    /// Returns the hosts that a selector picks, in order.
    ///
    /// # Errors
    /// As [`Selector::resolve`].
    pub fn select(&self, selector: &Selector) -> Result<BTreeSet<HostId>, super::selector::SelectorError> {
        let members = self.members();
        selector.resolve(&self.field(&members))
    }

    /// Returns the modules that are used on a host, in the order of the files, each once.
    pub fn modules_of(&self, host: &HostId) -> Vec<&Use> {
        let mut seen = BTreeSet::new();
        self.uses
            .iter()
            .filter(|used| used.hosts.contains(host) && seen.insert(&used.module))
            .collect()
    }
}
