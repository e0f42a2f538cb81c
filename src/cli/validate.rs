//! `muster validate`: the inventory and the modules, offline.

use std::collections::BTreeSet;

use serde_json::json;

use super::console::Console;
use super::context::Context;
use super::exit::Exit;
use super::global::Global;
use crate::model::diagnostic::{Diagnostics, Sources};
use crate::model::id::HostId;
use crate::model::observation::FactsSeen;
use crate::plan::desire::desire;

/// Check the inventory and the modules, offline
///
/// Names every mistake in one run, each with file, line and hint. Nothing is looked at and no secret is read.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// What was checked.
struct Checked {
    resources: usize,
    waiting: BTreeSet<HostId>,
    sources: Sources,
}

impl Args {
    /// Runs the verb.
    pub(super) fn run(self, global: &Global, console: &mut Console) -> Exit {
        if console.is_json() {
            console.begin_json("validate");
        }
        let mut context = match Context::read(global, console) {
            Ok(context) => context,
            Err(exit) => return exit,
        };
        let mut diagnostics = std::mem::take(&mut context.diagnostics);
        let checked = check(&context, &mut diagnostics);
        console.diagnostics(&diagnostics, &context.sources_with(&checked.sources));
        conclude(&context, &checked, &diagnostics, console);
        if diagnostics.has_errors() {
            Exit::Error
        } else {
            Exit::Done
        }
    }
}

/// Resolves values and renders what needs no look. Each step runs only where the one before left something to judge.
fn check(context: &Context, diagnostics: &mut Diagnostics) -> Checked {
    // A module that is not well declared would make every value of it look wrong.
    let has_bad_module = context.modules.values().any(|module| {
        let is_in = |file: &str| file.starts_with(module.file.trim_end_matches("module.toml"));
        let errors = diagnostics
            .iter()
            .filter(|found| found.severity == crate::model::diagnostic::Severity::Error);
        errors
            .filter_map(|found| found.place.as_ref())
            .any(|label| is_in(&label.place.file))
    });
    if has_bad_module {
        return Checked {
            resources: 0,
            waiting: BTreeSet::new(),
            sources: Sources::default(),
        };
    }
    let resolved = context.resolve(diagnostics);
    if diagnostics.has_errors() {
        return Checked {
            resources: 0,
            waiting: BTreeSet::new(),
            sources: Sources::default(),
        };
    }
    let wished = desire(
        &context.inventory,
        &context.modules,
        &resolved,
        &FactsSeen::default(),
    );
    diagnostics.extend(wished.diagnostics);
    let resources = wished.desired.hosts.values().map(|host| host.entries.len()).sum();
    Checked {
        resources,
        waiting: wished.facts_wanted,
        sources: wished.sources,
    }
}

fn conclude(context: &Context, checked: &Checked, diagnostics: &Diagnostics, console: &mut Console) {
    let inventory = &context.inventory;
    let used: BTreeSet<_> = inventory.uses.iter().map(|used| &used.module).collect();
    if console.is_json() {
        console.object(&json!({
            "type": "sums", "fleet": inventory.name, "hosts": inventory.hosts.len(), "modules": used.len(),
            "resources": checked.resources, "waiting_for_facts": checked.waiting, "ok": !diagnostics.has_errors(),
        }));
        return;
    }
    if diagnostics.has_errors() {
        return;
    }
    if !checked.waiting.is_empty() {
        let count = checked.waiting.len();
        console.note(&format!("templates read the facts of {count} hosts, which only a look can tell: checked as far as that goes"));
    }
    let count = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    console.text(&format!(
        "{}: {}, {}, {}. No mistakes.\n",
        inventory.name,
        count(inventory.hosts.len(), "host"),
        count(used.len(), "module"),
        count(checked.resources, "resource"),
    ));
}
