//! Undoing changes of one host: look, take back what is still as this run left it, look again.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::change::Change;
use crate::model::digest::Digest;
use crate::model::event::Event;
use crate::model::id::{HostId, ResourceId, ResourceKey, RunId};
use crate::model::manifest::{Owned, OwnedState};
use crate::model::observation::Answer;
use crate::model::op::{Op, Probe};
use crate::model::plan::Basis;
use crate::model::switch::Switch;
use crate::model::undo::{self, Back};
use crate::ports::Call;
use crate::resource::since;

use super::crew::Crew;
use super::entry;
use super::perform::{LOOK_TIME, deadline};

type Probes = BTreeMap<ResourceKey, Vec<Probe>>;
type Answers = BTreeMap<ResourceKey, Vec<Answer>>;

impl Crew<'_, '_> {
    /// Undoes changes in this order and stops at the first that fails. What others changed since is held, and what may cut us
    /// off, and what stands on either too. In the end everything that was taken back is looked at: it must be what the plan saw before this run.
    pub(super) async fn undo(&self, host: &HostId, changes: &[ResourceId]) -> Vec<Event> {
        let changes: Vec<&Change> = changes.iter().map(|id| self.change(id)).collect();
        let probes = |change: &&Change| (change.target.key.clone(), since::probes(change, &self.run.id));
        let before = match self
            .ask_under_guard(host, changes.iter().map(probes).collect())
            .await
        {
            Ok(answers) => self.backs(host, &changes, &answers),
            Err(why) => {
                return changes
                    .first()
                    .map(|change| failed(change, why))
                    .into_iter()
                    .collect();
            }
        };
        let mut events: Vec<Event> = Vec::new();
        let mut taken: Vec<(&Change, Back)> = Vec::new();
        let mut stop = None;
        for (change, back) in changes.into_iter().zip(before) {
            match back {
                Err(why) => events.push(held(change, why)),
                Ok(back) => match self.undo_now(host, change).await {
                    Ok(()) => taken.push((change, back)),
                    Err(why) => {
                        stop = Some(failed(change, why));
                        break;
                    }
                },
            }
        }
        events.extend(self.verify_undone(host, &taken).await);
        events.extend(stop);
        events
    }

    /// Returns for each change what is to come back, or why it stays.
    fn backs(&self, host: &HostId, changes: &[&Change], answers: &Answers) -> Vec<Result<Back, String>> {
        let mut kept: BTreeSet<&ResourceId> = BTreeSet::new();
        let ids: BTreeSet<ResourceId> = changes.iter().map(|change| change.target.clone()).collect();
        let needs = undo::needs(&self.run.plan.changes, &ids);
        let back = |change: &&Change| {
            let answers = answers.get(&change.target.key).map_or(&[][..], Vec::as_slice);
            self.back(host, change, answers)
        };
        let mut backs: Vec<Result<Back, String>> = changes.iter().map(back).collect();
        // The order is that of the undo, so whatever must be taken back first has been judged already.
        for (change, back) in changes.iter().zip(&mut backs) {
            let blocked = needs[&change.target].iter().find(|need| kept.contains(need));
            if let (Some(need), Ok(_)) = (blocked, &back) {
                *back = Err(format!("{need} stays, which stands on it"));
            }
            if back.is_err() {
                kept.insert(&change.target);
            }
        }
        backs
    }

    fn back(&self, host: &HostId, change: &Change, answers: &[Answer]) -> Result<Back, String> {
        if let Some(switch) = self.run.plan.switch_of(&change.target) {
            return Err(unguarded(switch, &change.target, &self.run.id));
        }
        let key = &change.target.key;
        let left = left(change, self.owned(host, key).as_ref());
        let standing = since::standing(change, left.as_ref(), answers)?;
        if standing.is_expired {
            return Err("what was kept for its undo is gone".to_owned());
        }
        if let Some(why) = standing.changed {
            return Err(why.to_owned());
        }
        let nothing = Basis::default();
        let basis = self.run.plan.basis.get(host).unwrap_or(&nothing);
        let before = basis
            .seen
            .get(key)
            .ok_or("the plan does not say what was there")?;
        let is_whole = undo::is_whole(&self.run.plan.changes, &change.target);
        Ok(Back {
            run: self.run.id.clone(),
            before: before.clone(),
            now: standing.now,
            exact: since::is_exact(change, before, basis.lineage.is_some(), is_whole),
            entry: change.former.clone(),
            named: change.keep.moved_from.clone(),
        })
    }

    async fn undo_now(&self, host: &HostId, change: &Change) -> Result<(), String> {
        let ops = change.undo.ops().ok_or("nothing undoes it")?;
        let performed = self.guarded(host, ops.to_vec(), Probes::new()).await;
        performed.map(drop)
    }

    async fn ask_under_guard(&self, host: &HostId, probes: Probes) -> Result<Answers, String> {
        self.guarded(host, Vec::new(), probes).await
    }

    async fn guarded(&self, host: &HostId, ops: Vec<Op>, probes: Probes) -> Result<Answers, String> {
        let call = Call {
            fence: self.fence(host)?,
            is_under_switch: false,
            intents: BTreeMap::new(),
            deadline: if ops.is_empty() { LOOK_TIME } else { deadline(&ops) },
            ops,
            probes,
        };
        let performed = self.run.ports.transport.perform(host, &call).await;
        performed
            .map(|outcome| outcome.answers)
            .map_err(|error| error.to_string())
    }

    /// Looks at what was taken back, and puts back what the manifest said of it before this run.
    async fn verify_undone(&self, host: &HostId, taken: &[(&Change, Back)]) -> Vec<Event> {
        if taken.is_empty() {
            return Vec::new();
        }
        let probes = |(change, _): &(&Change, Back)| (change.target.key.clone(), change.probes.clone());
        let answers = match self
            .ask_under_guard(host, taken.iter().map(probes).collect())
            .await
        {
            Ok(answers) => answers,
            Err(why) => {
                return taken
                    .iter()
                    .map(|(change, _)| failed(change, why.clone()))
                    .collect();
            }
        };
        let mut entries = BTreeMap::new();
        let mut outcomes: Vec<(&Change, Option<String>)> = Vec::new();
        for (change, back) in taken {
            let answers = answers.get(&change.target.key).map_or(&[][..], Vec::as_slice);
            let outcome = is_back(change, back, answers);
            if outcome.is_ok() {
                let key = change.target.key.clone();
                entries.extend(entry::put_back(key, back.named.as_ref(), back.entry.as_ref()));
            }
            outcomes.push((change, outcome.err()));
        }
        let recorded = self.record(host, &entries).await.err();
        let error = |error: Option<String>| {
            let unrecorded = |why| format!("was undone, but its manifest does not say so: {why}");
            error.or_else(|| recorded.clone().map(unrecorded))
        };
        let event = |(change, why): (&Change, Option<String>)| Event::Undone {
            change: change.target.clone(),
            error: error(why),
            held: false,
        };
        outcomes.into_iter().map(event).collect()
    }
}

/// Returns the digest of what a change left, as the manifest knows it; `None` where nobody saw the change to its end.
fn left(change: &Change, owned: Option<&Owned>) -> Option<Digest> {
    use crate::model::change::Action;
    match (change.action, owned) {
        (Action::Delete, None) => Some(Digest::of("absent")),
        (_, Some(owned)) if owned.state == OwnedState::Done => owned.after.clone(),
        (_, Some(_) | None) => None,
    }
}

fn is_back(change: &Change, back: &Back, answers: &[Answer]) -> Result<(), String> {
    let now = since::standing(change, None, answers)?.now;
    match back.is_reached(&now) {
        true => Ok(()),
        false => Err("was undone, but is not as it was before this run".to_owned()),
    }
}

/// Says why what was made under a switch stays. A new login has confirmed it; an undo could take that login away, and nothing
/// on the host would notice.
fn unguarded(switch: &Switch, change: &ResourceId, run: &RunId) -> String {
    let why = match switch.cuts.get(change) {
        Some(why) => format!("it may cut us off ({why})"),
        None => "it was changed together with what may cut us off".to_owned(),
    };
    format!("{why}, and an undo within a run has no dead-man switch; `muster rollback {run}` has one")
}

fn failed(change: &Change, why: String) -> Event {
    Event::Undone {
        change: change.target.clone(),
        error: Some(why),
        held: false,
    }
}

fn held(change: &Change, why: String) -> Event {
    Event::Undone {
        change: change.target.clone(),
        error: Some(why),
        held: true,
    }
}
