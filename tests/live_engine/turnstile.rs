//! A turnstile before a host's engine, which counts who passes: what the engine's own side sees of a look.

use std::time::{Duration, Instant};

use crate::fleet::Fleet;

/// The turnstile of a host.
pub struct Turnstile<'f> {
    fleet: &'f Fleet,
    host: String,
}

/// What passed.
#[derive(Debug, Default)]
pub struct Passed {
    /// The requests, each as `METHOD PATH`.
    pub calls: Vec<String>,
    /// How many channels were open at once, at most.
    pub channels_at_once: usize,
    /// How many requests were not yet answered at once, at most.
    pub calls_at_once: usize,
}

impl<'f> Turnstile<'f> {
    /// Puts it up. The engine goes on behind it: a socket that is renamed still is the socket.
    pub fn before(fleet: &'f Fleet, host: &str) -> Self {
        let program = include_bytes!("turnstile.pl");
        let put = fleet.feed(
            host,
            "mkdir -p /run/turnstile && cat >/run/turnstile/program",
            program,
        );
        assert!(put.status.success());
        fleet.sh(
            host,
            "mv /run/docker.sock /run/docker.real && \
             setsid perl /run/turnstile/program /run/docker.sock /run/docker.real /run/turnstile/log </dev/null >/run/turnstile/errors 2>&1 & \
             until docker version >/dev/null 2>&1; do sleep 0.1; done",
        );
        let turnstile = Self {
            fleet,
            host: host.to_owned(),
        };
        turnstile.passed();
        turnstile
    }

    /// Returns what passed since the last time, when all of it is through.
    pub fn passed(&self) -> Passed {
        let log = "cat /run/turnstile/log 2>/dev/null; true";
        let until = Instant::now() + Duration::from_secs(30);
        let text = loop {
            let text = self.fleet.sh(&self.host, log);
            let number = |what: &str| text.lines().filter(|line| *line == what).count();
            if number("open") == number("close") {
                break text;
            }
            assert!(Instant::now() < until, "channels stay open: {text}");
            std::thread::sleep(Duration::from_millis(100));
        };
        self.fleet.sh(&self.host, "rm -f /run/turnstile/log");
        read(&text)
    }
}

fn read(log: &str) -> Passed {
    let mut passed = Passed::default();
    let (mut channels, mut calls) = (0usize, 0usize);
    for line in log.lines() {
        match line.split_once(' ') {
            Some(("ask", call)) => {
                passed.calls.push(call.to_owned());
                calls += 1;
            }
            _ if line == "open" => channels += 1,
            _ if line == "close" => channels -= 1,
            _ if line == "done" => calls -= 1,
            _ => panic!("{line}"),
        }
        passed.channels_at_once = passed.channels_at_once.max(channels);
        passed.calls_at_once = passed.calls_at_once.max(calls);
    }
    passed
}
