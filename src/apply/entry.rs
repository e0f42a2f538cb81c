//! Entries of a manifest: what is written before a change, after it, and for what was found as declared. Pure.

use std::collections::BTreeMap;

use crate::model::change::{Action, Change, Keep};
use crate::model::digest::Digest;
use crate::model::engine::EngineOp;
use crate::model::id::ResourceKey;
use crate::model::inspected::Effect;
use crate::model::manifest::{Origin, Owned, OwnedState, StartedWith};
use crate::model::op::{Op, UnitVerb};
use crate::model::plan::Take;

/// Returns what is written before a change begins.
///
/// A deletion keeps what the manifest said of the resource, so that a run that never comes back leaves something that can still be
/// told from what somebody changed by hand.
///
/// `start` names what runs now, if that is known: where it is about to be restarted, what is looked at after an interruption is held to it.
pub(super) fn intent(change: &Change, before: Option<&Owned>, start: Option<&str>) -> Owned {
    let entry = entry(&change.spec, &change.keep);
    let kept = before.cloned().unwrap_or_else(|| entry.clone());
    if let Some(back) = &change.back {
        let known = before.or(back.entry.as_ref()).cloned().unwrap_or(entry);
        return Owned {
            state: OwnedState::Intent,
            ..known
        };
    }
    match change.action {
        Action::Delete | Action::Forget => Owned {
            state: OwnedState::Intent,
            ..kept
        },
        Action::Create | Action::Update | Action::Replace => Owned {
            state: OwnedState::Intent,
            started_with: match restarts(change) {
                true => replaced(&kept, start),
                false => kept.started_with,
            },
            outputs: kept.outputs,
            ..entry
        },
    }
}

/// Says whether a change restarts or reloads something, which nothing that is there shows.
pub(super) fn restarts(change: &Change) -> bool {
    let is_restart = |op: &Op| match op {
        Op::ControlUnit { verb, .. } => matches!(verb, UnitVerb::Restart | UnitVerb::Reload),
        Op::Engine(EngineOp::Container { effect, .. }) => *effect == Effect::Restart,
        Op::Engine(EngineOp::Once { .. }) => change.action == Action::Update,
        _ => false,
    };
    change.action != Action::Delete && change.ops.iter().any(is_restart)
}

/// Returns the start that is about to be replaced. An intent that an interruption left has it already.
fn replaced(kept: &Owned, start: Option<&str>) -> Option<StartedWith> {
    if kept.state == OwnedState::Intent && kept.started_with.is_some() {
        return kept.started_with.clone();
    }
    let start = start?;
    let known = kept
        .started_with
        .clone()
        .filter(|known| known.invocation == start);
    Some(known.unwrap_or_else(|| StartedWith {
        consumed: Digest::of("not known"),
        invocation: start.to_owned(),
        at_secs: None,
    }))
}

/// What was seen of a resource after its change.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    /// The digest of what is there.
    pub(super) after: Digest,
    /// The values that it produced.
    pub(super) outputs: BTreeMap<String, String>,
    /// What names its present start.
    pub(super) invocation: Option<String>,
}

/// Returns what is written when a change was seen to its end; `None` takes an entry out.
pub(super) fn ends(
    change: &Change,
    before: Option<&Owned>,
    seen: &Seen,
    at_secs: u64,
) -> BTreeMap<ResourceKey, Option<Owned>> {
    let key = change.target.key.clone();
    if let Some(back) = &change.back {
        return put_back(key, back.named.as_ref(), back.entry.as_ref());
    }
    let moved = change.keep.moved_from.iter().map(|moved| (moved.clone(), None));
    let done = (key, done(change, before, seen, at_secs));
    moved.chain([done]).collect()
}

/// Returns the entry of before a change, under the name that it had then.
pub(super) fn put_back(
    key: ResourceKey,
    named: Option<&ResourceKey>,
    entry: Option<&Owned>,
) -> BTreeMap<ResourceKey, Option<Owned>> {
    match named {
        Some(named) => BTreeMap::from([(key, None), (named.clone(), entry.cloned())]),
        None => BTreeMap::from([(key, entry.cloned())]),
    }
}

fn done(change: &Change, before: Option<&Owned>, seen: &Seen, at_secs: u64) -> Option<Owned> {
    match change.action {
        Action::Delete | Action::Forget => None,
        Action::Create | Action::Update | Action::Replace => Some(Owned {
            state: OwnedState::Done,
            after: Some(seen.after.clone()),
            changed_at_secs: if change.changes_content() {
                Some(at_secs)
            } else {
                before.and_then(|before| before.changed_at_secs)
            },
            started_with: started_with(&change.keep, before, seen.invocation.as_deref(), Some(at_secs)),
            outputs: seen.outputs.clone(),
            ..entry(&change.spec, &change.keep)
        }),
    }
}

/// Returns what something has been started with: anew where this change starts it.
pub(super) fn started_with(
    keep: &Keep,
    before: Option<&Owned>,
    invocation: Option<&str>,
    at_secs: Option<u64>,
) -> Option<StartedWith> {
    match (keep.starts, &keep.consumed, invocation) {
        (true, Some(consumed), Some(invocation)) => Some(StartedWith {
            consumed: consumed.clone(),
            invocation: invocation.to_owned(),
            at_secs,
        }),
        (true, _, _) => None,
        (false, _, _) => before.and_then(|before| before.started_with.clone()),
    }
}

/// Returns what is written for something found as declared.
pub(super) fn taken(take: &Take, before: Option<&Owned>) -> Owned {
    Owned {
        state: OwnedState::Done,
        after: Some(take.after.clone()),
        changed_at_secs: before.and_then(|before| before.changed_at_secs),
        started_with: before.and_then(|before| before.started_with.clone()),
        outputs: take.outputs.clone(),
        ..entry(&take.spec, &take.keep)
    }
}

fn entry(spec: &serde_json::Value, keep: &Keep) -> Owned {
    Owned {
        origin: if keep.is_made { Origin::Made } else { Origin::Found },
        state: OwnedState::Intent,
        spec: spec.clone(),
        needs: keep.needs.clone(),
        protect: keep.protect,
        delete: keep.delete,
        after: None,
        changed_at_secs: None,
        started_with: None,
        outputs: BTreeMap::new(),
        made_keys: keep.made_keys.clone(),
    }
}
