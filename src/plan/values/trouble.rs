//! What is missing or contradictory about one input, gathered over all hosts so that it is said once.

use std::collections::BTreeMap;

use crate::model::code;
use crate::model::diagnostic::{Diagnostic, Diagnostics, Place};
use crate::model::id::{GroupName, HostId};
use crate::model::inventory::Inventory;
use crate::model::module::{Input, Module};

use super::layers::Entry;

/// What is wrong with one input's values.
#[derive(Default)]
pub(super) struct Trouble<'a> {
    missing: Vec<&'a HostId>,
    conflicts: BTreeMap<(&'a GroupName, &'a GroupName), Conflict<'a>>,
}

/// Two places that contradict each other, and the hosts on which they do.
struct Conflict<'a> {
    places: [Option<&'a Place>; 2],
    hosts: Vec<&'a HostId>,
}

impl<'a> Trouble<'a> {
    /// Notes that nobody sets the input on a host.
    pub(super) fn missing(&mut self, host: &'a HostId) {
        self.missing.push(host);
    }

    /// Notes groups that contradict the one that would win. What is meant for one module wins over what is meant for all.
    pub(super) fn compare(&mut self, host: &'a HostId, of_groups: &[&Entry<'a>]) {
        let Some((last, before)) = of_groups.split_last() else {
            return;
        };
        let rivals = before.iter().filter(|entry| entry.is_scoped == last.is_scoped);
        for rival in rivals.filter(|entry| entry.said.given != last.said.given) {
            let (Some(one), Some(other)) = (rival.group(), last.group()) else {
                continue;
            };
            let places = [rival.said.place, last.said.place];
            let conflict = self.conflicts.entry((one, other)).or_insert(Conflict {
                places,
                hosts: Vec::new(),
            });
            conflict.hosts.push(host);
        }
    }

    /// Says what was noted.
    pub(super) fn report(
        self,
        inventory: &Inventory,
        module: &Module,
        input: &Input,
        diagnostics: &mut Diagnostics,
    ) {
        for ((one, other), conflict) in &self.conflicts {
            diagnostics.push(contradiction(input, one, other, conflict));
        }
        if !self.missing.is_empty() {
            diagnostics.push(absence(inventory, module, input, &self.missing));
        }
    }
}

fn contradiction(input: &Input, one: &GroupName, other: &GroupName, conflict: &Conflict<'_>) -> Diagnostic {
    let message = format!(
        "groups `{one}` and `{other}` set `{}` differently for {}",
        input.name,
        hosts_text(&conflict.hosts)
    );
    let found = Diagnostic::error(code::GROUP_CONFLICT, message)
        .hint("set it on the host itself, or on one of the groups only");
    match conflict.places {
        // The lines are named and not shown: somebody may have written the secrets themselves.
        [Some(first), Some(second)] if input.shape.is_secret() => found
            .because(format!("at {first}"))
            .because(format!("at {second}")),
        [Some(first), Some(second)] => found
            .at(first.clone(), format!("group `{one}` says this"))
            .and(second.clone(), format!("group `{other}` says that")),
        [Some(place), None] | [None, Some(place)] => found.at(place.clone(), "set here"),
        [None, None] => found,
    }
}

fn absence(inventory: &Inventory, module: &Module, input: &Input, hosts: &[&HostId]) -> Diagnostic {
    let used = inventory
        .uses
        .iter()
        .find(|used| used.module == module.name && used.hosts.contains(hosts[0]));
    let message = format!(
        "input `{}` of module `{}` has no value on {}",
        input.name,
        module.name,
        hosts_text(hosts)
    );
    let hint = format!(
        "set `{}` under `[values]`, on a group, or on the host{}",
        input.name,
        if input.doc.is_empty() {
            String::new()
        } else {
            format!(". What it is: {}", input.doc)
        }
    );
    let found = Diagnostic::error(code::NO_VALUE, message).hint(hint);
    let found = match used {
        Some(used) => found.at(used.origin.clone(), "the module is used here"),
        None => found,
    };
    found.and(input.origin.clone(), "the input is declared here")
}

/// Names up to three hosts and counts the others.
pub(super) fn hosts_text(hosts: &[&HostId]) -> String {
    let named: Vec<String> = hosts.iter().take(3).map(|host| format!("`{host}`")).collect();
    match hosts.len() {
        0..=3 => named.join(", "),
        many => format!("{} and {} more hosts", named.join(", "), many - 3),
    }
}
