//! Few channels to one engine, each kept for one request after another. The version that was agreed upon stands in each path.

use std::sync::Mutex;

use bollard::errors::Error;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::sync::Semaphore;

use super::super::shell::DialError;
use super::traffic::{Tally, Traffic};
use super::version::{self, Version};
use super::wire::{self, Wire};
use super::{EngineError, cause};

/// How many channels are kept open beside each other, and so how many requests are under way at once. Half of the eight that an
/// engine is ever asked for at a time; pulls and logs that are followed have channels of their own.
const CHANNELS_MAX: usize = 4;
/// How long the answer to the question for the version may be.
const VERSION_MAX_BYTES: usize = 256 * 1024;

type Reason = Box<dyn std::error::Error + Send + Sync>;
type Any = UnsyncBoxBody<Bytes, Reason>;
type Channel = SendRequest<Any>;

/// The channels to one engine.
pub(super) struct Channels {
    wire: Wire,
    turns: Semaphore,
    /// A place for each channel that is not in use; empty where none was opened yet.
    // INVARIANT: whoever has a turn has one place. The others are here.
    places: Mutex<Vec<Option<Channel>>>,
    /// What was agreed upon; `None` before that, and after a channel was lost: another engine may answer from then on.
    version: Mutex<Option<Version>>,
    tally: Tally,
}

/// A turn's place. It goes back when this is dropped, and what is in it by then is kept.
struct Place<'a> {
    all: &'a Mutex<Vec<Option<Channel>>>,
    channel: Option<Channel>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut all = self.all.lock().expect("nothing panics under it");
        all.push(self.channel.take());
    }
}

impl Channels {
    pub(super) fn new(wire: Wire) -> Self {
        Self {
            wire,
            turns: Semaphore::new(CHANNELS_MAX),
            places: Mutex::new((0..CHANNELS_MAX).map(|_| None).collect()),
            version: Mutex::default(),
            tally: Tally::default(),
        }
    }

    /// Says how much went over.
    pub(super) fn traffic(&self) -> Traffic {
        self.tally.traffic()
    }

    /// Makes sure that the engine answers, and that a version is shared with it.
    ///
    /// # Errors
    /// [`EngineError`].
    pub(super) async fn greet(&self) -> Result<(), EngineError> {
        let _turn = self.turn().await;
        let mut place = self.place();
        let mut channel = self.channel(&mut place).await?;
        self.agree(&mut channel).await?;
        place.channel = Some(channel);
        Ok(())
    }

    /// Sends a request over a channel that is kept, and returns the head of its answer. What comes next over that channel waits until
    /// the rest was read.
    ///
    /// # Errors
    /// [`EngineError`].
    pub(super) async fn request<B>(&self, request: Request<B>) -> Result<Response<Incoming>, EngineError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Reason>,
    {
        let _turn = self.turn().await;
        let mut place = self.place();
        let mut request = request.map(|body| body.map_err(Into::into).boxed_unsync());
        loop {
            let was_kept = place.channel.is_some();
            let mut channel = self.channel(&mut place).await?;
            let version = self.agree(&mut channel).await?;
            request = versioned(request, version)?;
            let _call = self.tally.call();
            match channel.try_send_request(request).await {
                Ok(answer) => {
                    place.channel = Some(channel);
                    return Ok(answer);
                }
                // The engine closed it between two requests, and nothing of this one was sent.
                Err(mut lost) => match lost.take_message() {
                    Some(unsent) if was_kept => {
                        self.forget_version();
                        request = unsent;
                    }
                    Some(_) | None => return Err(EngineError::NoAnswer(cause(lost.error()))),
                },
            }
        }
    }

    /// Sends a request over a channel of its own, which ends with the answer. For answers that take long.
    ///
    /// # Errors
    /// [`EngineError`].
    pub(super) async fn request_alone<B>(
        &self,
        request: Request<B>,
    ) -> Result<Response<Incoming>, EngineError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Reason>,
    {
        let mut channel = self.open().await?;
        let version = self.agree(&mut channel).await?;
        let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
        let request = versioned(request, version)?;
        let _call = self.tally.call();
        let sent = channel.send_request(request).await;
        sent.map_err(|error| EngineError::NoAnswer(cause(&error)))
    }

    async fn turn(&self) -> tokio::sync::SemaphorePermit<'_> {
        self.turns.acquire().await.expect("nobody closes the semaphore")
    }

    /// Takes a place: one whose channel waits for nothing, else an empty one, else whichever is ready first.
    fn place(&self) -> Place<'_> {
        let mut places = self.places.lock().expect("nothing panics under it");
        for place in places.iter_mut() {
            if place.as_ref().is_some_and(SendRequest::is_closed) {
                *place = None;
                self.forget_version();
            }
        }
        let idle = |place: &Option<Channel>| place.as_ref().is_some_and(SendRequest::is_ready);
        let at = places
            .iter()
            .position(idle)
            .or_else(|| places.iter().position(Option::is_none))
            .unwrap_or(0);
        Place {
            channel: places.swap_remove(at),
            all: &self.places,
        }
    }

    /// Takes the channel of a place, once its last answer was read, or opens one.
    async fn channel(&self, place: &mut Place<'_>) -> Result<Channel, EngineError> {
        if let Some(mut kept) = place.channel.take() {
            if kept.ready().await.is_ok() {
                return Ok(kept);
            }
            // It was lost while its last answer was read.
            self.forget_version();
        }
        self.open().await
    }

    async fn open(&self) -> Result<Channel, EngineError> {
        let stream = self.wire.open().await.map_err(unopened)?;
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (channel, connection) = shaken.map_err(|error| EngineError::NoAnswer(cause(&error)))?;
        let counted = self.tally.channel();
        tokio::spawn(async move {
            // How it ended is told to whoever waits for an answer over it.
            let _ = connection.await;
            drop(counted);
        });
        Ok(channel)
    }

    /// Returns the version that was agreed upon, or asks for it.
    async fn agree(&self, channel: &mut Channel) -> Result<Version, EngineError> {
        if let Some(version) = *self.version.lock().expect("nothing panics under it") {
            return Ok(version);
        }
        let nothing = Empty::new().map_err(|never| match never {}).boxed_unsync();
        let mut request = Request::new(nothing);
        *request.uri_mut() = Uri::from_static("/version");
        request.headers_mut().insert(HOST, host());
        let _call = self.tally.call();
        let lost = |error: &dyn std::error::Error| EngineError::NoAnswer(cause(error));
        let answer = channel
            .send_request(request)
            .await
            .map_err(|error| lost(&error))?;
        let status = answer.status();
        let said = Limited::new(answer.into_body(), VERSION_MAX_BYTES)
            .collect()
            .await;
        let said = said.map_err(|error| lost(&*error))?.to_bytes();
        if !status.is_success() {
            return Err(EngineError::Refused {
                status: status.as_u16(),
                message: String::from_utf8_lossy(&said).trim().to_owned(),
            });
        }
        let version = version::agree(&said)?;
        *self.version.lock().expect("nothing panics under it") = Some(version);
        channel.ready().await.map_err(|error| lost(&error))?;
        Ok(version)
    }

    fn forget_version(&self) {
        *self.version.lock().expect("nothing panics under it") = None;
    }
}

fn unopened(error: DialError) -> EngineError {
    let text = error.to_string();
    match text == wire::NOT_INSTALLED {
        true => EngineError::NotInstalled,
        false => EngineError::NoAnswer(text),
    }
}

/// A name must be said; engines do not look at it.
fn host() -> HeaderValue {
    HeaderValue::from_static("docker")
}

/// Puts the version into a request's path. bollard leaves it out (and should it ever not, ours is the one that counts).
fn versioned<B>(mut request: Request<B>, version: Version) -> Result<Request<B>, EngineError> {
    let whole = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let uri = format!("/v{version}{}", without_version(whole));
    *request.uri_mut() = uri
        .parse()
        .map_err(|error| EngineError::Odd(format!("{uri}: {error}")))?;
    request.headers_mut().insert(HOST, host());
    Ok(request)
}

fn without_version(path: &str) -> &str {
    let Some((first, _)) = path.strip_prefix("/v").and_then(|rest| rest.split_once('/')) else {
        return path;
    };
    match !first.is_empty() && first.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        true => &path[2 + first.len()..],
        false => path,
    }
}

/// What bollard passes on of an error that is ours.
pub(super) fn passed_on(error: EngineError) -> Error {
    Error::IOError {
        err: std::io::Error::other(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_the_version_that_was_agreed_upon_once() {
        let version = version::agree(br#"{"ApiVersion":"1.45","Version":"26.1.5"}"#).unwrap();
        let put = |uri: &str| {
            let request = Request::get(uri).body(()).unwrap();
            versioned(request, version).unwrap().uri().to_string()
        };
        assert_eq!(
            put("http://docker/containers/json?all=true"),
            "/v1.45/containers/json?all=true"
        );
        assert_eq!(put("/v1.53/volumes/v1"), "/v1.45/volumes/v1");
        assert_eq!(put("/volumes/v1/x"), "/v1.45/volumes/v1/x");
        assert_eq!(put("/v1.45/version"), "/v1.45/version");
    }
}
