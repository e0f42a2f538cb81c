//! The settings of a container that will be made, in the words of Compose, as its differences are told later.

use serde_json::{Map, Value};

use crate::model::container::{Settings, strangers, words};
use crate::model::container_part::{Endpoint, Health, HealthCheck, Limits, Logging, Restart};
use crate::model::quantity;

/// Settings as they are shown, in the order of Compose's reference.
#[derive(Default)]
struct Told(Map<String, Value>);

impl Told {
    fn text(&mut self, name: impl Into<String>, text: impl ToString) {
        self.0.insert(name.into(), Value::String(text.to_string()));
    }

    fn option<T: ToString>(&mut self, name: &str, value: Option<T>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    fn flag(&mut self, name: &str, is: bool) {
        if is {
            self.text(name, "true");
        }
    }

    fn list<T: ToString>(&mut self, name: &str, items: impl IntoIterator<Item = T>) {
        let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
        if !items.is_empty() {
            self.text(name, items.join(", "));
        }
    }

    fn map<T: ToString>(&mut self, name: &str, items: impl IntoIterator<Item = (String, T)>) {
        for (key, value) in items {
            self.text(format!("{name}.{key}"), value);
        }
    }
}

/// Returns what a container will be, field by field. `service` is the name that it has in each of its networks by itself.
pub(super) fn told(settings: &Settings, service: &str) -> Map<String, Value> {
    // Each by its name, so that a new one is not forgotten.
    let Settings {
        command,
        entrypoint,
        user,
        working_dir,
        labels,
        exposed,
        healthcheck,
        stop_signal,
        stop_grace_secs,
        hostname,
        domainname,
        tty,
        stdin_open,
        ports,
        mounts,
        network_mode,
        networks,
        restart,
        logging,
        limits,
        privileged,
        read_only,
        init,
        cap_add,
        cap_drop,
        security_opt,
        sysctls,
        ulimits,
        devices,
        device_requests,
        device_cgroup_rules,
        group_add,
        extra_hosts,
        dns,
        dns_search,
        dns_options,
        ipc,
        pid,
        uts,
        userns,
        cgroup_parent,
        runtime,
    } = settings;
    let mut told = Told::default();
    told.option("command", command.as_deref().map(words));
    told.option("entrypoint", entrypoint.as_deref().map(words));
    told.option("user", user.as_ref());
    told.list("group_add", group_add);
    told.option("working_dir", working_dir.as_ref());
    told.option("hostname", hostname.as_ref());
    told.option("domainname", domainname.as_ref());
    told.option("stop_signal", stop_signal.as_ref());
    told.option(
        "stop_grace_period",
        stop_grace_secs.map(|secs| format!("{secs}s")),
    );
    told.option("init", *init);
    told.flag("tty", *tty);
    told.flag("stdin_open", *stdin_open);
    told.map("volumes", mounts.clone());
    told.list("ports", ports);
    let is_published = |port| ports.iter().any(|published| published.port == port);
    told.list(
        "expose",
        exposed.iter().filter(|port| !is_published((*port).clone())),
    );
    if let Some(health) = healthcheck {
        self::health(&mut told, health);
    }
    self::limits(&mut told, limits);
    told.map(
        "ulimits",
        ulimits
            .iter()
            .map(|(name, limit)| (name.clone(), format!("{}:{}", limit.soft, limit.hard))),
    );
    told.map(
        "devices",
        devices
            .iter()
            .map(|(path, device)| (path.clone(), format!("{} ({})", device.host, device.permissions))),
    );
    told.list("deploy.resources.reservations.devices", device_requests);
    told.list("device_cgroup_rules", device_cgroup_rules);
    if *network_mode != Default::default() {
        told.text("network_mode", network_mode);
    }
    for (name, endpoint) in networks {
        told.text(format!("networks.{name}"), self::endpoint(endpoint, service));
    }
    told.list("extra_hosts", extra_hosts);
    told.list("dns", dns);
    told.list("dns_search", dns_search);
    told.list("dns_opt", dns_options);
    told.map("labels", strangers(labels));
    if *restart != Restart::default() {
        told.text("restart", restart);
    }
    if let Some(Logging { driver, options }) = logging {
        told.option("logging.driver", driver.as_ref());
        told.map("logging.options", options.clone());
    }
    told.flag("privileged", *privileged);
    told.flag("read_only", *read_only);
    told.list("cap_add", cap_add);
    told.list("cap_drop", cap_drop);
    told.list("security_opt", security_opt);
    told.map("sysctls", sysctls.clone());
    told.option("ipc", ipc.as_ref());
    told.option("pid", pid.as_ref());
    told.option("uts", uts.as_ref());
    told.option("userns_mode", userns.as_ref());
    told.option("cgroup_parent", cgroup_parent.as_ref());
    told.option("runtime", runtime.as_ref());
    told.0
}

fn health(told: &mut Told, health: &Health) {
    let Health::Check(check) = health else {
        return told.text("healthcheck", "disabled");
    };
    let HealthCheck {
        test,
        interval_nanos,
        timeout_nanos,
        retries,
        start_period_nanos,
        start_interval_nanos,
    } = check;
    if !test.is_empty() {
        told.text("healthcheck.test", words(test));
    }
    told.option("healthcheck.interval", interval_nanos.map(quantity::nanos));
    told.option("healthcheck.timeout", timeout_nanos.map(quantity::nanos));
    told.option("healthcheck.retries", *retries);
    told.option(
        "healthcheck.start_period",
        start_period_nanos.map(quantity::nanos),
    );
    told.option(
        "healthcheck.start_interval",
        start_interval_nanos.map(quantity::nanos),
    );
}

fn limits(told: &mut Told, limits: &Limits) {
    let Limits {
        memory_bytes,
        memory_swap_bytes,
        memory_reservation_bytes,
        nano_cpus,
        cpu_shares,
        cpuset,
        pids,
        shm_bytes,
        oom_score_adj,
        oom_kill_disable,
    } = limits;
    told.option("mem_limit", memory_bytes.map(quantity::bytes));
    told.option("mem_reservation", memory_reservation_bytes.map(quantity::bytes));
    told.option("memswap_limit", memory_swap_bytes.map(quantity::bound));
    told.option("cpus", nano_cpus.map(quantity::cpus));
    told.option("cpu_shares", *cpu_shares);
    told.option("cpuset", cpuset.as_ref());
    told.option("pids_limit", *pids);
    told.option("shm_size", shm_bytes.map(quantity::bytes));
    if *oom_score_adj != 0 {
        told.text("oom_score_adj", oom_score_adj);
    }
    told.flag("oom_kill_disable", *oom_kill_disable);
}

fn endpoint(endpoint: &Endpoint, service: &str) -> String {
    let Endpoint {
        aliases,
        ipv4,
        ipv6,
        priority,
    } = endpoint;
    let others: Vec<&str> = aliases
        .iter()
        .map(String::as_str)
        .filter(|alias| *alias != service)
        .collect();
    let mut parts = vec!["attached".to_owned()];
    if !others.is_empty() {
        parts.push(format!("also as {}", others.join(", ")));
    }
    parts.extend(
        [ipv4, ipv6]
            .into_iter()
            .flatten()
            .map(|address| format!("at {address}")),
    );
    if *priority != 0 {
        parts.push(format!("priority {priority}"));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize as _;
    use serde_json::json;

    #[test]
    fn settings_are_told_in_the_words_of_compose() {
        let settings = json!({
            "command": ["sh", "-c", "exec sleep 1"],
            "stop_grace_secs": 90,
            "mounts": { "/data": { "from": { "volume": "join_data" }, "read_only": true } },
            "ports": [{ "port": { "number": 80, "protocol": "tcp" }, "host_ip": "127.0.0.1", "host_port": "8080" }],
            "exposed": [{ "number": 80, "protocol": "tcp" }, { "number": 9000, "protocol": "tcp" }],
            "healthcheck": { "check": { "test": ["CMD", "true"], "interval_nanos": 1_500_000_000, "retries": 3 } },
            "limits": { "memory_bytes": 67_108_864, "memory_swap_bytes": -1, "nano_cpus": 500_000_000 },
            "networks": { "join_default": { "aliases": ["api"] }, "join_back": { "aliases": ["api", "core"], "ipv4": "10.0.0.2", "priority": 5 } },
            "network_mode": { "service": "node" },
            "restart": { "on_failure": 3 },
            "labels": { "tier": "back", "com.docker.compose.project": "join" },
            "init": false,
        });
        let told = told(&Settings::deserialize(settings).unwrap(), "api");
        let lines: Vec<String> = told
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.as_str().unwrap()))
            .collect();
        assert_eq!(
            lines,
            [
                "command: sh -c \"exec sleep 1\"",
                "stop_grace_period: 90s",
                "init: false",
                "volumes./data: volume join_data (read-only)",
                "ports: 127.0.0.1:8080:80/tcp",
                "expose: 9000/tcp",
                "healthcheck.test: CMD true",
                "healthcheck.interval: 1500ms",
                "healthcheck.retries: 3",
                "mem_limit: 64 MiB",
                "memswap_limit: no bound",
                "cpus: 0.5",
                "network_mode: service:node",
                "networks.join_back: attached, also as core, at 10.0.0.2, priority 5",
                "networks.join_default: attached",
                "labels.tier: back",
                "restart: on-failure:3",
            ]
        );
    }
}
