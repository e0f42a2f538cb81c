//! Tasks and events: what a rollout asks for, and what came of it. The journal is a list of events.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::gate::Gate;
use super::hook::HookId;
use super::id::{HostId, ResourceId};

/// Something that the rollout wants done. The crew answers each with one event.
#[derive(Debug, Clone, PartialEq)]
pub enum Task {
    /// Look again at what a wave is about to change on a host: answered by [`Event::Checked`].
    Check {
        /// The host.
        host: HostId,
        /// The wave, from 0.
        wave: usize,
    },
    /// Apply changes of one host, together where they are packages, or brief: answered by [`Event::Applied`] or [`Event::Failed`], and
    /// by [`Event::Unmade`] for those whose turn in a row did not come.
    Apply {
        /// The host.
        host: HostId,
        /// The changes, at least one.
        changes: Vec<ResourceId>,
    },
    /// Arm a host's dead-man switch for changes that have begun: answered by [`Event::Armed`], or by [`Event::Applied`] and
    /// [`Event::Failed`] where nothing is left to arm it for.
    Arm {
        /// The host.
        host: HostId,
        /// The changes, in order.
        changes: Vec<ResourceId>,
    },
    /// Make the changes that the switch was armed for, and confirm them by a new login: answered by [`Event::Confirmed`] and
    /// [`Event::Applied`], or by [`Event::Restored`], or by [`Event::Failed`] where nobody knows.
    Switched {
        /// The host.
        host: HostId,
        /// The changes, in order.
        changes: Vec<ResourceId>,
    },
    /// Find out what became of a switch that an earlier session left: answered by [`Event::Confirmed`], [`Event::Restored`],
    /// [`Event::Unarmed`] or [`Event::Unsettled`].
    Settle {
        /// The host.
        host: HostId,
    },
    /// Record what was found as declared: answered by [`Event::Recorded`].
    Record {
        /// The host.
        host: HostId,
    },
    /// Undo what this run changed on a host, in this order: answered by [`Event::Undone`].
    Undo {
        /// The host.
        host: HostId,
        /// The changes, last first.
        changes: Vec<ResourceId>,
    },
    /// Ask a gate until it opens or shuts: answered by [`Event::GateSaid`].
    Gate {
        /// Which gate.
        gate: GateId,
        /// Where it is asked.
        host: HostId,
        /// What is asked.
        ask: Gate,
    },
    /// Call a hook: answered by [`Event::HookSaid`].
    Hook {
        /// Which.
        hook: HookId,
    },
}

/// Names a gate within a run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateId {
    /// The n-th gate after a change.
    Change(ResourceId, usize),
    /// The n-th gate after a wave.
    Wave(usize, usize),
}

/// What came of a task, or what happened from outside. One line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A run began, or went on after an interruption.
    Started {
        /// Who runs it, for people: `alice@laptop`.
        who: String,
        /// Whether it goes on.
        resumed: bool,
        /// Hosts that are left out on purpose, since they are stale, each with what differs.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        left_out: BTreeMap<HostId, Vec<String>>,
    },
    /// A host's lock is held.
    Locked {
        /// The host.
        host: HostId,
        /// The fencing token.
        token: u64,
        /// The lineage of its manifest, which the lock makes where there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lineage: Option<String>,
    },
    /// A host was looked at again before a wave.
    Checked {
        /// The host.
        host: HostId,
        /// The wave.
        wave: usize,
        /// What came of it.
        outcome: CheckOutcome,
    },
    /// Changes are about to begin. On disk before they do.
    Began {
        /// The changes.
        changes: Vec<ResourceId>,
    },
    /// A host's dead-man switch is armed: it takes back what follows unless a new login confirms it.
    Armed {
        /// The host.
        host: HostId,
        /// The changes that are made under it, in order.
        changes: Vec<ResourceId>,
        /// How long the new login may take, in seconds.
        within_secs: u64,
    },
    /// A new login confirmed what was changed under a host's switch.
    Confirmed {
        /// The host.
        host: HostId,
    },
    /// A host took back what was changed under its switch.
    Restored {
        /// The host.
        host: HostId,
        /// Why: no new login came, or a change failed.
        why: String,
        /// What could not be put back, each with why.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        trouble: Vec<String>,
    },
    /// A host's switch was not armed when a run was broken off, so nothing was changed under it.
    Unarmed {
        /// The host.
        host: HostId,
    },
    /// Nobody could find out what became of a host's switch.
    Unsettled {
        /// The host.
        host: HostId,
        /// Why not.
        why: String,
    },
    /// A change was seen to its end.
    Applied {
        /// The change.
        change: ResourceId,
        /// The digest of what is there now.
        after: Digest,
        /// Values that it produced.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        outputs: BTreeMap<String, String>,
    },
    /// A change failed, or its end is not known.
    Failed {
        /// The change.
        change: ResourceId,
        /// What was attempted and what came of it, without secrets.
        why: String,
        /// The last lines that the host said.
        tail: Vec<String>,
        /// Whether the host stopped answering, so that nobody knows how far it came.
        unknown: bool,
    },
    /// Changes that began in a row were not made: one before them failed, or the connection broke before their turn.
    Unmade {
        /// The changes, all of one host.
        changes: Vec<ResourceId>,
    },
    /// What was found as declared is recorded, or could not be.
    Recorded {
        /// The host.
        host: HostId,
        /// Why not, if it could not.
        error: Option<String>,
    },
    /// A change was undone, or could not be.
    Undone {
        /// The change.
        change: ResourceId,
        /// Why not, if it could not.
        error: Option<String>,
        /// Whether it was left alone on purpose, since others changed it or what stands on it stays: `error` says which.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        held: bool,
    },
    /// A gate opened or shut.
    GateSaid {
        /// Which gate.
        gate: GateId,
        /// Whether it opened.
        open: bool,
        /// What the last answer was.
        why: String,
    },
    /// A hook was called to its end.
    HookSaid {
        /// Which.
        hook: HookId,
        /// What people call it.
        name: String,
        /// What went wrong, if anything did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        /// The last lines that it said, secrets taken out.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tail: Vec<String>,
    },
    /// Somebody asked the run to stop after what is in flight.
    Interrupted,
    /// The run ended.
    Ended {
        /// How.
        outcome: RunOutcome,
    },
}

/// What came of a second look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckOutcome {
    /// It is as the plan saw it.
    Fresh,
    /// It is not, and what differs.
    Stale(Vec<String>),
    /// The host did not answer, and why.
    Unreachable(String),
    /// Another run holds the host, and who.
    Locked(String),
    /// It answers, but cannot be worked on, and why: no room for the lock, a damaged manifest.
    Unfit(String),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunOutcome {
    /// The exit code.
    pub exit: u8,
    /// Changes that were applied.
    pub applied: usize,
    /// Changes that failed.
    pub failed: BTreeSet<ResourceId>,
    /// Changes that were undone.
    pub undone: usize,
    /// Changes that were not done, with why.
    pub not_done: BTreeMap<ResourceId, String>,
    /// Hosts that did not answer.
    pub unreachable: BTreeSet<HostId>,
}

impl Event {
    /// Returns the one host that the event is about.
    pub fn host(&self) -> Option<&HostId> {
        match self {
            Self::Locked { host, .. }
            | Self::Checked { host, .. }
            | Self::Armed { host, .. }
            | Self::Confirmed { host }
            | Self::Restored { host, .. }
            | Self::Unarmed { host }
            | Self::Unsettled { host, .. }
            | Self::Recorded { host, .. } => Some(host),
            Self::Applied { change, .. } | Self::Failed { change, .. } | Self::Undone { change, .. } => {
                Some(&change.host)
            }
            Self::Began { changes } | Self::Unmade { changes } => changes.first().map(|change| &change.host),
            Self::GateSaid {
                gate: GateId::Change(change, _),
                ..
            } => Some(&change.host),
            Self::GateSaid {
                gate: GateId::Wave(..),
                ..
            }
            | Self::Started { .. }
            | Self::HookSaid { .. }
            | Self::Interrupted
            | Self::Ended { .. } => None,
        }
    }
}
