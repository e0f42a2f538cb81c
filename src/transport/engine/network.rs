//! A network is made anew under the containers that are attached to it.

use std::collections::HashMap;

use bollard::models::{
    ContainerSummary, EndpointSettings, NetworkConnectRequest, NetworkCreateRequest, NetworkDisconnectRequest,
};
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder};

use crate::model::container::LABEL_RUN;

use super::act::Means;
use super::converge::ConvergeError;
use super::{Engine, EngineError};

impl Engine {
    /// Detaches everything, removes the network, makes it, and attaches everything again as it was.
    ///
    /// A run that breaks off between leaves containers without the network, which the next look names.
    pub(super) async fn remake_network(
        &self,
        mut wanted: NetworkCreateRequest,
        means: &Means<'_>,
    ) -> Result<(), ConvergeError> {
        let name = wanted.name.clone();
        let labels = wanted.labels.get_or_insert_default();
        labels.insert(LABEL_RUN.to_owned(), means.run.to_owned());
        let there = match self.docker.inspect_network(&name, None).await {
            Ok(there) => Some(there),
            Err(error) => match EngineError::from(error) {
                error if error.is_absent() => None,
                error => return Err(error.into()),
            },
        };
        let mut attached = Vec::new();
        if let Some(there) = there {
            let made_by = there.labels.as_ref().and_then(|labels| labels.get(LABEL_RUN));
            if made_by.map(String::as_str) == Some(means.run) {
                return Ok(());
            }
            attached = self.attached(&name).await?;
            for (container, _) in &attached {
                (means.ask)().await?;
                let request = NetworkDisconnectRequest {
                    container: container.clone(),
                    force: Some(true),
                };
                self.docker.disconnect_network(&name, request).await?;
            }
            (means.ask)().await?;
            self.docker.remove_network(&name).await?;
        }
        (means.ask)().await?;
        self.docker.create_network(wanted).await?;
        for (container, endpoint) in attached {
            (means.ask)().await?;
            let request = NetworkConnectRequest {
                container,
                endpoint_config: Some(endpoint),
            };
            self.docker.connect_network(&name, request).await?;
        }
        Ok(())
    }

    /// Returns the containers that are attached to a network, running or not, each with what it asked for there.
    async fn attached(&self, network: &str) -> Result<Vec<(String, EndpointSettings)>, ConvergeError> {
        let filters = HashMap::from([("network", vec![network])]);
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&filters)
            .build();
        let all: Vec<ContainerSummary> = self.docker.list_containers(Some(options)).await?;
        let mut attached = Vec::new();
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
