//! How often a look goes to its host and back, and how many scripts and programs it takes. Counted, not timed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use muster::model::id::ResourceKey;
use muster::model::op::{ContentWanted, Probe};
use muster::model::target::{Sudo, Target, Transport as Way};
use muster::ports::{LookRequest, Secrets, Transport as _};
use muster::transport::fleet::FleetTransport;
use muster::transport::perform::Keyed;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::client::Client;
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
