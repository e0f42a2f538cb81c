//! Pulls that go wrong in an apply: the container before it serves on, the message says why, and the run is gone on with.

use crate::controller::until;
use crate::fleet::Fleet;
use crate::refusals::says;
use crate::registry::{self, Registry};
use crate::trial::Trial;
use crate::valve::Valve;

/// The registry's own password, and one that is wrong.
const RIGHT: &str = "r1ght-P4ssw0rd-4Qm";
const WRONG: &str = "wr0ng-P4ssw0rd-9Zk";
/// How much the large layer has, in MiB.
const LARGE_MIB: u64 = 24;

/// Pushes an image of one large layer, which the host does not keep.
pub fn push_large(fleet: &Fleet, image: &str) {
    fleet.sh(
        "h1",
        &format!(
            "head -c {LARGE_MIB}M /dev/urandom >/tmp/blob && docker create --name large box:1 >/dev/null && \
             docker cp /tmp/blob large:/blob && docker commit large {image} >/dev/null && docker rm large >/dev/null && \
             docker push -q {image} && docker rmi {image} >/dev/null && rm /tmp/blob"
        ),
    );
}

fn set_image(trial: &Trial<'_>, image: &str) {
    trial.set(&format!("level = \"debug\"\nimage = \"{image}\""));
}

#[test]
fn registry_that_stops_in_the_middle_of_a_pull_costs_nothing() {
    let fleet = Fleet::up_with_engines(1);
    let mut server = Registry::start(&fleet, None);
    let valve = Valve::to(&server.name);
    registry::admit(&fleet, "h1", &valve.name);
    let trial = Trial::up(&fleet);
    let image = format!("{}/large:1", valve.name);
    push_large(&fleet, &image);
    set_image(&trial, &image);
    valve.hold_after(LARGE_MIB << 19);
    let run = trial.begin("alice");
    until("half of the layer has come", || valve.is_holding());
    server.halt();
    valve.cut();
    let said = trial.failed(&run.end());
    says(
        &said,
        &[
            &format!("pull {image}"),
            &format!("does not reach `{}`", valve.name),
            "muster resume",
        ],
    );
    trial.assert_runs_as("info");
    server.go_on();
    valve.open();
    trial.resume();
    trial.assert_runs_as("debug");
    // And killed in the middle of one.
    let again = format!("{}/again:1", valve.name);
    push_large(&fleet, &again);
    trial.set(&format!("level = \"trace\"\nimage = \"{again}\""));
    valve.hold_after(LARGE_MIB << 19);
    let run = trial.begin("alice");
    until("half of the layer has come", || valve.is_holding());
    run.signal("KILL");
    trial.told(&run.end());
    valve.open();
    trial.assert_runs_as("debug");
    trial.resume();
    trial.assert_runs_as("trace");
}

#[test]
fn wrong_password_and_wrong_digest_are_said_and_right_ones_go_on() {
    let fleet = Fleet::up_with_engines(1);
    let server = Registry::start(&fleet, Some(("puller", RIGHT)));
    server.admit(&fleet, "h1");
    let image = format!("{}/box", server.name);
    let pushed = fleet.sh(
        "h1",
        &format!(
            "docker tag box:1 {image}:1 && echo {RIGHT} | docker login -u puller --password-stdin {name} >/dev/null 2>&1 && \
             docker push -q {image}:1 >/dev/null && docker logout {name} >/dev/null && \
             docker inspect -f '{{{{index .RepoDigests 0}}}}' {image}:1 && docker rmi {image}:1 >/dev/null",
            name = server.name
        ),
    );
    let digest = pushed.trim();
    assert!(digest.contains("@sha256:"), "{digest}");
    let trial = Trial::up(&fleet);
    let account = |password: &str| {
        trial.project.write("inventories/registry-password", password);
        trial.tables(&format!(
            "[registries.\"{}\"]\nuser = \"puller\"\npassword = \"file:registry-password\"\n",
            server.name
        ));
    };
    // Nobody, then somebody with a password that is not right.
    set_image(&trial, &format!("{image}:1"));
    let said = trial.fails();
    says(&said, &[&format!("pull {image}:1"), "wants an account"]);
    account(WRONG);
    set_image(&trial, &format!("{image}:1"));
    let said = trial.fails();
    says(
        &said,
        &[
            &format!("pull {image}:1"),
            "unauthorized",
            &format!("`{}` does not take the account", server.name),
            "`user` and `password`",
        ],
    );
    assert!(!said.contains(WRONG), "{said}");
    trial.assert_runs_as("info");
    // A digest that nobody ever pushed.
    account(RIGHT);
    let none = format!("{image}@sha256:{}", "0".repeat(64));
    set_image(&trial, &none);
    let said = trial.fails();
    says(
        &said,
        &[
            &format!("pull {none}"),
            "has no image with that digest",
            "muster pin --update",
        ],
    );
    trial.assert_runs_as("info");
    set_image(&trial, digest);
    trial.project.apply();
    trial.assert_runs_as("debug");
    assert_eq!(
        trial.sh("docker inspect -f '{{.Config.Image}}' trial-app-1"),
        format!("{digest}\n")
    );
    assert!(!said.contains(RIGHT), "{said}");
    // No account is kept on the host.
    trial.sh(&format!(
        "! grep -rlF -e {RIGHT} -e {WRONG} /var/lib/muster /root/.docker /etc/docker 2>/dev/null"
    ));
}

#[test]
fn disk_that_fills_up_while_an_image_comes_is_told_and_resumed() {
    let fleet = Fleet::up_with_engines(1);
    let server = Registry::start(&fleet, None);
    server.admit(&fleet, "h1");
    let image = format!("{}/large:1", server.name);
    push_large(&fleet, &image);
    // The engine's data lie on a disk of their own, with room for little more than the small image.
    fleet.sh(
        "h1",
        "systemctl stop docker.socket docker.service && mount -t tmpfs -o size=20m tmpfs /var/lib/docker && systemctl start docker.socket docker.service && \
         until docker info >/dev/null 2>&1; do sleep 0.2; done",
    );
    fleet.import("h1", "box:1");
    let trial = Trial::up(&fleet);
    set_image(&trial, &image);
    let said = trial.fails();
    says(
        &said,
        &[
            &format!("pull {image}"),
            "no space left on device",
            "make room",
            "muster resume",
        ],
    );
    trial.assert_runs_as("info");
    trial.sh("mount -o remount,size=300m /var/lib/docker");
    trial.resume();
    trial.assert_runs_as("debug");
}
