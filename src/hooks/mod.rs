//! Calling hooks: a program of the controller, or a POST. What they say is shown and never read.
//!
//! This room knows nothing of plans and runs: it gets a hook and the JSON that it is to have.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::model::hook::{Call, Hook};
use crate::ports::{HookError, HookSaid, Hooks, Secrets};

mod command;
mod webhook;

/// How many of the last lines that a hook said are kept, and how much of each.
const TAIL_LINES: usize = 10;
const LINE_CHARS: usize = 300;
/// How many of the last bytes that a hook said are kept.
const TAIL_BYTES: usize = 8 * 1024;

/// Calls hooks from this machine.
#[derive(Debug, Clone)]
pub struct LocalHooks {
    folder: PathBuf,
    secrets: Secrets,
}

impl LocalHooks {
    /// Makes the caller for an inventory: programs are found from its folder and run there.
    pub fn for_inventory(file: &str, secrets: Secrets) -> Self {
        let folder = Path::new(file).parent().unwrap_or(Path::new("")).to_owned();
        Self { folder, secrets }
    }

    async fn ask(&self, hook: &Hook, input: &serde_json::Value) -> HookSaid {
        let text = input.to_string();
        let timeout = Duration::from_secs(hook.timeout_secs.max(1));
        let mut said = match &hook.call {
            Call::Command(words) => command::run(words, &self.folder, text, timeout).await,
            Call::Webhook { url, headers } => webhook::post(url, headers, text, timeout, &self.secrets).await,
        };
        // A program may find a secret by other ways than ours, and an address may say itself back.
        let redaction = self.secrets.redaction();
        said.tail
            .iter_mut()
            .for_each(|line| *line = redaction.apply(line));
        if let Err(error) = &mut said.result {
            error.why = redaction.apply(&error.why);
        }
        said
    }
}

impl Hooks for LocalHooks {
    fn call<'a>(&'a self, hook: &'a Hook, input: &'a serde_json::Value) -> BoxFuture<'a, HookSaid> {
        Box::pin(self.ask(hook, input))
    }
}

/// Returns the last lines of what was said, each cut to a bearable length.
fn tail(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(TAIL_LINES)..];
    last.iter()
        .map(|line| line.chars().take(LINE_CHARS).collect())
        .collect()
}

fn failed(why: impl Into<String>, is_worth_another_try: bool, tail: Vec<String>) -> HookSaid {
    HookSaid {
        result: Err(HookError {
            why: why.into(),
            is_worth_another_try,
        }),
        tail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_what_was_said_is_kept() {
        let long = "x".repeat(1000);
        let text: String = (0..50).map(|n| format!("{n} {long}\n\n")).collect();
        let tail = tail(text.as_bytes());
        assert_eq!(tail.len(), TAIL_LINES);
        assert!(tail[9].starts_with("49 x") && tail.iter().all(|line| line.chars().count() == LINE_CHARS));
    }
}
