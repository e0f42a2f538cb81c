//! `muster resume`.

use std::path::Path;

use super::carry;
use super::console::Console;
use super::discover;
use super::exit::Exit;
use super::global::Global;
use crate::model::code;
use crate::model::diagnostic::Diagnostic;
use crate::model::id::RunId;
use crate::store::journal::{self, Journal};
use crate::store::{self, StoreError};

/// Go on with a run that did not come to its end
///
/// Everything that the journal says is done stays done; what began without an end is looked at and not assumed; what failed
/// or could not be reached is tried again. Without RUN, the latest run, if it is unfinished.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run
    run: Option<RunId>,
}

impl Args {
    /// Runs the verb.
    pub(super) fn run(self, global: &Global, console: &mut Console) -> Exit {
        super::block_on(self.resume(global, console)).unwrap_or_else(|exit| exit)
    }

    async fn resume(&self, global: &Global, console: &mut Console) -> Result<Exit, Exit> {
        let folder = store::folder(&discover::inventory(global, console)?.to_string_lossy());
        let run = match &self.run {
            Some(run) => run.clone(),
            None => latest(&folder, console)?,
        };
        let opened = Journal::open(&journal::path(&folder, &run));
        let (journal, recorded) = opened.map_err(|error| unopened(console, &error))?;
        if !recorded.is_unfinished() {
            let found = Diagnostic::error(code::NOTHING_TO_RESUME, format!("run {run} has come to its end"));
            return Err(carry::fail(
                console,
                found.hint("plan again: what is left, if anything, is found there"),
            ));
        }
        console.note(&format!("run: {run} of plan {}", recorded.header.plan));
        let plan = carry::plan_of(&folder, &recorded.header.plan, console)?;
        let work = carry::open(plan, recorded.header.plan.clone(), folder, global, console).await?;
        work.go_on(journal, &recorded, console).await
    }
}

/// Returns the latest run that began, if it is unfinished. One before it is not offered: what came later has gone over it.
fn latest(folder: &Path, console: &mut Console) -> Result<RunId, Exit> {
    let journals = journal::all(folder).map_err(|error| carry::fail(console, error.diagnostic()))?;
    let latest = journals.into_iter().rfind(|recorded| !recorded.lines.is_empty());
    latest
        .filter(journal::Recorded::is_unfinished)
        .map(|recorded| recorded.header.run)
        .ok_or_else(|| {
            let message = format!(
                "the latest run in {} has come to its end, or there is none",
                folder.display()
            );
            carry::fail(console, Diagnostic::error(code::NOTHING_TO_RESUME, message))
        })
}

fn unopened(console: &mut Console, error: &StoreError) -> Exit {
    carry::fail(console, error.diagnostic());
    match error {
        StoreError::Busy { .. } => Exit::Locked,
        StoreError::Read { .. }
        | StoreError::Write { .. }
        | StoreError::Format { .. }
        | StoreError::Damaged { .. } => Exit::Error,
    }
}
