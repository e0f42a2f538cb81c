//! The figures: medians for people, every run as JSON.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::bed::Bed;
use super::contender::{self, Contender};
use super::meter::Sample;

/// All runs so far.
pub struct Table {
    /// By the number of hosts and the contender's name, in the order in which they ran.
    runs: BTreeMap<(usize, &'static str), Vec<Sample>>,
    order: Vec<(usize, &'static str)>,
    machine: String,
    has_pyinfra: bool,
}

/// The median of one contender's runs, for one host.
#[derive(Debug, Clone, Copy)]
pub struct Median {
    /// Seconds from start to end, of the whole run.
    pub wall_secs: f64,
    /// Milliseconds of the client's processor time for each host.
    pub client_ms: f64,
    /// Milliseconds of the targets' processor time for each host.
    pub target_ms: f64,
    /// The most memory, in MiB.
    pub memory_mib: f64,
}

impl Table {
    /// Makes an empty table.
    pub fn new(bed: &Bed) -> Self {
        Self {
            runs: BTreeMap::new(),
            order: Vec::new(),
            machine: machine(),
            has_pyinfra: bed.pyinfra.is_some(),
        }
    }

    /// Takes a run in.
    pub fn add(&mut self, hosts: usize, contender: &Contender, sample: Sample) {
        let key = (hosts, contender.name);
        if !self.runs.contains_key(&key) {
            self.order.push(key);
        }
        self.runs.entry(key).or_default().push(sample);
    }

    /// Lists the sizes.
    pub fn sizes(&self) -> Vec<usize> {
        let mut sizes: Vec<usize> = self.order.iter().map(|(hosts, _)| *hosts).collect();
        sizes.dedup();
        sizes
    }

    /// Returns a contender's medians.
    pub fn median(&self, hosts: usize, name: &'static str) -> Option<Median> {
        let runs = self.runs.get(&(hosts, name))?;
        let of = |value: &dyn Fn(&Sample) -> f64| median(runs.iter().map(value).collect());
        let each = |time: Duration| time.as_secs_f64() * 1000.0 / hosts as f64;
        Some(Median {
            wall_secs: of(&|run| run.wall.as_secs_f64()),
            client_ms: of(&|run| each(run.client_cpu)),
            target_ms: of(&|run| each(run.target_cpu)),
            memory_mib: of(&|run| run.memory_bytes as f64 / f64::from(1 << 20)),
        })
    }

    /// Returns the median of how much processor time one contender took to another's, run by run: what disturbs the
    /// machine for a while disturbs both.
    pub fn ratio(&self, hosts: usize, name: &'static str, other: &'static str) -> Option<f64> {
        let (own, others) = (self.runs.get(&(hosts, name))?, self.runs.get(&(hosts, other))?);
        let both = |run: &Sample| (run.client_cpu + run.target_cpu).as_secs_f64();
        Some(median(
            own.iter()
                .zip(others)
                .map(|(own, other)| both(own) / both(other))
                .collect(),
        ))
    }

    /// Prints what was measured with one number of hosts.
    pub fn print(&self, hosts: usize) {
        println!("\n{hosts} hosts · {}\n", self.machine);
        println!(
            "{:<28} {:>5} {:>8} {:>11} {:>11} {:>10} {:>9} {:>8}",
            "", "runs", "wall s", "client ms*", "target ms*", "CPU×floor", "×pyinfra", "peak MiB"
        );
        for (_, name) in self.order.iter().filter(|(size, _)| *size == hosts) {
            let Some(median) = self.median(hosts, name) else {
                continue;
            };
            let shown =
                |ratio: Option<f64>| ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
            let peer = match *name {
                contender::APPLY | contender::PYINFRA_APPLY => contender::PYINFRA_APPLY,
                _ => contender::PYINFRA_PLAN,
            };
            println!(
                "{name:<28} {:>5} {:>8.2} {:>11.2} {:>11.2} {:>10} {:>9} {:>8.1}",
                self.runs[&(hosts, *name)].len(),
                median.wall_secs,
                median.client_ms,
                median.target_ms,
                shown(self.ratio(hosts, name, contender::FLOOR)),
                shown(self.ratio(hosts, name, peer)),
                median.memory_mib,
            );
        }
        println!("* processor time for each host, of the client and of sshd with all below it; medians");
    }

    /// Writes every run.
    pub fn save(&self, path: &Path) {
        let runs: Vec<_> = self
            .order
            .iter()
            .map(|key| json!({"hosts": key.0, "contender": key.1, "runs": self.runs[key]}))
            .collect();
        let all = json!({"format": 1, "machine": self.machine, "pyinfra": self.has_pyinfra, "results": runs});
        match std::fs::write(path, format!("{all:#}\n")) {
            Ok(()) => println!("\nevery run: {}", path.display()),
            Err(error) => eprintln!("{}: {error}", path.display()),
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => values[len / 2],
        len => f64::midpoint(values[len / 2 - 1], values[len / 2]),
    }
}

/// Names the machine, so that figures are not held against those of another.
fn machine() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or("");
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("-").to_owned();
    format!(
        "{cpus} cores, {}, load {load} at the start",
        model.trim_start_matches([':', '\t', ' '])
    )
}
