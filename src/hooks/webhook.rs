//! A POST of the JSON to an address.

use std::collections::BTreeMap;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::{TAIL_BYTES, failed, tail};
use crate::model::hook::Said;
use crate::model::secret::Secret;
use crate::ports::{HookSaid, Secrets};

/// Posts, and takes every 2xx for good. Redirections are not followed: what was reviewed is one address.
pub(super) async fn post(
    url: &Said,
    headers: &BTreeMap<String, Said>,
    input: String,
    timeout: Duration,
    secrets: &Secrets,
) -> HookSaid {
    let request = match request(url, headers, input, secrets) {
        Ok(request) => request,
        Err(why) => return failed(why, false, Vec::new()),
    };
    let connector = match hyper_rustls::HttpsConnectorBuilder::new().with_native_roots() {
        Ok(builder) => builder.https_or_http().enable_http1().build(),
        Err(error) => {
            return failed(
                format!("this machine's certificates cannot be read: {error}"),
                false,
                Vec::new(),
            );
        }
    };
    let client = Client::builder(TokioExecutor::new()).build(connector);
    match tokio::time::timeout(timeout, exchange(&client, request)).await {
        Err(_) => failed(
            format!("no answer within {} s", timeout.as_secs()),
            true,
            Vec::new(),
        ),
        Ok(Err(error)) => failed(format!("no answer: {}", chain(&error)), true, Vec::new()),
        Ok(Ok((status, body))) => judge(status, tail(&body)),
    }
}

fn judge(status: u16, tail: Vec<String>) -> HookSaid {
    match status {
        200..=299 => HookSaid { result: Ok(()), tail },
        // What the other side may yet get over: too many requests, or a fault of its own.
        408 | 425 | 429 | 500..=599 => failed(format!("status {status}"), true, tail),
        _ => failed(format!("status {status}"), false, tail),
    }
}

type Https = hyper_rustls::HttpsConnector<hyper_util::client::legacy::connect::HttpConnector>;

async fn exchange(
    client: &Client<Https, Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<(u16, Vec<u8>), hyper_util::client::legacy::Error> {
    let response = client.request(request).await?;
    let status = response.status().as_u16();
    Ok((status, body(response).await))
}

/// Reads as much of the answer as is shown.
async fn body(response: Response<Incoming>) -> Vec<u8> {
    let mut heard = Vec::new();
    let mut body = response.into_body();
    while heard.len() < TAIL_BYTES {
        match body.frame().await {
            Some(Ok(frame)) => heard.extend(frame.into_data().unwrap_or_default()),
            Some(Err(_)) | None => break,
        }
    }
    heard.truncate(TAIL_BYTES);
    heard
}

fn request(
    url: &Said,
    headers: &BTreeMap<String, Said>,
    input: String,
    secrets: &Secrets,
) -> Result<Request<Full<Bytes>>, String> {
    let url = text(url, secrets)?;
    let is_web =
        url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if !is_web {
        return Err("its address is no `https://` URL with a host".to_owned());
    }
    // Neither the address nor a header's value stands in an error: each may be a secret.
    let mut request = Request::post(url)
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, concat!("muster/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(Bytes::from(input)))
        .map_err(|_| "its address cannot be used".to_owned())?;
    for (name, value) in headers {
        let key: HeaderName = name
            .parse()
            .map_err(|_| format!("`{name}` is no name of a header"))?;
        let mut said: HeaderValue = text(value, secrets)?
            .parse()
            .map_err(|_| format!("the value of the header `{name}` cannot be sent"))?;
        said.set_sensitive(matches!(value, Said::Secret(_)));
        request.headers_mut().insert(key, said);
    }
    Ok(request)
}

fn text<'a>(said: &'a Said, secrets: &'a Secrets) -> Result<&'a str, String> {
    match said {
        Said::Text(text) => Ok(text),
        Said::Secret(source) => secrets
            .get(source)
            .map(Secret::reveal)
            .ok_or_else(|| format!("its secret {source} was not read")),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
