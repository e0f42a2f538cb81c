//! Exit codes.

use std::process::ExitCode;

use crate::model::plan::{HeldWhy, Plan};
use crate::ports::Untold;

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

impl Exit {
    /// Returns how a verb ends that ended so far like this, and was not told something as well.
    pub fn and_untold(self, error: &Untold) -> Self {
        match error {
            Untold::Reach(_) if self != Self::Failed => Self::Unreachable,
            Untold::Reach(_) | Untold::Engine(_) => Self::Failed,
        }
    }

    /// Returns how a run that acted ends, from the code that its journal holds.
    pub fn of_run(code: u8) -> Self {
        let all = [
            Self::Done,
            Self::Failed,
            Self::Unreachable,
            Self::Locked,
            Self::Stale,
            Self::Refused,
            Self::Halted,
            Self::RolledBack,
            Self::Interrupted,
        ];
        all.into_iter()
            .find(|exit| *exit as u8 == code)
            .unwrap_or(Self::Error)
    }

    /// Returns how a verb that only looks ends: with what differs, else with what could not be read, else with hosts that did
    /// not answer. A look that left anything wanted unknown is never [`Exit::Done`].
    pub fn of_look(plan: &Plan, reports_changes: bool) -> Self {
        let whys = || plan.held.iter().map(|held| &held.why);
        let is_unread = |why: &HeldWhy| {
            matches!(
                why,
                HeldWhy::Unknown(_) | HeldWhy::NotOurs(_) | HeldWhy::MissingTool(_) | HeldWhy::AfterApply(_)
            )
        };
        let is_unreachable = |why: &HeldWhy| matches!(why, HeldWhy::Unreachable(_));
        let differs = !plan.changes.is_empty() || whys().any(is_held_back);
        if differs && reports_changes {
            Self::Pending
        } else if whys().any(is_unread) {
            Self::Failed
        } else if whys().any(is_unreachable) {
            Self::Unreachable
        } else {
            Self::Done
        }
    }
}

/// Says whether something is seen to differ, and is held for another reason than that nobody could look.
fn is_held_back(why: &HeldWhy) -> bool {
    match why {
        HeldWhy::ChangedByHand
        | HeldWhy::Protected
        | HeldWhy::Kept(_)
        | HeldWhy::Needs(_)
        | HeldWhy::Wipes(_)
        | HeldWhy::NoSwitch(_)
        | HeldWhy::NoRoom(_)
        | HeldWhy::LeftOut(_)
        | HeldWhy::ChangedSince(_)
        | HeldWhy::UndoExpired(_)
        | HeldWhy::CannotUndo(_) => true,
        HeldWhy::Unreachable(_)
        | HeldWhy::Unknown(_)
        | HeldWhy::NotOurs(_)
        | HeldWhy::MissingTool(_)
        | HeldWhy::AfterApply(_) => false,
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
