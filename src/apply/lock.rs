//! Locks of hosts: taken before a host's first look in a wave, renewed while held, freed at the end.

use futures_util::future::join_all;

use crate::model::event::Event;
use crate::model::id::HostId;
use crate::ports::{Fence, LockError, LockRequest};

use super::crew::Crew;

impl Crew<'_, '_> {
    /// Takes a host's lock, unless it is held already. The event says which token was given.
    pub(super) async fn lock(&self, host: &HostId) -> Result<Option<Event>, LockError> {
        if self.fence(host).is_ok() {
            return Ok(None);
        }
        let request = LockRequest {
            run: self.run.id.clone(),
            who: self.run.who.clone(),
            fleet: self.run.plan.fleet.clone(),
            former: self
                .run
                .plan
                .basis
                .get(host)
                .and_then(|basis| basis.former.clone()),
        };
        let fence = self.run.ports.transport.lock(host, &request).await?;
        let token = fence.token;
        self.fences
            .lock()
            .expect("nothing panics under it")
            .insert(host.clone(), fence);
        Ok(Some(Event::Locked {
            host: host.clone(),
            token,
        }))
    }

    /// Returns the lock of a host.
    ///
    /// # Errors
    /// A clause, if it is not held.
    pub(super) fn fence(&self, host: &HostId) -> Result<Fence, String> {
        let fences = self.fences.lock().expect("nothing panics under it");
        fences
            .get(host)
            .cloned()
            .ok_or_else(|| format!("the lock of {host} is not held"))
    }

    fn held(&self) -> Vec<(HostId, Fence)> {
        let fences = self.fences.lock().expect("nothing panics under it");
        fences
            .iter()
            .map(|(host, fence)| (host.clone(), fence.clone()))
            .collect()
    }

    /// Extends every lock. A lock that another run has taken is dropped, so that nothing is tried with it.
    pub(super) async fn renew_all(&self) {
        let transport = &self.run.ports.transport;
        let renew = |(host, fence): (HostId, Fence)| async move {
            match transport.renew(&host, &fence).await {
                Err(LockError::Lost | LockError::Held { .. } | LockError::NotOurs(_)) => Some(host),
                // The host may answer the next time; if not, its guard refuses what comes too late.
                Ok(()) | Err(LockError::Reach(_)) => None,
            }
        };
        let lost = join_all(self.held().into_iter().map(renew)).await;
        let mut fences = self.fences.lock().expect("nothing panics under it");
        lost.into_iter()
            .flatten()
            .for_each(|host| drop(fences.remove(&host)));
    }

    /// Frees every lock. One that cannot be freed ends with its lease.
    pub(super) async fn release_all(&self) {
        let transport = &self.run.ports.transport;
        let release = |(host, fence): (HostId, Fence)| async move { transport.release(&host, &fence).await };
        join_all(self.held().into_iter().map(release)).await;
        self.fences.lock().expect("nothing panics under it").clear();
    }
}
