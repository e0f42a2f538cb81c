//! The layers of one input: every given value read once, then the one that holds on each host.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::code;
use crate::model::diagnostic::{Diagnostic, Diagnostics, did_you_mean};
use crate::model::id::{GroupName, HostId};
use crate::model::inventory::{Given, GivenAt, Inventory, ValueKey, Values};
use crate::model::module::{Input, Module};
use crate::model::value::{Misfit, Value};

use super::trouble::Trouble;
use super::{Layer, LayerValue, Valued};

/// What `muster init` writes where only a person knows the value. Loading names each that is left.
const PLACEHOLDER: &str = "<FILLIN>";

/// A given value and what it means.
pub(super) struct Entry<'a> {
    /// What was given, and by which layer.
    pub(super) said: LayerValue<'a>,
    /// Whether it was meant for this module alone, which wins over what is meant for all.
    pub(super) is_scoped: bool,
    /// What it means; `None` where it does not fit, which has been reported.
    value: Option<Arc<Value>>,
}

/// Everything that is said of one input of one module.
pub(super) struct Layers<'a> {
    is_optional: bool,
    default: Option<Entry<'a>>,
    fleet: Vec<Entry<'a>>,
    groups: Vec<(&'a BTreeSet<HostId>, Vec<Entry<'a>>)>,
    hosts: BTreeMap<&'a HostId, Vec<Entry<'a>>>,
    vars: Vec<Entry<'a>>,
}

impl<'a> Layers<'a> {
    /// Reads what every layer says, and reports what does not fit.
    pub(super) fn read(
        inventory: &'a Inventory,
        module: &'a Module,
        input: &'a Input,
        hosts: &BTreeSet<&'a HostId>,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let plain = ValueKey {
            module: None,
            input: input.name.clone(),
        };
        let scoped = ValueKey {
            module: Some(module.name.clone()),
            input: input.name.clone(),
        };
        let mut reader = Reader {
            inventory,
            module,
            input,
            keys: [plain, scoped],
            diagnostics,
        };
        Self {
            is_optional: input.is_optional,
            default: reader.default(),
            fleet: reader.layer(Layer::Fleet, &inventory.values),
            groups: reader.groups(),
            hosts: reader.hosts(hosts),
            vars: reader.overrides(),
        }
    }

    /// Returns the value on a host, and notes what is missing or contradictory there.
    pub(super) fn on(&self, host: &'a HostId, trouble: &mut Trouble<'a>) -> Option<Valued<'a>> {
        let of_groups = self.groups.iter().filter(|(members, _)| members.contains(host));
        let mut of_groups: Vec<&Entry<'a>> = of_groups.flat_map(|(_, entries)| entries).collect();
        // Stable: what is meant for this module comes after what is meant for all, groups otherwise by name.
        of_groups.sort_by_key(|entry| entry.is_scoped);
        let above: Vec<&Entry<'a>> = self
            .hosts
            .get(host)
            .into_iter()
            .flatten()
            .chain(&self.vars)
            .collect();
        if above.is_empty() {
            trouble.compare(host, &of_groups);
        }
        let entries = self
            .default
            .iter()
            .chain(&self.fleet)
            .chain(of_groups)
            .chain(above);
        let mut layers = Vec::new();
        let mut holds = None;
        for entry in entries {
            layers.push(entry.said.clone());
            holds = Some(&entry.value);
        }
        match (holds, layers.last_mut()) {
            (Some(value), Some(last)) => {
                last.won = true;
                Some(Valued {
                    value: value.clone()?,
                    layers,
                })
            }
            _ if self.is_optional => Some(Valued {
                value: Arc::new(Value::None),
                layers,
            }),
            _ => {
                trouble.missing(host);
                None
            }
        }
    }
}

/// Reads given values by the shape of one input.
struct Reader<'a, 'd> {
    inventory: &'a Inventory,
    module: &'a Module,
    input: &'a Input,
    keys: [ValueKey; 2],
    diagnostics: &'d mut Diagnostics,
}

impl<'a> Reader<'a, '_> {
    fn default(&mut self) -> Option<Entry<'a>> {
        let given = self.input.default.as_ref()?;
        // A default that does not fit was reported when the module was loaded.
        let value = self
            .input
            .shape
            .read(given)
            .ok()
            .filter(|value| self.hosts_exist(value).is_ok());
        let said = LayerValue {
            layer: Layer::Default,
            given,
            place: Some(&self.input.origin),
            variable: None,
            won: false,
            is_secret: self.input.shape.is_secret(),
        };
        Some(Entry {
            said,
            is_scoped: false,
            value: value.map(Arc::new),
        })
    }

    /// Returns what a layer says: for all modules first, then for this one.
    fn layer(&mut self, layer: Layer<'a>, values: &'a Values) -> Vec<Entry<'a>> {
        let mut entries = Vec::new();
        for index in 0..self.keys.len() {
            if let Some(given) = values.get(&self.keys[index]) {
                let value = self.value(index, given);
                entries.push(self.entry(layer, given, index == 1, value));
            }
        }
        entries
    }

    /// Returns what the environment and the command line say, the lowest layer first.
    fn overrides(&mut self) -> Vec<Entry<'a>> {
        let mut entries = Vec::new();
        for values in &self.inventory.overrides {
            let layer = match values.values().next().map(|given| &given.origin) {
                Some(GivenAt::Environment(_)) => Layer::Environment,
                Some(GivenAt::File(_)) => Layer::VarFile,
                Some(GivenAt::Flag(_)) | None => Layer::Var,
            };
            entries.extend(self.layer(layer, values));
        }
        entries
    }

    fn groups(&mut self) -> Vec<(&'a BTreeSet<HostId>, Vec<Entry<'a>>)> {
        let groups = self.inventory.groups.iter();
        let read =
            groups.map(|(name, group)| (&group.members, self.layer(Layer::Group(name), &group.values)));
        read.filter(|(_, entries)| !entries.is_empty()).collect()
    }

    fn hosts(&mut self, hosts: &BTreeSet<&'a HostId>) -> BTreeMap<&'a HostId, Vec<Entry<'a>>> {
        let declared = hosts.iter().filter_map(|id| self.inventory.hosts.get(*id));
        let read = declared.map(|host| (&host.id, self.layer(Layer::Host, &host.values)));
        read.filter(|(_, entries)| !entries.is_empty()).collect()
    }

    fn entry(&self, layer: Layer<'a>, given: &'a Given, is_scoped: bool, value: Option<Value>) -> Entry<'a> {
        let variable = match &given.origin {
            GivenAt::Environment(name) => Some(name.as_str()),
            GivenAt::File(_) | GivenAt::Flag(_) => None,
        };
        let said = LayerValue {
            layer,
            given: &given.value,
            place: given.origin.place(),
            variable,
            won: false,
            is_secret: self.input.shape.is_secret(),
        };
        Entry {
            said,
            is_scoped,
            value: value.map(Arc::new),
        }
    }

    fn value(&mut self, key: usize, given: &Given) -> Option<Value> {
        if has_placeholder(&given.value) {
            return None;
        }
        let read = self.read(given);
        let checked = read.and_then(|value| self.hosts_exist(&value).map(|()| value));
        checked.map_err(|wrong| self.report(key, given, wrong)).ok()
    }

    /// Reads a value. What the environment or the command line says is text, so it is tried as TOML first.
    fn read(&self, given: &Given) -> Result<Value, Wrong> {
        let shape = &self.input.shape;
        let as_toml = |text: &str| shape.read(&text.parse::<toml::Value>().ok()?).ok();
        match (&given.origin, &given.value) {
            (GivenAt::Flag(_) | GivenAt::Environment(_), toml::Value::String(text)) => as_toml(text)
                .map_or_else(|| shape.read(&given.value), Ok)
                .map_err(Wrong::Misfit),
            _ => shape.read(&given.value).map_err(Wrong::Misfit),
        }
    }

    fn hosts_exist(&self, value: &Value) -> Result<(), Wrong> {
        match value {
            Value::Host(host) if !self.inventory.hosts.contains_key(host) => Err(Wrong::NoHost(host.clone())),
            Value::List(items) => items.iter().try_for_each(|item| self.hosts_exist(item)),
            Value::Map(items) => items.values().try_for_each(|item| self.hosts_exist(item)),
            Value::None
            | Value::Text(_)
            | Value::Int(_)
            | Value::Bool(_)
            | Value::Host(_)
            | Value::Secret(_) => Ok(()),
        }
    }

    fn report(&mut self, key: usize, given: &Given, wrong: Wrong) {
        let subject = format!(
            "value `{}` of module `{}`",
            self.keys[key].input, self.module.name
        );
        let known = self.inventory.hosts.keys().map(HostId::as_str);
        let found = match &wrong {
            Wrong::Misfit(Misfit::Secret) => {
                Diagnostic::error(code::BAD_SECRET_SOURCE, format!("{subject}: {wrong}"))
                    .hint("keep the secret elsewhere and write its source, such as `env:NAME`")
            }
            Wrong::Misfit(Misfit::Other { .. }) => {
                Diagnostic::error(code::BAD_VALUE, format!("{subject}: {wrong}"))
                    .hint_opt((!self.input.doc.is_empty()).then(|| format!("what it is: {}", self.input.doc)))
            }
            Wrong::NoHost(host) => Diagnostic::error(code::UNKNOWN_HOST, format!("{subject}: {wrong}"))
                .hint_opt(did_you_mean(host.as_str(), known)),
        };
        let found = match &given.origin {
            GivenAt::File(place) => found.at(place.clone(), "set here"),
            by => found.because(format!("set by `{by}`")),
        };
        self.diagnostics
            .push(found.and(self.input.origin.clone(), "the input is declared here"));
    }
}

/// Why a value cannot be used.
#[derive(Debug, thiserror::Error)]
enum Wrong {
    #[error("{0}")]
    Misfit(Misfit),
    #[error("there is no host `{0}`")]
    NoHost(HostId),
}

fn has_placeholder(value: &toml::Value) -> bool {
    match value {
        toml::Value::String(text) => text.contains(PLACEHOLDER),
        toml::Value::Array(items) => items.iter().any(has_placeholder),
        toml::Value::Table(table) => table.values().any(has_placeholder),
        toml::Value::Integer(_)
        | toml::Value::Float(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_) => false,
    }
}

impl<'a> Entry<'a> {
    /// Returns the group that said it.
    pub(super) fn group(&self) -> Option<&'a GroupName> {
        match self.said.layer {
            Layer::Group(name) => Some(name),
            Layer::Default
            | Layer::Fleet
            | Layer::Host
            | Layer::Environment
            | Layer::VarFile
            | Layer::Var => None,
        }
    }
}
