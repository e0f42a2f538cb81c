//! Does what the documents say, to the letter: the tutorial, the demo, and the jobs that look for drift.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::block;
use crate::fleet::{Fleet, Project};
use crate::lesson::{Lesson, assert_told};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_tutorial_works_as_it_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let link = |from: &Path, to: &str| {
        let to = folder.path().join(to);
        std::fs::create_dir_all(to.parent().expect("it has a folder")).expect("a folder can be made");
        std::os::unix::fs::symlink(from, to).expect("it can be linked");
    };
    // What the reader has after building: the repository's tests, and the program in its place.
    link(&root().join("tests"), "tests");
    link(Path::new(env!("CARGO_BIN_EXE_muster")), "target/debug/muster");
    let name = format!("lesson{}", std::process::id());
    let states = std::env::var("MUSTER_FLEET_STATE").unwrap_or_else(|_| "/tmp/muster-fleet".to_owned());
    let _ends = TakenDown(name.clone());
    let prelude = format!(
        "cargo() {{ :; }}\nexport HOME=$PWD MUSTER_FLEET_OWNER={}",
        std::process::id()
    );
    Lesson::of(&root().join("docs/tutorials/first-fleet.md"))
        .replace("lesson", &name)
        .replace("/tmp/muster-fleet", &states)
        .follow(folder.path(), &prelude);
}

#[test]
fn the_demo_tells_what_the_readme_shows() {
    let built = Path::new(env!("CARGO_BIN_EXE_muster"));
    let target = built
        .ancestors()
        .nth(2)
        .expect("it lies in the target's folder of its profile");
    let output = Command::new("bash")
        // One stream, in the order in which a reader sees it.
        .args(["-c", "exec tests/demo/run 2>&1"])
        .current_dir(root())
        .env("CARGO_TARGET_DIR", target)
        .stdin(Stdio::null())
        .output()
        .expect("bash runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    let readme = std::fs::read_to_string(root().join("README.md")).expect("there is a README");
    let (blocks, _) = block::split(&readme).expect("its blocks are closed");
    let transcript = blocks
        .iter()
        .find(|block| block.language() == "text" && block.text.contains("$ muster apply"))
        .expect("it has a transcript");
    assert_told(&transcript.text, &said, "README.md, from the demo");
    assert!(
        said.trim_end().ends_with("The hosts are taken down now."),
        "{said}"
    );
}

/// Takes a fleet down that a lesson may have left when a step of it failed.
struct TakenDown(String);

impl Drop for TakenDown {
    fn drop(&mut self) {
        let down = Command::new(root().join("tests/fleet/fleet"))
            .args(["down", &self.0])
            .output();
        drop(down);
    }
}

/// A job of the page, in a folder as its checkout would be, with the key that can only look.
struct Job<'a> {
    fleet: &'a Fleet,
    project: Project<'a>,
    script: String,
    key: PathBuf,
}

const PAGE: &str = "docs/how-to/drift-in-ci.md";

impl<'a> Job<'a> {
    fn new(fleet: &'a Fleet, forge: &str) -> Self {
        let text = std::fs::read_to_string(root().join(PAGE)).expect("the page is there");
        let (blocks, _) = block::split(&text).expect("its blocks are closed");
        let of_forge = |block: &&block::Block| block.language() == "yaml" && block.text.contains(forge);
        let yaml = &blocks.iter().find(of_forge).expect("the page has the job").text;
        let setup = &blocks
            .iter()
            .find(|block| block.language() == "sh")
            .expect("the page sets the key up")
            .text;
        let job = Self {
            project: Project::new(fleet, &[]),
            fleet,
            script: script(yaml),
            key: PathBuf::new(),
        };
        job.prepare(setup)
    }

    /// Does what the page tells to do on each host and in the repository.
    fn prepare(mut self, setup: &str) -> Self {
        self.key = self.project.folder().join("drift-key");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "drift", "-f"])
            .arg(&self.key)
            .output()
            .expect("ssh-keygen runs");
        assert!(made.status.success(), "a key is made");
        let public = self.project.read("drift-key.pub");
        let line = format!("restrict,command=\"/usr/local/sbin/look-only\" {}", public.trim());
        let mut inventory = String::from(
            "[fleet]\nname = \"main\"\n\n[[use]]\nmodule = \"app\"\non = \"all\"\n\n[values.app]\npassword = \"env:APP_PASSWORD\"\n",
        );
        for host in self.fleet.hosts() {
            self.fleet.sh(&host, setup);
            self.fleet
                .sh(&host, &format!("echo '{line}' >>/root/.ssh/authorized_keys"));
            inventory.push_str(&format!(
                "[hosts.{host}]\naddress = \"{}\"\n",
                self.fleet.address(&host)
            ));
        }
        self.project.write("inventories/main.toml", &inventory);
        self.project.write(
            "modules/app/module.toml",
            "[module]\nname = \"app\"\n\n[inputs.password]\ntype = \"secret\"\ndoc = \"A secret.\"\n\n\
             [[file]]\npath = \"/etc/app.conf\"\nmode = \"0600\"\ncontent = \"password = {{ password }}\\n\"\n\n\
             [[directory]]\npath = \"/srv/app\"\n\n\
             [[command]]\nname = \"check\"\nrun = \"true\"\nprobe = \"test ! -e /srv/odd || exit 9\"\n",
        );
        let known =
            std::fs::read_to_string(self.fleet.file("known_hosts")).expect("the hosts' keys are known");
        self.project.write("inventories/known_hosts", &known);
        let release = self.project.folder().join("target/release");
        std::fs::create_dir_all(&release).expect("a folder can be made");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_muster"), release.join("muster"))
            .expect("it can be linked");
        self.shield();
        self.apply_by_an_operator();
        self
    }

    /// Puts an `ssh` in front that reads the configuration of this test's home, since the real one asks the system for it.
    fn shield(&self) {
        self.project.write(
            "bin/ssh",
            "#!/bin/sh\nexec /usr/bin/ssh -F \"$HOME/.ssh/config\" \"$@\"\n",
        );
        let ssh = self.project.folder().join("bin/ssh");
        std::fs::set_permissions(ssh, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("it can be made to run");
    }

    fn path(&self) -> String {
        let path = std::env::var("PATH").expect("there is a PATH");
        format!("{}:{path}", self.project.folder().join("bin").display())
    }

    /// Applies with a key that may write, and with the secret, as somebody does who may.
    fn apply_by_an_operator(&self) {
        let config = format!(
            "Host *\n  User root\n  IdentityFile {}\n  UserKnownHostsFile {}\n",
            self.fleet.file("key").display(),
            self.fleet.file("known_hosts").display()
        );
        self.project.write(".ssh/config", &config);
        let mut apply = self
            .project
            .command(&["-i", "inventories/main.toml", "apply", "-y", "--no-input"]);
        let output = apply
            .env("APP_PASSWORD", "hunter2")
            .env("PATH", self.path())
            .output()
            .expect("muster runs");
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(output.status.success(), "{out}{err}");
    }

    fn key_text(&self) -> String {
        self.project.read("drift-key").trim_end().to_owned()
    }

    fn tries_to_write(&self, address: &str) -> String {
        let known = format!("UserKnownHostsFile={}", self.fleet.file("known_hosts").display());
        let output = Command::new("ssh")
            .args(["-F", "none", "-o", "IdentitiesOnly=yes", "-o", &known, "-i"])
            .arg(&self.key)
            .args([&format!("root@{address}"), "echo x >/etc/written"])
            .stdin(Stdio::null())
            .output()
            .expect("ssh runs");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn runs(&self, key: &str) -> Output {
        Command::new("bash")
            // As both forges do: a command that fails ends the job.
            .args(["-e", "-o", "pipefail", "-c", &self.script])
            .current_dir(self.project.folder())
            .env("HOME", self.project.folder())
            .env("PATH", self.path())
            .env("CI", "true")
            .env("DRIFT_KEY", key)
            .env_remove("SSH_AUTH_SOCK")
            .env_remove("APP_PASSWORD")
            .stdin(Stdio::null())
            .output()
            .expect("bash runs")
    }

    fn ends(&self, key: &str, code: i32, says: &str) {
        let output = self.runs(key);
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        let kept = self.project.read("drift.json");
        assert_eq!(output.status.code(), Some(code), "{out}{err}{kept}");
        assert!(out.contains(says), "it should say `{says}`: {out}{err}");
        let lines: Vec<serde_json::Value> = kept
            .lines()
            .map(|line| serde_json::from_str(line).expect("the artefact is JSON"))
            .collect();
        assert!(!lines.is_empty(), "the artefact holds something");
        assert!(!kept.contains("hunter2"), "no secret is in the artefact");
    }
}

/// Returns the shell of the job's step that calls muster.
fn script(yaml: &str) -> String {
    let lines: Vec<&str> = yaml.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut scripts = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| line.trim_end().ends_with('|'))
        .map(|(at, head)| {
            let body = lines[at + 1..]
                .iter()
                .take_while(|line| line.trim().is_empty() || indent(line) > indent(head));
            let body: Vec<&str> = body.copied().collect();
            let margin = body.iter().copied().map(indent).min().unwrap_or(0);
            body.iter()
                .map(|line| format!("{}\n", &line[margin..]))
                .collect::<String>()
        });
    scripts
        .find(|script| script.contains("muster"))
        .expect("a step calls muster")
}

fn found_by(forge: &str, key_is_a_file: bool) {
    let fleet = Fleet::up(2);
    let job = Job::new(&fleet, forge);
    let key = if key_is_a_file {
        job.key.display().to_string()
    } else {
        job.key_text()
    };
    job.ends(&key, 0, "no drift");

    fleet.sh("h1", "echo altered >/etc/app.conf");
    job.ends(&key, 2, "the fleet has drifted");
    fleet.sh(
        "h1",
        "printf 'password = hunter2\\n' >/etc/app.conf && chmod 0600 /etc/app.conf",
    );
    job.ends(&key, 0, "no drift");

    // The command's probe cannot tell.
    fleet.sh("h1", "touch /srv/odd");
    job.ends(&key, 3, "could not look at everything");
    fleet.sh("h1", "rm /srv/odd");

    fleet.act("disconnect", "h2");
    job.ends(&key, 4, "could not look at everything");
    fleet.act("connect", "h2");

    // A look that may only look: the key itself cannot write.
    let tried = job.tries_to_write(&fleet.address("h1"));
    assert!(tried.contains("Read-only file system"), "{tried}");
    assert_eq!(
        fleet
            .sh("h1", "test -e /etc/written && echo yes || echo no")
            .trim(),
        "no"
    );
}

#[test]
fn the_github_job_says_what_the_fleet_is() {
    found_by("jobs:", false);
}

#[test]
fn the_gitlab_job_says_what_the_fleet_is() {
    found_by("artifacts:", true);
}
