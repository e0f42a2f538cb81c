//! A host's Docker engine, over the connection that the host has already: no second login, no port of its own.

mod act;
mod converge;
mod create;
mod image;
mod logs;
mod look;
mod needs;
mod network;
mod next;
mod one_off;
mod one_off_next;
mod wire;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bollard::errors::Error;
use bollard::{BollardRequest, Docker};
use futures_util::future::BoxFuture;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::shell::Shell;
use wire::Wire;

pub(in crate::transport) use act::Means;
pub(in crate::transport) use converge::ConvergeError;
pub use look::EngineReads;
pub(in crate::transport) use look::{Asked, EngineVeil};

/// The oldest interface that is spoken: Docker 20.10.
const OLDEST: (usize, usize) = (1, 41);
/// The newest that is known.
const NEWEST: (usize, usize) = (1, 53);
/// How many streams are kept open beside each other.
const STREAMS_MAX: usize = 4;
/// How many requests are under way at once.
const REQUESTS_MAX: usize = 8;
/// The longest wait for the head of an answer, in seconds. Pulls and stops have their own.
const ANSWER_SECS: u64 = 120;

/// The engine of one host.
pub(super) struct Engine {
    docker: Docker,
    under_way: Semaphore,
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
        "its Docker engine speaks version {0} of the interface, and 1.41 (Docker 20.10) is the oldest that will do"
    )]
    TooOld(String),
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
            Error::HyperLegacyError { .. } if text.contains(wire::NOT_INSTALLED) => Self::NotInstalled,
            Error::HyperLegacyError { .. } | Error::RequestTimeoutError => Self::NoAnswer(text),
            Error::DockerStreamError { error } => Self::Refused {
                status: 500,
                message: error,
            },
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
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_max_idle_per_host(STREAMS_MAX);
        let client = Arc::new(builder.build(Wire::new(shell)));
        let version: Arc<OnceLock<String>> = Arc::default();
        let agreed = Arc::clone(&version);
        let send = move |request: BollardRequest| -> BoxFuture<'static, Result<_, Error>> {
            let (client, agreed) = (Arc::clone(&client), Arc::clone(&agreed));
            Box::pin(async move {
                let request = versioned(request, agreed.get())?;
                Ok(client.request(request).await?)
            })
        };
        let docker = Docker::connect_with_custom_transport(
            send,
            Some("http://docker"),
            ANSWER_SECS,
            bollard::API_DEFAULT_VERSION,
        )?;
        let engine = Self {
            docker,
            under_way: Semaphore::new(REQUESTS_MAX),
        };
        let said = engine.docker.version().await?.api_version.unwrap_or_default();
        let spoken = numbers(&said).ok_or_else(|| EngineError::Odd(format!("its version is `{said}`")))?;
        if spoken < OLDEST {
            return Err(EngineError::TooOld(said));
        }
        let (major, minor) = spoken.min(NEWEST);
        let _ = version.set(format!("v{major}.{minor}"));
        Ok(engine)
    }

    /// Waits until one more request may be sent.
    async fn turn(&self) -> SemaphorePermit<'_> {
        self.under_way
            .acquire()
            .await
            .expect("nobody closes the semaphore")
    }

    /// Returns a client whose answers may take longer to begin.
    fn patient(&self, wait: Duration) -> Docker {
        self.docker.clone().with_timeout(wait)
    }
}

/// Puts the version into a request's path, where bollard leaves it out.
fn versioned(request: BollardRequest, version: Option<&String>) -> Result<BollardRequest, Error> {
    let (mut head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    if let Some(version) = version
        && !path.starts_with("/v1.")
    {
        let uri = format!("http://docker/{version}{path}");
        head.uri = uri.parse().map_err(|error| Error::IOError {
            err: std::io::Error::other(format!("{uri}: {error}")),
        })?;
    }
    Ok(BollardRequest::from_parts(head, body))
}

fn numbers(version: &str) -> Option<(usize, usize)> {
    let (major, minor) = version.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
