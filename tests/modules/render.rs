//! Renders an inventory with the repository's own modules, as `muster plan` would.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::OnceLock;

use muster::load::{self, Overrides};
use muster::model::body::{Body, Piece};
use muster::model::diagnostic::{Diagnostic, Severity};
use muster::model::id::{HostId, ModuleName};
use muster::model::module::Module;
use muster::model::observation::{Facts, FactsSeen};
use muster::model::secret::SecretRef;
use muster::plan::desire::desire;
use muster::plan::values;
use muster::resource::desired::{Desired, Entry};
use muster::resource::{Spec, tables};

/// What came of an inventory.
pub struct Rendered {
    /// What every host must be.
    pub desired: Desired,
    /// What is wrong, loading included.
    pub diagnostics: Vec<Diagnostic>,
}

/// A file that a module writes.
pub struct Rendering<'a> {
    /// Its path.
    pub path: &'a str,
    /// Its mode.
    pub mode: &'a str,
    /// Its content, secrets as references.
    pub body: &'a Body,
}

/// Returns the repository's modules, read once for all tests.
pub fn modules() -> &'static BTreeMap<ModuleName, Module> {
    static MODULES: OnceLock<BTreeMap<ModuleName, Module>> = OnceLock::new();
    MODULES.get_or_init(read)
}

fn read() -> BTreeMap<ModuleName, Module> {
    let kinds = tables();
    let loaded = load::modules(&super::root().join("modules"), &kinds);
    let wrong: Vec<String> = loaded.diagnostics.iter().map(said).collect();
    assert!(wrong.is_empty(), "modules load without a remark: {wrong:#?}");
    loaded.value.expect("the folder of modules is there")
}

/// Returns a diagnostic as one line.
pub fn said(diagnostic: &Diagnostic) -> String {
    format!("{}: {}", diagnostic.code, diagnostic.message)
}

/// Renders an inventory file whose hosts all have these facts, where it may read any.
pub fn render(inventory: &Path, modules: &BTreeMap<ModuleName, Module>, facts: Option<&Facts>) -> Rendered {
    let names: BTreeSet<ModuleName> = modules.keys().cloned().collect();
    let loaded = load::inventory(inventory, &names, &Overrides::default());
    let mut diagnostics = loaded.diagnostics;
    let inventory = loaded.value.expect("the inventory is there");
    let resolved = values::resolve(&inventory, modules, &mut diagnostics);
    if diagnostics.has_errors() {
        return Rendered {
            desired: Desired::default(),
            diagnostics: diagnostics.iter().cloned().collect(),
        };
    }
    let hosts = inventory.hosts.keys();
    let seen = FactsSeen {
        known: facts
            .into_iter()
            .flat_map(|facts| hosts.clone().map(|host| (host.clone(), facts.clone())))
            .collect(),
        lost: BTreeMap::new(),
    };
    let wished = desire(&inventory, modules, &resolved, &seen);
    assert!(
        wished.facts_wanted.is_empty(),
        "a template reads facts, and none are given"
    );
    diagnostics.extend(wished.diagnostics.iter().cloned());
    Rendered {
        desired: wished.desired,
        diagnostics: diagnostics.iter().cloned().collect(),
    }
}

impl Rendered {
    /// Returns the errors.
    pub fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        let of = |diagnostic: &&Diagnostic| diagnostic.severity == Severity::Error;
        self.diagnostics.iter().filter(of)
    }

    /// Returns the warnings.
    pub fn warnings(&self) -> impl Iterator<Item = &Diagnostic> {
        let of = |diagnostic: &&Diagnostic| diagnostic.severity == Severity::Warning;
        self.diagnostics.iter().filter(of)
    }

    /// Returns the resources of a host.
    pub fn entries(&self, host: &HostId) -> impl Iterator<Item = (String, &Entry)> {
        let entries = self.desired.hosts.get(host).into_iter();
        entries.flat_map(|desired| {
            desired
                .entries
                .iter()
                .map(|(key, entry)| (key.to_string(), entry))
        })
    }

    /// Returns the files of a host.
    pub fn files(&self, host: &HostId) -> Vec<Rendering<'_>> {
        let desired = self.desired.hosts.get(host).into_iter();
        desired
            .flat_map(|desired| desired.entries.values().filter_map(file))
            .collect()
    }
}

fn file(entry: &Entry) -> Option<Rendering<'_>> {
    match &entry.spec {
        Spec::File(file) => Some(Rendering {
            path: &file.path,
            mode: &file.mode,
            body: &file.content,
        }),
        _ => None,
    }
}

/// Returns a body as text, each secret as this says.
pub fn text(body: &Body, secret: impl Fn(&SecretRef) -> String) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Text(text) => text.clone(),
        Piece::Secret(reference) => secret(reference),
        Piece::Output(output) => format!("<{output}>"),
    };
    body.pieces().iter().map(piece).collect()
}
