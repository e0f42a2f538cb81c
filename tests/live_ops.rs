//! Every op on a pretended host and on a real one: what is seen afterwards is the same, done once or twice, done or failed.
//!
//! The cases are data: `tests/ops/*.toml`. What no two hosts share (times, invocations, sizes of folders) is left out.

#[path = "live/fleet.rs"]
#[allow(dead_code)]
mod fleet;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use muster::compose;
use muster::keyed;
use muster::model::id::{HostId, ResourceKey};
use muster::model::observation::Answer;
use muster::model::op::{Op, Probe};
use muster::model::secret::{Secret, SecretSource};
use muster::model::target::{HostKey, SshTarget, Sudo, Target, Transport as Way};
use muster::ports::{Call, Fence, LockRequest, LookRequest, PerformError, Secrets, Transport};
use muster::sim::{Account, Host, Scripted, Station, World};
use muster::transport::connector::{Connector, Limits, Places};
use muster::transport::engine::EngineReads;
use muster::transport::fleet::FleetTransport;
use muster::transport::perform::Keyed;
use serde::Deserialize;

/// One case: what was there, what is done, what is seen.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// Ops that make what is there before.
    #[serde(default)]
    given: Vec<Op>,
    /// The ops under test.
    ops: Vec<Op>,
    /// What is looked at.
    probes: Vec<Probe>,
    /// Whether the last op fails.
    #[serde(default)]
    fails: bool,
    /// What scripts lead to, for the pretended host: the script, its probe, and what that prints.
    #[serde(default)]
    scripts: Vec<[String; 3]>,
}

fn cases() -> BTreeMap<String, Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ops");
    let entries = std::fs::read_dir(folder).expect("the cases are there");
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.expect("the folder is readable").path();
        let text = std::fs::read_to_string(&path).expect("a case is readable");
        let case = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (
            path.file_stem()
                .expect("it has a name")
                .to_string_lossy()
                .into_owned(),
            case,
        )
    };
    entries.map(read).collect()
}

fn secrets() -> Secrets {
    let source: SecretSource = "env:PASS".parse().expect("a source");
    Secrets::new(BTreeMap::from([(source, Secret::new("hunter2-hunter2"))]))
}

/// A host behind the trait, whichever it is.
struct Side<'t> {
    transport: &'t dyn Transport,
    host: HostId,
    fence: Fence,
}

impl<'t> Side<'t> {
    async fn lock(transport: &'t dyn Transport, host: &str, run: &str) -> Self {
        let host: HostId = host.parse().expect("a host");
        let request = LockRequest {
            run: run.parse().expect("a run id"),
            who: "alice@laptop".to_owned(),
            fleet: "ops".parse().expect("a fleet"),
            former: None,
            lease_secs: 600,
        };
        let fence = transport.lock(&host, &request).await.expect("the host is free");
        Self {
            transport,
            host,
            fence,
        }
    }

    /// Performs ops, and returns the words of the op that failed, if one did.
    async fn perform(&self, ops: &[Op]) -> Option<String> {
        let call = Call {
            fence: self.fence.clone(),
            is_under_switch: false,
            intents: BTreeMap::new(),
            ops: ops.to_vec(),
            probes: BTreeMap::new(),
            deadline: Duration::from_secs(300),
        };
        match self.transport.perform(&self.host, &call).await {
            Ok(_) => None,
            Err(PerformError::Failed { operation, .. }) => Some(operation),
            Err(error) => panic!("{}: {error}", self.host),
        }
    }

    async fn look(&self, probes: &[Probe]) -> Vec<String> {
        let key = ResourceKey::new("test", "x");
        let request = LookRequest {
            probes: BTreeMap::from([(key.clone(), probes.to_vec())]),
            ..LookRequest::default()
        };
        let reply = self
            .transport
            .look(&self.host, &request)
            .await
            .expect("the host answers");
        probes
            .iter()
            .zip(&reply.answers[&key])
            .map(|(probe, answer)| shared(probe, answer))
            .collect()
    }
}

/// Returns what two hosts share of an answer.
fn shared(probe: &Probe, answer: &Answer) -> String {
    let Answer::Text { output, status } = answer else {
        return format!("{answer:?}");
    };
    let (head, content) = output.split_once("\n\n").unwrap_or((output, ""));
    let own: &[&str] = match probe {
        Probe::Path { .. } | Probe::AuthorizedKeys(_) if head.contains("type=file") => {
            &["changed", "print", "uid", "gid"]
        }
        Probe::Path { .. } | Probe::AuthorizedKeys(_) => &["changed", "size", "uid", "gid"],
        Probe::Unit(_) => &[
            "InvocationID",
            "ActiveEnterTimestamp",
            "FragmentPath",
            "Type",
            "Result",
            "CanReload",
            "SubState",
        ],
        _ => &[],
    };
    let is_shared = |line: &&str| !own.contains(&line.split('=').next().unwrap_or_default());
    let mut lines: Vec<&str> = head.lines().filter(is_shared).collect();
    lines.sort_unstable();
    let head = match probe {
        // The version is the archive's, and numbers of accounts and groups are each host's own.
        Probe::Package(_) => head.split('\t').take(2).collect::<Vec<_>>().join(" "),
        Probe::Account(_) => {
            let (first, rest) = head.split_once('\n').unwrap_or((head, ""));
            let fields: Vec<&str> = first.split(':').collect();
            let kept: Vec<&str> = fields
                .iter()
                .enumerate()
                .filter(|(at, _)| ![1, 2, 3].contains(at))
                .map(|(_, field)| *field)
                .collect();
            format!("{} {rest} {content}", kept.join(":"))
        }
        Probe::Group(_) => head.split(':').next().unwrap_or_default().to_owned(),
        Probe::Settings { .. } => serde_json::from_str::<serde_json::Value>(output)
            .map_or_else(|_| "not JSON".to_owned(), |json| json.to_string()),
        Probe::Engine(_) => engine(output),
        Probe::Command { .. } => return format!("status {status} {}", output.trim()),
        _ => format!("{}|{content}", lines.join(" ")),
    };
    match status {
        0 => head,
        // What a parser says of a broken file is its own.
        status => format!("status {status}"),
    }
}

/// What an engine says, without what is each engine's own: ids, times, addresses, what the image brings.
fn engine(output: &str) -> String {
    let said: serde_json::Value = serde_json::from_str(output).expect("JSON");
    let parts = ["/name", "/image", "/state/status", "/driver", "/is_internal"];
    let parts = parts.iter().map(|part| said.pointer(part).cloned());
    let settings = ["command", "mounts", "restart", "limits", "stop_grace_secs"];
    let settings = settings
        .iter()
        .map(|part| said.pointer(&format!("/settings/{part}")).cloned());
    let networks = said
        .pointer("/settings/networks")
        .and_then(|networks| networks.as_object());
    let networks: Vec<&String> = networks
        .into_iter()
        .flat_map(|networks| networks.keys())
        .collect();
    let shown = said.pointer("/environment/SHOWN");
    format!(
        "{:?} {:?} {networks:?} {shown:?}",
        parts.collect::<Vec<_>>(),
        settings.collect::<Vec<_>>()
    )
}

/// What a case came to on one side: which op failed, and what is seen before, after, and after once more.
#[derive(Debug, PartialEq)]
struct Seen {
    failed: Option<String>,
    before: Vec<String>,
    after: Vec<String>,
    again: Vec<String>,
}

async fn play(side: &Side<'_>, name: &str, case: &Case) -> Seen {
    let given = side.perform(&case.given).await;
    assert_eq!(given, None, "{name}: what was to be there before");
    let before = side.look(&case.probes).await;
    let failed = side.perform(&case.ops).await;
    let after = side.look(&case.probes).await;
    let failed_again = side.perform(&case.ops).await;
    assert_eq!(
        failed.is_some(),
        case.fails,
        "{name} on {}: {failed:?}",
        side.host
    );
    assert_eq!(failed, failed_again, "{name} on {}: once more", side.host);
    let again = side.look(&case.probes).await;
    assert_eq!(after, again, "{name} on {}: twice is once", side.host);
    Seen {
        failed,
        before,
        after,
        again,
    }
}

/// The pretended host, prepared like the image of the real one.
fn pretended(cases: &BTreeMap<String, Case>) -> World {
    let id: HostId = "sim".parse().expect("a host");
    let mut host = Host::new();
    host.groups.insert("games".to_owned(), 60);
    host.parameters
        .insert("net.ipv4.ip_default_ttl".to_owned(), "64".to_owned());
    let games = Account {
        uid: 5,
        group: "games".to_owned(),
        home: "/usr/games".to_owned(),
        shell: "/usr/sbin/nologin".to_owned(),
        ..Account::default()
    };
    host.accounts.insert("games".to_owned(), games);
    for [script, probe, prints] in cases.values().flat_map(|case| &case.scripts) {
        let led = Scripted {
            probe: probe.clone(),
            prints: prints.clone(),
        };
        host.scripts.insert(script.clone(), led);
    }
    host.engine.images.insert("box:1".to_owned());
    let station = Station::new(&id, host, "ops".parse().expect("a fleet"));
    World::new(1, BTreeMap::from([(id, station)]), secrets())
}

fn real(fleet: &fleet::Fleet) -> FleetTransport {
    let known = std::fs::read_to_string(fleet.file("known_hosts")).expect("known_hosts is readable");
    let address = fleet.address("h1");
    let key = known.lines().find_map(|line| {
        let (names, key) = line.split_once(' ')?;
        names
            .split(',')
            .any(|name| name == address || name == "h1")
            .then(|| key.to_owned())
    });
    let target = Target {
        transport: Way::Ssh(SshTarget {
            address,
            port: None,
            user: Some("root".to_owned()),
            identity_file: Some(fleet.file("key").to_string_lossy().into_owned()),
            host_key: key.map_or(HostKey::AcceptNew, HostKey::Pinned),
            via: None,
        }),
        sudo: Sudo::None,
    };
    let connector = Connector::new(Limits::default(), Places::of_user(), secrets(), None);
    let keyed = Keyed {
        read: keyed::read,
        edit: keyed::edit,
    };
    let targets = BTreeMap::from([("h1".parse().expect("a host"), target)]);
    FleetTransport::new(targets, Arc::new(connector), secrets(), keyed).with_engines(EngineReads {
        container: |container, image, shows, print| {
            compose::inspected(container, image, &compose::Veil { shows, print })
        },
        image: |image, shows, print| compose::image(image, &compose::Veil { shows, print }),
        network: compose::network,
        volume: compose::volume,
    })
}

#[test]
fn every_op_is_seen_alike_on_a_pretended_and_on_a_real_host() {
    let cases = cases();
    let world = pretended(&cases);
    let session = world.session();
    let ports = session.ports();
    let pretend = world.run(async {
        let side = Side::lock(&*ports.transport, "sim", "0123456789ab-1").await;
        let mut seen = BTreeMap::new();
        for (name, case) in &cases {
            seen.insert(name.clone(), play(&side, name, case).await);
        }
        seen
    });
    let pretend = pretend.expect("the pretended host ends");
    let fleet = fleet::Fleet::up_with_engines(1);
    let transport = real(&fleet);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut differ = Vec::new();
    runtime.block_on(async {
        let side = Side::lock(&transport, "h1", "0123456789ab-1").await;
        for (name, case) in &cases {
            let real = play(&side, name, case).await;
            if real != pretend[name] {
                differ.push(format!(
                    "{name}:\n  real      {real:?}\n  pretended {:?}",
                    pretend[name]
                ));
            }
        }
    });
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

/// Names an op by its variant, as the cases spell it.
fn variant(op: &Op) -> String {
    let value = serde_json::to_value(op).expect("ops are plain data");
    let name = value.as_object().and_then(|object| object.keys().next().cloned());
    name.unwrap_or_else(|| value.as_str().expect("a variant without fields").to_owned())
}

#[test]
fn every_op_has_a_case_that_goes_well() {
    let cases = cases();
    let tried: BTreeSet<String> = cases
        .values()
        .filter(|case| !case.fails)
        .flat_map(|case| case.ops.iter().map(variant))
        .collect();
    let source = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/model/op.rs"))
        .expect("the source is there");
    let (_, rest) = source.split_once("pub enum Op {").expect("the ops are there");
    let (body, _) = rest.split_once("\n}\n").expect("they end");
    let is_variant =
        |line: &&str| line.starts_with("    ") && line[4..].starts_with(|c: char| c.is_ascii_uppercase());
    let names = body
        .lines()
        .filter(is_variant)
        .map(|line| line.trim().trim_end_matches([' ', '{', ',', '(', ')']));
    let snake = |name: &str| {
        let name = name.split('(').next().unwrap_or_default();
        let mut out = String::new();
        for c in name.chars() {
            if c.is_ascii_uppercase() && !out.is_empty() {
                out.push('_');
            }
            out.push(c.to_ascii_lowercase());
        }
        out
    };
    let missing: Vec<String> = names.map(snake).filter(|name| !tried.contains(name)).collect();
    assert!(missing.is_empty(), "no case for {missing:?}; tried {tried:?}");
    assert!(
        cases.values().filter(|case| case.fails).count() >= 6,
        "ops fail too"
    );
}
