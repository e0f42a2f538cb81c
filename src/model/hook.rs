//! Hooks: what is told, or asked, around a plan and a run. They cannot alter either.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::id::FleetName;
use super::secret::SecretSource;

/// The number of the form of the JSON that a hook gets.
pub const HOOK_FORMAT: u32 = 1;

/// Something that muster runs or posts to at a certain moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// What people call it; unique.
    pub name: String,
    /// When.
    pub on: Moment,
    /// What.
    pub call: Call,
    /// How long one try may take, in seconds, at least 1.
    pub timeout_secs: u64,
    /// How long it is tried again, in seconds from the first try; 0 is one try.
    pub retry_within_secs: u64,
    /// The pause before the second try, in seconds, at least 1; it doubles from try to try, up to a minute.
    pub retry_every_secs: u64,
    /// Whether its failure stops what it comes before. Never so where it comes after.
    pub required: bool,
}

/// When a hook is called.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Moment {
    /// Before the hosts are looked at.
    BeforePlan,
    /// When a plan was made.
    AfterPlan,
    /// When the hosts are reserved, before the first change.
    BeforeRun,
    /// Before the hosts of a wave are looked at again.
    BeforeWave,
    /// When a wave has come to its end, its gates included.
    AfterWave,
    /// When a run has come to its end, whatever it is.
    AfterRun,
    /// When a run has come to an end with another exit code than 0.
    Failure,
}

impl Moment {
    /// Says whether something comes after it that a failure can stop.
    pub fn is_before(self) -> bool {
        match self {
            Self::BeforePlan | Self::BeforeRun | Self::BeforeWave => true,
            Self::AfterPlan | Self::AfterWave | Self::AfterRun | Self::Failure => false,
        }
    }

    /// Says whether it belongs to a run, so that a plan takes its hooks along.
    pub fn is_of_run(self) -> bool {
        match self {
            Self::BeforePlan | Self::AfterPlan => false,
            Self::BeforeRun | Self::BeforeWave | Self::AfterWave | Self::AfterRun | Self::Failure => true,
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BeforePlan => "before-plan",
            Self::AfterPlan => "after-plan",
            Self::BeforeRun => "before-run",
            Self::BeforeWave => "before-wave",
            Self::AfterWave => "after-wave",
            Self::AfterRun => "after-run",
            Self::Failure => "failure",
        })
    }
}

/// What a hook does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// Runs a program on the controller: the program, then its arguments. No shell.
    Command(Vec<String>),
    /// Posts to an address.
    Webhook {
        /// The address.
        url: Said,
        /// Headers by name.
        headers: BTreeMap<String, Said>,
    },
}

/// A text of a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// As it stands.
    Text(String),
    /// A secret.
    Secret(SecretSource),
}

impl Hook {
    /// Returns what it is told at any moment. A value of its own, so nothing that is done with it reaches a plan.
    pub fn input(
        &self,
        fleet: &FleetName,
        inventory: &str,
        who: &str,
        at: jiff::Timestamp,
    ) -> serde_json::Value {
        serde_json::json!({
            "format": HOOK_FORMAT, "hook": self.name, "on": self.on, "at": at, "who": who,
            "fleet": fleet, "inventory": inventory,
        })
    }

    /// Returns where the secrets are to be had that it needs.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretSource> {
        let said: Vec<&Said> = match &self.call {
            Call::Command(_) => Vec::new(),
            Call::Webhook { url, headers } => std::iter::once(url).chain(headers.values()).collect(),
        };
        said.into_iter().filter_map(|said| match said {
            Said::Secret(source) => Some(source),
            Said::Text(_) => None,
        })
    }
}

/// What a hook does, for people. Of an address only the host: what follows it may be somebody's key.
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(words) => write!(f, "runs `{}`", words.join(" ")),
            Self::Webhook {
                url: Said::Secret(source),
                ..
            } => write!(f, "posts to the address in {source}"),
            Self::Webhook {
                url: Said::Text(url), ..
            } => match url::Url::parse(url)
                .ok()
                .as_ref()
                .and_then(|url| Some((url.scheme(), url.host_str()?)))
            {
                Some((scheme, host)) => write!(f, "posts to {scheme}://{host}"),
                None => f.write_str("posts"),
            },
        }
    }
}

/// Names a call of a hook within a run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HookId {
    /// Its place among the plan's hooks, from 0.
    pub index: usize,
    /// The wave, from 0, where it is one of a wave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wave: Option<usize>,
}
