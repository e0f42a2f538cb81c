//! References: what services name must be declared, and be there.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::code;
use crate::model::container_part::MountFrom;
use crate::model::diagnostic::did_you_mean;

use super::declared::Content;
use super::node::Node;
use super::project::Project;
use super::service;
use super::source::Texts;

/// Checks what services name.
pub(super) fn references(texts: &mut Texts, tree: &Node, project: &mut Project, inactive: &BTreeSet<String>) {
    let mut services = std::mem::take(&mut project.services);
    let names: BTreeSet<String> = services.keys().cloned().collect();
    for service in services.values_mut() {
        let mut checking = Checking {
            texts,
            tree,
            service: &service.name,
        };
        for network in service.networks.keys() {
            checking.one_of("networks", "network", network, project.networks.keys());
        }
        for mount in service.settings.mounts.values() {
            if let MountFrom::Volume(volume) = &mount.from {
                checking.one_of("volumes", "volume", volume, project.volumes.keys());
            }
        }
        for grant in &service.grants {
            match grant.is_secret {
                true => checking.one_of("secrets", "secret", &grant.source, project.secrets.keys()),
                false => checking.one_of("configs", "config", &grant.source, project.configs.keys()),
            }
            let content = if grant.is_secret {
                project.secrets.get(&grant.source)
            } else {
                project.configs.get(&grant.source)
            };
            let has_attributes = grant.uid.is_some() || grant.gid.is_some() || grant.mode.is_some();
            if let (Some(Content::File(path)), true) = (content, has_attributes) {
                let message = format!("service `{}`: `{path}` has owner and mode already", service.name);
                checking.texts.hinted(
                    code::COMPOSE_CONFLICT,
                    message,
                    grant.at,
                    "`uid`, `gid` or `mode`",
                    "set them where the file is declared",
                );
            }
        }
        let mut gone = Vec::new();
        for (other, dependency) in &service.depends_on {
            if !names.contains(other) && !dependency.is_required {
                gone.push(other.clone());
            } else {
                checking.service("depends_on", other, &names, inactive);
            }
        }
        for other in service::shares_with(&service.settings) {
            checking.service("network_mode", &other, &names, inactive);
        }
        service.depends_on.retain(|other, _| !gone.contains(other));
    }
    project.services = services;
}

/// An engine has one container of a name.
pub(super) fn one_name_each(texts: &mut Texts, tree: &Node, project: &Project) {
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for (service, name) in project
        .services
        .values()
        .filter_map(|service| Some((&service.name, service.container_name.as_deref()?)))
    {
        if let Some(other) = owners.insert(name, service) {
            let checking = Checking { texts, tree, service };
            let at = checking.at("container_name");
            let message = format!("services `{other}` and `{service}` both name their container `{name}`");
            checking
                .texts
                .error(code::COMPOSE_CONFLICT, message, at, "the same name");
        }
    }
}

struct Checking<'a> {
    texts: &'a mut Texts,
    tree: &'a Node,
    service: &'a str,
}

impl Checking<'_> {
    fn one_of<'k>(
        &mut self,
        key: &str,
        what: &str,
        name: &str,
        mut known: impl Iterator<Item = &'k String> + Clone,
    ) {
        if known.clone().any(|known| known == name) {
            return;
        }
        let hint = did_you_mean(name, known.by_ref().map(String::as_str))
            .unwrap_or_else(|| format!("declare it under the file's `{key}`"));
        let message = format!("service `{}`: no {what} `{name}` is declared", self.service);
        let at = self.at(key);
        self.texts
            .hinted(code::COMPOSE_REFERENCE, message, at, "not declared", hint);
    }

    fn service(&mut self, key: &str, name: &str, active: &BTreeSet<String>, inactive: &BTreeSet<String>) {
        if active.contains(name) {
            return;
        }
        let at = self.at(key);
        let (message, hint) = match inactive.contains(name) {
            true => (
                format!(
                    "service `{}` needs `{name}`, which is in no active profile",
                    self.service
                ),
                "activate one of its profiles, or say `required: false`".to_owned(),
            ),
            false => (
                format!("service `{}` needs `{name}`, which is not declared", self.service),
                did_you_mean(name, active.iter().map(String::as_str))
                    .unwrap_or_else(|| "declare it under `services`".to_owned()),
            ),
        };
        self.texts
            .hinted(code::COMPOSE_REFERENCE, message, at, "not there", hint);
    }

    /// Returns the place of a key of the service, or of the service.
    fn at(&self, key: &str) -> super::source::At {
        let service = self
            .tree
            .get("services")
            .and_then(|services| services.entry(self.service));
        let key = service
            .and_then(|service| service.value.entry(key))
            .map(|entry| entry.value.at);
        key.or(service.map(|service| service.key_at))
            .unwrap_or(self.tree.at)
    }
}
