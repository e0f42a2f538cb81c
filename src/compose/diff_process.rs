//! The process of a container against what it must be: who it is, what it may do and whom it shares with.

use crate::model::container::{Settings, words};
use crate::model::container_part::{Health, NetworkMode};
use crate::model::inspected::Inspected;
use crate::model::quantity;

use super::found::Found;
use super::show;

pub(super) fn process(found: &mut Found, is: &Settings, wanted: &Settings) {
    found.word("user", is.user.as_ref(), wanted.user.as_ref());
    found.word(
        "working_dir",
        is.working_dir.as_ref(),
        wanted.working_dir.as_ref(),
    );
    // Who shares the host's or another's network has that name too.
    let has_own_name = |settings: &Settings| {
        [NetworkMode::Networks, NetworkMode::Bridge, NetworkMode::None].contains(&settings.network_mode)
            && settings.uts.is_none()
    };
    if (has_own_name(is) && has_own_name(wanted)) || wanted.hostname.is_some() {
        found.word("hostname", is.hostname.as_ref(), wanted.hostname.as_ref());
        found.word("domainname", is.domainname.as_ref(), wanted.domainname.as_ref());
    }
    let signal = |settings: &Settings| {
        settings
            .stop_signal
            .clone()
            .unwrap_or_else(|| "SIGTERM".to_owned())
    };
    if signal(is) != signal(wanted) {
        found.text("stop_signal", signal(is), signal(wanted));
    }
    found.option(
        "stop_grace_period",
        is.stop_grace_secs.as_ref(),
        wanted.stop_grace_secs.as_ref(),
        |secs| format!("{secs}s"),
    );
    if is.init.unwrap_or(false) != wanted.init.unwrap_or(false) {
        found.text("init", is.init.unwrap_or(false), wanted.init.unwrap_or(false));
    }
    found.flag("tty", is.tty, wanted.tty);
    found.flag("stdin_open", is.stdin_open, wanted.stdin_open);
    found.set("group_add", &is.group_add, &wanted.group_add);
}

pub(super) fn health(found: &mut Found, is: Option<&Health>, wanted: Option<&Health>) {
    let (Some(Health::Check(seen)), Some(Health::Check(must))) = (is, wanted) else {
        return found.option("healthcheck", is, wanted, show::health);
    };
    if seen.test != must.test {
        found.text("healthcheck.test", words(&seen.test), words(&must.test));
    }
    let parts = [
        ("healthcheck.interval", seen.interval_nanos, must.interval_nanos),
        ("healthcheck.timeout", seen.timeout_nanos, must.timeout_nanos),
        (
            "healthcheck.start_period",
            seen.start_period_nanos,
            must.start_period_nanos,
        ),
        (
            "healthcheck.start_interval",
            seen.start_interval_nanos,
            must.start_interval_nanos,
        ),
    ];
    for (field, seen, must) in parts {
        found.option(field, seen.as_ref(), must.as_ref(), |nanos| {
            quantity::nanos(*nanos)
        });
    }
    found.option(
        "healthcheck.retries",
        seen.retries.as_ref(),
        must.retries.as_ref(),
        u64::to_string,
    );
}

/// Says whether `container:ID` of an engine is `service:NAME` of a file.
pub(super) fn is_peer(seen: &Inspected, id: &str, service: &str) -> bool {
    seen.peers.get(id).is_some_and(|name| name == service)
}

pub(super) fn security(found: &mut Found, is: &Settings, wanted: &Settings) {
    found.flag("privileged", is.privileged, wanted.privileged);
    found.flag("read_only", is.read_only, wanted.read_only);
    found.set("cap_add", &is.cap_add, &wanted.cap_add);
    found.set("cap_drop", &is.cap_drop, &wanted.cap_drop);
    let host = Some("host");
    let is_open = is.privileged || is.ipc.as_deref() == host || is.pid.as_deref() == host;
    let mut options = is.security_opt.clone();
    // An engine adds it to what sees the host's memory or processes.
    if is_open && !wanted.security_opt.contains("label=disable") {
        options.remove("label=disable");
    }
    found.set("security_opt", &options, &wanted.security_opt);
    found.map("sysctls", &is.sysctls, &wanted.sysctls, String::clone);
    found.map("ulimits", &is.ulimits, &wanted.ulimits, |limit| {
        format!("{}:{}", limit.soft, limit.hard)
    });
}

pub(super) fn shared(found: &mut Found, seen: &Inspected, wanted: &Settings) {
    let is = &seen.settings;
    for (field, is, wanted) in [("ipc", &is.ipc, &wanted.ipc), ("pid", &is.pid, &wanted.pid)] {
        let is_same = match (is.as_deref(), wanted.as_deref()) {
            // An engine may be told to make every container's memory shareable.
            (Some("shareable"), None) if field == "ipc" => true,
            (Some(is), Some(wanted)) => {
                match (is.strip_prefix("container:"), wanted.strip_prefix("service:")) {
                    (Some(id), Some(service)) => is_peer(seen, id, service),
                    _ => is == wanted,
                }
            }
            (is, wanted) => is == wanted,
        };
        if !is_same {
            found.word(field, is.as_ref(), wanted.as_ref());
        }
    }
    found.word("uts", is.uts.as_ref(), wanted.uts.as_ref());
    found.word("userns_mode", is.userns.as_ref(), wanted.userns.as_ref());
    found.word(
        "cgroup_parent",
        is.cgroup_parent.as_ref(),
        wanted.cgroup_parent.as_ref(),
    );
    let runtime = wanted.runtime.as_ref().or(seen.engine.runtime.as_ref());
    if runtime.is_some() {
        found.word("runtime", is.runtime.as_ref(), runtime);
    }
}
