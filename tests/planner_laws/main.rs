//! The laws that every plan keeps, over drawn fleets with resources of every kind on hosts in memory.

#[path = "../support/host.rs"]
mod host;
// The suites of the planner and of the kinds use the rest of these two.
#[path = "../support/pretend.rs"]
#[allow(dead_code)]
mod pretend;
#[path = "../support/scenes.rs"]
mod scenes;

mod aims;
mod draw;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use draw::{Drawn, fleets};
use host::SECRET;
use muster::model::change::{Action, Disruption};
use muster::model::id::{HostId, ResourceId};
use muster::model::manifest::Origin;
use muster::model::observation::Observed;
use muster::model::plan::{HeldWhat, HeldWhy, Plan};
use muster::model::wave::WaveKind;
use muster::resource::KINDS;
use proptest::prelude::*;
use world::World;

fn bytes(plan: &Plan) -> String {
    serde_json::to_string(plan).expect("a plan is plain data")
}

/// Returns everything that is held, resource by resource.
fn held(plan: &Plan, world: &World) -> BTreeSet<ResourceId> {
    let whole: BTreeSet<&HostId> = plan
        .held
        .iter()
        .filter_map(|held| match &held.what {
            HeldWhat::Host(host) => Some(host),
            HeldWhat::Resource(_) => None,
        })
        .collect();
    let single = plan.held.iter().filter_map(|held| match &held.what {
        HeldWhat::Host(_) => None,
        HeldWhat::Resource(id) => Some(id.clone()),
    });
    let declared = world.pretend.desired.iter().map(|(id, _)| id);
    declared
        .filter(|id| whole.contains(&id.host))
        .chain(single)
        .collect()
}

/// Says whether something is held since no dead-man switch could take it back. That may change once other things are done.
fn waits_for_a_switch(plan: &Plan) -> bool {
    plan.held
        .iter()
        .any(|held| matches!(held.why, HeldWhy::NoSwitch(_)))
}

/// Returns the place of every change in the order in which a plan does them: its wave, and its place there.
fn places(plan: &Plan) -> BTreeMap<&ResourceId, (usize, usize)> {
    let waves = plan.waves.iter().enumerate();
    waves
        .flat_map(|(wave, cut)| {
            cut.changes
                .iter()
                .enumerate()
                .map(move |(at, id)| (id, (wave, at)))
        })
        .collect()
}

proptest! {
    // Few of the drawn fleets have two hosts that a wave could wrongly take together, so more of them are drawn here.
    #![proptest_config(ProptestConfig { failure_persistence: None, max_shrink_iters: 2000, ..ProptestConfig::with_cases(1500) })]

    /// Law 4: no wave takes more hosts down than the policy allows, counting those that are down; nor is it too wide.
    #[test]
    fn no_wave_goes_beyond_the_policy(drawn in fleets()) {
        let world = World::new(&drawn);
        let plan = world.plan();
        let (policy, whole) = (&world.pretend.inventory.policy, world.machines.len());
        let room = policy.down_max.of(whole).saturating_sub(world.down.len());
        for wave in &plan.waves {
            let disrupts = |id: &&ResourceId| plan.changes[*id].disruption != Disruption::None;
            let disrupted: BTreeSet<&HostId> = wave.changes.iter().filter(disrupts).map(|id| &id.host).collect();
            prop_assert!(disrupted.len() <= room, "{:?} of {}", disrupted, room);
            if wave.kind == WaveKind::Ahead {
                prop_assert!(disrupted.is_empty(), "{:?}", disrupted);
                continue;
            }
            prop_assert!(wave.hosts.len() <= policy.batch.of(whole).max(1), "{:?}", wave.hosts);
            if policy.spread.is_some() {
                let sites: Vec<_> = wave.hosts.iter().filter_map(|host| world.pretend.inventory.hosts[host].labels.get("site")).collect();
                let different: BTreeSet<_> = sites.iter().collect();
                prop_assert_eq!(sites.len(), different.len(), "{:?}", wave.hosts);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, max_shrink_iters: 2000, ..ProptestConfig::with_cases(150) })]

    /// Law 1: equal inputs give equal bytes, and a look that is read from a file is an equal input.
    #[test]
    fn equal_inputs_give_equal_bytes(drawn in fleets()) {
        let mut world = World::new(&drawn);
        let once = bytes(&world.plan());
        prop_assert_eq!(&once, &bytes(&world.plan()));
        prop_assert_eq!(&once, &bytes(&World::new(&drawn).plan()));
        let saved = serde_json::to_string(&world.pretend.seen).expect("an observation is plain data");
        world.pretend.seen = serde_json::from_str(&saved).expect("what was saved is read");
        prop_assert_eq!(&once, &bytes(&world.plan()));
        let read: Plan = serde_json::from_str(&once).expect("what was saved is read");
        prop_assert_eq!(&once, &bytes(&read));
    }

    /// Law 2: settled stays settled.
    #[test]
    fn what_was_applied_is_neither_changed_nor_recorded_again(drawn in fleets()) {
        let mut world = World::new(&drawn);
        let first = world.plan();
        world.apply(&first);
        world.look();
        let second = world.plan();
        // What was held is not what was applied.
        let waited = if waits_for_a_switch(&first) { held(&first, &world) } else { BTreeSet::new() };
        let changes = second.changes.values().filter(|change| !waited.contains(&change.target));
        let again: Vec<_> = changes.map(|c| (c.target.to_string(), c.action, &c.reasons, &c.fields)).collect();
        prop_assert!(again.is_empty(), "again: {:?}", again);
        prop_assert!(second.takes.is_empty(), "recorded again: {:?}", second.takes);
        if !waits_for_a_switch(&first) {
            prop_assert!(second.waves.is_empty() && second.basis.is_empty());
            prop_assert_eq!(first.held, second.held);
        }
    }

    /// Law 3: nothing comes before what it needs, on whatever host; everything comes, once.
    #[test]
    fn nothing_comes_before_what_it_needs(drawn in fleets()) {
        let world = World::new(&drawn);
        let plan = world.plan();
        let places = places(&plan);
        let count: usize = plan.waves.iter().map(|wave| wave.changes.len()).sum();
        prop_assert!(count == places.len() && places.keys().copied().eq(plan.changes.keys()), "each change once");
        for wave in &plan.waves {
            let hosts: BTreeSet<HostId> = wave.changes.iter().map(|id| id.host.clone()).collect();
            prop_assert!(!wave.changes.is_empty() && wave.width > 0 && hosts == wave.hosts, "{:?}", wave);
        }
        for (id, change) in &plan.changes {
            for need in &change.needs {
                prop_assert!(places.get(need).is_some_and(|place| *place < places[id]), "{} needs {}", id, need);
            }
            // What the declaration says is said again, so that a plan that forgets needs is seen; also through what is settled.
            let mut waiting: Vec<&ResourceId> = world.pretend.desired.get(id).iter().flat_map(|entry| &entry.needs).collect();
            while let Some(need) = waiting.pop() {
                match places.get(need) {
                    Some(place) => prop_assert!(*place < places[id], "{} needs {}", id, need),
                    None => waiting.extend(world.pretend.desired.get(need).iter().flat_map(|entry| &entry.needs)),
                }
            }
            // What goes waits for the end, or the change, of what needed it.
            for need in world.owned(id).iter().flat_map(|owned| &owned.needs) {
                let goes = plan.changes.get(need).is_some_and(|change| change.action == Action::Delete);
                prop_assert!(!goes || places[id] < places[need], "{} goes before {}", need, id);
            }
        }
    }

    /// Law 5: what is unknown, or on a host that is, is left alone; so is what needs it. Nothing else is left out.
    #[test]
    fn what_is_unknown_is_left_alone_with_what_needs_it(drawn in fleets()) {
        let world = World::new(&drawn);
        let plan = world.plan();
        let held = held(&plan, &world);
        let distinct: BTreeSet<_> = plan.held.iter().map(|held| &held.what).collect();
        prop_assert_eq!(distinct.len(), plan.held.len(), "held twice: {:?}", plan.held);
        let specs = world.specs();
        for (id, change) in &plan.changes {
            prop_assert!(!world.down.contains(&id.host), "{}", id);
            prop_assert!(!matches!(world.observed(id, &specs[id]), Observed::Unknown(_)), "{}", id);
            prop_assert!(!held.contains(id), "{} is held and changed", id);
            for need in world.pretend.desired.get(id).iter().flat_map(|entry| &entry.needs) {
                prop_assert!(!held.contains(need), "{} needs {}, which is held", id, need);
                prop_assert!(!world.unknown.contains(need), "{} needs {}, which is unknown", id, need);
            }
            prop_assert!(change.needs.iter().all(|need| plan.changes.contains_key(need)), "{}", id);
        }
        for id in &held {
            // What cannot go keeps what it stands on.
            for need in world.owned(id).iter().flat_map(|owned| &owned.needs) {
                let goes = plan.changes.get(need).is_some_and(|change| change.action == Action::Delete);
                prop_assert!(!goes, "{} goes, and {} is held", need, id);
            }
        }
        for (id, entry) in world.pretend.desired.iter().filter(|(id, _)| !world.down.contains(&id.host)) {
            let settled = matches!(world.observed(&id, &entry.spec), Observed::Present(_));
            prop_assert!(settled || plan.changes.contains_key(&id) || held.contains(&id), "{} is forgotten", id);
        }
    }

    /// Law 6: only what muster made and nobody touched since is deleted; what was found is only forgotten.
    #[test]
    fn only_what_was_made_and_left_alone_is_deleted(drawn in fleets()) {
        let world = World::new(&drawn);
        let plan = world.plan();
        let specs = world.specs();
        for (id, change) in &plan.changes {
            let owned = world.owned(id);
            match change.action {
                Action::Delete => {
                    let owned = owned.expect("only what a manifest knows goes");
                    let seen = specs[id].seen(&world.observed(id, &specs[id]));
                    prop_assert!(world.pretend.desired.get(id).is_none(), "{} is declared", id);
                    prop_assert!(owned.origin == Origin::Made || !owned.made_keys.is_empty(), "{} was found", id);
                    prop_assert_eq!(owned.after.as_ref(), Some(&seen), "{} was changed by hand", id);
                    prop_assert!(!owned.protect && specs[id].never_deleted().is_none(), "{} is protected", id);
                    prop_assert!(owned.delete || !specs[id].info().kept_unless_delete, "{} is kept", id);
                }
                Action::Forget => prop_assert!(change.ops.is_empty(), "{} is only forgotten", id),
                Action::Replace => {
                    let entry = world.pretend.desired.get(id).expect("only what is declared is replaced");
                    prop_assert!(!entry.protect && entry.spec.never_deleted().is_none(), "{} is protected", id);
                }
                Action::Create | Action::Update => prop_assert!(world.pretend.desired.get(id).is_some()),
            }
        }
    }

    /// Law 7, as far as it is the plan's: it says on what it rests, so that whatever moved since is seen.
    #[test]
    fn a_plan_says_on_what_it_rests(drawn in fleets()) {
        let world = World::new(&drawn);
        let plan = world.plan();
        let specs = world.specs();
        for (id, change) in &plan.changes {
            let basis = &plan.basis[&id.host];
            let manifest = world.pretend.seen.hosts[&id.host].manifest.present();
            prop_assert_eq!(basis.lineage.as_ref(), manifest.map(|manifest| &manifest.lineage));
            prop_assert_eq!(basis.generation, manifest.map_or(0, |manifest| manifest.generation));
            let seen = specs[id].seen(&world.observed(id, &specs[id]));
            prop_assert_eq!(basis.seen.get(&id.key), Some(&seen), "{}", change.target);
        }
        let rested: usize = plan.basis.values().map(|basis| basis.seen.len()).sum();
        prop_assert_eq!(rested, plan.changes.len());
    }

    /// Law 9: after a rollback whatever comes back exactly is what was there, and the manifests say what they said; a rollback of
    /// the rollback brings the run's doing back. What stays says why.
    #[test]
    fn a_rollback_brings_back_what_was_there(drawn in fleets()) {
        let mut world = World::new(&drawn);
        let plan = world.plan();
        let manifests = |world: &World| -> BTreeMap<ResourceId, muster::model::manifest::Owned> {
            let views = world.pretend.seen.hosts.iter();
            let owned = views.filter_map(|(host, view)| Some((host, &view.manifest.present()?.owned)));
            owned.flat_map(|(host, owned)| owned.iter().map(|(key, owned)| (key.on(host), owned.clone()))).collect()
        };
        let before = manifests(&world);
        let events = world.apply(&plan);
        let (run, applied) = (world.run(), manifests(&world));
        let back = world.rollback(&run, &plan, &events);
        let held: BTreeSet<ResourceId> = back.held.iter().map(|held| match &held.what {
            HeldWhat::Resource(id) => id.clone(),
            HeldWhat::Host(host) => panic!("{host} was reached a moment ago"),
        }).collect();
        prop_assert!(!bytes(&back).contains(SECRET));
        let events = world.apply(&back);
        let second = world.run();
        for (id, change) in &back.changes {
            let done = change.back.as_ref().expect("every change of a rollback brings something back");
            let spec = muster::resource::Spec::decode(id.key.kind.as_str(), &change.spec).expect("a spec");
            let now = spec.seen(&scenes::look(&world.machines[&id.host], &spec));
            prop_assert!(done.is_reached(&now), "{}: {:?}, undone by {:?}", id, done, change.ops);
        }
        let mut now = manifests(&world);
        let mut wanted = before;
        for id in &held {
            now.remove(id);
            wanted.remove(id);
        }
        prop_assert_eq!(&now, &wanted);

        let again = world.rollback(&second, &back, &events);
        world.apply(&again);
        for (id, change) in &again.changes {
            let done = change.back.as_ref().expect("every change of a rollback brings something back");
            let spec = muster::resource::Spec::decode(id.key.kind.as_str(), &change.spec).expect("a spec");
            let now = spec.seen(&scenes::look(&world.machines[&id.host], &spec));
            prop_assert!(done.is_reached(&now), "{}: again {:?}, undone by {:?}", id, done, change.ops);
        }
        let kept: BTreeSet<&ResourceId> = again.held.iter().filter_map(|held| match &held.what {
            HeldWhat::Resource(id) => Some(id),
            HeldWhat::Host(_) => None,
        }).collect();
        let of = |all: &BTreeMap<ResourceId, muster::model::manifest::Owned>| -> BTreeMap<_, _> {
            all.iter().filter(|(id, _)| !kept.contains(id)).map(|(id, owned)| (id.clone(), owned.clone())).collect()
        };
        prop_assert_eq!(of(&manifests(&world)), of(&applied));
    }

    /// Law 10: no secret is in a plan, though hosts hold it.
    #[test]
    fn no_secret_is_in_a_plan(drawn in fleets()) {
        let plan = World::new(&drawn).plan();
        prop_assert!(!bytes(&plan).contains(SECRET));
    }
}

/// What the laws would not see if no fleet showed it.
#[test]
fn drawn_fleets_show_every_kind_every_action_and_every_reason_to_wait() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut shown: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..150 {
        let tree = fleets().new_tree(&mut runner).expect("a fleet");
        let drawn: Drawn = proptest::strategy::ValueTree::current(&tree);
        let plan = World::new(&drawn).plan();
        for (id, change) in &plan.changes {
            *shown.entry(format!("{:?}", change.action)).or_default() += 1;
            *shown.entry(id.key.kind.to_string()).or_default() += 1;
            if change.needs.iter().any(|need| need.host != id.host) {
                *shown.entry("across".to_owned()).or_default() += 1;
            }
            if change.disruption != Disruption::None {
                *shown.entry("disrupts".to_owned()).or_default() += 1;
            }
        }
        for held in &plan.held {
            let why = serde_json::to_value(&held.why).expect("plain data");
            let name = why.as_object().and_then(|why| why.keys().next().cloned());
            let name = name.or_else(|| why.as_str().map(str::to_owned));
            *shown.entry(name.expect("a reason has a name")).or_default() += 1;
        }
        for switch in plan.switches.values() {
            *shown.entry("under a switch".to_owned()).or_default() += switch.changes.len();
        }
        if bytes(&plan).contains("plain|env:PASS") || !plan.takes.is_empty() {
            *shown.entry("secrets or takes".to_owned()).or_default() += 1;
        }
    }
    let kinds = KINDS.iter().map(|info| info.name);
    let rest = [
        "Create",
        "Update",
        "Replace",
        "Delete",
        "Forget",
        "across",
        "disrupts",
        "unreachable",
        "unknown",
        "not_ours",
        "changed_by_hand",
        "protected",
        "kept",
        "needs",
        "no_room",
        "secrets or takes",
        "under a switch",
    ];
    for name in kinds.chain(rest) {
        let count = shown.get(name).copied().unwrap_or(0);
        assert!(count > 2, "`{name}` was shown {count} times: {shown:?}");
    }
}
