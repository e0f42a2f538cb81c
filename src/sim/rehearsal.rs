//! A pretend fleet made from a plan: hosts as the plan saw them, as far as it tells.
//!
//! A plan holds digests of what was there, not the things. So each host gets what the plan is about: what is to be deleted or
//! changed is there, and what is to be changed is *veiled*: it looks another way until the plan's own operation has been at it. Parent
//! folders, owners and units that the plan takes for granted are there too. The plan's basis is made anew from these hosts.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::body::Body;
use crate::model::change::{Action, Change, Undo};
use crate::model::engine::EngineOp;
use crate::model::id::{HostId, ResourceId};
use crate::model::known::Known;
use crate::model::manifest::{Manifest, Origin, Owned, OwnedState};
use crate::model::network::NetworkSpec;
use crate::model::observation::Observed;
use crate::model::op::{Op, UnitVerb};
use crate::model::plan::{Basis, Plan};
use crate::model::secret::{Secret, SecretSource};
use crate::ports::Secrets;
use crate::resource::{Context, Spec, Step};

use super::host::{Host, Kind, Scripted, fill};
use super::station::Station;
use super::veil::Veil;
use super::world::World;

/// What every secret is in a rehearsal.
const PRETENDED: &str = "a pretended secret";

/// A plan made ready to be rehearsed.
pub struct Rehearsal {
    /// The pretend fleet.
    pub world: World,
    /// The plan, resting on what the pretend hosts say.
    pub plan: Plan,
    /// Values for its secrets, all pretended.
    pub secrets: Secrets,
}

/// Makes a pretend fleet from a plan. The seed says how long everything takes.
pub fn rehearse(plan: &Plan, seed: u64) -> Rehearsal {
    let secrets = pretended(plan);
    let mut plan = plan.clone();
    let hosts: BTreeSet<HostId> = plan
        .changes
        .keys()
        .map(|id| &id.host)
        .chain(plan.takes.keys())
        .chain(plan.basis.keys())
        .chain(
            plan.waves
                .iter()
                .flat_map(|wave| wave.after.iter().map(|gate| &gate.host)),
        )
        .cloned()
        .collect();
    let stations: BTreeMap<HostId, Station> = hosts
        .into_iter()
        .map(|id| {
            let station = station(&plan, &id, &secrets);
            (id, station)
        })
        .collect();
    stations
        .iter()
        .for_each(|(id, station)| rest_on(&mut plan, id, station));
    Rehearsal {
        world: World::new(seed, stations, secrets.clone()),
        plan,
        secrets,
    }
}

fn pretended(plan: &Plan) -> Secrets {
    let mut sources: BTreeSet<SecretSource> = BTreeSet::new();
    let mut take = |body: &Body| sources.extend(body.secrets().map(|secret| secret.source.clone()));
    for (id, change) in &plan.changes {
        let undo: &[Op] = match &change.undo {
            Undo::Exact(ops) | Undo::Inverse { ops, .. } => ops,
            Undo::Impossible(_) => &[],
        };
        let ops = change.ops.iter().chain(undo);
        ops.flat_map(Op::bodies).for_each(&mut take);
        let spec = Spec::decode(id.key.kind.as_str(), &change.spec);
        spec.iter().flat_map(Spec::bodies).for_each(&mut take);
    }
    let value = |source: SecretSource| (source, Secret::new(PRETENDED));
    Secrets::new(sources.into_iter().map(value).collect())
}

/// The changes of one host, in the order of the plan's waves.
fn changes<'p>(plan: &'p Plan, host: &HostId) -> Vec<&'p Change> {
    let ids = plan.waves.iter().flat_map(|wave| &wave.changes);
    let mut ids: Vec<&ResourceId> = ids.filter(|id| id.host == *host).collect();
    let others = plan
        .changes
        .keys()
        .filter(|id| id.host == *host && !ids.contains(id));
    let others: Vec<&ResourceId> = others.collect();
    ids.extend(others);
    ids.into_iter().filter_map(|id| plan.changes.get(id)).collect()
}

fn station(plan: &Plan, id: &HostId, secrets: &Secrets) -> Station {
    let changes = changes(plan, id);
    let mut host = Host::new();
    host.salt = Some(format!("salt of {id}").into_bytes());
    take_for_granted(&mut host, &changes);
    for change in &changes {
        let Ok(spec) = Spec::decode(change.target.key.kind.as_str(), &change.spec) else {
            continue;
        };
        learn(&mut host, &spec, secrets);
        if change.action != Action::Create {
            let ops = create(&spec);
            take_for_granted_by(&mut host, &ops);
            // What cannot be made is not there; the rehearsal then tells of a plan that cannot be carried out.
            ops.iter().for_each(|op| drop(host.perform(op, secrets)));
        }
    }
    for change in changes.iter().filter(|change| is_veiled(change)) {
        host.veils.push(Veil::over(&change.probes, &change.ops));
    }
    host.kept.clear();
    let mut station = Station::new(id, host, plan.fleet.clone());
    station.guarded.manifest = manifest(plan, id, &changes);
    station
}

/// Says whether a resource looks another way until its change is done.
fn is_veiled(change: &Change) -> bool {
    match change.action {
        Action::Update | Action::Replace => !change.ops.is_empty(),
        Action::Create | Action::Delete | Action::Forget => false,
    }
}

/// Returns what makes a resource where it is not.
fn create(spec: &Spec) -> Vec<Op> {
    let known = Known::default();
    let context = Context {
        known: &known,
        owned: None,
        consumed: None,
    };
    spec.ops(&Step {
        action: Action::Create,
        before: &Observed::Absent,
        fields: &[],
        context,
    })
}

/// Tells a host what a module's script leads to.
fn learn(host: &mut Host, spec: &Spec, secrets: &Secrets) {
    let Some(pretended) = spec.pretended() else { return };
    if let Ok(script) = fill(&pretended.script, secrets) {
        let scripted = Scripted {
            probe: pretended.probe,
            prints: pretended.prints,
        };
        host.scripts.insert(script, scripted);
    }
}

/// Lets there be what changes need and the plan does not make itself.
fn take_for_granted(host: &mut Host, changes: &[&Change]) {
    let ops = || changes.iter().flat_map(|change| &change.ops);
    let made: BTreeSet<&str> = ops()
        .filter_map(|op| match op {
            Op::MakeDirectory { path, .. } => Some(path.as_str()),
            _ => None,
        })
        .collect();
    let accounts: BTreeSet<&str> = ops()
        .filter_map(|op| match op {
            Op::Account { name, .. } => Some(name.as_str()),
            _ => None,
        })
        .collect();
    let groups: BTreeSet<&str> = ops()
        .filter_map(|op| match op {
            Op::Group { name, .. } => Some(name.as_str()),
            _ => None,
        })
        .collect();
    let units: BTreeSet<&str> = ops()
        .filter_map(|op| match op {
            Op::WriteFile { path, .. } => path.strip_prefix("/etc/systemd/system/"),
            _ => None,
        })
        .collect();
    for op in ops() {
        for path in paths(op) {
            parents(&path)
                .into_iter()
                .filter(|parent| !made.contains(parent))
                .for_each(|parent| folder(host, parent));
        }
        for name in owners(op).into_iter().filter(|name| !accounts.contains(name)) {
            account(host, name);
        }
        for name in group_names(op) {
            if !groups.contains(name) && !accounts.contains(name) {
                group(host, name);
            }
        }
        match op {
            Op::EnableUnit { unit, .. } | Op::ControlUnit { unit, .. } if !units.contains(unit.as_str()) => {
                host.bring_unit(unit);
            }
            _ => {}
        }
        engine_parts(host, op, || Box::new(ops()));
        if let Op::ControlUnit {
            unit,
            verb: UnitVerb::Restart | UnitVerb::Reload,
        } = op
            && let Some(unit) = host.units.get_mut(unit)
        {
            (unit.active, unit.starts, unit.since) = (true, unit.starts.max(1), 1);
        }
    }
}

/// Lets there be what making a resource needs, whoever would make it.
fn take_for_granted_by(host: &mut Host, ops: &[Op]) {
    for op in ops {
        for path in paths(op) {
            parents(&path).into_iter().for_each(|parent| folder(host, parent));
        }
        owners(op).into_iter().for_each(|name| account(host, name));
        group_names(op).into_iter().for_each(|name| group(host, name));
        engine_parts(host, op, || Box::new(std::iter::empty()));
        if let Op::EnableUnit { unit, .. } | Op::ControlUnit { unit, .. } = op
            && !host.paths.contains_key(&format!("/etc/systemd/system/{unit}"))
        {
            host.bring_unit(unit);
        }
    }
}

/// Lets an engine have the image and the networks of a container that nobody makes.
fn engine_parts<'o>(host: &mut Host, op: &Op, ops: impl Fn() -> Box<dyn Iterator<Item = &'o Op> + 'o>) {
    let Op::Engine(EngineOp::Container { spec, .. } | EngineOp::Once { spec, .. }) = op else {
        return;
    };
    let is_pulled =
        ops().any(|op| matches!(op, Op::Engine(EngineOp::Pull { image, .. }) if *image == spec.image));
    if !is_pulled {
        host.engine.images.insert(spec.image.clone());
    }
    for name in spec.settings.networks.keys() {
        let is_made =
            ops().any(|op| matches!(op, Op::Engine(EngineOp::Network(network)) if network.name == *name));
        if !is_made {
            let network = NetworkSpec {
                name: name.clone(),
                ..NetworkSpec::default()
            };
            host.engine.networks.entry(name.clone()).or_insert(network);
        }
    }
}

fn paths(op: &Op) -> Vec<String> {
    match op {
        Op::WriteFile { path, .. }
        | Op::SetAttributes { path, .. }
        | Op::MakeDirectory { path, .. }
        | Op::Link { path, .. }
        | Op::Settings { path, .. } => vec![path.clone()],
        Op::Sysctl { file, .. } => vec![file.clone()],
        _ => Vec::new(),
    }
}

fn parents(path: &str) -> Vec<&str> {
    let ends = path.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
    ends.map(|at| &path[..at]).collect()
}

fn folder(host: &mut Host, path: &str) {
    if !host.paths.contains_key(path) {
        host.put(path, Kind::Directory, ["root", "root", "0755"]);
    }
}

fn owners(op: &Op) -> Vec<&str> {
    match op {
        Op::WriteFile { owner, .. }
        | Op::SetAttributes { owner, .. }
        | Op::MakeDirectory { owner, .. }
        | Op::Settings { owner, .. } => vec![owner.as_str()],
        Op::Run { user: Some(user), .. } => vec![user.as_str()],
        _ => Vec::new(),
    }
}

fn account(host: &mut Host, name: &str) {
    if name.is_empty() || host.accounts.contains_key(name) {
        return;
    }
    group(host, name);
    let account = super::Account {
        group: name.to_owned(),
        home: format!("/home/{name}"),
        shell: "/bin/sh".to_owned(),
        ..super::Account::default()
    };
    host.accounts.insert(name.to_owned(), account);
}

fn group_names(op: &Op) -> Vec<&str> {
    match op {
        Op::WriteFile { group, .. }
        | Op::SetAttributes { group, .. }
        | Op::MakeDirectory { group, .. }
        | Op::Settings { group, .. } => vec![group.as_str()],
        Op::Account { group, groups, .. } => {
            let names = group.iter().chain(groups.iter().flatten());
            names.map(String::as_str).collect()
        }
        _ => Vec::new(),
    }
}

fn group(host: &mut Host, name: &str) {
    if !name.is_empty() {
        let next = 2000 + u32::try_from(host.groups.len()).unwrap_or(0);
        host.groups.entry(name.to_owned()).or_insert(next);
    }
}

/// Returns the manifest that the plan saw.
fn manifest(plan: &Plan, id: &HostId, changes: &[&Change]) -> Option<Manifest> {
    let basis = plan.basis.get(id)?;
    let lineage = basis.lineage.clone()?;
    let (fleet, host) = basis
        .former
        .clone()
        .unwrap_or_else(|| (plan.fleet.clone(), id.clone()));
    let known = changes.iter().filter(|change| change.action != Action::Create);
    let owned = |change: &&&Change| {
        let keep = &change.keep;
        Owned {
            origin: if keep.is_made { Origin::Made } else { Origin::Found },
            state: OwnedState::Done,
            spec: change.spec.clone(),
            needs: keep.needs.clone(),
            protect: keep.protect,
            delete: keep.delete,
            after: basis.seen.get(&change.target.key).cloned(),
            changed_at_secs: Some(1),
            started_with: None,
            outputs: BTreeMap::new(),
            made_keys: keep.made_keys.clone(),
        }
    };
    Some(Manifest {
        format: 1,
        fleet,
        host,
        lineage,
        generation: basis.generation,
        last_run: None,
        owned: known
            .map(|change| (change.target.key.clone(), owned(&change)))
            .collect(),
    })
}

/// Lets the plan rest on what a pretend host says.
fn rest_on(plan: &mut Plan, id: &HostId, station: &Station) {
    let Some(basis) = plan.basis.get(id) else { return };
    let seen = plan
        .changes
        .values()
        .filter(|change| change.target.host == *id)
        .filter_map(|change| {
            let key = &change.target.key;
            let spec = Spec::decode(key.kind.as_str(), &change.spec).ok()?;
            let answers: Vec<_> = change
                .probes
                .iter()
                .map(|probe| station.guarded.host.look(probe))
                .collect();
            Some((key.clone(), spec.seen(&spec.read(&answers))))
        });
    let basis = Basis {
        facts: station.facts.digests(basis.facts.keys()),
        seen: seen.collect(),
        ..basis.clone()
    };
    plan.basis.insert(id.clone(), basis);
}
