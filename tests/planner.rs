//! The planner on fleets made by hand: what is created, changed, held, deleted and forgotten, and in which waves.

#[path = "support/pretend.rs"]
mod pretend;

use muster::model::change::{Action, Disruption, Reason};
use muster::model::id::ResourceKey;
use muster::model::manifest::{ManifestState, Origin, OwnedState, StartedWith};
use muster::model::observation::{Answer, HostView};
use muster::model::plan::{HeldWhat, HeldWhy, Plan};
use muster::model::wave::{Canary, Share, WaveKind};
use muster::resource::desired::Entry;
use pretend::{Pretend, absent_answer, entry, file, file_answer, file_key, host};
use serde_json::json;

fn actions(plan: &Plan) -> Vec<(String, Action)> {
    plan.changes
        .iter()
        .map(|(id, change)| (id.to_string(), change.action))
        .collect()
}

fn held(plan: &Plan) -> Vec<&HeldWhy> {
    plan.held.iter().map(|held| &held.why).collect()
}

/// One host, one declared file, which the host says to be like this.
fn one_file(answer: Answer) -> Pretend {
    let mut fleet = Pretend::new(&["h1"]);
    let key = fleet.declare("h1", file("/etc/a", "wanted\n"));
    fleet.says("h1", &key, answer);
    fleet
}

/// One host that owns a file which nobody declares.
fn leftover(answer: Answer, origin: Origin) -> Pretend {
    let mut fleet = Pretend::new(&["h1"]);
    fleet.says("h1", &file_key("/etc/a"), answer);
    fleet.owns("h1", &file("/etc/a", "wanted\n"), origin);
    fleet
}

#[test]
fn what_is_not_there_is_created_and_what_differs_is_changed() {
    let plan = one_file(absent_answer()).plan();
    assert_eq!(actions(&plan), [("file[/etc/a]@h1".to_owned(), Action::Create)]);
    assert_eq!(plan.changes.values().next().unwrap().reasons, [Reason::Missing]);
    let plan = one_file(file_answer("other\n")).plan();
    assert_eq!(actions(&plan), [("file[/etc/a]@h1".to_owned(), Action::Update)]);
    let fields: Vec<&str> = plan
        .changes
        .values()
        .flat_map(|change| &change.fields)
        .map(|field| field.field.as_str())
        .collect();
    assert_eq!(fields, ["content"]);
}

#[test]
fn settled_stays_settled_and_what_was_found_is_recorded_once() {
    let mut fleet = one_file(file_answer("wanted\n"));
    let plan = fleet.plan();
    assert!(plan.changes.is_empty() && plan.waves.is_empty() && plan.held.is_empty());
    assert_eq!(plan.takes[&host("h1")].len(), 1);
    assert!(!plan.takes[&host("h1")][0].keep.is_made);
    fleet.owns("h1", &file("/etc/a", "wanted\n"), Origin::Found);
    let plan = fleet.plan();
    assert!(plan.changes.is_empty() && plan.takes.is_empty() && plan.basis.is_empty());
}

#[test]
fn unknown_is_held_and_neither_created_nor_deleted() {
    let unreadable = Answer::Text {
        output: "permission denied".into(),
        status: 1,
    };
    for mut fleet in [one_file(unreadable.clone()), leftover(unreadable, Origin::Made)] {
        let plan = fleet.plan();
        assert!(plan.changes.is_empty());
        assert!(matches!(held(&plan)[..], [HeldWhy::Unknown(_)]));
        fleet.view("h1").answers.clear();
        let plan = fleet.plan();
        assert!(plan.changes.is_empty());
        assert!(matches!(held(&plan)[..], [HeldWhy::Unknown(_)]));
    }
}

#[test]
fn unreachable_host_is_held_whole_and_the_others_go_on() {
    let mut fleet = Pretend::new(&["h1", "h2"]);
    for name in ["h1", "h2"] {
        let key = fleet.declare(name, file("/etc/a", "x"));
        fleet.says(name, &key, absent_answer());
    }
    *fleet.view("h1") = HostView::unreachable("no route");
    let plan = fleet.plan();
    assert_eq!(actions(&plan), [("file[/etc/a]@h2".to_owned(), Action::Create)]);
    assert_eq!(plan.held[0].what, HeldWhat::Host(host("h1")));
    assert_eq!(held(&plan), [&HeldWhy::Unreachable("no route".into())]);
}

#[test]
fn removed_resource_is_deleted_held_or_forgotten() {
    let plan = leftover(file_answer("wanted\n"), Origin::Made).plan();
    assert_eq!(actions(&plan), [("file[/etc/a]@h1".to_owned(), Action::Delete)]);
    let plan = leftover(file_answer("wanted\n"), Origin::Found).plan();
    assert_eq!(actions(&plan), [("file[/etc/a]@h1".to_owned(), Action::Forget)]);
    assert!(plan.changes.values().all(|change| change.ops.is_empty()));
    let plan = leftover(absent_answer(), Origin::Made).plan();
    assert_eq!(actions(&plan), [("file[/etc/a]@h1".to_owned(), Action::Forget)]);

    let mut by_hand = leftover(file_answer("wanted\n"), Origin::Made);
    by_hand.says("h1", &file_key("/etc/a"), file_answer("by hand\n"));
    let plan = by_hand.plan();
    assert!(plan.changes.is_empty());
    assert_eq!(held(&plan), [&HeldWhy::ChangedByHand]);
}

#[test]
fn protected_resource_is_neither_deleted_nor_replaced() {
    let mut fleet = leftover(file_answer("wanted\n"), Origin::Made);
    let ManifestState::Present(manifest) = &mut fleet.view("h1").manifest else {
        panic!("a manifest")
    };
    manifest.owned.values_mut().for_each(|owned| owned.protect = true);
    assert_eq!(held(&fleet.plan()), [&HeldWhy::Protected]);

    let directory = "type=directory\nmode=0755\nowner=root\ngroup=root\nsize=1\nchanged=1\nempty=yes\n";
    let mut fleet = one_file(Answer::Text {
        output: directory.into(),
        status: 0,
    });
    assert_eq!(actions(&fleet.plan())[0].1, Action::Replace);
    let desired = fleet.desired.hosts.get_mut(&host("h1")).unwrap();
    desired
        .entries
        .values_mut()
        .for_each(|entry| entry.protect = true);
    assert_eq!(held(&fleet.plan()), [&HeldWhy::Protected]);
}

#[test]
fn identity_path_is_never_deleted() {
    let mut fleet = Pretend::new(&["h1"]);
    let path = "/srv/gonka/.tmkms/state.json";
    fleet.says("h1", &file_key(path), file_answer("{}"));
    fleet.owns("h1", &file(path, "{}"), Origin::Made).delete = true;
    let plan = fleet.plan();
    assert!(plan.changes.is_empty());
    assert!(matches!(held(&plan)[..], [HeldWhy::Kept(_)]));
}

#[test]
fn group_that_an_account_still_has_goes_with_it_or_stays() {
    let answer = |output: &str| Answer::Text {
        output: output.into(),
        status: 0,
    };
    let mut fleet = Pretend::new(&["h1"]);
    fleet.says(
        "h1",
        &ResourceKey::new("group", "app"),
        answer("app:x:900:\nada\n"),
    );
    fleet
        .owns("h1", &entry("group", json!({ "name": "app" })), Origin::Made)
        .delete = true;
    let plan = fleet.plan();
    assert!(plan.changes.is_empty());
    let why = "it is the primary group of the account ada";
    assert_eq!(held(&plan), [&HeldWhy::Kept(why.into())]);

    let account = answer("ada:x:900:900::/home/ada:/bin/sh\n\napp\n");
    fleet.says("h1", &ResourceKey::new("account", "ada"), account);
    let ada = entry("account", json!({ "name": "ada", "group": "app" }));
    fleet.owns("h1", &ada, Origin::Made).delete = true;
    let gone = ["account[ada]@h1", "group[app]@h1"].map(|id| (id.to_owned(), Action::Delete));
    assert_eq!(actions(&fleet.plan()), gone);
}

#[test]
fn ignored_field_is_left_to_others() {
    let mut fleet = one_file(file_answer("other\n"));
    let desired = fleet.desired.hosts.get_mut(&host("h1")).unwrap();
    desired
        .entries
        .values_mut()
        .for_each(|entry| entry.ignore = ["content".to_owned()].into());
    assert!(fleet.plan().changes.is_empty());
}

#[test]
fn drift_and_changed_declaration_have_different_reasons() {
    let mut fleet = one_file(file_answer("wanted\n"));
    fleet.owns("h1", &file("/etc/a", "wanted\n"), Origin::Made);
    fleet.says("h1", &file_key("/etc/a"), file_answer("by hand\n"));
    assert_eq!(
        fleet.plan().changes.values().next().unwrap().reasons,
        [Reason::Drifted]
    );

    let mut fleet = one_file(file_answer("old\n"));
    fleet.owns("h1", &file("/etc/a", "old\n"), Origin::Made);
    assert_eq!(
        fleet.plan().changes.values().next().unwrap().reasons,
        [Reason::Differs]
    );
}

#[test]
fn unfinished_change_is_looked_at_again() {
    let mut fleet = one_file(file_answer("half\n"));
    fleet.owns("h1", &file("/etc/a", "wanted\n"), Origin::Made).state = OwnedState::Intent;
    assert_eq!(
        fleet.plan().changes.values().next().unwrap().reasons,
        [Reason::Unfinished]
    );
    fleet.says("h1", &file_key("/etc/a"), file_answer("wanted\n"));
    let plan = fleet.plan();
    assert!(plan.changes.is_empty());
    assert!(plan.takes[&host("h1")][0].keep.is_made);
}

/// A service that runs since 1,700,000,000 as muster started it, and a file that it consumes, both as declared.
fn started_service() -> (Pretend, Entry) {
    let mut fleet = one_file(file_answer("wanted\n"));
    let mut service = entry("unit", json!({ "name": "app.service", "running": true }));
    service.restart_on.insert(file_key("/etc/a").on(&host("h1")));
    let key = fleet.declare("h1", service.clone());
    let state = "Id=app.service\nLoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=enabled\n\
        NeedDaemonReload=no\nCanReload=no\nInvocationID=aa11\nActiveEnterTimestamp=Tue 2023-11-14 22:13:20 UTC\n\
        Type=simple\nResult=success\n";
    let answer = Answer::Text {
        output: state.into(),
        status: 0,
    };
    fleet.says("h1", &key, answer);
    fleet.owns("h1", &file("/etc/a", "wanted\n"), Origin::Made);
    let consumed = match fleet.plan().takes.get(&host("h1")).map(Vec::as_slice) {
        Some([take]) => take.keep.consumed.clone().expect("a unit's digest"),
        takes => panic!("the unit alone is taken: {takes:?}"),
    };
    fleet.owns("h1", &service, Origin::Made).started_with = Some(StartedWith {
        consumed,
        invocation: "aa11".into(),
        at_secs: Some(1_700_000_000),
    });
    (fleet, service)
}

#[test]
fn what_is_newer_than_the_start_that_consumed_it_restarts_in_any_later_plan() {
    let (mut fleet, _) = started_service();
    assert!(fleet.plan().changes.is_empty(), "settled");
    let file = file("/etc/a", "wanted\n");
    // Written, and recorded; then the controller was lost.
    fleet.owns("h1", &file, Origin::Made).changed_at_secs = Some(1_700_000_050);
    let restarts = [("unit[app.service]@h1".to_owned(), Action::Update)];
    assert_eq!(actions(&fleet.plan()), restarts);
    // Written, and the controller was lost before it was recorded.
    fleet.owns("h1", &file, Origin::Made).state = OwnedState::Intent;
    assert_eq!(actions(&fleet.plan()), restarts);
}

#[test]
fn renamed_resource_keeps_its_history() {
    let mut fleet = one_file(file_answer("wanted\n"));
    fleet.says("h1", &file_key("/etc/old"), file_answer("wanted\n"));
    fleet.owns("h1", &file("/etc/old", "wanted\n"), Origin::Made);
    let desired = fleet.desired.hosts.get_mut(&host("h1")).unwrap();
    desired.moved.insert(file_key("/etc/a"), file_key("/etc/old"));
    let plan = fleet.plan();
    assert!(plan.changes.is_empty());
    let take = &plan.takes[&host("h1")][0];
    assert_eq!(
        (take.keep.moved_from.as_ref(), take.keep.is_made),
        (Some(&file_key("/etc/old")), true)
    );
}

#[test]
fn foreign_wiped_and_swapped_hosts_are_held() {
    let mut fleet = one_file(absent_answer());
    fleet.owns("h1", &file("/etc/b", ""), Origin::Made);
    let rename = |fleet: &mut Pretend, host_name: &str| {
        let ManifestState::Present(manifest) = &mut fleet.view("h1").manifest else {
            panic!("a manifest")
        };
        manifest.host = host(host_name);
    };
    rename(&mut fleet, "h9");
    assert!(matches!(held(&fleet.plan())[..], [HeldWhy::NotOurs(_)]));
    fleet.inventory.hosts.get_mut(&host("h1")).unwrap().renamed_from = Some(host("h9"));
    assert!(!fleet.plan().changes.is_empty());

    let mut wiped = one_file(absent_answer());
    wiped.lineages.insert(host("h1"), "lineage-h1".into());
    let plan = wiped.plan();
    assert!(plan.changes.is_empty() && matches!(held(&plan)[..], [HeldWhy::NotOurs(_)]));

    let mut damaged = one_file(absent_answer());
    damaged.view("h1").manifest = ManifestState::Unreadable("checksum".into());
    assert!(matches!(held(&damaged.plan())[..], [HeldWhy::NotOurs(_)]));
}

#[test]
fn two_hosts_that_are_one_machine_are_an_error_before_any_change() {
    let mut fleet = Pretend::new(&["h1", "h2"]);
    fleet.view("h2").machine.as_mut().unwrap().id = "machine-h1".into();
    let error = muster::plan::plan(&fleet.input()).unwrap_err();
    assert!(
        error
            .iter()
            .next()
            .unwrap()
            .message
            .contains("`h1` and `h2` are one machine")
    );
}

#[test]
fn change_waits_for_what_it_needs_on_another_host_and_is_held_with_it() {
    let mut fleet = Pretend::new(&["a", "b"]);
    let first = fleet.declare("b", file("/etc/first", "x"));
    let mut second = file("/etc/second", "y");
    second.needs.insert(first.on(&host("b")));
    let second = fleet.declare("a", second);
    fleet.says("b", &first, absent_answer());
    fleet.says("a", &second, absent_answer());
    fleet.inventory.policy.batch = Share::Count(1);
    let plan = fleet.plan();
    let wave_of = |name: &str| {
        plan.waves
            .iter()
            .position(|wave| wave.hosts.contains(&host(name)))
            .unwrap()
    };
    assert!(wave_of("b") < wave_of("a") || plan.waves.iter().all(|wave| wave.hosts.len() == 2));
    assert!(
        plan.changes[&second.on(&host("a"))]
            .needs
            .contains(&first.on(&host("b")))
    );

    *fleet.view("b") = HostView::unreachable("down");
    let plan = fleet.plan();
    assert!(plan.changes.is_empty());
    assert!(held(&plan).iter().any(|why| matches!(why, HeldWhy::Needs(_))));
}

#[test]
fn what_is_held_keeps_what_it_stands_on() {
    let unreadable = Answer::NoAnswer("timed out".into());
    for (answer, count) in [(unreadable, 0), (file_answer("user\n"), 2)] {
        let mut fleet = Pretend::new(&["h1"]);
        let base = file("/etc/base", "base\n");
        let mut user = file("/etc/user", "user\n");
        user.needs.insert(base.spec.key().on(&host("h1")));
        for (entry, content) in [(&base, "base\n"), (&user, "user\n")] {
            fleet.says("h1", &entry.spec.key(), file_answer(content));
            fleet.owns("h1", entry, Origin::Made);
        }
        fleet.says("h1", &user.spec.key(), answer);
        let plan = fleet.plan();
        assert_eq!(plan.changes.len(), count, "{:?}", plan.held);
    }
}

#[test]
fn images_come_ahead_of_all_waves_where_something_is_taken_down_for_them() {
    let spec = |image: &str| json!({ "spec": { "project": "p", "service": "s", "number": 1, "name": "p-s-1", "image": image, "settings": {} }, "within_secs": 9 });
    let said = |json: serde_json::Value| Answer::Text {
        output: json.to_string(),
        status: 0,
    };
    let mut fleet = Pretend::new(&["h1", "h2", "h3"]);
    for name in ["h1", "h2", "h3"] {
        let image = fleet.declare(name, entry("image", json!({ "name": "app:2" })));
        fleet.says(name, &image, said(json!(null)));
        let mut container = entry("container", spec("app:2"));
        container.needs.insert(image.on(&host(name)));
        let key = fleet.declare(name, container);
        let there = json!({
            "id": "c", "name": "p-s-1", "image": "app:1", "runs": { "id": "sha256:1" }, "settings": {},
            "state": { "status": "running" }
        });
        // On the third nothing serves yet.
        fleet.says(name, &key, said(if name == "h3" { json!(null) } else { there }));
    }
    fleet.inventory.policy.batch = Share::Count(1);
    fleet.inventory.policy.down_max = Share::Count(1);
    let plan = fleet.plan();
    let waves: Vec<(WaveKind, Vec<String>)> = plan
        .waves
        .iter()
        .map(|wave| (wave.kind, wave.changes.iter().map(ToString::to_string).collect()))
        .collect();
    let wave = |kind, changes: &[&str]| {
        (
            kind,
            changes.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>(),
        )
    };
    assert_eq!(
        waves,
        [
            wave(WaveKind::Ahead, &["image[app:2]@h1", "image[app:2]@h2"]),
            wave(WaveKind::Batch, &["container[p-s-1]@h1"]),
            wave(WaveKind::Batch, &["container[p-s-1]@h2"]),
            wave(WaveKind::Batch, &["image[app:2]@h3", "container[p-s-1]@h3"]),
        ]
    );
    assert!(plan.waves[0].after.is_empty(), "nothing that serves has changed");
}

#[test]
fn waves_begin_with_canaries_and_keep_to_batch_and_spread() {
    let names = ["h1", "h2", "h3", "h4", "h5"];
    let mut fleet = Pretend::new(&names);
    for (index, name) in names.iter().enumerate() {
        let key = fleet.declare(name, file("/etc/a", "x"));
        fleet.says(name, &key, absent_answer());
        let site = if index < 3 { "fra" } else { "hel" };
        fleet
            .inventory
            .hosts
            .get_mut(&host(name))
            .unwrap()
            .labels
            .insert("site".into(), site.into());
    }
    fleet.inventory.policy.canary = Some(Canary::First(Share::Count(1)));
    fleet.inventory.policy.batch = Share::Percent(40);
    fleet.inventory.policy.spread = Some("site".into());
    let plan = fleet.plan();
    let waves: Vec<(WaveKind, Vec<String>)> = plan
        .waves
        .iter()
        .map(|wave| (wave.kind, wave.hosts.iter().map(ToString::to_string).collect()))
        .collect();
    let wave = |kind, hosts: &[&str]| {
        (
            kind,
            hosts.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>(),
        )
    };
    assert_eq!(
        waves,
        [
            wave(WaveKind::Canary, &["h1"]),
            wave(WaveKind::Batch, &["h2", "h4"]),
            wave(WaveKind::Batch, &["h3", "h5"]),
        ]
    );
}

#[test]
fn nothing_disrupts_where_too_many_are_down_already() {
    let mut fleet = Pretend::new(&["h1", "h2", "h3"]);
    *fleet.view("h3") = HostView::unreachable("down");
    for name in ["h1", "h2"] {
        let unit = entry("unit", json!({ "name": "app.service", "running": false }));
        let key = fleet.declare(name, unit);
        let running = "Id=app.service\nLoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=disabled\n\
             FragmentPath=/etc/systemd/system/app.service\nNeedDaemonReload=no\nInvocationID=1\nActiveEnterTimestamp=@1700000000\nType=simple\nResult=success\n";
        fleet.says(
            name,
            &key,
            Answer::Text {
                output: running.into(),
                status: 0,
            },
        );
    }
    for (down_max, expected) in [(2, 2), (1, 0)] {
        fleet.inventory.policy.down_max = Share::Count(down_max);
        let plan = fleet.plan();
        let disrupts = |change: &&muster::model::change::Change| change.disruption != Disruption::None;
        assert_eq!(plan.changes.values().filter(disrupts).count(), expected);
        // One is down already, so of two that may be down at once each wave takes one.
        assert!(
            plan.waves.iter().all(|wave| wave.hosts.len() == 1),
            "{:?}",
            plan.waves
        );
    }
}

#[test]
fn change_waits_for_nothing_that_found_no_room() {
    let mut fleet = Pretend::new(&["h1", "h2"]);
    *fleet.view("h2") = HostView::unreachable("down");
    let unit = fleet.declare(
        "h1",
        entry("unit", json!({ "name": "app.service", "running": false })),
    );
    let output = "Id=app.service\nLoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=disabled\n\
         NeedDaemonReload=no\nCanReload=yes\nInvocationID=1\nActiveEnterTimestamp=@1700000000\n";
    let running = Answer::Text {
        output: output.into(),
        status: 0,
    };
    fleet.says("h1", &unit, running);
    let mut settled = file("/etc/settled", "x");
    settled.needs.insert(unit.on(&host("h1")));
    let settled = fleet.declare("h1", settled);
    fleet.says("h1", &settled, file_answer("x"));
    let mut last = file("/etc/last", "y");
    last.needs.insert(settled.on(&host("h1")));
    let last = fleet.declare("h1", last);
    fleet.says("h1", &last, absent_answer());
    assert!(!fleet.plan().changes[&last.on(&host("h1"))].needs.is_empty());
    fleet.inventory.policy.down_max = Share::Count(1);
    let plan = fleet.plan();
    assert!(held(&plan).iter().any(|why| matches!(why, HeldWhy::NoRoom(_))));
    assert!(plan.changes[&last.on(&host("h1"))].needs.is_empty());
}

#[test]
fn what_is_unreadable_and_was_wiped_is_held_once() {
    let mut fleet = Pretend::new(&["h1"]);
    let base = fleet.declare("h1", file("/etc/base", "x"));
    fleet.says("h1", &base, absent_answer());
    let mut user = file("/etc/user", "y");
    user.needs.insert(base.on(&host("h1")));
    user.loses_on = user.needs.clone();
    let user = fleet.declare("h1", user);
    fleet.says("h1", &user, Answer::NoAnswer("timed out".into()));
    let plan = fleet.plan();
    let unread = held(&plan)
        .into_iter()
        .filter(|why| matches!(why, HeldWhy::Unknown(_)))
        .count();
    assert_eq!(unread, 1, "{:?}", plan.held);
}

#[test]
fn limit_leaves_other_hosts_alone() {
    let mut fleet = Pretend::new(&["h1", "h2"]);
    for name in ["h1", "h2"] {
        let key = fleet.declare(name, file("/etc/a", "x"));
        fleet.says(name, &key, absent_answer());
    }
    fleet.limit = Some(("h2".into(), [host("h2")].into()));
    let plan = fleet.plan();
    assert_eq!(actions(&plan), [("file[/etc/a]@h2".to_owned(), Action::Create)]);
    assert_eq!(plan.limited_to, Some(("h2".into(), 1)));
}

#[test]
fn equal_inputs_give_equal_plans() {
    let fleet = one_file(absent_answer());
    assert_eq!(fleet.plan().digest(), fleet.plan().digest());
    let json = serde_json::to_string(&fleet.plan()).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), fleet.plan());
}

#[test]
fn what_would_wipe_something_held_is_held_too() {
    let mut fleet = Pretend::new(&["h1"]);
    let wiping = fleet.declare("h1", file("/etc/wiping", "new\n"));
    fleet.says("h1", &wiping, file_answer("old\n"));
    let mut lost = file("/etc/lost", "x\n");
    lost.loses_on.insert(wiping.on(&host("h1")));
    let lost = fleet.declare("h1", lost);
    fleet.says(
        "h1",
        &lost,
        Answer::Text {
            output: "permission denied".into(),
            status: 1,
        },
    );
    let plan = fleet.plan();
    assert!(plan.changes.is_empty());
    assert!(
        held(&plan).contains(&&HeldWhy::Wipes(lost.on(&host("h1")))),
        "{:?}",
        plan.held
    );

    fleet.says("h1", &lost, file_answer("x\n"));
    let names: Vec<String> = fleet.plan().changes.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["file[/etc/lost]@h1", "file[/etc/wiping]@h1"]);
}
