//! Hosts that hang, hang up and vanish.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use muster::apply::{Errand, HostEnd, exec};
use muster::clock::SystemClock;
use muster::hooks::LocalHooks;
use muster::ports::{Ports, Secrets};
use muster::transport::shell::ShellError;
use tokio::io::{AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::unbounded_channel;
use tokio::sync::watch;

use super::client::Client;
use super::gate::{transport, val_1};
use super::sshd::{Sshd, free_port, until};

/// A listener that says one thing and then nothing, and counts who came.
async fn silent(banner: &'static [u8]) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let port = listener.local_addr().expect("its address").port();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let _ = stream.write_all(banner).await;
            open.push(stream);
        }
    });
    (port, count)
}

#[tokio::test]
async fn a_host_that_hangs_is_given_up_in_time() {
    for banner in [&b""[..], b"SSH-2.0-hanging\r\n"] {
        let (port, count) = silent(banner).await;
        let mut client = Client::at(port);
        client.limits.connect = Duration::from_millis(300);
        let started = Instant::now();
        let error = client.refusal().await.to_string();
        assert!(
            error.contains("`val-1`") && error.contains("says nothing in SSH for 0.3 s"),
            "{error}"
        );
        assert!(started.elapsed() < Duration::from_secs(10));
        assert_eq!(
            count.load(Ordering::SeqCst),
            1,
            "a hanging host is not tried again"
        );
    }
}

#[tokio::test]
async fn a_host_that_hangs_keeps_nobody_else_from_logging_in() {
    let (port, count) = silent(b"").await;
    let sshd = Sshd::fresh();
    let mut client = Client::of(&sshd);
    client.limits.logins_max = 1;
    client.limits.connect = Duration::from_secs(60);
    let connector = client.connector();
    let mut hung = Client::at(port);
    hung.target.identity_file = client.target.identity_file.clone();
    let waiting = hung.shell_by(&connector);
    tokio::pin!(waiting);
    let reached = async {
        until("the hung host is connected to", || {
            count.load(Ordering::SeqCst) == 1
        })
        .await;
        client.shell_by(&connector).await.expect("a shell");
    };
    tokio::select! {
        ended = &mut waiting => panic!("it hangs: {:?}", ended.err()),
        () = reached => {}
    }
}

#[tokio::test]
async fn a_host_that_refuses_is_tried_again_and_named() {
    let mut client = Client::at(free_port());
    client.limits.attempts = 2;
    let error = client.refusal().await.to_string();
    assert!(
        error.contains("`val-1` (root@127.0.0.1:") && error.contains("(2 attempts)"),
        "{error}"
    );
}

/// A relay to an sshd that hangs up on the first callers, and can go silent.
async fn relay(sshd: &Sshd, hang_up: usize) -> (u16, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let port = listener.local_addr().expect("its address").port();
    let (silence, is_silent) = watch::channel(false);
    let to = sshd.port;
    tokio::spawn(async move {
        for index in 0.. {
            let Ok((mut caller, _)) = listener.accept().await else {
                return;
            };
            if index < hang_up {
                continue;
            }
            let mut is_silent = is_silent.clone();
            tokio::spawn(async move {
                let mut sshd = TcpStream::connect(("127.0.0.1", to)).await.expect("sshd listens");
                tokio::select! {
                    _ = copy_bidirectional(&mut caller, &mut sshd) => {}
                    () = async { drop(is_silent.wait_for(|is| *is).await) } => std::future::pending().await,
                }
            });
        }
    });
    (port, silence)
}

#[tokio::test]
async fn a_connection_reset_before_the_banner_is_tried_again() {
    let sshd = Sshd::fresh();
    let (port, _silence) = relay(&sshd, 2).await;
    let mut client = Client::of(&sshd);
    client.target.port = Some(port);
    client.knows(&format!("[127.0.0.1]:{port} {}\n", sshd.host_key()));
    client.shell().await.expect("the third attempt");
    client.limits.attempts = 2;
    let (port, _silence) = relay(&sshd, 3).await;
    client.target.port = Some(port);
    client.knows(&format!("[127.0.0.1]:{port} {}\n", sshd.host_key()));
    client
        .shell()
        .await
        .expect("the attempts are few, and patience is left");
    client.limits.patience = Duration::ZERO;
    let (port, _silence) = relay(&sshd, 2).await;
    client.target.port = Some(port);
    let error = client.refusal().await.to_string();
    assert!(error.contains("hung up during the handshake"), "{error}");
}

#[tokio::test]
async fn a_host_that_vanishes_is_noticed_by_keepalives() {
    let sshd = Sshd::fresh();
    let (port, silence) = relay(&sshd, 0).await;
    let mut client = Client::of(&sshd);
    client.target.port = Some(port);
    client.knows(&format!("[127.0.0.1]:{port} {}\n", sshd.host_key()));
    client.limits.keepalive = Duration::from_millis(100);
    let shell = client.shell().await.expect("a shell");
    let begun = sshd.path("begun");
    let script = format!(": >{}; sleep 60", begun.display());
    let vanish = async {
        super::sshd::until("the script begins", || begun.exists()).await;
        silence.send(true).expect("the relay runs");
    };
    let (ran, ()) = tokio::join!(shell.run(&script, super::run::SOON), vanish);
    assert!(matches!(ran, Err(ShellError::Lost(_))), "{ran:?}");
}

/// A person asks for the end of a command on a host that has fallen silent: nobody may say that it stopped.
#[tokio::test]
async fn a_command_whose_end_nobody_sees_has_not_stopped() {
    let sshd = Sshd::fresh();
    let (port, silence) = relay(&sshd, 0).await;
    let mut client = Client::of(&sshd);
    client.target.port = Some(port);
    client.knows(&format!("[127.0.0.1]:{port} {}\n", sshd.host_key()));
    let transport = Arc::new(transport(&client));
    let ports = Ports {
        transport: transport.clone(),
        clock: Arc::new(SystemClock),
        hooks: Arc::new(LocalHooks::for_inventory("", Secrets::default())),
    };
    let began = sshd.path("began");
    let errand = Errand {
        run: "exec-1".parse().expect("a name"),
        who: "alice@laptop".to_owned(),
        fleet: "main".parse().expect("a name"),
        hosts: [val_1()].into(),
        command: format!("touch {}; sleep 30", began.display()),
        deadline: Duration::from_secs(60),
        is_read_only: true,
        lease_secs: 60,
        parallel: 1,
    };
    let (ask, mut asked) = unbounded_channel();
    let vanish = async {
        until("the command begins", || began.exists()).await;
        silence.send(true).expect("the relay runs");
        ask.send(()).expect("somebody hears it");
    };
    let run = exec(&errand, &ports, &*transport, &|_, _, _| {}, &mut asked);
    let (ends, ()) = tokio::join!(run, vanish);
    match &ends.expect("nobody else has the host")[&val_1()] {
        HostEnd::Failed(why) => assert!(why.contains("nobody has seen its end"), "{why}"),
        end => panic!("{end:?}"),
    }
}

#[tokio::test]
async fn what_is_no_ssh_server_is_said_to_be_none() {
    let (port, _) = silent(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let mut client = Client::at(port);
    client.limits.connect = Duration::from_millis(300);
    let error = client.refusal().await.to_string();
    assert!(error.contains("it is no SSH server"), "{error}");
}
