//! Containers of others: those that hold a GPU, or see a folder in which an identity lies. They are left alone, and named.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::container::Settings;
use crate::model::container_part::{Mount, MountFrom};
use crate::model::engine::EngineProbe;
use crate::model::id::ResourceKey;
use crate::model::inspected::Other;
use crate::model::manifest::Manifest;
use crate::model::observation::{Answer, Observed};
use crate::model::op::Probe;

use super::container::Container;
use super::desired::DesiredHost;
use super::{Kind, Spec, engine, path};

/// Returns the key under which a host is asked for them. It is no resource of any kind.
pub fn key() -> ResourceKey {
    ResourceKey::new("engine", "others")
}

/// Returns the question, for a host that is to have containers.
pub fn probe(desired: &DesiredHost) -> Option<Probe> {
    let is_container = |spec: &Spec| matches!(spec, Spec::Container(_) | Spec::ContainerRun(_));
    let has_containers = desired.entries.values().any(|entry| is_container(&entry.spec));
    has_containers.then_some(Probe::Engine(EngineProbe::Others))
}

/// Returns a clause for each container of others that holds what the host's own want, or what nobody else should see.
pub fn findings(
    desired: &DesiredHost,
    manifest: Option<&Manifest>,
    answers: &BTreeMap<ResourceKey, Vec<Answer>>,
) -> Vec<String> {
    let said = answers.get(&key()).and_then(|answers| answers.first());
    let Some(Observed::Present(others)) = said.map(engine::read::<Vec<Other>>) else {
        return Vec::new();
    };
    let specs = || desired.entries.values().map(|entry| &entry.spec);
    let containers: Vec<&Container> = specs()
        .filter_map(|spec| match spec {
            Spec::Container(container) => Some(container),
            _ => None,
        })
        .collect();
    let is_owned = |other: &Other| {
        let key = ResourceKey::new(Container::NAME, &other.name);
        let is_run = specs().any(|spec| matches!(spec, Spec::ContainerRun(run) if run.name == other.name));
        is_run || manifest.is_some_and(|manifest| manifest.owned.contains_key(&key))
    };
    let is_ours = |other: &Other| is_owned(other) || containers.iter().any(|container| is(container, other));
    let wants = containers
        .iter()
        .filter(|container| gpu(&container.spec.settings).is_some());
    let wants: Vec<String> = wants
        .map(|container| format!("container[{}]", container.spec.name))
        .collect();
    let identities: BTreeSet<&str> = specs()
        .filter_map(|spec| match spec {
            Spec::Directory(directory) if directory.identity => Some(directory.path.as_str()),
            _ => None,
        })
        .collect();
    let foreign = others.iter().filter(|other| !is_ours(other));
    foreign
        .flat_map(|other| tell(other, &wants, &identities))
        .collect()
}

/// Says whether a container is the one that is declared, or that which waits for its successor.
fn is(container: &Container, other: &Other) -> bool {
    let spec = &container.spec;
    let is_named = |name: &str| {
        let rest = other.name.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest == ".muster-old")
    };
    let serves =
        other.project.as_ref() == Some(&spec.project) && other.service.as_ref() == Some(&spec.service);
    serves || is_named(&spec.name) || spec.former_names.contains(&other.name)
}

fn tell(other: &Other, wants: &[String], identities: &BTreeSet<&str>) -> Vec<String> {
    let name = &other.name;
    let held = gpu(&other.settings).map(|gpu| match wants {
        [] => format!("container `{name}` is not muster's and holds a GPU ({gpu})"),
        wants => format!(
            "container `{name}` is not muster's and holds a GPU ({gpu}), which {} is to have",
            wants.join(", ")
        ),
    });
    let seen = seen(&other.settings, identities);
    let seen = seen.into_iter().map(|path| {
        format!("container `{name}` is not muster's and mounts `{path}`, where an identity lies")
    });
    held.into_iter().chain(seen).collect()
}

/// Says how a container holds a GPU, if it does.
fn gpu(settings: &Settings) -> Option<String> {
    let asks = settings.device_requests.iter().find(|request| {
        let is_able = request.capabilities.iter().any(|all| all.contains("gpu"));
        is_able || request.driver == "nvidia"
    });
    let device = settings
        .devices
        .values()
        .find(|device| device.host.starts_with("/dev/nvidia"));
    let runtime = settings.runtime.as_ref().filter(|runtime| *runtime == "nvidia");
    asks.map(ToString::to_string)
        .or(device.map(|device| device.host.clone()))
        .or(runtime.map(|runtime| format!("runtime {runtime}")))
}

/// Returns the folders with identities that a container sees. Who may only read what lies above one, such as an exporter of the
/// whole host's figures, is not meant.
fn seen(settings: &Settings, identities: &BTreeSet<&str>) -> BTreeSet<String> {
    let is_below = |path: &str, folder: &str| {
        let rest = path.strip_prefix(folder.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let of = |mount: &Mount| -> BTreeSet<String> {
        let MountFrom::Bind(source) = &mount.from else {
            return BTreeSet::new();
        };
        let sees =
            |identity: &&&str| is_below(source, identity) || (!mount.read_only && is_below(identity, source));
        let mut seen: BTreeSet<String> = identities.iter().filter(sees).map(ToString::to_string).collect();
        if seen.is_empty() && path::identity(source).is_some() {
            seen.insert(source.clone());
        }
        seen
    };
    settings.mounts.values().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::resource::desired::Entry;

    fn entry(kind: &str, spec: Value) -> (ResourceKey, Entry) {
        let spec = Spec::decode(kind, &spec).expect("a spec");
        let entry = Entry {
            spec,
            needs: BTreeSet::new(),
            restart_on: BTreeSet::new(),
            loses_on: BTreeSet::new(),
            protect: false,
            delete: false,
            ignore: BTreeSet::new(),
            gates: Vec::new(),
            modules: BTreeSet::new(),
            origins: Vec::new(),
        };
        (entry.spec.key(), entry)
    }

    fn found(others: Value) -> Vec<String> {
        let gpus = json!([{ "driver": "nvidia", "count": -1, "capabilities": [["gpu"]] }]);
        let spec = json!({ "project": "join", "service": "ml", "number": 1, "name": "join-ml-1", "image": "ml:1", "settings": { "device_requests": gpus } });
        let desired = DesiredHost {
            entries: BTreeMap::from([
                entry("container", json!({ "spec": spec, "within_secs": 30 })),
                entry("directory", json!({ "path": "/srv/join/keys", "identity": true })),
            ]),
            ..DesiredHost::default()
        };
        assert!(probe(&desired).is_some());
        let answer = Answer::Text {
            output: others.to_string(),
            status: 0,
        };
        findings(&desired, None, &BTreeMap::from([(key(), vec![answer])]))
    }

    fn bind(source: &str, read_only: bool) -> Value {
        json!({ "mounts": { "/x": { "from": { "bind": source }, "read_only": read_only } } })
    }

    #[test]
    fn who_holds_a_gpu_in_whatever_way_is_named_with_those_that_want_one() {
        for settings in [
            json!({ "device_requests": [{ "count": 1, "capabilities": [["gpu"]] }] }),
            json!({ "devices": { "/dev/nvidia0": { "host": "/dev/nvidia0", "permissions": "rwm" } } }),
            json!({ "runtime": "nvidia" }),
        ] {
            let said = found(json!([{ "name": "old", "settings": settings }]));
            assert_eq!(said.len(), 1, "{settings}");
            assert!(
                said[0].contains("`old`") && said[0].contains("container[join-ml-1]"),
                "{said:?}"
            );
        }
        assert_eq!(
            found(json!([{ "name": "old", "settings": {} }])),
            Vec::<String>::new()
        );
    }

    #[test]
    fn who_sees_an_identity_is_named_and_who_only_reads_the_whole_host_is_not() {
        let count = |settings: Value| found(json!([{ "name": "old", "settings": settings }])).len();
        assert_eq!(count(bind("/srv/join/keys", true)), 1);
        assert_eq!(count(bind("/srv/join/keys/one", true)), 1);
        assert_eq!(count(bind("/srv", false)), 1);
        assert_eq!(count(bind("/", true)), 0);
        assert_eq!(count(bind("/srv/join/keyserver", false)), 0);
        assert_eq!(
            count(bind("/home/op/.tmkms", true)),
            1,
            "muster knows it by its name"
        );
    }

    #[test]
    fn our_own_are_never_named() {
        let settings = json!({ "runtime": "nvidia" });
        for other in [
            json!({ "name": "join-ml-1", "settings": settings }),
            json!({ "name": "join-ml-1.muster-old", "settings": settings }),
            json!({ "name": "x", "project": "join", "service": "ml", "settings": settings }),
        ] {
            assert_eq!(found(json!([other.clone()])), Vec::<String>::new(), "{other}");
        }
        assert_eq!(found(Value::Null), Vec::<String>::new());
    }
}
