//! Calling hooks: what each is told, and how often it is tried.

use std::time::Duration;

use serde_json::{Value, json};

use crate::model::event::{Event, RunOutcome};
use crate::model::hook::{Hook, HookId, Moment};
use crate::ports::{HookError, HookSaid, Ports};

use super::Run;
use super::crew::Crew;

/// The longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Calls a hook until it is good or its time is up. A try that has begun may take its own time.
pub async fn call_hook(ports: &Ports, hook: &Hook, input: &Value) -> HookSaid {
    let began = ports.clock.now();
    let within = i64::try_from(hook.retry_within_secs).unwrap_or(i64::MAX);
    let mut pause = Duration::from_secs(hook.retry_every_secs.max(1));
    let mut tries = 1;
    loop {
        let mut said = ports.hooks.call(hook, input).await;
        let Err(error) = &mut said.result else {
            return said;
        };
        let passed = ports.clock.now().duration_since(began).as_secs();
        let left = within.saturating_sub(passed);
        if !error.is_worth_another_try || left <= 0 {
            if tries > 1 {
                error.why = format!("{}, after {tries} tries in {passed} s", error.why);
            }
            return said;
        }
        ports
            .clock
            .sleep(pause.min(Duration::from_secs(left.unsigned_abs())))
            .await;
        pause = (pause * 2).min(PAUSE_MAX);
        tries += 1;
    }
}

impl Crew<'_, '_> {
    /// Calls one of the hooks before or after a run or a wave.
    pub(super) async fn call_out(&self, id: &HookId) -> Vec<Event> {
        let hook = &self.run.plan.hooks[id.index];
        let input = input(self.run, hook, id.wave);
        let said = call_hook(&self.run.ports, hook, &input).await;
        vec![heard(id, hook, said)]
    }
}

/// Returns the hooks that are called when a run has come to its end.
pub(super) fn at_end(run: &Run<'_>, outcome: &RunOutcome) -> Vec<(HookId, Value)> {
    let is_due = |hook: &Hook| match hook.on {
        Moment::AfterRun => true,
        Moment::Failure => outcome.exit != 0,
        Moment::BeforePlan
        | Moment::AfterPlan
        | Moment::BeforeRun
        | Moment::BeforeWave
        | Moment::AfterWave => false,
    };
    let due = run.plan.hooks.iter().enumerate().filter(|(_, hook)| is_due(hook));
    due.map(|(index, hook)| {
        let mut input = input(run, hook, None);
        input["outcome"] = json!(outcome);
        (HookId { index, wave: None }, input)
    })
    .collect()
}

fn input(run: &Run<'_>, hook: &Hook, wave: Option<usize>) -> Value {
    let at = run.ports.clock.now();
    let mut input = hook.input(&run.plan.fleet, &run.plan.inventory_file, &run.who, at);
    input["plan"] = json!({ "id": planned(run), "sums": run.plan.sums() });
    input["run"] = json!(run.id);
    if let Some((number, wave)) = wave.and_then(|wave| Some((wave, run.plan.waves.get(wave)?))) {
        let action = |id| run.plan.changes.get(id).map(|change| change.action);
        let changes = wave
            .changes
            .iter()
            .map(|id| json!({ "resource": id, "action": action(id) }));
        input["wave"] = json!({
            "number": number + 1, "of": run.plan.waves.len(), "kind": wave.kind, "hosts": wave.hosts,
            "changes": changes.collect::<Vec<_>>(),
        });
    }
    input
}

/// Returns the name of the plan that is carried out: a run is named after it.
fn planned<'r>(run: &'r Run<'_>) -> &'r str {
    let name = run.id.as_str();
    name.rsplit_once('-').map_or(name, |(plan, _)| plan)
}

/// Returns what a hook said as an event.
pub(super) fn heard(id: &HookId, hook: &Hook, said: HookSaid) -> Event {
    Event::HookSaid {
        hook: id.clone(),
        name: hook.name.clone(),
        error: said.result.err().map(|HookError { why, .. }| why),
        tail: said.tail,
    }
}
