//! What a project declares beside its services: networks, volumes, configs and secrets.

use std::collections::BTreeMap;

use crate::model::body::Body;
use crate::model::code;
use crate::model::container::{LABEL_NETWORK, LABEL_PROJECT, LABEL_VERSION, LABEL_VOLUME};
use crate::model::network::{NetworkSpec, Subnet};
use crate::model::volume::VolumeSpec;

use super::form::Form;
use super::interpolate::Variables;
use super::keys;
use super::node::{Entry, Node};
use super::path;
use super::service::is_name;
use super::source::Texts;
use super::values;

/// Where the content of a config or a secret is.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) enum Content {
    /// A file of the host.
    File(String),
    /// It stands in the Compose file.
    Text(Body),
}

/// Returns the labels that Compose gives what it makes.
fn labels(project: &str, key: &str, name: &str, own: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut labels = own;
    labels.insert(LABEL_PROJECT.to_owned(), project.to_owned());
    labels.insert(key.to_owned(), name.to_owned());
    labels.insert(LABEL_VERSION.to_owned(), super::VERSION.to_owned());
    labels
}

fn named(form: &mut Form<'_>, entry: &Entry) {
    if !is_name(&entry.key) {
        form.texts.error(
            code::COMPOSE_VALUE,
            format!("{}: a name has letters, digits, `_`, `-` and `.`", form.subject),
            entry.key_at,
            "not a name",
        );
    }
}

/// Reads whether something is there already, and under which name. The old form `external: { name: … }` is refused.
fn external(form: &mut Form<'_>, may: &[&str]) -> bool {
    let is_external = form.truth("external").unwrap_or(false);
    if is_external {
        let strangers = form
            .node
            .entries()
            .iter()
            .filter(|entry| !may.contains(&entry.key.as_str()) && !entry.key.starts_with("x-"));
        for entry in strangers {
            let message = format!(
                "{}: `{}` says nothing of what is there already",
                form.subject, entry.key
            );
            form.texts.error(
                code::COMPOSE_CONFLICT,
                message,
                entry.key_at,
                "not with `external`",
            );
        }
    }
    is_external
}

/// Reads a network.
pub(super) fn network(texts: &mut Texts, entry: &Entry, project: &str) -> NetworkSpec {
    let subject = format!("network `{}`", entry.key);
    let node = &entry.value;
    values::check(texts, node, &keys::NETWORK, &subject);
    let mut form = Form {
        texts,
        node,
        subject: &subject,
    };
    named(&mut form, entry);
    let is_external = external(&mut form, &["name", "external"]);
    let name = form.word("name");
    if is_external {
        return NetworkSpec {
            name: name.unwrap_or_else(|| entry.key.clone()),
            is_external,
            ..NetworkSpec::default()
        };
    }
    let mut spec = NetworkSpec {
        name: name.unwrap_or_else(|| format!("{project}_{}", entry.key)),
        driver: form.word("driver").filter(|driver| driver != "bridge"),
        driver_opts: form.pairs("driver_opts"),
        is_internal: form.truth("internal").unwrap_or(false),
        is_attachable: form.truth("attachable").unwrap_or(false),
        has_ipv6: form.truth("enable_ipv6").unwrap_or(false),
        labels: labels(project, LABEL_NETWORK, &entry.key, form.pairs("labels")),
        ..NetworkSpec::default()
    };
    if let Some(ipam) = node.get("ipam").filter(|ipam| !ipam.is_null()) {
        addresses(form.texts, ipam, &format!("{subject}: `ipam`"), &mut spec);
    }
    spec
}

/// Returns the network that is there without being declared.
pub(super) fn default_network(project: &str) -> NetworkSpec {
    NetworkSpec {
        name: format!("{project}_default"),
        labels: labels(project, LABEL_NETWORK, "default", BTreeMap::new()),
        ..NetworkSpec::default()
    }
}

fn addresses(texts: &mut Texts, node: &Node, subject: &str, spec: &mut NetworkSpec) {
    values::check(texts, node, &keys::IPAM, subject);
    let mut form = Form { texts, node, subject };
    spec.ipam_driver = form.word("driver").filter(|driver| driver != "default");
    spec.ipam_options = form.pairs("options");
    let Some(config) = node.get("config") else { return };
    for item in values::items(texts, config, subject) {
        values::check(texts, item, &keys::IPAM_CONFIG, subject);
        let mut form = Form {
            texts: &mut *texts,
            node: item,
            subject,
        };
        spec.subnets.push(Subnet {
            subnet: block(&mut form, "subnet"),
            gateway: address(&mut form, "gateway"),
            ip_range: block(&mut form, "ip_range"),
            aux_addresses: form.pairs("aux_addresses"),
        });
    }
}

fn block(form: &mut Form<'_>, key: &str) -> Option<String> {
    let text = form.word(key)?;
    match text.parse::<ipnet::IpNet>() {
        Ok(block) => Some(block.to_string()),
        Err(_) => misfit(form, key, &text, "a network such as `172.30.0.0/24`"),
    }
}

fn address(form: &mut Form<'_>, key: &str) -> Option<String> {
    let text = form.word(key)?;
    match text.parse::<std::net::IpAddr>() {
        Ok(address) => Some(address.to_string()),
        Err(_) => misfit(form, key, &text, "an address"),
    }
}

fn misfit(form: &mut Form<'_>, key: &str, text: &str, expected: &str) -> Option<String> {
    let at = form.node.get(key).map_or(form.node.at, |node| node.at);
    let message = format!("{}: `{key}`: found `{text}`, expected {expected}", form.subject);
    form.texts
        .error(code::COMPOSE_VALUE, message, at, "this does not fit");
    None
}

/// Reads a volume.
pub(super) fn volume(texts: &mut Texts, entry: &Entry, project: &str) -> VolumeSpec {
    let subject = format!("volume `{}`", entry.key);
    let node = &entry.value;
    values::check(texts, node, &keys::VOLUME, &subject);
    let mut form = Form {
        texts,
        node,
        subject: &subject,
    };
    named(&mut form, entry);
    let is_external = external(&mut form, &["name", "external"]);
    let name = form.word("name");
    if is_external {
        return VolumeSpec {
            name: name.unwrap_or_else(|| entry.key.clone()),
            is_external,
            ..VolumeSpec::default()
        };
    }
    VolumeSpec {
        name: name.unwrap_or_else(|| format!("{project}_{}", entry.key)),
        is_external,
        driver: form.word("driver").filter(|driver| driver != "local"),
        driver_opts: form.pairs("driver_opts"),
        labels: labels(project, LABEL_VOLUME, &entry.key, form.pairs("labels")),
    }
}

/// Reads a config or a secret; `what` is the one or the other.
pub(super) fn content(
    texts: &mut Texts,
    entry: &Entry,
    what: &str,
    variables: &Variables,
    folder: &str,
) -> Option<Content> {
    let subject = format!("{what} `{}`", entry.key);
    let node = &entry.value;
    if !values::check(texts, node, &keys::CONTENT, &subject) {
        texts.error(
            code::MISSING_KEY,
            format!("{subject}: it has no content"),
            entry.key_at,
            "`file`, `content` or `environment` belongs here",
        );
        return None;
    }
    let mut form = Form {
        texts,
        node,
        subject: &subject,
    };
    named(&mut form, entry);
    let (file, variable) = (form.word("file"), form.word("environment"));
    let text = node
        .get("content")
        .and_then(|node| values::sensitive(texts, node, &format!("{subject}: `content`")));
    match (file, text, variable) {
        (Some(file), None, None) => Some(Content::File(path::join(folder, &file))),
        (None, Some(text), None) => Some(Content::Text(texts.body(&text))),
        (None, None, Some(variable)) => match variables.get(&variable).cloned() {
            Some(text) => Some(Content::Text(texts.body(&text))),
            None => {
                let at = node.get("environment").map_or(node.at, |node| node.at);
                texts.error(
                    code::COMPOSE_VARIABLE,
                    format!("variable `{variable}` has no value"),
                    at,
                    "taken from outside",
                );
                None
            }
        },
        (None, None, None) => {
            let is_refused = keys::CONTENT
                .refused
                .iter()
                .any(|(key, _)| node.get(key).is_some());
            if !is_refused && node.get("content").is_none() {
                texts.error(
                    code::MISSING_KEY,
                    format!("{subject}: it has no content"),
                    entry.key_at,
                    "`file`, `content` or `environment` belongs here",
                );
            }
            None
        }
        _ => {
            texts.error(
                code::COMPOSE_CONFLICT,
                format!("{subject}: its content is said twice"),
                entry.key_at,
                "one of `file`, `content` and `environment`",
            );
            None
        }
    }
}
