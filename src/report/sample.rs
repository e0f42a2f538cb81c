//! Hand-made plans for the tests of this room.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::model::change::{Action, Change, Disruption, FieldChange, Keep, Reason, Shown, Undo};
use crate::model::digest::{Digest, Fingerprint};
use crate::model::gate::{Check, Gate, HostGate, OnDeadline};
use crate::model::id::{HostId, ResourceId, ResourceKey};
use crate::model::plan::{Held, HeldWhat, HeldWhy, Note, Plan, Take};
use crate::model::wave::{RolloutPolicy, Wave, WaveKind};

pub fn host(name: &str) -> HostId {
    name.parse().unwrap()
}

pub fn id(kind: &str, name: &str, on: &str) -> ResourceId {
    ResourceKey::new(kind, name).on(&host(on))
}

pub fn change(target: ResourceId, action: Action, fields: Vec<FieldChange>, spec: Value) -> Change {
    Change {
        target,
        action,
        fields,
        reasons: vec![if action == Action::Create {
            Reason::Missing
        } else {
            Reason::Differs
        }],
        needs: BTreeSet::new(),
        disruption: Disruption::None,
        ops: Vec::new(),
        undo: Undo::Exact(Vec::new()),
        probes: Vec::new(),
        spec,
        keep: Keep::default(),
        former: None,
        back: None,
        gates: Vec::new(),
        modules: BTreeSet::new(),
        origins: Vec::new(),
    }
}

pub fn plan(changes: Vec<Change>) -> Plan {
    let hosts: BTreeSet<HostId> = changes.iter().map(|change| change.target.host.clone()).collect();
    let wave = Wave {
        kind: WaveKind::Batch,
        width: hosts.len().max(1),
        changes: changes.iter().map(|change| change.target.clone()).collect(),
        after: Vec::new(),
        hosts,
    };
    Plan {
        fleet: "demo".parse().unwrap(),
        purpose: Default::default(),
        inputs: BTreeMap::new(),
        basis: BTreeMap::new(),
        waves: if changes.is_empty() {
            Vec::new()
        } else {
            vec![wave]
        },
        changes: changes
            .into_iter()
            .map(|change| (change.target.clone(), change))
            .collect(),
        takes: BTreeMap::new(),
        switches: BTreeMap::new(),
        held: Vec::new(),
        notes: Vec::new(),
        hosts: BTreeMap::new(),
        policy: RolloutPolicy::default(),
        fleet_size: 5,
        limited_to: None,
        aimed: None,
        hooks: Vec::new(),
        inventory_file: "inventories/demo.toml".to_owned(),
    }
}

pub fn gate() -> Gate {
    Gate {
        name: "ssh still answers".to_owned(),
        check: Check::Tcp {
            address: "127.0.0.1".to_owned(),
            port: 22,
        },
        within_secs: 120,
        stable_for_secs: 10,
        every_secs: 2,
        on_deadline: OnDeadline::Halt,
    }
}

fn secret(before: &str, after: &str) -> FieldChange {
    let print = |text: &str| Shown::Secret(Fingerprint(text.to_owned()));
    FieldChange {
        field: "content".to_owned(),
        before: print(before),
        after: print(after),
    }
}

/// One of everything.
pub fn full() -> Plan {
    let mut changes = Vec::new();
    for on in ["ml-1", "ml-2", "ml-3"] {
        let fields = vec![
            FieldChange::text(
                "content",
                "[net]\nport = 1\nname = \"a\"\n",
                "[net]\nport = 2\nname = \"a\"\n",
            ),
            FieldChange::text("mode", "0644", "0640"),
        ];
        let mut file = change(
            id("file", "/etc/app.toml", on),
            Action::Update,
            fields,
            Value::Null,
        );
        file.reasons = vec![Reason::Drifted];
        changes.push(file);
        let mut unit = change(
            id("unit", "app.service", on),
            Action::Update,
            vec![FieldChange::text(
                "started_with",
                "the old /etc/app.toml",
                "the new one",
            )],
            Value::Null,
        );
        unit.reasons = vec![Reason::Consumes(vec![id("file", "/etc/app.toml", on)])];
        unit.disruption = Disruption::Service("app.service".to_owned());
        unit.gates = vec![gate()];
        changes.push(unit);
    }
    let prints = [("a91f", "03c2"), ("b000", "c111")];
    for (on, (before, after)) in ["ml-1", "ml-2"].into_iter().zip(prints) {
        changes.push(change(
            id("file", "/etc/pass", on),
            Action::Update,
            vec![secret(before, after)],
            Value::Null,
        ));
    }
    changes.push(change(
        id("file", "/etc/pass", "nn-1"),
        Action::Update,
        vec![secret("d222", "e333")],
        json!({ "x": 1 }),
    ));
    changes.extend(odd());
    let mut plan = plan(changes);
    plan.waves[0].after = ["ml-1", "ml-2"]
        .map(|on| HostGate {
            host: host(on),
            gate: gate(),
        })
        .into();
    plan.waves[0].width = 2;
    plan.limited_to = Some(("@ml".to_owned(), 4));
    plan.held = held();
    plan.notes = vec![Note {
        subject: "nn-1".to_owned(),
        text: "reads facts of ml-1".to_owned(),
    }];
    plan.takes = BTreeMap::from([(host("ml-1"), vec![take()])]);
    plan
}

/// Changes of the rarer sorts.
fn odd() -> Vec<Change> {
    let spec = json!({
        "path": "/etc/peers", "owner": "root", "mode": "0600", "validate": null, "groups": [],
        "content": [{ "text": "peer = " }, { "output": "command[key]@nn-1#address" }, { "text": "\npass = " },
                    { "secret": "plain|env:PASS" }, { "text": "\n" }],
    });
    let create = change(id("file", "/etc/peers", "nn-1"), Action::Create, Vec::new(), spec);
    let spec = json!({ "path": "/etc/key", "content": "hush", "sensitive": true });
    let sensitive = change(id("file", "/etc/key", "nn-1"), Action::Create, Vec::new(), spec);
    let mut replace = change(
        id("file", "/etc/odd", "nn-1"),
        Action::Replace,
        vec![FieldChange::text("type", "directory", "file")],
        Value::Null,
    );
    replace.reasons = vec![Reason::Immutable("type".to_owned())];
    let mut delete = change(
        id("account", "old", "nn-1"),
        Action::Delete,
        Vec::new(),
        Value::Null,
    );
    delete.reasons = vec![Reason::Undeclared];
    delete.disruption = Disruption::Host;
    delete.undo = Undo::Impossible("its files are not kept".to_owned());
    let mut forget = change(
        id("package", "curl", "nn-1"),
        Action::Forget,
        Vec::new(),
        Value::Null,
    );
    forget.reasons = vec![Reason::Found];
    let pending = FieldChange {
        field: "content".to_owned(),
        before: Shown::Text("x".to_owned()),
        after: Shown::Pending("command[key]@nn-1#address".parse().unwrap()),
    };
    let mut pending = change(
        id("file", "/etc/addr", "ml-1"),
        Action::Update,
        vec![pending],
        Value::Null,
    );
    pending.undo = Undo::Inverse {
        ops: Vec::new(),
        loses: "the access times".to_owned(),
    };
    vec![create, sensitive, replace, delete, forget, pending]
}

pub fn held() -> Vec<Held> {
    let unreachable = |name: &str| Held {
        what: HeldWhat::Host(host(name)),
        why: HeldWhy::Unreachable("connection refused".to_owned()),
    };
    let by_hand = Held {
        what: HeldWhat::Resource(id("file", "/etc/gone", "ml-1")),
        why: HeldWhy::ChangedByHand,
    };
    let later = Held {
        what: HeldWhat::Resource(id("file", "/etc/later", "ml-1")),
        why: HeldWhy::AfterApply("it depends on an address of nn-1".to_owned()),
    };
    vec![unreachable("ml-7"), unreachable("ml-8"), by_hand, later]
}

pub fn take() -> Take {
    Take {
        key: ResourceKey::new("package", "curl"),
        spec: Value::Null,
        keep: Keep::default(),
        probes: Vec::new(),
        after: Digest::of("x"),
        outputs: BTreeMap::new(),
        former: None,
    }
}
