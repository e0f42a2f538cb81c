//! One change of a run: can it be taken back, and with which steps?

use std::collections::BTreeSet;

use crate::model::change::{Action, Change, Disruption, FieldChange, Keep, Reason, Undo};
use crate::model::digest::Digest;
use crate::model::id::{ResourceId, RunId};
use crate::model::known::Known;
use crate::model::manifest::Owned;
use crate::model::observation::{HostView, Observed};
use crate::model::op::{Op, UnitVerb};
use crate::model::plan::{Basis, HeldWhy, Plan, Take};
use crate::model::undo::{self, Back};
use crate::resource::since::{self, Standing};
use crate::resource::{Actual, Context, Spec, Step};

use super::trace::Traced;

/// What one change comes to.
pub(super) enum Judged {
    /// It is as it was before the run.
    Nothing,
    /// It stays, and why.
    Held(HeldWhy),
    /// It is taken back; with the digest of what is there now.
    Change(Box<Change>, Digest),
}

/// What changes of one host are judged by.
#[derive(Clone, Copy)]
pub(super) struct Judging<'a> {
    pub(super) run: &'a RunId,
    pub(super) then: &'a Plan,
    pub(super) view: &'a HostView,
}

impl Judging<'_> {
    /// Judges a change that the run made or began.
    pub(super) fn change(&self, change: &Change, traced: &Traced) -> Judged {
        let key = &change.target.key;
        let answers = self.view.answers.get(key).map_or(&[][..], Vec::as_slice);
        // What was only forgotten is not changed on the host.
        let left = match traced {
            Traced::Applied(left) if change.action != Action::Forget => Some(left),
            Traced::Applied(_) | Traced::Touched => None,
        };
        let standing = match since::standing(change, left, answers) {
            Ok(standing) => standing,
            Err(why) => return Judged::Held(HeldWhy::Unknown(why)),
        };
        let nothing = Basis::default();
        let basis = self.then.basis.get(&change.target.host).unwrap_or(&nothing);
        let Some(before) = basis.seen.get(key) else {
            return Judged::Held(HeldWhy::Unknown(
                "the run's plan does not say what was there".to_owned(),
            ));
        };
        let is_there = standing.now == *before && !change.undo.starts();
        let entry = self.entry(&change.target);
        if is_there && entry == change.former.as_ref() && change.keep.moved_from.is_none() {
            return Judged::Nothing;
        }
        let is_whole = undo::is_whole(&self.then.changes, &change.target);
        let back = Back {
            run: self.run.clone(),
            before: before.clone(),
            now: standing.now.clone(),
            exact: since::is_exact(change, before, basis.lineage.is_some(), is_whole),
            entry: change.former.clone(),
            named: change.keep.moved_from.clone(),
        };
        if is_there || change.action == Action::Forget {
            let back = Back {
                before: standing.now.clone(),
                ..back
            };
            return Judged::Change(Box::new(self.entry_only(change, back)), standing.now);
        }
        let action = action(change.action, before);
        match self.hindrance(change, action, &standing, entry) {
            Some(why) => Judged::Held(why),
            None => self.taken_back(change, action, back),
        }
    }

    /// Judges what the run recorded as found: what it recorded is put back, and the host stays as it is.
    pub(super) fn take(&self, id: &ResourceId, take: &Take) -> Judged {
        let entry = self.entry(id);
        let is_so =
            entry.is_some_and(|entry| entry.spec == take.spec && entry.after.as_ref() == Some(&take.after));
        if entry == take.former.as_ref() || entry.is_none() {
            return Judged::Nothing;
        }
        if !is_so {
            let why = "a later run recorded it anew".to_owned();
            return Judged::Held(HeldWhy::ChangedSince(why));
        }
        let change = Change {
            target: id.clone(),
            action: Action::Forget,
            fields: Vec::new(),
            reasons: Vec::new(),
            needs: BTreeSet::new(),
            disruption: Disruption::None,
            ops: Vec::new(),
            undo: Undo::Exact(Vec::new()),
            probes: take.probes.clone(),
            spec: take.spec.clone(),
            keep: take.keep.clone(),
            former: None,
            back: None,
            gates: Vec::new(),
            modules: BTreeSet::new(),
            origins: Vec::new(),
        };
        let answers = self.view.answers.get(&id.key).map_or(&[][..], Vec::as_slice);
        let now = match since::standing(&change, None, answers) {
            Ok(standing) => standing.now,
            Err(why) => return Judged::Held(HeldWhy::Unknown(why)),
        };
        let back = Back {
            run: self.run.clone(),
            before: now.clone(),
            now: now.clone(),
            exact: true,
            entry: take.former.clone(),
            named: take.keep.moved_from.clone(),
        };
        Judged::Change(Box::new(self.entry_only(&change, back)), now)
    }

    fn entry(&self, id: &ResourceId) -> Option<&Owned> {
        self.view.manifest.present()?.owned.get(&id.key)
    }

    /// Says what is in the way.
    fn hindrance(
        &self,
        change: &Change,
        action: Action,
        standing: &Standing,
        entry: Option<&Owned>,
    ) -> Option<HeldWhy> {
        if let Undo::Impossible(why) = &change.undo {
            return Some(HeldWhy::CannotUndo(why.clone()));
        }
        if standing.is_expired {
            return Some(HeldWhy::UndoExpired(self.run.clone()));
        }
        if let Some(why) = standing.changed {
            let by_muster = entry.is_some_and(|entry| entry.after.as_ref() == Some(&standing.now));
            let why = if by_muster { "a later run changed it" } else { why };
            return Some(HeldWhy::ChangedSince(why.to_owned()));
        }
        if action != Action::Delete {
            return None;
        }
        if entry.is_some_and(|entry| entry.protect) {
            return Some(HeldWhy::Protected);
        }
        let spec = Spec::decode(change.target.key.kind.as_str(), &change.spec).ok()?;
        spec.never_deleted().map(HeldWhy::Kept)
    }

    /// Makes a change that puts the manifest's entry back and does nothing else.
    fn entry_only(&self, change: &Change, back: Back) -> Change {
        let action = match back.entry {
            Some(_) => Action::Update,
            None => Action::Forget,
        };
        let field = FieldChange::text("manifest", "as that run recorded it", "as before that run");
        Change {
            fields: if action == Action::Update {
                vec![field]
            } else {
                Vec::new()
            },
            undo: Undo::Exact(Vec::new()),
            disruption: Disruption::None,
            ..self.changed(change, action, Vec::new(), back)
        }
    }

    fn taken_back(&self, change: &Change, action: Action, back: Back) -> Judged {
        let spec = match Spec::decode(change.target.key.kind.as_str(), &change.spec) {
            Ok(spec) => spec,
            Err(why) => return Judged::Held(HeldWhy::Unknown(why)),
        };
        let answers = self
            .view
            .answers
            .get(&change.target.key)
            .map_or(&[][..], Vec::as_slice);
        let own = answers.get(..change.probes.len()).unwrap_or_default();
        let observed = spec.read(own);
        let now = back.now.clone();
        let ops = undo::from_run(change.undo.ops().unwrap_or_default(), self.run);
        let changed = Change {
            fields: change.fields.iter().map(turned).collect(),
            undo: self.again(change, action, &spec, &observed, &ops),
            disruption: disruption(change, &ops),
            gates: match action {
                Action::Create | Action::Update | Action::Replace => change.gates.clone(),
                Action::Delete | Action::Forget => Vec::new(),
            },
            ..self.changed(change, action, ops, back)
        };
        Judged::Change(Box::new(changed), now)
    }

    fn changed(&self, change: &Change, action: Action, ops: Vec<Op>, back: Back) -> Change {
        Change {
            action,
            reasons: vec![Reason::TakenBack(self.run.clone())],
            needs: BTreeSet::new(),
            ops,
            keep: Keep {
                starts: false,
                moved_from: None,
                ..change.keep.clone()
            },
            former: self.entry(&change.target).cloned(),
            back: Some(back),
            gates: Vec::new(),
            ..change.clone()
        }
    }

    /// Says how the taking back is undone: what is in paths comes from what this run keeps, everything else is done again as it was
    /// done, and what goes is undone as its kind says.
    fn again(
        &self,
        change: &Change,
        action: Action,
        spec: &Spec,
        observed: &Observed<Actual>,
        ops: &[Op],
    ) -> Undo {
        let restores = |op: &Op| match op {
            Op::Restore { path, .. } => Some(Op::restore(path)),
            _ => None,
        };
        if ops.iter().all(|op| restores(op).is_some()) {
            return Undo::Exact(ops.iter().rev().filter_map(restores).collect());
        }
        match action {
            Action::Update | Action::Replace => {
                let ops = change.ops.iter().flat_map(again).collect();
                match &change.undo {
                    Undo::Exact(_) => Undo::Exact(ops),
                    Undo::Inverse { loses, .. } => Undo::Inverse {
                        ops,
                        loses: loses.clone(),
                    },
                    Undo::Impossible(why) => Undo::Impossible(why.clone()),
                }
            }
            Action::Create | Action::Delete | Action::Forget => {
                let known = Known::default();
                spec.undo(&Step {
                    action,
                    before: observed,
                    fields: &[],
                    context: Context {
                        known: &known,
                        owned: self.entry(&change.target),
                        consumed: None,
                    },
                })
            }
        }
    }
}

/// What comes back of something that was made is nothing, and the other way round.
fn action(then: Action, before: &Digest) -> Action {
    match then {
        Action::Create if *before == Digest::of("absent") => Action::Delete,
        Action::Create | Action::Update | Action::Forget => Action::Update,
        Action::Replace => Action::Replace,
        Action::Delete => Action::Create,
    }
}

fn turned(field: &FieldChange) -> FieldChange {
    FieldChange {
        field: field.field.clone(),
        before: field.after.clone(),
        after: field.before.clone(),
    }
}

/// Returns an op of the run as a step of the undo of its rollback. A content is never written anew: its secrets may be others by now.
fn again(op: &Op) -> Vec<Op> {
    match op {
        Op::WriteFile { path, .. }
        | Op::SetAttributes { path, .. }
        | Op::MakeDirectory { path, .. }
        | Op::Link { path, .. }
        | Op::RemoveFile { path }
        | Op::RemoveDirectory { path }
        | Op::Settings { path, .. }
        | Op::Restore { path, .. } => vec![Op::restore(path)],
        Op::Sysctl { file, .. } => vec![op.clone(), Op::restore(file)],
        Op::Group { .. }
        | Op::RemoveGroup { .. }
        | Op::Account { .. }
        | Op::RemoveAccount { .. }
        | Op::Packages { .. }
        | Op::ReloadUnits
        | Op::EnableUnit { .. }
        | Op::ControlUnit { .. }
        | Op::Engine(_)
        | Op::Run { .. } => vec![op.clone()],
    }
}

/// Whatever stops or restarts a service disturbs those who use it, whatever the change itself did to them.
fn disruption(change: &Change, ops: &[Op]) -> Disruption {
    let stops = |op: &Op| match op {
        Op::ControlUnit {
            unit,
            verb: UnitVerb::Stop | UnitVerb::Restart,
        } => Some(Disruption::Service(unit.clone())),
        _ => None,
    };
    let stopped = ops.iter().find_map(stops).unwrap_or(Disruption::None);
    stopped.max(change.disruption.clone())
}
