//! muster is killed at each point of its work on an engine, and goes on from what is there.

use crate::fleet::Fleet;
use crate::toll::{Toll, When};
use crate::trial::{FILE, Trial};

/// Kills a run while the first request that fits waits.
fn kill_at(fleet: &Fleet, trial: &Trial<'_>, toll: &Toll<'_>, when: When, request: &str) {
    toll.hold(when, request);
    let run = trial.begin("alice");
    toll.reached();
    run.signal("KILL");
    trial.told(&run.end());
    // Its connection ends while the request still waits: the engine may hear of it afterwards, or never.
    fleet.wait_until_quiet("h1");
    toll.go();
}

#[test]
fn killed_anywhere_in_a_recreation_it_ends_with_one_container_and_all_data() {
    let fleet = Fleet::up_with_engines(1);
    let trial = Trial::up(&fleet);
    let toll = Toll::before(&fleet);
    let points = [
        (When::Late, "^POST .*/rename"),
        (When::Before, "^POST .*/containers/create"),
        (When::After, "^POST .*/containers/create"),
        (When::Before, "^POST .*/start"),
        (When::Late, "^DELETE .*/containers/"),
    ];
    for (number, (when, request)) in points.into_iter().enumerate() {
        let level = format!("level{number}");
        trial.set(&format!("level = \"{level}\""));
        kill_at(&fleet, &trial, &toll, when, request);
        trial.resume();
        trial.assert_runs_as(&level);
    }
    // While the new one is waited for.
    trial.sh("rm /var/lib/docker/volumes/trial_data/_data/well");
    trial.set("level = \"last\"");
    let run = trial.begin("alice");
    trial.until_probed();
    run.signal("KILL");
    trial.told(&run.end());
    trial.sh("touch /var/lib/docker/volumes/trial_data/_data/well");
    trial.resume();
    trial.assert_runs_as("last");
}

#[test]
fn killed_anywhere_while_a_network_is_made_anew_everything_is_attached_again() {
    let fleet = Fleet::up_with_engines(1);
    let trial = Trial::new(&fleet);
    let file = |number: usize| {
        let attached = FILE.replace(
            "    volumes: [",
            "    networks: { back: { aliases: [core] } }\n    volumes: [",
        );
        format!(
            "{attached}networks: {{ back: {{ driver_opts: {{ com.docker.network.bridge.name: \"br{number}\" }} }} }}\n"
        )
    };
    trial.sh(
        "docker volume create trial_data >/dev/null && touch /var/lib/docker/volumes/trial_data/_data/well",
    );
    trial.file(&file(0));
    trial.project.apply();
    // One that no file declares, running, and one that does not run.
    trial.sh(
        "docker run -d --name guest --network trial_back --network-alias visitor box:1; \
         docker create --name idle --network trial_back --network-alias sleeper box:1",
    );
    let toll = Toll::before(&fleet);
    let points = [
        (When::After, "^POST .*/volumes/create"),
        (When::After, "^POST .*/disconnect"),
        (When::After, "^DELETE .*/networks/"),
        (When::After, "^POST .*/networks/create"),
        (When::Before, "^DELETE .*/volumes/"),
    ];
    for (number, (when, request)) in points.into_iter().enumerate() {
        let number = number + 1;
        trial.file(&file(number));
        kill_at(&fleet, &trial, &toll, when, request);
        trial.resume();
        assert_eq!(
            trial.sh(
                "docker network inspect -f '{{index .Options \"com.docker.network.bridge.name\"}}' trial_back"
            ),
            format!("br{number}\n")
        );
        for (container, alias) in [("trial-app-1", "core"), ("guest", "visitor"), ("idle", "sleeper")] {
            let aliases = format!(
                "docker inspect -f '{{{{.NetworkSettings.Networks.trial_back.Aliases}}}}' {container}"
            );
            let aliases = trial.sh(&aliases);
            assert!(aliases.contains(alias), "{request}: {container} has {aliases}");
        }
        assert_eq!(trial.sh("docker volume ls -q"), "trial_data\n", "{request}");
    }
    trial.assert_runs_as("info");
}

/// Takes the host from the run that was killed, so that a new one need not go on with it.
fn free(trial: &Trial<'_>) {
    let ran = trial
        .project
        .muster(&["lock", "break", "--limit", "h1", "--reason", "killed", "-y"]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
}

/// Notes what the engine says of the container that is set aside when the first request that fits comes.
fn note_at(toll: &Toll<'_>, request: &str, field: &str) {
    let note = format!(
        "docker -H unix:///run/docker.real inspect -f '{{{{{field}}}}}' trial-app-1.muster-old >/run/toll/note"
    );
    toll.rule(When::Before, request, &note);
}

#[test]
fn killed_in_a_recreation_a_plan_of_its_own_runs_no_two_at_once() {
    let fleet = Fleet::up_with_engines(1);
    let trial = Trial::up(&fleet);
    let toll = Toll::before(&fleet);
    // The new one is there and was never started, and the old one runs.
    trial.set("level = \"debug\"");
    kill_at(&fleet, &trial, &toll, When::After, "^POST .*/containers/create");
    free(&trial);
    note_at(&toll, "^POST .*/(re)?start", ".State.Status");
    trial.project.apply();
    assert_eq!(trial.sh("cat /run/toll/note"), "exited\n");
    trial.assert_runs_as("debug");
}

#[test]
fn one_that_is_set_aside_comes_back_with_its_restart_policy_and_not_by_it() {
    let fleet = Fleet::up_with_engines(1);
    let trial = Trial::new(&fleet);
    let always = FILE.replace("    volumes: [", "    restart: always\n    volumes: [");
    trial.sh(
        "docker volume create trial_data >/dev/null && touch /var/lib/docker/volumes/trial_data/_data/well",
    );
    trial.file(&always);
    trial.project.apply();
    let toll = Toll::before(&fleet);
    let policy = ".HostConfig.RestartPolicy.Name";
    note_at(&toll, "^DELETE .*/containers/", policy);
    trial.file(&always.replace("exec sleep 3600", "exit 7"));
    let said = trial.fails();
    assert!(said.contains("the container before it is back"), "{said}");
    assert_eq!(trial.sh("cat /run/toll/note"), "unless-stopped\n");
    assert_eq!(
        trial.sh(&format!("docker inspect -f '{{{{{policy}}}}}' trial-app-1")),
        "always\n"
    );
    trial.assert_runs_as("info");
}
