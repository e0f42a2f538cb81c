//! Calling the hooks around a plan. Those of a run are the driver's.

use super::console::Console;
use super::context::Context;
use super::exit::Exit;
use super::survey::Options;
use crate::apply;
use crate::model::hook::{Hook, Moment};
use crate::model::plan::Plan;
use crate::ports::Ports;
use crate::report::escape;

/// Which hooks a survey is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Calls {
    /// None: a look that others make often, such as drift's.
    #[default]
    None,
    /// Those around the plan.
    Plan,
    /// Those around the plan; those of the run will follow.
    PlanAndRun,
}

impl Calls {
    /// Says whether a hook is one of them.
    pub fn has(self, hook: &Hook) -> bool {
        match self {
            Self::None => false,
            Self::Plan => !hook.on.is_of_run(),
            Self::PlanAndRun => true,
        }
    }
}

/// Calls the hooks before or after the plan. A plan from a recording is made without the world, so nothing is called.
///
/// # Errors
/// [`Exit::Refused`], after saying why, where one that is required fails before the plan.
pub async fn around_plan(
    context: &Context,
    ports: &Ports,
    options: &Options,
    moment: Moment,
    plan: Option<&Plan>,
    console: &Console,
) -> Result<(), Exit> {
    let inventory = &context.inventory;
    let is_due = |hook: &&Hook| hook.on == moment && options.calls.has(hook) && options.recorded.is_none();
    for hook in inventory.hooks.iter().filter(is_due) {
        let at = ports.clock.now();
        let mut input = hook.input(&inventory.name, &inventory.file, &super::carry::who(), at);
        if let Some(plan) = plan {
            input["plan"] = serde_json::json!({ "id": plan.id(), "sums": plan.sums() });
        }
        let said = apply::call_hook(ports, hook, &input).await;
        let show = |text: &str| console.note(&escape::controls(text));
        match &said.result {
            Ok(()) => console.detail(&escape::controls(&format!("hook {moment} {}: done", hook.name))),
            Err(error) if hook.required && moment.is_before() => {
                console.error(&escape::controls(&format!(
                    "hook {moment} {} failed: {error}",
                    hook.name
                )));
                said.tail.iter().for_each(|line| show(&format!("  | {line}")));
                console.note("hint: it is `required`, so nothing was looked at");
                return Err(Exit::Refused);
            }
            Err(error) => show(&format!("warning: hook {moment} {} failed: {error}", hook.name)),
        }
        said.tail.iter().for_each(|line| show(&format!("  | {line}")));
    }
    Ok(())
}
