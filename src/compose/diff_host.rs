//! What a container has of its host against what it must have: mounts, limits, devices, and where its output goes.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::change::Shown;
use crate::model::container::Settings;
use crate::model::container_part::{Logging, Mount};
use crate::model::inspected::Inspected;
use crate::model::quantity;

use super::found::Found;
use super::show;

pub(super) fn mounts(found: &mut Found, is: &Settings, wanted: &Settings) {
    let targets: BTreeSet<&String> = is.mounts.keys().chain(wanted.mounts.keys()).collect();
    for target in targets {
        let (seen, must) = (is.mounts.get(target), wanted.mounts.get(target));
        let is_same = match (seen, must) {
            // What no inspect tells is not compared.
            (Some(seen), Some(must)) => {
                seen.from == must.from
                    && seen.read_only == must.read_only
                    && seen.propagation == must.propagation
            }
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if !is_same {
            let shown =
                |mount: Option<&Mount>| mount.map_or(Shown::Nothing, |mount| Shown::Text(mount.to_string()));
            found.add(&format!("volumes.{target}"), shown(seen), shown(must));
        }
    }
}

pub(super) fn limits(found: &mut Found, is: &Settings, wanted: &Settings) {
    let (is, wanted) = (&is.limits, &wanted.limits);
    let sizes = [
        ("mem_limit", is.memory_bytes, wanted.memory_bytes),
        (
            "mem_reservation",
            is.memory_reservation_bytes,
            wanted.memory_reservation_bytes,
        ),
    ];
    for (field, seen, must) in sizes {
        found.option(field, seen.as_ref(), must.as_ref(), |bytes| {
            quantity::bytes(*bytes)
        });
    }
    // Where the kernel cannot bound swap the engine says -1 of what nobody asked for. An engine whose memory limit changes
    // keeps what it made of the old one.
    let is_engines = wanted.memory_swap_bytes.is_none()
        && (is.memory_swap_bytes == Some(-1) || is.memory_bytes != wanted.memory_bytes);
    if !is_engines {
        let shown = |size: &i64| quantity::bound(*size);
        found.option(
            "memswap_limit",
            is.memory_swap_bytes.as_ref(),
            wanted.memory_swap_bytes.as_ref(),
            shown,
        );
    }
    found.option(
        "cpus",
        is.nano_cpus.as_ref(),
        wanted.nano_cpus.as_ref(),
        |nanos| quantity::cpus(*nanos),
    );
    found.option(
        "cpu_shares",
        is.cpu_shares.as_ref(),
        wanted.cpu_shares.as_ref(),
        u64::to_string,
    );
    found.option(
        "cpuset",
        is.cpuset.as_ref(),
        wanted.cpuset.as_ref(),
        String::clone,
    );
    found.option(
        "pids_limit",
        is.pids.as_ref(),
        wanted.pids.as_ref(),
        i64::to_string,
    );
    found.option(
        "shm_size",
        is.shm_bytes.as_ref(),
        wanted.shm_bytes.as_ref(),
        |bytes| quantity::bytes(*bytes),
    );
    if is.oom_score_adj != wanted.oom_score_adj {
        found.text("oom_score_adj", is.oom_score_adj, wanted.oom_score_adj);
    }
    found.flag("oom_kill_disable", is.oom_kill_disable, wanted.oom_kill_disable);
}

pub(super) fn devices(found: &mut Found, is: &Settings, wanted: &Settings) {
    found.map("devices", &is.devices, &wanted.devices, |device| {
        format!("{} ({})", device.host, device.permissions)
    });
    if is.device_requests != wanted.device_requests {
        let shown = |settings: &Settings| show::joined(settings.device_requests.iter());
        found.add("deploy.resources.reservations.devices", shown(is), shown(wanted));
    }
    found.set(
        "device_cgroup_rules",
        &is.device_cgroup_rules,
        &wanted.device_cgroup_rules,
    );
}

/// An engine writes its own driver and options down for a container that named none.
pub(super) fn logging(found: &mut Found, seen: &Inspected, wanted: Option<&Logging>) {
    let (none, engine) = (BTreeMap::new(), &seen.engine);
    let is_driver = seen
        .settings
        .logging
        .as_ref()
        .and_then(|logging| logging.driver.as_ref());
    let is_options = seen
        .settings
        .logging
        .as_ref()
        .map_or(&none, |logging| &logging.options);
    let own_driver = wanted.and_then(|logging| logging.driver.as_ref());
    let driver = own_driver.or(engine.log_driver.as_ref());
    if driver.is_some() && is_driver.is_some() {
        found.word("logging.driver", is_driver, driver);
    }
    let declared = wanted.map_or(&none, |logging| &logging.options);
    let is_default =
        own_driver.is_none() || engine.log_driver.is_none() || own_driver == engine.log_driver.as_ref();
    let mut options = declared.clone();
    match (is_default, &engine.log_options) {
        (false, _) => {}
        (true, Some(defaults)) => {
            for (key, value) in defaults {
                options.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        (true, None) => {
            for (key, value) in is_options {
                options.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
    }
    found.map("logging.options", is_options, &options, String::clone);
}
