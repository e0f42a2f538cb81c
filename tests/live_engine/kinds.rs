//! Every field of every kind of an engine: altered by hand on a real one, found, named, mended.

use muster::resource::KINDS;

use crate::fleet::{Fleet, Project};
use crate::registry::Registry;

/// One field of a container: what its service says beside the usual, and how a hand alters it.
struct Field {
    name: &'static str,
    /// Further lines of the service.
    says: &'static str,
    by: By,
}

/// How a hand alters a container.
enum By {
    /// It makes another one in its place, with these words before the image.
    Making(&'static str),
    /// The same, with these words instead of the image and its command.
    Running(&'static str),
    /// A shell script, in which `$name` is the container's name.
    Script(&'static str),
}

const fn made(name: &'static str, flags: &'static str) -> Field {
    Field {
        name,
        says: "",
        by: By::Making(flags),
    }
}

const fn done(name: &'static str, script: &'static str) -> Field {
    Field {
        name,
        says: "",
        by: By::Script(script),
    }
}

const CONTAINER: &[Field] = &[
    Field {
        name: "image",
        says: "",
        by: By::Running("box:2 sleep 3600"),
    },
    done("container_name", "docker rename $name by-hand"),
    Field {
        name: "command",
        says: "",
        by: By::Running("box:1 sleep 4000"),
    },
    made("entrypoint", "--entrypoint /bin/busybox"),
    made("environment", "-e BY=hand"),
    made("user", "--user 1000"),
    made("working_dir", "-w /bin"),
    made("hostname", "--hostname hand"),
    made("domainname", "--domainname example.org"),
    made("stop_signal", "--stop-signal SIGINT"),
    made("stop_grace_period", "--stop-timeout 7"),
    made("init", "--init"),
    made("tty", "-t"),
    made("stdin_open", "-i"),
    made("group_add", "--group-add 7"),
    made("volumes", "-v /srv:/mnt"),
    made("ports", "-p 127.0.0.1:19999:80"),
    made("expose", "--expose 81"),
    made("healthcheck", "--health-cmd true"),
    done("mem_limit", "docker update -m 96m --memory-swap 192m $name"),
    done("mem_reservation", "docker update --memory-reservation 48m $name"),
    made("memswap_limit", "-m 64m --memory-swap 256m"),
    done("cpus", "docker update --cpus 0.5 $name"),
    done("cpu_shares", "docker update -c 512 $name"),
    done("cpuset", "docker update --cpuset-cpus 0 $name"),
    done("pids_limit", "docker update --pids-limit 64 $name"),
    made("shm_size", "--shm-size 128m"),
    made("oom_score_adj", "--oom-score-adj 100"),
    made("devices", "--device /dev/null:/dev/other"),
    made("deploy.resources.reservations.devices", "--gpus all"),
    made("device_cgroup_rules", "--device-cgroup-rule 'c 1:3 mr'"),
    Field {
        name: "network_mode",
        says: "",
        by: By::Script(
            "docker rm -f $name; docker run -d --name $name --network none --stop-timeout 1 box:1 sleep 3600",
        ),
    },
    done("networks", "docker network disconnect join_default $name"),
    made("extra_hosts", "--add-host db:10.0.0.1"),
    made("dns", "--dns 10.0.0.53"),
    made("dns_search", "--dns-search example.org"),
    made("dns_opt", "--dns-option ndots:1"),
    made("labels", "-l team=hand"),
    done("restart", "docker update --restart always $name"),
    made("logging", "--log-driver none"),
    made("privileged", "--privileged"),
    made("read_only", "--read-only"),
    made("cap_add", "--cap-add NET_ADMIN"),
    made("cap_drop", "--cap-drop CHOWN"),
    made("security_opt", "--security-opt no-new-privileges"),
    made("sysctls", "--sysctl net.ipv4.ip_forward=0"),
    made("ulimits", "--ulimit nofile=512:1024"),
    made("ipc", "--ipc host"),
    made("pid", "--pid host"),
    made("uts", "--uts host"),
    made("userns_mode", "--userns host"),
    made("cgroup_parent", "--cgroup-parent /hand"),
    made("runtime", "--runtime io.containerd.runc.v2"),
    done("predecessor", "docker create --name $name.muster-old box:1"),
    done("state", "docker stop -t 0 $name"),
    Field {
        name: "mounted",
        says: "    volumes: [\"./seen:/seen:ro\"]\n",
        by: By::Script("touch /srv/join/seen"),
    },
];

/// What no hand alters: an engine with the second control groups takes no `oom_kill_disable`, and the last two are of plans.
const ELSEWHERE: [&str; 3] = ["oom_kill_disable", "started_with", "recreated_with"];

fn service(field: &Field) -> String {
    field.name.split('.').next().unwrap_or_default().replace('_', "-")
}

fn container(field: &Field) -> String {
    format!("join-{}-1", service(field))
}

fn file(fields: &[Field]) -> String {
    let bounds = [
        ("mem_limit", "64m"),
        ("mem_reservation", "32m"),
        ("memswap_limit", "128m"),
        ("cpus", "0.25"),
        ("cpu_shares", "256"),
        ("cpuset", "\"0-1\""),
        ("pids_limit", "32"),
    ];
    let mut text = "services:\n".to_owned();
    for field in fields {
        text += &format!(
            "  {}:\n    image: box:1\n    command: [\"sleep\", \"3600\"]\n    stop_grace_period: 1s\n{}",
            service(field),
            field.says
        );
        for (name, value) in bounds.iter().filter(|(name, _)| *name == field.name) {
            text += &format!("    {name}: {value}\n");
        }
        if field.name == "memswap_limit" {
            text += "    mem_limit: 64m\n";
        }
    }
    text
}

/// Returns what a hand types. A container that the engine does not want to start is altered enough.
fn script(field: &Field) -> String {
    let name = container(field);
    let service = service(field);
    let stop = match field.name {
        "stop_grace_period" => "",
        _ => "--stop-timeout 1",
    };
    let base = format!("docker create --name $name --network join_default --network-alias {service} {stop}");
    let by = match &field.by {
        By::Making(flags) => {
            format!("docker rm -f $name; {base} {flags} box:1 sleep 3600; docker start $name || true")
        }
        By::Running(words) => format!("docker rm -f $name; {base} {words}; docker start $name || true"),
        By::Script(script) => (*script).to_owned(),
    };
    format!("name={name}; {by}")
}

/// Returns what a report says of one resource: its line and those below it.
fn part<'r>(report: &'r str, key: &str) -> &'r str {
    let start = report
        .find(key)
        .unwrap_or_else(|| panic!("{key} is not named: {report}"));
    let rest = &report[start..];
    let end = rest[key.len()..]
        .find("container[")
        .map_or(rest.len(), |at| at + key.len());
    &rest[..end]
}

/// Makes a project of a service for each of some fields, lets a hand alter each in its field, and mends them.
fn mend(fields: &[Field]) {
    let fleet = Fleet::up_with_engines(1);
    fleet.sh(
        "h1",
        "printf 'FROM box:1\\nENV OTHER=yes\\n' | docker build -q -t box:2 -",
    );
    let project = Project::new(&fleet, &["h1"]);
    project.module(
        "[[compose]]\nname = \"join\"\nfolder = \"/srv/join\"\nfiles = [\"compose.yml\"]\n[[file]]\npath = \"/srv/join/seen\"\ncontent = \"seen\\n\"\n",
    );
    project.write("modules/app/templates/compose.yml", &file(fields));
    project.apply();
    for field in fields {
        let done = fleet.try_sh("h1", &script(field));
        assert!(
            done.status.success(),
            "{}: {}",
            field.name,
            String::from_utf8_lossy(&done.stderr)
        );
    }
    let plan = project.muster(&["plan", "--no-input"]);
    for field in fields {
        let said = part(&plan.stdout, &format!("container[{}]", container(field)));
        assert!(said.contains(field.name), "`{}` is not named: {said}", field.name);
    }
    let keys: Vec<String> = fields
        .iter()
        .map(|field| format!("container[{}]", container(field)))
        .collect();
    project.assert_drift(&keys.iter().map(String::as_str).collect::<Vec<_>>());
    project.apply();
    assert_eq!(
        fleet.sh("h1", "docker ps -q | wc -l").trim(),
        fields.len().to_string(),
        "all of them run"
    );
}

/// How many fields one host has, so that hosts share the work.
const SHARE: usize = 14;

#[test]
fn container_is_mended_in_every_field_of_the_first_share() {
    mend(&CONTAINER[..SHARE]);
}

#[test]
fn container_is_mended_in_every_field_of_the_second_share() {
    mend(&CONTAINER[SHARE..2 * SHARE]);
}

#[test]
fn container_is_mended_in_every_field_of_the_third_share() {
    mend(&CONTAINER[2 * SHARE..3 * SHARE]);
}

#[test]
fn container_is_mended_in_every_field_of_the_last_share() {
    mend(&CONTAINER[3 * SHARE..]);
}

#[test]
fn every_field_of_a_container_is_altered() {
    let info = KINDS
        .iter()
        .find(|info| info.name == "container")
        .expect("the kind is listed");
    let tested: Vec<&str> = CONTAINER.iter().map(|field| field.name).collect();
    let missing: Vec<&&str> = info
        .fields
        .iter()
        .filter(|field| !tested.contains(field) && !ELSEWHERE.contains(field))
        .collect();
    assert!(missing.is_empty(), "never altered: {missing:?}");
}

/// A network's field, what its table says, and what a hand makes in its place.
const NETWORK: &[(&str, &str, &str)] = &[
    ("driver", "", "-d macvlan"),
    (
        "driver_opts",
        "driver_opts = { \"com.docker.network.driver.mtu\" = \"1400\" }",
        "-o com.docker.network.driver.mtu=1300",
    ),
    ("internal", "", "--internal"),
    ("attachable", "attachable = true", ""),
    ("enable_ipv6", "", "--ipv6 --subnet fd00:77::/64"),
    ("ipam_driver", "", "--ipam-driver null"),
    (
        "ipam_options",
        "ipam_options = { lease = \"1h\" }",
        "--ipam-opt lease=2h",
    ),
    (
        "subnets",
        "subnets = [{ subnet = \"172.29.7.0/24\" }]",
        "--subnet 172.29.8.0/24",
    ),
    ("labels", "labels = { team = \"ops\" }", "--label team=hand"),
];

#[test]
fn network_is_mended_in_every_field_under_what_is_attached_to_it() {
    let fleet = Fleet::up_with_engines(1);
    let project = Project::new(&fleet, &["h1"]);
    for (field, says, flags) in NETWORK {
        project.module(&format!("[[network]]\nname = \"edge\"\n{says}\n"));
        project.apply();
        let made = fleet.try_sh(
            "h1",
            &format!("docker network rm edge && docker network create {flags} edge"),
        );
        if !made.status.success() {
            // This engine makes none such; the field is held to by its cases.
            fleet.sh(
                "h1",
                "docker network inspect edge >/dev/null 2>&1 || docker network create edge",
            );
            project.apply();
            eprintln!("{field}: {}", String::from_utf8_lossy(&made.stderr));
            continue;
        }
        let attached = !flags.contains("null");
        if attached {
            fleet.sh(
                "h1",
                "docker run -d --name user --network edge --network-alias me box:1 sleep 3600",
            );
        }
        project.assert_drift(&["network[edge]", field]);
        project.apply();
        if attached {
            let alias = "docker inspect -f '{{json (index .NetworkSettings.Networks \"edge\").Aliases}} {{.State.Running}}' user";
            let said = fleet.sh("h1", alias);
            assert!(
                said.contains("\"me\"") && said.contains("true"),
                "{field}: {said}"
            );
            fleet.sh("h1", "docker rm -f user");
        }
        project.module("");
        project.apply();
        assert_eq!(fleet.sh("h1", "docker network ls -q -f name=edge"), "");
    }
    let info = KINDS
        .iter()
        .find(|info| info.name == "network")
        .expect("the kind is listed");
    let tested: Vec<&str> = NETWORK.iter().map(|(field, ..)| *field).collect();
    assert_eq!(info.fields, tested);
}

#[test]
fn volume_that_differs_is_held_and_goes_only_where_that_is_said() {
    let fleet = Fleet::up_with_engines(1);
    let project = Project::new(&fleet, &["h1"]);
    let table = "[[volume]]\nname = \"data\"\ndriver_opts = { type = \"tmpfs\", device = \"tmpfs\", o = \"size=1m\" }\n";
    project.module(table);
    project.apply();
    fleet.sh("h1", "docker volume rm data && docker volume create data && docker run --rm -v data:/d box:1 touch /d/kept");
    let plan = project.muster(&["plan", "--no-input"]);
    assert!(
        plan.stdout.contains("driver_opts cannot change in place"),
        "{}",
        plan.stdout
    );
    let applied = project.muster(&["apply", "-y", "--no-input"]);
    fleet.sh("h1", "docker run --rm -v data:/d box:1 test -e /d/kept");
    assert!(applied.stdout.contains("1 held"), "{}", applied.stdout);
    // Not declared any more, it is forgotten; with the word it goes.
    let plain = "[[volume]]\nname = \"data\"\n";
    project.module(plain);
    project.apply();
    project.module("");
    project.apply();
    assert_eq!(fleet.sh("h1", "docker volume ls -q"), "data\n");
    fleet.sh("h1", "docker volume rm data");
    project.module(&format!("{plain}delete = true\n"));
    project.apply();
    project.module("");
    project.apply();
    assert_eq!(fleet.sh("h1", "docker volume ls -q"), "");
}

#[test]
fn image_comes_again_where_a_hand_took_it_away_and_goes_only_where_that_is_said() {
    let fleet = Fleet::up_with_engines(1);
    let registry = Registry::start(&fleet, None);
    registry.admit(&fleet, "h1");
    let name = format!("{}/box:1", registry.name);
    fleet.sh(
        "h1",
        &format!("docker tag box:1 {name} && docker push -q {name} && docker rmi {name} box:1"),
    );
    let project = Project::new(&fleet, &["h1"]);
    let table = format!("[[image]]\nname = \"{name}\"\n");
    project.module(&table);
    project.apply();
    fleet.sh("h1", &format!("docker image inspect {name} && docker rmi {name}"));
    project.assert_drift(&[&format!("image[{name}]")]);
    project.apply();
    project.module("");
    project.apply();
    fleet.sh("h1", &format!("docker image inspect {name} && docker rmi {name}"));
    project.module(&format!("{table}delete = true\n"));
    project.apply();
    project.module("");
    project.apply();
    assert_eq!(fleet.sh("h1", "docker images -q"), "");
}
