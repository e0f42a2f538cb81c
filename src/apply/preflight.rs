//! Before the first change of a run: is the plan young enough, does nobody else have its hosts, and are they still what it saw?

use std::collections::{BTreeMap, BTreeSet};

use crate::model::change::Change;
use crate::model::id::HostId;
use crate::ports::LookRequest;

use super::Run;
use super::crew::request;
use super::fresh::{self, Trust};
use super::reserve::{Reserved, Taken, reserve};

/// Why a run is refused before it changes anything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The plan is older than its policy allows.
    #[error("the plan is {age_secs} s old, and its policy allows {max_secs} s")]
    TooOld {
        /// Its age.
        age_secs: u64,
        /// The most that is allowed.
        max_secs: u64,
    },
    /// Others have hosts. Exit code 5.
    #[error("others have {}", hosts(.0))]
    Taken(Taken),
    /// Hosts are not what the plan saw.
    #[error("the plan is stale on {}", hosts(.0))]
    Stale(BTreeMap<HostId, Vec<String>>),
}

fn hosts<T>(found: &BTreeMap<HostId, T>) -> String {
    found.keys().map(HostId::as_str).collect::<Vec<_>>().join(", ")
}

/// What a run may begin with.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// Hosts to leave out, each with what is stale there.
    pub left_out: BTreeMap<HostId, Vec<String>>,
    /// Hosts that are reserved for the run.
    pub reserved: BTreeSet<HostId>,
}

/// Reserves every host that the plan changes and looks at it, in one exec each, and changes nothing.
///
/// No host is left out unless `skips_stale`. Hosts that do not answer are no matter of this: they are held when their wave comes, and
/// count against the budget there. `made_at` is when the plan was saved; a plan that was made just now has none.
///
/// # Errors
/// [`Refusal`]; nothing is reserved then.
pub async fn preflight(
    run: &Run<'_>,
    made_at: Option<jiff::Timestamp>,
    skips_stale: bool,
) -> Result<Ready, Refusal> {
    young_enough(run, made_at)?;
    let hosts = by_host(run);
    let looks = hosts
        .iter()
        .map(|(host, changes)| ((*host).clone(), request(run.plan, host, changes)))
        .collect();
    let Reserved { claims, replies, .. } = reserve_for(run, &looks).await?;
    let trust = Trust {
        run: &run.id,
        is_touched: false,
        is_locked: false,
    };
    let stale = replies.iter().filter_map(|(host, reply)| {
        let changes = hosts.get(host).filter(|changes| !changes.is_empty())?;
        let stale = fresh::stale(run.plan, host, changes, reply, trust);
        (!stale.is_empty()).then(|| (host.clone(), stale))
    });
    let left_out: BTreeMap<HostId, Vec<String>> = stale.collect();
    if !left_out.is_empty() && !skips_stale {
        claims.release_all().await;
        return Err(Refusal::Stale(left_out));
    }
    claims.release_each(&left_out.keys().cloned().collect()).await;
    Ok(Ready {
        left_out,
        reserved: claims.reserved(),
    })
}

/// Reserves every host of a run that goes on. What is stale shows when its wave looks.
///
/// # Errors
/// [`Refusal::Taken`]; nothing is reserved then.
pub async fn preflight_again(run: &Run<'_>) -> Result<Ready, Refusal> {
    let looks = by_host(run)
        .into_keys()
        .map(|host| (host.clone(), LookRequest::default()))
        .collect();
    let reserved = reserve_for(run, &looks).await?;
    Ok(Ready {
        left_out: BTreeMap::new(),
        reserved: reserved.claims.reserved(),
    })
}

async fn reserve_for(run: &Run<'_>, looks: &BTreeMap<HostId, LookRequest>) -> Result<Reserved, Refusal> {
    let parallel = run.plan.policy.parallel;
    reserve(&run.ports, run.claimant(), parallel, looks)
        .await
        .map_err(Refusal::Taken)
}

fn young_enough(run: &Run<'_>, made_at: Option<jiff::Timestamp>) -> Result<(), Refusal> {
    let Some(made_at) = made_at else { return Ok(()) };
    // A plan from the future comes from a clock that runs ahead; it is young.
    let age = run
        .ports
        .clock
        .now()
        .duration_since(made_at)
        .as_secs()
        .max(0)
        .unsigned_abs();
    let max_secs = run.plan.policy.plan_max_age_secs;
    if age > max_secs {
        return Err(Refusal::TooOld {
            age_secs: age,
            max_secs,
        });
    }
    Ok(())
}

/// Returns every host that the plan writes to, with its changes; none where something is only recorded.
fn by_host<'p>(run: &Run<'p>) -> BTreeMap<&'p HostId, Vec<&'p Change>> {
    let mut hosts: BTreeMap<&HostId, Vec<&Change>> =
        run.plan.takes.keys().map(|host| (host, Vec::new())).collect();
    for (id, change) in &run.plan.changes {
        hosts.entry(&id.host).or_default().push(change);
    }
    hosts
}
