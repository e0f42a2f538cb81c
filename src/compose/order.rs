//! Order: services after those that they need, and circles named.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::code;

use super::node::Node;
use super::service::{self, Service};
use super::source::Texts;

/// Returns the services in an order in which each comes after those that it needs; among equals by name.
pub(super) fn of(texts: &mut Texts, tree: &Node, services: &BTreeMap<String, Service>) -> Vec<String> {
    let mut waiting: BTreeMap<&str, BTreeSet<String>> = services
        .iter()
        .map(|(name, service)| (name.as_str(), needs(service)))
        .collect();
    let mut order = Vec::new();
    while !waiting.is_empty() {
        let ready: Vec<&str> = waiting
            .iter()
            .filter(|(_, needs)| !needs.iter().any(|need| waiting.contains_key(need.as_str())))
            .map(|(name, _)| *name)
            .collect();
        if ready.is_empty() {
            circle(texts, tree, &waiting);
            return order;
        }
        for name in ready {
            waiting.remove(name);
            order.push(name.to_owned());
        }
    }
    order
}

/// Returns the services that must come before one.
pub(super) fn needs(service: &Service) -> BTreeSet<String> {
    let mut needs: BTreeSet<String> = service.depends_on.keys().cloned().collect();
    needs.extend(service::shares_with(&service.settings));
    needs
}

fn circle(texts: &mut Texts, tree: &Node, waiting: &BTreeMap<&str, BTreeSet<String>>) {
    let Some((first, _)) = waiting.first_key_value() else {
        return;
    };
    let mut path: Vec<&str> = vec![first];
    loop {
        let last = path[path.len() - 1];
        // INVARIANT: every service that waits needs another that waits, else it would be ready.
        let Some(next) = waiting[last]
            .iter()
            .find_map(|need| waiting.get_key_value(need.as_str()))
            .map(|(name, _)| *name)
        else {
            return;
        };
        if let Some(start) = path.iter().position(|name| *name == next) {
            path.drain(..start);
            path.push(next);
            break;
        }
        path.push(next);
    }
    let at = tree
        .get("services")
        .and_then(|services| services.entry(path[0]))
        .map_or(tree.at, |entry| entry.key_at);
    texts.error(
        code::COMPOSE_CYCLE,
        format!("services need each other in a circle: {}", path.join(" → ")),
        at,
        "in a circle",
    );
}
