//! A muster that runs beside the test: stopped, let go on and killed in the middle of its work.

use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::fleet::{Project, Ran};

/// A controller at work.
pub struct Controller(Child);

impl Controller {
    /// Starts muster as a person.
    pub fn start(project: &Project<'_>, args: &[&str], who: &str) -> Self {
        let mut command = project.command(args);
        command
            .env("USER", who)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Self(command.spawn().expect("muster starts"))
    }

    /// Stops the process as a laptop's lid does, lets it go on, or asks it to end.
    pub fn signal(&self, signal: &str) {
        let pid = self.0.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Says whether it has come to its end.
    #[allow(dead_code)] // Not by every suite.
    pub fn has_ended(&mut self) -> bool {
        self.0.try_wait().expect("it can be asked").is_some()
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ran {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        let out = self
            .0
            .stdout
            .take()
            .expect("it is piped")
            .read_to_string(&mut stdout);
        let err = self
            .0
            .stderr
            .take()
            .expect("it is piped")
            .read_to_string(&mut stderr);
        assert!(out.is_ok() && err.is_ok());
        let code = self.0.wait().expect("it ends").code().unwrap_or(-1);
        Ran { code, stdout, stderr }
    }
}

/// Waits until something is so.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(
            start.elapsed() < Duration::from_secs(120),
            "waited in vain until {what}"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}
