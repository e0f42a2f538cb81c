//! A controller that sleeps in the middle of its work on an engine wakes fenced off, after another has taken the host over.

use std::time::{Duration, Instant};

use crate::controller::{Controller, until};
use crate::fleet::Fleet;
use crate::registry::{self, Registry};
use crate::toll::{Toll, When};
use crate::trial::{APPLY, Trial};
use crate::valve::Valve;

/// Gives a project a short lease, and the account by which it logs in.
fn with_lease(trial: &Trial<'_>, user: &str) {
    let text = trial.project.read("inventories/fleet.toml");
    let text = match user {
        "root" => text,
        user => text.replace(
            "user = \"root\"",
            &format!("user = \"{user}\"\nsudo = \"passwordless\""),
        ),
    };
    trial.project.write(
        "inventories/fleet.toml",
        &(text + "\n[policy]\nlease = \"10s\"\n"),
    );
}

/// Applies again and again until the sleeping run's lease is over.
fn take_over(trial: &Trial<'_>) {
    let start = Instant::now();
    loop {
        let ran = trial.project.muster(APPLY);
        let said = trial.told(&ran);
        if ran.code == 0 {
            return;
        }
        assert_eq!(ran.code, 5, "{said}");
        assert!(
            start.elapsed() < Duration::from_secs(120),
            "the lease never ends: {said}"
        );
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Lets the sleeper go on, and asserts that it does nothing to the host.
fn wake(trial: &Trial<'_>, toll: &Toll<'_>, sleeper: Controller) {
    let state = || {
        let records = trial.sh("cat /var/lib/muster/fence /var/lib/muster/manifest");
        let engine = trial.sh(
            "docker ps -a --no-trunc --format '{{.ID}} {{.Names}}'; docker images -q; docker volume ls -q",
        );
        (records, engine, toll.seen())
    };
    let before = state();
    sleeper.signal("CONT");
    let ran = sleeper.end();
    let said = trial.failed(&ran);
    // What a request still does that nobody cut would show by then.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(state(), before, "{said}");
    let log = trial.sh("cat /var/lib/muster/log");
    assert!(log.contains("end the connection of run "), "{log}");
}

#[test]
fn sleeper_between_two_calls_of_a_recreation_wakes_fenced_off_as_root_and_through_the_relay() {
    let fleet = Fleet::up_with_engines(1);
    let first = Trial::up(&fleet);
    let toll = Toll::before(&fleet);
    // Once the old container is set aside the guard's next answer waits, and with it the call that it would permit.
    fleet.sh(
        "h1",
        "printf '%s\\n' '#!/bin/sh' '/usr/bin/mv \"$@\" || exit' \
         'case $* in *fence.new*) if [ -e /run/block ]; then touch /run/asked; while [ -e /run/block ]; do sleep 0.05; done; fi ;; esac' \
         >/usr/local/sbin/mv; chmod 755 /usr/local/sbin/mv",
    );
    for user in ["root", "ops"] {
        let second = Trial::new(&fleet);
        first.set(&format!("level = \"first-{user}\""));
        second.set(&format!("level = \"second-{user}\""));
        with_lease(&first, user);
        with_lease(&second, user);
        toll.rule(When::After, "^POST .*/rename", "touch /run/block");
        let sleeper = first.begin("alice");
        until("the guard was asked and its answer waits", || {
            first.is("test -e /run/asked")
        });
        sleeper.signal("STOP");
        // The answer, that the host is still the sleeper's, goes out to it, and lies there unread.
        first.sh("rm /run/block /run/asked; until ! pgrep -x -f 'sh -s' >/dev/null; do sleep 0.1; done");
        take_over(&second);
        second.assert_runs_as(&format!("second-{user}"));
        wake(&second, &toll, sleeper);
        second.assert_runs_as(&format!("second-{user}"));
    }
}

#[test]
fn sleeper_in_the_middle_of_a_pull_wakes_fenced_off_and_the_pull_is_over() {
    let fleet = Fleet::up_with_engines(1);
    let server = Registry::start(&fleet, None);
    let valve = Valve::to(&server.name);
    registry::admit(&fleet, "h1", &valve.name);
    let (first, second) = (Trial::up(&fleet), Trial::new(&fleet));
    let toll = Toll::before(&fleet);
    let image = format!("{}/large:1", valve.name);
    crate::broken_pulls::push_large(&fleet, &image);
    first.set(&format!("level = \"first\"\nimage = \"{image}\""));
    second.set("level = \"second\"");
    with_lease(&first, "root");
    with_lease(&second, "root");
    valve.hold_after(1 << 20);
    let sleeper = first.begin("alice");
    until("a part of the layer has come", || valve.is_holding());
    sleeper.signal("STOP");
    take_over(&second);
    second.assert_runs_as("second");
    // The way is free again: a pull that went on would come to its end now.
    valve.open();
    std::thread::sleep(Duration::from_secs(5));
    let is_there = || second.is(&format!("docker image inspect {image}"));
    assert!(!is_there(), "the pull went on while its run slept");
    wake(&second, &toll, sleeper);
    assert!(!is_there(), "the pull went on");
    second.assert_runs_as("second");
}
