//! What a run has of its hosts: reservations, which keep others out, and locks, which permit operations.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::{self, FuturesUnordered};

use crate::model::id::{FleetName, HostId, RunId};
use crate::ports::{Fence, LockError, LockRequest, LookReply, LookRequest, Ports};

/// How long a reservation is left alone before it is renewed: a third of what it lasts.
const RESERVATION_BEAT: Duration = Duration::from_secs(200);

/// Who claims hosts, and for what.
#[derive(Debug, Clone)]
pub(super) struct Claimant {
    /// The run.
    pub(super) run: RunId,
    /// The person and the machine.
    pub(super) who: String,
    /// The fleet.
    pub(super) fleet: FleetName,
    /// How long a lock lasts without renewal.
    pub(super) lease_secs: u64,
    /// How many hosts are worked on at once.
    pub(super) parallel: usize,
    /// Under which fleet and name hosts' manifests may know them so far.
    pub(super) former: BTreeMap<HostId, (FleetName, HostId)>,
}

impl Claimant {
    fn request(&self, host: &HostId) -> LockRequest {
        LockRequest {
            run: self.run.clone(),
            who: self.who.clone(),
            fleet: self.fleet.clone(),
            former: self.former.get(host).cloned(),
            lease_secs: self.lease_secs,
        }
    }
}

/// The reservations and locks of one run.
pub(super) struct Claims {
    ports: Ports,
    claimant: Claimant,
    // INVARIANT: no guard of these is held across an await.
    reserved: Mutex<BTreeSet<HostId>>,
    fences: Mutex<BTreeMap<HostId, Fence>>,
}

impl Claims {
    /// Begins with what is reserved already.
    pub(super) fn new(ports: Ports, claimant: Claimant, reserved: BTreeSet<HostId>) -> Self {
        Self {
            ports,
            claimant,
            reserved: Mutex::new(reserved),
            fences: Mutex::default(),
        }
    }

    /// Returns the hosts that are reserved and not locked yet.
    pub(super) fn reserved(&self) -> BTreeSet<HostId> {
        self.reserved.lock().expect("nothing panics under it").clone()
    }

    /// Reserves a host and looks at it.
    pub(super) async fn reserve(&self, host: &HostId, look: &LookRequest) -> Result<LookReply, LockError> {
        let request = self.claimant.request(host);
        let reply = self.ports.transport.reserve(host, &request, look).await?;
        self.reserved
            .lock()
            .expect("nothing panics under it")
            .insert(host.clone());
        Ok(reply)
    }

    /// Takes a host's lock, unless it is held already; its reservation goes into it. Returns the lock if it is new.
    pub(super) async fn lock(&self, host: &HostId) -> Result<Option<Fence>, LockError> {
        if self.fence(host).is_ok() {
            return Ok(None);
        }
        let request = self.claimant.request(host);
        let fence = self.ports.transport.lock(host, &request).await?;
        self.keep(host, &fence);
        Ok(Some(fence))
    }

    /// Takes a host's lock, which is not held yet, and looks at the host.
    pub(super) async fn lock_and_look(
        &self,
        host: &HostId,
        look: &LookRequest,
    ) -> Result<(Fence, LookReply), LockError> {
        let request = self.claimant.request(host);
        let (fence, reply) = self.ports.transport.lock_and_look(host, &request, look).await?;
        self.keep(host, &fence);
        Ok((fence, reply))
    }

    /// The reservation goes into the lock.
    fn keep(&self, host: &HostId, fence: &Fence) {
        self.unlist(host);
        let mut fences = self.fences.lock().expect("nothing panics under it");
        fences.insert(host.clone(), fence.clone());
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

    /// Renews everything, for ever, each host by itself: one that hangs must not cost the others their leases. A lock that is lost
    /// shows at the next operation, which the host's guard refuses.
    pub(super) async fn renew(&self) -> Infallible {
        let beat = Duration::from_secs((self.claimant.lease_secs / 3).max(1));
        let mut since_reserving = Duration::ZERO;
        let mut under_way = BTreeSet::new();
        let mut renewals = FuturesUnordered::new();
        loop {
            let mut next_beat = self.ports.clock.sleep(beat);
            loop {
                tokio::select! {
                    biased;
                    () = &mut next_beat => break,
                    Some(host) = renewals.next() => drop(under_way.remove(&host)),
                }
            }
            since_reserving += beat;
            let mut due: BTreeMap<HostId, Option<Fence>> = self
                .held()
                .into_iter()
                .map(|(host, fence)| (host, Some(fence)))
                .collect();
            if since_reserving >= RESERVATION_BEAT {
                since_reserving = Duration::ZERO;
                due.extend(self.reserved().into_iter().map(|host| (host, None)));
            }
            for (host, fence) in due {
                if under_way.insert(host.clone()) {
                    renewals.push(async move {
                        self.renew_one(&host, fence.as_ref()).await;
                        host
                    });
                }
            }
        }
    }

    /// Renews a lock or a reservation. One that another run has taken is dropped, so that nothing is tried with it.
    async fn renew_one(&self, host: &HostId, fence: Option<&Fence>) {
        let renewed = match fence {
            Some(fence) => self.ports.transport.renew(host, fence).await,
            None => self.renew_reservation(host).await,
        };
        match renewed {
            Err(LockError::Lost | LockError::Held(_) | LockError::NotOurs(_)) => self.forget(host, fence),
            // The host may answer the next time; if not, its guard refuses what comes too late.
            Ok(()) | Err(LockError::Reach(_)) => {}
        }
    }

    async fn renew_reservation(&self, host: &HostId) -> Result<(), LockError> {
        let request = self.claimant.request(host);
        let look = LookRequest::default();
        self.ports
            .transport
            .reserve(host, &request, &look)
            .await
            .map(|_| ())
    }

    /// Makes sure that a lock is still held after a time without contact, and takes it again if its lease ran out.
    pub(super) async fn hold_on(&self, host: &HostId) -> Result<Option<Fence>, LockError> {
        if let Ok(fence) = self.fence(host) {
            self.renew_one(host, Some(&fence)).await;
        }
        self.lock(host).await
    }

    /// Drops a lock that was freed together with the last thing that was done on its host.
    pub(super) fn freed(&self, host: &HostId, fence: &Fence) {
        self.forget(host, Some(fence));
    }

    fn forget(&self, host: &HostId, fence: Option<&Fence>) {
        self.unlist(host);
        let mut fences = self.fences.lock().expect("nothing panics under it");
        // It may have been taken anew meanwhile.
        if fences.get(host) == fence {
            fences.remove(host);
        }
    }

    fn unlist(&self, host: &HostId) {
        self.reserved
            .lock()
            .expect("nothing panics under it")
            .remove(host);
    }

    fn held(&self) -> Vec<(HostId, Fence)> {
        let fences = self.fences.lock().expect("nothing panics under it");
        fences
            .iter()
            .map(|(host, fence)| (host.clone(), fence.clone()))
            .collect()
    }

    /// Gives one host back.
    pub(super) async fn release(&self, host: &HostId) {
        let fence = self.fences.lock().expect("nothing panics under it").remove(host);
        let is_reserved = self.reserved().contains(host);
        self.unlist(host);
        let transport = &self.ports.transport;
        // What cannot be given back ends by itself.
        let _ = match fence {
            Some(fence) => transport.release(host, &fence).await,
            None if is_reserved => transport.unreserve(host, &self.claimant.run).await,
            None => Ok(()),
        };
    }

    /// Gives everything back, so many hosts at once as may be worked on at once.
    pub(super) async fn release_all(&self) {
        let mut hosts = self.reserved();
        hosts.extend(self.held().into_iter().map(|(host, _)| host));
        self.release_each(&hosts).await;
    }

    /// Gives some hosts back.
    pub(super) async fn release_each(&self, hosts: &BTreeSet<HostId>) {
        let releases = stream::iter(hosts.iter().map(|host| self.release(host)));
        releases
            .for_each_concurrent(self.claimant.parallel.max(1), |release| release)
            .await;
    }
}
