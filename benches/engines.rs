//! How long a plan takes in which nothing changes, of three hosts with 20 containers each on real engines. Goal: at most two seconds.
//!
//! The hosts are the test fleet's: containers with systemd and an engine of their own, on this machine, so that the hosts' share is in what
//! is measured. `--rounds N` for another number than ten.

#[path = "../tests/live/fleet.rs"]
#[allow(dead_code)]
mod fleet;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use fleet::{Fleet, Project};
use nix::sys::resource::{UsageWho, getrusage};

const HOSTS: usize = 3;
const SERVICES: usize = 10;
const GOAL: Duration = Duration::from_secs(2);

const MODULE: &str = r#"
[[compose]]
name   = "one"
folder = "/srv/one"
files  = ["project.yml.j2"]

[[compose]]
name   = "two"
folder = "/srv/two"
files  = ["project.yml.j2"]
"#;

fn template() -> String {
    let mut text = String::from("services:\n");
    for number in 0..SERVICES {
        write!(
            text,
            "  s{number}:
    image: box:1
    command: [\"sleep\", \"36000\"]
    stop_grace_period: 1s
    restart: unless-stopped
    environment: {{ NUMBER: \"{number}\", HOST: \"{{{{ host.id }}}}\" }}
    volumes: [\"data:/data\"]
    networks: {{ front: {{ aliases: [app-{number}] }} }}
    deploy: {{ resources: {{ limits: {{ memory: 32M }} }} }}
"
        )
        .expect("writing to a String does not fail");
    }
    text + "networks: { front: {} }\nvolumes: { data: {} }\n"
}

/// What one plan took.
struct Took {
    wall: Duration,
    /// Processor time of muster alone.
    client: Duration,
}

fn plan(project: &Project<'_>) -> Took {
    let used = || {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("the kernel tells");
        let time = |time: nix::sys::time::TimeVal| {
            let micros = time.tv_sec() * 1_000_000 + time.tv_usec();
            Duration::from_micros(u64::try_from(micros).expect("time is not negative"))
        };
        time(usage.user_time()) + time(usage.system_time())
    };
    let (before, began) = (used(), Instant::now());
    project.assert_settled();
    Took {
        wall: began.elapsed(),
        client: used() - before,
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    // `cargo test` starts benches, too.
    if args.iter().any(|arg| arg == "--test") {
        return;
    }
    let rounds = args.iter().position(|arg| arg == "--rounds");
    let rounds = rounds.and_then(|at| args.get(at + 1)?.parse().ok()).unwrap_or(10);

    let fleet = Fleet::up_with_engines(HOSTS);
    let hosts = fleet.hosts();
    let project = Project::new(&fleet, &hosts.iter().map(String::as_str).collect::<Vec<_>>());
    project.module(MODULE);
    project.write("modules/app/templates/project.yml.j2", &template());
    project.apply();
    for host in &hosts {
        let running = fleet.sh(host, "docker ps -q | wc -l");
        assert_eq!(running.trim(), (2 * SERVICES).to_string(), "on {host}");
    }
    let took: Vec<Took> = (0..rounds).map(|_| plan(&project)).collect();
    let walls: Vec<Duration> = took.iter().map(|took| took.wall).collect();
    let (best, worst) = (walls.iter().min(), walls.iter().max());
    let (best, worst) = (best.expect("a round"), worst.expect("a round"));
    let middle = median(walls.clone());
    let client = median(took.iter().map(|took| took.client).collect());
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!(
        "plan of {HOSTS} hosts with {} containers each, nothing changes, {rounds} rounds:",
        2 * SERVICES
    );
    println!(
        "  wall {:.2} s (best {:.2}, worst {:.2}); goal {:.2} s {}",
        middle.as_secs_f64(),
        best.as_secs_f64(),
        worst.as_secs_f64(),
        GOAL.as_secs_f64(),
        if middle <= GOAL { "met" } else { "missed" },
    );
    println!(
        "  of which muster's own processor time {:.3} s",
        client.as_secs_f64()
    );
    println!("  load {}", load.trim());
}
