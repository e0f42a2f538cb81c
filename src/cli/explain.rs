//! `muster explain CODE`: what a code means.

use serde_json::json;

use super::console::Console;
use super::exit::Exit;
use super::global::Global;
use crate::model::code::{self, Explanation};

/// Print what a code such as M0303 means and how to mend it; without a code, all of them
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The code, with or without the M
    code: Option<String>,
}

impl Args {
    /// Runs the verb.
    pub(super) fn run(self, _global: &Global, console: &mut Console) -> Exit {
        if console.is_json() {
            console.begin_json("explain");
        }
        match &self.code {
            None => code::ALL
                .iter()
                .for_each(|explanation| list(explanation, console)),
            Some(text) => match code::explain(text) {
                Some(explanation) => print(explanation, console),
                None => {
                    console.error(&format!("there is no code `{text}`"));
                    console.note("hint: `muster explain` lists them");
                    return Exit::Error;
                }
            },
        }
        Exit::Done
    }
}

fn list(explanation: &Explanation, console: &mut Console) {
    match console.is_json() {
        true => print(explanation, console),
        false => console.data(&format!("{}  {}\n", explanation.code, explanation.title)),
    }
}

fn print(explanation: &Explanation, console: &mut Console) {
    let Explanation { code, title, text } = explanation;
    match console.is_json() {
        true => console.object(&json!({ "type": "code", "code": code, "title": title, "text": text })),
        false => console.data(&format!("{code}: {title}\n\n{text}\n")),
    }
}
