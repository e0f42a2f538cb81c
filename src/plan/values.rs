//! Values: which layer gives an input its value on a host. Fleet, groups, hosts, `--var`, over the module's default.
//!
//! Each given value is read once by its input's shape, however many hosts it reaches; a mistake is said once, at the
//! line that made it. Knows nothing of templates: `desire` takes the result from here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::model::diagnostic::{Diagnostics, Place};
use crate::model::id::{GroupName, HostId, ModuleName};
use crate::model::inventory::Inventory;
use crate::model::module::Module;
use crate::model::secret::SecretSource;
use crate::model::value::Value;

mod layers;
mod needs;
mod trouble;
mod unused;

/// The values of every input of every module on every host that uses it.
#[derive(Debug, Clone, Default)]
pub struct Resolved<'a> {
    hosts: BTreeMap<&'a HostId, BTreeMap<&'a ModuleName, Inputs<'a>>>,
}

/// The values of a module's inputs by name. An input whose value is missing or wrong is not in it.
pub type Inputs<'a> = BTreeMap<&'a str, Valued<'a>>;

/// An input's value on a host, and where it comes from.
#[derive(Debug, Clone)]
pub struct Valued<'a> {
    /// The value. Layers that reach many hosts share one.
    pub value: Arc<Value>,
    /// Every layer that set it, the lowest first. Empty for an optional input that nobody set.
    pub layers: Vec<LayerValue<'a>>,
}

/// What one layer said of an input.
#[derive(Debug, Clone)]
pub struct LayerValue<'a> {
    /// The layer.
    pub layer: Layer<'a>,
    /// The value as it was given.
    pub given: &'a toml::Value,
    /// Where; `None` for the environment and the command line.
    pub place: Option<&'a Place>,
    /// The variable of the environment that set it, if one did.
    pub variable: Option<&'a str>,
    /// Whether this is the one that holds.
    pub won: bool,
    is_secret: bool,
}

/// A layer of values. The order is that of precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer<'a> {
    /// The module's default.
    Default,
    /// `[values]` of the inventory.
    Fleet,
    /// The values of a group.
    Group(&'a GroupName),
    /// The host's own.
    Host,
    /// `MUSTER_VAR_*`.
    Environment,
    /// `--var-file`.
    VarFile,
    /// `--var`.
    Var,
}

impl fmt::Display for Layer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("module default"),
            Self::Fleet => f.write_str("fleet"),
            Self::Group(group) => write!(f, "group {group}"),
            Self::Host => f.write_str("host"),
            Self::Environment => f.write_str("environment"),
            Self::VarFile => f.write_str("--var-file"),
            Self::Var => f.write_str("--var"),
        }
    }
}

impl LayerValue<'_> {
    /// Returns the value for people. What should be a secret's source and is not stays unsaid.
    pub fn shown(&self) -> String {
        let is_source = |text: &str| text.parse::<SecretSource>().is_ok();
        match (self.is_secret, self.given) {
            (true, toml::Value::String(text)) if is_source(text) => text.clone(),
            (true, _) => "(not shown)".to_owned(),
            (false, given) => given.to_string(),
        }
    }
}

impl<'a> Valued<'a> {
    /// Returns the place of the value that holds, for the caret of whatever is wrong with it.
    pub fn place(&self) -> Option<&'a Place> {
        self.layers.iter().find(|layer| layer.won)?.place
    }
}

impl<'a> Resolved<'a> {
    /// Returns the values of a module on a host; `None` where the module is not used.
    pub fn of(&self, host: &HostId, module: &ModuleName) -> Option<&Inputs<'a>> {
        self.hosts.get(host)?.get(module)
    }

    /// Returns the modules of a host with their values, in order of their names.
    pub fn modules_of(&self, host: &HostId) -> impl Iterator<Item = (&'a ModuleName, &Inputs<'a>)> {
        self.hosts
            .get(host)
            .into_iter()
            .flatten()
            .map(|(module, inputs)| (*module, inputs))
    }
}

/// Finds the value of every input of every module on every host that uses it.
///
/// Modules that do not exist are left out: loading has named them. With errors among the diagnostics the result is
/// still as complete as it can be, so that further mistakes are found in the same run.
///
/// # Errors
/// Diagnostics `M0106`, `M0110`, `M0301`, `M0302`, `M0303`, `M0314` and `M0702`.
pub fn resolve<'a>(
    inventory: &'a Inventory,
    modules: &'a BTreeMap<ModuleName, Module>,
    diagnostics: &mut Diagnostics,
) -> Resolved<'a> {
    let used = used_on(inventory, modules);
    let mut resolved = Resolved::default();
    for (name, hosts) in &used {
        let module = &modules[*name];
        let mut values: BTreeMap<&HostId, Inputs<'_>> =
            hosts.iter().map(|host| (*host, Inputs::new())).collect();
        for input in &module.inputs {
            let layers = layers::Layers::read(inventory, module, input, hosts, diagnostics);
            let mut trouble = trouble::Trouble::default();
            for (host, inputs) in &mut values {
                if let Some(valued) = layers.on(host, &mut trouble) {
                    inputs.insert(&input.name, valued);
                }
            }
            trouble.report(inventory, module, input, diagnostics);
        }
        for (host, inputs) in values {
            resolved.hosts.entry(host).or_default().insert(name, inputs);
        }
    }
    needs::report(inventory, modules, &used, diagnostics);
    unused::report(inventory, modules, &used, diagnostics);
    resolved
}

/// Which hosts use which module.
type Used<'a> = BTreeMap<&'a ModuleName, BTreeSet<&'a HostId>>;

fn used_on<'a>(inventory: &'a Inventory, modules: &BTreeMap<ModuleName, Module>) -> Used<'a> {
    let mut used = Used::new();
    for entry in inventory
        .uses
        .iter()
        .filter(|entry| modules.contains_key(&entry.module))
    {
        used.entry(&entry.module).or_default().extend(&entry.hosts);
    }
    used
}
