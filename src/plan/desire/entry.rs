//! Entries: a rendered table, decoded, checked and merged with its equals.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::model::body;
use crate::model::code;
use crate::model::container::Pull;
use crate::model::diagnostic::{Diagnostic, did_you_mean};
use crate::model::id::ResourceKey;
use crate::model::inventory::{Host, Use};
use crate::model::module::{Declared, Module};
use crate::plan::diff::is_part;
use crate::plan::scope::Scope;
use crate::plan::template::RenderError;
use crate::resource::desired::Entry;
use crate::resource::{Mistake, Spec, part};

use super::{Raw, Wish, key_place};

impl<'a> Wish<'a> {
    pub(super) fn add(
        &mut self,
        host: &Host,
        used: &Use,
        module: &'a Module,
        declared: &Declared,
        scope: &Scope,
        body: Map<String, Value>,
    ) {
        let Some(mut spec) = self.decode(host, declared, body) else {
            return;
        };
        if let Spec::Image(image) = &mut spec {
            let placed = self.placed(host, &image.name, &declared.origin);
            image.name = placed.name;
            image.login = image.login.take().or(placed.login);
        }
        let raw = match self.references(module, declared, scope) {
            Ok(raw) => raw,
            Err(error) => return self.fail(host, used, module, &error, key_place(declared, "after")),
        };
        if let Spec::ContainerRun(run) = &mut spec {
            let placed = self.placed(host, &run.image, &declared.origin);
            run.image = placed.name.clone();
            if run.pull() != Pull::Never {
                let image = part::image(&placed, run.platform.clone(), run.pull());
                self.brought(host, module, declared, &raw, image);
            }
        }
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

    /// Declares what a table needs and does not have to name: the image of a container that is run once.
    fn brought(&mut self, host: &Host, module: &'a Module, declared: &Declared, raw: &Raw, spec: Spec) {
        let raw = Raw {
            after: raw.after.clone(),
            ..Raw::default()
        };
        let entry = Entry {
            needs: BTreeSet::new(),
            restart_on: BTreeSet::new(),
            loses_on: BTreeSet::new(),
            protect: false,
            delete: false,
            ignore: BTreeSet::new(),
            gates: Vec::new(),
            modules: BTreeSet::from([module.name.clone()]),
            origins: vec![declared.origin.clone()],
            spec,
        };
        self.merge(host, entry.spec.key(), entry, raw);
    }

    fn decode(&mut self, host: &Host, declared: &Declared, body: Map<String, Value>) -> Option<Spec> {
        let error = match Spec::decode(declared.kind.as_str(), &Value::Object(body)) {
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
            Err(error) => {
                self.undecodable(host, declared, &error);
                return None;
            }
        };
        self.wished.diagnostics.push(error);
        None
    }

    /// Reports a table that does not fit its form.
    pub(super) fn undecodable(&mut self, host: &Host, declared: &Declared, error: &str) {
        let diagnostic = if error.contains("cut or changed by a filter") {
            Diagnostic::error(
                code::SECRET_MANGLED,
                format!("a `{}` of `{}`: {error}", declared.kind, host.id),
            )
            .at(declared.origin.clone(), "here")
            .hint("print the secret as it is, or through `base64`, `json`, `shell` or `compose`")
        } else {
            let message = format!(
                "a `{}` of `{}` is not well declared: {error}",
                declared.kind, host.id
            );
            let field = error.split('`').nth(1).unwrap_or_default();
            let is_unknown = error.contains("unknown field");
            let hint = is_unknown.then(|| unknown_field_hint(error)).flatten();
            Diagnostic::error(code::BAD_RESOURCE, message)
                .at(key_place(declared, field).clone(), "here")
                .hint_opt(hint)
        };
        self.wished.diagnostics.push(diagnostic);
    }

    fn check(&mut self, host: &Host, declared: &Declared, spec: &Spec, key: &ResourceKey) {
        self.mistakes(host, declared, &key.to_string(), spec.check());
        self.check_ignored(host, declared, &key.to_string(), spec.info().fields);
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

    pub(super) fn mistakes(
        &mut self,
        host: &Host,
        declared: &Declared,
        subject: &str,
        mistakes: Vec<Mistake>,
    ) {
        for mistake in mistakes {
            let message = format!("{subject} on `{}`: {}", host.id, mistake.message);
            let diagnostic = Diagnostic::error(code::BAD_RESOURCE, message);
            let diagnostic = diagnostic
                .at(key_place(declared, mistake.field).clone(), "here")
                .hint_opt(mistake.hint);
            self.wished.diagnostics.push(diagnostic);
        }
    }

    /// Refuses to leave a field to others that is none. A part of one may be left too: `environment.LEVEL`.
    pub(super) fn check_ignored(&mut self, host: &Host, declared: &Declared, subject: &str, fields: &[&str]) {
        let is_field = |name: &str| fields.iter().any(|field| is_part(name, field));
        for field in declared.shared.ignore.iter().filter(|name| !is_field(name)) {
            let message = format!("{subject} on `{}` has no field `{field}` to ignore", host.id);
            let hint = format!("its fields are {}", fields.join(", "));
            let place = key_place(declared, "ignore").clone();
            self.wished.diagnostics.push(
                Diagnostic::error(code::BAD_RESOURCE, message)
                    .at(place, "here")
                    .hint(hint),
            );
        }
    }

    pub(super) fn references(
        &self,
        module: &Module,
        declared: &Declared,
        scope: &Scope,
    ) -> Result<Raw, RenderError> {
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

    /// Adds an entry, or joins it with one that does not contradict it; two that do are one error that names both lines.
    pub(super) fn merge(&mut self, host: &Host, key: ResourceKey, entry: Entry, raw: Raw) {
        let entries = &mut self
            .wished
            .desired
            .hosts
            .entry(host.id.clone())
            .or_default()
            .entries;
        let id = key.on(&host.id);
        let Some(there) = entries.get_mut(&key) else {
            entries.insert(key, entry);
            self.raw.insert(id, raw);
            return;
        };
        let joined = there.spec.joined(&entry.spec);
        match joined.filter(|_| there.ignore == entry.ignore) {
            Some(joined) => {
                there.spec = joined;
                there.protect |= entry.protect;
                there.delete &= entry.delete;
                there.modules.extend(entry.modules);
                there.origins.extend(entry.origins);
                let known = self.raw.entry(id).or_default();
                known.after.extend(raw.after);
                known.restart_on.extend(raw.restart_on);
                known.loses_on.extend(raw.loses_on);
            }
            None => {
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
}

/// Returns the field in which a token stands as mere text, where none may.
fn misplaced(spec: &Value) -> Option<String> {
    fn holds(value: &Value) -> bool {
        match value {
            Value::String(text) => body::has_token(text),
            Value::Array(values) => values.iter().any(holds),
            Value::Object(fields) => fields
                .iter()
                .any(|(key, value)| body::has_token(key) || holds(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
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
