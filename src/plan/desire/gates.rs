//! Gates and listeners of modules.

use serde_json::{Map, Value};

use crate::model::code;
use crate::model::diagnostic::Diagnostic;
use crate::model::gate::{Gate, GateForm};
use crate::model::inventory::{Host, Use};
use crate::model::module::{Declared, Module};
use crate::plan::listeners;
use crate::plan::reference::Reference;
use crate::resource::{Spec, project};

use super::{Wish, key_place};

impl<'a> Wish<'a> {
    pub(super) fn attach_gates(&mut self, host: &Host, used: &[(&Use, &'a Module)]) {
        for (used, module) in used {
            let scope = self.scope(host, module);
            for declared in &module.gates {
                for (scope, body) in self.expand(host, used, module, &scope, declared, false) {
                    let after = declared.shared.after.iter();
                    let rendered =
                        after.map(|after| self.templates[&module.name].render_text(after, &scope.value()));
                    match rendered.collect::<Result<Vec<String>, _>>() {
                        Ok(after) => self.gate(host, declared, &after, &body),
                        Err(error) => self.fail(host, used, module, &error, key_place(declared, "after")),
                    }
                }
            }
        }
    }

    /// Attaches a gate to everything that it comes after.
    fn gate(&mut self, host: &Host, declared: &Declared, after: &[String], body: &Map<String, Value>) {
        let gates = match after {
            [] => Err("it needs `after`, the resource that it follows".to_owned()),
            after => after
                .iter()
                .map(|after| Ok((after, gate(after, body)?)))
                .collect::<Result<Vec<_>, String>>(),
        };
        match gates {
            Ok(gates) => gates
                .into_iter()
                .for_each(|(after, gate)| self.attach_gate(host, declared, after, gate)),
            Err(error) => {
                let message = format!("the gate is not well declared: {error}");
                let diagnostic = Diagnostic::error(code::BAD_RESOURCE, message);
                self.wished
                    .diagnostics
                    .push(diagnostic.at(declared.origin.clone(), "here"));
            }
        }
    }

    fn attach_gate(&mut self, host: &Host, declared: &Declared, after: &str, gate: Gate) {
        let target = Reference::parse(after).filter(|reference| reference.hosts.is_none());
        let is_project = |reference: &Reference| reference.key.kind.as_str() == project::NAME;
        let mut ids = match &target {
            Some(reference) => self.named(&host.id, &reference.key),
            None => Vec::new(),
        };
        // A project is up when its containers are.
        if target.as_ref().is_some_and(is_project) {
            ids.retain(|id| {
                self.wished
                    .desired
                    .get(id)
                    .is_some_and(|entry| entry.spec.info().starts)
            });
        }
        if ids.is_empty() {
            let message = format!(
                "the gate comes after `{after}`, which is not declared for `{}`",
                host.id
            );
            let place = key_place(declared, "after").clone();
            let found = Diagnostic::error(code::NO_SUCH_RESOURCE, message);
            self.wished.diagnostics.push(found.at(place, "here"));
        }
        let entries = &mut self
            .wished
            .desired
            .hosts
            .entry(host.id.clone())
            .or_default()
            .entries;
        for id in ids {
            if let Some(entry) = entries.get_mut(&id.key) {
                entry.gates.push(gate.clone());
            }
        }
    }

    pub(super) fn listeners(&mut self, host: &Host, used: &[(&Use, &'a Module)]) -> Vec<listeners::Listener> {
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
        let desired = self.wished.desired.hosts.get(&host.id);
        let entries = desired.into_iter().flat_map(|desired| desired.entries.values());
        let published = entries.filter_map(|entry| match &entry.spec {
            Spec::Container(container) => Some(listeners::published(&host.id, entry, container)),
            _ => None,
        });
        all.extend(published.flatten());
        all
    }
}

/// Reads a rendered gate. Without a name it is called after what it follows.
fn gate(after: &str, body: &Map<String, Value>) -> Result<Gate, String> {
    let mut body = body.clone();
    let name = Value::from(format!("after {after}"));
    body.entry("name").or_insert(name);
    let form: GateForm = serde_json::from_value(body.into()).map_err(|error| error.to_string())?;
    form.gate().map_err(|error| error.why)
}
