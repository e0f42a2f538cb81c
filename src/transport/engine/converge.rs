//! A container is made to be as it must be, one step after another, each decided from a fresh look.

use std::collections::BTreeMap;
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, NetworkConnectRequest};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, RemoveContainerOptionsBuilder,
    RenameContainerOptionsBuilder, RestartContainerOptionsBuilder, StartContainerOptions,
    StopContainerOptionsBuilder,
};
use futures_util::future::BoxFuture;

use crate::model::container::{ContainerSpec, LABEL_DIGEST, LABEL_RUN};
use crate::model::inspected::{Effect, State};

use super::create::{self, Resolved};
use super::next::{self, Next, Scene, There, Wanted};
use super::prove::{note_restart, restart_of};
use super::{Engine, EngineError};

/// How long a container has to stop, in seconds, where nothing else is said.
const GRACE_SECS: u64 = 10;
/// How many steps there can be. More is a circle.
const STEPS_MAX: usize = 24;
/// The pause between two looks at a container that proves itself.
pub(super) const PAUSE: Duration = Duration::from_millis(500);

/// Asks the host's guard, before each change, whether this run still holds the host.
pub(in crate::transport) type Ask<'a> =
    dyn Fn() -> BoxFuture<'a, Result<(), ConvergeError>> + Send + Sync + 'a;

/// What a container is made to be, and with what.
pub(super) struct Converge<'a> {
    pub engine: &'a Engine,
    pub spec: &'a ContainerSpec,
    /// The environment, secrets filled in.
    pub environment: BTreeMap<String, String>,
    pub effect: Effect,
    pub run: &'a str,
    /// How long a container may take to prove itself.
    pub proves_within: Duration,
    pub ask: &'a Ask<'a>,
}

/// Why a container is not as it must be.
#[derive(Debug)]
pub(in crate::transport) enum ConvergeError {
    /// The engine.
    Engine(EngineError),
    /// The guard refused, or could not be asked.
    Guard(crate::ports::PerformError),
    /// It was made, and did not prove itself.
    Unproven {
        /// What is the matter, for people.
        why: String,
        /// The status with which it ended.
        exit_code: i64,
        /// The last lines of its log, with whatever stands in them.
        log: Vec<String>,
    },
}

impl From<EngineError> for ConvergeError {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

impl From<bollard::errors::Error> for ConvergeError {
    fn from(error: bollard::errors::Error) -> Self {
        Self::Engine(error.into())
    }
}

impl Converge<'_> {
    /// Makes it so.
    pub(super) async fn run(&self) -> Result<(), ConvergeError> {
        let image = self.engine.image_id(&self.spec.image).await?;
        let wanted = Wanted {
            spec: self.spec,
            image: &image,
            effect: self.effect,
            run: self.run,
        };
        if self.effect == Effect::Recreate {
            self.await_needs().await?;
        }
        for _ in 0..STEPS_MAX {
            let scene = self.scene().await?;
            match wanted.next(&scene) {
                Next::Prove(id) => return self.prove(&id, &scene).await,
                Next::Restart(id) => {
                    return match self.restart(&id).await {
                        Ok(()) => self.prove(&id, &scene).await,
                        Err(error) => Err(self.given_up(error).await),
                    };
                }
                Next::Update(id) => {
                    self.update(&id).await?;
                    // One that a run set aside and did not come to take away goes only for one that is well.
                    let Some(aside) = &scene.aside else {
                        return Ok(());
                    };
                    // This one has served since, and stays whatever comes of it.
                    self.settle(&id).await?;
                    return self.remove(&aside.id).await;
                }
                Next::Choose(id) => self.choose(&id, &scene).await?,
                Next::Foreign(name) => return Err(self.foreign(&name)),
                step => {
                    let started = match &step {
                        Next::Start(id) => Some(id.clone()),
                        _ => None,
                    };
                    if let Err(error) = self.step(step, &scene, &image).await {
                        // One that another run made may have served since, and stays.
                        let is_other = |current| !wanted.is_made(current);
                        return Err(match scene.current.as_ref().is_some_and(is_other) {
                            true => error,
                            false => self.given_up(error).await,
                        });
                    }
                    // One that ended by the next look is not to be started again, but judged.
                    if let Some(id) = started {
                        return self.prove(&id, &scene).await;
                    }
                }
            }
        }
        Err(EngineError::Odd("it never came to an end".to_owned()).into())
    }

    async fn step(&self, step: Next, scene: &Scene, image: &str) -> Result<(), ConvergeError> {
        match step {
            Next::SetAside(id) => self.rename(&id, &next::aside(&self.spec.name)).await,
            Next::Drop(id) => self.remove(&id).await,
            Next::Create => self.create(scene, image).await,
            Next::StopAside(id) => self.stop_for_good(&id).await,
            Next::Start(id) => self.start(&id).await,
            Next::Choose(_) | Next::Foreign(_) | Next::Prove(_) | Next::Restart(_) | Next::Update(_) => {
                Ok(())
            }
        }
    }

    /// Looks for the container, by its name and its former ones, and for the one that is set aside.
    pub(super) async fn scene(&self) -> Result<Scene, ConvergeError> {
        let mut scene = Scene {
            current: self.engine.there(&self.spec.name).await?,
            aside: self.engine.there(&next::aside(&self.spec.name)).await?,
        };
        let aside = next::aside(&self.spec.name);
        for former in &self.spec.former_names {
            if scene.current.is_none() && *former != aside {
                scene.current = self.engine.there(former).await?;
            }
        }
        Ok(scene)
    }

    pub(super) async fn create(&self, scene: &Scene, image: &str) -> Result<(), ConvergeError> {
        let before = scene.aside.as_ref().map(|aside| aside.anonymous.clone());
        let anonymous = self.handed_over(before.unwrap_or_default(), image).await?;
        let resolved = Resolved {
            environment: self.environment.clone(),
            containers: self
                .engine
                .containers_of(&self.spec.project, &self.spec.needs)
                .await?,
            anonymous,
            image: image.to_owned(),
        };
        let mut body = create::body(self.spec, &resolved).map_err(EngineError::Odd)?;
        let labels = body.labels.get_or_insert_default();
        labels.insert(LABEL_DIGEST.to_owned(), self.spec.digest().to_string());
        labels.insert(LABEL_RUN.to_owned(), self.run.to_owned());
        if let Some(aside) = &scene.aside {
            note_restart(aside, labels);
        }
        // Named by what the file says, and not by an id that nobody can read.
        body.image = Some(self.spec.image.clone());
        let mut options = CreateContainerOptionsBuilder::default().name(&self.spec.name);
        if let Some(platform) = &self.spec.platform {
            options = options.platform(platform);
        }
        (self.ask)().await?;
        let made = self
            .engine
            .docker
            .create_container(Some(options.build()), body)
            .await?;
        for (network, endpoint) in create::endpoints(self.spec).into_iter().skip(1) {
            let request = NetworkConnectRequest {
                container: made.id.clone(),
                endpoint_config: Some(endpoint),
            };
            (self.ask)().await?;
            self.engine.docker.connect_network(&network, request).await?;
        }
        Ok(())
    }

    /// Returns which volumes without a name a container takes over: those of paths where it has one too, by its spec or its image.
    async fn handed_over(
        &self,
        mut before: BTreeMap<String, String>,
        image: &str,
    ) -> Result<BTreeMap<String, String>, ConvergeError> {
        let declared = &self.spec.settings.mounts;
        if before.keys().any(|path| !declared.contains_key(path)) {
            let of_image = self.engine.volumes_of_image(image).await?;
            before.retain(|path, _| declared.contains_key(path) || of_image.contains(path));
        }
        Ok(before)
    }

    /// One that was made and not attached to all of its networks, since a run broke off, is attached first.
    pub(super) async fn start(&self, id: &str) -> Result<(), ConvergeError> {
        let inspected = self.inspect(id).await?;
        let attached = inspected.network_settings.and_then(|settings| settings.networks);
        let attached = attached.unwrap_or_default();
        for (network, endpoint) in create::endpoints(self.spec) {
            if !attached.contains_key(&network) {
                let request = NetworkConnectRequest {
                    container: id.to_owned(),
                    endpoint_config: Some(endpoint),
                };
                (self.ask)().await?;
                self.engine.docker.connect_network(&network, request).await?;
            }
        }
        (self.ask)().await?;
        Ok(self
            .engine
            .docker
            .start_container(id, None::<StartContainerOptions>)
            .await?)
    }

    pub(super) async fn rename(&self, id: &str, name: &str) -> Result<(), ConvergeError> {
        (self.ask)().await?;
        let options = RenameContainerOptionsBuilder::default().name(name).build();
        Ok(self.engine.docker.rename_container(id, options).await?)
    }

    /// Removes a container that is stopped first.
    pub(super) async fn remove(&self, id: &str) -> Result<(), ConvergeError> {
        self.engine.take(id, self.ask).await
    }

    async fn restart(&self, id: &str) -> Result<(), ConvergeError> {
        (self.ask)().await?;
        let grace = self.spec.settings.stop_grace_secs.unwrap_or(GRACE_SECS);
        let patient = self.engine.patient(Duration::from_secs(grace + 60));
        let options = RestartContainerOptionsBuilder::default().build();
        Ok(patient.restart_container(id, Some(options)).await?)
    }

    async fn update(&self, id: &str) -> Result<(), ConvergeError> {
        (self.ask)().await?;
        let body = create::update(&self.spec.settings);
        Ok(self.engine.docker.update_container(id, body).await?)
    }

    pub(super) async fn inspect(&self, id: &str) -> Result<ContainerInspectResponse, ConvergeError> {
        Ok(self
            .engine
            .docker
            .inspect_container(id, None::<InspectContainerOptions>)
            .await?)
    }
}

/// What is gone already, or stopped already, is as it is to be.
pub(super) fn absent_is_good(result: Result<(), bollard::errors::Error>) -> Result<(), ConvergeError> {
    match result.map_err(EngineError::from) {
        Err(EngineError::Refused {
            status: 304 | 404, ..
        })
        | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Reads how a container stands.
pub(super) fn state_of(inspected: &ContainerInspectResponse) -> State {
    let Some(state) = &inspected.state else {
        return State::default();
    };
    State {
        status: state.status.map(|status| status.to_string()).unwrap_or_default(),
        health: state
            .health
            .as_ref()
            .and_then(|health| health.status)
            .map(|status| status.to_string())
            .filter(|status| !status.is_empty() && status != "none"),
        started_at_nanos: None,
        exit_code: state.exit_code.unwrap_or_default(),
        is_oom_killed: state.oom_killed.unwrap_or_default(),
        restarts: inspected
            .restart_count
            .and_then(|count| u64::try_from(count).ok())
            .unwrap_or_default(),
    }
}

impl Engine {
    /// Stops a container and removes it, if it is there, and one of its name that is set aside.
    pub(super) async fn take_away(&self, name: &str, ask: &Ask<'_>) -> Result<(), ConvergeError> {
        if let Some(there) = self.there(name).await? {
            self.take(&there.id, ask).await?;
        }
        // What a run that broke off left of the one before it.
        match self.there(&next::aside(name)).await? {
            Some(aside) if aside.is_of_a_project() => self.take(&aside.id, ask).await,
            Some(_) | None => Ok(()),
        }
    }

    /// Stops one, which may take long, and removes it.
    async fn take(&self, id: &str, ask: &Ask<'_>) -> Result<(), ConvergeError> {
        ask().await?;
        self.stop(id).await?;
        ask().await?;
        self.remove(id).await
    }

    /// Stops a container, with the patience that it was made with.
    pub(super) async fn stop(&self, id: &str) -> Result<(), ConvergeError> {
        let inspected = self
            .docker
            .inspect_container(id, None::<InspectContainerOptions>)
            .await?;
        let grace = inspected.config.and_then(|config| config.stop_timeout);
        let grace = grace
            .and_then(|secs| u64::try_from(secs).ok())
            .unwrap_or(GRACE_SECS);
        let patient = self.patient(Duration::from_secs(grace + 60));
        let options = StopContainerOptionsBuilder::default().build();
        absent_is_good(patient.stop_container(id, Some(options)).await)
    }

    /// Removes a container that is stopped. Its volumes stay, also those without a name.
    pub(super) async fn remove(&self, id: &str) -> Result<(), ConvergeError> {
        let options = RemoveContainerOptionsBuilder::default()
            .v(false)
            .force(false)
            .build();
        absent_is_good(self.docker.remove_container(id, Some(options)).await)
    }

    /// Returns a container as far as the next step depends on it.
    pub(super) async fn there(&self, name: &str) -> Result<Option<There>, EngineError> {
        let inspected = match self
            .docker
            .inspect_container(name, None::<InspectContainerOptions>)
            .await
        {
            Ok(inspected) => inspected,
            Err(error) => {
                let error = EngineError::from(error);
                return if error.is_absent() { Ok(None) } else { Err(error) };
            }
        };
        let found = inspected
            .name
            .as_deref()
            .unwrap_or_default()
            .trim_start_matches('/');
        // An id, or the beginning of one, is found under a name as well.
        if found != name {
            return Ok(None);
        }
        let labels = inspected.config.as_ref().and_then(|config| config.labels.clone());
        let volumes = inspected.mounts.iter().flatten().filter_map(|mount| {
            let name = mount.name.clone().filter(|name| is_anonymous(name))?;
            Some((mount.destination.clone()?, name))
        });
        Ok(Some(There {
            id: inspected.id.clone().unwrap_or_default(),
            name: name.to_owned(),
            image: inspected.image.clone().unwrap_or_default(),
            labels: labels.unwrap_or_default().into_iter().collect(),
            anonymous: volumes.collect(),
            state: state_of(&inspected),
            restart: restart_of(&inspected),
        }))
    }
}

/// The engine names such volumes by 64 hex digits.
fn is_anonymous(volume: &str) -> bool {
    volume.len() == 64 && volume.bytes().all(|byte| byte.is_ascii_hexdigit())
}
