//! Compose projects on real engines, planned and applied by muster as its user would.

use crate::bed::POISON;
use crate::fleet::{Fleet, Project};

/// A project of three services: one with a health check and a volume, one that needs it healthy, and one that reads a rendered file.
pub const FILE: &str = r#"services:
  db:
    image: box:1
    command: ["sh", "-c", "touch /data/up; exec sleep 3600"]
    stop_grace_period: 1s
    volumes: ["data:/data"]
    healthcheck: { test: ["CMD", "test", "-e", "/data/up"], interval: 1s, retries: 5 }
    x-muster: { public_env: [LEVEL] }
    environment: { LEVEL: "{{ level }}" }
  api:
    image: box:1
    stop_grace_period: 1s
    command: ["sleep", "3600"]
    depends_on: { db: { condition: service_healthy } }
    environment:
      PASS: "{{ password | compose }}"
      FROM: "${FROM}"
    networks: { default: {}, back: { aliases: [core] } }
    restart: unless-stopped
  web:
    image: box:1
    stop_grace_period: 1s
    command: ["httpd", "-f", "-p", "8080", "-h", "/srv"]
    depends_on: [api]
    ports: ["127.0.0.1:18080:8080"]
    volumes: ["./index.html:/srv/index.html:ro"]
    configs: [{ source: motd, target: /srv/motd }]
volumes: { data: {} }
networks: { back: { internal: true } }
configs: { motd: { content: "{{ motd }}\n" } }
"#;

const MODULE: &str = r#"
[inputs]
level    = { type = "string", default = "info", doc = "How much is said." }
motd     = { type = "string", default = "hello", doc = "What web says." }
page     = { type = "string", default = "one", doc = "What web shows." }
password = { type = "secret", doc = "The password of api." }

[[compose]]
name   = "join"
folder = "/srv/join"
files  = ["docker-compose.yml.j2"]
env    = "FROM=dotenv\n"

[[file]]
path    = "/srv/join/index.html"
content = "{{ page }}\n"

[[file]]
path    = "/srv/after"
content = "the project is up\n"
after   = ["compose:join"]
"#;

/// A module that declares the project on a host, with these values.
pub struct Declared<'f> {
    pub project: Project<'f>,
    fleet: &'f Fleet,
}

impl<'f> Declared<'f> {
    pub fn new(fleet: &'f Fleet) -> Self {
        let project = Project::new(fleet, &["h1"]);
        project.module(MODULE);
        project.write("modules/app/templates/docker-compose.yml.j2", FILE);
        let declared = Self { project, fleet };
        declared.set("");
        declared
    }

    /// Sets values beside the password.
    pub fn set(&self, values: &str) {
        self.project.write("inventories/secret", POISON);
        let host = self.project.host("h1", "");
        let inventory = format!(
            "[fleet]\nname = \"live\"\n\n{host}\n[[use]]\nmodule = \"app\"\non = \"all\"\n\n[values.app]\npassword = \"file:secret\"\n{values}\n"
        );
        self.project.write("inventories/fleet.toml", &inventory);
    }

    pub fn sh(&self, script: &str) -> String {
        self.fleet.sh("h1", script)
    }

    /// Returns the ids of all containers by name.
    pub fn ids(&self) -> Vec<(String, String)> {
        let said = self.sh("docker ps -a --no-trunc --format '{{.Names}} {{.ID}}' | sort");
        let pair = |line: &str| {
            line.split_once(' ')
                .map(|(name, id)| (name.to_owned(), id.to_owned()))
        };
        said.lines().filter_map(pair).collect()
    }

    /// Returns the names of those that are not the same any more.
    pub fn anew(&self, before: &[(String, String)]) -> Vec<String> {
        let now = self.ids();
        let is_new = |pair: &&(String, String)| !before.contains(pair);
        now.iter().filter(is_new).map(|(name, _)| name.clone()).collect()
    }
}

#[test]
fn project_is_made_settles_and_only_what_changed_comes_anew() {
    let fleet = Fleet::up_with_engines(1);
    let declared = Declared::new(&fleet);
    let plan = declared.project.muster(&["plan", "--no-input"]);
    assert_eq!(plan.code, 0, "{}{}", plan.stdout, plan.stderr);
    for part in [
        "container[join-db-1]",
        "container[join-api-1]",
        "container[join-web-1]",
        "network[join_default]",
        "network[join_back]",
        "volume[join_data]",
        "file[/srv/join/docker-compose.yml]",
        "file[/srv/join/.env]",
        "file[/srv/join/.muster/configs/motd]",
    ] {
        assert!(
            plan.stdout.contains(part),
            "{part} is not planned: {}",
            plan.stdout
        );
    }
    let said = |args: &[&str]| declared.project.muster(args).stdout;
    for text in [
        &plan.stdout,
        &said(&["--json", "plan", "--no-input"]),
        &said(&["render", "h1"]),
    ] {
        assert!(!text.contains(POISON), "{text}");
        assert!(!text.contains("dotenv"), "a value of `.env` is shown: {text}");
        assert!(text.contains("box:1"), "{text}");
    }
    declared.project.apply();
    assert_eq!(declared.sh("stat -c %a /srv/join/.env"), "600\n");
    assert_eq!(
        declared.sh("docker exec join-api-1 sh -c 'echo $PASS $FROM'"),
        format!("{POISON} dotenv\n")
    );
    assert_eq!(declared.sh("curl -s http://127.0.0.1:18080/index.html"), "one\n");
    assert_eq!(declared.sh("curl -s http://127.0.0.1:18080/motd"), "hello\n");
    assert_eq!(declared.sh("cat /srv/after"), "the project is up\n");

    // One variable of one service: that one alone comes anew.
    let before = declared.ids();
    declared.set("level = \"debug\"");
    let plan = declared.project.muster(&["plan", "--no-input"]);
    for part in ["environment.LEVEL", "info", "debug"] {
        assert!(plan.stdout.contains(part), "{part}: {}", plan.stdout);
    }
    declared.project.apply();
    assert_eq!(declared.anew(&before), ["join-db-1"]);

    // A rendered file that one service sees: that one is started again, in the same apply, and is no other container.
    let before = (
        declared.ids(),
        declared.sh("docker inspect -f '{{.State.StartedAt}}' join-web-1"),
    );
    declared.set("level = \"debug\"\npage = \"two\"\nmotd = \"again\"");
    declared.project.apply();
    assert_eq!(declared.anew(&before.0), Vec::<String>::new());
    assert_ne!(
        declared.sh("docker inspect -f '{{.State.StartedAt}}' join-web-1"),
        before.1
    );
    assert_eq!(declared.sh("curl -s http://127.0.0.1:18080/index.html"), "two\n");
    assert_eq!(declared.sh("curl -s http://127.0.0.1:18080/motd"), "again\n");

    // Nothing of it is declared any more: containers and networks go, data stay.
    declared.project.module("[inputs]\nlevel = { type = \"string\", default = \"\", doc = \"x\" }\nmotd = { type = \"string\", default = \"\", doc = \"x\" }\npage = { type = \"string\", default = \"\", doc = \"x\" }\npassword = { type = \"secret\", doc = \"x\" }\n");
    declared.project.apply();
    assert_eq!(declared.ids(), []);
    assert_eq!(declared.sh("docker volume ls -q"), "join_data\n");
    assert_eq!(
        declared.sh("docker network ls --format '{{.Name}}' | grep -c join || true"),
        "0\n"
    );
    assert_eq!(declared.sh("ls -A /srv"), "");
}
