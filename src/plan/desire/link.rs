//! Links: references resolved to resources, once every host has been declared.

use std::collections::BTreeSet;

use crate::model::code;
use crate::model::diagnostic::{Diagnostic, Place, did_you_mean};
use crate::model::id::{HostId, ResourceId, ResourceKey};
use crate::model::selector::Field;
use crate::plan::reference::Reference;
use crate::resource::{self, project};

use super::Wish;

impl<'a> Wish<'a> {
    pub(super) fn resolve(
        &mut self,
        id: &ResourceId,
        references: &[(String, Place)],
    ) -> BTreeSet<ResourceId> {
        let mut found = BTreeSet::new();
        for (text, place) in references {
            match self.meant(id, text) {
                Ok(ids) => found.extend(ids),
                Err(diagnostic) => self
                    .wished
                    .diagnostics
                    .push(diagnostic.at(place.clone(), format!("`{text}`"))),
            }
        }
        found
    }

    fn meant(&self, id: &ResourceId, text: &str) -> Result<Vec<ResourceId>, Box<Diagnostic>> {
        let reference = Reference::parse(text).ok_or_else(|| {
            let message = format!("`{text}` of {id} is not a reference");
            let hint = did_you_mean(text.split(':').next().unwrap_or_default(), resource::referable());
            let forms = "write `kind:name`, `@group:kind:name` or `host:kind:name`";
            let hint = hint.unwrap_or_else(|| forms.to_owned());
            Box::new(Diagnostic::error(code::BAD_REFERENCE, message).hint(hint))
        })?;
        let hosts = match &reference.hosts {
            None => BTreeSet::from([id.host.clone()]),
            Some(selector) => {
                let hosts = self
                    .fleet
                    .hosts
                    .iter()
                    .map(|(id, host)| (id, &host.labels))
                    .collect();
                let field = Field {
                    hosts,
                    groups: &self.fleet.groups,
                };
                selector.resolve(&field).map_err(|error| {
                    let message = format!("`{text}` of {id} names no hosts: {error}");
                    Box::new(Diagnostic::error(code::BAD_REFERENCE, message))
                })?
            }
        };
        let ids = hosts.iter().flat_map(|host| self.named(host, &reference.key));
        let ids: Vec<ResourceId> = ids.collect();
        if !ids.is_empty() || hosts.iter().any(|host| self.is_partial(host)) {
            return Ok(ids);
        }
        let message = format!("{id} refers to {}, which is not declared there", reference.key);
        let names = self.names_of(&hosts, reference.key.kind.as_str());
        let hint = did_you_mean(&reference.key.name, names.iter().map(String::as_str));
        Err(Box::new(
            Diagnostic::error(code::NO_SUCH_RESOURCE, message).hint_opt(hint),
        ))
    }

    /// Returns what a name means on a host: one resource, or all of a project.
    pub(super) fn named(&self, host: &HostId, key: &ResourceKey) -> Vec<ResourceId> {
        if key.kind.as_str() == project::NAME {
            let of_project = self.projects.get(&(host.clone(), key.name.clone()));
            let keys = of_project.into_iter().flatten();
            return keys.map(|key| key.on(host)).collect();
        }
        let id = key.on(host);
        let is_there = self.wished.desired.get(&id).is_some();
        is_there.then_some(id).into_iter().collect()
    }

    fn names_of(&self, hosts: &BTreeSet<HostId>, kind: &str) -> Vec<String> {
        let projects = self.projects.keys();
        let projects = projects
            .filter(|(host, _)| kind == project::NAME && hosts.contains(host))
            .map(|(_, name)| name.clone());
        let declared = hosts
            .iter()
            .filter_map(|host| self.wished.desired.hosts.get(host));
        let keys = declared.flat_map(|host| host.entries.keys());
        let names = keys
            .filter(|key| key.kind.as_str() == kind)
            .map(|key| key.name.clone());
        projects.chain(names).collect()
    }

    /// Says whether a host's resources are not all declared, so that a missing one is no mistake.
    fn is_partial(&self, host: &HostId) -> bool {
        let held = self
            .wished
            .desired
            .hosts
            .get(host)
            .is_some_and(|host| host.held.is_some());
        held || !self.wished.facts_wanted.is_empty() || self.wished.diagnostics.has_errors()
    }

    pub(super) fn outputs(&mut self, id: &ResourceId) -> BTreeSet<ResourceId> {
        let Some(entry) = self.wished.desired.get(id) else {
            return BTreeSet::new();
        };
        let outputs: BTreeSet<_> = entry
            .spec
            .bodies()
            .into_iter()
            .flat_map(|body| body.outputs().cloned())
            .collect();
        let origin = entry.origins.first().cloned();
        let mut needs = BTreeSet::new();
        for output in outputs {
            let producer = self
                .wished
                .desired
                .get(&output.resource)
                .map(|entry| entry.spec.declared_outputs());
            let is_there = producer.iter().flatten().any(|(name, _)| *name == output.output);
            if is_there || (producer.is_none() && self.is_partial(&output.resource.host)) {
                needs.insert(output.resource);
                continue;
            }
            let message = format!("{id} uses the output `{}`, which no resource produces", output);
            let mut diagnostic = Diagnostic::error(code::NO_SUCH_OUTPUT, message);
            if let Some(origin) = &origin {
                diagnostic = diagnostic.at(origin.clone(), "used here");
            }
            self.wished.diagnostics.push(diagnostic);
        }
        needs
    }

    pub(super) fn implied(&self, id: &ResourceId) -> BTreeSet<ResourceId> {
        let Some(host) = self.wished.desired.hosts.get(&id.host) else {
            return BTreeSet::new();
        };
        let Some(entry) = host.entries.get(&id.key) else {
            return BTreeSet::new();
        };
        let implied = entry.spec.implied().into_iter();
        implied
            .filter(|key| host.entries.contains_key(key))
            .map(|key| key.on(&id.host))
            .collect()
    }
}
