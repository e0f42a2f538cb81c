//! What almost every verb begins with: the inventory and the modules, read and checked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::console::Console;
use super::discover;
use super::exit::Exit;
use super::global::Global;
use crate::load::{self, Loaded};
use crate::model::diagnostic::{Diagnostics, Sources};
use crate::model::digest::Digest;
use crate::model::id::{HostId, ModuleName};
use crate::model::inventory::Inventory;
use crate::model::module::Module;
use crate::plan::values::{self, Resolved};
use crate::resource;

/// The inventory and the modules.
#[derive(Debug)]
pub struct Context {
    /// The inventory's path, as it was named.
    pub path: PathBuf,
    /// The inventory.
    pub inventory: Inventory,
    /// The modules by name.
    pub modules: BTreeMap<ModuleName, Module>,
    /// The texts that were read.
    pub sources: Sources,
    /// What has been found wrong so far.
    pub diagnostics: Diagnostics,
}

impl Context {
    /// Reads the inventory and the modules without judging: mistakes are in the diagnostics, with their values checked.
    ///
    /// # Errors
    /// The exit code, after saying why, where there is nothing to judge.
    pub fn read(global: &Global, console: &mut Console) -> Result<Self, Exit> {
        let path = discover::inventory(global, console)?;
        let modules = match discover::modules(global, &path) {
            Some(folder) => {
                console.detail(&format!("modules: {}", folder.display()));
                load::modules(&folder, &resource::tables())
            }
            None => {
                console.note("modules: there is no folder `modules/` beside the inventory or here");
                Loaded {
                    value: Some(BTreeMap::new()),
                    diagnostics: Diagnostics::default(),
                    sources: Sources::default(),
                }
            }
        };
        let names: BTreeSet<ModuleName> = modules.value.iter().flat_map(BTreeMap::keys).cloned().collect();
        let inventory = load::inventory(&path, &names, &global.overrides());
        let (mut diagnostics, mut sources) = (modules.diagnostics, modules.sources);
        diagnostics.extend(inventory.diagnostics);
        sources.extend(inventory.sources);
        match (inventory.value, modules.value) {
            (Some(inventory), Some(modules)) => Ok(Self {
                path,
                inventory,
                modules,
                sources,
                diagnostics,
            }),
            (_, _) => {
                console.diagnostics(&diagnostics, &sources);
                Err(Exit::Error)
            }
        }
    }

    /// Reads the inventory and the modules, resolves the values, shows what is wrong, and goes on only without errors.
    ///
    /// # Errors
    /// [`Exit::Error`] with errors among the diagnostics, which were shown.
    pub fn load(global: &Global, console: &mut Console) -> Result<Self, Exit> {
        let mut context = Self::read(global, console)?;
        let mut diagnostics = std::mem::take(&mut context.diagnostics);
        context.resolve(&mut diagnostics);
        console.diagnostics(&diagnostics, &context.sources);
        let has_errors = diagnostics.has_errors();
        context.diagnostics = diagnostics;
        if has_errors { Err(Exit::Error) } else { Ok(context) }
    }

    /// Returns how many hosts are worked on at once.
    pub fn parallel(&self, global: &Global) -> usize {
        global
            .parallel
            .map_or(self.inventory.policy.parallel, usize::from)
    }

    /// Returns the texts of all files, and of what was rendered from them.
    pub fn sources_with(&self, rendered: &Sources) -> Sources {
        let mut sources = self.sources.clone();
        sources.extend(rendered.clone());
        sources
    }

    /// Returns the digests of all that a plan is made from: every file that was read, and every value that the environment or the
    /// command line set.
    pub fn inputs(&self) -> BTreeMap<String, Digest> {
        let files = self.sources.iter();
        let files = files.map(|(file, text)| (file.to_owned(), Digest::of(text.as_bytes())));
        let set = self.inventory.overrides.iter().flat_map(BTreeMap::values);
        let set = set.filter(|given| given.origin.place().is_none());
        let set = set.map(|given| (given.origin.to_string(), Digest::of(given.value.to_string())));
        files.chain(set).collect()
    }

    /// Finds every input's value on every host.
    pub fn resolve(&self, diagnostics: &mut Diagnostics) -> Resolved<'_> {
        values::resolve(&self.inventory, &self.modules, diagnostics)
    }

    /// Returns the hosts that `--limit` leaves, or all.
    ///
    /// # Errors
    /// [`Exit::Usage`], after saying why, where the selector names what is not there.
    pub fn limited(&self, global: &Global, console: &Console) -> Result<BTreeSet<HostId>, Exit> {
        let Some(selector) = &global.limit else {
            return Ok(self.inventory.hosts.keys().cloned().collect());
        };
        self.inventory.select(selector).map_err(|error| {
            console.error(&format!("--limit: {error}"));
            Exit::Usage
        })
    }
}
