//! The environment of a service: `env_file`, then `environment`.

use std::collections::BTreeMap;

use crate::model::body::{Body, has_token};
use crate::model::code;

use super::dotenv;
use super::node::{Node, Value};
use super::path;
use super::service::Around;
use super::source::{SourceFile, Texts};
use super::values;

/// Files that muster renders on the host, by path.
pub(super) type Files = BTreeMap<String, Body>;

/// Reads the variables of a service.
pub(super) fn read(
    texts: &mut Texts,
    node: &Node,
    subject: &str,
    around: &Around<'_>,
) -> BTreeMap<String, Body> {
    let mut environment = BTreeMap::new();
    if let Some(files) = node.get("env_file") {
        from_files(texts, files, subject, around, &mut environment);
    }
    let Some(node) = node.get("environment") else {
        return environment;
    };
    let subject = format!("{subject}: `environment`");
    if !matches!(node.value, Value::Map(_) | Value::Null) {
        texts.error(
            code::COMPOSE_VALUE,
            format!(
                "{subject}: found {}, expected a mapping, or a list of `KEY=value`",
                node.what()
            ),
            node.at,
            "this does not fit",
        );
    }
    for entry in node.entries() {
        let key = entry.key.as_str();
        let subject = format!("{subject}: `{key}`");
        if key.is_empty() || key.contains(['\0', '=']) || has_token(key) {
            texts.error(
                code::COMPOSE_VALUE,
                format!("{subject}: this is no name of a variable"),
                entry.key_at,
                "this does not fit",
            );
            continue;
        }
        let value = match entry.value.is_null() {
            true => outside(texts, &entry.value, key, around),
            false => values::sensitive(texts, &entry.value, &subject),
        };
        if let Some(value) = value {
            environment.insert(key.to_owned(), texts.body(&value));
        }
    }
    environment
}

/// Takes a variable that is named without a value from outside.
fn outside(texts: &mut Texts, node: &Node, key: &str, around: &Around<'_>) -> Option<String> {
    let value = around.variables.get(key).cloned();
    // What could not be interpolated left nothing behind, and was named.
    if value.is_none() && !texts.has_error_at(node.at) {
        let hint = format!(
            "set it in `.env` or in the resource's `variables`, or write `{key}: \"\"` if it may be empty"
        );
        texts.hinted(
            code::COMPOSE_VARIABLE,
            format!("variable `{key}` has no value"),
            node.at,
            "taken from outside",
            hint,
        );
    }
    value
}

fn from_files(
    texts: &mut Texts,
    node: &Node,
    subject: &str,
    around: &Around<'_>,
    environment: &mut BTreeMap<String, Body>,
) {
    let subject = format!("{subject}: `env_file`");
    for item in values::items(texts, node, &subject) {
        let Some(text) = values::word(texts, item, &subject) else {
            continue;
        };
        let path = path::join(around.folder, &text);
        match around.files.get(&path) {
            Some(body) => {
                let file = SourceFile {
                    path,
                    body: body.clone(),
                };
                let read = dotenv::read(texts, &file, around.variables);
                environment.extend(
                    read.into_iter()
                        .map(|(key, (value, _))| (key, texts.body(&value))),
                );
            }
            None => {
                let hint = "declare it as a `file` resource of the same module: what is planned must not rest on what lies on the host";
                texts.hinted(
                    code::COMPOSE_REFERENCE,
                    format!("{subject}: muster does not render `{path}`"),
                    item.at,
                    "not known",
                    hint,
                );
            }
        }
    }
}
