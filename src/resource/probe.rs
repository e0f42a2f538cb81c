//! Probes of modules: a script that tells whether something is to be done, why it cannot tell, and what came of it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::observation::{Answer, Observed};
use crate::model::op::Probe;
use crate::model::quantity::parse_duration;
use crate::model::value::Pattern;

use super::sample::sample;
use super::{Mistake, Patience};

/// How long a probe may take, in seconds: every plan waits for it.
const PROBE_SECS: u64 = 20;
/// What a probe's line begins with that says why it cannot tell.
const WHY: &str = "why";
/// How many characters of it are shown.
const WHY_MAX: usize = 400;

/// How a probe is asked again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// How long, from the end of what was run.
    pub within: String,
    /// The pause before the second question; `2s` if not said. It doubles from one to the next, up to half a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<String>,
}

impl Retry {
    /// Returns the patience that is asked for.
    ///
    /// # Errors
    /// A clause that says what does not fit.
    pub(super) fn patience(&self) -> Result<Patience, String> {
        let patience = Patience {
            within_secs: parse_duration(&self.within)?,
            every_secs: parse_duration(self.every.as_deref().unwrap_or("2s"))?,
        };
        match patience.every_secs {
            0 => Err("`every` is at least 1s".to_owned()),
            _ => Ok(patience),
        }
    }
}

/// The outputs that a probe prints: their names, each with the pattern that it must fit as a whole.
pub(super) type Outputs = BTreeMap<String, String>;

/// Returns the question of a script.
pub(super) fn probe(script: &str, user: Option<&str>) -> Probe {
    Probe::Command {
        script: script.to_owned(),
        user: user.map(str::to_owned),
        timeout_secs: PROBE_SECS,
    }
}

/// Says what a probe's answer means: 0 nothing is to be done, 1 it is needed, all else nobody knows. Gives the outputs.
pub(super) fn read(outputs: &Outputs, answer: &Answer) -> Observed<BTreeMap<String, String>> {
    match answer {
        Answer::NoAnswer(why) => Observed::Unknown(why.clone()),
        Answer::Text { status: 1, .. } => Observed::Absent,
        Answer::Text { status: 0, output } => match printed(outputs, output) {
            Ok(outputs) => Observed::Present(outputs),
            Err(why) => Observed::Unknown(why),
        },
        Answer::Text { status, output } => Observed::Unknown(
            said_why(output)
                .unwrap_or_else(|| format!("its probe ended with status {status}, which is neither 0 nor 1")),
        ),
    }
}

/// Returns an answer without what is no declared output: a probe may print anything.
pub(super) fn veiled(outputs: &Outputs, answer: &Answer) -> Answer {
    let is_declared = |line: &str, status: i32| {
        line.split_once('=')
            .is_some_and(|(name, _)| outputs.contains_key(name) || (name == WHY && ![0, 1].contains(&status)))
    };
    match answer {
        Answer::Text { output, status } => Answer::Text {
            output: output
                .lines()
                .filter(|line| is_declared(line, *status))
                .map(|line| format!("{line}\n"))
                .collect(),
            status: *status,
        },
        Answer::NoAnswer(why) => Answer::NoAnswer(why.clone()),
    }
}

/// Returns what is wrong with declared outputs.
pub(super) fn check(outputs: &Outputs) -> impl Iterator<Item = Mistake> {
    outputs.iter().filter_map(|(name, pattern)| {
        if !is_variable(name) {
            return Some(
                Mistake::new("outputs", format!("`{name}` is not the name of an output"))
                    .hint("write letters, digits and `_`, a letter first"),
            );
        }
        let error = pattern.parse::<Pattern>().err()?;
        Some(Mistake::new(
            "outputs",
            format!("the pattern of `{name}` cannot be read: {error}"),
        ))
    })
}

/// Returns what a probe prints on a pretend host once all is done.
pub(super) fn pretended(outputs: &Outputs) -> String {
    let lines = outputs.iter();
    lines
        .map(|(name, pattern)| format!("{name}={}\n", sample(pattern)))
        .collect()
}

/// Says whether a text can name a variable or an output.
pub(super) fn is_variable(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn printed(outputs: &Outputs, output: &str) -> Result<BTreeMap<String, String>, String> {
    let lines: BTreeMap<&str, &str> = output.lines().filter_map(|line| line.split_once('=')).collect();
    let read = |(name, pattern): (&String, &String)| {
        let value = lines
            .get(name.as_str())
            .ok_or_else(|| format!("its probe did not print `{name}=…`"))?;
        let fits = pattern
            .parse::<Pattern>()
            .is_ok_and(|pattern| pattern.fits(value));
        match fits {
            true => Ok((name.clone(), (*value).to_owned())),
            false => Err(format!(
                "what its probe printed for `{name}` does not fit `{pattern}`"
            )),
        }
    };
    outputs.iter().map(read).collect()
}

fn said_why(output: &str) -> Option<String> {
    let mut lines = output.lines().filter_map(|line| line.split_once('='));
    let (_, why) = lines.find(|(name, why)| *name == WHY && !why.is_empty())?;
    Some(why.chars().take(WHY_MAX).collect())
}
