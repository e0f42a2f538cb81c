//! The fleet as templates see it, made of the inventory and its values.

use std::collections::BTreeMap;
use std::sync::Mutex;

use minijinja::Value;
use minijinja::value::Serde;

use crate::model::id::ModuleName;
use crate::model::inventory::{Host, Inventory};
use crate::model::module::Module;
use crate::model::observation::FactsSeen;
use crate::model::secret::{Encoding, SecretRef};
use crate::model::target::Transport;
use crate::model::value::Value as Typed;
use crate::plan::scope::{Fleet, HostScope, InputValue, ModuleValues};
use crate::plan::template;
use crate::plan::values::Resolved;

pub(super) fn fleet(
    inventory: &Inventory,
    modules: &BTreeMap<ModuleName, Module>,
    resolved: &Resolved<'_>,
    facts: &FactsSeen,
) -> Fleet {
    let hosts = inventory
        .hosts
        .values()
        .map(|host| (host.id.clone(), host_scope(inventory, host, resolved)));
    let data = |module: &Module| Value::from(Serde(&module.data));
    Fleet {
        name: inventory.name.to_string(),
        hosts: hosts.collect(),
        groups: inventory.members(),
        facts: facts.known.clone(),
        facts_read: Mutex::default(),
        data: modules
            .iter()
            .map(|(name, module)| (name.clone(), data(module)))
            .collect(),
        selections: Mutex::default(),
    }
}

fn host_scope(inventory: &Inventory, host: &Host, resolved: &Resolved<'_>) -> HostScope {
    let (address, port, user) = match &host.target.transport {
        Transport::Local => ("127.0.0.1".to_owned(), 22, "root".to_owned()),
        Transport::Ssh(ssh) => (
            ssh.address.clone(),
            ssh.port.unwrap_or(22),
            ssh.user.clone().unwrap_or_else(|| "root".to_owned()),
        ),
    };
    let values = |module: &ModuleName| {
        let inputs = resolved.of(&host.id, module).into_iter().flatten();
        let inputs = inputs
            .map(|(name, valued)| ((*name).to_owned(), input_value(&valued.value)))
            .collect();
        ModuleValues {
            inputs,
            ..ModuleValues::default()
        }
    };
    let modules = inventory
        .modules_of(&host.id)
        .into_iter()
        .map(|used| (used.module.clone(), values(&used.module)));
    HostScope {
        address,
        port,
        user,
        labels: host.labels.clone(),
        modules: modules.collect(),
    }
}

fn input_value(typed: &Typed) -> InputValue {
    match typed {
        Typed::Host(host) => InputValue::Host(host.clone()),
        other => InputValue::Plain(plain_value(other)),
    }
}

fn plain_value(typed: &Typed) -> Value {
    match typed {
        Typed::None => Value::from(()),
        Typed::Text(text) => Value::from(text.as_str()),
        Typed::Int(number) => Value::from(*number),
        Typed::Bool(truth) => Value::from(*truth),
        Typed::Secret(source) => template::secret(SecretRef {
            source: source.clone(),
            encoding: Encoding::Plain,
        }),
        Typed::Host(host) => Value::from(host.as_str()),
        Typed::List(values) => values.iter().map(plain_value).collect::<Vec<_>>().into(),
        Typed::Map(values) => values
            .iter()
            .map(|(key, value)| (key.clone(), plain_value(value)))
            .collect::<BTreeMap<_, _>>()
            .into(),
    }
}
