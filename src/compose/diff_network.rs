//! The networks of a container against those that it must have.

use std::collections::BTreeSet;

use crate::model::change::Shown;
use crate::model::container::Settings;
use crate::model::container_part::{Endpoint, NetworkMode};
use crate::model::inspected::Inspected;

use super::diff_process::is_peer;
use super::found::Found;

pub(super) fn network(found: &mut Found, seen: &Inspected, wanted: &Settings) {
    let is = &seen.settings;
    let is_same_mode = match (&is.network_mode, &wanted.network_mode) {
        (NetworkMode::Container(id), NetworkMode::Service(service)) => is_peer(seen, id, service),
        (is, wanted) => is == wanted,
    };
    if !is_same_mode {
        found.text("network_mode", &is.network_mode, &wanted.network_mode);
        return;
    }
    let names: BTreeSet<&String> = is.networks.keys().chain(wanted.networks.keys()).collect();
    for name in names {
        match (is.networks.get(name), wanted.networks.get(name)) {
            (Some(seen), Some(must)) => endpoint(found, name, seen, must, is.hostname.as_deref()),
            (seen, _) => {
                let shown = |is_there: bool| {
                    if is_there {
                        Shown::Text("attached".to_owned())
                    } else {
                        Shown::Nothing
                    }
                };
                found.add(
                    &format!("networks.{name}"),
                    shown(seen.is_some()),
                    shown(seen.is_none()),
                );
            }
        }
    }
    found.set("extra_hosts", &is.extra_hosts, &wanted.extra_hosts);
    found.list("dns", &is.dns, &wanted.dns);
    found.list("dns_search", &is.dns_search, &wanted.dns_search);
    found.set("dns_opt", &is.dns_options, &wanted.dns_options);
}

fn endpoint(found: &mut Found, name: &str, is: &Endpoint, wanted: &Endpoint, hostname: Option<&str>) {
    // An engine lets a container be found by the name that it has for itself.
    let is_own = |alias: &str| Some(alias) == hostname && !wanted.aliases.contains(alias);
    let aliases: BTreeSet<String> = is
        .aliases
        .iter()
        .filter(|alias| !is_own(alias))
        .cloned()
        .collect();
    found.set(&format!("networks.{name}.aliases"), &aliases, &wanted.aliases);
    found.word(
        &format!("networks.{name}.ipv4_address"),
        is.ipv4.as_ref(),
        wanted.ipv4.as_ref(),
    );
    found.word(
        &format!("networks.{name}.ipv6_address"),
        is.ipv6.as_ref(),
        wanted.ipv6.as_ref(),
    );
}
