//! `muster history`.

use std::path::Path;

use super::carry;
use super::console::Console;
use super::discover;
use super::exit::Exit;
use super::global::Global;
use super::rollback;
use crate::model::id::{PlanId, RunId};
use crate::model::plan::Purpose;
use crate::report::history::{self, Story, Told};
use crate::store;
use crate::store::journal::{self, Recorded};

/// List the runs of this inventory, or tell one of them
///
/// From the journals beside the plans: when, who, how it ended and what came of it. Journals that cannot be read are named.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run to tell
    run: Option<RunId>,
}

impl Args {
    /// Runs the verb.
    pub(super) fn run(self, global: &Global, console: &mut Console) -> Exit {
        self.tell(global, console).unwrap_or_else(|exit| exit)
    }

    fn tell(&self, global: &Global, console: &mut Console) -> Result<Exit, Exit> {
        let folder = store::folder(&discover::inventory(global, console)?.to_string_lossy());
        if let Some(run) = &self.run {
            let story = story(&folder, rollback::find(&folder, Some(run), console)?);
            match global.json {
                true => console.data(&history::told_json(&story)),
                false => console.page(&history::told(&story)),
            }
            return Ok(Exit::Done);
        }
        let journals = journal::each(&folder).map_err(|error| carry::fail(console, error.diagnostic()))?;
        let told: Vec<Told> = journals
            .into_iter()
            .map(|(path, read)| match read {
                Ok(recorded) => Told::Story(Box::new(story(&folder, recorded))),
                Err(error) => Told::Unreadable {
                    file: path.display().to_string(),
                    why: super::chain(&error),
                },
            })
            .collect();
        let is_whole = told.iter().all(|told| matches!(told, Told::Story(_)));
        match global.json {
            true => console.data(&history::list_json(&told)),
            false => console.page(&history::list(&told)),
        }
        Ok(if is_whole { Exit::Done } else { Exit::Failed })
    }
}

/// Gathers what is told of a run. Its plan may be of another version, or gone: then nobody says what it was for.
fn story(folder: &Path, recorded: Recorded) -> Story {
    let purpose = |id: &PlanId| -> Option<Purpose> {
        let saved = store::plan::load(&store::plan::path(folder, id)).ok()?;
        Some(saved.plan.purpose)
    };
    let is_in_progress = journal::is_being_written(&journal::path(folder, &recorded.header.run));
    Story {
        run: recorded.header.run.clone(),
        plan: recorded.header.plan.clone(),
        purpose: purpose(&recorded.header.plan),
        began: recorded.header.at,
        is_resumable: recorded.is_unfinished() && !is_in_progress,
        is_in_progress,
        events: recorded
            .lines
            .into_iter()
            .map(|line| (line.at, line.event))
            .collect(),
    }
}
