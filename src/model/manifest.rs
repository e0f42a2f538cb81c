//! The manifest: what muster made or found on a host, kept on that host.
//!
//! The form on disk is line by line (see [`super::manifest_text`]), so that the guard's shell functions can change one entry
//! without a parser. This is the value that all versions of it are read into.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::id::{FleetName, HostId, ResourceId, ResourceKey, RunId};

/// What muster knows of a host, as the host keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The number of the form on disk.
    pub format: u32,
    /// The fleet that the host belongs to.
    pub fleet: FleetName,
    /// The name of the host in that fleet.
    pub host: HostId,
    /// A random name, given when the manifest was first written. A reinstalled host has another.
    pub lineage: String,
    /// How often the manifest was written. Only grows.
    pub generation: u64,
    /// The run that wrote it last.
    pub last_run: Option<RunId>,
    /// What is owned.
    pub owned: BTreeMap<ResourceKey, Owned>,
}

/// What a look found of a manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ManifestState {
    /// There is none: muster never changed this host, or it was wiped.
    Absent,
    /// It is there.
    Present(Manifest),
    /// It is there and cannot be read, or the host did not answer. The host is held.
    Unreadable(String),
}

impl ManifestState {
    /// Returns the manifest, if there is one.
    pub fn present(&self) -> Option<&Manifest> {
        match self {
            Self::Present(manifest) => Some(manifest),
            Self::Absent | Self::Unreadable(_) => None,
        }
    }
}

/// One owned resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Owned {
    /// How it came to be owned.
    pub origin: Origin,
    /// Whether the change was seen to its end. An intent is looked at again, never assumed.
    pub state: OwnedState,
    /// What was wanted, in its kind's own form; secrets by reference.
    pub spec: serde_json::Value,
    /// What it needed: deletion goes in the reverse order.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub needs: BTreeSet<ResourceId>,
    /// Whether deletion and replacement are refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub protect: bool,
    /// Whether the resource may be deleted though its kind is otherwise kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub delete: bool,
    /// The digest of what was there right after the change: `None` while it is an intent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Digest>,
    /// When its content was last changed, not only its owner or mode, in seconds of the host's own clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at_secs: Option<u64>,
    /// What a unit or container had consumed when muster last started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_with: Option<StartedWith>,
    /// Values that it produced, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, String>,
    /// The keys that muster made in a file that others own too, and so may remove.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub made_keys: BTreeSet<String>,
}

/// How a resource came to be owned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// muster created it, and may delete it.
    Made,
    /// It was there before. muster keeps it as declared and forgets it in the end.
    Found,
}

/// How far a change came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnedState {
    /// It was about to begin.
    Intent,
    /// It was seen to its end.
    Done,
}

/// What something had consumed when muster last started it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartedWith {
    /// The digest of everything that it lists in `restart_on`.
    pub consumed: Digest,
    /// What names this start: for units systemd's InvocationID. Another one means that somebody else started it since.
    pub invocation: String,
    /// When muster started or reloaded it, in seconds of the host's own clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_secs: Option<u64>,
}
