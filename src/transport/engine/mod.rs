//! A host's Docker engine, over the connection that the host has already: no second login, no port of its own.

mod act;
mod channels;
mod converge;
mod create;
mod hint;
mod image;
mod layers;
mod logs;
mod look;
mod needs;
mod network;
mod next;
mod one_off;
mod one_off_next;
mod proof;
mod prove;
mod scene;
mod taken;
mod traffic;
mod version;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error;
use bollard::{BollardRequest, Docker};
use hyper::Response;
use hyper::body::Incoming;

use super::shell::Shell;
use channels::{Channels, passed_on};
use version::{NEWEST, OLDEST};
use wire::Wire;

pub(in crate::transport) use act::Means;
pub(in crate::transport) use converge::ConvergeError;
pub(in crate::transport) use hint::hint;
pub use look::EngineReads;
pub(in crate::transport) use look::{Asked, EngineVeil};
pub(in crate::transport) use taken::{address, port, process};
pub use traffic::Traffic;

/// The longest wait for the head of an answer, in seconds. Pulls and stops have their own.
const ANSWER_SECS: u64 = 120;

/// The engine of one host.
pub(super) struct Engine {
    channels: Arc<Channels>,
    docker: Docker,
    /// The same, for answers that take long: each has a channel of its own.
    lasting: Docker,
}

/// Why an engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum EngineError {
    /// The host has none.
    #[error("{}", wire::NOT_INSTALLED)]
    NotInstalled,
    /// It could not be asked.
    #[error("the Docker engine does not answer: {0}")]
    NoAnswer(String),
    /// It is too old.
    #[error(
        "its Docker engine is too old: Docker {engine} speaks version {speaks} of the interface, and {OLDEST} (Docker 20.10) is the oldest that will do"
    )]
    TooOld {
        /// Its own version.
        engine: String,
        /// The newest of the interface that it speaks.
        speaks: String,
    },
    /// It no longer speaks what is known here.
    #[error(
        "its Docker engine is too new: Docker {engine} speaks versions of the interface from {speaks} on, and {NEWEST} is the newest that is known here; a newer muster is needed"
    )]
    TooNew {
        /// Its own version.
        engine: String,
        /// The oldest of the interface that it speaks.
        speaks: String,
    },
    /// It said no.
    #[error("{message}")]
    Refused {
        /// The status of its answer.
        status: u16,
        /// What it said.
        message: String,
    },
    /// What it said cannot be understood, or broke off: nobody knows what it did.
    #[error("{0}")]
    Odd(String),
}

impl EngineError {
    /// Says whether what was asked for is not there.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }
}

impl From<Error> for EngineError {
    fn from(error: Error) -> Self {
        let text = cause(&error);
        match error {
            Error::DockerResponseServerError { status_code, message } => Self::Refused {
                status: status_code,
                message,
            },
            Error::RequestTimeoutError => Self::NoAnswer(text),
            Error::DockerStreamError { error } => Self::Refused {
                status: 500,
                message: error,
            },
            // What our own channels said.
            Error::IOError { err } => err.downcast::<Self>().unwrap_or(Self::Odd(text)),
            _ => Self::Odd(text),
        }
    }
}

/// Returns the innermost cause, which says most: those around it name layers of ours.
fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(inner) = innermost.source() {
        innermost = inner;
    }
    innermost.to_string()
}

impl Engine {
    /// Makes sure that a host's engine answers, and agrees with it upon a version.
    ///
    /// # Errors
    /// [`EngineError`].
    pub(super) async fn open(shell: Arc<dyn Shell>) -> Result<Self, EngineError> {
        let channels = Arc::new(Channels::new(Wire::new(shell)));
        channels.greet().await?;
        let (kept, alone) = (Arc::clone(&channels), Arc::clone(&channels));
        let docker = client(move |request: BollardRequest| {
            let channels = Arc::clone(&kept);
            async move { channels.request(request).await.map_err(passed_on) }
        })?;
        let lasting = client(move |request: BollardRequest| {
            let channels = Arc::clone(&alone);
            async move { channels.request_alone(request).await.map_err(passed_on) }
        })?;
        Ok(Self {
            channels,
            docker,
            lasting,
        })
    }

    /// Says how much went over to it.
    pub(super) fn traffic(&self) -> Traffic {
        self.channels.traffic()
    }

    /// Returns a client whose answers may take longer to begin.
    fn patient(&self, wait: Duration) -> Docker {
        self.docker.clone().with_timeout(wait)
    }
}

fn client<F, S>(send: S) -> Result<Docker, Error>
where
    S: Fn(BollardRequest) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Response<Incoming>, Error>> + Send + 'static,
{
    Docker::connect_with_custom_transport(
        send,
        Some("http://docker"),
        ANSWER_SECS,
        bollard::API_DEFAULT_VERSION,
    )
}
