//! The controller killed at every line of its journal, before it and after it; and the journal cut at every byte of its last line.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use muster::model::id::{HostId, ResourceId};
use muster::model::plan::Plan;
use muster::model::wave::Share;
use muster::observe::{self, LookOptions};
use muster::resource::desired::Entry;
use muster::sim::{Boundary, Deed, Host, Station, World};
use muster::store::StoreError;
use muster::store::journal::{self, Journal};
use serde_json::json;

use crate::host::secrets;
use crate::pretend::{Pretend, entry};
use crate::trip::{End, Quiet, Trip};

const HOSTS: &[&str] = &["h1", "h2", "h3", "h4"];

/// A fleet on which something of every kind is to be done, with restarts and needs across hosts.
fn fleet() -> Pretend {
    let mut fleet = Pretend::new(HOSTS);
    let policy = &mut fleet.inventory.policy;
    policy.batch = Share::Count(2);
    policy.parallel = 2;
    policy.gates = vec![muster::model::gate::Gate {
        name: "up".to_owned(),
        check: muster::model::gate::Check::Command("true".to_owned()),
        within_secs: 10,
        stable_for_secs: 2,
        every_secs: 2,
        on_deadline: muster::model::gate::OnDeadline::Halt,
    }];
    for host in HOSTS {
        let config = fleet.declare(
            host,
            entry(
                "file",
                json!({ "path": "/srv/app/config", "content": [{ "secret": "plain|env:PASS" }] }),
            ),
        );
        let tuned = entry(
            "settings",
            json!({ "path": "/etc/app.ini", "keys": { "t.b": 1 } }),
        );
        let tuned = fleet.declare(host, tuned);
        for (kind, spec) in [
            ("package", json!({ "name": "curl" })),
            ("package", json!({ "name": "jq", "version": "1.6", "hold": true })),
            ("directory", json!({ "path": "/srv/app" })),
            ("group", json!({ "name": "team" })),
            (
                "account",
                json!({ "name": "app", "home": "/srv/home", "groups": ["team"] }),
            ),
            ("symlink", json!({ "path": "/etc/current", "to": "/srv/app" })),
            ("sysctl", json!({ "key": "net.app", "value": "1" })),
            (
                "command",
                json!({ "name": "app", "run": "make it", "probe": "did make it" }),
            ),
        ] {
            fleet.declare(host, entry(kind, spec));
        }
        let id: HostId = host.parse().expect("a host");
        let on = |key: muster::model::id::ResourceKey| -> ResourceId { key.on(&id) };
        let watched: BTreeSet<ResourceId> = [on(config), on(tuned)].into();
        for name in ["app.service", "vendor.service"] {
            let content = (name == "app.service").then(|| json!("[Install]\nWantedBy=a\n"));
            let mut spec = json!({ "name": name, "enabled": true, "running": true });
            content.into_iter().for_each(|content| spec["content"] = content);
            let unit = Entry {
                restart_on: watched.clone(),
                needs: watched.clone(),
                ..entry("unit", spec)
            };
            fleet.declare(host, unit);
        }
    }
    // The last host waits for the first.
    let first: ResourceId = "command[app]@h1".parse().expect("an id");
    let last = fleet
        .desired
        .hosts
        .get_mut(&"h4".parse::<HostId>().expect("a host"))
        .expect("it is there");
    last.entries
        .values_mut()
        .for_each(|entry| entry.needs.extend([first.clone()]));
    fleet
}

fn world(seed: u64) -> World {
    let station = |name: &&str| {
        let id: HostId = name.parse().expect("a host");
        let mut host = Host::new();
        // It runs already, with what was there before.
        host.bring_unit("vendor.service");
        let unit = host.units.get_mut("vendor.service").expect("it was brought");
        (unit.active, unit.enabled, unit.starts, unit.since) = (true, true, 1, 1_600_000_000);
        (
            id.clone(),
            Station::new(&id, host, "pretend".parse().expect("a fleet")),
        )
    };
    World::new(seed, HOSTS.iter().map(station).collect(), secrets())
}

fn planned(fleet: &mut Pretend, world: &World) -> Plan {
    let session = world.session();
    let hosts = fleet.inventory.hosts.keys().cloned().collect();
    let options = LookOptions {
        parallel: 4,
        closes: false,
    };
    let (ports, facts) = (session.ports(), Default::default());
    let look = observe::look(&ports, &fleet.desired, &hosts, &facts, options);
    fleet.seen = world.run(look).expect("a look ends").observation;
    fleet.plan()
}

/// What a run leaves, without times and without what only the guard keeps.
fn left(world: &World) -> BTreeMap<HostId, (Host, BTreeMap<String, serde_json::Value>)> {
    let bare = |station: Station| {
        let mut host = station.guarded.host;
        host.paths.values_mut().for_each(|node| node.changed = 0);
        host.units.values_mut().for_each(|unit| unit.since = 0);
        host.kept.clear();
        host.clock = 0;
        let owned = station.guarded.manifest.expect("a run was here").owned;
        let entry = |owned| {
            let mut entry = serde_json::to_value(owned).expect("entries are plain data");
            entry["changed_at_secs"] = 0.into();
            if let Some(started) = entry.get_mut("started_with") {
                started["at_secs"] = 0.into();
            }
            entry
        };
        (
            host,
            owned
                .into_iter()
                .map(|(key, owned)| (key.to_string(), entry(owned)))
                .collect(),
        )
    };
    world
        .hosts()
        .into_iter()
        .map(|(id, station)| (id, bare(station)))
        .collect()
}

/// How often each op had its effect, host by host.
fn effects(world: &World) -> BTreeMap<(HostId, String), usize> {
    let mut effects = BTreeMap::new();
    for happened in world.happened() {
        if let (
            Some(host),
            Deed::Done {
                op, is_effect: true, ..
            },
        ) = (happened.host, happened.deed)
        {
            *effects.entry((host, op)).or_default() += 1;
        }
    }
    effects
}

/// Returns the lines in which two values differ.
fn difference(one: &impl std::fmt::Debug, other: &impl std::fmt::Debug) -> String {
    let (one, other) = (format!("{one:#?}"), format!("{other:#?}"));
    let pairs = one.lines().zip(other.lines()).filter(|(one, other)| one != other);
    pairs
        .take(8)
        .map(|(one, other)| format!("\n{one}\n{other}"))
        .collect()
}

/// Returns the plan, and what carrying it out without a disturbance leaves.
fn undisturbed(seed: u64) -> (World, Plan, Vec<String>) {
    let mut fleet = fleet();
    let looked_at = world(seed);
    let plan = planned(&mut fleet, &looked_at);
    let world = world(seed);
    let mut trip = Trip::new(&world, &plan, "0123456789ab-1", secrets());
    let end = trip.begin_in(&world.session(), &mut Quiet);
    assert!(
        matches!(&end, End::Ended(outcome) if outcome.exit == 0),
        "{end:?}"
    );
    let lines = trip.lines;
    (world, plan, lines)
}

#[test]
fn a_run_killed_at_any_line_goes_on_to_the_same_end_and_does_everything_once() {
    for seed in [1, 2] {
        let (whole, plan, lines) = undisturbed(seed);
        let ops: u64 = whole.hosts().values().map(|station| station.ops).sum();
        assert!(ops >= 40 && lines.len() > 80, "{ops} ops, {} lines", lines.len());
        let (left_by, effects_of) = (left(&whole), effects(&whole));
        assert!(effects_of.values().all(|times| *times <= 2), "{effects_of:?}");
        for (line, boundary) in
            (1..=lines.len() as u64).flat_map(|line| [(line, Boundary::Before), (line, Boundary::After)])
        {
            let at = format!(
                "seed {seed}, killed at line {line}, {boundary:?}: {}",
                lines[line as usize - 1]
            );
            let world = world(seed);
            let session = world.session();
            session.dies_at(line, boundary);
            let mut trip = Trip::new(&world, &plan, "0123456789ab-1", secrets());
            assert_eq!(trip.begin_in(&session, &mut Quiet), End::Killed, "{at}");
            assert_eq!(
                trip.lines.len() as u64,
                line - u64::from(boundary == Boundary::Before),
                "{at}"
            );
            world.pass(70).expect("time passes");
            if trip.lines.is_empty() {
                continue;
            }
            let end = trip.resume(&mut Quiet);
            let End::Ended(outcome) = &end else {
                panic!("{at}: {end:?}")
            };
            assert_eq!(
                (outcome.exit, outcome.applied),
                (0, plan.changes.len()),
                "{at}: {outcome:?}"
            );
            assert_eq!(effects(&world), effects_of, "{at}");
            assert!(
                left(&world) == left_by,
                "{at}: {}",
                difference(&left(&world), &left_by)
            );
        }
    }
}

fn write(folder: &Path, trip: &Trip<'_>, rest: &[u8]) -> std::path::PathBuf {
    let path = journal::path(folder, &trip.run);
    let header = serde_json::to_string(&trip.recorded().header).expect("a header is plain data");
    let mut bytes = format!("{header}\n").into_bytes();
    for line in &trip.lines {
        bytes.extend(line.as_bytes());
        bytes.push(b'\n');
    }
    bytes.extend(rest);
    std::fs::write(&path, bytes).expect("a temporary folder is writable");
    path
}

#[test]
fn a_journal_cut_within_its_last_line_goes_on_from_the_line_before() {
    let (_, plan, lines) = undisturbed(1);
    let folder = tempfile::tempdir().expect("a folder");
    for line in (3..lines.len()).step_by(7) {
        let world = world(1);
        let session = world.session();
        session.dies_at(line as u64, Boundary::After);
        let mut trip = Trip::new(&world, &plan, "0123456789ab-1", secrets());
        assert_eq!(trip.begin_in(&session, &mut Quiet), End::Killed);
        // The next line was on its way when the machine went down.
        let torn = lines[line].as_bytes();
        let before = trip.recorded().lines;
        for cut in 0..=torn.len() {
            let path = write(folder.path(), &trip, &torn[..cut]);
            let read =
                journal::read(&path).unwrap_or_else(|error| panic!("line {line}, byte {cut}: {error}"));
            assert_eq!(read.lines, before, "line {line}, byte {cut}");
            // Going on cuts the torn part off; it syncs, so not every byte is tried.
            if cut % 40 == 1 {
                let (_, recorded) = Journal::open(&path).expect("it can be gone on with");
                assert_eq!(recorded.lines, before, "line {line}, byte {cut}");
                let bytes = std::fs::read(&path).expect("it is there");
                assert_eq!(bytes.last(), Some(&b'\n'), "the torn part is cut off");
            }
        }
        world.pass(70).expect("time passes");
        let end = trip.resume(&mut Quiet);
        assert!(
            matches!(&end, End::Ended(outcome) if outcome.exit == 0),
            "line {line}: {end:?}"
        );
    }
}

#[test]
fn a_journal_damaged_anywhere_else_is_refused() {
    let (world, plan, lines) = undisturbed(1);
    let folder = tempfile::tempdir().expect("a folder");
    let mut trip = Trip::new(&world, &plan, "0123456789ab-1", secrets());
    trip.lines = lines;
    let path = write(folder.path(), &trip, b"");
    let whole = std::fs::read(&path).expect("it is there");
    let refused = |bytes: &[u8], what: &str| {
        std::fs::write(&path, bytes).expect("it is writable");
        let read = Journal::open(&path).map(|(_, recorded)| recorded.lines.len());
        assert!(
            matches!(read, Err(StoreError::Damaged { .. } | StoreError::Format { .. })),
            "{what}: {read:?}"
        );
    };
    let starts: Vec<usize> = whole
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'\n')
        .map(|(at, _)| at + 1)
        .collect();
    for (line, start) in starts.iter().enumerate().take(starts.len() - 1) {
        let mut bytes = whole.clone();
        bytes[*start] = b'#';
        refused(&bytes, &format!("line {} begins otherwise", line + 1));
        let mut bytes = whole.clone();
        bytes.drain(*start..starts[line + 1]);
        if line + 2 < starts.len() {
            refused(&bytes, &format!("line {} is missing", line + 1));
        }
    }
    refused(b"{}\n", "the header says nothing");
    refused(b"", "there is no header");
}
