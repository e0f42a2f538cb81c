//! What was aimed at, and what came of it.

use super::contender::{APPLY, FLOOR, PLAN, PLAN_FACTS, PYINFRA_PLAN};
use super::table::Table;

/// Prints each goal with what was measured.
pub fn print(table: &Table) {
    println!("\n{:<52} {:>9} {:>9}", "goal", "is", "at most");
    for hosts in table.sizes() {
        let client = |name| table.median(hosts, name).map(|median| median.client_ms);
        let memory = |name| table.median(hosts, name).map(|median| median.memory_mib);
        line(
            hosts,
            "plan: CPU, of the floor's",
            table.ratio(hosts, PLAN, FLOOR),
            1.25,
        );
        line(
            hosts,
            "plan: CPU, of pyinfra's",
            table.ratio(hosts, PLAN, PYINFRA_PLAN),
            0.17,
        );
        line(hosts, "plan: client's CPU, ms a host", client(PLAN), 3.0);
        line(
            hosts,
            "plan with facts: client's CPU, ms a host",
            client(PLAN_FACTS),
            3.0,
        );
        line(hosts, "apply: client's CPU, ms a host", client(APPLY), 4.0);
        if hosts >= 1000 {
            line(hosts, "plan: peak memory, MiB", memory(PLAN), 64.0);
            line(
                hosts,
                "plan with facts: peak memory, MiB",
                memory(PLAN_FACTS),
                64.0,
            );
            line(hosts, "apply: peak memory, MiB", memory(APPLY), 64.0);
        }
    }
    println!("Round trips and execs are counted, not timed: tests/ssh/trips.rs holds them.");
}

fn line(hosts: usize, goal: &str, is: Option<f64>, at_most: f64) {
    let Some(is) = is else { return };
    let verdict = if is <= at_most { "met" } else { "MISSED" };
    println!(
        "{:<52} {is:>9.2} {at_most:>9.2}  {verdict}",
        format!("{hosts:>4} hosts, {goal}")
    );
}
