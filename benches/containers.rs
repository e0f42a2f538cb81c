//! How long a plan takes for 100 hosts with a Compose project of 20 services each: rendered, read, and held against what engines say.

#[path = "../tests/support/trip.rs"]
#[allow(dead_code)]
mod trip;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use muster::load::{self, Overrides};
use muster::model::diagnostic::Diagnostics;
use muster::model::id::{HostId, ModuleName};
use muster::model::inventory::Inventory;
use muster::model::module::Module;
use muster::model::observation::{FactsSeen, Observation};
use muster::model::plan::Plan;
use muster::observe::{self, LookOptions};
use muster::plan::{PlanInput, desire, plan, values};
use muster::ports::Secrets;
use muster::resource::desired::Desired;
use muster::resource::tables;
use muster::sim::{Host, Station, World};
use trip::{End, Quiet, Trip};

const HOSTS: usize = 100;
const SERVICES: usize = 20;

const MODULE: &str = r#"
[module]
name        = "stack"
description = "Twenty services."

[inputs.level]
type    = "string"
default = "info"
doc     = "How much is said."

[[compose]]
name   = "stack"
folder = "/srv/stack"
files  = ["stack.yml.j2"]

[[file]]
path    = "/srv/stack/app.toml"
content = "level = \"{{ level }}\"\nname = \"{{ host.id }}\"\n"
"#;

/// Returns the project's template: chains of services with all that real ones have.
fn template() -> String {
    let mut text = String::from("services:\n");
    for number in 0..SERVICES {
        write!(
            text,
            "  s{number:02}:
    image: registry.example.org/team/app-{}:1.{number}
    command: [\"/app\", \"--name\", \"{{{{ host.id }}}}-{number}\"]
    restart: unless-stopped
    environment: {{ LEVEL: \"{{{{ level }}}}\", NUMBER: \"{number}\", HOST: \"{{{{ host.id }}}}\" }}
    ports: [\"127.0.0.1:{}:8080\"]
    expose: [\"9090\"]
    volumes: [\"data-{number}:/data\", \"./app.toml:/etc/app.toml:ro\"]
    networks: {{ front: {{ aliases: [app-{number}] }}, back: {{}} }}
    healthcheck: {{ test: [\"CMD\", \"/app\", \"check\"], interval: 10s, retries: 5 }}
    deploy: {{ resources: {{ limits: {{ memory: 512M, cpus: \"0.5\" }} }} }}
    ulimits: {{ nofile: {{ soft: 1024, hard: 4096 }} }}
    logging: {{ driver: json-file, options: {{ max-size: 10m }} }}
    labels: {{ org.example.part: s{number:02} }}
",
            number % 8,
            18000 + number
        )
        .expect("writing to a String does not fail");
        if number % 4 > 0 {
            writeln!(
                text,
                "    depends_on: {{ s{:02}: {{ condition: service_healthy }} }}",
                number - 1
            )
            .expect("writing to a String does not fail");
        }
    }
    text.push_str("networks: { front: {}, back: { internal: true } }\nvolumes:\n");
    for number in 0..SERVICES {
        writeln!(text, "  data-{number}: {{}}").expect("writing to a String does not fail");
    }
    text
}

fn write(folder: &Path) {
    let mut text = String::from("[fleet]\nname = \"big\"\n");
    for number in 0..HOSTS {
        write!(
            text,
            "\n[hosts.host-{number:03}]\naddress = \"10.1.0.{}\"\nuser = \"ops\"\n",
            number + 1
        )
        .expect("writing to a String does not fail");
    }
    text.push_str("\n[[use]]\nmodule = \"stack\"\non = \"all\"\n");
    std::fs::write(folder.join("big.toml"), text).expect("the folder is writable");
    let module = folder.join("modules/stack");
    std::fs::create_dir_all(module.join("templates")).expect("the folder is writable");
    std::fs::write(module.join("module.toml"), MODULE).expect("the folder is writable");
    std::fs::write(module.join("templates/stack.yml.j2"), template()).expect("the folder is writable");
}

/// The files, read.
struct Read {
    inventory: Inventory,
    modules: BTreeMap<ModuleName, Module>,
}

impl Read {
    fn new(folder: &Path) -> Self {
        let loaded = load::modules(&folder.join("modules"), &tables());
        assert!(!loaded.diagnostics.has_errors());
        let modules = loaded.value.expect("modules");
        let names: BTreeSet<_> = modules.keys().cloned().collect();
        let loaded = load::inventory(&folder.join("big.toml"), &names, &Overrides::default());
        assert!(!loaded.diagnostics.has_errors());
        let inventory = loaded.value.expect("an inventory");
        Self { inventory, modules }
    }

    /// Renders and reads every host's project.
    fn desired(&self) -> Desired {
        let mut diagnostics = Diagnostics::default();
        let resolved = values::resolve(&self.inventory, &self.modules, &mut diagnostics);
        let wished = desire::desire(&self.inventory, &self.modules, &resolved, &FactsSeen::default());
        assert!(!diagnostics.has_errors() && !wished.diagnostics.has_errors());
        wished.desired
    }

    fn plan(&self, desired: &Desired, seen: &Observation) -> Plan {
        let input = PlanInput {
            inventory: &self.inventory,
            desired,
            seen,
            prints: &BTreeMap::new(),
            lineages: &BTreeMap::new(),
            without_secrets: false,
            inputs: BTreeMap::new(),
            limit: None,
            aims: &Default::default(),
        };
        plan(&input).expect("a plan")
    }
}

fn look(world: &World, desired: &Desired) -> Observation {
    let hosts: BTreeSet<HostId> = desired.hosts.keys().cloned().collect();
    let ports = world.session().ports();
    let options = LookOptions {
        parallel: HOSTS,
        closes: true,
    };
    let seen = world.run(observe::look(
        &ports,
        desired,
        &hosts,
        &FactsSeen::default(),
        options,
    ));
    seen.expect("a look ends").observation
}

fn containers(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write(folder.path());
    let read = Read::new(folder.path());
    let desired = read.desired();
    let stations = read.inventory.hosts.keys().map(|host| {
        let station = Station::new(host, Host::new(), read.inventory.name.clone());
        (host.clone(), station)
    });
    let world = World::new(1, stations.collect(), Secrets::default());
    let nothing = look(&world, &desired);
    let first = read.plan(&desired, &nothing);
    // The folder, two files, two networks, the images, and a container and its volume for each service.
    assert_eq!(first.changes.len(), HOSTS * (3 + 2 + SERVICES + 2 * SERVICES));
    let mut trip = Trip::new(&world, &first, "0123456789ab-1", Secrets::default());
    assert!(matches!(trip.begin(&mut Quiet), End::Ended(outcome) if outcome.exit == 0));
    let settled = look(&world, &desired);
    assert_eq!(read.plan(&desired, &settled).changes.len(), 0);

    let mut group = criterion.benchmark_group("plan_100_hosts_20_services");
    group.sample_size(10);
    group.bench_function("rendered_and_read", |bench| bench.iter(|| read.desired()));
    group.bench_function("nothing_changes", |bench| {
        bench.iter(|| read.plan(&desired, &settled))
    });
    group.bench_function("all_to_create", |bench| {
        bench.iter(|| read.plan(&desired, &nothing))
    });
    group.bench_function("whole_and_nothing_changes", |bench| {
        bench.iter(|| {
            let read = Read::new(folder.path());
            let desired = read.desired();
            read.plan(&desired, &settled)
        })
    });
    group.finish();
}

criterion_group!(benches, containers);
criterion_main!(benches);
