//! What is on an engine: one answer for each probe, in the forms that [`EngineProbe`] says.

use std::collections::{BTreeMap, HashMap};

use bollard::models::ContainerSummary;
use serde::Serialize;
use serde_json::{Value, json};

use crate::model::container::{LABEL_NUMBER, LABEL_ONEOFF, LABEL_PROJECT, LABEL_SERVICE};
use crate::model::digest::Fingerprint;
use crate::model::engine::{ContainerProbe, EngineProbe};
use crate::model::inspected::{Image, Inspected};
use crate::model::network::NetworkSpec;
use crate::model::observation::Answer;
use crate::model::volume::VolumeSpec;

use super::Engine;
use super::act::Fill;
use super::scene::Scene;

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
        fill: Fill<'_>,
    ) -> Vec<Answer> {
        let probes: Vec<&EngineProbe> = asked.iter().map(|asked| asked.probe).collect();
        let scene = self.scene(&probes, fill).await;
        asked
            .iter()
            .map(|asked| match answer(asked, &scene, reads, veil) {
                Ok(output) => Answer::Text { output, status: 0 },
                Err(why) => Answer::NoAnswer(why),
            })
            .collect()
    }
}

fn answer(
    asked: &Asked<'_>,
    scene: &Scene,
    reads: &EngineReads,
    veil: EngineVeil<'_>,
) -> Result<String, String> {
    let print = |value: &str| Fingerprint::of(veil.salt, value.as_bytes());
    match asked.probe {
        EngineProbe::Container(probe) => {
            let changed = asked.changed.as_ref().map_err(Clone::clone)?;
            let seen = scene.container(probe, changed, reads, &print)?;
            Ok(said(seen.map(|seen| Inspected {
                is_fleeting: veil.is_fleeting,
                ..seen
            })))
        }
        EngineProbe::Once(name) => scene.once(name).map(said),
        EngineProbe::Image(name) => {
            let shows = |_: &str| false;
            let image = scene.image(name)?;
            Ok(said(image.map(|image| (reads.image)(&image, &shows, &print))))
        }
        EngineProbe::Fresh { image: name, .. } => {
            let Some(found) = scene.image(name)? else {
                return Ok(said(Value::Null));
            };
            let mut image = (reads.image)(&found, &|_| false, &print);
            image.registry = scene.fresh(name)?;
            Ok(said(image))
        }
        EngineProbe::Others => scene.others(reads, &print).map(said),
        EngineProbe::Network(name) => read(scene.network(name)?, reads.network),
        EngineProbe::Volume(name) => read(scene.volume(name)?, reads.volume),
    }
}

fn said<T: Serialize>(found: T) -> String {
    json!(found).to_string()
}

fn read<T: Serialize>(found: Option<Value>, read: fn(&Value) -> Result<T, String>) -> Result<String, String> {
    found.as_ref().map(read).transpose().map(said)
}

/// A container as the list has it.
pub(super) struct Listed {
    id: String,
    names: Vec<String>,
    labels: HashMap<String, String>,
    is_up: bool,
}

impl From<ContainerSummary> for Listed {
    fn from(summary: ContainerSummary) -> Self {
        let name = |name: String| name.trim_start_matches('/').to_owned();
        Self {
            id: summary.id.unwrap_or_default(),
            names: summary.names.unwrap_or_default().into_iter().map(name).collect(),
            labels: summary.labels.unwrap_or_default(),
            is_up: summary.state.is_some_and(|state| {
                ["running", "paused", "restarting"].contains(&state.to_string().as_str())
            }),
        }
    }
}

impl Listed {
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    pub(super) fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str)
    }

    /// Says whether it has the labels of a service.
    pub(super) fn serves(&self, project: &str, service: &str) -> bool {
        self.is_of_service(project) && self.label(LABEL_SERVICE) == Some(service)
    }

    /// Says whether it is up.
    pub(super) fn is_up(&self) -> bool {
        self.is_up
    }

    fn is_of_service(&self, project: &str) -> bool {
        let is_aside = self
            .names
            .iter()
            .all(|name| name.ends_with(&super::next::aside("")));
        self.label(LABEL_PROJECT) == Some(project) && self.label(LABEL_ONEOFF) != Some("True") && !is_aside
    }
}

/// Finds the container that a probe is about: by its name, by what it was made for, by a name that it had, by the name under which
/// it waits for its successor.
pub(super) fn which<'a>(all: &'a [Listed], probe: &ContainerProbe) -> Option<&'a Listed> {
    let named = |name: &String| all.iter().find(|listed| listed.names.contains(name));
    let number = probe.number.to_string();
    let made_for = |listed: &&Listed| {
        listed.serves(&probe.project, &probe.service) && listed.label(LABEL_NUMBER) == Some(&number)
    };
    named(&probe.name)
        .or_else(|| all.iter().find(made_for))
        .or_else(|| probe.former_names.iter().find_map(named))
        // A run broke off before its successor was made: what runs, or holds data, is not gone.
        .or_else(|| named(&super::next::aside(&probe.name)))
}
