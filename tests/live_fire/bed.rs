//! Hosts and projects for the tests of this binary. Hosts are started a few at a time and handed out once each.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::fleet::{Fleet, Project, Ran};

/// How many hosts are started together: a few cost little more than one.
const BATCH: usize = 6;
/// The longest that anything is waited for.
pub const SOON: Duration = Duration::from_secs(90);

/// Shells that wait for the end of this process, and then take a fleet down: statics are not dropped.
static GUARDIANS: Mutex<Vec<Child>> = Mutex::new(Vec::new());
static FRESH: Mutex<Vec<(&'static Fleet, String)>> = Mutex::new(Vec::new());

/// A project on hosts of its own, all in one wave.
pub struct Bed {
    pub fleet: &'static Fleet,
    pub project: Project<'static>,
    pub hosts: Vec<String>,
}

impl Bed {
    /// Takes so many hosts that nobody has used.
    pub fn new(count: usize) -> Self {
        let (fleet, hosts) = take(count);
        let names: Vec<&str> = hosts.iter().map(String::as_str).collect();
        let project = Project::new(fleet, &names);
        project.extend_inventory(&format!("\n[policy]\ncanary = {count}\n"));
        Self {
            fleet,
            project,
            hosts,
        }
    }

    /// Returns the first host, for tests that need no more.
    pub fn host(&self) -> &str {
        &self.hosts[0]
    }

    /// Runs a script on the first host, past muster and past sshd.
    pub fn sh(&self, script: &str) -> String {
        self.fleet.sh(self.host(), script)
    }

    /// Starts muster and lets it run.
    pub fn start(&self, args: &[&str]) -> Running {
        self.start_with(args, &[])
    }

    /// Starts muster with variables of the environment.
    pub fn start_with(&self, args: &[&str], variables: &[(&str, &str)]) -> Running {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = |name: &str| File::create(folder.path().join(name)).expect("a file for what is said");
        let child = self
            .project
            .command(args)
            .envs(variables.iter().copied())
            .stdout(Stdio::from(file("stdout")))
            .stderr(Stdio::from(file("stderr")))
            .spawn()
            .expect("muster runs");
        Running { child, folder }
    }

    /// Resumes, and asserts that it goes through and leaves nothing to do.
    pub fn resume(&self) -> Ran {
        let ran = self.project.muster(&["resume", "-y", "--no-input"]);
        let journal = std::fs::read_to_string(self.journal()).expect("the journal is readable");
        assert_eq!(ran.code, 0, "resume: {}\n{journal}", said(&ran));
        self.project.assert_settled();
        ran
    }

    /// Returns the path of the latest journal.
    pub fn journal(&self) -> std::path::PathBuf {
        let folder = self.project.folder().join("plans/fleet");
        let entries = std::fs::read_dir(&folder).expect("a folder of plans");
        let journals = entries.filter_map(|entry| {
            let path = entry.expect("an entry").path();
            let is_journal = path.to_string_lossy().ends_with(".journal.jsonl");
            let at = path.metadata().and_then(|data| data.modified()).expect("a time");
            is_journal.then_some((at, path))
        });
        journals.max().expect("a journal").1
    }

    /// Returns the events of the latest journal.
    pub fn events(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.journal()).expect("the journal is readable");
        let lines = text.lines().skip(1);
        lines
            .map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"))
            .collect()
    }

    /// Waits until a condition on a host holds.
    pub fn until(&self, host: &str, condition: &str) {
        let deadline = Instant::now() + SOON;
        while !self.fleet.try_sh(host, condition).status.success() {
            assert!(Instant::now() < deadline, "on {host} never: {condition}");
        }
    }
}

/// Everything that a run of muster said.
pub fn said(ran: &Ran) -> String {
    format!("{}\n{}", ran.stdout, ran.stderr)
}

/// Asserts that a run said all of these.
pub fn assert_said(ran: &Ran, parts: &[&str]) {
    let said = said(ran);
    for part in parts {
        assert!(
            said.contains(part),
            "`{part}` is not said (code {}):\n{said}",
            ran.code
        );
    }
}

fn take(count: usize) -> (&'static Fleet, Vec<String>) {
    // A test that failed to start a fleet must not fail the others with a riddle.
    let mut fresh = FRESH.lock().unwrap_or_else(PoisonError::into_inner);
    if fresh.len() < count {
        let fleet = for_the_process(Fleet::up(BATCH.max(count)));
        let hosts = fleet.hosts().into_iter().rev();
        *fresh = hosts.map(|host| (fleet, host)).collect();
    }
    let at = fresh.len() - count;
    let mut taken = fresh.split_off(at);
    taken.sort_by(|(_, a), (_, b)| a.cmp(b));
    let fleet = taken[0].0;
    (fleet, taken.into_iter().map(|(_, host)| host).collect())
}

/// Keeps a fleet for as long as this process lives.
fn for_the_process(fleet: Fleet) -> &'static Fleet {
    let state = fleet.file("");
    let name = state.file_name().expect("a fleet's state lies under its name");
    let guardian = Command::new("sh")
        .args(["-c", "cat >/dev/null; exec tests/fleet/fleet down \"$1\"", "sh"])
        .arg(name)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell runs");
    let mut guardians = GUARDIANS.lock().unwrap_or_else(PoisonError::into_inner);
    guardians.push(guardian);
    Box::leak(Box::new(fleet))
}

/// muster under way.
pub struct Running {
    child: Child,
    folder: tempfile::TempDir,
}

impl Running {
    /// Waits for its end.
    pub fn end(mut self) -> Ran {
        let deadline = Instant::now() + 2 * SOON;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                break status;
            }
            assert!(Instant::now() < deadline, "muster never ended: {}", self.so_far());
            std::thread::sleep(Duration::from_millis(20));
        };
        use std::os::unix::process::ExitStatusExt as _;
        Ran {
            code: status.code().unwrap_or_else(|| -status.signal().unwrap_or(0)),
            stdout: self.read("stdout"),
            stderr: self.read("stderr"),
        }
    }

    /// Says whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_none()
    }

    fn so_far(&self) -> String {
        format!("{}\n{}", self.read("stdout"), self.read("stderr"))
    }

    fn read(&self, name: &str) -> String {
        let bytes = std::fs::read(self.folder.path().join(name)).expect("what was said is readable");
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A test that fails must not leave muster behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
