//! Mounts: volumes, paths of the host, memory, devices, and what is granted as a file.

use std::collections::BTreeSet;

use crate::model::code;
use crate::model::container_part::{Device, Mount, MountFrom};

use super::keys_parts;
use super::node::{Node, Value};
use super::path;
use super::source::{At, Texts};
use super::values;

/// A mount of a service: where, what, and where it is declared. A volume has its name within the project.
pub(super) type Mounted = (String, Mount, At);

/// Reads `volumes`.
pub(super) fn read(texts: &mut Texts, node: &Node, subject: &str, folder: &str) -> Vec<Mounted> {
    let subject = format!("{subject}: `volumes`");
    let items = values::items(texts, node, &subject);
    items
        .into_iter()
        .filter_map(|item| match &item.value {
            Value::Map(_) => long(texts, item, &subject, folder),
            Value::Null | Value::Scalar(_) | Value::List(_) => short(texts, item, &subject, folder),
        })
        .collect()
}

fn mount(from: MountFrom) -> Mount {
    Mount {
        from,
        read_only: false,
        propagation: None,
        makes_host_path: false,
        nocopy: false,
    }
}

/// Reads `[source:]target[:options]`.
fn short(texts: &mut Texts, node: &Node, subject: &str, folder: &str) -> Option<Mounted> {
    let text = values::word(texts, node, subject)?;
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts[..] {
        [target] => (None, target, ""),
        [source, target] => (Some(source), target, ""),
        [source, target, options] => (Some(source), target, options),
        _ => return unreadable(texts, node, subject, &text),
    };
    let target = absolute(texts, target, subject, node.at)?;
    let mut mount = match source {
        None => mount(MountFrom::Anonymous),
        Some(source) => {
            let mut mount = mount(from(texts, source, subject, node.at, folder)?);
            mount.makes_host_path = matches!(mount.from, MountFrom::Bind(_));
            mount
        }
    };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => mount.read_only = true,
            "rw" | "cached" | "delegated" | "consistent" => {}
            "nocopy" => mount.nocopy = true,
            "rprivate" => {}
            "private" | "shared" | "rshared" | "slave" | "rslave" => {
                mount.propagation = Some(option.to_owned())
            }
            "z" | "Z" => {
                let message = format!("{subject}: option `{option}` is not accepted");
                texts.hinted(
                    code::COMPOSE_REFUSED,
                    message,
                    node.at,
                    "refused",
                    "muster relabels no files of a host",
                );
            }
            _ => {
                let message = format!("{subject}: option `{option}` is not known here");
                texts.hinted(
                    code::COMPOSE_VALUE,
                    message,
                    node.at,
                    "this does not fit",
                    "one of: ro, rw, nocopy, private, rprivate, shared, rshared, slave, rslave",
                );
            }
        }
    }
    Some((target, mount, node.at))
}

fn unreadable(texts: &mut Texts, node: &Node, subject: &str, text: &str) -> Option<Mounted> {
    let message = format!("{subject}: `{text}` is no mount");
    texts.hinted(
        code::COMPOSE_VALUE,
        message,
        node.at,
        "this does not fit",
        "write `[SOURCE:]TARGET[:OPTIONS]`, such as `./data:/data:ro`",
    );
    None
}

/// Says what a source is: what begins with `/` or `.` is a path, all else a volume's name.
fn from(texts: &mut Texts, source: &str, subject: &str, at: At, folder: &str) -> Option<MountFrom> {
    if source.starts_with('~') {
        let message = format!("{subject}: `~` has no meaning on a host that many may log in to");
        texts.hinted(code::COMPOSE_VALUE, message, at, "whose?", "write the whole path");
        return None;
    }
    match source.starts_with(['/', '.']) {
        true => Some(MountFrom::Bind(path::join(folder, source))),
        false if is_name(source) => Some(MountFrom::Volume(source.to_owned())),
        false => {
            let message = format!("{subject}: `{source}` is neither a path nor a volume's name");
            texts.hinted(
                code::COMPOSE_VALUE,
                message,
                at,
                "this does not fit",
                format!("write `./{source}` for a path"),
            );
            None
        }
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

fn absolute(texts: &mut Texts, target: &str, subject: &str, at: At) -> Option<String> {
    if target.starts_with('/') {
        return Some(path::join("/", target));
    }
    let message = format!("{subject}: `{target}` is no path within a container");
    texts.hinted(
        code::COMPOSE_VALUE,
        message,
        at,
        "this does not fit",
        "begin it with `/`",
    );
    None
}

fn long(texts: &mut Texts, node: &Node, subject: &str, folder: &str) -> Option<Mounted> {
    values::check(texts, node, &keys_parts::MOUNT, subject);
    for (key, section) in [
        ("bind", &keys_parts::BIND),
        ("volume", &keys_parts::VOLUME_OPTIONS),
        ("tmpfs", &keys_parts::TMPFS),
    ] {
        if let Some(options) = node.get(key) {
            values::check(texts, options, section, &format!("{subject}: `{key}`"));
        }
    }
    let sort = match node.get("type") {
        Some(sort) => values::choice(
            texts,
            sort,
            &format!("{subject}: `type`"),
            &["bind", "volume", "tmpfs"],
        )?,
        None => return missing(texts, node, subject, "type"),
    };
    let Some(target) = node.get("target") else {
        return missing(texts, node, subject, "target");
    };
    let text = values::word(texts, target, &format!("{subject}: `target`"))?;
    let target = absolute(texts, &text, subject, target.at)?;
    let source = match node.get("source") {
        Some(source) => Some(values::word(texts, source, &format!("{subject}: `source`"))?),
        None => None,
    };
    let mut mount = match (sort.as_str(), source) {
        ("bind", Some(source)) => mount(MountFrom::Bind(path::join(folder, &source))),
        ("bind", None) => return missing(texts, node, subject, "source"),
        ("volume", Some(source)) => mount(MountFrom::Volume(source)),
        ("volume", None) => mount(MountFrom::Anonymous),
        (_, Some(_)) => {
            texts.error(
                code::COMPOSE_CONFLICT,
                format!("{subject}: `tmpfs` has no source"),
                node.at,
                "`source` and `tmpfs`",
            );
            return None;
        }
        (_, None) => mount(MountFrom::Tmpfs {
            size_bytes: None,
            mode: None,
            options: BTreeSet::new(),
        }),
    };
    let flag = |texts: &mut Texts, node: Option<&Node>, key: &str| {
        node.and_then(|node| values::truth(texts, node, &format!("{subject}: `{key}`")))
    };
    mount.read_only = flag(texts, node.get("read_only"), "read_only").unwrap_or(false);
    for other in ["bind", "volume", "tmpfs"]
        .into_iter()
        .filter(|other| *other != sort)
    {
        if let Some(entry) = node.entry(other) {
            texts.error(
                code::COMPOSE_CONFLICT,
                format!("{subject}: `{other}` says nothing of a mount of type `{sort}`"),
                entry.key_at,
                "not here",
            );
        }
    }
    if let Some(bind) = node.get("bind").filter(|_| sort == "bind") {
        mount.makes_host_path =
            flag(texts, bind.get("create_host_path"), "create_host_path").unwrap_or(false);
        let words = ["rprivate", "private", "shared", "rshared", "slave", "rslave"];
        let how = bind
            .get("propagation")
            .and_then(|how| values::choice(texts, how, &format!("{subject}: `propagation`"), &words));
        mount.propagation = how.filter(|how| how != "rprivate");
    }
    if let Some(volume) = node.get("volume").filter(|_| sort == "volume") {
        mount.nocopy = flag(texts, volume.get("nocopy"), "nocopy").unwrap_or(false);
    }
    if let Some(tmpfs) = node.get("tmpfs").filter(|_| sort == "tmpfs") {
        mount.from = MountFrom::Tmpfs {
            size_bytes: tmpfs
                .get("size")
                .and_then(|size| values::bytes(texts, size, &format!("{subject}: `size`"))),
            mode: None,
            options: BTreeSet::new(),
        };
    }
    Some((target, mount, node.at))
}

fn missing<T>(texts: &mut Texts, node: &Node, subject: &str, key: &str) -> Option<T> {
    texts.error(
        code::MISSING_KEY,
        format!("{subject}: key `{key}` is missing"),
        node.at,
        "it belongs here",
    );
    None
}

/// Reads a mode as people write it: octal digits, with or without zeros ahead.
pub(super) fn octal(texts: &mut Texts, node: &Node, subject: &str) -> Option<u32> {
    let text = node.as_text().unwrap_or_default();
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let mode = u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o7777);
    if mode.is_none() {
        texts.error(
            code::COMPOSE_VALUE,
            format!(
                "{subject}: found {}, expected octal digits such as `0444`",
                node.what()
            ),
            node.at,
            "this does not fit",
        );
    }
    mode
}

/// Reads `tmpfs`: `path[:options]`.
pub(super) fn tmpfs(texts: &mut Texts, node: &Node, subject: &str) -> Vec<Mounted> {
    let subject = format!("{subject}: `tmpfs`");
    let mut mounts = Vec::new();
    for item in values::items(texts, node, &subject) {
        let Some(text) = values::word(texts, item, &subject) else {
            continue;
        };
        let (target, options) = text.split_once(':').unwrap_or((&text, ""));
        if let Some(target) = absolute(texts, target, &subject, item.at) {
            mounts.push((target, memory(options), item.at));
        }
    }
    mounts
}

/// Reads the options of a memory mount.
pub(super) fn memory(options: &str) -> Mount {
    let (mut size_bytes, mut mode, mut others) = (None, None, BTreeSet::new());
    let mut read_only = false;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("size", size)) if values::parse_bytes(size).is_some() => {
                size_bytes = values::parse_bytes(size)
            }
            Some(("mode", text)) if u32::from_str_radix(text, 8).is_ok() => {
                mode = u32::from_str_radix(text, 8).ok()
            }
            _ if option == "ro" => read_only = true,
            // What the engine sets without being asked.
            _ if ["rw", "noexec", "nosuid", "nodev"].contains(&option) => {}
            _ => others.extend([option.to_owned()]),
        }
    }
    Mount {
        read_only,
        ..mount(MountFrom::Tmpfs {
            size_bytes,
            mode,
            options: others,
        })
    }
}

/// Reads `devices`: the path within the container with what it is.
pub(super) fn devices(texts: &mut Texts, node: &Node, subject: &str) -> Vec<(String, Device)> {
    let subject = format!("{subject}: `devices`");
    let mut devices = Vec::new();
    for item in values::items(texts, node, &subject) {
        let Some(text) = values::word(texts, item, &subject) else {
            continue;
        };
        let parts: Vec<&str> = text.split(':').collect();
        let part = |at: usize| parts.get(at).copied().filter(|part| !part.is_empty());
        let permissions = part(2).unwrap_or("rwm");
        match part(0) {
            Some(host)
                if host.starts_with('/')
                    && parts.len() <= 3
                    && permissions.chars().all(|c| "rwm".contains(c)) =>
            {
                let device = Device {
                    host: host.to_owned(),
                    permissions: permissions.to_owned(),
                };
                devices.push((part(1).unwrap_or(host).to_owned(), device));
            }
            _ => {
                let hint = "write `HOST[:CONTAINER[:rwm]]`, such as `/dev/fuse`";
                texts.hinted(
                    code::COMPOSE_VALUE,
                    format!("{subject}: this is no device"),
                    item.at,
                    "this does not fit",
                    hint,
                );
            }
        }
    }
    devices
}

/// Returns what is unique of a mount: its path within the container.
pub(super) fn key(node: &Node) -> Option<String> {
    match &node.value {
        Value::Map(_) => node
            .get("target")
            .and_then(Node::as_text)
            .map(|target| path::join("/", target)),
        Value::Scalar(scalar) => {
            let parts: Vec<&str> = scalar.text.split(':').collect();
            parts
                .get(if parts.len() == 1 { 0 } else { 1 })
                .map(|target| path::join("/", target))
        }
        Value::Null | Value::List(_) => None,
    }
}

/// Returns what is unique of a device: its path within the container.
pub(super) fn device_key(node: &Node) -> Option<String> {
    match &node.value {
        Value::Map(_) => node
            .get("target")
            .or_else(|| node.get("source"))
            .and_then(Node::as_text)
            .map(str::to_owned),
        Value::Scalar(scalar) => {
            let mut parts = scalar.text.split(':');
            let host = parts.next()?;
            Some(parts.next().unwrap_or(host).to_owned())
        }
        Value::Null | Value::List(_) => None,
    }
}

/// Returns what is unique of a granted file: where it is mounted.
pub(super) fn grant_key(node: &Node) -> Option<String> {
    match &node.value {
        Value::Map(_) => node
            .get("target")
            .or_else(|| node.get("source"))
            .and_then(Node::as_text)
            .map(str::to_owned),
        Value::Scalar(scalar) => Some(scalar.text.clone()),
        Value::Null | Value::List(_) => None,
    }
}
