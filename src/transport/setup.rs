//! Setting one connection up, from the first packet to the login, again and again where that may help.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use russh::client::{self, Handle};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::auth;
use super::connector::Connector;
use super::greeter::{Farewell, GreetError, Greeter};
use super::host_key::HostKeyCheck;
use super::link::Link;
use super::peer::Peer;
use super::shell::Stream;
use super::ssh_config::Settings;
use crate::ports::ReachError;

/// The wait before the second attempt; doubled for each later one, and scattered by half.
const BACKOFF: Duration = Duration::from_millis(200);

/// The longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Why one attempt failed.
enum Setback {
    /// It may go better next time.
    Passing(String),
    /// Somebody is there and hung up: it will go better when there is less to do.
    Shed(String),
    /// It will be the same next time.
    Lasting(ReachError),
}

/// Sets a connection up, trying again after setbacks that may pass. Nothing has been run when this fails.
pub(super) async fn set_up(
    connector: &Connector,
    peer: &Peer,
    settings: &Settings,
    jump: Option<&Link>,
) -> Result<Handle<Greeter>, ReachError> {
    let limits = &connector.limits;
    let begun = Instant::now();
    for attempt in 1.. {
        let (why, is_patient) = match try_once(connector, peer, settings, jump).await {
            Ok(handle) => return Ok(handle),
            Err(Setback::Lasting(error)) => return Err(error),
            Err(Setback::Passing(why)) => (why, false),
            Err(Setback::Shed(why)) => (why, begun.elapsed() < limits.patience),
        };
        if attempt >= limits.attempts && !is_patient {
            return Err(ReachError::Unreachable(format!(
                "{peer} {why} ({attempt} attempts)"
            )));
        }
        tokio::time::sleep(pause(attempt)).await;
    }
    unreachable!("the loop ends with the last attempt")
}

fn pause(attempt: u32) -> Duration {
    let pause = BACKOFF * 2_u32.pow(attempt.min(6) - 1);
    pause.min(PAUSE_MAX).mul_f32(rand::random_range(0.5..1.5))
}

async fn try_once(
    connector: &Connector,
    peer: &Peer,
    settings: &Settings,
    jump: Option<&Link>,
) -> Result<Handle<Greeter>, Setback> {
    let lasting = |why: String| Setback::Lasting(ReachError::Unreachable(format!("{peer} {why}")));
    let limit = connector.limits.connect;
    let check = HostKeyCheck::gather(peer, settings, &connector.known_hosts).map_err(Setback::Lasting)?;
    let config = Arc::new(config(connector, &check));
    let stream = open_stream(settings, jump, limit)
        .await
        .map_err(|failure| match failure {
            Failure::Passing(why) => Setback::Passing(why),
            Failure::Lasting(why) => lasting(why),
        })?;
    // Only now: a host that hangs before it says a word keeps nobody else from logging in.
    let _login = connector
        .logins
        .acquire()
        .await
        .expect("nobody closes the semaphore");
    let (greeter, farewell) = Greeter::new(check);
    let mut handle = match timeout(limit, client::connect_stream(config, stream, greeter)).await {
        Ok(Ok(handle)) => handle,
        Ok(Err(GreetError::HostKey(error))) => return Err(Setback::Lasting(error)),
        Ok(Err(GreetError::Ssh(error))) => return Err(handshake_setback(&error, &farewell, lasting)),
        Err(_) => return Err(lasting(hangs(limit))),
    };
    if let Err(refusal) = auth::log_in(&mut handle, settings, connector).await {
        let said = farewell.said();
        if handle.is_closed() && (said.is_none() || refusal.was_person_asked) {
            return Err(Setback::Shed(format!(
                "hung up during the login: {}",
                refusal.why
            )));
        }
        let said = said.map(|said| format!("; it said: {said}")).unwrap_or_default();
        return Err(lasting(format!("let nobody in: {}{said}", refusal.why)));
    }
    Ok(handle)
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
                match timeout(limit, stream.readable()).await {
                    Ok(_) => Ok(Box::new(stream)),
                    Err(_) => Err(Failure::Lasting(hangs(limit))),
                }
            }
            Ok(Err(error)) if is_passing(error.kind()) => {
                Err(Failure::Passing(format!("is not reached: {error}")))
            }
            Ok(Err(error)) => Err(Failure::Lasting(format!("is not reached: {error}"))),
            Err(_) => Err(no_answer()),
        },
    }
}

fn hangs(limit: Duration) -> String {
    format!(
        "accepts connections and says nothing in SSH for {} s; it hangs, or it is no SSH server",
        limit.as_secs_f32()
    )
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
        Setback::Shed(format!("hung up during the handshake: {error}{said}"))
    } else {
        lasting(format!("and muster found no way to talk: {error}{said}"))
    }
}
