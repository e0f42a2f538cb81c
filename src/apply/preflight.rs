//! Before the first change of a run: is the plan young enough, and is the whole fleet still what it saw?

use std::collections::BTreeMap;

use futures_util::stream::{self, StreamExt as _};

use crate::model::change::Change;
use crate::model::id::HostId;

use super::Run;
use super::crew::request;
use super::fresh::{self, Trust};

/// Why a run is refused before it changes anything. Exit code 6.
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
    /// Hosts are not what the plan saw.
    #[error("the plan is stale on {}", hosts(.0))]
    Stale(BTreeMap<HostId, Vec<String>>),
}

fn hosts(stale: &BTreeMap<HostId, Vec<String>>) -> String {
    stale.keys().map(HostId::as_str).collect::<Vec<_>>().join(", ")
}

/// Looks at every host that the plan changes, in one exec each, and changes nothing.
///
/// Returns the hosts to leave out: none, unless `skips_stale`. Hosts that do not answer are no matter of this: they are held when their
/// wave comes, and count against the budget there. `made_at` is when the plan was saved; a plan that was made just now has none.
///
/// # Errors
/// [`Refusal`].
pub async fn preflight(
    run: &Run<'_>,
    made_at: Option<jiff::Timestamp>,
    skips_stale: bool,
) -> Result<BTreeMap<HostId, Vec<String>>, Refusal> {
    young_enough(run, made_at)?;
    let looks = stream::iter(by_host(run)).map(|(host, changes)| async move {
        let reply = run
            .ports
            .transport
            .look(host, &request(run.plan, host, &changes))
            .await
            .ok()?;
        let trust = Trust {
            run: &run.id,
            is_touched: false,
            is_locked: false,
        };
        let stale = fresh::stale(run.plan, host, &changes, &reply, trust);
        (!stale.is_empty()).then(|| (host.clone(), stale))
    });
    let parallel = run.plan.policy.parallel.max(1);
    let stale: Vec<_> = looks.buffer_unordered(parallel).collect().await;
    let stale: BTreeMap<HostId, Vec<String>> = stale.into_iter().flatten().collect();
    if stale.is_empty() || skips_stale {
        Ok(stale)
    } else {
        Err(Refusal::Stale(stale))
    }
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

fn by_host<'p>(run: &Run<'p>) -> BTreeMap<&'p HostId, Vec<&'p Change>> {
    let mut hosts: BTreeMap<&HostId, Vec<&Change>> = BTreeMap::new();
    for (id, change) in &run.plan.changes {
        hosts.entry(&id.host).or_default().push(change);
    }
    hosts
}
