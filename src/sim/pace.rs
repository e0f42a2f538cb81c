//! Waiting in the world's time: until a moment, or until a host's work has ended.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::work::JobEnd;
use super::world::{Tick, World};

/// What somebody waits for.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) is_fired: bool,
    pub(super) waker: Option<Waker>,
    pub(super) end: Option<JobEnd>,
}

/// Waits for a slot. It ends with what a host's work came to, or with nothing at its moment.
pub(super) struct Wait {
    world: World,
    slot: u64,
}

impl Wait {
    /// Waits until a moment.
    pub(super) fn until(world: &World, due_ms: u64) -> Self {
        let slot = world.state().open();
        let wait = Self::on(world, slot);
        wait.at_most(due_ms)
    }

    /// Waits for a slot that is open already.
    pub(super) fn on(world: &World, slot: u64) -> Self {
        Self {
            world: world.clone(),
            slot,
        }
    }

    /// Ends the waiting at a moment, if it did not end before.
    pub(super) fn at_most(self, due_ms: u64) -> Self {
        self.world.state().at(due_ms, Tick::Fire(self.slot));
        self
    }
}

impl Future for Wait {
    type Output = Option<JobEnd>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.world.state();
        let slot = state
            .slots
            .get_mut(&self.slot)
            .expect("its slot is closed when it is dropped");
        if slot.is_fired {
            return Poll::Ready(slot.end.take());
        }
        slot.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.world.state().slots.remove(&self.slot);
    }
}
