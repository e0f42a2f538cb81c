//! How long an inventory of 5,000 hosts takes to be parsed, validated and rendered. Goal: at most half a second.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use muster::load::{self, Overrides};
use muster::model::diagnostic::Diagnostics;
use muster::model::observation::FactsSeen;
use muster::plan::{desire, values};
use muster::resource::KINDS;

const HOSTS: usize = 5000;

const MODULE: &str = r#"
[module]
name        = "app"
description = "One application."

[inputs.port]
type    = "port"
default = 8000
doc     = "Where it listens."

[inputs.domain]
type     = "string"
optional = true
doc      = "Its public name."

[inputs.site]
type = "string"
doc  = "Where it stands."

[derived]
url = "'https://' ~ domain if domain else 'http://' ~ host.address ~ ':' ~ port"

[[rule]]
must    = "port != 443"
message = "port 443 is the proxy's"

[[directory]]
path = "/etc/app"

[[file]]
path     = "/etc/app/app.toml"
template = "app.toml.j2"
mode     = "0640"
"#;

const TEMPLATE: &str =
    "url = {{ url | tojson }}\nsite = {{ site | tojson }}\nname = {{ host.id | tojson }}\n";

/// Writes the inventory and its module into a folder.
fn write(folder: &Path) {
    let mut text = String::from("[fleet]\nname = \"big\"\n\n[values]\nport = 8001\n");
    for number in 0..HOSTS {
        let (site, high, low) = (number % 20, number / 250, number % 250 + 1);
        write!(
            text,
            "\n[hosts.host-{number:04}]\naddress = \"10.1.{high}.{low}\"\nuser = \"ops\"\nlabels = {{ site = \"s{site}\" }}\n"
        )
        .expect("writing to a String does not fail");
    }
    for site in 0..20 {
        write!(
            text,
            "\n[groups.site-{site}]\nselect = \"site=s{site}\"\nvalues = {{ site = \"s{site}\" }}\n"
        )
        .expect("writing to a String does not fail");
    }
    text.push_str("\n[[use]]\nmodule = \"app\"\non = \"all\"\n");
    std::fs::write(folder.join("big.toml"), text).expect("the folder is writable");
    let module = folder.join("modules/app");
    std::fs::create_dir_all(module.join("templates")).expect("the folder is writable");
    std::fs::write(module.join("module.toml"), MODULE).expect("the folder is writable");
    std::fs::write(module.join("templates/app.toml.j2"), TEMPLATE).expect("the folder is writable");
}

/// Parses, validates and renders everything; returns the number of resources.
fn validate(folder: &Path) -> usize {
    let kinds: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
    let modules = load::modules(&folder.join("modules"), &kinds)
        .value
        .expect("modules");
    let names: BTreeSet<_> = modules.keys().cloned().collect();
    let loaded = load::inventory(&folder.join("big.toml"), &names, &Overrides::default());
    assert!(!loaded.diagnostics.has_errors());
    let inventory = loaded.value.expect("an inventory");
    let mut diagnostics = Diagnostics::default();
    let resolved = values::resolve(&inventory, &modules, &mut diagnostics);
    let wished = desire::desire(&inventory, &modules, &resolved, &FactsSeen::default());
    assert!(!diagnostics.has_errors() && !wished.diagnostics.has_errors());
    wished.desired.iter().count()
}

fn inventory(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write(folder.path());
    assert_eq!(validate(folder.path()), HOSTS * 2);
    let mut group = criterion.benchmark_group("inventory_5000_hosts");
    group.sample_size(10);
    group.bench_function("parsed_validated_rendered", |bench| {
        bench.iter(|| validate(folder.path()))
    });
    group.finish();
}

criterion_group!(benches, inventory);
criterion_main!(benches);
