//! A pretend host's dead-man switch: what it keeps when it is armed, and puts back when its time has come. As `deadman.sh` has it.
//!
//! A pretend host comes to it when somebody next asks something of it: until then nobody can tell the difference. Whether a change
//! cuts anybody off is not pretended; a login fails where the host cannot be reached.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;

use crate::model::id::{HostId, ResourceKey, RunId};
use crate::model::manifest::Owned;
use crate::ports::{Arming, PerformError, ReachError, SwitchState};

use super::guard::Guarded;
use super::host::Host;
use super::session::{Session, TRAVEL_MS};

/// A switch, and what became of it.
#[derive(Debug, Clone)]
pub struct Switch {
    /// The run that armed it.
    pub run: RunId,
    /// How it stands.
    pub stands: SwitchState,
    /// The boot from which its time counts, and when it began there.
    since: (u64, u64),
    request: Arming,
    before: Box<Host>,
    entries: BTreeMap<ResourceKey, Option<Owned>>,
}

/// What somebody asks of a switch.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ask {
    Tell,
    Confirm,
    PutBack,
}

impl Guarded {
    pub(super) fn arm(&mut self, request: &Arming, now_ms: u64) -> Result<(), PerformError> {
        self.check(&request.fence, now_ms).map_err(PerformError::Fenced)?;
        let owned = self.manifest.as_ref().map(|manifest| &manifest.owned);
        let entry = |key: &ResourceKey| (key.clone(), owned.and_then(|owned| owned.get(key)).cloned());
        self.switch = Some(Switch {
            run: request.fence.run.clone(),
            stands: SwitchState::Armed,
            since: (self.boot, self.uptime(now_ms)),
            entries: request.entries.iter().map(entry).collect(),
            before: Box::new(self.host.clone()),
            request: request.clone(),
        });
        self.extend(now_ms);
        Ok(())
    }

    /// Returns the run whose switch is armed, if one is.
    pub(super) fn armed(&self) -> Option<&RunId> {
        let armed = self
            .switch
            .as_ref()
            .filter(|switch| switch.stands == SwitchState::Armed);
        armed.map(|switch| &switch.run)
    }

    /// Puts everything back, if the time for a new login is over. The time counts anew from a boot.
    pub(super) fn come_to_switch(&mut self, now_ms: u64) {
        let uptime = self.uptime(now_ms);
        let is_over = self.switch.as_ref().is_some_and(|switch| {
            let (boot, armed_at) = switch.since;
            let since = if boot == self.boot { armed_at } else { 0 };
            uptime >= since + switch.request.within_secs
        });
        if is_over {
            self.put_back();
        }
    }

    pub(super) fn ask_switch(&mut self, run: &RunId, ask: Ask, now_ms: u64) -> SwitchState {
        self.come_to_switch(now_ms);
        let is_ours = self.armed() == Some(run);
        match (ask, self.switch.as_mut()) {
            (Ask::PutBack, Some(_)) if is_ours => self.put_back(),
            (Ask::Confirm, Some(switch)) if is_ours => switch.stands = SwitchState::Confirmed,
            (Ask::Tell | Ask::PutBack | Ask::Confirm, _) => {}
        }
        let ours = self.switch.as_ref().filter(|switch| switch.run == *run);
        ours.map_or(SwitchState::None, |switch| switch.stands.clone())
    }

    fn put_back(&mut self) {
        let Some(mut switch) = self.switch.take() else {
            return;
        };
        if switch.stands == SwitchState::Armed {
            let restores = &switch.request.restores;
            let (host, before) = (&mut self.host, &switch.before);
            for path in &restores.paths {
                put(&mut host.paths, &before.paths, path);
            }
            for unit in restores.units.union(&restores.readers) {
                put(&mut host.units, &before.units, unit);
            }
            for parameter in &restores.parameters {
                put(&mut host.parameters, &before.parameters, parameter);
            }
            if restores.paths.contains("/etc/passwd") {
                host.accounts.clone_from(&before.accounts);
                host.groups.clone_from(&before.groups);
            }
            let recorded = self.record(&switch.run, &switch.entries);
            switch.stands = SwitchState::Restored {
                trouble: recorded
                    .err()
                    .map(|error| error.to_string())
                    .into_iter()
                    .collect(),
            };
        }
        self.switch = Some(switch);
    }
}

fn put<T: Clone>(now: &mut BTreeMap<String, T>, before: &BTreeMap<String, T>, name: &str) {
    match before.get(name) {
        Some(value) => drop(now.insert(name.to_owned(), value.clone())),
        None => drop(now.remove(name)),
    }
}

impl Session {
    pub(super) fn arm_switch<'a>(
        &'a self,
        host: &'a HostId,
        request: &'a Arming,
    ) -> BoxFuture<'a, Result<(), PerformError>> {
        Box::pin(async move {
            let armed = self.visit(host, TRAVEL_MS, |state| {
                let now = state.now_ms;
                state.station(host).guarded.arm(request, now)
            });
            match armed.await? {
                (done, false) => done,
                (_, true) => Err(PerformError::Unknown {
                    why: "the answer cannot be read".to_owned(),
                }),
            }
        })
    }

    pub(super) fn at_switch<'a>(
        &'a self,
        host: &'a HostId,
        run: &'a RunId,
        ask: Ask,
    ) -> BoxFuture<'a, Result<SwitchState, ReachError>> {
        Box::pin(async move {
            let asked = self.visit(host, TRAVEL_MS, |state| {
                let now = state.now_ms;
                let station = state.station(host);
                // The lock file is held by whatever still runs there.
                match (ask, station.job.is_some()) {
                    (Ask::Confirm | Ask::PutBack, true) => Ok(SwitchState::Armed),
                    (_, _) => Ok(station.guarded.ask_switch(run, ask, now)),
                }
            });
            match asked.await? {
                (stands, false) => stands,
                (_, true) => Err(super::session::garbled(host, "asking for the dead-man switch")),
            }
        })
    }
}
