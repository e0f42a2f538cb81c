//! What comes next when a container is made to be as it must be: decided from what is there alone, so that a run that broke off
//! anywhere can go on. Pure.
//!
//! The container that is replaced is set aside under another name, and goes only when its successor has proved itself.

use std::collections::BTreeMap;

use crate::model::container::{ContainerSpec, LABEL_DIGEST, LABEL_PROJECT, LABEL_RUN};
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
    /// When the engine starts it again.
    pub restart: Restart,
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
    /// See which of the two is worth keeping: this one if it proves itself, or else the one that is set aside. The other goes.
    Choose(String),
    /// Leave it: it has the name while ours is set aside, and somebody else made it.
    Foreign(String),
    /// Make it.
    Create,
    /// Stop the one that is set aside, for good: the two may not run beside each other.
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

impl There {
    /// Says whether it was made as a part of a project.
    pub(super) fn is_of_a_project(&self) -> bool {
        [LABEL_RUN, LABEL_PROJECT]
            .iter()
            .any(|label| self.labels.contains_key(*label))
    }

    /// Says whether it runs, or may by itself: an engine that is restarted starts even what was stopped, under some policies.
    fn may_run(&self) -> bool {
        self.state.is_up() || self.restart.outlasts_a_stop()
    }
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
        let is_made = self.is_made(current);
        if let Some(aside) = &scene.aside {
            // What starts it without a look at what it was made from may not be done to somebody's.
            if !current.labels.contains_key(LABEL_RUN) && self.effect != Effect::Update {
                return Next::Foreign(current.name.clone());
            }
            let runs = is_made || self.effect == Effect::Restart || current.state.is_up();
            if runs && !self.may_run_beside() && aside.may_run() {
                return Next::StopAside(aside.id.clone());
            }
        }
        if is_made {
            return match current.state.is_up() {
                true => Next::Prove(id),
                false => Next::Start(id),
            };
        }
        match (self.effect, &scene.aside) {
            (Effect::Recreate, None) => Next::SetAside(id),
            // Set aside by a run that broke off: what was made since is not what is wanted now, but may have served since.
            (Effect::Recreate, Some(_)) if current.state.status == "created" => Next::Drop(id),
            (Effect::Recreate, Some(_)) => Next::Choose(id),
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
            ..There::default()
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
                Next::Choose(_) => match scene.current.as_ref().unwrap().state.is_running() {
                    true => scene.aside = None,
                    false => scene.current = None,
                },
                Next::Create => {
                    let labels = [(LABEL_RUN, wanted.run), (LABEL_DIGEST, digest.as_str())];
                    scene.current = Some(there("new", &labels, "created"));
                }
                Next::StopAside(_) => {
                    let aside = scene.aside.as_mut().unwrap();
                    aside.state.status = "exited".to_owned();
                    aside.restart = Restart::UnlessStopped;
                }
                Next::Start(_) => scene.current.as_mut().unwrap().state.status = "running".to_owned(),
                Next::Foreign(_) | Next::Prove(_) | Next::Update(_) | Next::Restart(_) => return steps,
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
        assert_eq!(
            wanted(Effect::Recreate).next(&left),
            Next::Choose("old".to_owned())
        );
    }

    #[test]
    fn what_is_set_aside_never_runs_beside_what_may_be_its_twin() {
        let mut spec = spec();
        let port = Port {
            number: 80,
            protocol: "tcp".to_owned(),
        };
        spec.settings.ports.insert(PublishedPort {
            port,
            host_ip: None,
            host_port: Some("8000".to_owned()),
        });
        let digest = spec.digest().to_string();
        let wanted = |effect| Wanted {
            spec: &spec,
            image: "sha256:1",
            effect,
            run: "r",
        };
        let scene = |run: &str, status: &str, aside: &str| Scene {
            current: Some(there("new", &[(LABEL_RUN, run), (LABEL_DIGEST, &digest)], status)),
            aside: Some(there("old", &[], aside)),
        };
        let stop = || Next::StopAside("old".to_owned());
        for aside in ["running", "restarting", "paused"] {
            // What this run made, whether it was started or not.
            for status in ["created", "running"] {
                let next = wanted(Effect::Recreate).next(&scene("r", status, aside));
                assert_eq!(next, stop(), "{aside} beside {status}");
            }
            // What a run before it made and did not come to start, which is as it must be but for that.
            assert_eq!(
                wanted(Effect::Restart).next(&scene("before", "created", aside)),
                stop(),
                "{aside}"
            );
            for effect in [Effect::Update, Effect::Recreate] {
                assert_eq!(
                    wanted(effect).next(&scene("before", "running", aside)),
                    stop(),
                    "{aside}"
                );
            }
        }
        // A host that is restarted starts it again.
        let mut left = scene("r", "created", "exited");
        for (restart, next) in [
            (Restart::Always, stop()),
            (Restart::OnFailure(3), stop()),
            (Restart::UnlessStopped, Next::Start("new".to_owned())),
            (Restart::No, Next::Start("new".to_owned())),
        ] {
            left.aside.as_mut().unwrap().restart = restart;
            assert_eq!(wanted(Effect::Recreate).next(&left), next, "{restart}");
        }
    }

    #[test]
    fn what_has_served_since_a_run_broke_off_is_kept_before_what_was_set_aside() {
        let spec = spec();
        let wanted = |effect| Wanted {
            spec: &spec,
            image: "sha256:1",
            effect,
            run: "r",
        };
        let scene = |labels: &[(&str, &str)], status: &str| Scene {
            current: Some(there("since", labels, status)),
            aside: Some(there("old", &[], "exited")),
        };
        let id = |id: &str| id.to_owned();
        let ours = [(LABEL_RUN, "before")];
        // It is well: what it had replaced goes, and it is the predecessor.
        assert_eq!(
            play(&wanted(Effect::Recreate), scene(&ours, "running"))[..2],
            [Next::Choose(id("since")), Next::SetAside(id("since"))]
        );
        // It is not, or never ran: what it would have replaced stays.
        assert_eq!(
            play(&wanted(Effect::Recreate), scene(&ours, "exited"))[..2],
            [Next::Choose(id("since")), Next::Create]
        );
        assert_eq!(
            play(&wanted(Effect::Recreate), scene(&ours, "created"))[..2],
            [Next::Drop(id("since")), Next::Create]
        );
        // Hands made it: it is theirs.
        for status in ["running", "created", "exited"] {
            for effect in [Effect::Recreate, Effect::Restart] {
                assert_eq!(wanted(effect).next(&scene(&[], status)), Next::Foreign(id("api")));
            }
        }
    }
}
