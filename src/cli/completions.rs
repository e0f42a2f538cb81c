//! `muster completions SHELL`: completions for a shell.

use clap_complete::Shell;

use super::console::Console;
use super::exit::Exit;
use super::global::Global;

/// Print completions for a shell
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    shell: Shell,
}

impl Args {
    /// Runs the verb.
    pub(super) fn run(self, _global: &Global, console: &mut Console) -> Exit {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut super::command(), "muster", &mut text);
        console.data(&String::from_utf8_lossy(&text));
        Exit::Done
    }
}
