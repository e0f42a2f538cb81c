//! Keys of files that others own too: reading them, and editing them with everything else left as it is. Pure.
//!
//! Comments, order, indentation and line ends of what is not named stay byte for byte; an edit that changes nothing
//! returns the text as it was. Errors name lines and keys and never repeat content, which may hold secrets. The formats
//! and their key paths are those of [`SettingsFormat`]; one file each.

mod env;
mod ini;
mod json;
mod lines;
mod path;
mod toml;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::model::op::SettingsFormat;

pub use path::segments;

/// Reads the wanted keys of a file; keys that are not there are left out of the result.
///
/// # Errors
/// A clause that says where the text is not well formed, or which key path is not.
pub fn read(
    format: SettingsFormat,
    text: &str,
    keys: &BTreeSet<String>,
) -> Result<BTreeMap<String, Value>, String> {
    match format {
        SettingsFormat::Json => json::read(text, keys),
        SettingsFormat::Toml => toml::read(text, keys),
        SettingsFormat::Ini => ini::read(text, keys),
        SettingsFormat::Env => env::read(text, keys),
    }
}

/// Sets and removes keys; `text` is the file as it is, or `None` where there is none.
///
/// A key that already has its value keeps its bytes. A table or section that a removal leaves empty goes with it.
///
/// # Errors
/// A clause that says where the text is not well formed, or which key cannot stand in the format.
pub fn edit(
    format: SettingsFormat,
    text: Option<&str>,
    set: &BTreeMap<String, Value>,
    remove: &BTreeSet<String>,
) -> Result<String, String> {
    match format {
        SettingsFormat::Json => json::edit(text, set, remove),
        SettingsFormat::Toml => toml::edit(text, set, remove),
        SettingsFormat::Ini => ini::edit(text, set, remove),
        SettingsFormat::Env => env::edit(text, set, remove),
    }
}

/// Returns a value as [`read`] gives it back once [`edit`] has set it: INI and env files hold only text.
///
/// # Errors
/// A clause that says why the value cannot stand in the format.
pub fn canonical(format: SettingsFormat, value: &Value) -> Result<Value, String> {
    match format {
        SettingsFormat::Json => Ok(value.clone()),
        SettingsFormat::Toml => toml::value(value).map(|_| value.clone()),
        SettingsFormat::Ini => ini::text(value).map(Value::String),
        SettingsFormat::Env => env::text(value).map(Value::String),
    }
}

/// Returns what is wrong with a key path in a format.
///
/// # Errors
/// A clause that says what was expected.
pub fn check_key(format: SettingsFormat, key: &str) -> Result<(), String> {
    match format {
        SettingsFormat::Json | SettingsFormat::Toml => segments(key).map(drop),
        SettingsFormat::Ini => ini::place(key).map(drop),
        SettingsFormat::Env => env::check_name(key),
    }
}

/// Returns a scalar as plain text, for formats that hold nothing else.
fn scalar(value: &Value, format: &str) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            Err(format!("{format} holds neither lists nor tables"))
        }
    }
}

#[cfg(test)]
mod tests;
