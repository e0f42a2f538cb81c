//! One SSH connection, logged in: set up with patience, shared by everybody who goes through the same host.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as SyncMutex, Weak};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use russh::client::Handle;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::connector::Connector;
use super::greeter::Greeter;
use super::peer::Peer;
use super::setup::set_up;
use super::shell::{DialError, Stream};
use super::ssh_config::{self, Settings};
use crate::model::target::SshTarget;
use crate::ports::ReachError;

/// How many sessions may be open at once on one connection: sshd refuses more than 10 by default (`MaxSessions`),
/// and one or two may be somebody else's on a shared connection.
const SESSIONS_MAX: u32 = 8;
/// How many hosts a way may lead through. More is a circle.
const JUMPS_MAX: u8 = 8;

/// One connection, logged in.
pub(super) struct Link {
    /// The other end.
    pub peer: Peer,
    /// The connection.
    pub handle: Handle<Greeter>,
    /// Bounds the sessions that are open at once.
    sessions: Arc<Semaphore>,
    /// Whether sshd has refused a session beside others: then there is one at a time.
    is_narrow: AtomicBool,
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
        let (settings, jump) = resolve(connector, name, target, depth).await?;
        let asked = Instant::now();
        let way = way(&settings, jump.as_deref());
        let slot = connector.links.slot(&way);
        let mut slot = slot.lock().await;
        match (slot.live.upgrade(), &slot.failed) {
            (Some(link), _) if !link.handle.is_closed() => return Ok(link),
            (_, Some((at, error))) if *at >= asked => return Err(error.clone()),
            (Some(_) | None, Some(_) | None) => {}
        }
        match link(connector, name, &settings, way, jump).await {
            Ok(link) => {
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

/// Returns a connection to a host that nobody else has or gets.
///
/// # Errors
/// As [`reach`].
pub(super) async fn reach_anew(
    connector: &Connector,
    name: &str,
    target: &SshTarget,
) -> Result<Arc<Link>, ReachError> {
    let (settings, jump) = resolve(connector, name, target, 0).await?;
    let way = way(&settings, jump.as_deref());
    link(connector, name, &settings, way, jump).await
}

/// Returns how a host is reached, and the connection to the jump host before it.
async fn resolve(
    connector: &Connector,
    name: &str,
    target: &SshTarget,
    depth: u8,
) -> Result<(Settings, Option<Arc<Link>>), ReachError> {
    let unreachable = |why: String| ReachError::Unreachable(format!("`{name}` {why}"));
    let settings = ssh_config::resolve(target, &connector.places, &connector.configuration)
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
    Ok((settings, jump))
}

async fn link(
    connector: &Connector,
    name: &str,
    settings: &Settings,
    way: String,
    jump: Option<Arc<Link>>,
) -> Result<Arc<Link>, ReachError> {
    let peer = Peer::new(name, settings);
    let handle = set_up(connector, &peer, settings, jump.as_deref()).await?;
    let sessions = Arc::new(Semaphore::new(SESSIONS_MAX as usize));
    Ok(Arc::new(Link {
        peer,
        handle,
        sessions,
        is_narrow: AtomicBool::new(false),
        way,
        _jump: jump,
    }))
}

impl Links {
    fn slot(&self, way: &str) -> Arc<Mutex<Slot>> {
        self.slots
            .lock()
            .expect("nobody panics while holding the list of links")
            .entry(way.to_owned())
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

impl Link {
    /// Waits for room for one more session. It lasts as long as what is returned.
    pub async fn room(&self) -> SemaphorePermit<'_> {
        let places = match self.is_narrow.load(Ordering::Relaxed) {
            true => SESSIONS_MAX,
            false => 1,
        };
        let room = self.sessions.acquire_many(places).await;
        room.expect("nobody closes the semaphore")
    }

    /// Waits for room for a session that stays open beside others. `None` where sshd permits only one at a time.
    pub async fn lasting_room(&self) -> Option<OwnedSemaphorePermit> {
        if self.is_narrow.load(Ordering::Relaxed) {
            return None;
        }
        let room = Arc::clone(&self.sessions).acquire_owned().await;
        Some(room.expect("nobody closes the semaphore"))
    }

    /// Notes that sshd refused a session (`MaxSessions`): from now on each waits for the end of all others. Returns false if that was
    /// known.
    pub fn narrow(&self) -> bool {
        !self.is_narrow.swap(true, Ordering::Relaxed)
    }

    /// Opens a TCP stream from the host's own point of view.
    pub async fn dial(&self, address: &str, port: u16) -> Result<Box<dyn Stream>, DialError> {
        let channel = self
            .handle
            .channel_open_direct_tcpip(address, u32::from(port), "127.0.0.1", 0)
            .await;
        match channel {
            Ok(channel) => Ok(Box::new(channel.into_stream())),
            Err(russh::Error::ChannelOpenFailure(why)) => Err(match why {
                russh::ChannelOpenFailure::AdministrativelyProhibited => DialError::NoWay(format!(
                    "{} forbids it; set `AllowTcpForwarding yes` in its sshd_config",
                    self.peer
                )),
                why => DialError::Refused(format!("no connection to {address}:{port} from there ({why:?})")),
            }),
            Err(error) => Err(DialError::NoWay(format!(
                "the connection to {} is gone: {error}",
                self.peer
            ))),
        }
    }

    /// Opens the stream of a Unix socket on the host.
    pub async fn socket(&self, path: &str) -> Result<Box<dyn Stream>, DialError> {
        match self.handle.channel_open_direct_streamlocal(path).await {
            Ok(channel) => Ok(Box::new(channel.into_stream())),
            Err(russh::Error::ChannelOpenFailure(why)) => Err(DialError::Refused(format!(
                "no connection to {path} from there ({why:?})"
            ))),
            Err(error) => Err(DialError::NoWay(format!(
                "the connection to {} is gone: {error}",
                self.peer
            ))),
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
