//! `muster drift`.

use super::aim::AimArgs;
use super::console::Console;
use super::context::Context;
use super::exit::Exit;
use super::global::Global;
use super::survey::{self, Options};
use crate::report::Extent;
use crate::report::drift::{self, DriftFormat};

/// Say whether the fleet still is what was declared: exit 0 if so, 2 if not
///
/// Looks as `plan` does and changes nothing. What could not be looked at is never taken for unchanged: exit 3 when something
/// on a reached host could not be read, 4 when hosts did not answer.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    aim: AimArgs,
    /// The form of the report
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: DriftFormat,
    /// Leave secrets unresolved: what holds them is held against what was last applied
    #[arg(long)]
    no_secrets: bool,
    /// Show whole contents, however long
    #[arg(long)]
    full: bool,
}

impl Args {
    /// Looks and reports.
    pub fn run(self, global: &Global, console: &mut Console) -> Exit {
        super::block_on(self.drift(global, console)).unwrap_or_else(|exit| exit)
    }

    async fn drift(self, global: &Global, console: &mut Console) -> Result<Exit, Exit> {
        let context = Context::load(global, console)?;
        let options = Options {
            without_secrets: self.no_secrets,
            aims: self.aim.aims(),
            ..Options::default()
        };
        let survey = survey::survey(&context, global, console, &options).await?;
        let extent = Extent { full: self.full };
        match self.format {
            DriftFormat::Text if !global.json => console.page(&drift::page(&survey.plan, extent)),
            DriftFormat::Text | DriftFormat::Json => {
                console.data(&drift::render(&survey.plan, DriftFormat::Json, extent))
            }
            DriftFormat::Junit | DriftFormat::Sarif | DriftFormat::Markdown | DriftFormat::Github => {
                console.data(&drift::render(&survey.plan, self.format, extent));
            }
        }
        let exit = Exit::of_look(&survey.plan, true);
        Ok(if survey.has_lost_hosts {
            Exit::Pending
        } else {
            exit
        })
    }
}
