//! Faults: what goes wrong, where and when. Written by hand in a story, drawn by dice in a soak.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::id::HostId;

/// Makes [`What`] with its names and its sentences from one list.
macro_rules! whats {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $scene:ident, $secs:literal;)*) => {
        /// What goes wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum What {
            $($(#[$doc])* $name,)*
        }

        impl What {
            /// Every fault.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Returns its name in a story and on the command line.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Returns where it strikes.
            pub fn scene(self) -> Scene {
                match self { $(Self::$name => Scene::$scene,)* }
            }

            /// Returns how long it lasts where nothing is said; 0 is for good, or has no length.
            pub fn secs(self) -> u64 {
                match self { $(Self::$name => $secs,)* }
            }
        }
    };
}

/// Where a fault strikes, and so what its number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scene {
    /// On a host, as its n-th operation begins.
    Op,
    /// On a host, as it gives its n-th answer.
    Answer,
    /// On a host, as a gate asks its n-th question there.
    Gate,
    /// On the controller, as it writes the n-th line of its journal.
    Line,
    /// On a host, when so many seconds have passed.
    Second,
}

whats! {
    /// The host does not answer any more.
    Unreachable = "unreachable", Op, 0;
    /// The connection breaks before the work is done.
    LostRequest = "lost-request", Op, 0;
    /// The work is done, and its answer never comes.
    LostAnswer = "lost-answer", Op, 0;
    /// The host reboots before the operation: leases die, and it does not answer for a while.
    Reboot = "reboot", Op, 40;
    /// The disk is full: nothing can be written for a while.
    FullDisk = "full-disk", Op, 0;
    /// The operation takes so much longer.
    Slow = "slow", Op, 90;
    /// The operation fails and changes nothing.
    Fails = "fails", Op, 0;
    /// The operation says that it did its work, and did not.
    Lies = "lies", Op, 0;
    /// The answer makes no sense.
    Garbage = "garbage", Answer, 0;
    /// Gates on the host say no.
    GateShut = "gate-shut", Gate, 0;
    /// Somebody changes by hand what the run has planned to change.
    ByHand = "by-hand", Second, 0;
    /// Another run takes the host's lock as soon as it is free, and changes something.
    OtherRun = "other-run", Second, 120;
    /// The operator asks the run to stop.
    Interrupt = "interrupt", Line, 0;
    /// The operator asks twice.
    InterruptTwice = "interrupt-twice", Line, 0;
    /// The controller is killed.
    Kill = "kill", Line, 0;
    /// The controller is stopped for a while, as by SIGSTOP.
    Pause = "pause", Line, 120;
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What goes wrong.
    pub what: What,
    /// Where; faults of the controller have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostId>,
    /// When: which operation, answer, question, line or second it is (see [`Scene`]), from 1.
    #[serde(default = "first")]
    pub at: u64,
    /// How long it lasts; 0 is for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secs: Option<u64>,
}

fn first() -> u64 {
    1
}

/// A fault that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no fault: {why}")]
pub struct FaultError {
    /// What was read.
    pub text: String,
    /// What is wrong with it.
    pub why: String,
}

impl Fault {
    /// Returns how long it lasts, in seconds; `None` is for good.
    pub fn lasts(&self) -> Option<u64> {
        Some(self.secs.unwrap_or(self.what.secs())).filter(|secs| *secs > 0)
    }

    /// Says what does not fit together, if something does not.
    pub fn check(&self) -> Option<String> {
        let name = self.what.name();
        match (self.what.scene(), &self.host) {
            (Scene::Line, Some(_)) => Some(format!("`{name}` strikes the controller and takes no host")),
            (Scene::Line, None) => None,
            (_, None) => Some(format!("`{name}` strikes a host; say which: `{name}@HOST`")),
            (_, Some(_)) => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what.name())?;
        if let Some(host) = &self.host {
            write!(f, "@{host}")?;
        }
        if self.at != 1 {
            write!(f, ":{}", self.at)?;
        }
        match self.secs {
            Some(secs) => write!(f, "+{secs}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Fault {
    type Err = FaultError;

    /// Reads `WHAT[@HOST][:N][+SECONDS]`, such as `reboot@val-2:3` or `kill:12`.
    fn from_str(text: &str) -> Result<Self, FaultError> {
        let wrong = |why: String| FaultError {
            text: text.to_owned(),
            why,
        };
        let number = |what: &str, text: &str| {
            let number = text.parse().ok();
            number.ok_or_else(|| wrong(format!("`{text}` is not a number of {what}")))
        };
        let (rest, secs) = match text.rsplit_once('+') {
            Some((rest, secs)) => (rest, Some(number("seconds", secs)?)),
            None => (text, None),
        };
        let (rest, at) = match rest.rsplit_once(':') {
            Some((rest, at)) => (rest, number("an operation or a line", at)?),
            None => (rest, first()),
        };
        let (name, host) = match rest.split_once('@') {
            Some((name, host)) => {
                let host = host.parse().map_err(|error| wrong(format!("{error}")))?;
                (name, Some(host))
            }
            None => (rest, None),
        };
        let what = What::ALL.iter().find(|what| what.name() == name);
        let what = what.ok_or_else(|| {
            let names: Vec<&str> = What::ALL.iter().map(|what| what.name()).collect();
            wrong(format!("the faults are {}", names.join(", ")))
        })?;
        let fault = Self {
            what: *what,
            host,
            at,
            secs,
        };
        match fault.check() {
            Some(why) => Err(wrong(why)),
            None => Ok(fault),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_round_trip_as_text() {
        for text in [
            "reboot@val-2:3",
            "kill:12",
            "unreachable@h1+60",
            "interrupt",
            "slow@a-b:2+5",
        ] {
            assert_eq!(text.parse::<Fault>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let why = |text: &str| text.parse::<Fault>().unwrap_err().why;
        assert!(why("earthquake@h1").starts_with("the faults are unreachable, "));
        assert_eq!(why("reboot"), "`reboot` strikes a host; say which: `reboot@HOST`");
        assert_eq!(why("kill@h1"), "`kill` strikes the controller and takes no host");
        assert_eq!(
            why("kill:soon"),
            "`soon` is not a number of an operation or a line"
        );
    }
}
