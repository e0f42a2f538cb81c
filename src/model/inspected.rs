//! Inspected containers: what a Docker engine says of one, in the normal form of [`super::container`].
//!
//! The values of environment variables that nobody declared public are prints from the beginning: they never enter this
//! type in the clear. `compose::inspected` makes it from the engine's JSON.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::container::{LABEL_PROJECT, LABEL_SERVICE, Settings, is_default};
use super::digest::Fingerprint;

/// What an engine says of one container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Inspected {
    /// The engine's id, 64 hex digits.
    pub id: String,
    /// Its name, without the slash that the engine writes before it.
    pub name: String,
    /// The image as it was asked for when the container was made.
    pub image: String,
    /// The image that it runs.
    pub runs: Image,
    /// The id of the image that the wanted name means on the host now. Filled in by who looks; `None` where nobody asked
    /// or the host has no such image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_now: Option<String>,
    /// The environment, that of the image included.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, EnvValue>,
    /// Everything else, as the engine holds it: what came from the image is not told apart yet.
    pub settings: Settings,
    /// Whether it is up, and how it ended.
    pub state: State,
    /// The name of the container before it, where a run that broke off set that aside and did not come to take it away. Filled in by
    /// who looks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predecessor: Option<String>,
    /// Services of the same project by the ids of their containers: whose network, processes or memory it may share. Filled
    /// in by who looks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub peers: BTreeMap<String, String>,
    /// When each mounted file last changed (its ctime), by path on the host, in nanoseconds since 1970 by the host's
    /// clock. Filled in by who looks; a file that is not there is absent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub changed_at_nanos: BTreeMap<String, u64>,
    /// What its engine does where nothing is said.
    #[serde(default, skip_serializing_if = "is_default")]
    pub engine: EngineDefaults,
    /// Whether its prints are under a salt that nobody keeps, since its host has none yet. Filled in by who looks.
    #[serde(default, skip_serializing_if = "is_default")]
    pub is_fleeting: bool,
}

/// The value of a variable in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvValue {
    /// It is declared public.
    Public(String),
    /// It is sensitive: its print under the host's salt.
    Print(Fingerprint),
}

/// An image as an engine has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Image {
    /// The engine's id, `sha256:…` of its configuration.
    pub id: String,
    /// The names that it has there, `name:tag`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<String>,
    /// The digests under which registries know it, `name@sha256:…`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub digests: BTreeSet<String>,
    /// The digest that its registry has under the name now. Filled in by who looks; `None` where nobody asked, or could ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry: Option<String>,
    /// Its environment.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, EnvValue>,
    /// What it sets for its containers: command, entrypoint, user, folder, labels, ports, health check, stop signal.
    pub settings: Settings,
    /// Paths at which it wants a volume.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub volumes: BTreeSet<String>,
}

/// Whether a container is up, and how it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// `created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`.
    pub status: String,
    /// `starting`, `healthy`, `unhealthy`; `None` without a health check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,
    /// When it was last started, in nanoseconds since 1970 by the host's clock; `None` if never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at_nanos: Option<u64>,
    /// The status with which it ended.
    pub exit_code: i64,
    /// Whether the kernel killed it for its memory.
    pub is_oom_killed: bool,
    /// How often the engine started it again.
    pub restarts: u64,
}

impl State {
    /// Says whether its process runs.
    pub fn is_running(&self) -> bool {
        self.status == "running"
    }

    /// Says whether it is up: it runs, is paused, or the engine is about to start it again.
    pub fn is_up(&self) -> bool {
        matches!(self.status.as_str(), "running" | "restarting" | "paused")
    }
}

/// A container that was made to run once, or one that has its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneOff {
    /// Whether muster made it for this.
    pub is_ours: bool,
    /// Whether it runs, and how it ended.
    pub state: State,
}

/// A container that runs and that nobody asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Other {
    /// Its name.
    pub name: String,
    /// The project that its labels name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The service that its labels name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// What it holds of the host: mounts, devices, the runtime. All else is left out.
    pub settings: Settings,
}

impl Other {
    /// Returns it with what it holds alone.
    pub fn new(name: &str, labels: &BTreeMap<String, String>, settings: &Settings) -> Self {
        Self {
            name: name.to_owned(),
            project: labels.get(LABEL_PROJECT).cloned(),
            service: labels.get(LABEL_SERVICE).cloned(),
            settings: Settings {
                mounts: settings.mounts.clone(),
                devices: settings.devices.clone(),
                device_requests: settings.device_requests.clone(),
                runtime: settings.runtime.clone(),
                ..Settings::default()
            },
        }
    }
}

/// What an engine does where a container says nothing. `None` where nobody asked the engine; then it is not compared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EngineDefaults {
    /// The log driver: `LoggingDriver` of the engine's `/info`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_driver: Option<String>,
    /// The options that the engine's own file gives that driver. `None` where they are not known: then a container may have
    /// options that nobody declared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_options: Option<BTreeMap<String, String>>,
    /// The runtime: `DefaultRuntime` of `/info`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
}

/// One field in which a container is not what it must be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerChange {
    /// The field, with what is there and what must be.
    pub field: super::change::FieldChange,
    /// What it takes.
    pub effect: Effect,
}

/// What it takes to mend a field of a container, from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// The engine can change it while the container runs.
    Update,
    /// The container must be started, or started again.
    Restart,
    /// The container must go and come again.
    Recreate,
}

/// How a container differs from what it must be.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Differences {
    /// What differs, in the order of the fields.
    pub changes: Vec<ContainerChange>,
    /// Fields that could not be compared, since a secret or an output has no value now.
    pub uncompared: Vec<String>,
}

impl Differences {
    /// Returns the most that any of the changes takes; `None` where nothing differs.
    pub fn effect(&self) -> Option<Effect> {
        self.changes.iter().map(|change| change.effect).max()
    }
}
