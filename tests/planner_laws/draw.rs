//! Draws fleets: hosts with resources of every kind, needs across hosts, hands at work, hosts that are down, and policies.

use muster::model::wave::{Canary, Share};
use muster::resource::{KINDS, Spec};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

use crate::scenes::{Hand, hand_made, spec_of};

/// A fleet as it is drawn.
#[derive(Debug, Clone)]
pub struct Drawn {
    pub hosts: Vec<DrawnHost>,
    pub policy: DrawnPolicy,
    /// Which of all resources, declared or owned, cannot be read.
    pub unknown: Vec<Index>,
}

#[derive(Debug, Clone)]
pub struct DrawnHost {
    pub slots: Vec<Slot>,
    /// What hands did before muster came, and since it was last here.
    pub before: Vec<Hand>,
    pub since: Vec<Hand>,
    pub fate: Fate,
    pub site: Option<&'static str>,
    /// Whether it is reached over SSH, so that what may cut it off comes under its dead-man switch.
    pub is_remote: bool,
}

/// What happened to a host since muster was last here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Fine,
    Unreachable,
    /// Its manifest cannot be read.
    Damaged,
    /// Its lineage is not the one that it had.
    Swapped,
}

/// One resource: what was declared when muster was last here, and what is declared now.
#[derive(Debug, Clone)]
pub struct Slot {
    pub former: Option<Declared>,
    pub now: Option<Declared>,
}

#[derive(Debug, Clone)]
pub struct Declared {
    pub spec: Spec,
    pub protect: bool,
    pub delete: bool,
    /// Needs point from higher to lower, so that there are no circles.
    pub level: u8,
    /// Which of all that lies lower is needed, and which of those on the same host restarts or wipes it.
    pub needs: Vec<Index>,
    pub restarts: bool,
    pub is_lost: bool,
}

#[derive(Debug, Clone)]
pub struct DrawnPolicy {
    pub canary: Option<Canary>,
    pub batch: Share,
    pub down_max: Share,
    pub is_spread: bool,
    pub order: Vec<&'static str>,
}

/// Draws a fleet of two to six hosts.
pub fn fleets() -> impl Strategy<Value = Drawn> {
    let hosts = prop::collection::vec(host(), 2..=6);
    let unknown = prop::collection::vec(any::<Index>(), 0..3);
    (hosts, policy(), unknown).prop_map(|(hosts, policy, unknown)| Drawn {
        hosts,
        policy,
        unknown,
    })
}

fn host() -> impl Strategy<Value = DrawnHost> {
    let fate = prop_oneof![
        9 => Just(Fate::Fine),
        1 => Just(Fate::Unreachable),
        1 => Just(Fate::Damaged),
        1 => Just(Fate::Swapped),
    ];
    let site = prop::option::of(select(&["fra", "hel"]));
    let slots = prop::collection::vec(slot(), 0..6);
    (slots, hand_made(), hand_made(), fate, site, any::<bool>()).prop_map(
        |(slots, before, since, fate, site, is_remote)| DrawnHost {
            slots,
            before,
            since,
            fate,
            site,
            is_remote,
        },
    )
}

fn policy() -> impl Strategy<Value = DrawnPolicy> {
    let share = || {
        prop_oneof![
            (0..4usize).prop_map(Share::Count),
            select(&[0, 34, 50, 100]).prop_map(Share::Percent)
        ]
    };
    let canary = prop_oneof![
        Just(None),
        share().prop_map(|share| Some(Canary::First(share))),
        select(&["h1", "h2,h0"])
            .prop_map(|text| Some(Canary::Hosts(text.parse().expect("a selector of hosts")))),
    ];
    let order = prop::collection::vec(select(&["h2", "h1", "h0,h3"]), 0..3);
    (canary, share(), share(), any::<bool>(), order).prop_map(
        |(canary, batch, down_max, is_spread, order)| DrawnPolicy {
            canary,
            batch,
            down_max,
            is_spread,
            order,
        },
    )
}

fn slot() -> impl Strategy<Value = Slot> {
    let kinds: Vec<&'static str> = KINDS
        .iter()
        .map(|info| info.name)
        .chain(["identity", "door"])
        .collect();
    (select(kinds), any::<bool>()).prop_flat_map(|(kind, second)| {
        let declared = prop::option::weighted(0.7, declared(kind, second)).boxed();
        (declared.clone(), declared).prop_map(|(former, now)| Slot { former, now })
    })
}

fn declared(kind: &'static str, second: bool) -> impl Strategy<Value = Declared> {
    let flags = (
        prop::bool::weighted(0.1),
        any::<bool>(),
        any::<bool>(),
        prop::bool::weighted(0.2),
    );
    let needs = prop::collection::vec(any::<Index>(), 0..3);
    (spec(kind, second), flags, any::<u8>(), needs).prop_map(
        |(spec, (protect, delete, restarts, is_lost), level, needs)| Declared {
            spec,
            protect,
            delete,
            level,
            needs,
            restarts,
            is_lost,
        },
    )
}

/// Draws a well declared spec, of one of two names.
fn spec(kind: &'static str, second: bool) -> BoxedStrategy<Spec> {
    if kind == "identity" {
        let of = |text| {
            let path = "/srv/.tmkms/state.json";
            Spec::decode("file", &json!({ "path": path, "content": text })).expect("a spec")
        };
        return select(&["a", "b"]).prop_map(of).boxed();
    }
    // What may cut a host off: a file that sshd reads.
    if kind == "door" {
        let of = |text| {
            let path = "/etc/ssh/sshd_config.d/app.conf";
            Spec::decode("file", &json!({ "path": path, "content": text })).expect("a spec")
        };
        return select(&["MaxAuthTries 5\n", "MaxAuthTries 6\n"])
            .prop_map(of)
            .boxed();
    }
    spec_of(kind)
        .prop_map(move |value| Spec::decode(kind, &renamed(kind, second, &value)).expect("a spec"))
        .prop_filter("declared without mistakes", |spec| spec.check().is_empty())
        .boxed()
}

/// Gives a spec the second name of its kind; links never have that of files.
fn renamed(kind: &str, second: bool, value: &Value) -> Value {
    let mut text = value.to_string();
    if kind == "symlink" {
        text = text.replace("/etc/app", "/etc/link");
    }
    if second {
        let names = [
            ("app", "app2"),
            ("team", "team2"),
            ("/etc/link", "/etc/link2"),
            ("make it", "make it too"),
        ];
        for (first, second) in names {
            text = text.replace(first, second);
        }
    }
    serde_json::from_str(&text).expect("only names were replaced")
}
