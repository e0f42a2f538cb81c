//! `muster man`: the manual page.

use super::console::Console;
use super::exit::Exit;
use super::global::Global;

/// Print the manual page of muster or of one verb, for `man -l -`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The verb
    verb: Option<String>,
}

impl Args {
    /// Runs the verb.
    pub(super) fn run(self, _global: &Global, console: &mut Console) -> Exit {
        let mut muster = super::command();
        // Built first, so that a verb's page knows its full name and the global flags.
        muster.build();
        let page = match &self.verb {
            None => Some(&muster),
            Some(verb) => muster.find_subcommand(verb),
        };
        let Some(page) = page else {
            console.error(&format!("there is no verb `{}`", self.verb.unwrap_or_default()));
            return Exit::Usage;
        };
        let mut text = Vec::new();
        if clap_mangen::Man::new(page.clone()).render(&mut text).is_err() {
            return Exit::Error;
        }
        console.data(&String::from_utf8_lossy(&text));
        Exit::Done
    }
}
