//! The table of a container that is run once, and the container that it says.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::compose;
use crate::model::body::Body;
use crate::model::container::{ContainerSpec, LABEL_ONCE, Pull};
use crate::model::container_part::{Endpoint, NetworkMode};

use super::probe::Retry;

/// A container that is run once, to its end, where its probe says that it is needed: what [`command`](#command) is for programs
/// that come as an image.
///
/// The probe is a shell script on the host, as that of a `command`: it exits 0 when nothing is to be done, 1 when the container is to
/// run, and anything else when it cannot tell, with a line `why=…`. Lines `name=value` give the declared outputs. Whatever is in
/// `restart_on` makes it run again when it changes, though the probe says 0.
///
/// The container has the name of the table, so that one that runs is found again by whoever goes on. It must bear being run again
/// after an interruption. It goes when it has ended well, and stays for people when it failed, until it is tried again. The image
/// needs no table of its own.
///
/// ```toml
/// [[container_run]]
/// name        = "join-warm-key"
/// image       = "ghcr.io/example/app:1.4"
/// command     = ["keys", "add", "warm"]
/// environment = { KEYRING_PASSWORD = "{{ keyring_password }}", LOG_LEVEL = "info" }
/// public_env  = ["LOG_LEVEL"]              # every other value is shown as a fingerprint
/// volumes     = ["/srv/join/.app:/root/.app"]
/// probe       = "test -e /srv/join/.app/keyring/warm.info"
/// within      = "2m"
/// after       = ["compose:join"]
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ContainerRun")]
pub struct Table {
    /// What it is called, and the container with it.
    pub name: String,
    /// The image.
    pub image: String,
    /// The image's platform, such as `linux/amd64`; the host's where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// When the image is pulled: `missing`, `always` or `never`, as in Compose files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_policy: Option<String>,
    /// The script on the host that tells whether it is needed.
    pub probe: String,
    /// The words of the command, or a line that is taken apart as a shell does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Words>,
    /// The words of the entrypoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Words>,
    /// The environment. Only here secrets may stand.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, Body>,
    /// The variables whose values may be shown.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub public_env: BTreeSet<String>,
    /// The account within the container, `user[:group]`; the image's where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The folder that its process starts in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Mounts: `SOURCE:TARGET[:ro]`. A source with a slash ahead is a path of the host, else a volume by its name on the engine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<String>,
    /// The networks that it is attached to, by their names on the engine.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub networks: BTreeSet<String>,
    /// `host`, `none`, `bridge` or `container:NAME`; `bridge` where neither this nor `networks` is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_mode: Option<String>,
    /// Lines of its `/etc/hosts`: `name:address`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra_hosts: Vec<String>,
    /// Devices of the host: `HOST[:CONTAINER[:rwm]]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
    /// How many of the host's GPUs it gets; -1 is all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpus: Option<i64>,
    /// The most memory that it gets, such as `2g`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mem_limit: Option<String>,
    /// The size of its `/dev/shm`, such as `1g`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shm_size: Option<String>,
    /// How long it may run; it is stopped then.
    #[serde(default = "within_5m")]
    pub within: String,
    /// The exit statuses with which it has done what it is for.
    #[serde(default = "zero")]
    pub success: BTreeSet<i64>,
    /// `secret` where its log lines are never shown, only how to read them on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs: Option<String>,
    /// How long the probe is asked again after it has ended, where what it starts takes a while; once where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// The names of the values that the probe prints, each with the pattern that it must fit as a whole.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, String>,
}

/// Words of a command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Words {
    /// A line.
    Line(String),
    /// The words themselves.
    List(Vec<String>),
}

fn within_5m() -> String {
    "5m".to_owned()
}

fn zero() -> BTreeSet<i64> {
    BTreeSet::from([0])
}

impl Table {
    /// Returns when its image is pulled.
    pub fn pull(&self) -> Pull {
        match self.pull_policy.as_deref() {
            Some("always") => Pull::Always,
            Some("never") => Pull::Never,
            Some(_) | None => Pull::Missing,
        }
    }

    /// Returns its keys as a service of a Compose file has them.
    pub(super) fn keys(&self) -> Map<String, Value> {
        let mut keys = Map::new();
        keys.insert("image".to_owned(), json!(self.image));
        let mut say = |key: &str, value: Value| {
            let is_said = !value.is_null() && value != json!([]);
            is_said.then(|| keys.insert(key.to_owned(), value));
        };
        say("platform", json!(self.platform));
        say("pull_policy", json!(self.pull_policy));
        say("command", json!(self.command));
        say("entrypoint", json!(self.entrypoint));
        say("user", json!(self.user));
        say("working_dir", json!(self.working_dir));
        say("volumes", json!(self.volumes));
        say("network_mode", json!(self.network_mode));
        say("extra_hosts", json!(self.extra_hosts));
        say("devices", json!(self.devices));
        say("mem_limit", json!(self.mem_limit));
        say("shm_size", json!(self.shm_size));
        if let Some(count) = self.gpus {
            let count = if count < 0 { json!("all") } else { json!(count) };
            let device = json!({ "driver": "nvidia", "count": count, "capabilities": ["gpu"] });
            say(
                "deploy",
                json!({ "resources": { "reservations": { "devices": [device] } } }),
            );
        }
        keys
    }

    /// Returns the container. One that is not well declared was refused before and has no settings.
    pub(super) fn container(&self) -> ContainerSpec {
        let service = compose::one_off(&self.keys()).ok();
        let mut settings = service.map(|service| service.settings).unwrap_or_default();
        if self.network_mode.is_none() {
            settings.network_mode = match self.networks.is_empty() {
                true => NetworkMode::Bridge,
                false => NetworkMode::Networks,
            };
            let attached = self.networks.iter();
            settings.networks = attached.map(|name| (name.clone(), Endpoint::default())).collect();
        }
        settings.labels.insert(LABEL_ONCE.to_owned(), self.name.clone());
        ContainerSpec {
            number: 1,
            name: self.name.clone(),
            image: self.image.clone(),
            platform: self.platform.clone(),
            pull: self.pull(),
            environment: self.environment.clone(),
            public_env: self.public_env.clone(),
            is_log_secret: self.logs.is_some(),
            settings,
            ..ContainerSpec::default()
        }
    }
}

/// Returns the key of the table that became a key of a service.
pub(super) fn field_of(key: &str) -> &'static str {
    let fields = [
        "image",
        "platform",
        "pull_policy",
        "command",
        "entrypoint",
        "user",
        "working_dir",
        "volumes",
        "network_mode",
        "extra_hosts",
        "devices",
        "mem_limit",
        "shm_size",
    ];
    fields.into_iter().find(|field| *field == key).unwrap_or("gpus")
}
