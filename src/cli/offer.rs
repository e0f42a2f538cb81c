//! Offering a plan that was made for a purpose: shown, saved or carried out.

use std::path::{Path, PathBuf};

use super::carry::{self, Begin};
use super::console::Console;
use super::exit::Exit;
use super::global::Global;
use super::reach::Reach;
use crate::model::plan::Plan;
use crate::report::{self, Extent};
use crate::store;

/// How a plan is offered.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Offer {
    /// Save the plan in this file, for review and for `muster apply FILE`, and do nothing
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Show whole contents, however long
    #[arg(long)]
    full: bool,
}

impl Offer {
    /// Shows a plan; then saves it, if that was asked for, or has it confirmed and carries it out.
    ///
    /// # Errors
    /// The exit code, after saying why, if nothing was done.
    pub async fn make(
        &self,
        plan: Plan,
        reach: Reach,
        folder: &Path,
        confirm: impl FnOnce(&Console) -> Result<(), Exit>,
        (global, console): (&Global, &mut Console),
    ) -> Result<Exit, Exit> {
        if global.json {
            console.data(&report::plan::json_lines(&plan));
        } else {
            console.page(&report::plan::page(&plan, Extent { full: self.full }));
        }
        let made = store::plan::Made::now(reach.ports.clock.now());
        if let Some(path) = &self.out {
            let saved = store::plan::save_as(&plan, &made, path);
            let id = saved.map_err(|error| carry::fail(console, error.diagnostic()))?;
            console.note(&format!("plan {id} saved: {}", path.display()));
            return Ok(Exit::of_look(&plan, false));
        }
        if plan.changes.is_empty() {
            return Ok(Exit::of_look(&plan, false));
        }
        confirm(console)?;
        let saved = store::plan::save(plan, made, folder);
        let saved = saved.map_err(|error| carry::fail(console, error.diagnostic()))?;
        console.detail(&format!("plan {} saved: {}", saved.id, saved.path.display()));
        let work = carry::with(
            saved.plan,
            saved.id,
            folder.to_owned(),
            reach.ports,
            reach.secrets,
            global,
        );
        let begin = Begin {
            made_at: None,
            skips_stale: false,
        };
        work.begin(begin, console).await
    }
}
