//! How often a look goes to its host and back, and how many scripts a plan and an apply take. Counted, not timed.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use muster::apply::{Progress, Run, Start, drive};
use muster::clock::SystemClock;
use muster::hooks::LocalHooks;
use muster::model::event::{Event, Task};
use muster::model::id::{ResourceKey, RunId};
use muster::model::op::{ContentWanted, Probe};
use muster::model::target::{Sudo, Target, Transport as Way};
use muster::ports::{LookRequest, Ports, Secrets, Transport as _};
use muster::rollout::Rollout;
use muster::store::journal::{Header, JOURNAL_FORMAT, Journal};
use muster::transport::fleet::FleetTransport;
use muster::transport::perform::Keyed;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::client::Client;
use super::plans::{Builder, file};
use super::sshd::Sshd;

/// A host that has said nothing for this long waits for us. What it takes to answer is no matter: only breaks within an
/// answer count.
const QUIET: Duration = Duration::from_millis(400);

/// A relay that hands on what the client says in flights, each when the host has said all that it will say without it.
/// Returns its port and the number of flights.
async fn counting_relay(port: u16) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let own = listener.local_addr().expect("its address").port();
    let flights = Arc::new(AtomicUsize::new(0));
    let counted = flights.clone();
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.expect("a client");
        let mut host = TcpStream::connect(("127.0.0.1", port)).await.expect("the host");
        let (mut from_client, mut from_host) = (vec![0; 1 << 16], vec![0; 1 << 16]);
        let mut held = Vec::new();
        loop {
            // With something held the host gets its time to speak; with nothing held whoever speaks first is heard.
            let patience = if held.is_empty() {
                Duration::from_secs(60)
            } else {
                QUIET
            };
            let heard = timeout(patience, async {
                tokio::select! {
                    read = host.read(&mut from_host) => (true, read),
                    read = client.read(&mut from_client) => (false, read),
                }
            });
            match heard.await {
                Ok((_, Ok(0) | Err(_))) => return,
                Ok((true, Ok(count))) => client.write_all(&from_host[..count]).await.expect("a client"),
                Ok((false, Ok(count))) => held.extend_from_slice(&from_client[..count]),
                Err(_) if held.is_empty() => return,
                Err(_) => {
                    counted.fetch_add(1, Ordering::SeqCst);
                    host.write_all(&std::mem::take(&mut held))
                        .await
                        .expect("the host");
                }
            }
        }
    });
    (own, flights)
}

fn fleet(client: &Client) -> FleetTransport {
    let host = "val-1".parse().expect("a host id");
    let target = Target {
        transport: Way::Ssh(client.target.clone()),
        sudo: Sudo::None,
    };
    let keyed = Keyed {
        read: |_, _, _| Ok(BTreeMap::new()),
        edit: |_, _, _, _| Err("nothing is edited here".to_owned()),
    };
    let connector = Arc::new(client.connector());
    FleetTransport::new([(host, target)].into(), connector, Secrets::default(), keyed)
}

fn request(facts: bool) -> LookRequest {
    let file = Probe::Path {
        path: "/etc/hostname".to_owned(),
        content: ContentWanted::Text,
    };
    LookRequest {
        facts,
        probes: BTreeMap::from([(ResourceKey::new("file", "/etc/hostname"), vec![file])]),
        tools: BTreeSet::new(),
    }
}

#[tokio::test]
async fn facts_come_after_eight_round_trips_at_most() {
    let sshd = Sshd::fresh();
    let (port, flights) = counting_relay(sshd.port).await;
    let mut client = Client::of(&sshd);
    client.target.port = Some(port);
    client.knows(&format!("[127.0.0.1]:{port} {}\n", sshd.host_key()));
    let reply = fleet(&client)
        .look(&"val-1".parse().expect("a host id"), &request(true))
        .await;
    assert!(reply.expect("a look").facts.is_some_and(|facts| facts.cpus > 0));
    // Beside TCP's own: names and algorithms, keys, the service, a key offered, the key proved, a session, a command, and the
    // script. The last two are apart because sshd takes no data before it has started something; the offer goes before
    // the proof because russh asks before it signs.
    let trips = flights.load(Ordering::SeqCst);
    assert!((6..=8).contains(&trips), "{trips} round trips");
}

#[tokio::test]
async fn a_look_is_one_login_with_one_key_and_one_script() {
    let sshd = Sshd::fresh();
    let client = Client::of(&sshd);
    let (fleet, host) = (fleet(&client), "val-1".parse().expect("a host id"));
    let scripts = || sshd.log().matches("Starting session: command").count();
    fleet.look(&host, &request(true)).await.expect("a look");
    assert_eq!((sshd.logins(), scripts()), (1, 1));
    fleet.look(&host, &request(false)).await.expect("another look");
    assert_eq!((sshd.logins(), scripts()), (1, 2), "over the same connection");
    let log = sshd.log();
    assert!(!log.contains("Failed"), "no key was offered in vain: {log}");
}

/// How many scripts an sshd was given since its start.
fn scripts(sshd: &Sshd) -> usize {
    sshd.log().matches("Starting session: command").count()
}

/// Runs `muster plan` with a module on one host, and returns how many scripts that took.
fn plan(module: &str) -> usize {
    let sshd = Sshd::fresh();
    let project = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = project.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a file in a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    };
    let (port, key, user_key) = (sshd.port, sshd.host_key(), sshd.path("user_key"));
    write(
        "inventories/one.toml",
        &format!(
            "[fleet]\nname = \"one\"\n[hosts.val-1]\naddress = \"127.0.0.1\"\nport = {port}\nuser = \"root\"\n\
             host_key = \"{key}\"\nidentity_file = \"{}\"\n[[use]]\nmodule = \"app\"\non = \"all\"\n",
            user_key.display()
        ),
    );
    write(
        "modules/app/module.toml",
        &format!("[module]\nname = \"app\"\ndescription = \"Three files.\"\n{module}"),
    );
    let output = Command::new(env!("CARGO_BIN_EXE_muster"))
        .args(["-i", "inventories/one.toml", "--no-input", "plan"])
        .current_dir(project.path())
        .env("HOME", project.path())
        .env_remove("SSH_AUTH_SOCK")
        .output()
        .expect("muster runs");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("3 to create"), "{said}");
    assert_eq!(sshd.logins(), 1, "{said}");
    scripts(&sshd)
}

/// Three files that no machine has.
fn files(when: &str) -> String {
    let file = |n| {
        format!(
            "[[file]]\npath = \"/srv/no-such-folder/{n}\"\ncontent = \"{{{{ host.address }}}}\\n\"\nwhen = \"{when}\"\n"
        )
    };
    (1..=3).map(file).collect()
}

#[test]
fn a_plan_is_one_script_and_two_where_a_module_reads_facts() {
    assert_eq!(plan(&files("true")), 1);
    assert_eq!(plan(&files("facts.cpus > 0")), 2);
}

struct Quiet;

impl Progress for Quiet {
    fn started(&mut self, _: jiff::Timestamp, _: &Task) {}
    fn happened(&mut self, _: jiff::Timestamp, _: &Event) {}
}

/// Carries out a plan that writes so many files, and returns how many scripts that took.
async fn apply(count: usize) -> usize {
    let sshd = Sshd::fresh();
    let client = Client::of(&sshd);
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let names: Vec<String> = (0..count)
        .map(|n| format!("file[{}]@val-1", path(&format!("f{n}"))))
        .collect();
    let plan = Builder::new()
        .wave(1, names.iter().map(|name| file(name, &[])))
        .plan;
    let run = Run {
        plan: &plan,
        id: "0123456789ab-1".parse().expect("a run id"),
        who: "alice@laptop".to_owned(),
        secrets: Secrets::default(),
        ports: Ports {
            transport: Arc::new(fleet(&client).with_state_dir(path("state"))),
            clock: Arc::new(SystemClock),
            hooks: Arc::new(LocalHooks::for_inventory("", Secrets::default())),
        },
    };
    let header = Header {
        format: JOURNAL_FORMAT,
        plan: plan.id(),
        run: RunId::clone(&run.id),
        by_version: "0".to_owned(),
        at: jiff::Timestamp::UNIX_EPOCH,
    };
    let mut journal = Journal::create(folder.path(), &header).expect("a journal");
    let (mut interrupts, mut quiet) = (tokio::sync::mpsc::unbounded_channel().1, Quiet);
    let driven = drive(
        &run,
        Rollout::new(&plan),
        Start::default(),
        &mut journal,
        &mut interrupts,
        &mut quiet,
    );
    let outcome = driven.await.expect("the journal can be written");
    assert_eq!((outcome.exit, outcome.applied), (0, count), "{outcome:?}");
    assert_eq!(sshd.logins(), 1);
    scripts(&sshd)
}

#[tokio::test]
async fn an_apply_is_three_scripts_however_many_brief_changes_go_in_one_row() {
    // The lock with a look at what is about to be changed, the row, and the manifest with the lock's end.
    assert_eq!((apply(1).await, apply(12).await), (3, 3));
}
