//! A pretend host's guard: its lock with token and lease, its manifest, its log. As `guard.sh` has it.

use std::collections::BTreeMap;

use crate::model::holder::{Grip, Holder};
use crate::model::id::{HostId, ResourceKey, RunId};
use crate::model::manifest::{Manifest, ManifestState, Owned};
use crate::ports::{Fence, LockError, LockRequest, PerformError, ReachError};

use super::host::Host;
use super::switch::Switch;

/// How long a reservation lasts without renewal, in seconds of the host's uptime.
const RESERVATION_SECS: u64 = 600;

/// What the guard keeps of a lock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// The last token that was given out.
    pub token: u64,
    /// Who holds it; nobody once it was freed.
    pub holder: Option<RunId>,
    /// The person.
    pub who: String,
    /// The boot in which it was taken.
    pub boot: u64,
    /// When it was taken, in seconds since that boot.
    pub taken: u64,
    /// How long the lease lasts without renewal.
    pub lease_secs: u64,
    /// When the lease ends, in seconds since that boot.
    pub until: u64,
}

/// What the guard keeps of a reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The run.
    pub run: RunId,
    /// The person.
    pub who: String,
    /// The boot in which it was made.
    pub boot: u64,
    /// When it was made, in seconds since that boot.
    pub taken: u64,
    /// When it ends, in seconds since that boot.
    pub until: u64,
}

/// A host together with its guard.
#[derive(Debug, Clone, Default)]
pub struct Guarded {
    /// What is on it.
    pub host: Host,
    /// Its manifest.
    pub manifest: Option<Manifest>,
    /// Why its manifest cannot be read, if it cannot.
    pub damage: Option<String>,
    /// Its lock.
    pub lock: Lock,
    /// Its reservation.
    pub reserved: Option<Reservation>,
    /// Its dead-man switch: the last one that was armed.
    pub switch: Option<Switch>,
    /// Which boot this is.
    pub boot: u64,
    /// When it was booted, in milliseconds of the fleet's time.
    pub booted_ms: u64,
    /// What the guard has written down: one clause a line.
    pub log: Vec<String>,
}

impl Guarded {
    /// Returns the seconds since the host was booted.
    pub fn uptime(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.booted_ms) / 1000
    }

    /// Says whether somebody's lease runs.
    pub fn is_live(&self, now_ms: u64) -> bool {
        let lock = &self.lock;
        lock.holder.is_some() && lock.boot == self.boot && self.uptime(now_ms) < lock.until
    }

    /// Returns what a look finds of the manifest.
    pub fn manifest_state(&self) -> ManifestState {
        match (&self.damage, &self.manifest) {
            (Some(why), _) => ManifestState::Unreadable(why.clone()),
            (None, Some(manifest)) => ManifestState::Present(manifest.clone()),
            (None, None) => ManifestState::Absent,
        }
    }

    /// Returns the reservation that is in force.
    fn reservation(&self, now_ms: u64) -> Option<&Reservation> {
        let is_live = |it: &&Reservation| it.boot == self.boot && self.uptime(now_ms) < it.until;
        self.reserved.as_ref().filter(is_live)
    }

    /// Refuses if another run has the host.
    pub(super) fn refuse_if_held(&self, run: &RunId, now_ms: u64) -> Result<(), LockError> {
        let held = |grip, run: &RunId, who: &String, taken: u64| {
            LockError::Held(Holder {
                grip,
                run: Some(run.to_string()),
                who: who.clone(),
                age_secs: self.uptime(now_ms).saturating_sub(taken),
                reason: None,
            })
        };
        if let Some(armed) = self.armed().filter(|armed| *armed != run) {
            return Err(held(Grip::Armed, armed, &self.lock.who, self.uptime(now_ms)));
        }
        let lock = &self.lock;
        match (&lock.holder, self.reservation(now_ms)) {
            (Some(holder), _) if holder != run && self.is_live(now_ms) => {
                Err(held(Grip::Locked, holder, &lock.who, lock.taken))
            }
            (_, Some(reserved)) if reserved.run != *run => {
                Err(held(Grip::Reserved, &reserved.run, &reserved.who, reserved.taken))
            }
            (_, _) => Ok(()),
        }
    }

    /// Reserves the host, or renews that.
    pub(super) fn reserve(&mut self, request: &LockRequest, now_ms: u64) -> Result<(), LockError> {
        self.refuse_if_held(&request.run, now_ms)?;
        let now = self.uptime(now_ms);
        let taken = self.reservation(now_ms).map_or(now, |reserved| reserved.taken);
        self.reserved = Some(Reservation {
            run: request.run.clone(),
            who: request.who.clone(),
            boot: self.boot,
            taken,
            until: now + RESERVATION_SECS,
        });
        Ok(())
    }

    /// Gives a run's reservation up.
    pub(super) fn unreserve(&mut self, run: &RunId) {
        self.reserved = self.reserved.take().filter(|reserved| reserved.run != *run);
        // What the run locked before it was killed, and had no reason to lock again.
        if self.lock.holder.as_ref() == Some(run) {
            self.lock.holder = None;
        }
    }

    /// Gives out the next token.
    pub(super) fn take(
        &mut self,
        id: &HostId,
        request: &LockRequest,
        now_ms: u64,
        lineage: String,
    ) -> Result<Fence, LockError> {
        self.refuse_if_held(&request.run, now_ms)?;
        if let Some(armed) = self.armed() {
            // It bars its own run too.
            return Err(LockError::Held(Holder {
                grip: Grip::Armed,
                run: Some(armed.to_string()),
                who: self.lock.who.clone(),
                age_secs: 0,
                reason: None,
            }));
        }
        self.claim(id, request, lineage)?;
        self.host
            .salt
            .get_or_insert_with(|| format!("salt of {id}").into_bytes());
        self.host.begin(request.run.as_str());
        self.lock.token += 1;
        self.lock.holder = Some(request.run.clone());
        self.lock.who.clone_from(&request.who);
        self.lock.taken = self.uptime(now_ms);
        self.lock.lease_secs = request.lease_secs;
        self.reserved = None;
        self.extend(now_ms);
        Ok(Fence {
            run: request.run.clone(),
            token: self.lock.token,
        })
    }

    fn claim(&mut self, id: &HostId, request: &LockRequest, lineage: String) -> Result<(), LockError> {
        if let Some(why) = &self.damage {
            return Err(LockError::NotOurs(why.clone()));
        }
        let manifest = self.manifest.get_or_insert_with(|| Manifest {
            format: 1,
            fleet: request.fleet.clone(),
            host: id.clone(),
            lineage,
            generation: 0,
            last_run: None,
            owned: BTreeMap::new(),
        });
        if manifest.fleet == request.fleet && manifest.host == *id {
            return Ok(());
        }
        let is_former = request
            .former
            .as_ref()
            .is_some_and(|(fleet, host)| manifest.fleet == *fleet && manifest.host == *host);
        if !is_former {
            let (host, fleet) = (&manifest.host, &manifest.fleet);
            return Err(LockError::NotOurs(format!(
                "this machine is {host} of fleet {fleet}"
            )));
        }
        manifest.fleet.clone_from(&request.fleet);
        manifest.host.clone_from(id);
        manifest.generation += 1;
        manifest.last_run = Some(request.run.clone());
        Ok(())
    }

    /// Lets only the holder of the last token go on, and only while its lease lasts.
    pub(super) fn check(&self, fence: &Fence, now_ms: u64) -> Result<(), String> {
        let Fence { run, token } = fence;
        if self.lock.token != *token || self.lock.holder.as_ref() != Some(run) {
            let holder = self.lock.holder.as_ref().map_or("-", RunId::as_str);
            let seen = self.lock.token;
            return Err(format!(
                "token {token} of run {run} is not the last one; the last is {seen} of run {holder}"
            ));
        }
        if !self.is_live(now_ms) {
            return Err(format!("the lease of token {token} is over"));
        }
        Ok(())
    }

    /// Starts the lease anew.
    pub(super) fn extend(&mut self, now_ms: u64) {
        self.lock.boot = self.boot;
        self.lock.until = self.uptime(now_ms) + self.lock.lease_secs;
    }

    /// Frees the lock, if it still is this one.
    pub(super) fn release(&mut self, fence: &Fence) {
        if self.lock.token == fence.token && self.lock.holder.as_ref() == Some(&fence.run) {
            self.lock.holder = None;
        }
    }

    /// Puts entries into the manifest, or takes them out.
    pub(super) fn record(
        &mut self,
        run: &RunId,
        entries: &BTreeMap<ResourceKey, Option<Owned>>,
    ) -> Result<(), PerformError> {
        let gone = || PerformError::Failed {
            at: None,
            operation: "keep the guard's records".to_owned(),
            status: 95,
            tail: vec!["the manifest is gone".to_owned()],
        };
        let manifest = self.manifest.as_mut().ok_or_else(gone)?;
        manifest.generation += 1;
        manifest.last_run = Some(run.clone());
        for (key, entry) in entries {
            match entry {
                Some(entry) => drop(manifest.owned.insert(key.clone(), entry.clone())),
                None => drop(manifest.owned.remove(key)),
            }
        }
        Ok(())
    }

    /// Boots anew: leases die, units that are enabled start, parameters come from their files.
    pub(super) fn reboot(&mut self, now_ms: u64) {
        self.boot += 1;
        self.booted_ms = now_ms;
        self.host.boot_units();
        let kept: Vec<String> = self
            .host
            .paths
            .keys()
            .filter(|path| path.starts_with("/etc/sysctl.d/"))
            .cloned()
            .collect();
        self.host.parameters.clear();
        for path in kept {
            let text = self.host.text(&path).unwrap_or_default().to_owned();
            let pairs = text.lines().filter_map(|line| line.split_once('='));
            let pairs = pairs.map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()));
            self.host.parameters.extend(pairs);
        }
    }
}

/// What the guard says when it has no room to write.
pub(super) fn full(host: &HostId, operation: &str) -> ReachError {
    ReachError::Failed {
        host: host.clone(),
        operation: operation.to_owned(),
        status: 97,
        tail: vec!["No space left on device".to_owned()],
    }
}
