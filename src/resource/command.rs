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

use super::probe::{self, Retry};
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

fn timeout_5m() -> String {
    "5m".to_owned()
}

/// A command that need not be run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActualCommand {
    /// The declared outputs, as the probe printed them.
    pub outputs: BTreeMap<String, String>,
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
        let env = self.env.keys().filter(|name| !probe::is_variable(name));
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
        .chain(probe::check(&self.outputs))
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
        vec![probe::probe(&self.probe, self.user.as_deref())]
    }

    /// A probe may print anything; only what is declared as an output is public.
    fn veil(
        &self,
        _owned: Option<&Owned>,
        answers: &[Answer],
        _salt: Option<&[u8]>,
        _seen: &dyn Fn() -> Digest,
    ) -> Option<Vec<Answer>> {
        Some(
            answers
                .iter()
                .map(|answer| probe::veiled(&self.outputs, answer))
                .collect(),
        )
    }

    fn patience(&self) -> Option<Patience> {
        self.retry.as_ref()?.patience().ok()
    }

    fn read(&self, answers: &[Answer]) -> Observed<ActualCommand> {
        probe::read(&self.outputs, &answers[0]).map(|outputs| ActualCommand { outputs })
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

    fn pretended(&self) -> Option<Pretended> {
        Some(Pretended {
            script: self.run.clone(),
            probe: self.probe.clone(),
            prints: probe::pretended(&self.outputs),
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
