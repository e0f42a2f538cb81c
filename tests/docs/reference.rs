//! The generated pages of the reference.

use std::fmt::Write as _;

use muster::compose::keys::{SECTIONS, Section};
use muster::model::code;
use muster::resource::project::{self, Compose};
use muster::resource::{KINDS, KindInfo};
use serde_json::{Map, Value};

const KINDS_HEAD: &str = "\
# Kinds of resources

<!-- Generated from the types by tests/docs.rs. Edit the doc comments under src/resource/ instead. -->

A table of a module file is a resource; the table's name is its kind. Beside the keys below every kind takes the
[keys that all kinds share](modules.md#keys-that-all-kinds-share). Every string may be a template.
";

const CODES_HEAD: &str = "\
# Codes

<!-- Generated from the types by tests/docs.rs. Edit src/model/code.rs instead. -->

Every mistake that muster finds in a file has a code, which never changes its meaning. `muster explain CODE` prints the same.
";

const COMPOSE_HEAD: &str = "\
# Compose files

<!-- Generated from the tables by tests/docs.rs. Edit src/compose/keys.rs and its neighbours instead. -->

The part of the Compose specification that muster reads. A key that is not listed is an error with its file and line, and so is
one that is listed as refused: nothing is ignored. Keys that begin with `x-` are left to others, `x-muster` alone is read.
Why the part is what it is says [decision 0030](../decisions/0030-compose-files.md).

- **Several files** are merged in their order: mappings by key, lists appended, `command`, `entrypoint` and a check's `test` replaced;
  ports, mounts, secrets and configs are replaced under what is unique of them. `!reset` takes away, `!override` replaces.
- **Variables** come from `.env` files and from the resource, never from a shell's environment: `$NAME`, `${NAME}`,
  `${NAME:-word}`, `${NAME-word}`, `${NAME:?word}`, `${NAME?word}`, `${NAME:+word}`, `${NAME+word}`, nested; `$$` is a dollar sign.
  A variable without a value is an error: write `${NAME:-}` where it may be empty.
- **Secrets** may stand in values of `environment`, in `.env` values that end there, and in the `content` of configs and secrets.
  In a Compose file write `\"{{ value | compose }}\"` in double quotes, in `.env` `KEY={{ value | shell }}`; `base64` fits both.
- **Texts that readers of YAML disagree about** (`yes`, `0644`, `1.0`, `22:22`) must stand in quotes.
- **Names** are those of Compose 2: `project-service-1`. A container `project_service_1` is recognised.
- **Sizes** are powers of 1024 (`512m`, `1.5g`), durations have units (`90s`, `1m30s`).
";

/// Returns the page of Compose files.
pub fn compose() -> String {
    let mut page = COMPOSE_HEAD.to_owned();
    SECTIONS
        .iter()
        .for_each(|section| compose_section(&mut page, section));
    page
}

fn compose_section(page: &mut String, section: &Section) {
    let path: Vec<&str> = section
        .path
        .iter()
        .map(|part| if *part == "*" { "NAME" } else { part })
        .collect();
    let path = path.join(".").replace(".[]", "[]");
    let place = match section.path {
        [] => "At the top of a file.".to_owned(),
        ["configs", ..] => "At `configs.NAME` and `secrets.NAME`.".to_owned(),
        _ => format!("At `{path}`."),
    };
    let cell = |text: &str| text.replace('|', "\\|");
    write!(
        page,
        "\n## {}\n\n{place}\n\n| key | value | meaning |\n| --- | --- | --- |\n",
        section.title
    )
    .expect("writing to a String does not fail");
    for (key, form, meaning) in section.accepted {
        writeln!(page, "| `{key}` | {} | {} |", cell(form), cell(meaning))
            .expect("writing to a String does not fail");
    }
    if section.refused.is_empty() {
        return;
    }
    page.push_str("\nRefused:\n\n| key | instead |\n| --- | --- |\n");
    for (key, reason) in section.refused {
        writeln!(page, "| `{key}` | {} |", cell(reason)).expect("writing to a String does not fail");
    }
}

/// Returns the page of all kinds.
pub fn kinds() -> String {
    let mut page = KINDS_HEAD.to_owned();
    let of_kind = |info: &KindInfo| (info.name, info.schema, remarks(info));
    let mut tables: Vec<Table> = KINDS.iter().map(of_kind).collect();
    tables.push((
        project::NAME,
        |generator| generator.subschema_for::<Compose>(),
        "It is no kind of its own: plans name what it becomes.".to_owned(),
    ));
    tables.sort_by_key(|(name, ..)| *name);
    tables.iter().for_each(|table| section(&mut page, table));
    page
}

/// A table's name, how its schema is made, and what is said below it.
type Table = (
    &'static str,
    fn(&mut schemars::SchemaGenerator) -> schemars::Schema,
    String,
);

fn section(page: &mut String, (name, schema, remarks): &Table) {
    let mut generator = schemars::SchemaGenerator::default();
    let reference = schema(&mut generator);
    let definitions = generator.definitions().clone();
    let schema = resolve(reference.as_value(), &definitions);
    let description = schema["description"]
        .as_str()
        .unwrap_or_else(|| panic!("`{name}` has a doc comment"));
    write!(page, "\n## {name}\n\n{description}\n\n").expect("writing to a String does not fail");
    let properties = schema["properties"].as_object().expect("a kind is a table");
    if !properties.is_empty() {
        page.push_str("| key | value | default | meaning |\n| --- | --- | --- | --- |\n");
        for (key, property) in properties {
            row(page, key, property, schema, &definitions);
        }
        page.push('\n');
    }
    writeln!(page, "{remarks}").expect("writing to a String does not fail");
}

fn row(page: &mut String, key: &str, property: &Value, schema: &Value, definitions: &Map<String, Value>) {
    let is_required = schema["required"]
        .as_array()
        .is_some_and(|required| required.iter().any(|name| name == key));
    let default = match &property["default"] {
        Value::Null if is_required => "required".to_owned(),
        // What is false is left out when it is written, and so the schema does not say it.
        Value::Null if property["type"] == "boolean" => "`false`".to_owned(),
        Value::Null => String::new(),
        value => format!("`{value}`"),
    };
    let meaning = property["description"].as_str().unwrap_or("").replace('\n', " ");
    let value = type_of(property, definitions).replace('|', "\\|");
    writeln!(
        page,
        "| `{key}` | {value} | {default} | {} |",
        meaning.replace('|', "\\|")
    )
    .expect("writing to a String does not fail");
}

fn remarks(info: &KindInfo) -> String {
    let fields: Vec<String> = info.fields.iter().map(|field| format!("`{field}`")).collect();
    let kept = if info.kept_unless_delete {
        "When it is no longer declared it is forgotten, and deleted only where it said `delete = true` and muster made it."
    } else {
        "When it is no longer declared it is deleted if muster made it, and forgotten if muster found it."
    };
    let starts = if info.starts {
        " It may say `restart_on`."
    } else {
        ""
    };
    let compared = match fields.is_empty() {
        true => "Nothing of it is compared but that it is there.".to_owned(),
        false => format!("Compared and named in a plan: {}.", fields.join(", ")),
    };
    format!("{compared} {kept}{starts}")
}

/// Follows a reference to its definition.
fn resolve<'a>(schema: &'a Value, definitions: &'a Map<String, Value>) -> &'a Value {
    match schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        Some(name) => &definitions[name],
        None => schema,
    }
}

/// Says in a few words what a value has to be.
fn type_of(schema: &Value, definitions: &Map<String, Value>) -> String {
    type_within(schema, definitions, &[])
}

/// As [`type_of`], within definitions that are being spelt out, since a list may hold lists of its own sort.
fn type_within(schema: &Value, definitions: &Map<String, Value>, within: &[&str]) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        if within.contains(&name) {
            return "such values".to_owned();
        }
        let within = [within, &[name]].concat();
        return type_within(&definitions[name], definitions, &within);
    }
    let inner = |schema: &Value| type_within(schema, definitions, within);
    if let Some(variants) = schema["anyOf"].as_array().or_else(|| schema["oneOf"].as_array()) {
        let mut types: Vec<String> = variants.iter().map(inner).filter(|name| name != "null").collect();
        types.dedup();
        return types.join(" or ");
    }
    if let Some(values) = schema["enum"].as_array() {
        return values
            .iter()
            .map(|value| format!("`{value}`"))
            .collect::<Vec<_>>()
            .join(", ");
    }
    if let Some(value) = schema.get("const") {
        return format!("`{value}`");
    }
    let names: Vec<&str> = match &schema["type"] {
        Value::String(name) => vec![name],
        Value::Array(names) => names
            .iter()
            .filter_map(Value::as_str)
            .filter(|name| *name != "null")
            .collect(),
        _ => return "any".to_owned(),
    };
    names
        .into_iter()
        .map(|name| simple(name, schema, &inner))
        .collect::<Vec<_>>()
        .join(" or ")
}

fn simple(name: &str, schema: &Value, inner: &impl Fn(&Value) -> String) -> String {
    match name {
        "boolean" => "true or false".to_owned(),
        "integer" => "number".to_owned(),
        "array" => format!("list of {}", inner(&schema["items"])),
        "object" => match &schema["additionalProperties"] {
            Value::Object(_) => format!("table of {}", inner(&schema["additionalProperties"])),
            _ => "table".to_owned(),
        },
        name => name.to_owned(),
    }
}

/// Returns the page of all codes.
pub fn codes() -> String {
    const RANGES: &[(u16, &str)] = &[
        (1, "Inventory"),
        (2, "Modules"),
        (3, "Values, templates and resources"),
        (4, "Plan"),
        (5, "Connection"),
        (6, "Apply"),
        (7, "Secrets"),
        (8, "Stored files"),
        (9, "Command line"),
        (10, "Compose files"),
    ];
    let mut page = CODES_HEAD.to_owned();
    for (range, title) in RANGES {
        let codes = code::ALL
            .iter()
            .filter(|explanation| explanation.code.0 / 100 == *range);
        let rows: String = codes
            .map(|one| {
                format!(
                    "| {} | {} | {} |\n",
                    one.code,
                    one.title,
                    one.text.replace('|', "\\|")
                )
            })
            .collect();
        if !rows.is_empty() {
            write!(
                page,
                "\n## {title}\n\n| code | what is wrong | why, and what to do |\n| --- | --- | --- |\n{rows}"
            )
            .expect("writing to a String does not fail");
        }
    }
    let listed = page.matches("\n| M").count();
    assert_eq!(listed, code::ALL.len(), "every code is in a range");
    page
}
