//! The engine goes away in the middle of an apply.

use crate::fleet::{Fleet, Ran};
use crate::refusals::says;
use crate::toll::{Toll, When};
use crate::trial::{APPLY, Trial};

/// Checks what is said of an engine that went away, if the run noticed: it may have come back before it was asked again.
fn told(trial: &Trial<'_>, ran: &Ran) -> String {
    match ran.code {
        0 => trial.told(ran),
        _ => {
            let said = trial.failed(ran);
            says(&said, &["make container trial-app-1", "muster resume"]);
            said
        }
    }
}

#[test]
fn engine_that_is_killed_between_two_calls_is_named_and_the_run_is_gone_on_with() {
    let fleet = Fleet::up_with_engines(1);
    let trial = Trial::up(&fleet);
    let toll = Toll::before(&fleet);
    for (level, request) in [
        ("debug", "^POST .*/rename"),
        ("trace", "^POST .*/containers/create"),
    ] {
        trial.set(&format!("level = \"{level}\""));
        // The request itself is cut, so that nobody can know what came of it.
        toll.rule(When::Before, request, "kill -9 $(pidof dockerd); sleep 0.5");
        let said = told(&trial, &trial.project.muster(APPLY));
        if said.contains("has no known end") {
            says(
                &said,
                &["the Docker engine does not answer", "journalctl -u docker"],
            );
        }
        trial.resume_or_plan();
        trial.assert_runs_as(level);
    }
}

#[test]
fn engine_that_is_restarted_while_a_container_proves_itself_loses_nothing() {
    let fleet = Fleet::up_with_engines(1);
    let trial = Trial::up(&fleet);
    for (level, fault) in [
        ("debug", "kill -9 $(pidof dockerd)"),
        ("trace", "systemctl restart docker"),
    ] {
        trial.set(&format!("level = \"{level}\""));
        trial.sh("rm /var/lib/docker/volumes/trial_data/_data/well");
        let run = trial.begin("alice");
        trial.until_probed();
        trial.sh(fault);
        trial.sh("touch /var/lib/docker/volumes/trial_data/_data/well");
        told(&trial, &run.end());
        trial.resume_or_plan();
        trial.assert_runs_as(level);
    }
}
