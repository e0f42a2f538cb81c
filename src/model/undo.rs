//! Undoing: in which order changes are taken back, what that rests on, and when one counts as taken back.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::change::{Change, Undo};
use super::digest::Digest;
use super::id::{ResourceId, ResourceKey, RunId};
use super::manifest::Owned;
use super::op::{Op, Probe};

/// What a change of a rollback brings back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Back {
    /// The run whose change it takes back.
    pub run: RunId,
    /// The digest of what was there before that change.
    pub before: Digest,
    /// The digest of what is there now.
    pub now: Digest,
    /// Whether exactly that comes back; otherwise only what matters of it.
    pub exact: bool,
    /// What the manifest said of the resource before that run; `None` where it said nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<Owned>,
    /// The name under which it said so, if that was another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named: Option<ResourceKey>,
}

impl Back {
    /// Says whether what is there is what was to come back.
    ///
    /// An undo that is not exact brings back something near: it must have done something, or there was nothing to do.
    pub fn is_reached(&self, there: &Digest) -> bool {
        *there == self.before || (!self.exact && *there != self.now)
    }
}

/// Returns changes in the order in which they are undone: the last one first, but what starts something after all that it
/// needs, so that it starts with what came back.
pub fn order<'a>(changes: &BTreeMap<ResourceId, Change>, done: &[&'a ResourceId]) -> Vec<&'a ResourceId> {
    let starts = |id: &&&ResourceId| changes.get(**id).is_some_and(|change| change.undo.starts());
    let (late, early): (Vec<&ResourceId>, Vec<&ResourceId>) = done.iter().partition(starts);
    early.into_iter().rev().chain(late).collect()
}

/// Returns what must be taken back before a change is, of those that are taken back too: what needs it, or, for what starts
/// something, what it needs itself. Together with [`order`] this is one rule: nothing late comes before anything early.
pub fn needs(
    changes: &BTreeMap<ResourceId, Change>,
    taken: &BTreeSet<ResourceId>,
) -> BTreeMap<ResourceId, BTreeSet<ResourceId>> {
    let starts = |id: &ResourceId| changes.get(id).is_some_and(|change| change.undo.starts());
    let mut needs: BTreeMap<ResourceId, BTreeSet<ResourceId>> =
        taken.iter().map(|id| (id.clone(), BTreeSet::new())).collect();
    for user in taken {
        for used in behind(changes, taken, user) {
            let (first, then) = if starts(user) { (used, user) } else { (user, used) };
            needs.entry(then.clone()).or_default().insert(first.clone());
        }
    }
    needs
}

/// Returns those that a change needs, directly or behind changes that are not taken back.
fn behind<'a>(
    changes: &'a BTreeMap<ResourceId, Change>,
    taken: &BTreeSet<ResourceId>,
    user: &ResourceId,
) -> BTreeSet<&'a ResourceId> {
    let needs = |id: &ResourceId| changes.get(id).into_iter().flat_map(|change| &change.needs);
    let (mut seen, mut found) = (BTreeSet::new(), BTreeSet::new());
    let mut open: Vec<&ResourceId> = needs(user).collect();
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        match taken.contains(id) {
            true => drop(found.insert(id)),
            false => open.extend(needs(id)),
        }
    }
    found
}

/// Says whether a change can be undone exactly, with all that it needed of the same plan: a file that a package brings along
/// comes back as it was when it was written, and not as it was before the package.
pub fn is_whole(changes: &BTreeMap<ResourceId, Change>, id: &ResourceId) -> bool {
    let mut seen: BTreeSet<&ResourceId> = BTreeSet::new();
    let mut open = vec![id];
    while let Some(id) = open.pop() {
        let Some(change) = changes.get(id).filter(|_| seen.insert(id)) else {
            continue;
        };
        if !matches!(change.undo, Undo::Exact(_)) {
            return false;
        }
        open.extend(&change.needs);
    }
    true
}

/// Returns an undo's steps as those of a later run, which restores from what the earlier one kept.
pub fn from_run(ops: &[Op], run: &RunId) -> Vec<Op> {
    let later = |op: &Op| match op {
        Op::Restore { path, .. } => Op::Restore {
            path: path.clone(),
            run: Some(run.clone()),
        },
        other => other.clone(),
    };
    ops.iter().map(later).collect()
}

/// Returns the questions that tell whether what a run left at the paths of an undo is still there.
pub fn probes(undo: &Undo, run: &RunId) -> Vec<Probe> {
    let restored = |op: &Op| match op {
        Op::Restore { path, .. } => Some(Probe::Kept {
            run: run.clone(),
            path: path.clone(),
        }),
        _ => None,
    };
    undo.ops()
        .unwrap_or_default()
        .iter()
        .filter_map(restored)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::change::{Action, Disruption, Keep, Reason};
    use crate::model::op::UnitVerb;

    fn id(name: &str) -> ResourceId {
        format!("file[/{name}]@h").parse().unwrap()
    }

    fn change(name: &str, needs: &[&str], undo: Undo) -> (ResourceId, Change) {
        let change = Change {
            target: id(name),
            action: Action::Create,
            fields: Vec::new(),
            reasons: vec![Reason::Missing],
            needs: needs.iter().map(|name| id(name)).collect(),
            disruption: Disruption::None,
            ops: Vec::new(),
            undo,
            probes: Vec::new(),
            spec: serde_json::Value::Null,
            keep: Keep::default(),
            former: None,
            back: None,
            gates: Vec::new(),
            modules: BTreeSet::new(),
            origins: Vec::new(),
        };
        (change.target.clone(), change)
    }

    fn exact() -> Undo {
        Undo::Exact(vec![Op::restore("/x")])
    }

    fn control(verb: UnitVerb) -> Undo {
        let unit = "app.service".to_owned();
        Undo::Inverse {
            ops: vec![Op::ControlUnit { unit, verb }],
            loses: "what it held in memory".to_owned(),
        }
    }

    /// `unit` runs with `conf`, and is restarted for it; `other` was started after it.
    fn restarted() -> BTreeMap<ResourceId, Change> {
        BTreeMap::from([
            change("folder", &[], exact()),
            change("conf", &["folder"], exact()),
            change("unit", &["conf"], control(UnitVerb::Restart)),
            change("other", &["unit"], control(UnitVerb::Reload)),
            change("new", &["conf"], control(UnitVerb::Stop)),
        ])
    }

    #[test]
    fn what_starts_something_starts_with_what_came_back() {
        let ids = ["folder", "conf", "unit", "other", "new"].map(id);
        let done: Vec<&ResourceId> = ids.iter().collect();
        let wanted = ["new", "conf", "folder", "unit", "other"].map(id);
        assert_eq!(order(&restarted(), &done), wanted.iter().collect::<Vec<_>>());
    }

    #[test]
    fn needs_agree_with_the_order() {
        let changes = restarted();
        let needs = needs(&changes, &changes.keys().cloned().collect());
        let of = |name: &str| needs[&id(name)].clone();
        assert_eq!(
            of("conf"),
            BTreeSet::from([id("new")]),
            "it stops before its file goes"
        );
        assert_eq!(
            of("unit"),
            BTreeSet::from([id("conf")]),
            "it starts with what came back"
        );
        assert_eq!(
            (of("folder"), of("other")),
            ([id("conf")].into(), [id("unit")].into())
        );
    }

    #[test]
    fn what_rests_on_something_that_does_not_come_back_is_not_whole() {
        let changes = BTreeMap::from([
            change("package", &[], control(UnitVerb::Stop)),
            change("conf", &["folder"], exact()),
            change("folder", &["package"], exact()),
            change("alone", &["elsewhere"], exact()),
        ]);
        assert!(!is_whole(&changes, &id("conf")) && is_whole(&changes, &id("alone")));
    }
}
