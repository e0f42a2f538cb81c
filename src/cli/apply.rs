//! `muster apply`.

use std::path::{Path, PathBuf};

use super::aim::AimArgs;
use super::calls::Calls;
use super::carry::{self, Begin};
use super::console::Console;
use super::context::Context;
use super::exit::Exit;
use super::global::Global;
use super::survey::{self, Options, Survey};
use crate::model::plan::Purpose;
use crate::report::{self, Extent};
use crate::store;

/// Do exactly what was planned
///
/// With PLAN, a plan that was saved is carried out as it is, or refused if the fleet has changed since. Without, the fleet
/// is looked at, the plan is shown, and carried out when you say yes. A run that stops half-way is gone on with by `muster resume`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A saved plan
    plan: Option<PathBuf>,
    #[command(flatten)]
    aim: AimArgs,
    /// Leave out hosts that changed since the plan was made, and what needs them
    #[arg(long)]
    skip_stale: bool,
    /// Show whole contents, however long
    #[arg(long, conflicts_with = "plan")]
    full: bool,
    /// The name of the fleet, for a saved plan that destroys it
    #[arg(long, value_name = "FLEET", requires = "plan")]
    confirm: Option<String>,
}

impl Args {
    /// Runs the verb.
    pub(super) fn run(self, global: &Global, console: &mut Console) -> Exit {
        let applied = match &self.plan {
            Some(path) => super::block_on(self.saved(path, global, console)),
            None => super::block_on(self.fresh(global, console)),
        };
        applied.unwrap_or_else(|exit| exit)
    }

    async fn saved(&self, path: &Path, global: &Global, console: &mut Console) -> Result<Exit, Exit> {
        if global.limit.is_some() {
            console.error("--limit: a saved plan is carried out as a whole; plan again with the limit");
            return Err(Exit::Usage);
        }
        if !self.aim.aims().is_empty() {
            console.error(
                "--target and --exclude: a saved plan is carried out as a whole; plan again with them",
            );
            return Err(Exit::Usage);
        }
        let saved = store::plan::load(path).map_err(|error| carry::fail(console, error.diagnostic()))?;
        let folder = store::folder(&saved.plan.inventory_file);
        // A resume must find the plan, wherever it was applied from.
        if !store::plan::path(&folder, &saved.id).exists() {
            let kept = store::plan::save(saved.plan.clone(), saved.made.clone(), &folder);
            kept.map_err(|error| carry::fail(console, error.diagnostic()))?;
        }
        if saved.plan.changes.is_empty() && saved.plan.takes.is_empty() {
            console.note("Nothing to do.");
            return Ok(Exit::of_look(&saved.plan, false));
        }
        if saved.plan.purpose == Purpose::Destroy {
            super::confirm_fleet(
                saved.plan.fleet.as_str(),
                self.confirm.as_deref(),
                global,
                console,
            )?;
        }
        let work = carry::open(saved.plan, saved.id, folder, global, console).await?;
        work.begin(
            Begin {
                made_at: Some(saved.made.at),
                skips_stale: self.skip_stale,
            },
            console,
        )
        .await
    }

    async fn fresh(&self, global: &Global, console: &mut Console) -> Result<Exit, Exit> {
        let context = Context::load(global, console)?;
        let options = Options {
            keeps_open: true,
            calls: Calls::PlanAndRun,
            aims: self.aim.aims(),
            ..Options::default()
        };
        let survey = survey::survey(&context, global, console, &options).await?;
        if survey.has_lost_hosts {
            return Err(Exit::Error);
        }
        self.show(&survey, global, console);
        let fail = |console: &mut Console, error: store::StoreError| carry::fail(console, error.diagnostic());
        store::hosts::save(&survey.known, &survey.folder).map_err(|error| fail(console, error))?;
        if survey.plan.changes.is_empty() && survey.plan.takes.is_empty() {
            return Ok(Exit::of_look(&survey.plan, false));
        }
        // What is only recorded on the hosts changes nothing for anybody, so there is nothing to ask.
        if !survey.plan.changes.is_empty() {
            super::confirm(&format!("Apply this to {}?", survey.plan.fleet), global, console)?;
        }
        let made = store::plan::Made::now(survey.ports.clock.now());
        let saved =
            store::plan::save(survey.plan, made, &survey.folder).map_err(|error| fail(console, error))?;
        // What was seen takes room, and is not asked again.
        drop(survey.seen);
        console.detail(&format!("plan {} saved: {}", saved.id, saved.path.display()));
        let work = carry::with(
            saved.plan,
            saved.id,
            survey.folder,
            survey.ports,
            survey.secrets,
            global,
        );
        work.begin(
            Begin {
                made_at: None,
                skips_stale: self.skip_stale,
            },
            console,
        )
        .await
    }

    fn show(&self, survey: &Survey, global: &Global, console: &mut Console) {
        if global.json {
            console.data(&report::plan::json_lines(&survey.plan));
        } else {
            console.page(&report::plan::page(&survey.plan, Extent { full: self.full }));
        }
    }
}
