//! The engine goes away in the middle of an apply.

use crate::fleet::Fleet;
use crate::toll::{Toll, When};
use crate::trial::Trial;

#[test]
fn engine_that_is_killed_between_two_calls() {
    let fleet = Fleet::up_with_engines(1);
    let trial = Trial::up(&fleet);
    let toll = Toll::before(&fleet);
    trial.set("level = \"debug\"");
    toll.rule(When::After, "^POST .*/rename", "kill -9 $(pidof dockerd)");
    let ran = trial.project.muster(crate::trial::APPLY);
    let said = trial.told(&ran);
    println!("{} {said}", ran.code);
    trial.resume();
    trial.assert_runs_as("debug");
}

#[test]
fn engine_that_is_restarted_while_a_container_proves_itself() {
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
        let ran = run.end();
        println!("{} {}", ran.code, trial.told(&ran));
        trial.resume();
        trial.assert_runs_as(level);
    }
}
