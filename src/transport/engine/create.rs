//! What an engine is asked to make: a spec in the engine's own form. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bollard::models::{
    ContainerCreateBody, ContainerUpdateBody, DeviceMapping, DeviceRequest, EndpointIpamConfig,
    EndpointSettings, HealthConfig, HostConfig, HostConfigLogConfig, Mount as EngineMount, MountBindOptions,
    MountType, MountVolumeOptions, NetworkingConfig, PortBinding, ResourcesUlimits, RestartPolicy,
    RestartPolicyNameEnum,
};

use crate::model::container::{ContainerSpec, Settings};
use crate::model::container_part::{
    Endpoint, Health, HealthCheck, Limits, Mount, MountFrom, NetworkMode, PublishedPort, Restart,
};

/// What stands in a spec by a name of its project and is an id of the engine for the engine.
#[derive(Debug, Clone, Default)]
pub(super) struct Resolved {
    /// The environment, secrets filled in.
    pub environment: BTreeMap<String, String>,
    /// The containers of the services that it shares something with, by service.
    pub containers: BTreeMap<String, String>,
    /// Volumes without a name that a container before it had and it has too, declared or by its image, by path: they stay.
    pub anonymous: BTreeMap<String, String>,
    /// The image to run, by its id.
    pub image: String,
}

/// Returns the networks that a container is attached to, those of higher priority first.
pub(super) fn endpoints(spec: &ContainerSpec) -> Vec<(String, EndpointSettings)> {
    let mut named: Vec<(&String, &Endpoint)> = spec.settings.networks.iter().collect();
    named.sort_by_key(|(name, endpoint)| (std::cmp::Reverse(endpoint.priority), name.to_string()));
    let settings = |endpoint: &Endpoint| EndpointSettings {
        aliases: some(endpoint.aliases.iter().cloned().collect()),
        ipam_config: (endpoint.ipv4.is_some() || endpoint.ipv6.is_some()).then(|| EndpointIpamConfig {
            ipv4_address: endpoint.ipv4.clone(),
            ipv6_address: endpoint.ipv6.clone(),
            link_local_ips: None,
        }),
        ..EndpointSettings::default()
    };
    named
        .into_iter()
        .map(|(name, endpoint)| (name.clone(), settings(endpoint)))
        .collect()
}

/// Returns the request that makes a container, attached to its first network only: older engines take no more at once.
///
/// # Errors
/// A clause, where another container that it needs is not there.
pub(super) fn body(spec: &ContainerSpec, resolved: &Resolved) -> Result<ContainerCreateBody, String> {
    let settings = &spec.settings;
    let environment = resolved.environment.iter();
    let mut anonymous: Vec<String> = Vec::new();
    for (path, mount) in &settings.mounts {
        if mount.from == MountFrom::Anonymous && !resolved.anonymous.contains_key(path) {
            anonymous.push(path.clone());
        }
    }
    let first = endpoints(spec).into_iter().take(1);
    Ok(ContainerCreateBody {
        image: Some(resolved.image.clone()),
        hostname: settings.hostname.clone(),
        domainname: settings.domainname.clone(),
        user: settings.user.clone(),
        tty: flag(settings.tty),
        open_stdin: flag(settings.stdin_open),
        env: some(environment.map(|(key, value)| format!("{key}={value}")).collect()),
        cmd: settings.command.clone(),
        entrypoint: settings.entrypoint.clone(),
        working_dir: settings.working_dir.clone(),
        labels: some_map(settings.labels.iter()),
        exposed_ports: some(settings.exposed.iter().map(ToString::to_string).collect()),
        volumes: some(anonymous),
        healthcheck: settings.healthcheck.as_ref().map(health),
        stop_signal: settings.stop_signal.clone(),
        stop_timeout: settings.stop_grace_secs.map(whole),
        host_config: Some(host_config(spec, resolved)?),
        networking_config: Some(NetworkingConfig {
            endpoints_config: some_map_of(first),
        }),
        ..ContainerCreateBody::default()
    })
}

fn host_config(spec: &ContainerSpec, resolved: &Resolved) -> Result<HostConfig, String> {
    let settings = &spec.settings;
    let shared = |what: &Option<String>| what.as_deref().map(|text| joined(text, resolved)).transpose();
    let limits = &settings.limits;
    Ok(HostConfig {
        network_mode: Some(network_mode(spec, resolved)?),
        binds: some(binds(settings)),
        mounts: some(mounts(settings, resolved)),
        tmpfs: some_map_of(tmpfs(settings).into_iter()),
        port_bindings: some_map_of(ports(&settings.ports).into_iter()),
        restart_policy: Some(restart(settings.restart)),
        log_config: settings.logging.as_ref().map(|logging| HostConfigLogConfig {
            typ: logging.driver.clone(),
            config: some_map(logging.options.iter()),
        }),
        privileged: flag(settings.privileged),
        readonly_rootfs: flag(settings.read_only),
        init: settings.init,
        cap_add: names(&settings.cap_add),
        cap_drop: names(&settings.cap_drop),
        security_opt: names(&settings.security_opt),
        sysctls: some_map(settings.sysctls.iter()),
        ulimits: some(
            settings
                .ulimits
                .iter()
                .map(|(name, limit)| ResourcesUlimits {
                    name: Some(name.clone()),
                    soft: Some(limit.soft),
                    hard: Some(limit.hard),
                })
                .collect(),
        ),
        devices: some(
            settings
                .devices
                .iter()
                .map(|(path, device)| DeviceMapping {
                    path_on_host: Some(device.host.clone()),
                    path_in_container: Some(path.clone()),
                    cgroup_permissions: Some(device.permissions.clone()),
                })
                .collect(),
        ),
        device_requests: some(
            settings
                .device_requests
                .iter()
                .map(|request| DeviceRequest {
                    driver: Some(request.driver.clone()),
                    count: Some(request.count),
                    device_ids: some(request.device_ids.clone()),
                    capabilities: some(
                        request
                            .capabilities
                            .iter()
                            .map(|all| all.iter().cloned().collect())
                            .collect(),
                    ),
                    options: some_map(request.options.iter()),
                })
                .collect(),
        ),
        device_cgroup_rules: names(&settings.device_cgroup_rules),
        group_add: names(&settings.group_add),
        extra_hosts: names(&settings.extra_hosts),
        dns: some(settings.dns.clone()),
        dns_search: some(settings.dns_search.clone()),
        dns_options: names(&settings.dns_options),
        ipc_mode: shared(&settings.ipc)?,
        pid_mode: shared(&settings.pid)?,
        uts_mode: settings.uts.clone(),
        userns_mode: settings.userns.clone(),
        cgroup_parent: settings.cgroup_parent.clone(),
        runtime: settings.runtime.clone(),
        memory: limits.memory_bytes.map(whole),
        memory_swap: limits.memory_swap_bytes,
        memory_reservation: limits.memory_reservation_bytes.map(whole),
        nano_cpus: limits.nano_cpus.map(whole),
        cpu_shares: limits.cpu_shares.map(whole),
        cpuset_cpus: limits.cpuset.clone(),
        pids_limit: limits.pids,
        shm_size: limits.shm_bytes.map(whole),
        oom_score_adj: (limits.oom_score_adj != 0).then_some(limits.oom_score_adj),
        oom_kill_disable: flag(limits.oom_kill_disable),
        ..HostConfig::default()
    })
}

/// Returns the request that changes in place what can be changed so.
pub(super) fn update(settings: &Settings) -> ContainerUpdateBody {
    let Limits {
        memory_bytes,
        memory_swap_bytes,
        memory_reservation_bytes,
        nano_cpus,
        cpu_shares,
        cpuset,
        pids,
        ..
    } = &settings.limits;
    // To an engine 0 means no limit, and what is left out stays as it is.
    ContainerUpdateBody {
        restart_policy: Some(restart(settings.restart)),
        memory: Some(memory_bytes.map_or(0, whole)),
        memory_swap: Some(
            memory_swap_bytes
                .unwrap_or_else(|| memory_bytes.map_or(0, |bytes| whole(bytes).saturating_mul(2))),
        ),
        memory_reservation: Some(memory_reservation_bytes.map_or(0, whole)),
        nano_cpus: Some(nano_cpus.map_or(0, whole)),
        cpu_shares: Some(cpu_shares.map_or(0, whole)),
        cpuset_cpus: cpuset.clone(),
        pids_limit: Some(pids.unwrap_or(0)),
        ..ContainerUpdateBody::default()
    }
}

fn network_mode(spec: &ContainerSpec, resolved: &Resolved) -> Result<String, String> {
    Ok(match &spec.settings.network_mode {
        // The mode is the first network's name, as Compose has it.
        NetworkMode::Networks => match endpoints(spec).first() {
            Some((name, _)) => name.clone(),
            None => "none".to_owned(),
        },
        NetworkMode::Bridge => "bridge".to_owned(),
        NetworkMode::Host => "host".to_owned(),
        NetworkMode::None => "none".to_owned(),
        NetworkMode::Service(service) => format!("container:{}", of_service(service, resolved)?),
        NetworkMode::Container(name) => format!("container:{name}"),
    })
}

/// `service:NAME` as the engine knows it.
fn joined(text: &str, resolved: &Resolved) -> Result<String, String> {
    match text.strip_prefix("service:") {
        Some(service) => Ok(format!("container:{}", of_service(service, resolved)?)),
        None => Ok(text.to_owned()),
    }
}

fn of_service<'a>(service: &str, resolved: &'a Resolved) -> Result<&'a String, String> {
    let found = resolved.containers.get(service);
    found.ok_or_else(|| format!("service `{service}`, whose namespace it shares, has no container"))
}

/// A path of the host that is made where it is missing is bound by the old form; the newer one refuses it.
fn binds(settings: &Settings) -> Vec<String> {
    let bind = |(path, mount): (&String, &Mount)| match &mount.from {
        MountFrom::Bind(source) if by_old_form(source, path, mount) => {
            let mut options = vec![if mount.read_only { "ro" } else { "rw" }];
            options.extend(mount.propagation.as_deref());
            Some(format!("{source}:{path}:{}", options.join(",")))
        }
        _ => None,
    };
    settings.mounts.iter().filter_map(bind).collect()
}

fn by_old_form(source: &str, path: &str, mount: &Mount) -> bool {
    mount.makes_host_path && !source.contains(':') && !path.contains(':')
}

fn mounts(settings: &Settings, resolved: &Resolved) -> Vec<EngineMount> {
    let mount = |(path, mount): (&String, &Mount)| {
        let made = EngineMount {
            target: Some(path.clone()),
            read_only: flag(mount.read_only),
            ..EngineMount::default()
        };
        let volume = |name: Option<&String>| EngineMount {
            typ: Some(MountType::VOLUME),
            source: name.cloned(),
            volume_options: mount.nocopy.then(|| MountVolumeOptions {
                no_copy: Some(true),
                ..MountVolumeOptions::default()
            }),
            ..made.clone()
        };
        match &mount.from {
            MountFrom::Bind(source) if by_old_form(source, path, mount) => None,
            MountFrom::Bind(source) => Some(EngineMount {
                typ: Some(MountType::BIND),
                source: Some(source.clone()),
                bind_options: mount.propagation.as_ref().map(|how| MountBindOptions {
                    propagation: how.parse().ok(),
                    ..MountBindOptions::default()
                }),
                ..made
            }),
            MountFrom::Volume(name) => Some(volume(Some(name))),
            MountFrom::Anonymous => Some(volume(Some(resolved.anonymous.get(path)?))),
            MountFrom::Tmpfs { .. } => None,
        }
    };
    // Those that its image declares have no mount of the spec: the data of the container before it stays with it.
    let of_image = resolved
        .anonymous
        .iter()
        .filter(|(path, _)| !settings.mounts.contains_key(*path))
        .map(|(path, name)| EngineMount {
            target: Some(path.clone()),
            typ: Some(MountType::VOLUME),
            source: Some(name.clone()),
            ..EngineMount::default()
        });
    settings.mounts.iter().filter_map(mount).chain(of_image).collect()
}

fn tmpfs(settings: &Settings) -> Vec<(String, String)> {
    let tmpfs = |(path, mount): (&String, &Mount)| match &mount.from {
        MountFrom::Tmpfs {
            size_bytes,
            mode,
            options,
        } => {
            let mut all: Vec<String> = options.iter().cloned().collect();
            all.extend(size_bytes.map(|bytes| format!("size={bytes}")));
            all.extend(mode.map(|mode| format!("mode={mode:o}")));
            all.extend(mount.read_only.then(|| "ro".to_owned()));
            Some((path.clone(), all.join(",")))
        }
        _ => None,
    };
    settings.mounts.iter().filter_map(tmpfs).collect()
}

fn ports(ports: &BTreeSet<PublishedPort>) -> BTreeMap<String, Option<Vec<PortBinding>>> {
    let mut bindings: BTreeMap<String, Vec<PortBinding>> = BTreeMap::new();
    for published in ports {
        let binding = PortBinding {
            host_ip: published.host_ip.clone(),
            host_port: Some(published.host_port.clone().unwrap_or_default()),
        };
        bindings
            .entry(published.port.to_string())
            .or_default()
            .push(binding);
    }
    bindings
        .into_iter()
        .map(|(port, bindings)| (port, Some(bindings)))
        .collect()
}

/// Returns when the engine is to start a container again.
pub(super) fn restart(restart: Restart) -> RestartPolicy {
    let (name, times) = match restart {
        Restart::No => (RestartPolicyNameEnum::NO, None),
        Restart::Always => (RestartPolicyNameEnum::ALWAYS, None),
        Restart::UnlessStopped => (RestartPolicyNameEnum::UNLESS_STOPPED, None),
        Restart::OnFailure(times) => (RestartPolicyNameEnum::ON_FAILURE, Some(whole(times))),
    };
    RestartPolicy {
        name: Some(name),
        maximum_retry_count: times,
    }
}

fn health(health: &Health) -> HealthConfig {
    match health {
        Health::Disabled => HealthConfig {
            test: Some(vec!["NONE".to_owned()]),
            ..HealthConfig::default()
        },
        Health::Check(HealthCheck {
            test,
            interval_nanos,
            timeout_nanos,
            retries,
            start_period_nanos,
            start_interval_nanos,
        }) => HealthConfig {
            test: some(test.clone()),
            interval: interval_nanos.map(whole),
            timeout: timeout_nanos.map(whole),
            retries: retries.map(whole),
            start_period: start_period_nanos.map(whole),
            start_interval: start_interval_nanos.map(whole),
        },
    }
}

/// An engine's numbers have a sign. One that does not fit is beyond any machine.
fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn flag(is: bool) -> Option<bool> {
    is.then_some(true)
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn names(set: &BTreeSet<String>) -> Option<Vec<String>> {
    some(set.iter().cloned().collect())
}

fn some_map<'a>(pairs: impl Iterator<Item = (&'a String, &'a String)>) -> Option<HashMap<String, String>> {
    some_map_of(pairs.map(|(key, value)| (key.clone(), value.clone())))
}

fn some_map_of<T>(pairs: impl Iterator<Item = (String, T)>) -> Option<HashMap<String, T>> {
    let map: HashMap<String, T> = pairs.collect();
    (!map.is_empty()).then_some(map)
}
