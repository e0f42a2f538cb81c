//! What an engine's JSON says of a container and of its image. Engines from API 1.41 on; what one leaves out is absent.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::model::container::Settings;
use crate::model::container_part::{Health, HealthCheck, Port};
use crate::model::digest::Fingerprint;
use crate::model::inspected::{EnvValue, Image, Inspected, State};

use super::inspect_host;
use super::json::{filled, flag, map, natural, objects, set, text, texts, whole};
use super::normal;

/// How values of the environment are taken in: those that may be shown, and the prints of the others.
pub struct Veil<'a> {
    /// Whether the value of a key may be shown.
    pub shows: &'a dyn Fn(&str) -> bool,
    /// The print of a value under the host's salt.
    pub print: &'a dyn Fn(&str) -> Fingerprint,
}

/// Reads the answers of `GET /containers/ID/json` and `GET /images/ID/json`.
///
/// # Errors
/// A clause that says what the answer lacks. Nothing else of a container is required: engines differ in what they leave out.
pub fn inspected(container: &Value, image: &Value, veil: &Veil<'_>) -> Result<Inspected, String> {
    let id = text(container, "/Id").ok_or("the engine's answer has no id of a container")?;
    let mut settings = config(container.pointer("/Config").unwrap_or(&Value::Null));
    inspect_host::host(container, &mut settings);
    let short = id.get(..12).unwrap_or(&id).to_owned();
    let name = text(container, "/Name")
        .unwrap_or_default()
        .trim_start_matches('/')
        .to_owned();
    settings.hostname = settings.hostname.filter(|hostname| *hostname != short);
    for endpoint in settings.networks.values_mut() {
        endpoint.aliases.remove(&short);
        endpoint.aliases.remove(&id);
        endpoint.aliases.remove(&name);
    }
    normal::settle(&mut settings);
    Ok(Inspected {
        name,
        image: text(container, "/Config/Image").unwrap_or_default(),
        runs: image_of(image, text(container, "/Image").unwrap_or_default(), veil),
        environment: environment(container.pointer("/Config/Env"), veil),
        settings,
        state: state(container),
        id,
        ..Inspected::default()
    })
}

fn environment(list: Option<&Value>, veil: &Veil<'_>) -> BTreeMap<String, EnvValue> {
    let lines = list
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice)
        .iter()
        .filter_map(Value::as_str);
    let value = |line: &str| {
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        let value = match (veil.shows)(key) {
            true => EnvValue::Public(value.to_owned()),
            false => EnvValue::Print((veil.print)(value)),
        };
        (key.to_owned(), value)
    };
    lines.map(value).collect()
}

pub(super) fn image_of(image: &Value, id: String, veil: &Veil<'_>) -> Image {
    let config_of = image.pointer("/Config").unwrap_or(&Value::Null);
    let mut settings = config(config_of);
    // What is a container's own, and some engines repeat for its image.
    (
        settings.hostname,
        settings.domainname,
        settings.tty,
        settings.stdin_open,
    ) = (None, None, false, false);
    normal::settle(&mut settings);
    Image {
        registry: None,
        id,
        tags: set(image, "/RepoTags"),
        digests: set(image, "/RepoDigests"),
        environment: environment(config_of.pointer("/Env"), veil),
        settings,
        volumes: objects(config_of, "/Volumes")
            .into_iter()
            .map(|(path, _)| path.clone())
            .collect(),
    }
}

/// Reads what images and containers have alike.
fn config(config: &Value) -> Settings {
    Settings {
        command: texts(config, "/Cmd").filter(|words| !words.is_empty()),
        entrypoint: texts(config, "/Entrypoint").filter(|words| !words.is_empty()),
        user: filled(config, "/User"),
        working_dir: filled(config, "/WorkingDir"),
        labels: map(config, "/Labels"),
        exposed: objects(config, "/ExposedPorts")
            .into_iter()
            .filter_map(|(port, _)| port_of(port))
            .collect(),
        healthcheck: config
            .pointer("/Healthcheck")
            .filter(|check| check.is_object())
            .map(health),
        stop_signal: filled(config, "/StopSignal"),
        stop_grace_secs: whole(config, "/StopTimeout").and_then(|secs| u64::try_from(secs).ok()),
        hostname: filled(config, "/Hostname"),
        domainname: filled(config, "/Domainname"),
        tty: flag(config, "/Tty"),
        stdin_open: flag(config, "/OpenStdin"),
        ..Settings::default()
    }
}

pub(super) fn port_of(text: &str) -> Option<Port> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    Some(Port {
        number: number.parse().ok()?,
        protocol: protocol.to_owned(),
    })
}

fn health(check: &Value) -> Health {
    let test = texts(check, "/Test").unwrap_or_default();
    if test.first().is_some_and(|first| first == "NONE") {
        return Health::Disabled;
    }
    Health::Check(HealthCheck {
        test,
        interval_nanos: natural(check, "/Interval"),
        timeout_nanos: natural(check, "/Timeout"),
        retries: natural(check, "/Retries"),
        start_period_nanos: natural(check, "/StartPeriod"),
        start_interval_nanos: natural(check, "/StartInterval"),
    })
}

fn state(container: &Value) -> State {
    let health = filled(container, "/State/Health/Status").filter(|status| status != "none");
    State {
        status: text(container, "/State/Status").unwrap_or_default(),
        health,
        started_at_nanos: text(container, "/State/StartedAt").and_then(|text| nanos(&text)),
        exit_code: whole(container, "/State/ExitCode").unwrap_or(0),
        is_oom_killed: flag(container, "/State/OOMKilled"),
        restarts: natural(container, "/RestartCount").unwrap_or(0),
    }
}

/// Reads a time; the year 1 stands for never.
fn nanos(text: &str) -> Option<u64> {
    let time: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(time.as_nanosecond())
        .ok()
        .filter(|nanos| *nanos > 0)
}
