//! The keys of a service.

use super::keys::Section;

pub(super) const SERVICE: Section = Section {
    title: "A service",
    path: &["services", "*"],
    accepted: &[
        (
            "image",
            "text",
            "The image: `name:tag`, `name@sha256:…`. Required.",
        ),
        ("command", "text or list", "Its command, in place of the image's."),
        (
            "entrypoint",
            "text or list",
            "Its entrypoint, in place of the image's; `[]` takes the image's away.",
        ),
        (
            "environment",
            "mapping or list",
            "Its variables. The only key whose values may hold secrets. A key without a value is taken from `.env`.",
        ),
        (
            "env_file",
            "path or list",
            "Files of variables that muster renders; `environment` wins over them.",
        ),
        (
            "container_name",
            "text",
            "The container's name; `PROJECT-SERVICE-1` without it.",
        ),
        ("hostname", "text", "Its own name for itself."),
        ("domainname", "text", "The domain of that name."),
        ("user", "text", "`user[:group]`."),
        ("group_add", "list", "Further groups."),
        ("working_dir", "path", "The folder that it starts in."),
        (
            "labels",
            "mapping or list",
            "Its labels. Those of `com.docker.compose.` and `dev.muster.` are muster's.",
        ),
        (
            "restart",
            "`no`, `always`, `unless-stopped`, `on-failure[:N]`",
            "When the engine starts it again. Changed in place.",
        ),
        (
            "profiles",
            "list",
            "It is there only where one of them is active.",
        ),
        ("depends_on", "list or mapping", "Services that come first."),
        (
            "scale",
            "number",
            "How many containers; the same as `deploy.replicas`.",
        ),
        ("deploy", "mapping", "Replicas, limits and devices."),
        (
            "healthcheck",
            "mapping",
            "How the engine tells whether it is healthy.",
        ),
        (
            "stop_signal",
            "text",
            "The signal that asks it to stop; the image's, or SIGTERM.",
        ),
        (
            "stop_grace_period",
            "duration",
            "Between that signal and the kill; 10 seconds.",
        ),
        (
            "init",
            "true or false",
            "Whether an init process reaps its children.",
        ),
        ("tty", "true or false", "Whether it has a terminal."),
        (
            "stdin_open",
            "true or false",
            "Whether its standard input stays open.",
        ),
        ("platform", "text", "The image's platform, such as `linux/amd64`."),
        (
            "pull_policy",
            "`missing`, `always` or `never`",
            "When the image is pulled; `if_not_present` is `missing`.",
        ),
        (
            "ports",
            "list",
            "Ports of the host that lead to it: `[ADDRESS:][PORT:]PORT[/PROTOCOL]`, or the long form.",
        ),
        ("expose", "list", "Ports that it says it listens on."),
        (
            "networks",
            "list or mapping",
            "The networks that it is attached to; `default` without it.",
        ),
        (
            "network_mode",
            "`host`, `none`, `bridge`, `service:NAME`, `container:NAME`",
            "Whose network it has.",
        ),
        (
            "extra_hosts",
            "list or mapping",
            "Lines of its `/etc/hosts`; `host-gateway` is the host.",
        ),
        ("dns", "text or list", "Its name servers."),
        (
            "dns_search",
            "text or list",
            "The domains in which it searches names.",
        ),
        ("dns_opt", "list", "Options of its resolver."),
        (
            "volumes",
            "list",
            "Mounts: `[SOURCE:]TARGET[:OPTIONS]`, or the long form.",
        ),
        (
            "tmpfs",
            "text or list",
            "Memory that is mounted: `PATH[:OPTIONS]`.",
        ),
        (
            "secrets",
            "list",
            "Secrets that it is granted, as files below `/run/secrets/`.",
        ),
        ("configs", "list", "Configs that it is granted, as files."),
        (
            "devices",
            "list",
            "Devices of the host: `HOST[:CONTAINER[:rwm]]`.",
        ),
        ("device_cgroup_rules", "list", "Rules of the device controller."),
        ("cap_add", "list", "Capabilities beyond the usual."),
        ("cap_drop", "list", "Capabilities that are taken away."),
        (
            "privileged",
            "true or false",
            "Whether it may do all that the host may.",
        ),
        ("security_opt", "list", "Options of security modules."),
        ("sysctls", "mapping or list", "Kernel parameters of its own."),
        (
            "ulimits",
            "mapping",
            "Limits of processes: a number, or `soft` and `hard`.",
        ),
        (
            "read_only",
            "true or false",
            "Whether its root file system is read-only.",
        ),
        (
            "ipc",
            "`host`, `private`, `shareable`, `none`, `service:NAME`, `container:NAME`",
            "Whose shared memory it sees.",
        ),
        (
            "pid",
            "`host`, `service:NAME`, `container:NAME`",
            "Whose processes it sees.",
        ),
        ("userns_mode", "`host`", "It has the host's users."),
        ("cgroup_parent", "text", "The control group above its own."),
        ("runtime", "text", "The engine's runtime, such as `nvidia`."),
        ("shm_size", "size", "The size of `/dev/shm`; 64 MiB."),
        (
            "mem_limit",
            "size",
            "Memory; the same as `deploy.resources.limits.memory`. Changed in place.",
        ),
        (
            "mem_reservation",
            "size",
            "Memory that it is pressed down to when the host runs short. Changed in place.",
        ),
        (
            "memswap_limit",
            "size or -1",
            "Memory and swap together. Changed in place.",
        ),
        (
            "cpus",
            "number",
            "Processors; the same as `deploy.resources.limits.cpus`. Changed in place.",
        ),
        (
            "cpu_shares",
            "number",
            "Its weight among others. Changed in place.",
        ),
        (
            "cpuset",
            "text",
            "The processors that it may use. Changed in place.",
        ),
        (
            "pids_limit",
            "number",
            "Processes; the same as `deploy.resources.limits.pids`. Changed in place.",
        ),
        (
            "oom_score_adj",
            "number",
            "How gladly the kernel kills it when memory is short.",
        ),
        (
            "oom_kill_disable",
            "true or false",
            "Whether the kernel does not kill it then.",
        ),
        ("logging", "mapping", "Where its output goes."),
        ("x-muster", "mapping", "What only muster reads."),
    ],
    refused: &[
        (
            "cgroup",
            "the engine's own choice suits every service: set `default-cgroupns-mode` in its file",
        ),
        ("uts", "set `hostname`"),
        (
            "gpus",
            "write `deploy.resources.reservations.devices`, which every Compose reads",
        ),
        (
            "build",
            "muster builds no images: build and push it, and name it under `image`",
        ),
        ("extends", "use a YAML anchor, or several files that are merged"),
        (
            "links",
            "services of one network find each other by name: use `networks.NAME.aliases` for other names and `depends_on` for the order",
        ),
        ("external_links", "attach both to one external network"),
        ("volumes_from", "name the volume or the path in both services"),
        ("develop", "it is for a developer's own machine"),
        (
            "attach",
            "it concerns the terminal of `docker compose up`; for log lines that may not be shown say `x-muster: { logs: secret }`",
        ),
        (
            "annotations",
            "engines before API 1.43 do not know them: use `labels`",
        ),
        ("label_file", "write them under `labels`"),
        (
            "mac_address",
            "an address that is given by hand clashes when the container is copied: let the engine choose",
        ),
        (
            "blkio_config",
            "limit input and output with a slice of systemd, and `cgroup_parent`",
        ),
        ("cpu_count", "it concerns Windows: use `cpus`"),
        ("cpu_percent", "it concerns Windows: use `cpus`"),
        ("cpu_period", "use `cpus`"),
        ("cpu_quota", "use `cpus`"),
        ("cpu_rt_period", "use `cpus`, or a slice of systemd"),
        ("cpu_rt_runtime", "use `cpus`, or a slice of systemd"),
        (
            "mem_swappiness",
            "hosts with control groups of version 2 ignore it: use `memswap_limit`",
        ),
        (
            "storage_opt",
            "most storage drivers ignore it: mount a volume with a bound of its own",
        ),
        ("credential_spec", "it concerns Windows"),
        ("isolation", "it concerns Windows"),
        ("provider", "muster runs containers, not providers"),
        ("models", "muster runs containers, not models of a provider"),
        (
            "post_start",
            "make it a `container_run` resource that comes after",
        ),
        ("pre_stop", "handle the stop signal in the container"),
        (
            "use_api_socket",
            "mount the socket, if the service is to rule the host",
        ),
    ],
};
