//! How often an engine is asked, and over how many channels: what decision 31 promises, counted at the engine's side.

use std::collections::BTreeSet;

use muster::model::engine::EngineProbe;

use crate::bed::{Bed, make, probe, sleeper};
use crate::fleet::{Fleet, Project};
use crate::turnstile::{Passed, Turnstile};

/// How many channels may be open beside each other.
const CHANNELS: usize = 4;
/// How many requests may be under way at once.
const AT_ONCE: usize = 8;

/// Two projects on one host: five services each, two networks, two volumes, and two images in all.
const MODULE: &str = r#"
[[compose]]
name   = "one"
folder = "/srv/one"
files  = ["project.yml.j2"]

[[compose]]
name   = "two"
folder = "/srv/two"
files  = ["project.yml.j2"]
"#;

fn file() -> String {
    let service = |number: usize| {
        format!(
            "  s{number}:\n    image: box:{}\n    command: [\"sleep\", \"3600\"]\n    stop_grace_period: 1s\n    networks: [front, back]\n    volumes: [\"data:/data\", \"more:/more\"]\n",
            1 + number % 2
        )
    };
    let services: String = (1..=5).map(service).collect();
    format!(
        "services:\n{services}networks: {{ front: {{}}, back: {{}} }}\nvolumes: {{ data: {{}}, more: {{}} }}\n"
    )
}

/// Makes sure that no look asks more than is promised.
fn bounded(passed: &Passed, projects: usize, containers: usize, images: usize) {
    let most = 4 + 2 * projects + containers + images;
    assert!(
        passed.calls.len() <= most,
        "{} calls, and {most} are promised: {:#?}",
        passed.calls.len(),
        passed.calls
    );
    assert!(passed.channels_at_once <= CHANNELS, "{passed:#?}");
    assert!(passed.calls_at_once <= AT_ONCE, "{passed:#?}");
}

#[test]
fn plans_look_asks_as_often_as_is_promised_and_every_container_itself() {
    let fleet = Fleet::up_with_engines(1);
    fleet.import("h1", "box:2");
    let project = Project::new(&fleet, &["h1"]);
    project.module(MODULE);
    project.write("modules/app/templates/project.yml.j2", &file());

    let turnstile = Turnstile::before(&fleet, "h1");
    let plan = project.muster(&["plan", "--no-input"]);
    assert_eq!(plan.code, 0, "{}{}", plan.stdout, plan.stderr);
    bounded(&turnstile.passed(), 2, 0, 2);

    project.apply();
    turnstile.passed();
    let plan = project.muster(&["plan", "--no-input"]);
    assert!(
        plan.stdout.contains("No changes"),
        "{}{}",
        plan.stdout,
        plan.stderr
    );
    let passed = turnstile.passed();
    bounded(&passed, 2, 10, 2);
    assert!(passed.calls_at_once > 1, "they go beside each other: {passed:#?}");

    // The digest in a container's label is that of what it was made from. What it is like now is asked all the same.
    let ids = fleet.sh("h1", "docker ps -aq --no-trunc");
    let wanted: BTreeSet<String> = ids
        .lines()
        .map(|id| format!("GET /v1.41/containers/{id}/json"))
        .collect();
    let inspected: BTreeSet<String> = passed
        .calls
        .iter()
        .filter(|call| call.contains("/containers/") && !call.contains("/containers/json"))
        .cloned()
        .collect();
    assert_eq!(inspected, wanted);
    // The version is agreed upon once, and stands in every path from then on.
    let bare: Vec<&String> = passed
        .calls
        .iter()
        .filter(|call| !call.starts_with("GET /v1.41/"))
        .collect();
    assert_eq!(bare, ["GET /version"]);
}

#[test]
fn what_the_transport_counts_is_what_the_engine_sees() {
    let fleet = Fleet::up_with_engines(1);
    let bed = Bed::new(&fleet, "root");
    let specs: Vec<_> = (0..12).map(|number| sleeper(&format!("s{number}"))).collect();
    let fence = bed.lock("0123456789ab-1");
    bed.act(&fence, specs[..3].iter().map(make).collect())
        .expect("they come up");
    bed.release(&fence);
    drop(bed);

    let turnstile = Turnstile::before(&fleet, "h1");
    let bed = Bed::new(&fleet, "root");
    let mut probes: Vec<EngineProbe> = specs
        .iter()
        .map(|spec| EngineProbe::Container(probe(spec)))
        .collect();
    probes.extend((0..30).map(|number| EngineProbe::Image(format!("none:{number}"))));
    probes.push(EngineProbe::Network("bridge".to_owned()));
    probes.push(EngineProbe::Volume("none".to_owned()));
    bed.ask_all(probes);
    let counted = bed.traffic();
    drop(bed);
    let passed = turnstile.passed();
    bounded(&passed, 1, 3, 31);
    assert_eq!(counted.calls, passed.calls.len());
    assert_eq!(counted.channels_at_once, passed.channels_at_once);
    assert!(counted.calls_at_once <= CHANNELS, "{counted:?}");
    assert_eq!(
        passed.channels_at_once, CHANNELS,
        "none of them is left idle: {passed:#?}"
    );
}
