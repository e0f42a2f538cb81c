//! Questions to the person at the terminal.

use std::io::IsTerminal as _;
use std::sync::Arc;

use super::global::Global;
use crate::model::secret::Secret;
use crate::report::escape;
use crate::transport::connector::Prompter;

/// Asks at the terminal, without echo.
struct Terminal;

impl Prompter for Terminal {
    fn ask(&self, question: &str) -> Option<Secret> {
        rpassword::prompt_password(escape::line(&format!("{question}: ")))
            .ok()
            .map(Secret::new)
    }
}

/// Returns who is asked for passphrases: nobody under `--no-input`, and nobody where there is no terminal.
pub fn of(global: &Global) -> Option<Arc<dyn Prompter>> {
    let is_there = !global.no_input && std::io::stdin().is_terminal();
    is_there.then(|| Arc::new(Terminal) as Arc<dyn Prompter>)
}
