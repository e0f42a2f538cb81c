//! What a failure leaves of changes that were made in a row, one after the other in one call.

use std::collections::BTreeMap;

use crate::model::change::Change;
use crate::model::event::Event;
use crate::model::id::{HostId, ResourceKey};
use crate::model::manifest::Owned;
use crate::ports::PerformError;

use super::crew::{Crew, Then};
use super::perform::{broken, failed};
use super::verify::Outputs;

/// What a manifest said of resources, `None` where it did not know them.
pub(super) type Entries = BTreeMap<ResourceKey, Option<Owned>>;

/// Says whether changes that go together are made one after the other, so that a failure is that of one of them.
pub(super) fn is_row(changes: &[&Change]) -> bool {
    changes.len() > 1 && changes.iter().all(|change| change.is_brief())
}

impl Crew<'_, '_> {
    /// Returns what the manifest says of what these changes are about to intend.
    pub(super) fn entries(&self, host: &HostId, changes: &[&Change]) -> Entries {
        let keys = changes.iter().map(|change| &change.target.key);
        keys.map(|key| (key.clone(), self.owned(host, key))).collect()
    }

    /// Tells those that were made before the failure from the one that failed and from those that were never begun.
    pub(super) async fn after_break(
        &self,
        host: &HostId,
        changes: &[&Change],
        error: &PerformError,
        outputs: &Outputs,
        before: Entries,
    ) -> Vec<Event> {
        let at = match error {
            PerformError::Failed { at: Some(op), .. } => owner(changes, *op),
            PerformError::Failed { at: None, .. } | PerformError::Fenced(_) | PerformError::Reach(_) => {
                return first_of(changes, error);
            }
            PerformError::Unknown { .. } => {
                return self.after_silence(host, changes, error, outputs, before).await;
            }
        };
        let (made, rest) = changes.split_at(at);
        let mut events = if made.is_empty() {
            Vec::new()
        } else {
            self.judge_made(host, made, outputs).await
        };
        events.extend(self.end_row(host, rest, error, before).await);
        events
    }

    /// Judges changes whose ops were done before another failed.
    async fn judge_made(&self, host: &HostId, made: &[&Change], outputs: &Outputs) -> Vec<Event> {
        match self.look_again(host, made).await {
            Ok(outcome) => self.judge(host, made, &outcome, outputs, Ok(Then::Stay)).await,
            Err(why) => {
                let why = format!("was applied, but could not be looked at: {why}");
                let unseen = |change: &&Change| broken(change, why.clone(), true);
                made.iter().map(unseen).collect()
            }
        }
    }

    /// Nobody heard how far a row came: the host is looked at. Where it does not answer, nobody knows. Where something was made, the
    /// rest begins once more, since each of its ops may be done twice.
    async fn after_silence(
        &self,
        host: &HostId,
        changes: &[&Change],
        error: &PerformError,
        outputs: &Outputs,
        before: Entries,
    ) -> Vec<Event> {
        let Ok(outcome) = self.look_again(host, changes).await else {
            return changes.iter().map(|change| failed(change, error)).collect();
        };
        let (mut events, rest) = self
            .settle(host, changes, &outcome, outputs, false, Then::Stay)
            .await;
        let rest: Vec<&Change> = rest.into_iter().map(|(change, _)| change).collect();
        let is_any_made = events.iter().any(|event| matches!(event, Event::Applied { .. }));
        if is_any_made && !rest.is_empty() {
            let changes = rest.iter().map(|change| change.target.clone()).collect();
            events.push(Event::Unmade { changes });
        } else if !rest.is_empty() {
            events.extend(self.end_row(host, &rest, error, before).await);
        }
        events
    }

    /// Fails the first of these changes; the others were never begun, and the manifest says of them again what it said before.
    async fn end_row(
        &self,
        host: &HostId,
        changes: &[&Change],
        error: &PerformError,
        before: Entries,
    ) -> Vec<Event> {
        let unmade = changes[1..].iter().map(|change| &change.target.key);
        let entries: Entries = unmade
            .filter_map(|key| before.get_key_value(key))
            .map(|(key, entry)| (key.clone(), entry.clone()))
            .collect();
        if !entries.is_empty() {
            // An intent that stays says only that it may have begun, which the next plan looks at.
            let _ = self.record(host, &entries).await;
        }
        first_of(changes, error)
    }
}

/// Fails the first change; those after it were not made.
fn first_of(changes: &[&Change], error: &PerformError) -> Vec<Event> {
    let unmade: Vec<_> = changes[1..].iter().map(|change| change.target.clone()).collect();
    let mut events = vec![failed(changes[0], error)];
    if !unmade.is_empty() {
        events.push(Event::Unmade { changes: unmade });
    }
    events
}

/// Returns the place of the change that an op belongs to.
fn owner(changes: &[&Change], op: usize) -> usize {
    let mut ops = 0;
    let is_past = |change: &&Change| {
        ops += change.ops.len();
        ops > op
    };
    changes.iter().position(is_past).unwrap_or(changes.len() - 1)
}
