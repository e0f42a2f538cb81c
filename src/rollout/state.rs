//! How far each change, host and gate of a run has come.

use std::collections::{BTreeSet, VecDeque};

use crate::model::event::{CheckOutcome, GateId};
use crate::model::id::ResourceId;

/// How far a change has come.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum State {
    /// It has not begun, and may yet.
    Waiting,
    /// It cannot begin in this session, and why.
    Blocked(String),
    /// It is in flight.
    Running,
    /// It was seen to its end.
    Applied,
    /// It failed; `unknown` where nobody knows how far it came.
    Failed {
        /// Whether the host stopped answering.
        unknown: bool,
    },
    /// It was taken back.
    Undone,
    /// It could not be taken back.
    UndoFailed,
}

/// What a host is worth to the run.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum Standing {
    /// It is worked on.
    #[default]
    Good,
    /// It was left out on purpose, since this differs. Costs nothing of the budget.
    LeftOut(Vec<String>),
    /// It was not fit when its wave came.
    Held(CheckOutcome),
    /// Something failed on it, and what.
    Failed(String),
}

impl Standing {
    /// Says whether the host costs something of the failure budget.
    pub(super) fn is_lost(&self) -> bool {
        match self {
            Self::Good | Self::LeftOut(_) => false,
            Self::Held(_) | Self::Failed(_) => true,
        }
    }

    /// Says why nothing more is done on the host; `None` where it is good.
    pub(super) fn trouble(&self) -> Option<String> {
        match self {
            Self::Good | Self::Held(CheckOutcome::Fresh) => None,
            Self::LeftOut(differs) => Some(format!("left out as stale: {}", differs.join("; "))),
            Self::Held(CheckOutcome::Stale(differs)) => Some(format!("stale: {}", differs.join("; "))),
            Self::Held(CheckOutcome::Unreachable(why)) => Some(format!("unreachable: {why}")),
            Self::Held(CheckOutcome::Locked(who)) => Some(who.clone()),
            Self::Failed(why) | Self::Held(CheckOutcome::Unfit(why)) => Some(why.clone()),
        }
    }
}

/// What is in flight on a host. One thing at a time.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum Doing {
    /// Nothing.
    #[default]
    Nothing,
    /// It is looked at before its wave.
    Checking,
    /// What was found as declared is recorded.
    Recording,
    /// These changes.
    Changing(BTreeSet<ResourceId>),
    /// What became of its switch is found out.
    Settling,
    /// These are undone.
    Undoing(BTreeSet<ResourceId>),
}

impl Doing {
    /// Takes one change off; the last one leaves nothing.
    pub(super) fn end(&mut self, change: &ResourceId) {
        match self {
            Self::Nothing | Self::Checking | Self::Recording | Self::Settling => {}
            Self::Changing(changes) | Self::Undoing(changes) => {
                changes.remove(change);
                if changes.is_empty() {
                    *self = Self::Nothing;
                }
            }
        }
    }
}

/// A host on its way through the run.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct HostRun<'p> {
    pub(super) standing: Standing,
    pub(super) doing: Doing,
    /// Whether the present wave is one of its waves.
    pub(super) is_in_wave: bool,
    /// Whether this run has changed something on it, or was about to.
    pub(super) is_touched: bool,
    /// Whether it was looked at for the present wave.
    pub(super) is_checked: bool,
    /// Whether a change of the present wave has ended here.
    pub(super) is_begun: bool,
    /// Whether what was found as declared is in its manifest.
    pub(super) is_recorded: bool,
    /// The changes of the present wave that are yet to begin, in the plan's order.
    pub(super) queue: VecDeque<&'p ResourceId>,
    /// Applied changes whose gates are yet to be asked.
    pub(super) to_ask: BTreeSet<&'p ResourceId>,
    /// What its armed switch waits for: handed out next.
    pub(super) armed: Vec<ResourceId>,
    /// Whether its switch may be armed, or was and nobody has seen the end.
    pub(super) is_switch_open: bool,
    /// Whether what an earlier session left of its switch is to be found out first.
    pub(super) must_settle: bool,
    /// Gates that are being asked here.
    pub(super) asking: BTreeSet<GateId>,
    /// Changes that ended here in this run, in the order in which they did.
    pub(super) ended: Vec<&'p ResourceId>,
    /// Whether its undo was handed out.
    pub(super) is_undo_asked: bool,
}

impl HostRun<'_> {
    /// Gives the host up; the first reason stays.
    pub(super) fn fail(&mut self, why: String) {
        self.to_ask.clear();
        if self.standing == Standing::Good {
            self.standing = Standing::Failed(why);
        }
    }

    /// Says whether it takes one of the places of its wave.
    pub(super) fn is_in_progress(&self) -> bool {
        self.doing != Doing::Nothing || !self.asking.is_empty()
    }

    /// Says whether nothing is left to do here in the present wave.
    pub(super) fn is_settled(&self) -> bool {
        !self.is_in_progress() && self.queue.is_empty() && self.to_ask.is_empty()
    }
}

/// What a gate has said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GateState {
    /// Nothing yet.
    Asked,
    /// It opened.
    Open,
    /// It did not, and the run goes on.
    WentOn,
    /// It did not, and its host counts as failed.
    Failed,
    /// It did not, and the run halts.
    Halted,
}

/// How far a hook has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HookState {
    /// It is being called.
    Called,
    /// It was called to its end.
    Heard,
}

/// Where a wave stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The run has not started.
    Before,
    /// The hooks before the run are called.
    Opening,
    /// The hooks before the wave are called.
    Announcing,
    /// Its hosts are looked at.
    Checking,
    /// Its hosts are changed.
    Changing,
    /// Its gates are asked.
    Gating,
    /// The hooks after the wave are called.
    Closing,
    /// No wave is left.
    Over,
}

/// Why nothing new is started.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Stops {
    /// Somebody asked.
    pub(super) interrupted: bool,
    /// A gate, a failure that holds the run, or an undo that failed; the first one.
    pub(super) halted: Option<String>,
    /// Too many hosts failed.
    pub(super) over_budget: bool,
    /// A hook before the run refused it, and why.
    pub(super) refused: Option<String>,
}

impl Stops {
    /// Says whether anything stops the run.
    pub(super) fn any(&self) -> bool {
        self.interrupted || self.halted.is_some() || self.over_budget || self.refused.is_some()
    }

    /// Halts the run; the first reason stays.
    pub(super) fn halt(&mut self, why: String) {
        self.halted.get_or_insert(why);
    }
}
