//! The host's guard, with the real scripts and this machine's own shell, in a state folder of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use muster::model::body::Body;
use muster::model::digest::Digest;
use muster::model::id::{HostId, ResourceKey};
use muster::model::manifest::{Manifest, ManifestState};
use muster::model::observation::Answer;
use muster::model::op::{ContentWanted, Op, Probe};
use muster::model::target::{Sudo, Target, Transport as Way};
use muster::ports::{
    Call, Fence, LockError, LockRequest, LookReply, LookRequest, Outcome, PerformError, Secrets, Transport,
};
use muster::transport::connector::{Connector, Limits, Places};
use muster::transport::fleet::FleetTransport;
use muster::transport::perform::Keyed;

/// One pretend host: this machine, with a guard's folder and a place for files of its own.
struct Bed {
    folder: tempfile::TempDir,
    transport: FleetTransport,
    host: HostId,
}

impl Bed {
    fn new() -> Self {
        Self::with_secrets(Secrets::default())
    }

    fn with_secrets(secrets: Secrets) -> Self {
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
    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn state(&self, name: &str) -> String {
        self.path(&format!("state/{name}"))
    }

    async fn lock(&self, run: &str) -> Result<Fence, LockError> {
        self.lock_for(run, "main").await
    }

    async fn lock_for(&self, run: &str, fleet: &str) -> Result<Fence, LockError> {
        let request = LockRequest {
            run: run.parse().unwrap(),
            who: "alice@laptop".to_owned(),
            fleet: fleet.parse().unwrap(),
        };
        self.transport.lock(&self.host, &request).await
    }

    async fn perform(&self, fence: &Fence, ops: Vec<Op>) -> Result<Outcome, PerformError> {
        self.transport.perform(&self.host, &call(fence, ops)).await
    }

    async fn look(&self, probes: Vec<Probe>) -> (LookReply, Vec<Answer>) {
        let key = ResourceKey::new("test", "x");
        let request = LookRequest {
            probes: BTreeMap::from([(key.clone(), probes)]),
            ..LookRequest::default()
        };
        let mut reply = self.transport.look(&self.host, &request).await.unwrap();
        let answers = reply.answers.remove(&key).unwrap();
        (reply, answers)
    }

    async fn manifest(&self) -> ManifestState {
        self.transport
            .look(&self.host, &LookRequest::default())
            .await
            .unwrap()
            .manifest
    }

    async fn present_manifest(&self) -> Manifest {
        self.manifest()
            .await
            .present()
            .expect("the manifest is there")
            .clone()
    }
}

fn call(fence: &Fence, ops: Vec<Op>) -> Call {
    Call {
        fence: fence.clone(),
        intents: BTreeMap::new(),
        ops,
        probes: BTreeMap::new(),
        deadline: Duration::from_secs(60),
    }
}

fn write(path: &str, content: impl Into<String>) -> Op {
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
fn read_lines(
    _: muster::model::op::SettingsFormat,
    text: &str,
    keys: &BTreeSet<String>,
) -> Result<BTreeMap<String, serde_json::Value>, String> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let wanted = pairs.filter(|(key, _)| keys.contains(*key));
    Ok(wanted
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect())
}

fn edit_lines(
    _: muster::model::op::SettingsFormat,
    text: Option<&str>,
    set: &BTreeMap<String, serde_json::Value>,
    remove: &BTreeSet<String>,
) -> Result<String, String> {
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

fn text(answer: &Answer) -> (&str, i32) {
    match answer {
        Answer::Text { output, status } => (output, *status),
        Answer::NoAnswer(why) => panic!("no answer: {why}"),
    }
}

fn line<'a>(answer: &'a Answer, key: &str) -> &'a str {
    let head = text(answer).0.split("\n\n").next().unwrap_or_default();
    head.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        .unwrap_or("(no such line)")
}

fn mode(path: impl AsRef<Path>) -> u32 {
    std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn locking_makes_the_guards_files_and_gives_growing_tokens() {
    let bed = Bed::new();
    let first = bed.lock("p-1").await.unwrap();
    assert_eq!(first.token, 1);
    assert_eq!(
        bed.lock("p-1").await.unwrap().token,
        2,
        "the same run takes a new token"
    );
    assert_eq!(
        (
            mode(bed.state("")),
            mode(bed.state("salt")),
            mode(bed.state("fence"))
        ),
        (0o700, 0o600, 0o600)
    );
    let salt = std::fs::read_to_string(bed.state("salt")).unwrap();
    assert_eq!(salt.len(), 45, "32 bytes in Base64 and a line break");
    let manifest = bed.present_manifest().await;
    assert_eq!(
        (
            manifest.fleet.as_str(),
            manifest.host.as_str(),
            manifest.generation
        ),
        ("main", "h1", 0)
    );
    assert_eq!(manifest.lineage.len(), 36);
    assert!(manifest.owned.is_empty() && manifest.last_run.is_none());
}

#[tokio::test]
async fn a_look_creates_nothing() {
    let bed = Bed::new();
    assert_eq!(bed.manifest().await, ManifestState::Absent);
    assert!(!Path::new(&bed.state("")).exists());
}

#[tokio::test]
async fn another_run_is_refused_while_the_lease_lasts_and_let_in_after_release() {
    let bed = Bed::new();
    let fence = bed.lock("p-1").await.unwrap();
    match bed.lock("p-2").await {
        Err(LockError::Held { run, who, age_secs }) => {
            assert_eq!((run.as_str(), who.as_str()), ("p-1", "alice@laptop"));
            assert!(age_secs < 60);
        }
        other => panic!("{other:?}"),
    }
    bed.transport.release(&bed.host, &fence).await.unwrap();
    bed.transport.release(&bed.host, &fence).await.unwrap();
    assert_eq!(bed.lock("p-2").await.unwrap().token, 2);
}

#[tokio::test]
async fn a_file_is_written_under_the_guard_with_owner_mode_and_bytes() {
    let bed = Bed::new();
    let fence = bed.lock("p-1").await.unwrap();
    let path = bed.path("a file's \"name\" $HOME\n;rm");
    let content = "no line break at the end, a NUL \0, END-\n'\"`$(x)\\ é";
    let outcome = bed.perform(&fence, vec![write(&path, content)]).await.unwrap();
    assert!(outcome.host_now_secs > 1_700_000_000);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
    assert_eq!((mode(&path), std::fs::metadata(&path).unwrap().uid()), (0o640, 0));
    let (_, answers) = bed
        .look(vec![Probe::Path {
            path: path.clone(),
            content: ContentWanted::Text,
        }])
        .await;
    let (answer, status) = text(&answers[0]);
    assert_eq!(status, 0);
    assert_eq!(line(&answers[0], "sha256"), Digest::of(content).0);
    assert!(answer.ends_with(&format!("\n\n{content}")), "{answer}");
}
