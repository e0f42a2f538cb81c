//! Fifteen projects, each made by muster and by Debian's docker-compose on the same engine: what the engine says of their containers
//! is equal, field by field, but for labels.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::fleet::{Fleet, Project};
use crate::old_tool::Socket;

/// What lies beside each project's file, the same for all of them.
const BESIDE: [(&str, &str); 6] = [
    (
        ".env",
        "FROM_DOTENV=dotenv\nSEEDS=http://node2.example.org:26657\n",
    ),
    ("one.env", "ONE=1\nTWICE=one\n"),
    ("two.env", "TWO='2 and 2'\nTWICE=two\n"),
    ("page", "a page\n"),
    ("password.txt", "not a secret\n"),
    ("token.txt", "nor this\n"),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/live_engine/projects")
}

fn projects() -> BTreeMap<String, String> {
    let files = std::fs::read_dir(folder()).expect("the projects are there");
    let read = |path: PathBuf| {
        let name = path
            .file_stem()
            .expect("it has a name")
            .to_string_lossy()
            .into_owned();
        (name, std::fs::read_to_string(path).expect("it is readable"))
    };
    files
        .map(|file| read(file.expect("it is readable").path()))
        .collect()
}

/// Returns what the engine says of all containers, leaf by leaf and by name, without what no two containers have in common.
fn inspected(fleet: &Fleet, root: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut said = fleet
        .sh("h1", "docker inspect $(docker ps -aq --no-trunc)")
        .replace(root, "/srv/");
    let containers: Vec<Value> = serde_json::from_str(&said).expect("an engine says JSON");
    let ids: Vec<(String, String)> = containers
        .iter()
        .map(|one| {
            (
                text(&one["Id"]),
                text(&one["Name"]).trim_start_matches('/').replace('_', "-"),
            )
        })
        .collect();
    for (id, name) in &ids {
        said = said.replace(id, name).replace(&id[..12], name);
    }
    let mut containers: Vec<Value> = serde_json::from_str(&said).expect("it still is JSON");
    let mut all = BTreeMap::new();
    for (container, (_, name)) in containers.iter_mut().zip(ids) {
        forget_its_own(container, &name);
        spell_alike(container);
        let mut fields = BTreeMap::new();
        flatten("", container, &mut fields);
        all.insert(name, fields);
    }
    all
}

fn text(value: &Value) -> String {
    value.as_str().expect("it is a text").to_owned()
}

/// Takes away what is another for every container that is made: ids, times, labels, and addresses that nobody asked for.
fn forget_its_own(container: &mut Value, name: &str) {
    for own in [
        "/Created",
        "/Name",
        "/LogPath",
        "/Config/Labels",
        "/GraphDriver",
        "/State/Pid",
        "/State/StartedAt",
        "/State/FinishedAt",
        // How far a check has come, and one that runs just now.
        "/State/Health",
        "/ExecIDs",
        "/NetworkSettings/SandboxID",
        "/NetworkSettings/SandboxKey",
    ] {
        forget(container, own);
    }
    let settings = &mut container["NetworkSettings"];
    for own in ["EndpointID", "Gateway", "IPAddress", "IPPrefixLen", "MacAddress"] {
        forget(settings, &format!("/{own}"));
    }
    // The engine picks a port where none is asked for.
    forget(settings, "/Ports/99~1tcp/0/HostPort");
    for network in settings["Networks"]
        .as_object_mut()
        .expect("they are a map")
        .values_mut()
    {
        for own in ["/NetworkID", "/EndpointID", "/MacAddress"] {
            forget(network, own);
        }
        if network["IPAMConfig"]["IPv4Address"].is_null() {
            for own in ["/Gateway", "/IPAddress", "/IPPrefixLen"] {
                forget(network, own);
            }
        }
        // The engine adds the short id, which became the name above.
        if let Some(aliases) = network["Aliases"].as_array_mut() {
            aliases.sort_by_key(Value::to_string);
            aliases.dedup();
            aliases.retain(|alias| alias != name);
        }
    }
    // Volumes that nobody gave a name.
    for mount in container["Mounts"].as_array_mut().expect("they are a list") {
        let is_nameless = mount["Name"].as_str().is_some_and(|name| name.len() == 64);
        if is_nameless {
            forget(mount, "/Name");
            forget(mount, "/Source");
        }
    }
}

fn forget(value: &mut Value, path: &str) {
    if let Some(found) = value.pointer_mut(path) {
        found.take();
    }
}

/// Writes alike what the two tools ask for in different words and the engine does alike.
fn spell_alike(container: &mut Value) {
    let host = &mut container["HostConfig"];
    // No policy is the policy "no".
    if host["RestartPolicy"]["Name"] == "" {
        host["RestartPolicy"]["Name"] = "no".into();
    }
    for option in host["SecurityOpt"].as_array_mut().into_iter().flatten() {
        *option = text(option).trim_end_matches(":true").into();
    }
    // Ours is in bytes.
    for options in host["Tmpfs"]
        .as_object_mut()
        .into_iter()
        .flat_map(|map| map.values_mut())
    {
        *options = text(options).replace("size=1m,", "size=1048576,").into();
    }
    // The old tool asks for a volume in short form among the binds. `/Mounts` says what came of either.
    for (list, named) in [("Binds", None), ("Mounts", Some("volume"))] {
        let is_volume = |item: &Value| match named {
            Some(kind) => item["Type"] == kind && item["VolumeOptions"].is_null(),
            None => !text(item).starts_with('/'),
        };
        if let Some(items) = host[list].as_array_mut() {
            items.retain(|item| !is_volume(item));
        }
    }
    for mount in container["Mounts"].as_array_mut().into_iter().flatten() {
        if mount["Type"] == "volume" {
            forget(mount, "/Mode");
        }
    }
}

/// Takes a value apart to its leaves. Lists are sorted where the order says nothing. What is empty is as what is absent: the tools spell
/// that differently.
fn flatten(path: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Null => {}
        Value::Object(map) => map
            .iter()
            .for_each(|(key, value)| flatten(&format!("{path}/{key}"), value, into)),
        Value::Array(list) => {
            let mut list = list.clone();
            if !["/Config/Cmd", "/Config/Entrypoint", "/Args", "/HostConfig/Dns"].contains(&path) {
                list.sort_by_key(|item| match item.get("Destination") {
                    Some(path) => path.to_string(),
                    None => item.to_string(),
                });
            }
            let items = list.iter().enumerate();
            items.for_each(|(number, value)| flatten(&format!("{path}/{number}"), value, into));
        }
        leaf => {
            into.insert(path.to_owned(), leaf.to_string());
        }
    }
}

fn module(projects: &BTreeMap<String, String>) -> String {
    let mut module = String::new();
    for name in projects.keys() {
        let _ = writeln!(
            module,
            "[[compose]]\nname = \"{name}\"\nfolder = \"/srv/{name}\"\nfiles = [\"{name}.yml\"]\nenv = '''\n{}'''",
            BESIDE[0].1
        );
        for (file, content) in &BESIDE[1..] {
            let _ = writeln!(
                module,
                "[[file]]\npath = \"/srv/{name}/{file}\"\ncontent = '''\n{content}'''"
            );
        }
    }
    module
}

#[test]
fn containers_are_equal_to_those_of_the_old_tool() {
    let projects = projects();
    assert_eq!(projects.len(), 15);
    let fleet = Fleet::up_with_engines(1);
    fleet.sh("h1", "mkdir -p /srv/page");
    let project = Project::new(&fleet, &["h1"]);
    project.module(&module(&projects));
    for (name, text) in &projects {
        project.write(&format!("modules/app/templates/{name}.yml"), text);
    }
    project.apply();
    let ours = inspected(&fleet, "/srv/");

    let folder = tempfile::tempdir().expect("a folder");
    let root = format!("{}/", folder.path().display());
    fleet.sh(
        "h1",
        &format!("docker rm -f $(docker ps -aq) && docker network prune -f && docker volume prune -f && mkdir -p {root} && cp -a /srv/. {root}"),
    );
    let socket = Socket::open(&fleet);
    for (name, text) in &projects {
        let own = folder.path().join(name);
        std::fs::create_dir(&own).expect("there is room");
        // What lies outside of the projects' folders is where it was.
        let text = text.replace("/srv/page", &format!("{root}page"));
        std::fs::write(own.join("docker-compose.yml"), text).expect("there is room");
        for (file, content) in BESIDE {
            std::fs::write(own.join(file), content).expect("there is room");
        }
        socket.old_tool(&own, &["-p", name, "up", "-d"]);
    }
    let theirs = inspected(&fleet, &root);

    let names = |all: &BTreeMap<String, BTreeMap<String, String>>| all.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&ours), names(&theirs));
    let mut differences = String::new();
    for (name, ours) in &ours {
        let theirs = &theirs[name];
        let mut fields: Vec<&String> = ours.keys().chain(theirs.keys()).collect();
        fields.sort();
        fields.dedup();
        for field in fields {
            let (our, their) = (ours.get(field), theirs.get(field));
            if our != their {
                let _ = writeln!(
                    differences,
                    "{name} {field}: ours {our:?}, the old tool's {their:?}"
                );
            }
        }
    }
    assert!(differences.is_empty(), "\n{differences}");
}
