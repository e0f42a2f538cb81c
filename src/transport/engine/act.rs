//! Ops on an engine.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest, VolumeCreateRequest};
use bollard::query_parameters::{RemoveImageOptions, RemoveVolumeOptions};

use crate::model::body::{Body, HoleError};
use crate::model::container::ContainerSpec;
use crate::model::engine::{EngineOp, Login};
use crate::model::inspected::Effect;
use crate::model::network::{NetworkSpec, Subnet};
use crate::model::pulling::LayersDone;
use crate::model::registry::{HUB, registry_of};
use crate::model::volume::VolumeSpec;

use super::converge::{Ask, Converge, ConvergeError};
use super::one_off::RunOnce;
use super::{Engine, EngineError};

/// Fills secrets in.
pub(in crate::transport) type Fill<'a> = &'a (dyn Fn(&Body) -> Result<String, HoleError> + Send + Sync);

/// Hears of an image how far its layers have come.
pub(in crate::transport) type Tell<'a> = dyn Fn(&str, LayersDone) + Send + Sync + 'a;

/// What ops are done with.
pub(in crate::transport) struct Means<'a> {
    /// The run.
    pub run: &'a str,
    /// Fills secrets in.
    pub fill: Fill<'a>,
    /// Asks the host's guard before each change.
    pub ask: &'a Ask<'a>,
    /// Tells how far a pull has come.
    pub tell: &'a Tell<'a>,
}

impl Engine {
    /// Does one op.
    pub(in crate::transport) async fn act<'a>(
        &'a self,
        op: &'a EngineOp,
        means: &'a Means<'a>,
    ) -> Result<(), ConvergeError> {
        match op {
            EngineOp::Pull {
                image,
                platform,
                login,
                newer,
            } => {
                // There already: the registry is not asked.
                if !newer && self.image_id(image).await.is_ok() {
                    return Ok(());
                }
                let login = login
                    .as_ref()
                    .map(|login| credentials(image, login, means.fill).map_err(unfilled))
                    .transpose()?;
                (means.ask)().await?;
                Ok(self.pull(image, platform.as_deref(), login, means.tell).await?)
            }
            EngineOp::Container {
                spec,
                effect,
                within_secs,
            } => {
                let converge = Converge {
                    engine: self,
                    spec,
                    environment: environment(spec, means)?,
                    effect: *effect,
                    run: means.run,
                    proves_within: Duration::from_secs(*within_secs),
                    ask: means.ask,
                };
                converge.run().await
            }
            EngineOp::Once {
                spec,
                within_secs,
                success,
            } => {
                let make = Converge {
                    engine: self,
                    spec,
                    environment: environment(spec, means)?,
                    effect: Effect::Recreate,
                    run: means.run,
                    proves_within: Duration::from_secs(*within_secs),
                    ask: means.ask,
                };
                RunOnce { make, success }.run().await
            }
            EngineOp::RemoveContainer(name) => self.take_away(name, means.ask).await,
            EngineOp::Network(spec) => {
                if self.is_there(self.docker.inspect_network(&spec.name, None).await)? {
                    return Ok(());
                }
                self.make_network(network(spec), means).await
            }
            EngineOp::RemakeNetwork(spec) => self.remake_network(network(spec), means).await,
            EngineOp::RemoveNetwork(name) => {
                (means.ask)().await?;
                self.gone(self.docker.remove_network(name).await)
            }
            EngineOp::Volume(spec) => {
                if self.is_there(self.docker.inspect_volume(&spec.name).await)? {
                    return Ok(());
                }
                (means.ask)().await?;
                Ok(self.docker.create_volume(volume(spec)).await.map(drop)?)
            }
            EngineOp::RemoveVolume(name) => {
                (means.ask)().await?;
                self.gone(self.docker.remove_volume(name, None::<RemoveVolumeOptions>).await)
            }
            EngineOp::RemoveImage(name) => {
                (means.ask)().await?;
                let removed = self
                    .docker
                    .remove_image(name, None::<RemoveImageOptions>, None)
                    .await;
                self.gone(removed.map(drop))
            }
        }
    }

    fn is_there<T>(&self, answer: Result<T, bollard::errors::Error>) -> Result<bool, EngineError> {
        match answer.map_err(EngineError::from) {
            Ok(_) => Ok(true),
            Err(error) if error.is_absent() => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn gone(&self, answer: Result<(), bollard::errors::Error>) -> Result<(), ConvergeError> {
        self.is_there(answer).map(drop).map_err(ConvergeError::from)
    }
}

/// Returns a container's environment, secrets filled in.
fn environment(spec: &ContainerSpec, means: &Means<'_>) -> Result<BTreeMap<String, String>, ConvergeError> {
    let filled = |(key, body): (&String, &Body)| Ok((key.clone(), (means.fill)(body).map_err(unfilled)?));
    spec.environment.iter().map(filled).collect()
}

fn unfilled(error: HoleError) -> ConvergeError {
    EngineError::Odd(error.to_string()).into()
}

/// Makes what an engine shows to a registry.
pub(super) fn credentials(
    image: &str,
    login: &Login,
    fill: Fill<'_>,
) -> Result<DockerCredentials, HoleError> {
    // The engine knows the hub by no name.
    let registry = Some(registry_of(image)).filter(|registry| *registry != HUB);
    Ok(DockerCredentials {
        username: Some(fill(&login.user)?),
        password: Some(fill(&login.password)?),
        serveraddress: registry.map(str::to_owned),
        ..DockerCredentials::default()
    })
}

fn network(spec: &NetworkSpec) -> NetworkCreateRequest {
    let config = |subnet: &Subnet| IpamConfig {
        subnet: subnet.subnet.clone(),
        gateway: subnet.gateway.clone(),
        ip_range: subnet.ip_range.clone(),
        auxiliary_addresses: map(&subnet.aux_addresses),
    };
    let has_ipam = spec.ipam_driver.is_some() || !spec.ipam_options.is_empty() || !spec.subnets.is_empty();
    NetworkCreateRequest {
        name: spec.name.clone(),
        driver: spec.driver.clone(),
        options: map(&spec.driver_opts),
        internal: spec.is_internal.then_some(true),
        attachable: spec.is_attachable.then_some(true),
        enable_ipv6: spec.has_ipv6.then_some(true),
        labels: map(&spec.labels),
        ipam: has_ipam.then(|| Ipam {
            driver: spec.ipam_driver.clone(),
            options: map(&spec.ipam_options),
            config: (!spec.subnets.is_empty()).then(|| spec.subnets.iter().map(config).collect()),
        }),
        ..NetworkCreateRequest::default()
    }
}

fn volume(spec: &VolumeSpec) -> VolumeCreateRequest {
    VolumeCreateRequest {
        name: Some(spec.name.clone()),
        driver: spec.driver.clone(),
        driver_opts: map(&spec.driver_opts),
        labels: map(&spec.labels),
        ..VolumeCreateRequest::default()
    }
}

fn map(pairs: &BTreeMap<String, String>) -> Option<HashMap<String, String>> {
    (!pairs.is_empty()).then(|| {
        pairs
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    })
}
