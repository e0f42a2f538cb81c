//! Which changes a plan puts under a dead-man switch, in which section, and which it holds since no switch could take them back.

// This suite uses a part of it.
#[allow(dead_code)]
#[path = "support/pretend.rs"]
mod pretend;

use std::collections::BTreeSet;

use muster::model::gate::{Check, Gate, OnDeadline};
use muster::model::id::{ResourceId, ResourceKey};
use muster::model::plan::{HeldWhy, Plan};
use muster::model::target::{HostKey, SshTarget, Transport};
use muster::resource::desired::Entry;
use pretend::{Pretend, absent_answer, entry, file, file_answer, host};
use serde_json::json;

/// A host over SSH as `ops`.
fn fleet() -> Pretend {
    let mut fleet = Pretend::new(&["h1", "h2"]);
    for declared in fleet.inventory.hosts.values_mut() {
        declared.target.transport = Transport::Ssh(SshTarget {
            address: declared.id.to_string(),
            port: None,
            user: Some("ops".to_owned()),
            identity_file: None,
            host_key: HostKey::KnownHosts,
            via: None,
        });
    }
    fleet
}

/// Declares a file that is not there yet, with what it needs on its host.
fn declare(fleet: &mut Pretend, name: &str, path: &str, needs: &[&str]) -> ResourceKey {
    let needs = needs.iter().map(|need| id(need)).collect();
    let key = fleet.declare(
        name,
        Entry {
            needs,
            ..file(path, "x\n")
        },
    );
    fleet.says(name, &key, absent_answer());
    key
}

fn id(text: &str) -> ResourceId {
    text.parse().expect("a resource of the fleet")
}

fn section(plan: &Plan, name: &str) -> Vec<String> {
    let switch = plan.switches.get(&host(name));
    switch
        .into_iter()
        .flat_map(|switch| &switch.changes)
        .map(|id| id.key.name.clone())
        .collect()
}

fn whys(plan: &Plan) -> Vec<String> {
    plan.held.iter().map(|held| held.why.to_string()).collect()
}

#[test]
fn what_may_cut_us_off_and_what_stands_between_is_one_section_of_one_wave() {
    let mut fleet = fleet();
    declare(&mut fleet, "h1", "/etc/a", &[]);
    declare(&mut fleet, "h1", "/etc/ssh/sshd_config.d/x.conf", &[]);
    declare(
        &mut fleet,
        "h1",
        "/etc/between",
        &["file[/etc/ssh/sshd_config.d/x.conf]@h1"],
    );
    declare(&mut fleet, "h1", "/etc/sudoers.d/ops", &["file[/etc/between]@h1"]);
    declare(&mut fleet, "h1", "/etc/z", &["file[/etc/sudoers.d/ops]@h1"]);
    declare(&mut fleet, "h2", "/etc/b", &[]);
    let plan = fleet.plan();
    assert_eq!(
        section(&plan, "h1"),
        [
            "/etc/ssh/sshd_config.d/x.conf",
            "/etc/between",
            "/etc/sudoers.d/ops"
        ]
    );
    assert!(section(&plan, "h2").is_empty());
    let switch = &plan.switches[&host("h1")];
    assert_eq!(switch.cuts.len(), 2, "what stands between cuts nobody off");
    assert_eq!(switch.within_secs, 60);
    assert!(switch.restores.paths.contains("/etc/between"));
    assert!(switch.restores.readers.contains("ssh.service"));
    let wave = plan
        .waves
        .iter()
        .find(|wave| wave.changes.contains(&switch.changes[0]))
        .expect("it is in a wave");
    let place = |id: &ResourceId| wave.changes.iter().position(|change| change == id);
    let places: Vec<usize> = switch.changes.iter().filter_map(place).collect();
    assert_eq!(places.len(), 3);
    assert_eq!(places[2] - places[0], 2, "one after the other");
    let last = plan.waves.iter().flat_map(|wave| &wave.changes).last();
    assert!(plan.held.is_empty() && last.is_some());
}

#[test]
fn a_section_waits_as_a_whole_for_other_hosts() {
    let mut fleet = fleet();
    fleet.inventory.policy.batch = muster::model::wave::Share::Count(1);
    declare(&mut fleet, "h1", "/etc/ssh/a", &[]);
    declare(&mut fleet, "h1", "/etc/ssh/b", &["file[/etc/x]@h2"]);
    declare(&mut fleet, "h2", "/etc/x", &[]);
    let plan = fleet.plan();
    assert_eq!(section(&plan, "h1"), ["/etc/ssh/a", "/etc/ssh/b"]);
    let waves: Vec<usize> = plan
        .waves
        .iter()
        .enumerate()
        .filter(|(_, wave)| wave.changes.iter().any(|id| id.key.name.starts_with("/etc/ssh")))
        .map(|(n, _)| n)
        .collect();
    assert_eq!(waves.len(), 1, "{:?}", plan.waves);
}

#[test]
fn without_systemd_or_a_way_back_it_is_held() {
    let mut fleet = fleet();
    declare(&mut fleet, "h1", "/etc/ssh/a", &[]);
    declare(&mut fleet, "h1", "/etc/a", &[]);
    fleet
        .view("h1")
        .machine
        .as_mut()
        .expect("it answered")
        .has_systemd = false;
    let plan = fleet.plan();
    assert_eq!(plan.changes.len(), 1);
    assert!(
        matches!(&plan.held[0].why, HeldWhy::NoSwitch(why) if why.contains("no systemd")),
        "{:?}",
        whys(&plan)
    );
    assert!(plan.switches.is_empty());
}

#[test]
fn a_gate_or_another_host_in_the_middle_is_held() {
    let gate = Gate {
        name: "up".to_owned(),
        check: Check::Command("true".to_owned()),
        within_secs: 10,
        stable_for_secs: 0,
        every_secs: 1,
        on_deadline: OnDeadline::Halt,
    };
    let mut gated = fleet();
    let key = declare(&mut gated, "h1", "/etc/ssh/a", &[]);
    let desired = gated
        .desired
        .hosts
        .get_mut(&host("h1"))
        .expect("the host is there");
    desired.entries.get_mut(&key).expect("declared").gates = vec![gate];
    declare(&mut gated, "h1", "/etc/ssh/b", &["file[/etc/ssh/a]@h1"]);
    let plan = gated.plan();
    assert!(plan.changes.is_empty());
    assert!(
        whys(&plan)[0].contains("a gate of file[/etc/ssh/a]"),
        "{:?}",
        whys(&plan)
    );

    let mut crossed = fleet();
    declare(&mut crossed, "h1", "/etc/ssh/a", &[]);
    declare(&mut crossed, "h2", "/etc/x", &["file[/etc/ssh/a]@h1"]);
    declare(&mut crossed, "h1", "/etc/ssh/b", &["file[/etc/x]@h2"]);
    let plan = crossed.plan();
    assert!(plan.switches.is_empty());
    assert!(
        whys(&plan).iter().any(|why| why.contains("in the middle of it")),
        "{:?}",
        whys(&plan)
    );
}

#[test]
fn sections_that_wait_for_each_other_are_held_and_not_left_out() {
    let mut fleet = fleet();
    declare(&mut fleet, "h1", "/etc/ssh/a", &["file[/etc/ssh/b]@h2"]);
    declare(&mut fleet, "h2", "/etc/ssh/a", &["file[/etc/ssh/b]@h1"]);
    declare(&mut fleet, "h1", "/etc/ssh/b", &[]);
    declare(&mut fleet, "h2", "/etc/ssh/b", &[]);
    let plan = fleet.plan();
    let held: BTreeSet<String> = plan.held.iter().map(|held| held.what.to_string()).collect();
    let planned = plan.waves.iter().flat_map(|wave| &wave.changes).count();
    assert_eq!(planned, plan.changes.len(), "every change has its wave");
    assert_eq!(held.len() + planned, 4, "{held:?}");
    assert!(!held.is_empty());
}

#[test]
fn this_machine_and_ordinary_changes_have_no_switch() {
    let mut local = Pretend::new(&["h1"]);
    declare(&mut local, "h1", "/etc/ssh/a", &[]);
    assert!(local.plan().switches.is_empty());

    let mut plain = fleet();
    declare(&mut plain, "h1", "/etc/sshguard.conf", &[]);
    let account = plain.declare("h1", entry("account", json!({ "name": "app" })));
    let none = muster::model::observation::Answer::Text {
        output: String::new(),
        status: 0,
    };
    plain.says("h1", &account, none);
    let settled = plain.declare("h1", file("/etc/ssh/b", "y\n"));
    plain.says("h1", &settled, file_answer("y\n"));
    let plan = plain.plan();
    assert!(plan.switches.is_empty(), "{:?}", plan.switches);
    assert_eq!(plan.changes.len(), 2);
}
