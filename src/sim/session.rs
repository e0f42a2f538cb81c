//! A controller's session with the pretend fleet: the ports as a run sees them, and what may befall the controller itself.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::model::gate::Check;
use crate::model::holder::Holder;
use crate::model::hook::Hook;
use crate::model::id::{HostId, ResourceKey, RunId};
use crate::model::manifest::Owned;
use crate::model::op::Op;
use crate::ports::{
    Arming, Call, Clock, Fence, HookSaid, Hooks, LockError, LockRequest, LookReply, LookRequest, Outcome,
    PerformError, Ports, ReachError, Said, SwitchState, Transport,
};

use super::fault::{Scene, What};
use super::pace::Wait;
use super::station::Deed;
use super::switch::Ask;
use super::work::{Job, JobEnd};
use super::world::{State, World};

/// How long a word takes to a host, or back.
pub(super) const TRAVEL_MS: u64 = 40;
/// How long a host looks.
const LOOK_MS: u64 = 200;
/// How long a hook takes.
const HOOK_MS: u64 = 100;
/// How long it takes until a connection counts as broken.
const BREAK_MS: u64 = 3000;

/// What has befallen a controller.
#[derive(Debug, Clone, Default)]
pub(super) struct Standing {
    is_dead: bool,
    /// Until when it is stopped.
    stopped_until: u64,
    /// Lines of its journal.
    lines: u64,
    /// Where it is killed, if it is.
    dies: Option<(u64, Boundary)>,
}

/// Which side of a line of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundary {
    /// The line is about to be written, and never will be.
    Before,
    /// The line is on disk, and nothing more was done.
    After,
}

/// What becomes of a controller at a line of its journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It goes on.
    GoOn,
    /// It is asked to stop, so many times.
    Asked(usize),
    /// It is no more.
    Dead,
}

/// A controller.
#[derive(Clone)]
pub struct Session {
    world: World,
    number: usize,
}

impl Session {
    pub(super) fn new(world: World, number: usize) -> Self {
        Self { world, number }
    }

    /// Returns the world as a run of this controller sees it.
    pub fn ports(&self) -> Ports {
        Ports {
            transport: Arc::new(self.clone()),
            clock: Arc::new(self.clone()),
            hooks: Arc::new(self.clone()),
        }
    }

    /// Kills this controller at a line of its journal, from 1.
    pub fn dies_at(&self, line: u64, boundary: Boundary) {
        self.standing(|standing| standing.dies = Some((line, boundary)));
    }

    /// Says that a line of the journal is about to be written. What is dead writes nothing.
    pub fn line_begins(&self) -> Fate {
        let mut state = self.world.state();
        let standing = &mut state.sessions[self.number];
        if standing.is_dead {
            return Fate::Dead;
        }
        standing.lines += 1;
        let line = standing.lines;
        standing.is_dead = standing.dies == Some((line, Boundary::Before));
        let mut fate = Fate::GoOn;
        for fault in state.due(None, Scene::Line, line) {
            let number = self.number;
            let until = state.now_ms + fault.lasts().unwrap_or(0) * 1000;
            let standing = &mut state.sessions[number];
            match fault.what {
                What::Kill => standing.is_dead = true,
                What::Pause => standing.stopped_until = until,
                What::Interrupt => fate = Fate::Asked(1),
                What::InterruptTwice => fate = Fate::Asked(2),
                _ => {}
            }
            state.note(None, Deed::Struck(fault));
        }
        if state.sessions[self.number].is_dead {
            Fate::Dead
        } else {
            fate
        }
    }

    /// Says that a line is on disk.
    pub fn line_written(&self) {
        self.standing(|standing| {
            standing.is_dead |= standing.dies == Some((standing.lines, Boundary::After))
        });
    }

    /// Says whether this controller was killed.
    pub fn is_dead(&self) -> bool {
        self.standing(|standing| standing.is_dead)
    }

    /// Lets a future live as long as the controller does. It ends with nothing when the controller is killed, and stands still while
    /// that is stopped.
    pub fn living<F: Future>(&self, future: F) -> Living<F> {
        Living {
            session: self.clone(),
            future: Some(Box::pin(future)),
            thaw: None,
        }
    }

    /// Waits so long.
    pub async fn wait(&self, ms: u64) {
        let due = self.world.state().now_ms + ms;
        Wait::until(&self.world, due).await;
    }

    fn standing<T>(&self, with: impl FnOnce(&mut Standing) -> T) -> T {
        with(&mut self.world.state().sessions[self.number])
    }

    /// Goes to a host and does something there; the way back may take another while.
    pub(super) async fn visit<T>(
        &self,
        host: &HostId,
        there_ms: u64,
        act: impl FnOnce(&mut State) -> T,
    ) -> Result<(T, bool), ReachError> {
        let travel = self.world.state().dice.about(TRAVEL_MS);
        self.wait(travel).await;
        self.world.state().reach(host)?;
        let there = self.world.state().dice.about(there_ms);
        self.wait(there).await;
        let (done, is_garbled) = {
            let mut state = self.world.state();
            state.reach(host)?;
            let done = act(&mut state);
            (done, state.garbles(host))
        };
        let travel = self.world.state().dice.about(TRAVEL_MS);
        self.wait(travel).await;
        Ok((done, is_garbled))
    }

    /// Asks the guard for something that waits for whatever still runs on the host.
    async fn first<T>(
        &self,
        host: &HostId,
        what: &str,
        act: impl Fn(&mut State) -> Result<Option<T>, LockError>,
    ) -> Result<T, LockError> {
        let patience_ms = self.world.now_ms() + 30_000;
        loop {
            match self.visit(host, TRAVEL_MS, &act).await? {
                (Ok(Some(had)), false) => return Ok(had),
                (Ok(Some(_)), true) => return Err(garbled(host, what).into()),
                (Err(error), _) => return Err(error),
                (Ok(None), _) if self.world.now_ms() >= patience_ms => {
                    return Err(LockError::Held(Holder::busy()));
                }
                (Ok(None), _) => self.wait(500).await,
            }
        }
    }

    /// Writes something into a host's manifest.
    async fn keep(
        &self,
        host: &HostId,
        act: impl FnOnce(&mut State) -> Result<(), PerformError>,
    ) -> Result<(), PerformError> {
        match self.visit(host, TRAVEL_MS, act).await? {
            (done, false) => done,
            (_, true) => Err(PerformError::Unknown {
                why: "the answer cannot be read".to_owned(),
            }),
        }
    }

    /// Performs one leg: the ops up to the next keyed edit.
    async fn leg(
        &self,
        host: &HostId,
        call: &Call,
        leg: Leg<'_>,
        ends_ms: u64,
    ) -> Result<Outcome, PerformError> {
        let travel = self.world.state().dice.about(TRAVEL_MS);
        self.wait(travel).await;
        let left = ends_ms.saturating_sub(self.world.now_ms());
        let patience_ms = self.world.now_ms() + (left / 2).clamp(5_000, 600_000);
        let slot = loop {
            let begun = {
                let mut state = self.world.state();
                state.reach(host)?;
                state.begin(host, Job::new(call, leg))
            };
            match begun {
                Some(slot) => break slot,
                None if self.world.now_ms() >= patience_ms => {
                    return Err(PerformError::Fenced(
                        "an operation is still running here".to_owned(),
                    ));
                }
                None => self.wait(500).await,
            }
        };
        let end = Wait::on(&self.world, slot).at_most(ends_ms).await;
        let travel = self.world.state().dice.about(TRAVEL_MS);
        match end {
            None => Err(PerformError::Unknown {
                why: format!("no end within {} s", call.deadline.as_secs()),
            }),
            Some(JobEnd::Broken) => {
                self.wait(BREAK_MS).await;
                Err(PerformError::Unknown {
                    why: "the connection was lost".to_owned(),
                })
            }
            Some(JobEnd::Done(result)) => {
                self.wait(travel).await;
                match self.world.state().garbles(host) {
                    true => Err(PerformError::Unknown {
                        why: "the answer cannot be read".to_owned(),
                    }),
                    false => *result,
                }
            }
        }
    }
}

/// Some ops of a call that go together.
#[derive(Clone, Copy)]
pub(super) struct Leg<'c> {
    pub(super) ops: &'c [Op],
    /// The place of the first of them in the call.
    pub(super) from: usize,
    pub(super) is_first: bool,
    pub(super) is_last: bool,
}

/// Cuts a call where a keyed edit begins: its file is read first, and then written by the next leg.
fn legs(ops: &[Op]) -> Vec<&[Op]> {
    let mut legs = Vec::new();
    let mut from = 0;
    for (at, op) in ops.iter().enumerate() {
        if matches!(op, Op::Settings { .. }) && at > from {
            legs.push(&ops[from..at]);
            from = at;
        }
    }
    legs.push(&ops[from..]);
    legs
}

impl Clock for Session {
    fn now(&self) -> jiff::Timestamp {
        self.world.state().timestamp()
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'_, ()> {
        let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 2);
        Box::pin(self.wait(ms))
    }
}

impl Hooks for Session {
    /// Nobody is called: a pretended hook is good, after a while.
    fn call<'a>(&'a self, _: &'a Hook, _: &'a serde_json::Value) -> BoxFuture<'a, HookSaid> {
        Box::pin(async move {
            self.wait(HOOK_MS).await;
            HookSaid {
                result: Ok(()),
                tail: Vec::new(),
            }
        })
    }
}

impl Transport for Session {
    fn look<'a>(
        &'a self,
        host: &'a HostId,
        request: &'a LookRequest,
    ) -> BoxFuture<'a, Result<LookReply, ReachError>> {
        Box::pin(async move {
            let looked = self
                .visit(host, LOOK_MS, |state| state.look(host, request))
                .await?;
            match looked {
                (reply, false) => Ok(reply),
                (_, true) => Err(garbled(host, "looking")),
            }
        })
    }

    fn reserve<'a>(
        &'a self,
        host: &'a HostId,
        request: &'a LockRequest,
        look: &'a LookRequest,
    ) -> BoxFuture<'a, Result<LookReply, LockError>> {
        Box::pin(async move {
            let reserved = self.first(host, "reserving", |state| state.reserve(host, request, look));
            reserved.await
        })
    }

    fn unreserve<'a>(&'a self, host: &'a HostId, run: &'a RunId) -> BoxFuture<'a, Result<(), ReachError>> {
        Box::pin(async move {
            let given_up = self.visit(host, TRAVEL_MS, |state| {
                state.station(host).guarded.unreserve(run)
            });
            given_up.await.map(|_| ())
        })
    }

    fn lock<'a>(
        &'a self,
        host: &'a HostId,
        request: &'a LockRequest,
    ) -> BoxFuture<'a, Result<Fence, LockError>> {
        Box::pin(self.first(host, "locking", |state| state.take_lock(host, request)))
    }

    fn lock_and_look<'a>(
        &'a self,
        host: &'a HostId,
        request: &'a LockRequest,
        look: &'a LookRequest,
    ) -> BoxFuture<'a, Result<(Fence, LookReply), LockError>> {
        Box::pin(self.first(host, "locking", |state| {
            let fence = state.take_lock(host, request)?;
            Ok(fence.map(|fence| (fence, state.look(host, look))))
        }))
    }

    fn renew<'a>(&'a self, host: &'a HostId, fence: &'a Fence) -> BoxFuture<'a, Result<(), LockError>> {
        Box::pin(async move {
            let (renewed, _) = self
                .visit(host, TRAVEL_MS, |state| state.renew(host, fence))
                .await?;
            renewed
        })
    }

    fn release<'a>(&'a self, host: &'a HostId, fence: &'a Fence) -> BoxFuture<'a, Result<(), ReachError>> {
        Box::pin(async move {
            let released = self
                .visit(host, TRAVEL_MS, |state| state.release(host, fence))
                .await;
            released.map(|_| ())
        })
    }

    fn perform<'a>(
        &'a self,
        host: &'a HostId,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Outcome, PerformError>> {
        Box::pin(async move {
            let deadline = u64::try_from(call.deadline.as_millis()).unwrap_or(u64::MAX / 2);
            let ends_ms = self.world.now_ms() + deadline;
            let mut legs = legs(&call.ops).into_iter().peekable();
            let mut from = 0;
            loop {
                let ops = legs.next().expect("a call has a leg, and the last one returns");
                let leg = Leg {
                    ops,
                    from,
                    is_first: from == 0,
                    is_last: legs.peek().is_none(),
                };
                from += ops.len();
                let outcome = self.leg(host, call, leg, ends_ms).await?;
                if leg.is_last {
                    return Ok(outcome);
                }
            }
        })
    }

    fn record<'a>(
        &'a self,
        host: &'a HostId,
        fence: &'a Fence,
        entries: &'a BTreeMap<ResourceKey, Option<Owned>>,
    ) -> BoxFuture<'a, Result<(), PerformError>> {
        Box::pin(self.keep(host, |state| state.record(host, fence, entries)))
    }

    fn conclude<'a>(
        &'a self,
        host: &'a HostId,
        fence: &'a Fence,
        entries: &'a BTreeMap<ResourceKey, Option<Owned>>,
    ) -> BoxFuture<'a, Result<(), PerformError>> {
        Box::pin(self.keep(host, |state| {
            state.record(host, fence, entries)?;
            state.release(host, fence);
            Ok(())
        }))
    }

    fn arm<'a>(&'a self, host: &'a HostId, request: &'a Arming) -> BoxFuture<'a, Result<(), PerformError>> {
        self.arm_switch(host, request)
    }

    fn confirm<'a>(
        &'a self,
        host: &'a HostId,
        run: &'a RunId,
    ) -> BoxFuture<'a, Result<SwitchState, ReachError>> {
        self.at_switch(host, run, Ask::Confirm)
    }

    fn switch<'a>(
        &'a self,
        host: &'a HostId,
        run: &'a RunId,
    ) -> BoxFuture<'a, Result<SwitchState, ReachError>> {
        self.at_switch(host, run, Ask::Tell)
    }

    fn put_back<'a>(
        &'a self,
        host: &'a HostId,
        run: &'a RunId,
    ) -> BoxFuture<'a, Result<SwitchState, ReachError>> {
        self.at_switch(host, run, Ask::PutBack)
    }

    fn ask<'a>(
        &'a self,
        host: &'a HostId,
        _: &'a Check,
        _: Duration,
    ) -> BoxFuture<'a, Result<Said, ReachError>> {
        Box::pin(async move {
            let said = self.visit(host, TRAVEL_MS, |state| state.ask(host)).await?;
            Ok(said.0)
        })
    }

    fn close<'a>(&'a self, _: &'a HostId) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }
}

pub(super) fn garbled(host: &HostId, operation: &str) -> ReachError {
    ReachError::Failed {
        host: host.clone(),
        operation: operation.to_owned(),
        status: 0,
        tail: vec!["the answer cannot be read".to_owned()],
    }
}

/// A future that lives as long as its controller.
pub struct Living<F> {
    session: Session,
    future: Option<Pin<Box<F>>>,
    thaw: Option<Wait>,
}

impl<F: Future> Future for Living<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.session.is_dead() {
            self.future = None;
            return Poll::Ready(None);
        }
        let stopped_until = self.session.standing(|standing| standing.stopped_until);
        if stopped_until > self.session.world.now_ms() {
            let world = self.session.world.clone();
            let mut thaw = self
                .thaw
                .take()
                .unwrap_or_else(|| Wait::until(&world, stopped_until));
            if Pin::new(&mut thaw).poll(context).is_pending() {
                self.thaw = Some(thaw);
            }
            return Poll::Pending;
        }
        self.thaw = None;
        let Some(future) = &mut self.future else {
            return Poll::Ready(None);
        };
        let polled = future.as_mut().poll(context);
        if self.session.is_dead() {
            // SIGKILL drops nothing and says nothing to anybody; what it had asked of a host goes on there.
            self.future = None;
            return Poll::Ready(None);
        }
        // Stopped within this poll: come back to wait for the end of it.
        if self.session.standing(|standing| standing.stopped_until) > self.session.world.now_ms() {
            context.waker().wake_by_ref();
        }
        polled.map(Some)
    }
}
