//! A container is run once, to its end: one step after another, each decided from a fresh look.

use std::collections::BTreeSet;
use std::time::Duration;

use bollard::query_parameters::InspectContainerOptions;
use serde_json::Value;
use tokio::time::Instant;

use crate::model::container::LABEL_ONCE;
use crate::model::inspected::{OneOff, State};

use super::converge::{Converge, ConvergeError, PAUSE, state_of};
use super::next::Scene;
use super::one_off_next::{Once, Step};
use super::prove::told;
use super::{Engine, EngineError};

/// How many steps there can be. More is a circle.
const STEPS_MAX: usize = 12;
/// The longest pause between two looks at one that runs.
const PAUSE_MAX: Duration = Duration::from_secs(3);
/// How long an engine may be away while it runs, such as for a restart. Asking again changes nothing.
const AWAY_MAX: Duration = Duration::from_secs(90);

/// A container that is run once, and the statuses with which it has done what it is for.
pub(super) struct RunOnce<'a> {
    /// How a container is made and started.
    pub make: Converge<'a>,
    pub success: &'a BTreeSet<i64>,
}

impl RunOnce<'_> {
    /// Runs it.
    pub(super) async fn run(&self) -> Result<(), ConvergeError> {
        let (engine, spec) = (self.make.engine, self.make.spec);
        let once = Once {
            spec,
            success: self.success,
        };
        let mut is_tried = false;
        for _ in 0..STEPS_MAX {
            let there = engine.there(&spec.name).await?;
            let step = once.next(there.as_ref(), is_tried);
            match &step {
                Step::Await(id) => {
                    self.ended(id).await?;
                    is_tried = true;
                    continue;
                }
                Step::Failed(id) => return Err(self.failed(id, None).await),
                Step::Foreign => {
                    let message = format!(
                        "a container `{}` is there that was not made for this; it stays as it is",
                        spec.name
                    );
                    return Err(EngineError::Refused { status: 409, message }.into());
                }
                Step::Create | Step::Start(_) | Step::Drop(_) | Step::Finish(_) => {}
            }
            (self.make.ask)().await?;
            match &step {
                Step::Create => {
                    let image = engine.image_id(&spec.image).await?;
                    self.make.create(&Scene::default(), &image).await?;
                }
                Step::Start(id) => {
                    self.make.start(id).await?;
                    is_tried = true;
                }
                Step::Drop(id) => {
                    engine.remove(id).await?;
                    is_tried = false;
                }
                Step::Finish(id) => return engine.remove(id).await,
                Step::Await(_) | Step::Failed(_) | Step::Foreign => {}
            }
        }
        Err(EngineError::Odd("it never came to an end".to_owned()).into())
    }

    /// Waits for its end. One that takes too long is stopped.
    async fn ended(&self, id: &str) -> Result<(), ConvergeError> {
        let began = Instant::now();
        let mut heard = began;
        let mut pause = PAUSE;
        loop {
            match self.make.engine.state(id).await {
                Ok(Some(state)) if state.is_up() || state.status == "removing" => heard = Instant::now(),
                Ok(_) => return Ok(()),
                Err(EngineError::NoAnswer(_)) if heard.elapsed() < AWAY_MAX => {}
                Err(error) => return Err(error.into()),
            }
            if began.elapsed() >= self.make.proves_within {
                (self.make.ask)().await?;
                self.make.engine.stop(id).await?;
                let secs = self.make.proves_within.as_secs();
                return Err(self
                    .failed(id, Some(format!("it was stopped after {secs} s")))
                    .await);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Says how it failed. It stays, for people and for the next try.
    async fn failed(&self, id: &str, why: Option<String>) -> ConvergeError {
        let state = match self.make.engine.state(id).await {
            Ok(state) => state.unwrap_or_default(),
            Err(error) => return error.into(),
        };
        ConvergeError::Unproven {
            why: why.unwrap_or_else(|| told(&state)),
            exit_code: state.exit_code,
            log: self.make.log(id).await,
        }
    }
}

impl Engine {
    /// Returns how a container stands, if it is there.
    async fn state(&self, id: &str) -> Result<Option<State>, EngineError> {
        let inspected = self
            .docker
            .inspect_container(id, None::<InspectContainerOptions>)
            .await;
        match inspected.map_err(EngineError::from) {
            Ok(inspected) => Ok(Some(state_of(&inspected))),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Answers the question for a container that runs once.
    pub(super) async fn one_off(&self, name: &str) -> Result<Value, EngineError> {
        let there = self.there(name).await?;
        let one_off = there.map(|there| OneOff {
            is_ours: there.labels.get(LABEL_ONCE).is_some_and(|label| label == name),
            state: there.state,
        });
        serde_json::to_value(one_off).map_err(|error| EngineError::Odd(error.to_string()))
    }
}
