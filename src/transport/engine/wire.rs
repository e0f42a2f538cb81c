//! The way to a host's engine: HTTP over streams that a shell opens.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;

use super::super::shell::{DialError, Shell, Stream};

/// Where engines listen.
const SOCKET: &str = "/var/run/docker.sock";
/// What passes a stream on to the engine, for accounts that may not open the socket. The one `docker` command that is ever run.
const RELAY: &str = "docker system dial-stdio";

/// Opens streams to one host's engine.
#[derive(Clone)]
pub(super) struct Wire {
    shell: Arc<dyn Shell>,
    /// Whether the socket was closed to us and the relay was not.
    is_relayed: Arc<AtomicBool>,
}

impl Wire {
    pub(super) fn new(shell: Arc<dyn Shell>) -> Self {
        Self {
            shell,
            is_relayed: Arc::default(),
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

impl tower_service::Service<hyper::Uri> for Wire {
    type Response = Io;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Io, std::io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: hyper::Uri) -> Self::Future {
        let wire = self.clone();
        Box::pin(async move {
            let stream = wire.open().await;
            stream
                .map(|stream| Io(TokioIo::new(stream)))
                .map_err(std::io::Error::other)
        })
    }
}

/// A stream in the form that hyper takes.
pub(super) struct Io(TokioIo<Box<dyn Stream>>);

impl Connection for Io {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl Write for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
