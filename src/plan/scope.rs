//! Scopes: what a template sees, looked up when it is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};

use minijinja::value::{Enumerator, Object, ObjectRepr, Serde};
use minijinja::{Error, ErrorKind, State, Value};

use crate::model::id::{GroupName, HostId, ModuleName, OutputRef};
use crate::model::observation::Facts;
use crate::model::selector::{Field, Selector};

use super::reference::Reference;
use super::template;

/// Begins the detail of an error that stands for facts which nobody has gathered yet. Names the host.
pub const FACTS_WANTED: &str = "\u{1}facts of ";

/// What templates of any host may read of the fleet.
pub struct Fleet {
    /// The fleet's name.
    pub name: String,
    /// The hosts.
    pub hosts: BTreeMap<HostId, HostScope>,
    /// The members of the groups.
    pub groups: BTreeMap<GroupName, BTreeSet<HostId>>,
    /// Facts that were gathered.
    pub facts: BTreeMap<HostId, Facts>,
    /// The names of the facts that were read, by host.
    pub facts_read: Mutex<BTreeMap<HostId, BTreeSet<String>>>,
    /// The data files of each module.
    pub data: BTreeMap<ModuleName, Value>,
    /// Selections that were made already.
    pub selections: Mutex<BTreeMap<String, Value>>,
}

/// What templates may read of one host.
pub struct HostScope {
    /// Its address, `127.0.0.1` for this machine.
    pub address: String,
    /// Its port.
    pub port: u16,
    /// Its account.
    pub user: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The values of its modules.
    pub modules: BTreeMap<ModuleName, ModuleValues>,
}

/// The values of one module on one host.
#[derive(Default)]
pub struct ModuleValues {
    /// Inputs by name.
    pub inputs: BTreeMap<String, InputValue>,
    /// Derived values by name, once they are all known.
    pub derived: OnceLock<BTreeMap<String, Value>>,
}

/// The value of an input.
pub enum InputValue {
    /// Anything but a host.
    Plain(Value),
    /// A host, which templates see whole.
    Host(HostId),
}

impl InputValue {
    fn value(&self, fleet: &Arc<Fleet>) -> Value {
        match self {
            Self::Plain(value) => value.clone(),
            Self::Host(host) => fleet.host(host.clone()),
        }
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fleet {}", self.name)
    }
}

impl Fleet {
    /// Returns a host's facts, or a value that is an error as soon as it is used.
    fn facts_of(self: &Arc<Self>, host: &HostId) -> Value {
        match self.facts.get(host) {
            Some(facts) => Value::from_object(FactsValue {
                fleet: self.clone(),
                host: host.clone(),
                facts: Value::from(Serde(facts)),
            }),
            None => Error::new(ErrorKind::InvalidOperation, format!("{FACTS_WANTED}{host}")).into(),
        }
    }

    fn note_fact(&self, host: &HostId, name: &str) {
        let mut read = self
            .facts_read
            .lock()
            .expect("no template panics while it holds the lock");
        read.entry(host.clone()).or_default().insert(name.to_owned());
    }

    fn select(self: &Arc<Self>, text: &str) -> Result<Value, Error> {
        let mut selections = self
            .selections
            .lock()
            .expect("no template panics while it holds the lock");
        if let Some(found) = selections.get(text) {
            return Ok(found.clone());
        }
        let invalid = |error: &dyn fmt::Display| Error::new(ErrorKind::InvalidOperation, error.to_string());
        let selector: Selector = text.parse().map_err(|error| invalid(&error))?;
        let hosts = self.hosts.iter().map(|(id, host)| (id, &host.labels)).collect();
        let picked = selector
            .resolve(&Field {
                hosts,
                groups: &self.groups,
            })
            .map_err(|error| invalid(&error))?;
        let found: Value = picked
            .into_iter()
            .map(|host| self.host(host))
            .collect::<Vec<_>>()
            .into();
        selections.insert(text.to_owned(), found.clone());
        Ok(found)
    }

    /// Returns a host as templates see it.
    pub fn host(self: &Arc<Self>, host: HostId) -> Value {
        Value::from_object(HostValue {
            fleet: self.clone(),
            host,
        })
    }

    fn values(&self, host: &HostId, module: &ModuleName) -> Option<&ModuleValues> {
        self.hosts.get(host)?.modules.get(module)
    }
}

/// The facts of a host within templates. It notes which of them are read, since the plan rests on those.
#[derive(Debug)]
struct FactsValue {
    fleet: Arc<Fleet>,
    host: HostId,
    facts: Value,
}

impl Object for FactsValue {
    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        let fact = self
            .facts
            .get_attr(key)
            .ok()
            .filter(|fact| !fact.is_undefined())?;
        self.fleet.note_fact(&self.host, key);
        Some(fact)
    }
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }
    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let names: Vec<Value> = self.facts.try_iter().map(Iterator::collect).unwrap_or_default();
        Enumerator::Values(names)
    }
    fn is_true(self: &Arc<Self>) -> bool {
        true
    }
}

/// A host within templates.
#[derive(Debug)]
struct HostValue {
    fleet: Arc<Fleet>,
    host: HostId,
}

impl Object for HostValue {
    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        let host = self.fleet.hosts.get(&self.host)?;
        Some(match key {
            "id" => Value::from(self.host.as_str()),
            "address" => Value::from(host.address.as_str()),
            "port" => Value::from(host.port),
            "user" => Value::from(host.user.as_str()),
            "labels" => Value::from(Serde(&host.labels)),
            "facts" => self.fleet.facts_of(&self.host),
            "values" => Value::from_object(AllValues {
                fleet: self.fleet.clone(),
                host: self.host.clone(),
            }),
            "module" => Value::from_object(Modules {
                fleet: self.fleet.clone(),
                host: self.host.clone(),
            }),
            _ => return None,
        })
    }
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }
    fn is_true(self: &Arc<Self>) -> bool {
        true
    }
    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.host)
    }
}

/// The inputs of all modules of a host.
#[derive(Debug)]
struct AllValues {
    fleet: Arc<Fleet>,
    host: HostId,
}

impl Object for AllValues {
    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        let modules = &self.fleet.hosts.get(&self.host)?.modules;
        modules
            .values()
            .find_map(|values| values.inputs.get(key))
            .map(|input| input.value(&self.fleet))
    }
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }
    fn is_true(self: &Arc<Self>) -> bool {
        true
    }
}

/// The modules of a host, each with its inputs and derived values.
#[derive(Debug)]
struct Modules {
    fleet: Arc<Fleet>,
    host: HostId,
}

impl Object for Modules {
    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        let module: ModuleName = key.parse().ok()?;
        self.fleet.values(&self.host, &module)?;
        Some(Value::from_object(OneModule {
            fleet: self.fleet.clone(),
            host: self.host.clone(),
            module,
        }))
    }
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }
    fn is_true(self: &Arc<Self>) -> bool {
        true
    }
}

/// One module of a host.
#[derive(Debug)]
struct OneModule {
    fleet: Arc<Fleet>,
    host: HostId,
    module: ModuleName,
}

impl Object for OneModule {
    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        let values = self.fleet.values(&self.host, &self.module)?;
        let derived = values.derived.get().and_then(|derived| derived.get(key)).cloned();
        derived.or_else(|| values.inputs.get(key).map(|input| input.value(&self.fleet)))
    }
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }
    fn is_true(self: &Arc<Self>) -> bool {
        true
    }
}

/// What one module's templates see on one host.
#[derive(Debug, Clone)]
pub struct Scope {
    /// The fleet.
    pub fleet: Arc<Fleet>,
    /// The host.
    pub host: HostId,
    /// The module.
    pub module: ModuleName,
    /// `item` and `key` of a `for_each`, and derived values while they are being made.
    pub locals: BTreeMap<String, Value>,
}

impl Scope {
    /// Returns the scope as the engine takes it.
    pub fn value(&self) -> Value {
        Value::from_object(self.clone())
    }
}

impl Object for Scope {
    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        if let Some(local) = self.locals.get(key) {
            return Some(local.clone());
        }
        let values = self.fleet.values(&self.host, &self.module)?;
        if let Some(derived) = values.derived.get().and_then(|derived| derived.get(key)) {
            return Some(derived.clone());
        }
        if let Some(input) = values.inputs.get(key) {
            return Some(input.value(&self.fleet));
        }
        Some(match key {
            "host" => self.fleet.host(self.host.clone()),
            "fleet" => Value::from(Serde(BTreeMap::from([("name", &self.fleet.name)]))),
            "facts" => self.fleet.facts_of(&self.host),
            "data" => self.fleet.data.get(&self.module)?.clone(),
            "module" => Value::from(Serde(BTreeMap::from([("name", &self.module)]))),
            "hosts_in" => Value::from_object(HostsIn(self.fleet.clone())),
            "output" => Value::from_object(Output(self.host.clone())),
            _ => return None,
        })
    }
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }
}

/// `hosts_in("@group")`.
#[derive(Debug)]
struct HostsIn(Arc<Fleet>);

impl Object for HostsIn {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }
    fn call(self: &Arc<Self>, _: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        match args {
            [selector] if selector.as_str().is_some() => self.0.select(selector.as_str().unwrap_or_default()),
            _ => Err(Error::new(
                ErrorKind::InvalidOperation,
                "`hosts_in` takes one selector, such as \"@group\"",
            )),
        }
    }
}

/// `output("kind:name", "output")`.
#[derive(Debug)]
struct Output(HostId);

impl Object for Output {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }
    fn call(self: &Arc<Self>, _: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        let invalid = |detail: &str| Error::new(ErrorKind::InvalidOperation, detail.to_owned());
        let [resource, output] = args else {
            return Err(invalid("`output` takes a resource and the name of its output"));
        };
        let (Some(resource), Some(output)) = (resource.as_str(), output.as_str()) else {
            return Err(invalid("`output` takes two strings"));
        };
        let one = Reference::parse(resource).and_then(|reference| reference.single(&self.0));
        let resource = one.ok_or_else(|| invalid("`output` takes `kind:name` or `host:kind:name`"))?;
        Ok(template::output(OutputRef {
            resource,
            output: output.to_owned(),
        }))
    }
}
