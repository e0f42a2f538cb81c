//! What hands, old tools and failures make of a project, and what an apply makes of that.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::bed::POISON;
use crate::fleet::{Fleet, Project};
use crate::old_tool::Socket;
use crate::project::{Declared, FILE};

/// A secret that hands left behind, of which no vault knows.
const OLD: &str = "0ld-p0is0n-7hQ2mKx9";

/// Asserts that a plan names all of these.
fn planned(project: &Project<'_>, parts: &[&str]) -> String {
    let plan = project.muster(&["plan", "--no-input"]);
    for part in parts {
        assert!(
            plan.stdout.contains(part),
            "`{part}` is not planned: {}{}",
            plan.stdout,
            plan.stderr
        );
    }
    plan.stdout
}

#[test]
fn what_hands_change_is_named_and_mended() {
    let fleet = Fleet::up_with_engines(1);
    let declared = Declared::new(&fleet);
    declared.project.apply();
    // A start is no difference, whoever did it.
    declared.sh("docker restart -t 1 join-api-1");
    declared.project.assert_settled();
    let run = "docker run -d --name join-api-1 --network join_default --network-alias api --stop-timeout 1 --restart unless-stopped";
    let attach = "docker network connect --alias api --alias core join_back join-api-1";
    for (hand, names) in [
        (
            "docker stop -t 0 join-api-1".to_owned(),
            ["container[join-api-1]", "state"],
        ),
        (
            format!("docker rm -f join-api-1; {run} -e PASS=other -e FROM=dotenv box:1 sleep 3600; {attach}"),
            ["container[join-api-1]", "environment.PASS"],
        ),
        (
            "docker network disconnect -f join_back join-api-1; docker network rm join_back".to_owned(),
            ["network[join_back]", "networks.join_back"],
        ),
        (
            "docker rm -f join-web-1".to_owned(),
            ["container[join-web-1]", "+ container[join-web-1]"],
        ),
        (
            "printf 'FROM box:1\\nENV OTHER=yes\\n' | docker build -q -t box:1 -".to_owned(),
            ["container[join-db-1]", "image"],
        ),
    ] {
        declared.sh(&hand);
        declared.project.assert_drift(&names[..1]);
        let plan = planned(&declared.project, &names);
        assert!(!plan.contains(POISON), "{plan}");
        declared.project.apply();
        assert_eq!(
            declared.sh("docker exec join-api-1 sh -c 'echo $PASS'"),
            format!("{POISON}\n")
        );
        assert_eq!(declared.sh("curl -s http://127.0.0.1:18080/index.html"), "one\n");
    }
}

const OLD_FILE: &str = r#"services:
  db:
    image: box:1
    command: ["sleep", "3600"]
    stop_grace_period: 1s
    volumes: ["data:/data"]
    environment: { MODE: primary }
    healthcheck: { test: ["CMD", "test", "-d", "/data"], interval: 1s }
  api:
    image: box:1
    command: ["sleep", "3600"]
    stop_grace_period: 1s
    depends_on: [db]
    networks: { default: {}, back: { aliases: [core] } }
    mem_limit: 64m
    restart: unless-stopped
    labels: { team: ops }
    ulimits: { nofile: { soft: 512, hard: 1024 } }
  web:
    image: box:1
    command: ["httpd", "-f", "-p", "8080", "-h", "/srv"]
    stop_grace_period: 1s
    ports: ["127.0.0.1:18080:8080"]
    volumes: ["/srv/page:/srv/page:ro"]
    extra_hosts: ["db.example.org:10.0.0.1"]
volumes: { data: {} }
networks: { back: {} }
"#;

#[test]
fn project_that_the_old_tool_made_is_adopted_as_it_is() {
    let fleet = Fleet::up_with_engines(1);
    fleet.sh("h1", "mkdir -p /srv/page");
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("docker-compose.yml"), OLD_FILE).expect("written");
    let socket = Socket::open(&fleet);
    socket.old_tool(folder.path(), &["-p", "join", "up", "-d"]);
    let ids = "docker ps -a --no-trunc --format '{{.Names}} {{.ID}}' | sort";
    let before = fleet.sh("h1", ids);
    assert!(
        before.contains("join_db_1") && before.lines().count() == 3,
        "{before}"
    );
    let project = Project::new(&fleet, &["h1"]);
    project
        .module("[[compose]]\nname = \"join\"\nfolder = \"/srv/join\"\nfiles = [\"docker-compose.yml\"]\n");
    project.write("modules/app/templates/docker-compose.yml", OLD_FILE);
    let plan = planned(&project, &["file[/srv/join/docker-compose.yml]"]);
    for kept in ["container[", "network[", "volume["] {
        assert!(
            !plan.contains(&format!("+ {kept}")) && !plan.contains(&format!("~ {kept}")),
            "{plan}"
        );
    }
    project.apply();
    assert_eq!(fleet.sh("h1", ids), before, "nothing came anew");

    // One value is another: that one comes anew, under the name of today, and the others stay.
    project.write(
        "modules/app/templates/docker-compose.yml",
        &OLD_FILE.replace("primary", "standby"),
    );
    project.apply();
    let now = fleet.sh("h1", ids);
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), now.lines().collect());
    let stayed = new.iter().filter(|line| old.contains(line)).count();
    assert_eq!((new.len(), stayed), (3, 2), "{now}");
    assert!(now.contains("join-db-1 ") && !now.contains("join_db_1"), "{now}");
}

/// Asserts that a text stands in no file below a folder, but in these.
fn nowhere(folder: &Path, text: &str, but: &[&str]) {
    let found = Command::new("grep")
        .args(["-rlF", text])
        .arg(folder)
        .output()
        .expect("grep runs");
    let found = String::from_utf8_lossy(&found.stdout).into_owned();
    let left: Vec<&str> = found
        .lines()
        .filter(|path| !but.iter().any(|but| path.ends_with(but)))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn secrets_of_containers_are_nowhere_but_on_their_host() {
    let fleet = Fleet::up_with_engines(1);
    let declared = Declared::new(&fleet);
    let by_hand = format!(
        "docker run -d --name join-api-1 --stop-timeout 1 -e PASS={OLD} -e OTHER={OLD} -l note={OLD} --health-cmd 'echo {OLD}' box:1 sh -c 'sleep 3600 # {OLD}'"
    );
    declared.sh(&by_hand);
    let recorded = declared
        .project
        .muster(&["plan", "--no-input", "--record", "look.json"]);
    assert!(
        recorded.stdout.contains("environment.OTHER"),
        "{}{}",
        recorded.stdout,
        recorded.stderr
    );
    let applied = declared.project.muster(&["apply", "-y", "--no-input", "-v"]);
    assert_eq!(applied.code, 0, "{}{}", applied.stdout, applied.stderr);
    declared.project.assert_settled();
    declared.sh(&format!("docker rm -f join-api-1; {by_hand}"));
    let drift = declared.project.muster(&["drift", "--no-input"]);
    assert_eq!(drift.code, 2);
    for said in [&recorded, &applied, &drift] {
        let all = format!("{}{}", said.stdout, said.stderr);
        assert!(!all.contains(POISON) && !all.contains(OLD), "{all}");
    }
    let folder = declared.project.folder();
    nowhere(folder, POISON, &["inventories/secret"]);
    nowhere(folder, OLD, &[]);
    let manifest = declared.sh(&format!("grep -rlF -e {POISON} -e {OLD} /var/lib/muster || true"));
    assert_eq!(manifest, "", "not even the host's own manifest has them");
}

#[test]
fn container_that_never_gets_well_leaves_the_old_one_serving() {
    let fleet = Fleet::up_with_engines(1);
    let declared = Declared::new(&fleet);
    declared.project.apply();
    let before = declared.ids();
    let ill = FILE.replace(
        "    command: [\"sleep\", \"3600\"]\n    depends_on: { db",
        "    command: [\"sh\", \"-c\", \"echo begins with $$PASS; exec sleep 3600\"]\n    healthcheck: { test: [\"CMD-SHELL\", \"echo not well; exit 3\"], interval: 1s, retries: 2 }\n    depends_on: { db",
    );
    assert_ne!(ill, FILE);
    declared
        .project
        .write("modules/app/templates/docker-compose.yml.j2", &ill);
    let failed = declared.project.muster(&["apply", "-y", "--no-input"]);
    let said = format!("{}{}", failed.stdout, failed.stderr);
    assert_ne!(failed.code, 0, "{said}");
    for part in [
        "not well",
        "status 3",
        "begins with",
        "the container before it is back",
        "join-api-1",
    ] {
        assert!(said.contains(part), "`{part}` is missing: {said}");
    }
    assert!(!said.contains(POISON), "{said}");
    assert_eq!(declared.anew(&before), Vec::<String>::new());
    assert_eq!(declared.sh("docker exec join-api-1 echo serves"), "serves\n");
    // With the file as it was there is nothing to do but the file.
    declared
        .project
        .write("modules/app/templates/docker-compose.yml.j2", FILE);
    declared.project.apply();
    assert_eq!(declared.anew(&before), Vec::<String>::new());
}

#[test]
fn killed_between_two_calls_of_the_engine_a_run_is_gone_on_with() {
    let fleet = Fleet::up_with_engines(1);
    let declared = Declared::new(&fleet);
    declared.project.apply();
    declared.set("level = \"debug\"");
    let mut apply = declared
        .project
        .command(&["apply", "-y", "--no-input"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("muster runs");
    let until = Instant::now() + Duration::from_secs(60);
    while !declared
        .sh("docker ps -a --format '{{.Names}}'")
        .contains(".muster-old")
    {
        assert!(
            Instant::now() < until && apply.try_wait().expect("it can be asked").is_none(),
            "never set aside"
        );
    }
    apply.kill().expect("it can be killed");
    let _ = apply.wait();
    let resumed = declared.project.muster(&["resume", "-y", "--no-input"]);
    assert_eq!(resumed.code, 0, "{}{}", resumed.stdout, resumed.stderr);
    declared.project.assert_settled();
    let names: Vec<String> = declared.ids().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["join-api-1", "join-db-1", "join-web-1"]);
    assert_eq!(
        declared.sh("docker exec join-db-1 sh -c 'echo $LEVEL'"),
        "debug\n"
    );
}

#[test]
fn mistake_in_a_compose_file_points_into_its_template() {
    let fleet = Fleet::up(1);
    let declared = Declared::new(&fleet);
    let wrong = FILE.replace("    depends_on: [api]\n", "    depends_of: [api]\n");
    let line = wrong
        .lines()
        .position(|line| line.contains("depends_of"))
        .expect("it is there")
        + 1;
    declared
        .project
        .write("modules/app/templates/docker-compose.yml.j2", &wrong);
    let said = declared.project.muster(&["validate"]);
    assert_ne!(said.code, 0);
    let all = format!("{}{}", said.stdout, said.stderr);
    assert!(all.contains(&format!("docker-compose.yml.j2:{line}")), "{all}");
    assert!(
        all.contains("depends_of") && all.contains("did you mean `depends_on`?"),
        "{all}"
    );
    // What no line of the template says is shown as it was rendered.
    declared.project.write(
        "modules/app/templates/docker-compose.yml.j2",
        "services:\n{% for name in [\"a\", \"b\"] %}\n  {{ name }}: { image: box:1, imagine: {{ level }} }\n{% endfor %}\n",
    );
    let said = declared.project.muster(&["validate"]);
    let all = format!("{}{}", said.stdout, said.stderr);
    assert!(all.contains("imagine"), "{all}");
}
