//! Plans made by hand, for tests of what walks them.

use std::collections::{BTreeMap, BTreeSet};

use muster::model::change::{Action, Change, Disruption, Keep, Reason, Undo};
use muster::model::gate::{Check, Gate, HostGate, OnDeadline};
use muster::model::id::{HostId, ResourceId, ResourceKey};
use muster::model::observation::Observed;
use muster::model::op::Op;
use muster::model::plan::{Held, HeldWhat, HeldWhy, Plan};
use muster::model::switch::{Restores, Switch};
use muster::model::target::{Sudo, Target, Transport};
use muster::model::wave::{RolloutPolicy, Wave, WaveKind};
use muster::resource::Spec;

/// Reads a host's name.
pub fn host(name: &str) -> HostId {
    name.parse().expect("a host name")
}

/// Reads `file[/a]@h`.
pub fn id(text: &str) -> ResourceId {
    text.parse().expect("a resource of the fleet")
}

/// A gate that asks for something.
pub fn gate(name: &str, on_deadline: OnDeadline) -> Gate {
    Gate {
        name: name.to_owned(),
        check: Check::Tcp {
            address: "127.0.0.1".to_owned(),
            port: 1,
        },
        within_secs: 10,
        stable_for_secs: 0,
        every_secs: 1,
        on_deadline,
    }
}

/// A plan without anything in it.
pub fn empty() -> Plan {
    Plan {
        fleet: "test".parse().expect("a fleet name"),
        purpose: Default::default(),
        inputs: BTreeMap::new(),
        basis: BTreeMap::new(),
        changes: BTreeMap::new(),
        takes: BTreeMap::new(),
        waves: Vec::new(),
        switches: BTreeMap::new(),
        held: Vec::new(),
        notes: Vec::new(),
        hosts: BTreeMap::new(),
        policy: RolloutPolicy::default(),
        fleet_size: 0,
        limited_to: None,
        aimed: None,
        hooks: Vec::new(),
        inventory_file: "inventories/test.toml".to_owned(),
    }
}

/// A change that writes a file, with what it needs: `file[/a]@h`.
pub fn file(target: &str, needs: &[&str]) -> Change {
    let target = id(target);
    let spec = file_spec(&target.key, "new");
    Change {
        action: Action::Create,
        fields: Vec::new(),
        reasons: vec![Reason::Missing],
        needs: needs.iter().map(|need| id(need)).collect(),
        disruption: Disruption::None,
        ops: vec![Op::WriteFile {
            path: target.key.name.clone(),
            body: muster::model::body::Body::text("new"),
            owner: "root".to_owned(),
            group: "root".to_owned(),
            mode: "0644".to_owned(),
            validate: None,
        }],
        undo: Undo::Exact(vec![Op::restore(&target.key.name)]),
        probes: spec.probes(),
        spec: spec.encode(),
        keep: Keep {
            is_made: true,
            ..Keep::default()
        },
        former: None,
        back: None,
        gates: Vec::new(),
        modules: BTreeSet::new(),
        origins: Vec::new(),
        target,
    }
}

/// The spec of a file with this content.
pub fn file_spec(key: &ResourceKey, content: &str) -> Spec {
    let value = serde_json::json!({ "path": key.name, "content": content });
    Spec::decode("file", &value).expect("a file's spec")
}

/// A change that installs a package. Its spec stays that of a file: a rollout does not read specs.
pub fn package(target: &str, needs: &[&str]) -> Change {
    let install = BTreeMap::from([(id(target).key.name, None)]);
    let none = BTreeSet::new;
    Change {
        ops: vec![Op::Packages {
            install,
            remove: none(),
            hold: none(),
            unhold: none(),
        }],
        undo: Undo::Impossible("it stays".to_owned()),
        ..file(target, needs)
    }
}

/// Builds a plan wave by wave.
pub struct Builder {
    /// The plan so far.
    pub plan: Plan,
}

impl Builder {
    /// Begins with nothing, and a policy that allows nothing to fail.
    pub fn new() -> Self {
        Self { plan: empty() }
    }

    /// Sets the policy.
    pub fn policy(mut self, set: impl FnOnce(&mut RolloutPolicy)) -> Self {
        set(&mut self.plan.policy);
        self
    }

    /// Adds a wave of these changes, so many hosts wide.
    pub fn wave(mut self, width: usize, changes: impl IntoIterator<Item = Change>) -> Self {
        let changes: Vec<Change> = changes.into_iter().collect();
        let hosts: BTreeSet<HostId> = changes.iter().map(|change| change.target.host.clone()).collect();
        for host in &hosts {
            let target = Target {
                transport: Transport::Local,
                sudo: Sudo::None,
            };
            self.plan.hosts.insert(host.clone(), target);
            self.plan.basis.entry(host.clone()).or_default();
        }
        for change in &changes {
            let spec = Spec::decode("file", &change.spec).expect("a file's spec");
            let seen = spec.seen(&Observed::Absent);
            let basis = self.plan.basis.entry(change.target.host.clone()).or_default();
            basis.seen.insert(change.target.key.clone(), seen);
        }
        self.plan.waves.push(Wave {
            kind: WaveKind::Batch,
            hosts,
            changes: changes.iter().map(|change| change.target.clone()).collect(),
            width,
            after: Vec::new(),
        });
        self.plan
            .changes
            .extend(changes.into_iter().map(|change| (change.target.clone(), change)));
        self
    }

    /// Puts changes of one host under its dead-man switch.
    pub fn switch(mut self, changes: &[&str]) -> Self {
        let changes: Vec<ResourceId> = changes.iter().map(|change| id(change)).collect();
        let paths = changes.iter().map(|id| id.key.name.clone()).collect();
        let switch = Switch {
            cuts: changes.iter().map(|id| (id.clone(), "sshd".to_owned())).collect(),
            within_secs: 60,
            restores: Restores {
                paths,
                ..Restores::default()
            },
            changes,
        };
        self.plan.switches.insert(switch.changes[0].host.clone(), switch);
        self
    }

    /// Adds a gate on a host after the last wave so far.
    pub fn after(mut self, on: &str, gate: Gate) -> Self {
        let wave = self.plan.waves.last_mut().expect("a wave comes first");
        wave.after.push(HostGate { host: host(on), gate });
        self
    }

    /// Holds a host that did not answer when the plan was made.
    pub fn down(mut self, name: &str) -> Self {
        let why = HeldWhy::Unreachable("no route".to_owned());
        self.plan.held.push(Held {
            what: HeldWhat::Host(host(name)),
            why,
        });
        self
    }
}
