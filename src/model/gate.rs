//! Gates: what must be true before a rollout goes on. The words only; `rollout` judges.

use serde::{Deserialize, Serialize};

use super::id::HostId;

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
