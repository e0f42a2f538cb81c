//! Pulls of many hosts: so many at once of one registry.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many hosts pull from one registry at the same time. Registries shed load beyond some, and a fleet shares one link.
const PULLS_MAX: usize = 8;

/// The turns at registries.
#[derive(Default)]
pub(super) struct Pulls(Mutex<BTreeMap<String, Arc<Semaphore>>>);

impl Pulls {
    /// Waits for a turn at a registry, which lasts until it is dropped.
    pub async fn turn(&self, registry: &str) -> OwnedSemaphorePermit {
        let turns = {
            let mut all = self.0.lock().expect("nothing panics under it");
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
