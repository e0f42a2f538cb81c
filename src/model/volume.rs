//! Volumes of an engine, as a Compose project declares them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::container::is_default;

/// What a volume must be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeSpec {
    /// Its name on the engine.
    pub name: String,
    /// Whether it is there already and nobody makes it; then nothing else is said of it.
    #[serde(skip_serializing_if = "is_default")]
    pub is_external: bool,
    /// The driver; `None` is the engine's default, `local`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// The driver's options.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub driver_opts: BTreeMap<String, String>,
    /// Its labels, those of Compose included.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}
