//! `muster show PLAN`: a saved plan again.

use std::path::PathBuf;

use super::console::Console;
use super::exit::Exit;
use super::global::Global;
use crate::model::diagnostic::{Diagnostics, Sources};
use crate::report::{self, Extent};
use crate::store;

/// Show a saved plan again, as it was when it was made
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The plan's file
    plan: PathBuf,
    /// In which form
    #[arg(long, value_enum, default_value_t, conflicts_with = "json")]
    format: Format,
    /// Show long contents to their end
    #[arg(long)]
    full: bool,
}

/// The forms of a plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For a terminal
    #[default]
    Text,
    /// One object a line
    Json,
    /// For a comment on a pull request
    Markdown,
    /// A document of its own
    Html,
}

impl Args {
    /// Runs the verb.
    pub(super) fn run(self, global: &Global, console: &mut Console) -> Exit {
        let saved = match store::plan::load(&self.plan) {
            Ok(saved) => saved,
            Err(error) => {
                let mut found = Diagnostics::default();
                found.push(error.diagnostic());
                console.diagnostics(&found, &Sources::default());
                return Exit::Error;
            }
        };
        let format = if global.json { Format::Json } else { self.format };
        let page = || report::plan::page(&saved.plan, Extent { full: self.full });
        let text = match format {
            Format::Text if console.colors_data() => page().ansi(),
            Format::Text => page().plain(),
            Format::Json => report::plan::json_lines(&saved.plan),
            Format::Markdown => page().markdown(),
            Format::Html => page().html(),
        };
        if format == Format::Text {
            let made = &saved.made;
            console.note(&format!(
                "plan {} of {}, by muster {}",
                saved.id, made.at, made.by_version
            ));
        }
        console.data(&text);
        Exit::Done
    }
}
