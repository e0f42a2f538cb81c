//! What an engine's JSON says of a container's place on its host: `HostConfig`, mounts and networks.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::model::container::Settings;
use crate::model::container_part::{
    Device, DeviceRequest, Endpoint, Limits, Logging, Mount, MountFrom, NetworkMode, PublishedPort, Restart,
    Ulimit,
};

use super::inspect::port_of;
use super::json::{filled, flag, items, map, natural, objects, set, text, texts, whole};
use super::mount;

/// Reads `HostConfig`, the mounts and the networks.
pub(super) fn host(container: &Value, settings: &mut Settings) {
    let host = container.pointer("/HostConfig").unwrap_or(&Value::Null);
    let bare = |words: BTreeSet<String>| {
        words
            .iter()
            .map(|word| word.to_ascii_uppercase().trim_start_matches("CAP_").to_owned())
            .collect()
    };
    settings.ports = ports(host);
    settings.mounts = mounts(container, host);
    settings.network_mode = network_mode(host);
    settings.networks = networks(container, &settings.network_mode);
    settings.restart = restart(host);
    settings.logging = filled(host, "/LogConfig/Type").map(|driver| Logging {
        driver: Some(driver),
        options: map(host, "/LogConfig/Config"),
    });
    settings.limits = limits(host);
    settings.privileged = flag(host, "/Privileged");
    settings.read_only = flag(host, "/ReadonlyRootfs");
    settings.init = host.pointer("/Init").and_then(Value::as_bool);
    settings.cap_add = bare(set(host, "/CapAdd"));
    settings.cap_drop = bare(set(host, "/CapDrop"));
    settings.security_opt = set(host, "/SecurityOpt");
    settings.sysctls = map(host, "/Sysctls");
    settings.ulimits = ulimits(host);
    settings.devices = items(host, "/Devices").iter().filter_map(device).collect();
    settings.device_requests = items(host, "/DeviceRequests")
        .iter()
        .map(device_request)
        .collect();
    settings.device_cgroup_rules = set(host, "/DeviceCgroupRules");
    settings.group_add = set(host, "/GroupAdd");
    settings.extra_hosts = set(host, "/ExtraHosts")
        .iter()
        .filter_map(|line| line.split_once(['=', ':']))
        .map(|(name, address)| format!("{name}:{address}"))
        .collect();
    settings.dns = texts(host, "/Dns").unwrap_or_default();
    settings.dns_search = texts(host, "/DnsSearch").unwrap_or_default();
    settings.dns_options = set(host, "/DnsOptions");
    settings.ipc = filled(host, "/IpcMode");
    settings.pid = filled(host, "/PidMode");
    settings.uts = filled(host, "/UTSMode");
    settings.userns = filled(host, "/UsernsMode");
    settings.cgroup_parent = filled(host, "/CgroupParent");
    settings.runtime = filled(host, "/Runtime");
}

fn ports(host: &Value) -> BTreeSet<PublishedPort> {
    let mut published = BTreeSet::new();
    for (port, bindings) in objects(host, "/PortBindings") {
        let Some(port) = port_of(port) else { continue };
        for binding in bindings.as_array().map_or(&[][..], Vec::as_slice) {
            published.insert(PublishedPort {
                port: port.clone(),
                host_ip: filled(binding, "/HostIp").filter(|ip| ip != "0.0.0.0"),
                host_port: filled(binding, "/HostPort").filter(|port| port != "0"),
            });
        }
    }
    published
}

fn mounts(container: &Value, host: &Value) -> BTreeMap<String, Mount> {
    let mut mounts = BTreeMap::new();
    for (target, options) in objects(host, "/Tmpfs") {
        mounts.insert(
            target.clone(),
            mount::memory(options.as_str().unwrap_or_default()),
        );
    }
    let asked = items(host, "/Mounts");
    for entry in items(container, "/Mounts") {
        let Some(target) = filled(entry, "/Destination") else {
            continue;
        };
        let asked = asked
            .iter()
            .find(|mount| filled(mount, "/Target").as_ref() == Some(&target))
            .unwrap_or(&Value::Null);
        let from = match text(entry, "/Type").as_deref() {
            Some("bind") => MountFrom::Bind(
                filled(asked, "/Source")
                    .or_else(|| text(entry, "/Source"))
                    .unwrap_or_default(),
            ),
            Some("volume") => match filled(entry, "/Name") {
                Some(name) if !is_anonymous(&name) => MountFrom::Volume(name),
                Some(_) | None => MountFrom::Anonymous,
            },
            Some("tmpfs") => MountFrom::Tmpfs {
                size_bytes: natural(asked, "/TmpfsOptions/SizeBytes"),
                mode: natural(asked, "/TmpfsOptions/Mode").and_then(|mode| u32::try_from(mode).ok()),
                options: BTreeSet::new(),
            },
            // Of a sort that nobody asks for here; it is shown as what it is.
            Some(other) => MountFrom::Bind(format!("{other}:{}", text(entry, "/Source").unwrap_or_default())),
            None => continue,
        };
        let mount = Mount {
            read_only: entry.pointer("/RW").and_then(Value::as_bool) == Some(false),
            propagation: filled(entry, "/Propagation"),
            makes_host_path: false,
            nocopy: false,
            from,
        };
        mounts.insert(target, mount);
    }
    mounts
}

/// Says whether an engine made up a volume's name.
fn is_anonymous(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn network_mode(host: &Value) -> NetworkMode {
    let mode = text(host, "/NetworkMode").unwrap_or_default();
    match (mode.as_str(), mode.split_once(':')) {
        ("default" | "bridge" | "", _) => NetworkMode::Bridge,
        ("host", _) => NetworkMode::Host,
        ("none", _) => NetworkMode::None,
        (_, Some(("container", id))) => NetworkMode::Container(id.to_owned()),
        _ => NetworkMode::Networks,
    }
}

fn networks(container: &Value, mode: &NetworkMode) -> BTreeMap<String, Endpoint> {
    if *mode != NetworkMode::Networks {
        return BTreeMap::new();
    }
    let endpoint = |endpoint: &Value| Endpoint {
        aliases: set(endpoint, "/Aliases"),
        ipv4: filled(endpoint, "/IPAMConfig/IPv4Address"),
        ipv6: filled(endpoint, "/IPAMConfig/IPv6Address"),
        priority: 0,
    };
    let networks = objects(container, "/NetworkSettings/Networks").into_iter();
    networks
        .map(|(name, value)| (name.clone(), endpoint(value)))
        .collect()
}

fn restart(host: &Value) -> Restart {
    match text(host, "/RestartPolicy/Name").as_deref() {
        Some("always") => Restart::Always,
        Some("unless-stopped") => Restart::UnlessStopped,
        Some("on-failure") => {
            Restart::OnFailure(natural(host, "/RestartPolicy/MaximumRetryCount").unwrap_or(0))
        }
        Some(_) | None => Restart::No,
    }
}

fn limits(host: &Value) -> Limits {
    Limits {
        memory_bytes: natural(host, "/Memory"),
        memory_swap_bytes: whole(host, "/MemorySwap"),
        memory_reservation_bytes: natural(host, "/MemoryReservation"),
        nano_cpus: natural(host, "/NanoCpus"),
        cpu_shares: natural(host, "/CpuShares"),
        cpuset: filled(host, "/CpusetCpus"),
        pids: whole(host, "/PidsLimit"),
        shm_bytes: natural(host, "/ShmSize"),
        oom_score_adj: whole(host, "/OomScoreAdj").unwrap_or(0),
        oom_kill_disable: flag(host, "/OomKillDisable"),
    }
}

fn ulimits(host: &Value) -> BTreeMap<String, Ulimit> {
    let ulimit = |value: &Value| {
        let ulimit = Ulimit {
            soft: whole(value, "/Soft")?,
            hard: whole(value, "/Hard")?,
        };
        Some((text(value, "/Name")?, ulimit))
    };
    items(host, "/Ulimits").iter().filter_map(ulimit).collect()
}

fn device(value: &Value) -> Option<(String, Device)> {
    let device = Device {
        host: text(value, "/PathOnHost")?,
        permissions: filled(value, "/CgroupPermissions").unwrap_or_else(|| "rwm".to_owned()),
    };
    Some((text(value, "/PathInContainer")?, device))
}

fn device_request(value: &Value) -> DeviceRequest {
    let able = |list: &Value| {
        list.as_array()
            .map(|words| {
                words
                    .iter()
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
                    .collect()
            })
            .unwrap_or_default()
    };
    DeviceRequest {
        driver: text(value, "/Driver").unwrap_or_default(),
        count: whole(value, "/Count").unwrap_or(0),
        device_ids: texts(value, "/DeviceIDs").unwrap_or_default(),
        capabilities: items(value, "/Capabilities").iter().map(able).collect(),
        options: map(value, "/Options"),
    }
}
