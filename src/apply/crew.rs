//! Who performs tasks: each one ends in events, whatever happens. Failures are data here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use crate::model::change::Change;
use crate::model::event::{CheckOutcome, Event};
use crate::model::id::{HostId, ResourceId, ResourceKey};
use crate::model::manifest::{Manifest, Owned};
use crate::model::observation::{Answer, Observed};
use crate::model::plan::Plan;
use crate::ports::{Fence, LockError, LookReply, LookRequest, ReachError};
use crate::resource::Spec;

use super::claims::Claims;
use super::fresh::{self, Trust};
use super::{Run, entry};

/// The crew of one run. It knows what its hosts' manifests say and what it has of them.
pub(super) struct Crew<'r, 'p> {
    pub(super) run: &'r Run<'p>,
    pub(super) claims: Claims,
    // INVARIANT: no guard of these is held across an await.
    /// What ran on each host when it was looked at before its wave: for each unit the name of its start.
    starts: Mutex<BTreeMap<ResourceId, String>>,
    /// What each manifest owns now.
    owned: Mutex<BTreeMap<HostId, BTreeMap<ResourceKey, Owned>>>,
}

impl<'r, 'p> Crew<'r, 'p> {
    pub(super) fn new(run: &'r Run<'p>, reserved: BTreeSet<HostId>) -> Self {
        Self {
            run,
            claims: Claims::new(run.ports.clone(), run.claimant(), reserved),
            starts: Mutex::default(),
            owned: Mutex::default(),
        }
    }

    pub(super) fn change(&self, id: &ResourceId) -> &'p Change {
        self.run
            .plan
            .changes
            .get(id)
            .expect("a rollout names only changes of its plan")
    }

    /// Locks the host and looks at what the wave is about to change there.
    ///
    /// The lock comes first, so that nothing can happen between the look and the change.
    pub(super) async fn check(
        &self,
        host: &HostId,
        wave: usize,
        changes: &[&ResourceId],
        is_touched: bool,
    ) -> Vec<Event> {
        let mut events = Vec::new();
        let outcome = match self.claims.lock(host).await {
            Ok(locked) => {
                events.extend(locked.map(|fence| Event::Locked {
                    host: host.clone(),
                    token: fence.token,
                }));
                self.look(host, changes, is_touched).await
            }
            Err(error) => unlocked(error),
        };
        events.push(Event::Checked {
            host: host.clone(),
            wave,
            outcome,
        });
        events
    }

    async fn look(&self, host: &HostId, changes: &[&ResourceId], is_touched: bool) -> CheckOutcome {
        let changes: Vec<&Change> = changes.iter().map(|id| self.change(id)).collect();
        let reply = match self
            .run
            .ports
            .transport
            .look(host, &request(self.run.plan, host, &changes))
            .await
        {
            Ok(reply) => reply,
            Err(error) => return unreached(error),
        };
        let trust = Trust {
            run: &self.run.id,
            is_touched,
            is_locked: true,
        };
        let stale = fresh::stale(self.run.plan, host, &changes, &reply, trust);
        self.keep_manifest(host, &reply);
        self.keep_starts(&changes, &reply.answers);
        if stale.is_empty() {
            CheckOutcome::Fresh
        } else {
            CheckOutcome::Stale(stale)
        }
    }

    /// Returns the lock of a host.
    ///
    /// # Errors
    /// A clause, if it is not held.
    pub(super) fn fence(&self, host: &HostId) -> Result<Fence, String> {
        self.claims.fence(host)
    }

    /// Notes what runs now: the name of its start, which is empty where nothing runs.
    pub(super) fn keep_starts(&self, changes: &[&Change], answers: &BTreeMap<ResourceKey, Vec<Answer>>) {
        let start = |change: &&Change| {
            let key = &change.target.key;
            let spec = Spec::decode(key.kind.as_str(), &change.spec).ok()?;
            let start = match spec.read(answers.get(key)?) {
                Observed::Unknown(_) => return None,
                Observed::Absent => None,
                Observed::Present(actual) => spec.invocation(&actual),
            };
            Some((change.target.clone(), start.unwrap_or_default()))
        };
        let starts = changes
            .iter()
            .filter(|change| change.keep.starts)
            .filter_map(start);
        self.starts
            .lock()
            .expect("nothing panics under it")
            .extend(starts);
    }

    /// Returns the name of the start that runs, as far as it is known.
    pub(super) fn start(&self, id: &ResourceId) -> Option<String> {
        let starts = self.starts.lock().expect("nothing panics under it");
        starts.get(id).cloned()
    }

    /// Forgets what runs on a host, since something may have started it anew.
    pub(super) fn forget_starts(&self, host: &HostId) {
        let mut starts = self.starts.lock().expect("nothing panics under it");
        starts.retain(|id, _| id.host != *host);
    }

    /// Notes entries that a manifest has, or will have if the call that writes them comes to it.
    pub(super) fn keep_intents(&self, host: &HostId, intents: &BTreeMap<ResourceKey, Owned>) {
        let mut owned = self.owned.lock().expect("nothing panics under it");
        let owned = owned.entry(host.clone()).or_default();
        owned.extend(intents.clone());
    }

    fn keep_manifest(&self, host: &HostId, reply: &LookReply) {
        let owned = reply
            .manifest
            .present()
            .map(|Manifest { owned, .. }| owned.clone())
            .unwrap_or_default();
        self.owned
            .lock()
            .expect("nothing panics under it")
            .insert(host.clone(), owned);
    }

    /// Returns a manifest's entry as it is now.
    pub(super) fn owned(&self, host: &HostId, key: &ResourceKey) -> Option<Owned> {
        self.owned
            .lock()
            .expect("nothing panics under it")
            .get(host)?
            .get(key)
            .cloned()
    }

    /// Returns every output that a manifest of this run's hosts knows.
    pub(super) fn outputs_in_manifests(&self) -> BTreeMap<ResourceId, BTreeMap<String, String>> {
        let owned = self.owned.lock().expect("nothing panics under it");
        let all = owned
            .iter()
            .flat_map(|(host, owned)| owned.iter().map(move |(key, owned)| (host, key, owned)));
        all.filter(|(_, _, owned)| !owned.outputs.is_empty())
            .map(|(host, key, owned)| (key.on(host), owned.outputs.clone()))
            .collect()
    }

    /// Writes entries into a host's manifest. Tried again a few times, since what they say has already happened.
    pub(super) async fn record(
        &self,
        host: &HostId,
        entries: &BTreeMap<ResourceKey, Option<Owned>>,
    ) -> Result<(), String> {
        let fence = self.fence(host)?;
        let mut tries = 0;
        loop {
            tries += 1;
            match self.run.ports.transport.record(host, &fence, entries).await {
                Ok(()) => break,
                Err(error) if tries >= RECORD_TRIES => return Err(error.to_string()),
                Err(_) => {
                    self.run
                        .ports
                        .clock
                        .sleep(std::time::Duration::from_secs(1))
                        .await
                }
            }
        }
        let mut owned = self.owned.lock().expect("nothing panics under it");
        let owned = owned.entry(host.clone()).or_default();
        for (key, entry) in entries {
            match entry {
                Some(entry) => drop(owned.insert(key.clone(), entry.clone())),
                None => drop(owned.remove(key)),
            }
        }
        Ok(())
    }

    /// Records what was found as declared. It is not looked at again: whoever changed it since is found by the next look,
    /// as a difference from what is recorded here.
    pub(super) async fn record_takes(&self, host: &HostId) -> Vec<Event> {
        let takes = self.run.plan.takes.get(host).map_or(&[][..], Vec::as_slice);
        let mut entries = BTreeMap::new();
        for take in takes {
            let moved = take.keep.moved_from.as_ref();
            let before = self.owned(host, moved.unwrap_or(&take.key));
            entries.extend(moved.map(|moved| (moved.clone(), None)));
            entries.insert(take.key.clone(), Some(entry::taken(take, before.as_ref())));
        }
        let error = self.record(host, &entries).await.err();
        vec![Event::Recorded {
            host: host.clone(),
            error,
        }]
    }
}

/// How often the manifest is tried.
const RECORD_TRIES: u32 = 3;

/// Returns one look's questions about these changes.
pub(super) fn request(plan: &Plan, host: &HostId, changes: &[&Change]) -> LookRequest {
    let reads_facts = plan.basis.get(host).is_some_and(|basis| !basis.facts.is_empty());
    let mut request = LookRequest {
        facts: reads_facts,
        ..LookRequest::default()
    };
    for change in changes {
        request
            .probes
            .insert(change.target.key.clone(), change.probes.clone());
        if let Ok(spec) = Spec::decode(change.target.key.kind.as_str(), &change.spec) {
            request
                .tools
                .extend(spec.tools().iter().map(|tool| (*tool).to_owned()));
        }
    }
    request
}

fn unlocked(error: LockError) -> CheckOutcome {
    match error {
        LockError::Held(_) | LockError::Lost => CheckOutcome::Locked(error.to_string()),
        LockError::NotOurs(why) => CheckOutcome::Stale(vec![why]),
        LockError::Reach(error) => unreached(error),
    }
}

/// A host that answers and makes no sense is not down.
fn unreached(error: ReachError) -> CheckOutcome {
    match error {
        ReachError::Unreachable(why) | ReachError::HostKey(why) => CheckOutcome::Unreachable(why),
        ReachError::Failed { .. } => CheckOutcome::Unfit(error.to_string()),
    }
}
