//! The form of an inventory file.

use std::collections::BTreeMap;
use std::num::{NonZeroU16, NonZeroUsize};

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use crate::model::gate::GateForm;
use crate::model::hook::Moment;
use crate::model::id::{FleetName, HostId, ModuleName};
use crate::model::wave::OnFailure;

use super::{RawShare, Scalar};

/// An inventory: one fleet, its hosts, and what goes where.
#[derive(Debug, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawInventory {
    /// The fleet.
    pub fleet: RawFleet,
    /// Values of the fleet layer. A table named like a module holds values for that module alone.
    #[serde(default)]
    pub values: BTreeMap<String, serde_json::Value>,
    /// The hosts by name.
    #[serde(default)]
    pub hosts: BTreeMap<String, RawHost>,
    /// The groups by name.
    #[serde(default)]
    pub groups: BTreeMap<String, RawGroup>,
    /// Which modules go where.
    #[serde(default, rename = "use")]
    pub uses: Vec<RawUse>,
    /// What is called before and after plans, runs and waves, and on failure.
    #[serde(default)]
    pub hook: Vec<RawHook>,
    /// How rollouts go.
    #[serde(default)]
    pub policy: RawPolicy,
    /// Where secrets come from.
    #[serde(default)]
    pub secrets: RawSecrets,
    /// Where images come from, by the first part of their names.
    #[serde(default)]
    pub registries: BTreeMap<String, RawRegistry>,
    /// Hosts that have left the fleet.
    #[serde(default)]
    pub retired: Vec<RawRetired>,
}

/// The keys of an inventory, as [`RawInventory`] has them.
pub const KEYS: [&str; 10] = [
    "fleet",
    "values",
    "hosts",
    "groups",
    "use",
    "hook",
    "policy",
    "secrets",
    "registries",
    "retired",
];

/// The fleet.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawFleet {
    /// The fleet's name. Required in the main file, and only there.
    #[schemars(with = "Option<FleetName>")]
    pub name: Option<Spanned<FleetName>>,
    /// What the fleet is, for people.
    pub description: Option<String>,
    /// Further files, relative to this one; `*` and `?` stand for characters within a name.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub include: Vec<Spanned<String>>,
}

/// A host.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawHost {
    /// A name or an IP address. Required unless `transport = "local"`.
    #[schemars(with = "Option<String>")]
    pub address: Option<Spanned<String>>,
    /// The SSH port; else from `~/.ssh/config`, else 22.
    #[schemars(with = "Option<NonZeroU16>")]
    pub port: Option<Spanned<NonZeroU16>>,
    /// The account; else from `~/.ssh/config`, else your own name.
    #[schemars(with = "Option<String>")]
    pub user: Option<Spanned<String>>,
    /// Another host of the inventory to go through.
    #[schemars(with = "Option<HostId>")]
    pub via: Option<Spanned<HostId>>,
    /// The key to log in with; else from `~/.ssh/config`, the agent, the usual files.
    #[schemars(with = "Option<String>")]
    pub identity_file: Option<Spanned<String>>,
    /// The host's own key such as `ssh-ed25519 AAAA…`, or `accept-new`, or `known-hosts` (the default).
    #[schemars(with = "Option<String>")]
    pub host_key: Option<Spanned<String>>,
    /// `passwordless` (the default), `none`, or the source of the password such as `env:SUDO_PASSWORD`.
    #[schemars(with = "Option<String>")]
    pub sudo: Option<Spanned<String>>,
    /// `ssh` (the default), or `local` for this machine.
    #[serde(default)]
    pub transport: RawTransport,
    /// Labels, for selectors and for spreading.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Values of the host layer.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub values: toml::Table,
    /// The name under which muster knew this host before.
    pub renamed_from: Option<HostId>,
}

/// The way to a host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RawTransport {
    /// SSH.
    #[default]
    Ssh,
    /// This machine.
    Local,
}

/// A group of hosts.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawGroup {
    /// Its hosts by name.
    #[serde(default)]
    #[schemars(with = "Vec<HostId>")]
    pub hosts: Vec<Spanned<HostId>>,
    /// A selector whose hosts belong to the group too.
    #[schemars(with = "Option<String>")]
    pub select: Option<Spanned<String>>,
    /// Values of the group layer.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub values: toml::Table,
}

/// A module in use.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawUse {
    /// The module.
    #[schemars(with = "ModuleName")]
    pub module: Spanned<ModuleName>,
    /// A selector of the hosts that get it.
    #[schemars(with = "String")]
    pub on: Spanned<String>,
}

/// Something that is called at a certain moment. It can stop what it comes before, and alter nothing.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawHook {
    /// What people call it; unique.
    pub name: String,
    /// When it is called.
    pub on: Moment,
    /// A program of the controller and its arguments, run without a shell; it finds the JSON on its standard input. One of
    /// `command` and `webhook`.
    pub command: Option<Vec<String>>,
    /// An address to which the JSON is posted.
    pub webhook: Option<RawWebhook>,
    /// How long one try may take; `30s` if not said.
    pub timeout: Option<String>,
    /// How it is tried again; one try if not said.
    pub retry: Option<RawRetry>,
    /// Whether its failure stops what it comes before; `false` if not said.
    pub required: Option<bool>,
}

/// An address to which a hook's JSON is posted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawWebhook {
    /// An `https://` URL, or the source of one that is itself a secret, such as `env:CHAT_URL`.
    pub url: String,
    /// Headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Headers whose values are secrets, by their sources.
    #[serde(default)]
    pub secret_headers: BTreeMap<String, String>,
}

/// How something is tried again.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawRetry {
    /// How long, from the first try.
    pub within: String,
    /// The pause before the second try; `2s` if not said. It doubles from try to try, up to a minute.
    pub every: Option<String>,
}

/// How rollouts go.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawPolicy {
    /// Who goes first: a count, a percentage, or a selector such as `@canary`.
    #[schemars(with = "Option<Scalar>")]
    pub canary: Option<Spanned<Scalar>>,
    /// How many hosts a batch has; never rounded to nothing.
    #[schemars(with = "Option<RawShare>")]
    pub batch: Option<Spanned<RawShare>>,
    /// How many hosts of the whole fleet may be down at once, counting those already down.
    #[schemars(with = "Option<RawShare>")]
    pub down_max: Option<Spanned<RawShare>>,
    /// How many hosts may fail before the run stops.
    pub failures_max: Option<usize>,
    /// What happens to a host on which a change fails.
    pub on_failure: Option<OnFailure>,
    /// Selectors in the order in which their hosts go.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub order: Vec<Spanned<String>>,
    /// A label: never two hosts with one value of it in a wave.
    pub spread: Option<String>,
    /// How long a plan may be applied after it was made.
    #[schemars(with = "Option<String>")]
    pub plan_max_age: Option<Spanned<String>>,
    /// How long a host's lock outlasts a run that has gone silent: from 10 s to 10 min.
    #[schemars(with = "Option<String>")]
    pub lease: Option<Spanned<String>>,
    /// How long a new login may take after a change that may cut it off, 15 s to 1 h, before the host takes the change back.
    #[schemars(with = "Option<String>")]
    pub login_within: Option<Spanned<String>>,
    /// How many hosts are worked on at once.
    pub parallel: Option<NonZeroUsize>,
    /// Asked on every host of a wave, before the next wave.
    #[serde(default)]
    pub gate: Vec<GateForm>,
}

/// Where secrets come from.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawSecrets {
    /// The age identity that opens encrypted values.
    pub age_identity: Option<String>,
}

/// A registry: what stands in its place, and who asks it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawRegistry {
    /// Where its images are taken from instead: a registry, or a registry and a path there. Its own login is that of its own table.
    pub rewrite: Option<String>,
    /// The account that asks it.
    pub user: Option<String>,
    /// The source of that account's password or token, such as `env:REGISTRY_TOKEN`.
    pub password: Option<String>,
}

/// A host that has left the fleet.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawRetired {
    /// The name that it had.
    #[schemars(with = "HostId")]
    pub host: Spanned<HostId>,
    /// Why and when, for people.
    pub note: Option<String>,
}
