//! How much goes over to an engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What went over to one host's engine so far, on one connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// How many requests were sent.
    pub calls: usize,
    /// How many were waiting for the head of their answer at once, at most.
    pub calls_at_once: usize,
    /// How many channels were open at once, at most.
    pub channels_at_once: usize,
}

/// Counts it.
#[derive(Default)]
pub(super) struct Tally {
    calls: AtomicUsize,
    waiting: Arc<Peak>,
    channels: Arc<Peak>,
}

/// Something that comes and goes, and how much of it there was at once.
#[derive(Default)]
struct Peak {
    now: AtomicUsize,
    most: AtomicUsize,
}

/// One of what is counted. It is gone when this is dropped.
pub(super) struct Counted(Arc<Peak>);

impl Peak {
    fn one(self: &Arc<Self>) -> Counted {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
        Counted(Arc::clone(self))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Tally {
    /// Counts a request, which waits until what this returns is dropped.
    pub(super) fn call(&self) -> Counted {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.waiting.one()
    }

    /// Counts a channel, which is open until what this returns is dropped.
    pub(super) fn channel(&self) -> Counted {
        self.channels.one()
    }

    /// Says how much it was.
    pub(super) fn traffic(&self) -> Traffic {
        Traffic {
            calls: self.calls.load(Ordering::Relaxed),
            calls_at_once: self.waiting.most.load(Ordering::Relaxed),
            channels_at_once: self.channels.most.load(Ordering::Relaxed),
        }
    }
}
