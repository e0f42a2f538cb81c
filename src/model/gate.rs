//! Gates: what must be true before a rollout goes on. The words only; `rollout` judges.

use serde::{Deserialize, Serialize};

use super::id::HostId;
use super::quantity::parse_duration;

/// A condition that is asked until it holds, or until its time is up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// What people call it.
    pub name: String,
    /// The question.
    pub check: Check,
    /// How long to go on asking, in seconds, at least 1.
    pub within_secs: u64,
    /// How long the answer must stay good without a break, in seconds; 0 is once.
    pub stable_for_secs: u64,
    /// The pause between two questions, in seconds, at least 1.
    pub every_secs: u64,
    /// What happens when the time is up.
    pub on_deadline: OnDeadline,
}

/// What a gate asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// A shell command on the host; good when it exits 0.
    Command(String),
    /// An HTTP GET, made from the host's own point of view.
    Http {
        /// An `http://` URL.
        url: String,
        /// The status that is good.
        status: u16,
        /// A text that the body must hold.
        contains: Option<String>,
    },
    /// A TCP connection, made from the host's own point of view.
    Tcp {
        /// A name or an address, as the host knows it.
        address: String,
        /// The port.
        port: u16,
    },
}

/// What a gate leads to when its time is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnDeadline {
    /// The run halts, resumable (exit 8).
    Halt,
    /// The hosts of the wave count as failed, and are undone where the policy says so.
    Fail,
    /// The run goes on and says so.
    GoOn,
}

/// What a gate says at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The condition holds and has held long enough.
    Open,
    /// Not yet.
    Wait {
        /// When to ask again, in seconds.
        again_after_secs: u64,
        /// What the last answer was.
        why: String,
    },
    /// The time is up.
    Shut {
        /// What the last answer was.
        why: String,
    },
}

/// A gate together with the host on which it is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostGate {
    /// Where it is asked.
    pub host: HostId,
    /// What is asked.
    pub gate: Gate,
}

/// A gate as people write it, in an inventory's policy or, rendered, in a module.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GateForm {
    /// What people call it.
    pub name: String,
    /// A shell command on the host; good when it exits 0. One of `command`, `http` and `tcp`.
    pub command: Option<String>,
    /// An `http://` URL, fetched from the host's own point of view.
    pub http: Option<String>,
    /// `address:port`, connected to from the host's own point of view.
    pub tcp: Option<String>,
    /// The HTTP status that is good; 200 if not said.
    pub status: Option<u16>,
    /// A text that the HTTP body must hold.
    pub contains: Option<String>,
    /// How long to go on asking; `5m` if not said.
    pub within: Option<String>,
    /// How long the answer must stay good without a break; once if not said.
    pub stable_for: Option<String>,
    /// The pause between two questions; `2s` if not said.
    pub every: Option<String>,
    /// What happens when the time is up; `halt` if not said.
    pub on_deadline: Option<OnDeadline>,
}

/// Says which key of a gate is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct GateError {
    /// The key, for its line.
    pub key: &'static str,
    /// What is wrong, one clause.
    pub why: String,
}

impl GateForm {
    /// Reads the form.
    ///
    /// # Errors
    /// [`GateError`] for the first key that does not fit.
    pub fn gate(&self) -> Result<Gate, GateError> {
        Ok(Gate {
            name: self.name.clone(),
            check: self.check()?,
            within_secs: secs("within", self.within.as_deref(), 300, 1)?,
            stable_for_secs: secs("stable_for", self.stable_for.as_deref(), 0, 0)?,
            every_secs: secs("every", self.every.as_deref(), 2, 1)?,
            on_deadline: self.on_deadline.unwrap_or(OnDeadline::Halt),
        })
    }

    fn check(&self) -> Result<Check, GateError> {
        let only_http = |key| GateError {
            key,
            why: format!("`{key}` has a meaning only with `http`"),
        };
        match (&self.status, &self.contains, &self.http) {
            (Some(_), _, None) => return Err(only_http("status")),
            (_, Some(_), None) => return Err(only_http("contains")),
            (_, _, _) => {}
        }
        match (&self.command, &self.http, &self.tcp) {
            (Some(command), None, None) => Ok(Check::Command(command.clone())),
            (None, Some(url), None) if is_http(url) => Ok(Check::Http {
                url: url.clone(),
                status: self.status.unwrap_or(200),
                contains: self.contains.clone(),
            }),
            (None, Some(url), None) => Err(GateError {
                key: "http",
                why: format!("`{url}` is not an `http://` URL with a host"),
            }),
            (None, None, Some(text)) => tcp(text),
            (_, _, _) => Err(GateError {
                key: "name",
                why: "a gate asks one thing: one of `command`, `http` and `tcp`".to_owned(),
            }),
        }
    }
}

fn is_http(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| url.scheme() == "http" && url.has_host())
}

fn tcp(text: &str) -> Result<Check, GateError> {
    let split = text.rsplit_once(':').filter(|(address, _)| !address.is_empty());
    split
        .and_then(|(address, port)| {
            let port = port.parse().ok().filter(|port| *port > 0)?;
            Some(Check::Tcp {
                address: address.trim_matches(['[', ']']).to_owned(),
                port,
            })
        })
        .ok_or_else(|| GateError {
            key: "tcp",
            why: format!("`{text}` is not `address:port`"),
        })
}

fn secs(key: &'static str, text: Option<&str>, otherwise: u64, least: u64) -> Result<u64, GateError> {
    let read = text.map(parse_duration).transpose();
    let secs = read
        .map_err(|error| GateError {
            key,
            why: error.to_string(),
        })?
        .unwrap_or(otherwise);
    if secs < least {
        return Err(GateError {
            key,
            why: format!("`{key}` is at least {least}s"),
        });
    }
    Ok(secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(toml: &str) -> Result<Gate, &'static str> {
        let form: GateForm = toml::from_str(&format!("name = 'g'\n{toml}")).unwrap();
        form.gate().map_err(|error| error.key)
    }

    #[test]
    fn a_gate_asks_one_thing_with_defaults() {
        let gate = read("tcp = '[::1]:22'").unwrap();
        assert_eq!(
            gate.check,
            Check::Tcp {
                address: "::1".into(),
                port: 22
            }
        );
        assert_eq!(
            (gate.within_secs, gate.stable_for_secs, gate.every_secs),
            (300, 0, 2)
        );
        assert_eq!(
            read("http = 'http://a:1/b'\nwithin = '1m'").unwrap().within_secs,
            60
        );
    }

    #[test]
    fn what_does_not_fit_is_named_by_its_key() {
        assert_eq!(read(""), Err("name"));
        assert_eq!(read("tcp = 'a:1'\ncommand = 'b'"), Err("name"));
        assert_eq!(read("tcp = 'a'"), Err("tcp"));
        assert_eq!(read("tcp = 'a:0'"), Err("tcp"));
        assert_eq!(read("http = 'https://a'"), Err("http"));
        assert_eq!(read("tcp = 'a:1'\nstatus = 200"), Err("status"));
        assert_eq!(read("tcp = 'a:1'\nwithin = '0s'"), Err("within"));
        assert_eq!(read("tcp = 'a:1'\nevery = 'soon'"), Err("every"));
    }
}
