//! What a run did, as its journal says.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::digest::Digest;
use crate::model::event::Event;
use crate::model::id::{HostId, ResourceId};

/// What a run did and did not take back itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trace {
    /// Changes that it made, or began.
    pub changes: BTreeMap<ResourceId, Traced>,
    /// Hosts on which it recorded what was found as declared.
    pub recorded: BTreeSet<HostId>,
}

/// How far one change came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Traced {
    /// It was seen to its end, and left something with this digest.
    Applied(Digest),
    /// It began, and failed, or nobody saw its end.
    Touched,
}

/// Reads a journal's events.
pub fn trace<'e>(events: impl IntoIterator<Item = &'e Event>) -> Trace {
    let mut trace = Trace::default();
    let mut switched: BTreeMap<&HostId, &[ResourceId]> = BTreeMap::new();
    let mut restored: BTreeSet<&ResourceId> = BTreeSet::new();
    for event in events {
        match event {
            Event::Began { changes } => changes.iter().for_each(|id| {
                trace.changes.entry(id.clone()).or_insert(Traced::Touched);
            }),
            Event::Applied { change, after, .. } => {
                trace
                    .changes
                    .insert(change.clone(), Traced::Applied(after.clone()));
            }
            Event::Failed { change, .. } => drop(trace.changes.insert(change.clone(), Traced::Touched)),
            Event::Undone {
                change, error: None, ..
            } => drop(trace.changes.remove(change)),
            Event::Armed { host, changes, .. } => {
                switched.insert(host, changes);
                restored.retain(|id| !changes.contains(id));
            }
            // Where something could not be put back the look tells how far it is.
            Event::Restored { host, trouble, .. } if trouble.is_empty() => {
                restored.extend(switched.get(host).copied().unwrap_or_default());
            }
            Event::Recorded { host, error: None } => drop(trace.recorded.insert(host.clone())),
            Event::Started { .. }
            | Event::Locked { .. }
            | Event::Checked { .. }
            | Event::Confirmed { .. }
            | Event::Restored { .. }
            | Event::Unarmed { .. }
            | Event::Unsettled { .. }
            | Event::Recorded { .. }
            | Event::Undone { .. }
            // One of them may have been cut off half-way; what was never touched is found as it was.
            | Event::Unmade { .. }
            | Event::GateSaid { .. }
            | Event::HookSaid { .. }
            | Event::Interrupted
            | Event::Ended { .. } => {}
        }
    }
    trace.changes.retain(|id, _| !restored.contains(id));
    trace
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_took_back_itself_is_not_the_runs_doing() {
        let host: HostId = "h".parse().unwrap();
        let changes: Vec<ResourceId> = vec!["file[/a]@h".parse().unwrap()];
        let armed = Event::Armed {
            host: host.clone(),
            changes: changes.clone(),
            within_secs: 60,
        };
        let began = Event::Began {
            changes: changes.clone(),
        };
        let restored = |trouble: &[&str]| Event::Restored {
            host: host.clone(),
            why: "no login".to_owned(),
            trouble: trouble.iter().map(|why| (*why).to_owned()).collect(),
        };
        let whole = [began.clone(), armed.clone(), restored(&[])];
        assert_eq!(trace(&whole), Trace::default());
        let torn = [began, armed, restored(&["/a: no space"])];
        assert_eq!(
            trace(&torn).changes,
            [(changes[0].clone(), Traced::Touched)].into()
        );
    }

    #[test]
    fn what_a_run_undid_itself_is_not_its_doing_any_more() {
        let id = |name: &str| -> ResourceId { format!("file[/{name}]@h").parse().unwrap() };
        let applied = |name| Event::Applied {
            change: id(name),
            after: Digest::of(name),
            outputs: BTreeMap::new(),
        };
        let undone = |name, error: Option<&str>| Event::Undone {
            change: id(name),
            error: error.map(str::to_owned),
            held: error.is_some(),
        };
        let failed = Event::Failed {
            change: id("c"),
            why: "no".to_owned(),
            tail: Vec::new(),
            unknown: true,
        };
        let began = Event::Began {
            changes: vec![id("a"), id("b"), id("c"), id("d")],
        };
        let events = [
            began,
            applied("a"),
            applied("b"),
            failed,
            undone("a", None),
            undone("b", Some("held")),
        ];
        let wanted = BTreeMap::from([
            (id("b"), Traced::Applied(Digest::of("b"))),
            (id("c"), Traced::Touched),
            (id("d"), Traced::Touched),
        ]);
        assert_eq!(trace(&events).changes, wanted);
    }
}
