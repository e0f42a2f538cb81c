//! A command that is run where its probe says that it is needed.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::body::Body;
use crate::model::change::{Action, FieldChange, Undo};
use crate::model::digest::Digest;
use crate::model::id::ResourceKey;
use crate::model::manifest::Owned;
use crate::model::observation::{Answer, Observed};
use crate::model::op::{Op, Probe};
use crate::model::quantity::parse_duration;
use crate::model::value::Pattern;

use super::sample::sample;
use super::{Claim, Context, Kind, Mistake, Patience, Pretended, Step, path};

/// A shell script that is run where its probe says that it is needed.
///
/// The probe only looks, changes nothing, and must answer quickly: it is asked on every plan. It exits 0 when nothing is to be done,
/// 1 when the command is needed, and anything else when it cannot tell: the resource is then held, and a line `why=…` on its standard
/// output says why. Lines `name=value` there give the declared outputs.
///
/// ```toml
/// [[command]]
/// name    = "warm-key"
/// run     = "appd keys add warm --home /srv/app"
/// probe   = "address=$(appd keys show warm -a --home /srv/app 2>/dev/null) && echo address=$address || exit 1"
/// user    = "app"
/// timeout = "2m"
/// retry   = { within = "30s" }             # after `run` the probe may say 1 for so long
/// outputs = { address = "app1[a-z0-9]{38}" }   # each with the pattern that it must fit as a whole
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// What it is called.
    pub name: String,
    /// The script that does it. It must bear being run again after an interruption.
    pub run: Body,
    /// The script that tells whether it is needed.
    pub probe: String,
    /// Environment variables of `run`. A secret belongs here, and not into the script.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Body>,
    /// The account that runs both scripts; root where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The folder in which `run` runs; `/` where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// How long `run` may take.
    #[serde(default = "timeout_5m")]
    pub timeout: String,
    /// How long the probe is asked again after `run` has ended, where what it starts takes a while; once where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// The names of the values that the probe prints, each with the pattern that it must fit as a whole.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, String>,
}

/// How a probe is asked again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// How long, from the end of `run`.
    pub within: String,
    /// The pause before the second question; `2s` if not said. It doubles from one to the next, up to half a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<String>,
}

impl Retry {
    fn patience(&self) -> Result<Patience, String> {
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

/// How long a probe may take, in seconds: every plan waits for it.
const PROBE_SECS: u64 = 20;
/// What a probe's line begins with that says why it cannot tell.
const WHY: &str = "why";
/// How many characters of it are shown.
const WHY_MAX: usize = 400;

fn said_why(output: &str) -> Option<String> {
    let mut lines = output.lines().filter_map(|line| line.split_once('='));
    let (_, why) = lines.find(|(name, why)| *name == WHY && !why.is_empty())?;
    Some(why.chars().take(WHY_MAX).collect())
}

fn timeout_5m() -> String {
    "5m".to_owned()
}

/// A command that need not be run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActualCommand {
    /// The declared outputs, as the probe printed them.
    pub outputs: BTreeMap<String, String>,
}

impl Command {
    fn read_outputs(&self, output: &str) -> Result<BTreeMap<String, String>, String> {
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
        self.outputs.iter().map(read).collect()
    }

    fn check_outputs(&self) -> impl Iterator<Item = Mistake> {
        self.outputs.iter().filter_map(|(name, pattern)| {
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
}

fn is_variable(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl Kind for Command {
    const NAME: &'static str = "command";
    /// What a command does cannot be compared: only that it is needed, which is its absence.
    const FIELDS: &'static [&'static str] = &[];
    const KEPT_UNLESS_DELETE: bool = true;
    type Actual = ActualCommand;

    fn name(&self) -> String {
        self.name.clone()
    }

    fn check(&self) -> Vec<Mistake> {
        let empty = |field: &'static str, text: Option<&str>| {
            let is_empty = text.is_some_and(|text| text.trim().is_empty());
            is_empty.then(|| Mistake::new(field, format!("`{field}` is empty")))
        };
        let env = self.env.keys().filter(|name| !is_variable(name));
        let env = env.map(|name| Mistake::new("env", format!("`{name}` is not the name of a variable")));
        let script = self.run.is_sensitive().then(|| {
            Mistake::new("run", "a secret stands in the script")
                .hint("give it by `env`, and use the variable")
        });
        let timeout = match parse_duration(&self.timeout) {
            Ok(0) => Some(
                Mistake::new("timeout", "a command needs some time").hint("write a duration such as \"5m\""),
            ),
            Ok(_) => None,
            Err(why) => Some(Mistake::new("timeout", why)),
        };
        let retry = self.retry.as_ref().and_then(|retry| retry.patience().err());
        let retry = retry.map(|why| Mistake::new("retry", why));
        let user = self
            .user
            .as_deref()
            .and_then(|user| super::account::check_name("user", user));
        let directory = self.directory.as_deref().filter(|directory| *directory != "/");
        let directory = directory.and_then(|directory| path::check_path("directory", directory));
        [
            empty("name", Some(&self.name)),
            empty("run", self.run.plain()),
            empty("probe", Some(&self.probe)),
        ]
        .into_iter()
        .flatten()
        .chain(script)
        .chain(env)
        .chain(user)
        .chain(directory)
        .chain(timeout)
        .chain(retry)
        .chain(self.check_outputs())
        .collect()
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim {
            what: format!("command:{}", self.name),
            keys: None,
        }]
    }

    fn implied(&self) -> Vec<ResourceKey> {
        let user = self.user.iter().map(|user| ResourceKey::new("account", user));
        let directory = self
            .directory
            .iter()
            .flat_map(|directory| std::iter::once(directory.as_str()).chain(path::parents(directory)));
        user.chain(directory.map(|directory| ResourceKey::new("directory", directory)))
            .collect()
    }

    fn probes(&self) -> Vec<Probe> {
        vec![Probe::Command {
            script: self.probe.clone(),
            user: self.user.clone(),
            timeout_secs: PROBE_SECS,
        }]
    }

    /// A probe may print anything; only what is declared as an output is public.
    fn veil(
        &self,
        _owned: Option<&Owned>,
        answers: &[Answer],
        _salt: Option<&[u8]>,
        _seen: &dyn Fn() -> Digest,
    ) -> Option<Vec<Answer>> {
        let is_declared = |line: &str, status: i32| {
            line.split_once('=').is_some_and(|(name, _)| {
                self.outputs.contains_key(name) || (name == WHY && ![0, 1].contains(&status))
            })
        };
        let declared = |answer: &Answer| match answer {
            Answer::Text { output, status } => Answer::Text {
                output: output
                    .lines()
                    .filter(|line| is_declared(line, *status))
                    .map(|line| format!("{line}\n"))
                    .collect(),
                status: *status,
            },
            Answer::NoAnswer(why) => Answer::NoAnswer(why.clone()),
        };
        Some(answers.iter().map(declared).collect())
    }

    fn patience(&self) -> Option<Patience> {
        self.retry.as_ref()?.patience().ok()
    }

    fn read(&self, answers: &[Answer]) -> Observed<ActualCommand> {
        match &answers[0] {
            Answer::NoAnswer(why) => Observed::Unknown(why.clone()),
            Answer::Text { status: 1, .. } => Observed::Absent,
            Answer::Text { status: 0, output } => match self.read_outputs(output) {
                Ok(outputs) => Observed::Present(ActualCommand { outputs }),
                Err(why) => Observed::Unknown(why),
            },
            Answer::Text { status, output } => Observed::Unknown(said_why(output).unwrap_or_else(|| {
                format!("its probe ended with status {status}, which is neither 0 nor 1")
            })),
        }
    }

    fn compare(&self, _actual: &ActualCommand, _context: &Context<'_>) -> Vec<FieldChange> {
        Vec::new()
    }

    fn ops(&self, step: &Step<'_, ActualCommand>) -> Vec<Op> {
        match step.action {
            Action::Create | Action::Update | Action::Replace => vec![Op::Run {
                script: self.run.clone(),
                env: self.env.clone(),
                user: self.user.clone(),
                directory: self.directory.clone(),
                timeout_secs: parse_duration(&self.timeout).unwrap_or(300),
            }],
            Action::Delete | Action::Forget => Vec::new(),
        }
    }

    /// What it did stays; only that muster did it is forgotten.
    fn is_gone(&self, _actual: &ActualCommand, _made: &BTreeSet<String>) -> bool {
        true
    }

    fn undo(&self, step: &Step<'_, ActualCommand>) -> Undo {
        match step.action {
            Action::Create | Action::Update | Action::Replace => {
                Undo::Impossible("nobody knows what undoes a command".to_owned())
            }
            Action::Delete | Action::Forget => Undo::Exact(Vec::new()),
        }
    }

    fn pretended(&self) -> Option<Pretended<'_>> {
        let lines = self
            .outputs
            .iter()
            .map(|(name, pattern)| format!("{name}={}\n", sample(pattern)));
        Some(Pretended {
            script: &self.run,
            probe: self.probe.clone(),
            prints: lines.collect(),
        })
    }

    fn consumed(&self) -> Digest {
        Digest::of_value(&(&self.run, &self.env))
    }

    fn bodies(&self) -> Vec<&Body> {
        std::iter::once(&self.run).chain(self.env.values()).collect()
    }

    fn outputs(&self, actual: &ActualCommand) -> Vec<(String, String)> {
        actual
            .outputs
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    fn declared_outputs(&self) -> Vec<(String, String)> {
        self.outputs
            .iter()
            .map(|(name, pattern)| (name.clone(), pattern.clone()))
            .collect()
    }
}
