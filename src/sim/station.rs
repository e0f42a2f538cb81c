//! A host at its place in the fleet: reached or not, at work or not, and what faults do to it.

use std::collections::BTreeMap;

use crate::model::id::{FleetName, HostId, ResourceKey, RunId};
use crate::model::manifest::Owned;
use crate::model::observation::{Answer, Facts, Machine};
use crate::model::op::Probe;
use crate::ports::{
    Fence, LockError, LockRequest, LookReply, LookRequest, PerformError, ReachError, Said, Salt,
};

use super::fault::{Fault, Scene, What};
use super::guard::{Guarded, full};
use super::host::{Host, Kind};
use super::work::Job;
use super::world::{State, Tick};

/// For good.
const FOR_EVER: u64 = u64::MAX;

/// A host as the world has it.
#[derive(Debug, Clone)]
pub struct Station {
    /// The host and its guard.
    pub guarded: Guarded,
    /// The fleet that another operator would take it for.
    pub fleet: FleetName,
    /// Its facts.
    pub facts: Facts,
    /// Until when it does not answer, in milliseconds of the world's time.
    pub down_until: u64,
    /// Until when its disk is full.
    pub full_until: u64,
    /// Until when gates say no there.
    pub shut_until: u64,
    /// How many ops have begun there.
    pub ops: u64,
    pub(super) answers: u64,
    pub(super) questions: u64,
    pub(super) job: Option<Job>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Happened {
    /// When, in milliseconds of the world's time.
    pub at_ms: u64,
    /// Where; the controller where there is none.
    pub host: Option<HostId>,
    /// What.
    pub deed: Deed,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Deed {
    /// An op was done.
    Done {
        /// Which, in words.
        op: String,
        /// By which run.
        run: RunId,
        /// Whether anything is another way now.
        is_effect: bool,
    },
    /// An op failed.
    Failed {
        /// Which, in words.
        op: String,
        /// What the host said.
        why: String,
    },
    /// An op was done under a token that is not the last one. The guard lets that never happen.
    Unfenced {
        /// Which, in words.
        op: String,
    },
    /// A fault struck.
    Struck(Fault),
    /// Somebody else changed something.
    Hand(String),
}

impl Station {
    /// Places a host in a fleet.
    pub fn new(id: &HostId, host: Host, fleet: FleetName) -> Self {
        Self {
            guarded: Guarded {
                host,
                boot: 1,
                ..Guarded::default()
            },
            fleet,
            facts: facts(id),
            down_until: 0,
            full_until: 0,
            shut_until: 0,
            ops: 0,
            answers: 0,
            questions: 0,
            job: None,
        }
    }

    /// Ends what is wrong with it.
    pub(super) fn heal(&mut self) {
        (self.down_until, self.full_until, self.shut_until) = (0, 0, 0);
    }

    /// Answers probes.
    pub(super) fn answer(
        &self,
        probes: &BTreeMap<ResourceKey, Vec<Probe>>,
    ) -> BTreeMap<ResourceKey, Vec<Answer>> {
        let answers =
            |probes: &Vec<Probe>| probes.iter().map(|probe| self.guarded.host.look(probe)).collect();
        probes
            .iter()
            .map(|(key, probes)| (key.clone(), answers(probes)))
            .collect()
    }

    /// Lets somebody change by hand what muster keeps there: its first file, else a file of their own.
    fn hand(&mut self) -> String {
        let host = &mut self.guarded.host;
        let is_etc = |path: &&String| path.starts_with("/etc/") && path.as_str() != "/etc/by-hand";
        let files: Vec<String> = host.paths.keys().filter(is_etc).cloned().collect();
        let file = files.into_iter().find(|path| host.text(path).is_some());
        let path = file.unwrap_or_else(|| "/etc/by-hand".to_owned());
        let text = format!("{}# by hand\n", host.text(&path).unwrap_or_default());
        host.put(&path, Kind::File(text), ["root", "root", "0600"]);
        path
    }
}

impl State {
    pub(super) fn station(&mut self, host: &HostId) -> &mut Station {
        self.stations
            .get_mut(host)
            .expect("who is not there was not reached")
    }

    /// Says whether a host answers now.
    pub(super) fn reach(&mut self, host: &HostId) -> Result<(), ReachError> {
        let now = self.now_ms;
        match self.stations.get(host) {
            None => Err(ReachError::Unreachable(format!("`{host}` is not known"))),
            Some(station) if now < station.down_until => {
                Err(ReachError::Unreachable("no route to host".to_owned()))
            }
            Some(_) => Ok(()),
        }
    }

    /// Says whether a host's next answer makes no sense.
    pub(super) fn garbles(&mut self, host: &HostId) -> bool {
        let station = self.station(host);
        station.answers += 1;
        let count = station.answers;
        let struck = self.due(Some(host), Scene::Answer, count);
        let is_garbled = !struck.is_empty();
        struck
            .into_iter()
            .for_each(|fault| self.note(Some(host), Deed::Struck(fault)));
        is_garbled
    }

    /// Takes out the faults that strike now.
    pub(super) fn due(&mut self, host: Option<&HostId>, scene: Scene, count: u64) -> Vec<Fault> {
        let is_due =
            |fault: &Fault| fault.what.scene() == scene && fault.host.as_ref() == host && fault.at <= count;
        let (due, rest) = std::mem::take(&mut self.faults).into_iter().partition(is_due);
        self.faults = rest;
        due
    }

    /// Returns the end of a fault that begins now.
    pub(super) fn until(&self, fault: &Fault) -> u64 {
        fault.lasts().map_or(FOR_EVER, |secs| self.now_ms + secs * 1000)
    }

    /// Does what a moment brings.
    pub(super) fn act(&mut self, tick: &Tick) {
        match tick {
            Tick::Fire(slot) => self.fire(*slot, None),
            Tick::Step(host, job) => self.step(host, *job),
            Tick::Strike(fault) => self.strike(fault),
            Tick::Leave(host) => {
                let station = self.station(host);
                let holder = station.guarded.lock.holder.clone();
                if holder.is_some_and(|holder| holder == other_run()) {
                    station.guarded.lock.holder = None;
                    self.note(Some(host), Deed::Hand("another run freed the lock".to_owned()));
                }
            }
        }
    }

    /// Lets a fault strike that comes by the clock.
    fn strike(&mut self, fault: &Fault) {
        let Some(host) = fault.host.clone() else { return };
        let now = self.now_ms;
        let Some(station) = self.stations.get_mut(&host) else {
            return;
        };
        if fault.what == What::ByHand {
            let path = station.hand();
            self.note(Some(&host), Deed::Struck(fault.clone()));
            return self.note(Some(&host), Deed::Hand(format!("{path} was changed by hand")));
        }
        let request = LockRequest {
            run: other_run(),
            who: "bob@desk".to_owned(),
            fleet: station.fleet.clone(),
            former: None,
            lease_secs: fault.lasts().unwrap_or(120),
        };
        let is_away = now < station.down_until || station.job.is_some();
        let lineage = format!("lineage of {host}");
        if is_away || station.guarded.take(&host, &request, now, lineage).is_err() {
            return self.at(now + 2_000, Tick::Strike(fault.clone()));
        }
        let secs = fault.lasts().unwrap_or(120);
        let path = station.hand();
        let recorded = station.guarded.record(&request.run, &BTreeMap::new());
        debug_assert!(recorded.is_ok(), "the lock made the manifest");
        self.at(now + secs * 1000, Tick::Leave(host.clone()));
        self.note(Some(&host), Deed::Struck(fault.clone()));
        let what = format!("run {} of bob@desk took the lock and changed {path}", request.run);
        self.note(Some(&host), Deed::Hand(what));
    }

    pub(super) fn look(&mut self, host: &HostId, request: &LookRequest) -> LookReply {
        let secs = self.host_secs();
        let station = self.station(host);
        station.guarded.host.clock = secs;
        LookReply {
            machine: Machine {
                id: format!("machine-{host}"),
                missing_tools: Vec::new(),
                has_systemd: true,
            },
            manifest: station.guarded.manifest_state(),
            facts: request.facts.then(|| station.facts.clone()),
            salt: station.guarded.host.salt.clone().map(Salt),
            answers: station.answer(&request.probes),
        }
    }

    /// Reserves a host and looks at it; nothing while an operation still runs there.
    pub(super) fn reserve(
        &mut self,
        host: &HostId,
        request: &LockRequest,
        look: &LookRequest,
    ) -> Result<Option<LookReply>, LockError> {
        let now = self.now_ms;
        let station = self.station(host);
        station.guarded.come_to_switch(now);
        station.guarded.refuse_if_held(&request.run, now)?;
        if station.job.is_some() {
            return Ok(None);
        }
        if now < station.full_until {
            return Err(full(host, "reserving").into());
        }
        station.guarded.reserve(request, now)?;
        Ok(Some(self.look(host, look)))
    }

    /// Takes a host's lock; nothing while an operation still runs there.
    pub(super) fn take_lock(
        &mut self,
        host: &HostId,
        request: &LockRequest,
    ) -> Result<Option<Fence>, LockError> {
        let now = self.now_ms;
        let lineage = format!("{:016x}", self.dice.roll());
        let station = self.station(host);
        station.guarded.come_to_switch(now);
        station.guarded.refuse_if_held(&request.run, now)?;
        if station.job.is_some() {
            return Ok(None);
        }
        if now < station.full_until {
            return Err(full(host, "locking").into());
        }
        station.guarded.take(host, request, now, lineage).map(Some)
    }

    pub(super) fn renew(&mut self, host: &HostId, fence: &Fence) -> Result<(), LockError> {
        let now = self.now_ms;
        let station = self.station(host);
        // Whoever works there now renews the lease when that ends.
        if station.job.is_some() {
            return Ok(());
        }
        station.guarded.check(fence, now).map_err(|_| LockError::Lost)?;
        if now < station.full_until {
            return Err(full(host, "renewing the lock").into());
        }
        station.guarded.extend(now);
        Ok(())
    }

    pub(super) fn release(&mut self, host: &HostId, fence: &Fence) {
        self.station(host).guarded.release(fence);
    }

    pub(super) fn record(
        &mut self,
        host: &HostId,
        fence: &Fence,
        entries: &BTreeMap<ResourceKey, Option<Owned>>,
    ) -> Result<(), PerformError> {
        let now = self.now_ms;
        let station = self.station(host);
        station.guarded.check(fence, now).map_err(PerformError::Fenced)?;
        if now < station.full_until {
            return Err(no_room());
        }
        station.guarded.record(&fence.run, entries)
    }

    pub(super) fn ask(&mut self, host: &HostId) -> Said {
        let station = self.station(host);
        station.questions += 1;
        let count = station.questions;
        for fault in self.due(Some(host), Scene::Gate, count) {
            let until = self.until(&fault);
            self.station(host).shut_until = until;
            self.note(Some(host), Deed::Struck(fault));
        }
        let good = self.now_ms >= self.station(host).shut_until;
        Said {
            good,
            what: if good { "up" } else { "down" }.to_owned(),
        }
    }
}

/// What the guard says of its own records on a full disk.
pub(super) fn no_room() -> PerformError {
    PerformError::Failed {
        at: None,
        operation: "keep the guard's records".to_owned(),
        status: 97,
        tail: vec!["No space left on device".to_owned()],
    }
}

fn other_run() -> RunId {
    "ffffffffffff-9".parse().expect("a run id")
}

fn facts(id: &HostId) -> Facts {
    Facts {
        os: "debian".to_owned(),
        os_version: "12".to_owned(),
        os_codename: "bookworm".to_owned(),
        kernel: "6.1.0".to_owned(),
        arch: "amd64".to_owned(),
        hostname: id.to_string(),
        cpus: 4,
        memory_bytes: 8 << 30,
        ..Facts::default()
    }
}
