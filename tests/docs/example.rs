//! Whole files among the examples, read by muster itself.

use std::collections::BTreeSet;
use std::path::Path;

use muster::load::{self, Loaded, Overrides};
use muster::model::diagnostic::Severity;
use muster::model::id::ModuleName;
use muster::resource::tables;

/// Returns what is wrong with an inventory.
pub fn inventory(text: &str) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("inventory.toml");
    std::fs::write(&file, text).expect("it can be written");
    let modules: BTreeSet<ModuleName> = names(text, "module");
    said(&load::inventory(&file, &modules, &Overrides::default()))
}

/// Returns what is wrong with a module, with the templates and the modules that it names beside it.
pub fn module(text: &str) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let table: toml::Table = text.parse().expect("it is TOML");
    let name = table["module"]["name"].as_str().expect("a module has a name");
    let home = folder.path().join(name);
    write(&home.join("module.toml"), text);
    for template in quoted(text, "template") {
        write(&home.join("templates").join(template), "");
    }
    let needs = table["module"].get("needs").and_then(toml::Value::as_array);
    for needed in needs.into_iter().flatten().filter_map(toml::Value::as_str) {
        write(
            &folder.path().join(needed).join("module.toml"),
            &format!("[module]\nname = \"{needed}\"\n"),
        );
    }
    let kinds = tables();
    said(&load::modules(folder.path(), &kinds))
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("it has a folder")).expect("a folder can be made");
    std::fs::write(path, text).expect("it can be written");
}

fn said<T>(loaded: &Loaded<T>) -> Vec<String> {
    loaded
        .diagnostics
        .iter()
        .filter(|found| found.severity == Severity::Error)
        .map(|found| format!("{} {}", found.code, found.message))
        .collect()
}

/// Returns the modules that an inventory names: those used, and those with a table of values.
fn names(text: &str, key: &str) -> BTreeSet<ModuleName> {
    let tables = text
        .lines()
        .filter_map(|line| line.strip_prefix("[values.")?.split(']').next());
    quoted(text, key)
        .chain(tables)
        .filter_map(|name| name.parse().ok())
        .collect()
}

/// Returns the strings that a key is set to, wherever it stands at the beginning of a line.
fn quoted<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| {
        let value = line.strip_prefix(key)?.trim_start().strip_prefix('=')?;
        value.split('"').nth(1)
    })
}
