//! A container that is run once, to its end, where its probe says that it is needed.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

use crate::compose;
use crate::model::body::Body;
use crate::model::change::{Action, FieldChange, Undo};
use crate::model::container_part::MountFrom;
use crate::model::digest::Digest;
use crate::model::engine::{EngineOp, EngineProbe};
use crate::model::id::ResourceKey;
use crate::model::inspected::{OneOff, State};
use crate::model::manifest::Owned;
use crate::model::observation::{Answer, Observed};
use crate::model::op::{Op, Probe};
use crate::model::quantity::parse_duration;

use super::probe;
use super::run_table::{Table, field_of};
use super::{Claim, Context, Kind, Mistake, Patience, Pretended, Step, engine, path};

/// The field of a container that ended and was not taken in.
const CONTAINER: &str = "container";
/// The field of one that ran with what it consumed before.
const STARTED_WITH: &str = "started_with";
/// What stands for a start where nothing that is there tells it.
const NO_START: &str = "once";

/// A container that is run once: its table, which has many keys of which most are not said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContainerRun(Box<Table>);

impl Deref for ContainerRun {
    type Target = Table;
    fn deref(&self) -> &Table {
        &self.0
    }
}

impl DerefMut for ContainerRun {
    fn deref_mut(&mut self) -> &mut Table {
        &mut self.0
    }
}

impl JsonSchema for ContainerRun {
    fn schema_name() -> Cow<'static, str> {
        Table::schema_name()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Table::json_schema(generator)
    }
}

/// One that need not be run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActualContainerRun {
    /// The declared outputs, as the probe printed them.
    pub outputs: BTreeMap<String, String>,
    /// How the container of an earlier try ended that is still there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<State>,
}

impl ContainerRun {
    fn run(&self) -> Op {
        EngineOp::Once {
            spec: Box::new(self.container()),
            within_secs: parse_duration(&self.within).unwrap_or(300),
            success: self.success.clone(),
        }
        .into()
    }

    /// Says whether it was done with something older than what is there, or will be after this plan. Where muster never ran it,
    /// nobody knows with what it was done.
    fn is_stale(&self, context: &Context<'_>) -> bool {
        let Some(consumed) = context.consumed else {
            return false;
        };
        if !consumed.changing.is_empty() || consumed.is_unfinished {
            return true;
        }
        match context.owned.and_then(|owned| owned.started_with.as_ref()) {
            Some(started) => {
                let times = consumed.changed_at_secs.zip(started.at_secs);
                started.consumed != consumed.digest || times.is_some_and(|(changed, at)| at < changed)
            }
            None => consumed.changed_at_secs.is_some(),
        }
    }
}

impl Kind for ContainerRun {
    const NAME: &'static str = "container_run";
    /// What it does cannot be compared: only that it is needed, which is its absence.
    const FIELDS: &'static [&'static str] = &[CONTAINER, STARTED_WITH];
    const KEPT_UNLESS_DELETE: bool = true;
    const STARTS: bool = true;
    type Actual = ActualContainerRun;

    fn name(&self) -> String {
        self.name.clone()
    }

    fn check(&self) -> Vec<Mistake> {
        let mut mistakes = Vec::from_iter(engine::check_name(&self.name));
        if self.probe.trim().is_empty() {
            mistakes.push(Mistake::new("probe", "`probe` is empty"));
        }
        let names = self
            .environment
            .keys()
            .filter(|name| name.is_empty() || name.contains('='));
        mistakes.extend(
            names.map(|name| Mistake::new("environment", format!("`{name}` is not the name of a variable"))),
        );
        let unknown = self
            .public_env
            .iter()
            .filter(|name| !self.environment.contains_key(*name));
        mistakes.extend(
            unknown.map(|name| Mistake::new("public_env", format!("`environment` has no variable `{name}`"))),
        );
        if self.network_mode.is_some() && !self.networks.is_empty() {
            mistakes.push(Mistake::new(
                "network_mode",
                "`networks` and `network_mode` exclude each other",
            ));
        }
        match parse_duration(&self.within) {
            Ok(0) => mistakes
                .push(Mistake::new("within", "it needs some time").hint("write a duration such as \"5m\"")),
            Ok(_) => {}
            Err(why) => mistakes.push(Mistake::new("within", why)),
        }
        if self.success.is_empty() {
            mistakes.push(Mistake::new("success", "no exit status counts as success"));
        }
        if let Some(other) = self.logs.as_deref().filter(|logs| *logs != "secret") {
            let found = format!("`logs` is `secret` or is not said, and not `{other}`");
            mistakes.push(Mistake::new("logs", found));
        }
        if let Some(why) = self.retry.as_ref().and_then(|retry| retry.patience().err()) {
            mistakes.push(Mistake::new("retry", why));
        }
        mistakes.extend(probe::check(&self.outputs));
        // Each key is read alone, so that a mistake is told at its own line.
        for (key, value) in self.keys() {
            let alone = Map::from_iter([("image".to_owned(), json!(self.image)), (key.clone(), value)]);
            let found = compose::one_off(&alone).err().unwrap_or_default();
            mistakes.extend(
                found
                    .into_iter()
                    .map(|message| Mistake::new(field_of(&key), message)),
            );
        }
        mistakes
    }

    fn claims(&self) -> Vec<Claim> {
        let claim = |what| Claim { what, keys: None };
        vec![claim(format!("container:{}", self.name))]
    }

    fn implied(&self) -> Vec<ResourceKey> {
        let spec = self.container();
        let image = ResourceKey::new("image", &self.image);
        let networks = self.networks.iter().map(|name| ResourceKey::new("network", name));
        let mounts = spec.settings.mounts.values().flat_map(|mount| match &mount.from {
            MountFrom::Bind(source) => {
                let folders = std::iter::once(source.as_str()).chain(path::parents(source));
                let folders = folders.map(|folder| ResourceKey::new("directory", folder));
                folders.chain([ResourceKey::new("file", source)]).collect()
            }
            MountFrom::Volume(name) => vec![ResourceKey::new("volume", name)],
            MountFrom::Anonymous | MountFrom::Tmpfs { .. } => Vec::new(),
        });
        std::iter::once(image).chain(networks).chain(mounts).collect()
    }

    fn probes(&self) -> Vec<Probe> {
        vec![
            probe::probe(&self.probe, None),
            Probe::Engine(EngineProbe::Once(self.name.clone())),
        ]
    }

    /// A probe may print anything; only what is declared as an output is public.
    fn veil(
        &self,
        _owned: Option<&Owned>,
        answers: &[Answer],
        _salt: Option<&[u8]>,
        _seen: &dyn Fn() -> Digest,
    ) -> Option<Vec<Answer>> {
        let (asked, engine) = answers.split_first()?;
        let veiled = probe::veiled(&self.outputs, asked);
        Some(std::iter::once(veiled).chain(engine.iter().cloned()).collect())
    }

    fn patience(&self) -> Option<Patience> {
        self.retry.as_ref()?.patience().ok()
    }

    fn read(&self, answers: &[Answer]) -> Observed<ActualContainerRun> {
        let left = match engine::read::<OneOff>(&answers[1]) {
            Observed::Unknown(why) => return Observed::Unknown(why),
            Observed::Absent => None,
            Observed::Present(there) if !there.is_ours => {
                let why = format!("a container `{}` is there that was not made for this", self.name);
                return Observed::Unknown(why);
            }
            Observed::Present(there) => Some(there.state),
        };
        match probe::read(&self.outputs, &answers[0]) {
            Observed::Unknown(why) => Observed::Unknown(why),
            // What is there of an earlier try is gone on with, or goes.
            Observed::Absent => Observed::Absent,
            // It may have come to what the probe looks at, and not yet to its end.
            Observed::Present(_) if left.as_ref().is_some_and(State::is_up) => {
                Observed::Unknown("it need not be run, and its container still runs".to_owned())
            }
            Observed::Present(outputs) => Observed::Present(ActualContainerRun { outputs, left }),
        }
    }

    fn compare(&self, actual: &ActualContainerRun, context: &Context<'_>) -> Vec<FieldChange> {
        let left = actual.left.as_ref().map(|state| match state.status.as_str() {
            "created" => "never started".to_owned(),
            _ => format!("ended with status {}", state.exit_code),
        });
        let left = left.map(|how| FieldChange::text(CONTAINER, how, "removed"));
        let stale = self.is_stale(context);
        let stale = stale.then(|| FieldChange::text(STARTED_WITH, "as before", "as it will be"));
        left.into_iter().chain(stale).collect()
    }

    fn ops(&self, step: &Step<'_, ActualContainerRun>) -> Vec<Op> {
        let remove = || EngineOp::RemoveContainer(self.name.clone()).into();
        let has_left = step.before.present().is_some_and(|actual| actual.left.is_some());
        match step.action {
            Action::Update if !step.has(STARTED_WITH) => vec![remove()],
            Action::Create | Action::Update | Action::Replace => vec![self.run()],
            Action::Delete if has_left => vec![remove()],
            Action::Delete | Action::Forget => Vec::new(),
        }
    }

    /// What it did stays; only that muster did it is forgotten.
    fn is_gone(&self, _actual: &ActualContainerRun, _made: &BTreeSet<String>) -> bool {
        true
    }

    fn undo(&self, step: &Step<'_, ActualContainerRun>) -> Undo {
        match step.action {
            Action::Create | Action::Update | Action::Replace => {
                Undo::Impossible("nobody knows what undoes what a container did".to_owned())
            }
            Action::Delete | Action::Forget => Undo::Exact(Vec::new()),
        }
    }

    fn pretended(&self) -> Option<Pretended> {
        Some(Pretended {
            script: Body::text(format!("container {}", self.name)),
            probe: self.probe.clone(),
            prints: probe::pretended(&self.outputs),
        })
    }

    fn consumed(&self) -> Digest {
        Digest::of_value(&(&self.image, &self.command, &self.entrypoint, &self.environment))
    }

    fn bodies(&self) -> Vec<&Body> {
        self.environment.values().collect()
    }

    fn outputs(&self, actual: &ActualContainerRun) -> Vec<(String, String)> {
        let outputs = actual.outputs.iter();
        outputs
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    fn declared_outputs(&self) -> Vec<(String, String)> {
        let outputs = self.outputs.iter();
        outputs
            .map(|(name, pattern)| (name.clone(), pattern.clone()))
            .collect()
    }

    /// Nothing that is there tells one run from another: what it ran with is in the manifest.
    fn invocation(&self, _actual: &ActualContainerRun) -> Option<String> {
        Some(NO_START.to_owned())
    }
}
