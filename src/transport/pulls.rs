//! Pulls of many hosts: so many at once of one registry, and word of how far they have come.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures_util::future::pending;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::model::pulling::Pulling;

/// How many hosts pull from one registry at the same time. Registries shed load beyond some, and a fleet shares one link.
const PULLS_MAX: usize = 8;

/// How much word waits for whoever listens. What comes beyond is lost: the next says it as well.
const WORDS_MAX: usize = 64;

/// The turns at registries, and the word of pulls.
pub(super) struct Pulls {
    turns: Mutex<BTreeMap<String, Arc<Semaphore>>>,
    teller: Sender<Pulling>,
    told: tokio::sync::Mutex<Receiver<Pulling>>,
}

impl Default for Pulls {
    fn default() -> Self {
        let (teller, told) = channel(WORDS_MAX);
        Self {
            turns: Mutex::default(),
            teller,
            told: tokio::sync::Mutex::new(told),
        }
    }
}

impl Pulls {
    /// Tells how far a pull has come.
    pub fn tell(&self, pulling: Pulling) {
        // Nobody may listen, and a pull does not wait for who does.
        drop(self.teller.try_send(pulling));
    }

    /// Waits for word of a pull.
    pub async fn told(&self) -> Pulling {
        match self.told.lock().await.recv().await {
            Some(pulling) => pulling,
            None => pending().await,
        }
    }

    /// Waits for a turn at a registry, which lasts until it is dropped.
    pub async fn turn(&self, registry: &str) -> OwnedSemaphorePermit {
        let turns = {
            let mut all = self.turns.lock().expect("nothing panics under it");
            let of = all.entry(registry.to_owned());
            Arc::clone(of.or_insert_with(|| Arc::new(Semaphore::new(PULLS_MAX))))
        };
        turns.acquire_owned().await.expect("nobody closes the semaphore")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_registry_is_asked_so_often_at_once_and_others_beside_it() {
        let pulls = Pulls::default();
        let mut turns = Vec::new();
        for _ in 0..PULLS_MAX {
            turns.push(pulls.turn("ghcr.io").await);
        }
        let brief = std::time::Duration::from_millis(20);
        assert!(
            tokio::time::timeout(brief, pulls.turn("ghcr.io")).await.is_err(),
            "all turns are taken"
        );
        assert!(tokio::time::timeout(brief, pulls.turn("quay.io")).await.is_ok());
        turns.pop();
        assert!(tokio::time::timeout(brief, pulls.turn("ghcr.io")).await.is_ok());
    }
}
