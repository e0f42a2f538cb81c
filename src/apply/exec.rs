//! Running a person's command on hosts: under the same reservations and locks as a run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;

use crate::model::holder::Holder;
use crate::model::id::{FleetName, HostId, RunId};
use crate::ports::{Ended, Exec, LockError, LookRequest, Order, Output, PerformError, Ports, ReachError};

use super::claims::{Claimant, Claims};
use super::reserve::{Reserved, Taken, reserve};

/// A command, where it runs, and for whom.
#[derive(Debug, Clone)]
pub struct Errand {
    /// The name under which the hosts' logs and locks know it.
    pub run: RunId,
    /// The person and the machine.
    pub who: String,
    /// The fleet.
    pub fleet: FleetName,
    /// The hosts.
    pub hosts: BTreeSet<HostId>,
    /// The text for root's shell.
    pub command: String,
    /// The longest that it may take on a host.
    pub deadline: Duration,
    /// Whether it changes nothing, as its person says: then it takes neither reservation nor lock.
    pub is_read_only: bool,
    /// How long a lock lasts without renewal.
    pub lease_secs: u64,
    /// How many hosts are worked on at once.
    pub parallel: usize,
}

/// What came of it on one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostEnd {
    /// It ran to its end.
    Ended(Ended),
    /// The host was not reached; nothing was run.
    Unreachable(String),
    /// Somebody else has the host; nothing was run.
    Taken(Holder),
    /// Nobody knows how it ended, or it could not begin.
    Failed(String),
    /// It was not begun, since somebody asked to stop.
    Skipped,
}

/// Hears each line: host, which output, text.
pub type HearHost<'a> = &'a (dyn Fn(&HostId, Output, &str) + Send + Sync);

/// Runs a command on hosts, several at once. The first message on `interrupts` ends what runs and begins nothing more; the second
/// leaves at once.
///
/// # Errors
/// [`Taken`], if somebody else has one of the hosts; nothing was run then.
pub async fn exec(
    errand: &Errand,
    ports: &Ports,
    exec: &dyn Exec,
    hear: HearHost<'_>,
    interrupts: &mut UnboundedReceiver<()>,
) -> Result<BTreeMap<HostId, HostEnd>, Taken> {
    let mut ends = BTreeMap::new();
    let claims = claim(errand, ports, &mut ends).await?;
    let (stop, stopped) = watch::channel(false);
    let hosts: Vec<&HostId> = errand
        .hosts
        .iter()
        .filter(|host| !ends.contains_key(*host))
        .collect();
    let tasks = hosts.iter().map(|host| {
        let (claims, stopped) = (&claims, stopped.clone());
        async move {
            (
                (*host).clone(),
                on_host(errand, host, claims, exec, hear, stopped).await,
            )
        }
    });
    let mut tasks = stream::iter(tasks).buffer_unordered(errand.parallel.max(1));
    {
        let renewing = claims.renew();
        tokio::pin!(renewing);
        loop {
            tokio::select! {
                end = tasks.next() => match end {
                    Some((host, end)) => drop(ends.insert(host, end)),
                    None => break,
                },
                // The second time: what runs keeps its host's lock until it ends or its lease does.
                Some(()) = interrupts.recv() => if stop.send_replace(true) { break },
                never = &mut renewing, if !errand.is_read_only => match never {},
            }
        }
    }
    drop(tasks);
    for host in hosts {
        let unseen = || HostEnd::Failed("left at once; nobody has seen its end".to_owned());
        ends.entry(host.clone()).or_insert_with(unseen);
    }
    Ok(ends)
}

/// Reserves all hosts or none. Those that do not answer have their end already.
async fn claim(
    errand: &Errand,
    ports: &Ports,
    ends: &mut BTreeMap<HostId, HostEnd>,
) -> Result<Claims, Taken> {
    let claimant = Claimant {
        run: errand.run.clone(),
        who: errand.who.clone(),
        fleet: errand.fleet.clone(),
        lease_secs: errand.lease_secs,
        parallel: errand.parallel,
        former: BTreeMap::new(),
    };
    if errand.is_read_only {
        return Ok(Claims::new(ports.clone(), claimant, BTreeSet::new()));
    }
    let look = LookRequest::default();
    let looks = errand
        .hosts
        .iter()
        .map(|host| (host.clone(), look.clone()))
        .collect();
    let Reserved { claims, missed, .. } = reserve(ports, claimant, errand.parallel, &looks).await?;
    ends.extend(missed.into_iter().map(|(host, error)| (host, unlocked(error))));
    Ok(claims)
}

async fn on_host(
    errand: &Errand,
    host: &HostId,
    claims: &Claims,
    exec: &dyn Exec,
    hear: HearHost<'_>,
    mut stopped: watch::Receiver<bool>,
) -> HostEnd {
    if *stopped.borrow() {
        claims.release(host).await;
        return HostEnd::Skipped;
    }
    let fence = match errand.is_read_only {
        true => None,
        false => match claims.lock(host).await {
            Ok(_) => claims.fence(host).ok(),
            Err(error) => return unlocked(error),
        },
    };
    let order = Order {
        fence,
        run: errand.run.clone(),
        who: errand.who.clone(),
        command: errand.command.clone(),
        deadline: errand.deadline,
    };
    let hear = |output: Output, line: &str| hear(host, output, line);
    // Whoever sent it is gone only together with us.
    let stop = async move { drop(stopped.wait_for(|stopped| *stopped).await) };
    let ended = exec.exec(host, &order, &hear, Box::pin(stop)).await;
    claims.release(host).await;
    match ended {
        Ok(ended) => HostEnd::Ended(ended),
        Err(PerformError::Reach(error)) => unreached(error),
        Err(error) => HostEnd::Failed(error.to_string()),
    }
}

fn unlocked(error: LockError) -> HostEnd {
    match error {
        LockError::Held(holder) => HostEnd::Taken(holder),
        LockError::Reach(error) => unreached(error),
        error @ (LockError::NotOurs(_) | LockError::Lost) => HostEnd::Failed(error.to_string()),
    }
}

fn unreached(error: ReachError) -> HostEnd {
    match error {
        ReachError::Unreachable(why) | ReachError::HostKey(why) => HostEnd::Unreachable(why),
        error @ ReachError::Failed { .. } => HostEnd::Failed(error.to_string()),
    }
}
