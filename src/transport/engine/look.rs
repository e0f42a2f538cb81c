//! What is on an engine: one answer for each probe, in the forms that [`EngineProbe`] says.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bollard::models::{ContainerSummary, SystemInfo};
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder};
use futures_util::future::join_all;
use serde::Serialize;
use serde_json::{Value, json};

use crate::model::container::{LABEL_NUMBER, LABEL_ONEOFF, LABEL_PROJECT, LABEL_SERVICE};
use crate::model::digest::Fingerprint;
use crate::model::engine::{ContainerProbe, EngineProbe};
use crate::model::inspected::{EngineDefaults, Image, Inspected};
use crate::model::network::NetworkSpec;
use crate::model::observation::Answer;
use crate::model::volume::VolumeSpec;

use super::{Engine, EngineError};

/// Reads what an engine says, in its own JSON. The rooms that know its meaning are not known here.
#[derive(Debug, Clone, Copy)]
pub struct EngineReads {
    /// Reads an inspected container and its image.
    pub container: fn(&Value, &Value, &Shows<'_>, &Prints<'_>) -> Result<Inspected, String>,
    /// Reads an inspected image.
    pub image: fn(&Value, &Shows<'_>, &Prints<'_>) -> Image,
    /// Reads a network.
    pub network: fn(&Value) -> Result<NetworkSpec, String>,
    /// Reads a volume.
    pub volume: fn(&Value) -> Result<VolumeSpec, String>,
}

/// Says whether the value of a key of the environment may be shown.
pub type Shows<'a> = dyn Fn(&str) -> bool + 'a;
/// Returns the print of a value.
pub type Prints<'a> = dyn Fn(&str) -> Fingerprint + 'a;

/// Under what values are taken in that may not be seen.
#[derive(Debug, Clone, Copy)]
pub(in crate::transport) struct EngineVeil<'a> {
    /// The salt of their prints.
    pub salt: &'a [u8],
    /// Whether nobody keeps it.
    pub is_fleeting: bool,
}

/// What is asked, each with what the shell found of it.
pub(in crate::transport) struct Asked<'a> {
    pub probe: &'a EngineProbe,
    /// When mounted files last changed, by path.
    pub changed: Result<BTreeMap<String, u64>, String>,
}

impl Engine {
    /// Answers probes; one answer for each.
    pub(in crate::transport) async fn look(
        &self,
        asked: &[Asked<'_>],
        reads: &EngineReads,
        veil: EngineVeil<'_>,
    ) -> Vec<Answer> {
        let containers: Vec<&ContainerProbe> = asked
            .iter()
            .filter_map(|asked| container_of(asked.probe))
            .collect();
        let scene = match containers.is_empty() {
            true => Ok(Scene::default()),
            false => self.scene(&containers).await,
        };
        let answers = asked.iter().map(|asked| self.answer(asked, &scene, reads, veil));
        join_all(answers).await
    }

    async fn answer(
        &self,
        asked: &Asked<'_>,
        scene: &Result<Scene, EngineError>,
        reads: &EngineReads,
        veil: EngineVeil<'_>,
    ) -> Answer {
        let print = |value: &str| Fingerprint::of(veil.salt, value.as_bytes());
        let answered = match asked.probe {
            EngineProbe::Container(probe) => match (scene, &asked.changed) {
                (Err(error), _) => Err(error.to_string()),
                (_, Err(why)) => Err(why.clone()),
                (Ok(scene), Ok(changed)) => scene.answer(probe, changed, reads, &print).map(|seen| {
                    said(seen.map(|seen| Inspected {
                        is_fleeting: veil.is_fleeting,
                        ..seen
                    }))
                }),
            },
            EngineProbe::Once(name) => {
                let there = self.one_off(name).await;
                there.map(said).map_err(|error| error.to_string())
            }
            EngineProbe::Image(name) => {
                let shows = |_: &str| false;
                let image = self.image(name).await.map_err(|error| error.to_string());
                image.map(|image| said(image.map(|image| (reads.image)(&image, &shows, &print))))
            }
            EngineProbe::Network(name) => self
                .named_network(name)
                .await
                .and_then(|found| read(found, reads.network)),
            EngineProbe::Volume(name) => self
                .named_volume(name)
                .await
                .and_then(|found| read(found, reads.volume)),
        };
        match answered {
            Ok(output) => Answer::Text { output, status: 0 },
            Err(why) => Answer::NoAnswer(why),
        }
    }

    /// Looks at everything that containers are compared with: as few questions as can be, several under way at once.
    async fn scene(&self, probes: &[&ContainerProbe]) -> Result<Scene, EngineError> {
        let options = ListContainersOptionsBuilder::default().all(true).build();
        let (all, info) = {
            let _turn = self.turn().await;
            futures_util::join!(self.docker.list_containers(Some(options)), self.docker.info())
        };
        let all: Vec<Listed> = all?.into_iter().map(Listed::from).collect();
        let found: BTreeMap<usize, &Listed> = probes
            .iter()
            .enumerate()
            .filter_map(|(index, probe)| Some((index, which(&all, probe)?)))
            .collect();
        let ids: BTreeSet<&str> = found.values().map(|listed| listed.id.as_str()).collect();
        let inspects = ids.into_iter().map(|id| async move {
            let _turn = self.turn().await;
            let inspected = self
                .docker
                .inspect_container(id, None::<InspectContainerOptions>)
                .await;
            (id.to_owned(), absent(inspected))
        });
        let mut inspected = BTreeMap::new();
        for (id, container) in join_all(inspects).await {
            // What is gone since the list was made is not there.
            inspected.extend(container?.map(|container| (id, container)));
        }
        let run = inspected
            .values()
            .filter_map(|container| container["Image"].as_str());
        let wanted = probes.iter().map(|probe| probe.image.as_str());
        let names: BTreeSet<String> = run.chain(wanted).map(str::to_owned).collect();
        let images = names.into_iter().map(|name| async move {
            let image = self.image(&name).await;
            (name, image)
        });
        let mut by_name = BTreeMap::new();
        for (name, image) in join_all(images).await {
            by_name.extend(image?.map(|image| (name, image)));
        }
        Ok(Scene {
            found: found
                .into_iter()
                .map(|(index, listed)| (probes[index].clone(), listed.id.clone()))
                .collect(),
            peers: peers(&all),
            inspected,
            images: by_name,
            defaults: defaults(&info?),
        })
    }

    async fn image(&self, name: &str) -> Result<Option<Value>, EngineError> {
        let _turn = self.turn().await;
        absent(self.docker.inspect_image(name).await)
    }

    async fn named_network(&self, name: &str) -> Result<Option<Value>, String> {
        let _turn = self.turn().await;
        let found =
            absent(self.docker.inspect_network(name, None).await).map_err(|error| error.to_string())?;
        // An id, or the beginning of one, is found under a name as well.
        Ok(found.filter(|network| network["Name"] == *name))
    }

    async fn named_volume(&self, name: &str) -> Result<Option<Value>, String> {
        let _turn = self.turn().await;
        absent(self.docker.inspect_volume(name).await).map_err(|error| error.to_string())
    }
}

fn container_of(probe: &EngineProbe) -> Option<&ContainerProbe> {
    match probe {
        EngineProbe::Container(probe) => Some(probe),
        EngineProbe::Once(_) | EngineProbe::Image(_) | EngineProbe::Network(_) | EngineProbe::Volume(_) => {
            None
        }
    }
}

fn said<T: Serialize>(found: T) -> String {
    json!(found).to_string()
}

fn read<T: Serialize>(found: Option<Value>, read: fn(&Value) -> Result<T, String>) -> Result<String, String> {
    found.as_ref().map(read).transpose().map(said)
}

/// What an engine does not have is no error.
fn absent<T: Serialize>(answer: Result<T, bollard::errors::Error>) -> Result<Option<Value>, EngineError> {
    match answer.map_err(EngineError::from) {
        Ok(found) => serde_json::to_value(found)
            .map(Some)
            .map_err(|error| EngineError::Odd(error.to_string())),
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(error),
    }
}

/// A container as the list has it.
pub(super) struct Listed {
    id: String,
    names: Vec<String>,
    labels: HashMap<String, String>,
}

impl From<ContainerSummary> for Listed {
    fn from(summary: ContainerSummary) -> Self {
        let name = |name: String| name.trim_start_matches('/').to_owned();
        Self {
            id: summary.id.unwrap_or_default(),
            names: summary.names.unwrap_or_default().into_iter().map(name).collect(),
            labels: summary.labels.unwrap_or_default(),
        }
    }
}

impl Listed {
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str)
    }

    fn is_of_service(&self, project: &str) -> bool {
        let is_aside = self
            .names
            .iter()
            .all(|name| name.ends_with(&super::next::aside("")));
        self.label(LABEL_PROJECT) == Some(project) && self.label(LABEL_ONEOFF) != Some("True") && !is_aside
    }
}

/// Finds the container that a probe is about: by its name, by what it was made for, by a name that it had.
pub(super) fn which<'a>(all: &'a [Listed], probe: &ContainerProbe) -> Option<&'a Listed> {
    let named = |name: &String| all.iter().find(|listed| listed.names.contains(name));
    let number = probe.number.to_string();
    let made_for = |listed: &&Listed| {
        listed.is_of_service(&probe.project)
            && listed.label(LABEL_SERVICE) == Some(&probe.service)
            && listed.label(LABEL_NUMBER) == Some(&number)
    };
    named(&probe.name)
        .or_else(|| all.iter().find(made_for))
        .or_else(|| probe.former_names.iter().find_map(named))
}

/// Returns the services of each project by the ids of their containers.
fn peers(all: &[Listed]) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut peers: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for listed in all {
        if let (Some(project), Some(service)) = (listed.label(LABEL_PROJECT), listed.label(LABEL_SERVICE)) {
            let of_project = peers.entry(project.to_owned()).or_default();
            of_project.insert(listed.id.clone(), service.to_owned());
        }
    }
    peers
}

fn defaults(info: &SystemInfo) -> EngineDefaults {
    EngineDefaults {
        log_driver: info.logging_driver.clone(),
        runtime: info.default_runtime.clone(),
        ..EngineDefaults::default()
    }
}

/// What is there of the containers that were asked for.
#[derive(Default)]
struct Scene {
    found: BTreeMap<ContainerProbe, String>,
    inspected: BTreeMap<String, Value>,
    images: BTreeMap<String, Value>,
    peers: BTreeMap<String, BTreeMap<String, String>>,
    defaults: EngineDefaults,
}

impl Scene {
    fn answer(
        &self,
        probe: &ContainerProbe,
        changed: &BTreeMap<String, u64>,
        reads: &EngineReads,
        print: &Prints<'_>,
    ) -> Result<Option<Inspected>, String> {
        let Some(container) = self.found.get(probe).and_then(|id| self.inspected.get(id)) else {
            return Ok(None);
        };
        let none = Value::Null;
        let image = container["Image"].as_str().and_then(|id| self.images.get(id));
        let shows = |key: &str| probe.public_env.contains(key);
        let seen = (reads.container)(container, image.unwrap_or(&none), &shows, print)?;
        let now = self.images.get(&probe.image);
        Ok(Some(Inspected {
            image_now: now.and_then(|image| Some(image["Id"].as_str()?.to_owned())),
            peers: self.peers.get(&probe.project).cloned().unwrap_or_default(),
            changed_at_nanos: changed.clone(),
            engine: self.defaults.clone(),
            ..seen
        }))
    }
}
