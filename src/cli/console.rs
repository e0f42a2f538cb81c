//! Saying things: data on standard output, everything else on standard error.
//!
//! A reader that closes its pipe early, such as `head`, ends the saying and is no error.

use std::io::{ErrorKind, IsTerminal, Write};

use serde_json::{Value, json};

use super::exit::Exit;
use super::global::{Color, Global};
use crate::model::diagnostic::{Diagnostics, Sources};
use crate::report::diagnostic::{self, Look};
use crate::report::escape;
use crate::report::line::Page;
use crate::report::plan::JSON_FORMAT;

/// The two streams, and how much and how to say.
#[derive(Debug)]
pub struct Console {
    color: Color,
    is_quiet: bool,
    verbosity: u8,
    is_json: bool,
    is_broken: bool,
}

impl Console {
    /// Makes a console that follows the flags.
    pub fn new(global: &Global) -> Self {
        Self {
            color: global.color,
            is_quiet: global.quiet,
            verbosity: global.verbose,
            is_json: global.json,
            is_broken: false,
        }
    }

    /// Prints data that is harmless already, as it is, on standard output.
    pub fn data(&mut self, text: &str) {
        let written = std::io::stdout().lock().write_all(text.as_bytes());
        self.is_broken |= written.is_err();
    }

    /// Prints lines of text, made harmless for a terminal, on standard output.
    pub fn text(&mut self, text: &str) {
        self.data(&escape::lines(text));
    }

    /// Prints a report, in colour where standard output gets colours.
    pub fn page(&mut self, page: &Page) {
        let text = if self.colors_data() {
            page.ansi()
        } else {
            page.plain()
        };
        self.data(&text);
    }

    /// Prints an object on a line of its own on standard output.
    pub fn object(&mut self, object: &Value) {
        self.data(&(escape::json(&object.to_string()) + "\n"));
    }

    /// Begins a JSON stream: the first line names its format.
    pub fn begin_json(&mut self, report: &str) {
        let version = env!("CARGO_PKG_VERSION");
        self.object(
            &json!({ "type": "format", "format": JSON_FORMAT, "report": report, "version": version }),
        );
    }

    /// Says something that the reader may like to know, on standard error, unless quiet.
    pub fn note(&self, text: &str) {
        if !self.is_quiet {
            say(&escape::lines(text));
        }
    }

    /// Says what somebody else said on standard error.
    pub fn aside(&self, text: &str) {
        say(text);
    }

    /// Says something that only a reader who asked for more wants to know.
    pub fn detail(&self, text: &str) {
        if self.verbosity > 0 {
            say(&escape::lines(text));
        }
    }

    /// Says what went wrong, on standard error.
    pub fn error(&self, text: &str) {
        say(&escape::lines(&format!("error: {text}")));
    }

    /// Shows diagnostics and their sum: as objects on standard output with `--json`, else drawn on standard error.
    pub fn diagnostics(&mut self, found: &Diagnostics, sources: &Sources) {
        if found.is_empty() {
            return;
        }
        if self.is_json {
            found
                .sorted()
                .into_iter()
                .for_each(|found| self.object(&diagnostic::json(found)));
        } else {
            let look = Look {
                color: self.colors_errors(),
                ..Look::default()
            };
            say(&diagnostic::text(found, sources, look));
        }
        self.note(&diagnostic::sum(found));
    }

    /// Says whether JSON is wanted.
    pub fn is_json(&self) -> bool {
        self.is_json
    }

    /// Says whether a person reads along: a terminal, no CI, not quiet, no JSON.
    pub fn is_live(&self) -> bool {
        let in_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false");
        !self.is_quiet && !self.is_json && !in_ci && std::io::stderr().is_terminal()
    }

    /// Says whether standard output gets colours.
    pub fn colors_data(&self) -> bool {
        self.colors(std::io::stdout().is_terminal())
    }

    /// Says whether standard error gets colours.
    pub fn colors_errors(&self) -> bool {
        self.colors(std::io::stderr().is_terminal())
    }

    fn colors(&self, is_terminal: bool) -> bool {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => is_terminal && !is_set("NO_COLOR") && !is_dumb,
        }
    }

    /// Flushes, and returns the exit code: an error where data was lost for another reason than a closed pipe.
    pub fn close(self, exit: Exit) -> Exit {
        match std::io::stdout().flush() {
            Err(error) if error.kind() != ErrorKind::BrokenPipe && exit == Exit::Done => Exit::Error,
            Ok(()) | Err(_) => exit,
        }
    }
}

/// Says a line on standard error; nobody can be told that standard error is closed.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", text.trim_end_matches('\n'));
}
