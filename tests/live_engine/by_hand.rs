//! What hands made before muster came, and numbers where others have names.

use crate::fleet::{Fleet, Project, Ran};

const FILE: &str = r#"services:
  db:
    image: box:1
    container_name: database
    command: ["sleep", "3600"]
    stop_grace_period: 1s
  web:
    image: box:1
    command: ["sleep", "LEFT"]
    stop_grace_period: 1s
  api:
    image: box:1
    command: ["sleep", "3600"]
    stop_grace_period: 1s
    network_mode: service:db
    depends_on: [db]
"#;

const MODULE: &str = "[[compose]]\nname = \"join\"\nfolder = \"/srv/join\"\nfiles = [\"compose.yml\"]\n";

fn said(ran: &Ran) -> String {
    format!("{}{}", ran.stdout, ran.stderr)
}

#[test]
fn containers_that_hands_made_were_there_before_muster_and_serve_those_that_need_them() {
    let fleet = Fleet::up_with_engines(1);
    let hand = |name: &str, alias: &str, left: &str| {
        format!(
            "docker run -d --name {name} --network join_default --network-alias {alias} --stop-timeout 1 box:1 sleep {left}"
        )
    };
    fleet.sh(
        "h1",
        &format!(
            "docker network create join_default && {} && {}",
            hand("database", "db", "3600"),
            hand("join-web-1", "web", "3600")
        ),
    );
    let id = "docker inspect -f '{{.Id}}' database";
    let before = fleet.sh("h1", id);
    let project = Project::new(&fleet, &["h1"]);
    project.module(MODULE);
    let write = |left: &str| {
        project.write("modules/app/templates/compose.yml", &FILE.replace("LEFT", left));
    };
    write("4000");
    let plan = project.muster(&["plan", "--no-input"]);
    assert!(
        !plan.stdout.contains("container[database]"),
        "it is equal: {}",
        said(&plan)
    );
    assert!(
        plan.stdout.contains("it was there before muster"),
        "{}",
        said(&plan)
    );
    assert!(!plan.stdout.contains("somebody changed it"), "{}", said(&plan));
    project.apply();
    assert_eq!(fleet.sh("h1", id), before, "it was adopted as it is");
    let mode = "docker inspect -f '{{.HostConfig.NetworkMode}}' join-api-1";
    assert_eq!(fleet.sh("h1", mode), format!("container:{before}"));

    // What was adopted before the host had a salt is not somebody's doing when its declaration changes.
    let file = FILE.replace(
        "container_name: database",
        "container_name: database\n    hostname: db",
    );
    project.write("modules/app/templates/compose.yml", &file.replace("LEFT", "4000"));
    let plan = project.muster(&["plan", "--no-input"]);
    assert!(plan.stdout.contains("container[database]"), "{}", said(&plan));
    assert!(!plan.stdout.contains("somebody changed it"), "{}", said(&plan));
}

#[test]
fn owners_may_be_numbers_whether_accounts_have_them_or_not() {
    let fleet = Fleet::up_with_engines(1);
    fleet.sh("h1", "useradd -u 1777 someone");
    let project = Project::new(&fleet, &["h1"]);
    project.module(&format!(
        "{MODULE}\n[[directory]]\npath = \"/srv/numbers\"\nowner = \"1777\"\ngroup = \"4321\"\n\n[[file]]\npath = \"/srv/numbers/file\"\ncontent = \"x\\n\"\nowner = \"4321\"\ngroup = \"1777\"\n"
    ));
    project.write(
        "modules/app/templates/compose.yml",
        r#"services:
  web:
    image: box:1
    command: ["sleep", "3600"]
    stop_grace_period: 1s
    configs:
      - { source: mine, target: /mine, uid: "1777", gid: "1777" }
      - { source: mine, target: /others, uid: "4321", gid: "4321", mode: "0400" }
configs: { mine: { content: "x\n" } }
"#,
    );
    project.apply();
    let stat = "stat -c '%u:%g' /srv/numbers /srv/numbers/file /srv/join/.muster/configs/mine.*";
    assert_eq!(
        fleet.sh("h1", stat),
        "1777:4321\n4321:1777\n1777:1777\n4321:4321\n"
    );
    fleet.sh("h1", "chown root /srv/numbers/file && chown 4321 /srv/numbers");
    project.assert_drift(&["file[/srv/numbers/file]", "directory[/srv/numbers]", "owner"]);
    project.apply();
    assert_eq!(
        fleet.sh("h1", stat),
        "1777:4321\n4321:1777\n1777:1777\n4321:4321\n"
    );
}
