//! The module `docker-engine` on hosts that have an engine, have another, or have none.

use crate::fleet::{Fleet, Project, Ran};

/// Makes Docker's own apt repository below a folder of a host, out of Debian's packages: names, versions and folders are
/// Docker's, the signature is real.
const REPOSITORY: &str = include_str!("docker-repository");

fn project<'a>(fleet: &'a Fleet, values: &str) -> Project<'a> {
    let project = Project::new(fleet, &["h1"]);
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("modules/docker-engine");
    let module = std::fs::read_to_string(folder.join("module.toml")).expect("the module is readable");
    project.write("modules/docker-engine/module.toml", &module);
    project.extend_inventory("\n[[use]]\nmodule = \"docker-engine\"\non = \"all\"\n");
    set(&project, values);
    project
}

/// Gives the module these values.
fn set(project: &Project<'_>, values: &str) {
    let inventory = project.read("inventories/fleet.toml");
    let head = inventory
        .split("\n[values.docker-engine]")
        .next()
        .expect("a head");
    project.write(
        "inventories/fleet.toml",
        &format!("{head}\n[values.docker-engine]\n{values}\n"),
    );
}

fn said(ran: &Ran) -> String {
    format!("{}{}", ran.stdout, ran.stderr)
}

fn engine(fleet: &Fleet, what: &str) -> String {
    fleet
        .sh("h1", &format!("docker info -f '{what}'"))
        .trim()
        .to_owned()
}

const DAEMON: &str = "cat /etc/docker/daemon.json";

#[test]
fn settings_join_those_of_others_and_the_engine_is_restarted_in_a_plan_that_says_so() {
    let fleet = Fleet::up_with_engines(1);
    let project = project(&fleet, "log_max_size = \"7m\"");
    let before: serde_json::Value = serde_json::from_str(&fleet.sh("h1", DAEMON)).expect("JSON");
    let planned = project.muster(&["plan", "--no-input"]);
    for part in [
        "log-opts.max-size = \"7m\"",
        "interrupts docker.service",
        "Under the dead-man switch",
    ] {
        assert!(planned.stdout.contains(part), "{part}: {}", said(&planned));
    }
    fleet.sh(
        "h1",
        "docker run -d --restart always --name keeps -v data:/data box:1",
    );
    project.apply();
    let after: serde_json::Value = serde_json::from_str(&fleet.sh("h1", DAEMON)).expect("JSON");
    for (key, value) in before.as_object().expect("settings of others") {
        assert_eq!(&after[key], value, "`{key}` belongs to others");
    }
    assert_eq!(
        engine(&fleet, "{{.LoggingDriver}} {{.LiveRestoreEnabled}}"),
        "json-file true"
    );
    let options = "docker run --rm -d --name new box:1 >/dev/null && docker inspect -f '{{json .HostConfig.LogConfig.Config}}' new";
    assert_eq!(
        fleet.sh("h1", options).trim(),
        r#"{"max-file":"5","max-size":"7m"}"#
    );

    // From now on a restart of the engine leaves containers alone.
    let start = "docker inspect -f '{{.State.StartedAt}}' keeps";
    let started = fleet.sh("h1", start);
    set(&project, "log_max_size = \"8m\"");
    project.apply();
    assert_eq!(fleet.sh("h1", start), started, "the container ran on");

    // A hand's change is drift, and what nobody declares any more goes.
    fleet.sh("h1", "sed -i 's/\"8m\"/\"9g\"/' /etc/docker/daemon.json");
    project.assert_drift(&["settings[/etc/docker/daemon.json]", "9g"]);
    set(&project, "log_driver = \"leave\"");
    project.apply();
    let left: serde_json::Value = serde_json::from_str(&fleet.sh("h1", DAEMON)).expect("JSON");
    assert!(left.get("log-driver").is_none(), "{left}");

    // Volumes are never put out of the engine's sight.
    set(&project, "data_root = \"/srv/docker\"");
    let held = project.muster(&["plan", "--no-input", "--detailed-exitcode"]);
    let why = "the engine's containers are in /var/lib/docker/containers and would be out of its sight";
    assert!(held.stdout.contains(why), "{}", said(&held));
    assert!(
        held.stdout.contains("data_root = '/var/lib/docker'"),
        "{}",
        said(&held)
    );
    let applied = project.muster(&["apply", "-y", "--no-input"]);
    assert_ne!(applied.code, 0, "{}", said(&applied));
    assert_eq!(engine(&fleet, "{{.DockerRootDir}}"), "/var/lib/docker");
}

#[test]
fn host_changes_to_dockers_packages_and_back_and_is_never_without_an_engine() {
    let fleet = Fleet::up_with_engines(1);
    let output = fleet.feed("h1", "cat >/root/docker-repository", REPOSITORY.as_bytes());
    assert!(output.status.success());
    let key = fleet.sh(
        "h1",
        "sh /root/docker-repository /srv/repo >&2 && sha256sum /srv/repo/debian/gpg",
    );
    let key = key.split_whitespace().next().expect("a digest");
    fleet.sh(
        "h1",
        "docker run -d --restart always --name keeps -v data:/data box:1",
    );
    let docker = |key: &str, version: &str| {
        format!(
            "source = \"docker\"\nrepository = \"file:///srv/repo\"\n{key}\nversion = \"{version}\"\ncontainerd_version = \"1.7.25-1\""
        )
    };
    let version = "5:27.5.1-1~debian.12~bookworm";

    // A key with another digest is not trusted, and the engine that is there stays.
    let project = project(&fleet, &docker("", version));
    let refused = project.muster(&["apply", "-y", "--no-input"]);
    assert_ne!(refused.code, 0, "{}", said(&refused));
    assert!(said(&refused).contains("Hash Sum mismatch"), "{}", said(&refused));
    assert_eq!(installed(&fleet), "containerd docker.io runc");

    // Nor does it go for a version that cannot be had.
    let key = format!("repository_key_sha256 = \"{key}\"");
    set(&project, &docker(&key, "5:99.0.0-1~debian.12~bookworm"));
    let refused = project.muster(&["apply", "-y", "--no-input"]);
    assert_ne!(refused.code, 0, "{}", said(&refused));
    assert!(said(&refused).contains("was not found"), "{}", said(&refused));
    assert_eq!(installed(&fleet), "containerd docker.io runc");

    set(&project, &docker(&key, version));
    project.apply();
    assert_eq!(installed(&fleet), "containerd.io docker-ce docker-ce-cli");
    let held = fleet.sh("h1", "apt-mark showhold | xargs");
    assert_eq!(held.trim(), "containerd.io docker-ce docker-ce-cli");
    // The new engine starts it again, in its own time.
    let runs = "for _ in $(seq 300); do [ $(docker inspect -f '{{.State.Running}}' keeps) = true ] && exit; sleep 0.2; done; exit 1";
    fleet.sh("h1", runs);

    set(&project, "source = \"debian\"");
    project.apply();
    assert_eq!(installed(&fleet), "containerd docker.io runc");
    assert_eq!(fleet.sh("h1", "docker volume ls -q").trim(), "data");
}

/// Returns which packages of an engine are installed.
fn installed(fleet: &Fleet) -> String {
    let names = "docker.io docker-ce docker-ce-cli containerd containerd.io runc";
    let script = format!(
        "dpkg-query -W -f '${{db:Status-Status}} ${{Package}}\\n' {names} 2>/dev/null | sed -n 's/^installed //p' | sort | xargs"
    );
    fleet.sh("h1", &script).trim().to_owned()
}
