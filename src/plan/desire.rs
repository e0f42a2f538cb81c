//! Desire: inventory × modules × values × facts → what every host must be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use minijinja::Value;
use minijinja::value::Serde;

use crate::model::body;
use crate::model::code;
use crate::model::diagnostic::{Diagnostic, Diagnostics, Place, did_you_mean};
use crate::model::gate::{Gate, GateForm};
use crate::model::id::{HostId, ModuleName, ResourceId, ResourceKey};
use crate::model::inventory::{Host, Inventory, Use};
use crate::model::module::{Declared, Module, Rule};
use crate::model::observation::FactsSeen;
use crate::model::secret::{Encoding, SecretRef};
use crate::model::target::Transport;
use crate::model::value::Value as Typed;
use crate::resource::desired::{Desired, DesiredHost, Entry};
use crate::resource::{KINDS, Spec};

use super::reference::Reference;
use super::scope::{FACTS_WANTED, Fleet, HostScope, InputValue, ModuleValues, Scope};
use super::template::{self, RenderError, Templates};
use super::values::Resolved;
use super::{claims, graph, listeners};

/// What came of desiring.
#[derive(Debug, Clone, Default)]
pub struct Wished {
    /// What every host must be.
    pub desired: Desired,
    /// Hosts whose facts a template read and nobody has gathered: gather them and desire again.
    pub facts_wanted: BTreeSet<HostId>,
    /// What is wrong.
    pub diagnostics: Diagnostics,
}

/// Renders, expands and checks everything that the inventory's modules declare, for every host.
///
/// A host whose templates read facts of a host that did not answer is held as a whole; the others are not affected.
pub fn desire(
    inventory: &Inventory,
    modules: &BTreeMap<ModuleName, Module>,
    resolved: &Resolved<'_>,
    facts: &FactsSeen,
) -> Wished {
    let fleet = Arc::new(fleet(inventory, modules, resolved, facts));
    let templates: BTreeMap<&ModuleName, Templates> = modules
        .iter()
        .map(|(name, module)| (name, Templates::new(module)))
        .collect();
    let mut wish = Wish {
        fleet: fleet.clone(),
        resolved,
        facts,
        templates,
        wished: Wished::default(),
        raw: BTreeMap::new(),
    };
    let hosts: Vec<(&Host, Vec<(&Use, &Module)>)> = inventory
        .hosts
        .values()
        .map(|host| {
            let used = inventory.modules_of(&host.id).into_iter();
            (
                host,
                used.filter_map(|used| Some((used, modules.get(&used.module)?)))
                    .collect(),
            )
        })
        .collect();
    // Derived values of all hosts come first, since a resource of one host may read those of another.
    for (host, used) in &hosts {
        wish.wished
            .desired
            .hosts
            .insert(host.id.clone(), DesiredHost::default());
        used.iter()
            .for_each(|(used, module)| wish.derive(host, used, module));
    }
    for (host, used) in &hosts {
        used.iter()
            .for_each(|(used, module)| wish.declare(host, used, module));
        wish.attach_gates(host, used);
        let clashes = listeners::clashes(&wish.listeners(host, used));
        wish.wished.diagnostics.extend(clashes);
    }
    wish.finish(&fleet)
}

fn fleet(
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

/// References of one entry as written, until every host has been declared.
#[derive(Debug, Clone, Default, PartialEq)]
struct Raw {
    after: Vec<(String, Place)>,
    restart_on: Vec<(String, Place)>,
    loses_on: Vec<(String, Place)>,
}

/// One desiring in progress.
struct Wish<'a> {
    fleet: Arc<Fleet>,
    resolved: &'a Resolved<'a>,
    facts: &'a FactsSeen,
    templates: BTreeMap<&'a ModuleName, Templates>,
    wished: Wished,
    raw: BTreeMap<ResourceId, Raw>,
}

impl<'a> Wish<'a> {
    fn scope(&self, host: &Host, module: &Module) -> Scope {
        let (fleet, host, module) = (self.fleet.clone(), host.id.clone(), module.name.clone());
        Scope {
            fleet,
            host,
            module,
            locals: BTreeMap::new(),
        }
    }

    fn derive(&mut self, host: &Host, used: &Use, module: &'a Module) {
        let mut scope = self.scope(host, module);
        for derived in &module.derived {
            match self.templates[&module.name].eval(&derived.expression, &scope.value()) {
                Ok(value) => drop(scope.locals.insert(derived.name.clone(), value)),
                Err(error) => self.fail(host, used, module, &error, &derived.origin),
            }
        }
        let values = self
            .fleet
            .hosts
            .get(&host.id)
            .and_then(|scope| scope.modules.get(&module.name));
        if let Some(values) = values {
            values
                .derived
                .set(scope.locals)
                .expect("each module of a host derives once");
        }
    }

    fn declare(&mut self, host: &Host, used: &Use, module: &'a Module) {
        let scope = self.scope(host, module);
        module
            .rules
            .iter()
            .for_each(|rule| self.judge(host, used, module, &scope, rule));
        for moved in &module.moved {
            let hosts = &mut self.wished.desired.hosts;
            hosts
                .entry(host.id.clone())
                .or_default()
                .moved
                .insert(moved.to.clone(), moved.from.clone());
        }
        for declared in &module.declared {
            for (scope, body) in self.expand(host, used, module, &scope, declared, true) {
                self.add(host, used, module, declared, &scope, body);
            }
        }
    }

    fn judge(&mut self, host: &Host, used: &Use, module: &'a Module, scope: &Scope, rule: &Rule) {
        let templates = &self.templates[&module.name];
        let scope = scope.value();
        let holds = |expression: &str| templates.eval(expression, &scope).map(|value| value.is_true());
        let broken = rule
            .when
            .as_deref()
            .map_or(Ok(true), holds)
            .and_then(|applies| {
                if applies {
                    holds(&rule.must).map(|kept| !kept)
                } else {
                    Ok(false)
                }
            })
            .and_then(|broken| {
                if !broken {
                    return Ok(None);
                }
                let hint = rule
                    .hint
                    .as_deref()
                    .map(|hint| templates.render_text(hint, &scope))
                    .transpose()?;
                Ok(Some((templates.render_text(&rule.message, &scope)?, hint)))
            });
        match broken {
            Err(error) => self.fail(host, used, module, &error, &rule.origin),
            Ok(None) => {}
            Ok(Some((message, hint))) => {
                let message = format!("{message} (host `{}`)", host.id);
                let new = if rule.is_warning {
                    Diagnostic::warning
                } else {
                    Diagnostic::error
                };
                let (place, said) = self.mend(host, used, module, rule.input.as_deref());
                let diagnostic = new(code::MODULE_RULE, message).at(place, said);
                self.wished
                    .diagnostics
                    .push(diagnostic.and(rule.origin.clone(), "the rule").hint_opt(hint));
            }
        }
    }

    /// Renders a table once, or once for each item; `when` is asked for each item.
    fn expand(
        &mut self,
        host: &Host,
        used: &Use,
        module: &'a Module,
        scope: &Scope,
        declared: &Declared,
        with_content: bool,
    ) -> Vec<(Scope, serde_json::Map<String, serde_json::Value>)> {
        let mut made = Vec::new();
        for scope in self.items(host, used, module, scope, declared) {
            match self.applies(module, &scope, declared) {
                Ok(false) => continue,
                Ok(true) => {}
                Err(error) => {
                    self.fail(host, used, module, &error, key_place(declared, "when"));
                    continue;
                }
            }
            let mut body = serde_json::Map::new();
            let mut is_whole = true;
            for (key, value) in &declared.body {
                let value = match (key.as_str(), with_content) {
                    ("template", true) => self.content(module, &scope, value, true),
                    ("source", true) => self.content(module, &scope, value, false),
                    _ => self.templates[&module.name].render_toml(value, &scope.value()),
                };
                let key = if with_content && (key == "template" || key == "source") {
                    "content"
                } else {
                    key
                };
                match value {
                    // An expression that is `none` leaves the key out, so that optional inputs need no `when`.
                    Ok(value) => drop((!value.is_null()).then(|| body.insert(key.to_owned(), value))),
                    Err(error) => {
                        is_whole = false;
                        self.fail(host, used, module, &error, key_place(declared, key));
                    }
                }
            }
            if is_whole {
                made.push((scope, body));
            }
        }
        made
    }

    fn items(
        &mut self,
        host: &Host,
        used: &Use,
        module: &'a Module,
        scope: &Scope,
        declared: &Declared,
    ) -> Vec<Scope> {
        let Some(expression) = &declared.shared.for_each else {
            return vec![scope.clone()];
        };
        let with = |locals: Vec<(&str, Value)>| {
            let mut scope = scope.clone();
            scope
                .locals
                .extend(locals.into_iter().map(|(name, value)| (name.to_owned(), value)));
            scope
        };
        let items = self.templates[&module.name]
            .eval(expression, &scope.value())
            .and_then(|value| {
                let is_map = value.kind() == minijinja::value::ValueKind::Map;
                let items = value
                    .try_iter()
                    .map_err(|_| RenderError::of(expression, "is not a list or a map"))?;
                items
                    .map(|item| match is_map {
                        true => {
                            let inner = value
                                .get_item(&item)
                                .map_err(|_| RenderError::of(expression, "cannot be read"))?;
                            Ok(with(vec![("key", item), ("item", inner)]))
                        }
                        false => Ok(with(vec![("item", item)])),
                    })
                    .collect::<Result<Vec<_>, _>>()
            });
        items.unwrap_or_else(|error| {
            self.fail(host, used, module, &error, key_place(declared, "for_each"));
            Vec::new()
        })
    }

    fn applies(&self, module: &Module, scope: &Scope, declared: &Declared) -> Result<bool, RenderError> {
        match &declared.shared.when {
            Some(when) => Ok(self.templates[&module.name].eval(when, &scope.value())?.is_true()),
            None => Ok(true),
        }
    }

    /// Returns the content that `template` or `source` names.
    fn content(
        &self,
        module: &Module,
        scope: &Scope,
        name: &toml::Value,
        is_template: bool,
    ) -> Result<serde_json::Value, RenderError> {
        let templates = &self.templates[&module.name];
        let name = name
            .as_str()
            .ok_or_else(|| RenderError::of(&name.to_string(), "is not a file name"))?;
        let name = templates.render_text(name, &scope.value())?;
        let files = if is_template {
            &module.templates
        } else {
            &module.files
        };
        let known = || did_you_mean(&name, files.keys().map(String::as_str)).unwrap_or_default();
        let text = files.get(&name).ok_or_else(|| {
            let folder = if is_template { "templates" } else { "files" };
            RenderError::of(
                &name,
                &format!("does not lie under the module's `{folder}/` {}", known()),
            )
        })?;
        if is_template {
            templates.render_file(&name, &scope.value()).map(Into::into)
        } else {
            Ok(text.text.clone().into())
        }
    }

    fn add(
        &mut self,
        host: &Host,
        used: &Use,
        module: &'a Module,
        declared: &Declared,
        scope: &Scope,
        body: serde_json::Map<String, serde_json::Value>,
    ) {
        let Some(spec) = self.decode(host, declared, body) else {
            return;
        };
        let raw = match self.references(module, declared, scope) {
            Ok(raw) => raw,
            Err(error) => return self.fail(host, used, module, &error, key_place(declared, "after")),
        };
        let key = spec.key();
        self.check(host, declared, &spec, &key);
        let shared = &declared.shared;
        let entry = Entry {
            needs: BTreeSet::new(),
            restart_on: BTreeSet::new(),
            loses_on: BTreeSet::new(),
            protect: shared.protect,
            delete: shared.delete,
            ignore: shared.ignore.iter().cloned().collect(),
            gates: Vec::new(),
            modules: BTreeSet::from([module.name.clone()]),
            origins: vec![declared.origin.clone()],
            spec,
        };
        self.merge(host, key, entry, raw);
    }

    fn decode(
        &mut self,
        host: &Host,
        declared: &Declared,
        body: serde_json::Map<String, serde_json::Value>,
    ) -> Option<Spec> {
        let error = match Spec::decode(declared.kind.as_str(), &serde_json::Value::Object(body)) {
            Ok(spec) => match misplaced(&spec.encode()) {
                None => return Some(spec),
                Some(field) => Diagnostic::error(
                    code::SECRET_MISPLACED,
                    format!(
                        "`{field}` of a `{}` cannot hold a secret or an output",
                        declared.kind
                    ),
                )
                .at(key_place(declared, &field).clone(), "decides what exists"),
            },
            Err(error) if error.contains("cut or changed by a filter") => Diagnostic::error(
                code::SECRET_MANGLED,
                format!("a `{}` of `{}`: {error}", declared.kind, host.id),
            )
            .at(declared.origin.clone(), "here")
            .hint("print the secret as it is, or through `base64`, `json` or `shell`"),
            Err(error) => {
                let message = format!(
                    "a `{}` of `{}` is not well declared: {error}",
                    declared.kind, host.id
                );
                let field = error.split('`').nth(1).unwrap_or_default();
                let kind = KINDS.iter().find(|kind| kind.name == declared.kind.as_str());
                let hint = kind.and_then(|_| {
                    error
                        .contains("unknown field")
                        .then(|| unknown_field_hint(&error))
                        .flatten()
                });
                Diagnostic::error(code::BAD_RESOURCE, message)
                    .at(key_place(declared, field).clone(), "here")
                    .hint_opt(hint)
            }
        };
        self.wished.diagnostics.push(error);
        None
    }

    fn check(&mut self, host: &Host, declared: &Declared, spec: &Spec, key: &ResourceKey) {
        for mistake in spec.check() {
            let message = format!("{key} on `{}`: {}", host.id, mistake.message);
            let diagnostic = Diagnostic::error(code::BAD_RESOURCE, message);
            let diagnostic = diagnostic
                .at(key_place(declared, mistake.field).clone(), "here")
                .hint_opt(mistake.hint);
            self.wished.diagnostics.push(diagnostic);
        }
        let fields = spec.info().fields;
        for field in declared
            .shared
            .ignore
            .iter()
            .filter(|field| !fields.contains(&field.as_str()))
        {
            let message = format!("{key} on `{}` has no field `{field}` to ignore", host.id);
            let hint = format!("its fields are {}", fields.join(", "));
            let place = key_place(declared, "ignore").clone();
            self.wished.diagnostics.push(
                Diagnostic::error(code::BAD_RESOURCE, message)
                    .at(place, "here")
                    .hint(hint),
            );
        }
        if !declared.shared.restart_on.is_empty() && !spec.info().starts {
            let message = format!(
                "{key} on `{}` starts nothing, so `restart_on` means nothing",
                host.id
            );
            let place = key_place(declared, "restart_on").clone();
            let hint = "say `after` for order, or put `restart_on` on the unit";
            self.wished.diagnostics.push(
                Diagnostic::error(code::BAD_RESOURCE, message)
                    .at(place, "here")
                    .hint(hint),
            );
        }
    }

    fn references(&self, module: &Module, declared: &Declared, scope: &Scope) -> Result<Raw, RenderError> {
        let templates = &self.templates[&module.name];
        let scope = scope.value();
        let render = |key: &str, texts: &[String]| {
            texts
                .iter()
                .map(|text| {
                    Ok((
                        templates.render_text(text, &scope)?,
                        key_place(declared, key).clone(),
                    ))
                })
                .collect::<Result<Vec<_>, RenderError>>()
        };
        let shared = &declared.shared;
        Ok(Raw {
            after: render("after", &shared.after)?,
            restart_on: render("restart_on", &shared.restart_on)?,
            loses_on: render("loses_on", &shared.loses_on)?,
        })
    }

    /// Adds an entry, or merges it with an equal one; unequal ones are one error that names both lines.
    fn merge(&mut self, host: &Host, key: ResourceKey, entry: Entry, raw: Raw) {
        let entries = &mut self
            .wished
            .desired
            .hosts
            .entry(host.id.clone())
            .or_default()
            .entries;
        let id = key.on(&host.id);
        match entries.get_mut(&key) {
            None => {
                entries.insert(key, entry);
                self.raw.insert(id, raw);
            }
            Some(there) if there.spec == entry.spec && there.ignore == entry.ignore => {
                there.protect |= entry.protect;
                there.delete &= entry.delete;
                there.modules.extend(entry.modules);
                there.origins.extend(entry.origins);
                let known = self.raw.entry(id).or_default();
                known.after.extend(raw.after);
                known.restart_on.extend(raw.restart_on);
                known.loses_on.extend(raw.loses_on);
            }
            Some(there) => {
                let first = there.origins.first().cloned();
                let message = format!("{key} is declared twice for `{}`, differently", host.id);
                let place = entry
                    .origins
                    .into_iter()
                    .next()
                    .unwrap_or_else(|| host.origin.clone());
                let mut diagnostic = Diagnostic::error(code::TWO_OWNERS, message).at(place, "declared here");
                if let Some(first) = first {
                    diagnostic = diagnostic.and(first, "and differently here");
                }
                self.wished
                    .diagnostics
                    .push(diagnostic.hint("let one module own it, or make the two equal"));
            }
        }
    }

    fn attach_gates(&mut self, host: &Host, used: &[(&Use, &'a Module)]) {
        for (used, module) in used {
            let scope = self.scope(host, module);
            for declared in &module.gates {
                for (_, body) in self.expand(host, used, module, &scope, declared, false) {
                    match gate(&body) {
                        Ok((after, gate)) => self.attach_gate(host, declared, &after, gate),
                        Err(error) => {
                            let message = format!("the gate is not well declared: {error}");
                            let diagnostic = Diagnostic::error(code::BAD_RESOURCE, message);
                            self.wished
                                .diagnostics
                                .push(diagnostic.at(declared.origin.clone(), "here"));
                        }
                    }
                }
            }
        }
    }

    fn attach_gate(&mut self, host: &Host, declared: &Declared, after: &str, gate: Gate) {
        let entries = &mut self
            .wished
            .desired
            .hosts
            .entry(host.id.clone())
            .or_default()
            .entries;
        let target = Reference::parse(after).filter(|reference| reference.hosts.is_none());
        match target.and_then(|reference| entries.get_mut(&reference.key)) {
            Some(entry) => entry.gates.push(gate),
            None => {
                let message = format!(
                    "the gate comes after `{after}`, which is not declared for `{}`",
                    host.id
                );
                let place = key_place(declared, "after").clone();
                self.wished
                    .diagnostics
                    .push(Diagnostic::error(code::NO_SUCH_RESOURCE, message).at(place, "here"));
            }
        }
    }

    fn listeners(&mut self, host: &Host, used: &[(&Use, &'a Module)]) -> Vec<listeners::Listener> {
        let mut all = Vec::new();
        for (used, module) in used {
            let scope = self.scope(host, module);
            for declared in &module.listeners {
                for (_, body) in self.expand(host, used, module, &scope, declared, false) {
                    match listeners::read(&body, &host.id, &module.name, &declared.origin) {
                        Ok(listener) => all.push(listener),
                        Err(error) => {
                            let message = format!("the listener is not well declared: {error}");
                            let diagnostic = Diagnostic::error(code::BAD_RESOURCE, message);
                            self.wished
                                .diagnostics
                                .push(diagnostic.at(declared.origin.clone(), "here"));
                        }
                    }
                }
            }
        }
        all
    }

    /// Turns a failed rendering into a request for facts, a held host, or a diagnostic.
    fn fail(&mut self, host: &Host, used: &Use, module: &Module, error: &RenderError, place: &Place) {
        if let Some(wanted) = error.message.strip_prefix(FACTS_WANTED) {
            let Ok(wanted) = wanted.parse::<HostId>() else {
                return;
            };
            match self.facts.lost.get(&wanted) {
                Some(why) => {
                    let held = format!("its templates read facts of `{wanted}`, which did not answer: {why}");
                    self.wished.desired.hosts.entry(host.id.clone()).or_default().held = Some(held);
                }
                None => drop(self.wished.facts_wanted.insert(wanted)),
            }
            return;
        }
        let message = format!(
            "cannot render module `{}` for `{}`: {}",
            module.name, host.id, error.message
        );
        let template = error
            .template
            .as_ref()
            .and_then(|name| Some((module.templates.get(name)?, error.line?)));
        let (mend, said) = self.mend(
            host,
            used,
            module,
            error.names().find(|name| module.has_input(name)),
        );
        let mut diagnostic = Diagnostic::error(code::TEMPLATE, message);
        diagnostic = match template {
            Some((text, line)) => {
                let place = Place::in_text(&text.file, &text.text, line, error.range.clone());
                diagnostic.at(place, "in this template").and(mend, said)
            }
            None => diagnostic.at(place.clone(), "here").and(mend, said),
        };
        if error.is_undefined {
            let names = module.inputs.iter().map(|input| input.name.as_str());
            let names = names.chain(module.derived.iter().map(|derived| derived.name.as_str()));
            let word = error.names().next().unwrap_or_default();
            let hint = did_you_mean(word, names).unwrap_or_else(|| {
                format!(
                    "declare `{word}` under [inputs] of {}, or mend the template",
                    module.file
                )
            });
            diagnostic = diagnostic.hint(hint);
        }
        self.wished.diagnostics.push(diagnostic);
    }

    /// Returns the inventory line to mend: where the input is set, else where the module is used.
    fn mend(&self, host: &Host, used: &Use, module: &Module, input: Option<&str>) -> (Place, String) {
        let set = input.and_then(|input| self.resolved.of(&host.id, &module.name)?.get(input)?.place());
        match (set, input) {
            (Some(place), Some(input)) => (place.clone(), format!("`{input}` is set here")),
            (_, Some(input)) => (
                used.origin.clone(),
                format!("used here, where nothing sets `{input}`"),
            ),
            (_, None) => (used.origin.clone(), "used here".to_owned()),
        }
    }

    /// Resolves references, adds what kinds imply, and looks for circles and clashes.
    fn finish(mut self, fleet: &Fleet) -> Wished {
        let raw = std::mem::take(&mut self.raw);
        for (id, raw) in &raw {
            let after = self.resolve(id, &raw.after);
            let restart_on = self.resolve(id, &raw.restart_on);
            let loses_on = self.resolve(id, &raw.loses_on);
            let outputs = self.outputs(id);
            let implied = self.implied(id);
            let hosts = &mut self.wished.desired.hosts;
            let Some(entry) = hosts
                .get_mut(&id.host)
                .and_then(|host| host.entries.get_mut(&id.key))
            else {
                continue;
            };
            entry.needs = after
                .into_iter()
                .chain(outputs)
                .chain(implied)
                .chain(restart_on.iter().cloned())
                .collect();
            entry.needs.remove(id);
            entry.restart_on = restart_on;
            entry.loses_on = loses_on;
        }
        self.wished
            .diagnostics
            .extend(claims::clashes(&self.wished.desired));
        self.wished
            .diagnostics
            .extend(graph::cycles(&self.wished.desired));
        let read = fleet
            .facts_read
            .lock()
            .expect("no template panics while it holds the lock");
        for host in read.iter() {
            if let Some(desired) = self.wished.desired.hosts.get_mut(host) {
                desired.reads_facts = true;
            }
        }
        drop(read);
        self.wished
    }

    fn resolve(&mut self, id: &ResourceId, references: &[(String, Place)]) -> BTreeSet<ResourceId> {
        let mut found = BTreeSet::new();
        for (text, place) in references {
            match self.meant(id, text) {
                Ok(ids) => found.extend(ids),
                Err(diagnostic) => self
                    .wished
                    .diagnostics
                    .push(diagnostic.at(place.clone(), format!("`{text}`"))),
            }
        }
        found
    }

    fn meant(&self, id: &ResourceId, text: &str) -> Result<Vec<ResourceId>, Box<Diagnostic>> {
        let reference = Reference::parse(text).ok_or_else(|| {
            let message = format!("`{text}` of {id} is not a reference");
            let kinds = KINDS.iter().map(|kind| kind.name);
            let hint = did_you_mean(text.split(':').next().unwrap_or_default(), kinds);
            let forms = "write `kind:name`, `@group:kind:name` or `host:kind:name`";
            let hint = hint.unwrap_or_else(|| forms.to_owned());
            Box::new(Diagnostic::error(code::BAD_REFERENCE, message).hint(hint))
        })?;
        let hosts = match &reference.hosts {
            None => BTreeSet::from([id.host.clone()]),
            Some(selector) => {
                let hosts = self
                    .fleet
                    .hosts
                    .iter()
                    .map(|(id, host)| (id, &host.labels))
                    .collect();
                let field = crate::model::selector::Field {
                    hosts,
                    groups: &self.fleet.groups,
                };
                selector.resolve(&field).map_err(|error| {
                    let message = format!("`{text}` of {id} names no hosts: {error}");
                    Box::new(Diagnostic::error(code::BAD_REFERENCE, message))
                })?
            }
        };
        let ids = hosts.iter().map(|host| reference.key.on(host));
        let ids: Vec<ResourceId> = ids.filter(|id| self.wished.desired.get(id).is_some()).collect();
        if !ids.is_empty() || hosts.iter().any(|host| self.is_partial(host)) {
            return Ok(ids);
        }
        let message = format!("{id} refers to {}, which is not declared there", reference.key);
        let names: Vec<String> = hosts
            .iter()
            .filter_map(|host| self.wished.desired.hosts.get(host))
            .flat_map(|host| host.entries.keys())
            .filter(|key| key.kind == reference.key.kind)
            .map(|key| key.name.clone())
            .collect();
        let hint = did_you_mean(&reference.key.name, names.iter().map(String::as_str));
        Err(Box::new(
            Diagnostic::error(code::NO_SUCH_RESOURCE, message).hint_opt(hint),
        ))
    }

    /// Says whether a host's resources are not all declared, so that a missing one is no mistake.
    fn is_partial(&self, host: &HostId) -> bool {
        let held = self
            .wished
            .desired
            .hosts
            .get(host)
            .is_some_and(|host| host.held.is_some());
        held || !self.wished.facts_wanted.is_empty() || self.wished.diagnostics.has_errors()
    }

    fn outputs(&mut self, id: &ResourceId) -> BTreeSet<ResourceId> {
        let Some(entry) = self.wished.desired.get(id) else {
            return BTreeSet::new();
        };
        let outputs: BTreeSet<_> = entry
            .spec
            .bodies()
            .into_iter()
            .flat_map(|body| body.outputs().cloned())
            .collect();
        let origin = entry.origins.first().cloned();
        let mut needs = BTreeSet::new();
        for output in outputs {
            let producer = self
                .wished
                .desired
                .get(&output.resource)
                .map(|entry| entry.spec.declared_outputs());
            let is_there = producer.iter().flatten().any(|(name, _)| *name == output.output);
            if is_there || (producer.is_none() && self.is_partial(&output.resource.host)) {
                needs.insert(output.resource);
                continue;
            }
            let message = format!("{id} uses the output `{}`, which no resource produces", output);
            let mut diagnostic = Diagnostic::error(code::NO_SUCH_OUTPUT, message);
            if let Some(origin) = &origin {
                diagnostic = diagnostic.at(origin.clone(), "used here");
            }
            self.wished.diagnostics.push(diagnostic);
        }
        needs
    }

    fn implied(&self, id: &ResourceId) -> BTreeSet<ResourceId> {
        let Some(host) = self.wished.desired.hosts.get(&id.host) else {
            return BTreeSet::new();
        };
        let Some(entry) = host.entries.get(&id.key) else {
            return BTreeSet::new();
        };
        let implied = entry.spec.implied().into_iter();
        implied
            .filter(|key| host.entries.contains_key(key))
            .map(|key| key.on(&id.host))
            .collect()
    }
}

/// Returns the place of one key of a table, or of the table.
fn key_place<'d>(declared: &'d Declared, key: &str) -> &'d Place {
    let content = || {
        ["template", "source"]
            .iter()
            .find_map(|other| declared.keys.get(*other))
    };
    let found = declared
        .keys
        .get(key)
        .or_else(|| (key == "content").then(content).flatten());
    found.unwrap_or(&declared.origin)
}

/// Returns the field in which a token stands as mere text, where none may.
fn misplaced(spec: &serde_json::Value) -> Option<String> {
    fn holds(value: &serde_json::Value) -> bool {
        match value {
            serde_json::Value::String(text) => body::has_token(text),
            serde_json::Value::Array(values) => values.iter().any(holds),
            serde_json::Value::Object(fields) => fields
                .iter()
                .any(|(key, value)| body::has_token(key) || holds(value)),
            serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => false,
        }
    }
    let fields = spec.as_object()?;
    fields
        .iter()
        .find(|(_, value)| holds(value))
        .map(|(field, _)| field.clone())
}

/// Makes "did you mean" out of serde's "unknown field `x`, expected one of `a`, `b`".
fn unknown_field_hint(error: &str) -> Option<String> {
    let mut words = error.split('`').skip(1).step_by(2);
    let word = words.next()?;
    let expected: Vec<&str> = words.collect();
    did_you_mean(word, expected.iter().copied())
        .or_else(|| Some(format!("the keys are {}", expected.join(", "))))
}

/// Reads a rendered gate: what it comes after, and the gate.
fn gate(body: &serde_json::Map<String, serde_json::Value>) -> Result<(String, Gate), String> {
    let mut body = body.clone();
    let after = body
        .remove("after")
        .and_then(|after| after.as_str().map(str::to_owned));
    let after = after.ok_or("it needs `after`, the resource that it follows")?;
    let name = serde_json::Value::from(format!("after {after}"));
    body.entry("name").or_insert(name);
    let form: GateForm = serde_json::from_value(body.into()).map_err(|error| error.to_string())?;
    Ok((after, form.gate().map_err(|error| error.why)?))
}
