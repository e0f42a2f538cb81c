//! Parts of a container's settings: ports, mounts, networks, health, limits, devices.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::container::is_default;

/// A port within a container. Text form `80/tcp`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Port {
    /// The number.
    pub number: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.protocol)
    }
}

/// A port of the host that leads to one of a container. Text form `127.0.0.1:8080:80/tcp`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PublishedPort {
    /// The port within the container.
    pub port: Port,
    /// The host's address; `None` means all of them.
    pub host_ip: Option<String>,
    /// The host's port or range, `8080` or `8080-8090`; `None` lets the engine choose.
    pub host_port: Option<String>,
}

impl fmt::Display for PublishedPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(ip) = &self.host_ip {
            match ip.contains(':') {
                true => write!(f, "[{ip}]:")?,
                false => write!(f, "{ip}:")?,
            }
        }
        write!(f, "{}:{}", self.host_port.as_deref().unwrap_or(""), self.port)
    }
}

/// What is mounted at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where it comes from.
    pub from: MountFrom,
    /// Whether it is read-only.
    #[serde(default, skip_serializing_if = "is_default")]
    pub read_only: bool,
    /// How mounts below it spread; `None` is the engine's default, `rprivate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub propagation: Option<String>,
    /// Whether a path of the host that is missing is made as a folder. No inspect tells it; it is not compared.
    #[serde(default, skip_serializing_if = "is_default")]
    pub makes_host_path: bool,
    /// Whether a new volume stays empty, instead of taking what the image has there. Not compared.
    #[serde(default, skip_serializing_if = "is_default")]
    pub nocopy: bool,
}

/// Where a mount comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountFrom {
    /// A path of the host.
    Bind(String),
    /// A volume, by its name on the engine.
    Volume(String),
    /// A volume without a name, which the engine makes.
    Anonymous,
    /// Memory.
    Tmpfs {
        /// Its size; `None` has no bound.
        size_bytes: Option<u64>,
        /// Its mode.
        mode: Option<u32>,
        /// Further options of the mount, sorted.
        options: BTreeSet<String>,
    },
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.from {
            MountFrom::Bind(path) => f.write_str(path)?,
            MountFrom::Volume(name) => write!(f, "volume {name}")?,
            MountFrom::Anonymous => f.write_str("a volume without a name")?,
            MountFrom::Tmpfs {
                size_bytes,
                mode,
                options,
            } => {
                f.write_str("tmpfs")?;
                if let Some(size) = size_bytes {
                    write!(f, " size={size}")?;
                }
                if let Some(mode) = mode {
                    write!(f, " mode={mode:o}")?;
                }
                options.iter().try_for_each(|option| write!(f, " {option}"))?;
            }
        }
        if self.read_only {
            f.write_str(" (read-only)")?;
        }
        self.propagation.iter().try_for_each(|how| write!(f, " ({how})"))
    }
}

/// Whose network a container has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkMode {
    /// Its own, attached to the networks that are listed.
    #[default]
    Networks,
    /// The engine's old `bridge`, where containers have no names.
    Bridge,
    /// The host's.
    Host,
    /// None.
    None,
    /// That of a service of the same project, by the service's name.
    Service(String),
    /// That of another container, by its name or id.
    Container(String),
}

impl fmt::Display for NetworkMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Networks => f.write_str("networks"),
            Self::Bridge => f.write_str("bridge"),
            Self::Host => f.write_str("host"),
            Self::None => f.write_str("none"),
            Self::Service(name) => write!(f, "service:{name}"),
            Self::Container(name) => write!(f, "container:{name}"),
        }
    }
}

/// How a container is attached to a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Endpoint {
    /// Names by which others find it there, its service's included; those of the container itself are left out.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub aliases: BTreeSet<String>,
    /// A fixed address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<String>,
    /// A fixed address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<String>,
    /// Networks of higher priority are attached first. Not compared.
    #[serde(skip_serializing_if = "is_default")]
    pub priority: i64,
}

/// When the engine starts a container again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// Never.
    #[default]
    No,
    /// Whenever it ends.
    Always,
    /// Whenever it ends, unless somebody stopped it.
    UnlessStopped,
    /// When it fails, so many times; 0 is without end.
    OnFailure(u64),
}

impl Restart {
    /// Says whether an engine that is restarted starts a container again which somebody stopped: for one of them a stop is an end,
    /// for the other a failure.
    pub fn outlasts_a_stop(self) -> bool {
        matches!(self, Self::Always | Self::OnFailure(_))
    }
}

impl fmt::Display for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::No => f.write_str("no"),
            Self::Always => f.write_str("always"),
            Self::UnlessStopped => f.write_str("unless-stopped"),
            Self::OnFailure(0) => f.write_str("on-failure"),
            Self::OnFailure(times) => write!(f, "on-failure:{times}"),
        }
    }
}

/// Where a container's output goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logging {
    /// The driver; `None` is the engine's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// The driver's options.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

/// How the engine tells whether a container is healthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// It does not, whatever the image says.
    Disabled,
    /// By a command, and in these intervals.
    Check(HealthCheck),
}

/// A health check. What is `None` is the image's, or else the engine's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthCheck {
    /// `CMD` and words, or `CMD-SHELL` and a line; empty takes the image's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    /// Between two checks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval_nanos: Option<u64>,
    /// After which a check has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_nanos: Option<u64>,
    /// So many failures in a row make it unhealthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u64>,
    /// At the beginning failures do not count for so long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_period_nanos: Option<u64>,
    /// Between two checks at the beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_interval_nanos: Option<u64>,
}

/// Limits of memory, processor and processes; `None` is without limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Memory and swap together, -1 for no bound. `None` where it is the engine's choice, twice the memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_swap_bytes: Option<i64>,
    /// Memory that it is pressed down to when the host runs short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_reservation_bytes: Option<u64>,
    /// Processors, in billionths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nano_cpus: Option<u64>,
    /// Its weight among others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_shares: Option<u64>,
    /// The processors that it may use: `0-3,8`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpuset: Option<String>,
    /// Processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<i64>,
    /// The size of `/dev/shm`; `None` is the engine's 64 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shm_bytes: Option<u64>,
    /// How gladly the kernel kills it when memory is short.
    #[serde(skip_serializing_if = "is_default")]
    pub oom_score_adj: i64,
    /// Whether the kernel does not kill it then.
    #[serde(skip_serializing_if = "is_default")]
    pub oom_kill_disable: bool,
}

/// A limit of processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// What a process has, -1 for no bound.
    pub soft: i64,
    /// What it may raise that to.
    pub hard: i64,
}

/// A device of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its path on the host.
    pub host: String,
    /// Of `r`, `w`, `m`.
    pub permissions: String,
}

/// Devices that a driver of the engine provides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceRequest {
    /// The driver, such as `nvidia`; empty lets the engine choose by the capabilities.
    pub driver: String,
    /// How many, -1 for all; 0 where `device_ids` names them.
    pub count: i64,
    /// Which.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub device_ids: Vec<String>,
    /// What they must be able to do: one of these lists. Sorted within.
    pub capabilities: Vec<BTreeSet<String>>,
    /// Options of the driver.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

impl fmt::Display for DeviceRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let which = match (self.device_ids.as_slice(), self.count) {
            ([], -1) => "all".to_owned(),
            ([], count) => count.to_string(),
            (ids, _) => ids.join("+"),
        };
        let able: Vec<String> = self
            .capabilities
            .iter()
            .map(|all| Vec::from_iter(all.iter().cloned()).join("+"))
            .collect();
        write!(f, "{which} of {}", able.join(" or "))?;
        if !self.driver.is_empty() {
            write!(f, " by {}", self.driver)?;
        }
        self.options
            .iter()
            .try_for_each(|(key, value)| write!(f, " {key}={value}"))
    }
}
