//! A host as it would be: its resources as text and as JSON, secrets as references and outputs as `?`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::container;
use super::line::{Line, Page, Tone};
use super::names::count;
use crate::model::body::Body;
use crate::model::diagnostic::Place;
use crate::model::id::{HostId, ModuleName, ResourceId, ResourceKey};

/// What stands where a content is declared sensitive as a whole.
const SENSITIVE: &str = "(sensitive, not shown)";

/// A host as it would be.
#[derive(Debug, Clone)]
pub struct Rendering {
    /// The host.
    pub host: HostId,
    /// Its resources, in order of their keys.
    pub resources: Vec<Rendered>,
}

/// One resource as it would be.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// The resource.
    pub key: ResourceKey,
    /// What is declared, in its kind's own form, with secrets by reference.
    pub spec: Value,
    /// What must be there before.
    pub needs: BTreeSet<ResourceId>,
    /// The modules that declare it.
    pub modules: BTreeSet<ModuleName>,
    /// Where.
    pub origins: Vec<Place>,
}

impl Rendered {
    /// Returns what is declared as people may read it: each body is one text.
    pub fn readable(&self) -> Value {
        let mut spec = self.spec.clone();
        if container::is_one(self.key.kind.as_str()) {
            container::hide(&mut spec);
        }
        let mut spec = readable(&spec);
        if spec["sensitive"] == json!(true) {
            spec["content"] = SENSITIVE.into();
        }
        spec
    }

    /// Returns the text of a file as it would be.
    pub fn content(&self) -> Option<String> {
        let spec = self.readable();
        let is_file = self.key.kind.as_str() == "file";
        spec["content"].as_str().filter(|_| is_file).map(str::to_owned)
    }
}

/// Joins bodies with holes to one text. A list is one only if it has a hole: a body without is a string already.
fn readable(value: &Value) -> Value {
    match value {
        Value::Array(items) => {
            let has_hole = items
                .iter()
                .any(|item| item.get("secret").is_some() || item.get("output").is_some());
            let body = has_hole
                .then(|| serde_json::from_value::<Body>(value.clone()).ok())
                .flatten();
            match body {
                Some(body) => body.to_string().into(),
                None => items.iter().map(readable).collect(),
            }
        }
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| (key.clone(), readable(value)));
            Value::Object(fields.collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// Returns a host as a page.
pub fn page(rendering: &Rendering) -> Page {
    let mut lines = Vec::new();
    for rendered in &rendering.resources {
        lines.extend(resource(rendered, true));
        lines.push(Line::blank());
    }
    Page {
        title: Line::new(Tone::Head, 0, format!("Host {} as it would be", rendering.host)),
        lines,
        sum: Line::new(Tone::Head, 0, sum(rendering)),
    }
}

/// Returns a host as plain text without the contents of its files, for a file that lies beside them.
pub fn listing(rendering: &Rendering) -> String {
    let lines = rendering
        .resources
        .iter()
        .flat_map(|rendered| resource(rendered, false).into_iter().chain([Line::blank()]));
    let page = Page {
        title: Line::new(Tone::Head, 0, ""),
        lines: lines.collect(),
        sum: Line::new(Tone::Head, 0, sum(rendering)),
    };
    page.plain()
}

fn sum(rendering: &Rendering) -> String {
    format!(
        "{} on {}.",
        count(rendering.resources.len(), "resource"),
        rendering.host
    )
}

fn resource(rendered: &Rendered, with_content: bool) -> Vec<Line> {
    let modules: Vec<&str> = rendered.modules.iter().map(ModuleName::as_str).collect();
    let mut lines = vec![
        Line::new(Tone::Add, 0, rendered.key.to_string()),
        Line::new(Tone::Muted, 4, format!("module: {}", modules.join(", "))),
    ];
    if !rendered.needs.is_empty() {
        let needs: Vec<String> = rendered.needs.iter().map(ToString::to_string).collect();
        lines.push(Line::new(Tone::Muted, 4, format!("needs: {}", needs.join(", "))));
    }
    let spec = rendered.readable();
    for (field, value) in spec.as_object().into_iter().flatten() {
        if field != "content" || with_content || rendered.content().is_none() {
            lines.extend(self::field(field, value));
        }
    }
    lines
}

/// Returns a field on one line, or a longer text below its name.
fn field(name: &str, value: &Value) -> Vec<Line> {
    match value {
        Value::String(text) if text.contains('\n') => {
            let head = Line::new(Tone::Plain, 4, format!("{name}:"));
            let rest = text
                .lines()
                .map(|line| Line::new(Tone::Plain, 6, format!("| {line}")));
            std::iter::once(head).chain(rest).collect()
        }
        Value::String(text) => vec![Line::new(Tone::Plain, 4, format!("{name}: {text}"))],
        other => vec![Line::new(Tone::Plain, 4, format!("{name}: {other}"))],
    }
}

/// Returns a resource as one JSON object.
pub fn json(rendering: &Rendering, rendered: &Rendered) -> Value {
    json!({
        "type": "resource", "target": rendered.key.on(&rendering.host), "spec": rendered.readable(),
        "needs": rendered.needs, "modules": rendered.modules, "origins": rendered.origins,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(spec: Value) -> Rendered {
        Rendered {
            key: ResourceKey::new("file", "/etc/a"),
            spec,
            needs: BTreeSet::new(),
            modules: BTreeSet::new(),
            origins: Vec::new(),
        }
    }

    #[test]
    fn holes_are_named_and_lists_that_only_look_like_bodies_stay() {
        let body = json!([{ "text": "p=" }, { "secret": "plain|env:PASS" }, { "output": "command[k]@h#a" }]);
        let spec = json!({ "content": body, "list": [{ "text": "x" }, [1]] });
        let spec = rendered(spec).readable();
        assert_eq!(spec["content"], "p=(secret env:PASS)(? a of h)");
        assert_eq!(spec["list"], json!([{ "text": "x" }, [1]]));
    }

    #[test]
    fn sensitive_content_is_not_shown() {
        let rendered = rendered(json!({ "content": "hush", "sensitive": true }));
        assert_eq!(rendered.content().as_deref(), Some(SENSITIVE));
    }
}
