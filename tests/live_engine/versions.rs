//! Engines of other versions than Debian's 20.10: a real newer one, and the answers of those that share no version with muster.

use muster::model::engine::EngineProbe;
use muster::model::observation::Answer;

use crate::bed::{Bed, make, sleeper};
use crate::fleet::{Fleet, Project};
use crate::project::Declared;
use crate::turnstile::Turnstile;

/// Replaces a host's engine by that of the Debian release after its own: 26.1, which speaks 1.45.
const NEWER: &str = r"
set -e
export DEBIAN_FRONTEND=noninteractive
sed -n '/^URIs/{p;q}' /etc/apt/sources.list.d/debian.sources >/etc/apt/sources.list.d/newer.sources
printf 'Types: deb\nSuites: trixie\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' >>/etc/apt/sources.list.d/newer.sources
apt-get -qq update -o Dir::Etc::sourceparts=/dev/null -o Dir::Etc::sourcelist=/etc/apt/sources.list.d/newer.sources -o APT::Get::List-Cleanup=0
apt-get -qq install -y --no-install-recommends -o Dpkg::Options::=--force-confold docker.io/trixie docker-cli/trixie >/dev/null 2>&1
systemctl restart docker
until docker info >/dev/null 2>&1; do sleep 0.2; done
";

/// Puts a socket in the engine's place that speaks these versions of the interface.
fn pretend(fleet: &Fleet, engine: &str, oldest: &str, newest: &str) {
    let program = include_bytes!("interface.pl");
    let put = fleet.feed("h1", "cat >/run/interface.pl", program);
    assert!(put.status.success());
    fleet.sh(
        "h1",
        &format!(
            "systemctl stop docker.socket docker.service; [ ! -e /run/interface.pid ] || kill $(cat /run/interface.pid); rm -f /run/docker.sock; \
             setsid perl /run/interface.pl /run/docker.sock {engine} {oldest} {newest} </dev/null >/dev/null 2>&1 & echo $! >/run/interface.pid; \
             until [ -S /run/docker.sock ]; do sleep 0.05; done"
        ),
    );
}

#[test]
fn newer_engine_is_spoken_with_in_its_own_version_also_when_it_took_the_place_of_another_meanwhile() {
    let fleet = Fleet::up_with_engines(1);
    let bed = Bed::new(&fleet, "root");
    let spec = sleeper("app");
    let fence = bed.lock("0123456789ab-1");
    bed.act(&fence, vec![make(&spec)]).expect("it comes up");
    fleet.sh("h1", NEWER);
    let spoken = fleet.sh("h1", "docker version -f '{{.Server.APIVersion}}'");
    let spoken = spoken.trim().to_owned();
    assert_ne!(spoken, "1.41", "it is another engine");
    // The same connection, on which 1.41 was agreed upon before.
    let turnstile = Turnstile::before(&fleet, "h1");
    let seen = bed.inspect(&spec).expect("its container is still there");
    assert_eq!(seen.name, spec.name);
    let other = sleeper("other");
    bed.act(&fence, vec![make(&other)]).expect("another one comes up");
    bed.release(&fence);
    drop(bed);
    let calls = turnstile.passed().calls;
    let prefix = format!("/v{spoken}/");
    let of_another: Vec<&String> = calls
        .iter()
        .filter(|call| !call.contains(&prefix) && *call != "GET /version")
        .collect();
    assert!(of_another.is_empty(), "{of_another:?}");

    // Its manifest names the fleet of the bed, which is another than the project's.
    fleet.sh("h1", "rm -rf /var/lib/muster");
    // A whole project, with its networks, volumes, limits and health checks.
    let declared = Declared::new(&fleet);
    declared.project.apply();
    let plan = declared.project.muster(&["plan", "--no-input"]);
    assert!(
        plan.stdout.contains("No changes"),
        "{}{}",
        plan.stdout,
        plan.stderr
    );
    let before = declared.ids();
    declared.set("level = \"debug\"");
    declared.project.apply();
    assert_eq!(declared.anew(&before), ["join-db-1"]);
    let plan = declared.project.muster(&["plan", "--no-input"]);
    assert!(
        plan.stdout.contains("No changes"),
        "{}{}",
        plan.stdout,
        plan.stderr
    );
}

#[test]
fn engine_with_which_no_version_is_shared_is_named_and_its_host_held() {
    let fleet = Fleet::up_with_engines(1);
    let project = Project::new(&fleet, &["h1"]);
    project.module("[[network]]\nname = \"front\"\n");
    let told = |what: &[&str]| {
        let plan = project.muster(&["plan", "--no-input"]);
        let said = format!("{}{}", plan.stdout, plan.stderr);
        for part in what {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(!said.contains("+ network[front]"), "{said}");
    };
    pretend(&fleet, "19.03.15", "1.12", "1.40");
    told(&[
        "h1",
        "Docker 19.03.15 speaks version 1.40",
        "1.41 (Docker 20.10) is the oldest",
    ]);
    pretend(&fleet, "60.0.1", "1.60", "1.77");
    told(&[
        "h1",
        "Docker 60.0.1 speaks versions of the interface from 1.60 on",
        "a newer muster is needed",
    ]);

    // Engines of today refuse 1.41 and everything below 1.44. What both know is asked for.
    let nothing = Answer::Text {
        output: "null".to_owned(),
        status: 0,
    };
    let front = || EngineProbe::Network("front".to_owned());
    for (engine, oldest, newest) in [
        ("29.1.0", "1.44", "1.52"),
        ("40.0.0", "1.53", "1.70"),
        ("20.10.0", "1.12", "1.41"),
    ] {
        pretend(&fleet, engine, oldest, newest);
        assert_eq!(Bed::new(&fleet, "root").ask(front()), nothing, "Docker {engine}");
    }
}
