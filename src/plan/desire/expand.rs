//! Expansion: a declared table, rendered once or once for each item.

use minijinja::Value;
use minijinja::value::ValueKind;
use serde_json::Map;

use crate::model::diagnostic::did_you_mean;
use crate::model::inventory::{Host, Use};
use crate::model::module::{Declared, Module};
use crate::plan::scope::Scope;
use crate::plan::template::RenderError;

use super::{Wish, key_place};

impl<'a> Wish<'a> {
    /// Renders a table once, or once for each item; `when` is asked for each item.
    pub(super) fn expand(
        &mut self,
        host: &Host,
        used: &Use,
        module: &'a Module,
        scope: &Scope,
        declared: &Declared,
        with_content: bool,
    ) -> Vec<(Scope, Map<String, serde_json::Value>)> {
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
            let mut body = Map::new();
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
                let is_map = value.kind() == ValueKind::Map;
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
    pub(super) fn content(
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
}
