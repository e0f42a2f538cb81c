//! Compose projects: a table, rendered and read, becomes the resources that it declares. Source: decision 0032.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::compose::{self, Project, SourceFile};
use crate::model::body::Body;
use crate::model::code;
use crate::model::container::{ContainerSpec, ContentFile, Pull};
use crate::model::diagnostic::{Diagnostic, Place};
use crate::model::digest::Digest;
use crate::model::id::{HostId, ResourceKey};
use crate::model::inventory::{Host, Use};
use crate::model::module::{Declared, Module};
use crate::model::registry::Placed;
use crate::plan::scope::Scope;
use crate::resource::desired::Entry;
use crate::resource::project::Compose;
use crate::resource::{Spec, part};

use super::place::Origins;
use super::{Raw, Wish, key_place};

/// The mode of what may hold secrets.
const SECRET_MODE: &str = "0600";

/// A project that waits until all files of its host are declared, since its services may read them.
pub(super) struct Waiting<'a> {
    used: &'a Use,
    module: &'a Module,
    declared: &'a Declared,
    scope: Scope,
    body: Map<String, Value>,
}

impl<'a> Waiting<'a> {
    pub(super) fn new(
        used: &'a Use,
        module: &'a Module,
        declared: &'a Declared,
        scope: Scope,
        body: Map<String, Value>,
    ) -> Self {
        Self {
            used,
            module,
            declared,
            scope,
            body,
        }
    }
}

/// What a project's resources have in common.
struct Shared {
    after: Vec<(String, Place)>,
    starts: Raw,
    declared: Declared,
    module: crate::model::id::ModuleName,
}

impl<'a> Wish<'a> {
    /// Declares everything that a project becomes.
    pub(super) fn project(&mut self, host: &Host, waiting: &Waiting<'a>) {
        let Waiting {
            used,
            module,
            declared,
            scope,
            body,
        } = waiting;
        let table: Compose = match serde_json::from_value(Value::Object(body.clone())) {
            Ok(table) => table,
            Err(error) => return self.undecodable(host, declared, &error.to_string()),
        };
        let mistakes = table.check();
        let is_whole = mistakes.is_empty();
        let subject = format!("compose[{}]", table.name);
        self.mistakes(host, declared, &subject, mistakes);
        self.check_ignored(host, declared, &subject, compose::FIELDS);
        let raw = match self.references(module, declared, scope) {
            Ok(raw) => raw,
            Err(error) => return self.fail(host, used, module, &error, key_place(declared, "after")),
        };
        let Some(texts) = self.texts(host, waiting, &table).filter(|_| is_whole) else {
            return;
        };
        let request = self.request(host, &table, &texts);
        let project = match compose::read(&request) {
            Ok(project) => project,
            Err(found) => {
                let origins = Origins {
                    host: &host.id,
                    module,
                    templates: &texts.templates,
                    table: &declared.origin,
                };
                let shown = compose::sources(request.files.iter().chain(&request.env_files));
                for diagnostic in found {
                    let placed = origins.place(diagnostic, &shown, &mut self.wished.sources);
                    self.wished.diagnostics.push(placed);
                }
                return;
            }
        };
        let shared = Shared {
            after: raw.after.clone(),
            starts: raw,
            declared: (*declared).clone(),
            module: module.name.clone(),
        };
        let group = (host.id.clone(), project.name.clone());
        let keys = self.become_resources(host, &table, &texts, &project, &shared);
        self.projects.entry(group).or_default().extend(keys);
    }

    /// Renders a project's files.
    fn texts(&mut self, host: &Host, waiting: &Waiting<'a>, table: &Compose) -> Option<Texts> {
        let Waiting {
            used,
            module,
            declared,
            scope,
            ..
        } = waiting;
        let mut texts = Texts::default();
        let mut is_whole = true;
        let env_path = format!("{}/.env", table.folder);
        let named = table
            .files
            .iter()
            .map(|template| (table.path_of(template), template, "files"));
        let env = table.env_template.iter();
        let env = env.map(|template| (env_path.clone(), template, "env_template"));
        for (path, template, key) in named.chain(env) {
            let name = toml::Value::String(template.clone());
            let rendered = self.content(module, scope, &name, true);
            let body = rendered.map(|text| Body::parse(text.as_str().unwrap_or_default()));
            match body {
                Ok(Ok(body)) => {
                    texts.templates.insert(path.clone(), template.clone());
                    let file = SourceFile { path, body };
                    match key {
                        "files" => texts.files.push(file),
                        _ => texts.env = Some(file),
                    }
                }
                Ok(Err(error)) => {
                    is_whole = false;
                    let message = format!("`{template}` of `{}`: {error}", host.id);
                    self.wished.diagnostics.push(
                        Diagnostic::error(code::SECRET_MANGLED, message)
                            .at(key_place(declared, key).clone(), "this template")
                            .hint("print the secret as it is, or through `base64`, `json`, `shell` or `compose`"),
                    );
                }
                Err(error) => {
                    is_whole = false;
                    self.fail(host, used, module, &error, key_place(declared, key));
                }
            }
        }
        if let Some(body) = &table.env {
            texts.env = Some(SourceFile {
                path: env_path,
                body: body.clone(),
            });
        }
        is_whole.then_some(texts)
    }

    fn request(&self, host: &Host, table: &Compose, texts: &Texts) -> compose::Request {
        let declared = self.wished.desired.hosts.get(&host.id);
        let entries = declared.into_iter().flat_map(|host| host.entries.values());
        let mut rendered: BTreeMap<String, Body> = entries
            .filter_map(|entry| match &entry.spec {
                Spec::File(file) => Some((file.path.clone(), file.content.clone())),
                _ => None,
            })
            .collect();
        let own = texts.files.iter().chain(&texts.env);
        rendered.extend(own.map(|file| (file.path.clone(), file.body.clone())));
        compose::Request {
            files: texts.files.clone(),
            env_files: texts.env.iter().cloned().collect(),
            variables: BTreeMap::new(),
            profiles: table.profiles.clone(),
            name: Some(table.name.clone()),
            folder: table.folder.clone(),
            rendered,
        }
    }

    fn become_resources(
        &mut self,
        host: &Host,
        table: &Compose,
        texts: &Texts,
        project: &Project,
        shared: &Shared,
    ) -> BTreeSet<ResourceKey> {
        let mut keys = BTreeSet::new();
        let mut before: Vec<String> = Vec::new();
        let owner = [table.owner.as_str(), table.group.as_str()];
        keys.extend(self.folder(host, &table.folder, owner, "0755", shared));
        for file in texts.files.iter().chain(&texts.env) {
            let is_secret = file.body.is_sensitive() || texts.is_env(file);
            let mode = if is_secret { SECRET_MODE } else { &table.mode };
            let spec = part::file(&file.path, file.body.clone(), owner, mode, texts.is_env(file));
            before.push(format!("file:{}", file.path));
            keys.insert(self.part(host, spec, shared, &[], &[]));
        }
        let rendered = self.rendered(&host.id);
        let mut containers = project.containers(&rendered);
        let mut images: Vec<(Placed, Option<String>, Pull)> = Vec::new();
        for container in &mut containers {
            let placed = self.placed(host, &container.image, &shared.declared.origin);
            container.image = placed.name.clone();
            if container.pull != Pull::Never {
                images.push((placed, container.platform.clone(), container.pull));
            }
        }
        keys.extend(self.contents(host, &table.folder, &containers, shared));
        for spec in project.networks.values().map(part::network) {
            before.push(format!("network:{}", spec.key().name));
            keys.insert(self.part(host, spec, shared, &[], &[]));
        }
        for spec in project.volumes.values().map(part::volume) {
            before.push(format!("volume:{}", spec.key().name));
            keys.insert(self.part(host, spec, shared, &[], &[]));
        }
        for (placed, platform, pull) in images {
            keys.insert(self.part(host, part::image(&placed, platform, pull), shared, &[], &[]));
        }
        let names = names_by_service(&containers);
        for container in containers {
            let (after, consumes) = edges(&container, &names, &before);
            let spec = part::container(container, table.within_secs());
            keys.insert(self.part(host, spec, shared, &after, &consumes));
        }
        keys
    }

    /// Declares a folder that nobody else does.
    fn folder(
        &mut self,
        host: &Host,
        path: &str,
        owner: [&str; 2],
        mode: &str,
        shared: &Shared,
    ) -> Option<ResourceKey> {
        let spec = part::directory(path, owner, mode);
        let key = spec.key();
        let is_declared = self.wished.desired.get(&key.on(&host.id)).is_some();
        (!is_declared).then(|| self.part(host, spec, shared, &[], &[]))
    }

    /// Declares the files of contents that stand in the Compose files themselves, and their folders.
    fn contents(
        &mut self,
        host: &Host,
        folder: &str,
        containers: &[ContainerSpec],
        shared: &Shared,
    ) -> BTreeSet<ResourceKey> {
        let files: Vec<&ContentFile> = containers.iter().flat_map(|container| &container.files).collect();
        let mut folders: BTreeSet<String> = BTreeSet::new();
        for file in &files {
            folders.insert(format!("{folder}/.muster"));
            folders.extend(file.path.rsplit_once('/').map(|(parent, _)| parent.to_owned()));
        }
        let mut keys: BTreeSet<ResourceKey> = BTreeSet::new();
        for folder in &folders {
            keys.extend(self.folder(host, folder, ["root", "root"], "0700", shared));
        }
        for file in files {
            let name = |number: u32| match number {
                0 => "root".to_owned(),
                number => number.to_string(),
            };
            let (owner, group) = (name(file.uid), name(file.gid));
            let mode = format!("{:04o}", file.mode);
            let spec = part::file(&file.path, file.body.clone(), [&owner, &group], &mode, false);
            keys.insert(self.part(host, spec, shared, &[], &[]));
        }
        keys
    }

    /// Returns the digest of each file that is declared for a host.
    fn rendered(&self, host: &HostId) -> BTreeMap<String, Digest> {
        let desired = self.wished.desired.hosts.get(host);
        let entries = desired.into_iter().flat_map(|host| host.entries.values());
        let digest = |entry: &Entry| match &entry.spec {
            Spec::File(file) => Some((file.path.clone(), file.content.digest())),
            _ => None,
        };
        entries.filter_map(digest).collect()
    }

    /// Declares one of a project's resources.
    fn part(
        &mut self,
        host: &Host,
        spec: Spec,
        shared: &Shared,
        after: &[String],
        consumes: &[String],
    ) -> ResourceKey {
        let key = spec.key();
        let declared = &shared.declared;
        let origin = &declared.origin;
        let placed = |texts: &[String]| {
            let placed = texts.iter().map(|text| (text.clone(), origin.clone()));
            placed.collect::<Vec<_>>()
        };
        let is_container = spec.info().starts;
        let starts = |references: &[(String, Place)]| match is_container {
            true => references.to_vec(),
            false => Vec::new(),
        };
        let mut raw = Raw {
            after: shared.after.clone(),
            restart_on: starts(&shared.starts.restart_on),
            loses_on: starts(&shared.starts.loses_on),
        };
        raw.after.extend(placed(after));
        raw.restart_on.extend(placed(consumes));
        let ignored = declared.shared.ignore.iter().filter(|_| is_container);
        let entry = Entry {
            needs: BTreeSet::new(),
            restart_on: BTreeSet::new(),
            loses_on: BTreeSet::new(),
            protect: declared.shared.protect && is_container,
            delete: declared.shared.delete && spec.info().kept_unless_delete,
            ignore: ignored.cloned().collect(),
            gates: Vec::new(),
            modules: BTreeSet::from([shared.module.clone()]),
            origins: vec![origin.clone()],
            spec,
        };
        self.merge(host, key.clone(), entry, raw);
        key
    }
}

/// A project's rendered files.
#[derive(Default)]
struct Texts {
    files: Vec<SourceFile>,
    env: Option<SourceFile>,
    /// The template of each, by path on the host.
    templates: BTreeMap<String, String>,
}

impl Texts {
    fn is_env(&self, file: &SourceFile) -> bool {
        self.env.as_ref().is_some_and(|env| env.path == file.path)
    }
}

fn names_by_service(containers: &[ContainerSpec]) -> BTreeMap<String, Vec<String>> {
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for container in containers {
        let of_service = names.entry(container.service.clone()).or_default();
        of_service.push(format!("container:{}", container.name));
    }
    names
}

/// Returns what a container comes after, and what of it starts it anew: files that it sees, and containers with which it shares
/// something.
fn edges(
    container: &ContainerSpec,
    names: &BTreeMap<String, Vec<String>>,
    before: &[String],
) -> (Vec<String>, Vec<String>) {
    let of_service = |service: &String| names.get(service).into_iter().flatten().cloned();
    let mut after: Vec<String> = before.to_vec();
    if container.pull != Pull::Never {
        after.push(format!("image:{}", container.image));
    }
    after.extend(container.needs.iter().flat_map(|need| of_service(&need.service)));
    let seen = container.mounted.keys().map(|path| format!("file:{path}"));
    let shared = container.recreated_with.iter().flat_map(of_service);
    let consumes = seen.chain(shared).collect();
    (after, consumes)
}
