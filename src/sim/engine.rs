//! A pretend Docker engine: images, networks, volumes, and containers that run as soon as they are made.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::model::container::ContainerSpec;
use crate::model::digest::{Digest, Fingerprint};
use crate::model::engine::{ContainerProbe, EngineOp, EngineProbe};
use crate::model::inspected::{EnvValue, Image, Inspected, OneOff, Other, State};
use crate::model::network::NetworkSpec;
use crate::model::observation::Answer;
use crate::model::volume::VolumeSpec;
use crate::ports::Secrets;

use super::host::{Host, fill};

/// What an engine has.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Engine {
    /// The names of its images.
    pub images: BTreeSet<String>,
    /// Its containers by name.
    pub containers: BTreeMap<String, Container>,
    /// Its networks by name.
    pub networks: BTreeMap<String, NetworkSpec>,
    /// Its volumes by name.
    pub volumes: BTreeMap<String, VolumeSpec>,
}

/// A container.
#[derive(Debug, Clone, PartialEq)]
pub struct Container {
    /// What it was made from.
    pub spec: ContainerSpec,
    /// Its environment, secrets filled in.
    pub environment: BTreeMap<String, String>,
    /// When it was started, in seconds of the host's clock.
    pub started: u64,
    /// How often it was made or started.
    pub starts: u64,
}

impl Host {
    /// Does an op on the engine.
    pub(super) fn act_on_engine(&mut self, op: &EngineOp, secrets: &Secrets) -> Result<(), String> {
        match op {
            EngineOp::Pull { image, .. } => drop(self.engine.images.insert(image.clone())),
            EngineOp::Container { spec, .. } => self.make_container(spec, secrets)?,
            EngineOp::Once { spec, .. } => self.run_once(spec, secrets)?,
            EngineOp::RemoveContainer(name) => drop(self.engine.containers.remove(name)),
            EngineOp::Network(spec) => {
                let made = self.engine.networks.entry(spec.name.clone());
                made.or_insert_with(|| spec.clone());
            }
            EngineOp::RemoveNetwork(name) => {
                let uses = |container: &&Container| container.spec.settings.networks.contains_key(name);
                if let Some(user) = self.engine.containers.values().find(uses) {
                    return Err(format!("network {name} has active endpoints: {}", user.spec.name));
                }
                self.engine.networks.remove(name);
            }
            EngineOp::RemakeNetwork(spec) => {
                self.engine.networks.insert(spec.name.clone(), spec.clone());
            }
            EngineOp::RemoveImage(name) => {
                let uses = |container: &&Container| container.spec.image == *name;
                if let Some(user) = self.engine.containers.values().find(uses) {
                    return Err(format!("image {name} is used by {}", user.spec.name));
                }
                self.engine.images.remove(name);
            }
            EngineOp::Volume(spec) => {
                let made = self.engine.volumes.entry(spec.name.clone());
                made.or_insert_with(|| spec.clone());
            }
            EngineOp::RemoveVolume(name) => drop(self.engine.volumes.remove(name)),
        }
        Ok(())
    }

    /// Runs a container to its end: nothing of it is left but what its probe looks at.
    fn run_once(&mut self, spec: &ContainerSpec, secrets: &Secrets) -> Result<(), String> {
        if self.engine.containers.contains_key(&spec.name) {
            return Err(format!(
                "a container {} is there that was not made for this",
                spec.name
            ));
        }
        self.environment(spec, secrets)?;
        *self.ran.entry(format!("container {}", spec.name)).or_default() += 1;
        Ok(())
    }

    /// Returns the environment of a container that its engine can make.
    fn environment(
        &self,
        spec: &ContainerSpec,
        secrets: &Secrets,
    ) -> Result<BTreeMap<String, String>, String> {
        if !self.engine.images.contains(&spec.image) {
            return Err(format!("image {} is not on the host", spec.image));
        }
        if let Some(missing) = spec
            .settings
            .networks
            .keys()
            .find(|name| !self.engine.networks.contains_key(*name))
        {
            return Err(format!("network {missing} not found"));
        }
        let filled = spec
            .environment
            .iter()
            .map(|(key, body)| Ok((key.clone(), fill(body, secrets)?)));
        filled.collect()
    }

    fn make_container(&mut self, spec: &ContainerSpec, secrets: &Secrets) -> Result<(), String> {
        let environment = self.environment(spec, secrets)?;
        let starts = self
            .engine
            .containers
            .get(&spec.name)
            .map_or(0, |container| container.starts);
        for former in &spec.former_names {
            self.engine.containers.remove(former);
        }
        let container = Container {
            spec: spec.clone(),
            environment,
            started: self.clock,
            starts: starts + 1,
        };
        self.engine.containers.insert(spec.name.clone(), container);
        Ok(())
    }

    /// Answers a probe of the engine.
    pub(super) fn ask_engine(&self, probe: &EngineProbe) -> Answer {
        let output = match probe {
            EngineProbe::Container(probe) => json!(self.inspect(probe)),
            EngineProbe::Once(name) => json!(self.engine.containers.get(name).map(|_| OneOff {
                is_ours: false,
                state: State::default(),
            })),
            EngineProbe::Image(name) | EngineProbe::Fresh { image: name, .. } => {
                json!(self.engine.images.contains(name).then(|| image(name)))
            }
            EngineProbe::Others => {
                let containers = self.engine.containers.values().map(|container| &container.spec);
                let others =
                    containers.map(|spec| Other::new(&spec.name, &spec.settings.labels, &spec.settings));
                json!(others.collect::<Vec<_>>())
            }
            EngineProbe::Network(name) => json!(self.engine.networks.get(name)),
            EngineProbe::Volume(name) => json!(self.engine.volumes.get(name)),
        };
        Answer::Text {
            output: output.to_string(),
            status: 0,
        }
    }

    fn inspect(&self, probe: &ContainerProbe) -> Option<Inspected> {
        let names = std::iter::once(&probe.name).chain(&probe.former_names);
        let container = names.filter_map(|name| self.engine.containers.get(name)).next()?;
        let print = |value: &str| match &self.salt {
            Some(salt) => Fingerprint::of(salt, value.as_bytes()),
            None => Fingerprint::of(b"", b""),
        };
        let value = |(key, value): (&String, &String)| {
            let value = match probe.public_env.contains(key) {
                true => EnvValue::Public(value.clone()),
                false => EnvValue::Print(print(value)),
            };
            (key.clone(), value)
        };
        let changed = |path: &String| {
            Some((
                path.clone(),
                self.paths.get(path)?.changed.saturating_mul(1_000_000_000),
            ))
        };
        Some(Inspected {
            id: Digest::of(&container.spec.name).to_string(),
            name: container.spec.name.clone(),
            image: container.spec.image.clone(),
            runs: image(&container.spec.image),
            image_now: self
                .engine
                .images
                .contains(&probe.image)
                .then(|| image(&probe.image).id),
            environment: container.environment.iter().map(value).collect(),
            settings: container.spec.settings.clone(),
            state: State {
                status: "running".to_owned(),
                started_at_nanos: Some(container.started.saturating_mul(1_000_000_000)),
                ..State::default()
            },
            changed_at_nanos: probe.mounted.iter().filter_map(changed).collect(),
            ..Inspected::default()
        })
    }
}

fn image(name: &str) -> Image {
    Image {
        id: format!("sha256:{}", Digest::of(name)),
        tags: [name.to_owned()].into(),
        ..Image::default()
    }
}
