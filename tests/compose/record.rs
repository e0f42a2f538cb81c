//! Recording: the old tool makes a case's container on a real engine, and what the engine says of it is kept.
//!
//! Only with `MUSTER_RECORD=all`, `MUSTER_RECORD=missing` (which leaves the images for the next time) or names of cases. Needs root, an engine and Debian's `docker-compose`; leaves nothing behind.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::case::{self, Case, FOLDER, filled, json};

/// The name of the project, which is that of its folder.
const PROJECT: &str = "mustercase";
/// The image of which nothing is asked but that it runs, and one that says all that an image can say.
const IMAGES: [(&str, &[&str]); 3] = [
    ("muster-case/plain:1", &["CMD [\"sleep\", \"9999\"]"]),
    ("muster-case/plain:2", &["CMD [\"sleep\", \"8888\"]"]),
    (
        "muster-case/rich:1",
        &[
            "CMD [\"9999\"]",
            "ENTRYPOINT [\"/bin/sleep\"]",
            "ENV COLOR=blue SIZE=7",
            "EXPOSE 7000 7001/udp",
            "VOLUME /image-data",
            "USER 65534:65534",
            "WORKDIR /image-home",
            "LABEL org.example.maker=somebody",
            "HEALTHCHECK --interval=7s --retries=2 CMD true",
        ],
    ),
];

#[test]
fn what_an_engine_says_is_recorded_anew() {
    let Some(asked) = std::env::var_os("MUSTER_RECORD") else {
        return;
    };
    let asked = asked.to_string_lossy().into_owned();
    let mut cases = case::all("cases");
    cases.retain(|case| match asked.as_str() {
        "all" => true,
        "missing" => case.section("engine").is_none() || case.name() == "as-it-is",
        names => names.split(',').any(|name| name == case.name()) || case.name() == "as-it-is",
    });
    // The first is the one that all others are patches of.
    cases.sort_by_key(|case| (case.name() != "as-it-is", case.name()));
    make_images();
    let mut base = None;
    let mut wrong = Vec::new();
    for mut case in cases {
        match record(&case) {
            Ok(container) => {
                let base = base.get_or_insert_with(|| container.clone());
                let patch = case::patch_between(base, &container);
                let patch = serde_json::to_string_pretty(&patch).expect("it is JSON");
                case.set("engine", format!("{patch}\n"));
                order(&mut case);
                case.write();
            }
            Err(why) => wrong.push(format!("{}: {why}", case.name())),
        }
    }
    write("base.json", &base.expect("there is a case"));
    write(
        "images.json",
        &Value::Object(IMAGES.map(|(name, _)| image(name)).into_iter().collect()),
    );
    if asked == "all" {
        IMAGES
            .iter()
            .for_each(|(name, _)| drop(docker(&["image", "rm", "--force", name])));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Returns what the engine says of an image, by its id.
fn image(name: &str) -> (String, Value) {
    let told = inspect(&["image", "inspect", name]);
    let of_the_engine = [
        "GraphDriver",
        "RootFS",
        "Metadata",
        "Created",
        "Size",
        "VirtualSize",
        "DockerVersion",
        "ContainerConfig",
        "Container",
    ];
    (
        told["Id"].as_str().expect("it has an id").to_owned(),
        without(told, &of_the_engine),
    )
}

/// Sections stand in the order in which they are read.
fn order(case: &mut Case) {
    let rank = |name: &str| {
        ["was", "now", "engine", "drift", "changes"]
            .iter()
            .position(|known| name == *known || name.starts_with(&format!("{known} over")))
            .map_or(0, |at| at + 1)
    };
    case.sections.sort_by_key(|(name, _)| rank(name));
}

fn write(name: &str, value: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/compose")
        .join(name);
    std::fs::write(
        path,
        serde_json::to_string_pretty(value).expect("it is JSON") + "\n",
    )
    .expect("it can be written");
}

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"))
}

fn docker(arguments: &[&str]) -> Output {
    run("docker", arguments)
}

fn inspect(arguments: &[&str]) -> Value {
    let output = docker(arguments);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    json(&String::from_utf8_lossy(&output.stdout))[0].clone()
}

fn make_images() {
    let folder = tempfile::tempdir().expect("there is room");
    let script = "set -e; cd \"$1\"; mkdir -p bin tmp image-home; cp /bin/busybox bin/; for name in sh sleep true; do ln -s busybox bin/$name; done; tar -cf ../mustercase.tar --mtime=@0 --sort=name --owner=0 --group=0 .";
    let output = run("sh", &["-c", script, "sh", &folder.path().display().to_string()]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let tar = folder
        .path()
        .parent()
        .expect("it has a parent")
        .join("mustercase.tar")
        .display()
        .to_string();
    for (name, changes) in IMAGES {
        // An image that is made again has another id.
        if docker(&["image", "inspect", name]).status.success() {
            continue;
        }
        let mut arguments = vec!["import"];
        changes
            .iter()
            .for_each(|change| arguments.extend(["--change", change]));
        arguments.extend([tar.as_str(), name]);
        let output = docker(&arguments);
        assert!(
            output.status.success(),
            "{name}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    std::fs::remove_file(tar).expect("it was there");
}

/// Makes the container of a case with the old tool, and returns what the engine says.
fn record(case: &Case) -> Result<Value, String> {
    std::fs::create_dir_all(FOLDER).expect("there is room");
    for (path, text) in case.rendered() {
        std::fs::create_dir_all(Path::new(&path).parent().expect("it has a folder")).expect("there is room");
        std::fs::write(path, filled(&text)).expect("there is room");
    }
    std::fs::write(
        format!("{FOLDER}/.env"),
        case.section("env").map(filled).unwrap_or_default(),
    )
    .expect("there is room");
    let mut arguments: Vec<String> = vec!["--project-directory".to_owned(), FOLDER.to_owned()];
    for (name, text) in case.files("was") {
        let path = format!("{FOLDER}/{name}");
        std::fs::write(&path, super::old_tool::for_the_old_tool(&filled(&text))).expect("there is room");
        arguments.extend(["-f".to_owned(), path]);
    }
    for profile in case.profiles() {
        arguments.extend(["--profile".to_owned(), profile]);
    }
    let compose = |more: &[&str]| {
        let all: Vec<&str> = arguments
            .iter()
            .map(String::as_str)
            .chain(more.iter().copied())
            .collect();
        run("docker-compose", &all)
    };
    for name in case.section("networks").unwrap_or_default().lines() {
        docker(&["network", "create", "--subnet", "10.213.7.0/24", name]);
    }
    for name in case.section("volumes").unwrap_or_default().lines() {
        docker(&["volume", "create", name]);
    }
    let up = compose(&["up", "--detach"]);
    let mut container = find("app");
    if container.is_none() {
        // What cannot be started here can still be made.
        compose(&["up", "--no-start"]);
        container = find("app");
    }
    let told = container.map(|container| {
        let peers: Vec<(String, String)> = ids()
            .into_iter()
            .filter(|(service, _)| service != "app")
            .collect();
        settled(container, &peers)
    });
    compose(&["down", "--volumes", "--timeout", "0"]);
    for name in case.section("networks").unwrap_or_default().lines() {
        docker(&["network", "rm", name]);
    }
    for name in case.section("volumes").unwrap_or_default().lines() {
        docker(&["volume", "rm", name]);
    }
    std::fs::remove_dir_all(FOLDER).expect("it was there");
    told.ok_or_else(|| String::from_utf8_lossy(&up.stderr).into_owned())
}

fn ids() -> Vec<(String, String)> {
    let label = format!("label=com.docker.compose.project={PROJECT}");
    let format = "{{.Label \"com.docker.compose.service\"}} {{.ID}}";
    let output = docker(&[
        "ps",
        "--all",
        "--no-trunc",
        "--filter",
        &label,
        "--format",
        format,
    ]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(service, id)| (service.to_owned(), id.to_owned()))
        .collect()
}

fn find(service: &str) -> Option<Value> {
    let (_, id) = ids().into_iter().find(|(name, _)| name == service)?;
    Some(inspect(&["container", "inspect", &id]))
}

fn without(mut value: Value, keys: &[&str]) -> Value {
    let object = value.as_object_mut().expect("it is an object");
    keys.iter().for_each(|key| drop(object.remove(*key)));
    value
}

/// Takes out what differs from run to run: ids, addresses, times and paths of the engine's own.
fn settled(container: Value, peers: &[(String, String)]) -> Value {
    let id = container["Id"].as_str().expect("it has an id").to_owned();
    let mut text = container.to_string();
    let own = "c0".repeat(32);
    for (from, to) in [
        (id.clone(), own.clone()),
        (id[..12].to_owned(), own[..12].to_owned()),
    ] {
        text = text.replace(&from, &to);
    }
    for (at, (_, peer)) in peers.iter().enumerate() {
        text = text
            .replace(peer, &format!("b{at}").repeat(32))
            .replace(&peer[..12], &format!("b{at}").repeat(6));
    }
    let anonymous = regex::Regex::new(r"\b[0-9a-f]{64}\b").expect("it is a pattern");
    let image = container["Image"]
        .as_str()
        .expect("it has an image")
        .trim_start_matches("sha256:")
        .to_owned();
    let kept = |found: &regex::Captures<'_>| {
        let found = &found[0];
        let is_kept = found == image || found == own || found.starts_with("b0b0");
        if is_kept { found.to_owned() } else { "a".repeat(64) }
    };
    let mut value = json(&anonymous.replace_all(&text, kept));
    value = without(
        value,
        &[
            "ResolvConfPath",
            "HostnamePath",
            "HostsPath",
            "LogPath",
            "GraphDriver",
            "Path",
            "Args",
            "Created",
            "AppArmorProfile",
            "ProcessLabel",
            "MountLabel",
            "ExecIDs",
        ],
    );
    let networks = value["NetworkSettings"]["Networks"].clone();
    value["NetworkSettings"] = serde_json::json!({ "Networks": networks });
    for endpoint in value["NetworkSettings"]["Networks"]
        .as_object_mut()
        .expect("networks")
        .values_mut()
    {
        *endpoint = without(
            endpoint.take(),
            &[
                "NetworkID",
                "EndpointID",
                "Gateway",
                "IPAddress",
                "IPPrefixLen",
                "MacAddress",
                "IPv6Gateway",
                "GlobalIPv6Address",
                "GlobalIPv6PrefixLen",
            ],
        );
    }
    let labels = value["Config"]["Labels"].as_object_mut().expect("labels");
    labels.remove("com.docker.compose.config-hash");
    value["State"] = serde_json::json!({ "Status": "running", "Running": true, "ExitCode": 0, "OOMKilled": false, "StartedAt": "2026-11-01T10:00:00.5Z" });
    value["RestartCount"] = Value::from(0);
    if !peers.is_empty() {
        let peers = peers
            .iter()
            .enumerate()
            .map(|(at, (name, _))| (format!("b{at}").repeat(32), Value::from(name.as_str())));
        value["Peers"] = Value::Object(peers.collect());
    }
    value
}
