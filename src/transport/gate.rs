//! Questions of gates: a command through the shell, HTTP and TCP through a stream from the host's own point of view.

use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;

use crate::ports::Said;

use super::shell::{DialError, Shell, Stream};

/// The longest body that a gate reads.
const BODY_MAX_BYTES: usize = 1024 * 1024;

/// An HTTP question: which answer is good.
#[derive(Debug, Clone, Copy)]
pub(super) struct HttpCheck<'a> {
    /// An `http://` URL.
    pub url: &'a str,
    /// The status that is good.
    pub status: u16,
    /// A text that the body must hold.
    pub contains: Option<&'a str>,
}

/// Asks whether something accepts a TCP connection.
pub(super) async fn tcp(
    shell: &dyn Shell,
    address: &str,
    port: u16,
    deadline: Duration,
) -> Result<Said, NotAsked> {
    let asked = async {
        shell.dial(address, port).await?;
        Ok(format!("{address}:{port} answers"))
    };
    within(deadline, asked).await
}

/// Asks by HTTP GET.
pub(super) async fn http(
    shell: &dyn Shell,
    check: HttpCheck<'_>,
    deadline: Duration,
) -> Result<Said, NotAsked> {
    within(deadline, get(shell, check)).await
}

/// The host could not be asked, and why. That says nothing of what was to be asked.
#[derive(Debug)]
pub(super) struct NotAsked(pub(super) String);

/// Why an answer is not good.
enum Bad {
    Answer(String),
    NotAsked(String),
}

impl From<String> for Bad {
    fn from(what: String) -> Self {
        Self::Answer(what)
    }
}

impl From<DialError> for Bad {
    fn from(error: DialError) -> Self {
        match error {
            DialError::Refused(what) => Self::Answer(what),
            DialError::NoWay(why) => Self::NotAsked(why),
        }
    }
}

async fn within(
    deadline: Duration,
    asked: impl Future<Output = Result<String, Bad>>,
) -> Result<Said, NotAsked> {
    let (good, what) = match tokio::time::timeout(deadline, asked).await {
        Ok(Ok(what)) => (true, what),
        Ok(Err(Bad::Answer(what))) => (false, what),
        Ok(Err(Bad::NotAsked(why))) => return Err(NotAsked(why)),
        Err(_) => (false, format!("no answer within {} s", deadline.as_secs_f32())),
    };
    Ok(Said { good, what })
}

async fn get(shell: &dyn Shell, check: HttpCheck<'_>) -> Result<String, Bad> {
    let url = url::Url::parse(check.url).map_err(|error| format!("`{}` is no URL: {error}", check.url))?;
    let name = url
        .host_str()
        .ok_or_else(|| format!("`{}` names no host", check.url))?;
    // The brackets of an IPv6 address belong to the URL, not to the address.
    let address = name.trim_start_matches('[').trim_end_matches(']');
    let port = url
        .port_or_known_default()
        .ok_or_else(|| format!("`{}` names no port", check.url))?;
    let stream = shell.dial(address, port).await?;
    let authority = url
        .port()
        .map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"));
    let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let (status, body) = exchange(stream, &authority, path).await?;
    Ok(judge(check, status, &body)?)
}

async fn exchange(stream: Box<dyn Stream>, authority: &str, path: &str) -> Result<(u16, Vec<u8>), String> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| format!("no HTTP there: {error}"))?;
    let request = hyper::Request::get(path)
        .header(hyper::header::HOST, authority)
        .header(hyper::header::USER_AGENT, "muster")
        .header(hyper::header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let asked = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| format!("no HTTP answer: {error}"))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), BODY_MAX_BYTES).collect().await;
        let body = body
            .map_err(|error| format!("status {status}, then: {error}"))?
            .to_bytes()
            .to_vec();
        Ok((status, body))
    };
    // The connection moves only while it is polled; it may end before the answer was read, which is no error.
    tokio::pin!(asked);
    tokio::select! {
        answer = &mut asked => answer,
        _ = connection => asked.await,
    }
}

fn judge(check: HttpCheck<'_>, status: u16, body: &[u8]) -> Result<String, String> {
    if status != check.status {
        return Err(format!("status {status}"));
    }
    match check.contains {
        Some(wanted) if !String::from_utf8_lossy(body).contains(wanted) => {
            Err(format!("status {status}, without `{wanted}`"))
        }
        Some(wanted) => Ok(format!("status {status}, with `{wanted}`")),
        None => Ok(format!("status {status}")),
    }
}
