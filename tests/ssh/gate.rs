//! Gates over SSH: what is not good, and what could not be asked.

use std::sync::Arc;
use std::time::Duration;

use muster::keyed;
use muster::model::gate::Check;
use muster::model::id::HostId;
use muster::model::target::{Target, Transport as Way};
use muster::ports::{ReachError, Said, Secrets, Transport as _};
use muster::transport::fleet::FleetTransport;
use muster::transport::perform::Keyed;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::client::Client;
use super::sshd::{Keys, Sshd, free_port};

const KEYED: Keyed = Keyed {
    read: keyed::read,
    edit: keyed::edit,
};

pub fn val_1() -> HostId {
    "val-1".parse().expect("a host id")
}

pub fn transport(client: &Client) -> FleetTransport {
    let target = Target {
        transport: Way::Ssh(client.target.clone()),
        sudo: client.sudo.clone(),
    };
    let connector = Arc::new(client.connector());
    FleetTransport::new([(val_1(), target)].into(), connector, Secrets::default(), KEYED)
}

async fn ask(transport: &FleetTransport, port: u16) -> Result<Said, ReachError> {
    let check = Check::Tcp {
        address: "127.0.0.1".to_owned(),
        port,
    };
    transport.ask(&val_1(), &check, Duration::from_secs(10)).await
}

/// A relay to an sshd that cuts every connection when it is told to.
async fn relay(sshd: &Sshd) -> (u16, Arc<Notify>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let port = listener.local_addr().expect("its address").port();
    let cut = Arc::new(Notify::new());
    let (to, is_cut) = (sshd.port, cut.clone());
    tokio::spawn(async move {
        while let Ok((mut caller, _)) = listener.accept().await {
            let is_cut = is_cut.clone();
            tokio::spawn(async move {
                let mut sshd = TcpStream::connect(("127.0.0.1", to)).await.expect("sshd listens");
                tokio::select! {
                    _ = copy_bidirectional(&mut caller, &mut sshd) => {}
                    () = is_cut.notified() => {}
                }
            });
        }
    });
    (port, cut)
}

#[tokio::test]
async fn a_gate_goes_on_over_a_new_connection_where_the_old_one_is_gone() {
    let sshd = Sshd::fresh();
    let (port, cut) = relay(&sshd).await;
    let mut client = Client::of(&sshd);
    client.target.port = Some(port);
    client.knows(&format!("[127.0.0.1]:{port} {}\n", sshd.host_key()));
    let transport = transport(&client);
    let (open, shut) = (sshd.port, free_port());
    assert!(ask(&transport, open).await.expect("asked").good);
    let said = ask(&transport, shut)
        .await
        .expect("asked: nobody listens there, which is an answer");
    assert!(!said.good && said.what.contains("no connection to"), "{said:?}");
    cut.notify_waiters();
    // The end of the connection may be noticed at this question or have been noticed before it.
    let during = ask(&transport, open).await;
    assert!(
        matches!(
            &during,
            Err(ReachError::Unreachable(_)) | Ok(Said { good: true, .. })
        ),
        "{during:?}"
    );
    assert!(
        ask(&transport, open)
            .await
            .expect("asked over a new connection")
            .good
    );
    assert_eq!(sshd.logins(), 2);
}

#[tokio::test]
async fn a_host_that_forbids_forwarding_was_not_asked() {
    let sshd = Keys::new().serve("AllowTcpForwarding no");
    let client = Client::of(&sshd);
    let transport = transport(&client);
    let error = ask(&transport, sshd.port).await.expect_err("it forbids it");
    assert!(error.to_string().contains("AllowTcpForwarding"), "{error}");
}
