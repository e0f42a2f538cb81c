//! The fields of a container that a comparison may name, and what it takes to mend each.

use crate::model::change::{FieldChange, Shown};
use crate::model::inspected::Effect;

/// The fields in the order in which they are compared. One that has parts is named with them: `environment.LEVEL`. The last two are
/// what containers are started anew for though they are as declared.
pub const FIELDS: &[&str] = &[
    "image",
    "container_name",
    "command",
    "entrypoint",
    "environment",
    "user",
    "working_dir",
    "hostname",
    "domainname",
    "stop_signal",
    "stop_grace_period",
    "init",
    "tty",
    "stdin_open",
    "group_add",
    "volumes",
    "ports",
    "expose",
    "healthcheck",
    "mem_limit",
    "mem_reservation",
    "memswap_limit",
    "cpus",
    "cpu_shares",
    "cpuset",
    "pids_limit",
    "shm_size",
    "oom_score_adj",
    "oom_kill_disable",
    "devices",
    "deploy.resources.reservations.devices",
    "device_cgroup_rules",
    "network_mode",
    "networks",
    "extra_hosts",
    "dns",
    "dns_search",
    "dns_opt",
    "labels",
    "restart",
    "logging",
    "privileged",
    "read_only",
    "cap_add",
    "cap_drop",
    "security_opt",
    "sysctls",
    "ulimits",
    "ipc",
    "pid",
    "uts",
    "userns_mode",
    "cgroup_parent",
    "runtime",
    "predecessor",
    "state",
    "mounted",
    "started_with",
    "recreated_with",
];

/// Limits that an engine gives another bound in place; it cannot take one away.
const BOUNDS: &[&str] = &[
    "mem_limit",
    "mem_reservation",
    "memswap_limit",
    "cpus",
    "cpu_shares",
    "cpuset",
    "pids_limit",
];

/// Returns what it takes to mend a field.
pub fn effect(change: &FieldChange) -> Effect {
    let field = change.field.as_str();
    let is_bounded = BOUNDS.contains(&field) && change.after != Shown::Nothing;
    match field {
        "predecessor" | "restart" => Effect::Update,
        _ if is_bounded => Effect::Update,
        "state" => Effect::Restart,
        _ if field.starts_with("mounted.") => Effect::Restart,
        _ => Effect::Recreate,
    }
}

/// Says whether a field is listed, as a whole or as a part of one.
pub(super) fn is_listed(field: &str) -> bool {
    let is_part = |whole: &&str| {
        field
            .strip_prefix(*whole)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    FIELDS.iter().any(is_part)
}
