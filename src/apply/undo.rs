//! Undoing changes of one host, last first, until one cannot be undone.

use std::collections::BTreeMap;

use crate::model::change::{Change, Undo};
use crate::model::event::Event;
use crate::model::id::{HostId, ResourceId};
use crate::model::op::Op;
use crate::ports::Call;

use super::crew::Crew;
use super::perform::deadline;

impl Crew<'_, '_> {
    /// Undoes changes in this order and stops at the first that fails.
    pub(super) async fn undo(&self, host: &HostId, changes: &[ResourceId]) -> Vec<Event> {
        let mut events = Vec::new();
        for id in changes {
            let error = self.undo_one(host, self.change(id)).await.err();
            let is_stopped = error.is_some();
            events.push(Event::Undone {
                change: id.clone(),
                error,
            });
            if is_stopped {
                break;
            }
        }
        events
    }

    /// Brings back what was there, and then what the manifest said of it before this session.
    async fn undo_one(&self, host: &HostId, change: &Change) -> Result<(), String> {
        let key = &change.target.key;
        let call = Call {
            fence: self.fence(host)?,
            is_under_switch: false,
            intents: BTreeMap::new(),
            ops: ops(&change.undo)?.to_vec(),
            probes: BTreeMap::new(),
            deadline: deadline(ops(&change.undo)?),
        };
        let performed = self.run.ports.transport.perform(host, &call).await;
        performed.map_err(|error| error.to_string())?;
        let mut entries = BTreeMap::from([(key.clone(), self.owned_before(host, key))]);
        if let Some(moved) = &change.keep.moved_from {
            entries.insert(moved.clone(), self.owned_before(host, moved));
        }
        self.record(host, &entries).await
    }
}

fn ops(undo: &Undo) -> Result<&[Op], String> {
    match undo {
        Undo::Exact(ops) | Undo::Inverse { ops, .. } => Ok(ops),
        Undo::Impossible(why) => Err(why.clone()),
    }
}
