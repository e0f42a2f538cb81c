//! Dead-man switches: changes of one host that it takes back by itself unless a new login confirms them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::id::ResourceId;

/// The shortest time that a new login may be given, in seconds: connecting and logging in are tried again after setbacks.
pub const WITHIN_SECS_MIN: u64 = 15;
/// The longest, in seconds. A host that cut us off is out of reach for as long.
pub const WITHIN_SECS_MAX: u64 = 3600;

/// Changes of one host that are made together, between the arming of a switch and one new login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    /// The changes, in the order in which they are made. All are in one wave.
    pub changes: Vec<ResourceId>,
    /// Why, for each change that may cut us off; the others stand between these.
    pub cuts: BTreeMap<ResourceId, String>,
    /// How long a new login may take, in seconds.
    pub within_secs: u64,
    /// What is put back if none comes.
    pub restores: Restores,
}

/// What a host puts back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restores {
    /// Files, links and directories: bytes, owner, group and mode, or that there was nothing.
    pub paths: BTreeSet<String>,
    /// Units that are changed or restarted: enabled and running, or not, as before. Those that ran are restarted.
    pub units: BTreeSet<String>,
    /// Units that may have read a path anew: restarted only where somebody did so since.
    pub readers: BTreeSet<String>,
    /// Kernel parameters, with dots.
    pub parameters: BTreeSet<String>,
}
