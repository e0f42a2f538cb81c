//! Limits of memory, processors and processes, and the devices that a driver provides.

use std::collections::BTreeSet;

use crate::model::code;
use crate::model::container_part::{DeviceRequest, Limits};

use super::keys_parts;
use super::node::{Node, Value};
use super::source::Texts;
use super::values;

/// Reads a key of a mapping.
fn field<T>(
    texts: &mut Texts,
    node: Option<&Node>,
    key: &str,
    subject: &str,
    read: impl FnOnce(&mut Texts, &Node, &str) -> Option<T>,
) -> Option<T> {
    let value = node?.get(key).filter(|value| !value.is_null())?;
    read(texts, value, &format!("{subject}: `{key}`"))
}

/// Reads what a service may use: its own keys, and those of `deploy.resources`.
pub(super) fn read(texts: &mut Texts, node: &Node, subject: &str) -> Limits {
    let own = Some(node);
    let (limits, reservations) = resources(texts, node, subject);
    let deployed = format!("{subject}: `deploy`");
    let memory = (
        field(texts, own, "mem_limit", subject, values::bytes),
        field(texts, limits, "memory", &deployed, values::bytes),
    );
    let reserved = (
        field(texts, own, "mem_reservation", subject, values::bytes),
        field(texts, reservations, "memory", &deployed, values::bytes),
    );
    let cpus = (
        field(texts, own, "cpus", subject, values::nano_cpus),
        field(texts, limits, "cpus", &deployed, values::nano_cpus),
    );
    let pids = (
        field(texts, own, "pids_limit", subject, values::number),
        field(texts, limits, "pids", &deployed, values::number),
    );
    let swap = field(
        texts,
        own,
        "memswap_limit",
        subject,
        |texts, node, subject| match node.as_text() {
            Some("-1") => Some(-1),
            Some(_) | None => values::bytes(texts, node, subject).and_then(|bytes| i64::try_from(bytes).ok()),
        },
    );
    let mut either = Either { texts, node, subject };
    Limits {
        memory_bytes: either.of("mem_limit", "deploy.resources.limits.memory", memory),
        memory_reservation_bytes: either.of(
            "mem_reservation",
            "deploy.resources.reservations.memory",
            reserved,
        ),
        nano_cpus: either.of("cpus", "deploy.resources.limits.cpus", cpus),
        pids: either.of("pids_limit", "deploy.resources.limits.pids", pids),
        memory_swap_bytes: swap,
        cpu_shares: field(either.texts, own, "cpu_shares", subject, values::count),
        cpuset: field(either.texts, own, "cpuset", subject, values::word),
        shm_bytes: field(either.texts, own, "shm_size", subject, values::bytes),
        oom_score_adj: field(either.texts, own, "oom_score_adj", subject, values::number).unwrap_or(0),
        oom_kill_disable: field(either.texts, own, "oom_kill_disable", subject, values::truth)
            .unwrap_or(false),
    }
}

/// A setting that two keys may say.
struct Either<'a> {
    texts: &'a mut Texts,
    node: &'a Node,
    subject: &'a str,
}

impl Either<'_> {
    fn of<T: PartialEq>(&mut self, key: &str, other: &str, values: (Option<T>, Option<T>)) -> Option<T> {
        match values {
            (Some(own), Some(deployed)) if own != deployed => {
                let at = self.node.entry(key).map_or(self.node.at, |entry| entry.key_at);
                let message = format!("{}: `{key}` and `{other}` differ", self.subject);
                self.texts
                    .error(code::COMPOSE_CONFLICT, message, at, "one of them");
                Some(own)
            }
            (own, deployed) => own.or(deployed),
        }
    }
}

fn resources<'n>(texts: &mut Texts, node: &'n Node, subject: &str) -> (Option<&'n Node>, Option<&'n Node>) {
    let subject = format!("{subject}: `deploy`");
    let Some(deploy) = node.get("deploy") else {
        return (None, None);
    };
    values::check(texts, deploy, &keys_parts::DEPLOY, &subject);
    let Some(resources) = deploy.get("resources") else {
        return (None, None);
    };
    values::check(
        texts,
        resources,
        &keys_parts::RESOURCES,
        &format!("{subject}: `resources`"),
    );
    let (limits, reservations) = (resources.get("limits"), resources.get("reservations"));
    if let Some(limits) = limits {
        values::check(
            texts,
            limits,
            &keys_parts::LIMITS,
            &format!("{subject}: `limits`"),
        );
    }
    if let Some(reservations) = reservations {
        values::check(
            texts,
            reservations,
            &keys_parts::RESERVATIONS,
            &format!("{subject}: `reservations`"),
        );
    }
    (limits, reservations)
}

/// Reads the devices of `deploy.resources.reservations`.
pub(super) fn device_requests(texts: &mut Texts, node: &Node, subject: &str) -> Vec<DeviceRequest> {
    let deployed = node
        .get("deploy")
        .and_then(|deploy| deploy.get("resources")?.get("reservations")?.get("devices"));
    let Some(devices) = deployed else {
        return Vec::new();
    };
    let subject = format!("{subject}: `devices`");
    let items = values::items(texts, devices, &subject).into_iter();
    items.filter_map(|item| request(texts, item, &subject)).collect()
}

fn request(texts: &mut Texts, node: &Node, subject: &str) -> Option<DeviceRequest> {
    if !values::check(texts, node, &keys_parts::DEVICES, subject) {
        return None;
    }
    let own = Some(node);
    let device_ids = field(texts, own, "device_ids", subject, |texts, node, subject| {
        Some(values::words(texts, node, subject))
    })
    .unwrap_or_default();
    let count = field(texts, own, "count", subject, |texts, node, subject| {
        match node.as_text() {
            Some("all") => Some(-1),
            Some(_) | None => values::number(texts, node, subject),
        }
    });
    if let (Some(_), false) = (count, device_ids.is_empty()) {
        texts.error(
            code::COMPOSE_CONFLICT,
            format!("{subject}: `count` and `device_ids` exclude each other"),
            node.at,
            "one of them",
        );
    }
    let capabilities: BTreeSet<String> =
        field(texts, own, "capabilities", subject, |texts, node, subject| {
            Some(values::words(texts, node, subject))
        })
        .unwrap_or_default()
        .into_iter()
        .collect();
    if capabilities.is_empty() {
        let message = format!("{subject}: key `capabilities` is missing");
        texts.hinted(
            code::MISSING_KEY,
            message,
            node.at,
            "`capabilities` belongs here",
            "for GPUs write `capabilities: [gpu]`",
        );
        return None;
    }
    Some(DeviceRequest {
        driver: field(texts, own, "driver", subject, values::word).unwrap_or_default(),
        count: count.unwrap_or(if device_ids.is_empty() { -1 } else { 0 }),
        device_ids,
        capabilities: vec![capabilities],
        options: match node.get("options").map(|node| &node.value) {
            Some(Value::Map(_)) => field(texts, own, "options", subject, |texts, node, subject| {
                Some(values::pairs(texts, node, subject))
            })
            .unwrap_or_default(),
            Some(_) | None => Default::default(),
        },
    })
}
