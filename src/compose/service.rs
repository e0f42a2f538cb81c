//! Services: one mapping under `services` becomes a [`Service`].

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::model::body::Body;
use crate::model::code;
use crate::model::container::{Condition, Pull, Settings};
use crate::model::container_part::{Endpoint, NetworkMode};
use crate::model::diagnostic::Place;

use super::environment::{self, Files};
use super::form::Form;
use super::grant::{self, Grant};
use super::interpolate::Variables;
use super::keys_parts;
use super::keys_service::SERVICE;
use super::node::{Entry, Node};
use super::source::Texts;
use super::{attachment, health, limits, mount, port, values};

/// A service of a project. Names of volumes and networks are still those within the project.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Where it is declared, for messages of those who carry it out.
    pub place: Place,
    /// The image, as the file has it.
    pub image: String,
    /// The image's platform.
    pub platform: Option<String>,
    /// When the image is pulled.
    pub pull: Pull,
    /// The name of its only container.
    pub container_name: Option<String>,
    /// How many containers.
    pub replicas: u32,
    /// The profiles in which it is there; empty means always.
    pub profiles: BTreeSet<String>,
    /// Its variables.
    pub environment: BTreeMap<String, Body>,
    /// Variables whose values may be shown.
    pub public_env: BTreeSet<String>,
    /// Whether its log lines are never shown.
    pub is_log_secret: bool,
    /// The rest.
    pub settings: Settings,
    /// The networks that it is attached to.
    pub networks: BTreeMap<String, Endpoint>,
    /// Services that come first.
    pub depends_on: BTreeMap<String, Dependency>,
    /// Files that it is granted.
    pub(super) grants: Vec<Grant>,
}

/// How a service depends on another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// What must be so of the other.
    pub condition: Condition,
    /// Whether the other must be there.
    pub is_required: bool,
}

/// What a service is read with.
pub(super) struct Around<'a> {
    pub(super) variables: &'a Variables,
    pub(super) files: &'a Files,
    pub(super) folder: &'a str,
}

/// Reads a service; `None` where its image is not known.
pub(super) fn read(texts: &mut Texts, entry: &Entry, around: &Around<'_>) -> Option<Service> {
    let name = entry.key.as_str();
    let subject = format!("service `{name}`");
    let node = &entry.value;
    if !is_name(name) {
        texts.error(
            code::COMPOSE_VALUE,
            format!("{subject}: a name has letters, digits, `_`, `-` and `.`"),
            entry.key_at,
            "not a name",
        );
    }
    values::check(texts, node, &SERVICE, &subject);
    let mut form = Form {
        texts,
        node,
        subject: &subject,
    };
    let image = match node.get("image") {
        Some(_) => form.word("image"),
        None => {
            let hint = "muster pulls images: name one";
            let message = format!("{subject}: key `image` is missing");
            form.texts.hinted(
                code::MISSING_KEY,
                message,
                entry.key_at,
                "`image` belongs here",
                hint,
            );
            None
        }
    };
    let mut settings = super::settings::plain_settings(&mut form);
    settings.limits = limits::read(form.texts, node, &subject);
    settings.device_requests = limits::device_requests(form.texts, node, &subject);
    if let Some(check) = node.get("healthcheck") {
        settings.healthcheck = health::read(form.texts, check, &subject);
    }
    if let Some(ports) = node.get("ports") {
        settings.ports = port::read(form.texts, ports, &subject);
    }
    if let Some(expose) = node.get("expose") {
        settings.exposed = port::exposed(form.texts, expose, &subject);
    }
    settings
        .exposed
        .extend(settings.ports.iter().map(|published| published.port.clone()));
    mounts(&mut form, around.folder, &mut settings);
    let networks = attachment::read(form.texts, node, &subject, &mut settings);
    let grants = grant::read(form.texts, node, &subject);
    let (is_log_secret, public_env) = muster(&mut form);
    let environment = environment::read(form.texts, node, &subject, around);
    let depends_on = dependencies(&mut form);
    let replicas = replicas(&mut form);
    let container_name = form.word("container_name");
    if container_name.is_some() && replicas > 1 {
        let at = node.entry("container_name").map_or(node.at, |entry| entry.key_at);
        form.texts.error(
            code::COMPOSE_CONFLICT,
            format!("{subject}: {replicas} containers cannot have one name"),
            at,
            "`container_name` and replicas",
        );
    }
    let place = form.texts.place(entry.key_at);
    Some(Service {
        name: name.to_owned(),
        place,
        image: image?,
        platform: form.word("platform"),
        pull: pull(&mut form),
        container_name,
        replicas,
        profiles: form.words("profiles").into_iter().collect(),
        environment,
        public_env,
        is_log_secret,
        settings,
        networks,
        depends_on,
        grants,
    })
}

pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

fn mounts(form: &mut Form<'_>, folder: &str, settings: &mut Settings) {
    let mut mounts = Vec::new();
    if let Some(volumes) = form.node.get("volumes") {
        mounts.extend(mount::read(form.texts, volumes, form.subject, folder));
    }
    if let Some(tmpfs) = form.node.get("tmpfs") {
        mounts.extend(mount::tmpfs(form.texts, tmpfs, form.subject));
    }
    for (target, mount, at) in mounts {
        if settings.mounts.insert(target.clone(), mount).is_some() {
            form.texts.error(
                code::COMPOSE_CONFLICT,
                format!("{}: two mounts at `{target}`", form.subject),
                at,
                "mounted before",
            );
        }
    }
    if let Some(devices) = form.node.get("devices") {
        settings
            .devices
            .extend(mount::devices(form.texts, devices, form.subject));
    }
}

fn pull(form: &mut Form<'_>) -> Pull {
    match form
        .choice("pull_policy", &["missing", "if_not_present", "always", "never"])
        .as_deref()
    {
        Some("always") => Pull::Always,
        Some("never") => Pull::Never,
        Some(_) | None => Pull::Missing,
    }
}

fn replicas(form: &mut Form<'_>) -> u32 {
    let deploy = form.node.get("deploy");
    let subject = format!("{}: `deploy`", form.subject);
    if let Some(mode) = deploy.and_then(|deploy| deploy.get("mode")) {
        values::choice(form.texts, mode, &format!("{subject}: `mode`"), &["replicated"]);
    }
    let count = |texts: &mut Texts, node: &Node| values::count(texts, node, "the number of containers");
    let scale = form.node.get("scale").and_then(|node| count(form.texts, node));
    let replicas = deploy
        .and_then(|deploy| deploy.get("replicas"))
        .and_then(|node| count(form.texts, node));
    if let (Some(scale), Some(replicas)) = (scale, replicas)
        && scale != replicas
    {
        let at = form
            .node
            .entry("scale")
            .map_or(form.node.at, |entry| entry.key_at);
        form.texts.error(
            code::COMPOSE_CONFLICT,
            format!(
                "{}: `scale` says {scale}, `deploy.replicas` says {replicas}",
                form.subject
            ),
            at,
            "one of them",
        );
    }
    let count = scale.or(replicas).unwrap_or(1);
    match u32::try_from(count).ok().filter(|count| *count <= 1000) {
        Some(count) => count,
        None => {
            form.texts.error(
                code::COMPOSE_VALUE,
                format!("{}: {count} containers are more than 1000", form.subject),
                form.node.at,
                "too many",
            );
            1
        }
    }
}

fn dependencies(form: &mut Form<'_>) -> BTreeMap<String, Dependency> {
    let mut dependencies = BTreeMap::new();
    let Some(node) = form.node.get("depends_on") else {
        return dependencies;
    };
    for entry in node.entries() {
        let subject = format!("{}: `depends_on`: `{}`", form.subject, entry.key);
        if !entry.value.is_null() {
            values::check(form.texts, &entry.value, &keys_parts::DEPENDENCY, &subject);
        }
        let mut form = Form {
            texts: &mut *form.texts,
            node: &entry.value,
            subject: &subject,
        };
        let words = [
            "service_started",
            "service_healthy",
            "service_completed_successfully",
        ];
        let condition = match form.choice("condition", &words).as_deref() {
            Some("service_healthy") => Condition::Healthy,
            Some("service_completed_successfully") => Condition::Completed,
            Some(_) | None => Condition::Started,
        };
        let dependency = Dependency {
            condition,
            is_required: form.truth("required").unwrap_or(true),
        };
        dependencies.insert(entry.key.clone(), dependency);
    }
    dependencies
}

fn muster(form: &mut Form<'_>) -> (bool, BTreeSet<String>) {
    let Some(node) = form.node.get("x-muster") else {
        return Default::default();
    };
    let subject = format!("{}: `x-muster`", form.subject);
    values::check(form.texts, node, &keys_parts::MUSTER, &subject);
    let mut form = Form {
        texts: &mut *form.texts,
        node,
        subject: &subject,
    };
    let is_log_secret = form.choice("logs", &["secret"]).is_some();
    (is_log_secret, form.words("public_env").into_iter().collect())
}

/// Says which service a container shares something with, by the words of `network_mode`, `ipc` and `pid`.
pub(super) fn shares_with(settings: &Settings) -> BTreeSet<String> {
    let others = [&settings.ipc, &settings.pid]
        .into_iter()
        .flatten()
        .filter_map(|text| text.strip_prefix("service:"));
    let network = match &settings.network_mode {
        NetworkMode::Service(name) => Some(name.as_str()),
        NetworkMode::Networks
        | NetworkMode::Bridge
        | NetworkMode::Host
        | NetworkMode::None
        | NetworkMode::Container(_) => None,
    };
    others.chain(network).map(str::to_owned).collect()
}
