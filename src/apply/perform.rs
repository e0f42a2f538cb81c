//! Performing changes of one host: intents, ops, a look, and the entries that say what came of it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::change::{Action, Change};
use crate::model::event::Event;
use crate::model::id::{HostId, OutputRef, ResourceId};
use crate::model::op::Op;
use crate::ports::{Call, Outcome, PerformError};
use crate::resource::{Patience, Spec};

use super::crew::{Crew, Then};
use super::entry::{self, Seen};
use super::row;
use super::verify::{self, Means, Outputs};

impl Crew<'_, '_> {
    /// Performs changes of one host that go together. `is_again` says that one of them began before: then the host is looked at first,
    /// and what is as declared already is not done twice. What goes on where it broke off is done again in any case: that it looks as
    /// declared does not say that it came to its end.
    pub(super) async fn apply(
        &self,
        host: &HostId,
        changes: &[ResourceId],
        is_again: bool,
        outputs: Outputs,
        then: Then,
    ) -> Vec<Event> {
        let mut outputs = outputs;
        outputs.extend(self.outputs_in_manifests());
        let changes: Vec<&Change> = changes.iter().map(|id| self.change(id)).collect();
        let mut events = Vec::new();
        let mut left = changes;
        if is_again {
            let seen: Vec<&Change> = left.iter().copied().filter(|change| !goes_on(change)).collect();
            let then = if seen.len() == left.len() {
                then
            } else {
                Then::Stay
            };
            if !seen.is_empty() {
                let (settled, rest) = match self.look_again(host, &seen).await {
                    Ok(outcome) => self.settle(host, &seen, &outcome, &outputs, false, then).await,
                    Err(error) => return left.iter().map(|change| failed(change, &error)).collect(),
                };
                events.extend(settled);
                let is_left = |change: &&Change| {
                    goes_on(change) || rest.iter().any(|(other, _)| other.target == change.target)
                };
                left.retain(is_left);
            }
        }
        if !left.is_empty() {
            events.extend(self.apply_now(host, &left, &outputs, then).await);
        }
        events
    }

    async fn apply_now(
        &self,
        host: &HostId,
        changes: &[&Change],
        outputs: &Outputs,
        then: Then,
    ) -> Vec<Event> {
        let before = self.entries(host, changes);
        let call = match self.prepared(host, changes, outputs).await {
            Ok(call) => call,
            Err(why) => {
                return changes
                    .iter()
                    .map(|change| broken(change, why.clone(), false))
                    .collect();
            }
        };
        match self.run.ports.transport.perform(host, &call).await {
            Ok(outcome) => self.judge_in_time(host, changes, &outcome, outputs, then).await,
            Err(error) if row::is_row(changes) => {
                self.after_break(host, changes, &error, outputs, before).await
            }
            Err(error) => self.after_failure(host, changes, &error, outputs).await,
        }
    }

    /// Makes the call that performs changes, and takes in what it will bring about.
    pub(super) async fn prepared(
        &self,
        host: &HostId,
        changes: &[&Change],
        outputs: &Outputs,
    ) -> Result<Call, String> {
        self.see_starts(host, changes).await;
        let call = self.call(host, changes, outputs)?;
        self.keep_intents(host, &call.intents);
        // Of units nothing is known any more once something may have started them.
        let may_start = |op: &Op| {
            matches!(
                op,
                Op::Packages { .. } | Op::ControlUnit { .. } | Op::Run { .. } | Op::Engine(_)
            )
        };
        if call.ops.iter().any(may_start) {
            self.forget_starts(host);
        }
        Ok(call)
    }

    /// Looks at what is about to be restarted, where an earlier change may have started it since the host was looked at.
    async fn see_starts(&self, host: &HostId, changes: &[&Change]) {
        let is_blind = |change: &&&Change| entry::restarts(change) && self.start(&change.target).is_none();
        let blind: Vec<&Change> = changes.iter().filter(is_blind).copied().collect();
        // Without an answer the intent holds no start, and an interruption restarts once more than it has to.
        if !blind.is_empty()
            && let Ok(outcome) = self.look_again(host, &blind).await
        {
            self.keep_starts(&blind, &outcome.answers);
        }
    }

    /// A failure of several changes may be that of one of them, and a broken connection says nothing of the work: in both cases
    /// the host is looked at. Where it does not answer, nobody knows.
    async fn after_failure(
        &self,
        host: &HostId,
        changes: &[&Change],
        error: &PerformError,
        outputs: &Outputs,
    ) -> Vec<Event> {
        let is_open = match error {
            PerformError::Failed { .. } => changes.len() > 1,
            PerformError::Unknown { .. } => true,
            PerformError::Fenced(_) | PerformError::Reach(_) => false,
        };
        if is_open && let Ok(outcome) = self.look_again(host, changes).await {
            return self.judge(host, changes, &outcome, outputs, Err(error)).await;
        }
        changes.iter().map(|change| failed(change, error)).collect()
    }

    /// Judges, and looks again at what takes a while to come about, after pauses that double. A host that cannot be asked
    /// meanwhile has not said that nothing came about: if the time is up, nobody knows.
    async fn judge_in_time(
        &self,
        host: &HostId,
        changes: &[&Change],
        outcome: &Outcome,
        outputs: &Outputs,
        then: Then,
    ) -> Vec<Event> {
        let [change] = changes else {
            return self.judge(host, changes, outcome, outputs, Ok(then)).await;
        };
        let Some(patience) = patience(change) else {
            return self.judge(host, changes, outcome, outputs, Ok(then)).await;
        };
        let clock = &self.run.ports.clock;
        let began = clock.now();
        let mut pause_secs = patience.every_secs;
        let (mut events, mut rest) = self.settle(host, changes, outcome, outputs, true, then).await;
        let mut unasked = None;
        while !rest.is_empty() {
            let passed = clock.now().duration_since(began).as_secs().max(0).unsigned_abs();
            let Some(left) = patience.within_secs.checked_sub(passed).filter(|left| *left > 0) else {
                break;
            };
            clock.sleep(Duration::from_secs(pause_secs.min(left))).await;
            pause_secs = (pause_secs * 2).min(PAUSE_SECS_MAX.max(patience.every_secs));
            match self.look_again(host, changes).await {
                Ok(outcome) => {
                    let (settled, still) = self.settle(host, changes, &outcome, outputs, true, then).await;
                    events.extend(settled);
                    (rest, unasked) = (still, None);
                }
                Err(error @ PerformError::Fenced(_)) => return vec![failed(change, &error)],
                Err(error) => unasked = Some(error),
            }
        }
        events.extend(rest.into_iter().map(|(change, why)| match &unasked {
            Some(error) => broken(
                change,
                format!("was applied, but could not be looked at again: {error}"),
                true,
            ),
            None => broken(change, format!("{why}, after {} s", patience.within_secs), false),
        }));
        events
    }

    /// Records what is as declared, and fails the rest: with the error of the call, else with what is not as declared.
    pub(super) async fn judge(
        &self,
        host: &HostId,
        changes: &[&Change],
        outcome: &Outcome,
        outputs: &Outputs,
        call: Result<Then, &PerformError>,
    ) -> Vec<Event> {
        let then = call.unwrap_or(Then::Stay);
        let (mut events, rest) = self
            .settle(host, changes, outcome, outputs, call.is_ok(), then)
            .await;
        events.extend(rest.into_iter().map(|(change, why)| match call {
            Err(error) => failed(change, error),
            Ok(_) => broken(change, why, false),
        }));
        events
    }

    /// Records what is as declared, and returns the rest with what is not. Where nothing is left, the host may be given back with it.
    pub(super) async fn settle<'c>(
        &self,
        host: &HostId,
        changes: &[&'c Change],
        outcome: &Outcome,
        outputs: &Outputs,
        is_seen: bool,
        then: Then,
    ) -> (Vec<Event>, Vec<(&'c Change, String)>) {
        let mut entries = BTreeMap::new();
        let (mut done, mut rest): (Vec<(&Change, Seen)>, Vec<_>) = (Vec::new(), Vec::new());
        for change in changes {
            let key = &change.target.key;
            let before = self.owned(host, change.keep.moved_from.as_ref().unwrap_or(key));
            match self.verified(host, change, outcome, outputs, is_seen) {
                Ok(seen) => {
                    entries.extend(entry::ends(change, before.as_ref(), &seen, outcome.host_now_secs));
                    done.push((change, seen));
                }
                Err(why) => rest.push((*change, why)),
            }
        }
        let then = if rest.is_empty() { then } else { Then::Stay };
        let recorded = if entries.is_empty() {
            Ok(())
        } else {
            self.keep_entries(host, &entries, then).await
        };
        let event = |(change, seen): (&Change, Seen)| match &recorded {
            Ok(()) => Event::Applied {
                change: change.target.clone(),
                after: seen.after,
                outputs: seen.outputs,
            },
            Err(why) => broken(
                change,
                format!("was applied, but its manifest does not say so: {why}"),
                true,
            ),
        };
        (done.into_iter().map(event).collect(), rest)
    }

    /// Returns what is there after a change, or why it is not what the change was to bring about.
    pub(super) fn verified(
        &self,
        host: &HostId,
        change: &Change,
        outcome: &Outcome,
        outputs: &Outputs,
        is_seen: bool,
    ) -> Result<Seen, String> {
        let key = &change.target.key;
        let before = self.owned(host, change.keep.moved_from.as_ref().unwrap_or(key));
        let means = Means {
            outputs,
            secrets: &self.run.secrets,
            salt: &outcome.salt,
            owned: before.as_ref(),
            is_seen,
        };
        let answers = outcome.answers.get(key).map_or(&[][..], Vec::as_slice);
        verify::verify(change, answers, means)
    }

    /// Looks under the guard, so that the answer also has the host's clock and salt.
    pub(super) async fn look_again(
        &self,
        host: &HostId,
        changes: &[&Change],
    ) -> Result<Outcome, PerformError> {
        let fence = self.fence(host).map_err(PerformError::Fenced)?;
        let call = Call {
            is_under_switch: false,
            fence,
            intents: BTreeMap::new(),
            ops: Vec::new(),
            probes: probes(changes),
            deadline: LOOK_TIME,
        };
        self.run.ports.transport.perform(host, &call).await
    }

    fn call(&self, host: &HostId, changes: &[&Change], outputs: &Outputs) -> Result<Call, String> {
        let ops = filled(changes, outputs)?;
        let intents = changes
            .iter()
            .filter(|change| change.action != Action::Forget)
            .map(|change| {
                let key = &change.target.key;
                let before = self.owned(host, change.keep.moved_from.as_ref().unwrap_or(key));
                let start = self.start(&change.target);
                (
                    key.clone(),
                    entry::intent(change, before.as_ref(), start.as_deref()),
                )
            });
        Ok(Call {
            is_under_switch: false,
            fence: self.fence(host)?,
            intents: intents.collect(),
            deadline: deadline(&ops),
            ops,
            probes: probes(changes),
        })
    }
}

/// Says whether a change has an op that keeps account of how far it came.
fn goes_on(change: &Change) -> bool {
    let goes_on = |op: &Op| matches!(op, Op::Engine(op) if op.goes_on());
    change.ops.iter().any(goes_on)
}

pub(super) fn probes(
    changes: &[&Change],
) -> BTreeMap<crate::model::id::ResourceKey, Vec<crate::model::op::Probe>> {
    changes
        .iter()
        .map(|change| (change.target.key.clone(), change.probes.clone()))
        .collect()
}

/// Returns the ops of changes with their outputs filled; neighbouring calls of the package manager become one.
fn filled(changes: &[&Change], outputs: &Outputs) -> Result<Vec<Op>, String> {
    let value = |output: &OutputRef| {
        outputs
            .get(&output.resource)
            .and_then(|values| values.get(&output.output))
            .map(String::as_str)
    };
    let mut ops: Vec<Op> = Vec::new();
    for op in changes.iter().flat_map(|change| &change.ops) {
        let op = op.with_outputs(&value);
        if let Some(output) = op.bodies().iter().find_map(|body| body.outputs().next()) {
            return Err(format!("its value `{output}` is not known"));
        }
        match (ops.last_mut(), op) {
            (
                Some(Op::Packages {
                    install,
                    remove,
                    hold,
                    unhold,
                }),
                Op::Packages {
                    install: i,
                    remove: r,
                    hold: h,
                    unhold: u,
                },
            ) => {
                install.extend(i);
                remove.extend(r);
                hold.extend(h);
                unhold.extend(u);
            }
            (_, op) => ops.push(op),
        }
    }
    Ok(ops)
}

/// The longest that a look may take.
pub(super) const LOOK_TIME: Duration = Duration::from_secs(120);

/// The longest that one op may take, whatever the plan says: ten years, as in declarations.
const OP_MAX_SECS: u64 = 3650 * 86_400;

/// Returns the longest that ops may take in all. Generous: what runs out of time ends as unknown, which costs a host.
pub(super) fn deadline(ops: &[Op]) -> Duration {
    let secs = |op: &Op| match op {
        Op::Packages { .. } => 3600,
        Op::ControlUnit { .. } => 600,
        Op::Engine(op) => op.patience_secs(),
        Op::Run { timeout_secs, .. } => timeout_secs.saturating_add(60).min(OP_MAX_SECS),
        Op::WriteFile { .. }
        | Op::SetAttributes { .. }
        | Op::MakeDirectory { .. }
        | Op::Link { .. }
        | Op::RemoveFile { .. }
        | Op::RemoveDirectory { .. }
        | Op::Restore { .. }
        | Op::Group { .. }
        | Op::RemoveGroup { .. }
        | Op::Account { .. }
        | Op::RemoveAccount { .. }
        | Op::ReloadUnits
        | Op::EnableUnit { .. }
        | Op::Sysctl { .. }
        | Op::Settings { .. } => 120,
    };
    LOOK_TIME + Duration::from_secs(ops.iter().map(secs).sum())
}

pub(super) fn failed(change: &Change, error: &PerformError) -> Event {
    let tail = match error {
        PerformError::Failed { tail, .. } => tail.clone(),
        PerformError::Unknown { .. } | PerformError::Fenced(_) | PerformError::Reach(_) => Vec::new(),
    };
    let unknown = matches!(error, PerformError::Unknown { .. } | PerformError::Reach(_));
    Event::Failed {
        change: change.target.clone(),
        why: error.to_string(),
        tail,
        unknown,
    }
}

pub(super) fn broken(change: &Change, why: String, unknown: bool) -> Event {
    Event::Failed {
        change: change.target.clone(),
        why,
        tail: Vec::new(),
        unknown,
    }
}

/// The longest pause between two looks at what takes a while.
const PAUSE_SECS_MAX: u64 = 30;

fn patience(change: &Change) -> Option<Patience> {
    Spec::decode(change.target.key.kind.as_str(), &change.spec)
        .ok()?
        .patience()
}
