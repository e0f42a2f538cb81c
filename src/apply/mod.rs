//! Acting: a rollout decides, a crew performs, a journal remembers. This is the loop between them.
//!
//! The loop hears one event at a time: it is written to the journal, fed to the rollout, and what may start because of it is
//! handed to the crew. `Began` is on disk before an operation starts. Nothing here decides what is done: that was
//! decided when planning.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt as _;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::model::event::{Event, RunOutcome, Task};
use crate::model::id::{HostId, ResourceId, RunId};
use crate::model::plan::Plan;
use crate::model::pulling::Pulling;
use crate::ports::{HookError, HookSaid, Ports, Secrets};
use crate::rollout::Rollout;
use crate::store::StoreError;
use crate::store::journal::Journal;

mod claims;
mod crew;
mod entry;
mod exec;
mod fresh;
mod gate;
mod hook;
mod perform;
mod preflight;
mod reserve;
mod row;
mod switch;
mod takes;
mod undo;
mod verify;

pub use exec::{Errand, HostEnd, exec};
pub use hook::call_hook;
pub use preflight::{Ready, Refusal, preflight, preflight_again};
pub use reserve::Taken;

use claims::{Claimant, Claims};
use crew::{Crew, Then};

/// A plan that is to be carried out, and by whom.
#[derive(Clone)]
pub struct Run<'p> {
    /// The plan.
    pub plan: &'p Plan,
    /// The name of this run.
    pub id: RunId,
    /// Who runs it, for people: `alice@laptop`.
    pub who: String,
    /// Values of the plan's secrets, to compare what was written. They are written by the transport.
    pub secrets: Secrets,
    /// The world.
    pub ports: Ports,
}

impl Run<'_> {
    fn claimant(&self) -> Claimant {
        let former = |(host, basis): (&HostId, &crate::model::plan::Basis)| {
            Some((host.clone(), basis.former.clone()?))
        };
        Claimant {
            run: self.id.clone(),
            who: self.who.clone(),
            fleet: self.plan.fleet.clone(),
            lease_secs: self.plan.policy.lease_secs,
            parallel: self.plan.policy.parallel,
            former: self.plan.basis.iter().filter_map(former).collect(),
        }
    }

    /// Gives reservations back, where a run ends before it began.
    pub async fn give_back(&self, reserved: &BTreeSet<HostId>) {
        let claims = Claims::new(self.ports.clone(), self.claimant(), reserved.clone());
        claims.release_all().await;
    }
}

/// Where events are kept. The journal, but for tests.
pub trait Log {
    /// Writes an event. It is on disk when this returns.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    fn append(&mut self, at: jiff::Timestamp, event: &Event) -> Result<(), StoreError>;
}

impl Log for Journal {
    fn append(&mut self, at: jiff::Timestamp, event: &Event) -> Result<(), StoreError> {
        Self::append(self, at, event)
    }
}

/// Hears what happens, for people who watch.
pub trait Progress {
    /// A task was handed to the crew.
    fn started(&mut self, at: jiff::Timestamp, task: &Task);
    /// Something came of it.
    fn happened(&mut self, at: jiff::Timestamp, event: &Event);
    /// A pull has come further. It stands in no journal.
    fn pulling(&mut self, _at: jiff::Timestamp, _pulling: &Pulling) {}
}

/// Why a run broke off without an end in its journal. It can be resumed.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// The journal cannot be written, so nothing more may be done.
    #[error("the journal cannot be kept")]
    Journal(#[source] StoreError),
    /// Somebody asked twice to stop.
    #[error("left at once; nobody has seen the end of {}", list(unknown))]
    Left {
        /// What was in flight.
        unknown: Vec<ResourceId>,
    },
}

fn list(changes: &[ResourceId]) -> String {
    match changes {
        [] => "nothing: no change was in flight".to_owned(),
        changes => changes
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// How a run begins.
#[derive(Debug, Clone, Default)]
pub struct Start {
    /// Whether it goes on.
    pub is_resumed: bool,
    /// Hosts that are left out, each with what is stale there.
    pub left_out: BTreeMap<HostId, Vec<String>>,
    /// Hosts that are reserved for the run. Each is given back when the run is through with it.
    pub reserved: BTreeSet<HostId>,
}

/// Carries a plan out, as far as it goes, and returns how it ended.
///
/// `rollout` is new, or replayed from the journal. The first message on `interrupts` ends what is in flight and nothing else; the
/// second leaves at once.
///
/// # Errors
/// [`DriveError`]; locks are then freed where that is possible.
pub async fn drive(
    run: &Run<'_>,
    rollout: Rollout<'_>,
    start: Start,
    log: &mut dyn Log,
    interrupts: &mut UnboundedReceiver<()>,
    progress: &mut dyn Progress,
) -> Result<RunOutcome, DriveError> {
    let crew = Crew::new(run, start.reserved);
    let mut drive = Drive {
        run,
        crew: &crew,
        rollout,
        log,
        progress,
        tasks: FuturesUnordered::new(),
        partings: FuturesUnordered::new(),
        parted: BTreeSet::new(),
    };
    let began = Event::Started {
        who: run.who.clone(),
        resumed: start.is_resumed,
        left_out: start.left_out,
    };
    let walked = drive.walk(began, interrupts).await;
    match walked {
        Ok(()) => {
            drop(std::mem::take(&mut drive.tasks));
            drive.end_partings().await;
            let outcome = drive.rollout.outcome();
            drive.call_last(&outcome, interrupts).await?;
            drive.note(&Event::Ended {
                outcome: outcome.clone(),
            })?;
            Ok(outcome)
        }
        // An operation that is cut off keeps its host's lock until the lease ends: whoever comes next waits for it. The
        // reservations end by themselves, or go over to whoever resumes the run.
        Err(error @ DriveError::Left { .. }) => Err(error),
        Err(error @ DriveError::Journal(_)) => {
            while drive.tasks.next().await.is_some() {}
            drive.end_partings().await;
            Err(error)
        }
    }
}

struct Drive<'d, 'p> {
    run: &'d Run<'p>,
    crew: &'d Crew<'d, 'p>,
    rollout: Rollout<'p>,
    log: &'d mut dyn Log,
    progress: &'d mut dyn Progress,
    tasks: FuturesUnordered<LocalBoxFuture<'d, Vec<Event>>>,
    /// Hosts that are being given back, since nothing more will be done there.
    partings: FuturesUnordered<LocalBoxFuture<'d, ()>>,
    parted: BTreeSet<HostId>,
}

impl<'d, 'p> Drive<'d, 'p> {
    async fn walk(&mut self, began: Event, interrupts: &mut UnboundedReceiver<()>) -> Result<(), DriveError> {
        let crew = self.crew;
        let transport = &self.run.ports.transport;
        let renewing = crew.claims.renew();
        tokio::pin!(renewing);
        self.feed(began)?;
        let mut is_interrupted = false;
        while !self.rollout.is_over() {
            tokio::select! {
                // What is heard first does not hang on dice: a pretended run is to be the same each time.
                biased;
                Some(()) = interrupts.recv() => {
                    if is_interrupted {
                        let unknown = self.rollout.unseen().into_iter().cloned().collect();
                        return Err(DriveError::Left { unknown });
                    }
                    is_interrupted = true;
                    self.feed(Event::Interrupted)?;
                }
                never = &mut renewing => match never {},
                Some(()) = self.partings.next() => {}
                // Before the task that it belongs to ends.
                pulling = transport.pulling() => {
                    self.progress.pulling(self.run.ports.clock.now(), &pulling);
                }
                Some(events) = self.tasks.next() => {
                    for event in events {
                        self.feed(event)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Calls the hooks that come at the end, one after the other. An interruption ends the one that is being called.
    async fn call_last(
        &mut self,
        outcome: &RunOutcome,
        interrupts: &mut UnboundedReceiver<()>,
    ) -> Result<(), DriveError> {
        for (id, input) in hook::at_end(self.run, outcome) {
            let called = &self.run.plan.hooks[id.index];
            self.progress
                .started(self.run.ports.clock.now(), &Task::Hook { hook: id.clone() });
            let said = tokio::select! {
                said = call_hook(&self.run.ports, called, &input) => said,
                Some(()) = interrupts.recv() => HookSaid {
                    result: Err(HookError { why: "interrupted".to_owned(), is_worth_another_try: false }),
                    tail: Vec::new(),
                },
            };
            self.note(&hook::heard(&id, called, said))?;
        }
        Ok(())
    }

    /// Writes one event, tells it to the rollout, and hands out what may start because of it.
    fn feed(&mut self, event: Event) -> Result<(), DriveError> {
        self.note(&event)?;
        let stage = self.rollout.stage();
        for task in self.rollout.on(&event) {
            self.hand_out(task)?;
        }
        match self.rollout.stage() == stage {
            true => event.host().into_iter().for_each(|host| self.part(host)),
            false => {
                let hosts: Vec<&HostId> = self.rollout.hosts().collect();
                hosts.into_iter().for_each(|host| self.part(host));
            }
        }
        Ok(())
    }

    /// Gives a host back that the run is through with: others may have it, and its connection takes room.
    fn part(&mut self, host: &HostId) {
        if self.rollout.is_through(host) && self.parted.insert(host.clone()) {
            let (crew, host) = (self.crew, host.clone());
            self.partings
                .push(Box::pin(async move { crew.part(&host).await }));
        }
    }

    /// Gives back whatever is not yet.
    async fn end_partings(&mut self) {
        while self.partings.next().await.is_some() {}
        self.crew.claims.release_all().await;
    }

    fn note(&mut self, event: &Event) -> Result<(), DriveError> {
        let at = self.run.ports.clock.now();
        self.log.append(at, event).map_err(DriveError::Journal)?;
        self.progress.happened(at, event);
        Ok(())
    }

    /// Writes down that changes begin, before anything of them is done.
    fn announce(&mut self, changes: &[ResourceId]) -> Result<(), DriveError> {
        let began = Event::Began {
            changes: changes.to_vec(),
        };
        self.note(&began)?;
        let started = self.rollout.on(&began);
        debug_assert!(started.is_empty(), "an announcement starts nothing");
        Ok(())
    }

    fn hand_out(&mut self, task: Task) -> Result<(), DriveError> {
        self.progress.started(self.run.ports.clock.now(), &task);
        let crew = self.crew;
        let work: LocalBoxFuture<'d, Vec<Event>> = match task {
            Task::Check { host, wave } => {
                let changes = self.rollout.untouched(&host);
                let is_touched = self.rollout.has_touched(&host);
                Box::pin(async move { crew.check(&host, wave, &changes, is_touched).await })
            }
            Task::Apply { host, changes } => {
                let is_again = changes.iter().any(|change| self.rollout.has_begun(change));
                let then = match self.rollout.ends_with(&host, &changes) {
                    true => Then::Part,
                    false => Then::Stay,
                };
                self.announce(&changes)?;
                let outputs = self.rollout.outputs();
                Box::pin(async move { crew.apply(&host, &changes, is_again, outputs, then).await })
            }
            Task::Arm { host, changes } => {
                let is_again = changes.iter().any(|change| self.rollout.has_begun(change));
                self.announce(&changes)?;
                let outputs = self.rollout.outputs();
                Box::pin(async move { crew.arm(&host, &changes, is_again, outputs).await })
            }
            Task::Switched { host, changes } => {
                let outputs = self.rollout.outputs();
                Box::pin(async move { crew.switched(&host, &changes, outputs).await })
            }
            Task::Settle { host } => Box::pin(async move { crew.settle_switch(&host).await }),
            Task::Record { host } => Box::pin(async move { crew.record_takes(&host).await }),
            Task::Undo { host, changes } => Box::pin(async move { crew.undo(&host, &changes).await }),
            Task::Hook { hook } => Box::pin(async move { crew.call_out(&hook).await }),
            Task::Gate { gate, host, ask } => Box::pin(async move { crew.ask(&gate, &host, &ask).await }),
        };
        self.tasks.push(work);
        Ok(())
    }
}
