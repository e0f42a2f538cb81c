//! The laws of plans that are limited to some resources.

use std::collections::BTreeSet;

use muster::model::aim::{Aim, Aims};
use muster::model::change::{Action, Reason};
use muster::model::id::ResourceId;
use muster::model::plan::{HeldWhy, Plan};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::bytes;
use crate::draw::fleets;
use crate::world::World;

/// Resources of a fleet: of what a whole plan is about, and of what is declared.
fn pick(world: &World, whole: &Plan, indices: &[Index]) -> BTreeSet<ResourceId> {
    let declared = world.pretend.desired.iter().map(|(id, _)| id);
    let all: BTreeSet<ResourceId> = declared.chain(whole.changes.keys().cloned()).collect();
    let all: Vec<ResourceId> = all.into_iter().collect();
    match all.is_empty() {
        true => BTreeSet::new(),
        false => indices.iter().map(|index| index.get(&all).clone()).collect(),
    }
}

fn aims(ids: &BTreeSet<ResourceId>) -> Vec<Aim> {
    let aim = |id: &ResourceId| id.to_string().parse().expect("every id is an aim");
    ids.iter().map(aim).collect()
}

/// Returns a plan limited to some resources, beside the whole one.
fn limited(world: &mut World, targets: &BTreeSet<ResourceId>, excludes: &BTreeSet<ResourceId>) -> Plan {
    world.pretend.aims = Aims {
        targets: aims(targets),
        excludes: aims(excludes),
    };
    let plan = world.plan();
    world.pretend.aims = Aims::default();
    plan
}

fn is_wiped(plan: &Plan, id: &ResourceId) -> bool {
    let reasons = plan.changes.get(id).map(|change| &change.reasons);
    reasons
        .into_iter()
        .flatten()
        .any(|reason| matches!(reason, Reason::LostOn(_)))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, max_shrink_iters: 2000, ..ProptestConfig::with_cases(300) })]

    /// Nothing is done that was not named, but what comes along; nothing is done without what it needs.
    #[test]
    fn a_limited_plan_is_a_part_of_the_whole(
        drawn in fleets(),
        some in prop::collection::vec(any::<Index>(), 0..4),
        others in prop::collection::vec(any::<Index>(), 0..3),
    ) {
        let mut world = World::new(&drawn);
        let whole = world.plan();
        let (targets, excludes) = (pick(&world, &whole, &some), pick(&world, &whole, &others));
        let plan = limited(&mut world, &targets, &excludes);
        let Some(aimed) = &plan.aimed else {
            prop_assert_eq!(bytes(&plan), bytes(&whole));
            return Ok(());
        };
        for (id, change) in &plan.changes {
            prop_assert!(!excludes.contains(id), "{} was excluded", id);
            let is_named = targets.is_empty() || targets.contains(id);
            prop_assert!(is_named || aimed.along.contains_key(id), "{} was not asked for", id);
            prop_assert!(is_named || change.action != Action::Delete, "{} goes, and nobody named it", id);
            let same = whole.changes.get(id).is_some_and(|there| there.action == change.action);
            // Without what wipes it, a resource changes as it otherwise would; with it, a whole plan may have held both.
            prop_assert!(same || is_wiped(&whole, id) || is_wiped(&plan, id) || whole.held.iter().any(|held| held.what.to_string() == id.to_string()), "{}", id);
            for need in world.pretend.desired.get(id).iter().flat_map(|entry| &entry.needs) {
                let is_needed = whole.changes.contains_key(need) && !is_wiped(&whole, need);
                prop_assert!(!is_needed || plan.changes.contains_key(need), "{} is done without {}", id, need);
            }
            for (wiped, _) in world.pretend.desired.iter().filter(|(_, entry)| entry.loses_on.contains(id)) {
                prop_assert!(plan.changes.contains_key(&wiped), "{} wipes {}, which is not made again", id, wiped);
            }
        }
    }

    /// Some first and the rest later ends where all at once ends: in a plan that is empty. What no dead-man switch could take back
    /// may be made once what stood in its way is done, and so comes a plan later.
    #[test]
    fn some_first_and_the_rest_later_settles(drawn in fleets(), some in prop::collection::vec(any::<Index>(), 1..4)) {
        let mut world = World::new(&drawn);
        let whole = world.plan();
        let targets = pick(&world, &whole, &some);
        let first = limited(&mut world, &targets, &BTreeSet::new());
        world.apply(&first);
        world.look();
        for _ in 0..4 {
            let rest = world.plan();
            world.apply(&rest);
            world.look();
            if !crate::waits_for_a_switch(&rest) {
                break;
            }
        }
        let last = world.plan();
        let again: Vec<_> = last.changes.values().map(|change| (change.target.to_string(), &change.reasons)).collect();
        prop_assert!(again.is_empty() && last.takes.is_empty(), "again: {:?} {:?}", again, last.takes);
    }
}

/// What the laws would not see if no fleet showed it.
#[test]
fn drawn_limits_show_what_comes_along_and_what_is_held() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut along, mut held, mut less) = (0, 0, 0);
    let drawn = (
        fleets(),
        prop::collection::vec(any::<Index>(), 0..3),
        prop::collection::vec(any::<Index>(), 0..3),
    );
    for _ in 0..150 {
        let tree = drawn.new_tree(&mut runner).expect("a fleet");
        let (drawn, some, others) = proptest::strategy::ValueTree::current(&tree);
        let mut world = World::new(&drawn);
        let whole = world.plan();
        let (targets, excludes) = (pick(&world, &whole, &some), pick(&world, &whole, &others));
        let plan = limited(&mut world, &targets, &excludes);
        along += usize::from(plan.aimed.as_ref().is_some_and(|aimed| !aimed.along.is_empty()));
        held += usize::from(
            plan.held
                .iter()
                .any(|held| matches!(held.why, HeldWhy::LeftOut(_))),
        );
        less += usize::from(!plan.changes.is_empty() && plan.changes.len() < whole.changes.len());
    }
    assert!(along > 2 && held > 2 && less > 10, "{along} {held} {less}");
}
