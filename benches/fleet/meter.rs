//! What a program cost: wall time, processor time with that of everybody whom it started, and the most memory of any of them.

use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use serde::{Deserialize, Serialize};

use super::contender::Contender;

/// One run of one contender.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Sample {
    /// From start to end.
    pub wall: Duration,
    /// Of the client and its children.
    pub client_cpu: Duration,
    /// Of sshd and everything below it.
    #[serde(default)]
    pub target_cpu: Duration,
    /// The most memory that one process of the client held, in bytes.
    pub memory_bytes: u64,
}

/// Runs a command under a meter of its own, since the peak that the kernel tells is that of all children ever.
pub fn measure(command: Command, contender: &Contender) -> Sample {
    let mut metered = Command::new(std::env::current_exe().expect("this program has a path"));
    metered
        .arg("meter")
        .arg(command.get_program())
        .args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        metered.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => metered.env(name, value),
            None => metered.env_remove(name),
        };
    }
    let output = metered
        .stderr(Stdio::inherit())
        .output()
        .expect("this program runs");
    assert!(output.status.success(), "{} failed", contender.name);
    serde_json::from_slice(&output.stdout).expect("the meter says what it measured")
}

/// `fleet meter PROGRAM ARGUMENT…`: runs it, and says what it cost. What it printed is shown if it failed.
pub fn run(arguments: &[String]) -> ExitCode {
    // What most systems give: whoever needs more has to ask for it.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, most.min(1024), most).expect("a lower limit");
    let started = Instant::now();
    let output = Command::new(&arguments[0])
        .args(&arguments[1..])
        .stdin(Stdio::null())
        .output()
        .expect("the program runs");
    let wall = started.elapsed();
    if !output.status.success() {
        eprintln!(
            "{}{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
            output.status
        );
        return ExitCode::FAILURE;
    }
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("the kernel counts");
    let time = |time: nix::sys::time::TimeVal| {
        Duration::from_micros(u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap_or(0))
    };
    let sample = Sample {
        wall,
        client_cpu: time(usage.user_time()) + time(usage.system_time()),
        target_cpu: Duration::ZERO,
        memory_bytes: u64::try_from(usage.max_rss()).unwrap_or(0) * 1024,
    };
    println!("{}", serde_json::to_string(&sample).expect("plain numbers"));
    ExitCode::SUCCESS
}
