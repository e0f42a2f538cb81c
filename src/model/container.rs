//! Containers: what one must be, in the terms of the Docker engine's own interface.
//!
//! A [`ContainerSpec`] is what `compose` makes of one service; [`super::inspected::Inspected`] is what an engine says of
//! a container. Both hold [`Settings`], in one normal form: what equals the engine's default is absent. The parts of the
//! settings are in [`super::container_part`]. `compose::differences` compares the two sides.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::body::Body;
use super::container_part::{
    Device, DeviceRequest, Endpoint, Health, Limits, Logging, Mount, NetworkMode, Port, PublishedPort,
    Restart, Ulimit,
};
use super::digest::Digest;

/// The label that says by which project a container was made.
pub const LABEL_PROJECT: &str = "com.docker.compose.project";
/// The label that says for which service a container was made.
pub const LABEL_SERVICE: &str = "com.docker.compose.service";
/// The label with a container's number within its service, from 1.
pub const LABEL_NUMBER: &str = "com.docker.compose.container-number";
/// The label that tells a container of `run` from one of `up`: `False` for the latter.
pub const LABEL_ONEOFF: &str = "com.docker.compose.oneoff";
/// The label with the Compose files, joined with commas.
pub const LABEL_FILES: &str = "com.docker.compose.project.config_files";
/// The label with the project's folder.
pub const LABEL_FOLDER: &str = "com.docker.compose.project.working_dir";
/// The label with the version of what made the container.
pub const LABEL_VERSION: &str = "com.docker.compose.version";
/// The label of a network or a volume with its name within the project.
pub const LABEL_NETWORK: &str = "com.docker.compose.network";
/// The same for a volume.
pub const LABEL_VOLUME: &str = "com.docker.compose.volume";
/// muster's own label: the digest of the spec that a container was made from. For people and for adoption; it never
/// stands in for a look.
pub const LABEL_DIGEST: &str = "dev.muster.digest";

/// The label that names the run which made a container.
pub const LABEL_RUN: &str = "dev.muster.run";
/// The label of a container that is run once, with its name.
pub const LABEL_ONCE: &str = "dev.muster.container_run";

/// Says whether a label is one that Compose or muster gives.
pub fn is_own_label(key: &str) -> bool {
    key.starts_with("com.docker.compose.") || key.starts_with("dev.muster.")
}

/// Writes words so that each can be told apart.
pub fn words(words: &[String]) -> String {
    let is_bare = |word: &str| {
        !word.is_empty()
            && word
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c))
    };
    let word = |word: &String| {
        if is_bare(word) {
            word.clone()
        } else {
            format!("{word:?}")
        }
    };
    words.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// Returns the labels that say something of a thing, and not who made it.
pub fn strangers(labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let strange = labels.iter().filter(|(key, _)| !is_own_label(key));
    strange.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// What one container must be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// The project.
    pub project: String,
    /// The service.
    pub service: String,
    /// The number within the service, from 1.
    pub number: u32,
    /// The name that it gets: `container_name`, or `project-service-1`.
    pub name: String,
    /// Other names by which a container is recognised as this one: `project_service_1`, which the old tool gave.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub former_names: BTreeSet<String>,
    /// The image as the file has it: `registry/name:tag` or `name@sha256:…`.
    pub image: String,
    /// The platform, such as `linux/amd64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// When the image is pulled.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pull: Pull,
    /// The environment by key. Only here secrets may stand. What the image sets is not listed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, Body>,
    /// Keys of the environment whose values may be shown; every other value is sensitive.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub public_env: BTreeSet<String>,
    /// Whether its log lines are never shown.
    #[serde(default, skip_serializing_if = "is_default")]
    pub is_log_secret: bool,
    /// Everything else that an inspect can tell.
    pub settings: Settings,
    /// Mounted files that muster renders: path on the host → digest of the body, holes included. A container must have
    /// been started after the last change of each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mounted: BTreeMap<String, Digest>,
    /// Files that muster writes for it before it starts: `configs` and `secrets` whose content stands in the Compose file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<ContentFile>,
    /// What must be so before it starts, in order of the services' names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<Need>,
    /// A service whose recreation forces this one's: `network_mode: service:x`, `pid: service:x`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub recreated_with: BTreeSet<String>,
}

impl ContainerSpec {
    /// Returns the digest that the container's label holds: of everything but what
    /// mounted files hold, with no secret in it.
    ///
    /// What is absent is left out, so that a setting that a later version adds does not alter it.
    pub fn digest(&self) -> Digest {
        let mut bare = self.clone();
        bare.needs.iter_mut().for_each(|need| need.names.clear());
        bare.mounted.clear();
        bare.settings.labels.remove(LABEL_DIGEST);
        bare.settings.labels.remove(LABEL_FILES);
        bare.settings.labels.remove(LABEL_FOLDER);
        bare.settings.labels.remove(LABEL_VERSION);
        Digest::of_value(&bare)
    }

    /// Returns the values of the environment that may not be shown, by key: a caller takes their prints.
    pub fn sensitive_env(&self) -> impl Iterator<Item = (&str, &Body)> {
        let sensitive = self.environment.iter().filter(|(key, _)| !self.shows(key));
        sensitive.map(|(key, body)| (key.as_str(), body))
    }

    /// Says whether the value of a key of the environment may be shown: it is declared public, and holds no secret.
    pub fn shows(&self, key: &str) -> bool {
        self.public_env.contains(key) && !self.environment.get(key).is_some_and(Body::is_sensitive)
    }
}

/// What an inspect tells of a container beside its image and its environment.
///
/// Normal form: `None`, `false` and empty mean the engine's default, or what the image says where an image can say it
/// (the first seven fields and `stop_signal`). Values that equal the engine's default are never spelt out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// The command's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// The entrypoint's words; an empty list takes the image's away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// `user[:group]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The folder that the process starts in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Labels, those of Compose and muster included.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Ports that are said to be listened on, those that are published included.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub exposed: BTreeSet<Port>,
    /// How the engine tells whether it is healthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Health>,
    /// The signal that asks it to stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Seconds between that signal and the kill.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_grace_secs: Option<u64>,
    /// Its own name for itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The domain of that name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domainname: Option<String>,
    /// Whether it has a terminal.
    #[serde(skip_serializing_if = "is_default")]
    pub tty: bool,
    /// Whether its standard input stays open.
    #[serde(skip_serializing_if = "is_default")]
    pub stdin_open: bool,
    /// Ports of the host that lead to it.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub ports: BTreeSet<PublishedPort>,
    /// What is mounted, by path within the container.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub mounts: BTreeMap<String, Mount>,
    /// Whose network it has.
    #[serde(skip_serializing_if = "is_default")]
    pub network_mode: NetworkMode,
    /// The networks that it is attached to, by their names on the engine. Empty unless it has networks of its own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub networks: BTreeMap<String, Endpoint>,
    /// When the engine starts it again.
    #[serde(skip_serializing_if = "is_default")]
    pub restart: Restart,
    /// Where its output goes; `None` is the engine's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logging: Option<Logging>,
    /// Limits of memory, processor and processes.
    #[serde(skip_serializing_if = "is_default")]
    pub limits: Limits,
    /// Whether it may do all that the host may.
    #[serde(skip_serializing_if = "is_default")]
    pub privileged: bool,
    /// Whether its root file system is read-only.
    #[serde(skip_serializing_if = "is_default")]
    pub read_only: bool,
    /// Whether an init process reaps its children; `None` is the engine's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<bool>,
    /// Capabilities beyond the usual, without `CAP_`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub cap_add: BTreeSet<String>,
    /// Capabilities that are taken away, without `CAP_`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub cap_drop: BTreeSet<String>,
    /// Options of security modules, `name=value`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub security_opt: BTreeSet<String>,
    /// Kernel parameters of its own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// Limits of processes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ulimits: BTreeMap<String, Ulimit>,
    /// Devices of the host, by path within the container.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub devices: BTreeMap<String, Device>,
    /// Devices that a driver of the engine provides, such as GPUs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub device_requests: Vec<DeviceRequest>,
    /// Rules of the device controller.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub device_cgroup_rules: BTreeSet<String>,
    /// Further groups of the process.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub group_add: BTreeSet<String>,
    /// Lines of its `/etc/hosts`: `name:address`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub extra_hosts: BTreeSet<String>,
    /// Its name servers, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<String>,
    /// The domains in which it searches names, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns_search: Vec<String>,
    /// Options of its resolver.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub dns_options: BTreeSet<String>,
    /// Whose shared memory it sees: `host`, `shareable`, `none`, `service:NAME`, `container:NAME`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipc: Option<String>,
    /// Whose processes it sees: `host`, `service:NAME`, `container:NAME`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<String>,
    /// `host` where it has the host's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uts: Option<String>,
    /// `host` where it has the host's users.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub userns: Option<String>,
    /// The control group above its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup_parent: Option<String>,
    /// The runtime; `None` is the engine's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
}

/// A file whose content stands in a Compose file. muster writes it on the host and mounts it read-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentFile {
    /// Where it lies on the host.
    pub path: String,
    /// The content, with holes for secrets.
    pub body: Body,
    /// Its mode, such as 0o444.
    pub mode: u32,
    /// Its owner, a number.
    pub uid: u32,
    /// Its group, a number.
    pub gid: u32,
}

/// When an image is pulled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pull {
    /// Where the host lacks it.
    #[default]
    Missing,
    /// At every plan the registry is asked.
    Always,
    /// Never: the host has it, or the apply fails.
    Never,
}

/// What must be so of another service before a container starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// The service.
    pub service: String,
    /// What must be so of it.
    pub condition: Condition,
    /// Whether the start is refused without it; otherwise it is only waited for.
    pub is_required: bool,
    /// The names that its containers have, or had: one that hands made has no label.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub names: BTreeSet<String>,
}

/// What must be so of a service that another needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Condition {
    /// It was started.
    #[default]
    #[serde(rename = "service_started")]
    Started,
    /// Its health check passes.
    #[serde(rename = "service_healthy")]
    Healthy,
    /// It ran to its end with status 0.
    #[serde(rename = "service_completed_successfully")]
    Completed,
}

/// Says whether a value is its type's default, which the stored form leaves out.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
