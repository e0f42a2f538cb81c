//! A container that will be made, as people read it: field by field, without what only muster and the engine need.

use std::collections::BTreeSet;

use serde::Deserialize as _;
use serde_json::{Map, Value};

use super::settings;
use crate::model::container::{Settings, is_own_label};

/// What stands in the place of a value that nobody declared public.
const HIDDEN: &str = "(not shown)";
/// Parts of a spec that say how it is recognised and ordered, and nothing of what it will be.
const SILENT: &[&str] = &[
    "project",
    "service",
    "number",
    "name",
    "former_names",
    "public_env",
    "mounted",
    "files",
    "needs",
    "recreated_with",
    "is_log_secret",
];

/// Says whether a kind is a container, whose variables are not to be shown unless that is said.
pub fn is_one(kind: &str) -> bool {
    ["container", "container_run"].contains(&kind)
}

/// Returns the fields of a container's spec, with those of its settings beside them and each variable by itself.
pub fn fields(spec: &Value) -> Map<String, Value> {
    let mut shown = Map::new();
    let Some(parts) = own(spec).as_object() else {
        return shown;
    };
    let public = public(spec);
    for (name, value) in parts.iter().filter(|(name, _)| !SILENT.contains(&name.as_str())) {
        match (name.as_str(), value.as_object()) {
            ("settings", Some(_)) => match Settings::deserialize(value) {
                Ok(settings) => shown.extend(settings::told(
                    &settings,
                    own(spec)["service"].as_str().unwrap_or_default(),
                )),
                // Of another version: as it stands there.
                Err(_) => drop(shown.insert(name.clone(), value.clone())),
            },
            ("environment", Some(variables)) => variables.iter().for_each(|(key, value)| {
                shown.insert(format!("environment.{key}"), variable(key, value, &public));
            }),
            _ => drop(shown.insert(name.clone(), value.clone())),
        }
    }
    shown
}

/// Takes the labels out by which muster and Compose recognise what is theirs.
pub fn without_own_labels(spec: &Value) -> Value {
    let mut spec = spec.clone();
    if let Some(labels) = spec.get_mut("labels").and_then(Value::as_object_mut) {
        labels.retain(|name, _| !is_own_label(name));
    }
    spec
}

/// Takes the values out that nobody declared public. What they come from may be a file that is never shown.
pub fn hide(spec: &mut Value) {
    let public = public(spec);
    let spec = if spec["spec"].is_object() {
        &mut spec["spec"]
    } else {
        spec
    };
    let variables = spec.get_mut("environment").and_then(Value::as_object_mut);
    for (key, value) in variables.into_iter().flatten() {
        *value = variable(key, value, &public);
    }
}

/// Returns where a spec says what the container is.
fn own(spec: &Value) -> &Value {
    match &spec["spec"] {
        Value::Object(_) => &spec["spec"],
        _ => spec,
    }
}

fn public(spec: &Value) -> BTreeSet<String> {
    let names = own(spec)["public_env"].as_array().into_iter().flatten();
    names
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect()
}

/// A list has a secret's source among its parts, which may be told; texts are values.
fn variable(key: &str, value: &Value, public: &BTreeSet<String>) -> Value {
    match value {
        _ if public.contains(key) => value.clone(),
        Value::String(_) => HIDDEN.into(),
        Value::Array(parts) => {
            let part = |part: &Value| match part.get("text") {
                Some(_) => serde_json::json!({ "text": HIDDEN }),
                None => part.clone(),
            };
            parts.iter().map(part).collect()
        }
        _ => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec() -> Value {
        json!({ "within_secs": 300, "spec": {
            "project": "join", "service": "api", "number": 1, "name": "join-api-1", "image": "box:1",
            "environment": { "LEVEL": "info", "FROM": "dotenv", "URL": [{ "text": "dotenv" }, { "secret": "plain|env:URL" }], "PASS": [{ "secret": "plain|env:PASS" }] },
            "public_env": ["LEVEL"],
            "settings": { "command": ["sleep", "1"], "labels": { "com.docker.compose.project": "join", "tier": "back" } },
        }})
    }

    #[test]
    fn a_container_is_shown_field_by_field_without_what_is_not_public() {
        let shown = Value::Object(fields(&spec()));
        let expected = json!({
            "image": "box:1", "environment.LEVEL": "info", "environment.FROM": HIDDEN,
            "environment.URL": [{ "text": HIDDEN }, { "secret": "plain|env:URL" }],
            "environment.PASS": [{ "secret": "plain|env:PASS" }],
            "command": "sleep 1", "labels.tier": "back",
        });
        assert_eq!(shown, expected);
    }

    #[test]
    fn what_is_not_public_leaves_a_spec_that_programs_get() {
        let mut spec = spec();
        hide(&mut spec);
        assert!(!spec.to_string().contains("dotenv"), "{spec}");
        assert_eq!(spec["spec"]["environment"]["LEVEL"], "info");
    }
}
