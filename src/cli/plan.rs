//! `muster plan`.

use std::path::PathBuf;

use super::aim::AimArgs;
use super::calls::Calls;
use super::console::Console;
use super::context::Context;
use super::exit::Exit;
use super::global::Global;
use super::survey::{self, Options, Survey};
use crate::report::{self, Extent};
use crate::store;

/// Look at the fleet and print what differs from what is declared
///
/// Nothing is changed on any host. Each is logged in to once and looked at in one go. With -o the plan is saved, for review
/// and for `muster apply FILE`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    aim: AimArgs,
    /// Save the plan in this file
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Exit with 2 when something would change
    #[arg(long)]
    detailed_exitcode: bool,
    /// Show whole contents, however long
    #[arg(long)]
    full: bool,
    /// Leave secrets unresolved: what holds them is held against what was last applied
    #[arg(long)]
    no_secrets: bool,
    /// Keep what the hosts said in this file
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Plan from what the hosts said before, kept with --record, without looking at them
    #[arg(long, value_name = "FILE", conflicts_with = "record")]
    recorded: Option<PathBuf>,
}

impl Args {
    /// Plans and prints.
    pub fn run(self, global: &Global, console: &mut Console) -> Exit {
        super::block_on(self.plan(global, console)).unwrap_or_else(|exit| exit)
    }

    async fn plan(self, global: &Global, console: &mut Console) -> Result<Exit, Exit> {
        let context = Context::load(global, console)?;
        let options = Options {
            without_secrets: self.no_secrets,
            recorded: self.recorded.clone(),
            keeps_open: false,
            calls: Calls::Plan,
            aims: self.aim.aims(),
        };
        let survey = survey::survey(&context, global, console, &options).await?;
        if survey.has_lost_hosts {
            return Err(Exit::Error);
        }
        self.keep(&survey, console)?;
        if global.json {
            console.data(&report::plan::json_lines(&survey.plan));
        } else {
            console.page(&report::plan::page(&survey.plan, Extent { full: self.full }));
        }
        Ok(Exit::of_look(&survey.plan, self.detailed_exitcode))
    }

    /// Saves what was asked for.
    fn keep(&self, survey: &Survey, console: &Console) -> Result<(), Exit> {
        let fail = |error: store::StoreError| {
            console.error(&super::chain(&error));
            Exit::Error
        };
        if let Some(path) = &self.record {
            store::recorded::save(&survey.seen, path).map_err(fail)?;
        }
        if let Some(path) = &self.out {
            let made = store::plan::Made::now(survey.ports.clock.now());
            let id = store::plan::save_as(&survey.plan, &made, path).map_err(fail)?;
            console.note(&format!("plan {id} saved: {}", path.display()));
        }
        Ok(())
    }
}
