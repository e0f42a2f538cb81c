//! Everything that an engine is asked for one look: as few questions as can be, several under way at once.
//!
//! At most one for the version, the containers, the engine itself, the networks and the volumes, one for each container and one for
//! each image. What a container is like is always asked; no label stands in for that.

use std::collections::{BTreeMap, BTreeSet};

use bollard::models::{Network, SystemInfo, Volume};
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder, ListVolumesOptions};
use futures_util::future::{OptionFuture, join_all};
use futures_util::join;
use serde::Serialize;
use serde_json::Value;

use crate::model::container::{LABEL_PROJECT, LABEL_SERVICE};
use crate::model::engine::{ContainerProbe, EngineProbe, Login};
use crate::model::inspected::{EngineDefaults, Inspected, Other};

use super::act::Fill;
use super::look::{EngineReads, Listed, Prints, which};
use super::{Engine, EngineError, next};

/// What the engine says of one thing, in its own JSON; nothing where there is none. The error is for people.
pub(super) type Found = Result<Option<Value>, String>;

/// What is there of all that was asked for.
pub(super) struct Scene {
    containers: Result<Containers, String>,
    /// Images by the name, or the id, by which they were asked for.
    images: BTreeMap<String, Found>,
    networks: Option<Result<Vec<Network>, String>>,
    volumes: Option<Result<Volumes, String>>,
    /// Containers that run once, by name.
    once: BTreeMap<String, Result<Value, String>>,
    /// The digests that registries have under names now; nothing where nobody could ask.
    fresh: BTreeMap<String, Result<Option<String>, String>>,
}

/// What is there of the containers.
#[derive(Default)]
struct Containers {
    found: BTreeMap<ContainerProbe, String>,
    inspected: BTreeMap<String, Value>,
    peers: BTreeMap<String, BTreeMap<String, String>>,
    /// The names of those that are set aside.
    asides: BTreeSet<String>,
    defaults: EngineDefaults,
    /// What runs beside those that were asked for.
    others: BTreeMap<String, Value>,
}

struct Volumes {
    there: Vec<Volume>,
    /// What the engine says of those that it could not look at.
    warnings: Vec<String>,
}

impl Engine {
    /// Looks at everything that probes ask for.
    pub(super) async fn scene(&self, probes: &[&EngineProbe], fill: Fill<'_>) -> Scene {
        let containers: Vec<&ContainerProbe> = probes.iter().filter_map(|probe| container(probe)).collect();
        let wanted: BTreeSet<String> = probes.iter().filter_map(|probe| image(probe)).collect();
        let asks = |kind: fn(&EngineProbe) -> bool| probes.iter().any(|probe| kind(probe));
        let has_networks = asks(|probe| matches!(probe, EngineProbe::Network(_)));
        let has_others = asks(|probe| matches!(probe, EngineProbe::Others));
        let has_volumes = asks(|probe| matches!(probe, EngineProbe::Volume(_)));
        let once = probes.iter().filter_map(|probe| match probe {
            EngineProbe::Once(name) => Some(async move {
                let there = self.one_off(name).await;
                (name.clone(), there.map_err(|error| error.to_string()))
            }),
            _ => None,
        });
        let fresh = probes.iter().filter_map(|probe| match probe {
            EngineProbe::Fresh { image, login } => {
                Some(async move { (image.clone(), self.fresh(image, login.as_ref(), fill).await) })
            }
            _ => None,
        });
        let (containers, mut images, networks, volumes, once, fresh) = join!(
            self.containers(&containers, has_others),
            self.images(wanted),
            OptionFuture::from(has_networks.then(|| self.networks())),
            OptionFuture::from(has_volumes.then(|| self.volumes())),
            join_all(once),
            join_all(fresh),
        );
        if let Ok(containers) = &containers {
            // What runs is mostly what is wanted, which was asked for by its name already.
            let known: BTreeSet<&str> = images.values().filter_map(|found| id_of(found)).collect();
            let run = containers
                .inspected
                .values()
                .filter_map(|container| container["Image"].as_str());
            let others = run.filter(|id| !known.contains(id)).map(str::to_owned).collect();
            let by_id: BTreeMap<String, Found> = images
                .values()
                .filter_map(|found| Some((id_of(found)?.to_owned(), found.clone())))
                .collect();
            images.extend(self.images(others).await);
            images.extend(by_id);
        }
        Scene {
            containers: containers.map_err(|error| error.to_string()),
            images,
            networks,
            volumes,
            once: once.into_iter().collect(),
            fresh: fresh.into_iter().collect(),
        }
    }

    /// Asks a registry what a name means there now. Where the account's secret is left out on purpose, nobody can ask.
    async fn fresh(
        &self,
        name: &str,
        login: Option<&Login>,
        fill: Fill<'_>,
    ) -> Result<Option<String>, String> {
        let is_filled = |login: &Login| fill(&login.user).is_ok() && fill(&login.password).is_ok();
        if !login.is_none_or(is_filled) {
            return Ok(None);
        }
        let asked = self.digest(name, login, fill).await;
        asked
            .map(Some)
            .map_err(|error| format!("its registry does not say what `{name}` is now: {error}"))
    }

    async fn containers(
        &self,
        probes: &[&ContainerProbe],
        has_others: bool,
    ) -> Result<Containers, EngineError> {
        if probes.is_empty() && !has_others {
            return Ok(Containers::default());
        }
        let options = ListContainersOptionsBuilder::default().all(true).build();
        let (all, info) = join!(self.docker.list_containers(Some(options)), self.docker.info());
        let all: Vec<Listed> = all?.into_iter().map(Listed::from).collect();
        let found: BTreeMap<ContainerProbe, String> = probes
            .iter()
            .filter_map(|probe| Some(((*probe).clone(), which(&all, probe)?.id().to_owned())))
            .collect();
        let ids: BTreeSet<&String> = found.values().collect();
        let is_other =
            |listed: &&Listed| has_others && listed.is_up() && !found.values().any(|id| id == listed.id());
        let others = all.iter().filter(is_other).map(|listed| async move {
            let id = listed.id();
            let inspected = self.docker.inspect_container(id, None::<InspectContainerOptions>);
            (id.to_owned(), absent(inspected.await))
        });
        let inspects = ids.into_iter().map(|id| async move {
            let inspected = self.docker.inspect_container(id, None::<InspectContainerOptions>);
            (id.clone(), absent(inspected.await))
        });
        let mut inspected = BTreeMap::new();
        let (inspects, others) = join!(join_all(inspects), join_all(others));
        for (id, container) in inspects {
            // What is gone since the list was made is not there.
            inspected.extend(container?.map(|container| (id, container)));
        }
        Ok(Containers {
            found,
            inspected,
            peers: peers(&all, probes),
            asides: asides(&all),
            defaults: defaults(&info?),
            // One that cannot be looked at is none of ours, and holds nothing up.
            others: others
                .into_iter()
                .filter_map(|(id, other)| Some((id, other.ok()??)))
                .collect(),
        })
    }

    async fn images(&self, names: BTreeSet<String>) -> BTreeMap<String, Found> {
        let images = names.into_iter().map(|name| async move {
            let image = absent(self.docker.inspect_image(&name).await);
            (name, image.map_err(|error| error.to_string()))
        });
        join_all(images).await.into_iter().collect()
    }

    async fn networks(&self) -> Result<Vec<Network>, String> {
        let listed = self.docker.list_networks(None).await.map_err(EngineError::from);
        listed.map_err(|error| error.to_string())
    }

    async fn volumes(&self) -> Result<Volumes, String> {
        let listed = self
            .docker
            .list_volumes(None::<ListVolumesOptions>)
            .await
            .map_err(EngineError::from);
        let listed = listed.map_err(|error| error.to_string())?;
        Ok(Volumes {
            there: listed.volumes.unwrap_or_default(),
            warnings: listed.warnings.unwrap_or_default(),
        })
    }
}

impl Scene {
    /// Returns what is there of a container.
    pub(super) fn container(
        &self,
        probe: &ContainerProbe,
        changed: &BTreeMap<String, u64>,
        reads: &EngineReads,
        print: &Prints<'_>,
    ) -> Result<Option<Inspected>, String> {
        let containers = self.containers.as_ref().map_err(Clone::clone)?;
        let id = containers.found.get(probe);
        let Some(container) = id.and_then(|id| containers.inspected.get(id)) else {
            return Ok(None);
        };
        let runs = match container["Image"].as_str() {
            Some(id) => self.image(id)?,
            None => None,
        };
        let shows = |key: &str| probe.public_env.contains(key);
        let seen = (reads.container)(container, &runs.unwrap_or(Value::Null), &shows, print)?;
        let now = self.image(&probe.image)?;
        let aside = Some(next::aside(&probe.name)).filter(|name| *name != seen.name);
        Ok(Some(Inspected {
            predecessor: aside.filter(|name| containers.asides.contains(name)),
            image_now: now.and_then(|image| Some(image["Id"].as_str()?.to_owned())),
            peers: containers.peers.get(&probe.project).cloned().unwrap_or_default(),
            changed_at_nanos: changed.clone(),
            engine: containers.defaults.clone(),
            ..seen
        }))
    }

    /// Says what those hold that nobody asked for.
    pub(super) fn others(&self, reads: &EngineReads, print: &Prints<'_>) -> Result<Vec<Other>, String> {
        let containers = self.containers.as_ref().map_err(Clone::clone)?;
        let other = |container: &Value| {
            let seen = (reads.container)(container, &Value::Null, &|_| false, print)?;
            Ok(Other::new(&seen.name, &seen.settings.labels, &seen.settings))
        };
        containers.others.values().map(other).collect()
    }

    /// Returns the digest that a registry has under a name now, where it was asked.
    pub(super) fn fresh(&self, name: &str) -> Result<Option<String>, String> {
        self.fresh.get(name).cloned().unwrap_or(Ok(None))
    }

    /// Returns what is there of a container that runs once.
    pub(super) fn once(&self, name: &str) -> Result<Value, String> {
        self.once.get(name).cloned().unwrap_or(Ok(Value::Null))
    }

    /// Returns an image, by its name or id.
    pub(super) fn image(&self, name: &str) -> Found {
        self.images.get(name).cloned().unwrap_or(Ok(None))
    }

    /// Returns a network.
    pub(super) fn network(&self, name: &str) -> Found {
        let networks = self.networks.as_ref().ok_or("networks were not asked for")?;
        let networks = networks.as_ref().map_err(Clone::clone)?;
        let mut named = networks
            .iter()
            .filter(|network| network.name.as_deref() == Some(name));
        let found = named.next();
        if named.next().is_some() {
            return Err(format!("the engine has several networks of the name {name}"));
        }
        found.map(json).transpose()
    }

    /// Returns a volume.
    pub(super) fn volume(&self, name: &str) -> Found {
        let volumes = self.volumes.as_ref().ok_or("volumes were not asked for")?;
        let volumes = volumes.as_ref().map_err(Clone::clone)?;
        let found = volumes.there.iter().find(|volume| volume.name == name);
        match (found, volumes.warnings.as_slice()) {
            (Some(volume), _) => json(volume).map(Some),
            (None, []) => Ok(None),
            // It may be one of those that could not be looked at.
            (None, warnings) => Err(format!(
                "not all volumes can be looked at: {}",
                warnings.join("; ")
            )),
        }
    }
}

fn container<'a>(probe: &&'a EngineProbe) -> Option<&'a ContainerProbe> {
    match probe {
        EngineProbe::Container(probe) => Some(probe),
        EngineProbe::Once(_)
        | EngineProbe::Image(_)
        | EngineProbe::Fresh { .. }
        | EngineProbe::Others
        | EngineProbe::Network(_)
        | EngineProbe::Volume(_) => None,
    }
}

fn image(probe: &EngineProbe) -> Option<String> {
    match probe {
        EngineProbe::Container(probe) => Some(probe.image.clone()),
        EngineProbe::Image(name) | EngineProbe::Fresh { image: name, .. } => Some(name.clone()),
        EngineProbe::Once(_) | EngineProbe::Others | EngineProbe::Network(_) | EngineProbe::Volume(_) => None,
    }
}

fn id_of(found: &Found) -> Option<&str> {
    found.as_ref().ok()?.as_ref()?["Id"].as_str()
}

fn json<T: Serialize>(found: &T) -> Result<Value, String> {
    serde_json::to_value(found).map_err(|error| error.to_string())
}

/// What an engine does not have is no error.
fn absent<T: Serialize>(answer: Result<T, bollard::errors::Error>) -> Result<Option<Value>, EngineError> {
    match answer.map_err(EngineError::from) {
        Ok(found) => json(&found).map(Some).map_err(EngineError::Odd),
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the services of each project by the ids of their containers: by their labels, or else by names.
fn peers(all: &[Listed], probes: &[&ContainerProbe]) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut peers: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for listed in all {
        if let (Some(project), Some(service)) = (listed.label(LABEL_PROJECT), listed.label(LABEL_SERVICE)) {
            let of_project = peers.entry(project.to_owned()).or_default();
            of_project.insert(listed.id().to_owned(), service.to_owned());
        }
    }
    for probe in probes {
        for listed in all.iter().filter(|listed| listed.label(LABEL_PROJECT).is_none()) {
            let service = listed.names().iter().find_map(|name| probe.peers.get(name));
            let of_project = peers.entry(probe.project.clone()).or_default();
            of_project.extend(service.map(|service| (listed.id().to_owned(), service.clone())));
        }
    }
    peers
}

fn asides(all: &[Listed]) -> BTreeSet<String> {
    let names = all.iter().flat_map(Listed::names);
    let is_aside = |name: &&String| name.ends_with(&next::aside(""));
    names.filter(is_aside).cloned().collect()
}

fn defaults(info: &SystemInfo) -> EngineDefaults {
    EngineDefaults {
        log_driver: info.logging_driver.clone(),
        runtime: info.default_runtime.clone(),
        ..EngineDefaults::default()
    }
}
