//! What a host offers once it is reached: a root shell that takes scripts, and streams opened from where it stands.
//!
//! `ssh` and `local` implement it, `fleet` builds ports on it. It knows nothing of ops and probes.

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::ports::{Output, ReachError};

/// A root shell on one host, over a connection that stays open.
pub trait Shell: Send + Sync {
    /// Runs a POSIX sh script as root, through sudo where the account is not root.
    ///
    /// The script travels on standard input and never stands in an argument list. It is read whole before its first
    /// command runs, so one that was cut short on the way does nothing. Its own standard input is empty, its
    /// environment holds `PATH` and `LC_ALL=C` and nothing else. What the account's profile prints is not in the result.
    fn run<'a>(&'a self, script: &'a str, deadline: Duration) -> BoxFuture<'a, Result<Ran, ShellError>>;

    /// Runs a script as [`Self::run`] does, passes on what it says as it comes, and returns its exit status. Once `stop` is over the
    /// script's group is sent TERM, and KILL if it does not end by that.
    fn stream<'a>(
        &'a self,
        script: &'a str,
        deadline: Duration,
        tap: Tap<'a>,
        stop: BoxFuture<'a, ()>,
    ) -> BoxFuture<'a, Result<i32, ShellError>>;

    /// Opens a TCP stream from the host's own point of view: `127.0.0.1` is the host.
    ///
    /// # Errors
    /// [`DialError`].
    fn dial<'a>(&'a self, address: &'a str, port: u16) -> BoxFuture<'a, Result<Box<dyn Stream>, DialError>>;

    /// Opens the stream of a Unix socket on the host, as the account that logs in.
    ///
    /// # Errors
    /// [`DialError`].
    fn socket<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Box<dyn Stream>, DialError>>;

    /// Starts a program as root, whose standard input and output are the stream. It ends with the stream.
    ///
    /// # Errors
    /// [`DialError::Refused`] if root is not to be had, [`DialError::NoWay`].
    fn pipe<'a>(&'a self, program: &'static str) -> BoxFuture<'a, Result<Box<dyn Stream>, DialError>>;

    /// Closes the connection. Closing twice is no error.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// Why there is no stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// The host tried, and nobody answers there.
    #[error("{0}")]
    Refused(String),
    /// The host was not asked: the connection to it is gone, or it forbids such streams.
    #[error("{0}")]
    NoWay(String),
}

/// Hears bytes of what a script says.
pub type Tap<'a> = &'a (dyn Fn(Output, &[u8]) + Send + Sync);

/// Bytes both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What a script that ran to its end left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
    /// Its exit status; 128 and the signal's number where a signal ended it.
    pub status: i32,
}

/// Why there is no exit status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShellError {
    /// The script did not begin: nothing was run.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// The script was sent and no exit status came back: nobody knows how far it came.
    #[error("{0}")]
    Lost(String),
    /// The script did not end in time. It was told to stop, and nobody knows how far it came.
    #[error("no end after {} s", .0.as_secs_f32())]
    TimedOut(Duration),
    /// The script was asked to end before its time, and did. Nobody knows how far it came.
    #[error("stopped")]
    Stopped,
}
