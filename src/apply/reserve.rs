//! The reservation of a run's whole fleet before its first change: all hosts or none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::stream::{self, StreamExt as _};

use crate::model::holder::{Grip, Holder};
use crate::model::id::HostId;
use crate::ports::{LockError, LookReply, LookRequest, Ports};

use super::claims::{Claimant, Claims};

/// How old another's reservation may be, in seconds, to be taken for that of a run that begins in this moment too.
const RIVAL_SECS: u64 = 60;

/// What came of reserving: what is reserved, and what each host that answered looks like.
pub(super) struct Reserved {
    pub(super) claims: Claims,
    pub(super) replies: BTreeMap<HostId, LookReply>,
    /// Hosts that did not answer, or not as they should.
    pub(super) missed: BTreeMap<HostId, LockError>,
}

/// Hosts that somebody else has.
pub type Taken = BTreeMap<HostId, Holder>;

/// Reserves hosts and looks at each in the same exec; gives all of them back if somebody else has one. A host that does not answer
/// is no refusal.
///
/// All are asked at once. Two runs that begin in the same moment may then each find hosts of the other; a run that meets such a
/// rival gives everything back and asks again in the order of ids, so that of two the one proceeds that is first at the first host
/// that both want.
pub(super) async fn reserve(
    ports: &Ports,
    claimant: Claimant,
    parallel: usize,
    looks: &BTreeMap<HostId, LookRequest>,
) -> Result<Reserved, Taken> {
    let claims = Claims::new(ports.clone(), claimant, BTreeSet::new());
    let mut tried = ask(&claims, looks, parallel.max(1)).await;
    if tried.as_ref().is_err_and(|taken| taken.values().any(is_rival)) {
        tried = ask(&claims, looks, 1).await;
    }
    tried.map(|(replies, missed)| Reserved {
        claims,
        replies,
        missed,
    })
}

type Answers = (BTreeMap<HostId, LookReply>, BTreeMap<HostId, LockError>);

/// Asks hosts until one refuses, and then gives back what it has.
async fn ask(
    claims: &Claims,
    looks: &BTreeMap<HostId, LookRequest>,
    parallel: usize,
) -> Result<Answers, Taken> {
    let is_refused = AtomicBool::new(false);
    let ask = |(host, look): (&HostId, &LookRequest)| {
        let (host, look, is_refused) = (host.clone(), look.clone(), &is_refused);
        async move {
            if is_refused.load(Ordering::Relaxed) {
                return None;
            }
            let reserved = claims.reserve(&host, &look).await;
            is_refused.fetch_or(matches!(reserved, Err(LockError::Held(_))), Ordering::Relaxed);
            Some((host, reserved))
        }
    };
    let asked: Vec<_> = stream::iter(looks.iter().map(ask))
        .buffer_unordered(parallel)
        .collect()
        .await;
    let (mut replies, mut missed, mut taken) = (BTreeMap::new(), BTreeMap::new(), Taken::new());
    for (host, reserved) in asked.into_iter().flatten() {
        match reserved {
            Ok(reply) => drop(replies.insert(host, reply)),
            Err(LockError::Held(holder)) => drop(taken.insert(host, holder)),
            // Held in its wave, where it is asked again.
            Err(error @ (LockError::Reach(_) | LockError::NotOurs(_) | LockError::Lost)) => {
                missed.insert(host, error);
            }
        }
    }
    if taken.is_empty() {
        return Ok((replies, missed));
    }
    claims.release_all().await;
    Err(taken)
}

fn is_rival(holder: &Holder) -> bool {
    holder.grip == Grip::Reserved && holder.age_secs <= RIVAL_SECS
}
