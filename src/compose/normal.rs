//! The normal form of settings: what equals an engine's default is absent, and one thing is written one way.

use crate::model::container::Settings;
use crate::model::container_part::{Health, HealthCheck, Limits, MountFrom};

/// What an engine gives `/dev/shm`.
const SHM_BYTES: u64 = 64 << 20;
/// What an engine waits between the stop signal and the kill.
const STOP_GRACE_SECS: u64 = 10;
/// The engine's intervals of a health check.
const HEALTH_NANOS: u64 = 30_000_000_000;
const HEALTH_RETRIES: u64 = 3;
const HEALTH_START_NANOS: u64 = 5_000_000_000;

/// Writes what has several spellings in one. What is said stays said, also where it is the engine's default: it may stand over
/// something else that the image says.
pub(super) fn spell(settings: &mut Settings) {
    for word in [
        &mut settings.user,
        &mut settings.working_dir,
        &mut settings.hostname,
        &mut settings.domainname,
        &mut settings.ipc,
        &mut settings.pid,
        &mut settings.uts,
        &mut settings.userns,
        &mut settings.cgroup_parent,
        &mut settings.runtime,
        &mut settings.limits.cpuset,
    ] {
        *word = word.take().filter(|word| !word.is_empty());
    }
    settings.stop_signal = settings.stop_signal.take().map(|signal| signal_name(&signal));
    settings.security_opt = std::mem::take(&mut settings.security_opt)
        .into_iter()
        .map(|option| security(&option))
        .collect();
    for mount in settings.mounts.values_mut() {
        mount.propagation = mount
            .propagation
            .take()
            .filter(|how| !["", "rprivate"].contains(&how.as_str()));
        if let MountFrom::Bind(path) = &mut mount.from {
            *path = super::path::join("/", path);
        }
    }
}

/// Brings settings into their normal form, in which two that mean the same are equal. Only for settings that have nothing below
/// them any more.
pub(super) fn settle(settings: &mut Settings) {
    spell(settings);
    settings.stop_grace_secs = settings.stop_grace_secs.filter(|secs| *secs != STOP_GRACE_SECS);
    settings.working_dir = settings.working_dir.take().filter(|folder| folder != "/");
    settings.ipc = settings.ipc.take().filter(|mode| mode != "private");
    if let Some(Health::Check(check)) = &mut settings.healthcheck {
        settle_check(check);
    }
    settle_limits(&mut settings.limits);
}

/// Writes `15`, `TERM` and `sigterm` as `SIGTERM`.
fn signal_name(signal: &str) -> String {
    const NUMBERS: [(&str, &str); 6] = [
        ("1", "HUP"),
        ("2", "INT"),
        ("3", "QUIT"),
        ("9", "KILL"),
        ("10", "USR1"),
        ("15", "TERM"),
    ];
    let upper = signal.to_ascii_uppercase();
    let bare = upper.trim_start_matches("SIG");
    let name = NUMBERS
        .iter()
        .find(|(number, _)| *number == bare)
        .map_or(bare, |(_, name)| name);
    format!("SIG{name}")
}

/// `no-new-privileges:true` and `seccomp:x` are old spellings of `no-new-privileges` and `seccomp=x`.
fn security(option: &str) -> String {
    let option = match option.split_once(['=', ':']) {
        Some((name, value)) => format!("{name}={value}"),
        None => option.to_owned(),
    };
    option
        .strip_suffix("=true")
        .filter(|name| *name == "no-new-privileges")
        .map_or(option.clone(), str::to_owned)
}

/// Takes away what the engine does anyway.
pub(super) fn settle_check(check: &mut HealthCheck) {
    check.interval_nanos = check
        .interval_nanos
        .filter(|nanos| ![0, HEALTH_NANOS].contains(nanos));
    check.timeout_nanos = check
        .timeout_nanos
        .filter(|nanos| ![0, HEALTH_NANOS].contains(nanos));
    check.retries = check.retries.filter(|times| ![0, HEALTH_RETRIES].contains(times));
    check.start_period_nanos = check.start_period_nanos.filter(|nanos| *nanos != 0);
    check.start_interval_nanos = check
        .start_interval_nanos
        .filter(|nanos| ![0, HEALTH_START_NANOS].contains(nanos));
}

fn settle_limits(limits: &mut Limits) {
    limits.memory_bytes = limits.memory_bytes.filter(|bytes| *bytes != 0);
    limits.memory_reservation_bytes = limits.memory_reservation_bytes.filter(|bytes| *bytes != 0);
    // An engine gives as much swap as memory where nothing is said.
    let usual = limits
        .memory_bytes
        .and_then(|bytes| i64::try_from(bytes).ok()?.checked_mul(2));
    limits.memory_swap_bytes = limits
        .memory_swap_bytes
        .filter(|bytes| *bytes != 0 && Some(*bytes) != usual);
    limits.nano_cpus = limits.nano_cpus.filter(|nanos| *nanos != 0);
    limits.cpu_shares = limits.cpu_shares.filter(|shares| *shares != 0);
    limits.pids = limits.pids.filter(|count| *count > 0);
    limits.shm_bytes = limits.shm_bytes.filter(|bytes| ![0, SHM_BYTES].contains(bytes));
}
