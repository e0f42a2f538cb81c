//! Modules that are used without one that they need.

use std::collections::BTreeMap;

use crate::model::code;
use crate::model::diagnostic::{Diagnostic, Diagnostics};
use crate::model::id::{HostId, ModuleName};
use crate::model::inventory::Inventory;
use crate::model::module::Module;

use super::Used;
use super::trouble::hosts_text;

/// Reports each need that is not met, once, with its hosts. Needs that do not exist were reported when loading.
pub(super) fn report(
    inventory: &Inventory,
    modules: &BTreeMap<ModuleName, Module>,
    used: &Used<'_>,
    diagnostics: &mut Diagnostics,
) {
    for (name, hosts) in used {
        for needed in modules[*name]
            .needs
            .iter()
            .filter(|needed| modules.contains_key(*needed))
        {
            let has_it = |host: &&HostId| used.get(needed).is_some_and(|hosts| hosts.contains(*host));
            let lacking: Vec<&HostId> = hosts.iter().copied().filter(|host| !has_it(host)).collect();
            if !lacking.is_empty() {
                diagnostics.push(unmet(inventory, name, needed, &lacking));
            }
        }
    }
}

fn unmet(inventory: &Inventory, name: &ModuleName, needed: &ModuleName, lacking: &[&HostId]) -> Diagnostic {
    let message = format!(
        "module `{name}` needs `{needed}`, which is not used on {}",
        hosts_text(lacking)
    );
    let found = Diagnostic::error(code::MODULE_NEEDED, message).hint(format!(
        "add `[[use]]` with `module = \"{needed}\"` for the same hosts"
    ));
    let place = inventory
        .uses
        .iter()
        .find(|used| used.module == *name && used.hosts.contains(lacking[0]));
    match place {
        Some(used) => found.at(used.origin.clone(), "used here"),
        None => found,
    }
}
