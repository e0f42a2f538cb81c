//! Ports: the short form and the long form, with ranges.

use std::collections::BTreeSet;

use crate::model::code;
use crate::model::container_part::{Port, PublishedPort};

use super::keys_parts;
use super::node::{Node, Value};
use super::source::Texts;
use super::values;

/// So many ports may one range have.
const RANGE_MAX: u16 = 4096;

/// Reads the ports of a service.
pub(super) fn read(texts: &mut Texts, node: &Node, subject: &str) -> BTreeSet<PublishedPort> {
    let subject = format!("{subject}: `ports`");
    let mut ports = BTreeSet::new();
    for item in values::items(texts, node, &subject) {
        match &item.value {
            Value::Map(_) => ports.extend(long(texts, item, &subject)),
            Value::Null | Value::Scalar(_) | Value::List(_) => {
                let Some(text) = values::word(texts, item, &subject) else {
                    continue;
                };
                match short(&text) {
                    Some(read) => ports.extend(read),
                    None => unreadable(texts, item, &subject, &text),
                }
            }
        }
    }
    ports
}

fn unreadable(texts: &mut Texts, node: &Node, subject: &str, text: &str) {
    let message = format!("{subject}: `{text}` is no port");
    texts.hinted(
        code::COMPOSE_VALUE,
        message,
        node.at,
        "this does not fit",
        "write `[ADDRESS:][HOST PORT:]PORT[/PROTOCOL]`, such as `127.0.0.1:8080:80`",
    );
}

/// Reads `[address:][host port:]port[/protocol]`, each port alone or a range.
fn short(text: &str) -> Option<Vec<PublishedPort>> {
    let (ports, protocol) = text.rsplit_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol_of(protocol)?;
    let (rest, target) = ports
        .rsplit_once(':')
        .map_or((None, ports), |(rest, target)| (Some(rest), target));
    let (ip, published) = match rest {
        None => (None, None),
        Some(rest) => match rest.rsplit_once(':') {
            Some((ip, published)) => (
                Some(ip.trim_start_matches('[').trim_end_matches(']')),
                Some(published),
            ),
            None => (None, Some(rest)),
        },
    };
    let ip = match ip {
        Some(ip) => Some(ip.parse::<std::net::IpAddr>().ok()?.to_string()),
        None => None,
    };
    publish(
        ip.as_deref(),
        published.filter(|published| !published.is_empty()),
        target,
        &protocol,
    )
}

fn protocol_of(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    ["tcp", "udp", "sctp"].contains(&lower.as_str()).then_some(lower)
}

fn publish(
    ip: Option<&str>,
    published: Option<&str>,
    target: &str,
    protocol: &str,
) -> Option<Vec<PublishedPort>> {
    let (first, last) = range(target)?;
    let host = published.map(range).map_or(Some(None), |range| range.map(Some))?;
    let host_port = |at: u16| match host {
        None => Some(None),
        Some((low, high)) if high - low == last - first => Some(Some((low + at).to_string())),
        // The engine takes a free one of them.
        Some((low, high)) if first == last => Some(Some(format!("{low}-{high}"))),
        Some(_) => None,
    };
    (first..=last)
        .map(|number| {
            Some(PublishedPort {
                port: Port {
                    number,
                    protocol: protocol.to_owned(),
                },
                host_ip: ip.filter(|ip| *ip != "0.0.0.0").map(str::to_owned),
                host_port: host_port(number - first)?,
            })
        })
        .collect()
}

/// Reads a port, or a range of them.
fn range(text: &str) -> Option<(u16, u16)> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let (low, high): (u16, u16) = (low.parse().ok()?, high.parse().ok()?);
    (low > 0 && low <= high && high - low < RANGE_MAX).then_some((low, high))
}

fn long(texts: &mut Texts, node: &Node, subject: &str) -> Vec<PublishedPort> {
    values::check(texts, node, &keys_parts::PORT, subject);
    let mut text = |key: &str| {
        let node = node.get(key)?;
        values::word(texts, node, &format!("{subject}: `{key}`"))
    };
    let (target, published, ip, protocol) = (
        text("target"),
        text("published"),
        text("host_ip"),
        text("protocol"),
    );
    if let Some(mode) = node.get("mode") {
        values::choice(texts, mode, &format!("{subject}: `mode`"), &["host", "ingress"]);
    }
    let Some(target) = target else {
        if node.get("target").is_none() {
            texts.error(
                code::MISSING_KEY,
                format!("{subject}: key `target` is missing"),
                node.at,
                "`target` belongs here",
            );
        }
        return Vec::new();
    };
    let ip = match ip.map(|ip| {
        ip.parse::<std::net::IpAddr>()
            .map(|ip| ip.to_string())
            .map_err(|_| ip)
    }) {
        None => None,
        Some(Ok(ip)) => Some(ip),
        Some(Err(ip)) => {
            unreadable(texts, node, subject, &ip);
            return Vec::new();
        }
    };
    let protocol = protocol_of(protocol.as_deref().unwrap_or("tcp"));
    let ports =
        protocol.and_then(|protocol| publish(ip.as_deref(), published.as_deref(), &target, &protocol));
    ports.unwrap_or_else(|| {
        unreadable(texts, node, subject, &target);
        Vec::new()
    })
}

/// Reads the ports of `expose`.
pub(super) fn exposed(texts: &mut Texts, node: &Node, subject: &str) -> BTreeSet<Port> {
    let subject = format!("{subject}: `expose`");
    let mut ports = BTreeSet::new();
    for item in values::items(texts, node, &subject) {
        let Some(text) = values::word(texts, item, &subject) else {
            continue;
        };
        let (numbers, protocol) = text.split_once('/').unwrap_or((&text, "tcp"));
        match (range(numbers), protocol_of(protocol)) {
            (Some((first, last)), Some(protocol)) => {
                ports.extend((first..=last).map(|number| Port {
                    number,
                    protocol: protocol.clone(),
                }));
            }
            _ => unreadable(texts, item, &subject, &text),
        }
    }
    ports
}

/// Returns what is unique of a port: two files that publish the same one mean one.
pub(super) fn key(node: &Node) -> Option<String> {
    match &node.value {
        Value::Scalar(scalar) => {
            let ports = short(&scalar.text)?;
            Some(
                ports
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(" "),
            )
        }
        Value::Map(_) => {
            let text = |key: &str| node.get(key).and_then(Node::as_text);
            let protocol = text("protocol").unwrap_or("tcp");
            let ports = publish(text("host_ip"), text("published"), text("target")?, protocol)?;
            Some(
                ports
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(" "),
            )
        }
        Value::Null | Value::List(_) => None,
    }
}
