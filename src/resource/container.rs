//! A container of a Compose project.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::compose;
use crate::model::body::Body;
use crate::model::change::{Action, Disruption, FieldChange, Shown, Undo};
use crate::model::container::ContainerSpec;
use crate::model::container_part::{Health, HealthCheck};
use crate::model::digest::Digest;
use crate::model::engine::{ContainerProbe, EngineOp, EngineProbe};
use crate::model::inspected::{Effect, EnvValue, Inspected};
use crate::model::manifest::Owned;
use crate::model::observation::{Answer, Observed};
use crate::model::op::{Op, Probe};

use super::image::Image;
use super::{Claim, Context, Kind, Mistake, Step, engine, veil};

/// The field of a container that runs with what it consumed before.
const STARTED_WITH: &str = "started_with";
/// The field of a container that shares something with one that comes anew.
const RECREATED_WITH: &str = "recreated_with";

/// A container of a Compose project. It has no table of its own: a [`compose`](#compose) table declares it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Container {
    /// What it must be.
    pub spec: Box<ContainerSpec>,
    /// How long it may take to prove itself, in seconds.
    pub within_secs: u64,
}

/// A container that is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActualContainer {
    /// What the engine says of it.
    #[serde(flatten)]
    pub inspected: Box<Inspected>,
    /// The digest of what was seen, where parts of it are hidden.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub veiled: Option<Digest>,
}

impl JsonSchema for Container {
    fn schema_name() -> Cow<'static, str> {
        "Container".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "type": "object",
            "description": "A container of a Compose project. It has no table of its own: a [`compose`](#compose) table declares it.",
            "properties": {}
        })
    }
}

impl Container {
    /// Makes one of a project. `within_secs` is what it may take where its health check does not ask for more.
    pub fn new(spec: ContainerSpec, within_secs: u64) -> Self {
        let within_secs = match &spec.settings.healthcheck {
            Some(Health::Check(check)) => within_secs.max(health_secs(check)),
            Some(Health::Disabled) | None => within_secs,
        };
        Self {
            spec: Box::new(spec),
            within_secs,
        }
    }

    /// Returns the question to an engine that finds its container.
    pub fn probe(&self) -> ContainerProbe {
        let spec = &self.spec;
        ContainerProbe {
            project: spec.project.clone(),
            service: spec.service.clone(),
            number: spec.number,
            name: spec.name.clone(),
            former_names: spec.former_names.clone(),
            image: spec.image.clone(),
            public_env: spec
                .environment
                .keys()
                .filter(|key| spec.shows(key))
                .cloned()
                .collect(),
            mounted: spec.mounted.keys().cloned().collect(),
            peers: spec
                .needs
                .iter()
                .flat_map(|need| need.names.iter().map(|name| (name.clone(), need.service.clone())))
                .collect(),
        }
    }

    fn make(&self, effect: Effect) -> Op {
        EngineOp::Container {
            spec: self.spec.clone(),
            effect,
            within_secs: self.within_secs,
        }
        .into()
    }

    /// Makes it out of the one that is there. A hand may have given that another name: it must not go on beside the new one.
    fn make_of(&self, before: &Observed<ActualContainer>, effect: Effect) -> Op {
        let mut wanted = self.clone();
        let name = before.present().map(|before| &before.inspected.name);
        if let Some(name) = name.filter(|name| **name != self.spec.name) {
            wanted.spec.former_names.insert(name.clone());
        }
        wanted.make(effect)
    }

    /// Returns what a step takes.
    fn effect(step: &Step<'_, ActualContainer>) -> Effect {
        match step.action {
            Action::Update => {
                let effects = step.fields.iter().map(effect);
                effects.max().unwrap_or(Effect::Recreate)
            }
            Action::Create | Action::Replace | Action::Delete | Action::Forget => Effect::Recreate,
        }
    }

    /// Returns the field that says that this plan changes what it consumes, where nothing else starts it anew.
    fn stale(&self, context: &Context<'_>, most: Option<Effect>) -> Option<FieldChange> {
        let consumed = context.consumed?;
        // An image that is pulled again is another one, as is a container that comes anew.
        let comes_anew = |kind: &str| [Self::NAME, Image::NAME].contains(&kind);
        let names = |is_anew: bool| {
            let of = consumed
                .changing
                .iter()
                .filter(|id| comes_anew(id.key.kind.as_str()) == is_anew)
                .map(|id| id.key.to_string());
            of.collect::<Vec<_>>().join(", ")
        };
        let (containers, others) = (names(true), names(false));
        let is_below = |effect| most.is_none_or(|most| most < effect);
        if !containers.is_empty() && is_below(Effect::Recreate) {
            return Some(FieldChange::text(
                RECREATED_WITH,
                format!("rests on {containers} as it is"),
                "rests on it as it will be",
            ));
        }
        (!others.is_empty() && is_below(Effect::Restart))
            .then(|| FieldChange::text(STARTED_WITH, format!("{others} as before"), "as it will be"))
    }

    /// Says whether it has a variable whose value it does not show. What was so may still be there when it is declared public.
    fn hides(&self, key: &str) -> bool {
        self.spec.environment.contains_key(key) && !self.spec.shows(key)
    }

    /// Returns what the manifest says of it as it was before, where its container came out of that.
    fn former(step: &Step<'_, ActualContainer>) -> Option<Self> {
        step.context.former()
    }
}

/// Says what it takes to mend a field.
fn effect(field: &FieldChange) -> Effect {
    match field.field.as_str() {
        STARTED_WITH => Effect::Restart,
        RECREATED_WITH => Effect::Recreate,
        _ => compose::effect(field),
    }
}

/// The longest that a health check goes on before it says no, in seconds, and some more.
fn health_secs(check: &HealthCheck) -> u64 {
    let secs = |nanos: Option<u64>, or: u64| nanos.map_or(or, |nanos| nanos.div_ceil(1_000_000_000));
    let (interval, timeout) = (secs(check.interval_nanos, 30), secs(check.timeout_nanos, 30));
    let tries = check.retries.unwrap_or(3).saturating_add(1);
    secs(check.start_period_nanos, 0)
        .saturating_add(tries.saturating_mul(interval.saturating_add(timeout)))
        .saturating_add(30)
}

impl Kind for Container {
    const NAME: &'static str = "container";
    const FIELDS: &'static [&'static str] = compose::FIELDS;
    const STARTS: bool = true;
    const HAS_TABLE: bool = false;
    type Actual = ActualContainer;

    fn name(&self) -> String {
        self.spec.name.clone()
    }

    fn check(&self) -> Vec<Mistake> {
        engine::check_name(&self.spec.name).into_iter().collect()
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim {
            what: format!("container:{}", self.spec.name),
            keys: None,
        }]
    }

    fn probes(&self) -> Vec<Probe> {
        vec![Probe::Engine(EngineProbe::Container(self.probe()))]
    }
    /// Values of the environment are prints from the beginning. But an old container may have a password among its words.
    fn veil(
        &self,
        owned: Option<&Owned>,
        answers: &[Answer],
        salt: Option<&[u8]>,
        seen: &dyn Fn() -> Digest,
    ) -> Option<Vec<Answer>> {
        let Observed::Present(there) = engine::read::<ActualContainer>(&answers[0]) else {
            return None;
        };
        let former = owned.and_then(|owned| Self::deserialize(&owned.spec).ok());
        let declared: Vec<Value> = [Some(self), former.as_ref()]
            .into_iter()
            .flatten()
            .map(|container| &container.spec.settings)
            .chain([&there.inspected.runs.settings])
            .map(|settings| serde_json::to_value(settings).expect("settings are JSON"))
            .collect();
        let settings = serde_json::to_value(&there.inspected.settings).expect("settings are JSON");
        let shown = veil::told(&settings, &declared, salt);
        let mut veiled = there.clone();
        if let Some(shown) = shown {
            veiled.inspected.settings = serde_json::from_value(shown).ok()?;
        }
        for (key, value) in &mut veiled.inspected.environment {
            if let EnvValue::Public(text) = value
                && former.as_ref().is_some_and(|former| former.hides(key))
            {
                *value = EnvValue::Print(veil::print(text, salt));
            }
        }
        if veiled == there {
            return None;
        }
        veiled.veiled = Some(seen());
        Some(vec![Answer::Text {
            output: serde_json::to_string(&veiled).expect("an inspected container is JSON"),
            status: 0,
        }])
    }

    fn read(&self, answers: &[Answer]) -> Observed<ActualContainer> {
        engine::read(&answers[0])
    }

    fn compare(&self, actual: &ActualContainer, context: &Context<'_>) -> Vec<FieldChange> {
        let found = compose::differences(&self.spec, &actual.inspected, context.known);
        let stale = self.stale(context, found.effect());
        let former: Option<Self> = context.former();
        let shown = |mut field: FieldChange| {
            let key = field.field.strip_prefix("environment.");
            if key.is_some_and(|key| former.as_ref().is_some_and(|former| former.hides(key)))
                && matches!(field.before, Shown::Text(_))
            {
                field.before = Shown::Opaque("secret until now".to_owned());
            }
            field
        };
        let fields = found.changes.into_iter().map(|change| shown(change.field));
        fields.chain(stale).collect()
    }

    fn ops(&self, step: &Step<'_, ActualContainer>) -> Vec<Op> {
        match step.action {
            Action::Create | Action::Update | Action::Replace => {
                vec![self.make_of(step.before, Self::effect(step))]
            }
            Action::Delete => {
                // It may still have the name that the old tool gave it.
                let there = step.before.present().map(|before| before.inspected.name.clone());
                let name = there.unwrap_or_else(|| self.spec.name.clone());
                vec![EngineOp::RemoveContainer(name).into()]
            }
            Action::Forget => Vec::new(),
        }
    }

    /// The engine sets the old one aside until the new one has proved itself.
    fn replace(&self, step: &Step<'_, ActualContainer>) -> Vec<Op> {
        vec![self.make_of(step.before, Self::effect(step))]
    }

    fn immutable<'a>(&self, fields: &'a [FieldChange]) -> Option<&'a FieldChange> {
        fields.iter().find(|field| effect(field) == Effect::Recreate)
    }

    fn undo(&self, step: &Step<'_, ActualContainer>) -> Undo {
        let memory = "what its process held in memory, and what it wrote elsewhere than into volumes";
        let was = || step.fields.iter().any(|field| field.field == "state");
        match step.action {
            Action::Create => Undo::Exact(vec![EngineOp::RemoveContainer(self.spec.name.clone()).into()]),
            Action::Delete => Undo::Inverse {
                ops: vec![self.make(Effect::Recreate)],
                loses: memory.to_owned(),
            },
            Action::Update | Action::Replace if was() => {
                Undo::Impossible("it did not run before, and nobody stops it for the sake of that".to_owned())
            }
            Action::Update | Action::Replace => match Self::former(step) {
                Some(former) => Undo::Inverse {
                    ops: vec![former.make(Self::effect(step))],
                    loses: memory.to_owned(),
                },
                None => Undo::Impossible(
                    "the container that was there is not of muster's making, and nobody knows from what it was made"
                        .to_owned(),
                ),
            },
            Action::Forget => Undo::Exact(Vec::new()),
        }
    }

    fn disruption(&self, step: &Step<'_, ActualContainer>) -> Disruption {
        let disturbs = match step.action {
            Action::Create | Action::Forget => false,
            Action::Delete | Action::Replace => true,
            Action::Update => Self::effect(step) > Effect::Update,
        };
        match disturbs {
            true => Disruption::Service(self.spec.name.clone()),
            false => Disruption::None,
        }
    }

    fn digest(&self, actual: &ActualContainer) -> Digest {
        if let Some(veiled) = &actual.veiled {
            return veiled.clone();
        }
        // What an engine changes by itself, or a start of it, is left out.
        let is = &actual.inspected;
        // Prints under a salt that nobody keeps say something once only.
        let values = (!is.is_fleeting).then_some(&is.environment);
        Digest::of_value(&(
            (&is.name, &is.image, &is.runs.id),
            (is.environment.keys().collect::<Vec<_>>(), values, &is.settings),
            is.state.is_running(),
        ))
    }

    fn printed(&self) -> Vec<&Body> {
        self.spec.sensitive_env().map(|(_, body)| body).collect()
    }

    /// The image has variables too.
    fn is_salted(&self) -> bool {
        true
    }

    fn bodies(&self) -> Vec<&Body> {
        self.spec.environment.values().collect()
    }

    fn invocation(&self, actual: &ActualContainer) -> Option<String> {
        let is = &actual.inspected;
        let started = is.state.started_at_nanos.filter(|_| is.state.is_running())?;
        Some(format!("{}@{started}", is.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_has_the_time_that_its_health_check_asks_for() {
        let mut spec = ContainerSpec::default();
        assert_eq!(Container::new(spec.clone(), 300).within_secs, 300);
        spec.settings.healthcheck = Some(Health::Check(HealthCheck {
            start_period_nanos: Some(600_000_000_000),
            interval_nanos: Some(10_000_000_000),
            timeout_nanos: Some(5_000_000_000),
            retries: Some(3),
            ..HealthCheck::default()
        }));
        assert_eq!(Container::new(spec, 300).within_secs, 600 + 4 * 15 + 30);
    }

    #[test]
    fn every_field_that_starts_it_anew_is_listed() {
        for field in [STARTED_WITH, RECREATED_WITH] {
            assert!(compose::FIELDS.contains(&field), "{field}");
        }
        assert_eq!(
            effect(&FieldChange {
                field: STARTED_WITH.to_owned(),
                before: Shown::Nothing,
                after: Shown::Nothing
            }),
            Effect::Restart
        );
    }
}
