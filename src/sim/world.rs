//! The world: its hosts, its time, and the queue of everything that is yet to happen.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};

use crate::model::id::HostId;
use crate::ports::Secrets;

use super::dice::Dice;
use super::fault::{Fault, Scene};
use super::pace::Slot;
use super::session::Session;
use super::station::{Deed, Happened, Station};
use super::work::JobEnd;

/// When the time of every world begins, in seconds of the epoch: as [`super::Host::new`].
const EPOCH_SECS: i64 = 1_700_000_000;

/// More moments than any run of sense has.
const MOMENTS_MAX: usize = 2_000_000;

/// A pretend fleet, shared with whoever watches it.
#[derive(Clone)]
pub struct World(Arc<Mutex<State>>);

/// Nothing is left that could happen, or there is no end to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the pretend fleet stands still, or goes on for ever")]
pub struct Stuck;

pub(super) struct State {
    pub(super) now_ms: u64,
    pub(super) dice: Dice,
    pub(super) stations: BTreeMap<HostId, Station>,
    pub(super) sessions: Vec<super::session::Standing>,
    pub(super) slots: BTreeMap<u64, Slot>,
    /// Faults that have not struck yet.
    pub(super) faults: Vec<Fault>,
    pub(super) happened: Vec<Happened>,
    pub(super) secrets: Secrets,
    /// What is yet to happen: by its moment, then as the dice fell, then in the order in which it came up.
    queue: BTreeMap<(u64, u64, u64), Tick>,
    next: u64,
}

/// Something that happens at a moment.
#[derive(Debug, Clone)]
pub(super) enum Tick {
    /// Somebody's waiting is over.
    Fire(u64),
    /// A host goes on with its work.
    Step(HostId, u64),
    /// A fault strikes by the clock.
    Strike(Fault),
    /// Another run frees a host's lock.
    Leave(HostId),
}

impl World {
    /// Makes a world of these hosts. The seed says how long everything takes.
    pub fn new(seed: u64, stations: BTreeMap<HostId, Station>, secrets: Secrets) -> Self {
        Self(Arc::new(Mutex::new(State {
            now_ms: 0,
            dice: Dice::new(seed),
            stations,
            sessions: Vec::new(),
            slots: BTreeMap::new(),
            faults: Vec::new(),
            happened: Vec::new(),
            secrets,
            queue: BTreeMap::new(),
            next: 0,
        })))
    }

    /// Arranges a fault.
    pub fn arm(&self, fault: Fault) {
        let mut state = self.state();
        if fault.what.scene() == Scene::Second {
            let due = state.now_ms + fault.at * 1000;
            state.at(due, Tick::Strike(fault));
        } else {
            state.faults.push(fault);
        }
    }

    /// Ends every fault: what was broken works again.
    pub fn heal(&self) {
        let mut state = self.state();
        state.faults.clear();
        state.stations.values_mut().for_each(Station::heal);
        state.queue.retain(|_, tick| !matches!(tick, Tick::Strike(_)));
    }

    /// Begins a controller's session.
    pub fn session(&self) -> Session {
        let mut state = self.state();
        state.sessions.push(Default::default());
        Session::new(self.clone(), state.sessions.len() - 1)
    }

    /// Changes or reads a host behind muster's back.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn host<T>(&self, host: &HostId, with: impl FnOnce(&mut Station) -> T) -> T {
        with(self.state().stations.get_mut(host).expect("a host of this world"))
    }

    /// Returns every host as it is now.
    pub fn hosts(&self) -> BTreeMap<HostId, Station> {
        self.state().stations.clone()
    }

    /// Returns what happened on the hosts so far, in order.
    pub fn happened(&self) -> Vec<Happened> {
        self.state().happened.clone()
    }

    /// Returns the time since the world began, in milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.state().now_ms
    }

    /// Returns a moment as a controller's clock shows it.
    pub fn time(&self, at_ms: u64) -> jiff::Timestamp {
        timestamp(at_ms)
    }

    /// Runs a future to its end, moment by moment.
    ///
    /// # Errors
    /// [`Stuck`].
    pub fn run<T>(&self, future: impl Future<Output = T>) -> Result<T, Stuck> {
        let mut future = pin!(future);
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        for _ in 0..MOMENTS_MAX {
            if woken.0.swap(false, Ordering::Relaxed)
                && let Poll::Ready(value) = future.as_mut().poll(&mut context)
            {
                return Ok(value);
            }
            // What a poll woke itself comes before the next moment.
            if !woken.0.load(Ordering::Relaxed) && !self.tick() {
                return Err(Stuck);
            }
        }
        Err(Stuck)
    }

    /// Lets so much time pass.
    ///
    /// # Errors
    /// [`Stuck`].
    pub fn pass(&self, secs: u64) -> Result<(), Stuck> {
        let session = self.session();
        self.run(session.wait(secs * 1000))
    }

    /// Goes to the next moment. Returns whether there was one.
    fn tick(&self) -> bool {
        let wakers = {
            let mut state = self.state();
            let Some(((due, _, _), tick)) = state.queue.pop_first() else {
                return false;
            };
            state.now_ms = state.now_ms.max(due);
            state.act(&tick);
            state.take_wakers()
        };
        wakers.into_iter().for_each(Waker::wake);
        true
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics while it holds the world")
    }
}

impl State {
    /// Puts something into the queue.
    pub(super) fn at(&mut self, due_ms: u64, tick: Tick) {
        let tie = self.dice.roll();
        self.next += 1;
        let due = due_ms.max(self.now_ms);
        self.queue.insert((due, tie, self.next), tick);
    }

    /// Opens a slot that somebody will wait for.
    pub(super) fn open(&mut self) -> u64 {
        self.next += 1;
        self.slots.insert(self.next, Slot::default());
        self.next
    }

    /// Ends the waiting for a slot; whoever dropped it is not there to hear.
    pub(super) fn fire(&mut self, slot: u64, end: Option<JobEnd>) {
        if let Some(slot) = self.slots.get_mut(&slot).filter(|slot| !slot.is_fired) {
            slot.is_fired = true;
            slot.end = end;
        }
    }

    fn take_wakers(&mut self) -> Vec<Waker> {
        let fired = self.slots.values_mut().filter(|slot| slot.is_fired);
        fired.filter_map(|slot| slot.waker.take()).collect()
    }

    /// Notes what happened.
    pub(super) fn note(&mut self, host: Option<&HostId>, deed: Deed) {
        self.happened.push(Happened {
            at_ms: self.now_ms,
            host: host.cloned(),
            deed,
        });
    }

    /// Returns the time now, as a controller's clock shows it.
    pub(super) fn timestamp(&self) -> jiff::Timestamp {
        timestamp(self.now_ms)
    }

    /// Returns the time now, as hosts' clocks show it.
    pub(super) fn host_secs(&self) -> u64 {
        EPOCH_SECS.unsigned_abs() + self.now_ms / 1000
    }
}

fn timestamp(at_ms: u64) -> jiff::Timestamp {
    let ms = EPOCH_SECS * 1000 + i64::try_from(at_ms).expect("a run does not take that long");
    jiff::Timestamp::from_millisecond(ms).expect("a time of this century")
}

/// Remembers that it was woken.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}
