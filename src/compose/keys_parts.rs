//! The keys of what a service has in mappings of its own.

use super::keys::Section;

pub(super) const MUSTER: Section = Section {
    title: "muster's own keys",
    path: &["services", "*", "x-muster"],
    accepted: &[
        (
            "logs",
            "`secret`",
            "The service's log lines are never shown: a failure prints only how to read them.",
        ),
        (
            "public_env",
            "list of keys",
            "Variables of the environment whose values may be shown. All others appear as fingerprints.",
        ),
    ],
    refused: &[],
};

pub(super) const DEPENDENCY: Section = Section {
    title: "A dependency",
    path: &["services", "*", "depends_on", "*"],
    accepted: &[
        (
            "condition",
            "`service_started`, `service_healthy` or `service_completed_successfully`",
            "What must be so of the other service first.",
        ),
        (
            "required",
            "true or false",
            "With `false` a service that is not in the active profiles is not missed.",
        ),
    ],
    refused: &[(
        "restart",
        "a service that must go with another shares its network or its processes with it; any other finds it again by name",
    )],
};

pub(super) const HEALTHCHECK: Section = Section {
    title: "A health check",
    path: &["services", "*", "healthcheck"],
    accepted: &[
        (
            "test",
            "text or list",
            "The command: a text for a shell, or `CMD`, `CMD-SHELL` or `NONE` with words.",
        ),
        ("interval", "duration", "Between two checks; 30 seconds."),
        (
            "timeout",
            "duration",
            "After which a check has failed; 30 seconds.",
        ),
        (
            "retries",
            "number",
            "So many failures in a row make it unhealthy; 3.",
        ),
        (
            "start_period",
            "duration",
            "At the beginning failures do not count for so long; 0.",
        ),
        ("disable", "true or false", "No check, whatever the image says."),
    ],
    refused: &[(
        "start_interval",
        "engines before API 1.44 do not know it: a short `interval` does the same",
    )],
};

pub(super) const LOGGING: Section = Section {
    title: "Logging",
    path: &["services", "*", "logging"],
    accepted: &[
        ("driver", "text", "The engine's log driver."),
        ("options", "mapping", "The driver's options, such as `max-size`."),
    ],
    refused: &[],
};

pub(super) const PORT: Section = Section {
    title: "A port, long form",
    path: &["services", "*", "ports", "[]"],
    accepted: &[
        ("target", "number", "The port within the container."),
        ("published", "number or range", "The host's port."),
        (
            "host_ip",
            "address",
            "The host's address; all of them without it. Newer than docker-compose 1.29, as the short form is not.",
        ),
        ("protocol", "`tcp`, `udp` or `sctp`", "`tcp` without it."),
        ("mode", "`host` or `ingress`", "Without meaning outside a swarm."),
    ],
    refused: &[
        ("app_protocol", "a comment says it as well"),
        ("name", "a comment says it as well"),
    ],
};

pub(super) const MOUNT: Section = Section {
    title: "A mount, long form",
    path: &["services", "*", "volumes", "[]"],
    accepted: &[
        ("type", "`bind`, `volume` or `tmpfs`", "What is mounted."),
        (
            "source",
            "path or name",
            "A path of the host, relative to the project's folder, or a volume's name.",
        ),
        ("target", "path", "Where it is mounted."),
        (
            "read_only",
            "true or false",
            "Whether the container may not write there.",
        ),
        ("bind", "mapping", "Options of `bind`."),
        ("volume", "mapping", "Options of `volume`."),
        ("tmpfs", "mapping", "Options of `tmpfs`."),
        ("consistency", "text", "Without meaning on Linux."),
    ],
    refused: &[(
        "image",
        "muster mounts no images: put the files into a volume or onto the host",
    )],
};

pub(super) const BIND: Section = Section {
    title: "Options of a bind mount",
    path: &["services", "*", "volumes", "[]", "bind"],
    accepted: &[
        (
            "propagation",
            "text",
            "How mounts below it spread: `rprivate` without it.",
        ),
        (
            "create_host_path",
            "true or false",
            "Whether a missing path becomes a folder; `true` for the short form. Newer than docker-compose 1.29.",
        ),
    ],
    refused: &[
        ("selinux", "muster relabels no files of a host"),
        (
            "recursive",
            "what is mounted below the path is as read-only as the engine makes it",
        ),
    ],
};

pub(super) const VOLUME_OPTIONS: Section = Section {
    title: "Options of a volume's mount",
    path: &["services", "*", "volumes", "[]", "volume"],
    accepted: &[(
        "nocopy",
        "true or false",
        "Whether a new volume stays empty, instead of taking what the image has there.",
    )],
    refused: &[
        (
            "subpath",
            "engines before API 1.45 mount the whole volume in its place: mount the volume, or a path of the host",
        ),
        ("labels", "label the volume itself, under the file's `volumes`"),
    ],
};

pub(super) const TMPFS: Section = Section {
    title: "Options of a tmpfs mount",
    path: &["services", "*", "volumes", "[]", "tmpfs"],
    accepted: &[("size", "size", "Its bound.")],
    refused: &[("mode", "write the short form: `tmpfs: [\"/run:mode=755\"]`")],
};

pub(super) const ULIMIT: Section = Section {
    title: "A limit of processes, long form",
    path: &["services", "*", "ulimits", "*"],
    accepted: &[
        ("soft", "number", "What a process has."),
        ("hard", "number", "What it may raise that to."),
    ],
    refused: &[],
};

pub(super) const ATTACHMENT: Section = Section {
    title: "A service's network",
    path: &["services", "*", "networks", "*"],
    accepted: &[
        (
            "aliases",
            "list of names",
            "Further names by which others find it there.",
        ),
        (
            "ipv4_address",
            "address",
            "A fixed address; the network needs a subnet that holds it.",
        ),
        ("ipv6_address", "address", "The same."),
        (
            "priority",
            "number",
            "Networks of higher priority are attached first.",
        ),
    ],
    refused: &[
        (
            "mac_address",
            "engines before API 1.44 take one for the whole container only",
        ),
        ("link_local_ips", "muster gives no link-local addresses"),
        (
            "gw_priority",
            "engines before API 1.48 do not know it: order the networks with `priority`",
        ),
        ("interface_name", "engines before API 1.49 do not know it"),
        (
            "driver_opts",
            "engines before API 1.46 do not know it: set options on the network",
        ),
    ],
};

pub(super) const SECRET_GRANT: Section = Section {
    title: "A service's secret, long form",
    path: &["services", "*", "secrets", "[]"],
    accepted: GRANT,
    refused: &[],
};

pub(super) const CONFIG_GRANT: Section = Section {
    title: "A service's config, long form",
    path: &["services", "*", "configs", "[]"],
    accepted: GRANT,
    refused: &[],
};

const GRANT: &[(&str, &str, &str)] = &[
    (
        "source",
        "name",
        "Its name under the file's `secrets` or `configs`.",
    ),
    (
        "target",
        "path or name",
        "Where it is mounted. A name lies below `/run/secrets/`, or `/` for a config.",
    ),
    (
        "uid",
        "number",
        "Its owner, where its content stands in the file.",
    ),
    (
        "gid",
        "number",
        "Its group, where its content stands in the file.",
    ),
    (
        "mode",
        "octal number",
        "Its mode, where its content stands in the file; 0444.",
    ),
];

pub(super) const DEPLOY: Section = Section {
    title: "Deployment",
    path: &["services", "*", "deploy"],
    accepted: &[
        ("replicas", "number", "How many containers; 1."),
        ("resources", "mapping", "Limits and devices."),
        ("mode", "`replicated`", "The only one outside a swarm."),
    ],
    refused: &[
        ("restart_policy", "write `restart` on the service"),
        (
            "labels",
            "they label a swarm's service: write `labels` on the service",
        ),
        ("placement", "a module says on which hosts it runs"),
        (
            "update_config",
            "a rollout policy in the inventory says how changes spread",
        ),
        (
            "rollback_config",
            "muster restores the old container when the new one fails",
        ),
        ("endpoint_mode", "it concerns a swarm"),
    ],
};

pub(super) const RESOURCES: Section = Section {
    title: "Resources",
    path: &["services", "*", "deploy", "resources"],
    accepted: &[
        ("limits", "mapping", "What it may use at most."),
        ("reservations", "mapping", "What it is given."),
    ],
    refused: &[],
};

pub(super) const LIMITS: Section = Section {
    title: "Limits",
    path: &["services", "*", "deploy", "resources", "limits"],
    accepted: &[
        ("cpus", "number", "Processors, such as `0.5`."),
        ("memory", "size", "Memory."),
    ],
    refused: &[("pids", "write `pids_limit` on the service")],
};

pub(super) const RESERVATIONS: Section = Section {
    title: "Reservations",
    path: &["services", "*", "deploy", "resources", "reservations"],
    accepted: &[
        (
            "memory",
            "size",
            "Memory that it is pressed down to when the host runs short.",
        ),
        ("devices", "list", "Devices such as GPUs."),
    ],
    refused: &[
        (
            "cpus",
            "an engine reserves no processors: set a limit, or `cpu_shares`",
        ),
        ("generic_resources", "they concern a swarm"),
    ],
};

pub(super) const DEVICES: Section = Section {
    title: "A device request",
    path: &[
        "services",
        "*",
        "deploy",
        "resources",
        "reservations",
        "devices",
        "[]",
    ],
    accepted: &[
        ("driver", "text", "The driver, such as `nvidia`."),
        (
            "count",
            "number or `all`",
            "How many; all without it and without `device_ids`.",
        ),
        ("device_ids", "list", "Which."),
        (
            "capabilities",
            "list",
            "What they must be able to do, such as `gpu`.",
        ),
        ("options", "mapping", "Options of the driver."),
    ],
    refused: &[],
};
