//! `muster rollback`.

use std::path::{Path, PathBuf};

use super::carry;
use super::console::Console;
use super::context::Context;
use super::exit::Exit;
use super::global::Global;
use super::offer::Offer;
use super::reach;
use crate::model::code;
use crate::model::diagnostic::Diagnostic;
use crate::model::id::RunId;
use crate::model::plan::Plan;
use crate::observe::{self, LookOptions};
use crate::plan::rollback::{self, RollbackInput, trace};
use crate::ports::LookRequest;
use crate::store;
use crate::store::journal::{self, Recorded};

/// Take back what a run did, where it can be taken back
///
/// The journal and the plan of the run say what it did; the hosts are looked at, and a plan is made that brings back what was there
/// before. It is shown, and carried out when you say yes, through the same waves and gates as any other, and can itself be
/// rolled back. What others changed since is held, and so is what nothing can undo. Without RUN, the latest run.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run
    run: Option<RunId>,
    #[command(flatten)]
    offer: Offer,
}

impl Args {
    /// Runs the verb.
    pub(super) fn run(self, global: &Global, console: &mut Console) -> Exit {
        super::block_on(self.roll_back(global, console)).unwrap_or_else(|exit| exit)
    }

    async fn roll_back(&self, global: &Global, console: &mut Console) -> Result<Exit, Exit> {
        let context = reach::inventory(global, console)?;
        let folder = store::folder(&context.inventory.file);
        let recorded = find(&folder, self.run.as_ref(), console)?;
        let run = &recorded.header.run;
        if journal::is_being_written(&journal::path(&folder, run)) {
            return Err(in_progress(run, console));
        }
        console.note(&format!("run: {run} of plan {}", recorded.header.plan));
        if recorded.is_unfinished() {
            console.note(&format!(
                "note: run {run} has not come to its end; `muster resume {run}` would go on, and a rollback gives it up"
            ));
        }
        let then = carry::plan_of(&folder, &recorded.header.plan, console)?;
        let reach = reach::reach(&context, global, console).await?;
        let plan = self
            .plan(&context, (&recorded, &then), &reach, global, console)
            .await?;
        let question = format!("Take this back on {}?", plan.fleet);
        let confirm = |console: &Console| super::confirm(&question, global, console);
        self.offer
            .make(plan, reach, &folder, confirm, (global, console))
            .await
    }

    /// Looks at what the run did, and plans.
    async fn plan(
        &self,
        context: &Context,
        (recorded, then): (&Recorded, &Plan),
        reach: &reach::Reach,
        global: &Global,
        console: &mut Console,
    ) -> Result<Plan, Exit> {
        let run = &recorded.header.run;
        let known = store::hosts::load(&store::folder(&context.inventory.file));
        let known = known.map_err(|error| carry::fail(console, error.diagnostic()))?;
        let limit = match &global.limit {
            Some(selector) => Some((selector.to_string(), context.limited(global, console)?)),
            None => None,
        };
        let trace = trace::trace(recorded.events());
        let mut wanted = rollback::probes(then, &trace, run);
        wanted.retain(|host, _| {
            context.inventory.hosts.contains_key(host)
                && limit.as_ref().is_none_or(|(_, hosts)| hosts.contains(host))
        });
        let request = |probes| LookRequest {
            probes,
            ..LookRequest::default()
        };
        let wanted = wanted
            .into_iter()
            .map(|(host, probes)| (host, request(probes)))
            .collect();
        let look = LookOptions {
            parallel: reach.parallel,
            closes: false,
        };
        let seen = observe::look_for(&reach.ports, &wanted, look).await;
        Ok(rollback::rollback(&RollbackInput {
            inventory: &context.inventory,
            run,
            then,
            trace: &trace,
            seen: &seen,
            lineages: &known.lineages(&context.inventory),
            limit,
        }))
    }
}

/// Finds a run's journal, or that of the latest run which began.
///
/// # Errors
/// [`Exit::Error`], after saying which runs there are.
pub fn find(folder: &Path, run: Option<&RunId>, console: &mut Console) -> Result<Recorded, Exit> {
    let journals = journal::each(folder).map_err(|error| carry::fail(console, error.diagnostic()))?;
    let is_wanted = |path: &PathBuf| run.is_some_and(|run| *path == journal::path(folder, run));
    if let Some((_, read)) = journals
        .iter()
        .position(|(path, _)| is_wanted(path))
        .map(|at| &journals[at])
    {
        return match read {
            Ok(recorded) => Ok(recorded.clone()),
            Err(error) => Err(carry::fail(console, error.diagnostic())),
        };
    }
    let runs: Vec<&Recorded> = journals
        .iter()
        .filter_map(|(_, read)| read.as_ref().ok())
        .collect();
    if let (None, Some(latest)) = (run, runs.iter().rfind(|recorded| !recorded.lines.is_empty())) {
        return Ok((*latest).clone());
    }
    Err(carry::fail(console, unknown(folder, run, &runs)))
}

fn unknown(folder: &Path, run: Option<&RunId>, runs: &[&Recorded]) -> Diagnostic {
    let message = match run {
        Some(run) => format!("run {run} has no journal in {}", folder.display()),
        None => format!("there is no run in {}", folder.display()),
    };
    let found = Diagnostic::error(code::NO_SUCH_RUN, message);
    let names: Vec<&str> = runs
        .iter()
        .rev()
        .take(10)
        .map(|recorded| recorded.header.run.as_str())
        .collect();
    match names.as_slice() {
        [] => found.hint("no run was begun with this inventory; `-i` names another"),
        names => found.hint(format!(
            "the latest runs are {}; `muster history` lists all",
            names.join(", ")
        )),
    }
}

fn in_progress(run: &RunId, console: &mut Console) -> Exit {
    let found = Diagnostic::error(code::RUN_IN_PROGRESS, format!("run {run} is still in progress"));
    carry::fail(
        console,
        found.hint("wait for its end, or interrupt it, and roll it back then"),
    );
    Exit::Locked
}
