//! Desire: inventory × modules × values × facts → what every host must be.

mod compose;
mod entry;
mod expand;
mod fleet;
mod gates;
mod image;
mod link;
mod place;
mod trouble;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::code;
use crate::model::diagnostic::{Diagnostic, Diagnostics, Place, Sources};
use crate::model::id::{HostId, ModuleName, ResourceId, ResourceKey};
use crate::model::inventory::{Host, Inventory, Use};
use crate::model::module::{Declared, Module, Rule};
use crate::model::observation::FactsSeen;
use crate::model::registry::Images;
use crate::resource::desired::{Desired, DesiredHost};
use crate::resource::project;

use super::scope::{Fleet, Scope};
use super::template::Templates;
use super::values::Resolved;
use super::{claims, graph, listeners};

pub use image::Named;

/// What came of desiring.
#[derive(Debug, Clone, Default)]
pub struct Wished {
    /// What every host must be.
    pub desired: Desired,
    /// Hosts whose facts a template read and nobody has gathered: gather them and desire again.
    pub facts_wanted: BTreeSet<HostId>,
    /// Where these facts were read.
    pub facts_holes: Vec<FactsHole>,
    /// Images by the names that modules give them.
    pub images: BTreeMap<String, Named>,
    /// What is wrong.
    pub diagnostics: Diagnostics,
    /// Rendered texts that diagnostics point to, since no file that people wrote has that line.
    pub sources: Sources,
}

/// A place at which a template reads facts that nobody has gathered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactsHole {
    /// The host that is rendered.
    pub host: HostId,
    /// The module.
    pub module: ModuleName,
    /// The host whose facts are read.
    pub wanted: HostId,
    /// Where.
    pub place: Place,
}

/// Renders, expands and checks everything that the inventory's modules declare, for every host.
///
/// A host whose templates read facts of a host that did not answer is held as a whole; the others are not affected.
pub fn desire(
    inventory: &Inventory,
    modules: &BTreeMap<ModuleName, Module>,
    resolved: &Resolved<'_>,
    facts: &FactsSeen,
) -> Wished {
    let fleet = Arc::new(fleet::fleet(inventory, modules, resolved, facts));
    let templates: BTreeMap<&ModuleName, Templates> = modules
        .iter()
        .map(|(name, module)| (name, Templates::new(module)))
        .collect();
    let mut wish = Wish {
        fleet: fleet.clone(),
        resolved,
        facts,
        images: &inventory.images,
        templates,
        wished: Wished::default(),
        raw: BTreeMap::new(),
        projects: BTreeMap::new(),
    };
    let hosts: Vec<(&Host, Vec<(&Use, &Module)>)> = inventory
        .hosts
        .values()
        .map(|host| {
            let used = inventory.modules_of(&host.id).into_iter();
            (
                host,
                used.filter_map(|used| Some((used, modules.get(&used.module)?)))
                    .collect(),
            )
        })
        .collect();
    // Derived values of all hosts come first, since a resource of one host may read those of another.
    for (host, used) in &hosts {
        wish.wished
            .desired
            .hosts
            .insert(host.id.clone(), DesiredHost::default());
        used.iter()
            .for_each(|(used, module)| wish.derive(host, used, module));
    }
    for (host, used) in &hosts {
        let mut waiting = Vec::new();
        used.iter()
            .for_each(|(used, module)| wish.declare(host, used, module, &mut waiting));
        waiting.iter().for_each(|project| wish.project(host, project));
        wish.attach_gates(host, used);
        let clashes = listeners::clashes(&wish.listeners(host, used));
        wish.wished.diagnostics.extend(clashes);
    }
    wish.finish(&fleet)
}

/// References of one entry as written, until every host has been declared.
#[derive(Debug, Clone, Default, PartialEq)]
struct Raw {
    after: Vec<(String, Place)>,
    restart_on: Vec<(String, Place)>,
    loses_on: Vec<(String, Place)>,
}

/// One desiring in progress.
struct Wish<'a> {
    fleet: Arc<Fleet>,
    resolved: &'a Resolved<'a>,
    facts: &'a FactsSeen,
    images: &'a Images,
    templates: BTreeMap<&'a ModuleName, Templates>,
    wished: Wished,
    raw: BTreeMap<ResourceId, Raw>,
    /// The resources of each Compose project, by its host and its name.
    projects: BTreeMap<(HostId, String), BTreeSet<ResourceKey>>,
}

impl<'a> Wish<'a> {
    fn scope(&self, host: &Host, module: &Module) -> Scope {
        let (fleet, host, module) = (self.fleet.clone(), host.id.clone(), module.name.clone());
        Scope {
            fleet,
            host,
            module,
            locals: BTreeMap::new(),
        }
    }

    fn derive(&mut self, host: &Host, used: &Use, module: &'a Module) {
        let mut scope = self.scope(host, module);
        for derived in &module.derived {
            match self.templates[&module.name].eval(&derived.expression, &scope.value()) {
                Ok(value) => drop(scope.locals.insert(derived.name.clone(), value)),
                Err(error) => self.fail(host, used, module, &error, &derived.origin),
            }
        }
        let values = self
            .fleet
            .hosts
            .get(&host.id)
            .and_then(|scope| scope.modules.get(&module.name));
        if let Some(values) = values {
            values
                .derived
                .set(scope.locals)
                .expect("each module of a host derives once");
        }
    }

    fn declare(
        &mut self,
        host: &Host,
        used: &'a Use,
        module: &'a Module,
        projects: &mut Vec<compose::Waiting<'a>>,
    ) {
        let scope = self.scope(host, module);
        module
            .rules
            .iter()
            .for_each(|rule| self.judge(host, used, module, &scope, rule));
        for moved in &module.moved {
            let hosts = &mut self.wished.desired.hosts;
            hosts
                .entry(host.id.clone())
                .or_default()
                .moved
                .insert(moved.to.clone(), moved.from.clone());
        }
        for declared in &module.declared {
            for (scope, body) in self.expand(host, used, module, &scope, declared, true) {
                match declared.kind.as_str() == project::NAME {
                    true => projects.push(compose::Waiting::new(used, module, declared, scope, body)),
                    false => self.add(host, used, module, declared, &scope, body),
                }
            }
        }
    }

    fn judge(&mut self, host: &Host, used: &Use, module: &'a Module, scope: &Scope, rule: &Rule) {
        let templates = &self.templates[&module.name];
        let scope = scope.value();
        let holds = |expression: &str| templates.eval(expression, &scope).map(|value| value.is_true());
        let broken = rule
            .when
            .as_deref()
            .map_or(Ok(true), holds)
            .and_then(|applies| {
                if applies {
                    holds(&rule.must).map(|kept| !kept)
                } else {
                    Ok(false)
                }
            })
            .and_then(|broken| {
                if !broken {
                    return Ok(None);
                }
                let hint = rule
                    .hint
                    .as_deref()
                    .map(|hint| templates.render_text(hint, &scope))
                    .transpose()?;
                Ok(Some((templates.render_text(&rule.message, &scope)?, hint)))
            });
        match broken {
            Err(error) => self.fail(host, used, module, &error, &rule.origin),
            Ok(None) => {}
            Ok(Some((message, hint))) => {
                let message = format!("{message} (host `{}`)", host.id);
                let new = if rule.is_warning {
                    Diagnostic::warning
                } else {
                    Diagnostic::error
                };
                let (place, said) = self.mend(host, used, module, rule.input.as_deref());
                let diagnostic = new(code::MODULE_RULE, message).at(place, said);
                self.wished
                    .diagnostics
                    .push(diagnostic.and(rule.origin.clone(), "the rule").hint_opt(hint));
            }
        }
    }

    /// Resolves references, adds what kinds imply, and looks for circles and clashes.
    fn finish(mut self, fleet: &Fleet) -> Wished {
        let raw = std::mem::take(&mut self.raw);
        for (id, raw) in &raw {
            let after = self.resolve(id, &raw.after);
            let mut restart_on = self.resolve(id, &raw.restart_on);
            restart_on.extend(self.asked_image(id));
            let loses_on = self.resolve(id, &raw.loses_on);
            let outputs = self.outputs(id);
            let implied = self.implied(id);
            let hosts = &mut self.wished.desired.hosts;
            let Some(entry) = hosts
                .get_mut(&id.host)
                .and_then(|host| host.entries.get_mut(&id.key))
            else {
                continue;
            };
            entry.needs = after
                .into_iter()
                .chain(outputs)
                .chain(implied)
                .chain(restart_on.iter().cloned())
                .collect();
            entry.needs.remove(id);
            entry.restart_on = restart_on;
            entry.loses_on = loses_on;
        }
        self.wished
            .diagnostics
            .extend(claims::clashes(&self.wished.desired));
        self.wished
            .diagnostics
            .extend(graph::cycles(&self.wished.desired));
        let unpinned = image::unpinned(&self.wished.images, self.images);
        self.wished.diagnostics.extend(unpinned);
        let read = fleet
            .facts_read
            .lock()
            .expect("no template panics while it holds the lock");
        for (host, names) in read.iter() {
            if let Some(desired) = self.wished.desired.hosts.get_mut(host) {
                desired.facts_read.clone_from(names);
            }
        }
        drop(read);
        self.wished
    }
}

/// Returns the place of one key of a table, or of the table.
fn key_place<'d>(declared: &'d Declared, key: &str) -> &'d Place {
    let content = || {
        ["template", "source"]
            .iter()
            .find_map(|other| declared.keys.get(*other))
    };
    let found = declared
        .keys
        .get(key)
        .or_else(|| (key == "content").then(content).flatten());
    found.unwrap_or(&declared.origin)
}
