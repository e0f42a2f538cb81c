//! A network is made anew under the containers that are attached to it.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    ContainerSummary, EndpointSettings, NetworkConnectRequest, NetworkCreateRequest,
    NetworkDisconnectRequest, NetworkInspect, VolumeCreateRequest,
};
use bollard::query_parameters::{
    InspectContainerOptions, ListContainersOptionsBuilder, ListVolumesOptionsBuilder, RemoveVolumeOptions,
};

use crate::model::digest::Digest;

use crate::model::container::LABEL_RUN;

use super::act::Means;
use super::converge::ConvergeError;
use super::{Engine, EngineError};

/// The label of a note: the network whose containers it names.
const LABEL_NOTE: &str = "dev.muster.attached";
/// The label that holds them, as JSON.
const LABEL_ENDPOINTS: &str = "dev.muster.endpoints";

/// Containers that were attached to a network, by id, each with what it asked for there.
type Attached = BTreeMap<String, EndpointSettings>;

impl Engine {
    /// Detaches everything, removes the network, makes it, and attaches everything again as it was.
    ///
    /// Who was attached is noted on the engine first, so that a run which breaks off anywhere can be gone on with.
    pub(super) async fn remake_network(
        &self,
        mut wanted: NetworkCreateRequest,
        means: &Means<'_>,
    ) -> Result<(), ConvergeError> {
        let name = wanted.name.clone();
        let labels = wanted.labels.get_or_insert_default();
        labels.insert(LABEL_RUN.to_owned(), means.run.to_owned());
        let Some(there) = self.network_there(&name).await? else {
            return self.make_network(wanted, means).await;
        };
        let made_by = there.labels.as_ref().and_then(|labels| labels.get(LABEL_RUN));
        if made_by.map(String::as_str) == Some(means.run) {
            return self.attach_noted(&name, means).await;
        }
        let attached = self.attached(&name).await?;
        if !attached.is_empty() {
            (means.ask)().await?;
            self.docker
                .create_volume(note(&name, means.run, &attached)?)
                .await?;
        }
        if let Err(error) = self.take_down(&name, attached.into_keys(), means).await {
            let ConvergeError::Engine(EngineError::Refused { status, message }) = error else {
                return Err(error);
            };
            // It stays, and must not stay without its containers.
            let and = match self.attach_noted(&name, means).await {
                Ok(()) => "its containers are attached as before".to_owned(),
                Err(ConvergeError::Engine(failed)) => {
                    format!("its containers could not all be attached again: {failed}")
                }
                Err(other) => return Err(other),
            };
            let message = format!("{message}; {and}");
            return Err(EngineError::Refused { status, message }.into());
        }
        let Err(error) = self.make_network(wanted, means).await else {
            return Ok(());
        };
        let ConvergeError::Engine(EngineError::Refused { status, message }) = error else {
            return Err(error);
        };
        // One that the engine refuses must not cost the one that was there.
        if self.network_there(&name).await?.is_some() {
            return Err(EngineError::Refused { status, message }.into());
        }
        let and = match self.make_network(as_it_was(there), means).await {
            Ok(()) => "the network before it is back".to_owned(),
            Err(ConvergeError::Engine(failed)) => {
                format!("the network before it could not be made again: {failed}")
            }
            Err(other) => return Err(other),
        };
        let message = format!("{message}; {and}");
        Err(EngineError::Refused { status, message }.into())
    }

    /// Detaches containers from a network, and removes it.
    async fn take_down(
        &self,
        name: &str,
        attached: impl Iterator<Item = String>,
        means: &Means<'_>,
    ) -> Result<(), ConvergeError> {
        for container in attached {
            (means.ask)().await?;
            let request = NetworkDisconnectRequest {
                container,
                force: Some(true),
            };
            self.docker.disconnect_network(name, request).await?;
        }
        (means.ask)().await?;
        Ok(self.docker.remove_network(name).await?)
    }

    /// Makes a network that is not there, and attaches what a run that broke off had detached from it.
    pub(super) async fn make_network(
        &self,
        wanted: NetworkCreateRequest,
        means: &Means<'_>,
    ) -> Result<(), ConvergeError> {
        let name = wanted.name.clone();
        (means.ask)().await?;
        self.docker.create_network(wanted).await?;
        self.attach_noted(&name, means).await
    }

    /// Attaches what notes name and what is there still. One that cannot be attached does not keep the others off; its note stays.
    async fn attach_noted(&self, name: &str, means: &Means<'_>) -> Result<(), ConvergeError> {
        let filters = HashMap::from([("label", vec![format!("{LABEL_NOTE}={name}")])]);
        let options = ListVolumesOptionsBuilder::default().filters(&filters).build();
        let notes = self.docker.list_volumes(Some(options)).await?.volumes;
        let notes = notes.unwrap_or_default();
        if notes.is_empty() {
            return Ok(());
        }
        let attached = self.attached(name).await?;
        let mut failed = None;
        for note in &notes {
            for (container, endpoint) in noted(note.labels.get(LABEL_ENDPOINTS).map_or("", String::as_str))? {
                if attached.contains_key(&container) {
                    continue;
                }
                (means.ask)().await?;
                let request = NetworkConnectRequest {
                    container,
                    endpoint_config: Some(endpoint),
                };
                match self
                    .docker
                    .connect_network(name, request)
                    .await
                    .map_err(EngineError::from)
                {
                    Ok(()) => {}
                    // Gone since.
                    Err(error) if error.is_absent() => {}
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
        }
        if let Some(error) = failed {
            return Err(error.into());
        }
        for note in notes {
            (means.ask)().await?;
            self.docker
                .remove_volume(&note.name, None::<RemoveVolumeOptions>)
                .await?;
        }
        Ok(())
    }

    async fn network_there(&self, name: &str) -> Result<Option<NetworkInspect>, EngineError> {
        let there = self.docker.inspect_network(name, None).await;
        match there.map_err(EngineError::from) {
            Ok(there) => Ok(Some(there)),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the containers that are attached to a network, running or not, each with what it asked for there.
    async fn attached(&self, network: &str) -> Result<Attached, ConvergeError> {
        let filters = HashMap::from([("network", vec![network])]);
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&filters)
            .build();
        let all: Vec<ContainerSummary> = self.docker.list_containers(Some(options)).await?;
        let mut attached = Attached::new();
        for id in all.into_iter().filter_map(|container| container.id) {
            let inspected = self
                .docker
                .inspect_container(&id, None::<InspectContainerOptions>)
                .await?;
            let networks = inspected.network_settings.and_then(|settings| settings.networks);
            let endpoint = networks.and_then(|mut networks| networks.remove(network));
            attached.extend(endpoint.map(|endpoint| {
                let asked = EndpointSettings {
                    ipam_config: endpoint.ipam_config,
                    aliases: endpoint.aliases,
                    links: endpoint.links,
                    driver_opts: endpoint.driver_opts,
                    ..EndpointSettings::default()
                };
                (id, asked)
            }));
        }
        Ok(attached)
    }
}

/// Spells a note: a volume without data, whose labels say what is to be attached again. Nothing else of an engine keeps a text
/// without running anything.
fn note(network: &str, run: &str, attached: &Attached) -> Result<VolumeCreateRequest, EngineError> {
    let endpoints = serde_json::to_string(attached).map_err(|error| EngineError::Odd(error.to_string()))?;
    let digest = Digest::of(network).to_string();
    let short: String = digest.chars().filter(char::is_ascii_hexdigit).take(12).collect();
    Ok(VolumeCreateRequest {
        name: Some(format!("muster-attached-{short}-{run}")),
        labels: Some(HashMap::from([
            (LABEL_NOTE.to_owned(), network.to_owned()),
            (LABEL_ENDPOINTS.to_owned(), endpoints),
        ])),
        ..VolumeCreateRequest::default()
    })
}

fn noted(endpoints: &str) -> Result<Attached, EngineError> {
    serde_json::from_str(endpoints)
        .map_err(|error| EngineError::Odd(format!("the note of what was attached cannot be read: {error}")))
}

/// Returns the request that makes a network as it was found.
fn as_it_was(found: NetworkInspect) -> NetworkCreateRequest {
    NetworkCreateRequest {
        name: found.name.unwrap_or_default(),
        driver: found.driver,
        internal: found.internal,
        attachable: found.attachable,
        ingress: found.ingress,
        ipam: found.ipam,
        enable_ipv6: found.enable_ipv6,
        options: found.options,
        labels: found.labels,
        ..NetworkCreateRequest::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn note_says_what_is_to_be_attached_again() {
        let endpoint = EndpointSettings {
            aliases: Some(vec!["core".to_owned()]),
            ..EndpointSettings::default()
        };
        let attached = Attached::from([("0f3a".to_owned(), endpoint)]);
        let request = note("odd/name", "0123456789ab-1", &attached).expect("a note");
        let name = request.name.expect("a name");
        assert!(
            name.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'),
            "{name}"
        );
        let labels = request.labels.expect("labels");
        assert_eq!(labels[LABEL_NOTE], "odd/name");
        assert_eq!(noted(&labels[LABEL_ENDPOINTS]).expect("readable"), attached);
        assert!(noted("").is_err());
    }
}
