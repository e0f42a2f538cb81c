//! The networks of a service, or whose network it has.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::model::code;
use crate::model::container_part::{Endpoint, NetworkMode};

use super::form::Form;
use super::keys_parts;
use super::node::Node;
use super::source::Texts;
use super::values;

/// The network that a service is attached to where it names none.
const DEFAULT: &str = "default";

/// Reads `networks` and `network_mode`; the former by their names within the project.
pub(super) fn read(
    texts: &mut Texts,
    node: &Node,
    subject: &str,
    settings: &mut crate::model::container::Settings,
) -> BTreeMap<String, Endpoint> {
    let mut form = Form { texts, node, subject };
    if let Some(mode) = form.word("network_mode") {
        settings.network_mode = network_mode(&mut form, &mode);
        conflicts(&mut form, &mode, !settings.ports.is_empty());
        return BTreeMap::new();
    }
    let Some(networks) = node
        .get("networks")
        .filter(|networks| !networks.entries().is_empty())
    else {
        return BTreeMap::from([(DEFAULT.to_owned(), Endpoint::default())]);
    };
    let mut endpoints = BTreeMap::new();
    for entry in networks.entries() {
        let subject = format!("{subject}: `networks`: `{}`", entry.key);
        endpoints.insert(entry.key.clone(), endpoint(form.texts, &entry.value, &subject));
    }
    endpoints
}

fn endpoint(texts: &mut Texts, node: &Node, subject: &str) -> Endpoint {
    if node.is_null() {
        return Endpoint::default();
    }
    values::check(texts, node, &keys_parts::ATTACHMENT, subject);
    let priority = node
        .get("priority")
        .and_then(|node| values::number(texts, node, &format!("{subject}: `priority`")));
    let mut form = Form { texts, node, subject };
    Endpoint {
        aliases: form.words("aliases").into_iter().collect(),
        ipv4: address::<Ipv4Addr>(&mut form, "ipv4_address"),
        ipv6: address::<Ipv6Addr>(&mut form, "ipv6_address"),
        priority: priority.unwrap_or(0),
    }
}

fn address<A: std::str::FromStr + ToString>(form: &mut Form<'_>, key: &str) -> Option<String> {
    let text = form.word(key)?;
    match text.parse::<A>() {
        Ok(address) => Some(address.to_string()),
        Err(_) => {
            let at = form.node.get(key).map_or(form.node.at, |node| node.at);
            let message = format!("{}: `{key}`: `{text}` is no such address", form.subject);
            form.texts
                .error(code::COMPOSE_VALUE, message, at, "this does not fit");
            None
        }
    }
}

fn network_mode(form: &mut Form<'_>, mode: &str) -> NetworkMode {
    match (mode, mode.split_once(':')) {
        ("host", _) => NetworkMode::Host,
        ("none", _) => NetworkMode::None,
        ("bridge", _) => NetworkMode::Bridge,
        (_, Some(("service", name))) if !name.is_empty() => NetworkMode::Service(name.to_owned()),
        (_, Some(("container", name))) if !name.is_empty() => NetworkMode::Container(name.to_owned()),
        _ => {
            let at = form.node.get("network_mode").map_or(form.node.at, |node| node.at);
            let message = format!("{}: `network_mode`: `{mode}` is not known here", form.subject);
            let hint = "one of: host, none, bridge, service:NAME, container:NAME; a network of the project goes under `networks`";
            form.texts
                .hinted(code::COMPOSE_VALUE, message, at, "this does not fit", hint);
            NetworkMode::Networks
        }
    }
}

/// Names what has no meaning without a network of its own.
fn conflicts(form: &mut Form<'_>, mode: &str, has_ports: bool) {
    let mut exclude = |key: &str, why: &str| {
        let Some(entry) = form.node.entry(key) else { return };
        let message = format!(
            "{}: `{key}` and `network_mode: {mode}` exclude each other",
            form.subject
        );
        form.texts.hinted(
            code::COMPOSE_CONFLICT,
            message,
            entry.key_at,
            "not with this mode",
            why.to_owned(),
        );
    };
    exclude("networks", "it has no networks of its own");
    if has_ports && mode != "bridge" {
        exclude(
            "ports",
            "what listens there listens on the network that it shares",
        );
    }
}
