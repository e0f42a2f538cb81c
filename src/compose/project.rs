//! Projects: files and variables become services, networks and volumes, or all mistakes at once.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::model::body::Body;
use crate::model::code;
use crate::model::container_part::{MountFrom, NetworkMode};
use crate::model::diagnostic::{Diagnostic, Diagnostics};
use crate::model::network::NetworkSpec;
use crate::model::volume::VolumeSpec;

use super::declared::{self, Content};
use super::interpolate::{self, Variables};
use super::keys;
use super::node::{Node, Value};
use super::order;
use super::service::{self, Around, Service};
use super::source::{SourceFile, Texts};
use super::{dotenv, merge, path, references, values, yaml};

/// What is read into a project.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The Compose files, each over those before it.
    pub files: Vec<SourceFile>,
    /// Files of variables in the form of `.env`, each over those before it.
    pub env_files: Vec<SourceFile>,
    /// Variables by name. They win over those of files.
    pub variables: BTreeMap<String, Body>,
    /// Profiles that are active.
    pub profiles: BTreeSet<String>,
    /// The project's name; without it the files' `name`, or that of the folder.
    pub name: Option<String>,
    /// The project's folder on the host, an absolute path. Relative paths begin there.
    pub folder: String,
    /// Files that muster renders on the host, by absolute path: what `env_file` may name.
    pub rendered: BTreeMap<String, Body>,
}

/// A project as its files declare it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Project {
    /// Its name.
    pub name: String,
    /// Its folder on the host.
    pub folder: String,
    /// The paths of its Compose files.
    pub files: Vec<String>,
    /// The services of the active profiles, by name.
    pub services: BTreeMap<String, Service>,
    /// The networks that they use, by their names within the project.
    pub networks: BTreeMap<String, NetworkSpec>,
    /// The volumes that they use, by their names within the project.
    pub volumes: BTreeMap<String, VolumeSpec>,
    /// The services in an order in which each comes after those that it needs.
    pub order: Vec<String>,
    pub(super) configs: BTreeMap<String, Content>,
    pub(super) secrets: BTreeMap<String, Content>,
}

/// Reads a project.
///
/// # Errors
/// Every mistake of its files, each with its place. [`super::sources`] has the texts that the places speak of.
pub fn read(request: &Request) -> Result<Project, Diagnostics> {
    let mut texts = Texts::default();
    let project = read_into(&mut texts, request);
    match (texts.diagnostics.has_errors(), project) {
        (false, Some(project)) => Ok(project),
        (_, _) => Err(texts.diagnostics),
    }
}

fn read_into(texts: &mut Texts, request: &Request) -> Option<Project> {
    let variables = variables(texts, request);
    let mut tree: Option<Node> = None;
    for file in &request.files {
        let opened = texts.open(file);
        let Some(mut node) = yaml::parse(texts, &opened) else {
            continue;
        };
        interpolate::tree(texts, &mut node, &variables);
        tree = Some(match tree {
            Some(base) => merge::merge(base, node),
            None => merge::alone(node),
        });
    }
    let tree = tree?;
    values::check(texts, &tree, &keys::PROJECT, "the file");
    // With a stand-in what else is wrong comes to light.
    let name = name(texts, &tree, request).unwrap_or_else(|| "project".to_owned());
    let around = Around {
        variables: &variables,
        files: &request.rendered,
        folder: &request.folder,
    };
    let mut project = Project {
        files: request.files.iter().map(|file| file.path.clone()).collect(),
        folder: request.folder.clone(),
        services: BTreeMap::new(),
        networks: section(texts, &tree, "networks")
            .iter()
            .map(|entry| (entry.key.clone(), declared::network(texts, entry, &name)))
            .collect(),
        volumes: section(texts, &tree, "volumes")
            .iter()
            .map(|entry| (entry.key.clone(), declared::volume(texts, entry, &name)))
            .collect(),
        configs: contents(texts, &tree, "configs", "config", &around),
        secrets: contents(texts, &tree, "secrets", "secret", &around),
        order: Vec::new(),
        name,
    };
    project
        .networks
        .entry("default".to_owned())
        .or_insert_with(|| declared::default_network(&project.name));
    let mut others = BTreeSet::new();
    for entry in section(texts, &tree, "services") {
        if let Some(service) = service::read(texts, entry, &around) {
            match is_active(&service, &request.profiles) {
                true => drop(project.services.insert(entry.key.clone(), service)),
                false => drop(others.insert(entry.key.clone())),
            }
        }
    }
    if tree.get("services").is_none() {
        texts.error(
            code::MISSING_KEY,
            "the file: key `services` is missing",
            tree.at,
            "`services` belongs here",
        );
    }
    // What a service names cannot be judged while a service could not be read.
    if !texts.diagnostics.has_errors() {
        references::references(texts, &tree, &mut project, &others);
        references::one_name_each(texts, &tree, &project);
        project.order = order::of(texts, &tree, &project.services);
        keep_used(&mut project);
    }
    Some(project)
}

fn is_active(service: &Service, active: &BTreeSet<String>) -> bool {
    service.profiles.is_empty() || active.contains("*") || !service.profiles.is_disjoint(active)
}

/// Returns the variables: those of files, then those that are given by name, with placeholders for secrets.
fn variables(texts: &mut Texts, request: &Request) -> Variables {
    let mut variables = Variables::new();
    for (name, body) in &request.variables {
        let mut text = String::new();
        for piece in body.pieces() {
            match piece {
                crate::model::body::Piece::Text(part) => text.push_str(part),
                piece => text.push_str(&texts.placeholder(piece.clone())),
            }
        }
        variables.insert(name.clone(), text);
    }
    let given = variables.clone();
    for file in &request.env_files {
        let read = dotenv::read(texts, file, &variables);
        let new = read.into_iter().map(|(key, (value, _))| (key, value));
        variables.extend(new.filter(|(key, _)| !given.contains_key(key)));
    }
    variables
}

/// Returns the entries of a top-level mapping.
fn section<'t>(texts: &mut Texts, tree: &'t Node, key: &str) -> &'t [super::node::Entry] {
    let Some(node) = tree.get(key) else { return &[] };
    if !matches!(node.value, Value::Map(_) | Value::Null) {
        let message = format!("`{key}`: found {}, expected a mapping", node.what());
        texts.error(code::COMPOSE_VALUE, message, node.at, "not a mapping");
    }
    node.entries()
}

fn contents(
    texts: &mut Texts,
    tree: &Node,
    key: &str,
    what: &str,
    around: &Around<'_>,
) -> BTreeMap<String, Content> {
    let entries = section(texts, tree, key).iter();
    entries
        .filter_map(|entry| {
            Some((
                entry.key.clone(),
                declared::content(texts, entry, what, around.variables, around.folder)?,
            ))
        })
        .collect()
}

/// Returns the project's name: what is asked for, else what the files say, else the folder's.
fn name(texts: &mut Texts, tree: &Node, request: &Request) -> Option<String> {
    let written = tree
        .get("name")
        .map(|node| (values::word(texts, node, "`name`"), node.at));
    let is_name = |name: &str| {
        name.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c))
    };
    match (&request.name, written) {
        (Some(name), _) if is_name(name) => Some(name.clone()),
        (Some(name), _) => {
            let found = Diagnostic::error(code::COMPOSE_VALUE, format!("`{name}` is no name of a project"));
            texts.report(found.hint("write lower-case letters, digits, `-` and `_`"));
            None
        }
        (None, Some((name, at))) => {
            let name = name?;
            if !is_name(&name) {
                texts.hinted(
                    code::COMPOSE_VALUE,
                    format!("`name`: `{name}` is no name of a project"),
                    at,
                    "this does not fit",
                    "write lower-case letters, digits, `-` and `_`",
                );
                return None;
            }
            Some(name)
        }
        (None, None) => {
            let last = path::last(&request.folder).to_ascii_lowercase();
            let kept: String = last
                .chars()
                .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(*c))
                .collect();
            Some(kept.trim_start_matches(['-', '_']).to_owned())
                .filter(|name| !name.is_empty())
                .or_else(|| {
                    texts.report(
                        Diagnostic::error(
                            code::COMPOSE_VALUE,
                            format!("the project has no name, and `{}` gives none", request.folder),
                        )
                        .hint("set `name`"),
                    );
                    None
                })
        }
    }
}

/// Leaves out networks and volumes that no active service uses: Compose makes none of them.
fn keep_used(project: &mut Project) {
    let attached = |service: &&Service| service.settings.network_mode == NetworkMode::Networks;
    let networks: BTreeSet<&String> = project
        .services
        .values()
        .filter(attached)
        .flat_map(|service| service.networks.keys())
        .collect();
    project.networks.retain(|name, _| networks.contains(name));
    let mounts = project
        .services
        .values()
        .flat_map(|service| service.settings.mounts.values());
    let volumes: BTreeSet<&String> = mounts
        .filter_map(|mount| match &mount.from {
            MountFrom::Volume(name) => Some(name),
            MountFrom::Bind(_) | MountFrom::Anonymous | MountFrom::Tmpfs { .. } => None,
        })
        .collect();
    project.volumes.retain(|name, _| volumes.contains(name));
}
