//! A container waits for what it needs of other services of its project.

use std::collections::HashMap;

use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder};
use tokio::time::Instant;

use crate::model::container::{Condition, LABEL_ONEOFF, LABEL_PROJECT, LABEL_SERVICE, Need};
use crate::model::inspected::State;

use super::converge::{Converge, ConvergeError, PAUSE, state_of};
use super::next::{self, Proof};
use super::prove::told;
use super::{Engine, EngineError};

impl Converge<'_> {
    /// Waits until what this container needs is so, before anything is changed. What is not required is only waited for.
    pub(super) async fn await_needs(&self) -> Result<(), ConvergeError> {
        let until = Instant::now() + self.proves_within;
        for need in &self.spec.needs {
            let found = loop {
                let states = self.engine.states_of(&self.spec.project, &need.service).await?;
                match next::need(need.condition, &states) {
                    Proof::Good => break None,
                    Proof::Waits if Instant::now() < until => tokio::time::sleep(PAUSE).await,
                    Proof::Waits | Proof::Failed => break Some(states),
                }
            };
            if let (Some(states), true) = (found, need.is_required) {
                return Err(unmet(need, &states));
            }
        }
        Ok(())
    }
}

fn unmet(need: &Need, states: &[State]) -> ConvergeError {
    let must = match need.condition {
        Condition::Started => "running",
        Condition::Healthy => "healthy",
        Condition::Completed => "done, with status 0",
    };
    let is = match states {
        [] => "no container of it is there".to_owned(),
        states => states.iter().map(told).collect::<Vec<_>>().join(", "),
    };
    let message = format!("it needs `{}` to be {must}: {is}", need.service);
    EngineError::Refused { status: 0, message }.into()
}

impl Engine {
    /// Returns how the containers of a service stand. One that is set aside is none of them.
    async fn states_of(&self, project: &str, service: &str) -> Result<Vec<State>, EngineError> {
        let labels = vec![
            format!("{LABEL_PROJECT}={project}"),
            format!("{LABEL_SERVICE}={service}"),
            format!("{LABEL_ONEOFF}=False"),
        ];
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&HashMap::from([("label".to_owned(), labels)]))
            .build();
        let found = self.docker.list_containers(Some(options)).await?;
        let is_aside = |name: &String| name.ends_with(&next::aside(""));
        let mut states = Vec::new();
        for container in found {
            let names = container.names.unwrap_or_default();
            let Some(id) = container.id.filter(|_| !names.iter().all(is_aside)) else {
                continue;
            };
            let inspected = self
                .docker
                .inspect_container(&id, None::<InspectContainerOptions>)
                .await;
            match inspected.map_err(EngineError::from) {
                Ok(inspected) => states.push(state_of(&inspected)),
                // Gone since the list was made.
                Err(error) if error.is_absent() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(states)
    }
}
