//! A container that was made proves itself, or the one before it comes back.

use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{LogsOptionsBuilder, StartContainerOptions};
use futures_util::StreamExt as _;
use tokio::time::Instant;

use crate::model::container::LABEL_RUN;
use crate::model::inspected::State;

use super::EngineError;
use super::converge::{Converge, ConvergeError, PAUSE, absent_is_good, state_of};
use super::next::{self, Proof, Scene};

/// How many lines of a log are shown.
const LOG_LINES: usize = 30;
/// The status of a process that was killed.
const KILLED: i64 = 137;
/// How much of a log is kept while it is read.
const LOG_MAX_BYTES: usize = 256 * 1024;

impl Converge<'_> {
    /// Waits for the new one to prove itself; then the old one goes. If it does not, the old one comes back.
    pub(super) async fn prove(&self, id: &str, scene: &Scene) -> Result<(), ConvergeError> {
        match self.settle(id).await {
            Ok(()) => match &scene.aside {
                Some(aside) => {
                    (self.ask)().await?;
                    self.remove(&aside.id).await
                }
                None => Ok(()),
            },
            Err(error) => Err(self.given_up(error).await),
        }
    }

    /// Waits until a container is as it must be.
    pub(super) async fn settle(&self, id: &str) -> Result<(), ConvergeError> {
        let began = Instant::now();
        let mut before = None;
        let mut is_seen_killed = false;
        loop {
            let inspected = self.inspect(id).await?;
            let state = state_of(&inspected);
            let restarts = *before.get_or_insert(state.restarts);
            let secs = began.elapsed().as_secs();
            let verdict = next::proof(self.spec.settings.restart, &state, secs, restarts);
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
                Proof::Waits => format!("it is not well after {secs} s: {}", told(&state)),
                Proof::Failed => told(&state),
            };
            return Err(ConvergeError::Unproven {
                why: format!("{why}{}", last_probe(&inspected)),
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
        if let Some(current) = scene.current {
            // What bears the name and is not of muster's making is somebody's.
            if !current.labels.contains_key(LABEL_RUN) {
                let message = format!("`{}` is another's container", current.name);
                return Err(EngineError::Refused { status: 409, message }.into());
            }
            (self.ask)().await?;
            self.remove(&current.id).await?;
        }
        (self.ask)().await?;
        self.rename(&aside.id, &self.spec.name).await?;
        if aside.state.status != "created" {
            let docker = &self.engine.docker;
            absent_is_good(
                docker
                    .start_container(&aside.id, None::<StartContainerOptions>)
                    .await,
            )?;
        }
        Ok(true)
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
        while let Some(Ok(part)) = log.next().await {
            said.extend_from_slice(&part.into_bytes());
            if said.len() > LOG_MAX_BYTES {
                break;
            }
        }
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

/// What its health check last said.
fn last_probe(inspected: &ContainerInspectResponse) -> String {
    let health = inspected.state.as_ref().and_then(|state| state.health.as_ref());
    let last = health.and_then(|health| health.log.as_ref()?.last());
    last.map(|last| {
        let said = last.output.as_deref().unwrap_or_default().trim();
        let status = last.exit_code.unwrap_or_default();
        format!("; the last check ended with status {status}: {said}")
    })
    .unwrap_or_default()
}
