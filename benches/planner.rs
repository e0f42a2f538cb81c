//! How long a plan takes for 1,000 hosts with 100 files each. Goal: at most half a second.

#[path = "../tests/support/pretend.rs"]
#[allow(dead_code)]
mod pretend;

use criterion::{Criterion, criterion_group, criterion_main};
use muster::model::manifest::Origin;
use pretend::{Pretend, absent_answer, file, file_answer};

const HOSTS: usize = 1000;
const FILES: usize = 100;

/// A fleet on which every hundredth file was changed by hand.
fn settled() -> Pretend {
    fleet(|fleet, name, number| {
        let declared = file(&format!("/etc/app/{number}.conf"), "key = value\n");
        let key = fleet.declare(name, declared.clone());
        fleet.says(name, &key, file_answer("key = value\n"));
        fleet.owns(name, &declared, Origin::Made);
        if number == 0 {
            fleet.says(name, &key, file_answer("key = other\n"));
        }
    })
}

/// A fleet on which nothing is there yet.
fn empty() -> Pretend {
    fleet(|fleet, name, number| {
        let key = fleet.declare(name, file(&format!("/etc/app/{number}.conf"), "key = value\n"));
        fleet.says(name, &key, absent_answer());
    })
}

fn fleet(fill: impl Fn(&mut Pretend, &str, usize)) -> Pretend {
    let names: Vec<String> = (0..HOSTS).map(|number| format!("host-{number:04}")).collect();
    let mut fleet = Pretend::new(&names.iter().map(String::as_str).collect::<Vec<_>>());
    for name in &names {
        (0..FILES).for_each(|number| fill(&mut fleet, name, number));
    }
    fleet
}

fn planner(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan_1000_hosts_100_resources");
    group.sample_size(10);
    let fleet = settled();
    assert_eq!(fleet.plan().changes.len(), HOSTS);
    group.bench_function("one_in_a_hundred_drifted", |bench| bench.iter(|| fleet.plan()));
    let fleet = empty();
    assert_eq!(fleet.plan().changes.len(), HOSTS * FILES);
    group.bench_function("all_to_create", |bench| bench.iter(|| fleet.plan()));
    group.finish();
}

criterion_group!(benches, planner);
criterion_main!(benches);
