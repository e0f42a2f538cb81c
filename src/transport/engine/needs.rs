//! A container waits for what it needs of other services of its project.

use std::collections::BTreeMap;

use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder};
use tokio::time::Instant;

use crate::model::container::{Condition, Need};
use crate::model::inspected::State;

use super::converge::{Converge, ConvergeError, PAUSE, state_of};
use super::look::Listed;
use super::proof::{self, Proof};
use super::prove::told;
use super::{Engine, EngineError};

impl Converge<'_> {
    /// Waits until what this container needs is so, before anything is changed. What is not required is only waited for.
    pub(super) async fn await_needs(&self) -> Result<(), ConvergeError> {
        let until = Instant::now() + self.proves_within;
        for need in &self.spec.needs {
            let found = loop {
                let states = self.engine.states_of(&self.spec.project, need).await?;
                match proof::need(need.condition, &states) {
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
    /// Returns how the containers of a service that is needed stand.
    async fn states_of(&self, project: &str, need: &Need) -> Result<Vec<State>, EngineError> {
        let mut states = Vec::new();
        for listed in serving(&self.listed().await?, project, need) {
            let inspected = self
                .docker
                .inspect_container(listed.id(), None::<InspectContainerOptions>)
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

    /// Returns the first container of each service that is needed, by service.
    pub(super) async fn containers_of(
        &self,
        project: &str,
        needs: &[Need],
    ) -> Result<BTreeMap<String, String>, EngineError> {
        let all = self.listed().await?;
        let first = |need: &Need| {
            Some((
                need.service.clone(),
                serving(&all, project, need).first()?.id().to_owned(),
            ))
        };
        Ok(needs.iter().filter_map(first).collect())
    }

    async fn listed(&self) -> Result<Vec<Listed>, EngineError> {
        let options = ListContainersOptionsBuilder::default().all(true).build();
        let all = self.docker.list_containers(Some(options)).await?;
        Ok(all.into_iter().map(Listed::from).collect())
    }
}

/// Returns the containers of a service: those with its labels, or else those that hands made under its names. One that is set
/// aside is none of them.
fn serving<'a>(all: &'a [Listed], project: &str, need: &Need) -> Vec<&'a Listed> {
    let labelled: Vec<&Listed> = all
        .iter()
        .filter(|listed| listed.serves(project, &need.service))
        .collect();
    match labelled.is_empty() {
        true => {
            let is_named = |listed: &&Listed| listed.names().iter().any(|name| need.names.contains(name));
            all.iter().filter(is_named).collect()
        }
        false => labelled,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};

    use bollard::models::ContainerSummary;

    use super::*;
    use crate::model::container::{LABEL_PROJECT, LABEL_SERVICE};

    fn listed(name: &str, service: Option<&str>) -> Listed {
        let labels = service.map(|service| {
            HashMap::from([
                (LABEL_PROJECT.to_owned(), "join".to_owned()),
                (LABEL_SERVICE.to_owned(), service.to_owned()),
            ])
        });
        Listed::from(ContainerSummary {
            id: Some(format!("id of {name}")),
            names: Some(vec![format!("/{name}")]),
            labels,
            ..ContainerSummary::default()
        })
    }

    #[test]
    fn a_container_without_labels_counts_where_none_has_them() {
        let need = Need {
            service: "db".to_owned(),
            condition: Condition::Started,
            is_required: true,
            names: BTreeSet::from(["database".to_owned(), "join_db_1".to_owned()]),
        };
        let ids = |all: &[Listed]| -> Vec<String> {
            let found = serving(all, "join", &need);
            found.into_iter().map(|listed| listed.id().to_owned()).collect()
        };
        let (by_hand, other) = (|| listed("database", None), || listed("data", None));
        assert_eq!(ids(&[other(), by_hand()]), ["id of database"]);
        assert_eq!(
            ids(&[by_hand(), listed("join-db-1", Some("db"))]),
            ["id of join-db-1"]
        );
        assert_eq!(ids(&[other(), listed("join-web-1", Some("web"))]), [""; 0]);
    }
}
