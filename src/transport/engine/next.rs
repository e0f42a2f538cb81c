//! What comes next when a container is made to be as it must be: decided from what is there alone, so that a run that broke off
//! anywhere can go on. Pure.
//!
//! The container that is replaced is set aside under another name, and goes only when its successor has proved itself.

use std::collections::BTreeMap;

use crate::model::container::{Condition, ContainerSpec, LABEL_DIGEST, LABEL_RUN};
use crate::model::container_part::{MountFrom, NetworkMode, Restart};
use crate::model::inspected::{Effect, State};

/// What the name of a container that is set aside ends with.
const ASIDE: &str = ".muster-old";

/// A container as far as the next step depends on it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct There {
    /// The engine's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The id of the image that it runs.
    pub image: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it runs, and how it ended.
    pub state: State,
    /// Its volumes without a name, by path.
    pub anonymous: BTreeMap<String, String>,
}

/// What is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// The container.
    pub spec: &'a ContainerSpec,
    /// The id of the image that it must run.
    pub image: &'a str,
    /// What it takes to get there.
    pub effect: Effect,
    /// The run.
    pub run: &'a str,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// Change in place what can be changed so.
    Update(String),
    /// Start it again.
    Restart(String),
    /// Give it the name under which it waits for its successor.
    SetAside(String),
    /// Remove what a run that broke off left half made.
    Drop(String),
    /// Make it.
    Create,
    /// Stop the one that is set aside: the two may not run beside each other.
    StopAside(String),
    /// Start it.
    Start(String),
    /// See whether it proves itself; then `RemoveAside`, where there is one.
    Prove(String),
}

/// What is there of one container.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Scene {
    /// The one that has the name, or a former one.
    pub current: Option<There>,
    /// The one that is set aside.
    pub aside: Option<There>,
}

/// Returns the name under which a container waits for its successor.
pub(super) fn aside(name: &str) -> String {
    format!("{name}{ASIDE}")
}

impl Wanted<'_> {
    /// Says whether a container was made for this, by this run.
    pub(super) fn is_made(&self, there: &There) -> bool {
        let label = |name: &str| there.labels.get(name).map(String::as_str);
        label(LABEL_RUN) == Some(self.run)
            && label(LABEL_DIGEST) == Some(self.spec.digest().to_string().as_str())
            && there.image == self.image
            && there.name == self.spec.name
    }

    /// Returns the next step.
    pub(super) fn next(&self, scene: &Scene) -> Next {
        let Some(current) = &scene.current else {
            return Next::Create;
        };
        let id = current.id.clone();
        if self.is_made(current) {
            return match &scene.aside {
                Some(aside)
                    if aside.state.is_running() && !self.may_run_beside() && !current.state.is_running() =>
                {
                    Next::StopAside(aside.id.clone())
                }
                Some(_) | None if !current.state.is_up() => Next::Start(id),
                Some(_) | None => Next::Prove(id),
            };
        }
        match (self.effect, &scene.aside) {
            (Effect::Recreate, None) => Next::SetAside(id),
            // Set aside by a run that broke off: what it had made since is not what is wanted now.
            (Effect::Recreate, Some(_)) => Next::Drop(id),
            (Effect::Restart, _) => Next::Restart(id),
            (Effect::Update, _) => Next::Update(id),
        }
    }

    /// Says whether the old one may go on while the new one starts. Two that write to one place may not, nor two that want one
    /// port, one address or one device: a validator that runs twice signs twice.
    pub(super) fn may_run_beside(&self) -> bool {
        let settings = &self.spec.settings;
        let has_own_network = matches!(settings.network_mode, NetworkMode::Networks | NetworkMode::None);
        let is_fixed = settings
            .networks
            .values()
            .any(|endpoint| endpoint.ipv4.is_some() || endpoint.ipv6.is_some());
        let writes = settings.mounts.values().any(|mount| match mount.from {
            MountFrom::Bind(_) | MountFrom::Volume(_) => !mount.read_only,
            MountFrom::Anonymous => true,
            MountFrom::Tmpfs { .. } => false,
        });
        let shares = [&settings.ipc, &settings.pid, &settings.uts]
            .iter()
            .any(|shared| shared.is_some());
        let takes =
            !settings.devices.is_empty() || !settings.device_requests.is_empty() || settings.privileged;
        has_own_network && !is_fixed && settings.ports.is_empty() && !writes && !shares && !takes
    }
}

/// What a look at a container that was started says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// It is as it must be.
    Good,
    /// It may still become so.
    Waits,
    /// It will not.
    Failed,
}

/// Judges a container that was started so many seconds ago, with so many restarts by then.
pub(super) fn proof(restart: Restart, state: &State, secs: u64, restarts_before: u64) -> Proof {
    let may_end = matches!(restart, Restart::No | Restart::OnFailure(_));
    match (state.status.as_str(), state.health.as_deref()) {
        ("exited", _) if state.exit_code == 0 && may_end => Proof::Good,
        ("exited" | "dead" | "removing", _) => Proof::Failed,
        ("running", Some("healthy")) => Proof::Good,
        ("running", Some("unhealthy")) => Proof::Failed,
        ("running", Some("starting")) => Proof::Waits,
        // Without a health check it must stay up for a while.
        ("running", _) if state.restarts > restarts_before => Proof::Failed,
        ("running", _) if secs >= SETTLED_SECS => Proof::Good,
        ("restarting", _) if state.restarts > restarts_before + 1 => Proof::Failed,
        _ => Proof::Waits,
    }
}

/// Judges what a container needs of a service, by how that service's containers stand.
pub(super) fn need(condition: Condition, states: &[State]) -> Proof {
    let one = |state: &State| match (condition, state.status.as_str(), state.health.as_deref()) {
        (_, "created", _) => Proof::Waits,
        (Condition::Started, "running" | "restarting" | "paused", _) => Proof::Good,
        (Condition::Healthy, "running", Some("healthy")) => Proof::Good,
        (Condition::Healthy, "running", Some("starting")) => Proof::Waits,
        (Condition::Started | Condition::Completed, "exited", _) if state.exit_code == 0 => Proof::Good,
        (Condition::Healthy | Condition::Completed, "restarting", _) => Proof::Waits,
        (Condition::Completed, "running", _) => Proof::Waits,
        _ => Proof::Failed,
    };
    let proofs: Vec<Proof> = states.iter().map(one).collect();
    match proofs.as_slice() {
        [] => Proof::Failed,
        proofs if proofs.contains(&Proof::Failed) => Proof::Failed,
        proofs if proofs.contains(&Proof::Waits) => Proof::Waits,
        _ => Proof::Good,
    }
}

/// How long a container without a health check must stay up, in seconds.
pub(super) const SETTLED_SECS: u64 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::container_part::{Mount, Port, PublishedPort};

    fn spec() -> ContainerSpec {
        ContainerSpec {
            project: "join".to_owned(),
            service: "api".to_owned(),
            number: 1,
            name: "api".to_owned(),
            image: "api:1".to_owned(),
            ..ContainerSpec::default()
        }
    }

    fn there(id: &str, labels: &[(&str, &str)], status: &str) -> There {
        There {
            id: id.to_owned(),
            name: "api".to_owned(),
            image: "sha256:1".to_owned(),
            labels: labels
                .iter()
                .map(|(key, value)| (key.to_string(), value.to_string()))
                .collect(),
            state: State {
                status: status.to_owned(),
                ..State::default()
            },
            anonymous: BTreeMap::new(),
        }
    }

    /// Plays the steps on a pretend engine, from any scene, and returns them.
    fn play(wanted: &Wanted<'_>, mut scene: Scene) -> Vec<Next> {
        let digest = wanted.spec.digest().to_string();
        let mut steps = Vec::new();
        loop {
            let next = wanted.next(&scene);
            assert!(steps.len() < 10, "{steps:?}");
            steps.push(next.clone());
            match next {
                Next::SetAside(_) => scene.aside = scene.current.take(),
                Next::Drop(_) => scene.current = None,
                Next::Create => {
                    let labels = [(LABEL_RUN, wanted.run), (LABEL_DIGEST, digest.as_str())];
                    scene.current = Some(there("new", &labels, "created"));
                }
                Next::StopAside(_) => scene.aside.as_mut().unwrap().state.status = "exited".to_owned(),
                Next::Start(_) => scene.current.as_mut().unwrap().state.status = "running".to_owned(),
                Next::Prove(_) | Next::Update(_) | Next::Restart(_) => return steps,
            }
        }
    }

    #[test]
    fn what_writes_somewhere_never_runs_twice_and_what_does_not_may() {
        fn anew(spec: &ContainerSpec) -> Wanted<'_> {
            Wanted {
                spec,
                image: "sha256:1",
                effect: Effect::Recreate,
                run: "r",
            }
        }
        let mut spec = spec();
        let old = || Scene {
            current: Some(there("old", &[], "running")),
            aside: None,
        };
        let id = |id: &str| id.to_owned();
        assert_eq!(
            play(&anew(&spec), old()),
            [
                Next::SetAside(id("old")),
                Next::Create,
                Next::Start(id("new")),
                Next::Prove(id("new"))
            ]
        );
        let mount = Mount {
            from: MountFrom::Bind("/srv/.inference".to_owned()),
            read_only: false,
            propagation: None,
            makes_host_path: true,
            nocopy: false,
        };
        spec.settings.mounts.insert("/root/.inference".to_owned(), mount);
        let steps = play(&anew(&spec), old());
        assert_eq!(
            steps,
            [
                Next::SetAside(id("old")),
                Next::Create,
                Next::StopAside(id("old")),
                Next::Start(id("new")),
                Next::Prove(id("new"))
            ]
        );
        spec.settings.mounts.clear();
        spec.settings.ports.insert(PublishedPort {
            port: Port {
                number: 80,
                protocol: "tcp".to_owned(),
            },
            host_ip: None,
            host_port: Some("8000".to_owned()),
        });
        assert!(play(&anew(&spec), old()).contains(&Next::StopAside(id("old"))));
    }

    #[test]
    fn a_run_that_broke_off_anywhere_goes_on_to_the_same_end() {
        let spec = spec();
        let wanted = Wanted {
            spec: &spec,
            image: "sha256:1",
            effect: Effect::Recreate,
            run: "r",
        };
        let digest = spec.digest().to_string();
        let made = |status| there("new", &[(LABEL_RUN, "r"), (LABEL_DIGEST, &digest)], status);
        let aside = || Some(there("old", &[], "running"));
        for scene in [
            Scene {
                current: None,
                aside: aside(),
            },
            Scene {
                current: Some(made("created")),
                aside: aside(),
            },
            Scene {
                current: Some(made("running")),
                aside: aside(),
            },
            Scene {
                current: Some(made("running")),
                aside: None,
            },
            Scene {
                current: Some(there("half", &[(LABEL_RUN, "before")], "exited")),
                aside: aside(),
            },
            Scene::default(),
        ] {
            let steps = play(&wanted, scene);
            assert_eq!(steps.last(), Some(&Next::Prove("new".to_owned())), "{steps:?}");
            assert!(
                !steps.contains(&Next::SetAside("old".to_owned())),
                "it is aside already: {steps:?}"
            );
        }
    }

    #[test]
    fn an_equal_label_of_another_run_does_not_stand_for_a_look() {
        let spec = spec();
        let digest = spec.digest().to_string();
        let current = there(
            "old",
            &[(LABEL_RUN, "before"), (LABEL_DIGEST, &digest)],
            "running",
        );
        let scene = Scene {
            current: Some(current),
            aside: None,
        };
        let wanted = |effect| Wanted {
            spec: &spec,
            image: "sha256:1",
            effect,
            run: "r",
        };
        assert_eq!(
            wanted(Effect::Recreate).next(&scene),
            Next::SetAside("old".to_owned())
        );
        assert_eq!(
            wanted(Effect::Restart).next(&scene),
            Next::Restart("old".to_owned())
        );
        assert_eq!(
            wanted(Effect::Update).next(&scene),
            Next::Update("old".to_owned())
        );
        // Its predecessor is still there, and nothing of itself is to be made anew.
        let left = Scene {
            aside: Some(there("before", &[], "exited")),
            ..scene
        };
        assert_eq!(wanted(Effect::Update).next(&left), Next::Update("old".to_owned()));
        assert_eq!(wanted(Effect::Recreate).next(&left), Next::Drop("old".to_owned()));
    }

    #[test]
    fn need_is_met_when_all_containers_of_the_service_meet_it() {
        let state = |status: &str, health: Option<&str>, exit_code| State {
            status: status.to_owned(),
            health: health.map(str::to_owned),
            exit_code,
            ..State::default()
        };
        let (up, well, ill) = (
            state("running", None, 0),
            state("running", Some("healthy"), 0),
            state("running", Some("unhealthy"), 0),
        );
        let (done, broken) = (state("exited", None, 0), state("exited", None, 1));
        let of = |condition, states: &[&State]| {
            need(condition, &states.iter().copied().cloned().collect::<Vec<_>>())
        };
        assert_eq!(of(Condition::Started, &[&up]), Proof::Good);
        assert_eq!(of(Condition::Started, &[&up, &broken]), Proof::Failed);
        assert_eq!(of(Condition::Started, &[]), Proof::Failed);
        assert_eq!(of(Condition::Healthy, &[&well, &well]), Proof::Good);
        assert_eq!(of(Condition::Healthy, &[&well, &ill]), Proof::Failed);
        assert_eq!(
            of(Condition::Healthy, &[&state("running", Some("starting"), 0)]),
            Proof::Waits
        );
        assert_eq!(of(Condition::Healthy, &[&up]), Proof::Failed);
        assert_eq!(of(Condition::Completed, &[&up]), Proof::Waits);
        assert_eq!(of(Condition::Completed, &[&done]), Proof::Good);
        assert_eq!(of(Condition::Completed, &[&broken]), Proof::Failed);
    }

    #[test]
    fn what_has_a_health_check_is_good_only_when_healthy_and_what_has_none_when_it_stays_up() {
        let state = |status: &str, health: Option<&str>, exit_code, restarts| State {
            status: status.to_owned(),
            health: health.map(str::to_owned),
            exit_code,
            restarts,
            ..State::default()
        };
        let judge = |state: &State, secs| proof(Restart::Always, state, secs, 0);
        assert_eq!(judge(&state("running", Some("starting"), 0, 0), 99), Proof::Waits);
        assert_eq!(judge(&state("running", Some("healthy"), 0, 0), 0), Proof::Good);
        assert_eq!(
            judge(&state("running", Some("unhealthy"), 0, 0), 0),
            Proof::Failed
        );
        assert_eq!(judge(&state("running", None, 0, 0), 1), Proof::Waits);
        assert_eq!(judge(&state("running", None, 0, 0), SETTLED_SECS), Proof::Good);
        assert_eq!(judge(&state("running", None, 0, 1), SETTLED_SECS), Proof::Failed);
        assert_eq!(judge(&state("exited", None, 0, 0), 1), Proof::Failed);
        assert_eq!(
            proof(Restart::No, &state("exited", None, 0, 0), 0, 0),
            Proof::Good
        );
        assert_eq!(
            proof(Restart::No, &state("exited", None, 1, 0), 0, 0),
            Proof::Failed
        );
    }
}
