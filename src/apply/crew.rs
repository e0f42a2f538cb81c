//! Who performs tasks: each one ends in events, whatever happens. Failures are data here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use tokio::sync::Semaphore;

use crate::model::change::Change;
use crate::model::event::{CheckOutcome, Event};
use crate::model::id::{HostId, ResourceId, ResourceKey};
use crate::model::manifest::{Manifest, ManifestState, Owned};
use crate::model::observation::{Answer, Observed};
use crate::model::op::Probe;
use crate::model::plan::Plan;
use crate::ports::{Fence, LockError, LookReply, LookRequest, ReachError};
use crate::resource::Spec;

use super::Run;
use super::claims::Claims;
use super::fresh::{self, Trust};
use super::verify::Outputs;

/// The crew of one run. It knows what its hosts' manifests say and what it has of them.
pub(super) struct Crew<'r, 'p> {
    pub(super) run: &'r Run<'p>,
    pub(super) claims: Claims,
    // INVARIANT: no guard of these is held across an await.
    /// What ran on each host when it was looked at before its wave: for each unit the name of its start.
    starts: Mutex<BTreeMap<ResourceId, String>>,
    /// What each manifest owns now.
    owned: Mutex<BTreeMap<HostId, BTreeMap<ResourceKey, Owned>>>,
    /// The values that resources produced, of all manifests that were read, whether their hosts were given back since or not.
    outputs: Mutex<Outputs>,
    /// Bounds the hosts that are given back at once.
    partings: Semaphore,
}

/// What becomes of a host once changes of it are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// It stays locked: more may come.
    Stay,
    /// Its lock is freed with the same exec, if all of them were applied.
    Part,
}

impl<'r, 'p> Crew<'r, 'p> {
    pub(super) fn new(run: &'r Run<'p>, reserved: BTreeSet<HostId>) -> Self {
        Self {
            run,
            claims: Claims::new(run.ports.clone(), run.claimant(), reserved),
            starts: Mutex::default(),
            owned: Mutex::default(),
            outputs: Mutex::default(),
            partings: Semaphore::new(run.plan.policy.parallel.max(1)),
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
        let changes: Vec<&Change> = changes.iter().map(|id| self.change(id)).collect();
        let mut events = Vec::new();
        let outcome = match self.lock_and_look(host, &changes).await {
            Ok((locked, reply)) => {
                events.extend(locked.map(|fence| Event::Locked {
                    host: host.clone(),
                    token: fence.token,
                    lineage: reply.manifest.present().map(|manifest| manifest.lineage.clone()),
                }));
                self.take_in(host, &changes, &reply, is_touched)
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

    /// Takes the lock, where it is not held from an earlier wave, and looks at the host in the same exec.
    async fn lock_and_look(
        &self,
        host: &HostId,
        changes: &[&Change],
    ) -> Result<(Option<Fence>, LookReply), LockError> {
        let look = request(self.run.plan, host, changes);
        let asks_engine = look
            .probes
            .values()
            .flatten()
            .any(|probe| matches!(probe, Probe::Engine(_)));
        // An engine answers beside the script, and may take long: its lock's lease is then renewed meanwhile.
        if self.claims.fence(host).is_ok() || asks_engine {
            let fence = self.claims.lock(host).await?;
            return Ok((fence, self.run.ports.transport.look(host, &look).await?));
        }
        let (fence, reply) = self.claims.lock_and_look(host, &look).await?;
        Ok((Some(fence), reply))
    }

    fn take_in(
        &self,
        host: &HostId,
        changes: &[&Change],
        reply: &LookReply,
        is_touched: bool,
    ) -> CheckOutcome {
        let trust = Trust {
            run: &self.run.id,
            is_touched,
            is_locked: true,
        };
        let stale = fresh::stale(self.run.plan, host, changes, reply, trust);
        self.keep_manifest(host, reply);
        self.keep_starts(changes, &reply.answers);
        if stale.is_empty() {
            CheckOutcome::Fresh
        } else {
            CheckOutcome::Stale(stale)
        }
    }

    /// Gives a host back with which the run is through, and forgets what it had to know of it. Values that it produced are kept.
    pub(super) async fn part(&self, host: &HostId) {
        let _room = self
            .partings
            .acquire()
            .await
            .expect("nobody closes the semaphore");
        self.claims.release(host).await;
        self.run.ports.transport.close(host).await;
        self.forget_starts(host);
        self.owned.lock().expect("nothing panics under it").remove(host);
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
        self.keep_outputs(host, owned);
    }

    fn keep_manifest(&self, host: &HostId, reply: &LookReply) {
        let owned = reply
            .manifest
            .present()
            .map(|Manifest { owned, .. }| owned.clone())
            .unwrap_or_default();
        self.keep_outputs(host, &owned);
        self.owned
            .lock()
            .expect("nothing panics under it")
            .insert(host.clone(), owned);
    }

    /// Takes in all values that a host's manifest has, in the place of those that it had.
    fn keep_outputs(&self, host: &HostId, owned: &BTreeMap<ResourceKey, Owned>) {
        let mut outputs = self.outputs.lock().expect("nothing panics under it");
        // Few resources have any: this is not worth an index.
        outputs.retain(|id, _| id.host != *host);
        let some = owned.iter().filter(|(_, owned)| !owned.outputs.is_empty());
        outputs.extend(some.map(|(key, owned)| (key.on(host), owned.outputs.clone())));
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
    pub(super) fn outputs_in_manifests(&self) -> Outputs {
        self.outputs.lock().expect("nothing panics under it").clone()
    }

    /// Writes entries into a host's manifest, and frees its lock where that is to be.
    pub(super) async fn keep_entries(
        &self,
        host: &HostId,
        entries: &BTreeMap<ResourceKey, Option<Owned>>,
        then: Then,
    ) -> Result<(), String> {
        match then {
            Then::Stay => self.record(host, entries).await,
            Then::Part => self.conclude(host, entries).await,
        }
    }

    /// Writes a host's last entries and frees its lock. Where nobody heard whether that was done, the entries are written once more; a
    /// guard that refuses that because the lock is free has done it, if its manifest says so.
    async fn conclude(
        &self,
        host: &HostId,
        entries: &BTreeMap<ResourceKey, Option<Owned>>,
    ) -> Result<(), String> {
        let fence = self.fence(host)?;
        let transport = &self.run.ports.transport;
        if transport.conclude(host, &fence, entries).await.is_err() {
            match self.record(host, entries).await {
                Ok(()) => return Ok(()),
                Err(_) if self.is_recorded(host, entries).await => {}
                Err(why) => return Err(why),
            }
        }
        self.claims.freed(host, &fence);
        self.keep_recorded(host, entries);
        Ok(())
    }

    /// Says whether this run was the last to write a host's manifest, and it holds these entries.
    async fn is_recorded(&self, host: &HostId, entries: &BTreeMap<ResourceKey, Option<Owned>>) -> bool {
        let looked = self.run.ports.transport.look(host, &LookRequest::default()).await;
        let Ok(LookReply {
            manifest: ManifestState::Present(manifest),
            ..
        }) = looked
        else {
            return false;
        };
        let is_there =
            |(key, entry): (&ResourceKey, &Option<Owned>)| manifest.owned.get(key) == entry.as_ref();
        manifest.last_run.as_ref() == Some(&self.run.id) && entries.iter().all(is_there)
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
        self.keep_recorded(host, entries);
        Ok(())
    }

    fn keep_recorded(&self, host: &HostId, entries: &BTreeMap<ResourceKey, Option<Owned>>) {
        let mut owned = self.owned.lock().expect("nothing panics under it");
        let owned = owned.entry(host.clone()).or_default();
        for (key, entry) in entries {
            match entry {
                Some(entry) => drop(owned.insert(key.clone(), entry.clone())),
                None => drop(owned.remove(key)),
            }
        }
        self.keep_outputs(host, owned);
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
