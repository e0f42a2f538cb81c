//! How fast muster is on a fleet: a plan in which nothing changes and a first apply, over N hosts on this machine, beside
//! the floor (a bare russh client) and pyinfra. `make bench` runs it; `cargo bench --bench fleet -- --quick` is the short form.
//!
//! Runs as root, in namespaces of its own for mounts, processes and the network: nothing of it is left behind, and nobody
//! else can reach its sshd. The hosts are folders under one sshd, an address of 127.1.0.0/16 each; see `bed`.

mod bed;
mod contender;
mod floor;
mod goals;
mod meter;
mod table;

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use bed::Bed;
use contender::Contender;
use meter::Sample;
use table::Table;

/// Set where the namespaces are made already.
const INSIDE: &str = "MUSTER_BENCH_INSIDE";

/// How often each contender runs, by the number of hosts.
const WHOLE: &[(usize, usize)] = &[(100, 5), (500, 3), (1000, 3)];
const QUICK: &[(usize, usize)] = &[(100, 3)];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|one| one != "--bench").collect();
    match arguments.first().map(String::as_str) {
        Some("floor") => floor::run(&arguments[1..]),
        Some("meter") => meter::run(&arguments[1..]),
        // `cargo test` starts benches, too, and `cargo bench NAME` picks others.
        Some("--test") => ExitCode::SUCCESS,
        _ if std::env::var_os(INSIDE).is_none() => enter(&arguments),
        _ => bench(&Options::read(&arguments)),
    }
}

/// What was asked for on the command line.
struct Options {
    is_quick: bool,
    /// `--hosts N`: only this size.
    hosts: Option<usize>,
    /// `--rounds N`.
    rounds: Option<usize>,
    /// `--only NAME`: the contenders with these names, `;` between them.
    only: Option<String>,
    /// `--json FILE`: where the figures go, too.
    json: PathBuf,
}

impl Options {
    fn read(arguments: &[String]) -> Self {
        let value = |name: &str| {
            let at = arguments.iter().position(|one| one == name)?;
            arguments.get(at + 1).cloned()
        };
        Self {
            is_quick: arguments.iter().any(|one| one == "--quick"),
            hosts: value("--hosts").and_then(|text| text.parse().ok()),
            rounds: value("--rounds").and_then(|text| text.parse().ok()),
            only: value("--only"),
            json: value("--json").map_or_else(default_json, PathBuf::from),
        }
    }

    fn sizes(&self) -> Vec<(usize, usize)> {
        let sizes = if self.is_quick { QUICK } else { WHOLE };
        let sizes = match self.hosts {
            Some(hosts) => vec![(hosts, sizes[0].1)],
            None => sizes.to_vec(),
        };
        let rounds = |(hosts, rounds)| (hosts, self.rounds.unwrap_or(rounds));
        sizes.into_iter().map(rounds).collect()
    }
}

/// Beside the build, where criterion keeps its figures.
fn default_json() -> PathBuf {
    let own = std::env::current_exe().expect("this program has a path");
    let target = own.ancestors().nth(3).expect("it lies in target/PROFILE/deps");
    target.join("fleet-bench.json")
}

/// Runs this program again in namespaces of its own, which end with it.
fn enter(arguments: &[String]) -> ExitCode {
    let own = std::env::current_exe().expect("this program has a path");
    let error = Command::new("unshare")
        .args([
            "--mount",
            "--net",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "--",
        ])
        .arg(own)
        .args(arguments)
        .env(INSIDE, "1")
        .exec();
    eprintln!("fleet: cannot run unshare (util-linux): {error}");
    ExitCode::FAILURE
}

fn bench(options: &Options) -> ExitCode {
    let sizes = options.sizes();
    let most = sizes.iter().map(|(hosts, _)| *hosts).max().unwrap_or(0);
    let bed = Bed::make(most);
    let mut table = Table::new(&bed);
    for (hosts, rounds) in sizes {
        let contenders = contender::all(&bed, hosts, options.is_quick, options.only.as_deref());
        bed.settle(hosts);
        for round in 0..rounds {
            // Each round starts with another one, so that what grows or tires with time wrongs nobody.
            let from = round % contenders.len().max(1);
            for contender in contenders[from..].iter().chain(&contenders[..from]) {
                if round < contender.rounds_max {
                    table.add(hosts, contender, measure(&bed, contender));
                }
            }
        }
        table.print(hosts);
    }
    goals::print(&table);
    table.save(&options.json);
    ExitCode::SUCCESS
}

fn measure(bed: &Bed, contender: &Contender) -> Sample {
    if contender.is_first {
        bed.wipe(contender.hosts);
    }
    let before = bed.target_cpu();
    let mut sample = meter::measure(contender.command(bed), contender);
    sample.target_cpu = bed.target_cpu() - before;
    bed.check(contender);
    // Whoever comes next finds a fleet on which muster has nothing to do.
    if contender.settles() {
        bed.is_settled(contender.hosts);
    }
    bed.settle(contender.hosts);
    sample
}
