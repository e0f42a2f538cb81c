//! `--target` and `--exclude`: what comes along, what is held, what is said, and what is an error.

#[path = "support/pretend.rs"]
#[allow(dead_code)]
mod pretend;

use muster::model::aim::{Aims, Along};
use muster::model::change::Action;
use muster::model::manifest::Origin;
use muster::model::plan::{HeldWhy, Plan};
use muster::plan::plan;
use muster::report::{self, Extent};
use pretend::{Pretend, absent_answer, entry, file, file_answer, file_key, host};
use serde_json::json;

fn aims(targets: &[&str], excludes: &[&str]) -> Aims {
    let read = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    Aims {
        targets: read(targets),
        excludes: read(excludes),
    }
}

/// Two hosts, each with a file in a folder, another file, and one that nobody declares any more.
fn fleet() -> Pretend {
    let mut fleet = Pretend::new(&["h1", "h2"]);
    for name in ["h1", "h2"] {
        let folder = fleet.declare(name, entry("directory", json!({ "path": "/etc/app" })));
        let mut inner = file("/etc/app/a.toml", "a = 1\n");
        inner.needs.insert(folder.on(&host(name)));
        inner.modules.insert("app".parse().unwrap());
        let inner = fleet.declare(name, inner);
        let other = fleet.declare(name, file("/etc/motd", "hi\n"));
        for key in [folder, inner, other] {
            fleet.says(name, &key, absent_answer());
        }
        fleet.says(name, &file_key("/etc/old"), file_answer("old\n"));
        fleet.owns(name, &file("/etc/old", "old\n"), Origin::Made);
    }
    fleet
}

fn limited(fleet: &mut Pretend, targets: &[&str], excludes: &[&str]) -> Plan {
    fleet.aims = aims(targets, excludes);
    fleet.plan()
}

fn changes(plan: &Plan) -> Vec<String> {
    plan.changes.keys().map(ToString::to_string).collect()
}

fn refused(fleet: &mut Pretend, targets: &[&str], excludes: &[&str]) -> Vec<(String, Option<String>)> {
    fleet.aims = aims(targets, excludes);
    let found = plan(&fleet.input()).unwrap_err();
    assert!(
        found
            .iter()
            .all(|found| found.code == muster::model::code::NO_SUCH_TARGET)
    );
    found
        .iter()
        .map(|found| (found.message.clone(), found.hint.clone()))
        .collect()
}

#[test]
fn what_a_target_needs_comes_along_and_is_said() {
    let plan = limited(&mut fleet(), &["file[/etc/app/*]@h1"], &[]);
    assert_eq!(
        changes(&plan),
        ["directory[/etc/app]@h1", "file[/etc/app/a.toml]@h1"]
    );
    let aimed = plan.aimed.as_ref().unwrap();
    let file = "file[/etc/app/a.toml]@h1".parse().unwrap();
    let directory = "directory[/etc/app]@h1".parse().unwrap();
    assert_eq!(aimed.along.get(&directory), Some(&Along::NeededBy(file)));
    assert_eq!(aimed.changes_in_all, 8);
    let text = report::plan::page(&plan, Extent::default()).plain();
    assert!(
        text.contains("only file[/etc/app/*]@h1, with what it needs"),
        "{text}"
    );
    assert!(
        text.contains("directory[/etc/app] on h1 comes along: needed by file[/etc/app/a.toml]"),
        "{text}"
    );
    assert!(text.ends_with(" Limited to 2 of 8 changes.\n"), "{text}");
}

#[test]
fn a_host_a_module_and_a_pattern_are_targets_too() {
    let mut fleet = fleet();
    assert_eq!(limited(&mut fleet, &["@h2"], &[]).changes.len(), 4);
    assert_eq!(limited(&mut fleet, &["module:app@h2"], &[]).changes.len(), 2);
    assert_eq!(
        changes(&limited(&mut fleet, &["*[/etc/mo*]"], &[])),
        ["file[/etc/motd]@h1", "file[/etc/motd]@h2"]
    );
}

#[test]
fn what_is_no_longer_declared_goes_only_where_it_is_aimed_at() {
    let mut fleet = fleet();
    let plan = limited(&mut fleet, &["file[/etc/old]@h1"], &[]);
    assert_eq!(changes(&plan), ["file[/etc/old]@h1"]);
    assert!(
        plan.changes
            .values()
            .all(|change| change.action == Action::Delete)
    );
    let plan = limited(&mut fleet, &[], &["file[/etc/old]"]);
    assert!(
        plan.changes
            .values()
            .all(|change| change.action == Action::Create)
    );
    assert_eq!(plan.changes.len(), 6);
}

#[test]
fn what_stands_on_a_deletion_does_not_go_with_it() {
    let mut fleet = Pretend::new(&["h1"]);
    let folder = entry("directory", json!({ "path": "/etc/app" }));
    let key = folder.spec.key();
    let head = "type=directory\nmode=0755\nowner=root\ngroup=root\nsize=0\nchanged=1\n";
    let answer = muster::model::observation::Answer::Text {
        output: head.into(),
        status: 0,
    };
    fleet.says("h1", &key, answer);
    fleet.owns("h1", &folder, Origin::Made).delete = true;
    let mut inner = file("/etc/app/a", "x");
    inner.needs.insert(key.on(&host("h1")));
    fleet.says("h1", &file_key("/etc/app/a"), file_answer("x"));
    fleet.owns("h1", &inner, Origin::Made);
    assert_eq!(fleet.plan().changes.len(), 2, "both go where both may");
    let plan = limited(&mut fleet, &["directory[/etc/app]"], &[]);
    assert!(plan.changes.is_empty(), "{:?}", changes(&plan));
    let whys: Vec<String> = plan
        .held
        .iter()
        .map(|held| format!("{}: {}", held.what, held.why))
        .collect();
    assert_eq!(
        whys,
        [
            "directory[/etc/app]@h1: needs file[/etc/app/a]@h1, which is held",
            "file[/etc/app/a]@h1: left out by `--target`"
        ]
    );
}

#[test]
fn excluding_what_a_wanted_thing_needs_holds_it() {
    let plan = limited(&mut fleet(), &["@h1"], &["directory[*]"]);
    assert_eq!(changes(&plan), ["file[/etc/motd]@h1", "file[/etc/old]@h1"]);
    assert!(matches!(&plan.held[0].why, HeldWhy::LeftOut(by) if by.contains("--exclude")));
    assert!(matches!(&plan.held[1].why, HeldWhy::Needs(need) if need.key.kind.as_str() == "directory"));
    // What is excluded and needed by nothing that changes is not spoken of.
    assert!(limited(&mut fleet(), &[], &["file[/etc/motd]"]).held.is_empty());
}

/// A file whose change wipes a second, whose loss wipes a third: nothing of it is done without the rest.
#[test]
fn what_would_wipe_what_is_left_out_is_held() {
    for out in ["file[/run/a]", "file[/run/b]"] {
        let mut fleet = Pretend::new(&["h1"]);
        let wiping = fleet.declare("h1", file("/etc/a.toml", "new\n"));
        fleet.says("h1", &wiping, file_answer("old\n"));
        fleet.owns("h1", &file("/etc/a.toml", "old\n"), Origin::Made);
        let mut former = wiping;
        for path in ["/run/a", "/run/b"] {
            let mut lost = file(path, "x\n");
            lost.needs.insert(former.on(&host("h1")));
            lost.loses_on.insert(former.on(&host("h1")));
            let key = fleet.declare("h1", lost.clone());
            fleet.says("h1", &key, file_answer("x\n"));
            fleet.owns("h1", &lost, Origin::Made);
            former = key;
        }
        assert_eq!(fleet.plan().changes.len(), 3, "the change wipes both");
        let plan = limited(&mut fleet, &[], &[out]);
        assert!(plan.changes.is_empty(), "{:?}", changes(&plan));
        assert!(
            plan.held
                .iter()
                .any(|held| matches!(&held.why, HeldWhy::Wipes(_))),
            "{:?}",
            plan.held
        );
    }
}

#[test]
fn a_service_that_keeps_what_it_read_is_named() {
    let mut fleet = Pretend::new(&["h1"]);
    let config = fleet.declare("h1", file("/etc/a.toml", "new\n"));
    fleet.says("h1", &config, file_answer("old\n"));
    fleet.owns("h1", &file("/etc/a.toml", "old\n"), Origin::Made);
    let mut unit = entry("unit", json!({ "name": "a.service", "running": true }));
    unit.needs.insert(config.on(&host("h1")));
    unit.restart_on.insert(config.on(&host("h1")));
    let key = fleet.declare("h1", unit.clone());
    let show = "LoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=enabled\nInvocationID=1\nNeedDaemonReload=no\nResult=success\nFragmentPath=/x\n";
    fleet.says(
        "h1",
        &key,
        muster::model::observation::Answer::Text {
            output: show.into(),
            status: 0,
        },
    );
    let whole = fleet.plan();
    assert!(
        whole.changes.contains_key(&key.on(&host("h1"))),
        "{:?} {:?}",
        changes(&whole),
        whole.held
    );
    let plan = limited(&mut fleet, &["file[/etc/a.toml]"], &[]);
    assert_eq!(changes(&plan), ["file[/etc/a.toml]@h1"]);
    assert_eq!(
        plan.notes[0].text,
        "unit[a.service] is left out, and goes on with the old file[/etc/a.toml]"
    );
    // The other way round: the unit cannot be restarted with what it should read while that is left out.
    let plan = limited(&mut fleet, &["unit[*]"], &["file[*]"]);
    assert!(plan.changes.is_empty() && plan.held.len() == 2, "{:?}", plan.held);
}

#[test]
fn an_aim_that_means_nothing_is_an_error_with_a_near_name() {
    let mut fleet = fleet();
    let found = refused(&mut fleet, &["file[/etc/motdd]", "module:ap"], &["@h3"]);
    assert_eq!(found.len(), 3);
    assert_eq!(
        found[0],
        (
            "--target file[/etc/motdd]: no such resource is declared, and no manifest has one".to_owned(),
            Some("did you mean `file[/etc/motd]`?".to_owned())
        )
    );
    assert_eq!(found[1].1.as_deref(), Some("did you mean `app`?"));
    assert_eq!(found[2].0, "--exclude @h3: there is no host `h3`");
    fleet.limit = Some(("h2".to_owned(), [host("h2")].into()));
    let found = refused(&mut fleet, &["@h1"], &[]);
    assert_eq!(found[0].1.as_deref(), Some("--limit h2 leaves out some hosts"));
}
