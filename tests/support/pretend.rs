//! A fleet made by hand for tests of the planner: hosts, declared files, and what the hosts say of them.

use std::collections::{BTreeMap, BTreeSet};

use muster::model::aim::Aims;
use muster::model::diagnostic::Place;
use muster::model::id::{HostId, ResourceKey};
use muster::model::inventory::{Host, Inventory};
use muster::model::manifest::{Manifest, ManifestState, Origin, Owned, OwnedState};
use muster::model::observation::{Answer, HostView, Machine, Observation, Reach};
use muster::model::plan::Plan;
use muster::model::target::{Sudo, Target, Transport};
use muster::plan::{PlanInput, plan};
use muster::resource::Spec;
use muster::resource::desired::{Desired, DesiredHost, Entry};
use serde_json::json;

/// A fleet with everything that a plan is made from.
pub struct Pretend {
    pub inventory: Inventory,
    pub desired: Desired,
    pub seen: Observation,
    pub lineages: BTreeMap<HostId, String>,
    pub limit: Option<(String, BTreeSet<HostId>)>,
    pub aims: Aims,
}

pub fn host(name: &str) -> HostId {
    name.parse().expect("a host name")
}

pub fn file_key(path: &str) -> ResourceKey {
    ResourceKey::new("file", path)
}

/// Makes a declared file.
pub fn file(path: &str, content: &str) -> Entry {
    entry("file", json!({ "path": path, "content": content }))
}

/// Makes an entry of any kind.
pub fn entry(kind: &str, spec: serde_json::Value) -> Entry {
    Entry {
        spec: Spec::decode(kind, &spec).expect("a well declared resource"),
        needs: BTreeSet::new(),
        restart_on: BTreeSet::new(),
        loses_on: BTreeSet::new(),
        protect: false,
        delete: false,
        ignore: BTreeSet::new(),
        gates: Vec::new(),
        modules: BTreeSet::new(),
        origins: vec![place()],
    }
}

pub fn place() -> Place {
    Place {
        file: "modules/app/module.toml".into(),
        line: 1,
        column: 1,
        span: None,
    }
}

/// What a host says of a file that is there with these bytes, owned by root, mode 0644.
pub fn file_answer(content: &str) -> Answer {
    let size = content.len();
    let head = format!("type=file\nmode=0644\nowner=root\ngroup=root\nsize={size}\nchanged=1\nsha256=0");
    Answer::Text {
        output: format!("{head}\n\n{content}"),
        status: 0,
    }
}

/// What a host says of a path where nothing is.
pub fn absent_answer() -> Answer {
    Answer::Text {
        output: "type=absent\n".into(),
        status: 0,
    }
}

impl Pretend {
    /// Makes a fleet of hosts that answer, know no manifest, and of which nothing is declared.
    pub fn new(hosts: &[&str]) -> Self {
        let mut pretend = Self {
            inventory: Inventory {
                name: "pretend".parse().expect("a fleet name"),
                file: "inventories/pretend.toml".into(),
                hosts: BTreeMap::new(),
                groups: BTreeMap::new(),
                values: BTreeMap::new(),
                overrides: Vec::new(),
                hooks: Vec::new(),
                uses: Vec::new(),
                policy: Default::default(),
                retired: Vec::new(),
                images: Default::default(),
                age_identity: None,
            },
            desired: Desired::default(),
            seen: Observation::default(),
            lineages: BTreeMap::new(),
            limit: None,
            aims: Aims::default(),
        };
        hosts.iter().for_each(|name| pretend.add_host(name));
        pretend
    }

    fn add_host(&mut self, name: &str) {
        let id = host(name);
        let declared = Host {
            id: id.clone(),
            target: Target {
                transport: Transport::Local,
                sudo: Sudo::None,
            },
            labels: BTreeMap::new(),
            values: BTreeMap::new(),
            renamed_from: None,
            origin: place(),
        };
        self.inventory.hosts.insert(id.clone(), declared);
        self.desired.hosts.insert(id.clone(), DesiredHost::default());
        let view = HostView {
            reach: Reach::Reached,
            machine: Some(Machine {
                id: format!("machine-{name}"),
                missing_tools: Vec::new(),
                has_systemd: true,
            }),
            facts: None,
            manifest: ManifestState::Absent,
            answers: BTreeMap::new(),
        };
        self.seen.hosts.insert(id, view);
    }

    /// Declares a resource on a host.
    pub fn declare(&mut self, name: &str, entry: Entry) -> ResourceKey {
        let key = entry.spec.key();
        self.desired
            .hosts
            .get_mut(&host(name))
            .expect("the host is there")
            .entries
            .insert(key.clone(), entry);
        key
    }

    /// Lets a host say something of a resource.
    pub fn says(&mut self, name: &str, key: &ResourceKey, answer: Answer) {
        self.view(name).answers.insert(key.clone(), vec![answer]);
    }

    /// Returns what a host says, to be changed.
    pub fn view(&mut self, name: &str) -> &mut HostView {
        self.seen.hosts.get_mut(&host(name)).expect("the host is there")
    }

    /// Lets a host's manifest own a resource that muster left as the host now says.
    pub fn owns(&mut self, name: &str, entry: &Entry, origin: Origin) -> &mut Owned {
        let key = entry.spec.key();
        let fleet = self.inventory.name.clone();
        let view = self.view(name);
        let after = view
            .answers
            .get(&key)
            .map(|answers| entry.spec.seen(&entry.spec.read(answers)));
        if view.manifest == ManifestState::Absent {
            view.manifest = ManifestState::Present(Manifest {
                format: 1,
                fleet,
                host: host(name),
                lineage: format!("lineage-{name}"),
                generation: 1,
                last_run: None,
                owned: BTreeMap::new(),
            });
        }
        let ManifestState::Present(manifest) = &mut view.manifest else {
            panic!("the manifest is there")
        };
        manifest.owned.insert(
            key.clone(),
            Owned {
                origin,
                state: OwnedState::Done,
                spec: entry.spec.encode(),
                needs: entry.needs.clone(),
                protect: entry.protect,
                delete: entry.delete,
                after,
                changed_at_secs: Some(1),
                started_with: None,
                outputs: BTreeMap::new(),
                made_keys: BTreeSet::new(),
            },
        );
        manifest.owned.get_mut(&key).expect("it was inserted")
    }

    /// Makes the plan.
    pub fn plan(&self) -> Plan {
        plan(&self.input()).expect("a plan")
    }

    /// Returns what the plan is made from.
    pub fn input(&self) -> PlanInput<'_> {
        static NO_PRINTS: BTreeMap<
            HostId,
            BTreeMap<muster::model::digest::Digest, muster::model::digest::Fingerprint>,
        > = BTreeMap::new();
        PlanInput {
            inventory: &self.inventory,
            desired: &self.desired,
            seen: &self.seen,
            prints: &NO_PRINTS,
            without_secrets: false,
            limit: self.limit.clone(),
            aims: &self.aims,
            inputs: BTreeMap::new(),
            lineages: &self.lineages,
        }
    }
}
