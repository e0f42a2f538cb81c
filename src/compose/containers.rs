//! Containers: what each service must be on an engine, replica by replica.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::container::{
    Condition, ContainerSpec, ContentFile, LABEL_DIGEST, LABEL_FILES, LABEL_FOLDER, LABEL_NUMBER,
    LABEL_ONEOFF, LABEL_PROJECT, LABEL_SERVICE, LABEL_VERSION, Need,
};
use crate::model::container_part::{Endpoint, Mount, MountFrom, NetworkMode};
use crate::model::digest::Digest;

use super::declared::Content;
use super::normal;
use super::project::Project;
use super::service::{self, Service};

/// The mode of a config or a secret whose content stands in the file.
const CONTENT_MODE: u32 = 0o444;

impl Project {
    /// Returns the project's containers in the order in which they start.
    ///
    /// `rendered` has the digest of every file that muster renders on the host, by absolute path. Those that a container
    /// sees are part of its spec: files that are mounted themselves, and files below a mounted folder of the project.
    pub fn containers(&self, rendered: &BTreeMap<String, Digest>) -> Vec<ContainerSpec> {
        let services = self.order.iter().filter_map(|name| self.services.get(name));
        services
            .flat_map(|service| {
                (1..=service.replicas).map(|number| self.container(service, number, rendered))
            })
            .collect()
    }

    fn container(
        &self,
        service: &Service,
        number: u32,
        rendered: &BTreeMap<String, Digest>,
    ) -> ContainerSpec {
        let mut spec = ContainerSpec {
            project: self.name.clone(),
            service: service.name.clone(),
            number,
            name: self.name_of(service, number),
            former_names: self.former_name(service, number).into_iter().collect(),
            image: service.image.clone(),
            platform: service.platform.clone(),
            pull: service.pull,
            environment: service.environment.clone(),
            public_env: service.public_env.clone(),
            is_log_secret: service.is_log_secret,
            settings: service.settings.clone(),
            mounted: BTreeMap::new(),
            files: Vec::new(),
            needs: self.needs(service),
            recreated_with: service::shares_with(&service.settings),
        };
        self.attach(service, &mut spec);
        self.name_volumes(&mut spec);
        self.grant(service, &mut spec);
        spec.mounted.extend(seen_files(&spec, &self.folder, rendered));
        normal::spell(&mut spec.settings);
        self.label(number, &mut spec);
        spec
    }

    fn name_of(&self, service: &Service, number: u32) -> String {
        let named = service.container_name.clone();
        named.unwrap_or_else(|| format!("{}-{}-{number}", self.name, service.name))
    }

    /// Returns the name that the old tool gave.
    fn former_name(&self, service: &Service, number: u32) -> Option<String> {
        let is_named = service.container_name.is_some();
        (!is_named).then(|| format!("{}_{}_{number}", self.name, service.name))
    }

    fn needs(&self, service: &Service) -> Vec<Need> {
        let need = |name: &String, condition, is_required| Need {
            service: name.clone(),
            condition,
            is_required,
            names: self.names_of(name),
        };
        let mut needs: BTreeMap<String, Need> = BTreeMap::new();
        for name in service::shares_with(&service.settings) {
            needs.insert(name.clone(), need(&name, Condition::Started, true));
        }
        for (name, dependency) in &service.depends_on {
            let need = need(name, dependency.condition, dependency.is_required);
            needs.insert(name.clone(), need);
        }
        needs.into_values().collect()
    }

    /// Returns every name that the containers of a service may have.
    fn names_of(&self, service: &str) -> BTreeSet<String> {
        let service = self.services.get(service);
        let names = service.into_iter().flat_map(|service| {
            (1..=service.replicas).flat_map(move |number| {
                std::iter::once(self.name_of(service, number)).chain(self.former_name(service, number))
            })
        });
        names.collect()
    }

    /// Networks get their names on the engine, and the container its service's name in each.
    fn attach(&self, service: &Service, spec: &mut ContainerSpec) {
        if spec.settings.network_mode != NetworkMode::Networks {
            return;
        }
        let attached = service
            .networks
            .iter()
            .filter_map(|(name, endpoint)| Some((self.networks.get(name)?, endpoint)));
        spec.settings.networks = attached
            .map(|(network, endpoint)| {
                let mut endpoint: Endpoint = endpoint.clone();
                endpoint.aliases.insert(service.name.clone());
                (network.name.clone(), endpoint)
            })
            .collect();
    }

    fn name_volumes(&self, spec: &mut ContainerSpec) {
        for mount in spec.settings.mounts.values_mut() {
            if let MountFrom::Volume(name) = &mut mount.from
                && let Some(volume) = self.volumes.get(name)
            {
                *name = volume.name.clone();
            }
        }
    }

    /// Configs and secrets become mounts of files: of the host's own, or of those that muster writes.
    fn grant(&self, service: &Service, spec: &mut ContainerSpec) {
        for grant in &service.grants {
            let (contents, folder) = if grant.is_secret {
                (&self.secrets, "secrets")
            } else {
                (&self.configs, "configs")
            };
            let path = match contents.get(&grant.source) {
                None => continue,
                Some(Content::File(path)) => path.clone(),
                Some(Content::Text(body)) => {
                    let (uid, gid, mode) = (
                        grant.uid.unwrap_or(0),
                        grant.gid.unwrap_or(0),
                        grant.mode.unwrap_or(CONTENT_MODE),
                    );
                    let suffix = match (uid, gid, mode) {
                        (0, 0, CONTENT_MODE) => String::new(),
                        _ => format!(".{uid}.{gid}.{mode:04o}"),
                    };
                    let path = format!("{}/.muster/{folder}/{}{suffix}", self.folder, grant.source);
                    spec.mounted.insert(path.clone(), body.digest());
                    spec.files.push(ContentFile {
                        path: path.clone(),
                        body: body.clone(),
                        mode,
                        uid,
                        gid,
                    });
                    path
                }
            };
            let mount = Mount {
                from: MountFrom::Bind(path),
                read_only: true,
                propagation: None,
                makes_host_path: false,
                nocopy: false,
            };
            spec.settings.mounts.insert(grant.target.clone(), mount);
        }
    }

    fn label(&self, number: u32, spec: &mut ContainerSpec) {
        let labels = [
            (LABEL_PROJECT, self.name.clone()),
            (LABEL_SERVICE, spec.service.clone()),
            (LABEL_NUMBER, number.to_string()),
            (LABEL_ONEOFF, "False".to_owned()),
            (LABEL_FILES, self.files.join(",")),
            (LABEL_FOLDER, self.folder.clone()),
            (LABEL_VERSION, super::VERSION.to_owned()),
        ];
        spec.settings
            .labels
            .extend(labels.map(|(key, value)| (key.to_owned(), value)));
        let digest = spec.digest();
        spec.settings.labels.insert(LABEL_DIGEST.to_owned(), digest.0);
    }
}

/// Returns the rendered files that a container sees. Below a folder of the whole system, such as `/`, everything that
/// muster renders would count; so folders count only within the project's own.
fn seen_files(
    spec: &ContainerSpec,
    folder: &str,
    rendered: &BTreeMap<String, Digest>,
) -> Vec<(String, Digest)> {
    let binds = spec
        .settings
        .mounts
        .values()
        .filter_map(|mount| match &mount.from {
            MountFrom::Bind(path) => Some(path.as_str()),
            MountFrom::Volume(_) | MountFrom::Anonymous | MountFrom::Tmpfs { .. } => None,
        });
    let is_below = |path: &str, folder: &str| {
        path.strip_prefix(folder)
            .is_some_and(|rest| rest.starts_with('/'))
    };
    binds
        .flat_map(|bind| {
            rendered
                .iter()
                .filter(move |(path, _)| *path == bind || (is_below(path, bind) && is_below(bind, folder)))
        })
        .map(|(path, digest)| (path.clone(), digest.clone()))
        .collect()
}
