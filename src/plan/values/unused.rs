//! Values that nobody takes: misspelt keys, and keys of modules that are not used where the value reaches.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::code;
use crate::model::diagnostic::{Diagnostic, Diagnostics, did_you_mean};
use crate::model::id::{HostId, ModuleName};
use crate::model::inventory::{Given, GivenAt, Inventory, ValueKey, Values};
use crate::model::module::Module;

use super::Used;

/// Reports every value that no module takes.
pub(super) fn report(
    inventory: &Inventory,
    modules: &BTreeMap<ModuleName, Module>,
    used: &Used<'_>,
    diagnostics: &mut Diagnostics,
) {
    let takers = Takers::new(modules, used);
    for (key, given) in inventory
        .values
        .iter()
        .chain(inventory.overrides.iter().flatten())
    {
        takers.check(key, given, |_| true, diagnostics);
    }
    for group in inventory.groups.values() {
        takers.check_all(
            &group.values,
            |hosts| group.members.iter().any(|host| hosts.contains(host)),
            diagnostics,
        );
    }
    for host in inventory.hosts.values() {
        takers.check_all(&host.values, |hosts| hosts.contains(&host.id), diagnostics);
    }
}

/// Which modules take which input.
struct Takers<'a> {
    modules: &'a BTreeMap<ModuleName, Module>,
    used: &'a Used<'a>,
    by_input: BTreeMap<&'a str, Vec<&'a ModuleName>>,
}

impl<'a> Takers<'a> {
    fn new(modules: &'a BTreeMap<ModuleName, Module>, used: &'a Used<'a>) -> Self {
        let mut by_input: BTreeMap<&str, Vec<&ModuleName>> = BTreeMap::new();
        for module in modules.values() {
            module
                .inputs
                .iter()
                .for_each(|input| by_input.entry(&input.name).or_default().push(&module.name));
        }
        Self {
            modules,
            used,
            by_input,
        }
    }

    fn check_all(
        &self,
        values: &Values,
        reaches: impl Fn(&BTreeSet<&HostId>) -> bool,
        diagnostics: &mut Diagnostics,
    ) {
        values
            .iter()
            .for_each(|(key, given)| self.check(key, given, &reaches, diagnostics));
    }

    fn check(
        &self,
        key: &ValueKey,
        given: &Given,
        reaches: impl Fn(&BTreeSet<&HostId>) -> bool,
        diagnostics: &mut Diagnostics,
    ) {
        let is_meant = |module: &&ModuleName| key.module.as_ref().is_none_or(|meant| meant == *module);
        let takers: Vec<&ModuleName> = self.named(&key.input).filter(is_meant).collect();
        let is_used = |module: &&ModuleName| self.used.get(*module).is_some_and(&reaches);
        if takers.iter().any(is_used) {
            return;
        }
        let found = match takers.first() {
            Some(module) => Diagnostic::error(
                code::UNUSED_VALUE,
                format!(
                    "value `{key}` is taken by module `{module}`, which is used on no host that this reaches"
                ),
            )
            .hint("remove it, or use the module there"),
            None => Diagnostic::error(code::UNUSED_VALUE, format!("no module takes the value `{key}`"))
                .hint_opt(self.suggestion(key)),
        };
        // The line of a value that is meant to be secret is named and not shown: it may hold the secret itself.
        let is_secret = takers.iter().any(|module| self.is_secret(module, &key.input));
        diagnostics.push(match &given.origin {
            GivenAt::File(place) if is_secret => found.because(format!("set at {place}")),
            GivenAt::File(place) => found.at(place.clone(), "set here"),
            by => found.because(format!("set by `{by}`")),
        });
    }

    fn is_secret(&self, module: &ModuleName, input: &str) -> bool {
        let inputs = self
            .modules
            .get(module)
            .into_iter()
            .flat_map(|module| &module.inputs);
        inputs
            .filter(|found| found.name == input)
            .any(|found| found.shape.is_secret())
    }

    fn named(&self, input: &str) -> impl Iterator<Item = &'a ModuleName> {
        self.by_input.get(input).into_iter().flatten().copied()
    }

    /// Suggests an input of the module that was named, else of any, else a module whose table this may be meant to be.
    fn suggestion(&self, key: &ValueKey) -> Option<String> {
        let inputs_of = |module: &'a Module| module.inputs.iter().map(|input| input.name.as_str());
        match &key.module {
            Some(name) => did_you_mean(&key.input, inputs_of(self.modules.get(name)?)),
            None => {
                let names = self.modules.keys().map(ModuleName::as_str);
                did_you_mean(&key.input, self.by_input.keys().copied().chain(names))
            }
        }
    }
}
