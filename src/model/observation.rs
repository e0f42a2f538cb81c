//! Observations: what hosts said, not yet interpreted. Kinds interpret, on the pure side.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::id::{HostId, ResourceKey};
use super::manifest::ManifestState;

/// One look at the fleet.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// When it was taken, as an RFC 3339 timestamp in UTC. For people; nothing is decided by it.
    pub taken_at: String,
    /// What each host said.
    pub hosts: BTreeMap<HostId, HostView>,
}

/// What one host said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostView {
    /// Whether it answered.
    pub reach: Reach,
    /// What identifies the machine; `None` where it did not answer.
    pub machine: Option<Machine>,
    /// Facts, where a template asked for them.
    pub facts: Option<Facts>,
    /// The host's manifest.
    pub manifest: ManifestState,
    /// Answers by resource, one for each probe, in the order of `Kind::probes`.
    pub answers: BTreeMap<ResourceKey, Vec<Answer>>,
}

impl HostView {
    /// Makes the view of a host that did not answer.
    pub fn unreachable(why: impl Into<String>) -> Self {
        let why = why.into();
        Self {
            manifest: ManifestState::Unreadable(why.clone()),
            reach: Reach::Unreachable(why),
            machine: None,
            facts: None,
            answers: BTreeMap::new(),
        }
    }
}

/// Whether a host answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// It did.
    Reached,
    /// It did not, and why.
    Unreachable(String),
}

/// What identifies a machine and says what it can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// `/etc/machine-id`.
    pub id: String,
    /// Tools that were asked for and are not there, sorted.
    pub missing_tools: Vec<String>,
    /// Whether PID 1 is systemd.
    pub has_systemd: bool,
}

/// What rarely changes on a host and may stand in templates. Sizes in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// `ID` of `/etc/os-release`, such as `debian`.
    pub os: String,
    /// `VERSION_ID`, such as `12`.
    pub os_version: String,
    /// `VERSION_CODENAME`, such as `bookworm`.
    pub os_codename: String,
    /// The kernel's release.
    pub kernel: String,
    /// The machine's architecture as Debian names it, such as `amd64`.
    pub arch: String,
    /// The host's own name.
    pub hostname: String,
    /// The number of processors that are on line.
    pub cpus: u64,
    /// The memory in all.
    pub memory_bytes: u64,
    /// Mounted file systems by mount point, with their size.
    pub disks: BTreeMap<String, u64>,
    /// Addresses by interface, without prefix lengths.
    pub addresses: BTreeMap<String, Vec<String>>,
    /// Graphics processors by name, in the order of their index; empty where no driver answers.
    pub gpus: Vec<Gpu>,
}

impl Facts {
    /// Returns the digest of each of these facts, by its name. Names that are no facts are left out.
    pub fn digests<'a>(&self, names: impl IntoIterator<Item = &'a String>) -> BTreeMap<String, Digest> {
        let all = serde_json::to_value(self).expect("facts serialise to JSON: no maps with odd keys");
        let digest = |name: &String| Some((name.clone(), Digest::of_value(all.get(name)?)));
        names.into_iter().filter_map(digest).collect()
    }
}

/// Facts of hosts, and the hosts that did not answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FactsSeen {
    /// What was gathered.
    pub known: BTreeMap<HostId, Facts>,
    /// Who did not answer, and why.
    pub lost: BTreeMap<HostId, String>,
}

/// A graphics processor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpu {
    /// Its name, as the driver says it.
    pub name: String,
    /// Its memory.
    pub memory_bytes: u64,
}

/// What came back from one probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// A text in the probe's own form, and an exit status.
    Text {
        /// The output; its form is the probe's (see [`super::op::Probe`]).
        output: String,
        /// The exit status.
        status: i32,
    },
    /// Nothing that could be read, and why.
    NoAnswer(String),
}

impl Answer {
    /// Returns why there is no answer, if there is none.
    pub fn missing(&self) -> Option<&str> {
        match self {
            Self::NoAnswer(why) => Some(why),
            Self::Text { .. } => None,
        }
    }
}

/// What is there, as its kind reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Observed<T> {
    /// It is not there.
    Absent,
    /// It is there, like this.
    Present(T),
    /// It could not be read, and why. Never taken for absent, nor for unchanged.
    Unknown(String),
}

impl<T> Observed<T> {
    /// Returns what is there.
    pub fn present(&self) -> Option<&T> {
        match self {
            Self::Present(actual) => Some(actual),
            Self::Absent | Self::Unknown(_) => None,
        }
    }

    /// Turns what is there into something else.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Observed<U> {
        match self {
            Self::Absent => Observed::Absent,
            Self::Present(actual) => Observed::Present(f(actual)),
            Self::Unknown(why) => Observed::Unknown(why),
        }
    }
}
