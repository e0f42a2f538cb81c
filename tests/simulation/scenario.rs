//! A seed made into a fleet, a plan and faults.

use std::collections::{BTreeMap, BTreeSet};

use muster::model::gate::{Check, Gate, OnDeadline};
use muster::model::id::HostId;
use muster::model::manifest::ManifestState;
use muster::model::plan::Plan;
use muster::model::wave::OnFailure;
use muster::observe::{self, LookOptions};
use muster::sim::dice::Dice;
use muster::sim::fault::{Fault, Scene, What};
use muster::sim::{Host, Kind, Station, World};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::draw::{Drawn, Fate, fleets};
use crate::host::{SALT, secrets};
use crate::world::World as Declared;

/// What a seed stands for.
pub struct Scenario {
    pub declared: Declared,
    pub world: World,
    pub plan: Plan,
    pub faults: Vec<Fault>,
    pub foreign: BTreeMap<HostId, Foreign>,
}

/// What is on a host and no business of muster's.
#[derive(Debug, Clone, PartialEq)]
pub struct Foreign {
    paths: BTreeSet<String>,
    account: bool,
    group: bool,
    package: bool,
    unit: (bool, u64),
}

const SOMEBODYS: &[&str] = &["/etc/zz-foreign.conf", "/srv/foreign", "/srv/foreign/data"];

/// Draws a fleet, makes the plan, and draws what will go wrong. `keep` says which of the faults strike; `None` lets all.
pub fn scenario(seed: u64, keep: Option<&[usize]>) -> Scenario {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut drawn = fleets().new_tree(&mut runner).expect("a fleet").current();
    let mut dice = Dice::new(seed);
    make_readable(&mut drawn, &mut dice);
    let mut declared = Declared::new(&drawn);
    add_gates(&mut declared, &mut dice);
    let policy = &mut declared.pretend.inventory.policy;
    policy.failures_max = dice.below(4);
    policy.parallel = 1 + dice.below(4);
    policy.on_failure = *dice.pick(&[OnFailure::Stop, OnFailure::Undo, OnFailure::Undo, OnFailure::Hold]);
    let plan = declared.plan();
    let world = World::new(seed, stations(&declared), secrets());
    let hosts: Vec<HostId> = declared.machines.keys().cloned().collect();
    let count = dice.below(6);
    let mut faults: Vec<Fault> = (0..count).map(|_| fault(&mut dice, &hosts)).collect();
    if let Some(keep) = keep {
        let kept = keep.iter().filter_map(|at| faults.get(*at).cloned());
        faults = kept.collect();
    }
    faults.iter().for_each(|fault| world.arm(fault.clone()));
    let foreign = foreign(&world);
    Scenario {
        declared,
        world,
        plan,
        faults,
        foreign,
    }
}

/// Lets most fleets be whole. The planner's laws want what cannot be read in most of them; here all these would end with 3, and
/// hide what else a run can come to.
fn make_readable(drawn: &mut Drawn, dice: &mut Dice) {
    if dice.one_in(5) {
        return;
    }
    drawn.unknown.clear();
    let is_down_kept = dice.one_in(3);
    for host in &mut drawn.hosts {
        if host.fate != Fate::Unreachable || !is_down_kept {
            host.fate = Fate::Fine;
        }
    }
}

fn fault(dice: &mut Dice, hosts: &[HostId]) -> Fault {
    // What fails and what is not let through is drawn more often than its share: undo, restore and halts come of these.
    let what = match dice.one_in(3) {
        true => *dice.pick(&[What::Fails, What::FullDisk, What::GateShut]),
        false => *dice.pick(What::ALL),
    };
    let (end, secs): (usize, &[u64]) = match what.scene() {
        Scene::Op => (5, &[0, 5, 30, 90, 400]),
        Scene::Answer => (10, &[0]),
        Scene::Gate => (2, &[0, 3, 30]),
        Scene::Line => (50, &[0, 20, 70, 300]),
        Scene::Second => (60, &[0, 30, 200]),
    };
    let secs = *dice.pick(secs);
    Fault {
        what,
        host: (what.scene() != Scene::Line).then(|| dice.pick(hosts).clone()),
        at: 1 + dice.below(end) as u64,
        secs: Some(secs).filter(|secs| *secs > 0),
    }
}

fn gate(dice: &mut Dice) -> Gate {
    Gate {
        name: "up".to_owned(),
        check: Check::Tcp {
            address: "127.0.0.1".to_owned(),
            port: 1,
        },
        within_secs: 10,
        stable_for_secs: dice.below(3) as u64,
        every_secs: 2,
        on_deadline: *dice.pick(&[OnDeadline::Halt, OnDeadline::Fail, OnDeadline::GoOn]),
    }
}

fn add_gates(declared: &mut Declared, dice: &mut Dice) {
    if dice.one_in(2) {
        declared.pretend.inventory.policy.gates = vec![gate(dice)];
    }
    let entries = declared
        .pretend
        .desired
        .hosts
        .values_mut()
        .flat_map(|host| host.entries.values_mut());
    for entry in entries {
        if dice.one_in(4) {
            entry.gates = vec![gate(dice)];
        }
    }
}

/// Places the drawn machines, with something on each that belongs to somebody else.
fn stations(declared: &Declared) -> BTreeMap<HostId, Station> {
    let fleet = &declared.pretend.inventory.name;
    let station = |(id, machine): (&HostId, &Host)| {
        let mut host = machine.clone();
        let text = Kind::File("theirs\n".to_owned());
        host.put(SOMEBODYS[0], text.clone(), ["root", "root", "0644"]);
        host.put(SOMEBODYS[1], Kind::Directory, ["root", "root", "0755"]);
        host.put(SOMEBODYS[2], text, ["root", "root", "0644"]);
        host.groups.insert("guests".to_owned(), 5000);
        host.accounts.insert("guest".to_owned(), Default::default());
        host.packages.insert("vim".to_owned(), ("9.0".to_owned(), false));
        host.bring_unit("foreign.service");
        host.units
            .get_mut("foreign.service")
            .expect("it was brought")
            .active = true;
        host.salt = Some(SALT.to_vec());
        host.kept.clear();
        let mut station = Station::new(id, host, fleet.clone());
        let view = &declared.pretend.seen.hosts[id];
        match &view.manifest {
            ManifestState::Absent => {}
            ManifestState::Present(manifest) => station.guarded.manifest = Some(manifest.clone()),
            ManifestState::Unreadable(why) if view.machine.is_some() => {
                station.guarded.damage = Some(why.clone());
            }
            // It does not answer, and is as if muster had never been there.
            ManifestState::Unreadable(_) => station.down_until = u64::MAX,
        }
        (id.clone(), station)
    };
    declared.machines.iter().map(station).collect()
}

/// Returns what is on the hosts and no business of muster's.
pub fn foreign(world: &World) -> BTreeMap<HostId, Foreign> {
    let of = |station: &Station| {
        let host = &station.guarded.host;
        let unit = &host.units["foreign.service"];
        Foreign {
            paths: SOMEBODYS
                .iter()
                .filter(|path| host.paths.contains_key(**path))
                .map(|path| (*path).to_owned())
                .collect(),
            account: host.accounts.contains_key("guest"),
            group: host.groups.contains_key("guests"),
            package: host.packages.contains_key("vim"),
            unit: (unit.enabled, 0),
        }
    };
    let hosts = world.hosts();
    hosts
        .iter()
        .map(|(id, station)| (id.clone(), of(station)))
        .collect()
}

impl Scenario {
    /// Looks at the whole fleet with the real look, and plans with the real planner.
    pub fn plan_again(&mut self) -> Plan {
        let session = self.world.session();
        let ports = session.ports();
        let hosts: BTreeSet<HostId> = self.declared.machines.keys().cloned().collect();
        let options = LookOptions {
            parallel: 4,
            closes: false,
        };
        let facts = Default::default();
        let look = observe::look(&ports, &self.declared.pretend.desired, &hosts, &facts, options);
        let seen = self.world.run(look).expect("a look ends").observation;
        self.declared.pretend.seen = seen;
        self.declared.plan()
    }
}
