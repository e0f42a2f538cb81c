//! A gate before a host's engine, at which requests wait for as long as a test wants.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::fleet::Fleet;

/// When a request waits.
#[derive(Debug, Clone, Copy)]
pub enum When {
    /// Before the engine has seen it; it is dropped if whoever asked is gone by then.
    Before,
    /// Before the engine has seen it, which it does afterwards in any case.
    Late,
    /// After the engine has answered, and before that is heard.
    After,
}

/// The gate of `h1`.
pub struct Toll<'f> {
    fleet: &'f Fleet,
    rules: Cell<usize>,
}

impl<'f> Toll<'f> {
    /// Puts the gate up. The engine goes on behind it: a socket that is renamed still is the socket.
    pub fn before(fleet: &'f Fleet) -> Self {
        let program = include_bytes!("tollgate.pl");
        let put = fleet.feed("h1", "mkdir -p /run/toll && cat >/run/toll/gate.pl", program);
        assert!(put.status.success());
        fleet.sh(
            "h1",
            "mv /run/docker.sock /run/docker.real && \
             setsid perl /run/toll/gate.pl /run/docker.sock /run/docker.real /run/toll </dev/null >/run/toll/log 2>&1 & \
             until docker version >/dev/null 2>&1; do sleep 0.1; done",
        );
        Self {
            fleet,
            rules: Cell::new(0),
        }
    }

    /// Runs a command on the host while the first request that fits waits.
    pub fn rule(&self, when: When, request: &str, command: &str) {
        let number = self.rules.replace(self.rules.get() + 1);
        let when = match when {
            When::Before => "before",
            When::Late => "late",
            When::After => "after",
        };
        let line = format!("{number}\t{when}\t{request}\t{command}\n");
        let put = self.fleet.feed("h1", "cat >>/run/toll/rules", line.as_bytes());
        assert!(put.status.success());
    }

    /// Lets the first request that fits wait until [`Toll::go`].
    pub fn hold(&self, when: When, request: &str) {
        self.fleet.sh("h1", "rm -f /run/toll/held /run/toll/go");
        let wait = "touch /run/toll/held; until [ -e /run/toll/go ]; do sleep 0.05; done";
        self.rule(when, request, wait);
    }

    /// Waits until a request is held.
    pub fn reached(&self) {
        let until = Instant::now() + Duration::from_secs(120);
        while !self.fleet.try_sh("h1", "test -e /run/toll/held").status.success() {
            assert!(Instant::now() < until, "no such request ever came");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Returns the requests so far that change something.
    pub fn seen(&self) -> Vec<String> {
        let seen = self.fleet.sh("h1", "cat /run/toll/seen 2>/dev/null || true");
        seen.lines().map(str::to_owned).collect()
    }

    /// Lets what is held go on.
    pub fn go(&self) {
        self.fleet.sh("h1", "touch /run/toll/go");
    }
}
