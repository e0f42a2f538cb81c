//! Whether a container that was started is as it must be, and whether what it needs is, judged from looks. Pure.

use std::time::Duration;

use crate::model::container::Condition;
use crate::model::container_part::Restart;
use crate::model::inspected::State;

/// What a look at a container that was started says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// It is as it must be.
    Good,
    /// It may still become so.
    Waits,
    /// It will not.
    Failed,
}

/// For how long a container has run without a break, as far as looks at it tell.
#[derive(Debug, Default)]
pub(super) struct Steady {
    /// When it was first seen so, and with how many restarts.
    since: Option<(Duration, u64)>,
}

impl Steady {
    /// Takes a look in, and returns the seconds. One that is started again and again is up at most looks, and never for long.
    pub(super) fn secs(&mut self, state: &State, now: Duration) -> u64 {
        self.since = match self.since {
            _ if !state.is_running() => None,
            Some((since, restarts)) if restarts == state.restarts => Some((since, restarts)),
            Some(_) | None => Some((now, state.restarts)),
        };
        let since = self.since.map_or(now, |(since, _)| since);
        now.saturating_sub(since).as_secs()
    }
}

/// Judges a container that has run without a break for so many seconds, and had so many restarts when it was first looked at.
pub(super) fn proof(restart: Restart, state: &State, secs: u64, restarts_before: u64) -> Proof {
    let may_end = matches!(restart, Restart::No | Restart::OnFailure(_));
    match (state.status.as_str(), state.health.as_deref()) {
        ("exited", _) if state.exit_code == 0 && may_end => Proof::Good,
        ("exited" | "dead" | "removing", _) => Proof::Failed,
        ("running", Some("healthy")) => Proof::Good,
        ("running", Some("unhealthy")) => Proof::Failed,
        ("running", Some("starting")) => Proof::Waits,
        // Without a health check it must stay up for a while.
        ("running", _) if state.restarts > restarts_before => Proof::Failed,
        ("running", _) if secs >= SETTLED_SECS => Proof::Good,
        ("restarting", _) if state.restarts > restarts_before + 1 => Proof::Failed,
        _ => Proof::Waits,
    }
}

/// Judges what a container needs of a service, by how that service's containers stand.
pub(super) fn need(condition: Condition, states: &[State]) -> Proof {
    let one = |state: &State| match (condition, state.status.as_str(), state.health.as_deref()) {
        (_, "created", _) => Proof::Waits,
        (Condition::Started, "running" | "restarting" | "paused", _) => Proof::Good,
        (Condition::Healthy, "running", Some("healthy")) => Proof::Good,
        (Condition::Healthy, "running", Some("starting")) => Proof::Waits,
        (Condition::Started | Condition::Completed, "exited", _) if state.exit_code == 0 => Proof::Good,
        (Condition::Healthy | Condition::Completed, "restarting", _) => Proof::Waits,
        (Condition::Completed, "running", _) => Proof::Waits,
        _ => Proof::Failed,
    };
    let proofs: Vec<Proof> = states.iter().map(one).collect();
    match proofs.as_slice() {
        [] => Proof::Failed,
        proofs if proofs.contains(&Proof::Failed) => Proof::Failed,
        proofs if proofs.contains(&Proof::Waits) => Proof::Waits,
        _ => Proof::Good,
    }
}

/// How long a container without a health check must stay up, in seconds.
pub(super) const SETTLED_SECS: u64 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn need_is_met_when_all_containers_of_the_service_meet_it() {
        let state = |status: &str, health: Option<&str>, exit_code| State {
            status: status.to_owned(),
            health: health.map(str::to_owned),
            exit_code,
            ..State::default()
        };
        let (up, well, ill) = (
            state("running", None, 0),
            state("running", Some("healthy"), 0),
            state("running", Some("unhealthy"), 0),
        );
        let (done, broken) = (state("exited", None, 0), state("exited", None, 1));
        let of = |condition, states: &[&State]| {
            need(condition, &states.iter().copied().cloned().collect::<Vec<_>>())
        };
        assert_eq!(of(Condition::Started, &[&up]), Proof::Good);
        assert_eq!(of(Condition::Started, &[&up, &broken]), Proof::Failed);
        assert_eq!(of(Condition::Started, &[]), Proof::Failed);
        assert_eq!(of(Condition::Healthy, &[&well, &well]), Proof::Good);
        assert_eq!(of(Condition::Healthy, &[&well, &ill]), Proof::Failed);
        assert_eq!(
            of(Condition::Healthy, &[&state("running", Some("starting"), 0)]),
            Proof::Waits
        );
        assert_eq!(of(Condition::Healthy, &[&up]), Proof::Failed);
        assert_eq!(of(Condition::Completed, &[&up]), Proof::Waits);
        assert_eq!(of(Condition::Completed, &[&done]), Proof::Good);
        assert_eq!(of(Condition::Completed, &[&broken]), Proof::Failed);
    }

    #[test]
    fn what_has_a_health_check_is_good_only_when_healthy_and_what_has_none_when_it_stays_up() {
        let state = |status: &str, health: Option<&str>, exit_code, restarts| State {
            status: status.to_owned(),
            health: health.map(str::to_owned),
            exit_code,
            restarts,
            ..State::default()
        };
        let judge = |state: &State, secs| proof(Restart::Always, state, secs, 0);
        assert_eq!(judge(&state("running", Some("starting"), 0, 0), 99), Proof::Waits);
        assert_eq!(judge(&state("running", Some("healthy"), 0, 0), 0), Proof::Good);
        assert_eq!(
            judge(&state("running", Some("unhealthy"), 0, 0), 0),
            Proof::Failed
        );
        assert_eq!(judge(&state("running", None, 0, 0), 1), Proof::Waits);
        assert_eq!(judge(&state("running", None, 0, 0), SETTLED_SECS), Proof::Good);
        assert_eq!(judge(&state("running", None, 0, 1), SETTLED_SECS), Proof::Failed);
        assert_eq!(judge(&state("exited", None, 0, 0), 1), Proof::Failed);
        assert_eq!(
            proof(Restart::No, &state("exited", None, 0, 0), 0, 0),
            Proof::Good
        );
        assert_eq!(
            proof(Restart::No, &state("exited", None, 1, 0), 0, 0),
            Proof::Failed
        );
    }

    #[test]
    fn one_that_is_started_again_and_again_never_settles_whenever_the_first_look_is() {
        let look = |status: &str, restarts| State {
            status: status.to_owned(),
            restarts,
            ..State::default()
        };
        // It runs for a second and waits for two, as the first look finds it.
        let mut steady = Steady::default();
        let looks = [
            (0, look("restarting", 6)),
            (1, look("restarting", 6)),
            (2, look("running", 6)),
            (3, look("restarting", 7)),
            (4, look("restarting", 7)),
            (5, look("running", 7)),
        ];
        for (at, state) in looks {
            let secs = steady.secs(&state, Duration::from_secs(at));
            assert_ne!(
                proof(Restart::Always, &state, secs, 6),
                Proof::Good,
                "after {at} s"
            );
        }
        // It ended and was up again between two looks.
        let mut steady = Steady::default();
        assert_eq!(steady.secs(&look("running", 0), Duration::from_secs(1)), 0);
        assert_eq!(steady.secs(&look("running", 0), Duration::from_secs(3)), 2);
        assert_eq!(steady.secs(&look("running", 1), Duration::from_secs(4)), 0);
        assert_eq!(steady.secs(&look("paused", 1), Duration::from_secs(9)), 0);
        assert_eq!(steady.secs(&look("running", 1), Duration::from_secs(10)), 0);
        assert_eq!(steady.secs(&look("running", 1), Duration::from_secs(13)), 3);
    }
}
