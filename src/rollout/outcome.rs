//! How a run ended: what was done, what was not and why.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::event::{CheckOutcome, RunOutcome};
use crate::model::id::{HostId, ResourceId};
use crate::model::plan::HeldWhy;

use super::Rollout;
use super::exit::{Trouble, exit_code};
use super::state::{GateState, Standing, State};

/// Sums a rollout up.
pub(super) fn outcome(rollout: &Rollout<'_>) -> RunOutcome {
    let count = |wanted: &State| rollout.changes.values().filter(|state| *state == wanted).count();
    RunOutcome {
        exit: exit_code(trouble(rollout)),
        applied: count(&State::Applied),
        failed: failed(rollout),
        undone: count(&State::Undone),
        not_done: not_done(rollout),
        unreachable: unreachable(rollout),
    }
}

/// A change that failed and was then undone, or not, has failed all the same.
fn failed(rollout: &Rollout<'_>) -> BTreeSet<ResourceId> {
    let is_failed = |state: &State| matches!(state, State::Failed { .. } | State::UndoFailed);
    let failed = rollout.changes.iter().filter(|(_, state)| is_failed(state));
    failed.map(|(id, _)| (*id).clone()).collect()
}

fn not_done(rollout: &Rollout<'_>) -> BTreeMap<ResourceId, String> {
    let why = |id: &ResourceId, state: &State| match state {
        State::Blocked(why) => Some(why.clone()),
        State::Waiting => Some(stopped(rollout, &id.host)),
        State::Running => Some("its end was not seen; it will be looked at".to_owned()),
        State::Applied | State::Failed { .. } | State::Undone | State::UndoFailed => None,
    };
    rollout
        .changes
        .iter()
        .filter_map(|(id, state)| Some(((*id).clone(), why(id, state)?)))
        .collect()
}

fn stopped(rollout: &Rollout<'_>, host: &HostId) -> String {
    let stops = &rollout.stops;
    if let Some(trouble) = rollout.hosts.get(host).and_then(|run| run.standing.trouble()) {
        return format!("{host}: {trouble}");
    }
    if stops.interrupted {
        return "the run was interrupted".to_owned();
    }
    if let Some(why) = &stops.refused {
        return format!("the run was refused: {why}");
    }
    if let Some(why) = &stops.halted {
        return format!("the run halted: {why}");
    }
    if stops.over_budget {
        return budget(rollout);
    }
    "the run has not come to it".to_owned()
}

fn budget(rollout: &Rollout<'_>) -> String {
    let lost: Vec<&str> = rollout
        .hosts
        .iter()
        .filter(|(_, run)| run.standing.is_lost())
        .map(|(host, _)| host.as_str())
        .collect();
    let before = match rollout.down_before.len() {
        0 => String::new(),
        count => format!(" and {count} down before"),
    };
    let max = rollout.plan.policy.failures_max;
    format!(
        "the run stopped: lost {}{before}, and failures_max is {max}",
        lost.join(", ")
    )
}

/// A host that went away in the middle of a change did not answer either.
fn unreachable(rollout: &Rollout<'_>) -> BTreeSet<HostId> {
    let is_out = |standing: &Standing| matches!(standing, Standing::Held(CheckOutcome::Unreachable(_)));
    let is_gone = |state: &State| *state == State::Failed { unknown: true };
    let held = rollout
        .hosts
        .iter()
        .filter(|(_, run)| is_out(&run.standing))
        .map(|(host, _)| *host);
    let gone = rollout
        .changes
        .iter()
        .filter(|(_, state)| is_gone(state))
        .map(|(id, _)| &id.host);
    held.chain(gone)
        .chain(rollout.down_before.iter().copied())
        .cloned()
        .collect()
}

fn trouble(rollout: &Rollout<'_>) -> Trouble {
    let standing = |test: fn(&Standing) -> bool| rollout.hosts.values().any(|run| test(&run.standing));
    let any = |test: fn(&State) -> bool| rollout.changes.values().any(test);
    let is_left = any(|state| matches!(state, State::Applied | State::Failed { .. } | State::UndoFailed));
    Trouble {
        is_interrupted: rollout.stops.interrupted,
        is_locked: standing(|standing| matches!(standing, Standing::Held(CheckOutcome::Locked(_)))),
        is_refused: rollout.stops.refused.is_some(),
        is_stale: standing(|standing| {
            matches!(
                standing,
                Standing::LeftOut(_) | Standing::Held(CheckOutcome::Stale(_))
            )
        }),
        has_changed: !rollout.begun.is_empty(),
        is_undone: !is_left && any(|state| *state == State::Undone),
        is_halted: rollout.stops.halted.is_some(),
        has_failed: standing(|standing| {
            matches!(
                standing,
                Standing::Failed(_) | Standing::Held(CheckOutcome::Unfit(_))
            )
        }) || rollout.gates.values().any(|state| *state == GateState::Failed)
            || rollout.plan.held.iter().any(|held| is_unread(&held.why)),
        is_unreachable: !unreachable(rollout).is_empty(),
    }
}

/// Says whether what is wanted was left out since a host that answers could not be read, or is not ours. What is held for a reason that
/// somebody gave, such as `protect`, is as wanted; what comes after this apply is for the next plan.
fn is_unread(why: &HeldWhy) -> bool {
    match why {
        HeldWhy::Unknown(_) | HeldWhy::NotOurs(_) | HeldWhy::MissingTool(_) => true,
        HeldWhy::Unreachable(_)
        | HeldWhy::ChangedByHand
        | HeldWhy::Protected
        | HeldWhy::Kept(_)
        | HeldWhy::Needs(_)
        | HeldWhy::Wipes(_)
        | HeldWhy::AfterApply(_)
        | HeldWhy::LeftOut(_)
        | HeldWhy::NoSwitch(_)
        | HeldWhy::ChangedSince(_)
        | HeldWhy::UndoExpired(_)
        | HeldWhy::CannotUndo(_)
        | HeldWhy::NoRoom(_) => false,
    }
}
