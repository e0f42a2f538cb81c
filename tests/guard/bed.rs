//! A host to try the guard on: this machine's own shell, with a state folder and a place for files of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use muster::model::body::Body;
use muster::model::id::{HostId, ResourceKey};
use muster::model::manifest::{Manifest, ManifestState, Origin, Owned, OwnedState};
use muster::model::observation::Answer;
use muster::model::op::{Op, Probe, SettingsFormat};
use muster::model::target::{Sudo, Target, Transport as Way};
use muster::ports::{
    Call, Fence, LockError, LockRequest, LookReply, LookRequest, Outcome, PerformError, Secrets, Transport,
};
use muster::transport::connector::{Connector, Limits, Places};
use muster::transport::fleet::FleetTransport;
use muster::transport::perform::Keyed;

/// One pretend host: this machine, with a guard's folder and a place for files of its own.
pub struct Bed {
    folder: tempfile::TempDir,
    pub transport: FleetTransport,
    pub host: HostId,
}

impl Bed {
    pub fn new() -> Self {
        Self::with_secrets(Secrets::default())
    }

    pub fn with_secrets(secrets: Secrets) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let host: HostId = "h1".parse().unwrap();
        let target = Target {
            transport: Way::Local,
            sudo: Sudo::None,
        };
        let connector = Connector::new(Limits::default(), Places::of_user(), secrets.clone(), None);
        let keyed = Keyed {
            read: read_lines,
            edit: edit_lines,
        };
        let targets = BTreeMap::from([(host.clone(), target)]);
        let transport = FleetTransport::new(targets, Arc::new(connector), secrets, keyed)
            .with_state_dir(folder.path().join("state").to_str().unwrap());
        Self {
            folder,
            transport,
            host,
        }
    }

    /// Returns a path for files under test.
    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    pub fn state(&self, name: &str) -> String {
        self.path(&format!("state/{name}"))
    }

    pub async fn lock(&self, run: &str) -> Result<Fence, LockError> {
        self.lock_for(run, "main").await
    }

    pub async fn lock_for(&self, run: &str, fleet: &str) -> Result<Fence, LockError> {
        self.transport
            .lock(&self.host, &request(run, fleet, "alice@laptop"))
            .await
    }

    pub async fn perform(&self, fence: &Fence, ops: Vec<Op>) -> Result<Outcome, PerformError> {
        self.transport.perform(&self.host, &call(fence, ops)).await
    }

    pub async fn look(&self, probes: Vec<Probe>) -> (LookReply, Vec<Answer>) {
        let key = ResourceKey::new("test", "x");
        let request = LookRequest {
            probes: BTreeMap::from([(key.clone(), probes)]),
            ..LookRequest::default()
        };
        let mut reply = self.transport.look(&self.host, &request).await.unwrap();
        let answers = reply.answers.remove(&key).unwrap();
        (reply, answers)
    }

    pub async fn manifest(&self) -> ManifestState {
        self.transport
            .look(&self.host, &LookRequest::default())
            .await
            .unwrap()
            .manifest
    }

    pub async fn present_manifest(&self) -> Manifest {
        self.manifest()
            .await
            .present()
            .expect("the manifest is there")
            .clone()
    }
}

pub fn call(fence: &Fence, ops: Vec<Op>) -> Call {
    Call {
        fence: fence.clone(),
        is_under_switch: false,
        intents: BTreeMap::new(),
        ops,
        probes: BTreeMap::new(),
        deadline: Duration::from_secs(60),
    }
}

pub fn write(path: &str, content: impl Into<String>) -> Op {
    Op::WriteFile {
        path: path.to_owned(),
        body: Body::text(content),
        owner: "root".to_owned(),
        group: "root".to_owned(),
        mode: "0640".to_owned(),
        validate: None,
    }
}

/// A keyed edit that is simple enough to be seen through: `key=value` lines.
pub fn read_lines(
    _: SettingsFormat,
    text: &str,
    keys: &BTreeSet<String>,
) -> Result<BTreeMap<String, serde_json::Value>, String> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let wanted = pairs.filter(|(key, _)| keys.contains(*key));
    Ok(wanted
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect())
}

pub fn edit_lines(
    _: SettingsFormat,
    text: Option<&str>,
    set: &BTreeMap<String, serde_json::Value>,
    remove: &BTreeSet<String>,
) -> Result<String, String> {
    // Another writer: a file that says `race=PATH` is changed between the read and the write.
    if let Some(path) = text
        .unwrap_or_default()
        .lines()
        .find_map(|line| line.strip_prefix("race="))
    {
        std::fs::write(path, "raced=yes\n").unwrap();
    }
    let is_kept = |line: &&str| {
        let key = line.split('=').next().unwrap_or_default();
        !set.contains_key(key) && !remove.contains(key)
    };
    let kept = text
        .unwrap_or_default()
        .lines()
        .filter(is_kept)
        .map(|line| format!("{line}\n"));
    let new = set
        .iter()
        .map(|(key, value)| format!("{key}={}\n", value.as_str().unwrap_or("?")));
    Ok(kept.chain(new).collect())
}

pub fn text(answer: &Answer) -> (&str, i32) {
    match answer {
        Answer::Text { output, status } => (output, *status),
        Answer::NoAnswer(why) => panic!("no answer: {why}"),
    }
}

pub fn line<'a>(answer: &'a Answer, key: &str) -> &'a str {
    let head = text(answer).0.split("\n\n").next().unwrap_or_default();
    head.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        .unwrap_or("(no such line)")
}

pub fn mode(path: impl AsRef<Path>) -> u32 {
    std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

pub fn owned(state: OwnedState) -> Owned {
    Owned {
        origin: Origin::Made,
        state,
        spec: serde_json::json!({"path": "/etc/x", "content": "some text\nof two lines\n"}),
        needs: BTreeSet::new(),
        protect: false,
        delete: false,
        after: None,
        changed_at_secs: None,
        started_with: None,
        outputs: BTreeMap::new(),
        made_keys: BTreeSet::new(),
    }
}

/// Returns what an op's failure named, its status and its last lines.
pub fn failure(result: Result<Outcome, PerformError>) -> (String, i32, String) {
    match result {
        Err(PerformError::Failed {
            operation,
            status,
            tail,
            ..
        }) => (operation, status, tail.join("\n")),
        other => panic!("not a failed op: {other:?}"),
    }
}

/// Runs a script as the transport does, with a shell of choice.
pub fn raw(shell: &[&str], script: &str) -> std::process::Output {
    use std::io::Write as _;
    let mut child = spawn(shell);
    let whole = format!("main() {{\n{script}\n}}\nmain </dev/null\n");
    child.stdin.take().unwrap().write_all(whole.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// Starts a shell that reads a script.
pub fn spawn(shell: &[&str]) -> std::process::Child {
    use std::os::unix::process::CommandExt as _;
    use std::process::{Command, Stdio};
    Command::new(shell[0])
        .args(&shell[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap()
}

/// Waits until something is so, with a bound.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited in vain until {what}");
}

/// Makes a request for a lock, of a host that was never known under another name.
pub fn request(run: &str, fleet: &str, who: &str) -> LockRequest {
    LockRequest {
        run: run.parse().unwrap(),
        who: who.to_owned(),
        fleet: fleet.parse().unwrap(),
        former: None,
        lease_secs: 60,
    }
}
