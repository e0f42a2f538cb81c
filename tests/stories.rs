//! Stories: a fleet, what goes wrong, and what the run says of it, word for word.
//!
//! Each `tests/stories/*.toml` holds an inventory and a module as people write them, faults, and steps. The real loader, planner and
//! driver carry it out on a pretended fleet; the tale stands beside it in a `.golden` file. `MUSTER_UPDATE=1` writes the tales anew.

// The suite of seeds uses the rest of it.
#[path = "support/trip.rs"]
#[allow(dead_code)]
mod trip;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use muster::apply::Progress;
use muster::load::{self, Overrides};
use muster::model::aim::Aims;
use muster::model::diagnostic::Diagnostics;
use muster::model::event::{Event, Task};
use muster::model::id::{HostId, ModuleName};
use muster::model::inventory::Inventory;
use muster::model::module::Module;
use muster::model::plan::Plan;
use muster::model::secret::{Secret, SecretSource};
use muster::observe::{self, LookOptions};
use muster::plan::desire::desire;
use muster::plan::{PlanInput, plan, values};
use muster::ports::Secrets;
use muster::report::{self, rehearsal::Heard};
use muster::resource::tables;
use muster::sim::fault::Fault;
use muster::sim::{Deed, Host, Kind, Station, World};
use serde::Deserialize;

use trip::{End, Trip};

/// The value of every secret, which no tale may tell.
const SECRET: &str = "hunter2-hunter2";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Story {
    /// What it tells, as a sentence.
    title: String,
    /// Which dice.
    #[serde(default)]
    seed: u64,
    /// An inventory, less its `[fleet]` and `[[use]]`.
    inventory: String,
    /// A module, less its `[module]`.
    module: String,
    /// Units that packages have brought to every host, and that run.
    #[serde(default)]
    units: BTreeSet<String>,
    /// Files that are on every host before.
    #[serde(default)]
    files: BTreeMap<String, String>,
    #[serde(default)]
    fault: Vec<Fault>,
    /// `apply`, `resume`, `again` (plan and apply anew), `stale` (the first plan once more), `heal`, `wait`.
    #[serde(default)]
    steps: Vec<String>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stories")
}

/// A story on its way.
struct Telling {
    inventory: Inventory,
    modules: BTreeMap<ModuleName, Module>,
    world: World,
    tale: String,
    runs: u32,
}

impl Telling {
    fn begin(story: &Story) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |path: &str, text: String| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().expect("it has one")).expect("a temporary folder");
            std::fs::write(&path, text).expect("a temporary folder");
            path
        };
        let inventory = format!(
            "{}\n[fleet]\nname = \"story\"\n\n[[use]]\nmodule = \"app\"\non = \"all\"\n",
            story.inventory
        );
        let inventory = write("inventories/story.toml", inventory);
        write(
            "modules/app/module.toml",
            format!("{}\n[module]\nname = \"app\"\n", story.module),
        );
        let kinds = tables();
        let modules = load::modules(&folder.path().join("modules"), &kinds);
        let modules_by_name = modules.value.expect("the module can be read");
        let names = modules_by_name.keys().cloned().collect();
        let loaded = load::inventory(&inventory, &names, &Overrides::default());
        let trouble: Vec<_> = modules
            .diagnostics
            .iter()
            .chain(loaded.diagnostics.iter())
            .collect();
        assert!(trouble.is_empty(), "{}: {trouble:?}", story.title);
        let inventory = loaded.value.expect("the inventory can be read");
        let station = |id: &HostId| {
            let mut host = Host::new();
            for unit in &story.units {
                host.bring_unit(unit);
                let unit = host.units.get_mut(unit).expect("it was brought");
                (unit.active, unit.enabled, unit.starts, unit.since) = (true, true, 1, 1_600_000_000);
            }
            for (path, text) in &story.files {
                host.put(path, Kind::File(text.clone()), ["root", "root", "0644"]);
            }
            (id.clone(), Station::new(id, host, inventory.name.clone()))
        };
        let stations = inventory.hosts.keys().map(station).collect();
        Self {
            world: World::new(story.seed, stations, secrets()),
            modules: modules_by_name,
            inventory,
            tale: format!("{}\n", story.title),
            runs: 0,
        }
    }

    /// Looks and plans, as `muster plan` does.
    fn plan(&mut self) -> Plan {
        let mut diagnostics = Diagnostics::default();
        let resolved = values::resolve(&self.inventory, &self.modules, &mut diagnostics);
        let wished = desire(&self.inventory, &self.modules, &resolved, &Default::default());
        diagnostics.extend(wished.diagnostics.iter().cloned());
        assert!(
            !diagnostics.has_errors() && wished.facts_wanted.is_empty(),
            "{diagnostics:?}"
        );
        let session = self.world.session();
        let ports = session.ports();
        let hosts = self.inventory.hosts.keys().cloned().collect();
        let options = LookOptions {
            parallel: 8,
            closes: false,
        };
        let facts = Default::default();
        let look = observe::look(&ports, &wished.desired, &hosts, &facts, options);
        let seen = self.world.run(look).expect("a look ends");
        let secrets = secrets();
        let prints = |(host, salt): (&HostId, &muster::ports::Salt)| {
            let entries = wished.desired.hosts.get(host)?.entries.values();
            let bodies = entries.flat_map(|entry| entry.spec.printed());
            Some((host.clone(), muster::vault::prints(&secrets, salt, bodies)))
        };
        let input = PlanInput {
            inventory: &self.inventory,
            desired: &wished.desired,
            seen: &seen.observation,
            prints: &seen.salts.iter().filter_map(prints).collect(),
            without_secrets: false,
            limit: None,
            aims: &Aims::default(),
            inputs: BTreeMap::new(),
            lineages: &BTreeMap::new(),
        };
        plan(&input).unwrap_or_else(|found| panic!("{found:?}"))
    }

    fn say(&mut self, text: &str) {
        self.tale.push_str(text);
        self.tale.push('\n');
    }

    /// Does one thing with a run and tells of it.
    fn tell<'p>(&mut self, trip: &mut Trip<'p>, step: impl FnOnce(&mut Trip<'p>, &mut Ear) -> End) {
        let from = self.world.happened().len();
        let mut ear = Ear(Vec::new());
        let before = trip.lines.len();
        let end = step(trip, &mut ear);
        // What a dead controller would have said is not heard: only what stands in the journal.
        let written = trip.lines.len() - before;
        let mut events = 0;
        ear.0.retain(|(_, heard)| match heard {
            Heard::Event(_) => {
                events += 1;
                events <= written
            }
            Heard::Task(_) | Heard::Struck(..) => events < written || end != End::Killed,
        });
        for happened in &self.world.happened()[from..] {
            let what = match &happened.deed {
                Deed::Struck(fault) => format!("fault: {fault}"),
                Deed::Hand(what) => what.clone(),
                Deed::Done { .. } | Deed::Failed { .. } => continue,
                Deed::Unfenced { .. } => panic!("{happened:?}"),
            };
            let heard = Heard::Struck(happened.host.clone(), what);
            ear.0.push((self.world.time(happened.at_ms), heard));
        }
        ear.0.sort_by_key(|(at, _)| *at);
        for line in report::rehearsal::story_text(trip.plan, &trip.run, &ear.0) {
            self.say(&line);
        }
        match &end {
            End::Ended(_) => {}
            End::Killed => self.say("The controller was killed."),
            End::Left => self.say("The operator left at once."),
            End::Refused(refusal) => self.say(&format!("Refused: {refusal}.")),
        }
        let saved = format!(
            "{}{}",
            serde_json::to_string(trip.plan).expect("plain data"),
            trip.lines.join("")
        );
        assert!(!saved.contains(SECRET), "a secret was saved");
    }

    fn run_id(&mut self) -> String {
        self.runs += 1;
        format!("0123456789ab-{}", self.runs)
    }

    /// Tells what is on the hosts in the end: the files that muster keeps, what runs, and whose the lock is.
    fn end(&mut self) {
        self.say("\n--- the hosts");
        for (id, station) in self.world.hosts() {
            let host = &station.guarded.host;
            let owned = station
                .guarded
                .manifest
                .map(|manifest| manifest.owned)
                .unwrap_or_default();
            let states: Vec<String> = owned
                .iter()
                .map(|(key, owned)| match owned.state {
                    muster::model::manifest::OwnedState::Done => key.to_string(),
                    muster::model::manifest::OwnedState::Intent => format!("{key} (an intent)"),
                })
                .collect();
            let units = host.units.iter().filter(|(_, unit)| unit.starts > 0);
            let units: Vec<String> = units
                .map(|(name, unit)| {
                    format!(
                        "{name} {} in start {}",
                        if unit.active { "runs" } else { "stands" },
                        unit.starts
                    )
                })
                .collect();
            let files = host
                .paths
                .iter()
                .filter(|(path, node)| matches!(node.kind, Kind::File(_)) && path.starts_with("/etc/"));
            let files: Vec<&str> = files.map(|(path, _)| path.as_str()).collect();
            let list = |items: Vec<String>| match items.is_empty() {
                true => "nothing".to_owned(),
                false => items.join(", "),
            };
            self.say(&format!("{id}: owns {}", list(states)));
            self.say(&format!(
                "    files {}",
                list(files.into_iter().map(str::to_owned).collect())
            ));
            if !units.is_empty() {
                self.say(&format!("    {}", units.join(", ")));
            }
        }
    }
}

fn secrets() -> Secrets {
    let source: SecretSource = "env:PASS".parse().expect("a source");
    Secrets::new(BTreeMap::from([(source, Secret::new(SECRET))]))
}

/// Hears what a run says.
struct Ear(Vec<(Timestamp, Heard)>);

impl Progress for Ear {
    fn started(&mut self, at: Timestamp, task: &Task) {
        self.0.push((at, Heard::Task(task.clone())));
    }

    fn happened(&mut self, at: Timestamp, event: &Event) {
        self.0.push((at, Heard::Event(event.clone())));
    }
}

fn tell(story: &Story) -> String {
    let mut telling = Telling::begin(story);
    let first = telling.plan();
    let run = telling.run_id();
    telling.say(&format!("\n--- plan: {}", report::plan::sum(&first)));
    for held in &first.held {
        telling.say(&format!("held: {}: {}", held.what, held.why));
    }
    story
        .fault
        .iter()
        .for_each(|fault| telling.world.arm(fault.clone()));
    let mut trip = Trip::new(&telling.world, &first, &run, secrets());
    let steps = if story.steps.is_empty() {
        vec!["apply".to_owned()]
    } else {
        story.steps.clone()
    };
    for step in &steps {
        telling.say(&format!("\n--- {step}"));
        match step.as_str() {
            "apply" => telling.tell(&mut trip, |trip, ear| trip.begin(ear)),
            "resume" => telling.tell(&mut trip, |trip, ear| trip.resume(ear)),
            "stale" => {
                let run = telling.run_id();
                let mut old = Trip::new(&telling.world, &first, &run, secrets());
                telling.tell(&mut old, |trip, ear| trip.begin(ear));
            }
            "again" => {
                let next = telling.plan();
                let run = telling.run_id();
                telling.say(&format!("plan: {}", report::plan::sum(&next)));
                for held in &next.held {
                    telling.say(&format!("held: {}: {}", held.what, held.why));
                }
                if !next.changes.is_empty() || !next.takes.is_empty() {
                    let mut trip = Trip::new(&telling.world, &next, &run, secrets());
                    telling.tell(&mut trip, |trip, ear| trip.begin(ear));
                }
            }
            "heal" => telling.world.heal(),
            "wait" => telling.world.pass(90).expect("time passes"),
            other => panic!("{}: there is no step `{other}`", story.title),
        }
    }
    telling.end();
    telling.tale
}

fn stories() -> BTreeMap<String, Story> {
    let entries = std::fs::read_dir(folder()).expect("the stories are there");
    let paths = entries.map(|entry| entry.expect("the folder is readable").path());
    let paths = paths.filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("a story is readable");
        let story = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (
            path.file_stem()
                .expect("it has a name")
                .to_string_lossy()
                .into_owned(),
            story,
        )
    };
    paths.map(read).collect()
}

#[test]
fn every_story_is_told_as_it_stands() {
    let stories = stories();
    assert!(stories.len() >= 12, "only {} stories", stories.len());
    let mut wrong = Vec::new();
    for (name, story) in &stories {
        let tale = tell(story);
        assert_eq!(tale, tell(story), "{name} is told twice in two ways");
        assert!(!tale.contains(SECRET), "{name} tells a secret");
        let path = folder().join(format!("{name}.golden"));
        if std::env::var_os("MUSTER_UPDATE").is_some() {
            std::fs::write(&path, &tale).expect("the stories are writable");
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        if golden != tale {
            let differs = golden
                .lines()
                .zip(tale.lines())
                .position(|(one, other)| one != other);
            let at = differs.unwrap_or(golden.lines().count().min(tale.lines().count()));
            wrong.push(format!(
                "{name}, line {}:\n  was {:?}\n  is  {:?}",
                at + 1,
                golden.lines().nth(at),
                tale.lines().nth(at)
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "MUSTER_UPDATE=1 tells them anew\n{}",
        wrong.join("\n")
    );
}

#[test]
fn every_fault_has_a_story() {
    let told: BTreeSet<_> = stories()
        .into_values()
        .flat_map(|story| story.fault)
        .map(|fault| fault.what)
        .collect();
    let untold: Vec<_> = muster::sim::fault::What::ALL
        .iter()
        .filter(|what| !told.contains(*what))
        .collect();
    assert!(untold.is_empty(), "{untold:?}");
}
