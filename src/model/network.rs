//! Networks of an engine, as a Compose project declares them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::container::is_default;

/// What a network must be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkSpec {
    /// Its name on the engine.
    pub name: String,
    /// Whether it is there already and nobody makes it; then nothing else is said of it.
    #[serde(skip_serializing_if = "is_default")]
    pub is_external: bool,
    /// The driver; `None` is the engine's default, `bridge`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// The driver's options.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub driver_opts: BTreeMap<String, String>,
    /// Whether it has no way out of the host.
    #[serde(skip_serializing_if = "is_default")]
    pub is_internal: bool,
    /// Whether others may be attached.
    #[serde(skip_serializing_if = "is_default")]
    pub is_attachable: bool,
    /// Whether it has IPv6 addresses.
    #[serde(skip_serializing_if = "is_default")]
    pub has_ipv6: bool,
    /// The driver of its addresses; `None` is `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipam_driver: Option<String>,
    /// The options of that driver.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ipam_options: BTreeMap<String, String>,
    /// Its subnets; without any the engine picks one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subnets: Vec<Subnet>,
    /// Its labels, those of Compose included.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// A part of a network's addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Subnet {
    /// The addresses, such as `172.30.0.0/24`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subnet: Option<String>,
    /// The host's own address there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// The part from which containers get theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_range: Option<String>,
    /// Addresses that no container gets, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub aux_addresses: BTreeMap<String, String>,
}
