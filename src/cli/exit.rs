//! Exit codes.

use std::process::ExitCode;

/// How a run of the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done; nothing to do; no drift.
    Done = 0,
    /// An error: nothing was done, or the message says what was.
    Error = 1,
    /// Changes or drift pending.
    Pending = 2,
    /// Finished, some hosts failed; or something on a reached host could not be read.
    Failed = 3,
    /// Hosts unreachable, nothing else wrong.
    Unreachable = 4,
    /// A lock is held by another run.
    Locked = 5,
    /// The plan is stale: what it was based on has changed.
    Stale = 6,
    /// Refused by a rule: policy, approval, key custody.
    Refused = 7,
    /// Halted by a gate; resumable.
    Halted = 8,
    /// Rolled back.
    RolledBack = 9,
    /// Wrong usage of the command line.
    Usage = 64,
    /// Interrupted, after a clean stop.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
