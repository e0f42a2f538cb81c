//! Examples: values, and what must come of them. The format is told in `docs/reference/modules.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use muster::model::id::{HostId, ModuleName};
use muster::model::module::Module;
use muster::model::observation::Facts;
use serde::Deserialize;

use super::render::{Rendered, render, said, text};

/// One file below a module's `examples/`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    host: Option<toml::Value>,
    values: Option<toml::Table>,
    inventory: Option<toml::Table>,
    facts: Option<Os>,
    #[serde(default)]
    expect: Expect,
}

/// What a module may read of the hosts' systems.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Os {
    os: String,
    os_version: String,
    os_codename: String,
}

impl Os {
    fn facts(&self) -> Facts {
        Facts {
            os: self.os.clone(),
            os_version: self.os_version.clone(),
            os_codename: self.os_codename.clone(),
            ..Facts::default()
        }
    }
}

/// What must come of it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Expect {
    resources: Option<BTreeSet<String>>,
    diagnostics: BTreeSet<String>,
    messages: Option<Vec<String>>,
    warnings: Vec<String>,
    files: BTreeMap<String, Content>,
}

/// What must and must not stand in a file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Content {
    contains: Vec<String>,
    lacks: Vec<String>,
}

/// An example, rendered.
pub struct Example {
    /// Its path, for messages.
    pub name: String,
    /// The host that is looked at.
    pub host: HostId,
    /// What came of it.
    pub rendered: Rendered,
    expect: Expect,
}

impl Example {
    /// Renders every example of every module.
    pub fn all(modules: &BTreeMap<ModuleName, Module>) -> Vec<Self> {
        let folder = |name: &ModuleName| super::root().join("modules").join(name.as_str()).join("examples");
        let files = modules.keys().flat_map(|name| {
            super::toml_files(&folder(name))
                .into_iter()
                .map(move |file| (name, file))
        });
        files
            .map(|(name, file)| Self::read(name, &file, modules))
            .collect()
    }

    fn read(module: &ModuleName, path: &Path, modules: &BTreeMap<ModuleName, Module>) -> Self {
        let name = format!(
            "{module}/examples/{}",
            path.file_name().expect("it is a file").display()
        );
        let source = std::fs::read_to_string(path).expect("it can be read");
        let file: File = toml::from_str(&source).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (host, inventory) = inventory(module, &file);
        let folder = tempfile::tempdir().expect("there is room");
        let path: PathBuf = folder.path().join("example.toml");
        std::fs::write(&path, inventory.to_string()).expect("there is room");
        Self {
            name,
            host: host.parse().expect("it names a host"),
            rendered: render(&path, modules, file.facts.as_ref().map(Os::facts).as_ref()),
            expect: file.expect,
        }
    }

    /// Returns what came differently.
    pub fn findings(&self) -> Vec<String> {
        let found = [
            self.mistakes(),
            self.warnings(),
            self.resources(),
            self.contents(),
        ]
        .concat();
        found
            .into_iter()
            .map(|finding| format!("{}: {finding}", self.name))
            .collect()
    }

    /// Says whether mistakes are what it is about.
    pub fn is_broken(&self) -> bool {
        !self.expect.diagnostics.is_empty()
    }

    fn mistakes(&self) -> Vec<String> {
        let codes: BTreeSet<String> = self
            .rendered
            .errors()
            .map(|error| error.code.to_string())
            .collect();
        let errors: Vec<String> = self.rendered.errors().map(said).collect();
        if codes != self.expect.diagnostics {
            return vec![format!(
                "expected {:?}, came {errors:#?}",
                self.expect.diagnostics
            )];
        }
        self.expect
            .messages
            .as_ref()
            .map_or_else(Vec::new, |messages| matched(messages, &errors))
    }

    fn warnings(&self) -> Vec<String> {
        let warnings: Vec<String> = self.rendered.warnings().map(said).collect();
        matched(&self.expect.warnings, &warnings)
    }

    fn resources(&self) -> Vec<String> {
        let Some(expected) = &self.expect.resources else {
            return Vec::new();
        };
        let came: BTreeSet<String> = self.rendered.entries(&self.host).map(|(key, _)| key).collect();
        let lacking = expected
            .difference(&came)
            .map(|key| format!("{key} did not come"));
        let more = came.difference(expected).map(|key| format!("{key} came unasked"));
        lacking.chain(more).collect()
    }

    fn contents(&self) -> Vec<String> {
        let files = self.rendered.files(&self.host);
        let mut findings = Vec::new();
        for (path, content) in &self.expect.files {
            let Some(file) = files.iter().find(|file| file.path == path) else {
                findings.push(format!("{path} did not come"));
                continue;
            };
            let came = text(file.body, |secret| format!("<{}>", secret.source));
            let lacking = content
                .contains
                .iter()
                .filter(|part| !came.contains(part.as_str()));
            findings.extend(lacking.map(|part| format!("{path} lacks {part:?}:\n{came}")));
            let present = content.lacks.iter().filter(|part| came.contains(part.as_str()));
            findings.extend(present.map(|part| format!("{path} contains {part:?}")));
        }
        findings
    }
}

/// Returns what was expected and did not come, and what came and was not expected.
fn matched(expected: &[String], came: &[String]) -> Vec<String> {
    let mut left: Vec<&String> = came.iter().collect();
    let mut findings = Vec::new();
    for part in expected {
        match left.iter().position(|message| message.contains(part.as_str())) {
            Some(found) => drop(left.remove(found)),
            None => findings.push(format!("nothing said {part:?}; left over: {left:#?}")),
        }
    }
    findings.extend(left.into_iter().map(|message| format!("said unasked: {message}")));
    findings
}

/// Returns the host that is looked at, and the inventory: the example's own, or one made around its values.
fn inventory(module: &ModuleName, file: &File) -> (String, toml::Table) {
    if let (Some(toml::Value::String(host)), Some(inventory)) = (&file.host, &file.inventory) {
        return (host.clone(), inventory.clone());
    }
    let mut host = match &file.host {
        Some(toml::Value::Table(host)) => host.clone(),
        _ => toml::Table::new(),
    };
    host.entry("address").or_insert("203.0.113.1".into());
    let table = |pairs: Vec<(&str, toml::Value)>| -> toml::Value {
        pairs
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect::<toml::Table>()
            .into()
    };
    let used = table(vec![("module", module.as_str().into()), ("on", "all".into())]);
    let values = file.values.clone().unwrap_or_default();
    let pairs = vec![
        ("fleet", table(vec![("name", "example".into())])),
        ("hosts", table(vec![("example", host.into())])),
        ("use", vec![used].into()),
        ("values", table(vec![(module.as_str(), values.into())])),
    ];
    let inventory = table(pairs);
    (
        "example".to_owned(),
        inventory.as_table().expect("it was made as one").clone(),
    )
}
