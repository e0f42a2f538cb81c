//! Waves: which changes happen together, and the policy by which they are cut.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::gate::{Gate, HostGate};
use super::id::{HostId, IdError, ResourceId, serde_as_text};
use super::selector::Selector;

/// Changes that happen together. Hosts of one wave run side by side, at most `width` at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wave {
    /// What the wave is for.
    pub kind: WaveKind,
    /// The hosts that it changes, sorted.
    pub hosts: BTreeSet<HostId>,
    /// Its changes, in an order in which nothing comes before what it needs.
    pub changes: Vec<ResourceId>,
    /// How many hosts may be in progress at once, at least 1.
    pub width: usize,
    /// What must hold when the wave has ended, before the next one starts.
    pub after: Vec<HostGate>,
}

/// What a wave is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaveKind {
    /// What disturbs nobody and takes long, before what waits for it: images.
    Ahead,
    /// A few hosts first, to find out.
    Canary,
    /// The fleet, a batch at a time.
    Batch,
    /// What only waits for changes of other hosts, after everything else.
    Finish,
}

/// A number of hosts: an absolute count, or percent of the whole fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Share {
    /// So many hosts.
    Count(usize),
    /// So many of a hundred hosts, 0 to 100.
    Percent(u8),
}

impl Share {
    /// Returns the number of hosts out of `whole`, rounded down, but never below one unless the share itself is zero.
    ///
    /// Source: decision 0007 (rollout arithmetic).
    pub fn of(self, whole: usize) -> usize {
        match self {
            Self::Count(count) => count,
            Self::Percent(0) => 0,
            Self::Percent(percent) => (whole * usize::from(percent) / 100).max(1),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl FromStr for Share {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let error = || IdError {
            text: text.to_owned(),
            wanted: "a count of hosts or a percentage (`3` or `25%`)",
        };
        match text.strip_suffix('%') {
            Some(percent) => {
                let percent = percent.trim().parse().ok().filter(|percent| *percent <= 100);
                percent.map(Self::Percent).ok_or_else(error)
            }
            None => text.parse().map(Self::Count).map_err(|_| error()),
        }
    }
}
serde_as_text!(Share);

/// How a rollout goes through the fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutPolicy {
    /// The hosts that go first; `None` has no canary wave.
    pub canary: Option<Canary>,
    /// How many hosts a batch has.
    pub batch: Share,
    /// How many hosts of the whole fleet may be down at once, counting those already down or unknown.
    pub down_max: Share,
    /// How many hosts may fail in the whole run before it stops; unreachable hosts count.
    pub failures_max: usize,
    /// What happens to a host on which a change fails.
    pub on_failure: OnFailure,
    /// Selectors in the order in which their hosts go; hosts in none go last.
    pub order: Vec<Selector>,
    /// A label: never two hosts with the same value of it in one wave.
    pub spread: Option<String>,
    /// How long a plan may be applied after it was made, in seconds.
    pub plan_max_age_secs: u64,
    /// How long a host's lock lasts without renewal, in seconds. It is renewed three times as often.
    #[serde(default = "lease_secs", skip_serializing_if = "is_default_lease")]
    pub lease_secs: u64,
    /// How many hosts are worked on at once, within a wave's width.
    pub parallel: usize,
    /// How long a new login may take after a change that may cut us off, in seconds, before the host takes it back.
    pub login_within_secs: u64,
    /// Asked on every host of a wave when it has ended, before the next wave.
    pub gates: Vec<Gate>,
}

/// Which hosts go first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Canary {
    /// The first so many by the policy's order.
    First(Share),
    /// These.
    Hosts(Selector),
}

/// What happens to a host on which a change fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Its later changes are not done; what was done stays.
    Stop,
    /// What this run changed on it is undone, in reverse order, as far as it can be.
    Undo,
    /// As `Stop`, and the whole run halts at once, resumable.
    Hold,
}

impl Default for RolloutPolicy {
    fn default() -> Self {
        Self {
            canary: None,
            batch: Share::Percent(100),
            down_max: Share::Percent(100),
            failures_max: 0,
            on_failure: OnFailure::Stop,
            order: Vec::new(),
            spread: None,
            plan_max_age_secs: 24 * 3600,
            lease_secs: lease_secs(),
            parallel: 64,
            login_within_secs: 60,
            gates: Vec::new(),
        }
    }
}

/// How long a lock lasts where nobody says otherwise. Renewals are then missed for a minute before anybody may take over,
/// which is more than a connection needs to be set up anew, and less than people wait.
fn lease_secs() -> u64 {
    60
}

fn is_default_lease(secs: &u64) -> bool {
    *secs == lease_secs()
}

/// Labels of the hosts, for spreading.
pub type Labels = BTreeMap<HostId, BTreeMap<String, String>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_round_down_but_never_to_nothing() {
        assert_eq!(Share::Percent(25).of(10), 2);
        assert_eq!(Share::Percent(5).of(3), 1);
        assert_eq!(Share::Percent(0).of(3), 0);
        assert_eq!(Share::Count(7).of(3), 7);
    }

    #[test]
    fn shares_round_trip_and_refuse_more_than_all() {
        for text in ["3", "25%"] {
            assert_eq!(text.parse::<Share>().unwrap().to_string(), text);
        }
        assert!("120%".parse::<Share>().is_err());
        assert!("-1".parse::<Share>().is_err());
    }
}
