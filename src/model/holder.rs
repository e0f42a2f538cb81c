//! Who has a host: a run that reserved or locked it, or a person who holds it.

use std::fmt;

/// Who has a host, and since when. `None` of it is a host that is free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// In which way.
    pub grip: Grip,
    /// The run; a person's hold has none.
    pub run: Option<String>,
    /// The person and the machine: `alice@laptop`. Empty if the host does not say.
    pub who: String,
    /// How long ago it was taken, in seconds.
    pub age_secs: u64,
    /// Why, as its person said.
    pub reason: Option<String>,
}

/// In which way a host is had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grip {
    /// A run will come to it, and has changed nothing there yet.
    Reserved,
    /// A run is at it.
    Locked,
    /// A person holds it until it is released.
    Held,
    /// What a run changed waits for a new login, or is taken back by the host: until then it is nobody's.
    Armed,
    /// An operation still runs there, of whatever run.
    Busy,
}

impl Holder {
    /// A host on which an operation still runs.
    pub fn busy() -> Self {
        Self {
            grip: Grip::Busy,
            run: None,
            who: String::new(),
            age_secs: 0,
            reason: None,
        }
    }
}

impl Grip {
    /// Returns the word for it, in text and JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Locked => "locked",
            Self::Held => "held",
            Self::Armed => "under a dead-man switch",
            Self::Busy => "busy",
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.grip == Grip::Busy {
            return f.write_str("an operation is still running there");
        }
        write!(f, "{} by ", self.grip.word())?;
        if let Some(run) = &self.run {
            write!(f, "run {run} of ")?;
        }
        write!(f, "{} for {}", self.who, age(self.age_secs))?;
        match &self.reason {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}

/// Writes an age so that people see its size: the largest unit of which there are two.
fn age(secs: u64) -> String {
    let (count, unit) = match secs {
        0..120 => (secs, "s"),
        120..7200 => (secs / 60, "min"),
        7200..172_800 => (secs / 3600, "h"),
        _ => (secs / 86_400, "days"),
    };
    format!("{count} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_told_with_run_person_age_and_reason() {
        let run = Holder {
            grip: Grip::Reserved,
            run: Some("a1b2-3".to_owned()),
            who: "alice@laptop".to_owned(),
            age_secs: 119,
            reason: None,
        };
        assert_eq!(
            run.to_string(),
            "reserved by run a1b2-3 of alice@laptop for 119 s"
        );
        let person = Holder {
            grip: Grip::Held,
            run: None,
            age_secs: 3 * 86_400,
            reason: Some("disk swap".to_owned()),
            ..run
        };
        assert_eq!(person.to_string(), "held by alice@laptop for 3 days: disk swap");
    }
}
