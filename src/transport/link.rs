//! One SSH connection, logged in: set up with patience, shared by everybody who goes through the same host.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex as SyncMutex, Weak};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use russh::client::{self, DisconnectReason, Handle};
use russh::keys::PublicKeyOrCertificate;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::timeout;

use super::auth;
use super::connector::Connector;
use super::host_key::HostKeyCheck;
use super::peer::Peer;
use super::shell::Stream;
use super::ssh_config::{self, Settings};
use crate::model::target::SshTarget;
use crate::ports::ReachError;

/// How many sessions may be open at once on one connection: sshd refuses more than 10 by default (`MaxSessions`),
/// and one or two may be somebody else's on a shared connection.
const SESSIONS_MAX: usize = 8;
/// How many hosts a way may lead through. More is a circle.
const JUMPS_MAX: u8 = 8;
/// The wait before the second attempt; doubled for each later one, and scattered by half.
const BACKOFF: Duration = Duration::from_millis(200);

/// One connection, logged in.
pub(super) struct Link {
    /// The other end.
    pub peer: Peer,
    /// The connection.
    pub handle: Handle<Greeter>,
    /// Bounds the sessions that are open at once.
    pub sessions: Semaphore,
    way: String,
    /// Kept open while this connection runs through it.
    _jump: Option<Arc<Link>>,
}

/// The connections of one run, by the way they take. None is kept open by this list.
#[derive(Default)]
pub(super) struct Links {
    slots: SyncMutex<BTreeMap<String, Arc<Mutex<Slot>>>>,
}

#[derive(Default)]
struct Slot {
    live: Weak<Link>,
    /// The last failure, for those who were waiting when it happened.
    failed: Option<(Instant, ReachError)>,
}

/// Returns the connection to a host, setting it up if nobody has, jump hosts first.
///
/// # Errors
/// [`ReachError`], naming the host, or the jump host that stands before it.
pub(super) fn reach<'a>(
    connector: &'a Connector,
    name: &'a str,
    target: &'a SshTarget,
    depth: u8,
) -> BoxFuture<'a, Result<Arc<Link>, ReachError>> {
    Box::pin(async move {
        let unreachable = |why: String| ReachError::Unreachable(format!("`{name}` {why}"));
        let settings = ssh_config::resolve(target, &connector.places)
            .await
            .map_err(unreachable)?;
        let jump = match &settings.jump {
            Some(_) if depth == JUMPS_MAX => {
                return Err(unreachable(format!(
                    "is behind more than {JUMPS_MAX} jump hosts, or behind itself"
                )));
            }
            Some(via) => Some(
                reach(connector, &via.address, via, depth + 1)
                    .await
                    .map_err(|error| behind(name, error))?,
            ),
            None => None,
        };
        let asked = Instant::now();
        let slot = connector.links.slot(way(&settings, jump.as_deref()));
        let mut slot = slot.lock().await;
        match (slot.live.upgrade(), &slot.failed) {
            (Some(link), _) if !link.handle.is_closed() => return Ok(link),
            (_, Some((at, error))) if *at >= asked => return Err(error.clone()),
            (Some(_) | None, Some(_) | None) => {}
        }
        match set_up(connector, &Peer::new(name, &settings), &settings, jump).await {
            Ok(link) => {
                let link = Arc::new(link);
                slot.live = Arc::downgrade(&link);
                Ok(link)
            }
            Err(error) => {
                slot.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    })
}

impl Links {
    fn slot(&self, way: String) -> Arc<Mutex<Slot>> {
        self.slots
            .lock()
            .expect("nobody panics while holding the list of links")
            .entry(way)
            .or_default()
            .clone()
    }
}

/// Two targets share a connection if they log in to the same place, by the same way, with the same trust and keys.
fn way(settings: &Settings, jump: Option<&Link>) -> String {
    let Settings {
        user,
        host_name,
        port,
        identity_files,
        host_key,
        host_key_alias,
        ..
    } = settings;
    let before = jump.map_or("", |link| &link.way);
    format!("{before} > {user}@{host_name}:{port} {identity_files:?} {host_key:?} {host_key_alias:?}")
}

fn behind(name: &str, error: ReachError) -> ReachError {
    match error {
        ReachError::Unreachable(why) => {
            ReachError::Unreachable(format!("`{name}` is behind a jump host: {why}"))
        }
        ReachError::HostKey(why) => ReachError::HostKey(format!("`{name}` is behind a jump host: {why}")),
        failed @ ReachError::Failed { .. } => failed,
    }
}

/// Why one attempt failed.
enum Setback {
    /// It may go better next time.
    Passing(String),
    /// It will be the same next time.
    Lasting(ReachError),
}

/// Sets a connection up, trying again after setbacks that may pass. Nothing has been run when this fails.
async fn set_up(
    connector: &Connector,
    peer: &Peer,
    settings: &Settings,
    jump: Option<Arc<Link>>,
) -> Result<Link, ReachError> {
    let attempts = connector.limits.attempts.max(1);
    for attempt in 1.. {
        match try_once(connector, peer, settings, jump.clone()).await {
            Ok(link) => return Ok(link),
            Err(Setback::Lasting(error)) => return Err(error),
            Err(Setback::Passing(why)) if attempt == attempts => {
                return Err(ReachError::Unreachable(format!(
                    "{peer} {why} ({attempts} attempts)"
                )));
            }
            Err(Setback::Passing(_)) => tokio::time::sleep(pause(attempt)).await,
        }
    }
    unreachable!("the loop ends with the last attempt")
}

fn pause(attempt: u32) -> Duration {
    (BACKOFF * 2_u32.pow(attempt.min(6) - 1)).mul_f32(rand::random_range(0.5..1.5))
}

async fn try_once(
    connector: &Connector,
    peer: &Peer,
    settings: &Settings,
    jump: Option<Arc<Link>>,
) -> Result<Link, Setback> {
    let lasting = |why: String| Setback::Lasting(ReachError::Unreachable(format!("{peer} {why}")));
    let _login = connector
        .logins
        .acquire()
        .await
        .expect("nobody closes the semaphore");
    let limit = connector.limits.connect;
    let check = HostKeyCheck::gather(peer, settings).map_err(Setback::Lasting)?;
    let config = Arc::new(config(connector, &check));
    let stream = open_stream(settings, jump.as_deref(), limit)
        .await
        .map_err(|failure| match failure {
            Failure::Passing(why) => Setback::Passing(why),
            Failure::Lasting(why) => lasting(why),
        })?;
    let farewell = Farewell::default();
    let greeter = Greeter {
        check,
        farewell: farewell.clone(),
    };
    let mut handle = match timeout(limit, client::connect_stream(config, stream, greeter)).await {
        Ok(Ok(handle)) => handle,
        Ok(Err(GreetError::HostKey(error))) => return Err(Setback::Lasting(error)),
        Ok(Err(GreetError::Ssh(error))) => return Err(handshake_setback(&error, &farewell, lasting)),
        Err(_) => {
            return Err(lasting(format!(
                "accepts connections and says nothing in SSH for {} s; it hangs, or it is no SSH server",
                limit.as_secs_f32()
            )));
        }
    };
    if let Err(refusal) = auth::log_in(&mut handle, settings, connector).await {
        let said = farewell.said();
        if handle.is_closed() && (said.is_none() || refusal.was_person_asked) {
            return Err(Setback::Passing(format!(
                "hung up during the login: {}",
                refusal.why
            )));
        }
        let said = said.map(|said| format!("; it said: {said}")).unwrap_or_default();
        return Err(lasting(format!("let nobody in: {}{said}", refusal.why)));
    }
    let sessions = Semaphore::new(SESSIONS_MAX);
    let way = way(settings, jump.as_deref());
    Ok(Link {
        peer: peer.clone(),
        handle,
        sessions,
        way,
        _jump: jump,
    })
}

fn config(connector: &Connector, check: &HostKeyCheck) -> client::Config {
    let mut config = client::Config {
        nodelay: true,
        keepalive_interval: Some(connector.limits.keepalive),
        keepalive_max: 3,
        ..client::Config::default()
    };
    config.preferred.key = check.key_types();
    config.preferred.host_key_certificates = check.certificate_types();
    config
}

/// Why there is no stream to a host, before SSH has said a word.
enum Failure {
    Passing(String),
    Lasting(String),
}

async fn open_stream(
    settings: &Settings,
    jump: Option<&Link>,
    limit: Duration,
) -> Result<Box<dyn Stream>, Failure> {
    let no_answer = || Failure::Lasting(format!("does not answer within {} s", limit.as_secs_f32()));
    let (host, port) = (settings.host_name.as_str(), settings.port);
    match jump {
        Some(jump) => match timeout(limit, jump.dial(host, port)).await {
            Ok(stream) => {
                stream.map_err(|why| Failure::Passing(format!("is not reached through {}: {why}", jump.peer)))
            }
            Err(_) => Err(no_answer()),
        },
        None => match timeout(limit, TcpStream::connect((host, port))).await {
            Ok(Ok(stream)) => {
                // Without it small answers wait for the delayed acknowledgement; slower, not wrong.
                let _ = stream.set_nodelay(true);
                Ok(Box::new(stream))
            }
            Ok(Err(error)) if is_passing(error.kind()) => {
                Err(Failure::Passing(format!("is not reached: {error}")))
            }
            Ok(Err(error)) => Err(Failure::Lasting(format!("is not reached: {error}"))),
            Err(_) => Err(no_answer()),
        },
    }
}

fn is_passing(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, UnexpectedEof};
    [
        BrokenPipe,
        ConnectionAborted,
        ConnectionRefused,
        ConnectionReset,
        UnexpectedEof,
    ]
    .contains(&kind)
}

/// A connection that breaks before the login may be sshd shedding load (`MaxStartups`), and is tried again.
fn handshake_setback(
    error: &russh::Error,
    farewell: &Farewell,
    lasting: impl FnOnce(String) -> Setback,
) -> Setback {
    let said = farewell
        .said()
        .map(|said| format!("; it said: {said}"))
        .unwrap_or_default();
    let is_passing = match error {
        russh::Error::IO(error) => is_passing(error.kind()),
        russh::Error::HUP | russh::Error::Disconnect | russh::Error::SendError | russh::Error::RecvError => {
            true
        }
        _ => false,
    };
    if is_passing {
        Setback::Passing(format!("hung up during the handshake: {error}{said}"))
    } else {
        lasting(format!("and muster found no way to talk: {error}{said}"))
    }
}

impl Link {
    /// Opens a TCP stream from the host's own point of view.
    pub async fn dial(&self, address: &str, port: u16) -> Result<Box<dyn Stream>, String> {
        let channel = self
            .handle
            .channel_open_direct_tcpip(address, u32::from(port), "127.0.0.1", 0)
            .await;
        match channel {
            Ok(channel) => Ok(Box::new(channel.into_stream())),
            Err(russh::Error::ChannelOpenFailure(why)) => Err(match why {
                russh::ChannelOpenFailure::AdministrativelyProhibited => {
                    format!(
                        "{} forbids it; set `AllowTcpForwarding yes` in its sshd_config",
                        self.peer
                    )
                }
                why => format!("no connection to {address}:{port} from there ({why:?})"),
            }),
            Err(error) => Err(format!("the connection to {} is gone: {error}", self.peer)),
        }
    }

    /// Says goodbye, if nobody else uses the connection any more.
    pub async fn part(self: Arc<Self>) {
        if let Some(link) = Arc::into_inner(self) {
            // The other end learns it from the closed socket otherwise.
            let goodbye = link
                .handle
                .disconnect(russh::Disconnect::ByApplication, "done", "en");
            let _ = timeout(Duration::from_secs(1), goodbye).await;
        }
    }
}

/// What a host said as it hung up.
#[derive(Debug, Clone, Default)]
pub(super) struct Farewell(Arc<SyncMutex<Option<String>>>);

impl Farewell {
    fn said(&self) -> Option<String> {
        self.0
            .lock()
            .expect("nobody panics while holding a farewell")
            .clone()
    }
}

/// Our side of the handshake.
pub(super) struct Greeter {
    check: HostKeyCheck,
    farewell: Farewell,
}

/// Why a handshake failed.
#[derive(Debug)]
pub(super) enum GreetError {
    /// The host is not who it should be.
    HostKey(ReachError),
    /// Anything else.
    Ssh(russh::Error),
}

impl From<russh::Error> for GreetError {
    fn from(error: russh::Error) -> Self {
        Self::Ssh(error)
    }
}

impl client::Handler for Greeter {
    type Error = GreetError;

    // An own error and not `Ok(false)`, so that the reason survives.
    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, GreetError> {
        self.check.judge(key).map(|()| true).map_err(GreetError::HostKey)
    }

    async fn disconnected(&mut self, reason: DisconnectReason<GreetError>) -> Result<(), GreetError> {
        match reason {
            DisconnectReason::ReceivedDisconnect(farewell) => {
                *self
                    .farewell
                    .0
                    .lock()
                    .expect("nobody panics while holding a farewell") = Some(farewell.message);
                Ok(())
            }
            DisconnectReason::Error(error) => Err(error),
        }
    }
}
