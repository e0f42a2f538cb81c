//! A small project of one service with data, a secret and a health check, for what goes wrong.

use std::cell::RefCell;
use std::process::Command;

use crate::bed::POISON;
use crate::controller::{Controller, until};
use crate::fleet::{Fleet, Project, Ran};

/// The service's file. It is well once `/data/well` is there, and writes down each of its starts.
pub const FILE: &str = r#"services:
  app:
    image: "{{ image }}"
    command: ["sh", "-c", "echo start as $$LEVEL >>/data/log; exec sleep 3600"]
    stop_grace_period: 1s
    volumes: ["data:/data"]
    environment: { LEVEL: "{{ level }}", PASS: "{{ password | compose }}" }
    x-muster: { public_env: [LEVEL] }
    healthcheck: { test: ["CMD-SHELL", "echo probed with $$PASS; test -e /data/well"], interval: 500ms, retries: 100 }
volumes: { data: {} }
"#;

const MODULE: &str = r#"
[inputs]
image    = { type = "string", default = "box:1", doc = "What app runs." }
level    = { type = "string", default = "info", doc = "How much is said." }
password = { type = "secret", doc = "The password of app." }

[[compose]]
name   = "trial"
folder = "/srv/trial"
files  = ["docker-compose.yml.j2"]
within = "60s"
"#;

pub const APPLY: &[&str] = &["apply", "-y", "--no-input"];

/// The project on `h1`.
pub struct Trial<'f> {
    pub project: Project<'f>,
    fleet: &'f Fleet,
    more: RefCell<String>,
}

impl<'f> Trial<'f> {
    /// Declares it. Nothing is applied.
    pub fn new(fleet: &'f Fleet) -> Self {
        let project = Project::new(fleet, &["h1"]);
        project.module(MODULE);
        let trial = Self {
            project,
            fleet,
            more: RefCell::default(),
        };
        trial.file(FILE);
        trial.set("");
        trial
    }

    /// Declares it, and applies it until it is well.
    pub fn up(fleet: &'f Fleet) -> Self {
        fleet.sh("h1", "docker volume create trial_data >/dev/null && touch /var/lib/docker/volumes/trial_data/_data/well");
        let trial = Self::new(fleet);
        trial.project.apply();
        trial
    }

    /// Changes the file of the service.
    pub fn file(&self, file: &str) {
        self.project
            .write("modules/app/templates/docker-compose.yml.j2", file);
    }

    /// Puts these tables into the inventory with every following [`Trial::set`].
    pub fn tables(&self, tables: &str) {
        tables.clone_into(&mut self.more.borrow_mut());
    }

    /// Sets values beside the password.
    pub fn set(&self, values: &str) {
        self.project.write("inventories/secret", POISON);
        let inventory = format!(
            "[fleet]\nname = \"live\"\n\n{}\n[[use]]\nmodule = \"app\"\non = \"all\"\n\n{}\n[values.app]\npassword = \"file:secret\"\n{values}\n",
            self.project.host("h1", ""),
            self.more.borrow()
        );
        self.project.write("inventories/fleet.toml", &inventory);
    }

    pub fn sh(&self, script: &str) -> String {
        self.fleet.sh("h1", script)
    }

    /// Says whether a condition holds on the host.
    pub fn is(&self, condition: &str) -> bool {
        self.fleet.try_sh("h1", condition).status.success()
    }

    /// Applies in vain, and returns what is said of it. No secret is in it, nor in what is kept of it.
    pub fn fails(&self) -> String {
        let ran = self.project.muster(APPLY);
        self.failed(&ran)
    }

    /// Starts to apply, beside the test.
    pub fn begin(&self, who: &str) -> Controller {
        Controller::start(&self.project, APPLY, who)
    }

    /// Checks a run that did not go through.
    pub fn failed(&self, ran: &Ran) -> String {
        let said = self.told(ran);
        assert_ne!(ran.code, 0, "{said}");
        assert!(said.contains("h1"), "the host is not named: {said}");
        said
    }

    /// Returns all that a run said, in which no secret is, nor in any file of the project.
    pub fn told(&self, ran: &Ran) -> String {
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert!(!said.contains(POISON), "{said}");
        let kept = Command::new("grep")
            .args(["-rlF", POISON])
            .arg(self.project.folder())
            .output();
        let kept = String::from_utf8_lossy(&kept.expect("grep runs").stdout).into_owned();
        let shown: Vec<&str> = kept
            .lines()
            .filter(|path| !path.ends_with("inventories/secret"))
            .collect();
        assert!(shown.is_empty(), "{shown:?}");
        said
    }

    /// Resumes, and asserts that it ends where an undisturbed run would have.
    pub fn resume(&self) -> Ran {
        let ran = self.project.muster(&["resume", "-y", "--no-input"]);
        let said = self.told(&ran);
        assert_eq!(ran.code, 0, "resume: {said}");
        self.project.assert_settled();
        ran
    }

    /// Resumes where there is something to resume.
    pub fn resume_or_plan(&self) {
        let ran = self.project.muster(&["resume", "-y", "--no-input"]);
        self.told(&ran);
        self.project.assert_settled();
    }

    /// Returns the names of all containers of the project.
    pub fn names(&self) -> String {
        self.sh("docker ps -a --filter label=com.docker.compose.project=trial --format '{{.Names}}' | sort")
    }

    /// Asserts that there is one container, that it runs with this level, and that the data of all that ran before are there.
    pub fn assert_runs_as(&self, level: &str) {
        assert_eq!(self.names(), "trial-app-1\n");
        let is = self.sh("docker inspect -f '{{.State.Running}}' trial-app-1; docker exec trial-app-1 sh -c 'echo $LEVEL $PASS'");
        assert_eq!(is, format!("true\n{level} {POISON}\n"));
        let log = self.sh("docker exec trial-app-1 cat /data/log");
        assert!(log.starts_with("start as info\n"), "{log}");
        assert!(log.contains(&format!("start as {level}\n")), "{log}");
    }

    /// Waits until a new container is probed beside an old one that waits.
    pub fn until_probed(&self) {
        until("the new container is probed", || {
            self.is("docker inspect trial-app-1.muster-old >/dev/null 2>&1 && \
                     [ \"$(docker inspect -f '{{.State.Health.Status}}' trial-app-1)\" = starting ]")
        });
    }
}
