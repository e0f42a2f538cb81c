//! JSON Schemas of the files that people write, made from their forms.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::raw::inventory::RawInventory;
use super::raw::module::{RawGate, RawListener, RawModule, RawShared};

/// A resource kind's name and how its schema is made.
pub type KindSchema<'k> = (&'k str, fn(&mut SchemaGenerator) -> Schema);

/// Returns the schema of an inventory file.
pub fn inventory() -> Value {
    titled(
        generator().into_root_schema_for::<RawInventory>().into(),
        "muster inventory",
    )
}

/// Returns the schema of `module.toml`, with a table for every kind.
pub fn module(kinds: &[KindSchema<'_>]) -> Value {
    let mut generator = generator();
    let shared = table::<RawShared>(&mut generator);
    let listener = table::<RawListener>(&mut generator);
    let gate = table::<RawGate>(&mut generator);
    let mut tables = vec![("listener", listener), ("gate", gate)];
    for (name, make) in kinds {
        let made = make(&mut generator);
        tables.push((name, templated(defined(made.into(), &generator))));
    }
    let mut root: Value = generator.into_root_schema_for::<RawModule>().into();
    for (name, table) in tables {
        root["properties"][name] = json!({ "type": "array", "items": joined(table, &shared) });
    }
    root["additionalProperties"] = false.into();
    titled(root, "muster module")
}

fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12().into_generator()
}

fn titled(mut schema: Value, title: &str) -> Value {
    schema["title"] = title.into();
    schema
}

fn table<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    let made = generator.subschema_for::<T>();
    defined(made.into(), generator)
}

/// Returns a schema itself where it is only a reference to a definition.
fn defined(schema: Value, generator: &SchemaGenerator) -> Value {
    let name = schema["$ref"]
        .as_str()
        .and_then(|reference| reference.rsplit('/').next());
    name.and_then(|name| generator.definitions().get(name))
        .cloned()
        .unwrap_or(schema)
}

/// Adds the keys that all resources share, and refuses all others.
fn joined(mut table: Value, shared: &Value) -> Value {
    if let (Some(own), Some(shared)) = (properties(&mut table), shared["properties"].as_object()) {
        for (key, schema) in shared {
            own.entry(key).or_insert_with(|| schema.clone());
        }
    }
    table["additionalProperties"] = false.into();
    table
}

/// Turns a kind's own form into that of a module: every value may be a template, and a content may come from a file.
fn templated(mut kind: Value) -> Value {
    let Some(own) = properties(&mut kind) else {
        return kind;
    };
    let has_content = own.contains_key("content");
    for schema in own.values_mut().filter(|schema| schema["type"] != "string") {
        let description = schema
            .as_object_mut()
            .and_then(|schema| schema.remove("description"));
        let is_template = json!({ "type": "string", "pattern": "\\{\\{" });
        *schema = json!({ "anyOf": [schema.take(), is_template] });
        schema
            .as_object_mut()
            .expect("just made")
            .extend(description.map(|text| ("description".to_owned(), text)));
    }
    if has_content {
        own.insert(
            "template".to_owned(),
            text("The content: a template under the module's `templates/`."),
        );
        own.insert(
            "source".to_owned(),
            text("The content: a file under the module's `files/`, as it is."),
        );
        let one_of = ["content", "template", "source"].map(|key| json!({ "required": [key] }));
        if let Some(required) = kind["required"]
            .as_array_mut()
            .filter(|keys| keys.contains(&json!("content")))
        {
            required.retain(|key| key != "content");
            kind["oneOf"] = json!(one_of);
        }
    }
    kind
}

fn text(description: &str) -> Value {
    json!({ "type": "string", "description": description })
}

fn properties(table: &mut Value) -> Option<&mut Map<String, Value>> {
    table["properties"].as_object_mut()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::raw::{inventory as inventories, module as modules};

    fn keys(schema: &Value) -> Vec<&str> {
        let mut keys: Vec<&str> = schema["properties"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        keys.sort_unstable();
        keys
    }

    fn sorted<const N: usize>(mut known: [&'static str; N]) -> Vec<&'static str> {
        known.sort_unstable();
        known.to_vec()
    }

    #[test]
    fn the_keys_that_are_known_are_those_of_the_schema() {
        assert_eq!(keys(&inventory()), sorted(inventories::KEYS));
        assert_eq!(keys(&module(&[])), sorted(modules::KEYS));
        let mut generator = generator();
        assert_eq!(keys(&table::<RawShared>(&mut generator)), sorted(modules::SHARED));
        assert_eq!(
            keys(&table::<RawListener>(&mut generator)),
            sorted(modules::LISTENER)
        );
        let gate = table::<RawGate>(&mut generator);
        let mut of_gates = modules::GATE.to_vec();
        of_gates.push("after");
        of_gates.sort_unstable();
        assert_eq!(keys(&gate), of_gates);
    }

    #[test]
    fn a_kinds_table_has_the_shared_keys_and_three_ways_to_a_content() {
        let thing = |_: &mut SchemaGenerator| {
            schemars::json_schema!({
                "type": "object",
                "properties": {
                    "path": { "type": "string" },
                    "content": { "type": "string" },
                    "size": { "type": "integer" },
                },
                "required": ["path", "content", "size"],
            })
        };
        let schema = module(&[("thing", thing)]);
        let table = &schema["properties"]["thing"]["items"];
        assert!(
            ["after", "template", "source", "path"]
                .iter()
                .all(|key| keys(table).contains(key))
        );
        assert_eq!(table["required"], json!(["path", "size"]));
        assert_eq!(table["properties"]["size"]["anyOf"][1]["type"], "string");
    }
}
