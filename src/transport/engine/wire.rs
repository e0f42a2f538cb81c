//! The way to a host's engine: streams that a shell opens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::shell::{DialError, Shell, Stream};

/// Where engines listen.
const SOCKET: &str = "/var/run/docker.sock";
/// What passes a stream on to the engine, for accounts that may not open the socket. The one `docker` command that is ever run.
const RELAY: &str = "docker system dial-stdio";

/// Opens streams to one host's engine.
pub(super) struct Wire {
    shell: Arc<dyn Shell>,
    /// Whether the socket was closed to us and the relay was not.
    is_relayed: AtomicBool,
}

impl Wire {
    pub(super) fn new(shell: Arc<dyn Shell>) -> Self {
        Self {
            shell,
            is_relayed: AtomicBool::default(),
        }
    }

    /// Opens a stream: by the socket, or else through root's relay.
    pub(super) async fn open(&self) -> Result<Box<dyn Stream>, DialError> {
        if self.is_relayed.load(Ordering::Relaxed) {
            return self.shell.pipe(RELAY).await;
        }
        let closed = match self.shell.socket(SOCKET).await {
            Ok(stream) => return Ok(stream),
            Err(closed) => closed,
        };
        match self.shell.pipe(RELAY).await {
            Ok(stream) => {
                self.is_relayed.store(true, Ordering::Relaxed);
                Ok(stream)
            }
            Err(relay) => Err(no_way(&closed, &relay)),
        }
    }
}

/// Both ways are closed. Where there is not even the program, there is no engine.
fn no_way(closed: &DialError, relay: &DialError) -> DialError {
    match relay {
        DialError::Refused(why) if why.contains("docker: not found") => {
            DialError::Refused(NOT_INSTALLED.to_owned())
        }
        DialError::Refused(why) | DialError::NoWay(why) => DialError::NoWay(format!("{closed}; {why}")),
    }
}

/// Says that a host has no engine at all, which is another thing than one that does not answer.
pub(super) const NOT_INSTALLED: &str = "Docker is not installed";
