//! A container that was made proves itself, or the one before it comes back.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, ContainerUpdateBody, RestartPolicyNameEnum};
use bollard::query_parameters::{LogsOptionsBuilder, StartContainerOptions};
use futures_util::StreamExt as _;
use tokio::time::Instant;

use crate::model::container::LABEL_RUN;
use crate::model::container_part::Restart;
use crate::model::inspected::State;

use super::EngineError;
use super::converge::{Converge, ConvergeError, PAUSE, absent_is_good, state_of};
use super::create;
use super::next::{self, Scene, There};
use super::proof::{self, Proof, Steady};

/// How many lines of a log are shown.
const LOG_LINES: usize = 30;
/// The status of a process that was killed.
const KILLED: i64 = 137;
/// The longest wait for a log.
const LOG_WAIT: Duration = Duration::from_secs(10);
/// The label of a container with what its predecessor's restart policy was before that was stopped for good.
const LABEL_BEFORE: &str = "dev.muster.predecessor_restart";
/// How much of a log is kept while it is read.
const LOG_MAX_BYTES: usize = 256 * 1024;

impl Converge<'_> {
    /// Waits for the new one to prove itself; then the old one goes. If it does not, the old one comes back.
    pub(super) async fn prove(&self, id: &str, scene: &Scene) -> Result<(), ConvergeError> {
        match self.settle(id).await {
            Ok(()) => match &scene.aside {
                Some(aside) => self.remove(&aside.id).await,
                None => Ok(()),
            },
            Err(error) => Err(self.given_up(error).await),
        }
    }

    /// Waits until a container is as it must be.
    pub(super) async fn settle(&self, id: &str) -> Result<(), ConvergeError> {
        let began = Instant::now();
        let mut before = None;
        let mut steady = Steady::default();
        let mut is_seen_killed = false;
        loop {
            let inspected = self.inspect(id).await?;
            let state = state_of(&inspected);
            let restarts = *before.get_or_insert(state.restarts);
            let secs = steady.secs(&state, began.elapsed());
            let verdict = proof::proof(self.spec.settings.restart, &state, secs, restarts);
            let why = match verdict {
                Proof::Good => return Ok(()),
                Proof::Waits if began.elapsed() < self.proves_within => {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                // An engine says of a container that it was killed a moment before it says what for.
                Proof::Failed if state.exit_code == KILLED && !state.is_oom_killed && !is_seen_killed => {
                    is_seen_killed = true;
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                Proof::Waits => {
                    let secs = began.elapsed().as_secs();
                    format!("it is not well after {secs} s: {}", told(&state))
                }
                Proof::Failed => told(&state),
            };
            return Err(ConvergeError::Unproven {
                why: format!("{why}{}", last_probe(&inspected, self.spec.is_log_secret)),
                exit_code: state.exit_code,
                log: self.log(id).await,
            });
        }
    }

    /// Puts the container before it back where it is certain that nothing came of the new one, and says so. Where nobody knows what
    /// the engine did, everything stays: the next run goes on from what is there.
    pub(super) async fn given_up(&self, error: ConvergeError) -> ConvergeError {
        let is_certain = matches!(
            error,
            ConvergeError::Unproven { .. } | ConvergeError::Engine(EngineError::Refused { .. })
        );
        if !is_certain {
            return error;
        }
        let and = match self.put_back().await {
            Ok(true) => "; the container before it is back".to_owned(),
            Ok(false) => return error,
            // The host is another's now: that says most.
            Err(fenced @ ConvergeError::Guard(_)) => return fenced,
            Err(ConvergeError::Engine(failed)) => format!(
                "; the container before it waits as `{}` and could not be put back: {failed}",
                next::aside(&self.spec.name)
            ),
            Err(ConvergeError::Unproven { .. }) => String::new(),
        };
        match error {
            ConvergeError::Unproven { why, exit_code, log } => ConvergeError::Unproven {
                why: why + &and,
                exit_code,
                // The name is its predecessor's again, and so is the log under that name.
                log: match self.spec.is_log_secret {
                    true => vec!["its log is secret, and went with it".to_owned()],
                    false => log,
                },
            },
            ConvergeError::Engine(EngineError::Refused { status, message }) => {
                let message = message + &and;
                EngineError::Refused { status, message }.into()
            }
            other => other,
        }
    }

    /// Gives the container that is set aside its name and its work back. Returns whether there is one.
    async fn put_back(&self) -> Result<bool, ConvergeError> {
        let scene = self.scene().await?;
        let Some(aside) = scene.aside else {
            return Ok(false);
        };
        let mut noted = None;
        if let Some(current) = scene.current {
            // What bears the name and is not of muster's making is somebody's.
            if !current.labels.contains_key(LABEL_RUN) {
                return Err(self.foreign(&current.name));
            }
            noted = restart_noted(&current.labels);
            self.remove(&current.id).await?;
        }
        self.rename(&aside.id, &self.spec.name).await?;
        // Nobody of muster pauses one: it waits for whoever did.
        if !["created", "paused"].contains(&aside.state.status.as_str()) {
            (self.ask)().await?;
            let docker = &self.engine.docker;
            absent_is_good(
                docker
                    .start_container(&aside.id, None::<StartContainerOptions>)
                    .await,
            )?;
        }
        if let Some(restart) = noted.filter(|noted| *noted != aside.restart) {
            self.set_restart(&aside.id, restart).await?;
        }
        Ok(true)
    }

    /// Keeps the better one of a container and the one that is set aside, where a run that broke off left both.
    pub(super) async fn choose(&self, id: &str, scene: &Scene) -> Result<(), ConvergeError> {
        match (self.settle(id).await, &scene.aside) {
            (Ok(()), Some(aside)) => self.remove(&aside.id).await,
            (Err(ConvergeError::Unproven { .. }), Some(_)) => self.remove(id).await,
            (settled, _) => settled,
        }
    }

    /// Stops a container so that its engine does not start it again either, not even when the host is restarted.
    pub(super) async fn stop_for_good(&self, id: &str) -> Result<(), ConvergeError> {
        if restart_of(&self.inspect(id).await?).outlasts_a_stop() {
            self.set_restart(id, Restart::UnlessStopped).await?;
        }
        (self.ask)().await?;
        self.engine.stop(id).await
    }

    async fn set_restart(&self, id: &str, restart: Restart) -> Result<(), ConvergeError> {
        (self.ask)().await?;
        let body = ContainerUpdateBody {
            restart_policy: Some(create::restart(restart)),
            ..ContainerUpdateBody::default()
        };
        Ok(self.engine.docker.update_container(id, body).await?)
    }

    /// Says that nothing is done to a container since it is somebody's.
    pub(super) fn foreign(&self, name: &str) -> ConvergeError {
        let message = format!(
            "`{name}` is another's container, and the one before it waits as `{}`; remove the one that is not wanted",
            next::aside(&self.spec.name)
        );
        EngineError::Refused { status: 409, message }.into()
    }

    /// Returns the last lines of a container's log. Best effort: it is for people, who know already that something is wrong.
    pub(super) async fn log(&self, id: &str) -> Vec<String> {
        if self.spec.is_log_secret {
            return vec![format!(
                "its log is secret; on the host `docker logs --tail {LOG_LINES} {}` shows it",
                self.spec.name
            )];
        }
        let options = LogsOptionsBuilder::default()
            .stdout(true)
            .stderr(true)
            .tail(&LOG_LINES.to_string())
            .build();
        let mut said = Vec::new();
        let mut log = std::pin::pin!(self.engine.lasting.logs(id, Some(options)));
        let read = async {
            while let Some(Ok(part)) = log.next().await {
                said.extend_from_slice(&part.into_bytes());
                if said.len() > LOG_MAX_BYTES {
                    break;
                }
            }
        };
        // Whoever waits for it has more to do: what came by then is shown.
        drop(tokio::time::timeout(LOG_WAIT, read).await);
        let said = String::from_utf8_lossy(&said);
        said.lines().map(str::to_owned).collect()
    }
}

/// Says how a container stands, for people.
pub(super) fn told(state: &State) -> String {
    let oom = if state.is_oom_killed {
        ", killed for want of memory"
    } else {
        ""
    };
    match (state.status.as_str(), state.health.as_deref()) {
        ("running", Some(health)) => format!("its health check says `{health}`{oom}"),
        ("running", None) if state.restarts > 0 => {
            format!("it was restarted {} times{oom}", state.restarts)
        }
        ("exited" | "dead" | "restarting", _) => format!("it ended with status {}{oom}", state.exit_code),
        (status, _) => format!("it is {status}{oom}"),
    }
}

/// Reads when an engine starts a container again.
pub(super) fn restart_of(inspected: &ContainerInspectResponse) -> Restart {
    let host = inspected.host_config.as_ref();
    let Some(policy) = host.and_then(|host| host.restart_policy.as_ref()) else {
        return Restart::No;
    };
    match policy.name {
        Some(RestartPolicyNameEnum::ALWAYS) => Restart::Always,
        Some(RestartPolicyNameEnum::UNLESS_STOPPED) => Restart::UnlessStopped,
        Some(RestartPolicyNameEnum::ON_FAILURE) => {
            let times = policy.maximum_retry_count.unwrap_or_default();
            Restart::OnFailure(u64::try_from(times).unwrap_or_default())
        }
        Some(RestartPolicyNameEnum::NO | RestartPolicyNameEnum::EMPTY) | None => Restart::No,
    }
}

/// Notes on a container what policy its predecessor has, which is changed for as long as that is set aside.
pub(super) fn note_restart(aside: &There, labels: &mut HashMap<String, String>) {
    if aside.restart.outlasts_a_stop() {
        let text = serde_json::to_string(&aside.restart).expect("a restart policy is JSON");
        labels.insert(LABEL_BEFORE.to_owned(), text);
    }
}

fn restart_noted(labels: &BTreeMap<String, String>) -> Option<Restart> {
    serde_json::from_str(labels.get(LABEL_BEFORE)?).ok()
}

/// What its health check last said.
fn last_probe(inspected: &ContainerInspectResponse, is_secret: bool) -> String {
    let health = inspected.state.as_ref().and_then(|state| state.health.as_ref());
    let last = health.and_then(|health| health.log.as_ref()?.last());
    last.map(|last| {
        let status = last.exit_code.unwrap_or_default();
        if is_secret {
            return format!("; the last check ended with status {status}, and what it said is secret");
        }
        let said = last.output.as_deref().unwrap_or_default().trim();
        format!("; the last check ended with status {status}: {said}")
    })
    .unwrap_or_default()
}
