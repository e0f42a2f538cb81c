//! Ops and probes of a Docker engine: what is asked of it and what is done there. `transport::engine` speaks with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::body::Body;
use super::container::ContainerSpec;
use super::inspected::Effect;
use super::network::NetworkSpec;
use super::op::Op;
use super::volume::VolumeSpec;

/// One step on an engine. May be done twice with the effect of once, and goes on where one that broke off had come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineOp {
    /// Pulls an image that the host lacks.
    Pull {
        /// The image: `registry/name:tag` or `name@sha256:…`.
        image: String,
        /// The platform; `None` is the host's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        platform: Option<String>,
        /// Who asks the registry; `None` is anybody.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        login: Option<Login>,
        /// Whether it is pulled though the host has one under its name.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        newer: bool,
    },
    /// Makes a container be as it must be, running and well. One that is replaced is set aside under another name, and goes
    /// when its successor has proved itself; if it does not, the old one comes back. Volumes stay in any case.
    Container {
        /// What it must be.
        spec: Box<ContainerSpec>,
        /// What it takes.
        effect: Effect,
        /// How long it may take to prove itself, in seconds.
        within_secs: u64,
    },
    /// Runs a container once, to its end. One that this began and that broke off meanwhile is gone on with; one that failed
    /// stays for people until it is tried again.
    Once {
        /// What it must be.
        spec: Box<ContainerSpec>,
        /// How long it may run, in seconds.
        within_secs: u64,
        /// The statuses with which it has done what it is for.
        success: BTreeSet<i64>,
    },
    /// Stops a container and removes it. Its volumes stay.
    RemoveContainer(String),
    /// Makes a network that is not there.
    Network(NetworkSpec),
    /// Makes a network anew that is not as it must be: what is attached to it is attached again. One that this run made stays.
    RemakeNetwork(NetworkSpec),
    /// Removes a network that nobody is attached to.
    RemoveNetwork(String),
    /// Makes a volume that is not there.
    Volume(VolumeSpec),
    /// Removes a volume that nobody uses.
    RemoveVolume(String),
    /// Takes an image's name away, and with its last name the image, which nobody may use.
    RemoveImage(String),
}

/// Who asks a registry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The account's name.
    pub user: Body,
    /// Its password or token.
    pub password: Body,
}

/// One question to an engine. Where a host has none at all, nothing is there of what is asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineProbe {
    /// A container.
    ///
    /// Answer, status 0: `null`, or an [`Inspected`](super::inspected::Inspected) as JSON: the one that has the name, or a
    /// former name, or was made for this number of this service of this project.
    Container(ContainerProbe),
    /// A container that runs once, by its name. Answer, status 0: `null`, or a [`OneOff`](super::inspected::OneOff) as JSON.
    Once(String),
    /// An image. Answer, status 0: `null`, or an [`Image`](super::inspected::Image) as JSON.
    Image(String),
    /// An image, and what its registry has under its name now. Answer as that of `Image`, with `registry`.
    Fresh {
        /// The image.
        image: String,
        /// Who asks the registry; `None` is anybody.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        login: Option<Login>,
    },
    /// What runs beside the containers that are asked for in the same look. Answer, status 0: a list of
    /// [`Other`](super::inspected::Other) as JSON, or `null`.
    Others,
    /// A network. Answer, status 0: `null`, or a [`NetworkSpec`] as JSON.
    Network(String),
    /// A volume. Answer, status 0: `null`, or a [`VolumeSpec`] as JSON.
    Volume(String),
}

/// Which container is asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ContainerProbe {
    /// The project.
    pub project: String,
    /// The service.
    pub service: String,
    /// The number within the service, from 1.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// Other names that it may have.
    pub former_names: BTreeSet<String>,
    /// The image that it must run: the answer says which id that is on the host now.
    pub image: String,
    /// Keys of the environment whose values may be shown. All others come as prints.
    pub public_env: BTreeSet<String>,
    /// Mounted files whose last change is asked.
    pub mounted: BTreeSet<String>,
    /// The services of the project that it may share something with, by the names that their containers may have: one that hands
    /// made has no label that says so.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub peers: BTreeMap<String, String>,
}

impl EngineOp {
    /// Returns the bodies in which secrets and outputs may stand.
    pub fn bodies(&self) -> Vec<&Body> {
        match self {
            Self::Pull { login, .. } => login
                .iter()
                .flat_map(|login| [&login.user, &login.password])
                .collect(),
            Self::Container { spec, .. } | Self::Once { spec, .. } => spec.environment.values().collect(),
            Self::RemoveContainer(_)
            | Self::Network(_)
            | Self::RemakeNetwork(_)
            | Self::RemoveNetwork(_)
            | Self::Volume(_)
            | Self::RemoveVolume(_)
            | Self::RemoveImage(_) => Vec::new(),
        }
    }

    /// Returns the same for a change of them.
    pub fn bodies_mut(&mut self) -> Vec<&mut Body> {
        match self {
            Self::Pull { login, .. } => login
                .iter_mut()
                .flat_map(|login| [&mut login.user, &mut login.password])
                .collect(),
            Self::Container { spec, .. } | Self::Once { spec, .. } => spec.environment.values_mut().collect(),
            Self::RemoveContainer(_)
            | Self::Network(_)
            | Self::RemakeNetwork(_)
            | Self::RemoveNetwork(_)
            | Self::Volume(_)
            | Self::RemoveVolume(_)
            | Self::RemoveImage(_) => Vec::new(),
        }
    }

    /// Says whether it has steps after the one that makes things look as declared: a successor that proves itself, a predecessor
    /// that goes, containers that are attached again. Once it began it is done again until it was seen to its end; that disturbs
    /// nothing that it did before.
    pub fn goes_on(&self) -> bool {
        match self {
            Self::Container { effect, .. } => *effect == Effect::Recreate,
            Self::RemakeNetwork(_) => true,
            Self::Once { .. }
            | Self::Pull { .. }
            | Self::RemoveContainer(_)
            | Self::Network(_)
            | Self::RemoveNetwork(_)
            | Self::Volume(_)
            | Self::RemoveVolume(_)
            | Self::RemoveImage(_) => false,
        }
    }

    /// Returns the longest that it may take, in seconds.
    pub fn patience_secs(&self) -> u64 {
        match self {
            // Images of GPU nodes have tens of gigabytes.
            Self::Pull { .. } => 4 * 3600,
            Self::Container {
                spec, within_secs, ..
            } => {
                let grace = spec.settings.stop_grace_secs.unwrap_or(10);
                within_secs
                    .saturating_add(grace.saturating_mul(2))
                    .saturating_add(300)
            }
            // One that was begun for another declaration is waited for first.
            Self::Once { within_secs, .. } => within_secs.saturating_mul(2).saturating_add(600),
            Self::RemoveContainer(_) => 1200,
            Self::RemakeNetwork(_) | Self::RemoveImage(_) => 600,
            Self::Network(_) | Self::RemoveNetwork(_) | Self::Volume(_) | Self::RemoveVolume(_) => 180,
        }
    }
}

impl From<EngineOp> for Op {
    fn from(op: EngineOp) -> Self {
        Self::Engine(op)
    }
}

impl fmt::Display for EngineOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pull {
                image, newer: true, ..
            } => write!(f, "pull {image} again"),
            Self::Pull { image, .. } => write!(f, "pull {image}"),
            Self::Container { spec, effect, .. } => match effect {
                Effect::Update => write!(f, "update container {}", spec.name),
                Effect::Restart => write!(f, "restart container {}", spec.name),
                Effect::Recreate => write!(f, "make container {}", spec.name),
            },
            Self::Once { spec, .. } => write!(f, "run container {} once", spec.name),
            Self::RemoveContainer(name) => write!(f, "remove container {name}"),
            Self::Network(spec) => write!(f, "make network {}", spec.name),
            Self::RemakeNetwork(spec) => write!(f, "make network {} anew", spec.name),
            Self::RemoveNetwork(name) => write!(f, "remove network {name}"),
            Self::Volume(spec) => write!(f, "make volume {}", spec.name),
            Self::RemoveVolume(name) => write!(f, "remove volume {name}"),
            Self::RemoveImage(name) => write!(f, "remove image {name}"),
        }
    }
}
