//! A drawn fleet made real: hosts in memory, what they say, the plans that follow, and what applying them leaves.

use std::collections::{BTreeMap, BTreeSet};

use muster::model::change::{Action, Change};
use muster::model::digest::{Digest, Fingerprint};
use muster::model::event::Event;
use muster::model::id::{HostId, ResourceId, ResourceKey, RunId};
use muster::model::manifest::{Manifest, ManifestState, Origin, Owned, OwnedState, StartedWith};
use muster::model::observation::{Answer, HostView, Observed};
use muster::model::op::Probe;
use muster::model::plan::{Plan, Take};
use muster::model::target::{HostKey, SshTarget, Transport};
use muster::plan::rollback::{self, RollbackInput, trace};
use muster::plan::{PlanInput, plan};
use muster::resource::desired::{DesiredHost, Entry};
use muster::resource::{Actual, Spec};

use crate::draw::{Declared, Drawn, Fate};
use crate::host::{self, Host, Kind};
use crate::pretend::{Pretend, entry};
use crate::scenes::{lay, look, perform, prepared};
use muster::sim::Node;

/// A fleet with the machines behind it.
pub struct World {
    pub pretend: Pretend,
    pub machines: BTreeMap<HostId, Host>,
    pub unknown: BTreeSet<ResourceId>,
    pub down: BTreeSet<HostId>,
    runs: usize,
    prints: BTreeMap<HostId, BTreeMap<Digest, Fingerprint>>,
}

impl World {
    /// Makes a fleet to which muster has been before; hands were at work since, and some hosts fell ill.
    pub fn new(drawn: &Drawn) -> Self {
        let names: Vec<String> = (0..drawn.hosts.len()).map(|at| format!("h{at}")).collect();
        let mut pretend = Pretend::new(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let ids: Vec<HostId> = pretend.inventory.hosts.keys().cloned().collect();
        let machine = |(id, host): (&HostId, &crate::draw::DrawnHost)| {
            let mut machine = prepared(&host.before);
            for path in ["/srv/.tmkms", "/etc/ssh", "/etc/ssh/sshd_config.d"] {
                machine.paths.insert(path.into(), folder());
            }
            (id.clone(), machine)
        };
        let machines = ids.iter().zip(&drawn.hosts).map(machine).collect();
        let mut world = Self {
            machines,
            unknown: BTreeSet::new(),
            down: BTreeSet::new(),
            runs: 0,
            prints: BTreeMap::new(),
            pretend: {
                for (host, drawn) in pretend.inventory.hosts.values_mut().zip(&drawn.hosts) {
                    host.labels
                        .extend(drawn.site.map(|site| ("site".into(), site.into())));
                    if drawn.is_remote {
                        host.target.transport = over_ssh(host.id.as_str());
                    }
                }
                pretend
            },
        };
        world.declare(drawn, |slot| slot.former.as_ref());
        world.look();
        let first = world.plan();
        world.apply(&first);
        for (machine, host) in world.machines.values_mut().zip(&drawn.hosts) {
            lay(machine, &host.since);
        }
        world.declare(drawn, |slot| slot.now.as_ref());
        world.set_policy(drawn);
        world.fall_ill(drawn);
        world.look();
        world
    }

    /// Declares all anew.
    fn declare(&mut self, drawn: &Drawn, of: impl Fn(&crate::draw::Slot) -> Option<&Declared>) {
        let mut all: BTreeMap<(u8, ResourceId), &Declared> = BTreeMap::new();
        let mut taken: BTreeSet<ResourceId> = BTreeSet::new();
        for (id, host) in self.machines.keys().zip(&drawn.hosts) {
            for declared in host.slots.iter().filter_map(&of) {
                let target = declared.spec.key().on(id);
                if taken.insert(target.clone()) {
                    all.insert((declared.level, target), declared);
                }
            }
        }
        let order: Vec<&ResourceId> = all.keys().map(|(_, id)| id).collect();
        let hosts = &mut self.pretend.desired.hosts;
        hosts.values_mut().for_each(|host| *host = DesiredHost::default());
        self.prints.clear();
        for (at, ((_, id), declared)) in all.iter().enumerate() {
            let here = hosts.get_mut(&id.host).expect("a host of the fleet");
            here.entries
                .insert(id.key.clone(), declared_entry(id, declared, &order[..at]));
            let prints = self.prints.entry(id.host.clone()).or_default();
            prints.extend(host::prints(&declared.spec));
        }
    }

    fn set_policy(&mut self, drawn: &Drawn) {
        let policy = &mut self.pretend.inventory.policy;
        let wanted = &drawn.policy;
        policy.canary = wanted.canary.clone();
        policy.batch = wanted.batch;
        policy.down_max = wanted.down_max;
        policy.spread = wanted.is_spread.then(|| "site".to_owned());
        let names = self.machines.len();
        // A selector may only name hosts that are there.
        let is_there = |text: &&&str| text.split(',').all(|name| name < format!("h{names}").as_str());
        let order = wanted.order.iter().filter(is_there);
        policy.order = order.map(|text| text.parse().expect("a selector")).collect();
    }

    fn fall_ill(&mut self, drawn: &Drawn) {
        let ids: Vec<HostId> = self.machines.keys().cloned().collect();
        for (id, host) in ids.iter().zip(&drawn.hosts) {
            let view = self.pretend.seen.hosts.get_mut(id).expect("a view");
            match host.fate {
                Fate::Fine => continue,
                Fate::Unreachable => *view = HostView::unreachable("no route"),
                Fate::Damaged => view.manifest = ManifestState::Unreadable("checksum".into()),
                Fate::Swapped => drop(self.pretend.lineages.insert(id.clone(), "another lineage".into())),
            }
            self.down.insert(id.clone());
        }
        let all: Vec<ResourceId> = self.specs().into_keys().collect();
        let unknown = drawn.unknown.iter().filter(|_| !all.is_empty());
        self.unknown = unknown.map(|index| index.get(&all).clone()).collect();
    }

    /// Returns what is declared or owned on hosts that answer, by its spec: the declared one, else the manifest's.
    pub fn specs(&self) -> BTreeMap<ResourceId, Spec> {
        let mut specs = BTreeMap::new();
        for (host, view) in &self.pretend.seen.hosts {
            for (key, owned) in view.manifest.present().into_iter().flat_map(|m| &m.owned) {
                let spec = Spec::decode(key.kind.as_str(), &owned.spec).expect("muster wrote it");
                specs.insert(key.on(host), spec);
            }
        }
        let declared = self.pretend.desired.iter();
        specs.extend(declared.map(|(id, entry)| (id, entry.spec.clone())));
        specs.retain(|id, _| self.pretend.seen.hosts[&id.host].machine.is_some());
        specs
    }

    /// Looks at everything.
    pub fn look(&mut self) {
        let views = self.pretend.seen.hosts.values_mut();
        views.for_each(|view| view.answers.clear());
        for (id, spec) in self.specs() {
            let machine = &self.machines[&id.host];
            let answer = |probe| match self.unknown.contains(&id) {
                true => Answer::NoAnswer("timed out".into()),
                false => machine.look(probe),
            };
            let answers = spec.probes().iter().map(answer).collect();
            let view = self.pretend.seen.hosts.get_mut(&id.host).expect("a view");
            view.answers.insert(id.key.clone(), answers);
        }
    }

    /// Returns what was seen of a resource.
    pub fn observed(&self, id: &ResourceId, spec: &Spec) -> Observed<Actual> {
        spec.read(&self.pretend.seen.hosts[&id.host].answers[&id.key])
    }

    /// Returns a manifest's entry.
    pub fn owned(&self, id: &ResourceId) -> Option<&Owned> {
        self.pretend.seen.hosts[&id.host]
            .manifest
            .present()?
            .owned
            .get(&id.key)
    }

    /// Makes the plan.
    pub fn plan(&self) -> Plan {
        let input = PlanInput {
            prints: &self.prints,
            ..self.pretend.input()
        };
        plan(&input).expect("no two hosts are one machine")
    }

    /// Applies a plan wave by wave and records what apply would. Returns what a journal would say, but for the waiting.
    pub fn apply(&mut self, plan: &Plan) -> Vec<Event> {
        let mut events = Vec::new();
        for (host, takes) in &plan.takes {
            for take in takes {
                let manifest = self.manifest(host);
                let owned = taken(take, manifest.owned.get(&take.key));
                manifest.owned.insert(take.key.clone(), owned);
            }
            events.push(Event::Recorded {
                host: host.clone(),
                error: None,
            });
        }
        self.runs += 1;
        let run = self.run();
        self.machines
            .values_mut()
            .for_each(|machine| machine.begin(run.as_str()));
        for id in plan.waves.iter().flat_map(|wave| &wave.changes) {
            let after = self.change(&plan.changes[id]);
            events.push(Event::Applied {
                change: id.clone(),
                after,
                outputs: BTreeMap::new(),
            });
        }
        events
    }

    /// Returns the name of the last run.
    pub fn run(&self) -> RunId {
        format!("run-{}", self.runs).parse().expect("a run's name")
    }

    /// Plans to take a run back.
    pub fn rollback(&mut self, run: &RunId, then: &Plan, events: &[Event]) -> Plan {
        let trace = trace::trace(events);
        let mut seen = self.pretend.seen.clone();
        for (host, probes) in rollback::probes(then, &trace, run) {
            let machine = &self.machines[&host];
            let look = |(key, probes): (ResourceKey, Vec<Probe>)| {
                (key, probes.iter().map(|probe| machine.look(probe)).collect())
            };
            let view = seen.hosts.get_mut(&host).expect("a view");
            view.answers = probes.into_iter().map(look).collect();
        }
        rollback::rollback(&RollbackInput {
            inventory: &self.pretend.inventory,
            run,
            then,
            trace: &trace,
            seen: &seen,
            lineages: &self.pretend.lineages,
            limit: None,
        })
    }

    fn change(&mut self, change: &Change) -> Digest {
        let ResourceId { host, key } = &change.target;
        let machine = self.machines.get_mut(host).expect("a machine");
        perform(machine, &change.ops);
        let spec = Spec::decode(key.kind.as_str(), &change.spec).expect("the planner wrote it");
        let after = look(machine, &spec);
        let now_secs = machine.clock;
        let digest = spec.seen(&after);
        let owned = &mut self.manifest(host).owned;
        let before = owned.remove(key);
        if let Some(back) = &change.back {
            let key = back.named.as_ref().unwrap_or(key);
            owned.extend(back.entry.clone().map(|entry| (key.clone(), entry)));
            return digest;
        }
        if !matches!(change.action, Action::Delete | Action::Forget) {
            let done = done(change, before.as_ref(), &spec, &after, now_secs);
            owned.insert(key.clone(), done);
        }
        digest
    }

    fn manifest(&mut self, host: &HostId) -> &mut Manifest {
        let fleet = self.pretend.inventory.name.clone();
        let view = self.pretend.seen.hosts.get_mut(host).expect("a view");
        if view.manifest == ManifestState::Absent {
            view.manifest = ManifestState::Present(Manifest {
                format: 1,
                fleet,
                host: host.clone(),
                lineage: format!("lineage-{host}"),
                generation: 0,
                last_run: None,
                owned: BTreeMap::new(),
            });
        }
        let ManifestState::Present(manifest) = &mut view.manifest else {
            panic!("{host}: a plan changes a host whose manifest cannot be read")
        };
        manifest.generation += 1;
        manifest
    }
}

/// The way to a host as `ops`, whose keys a drawn resource may change.
fn over_ssh(address: &str) -> Transport {
    Transport::Ssh(SshTarget {
        address: address.to_owned(),
        port: None,
        user: Some("ops".to_owned()),
        identity_file: None,
        host_key: HostKey::KnownHosts,
        via: None,
    })
}

fn folder() -> Node {
    let root = || "root".to_owned();
    Node {
        kind: Kind::Directory,
        owner: root(),
        group: root(),
        mode: "0755".into(),
        changed: 0,
    }
}

fn declared_entry(id: &ResourceId, declared: &Declared, lower: &[&ResourceId]) -> Entry {
    let lower: Vec<&ResourceId> = lower.iter().copied().filter(|other| *other != id).collect();
    let needs = declared.needs.iter().filter(|_| !lower.is_empty());
    let mut needs: BTreeSet<ResourceId> = needs.map(|index| (*index.get(&lower)).clone()).collect();
    // Times of different hosts cannot be compared, so only what is on the same host restarts.
    let here = |is_wanted: bool| {
        let here = needs
            .iter()
            .filter(|need| is_wanted && need.host == id.host)
            .cloned();
        here.collect::<BTreeSet<_>>()
    };
    let starts = declared.spec.info().starts;
    let mut restart_on = here(declared.restarts && starts);
    // What a container sees starts it anew, and `desire` says so of each file. Here it sees those that come before it.
    let mut spec = declared.spec.clone();
    if let Spec::Container(container) = &mut spec {
        let file = |path: &str| ResourceKey::new("file", path).on(&id.host);
        let mounted = &mut container.spec.mounted;
        mounted.retain(|path, _| lower.contains(&&file(path)));
        restart_on.extend(mounted.keys().map(|path| file(path)));
    }
    let loses_on = here(declared.is_lost && declared.spec.info().name == "command");
    needs.extend(restart_on.iter().cloned());
    Entry {
        restart_on,
        loses_on,
        protect: declared.protect,
        delete: declared.delete,
        needs,
        ..entry(spec.info().name, spec.encode())
    }
}

fn recorded(spec: &serde_json::Value, keep: &muster::model::change::Keep, after: Digest) -> Owned {
    Owned {
        origin: if keep.is_made { Origin::Made } else { Origin::Found },
        state: OwnedState::Done,
        spec: spec.clone(),
        needs: keep.needs.clone(),
        protect: keep.protect,
        delete: keep.delete,
        after: Some(after),
        changed_at_secs: None,
        started_with: None,
        outputs: BTreeMap::new(),
        made_keys: keep.made_keys.clone(),
    }
}

fn taken(take: &Take, before: Option<&Owned>) -> Owned {
    Owned {
        changed_at_secs: before.and_then(|before| before.changed_at_secs),
        started_with: before.and_then(|before| before.started_with.clone()),
        outputs: take.outputs.clone(),
        ..recorded(&take.spec, &take.keep, take.after.clone())
    }
}

fn done(
    change: &Change,
    before: Option<&Owned>,
    spec: &Spec,
    after: &Observed<Actual>,
    now_secs: u64,
) -> Owned {
    let invocation = after.present().and_then(|actual| spec.invocation(actual));
    let started = change.keep.consumed.clone().zip(invocation);
    let started = started.map(|(consumed, invocation)| StartedWith {
        consumed,
        invocation,
        at_secs: Some(now_secs),
    });
    let outputs = after.present().map(|actual| spec.outputs(actual));
    Owned {
        changed_at_secs: Some(now_secs),
        started_with: match change.keep.starts {
            true => started,
            false => before.and_then(|before| before.started_with.clone()),
        },
        outputs: outputs.unwrap_or_default().into_iter().collect(),
        ..recorded(&change.spec, &change.keep, spec.seen(after))
    }
}
