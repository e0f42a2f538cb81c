//! `muster exec`: a command on many hosts, once.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};

use super::carry;
use super::console::Console;
use super::context::Context;
use super::exit::Exit;
use super::global::Global;
use super::survey::{self, ByHand};
use crate::apply::{self, Errand, HostEnd};
use crate::model::id::HostId;
use crate::model::quantity::parse_duration;
use crate::ports::Output;
use crate::report::escape;
use crate::transport::quote;

/// Run a command on hosts as root, once
///
/// Lines are shown as they come, each behind its host's name. The hosts are reserved and locked as by an apply, so that nothing happens while a run
/// is at work: exit 5 if somebody else has one of them. A single argument is a line of shell; several are a command and its arguments,
/// each passed on as it is. Ctrl-C ends the command on all hosts.
///
/// The text is written into each host's log: secrets do not belong into it. What was changed by hand is drift: the next plan shows it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Take no lock, and run beside whatever else happens there: for commands that change nothing
    #[arg(long)]
    read_only: bool,
    /// The longest that the command may take on a host
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_duration)]
    timeout: u64,
    /// The command
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

impl Args {
    /// Runs the verb.
    pub(super) fn run(self, global: &Global, console: &mut Console) -> Exit {
        super::block_on(self.exec(global, console)).unwrap_or_else(|exit| exit)
    }

    async fn exec(&self, global: &Global, console: &mut Console) -> Result<Exit, Exit> {
        let context = Context::load(global, console)?;
        let hosts = context.limited(global, console)?;
        if hosts.is_empty() {
            console.note("No hosts.");
            return Ok(Exit::Done);
        }
        if !self.read_only {
            let question = match hosts.len() {
                1 => format!(
                    "Run this on {}?",
                    hosts.iter().map(HostId::as_str).collect::<String>()
                ),
                count => format!("Run this on {count} hosts?"),
            };
            super::confirm(&question, global, console)?;
        }
        let ByHand { transport, ports } = survey::by_hand(&context, global, console, &hosts).await?;
        let policy = &context.inventory.policy;
        let now = ports.clock.now().as_second();
        let run = format!("exec-{now}-{}", std::process::id());
        let width = hosts.iter().map(|host| host.as_str().len()).max().unwrap_or(0);
        let errand = Errand {
            run: run.parse().expect("digits and dashes make a name"),
            who: carry::who(),
            fleet: context.inventory.name.clone(),
            hosts,
            command: text(&self.command),
            deadline: Duration::from_secs(self.timeout),
            is_read_only: self.read_only,
            lease_secs: policy.lease_secs,
            parallel: context.parallel(global),
        };
        if console.is_json() {
            console.begin_json("exec");
        }
        let mut interrupts = carry::interrupts();
        let ended = {
            let console = Mutex::new(&mut *console);
            let hear = |host: &HostId, output: Output, line: &str| {
                let console = &mut **console.lock().expect("nothing panics under it");
                say(console, host, width, output, line);
            };
            apply::exec(&errand, &ports, &*transport, &hear, &mut interrupts).await
        };
        let ends = ended.map_err(|taken| carry::taken(console, &taken))?;
        Ok(conclude(console, &ends))
    }
}

/// Returns the text for root's shell.
fn text(command: &[String]) -> String {
    match command {
        [line] => line.clone(),
        words => quote::words(words.iter().map(String::as_str)),
    }
}

fn say(console: &mut Console, host: &HostId, width: usize, output: Output, line: &str) {
    if console.is_json() {
        console.object(&json!({ "type": "line", "host": host, "stream": output.name(), "text": line }));
        return;
    }
    let line = format!("{:width$} | {}", host.as_str(), escape::controls(line));
    match output {
        Output::Stdout => console.data(&format!("{}\n", line.trim_end())),
        Output::Stderr => console.aside(line.trim_end()),
    }
}

/// Says how it ended, and returns the exit code.
fn conclude(console: &mut Console, ends: &BTreeMap<HostId, HostEnd>) -> Exit {
    for (host, end) in ends {
        if console.is_json() {
            console.object(&object(host, end));
        } else if let Some(trouble) = trouble(end) {
            console.error(&format!("{host}: {}", escape::controls(&trouble)));
        }
    }
    let any = |is: fn(&HostEnd) -> bool| ends.values().any(is);
    let rows = [
        (any(|end| matches!(end, HostEnd::Skipped)), Exit::Interrupted),
        (
            any(|end| matches!(end, HostEnd::Ended(ended) if ended.is_stopped)),
            Exit::Interrupted,
        ),
        (any(|end| matches!(end, HostEnd::Taken(_))), Exit::Locked),
        (any(|end| matches!(end, HostEnd::Failed(_))), Exit::Failed),
        (
            any(|end| matches!(end, HostEnd::Ended(ended) if ended.status != 0)),
            Exit::Failed,
        ),
        (
            any(|end| matches!(end, HostEnd::Unreachable(_))),
            Exit::Unreachable,
        ),
    ];
    rows.into_iter()
        .find(|(applies, _)| *applies)
        .map_or(Exit::Done, |(_, exit)| exit)
}

/// Says what is to be told of a host beside its lines.
fn trouble(end: &HostEnd) -> Option<String> {
    match end {
        HostEnd::Ended(ended) if ended.is_stopped => Some("stopped".to_owned()),
        HostEnd::Ended(ended) if ended.status != 0 => {
            Some(format!("exit status {}{}", ended.status, cut(ended.is_cut)))
        }
        HostEnd::Ended(ended) => ended.is_cut.then(|| format!("exit status 0{}", cut(true))),
        HostEnd::Unreachable(why) => Some(format!("unreachable: {why}")),
        HostEnd::Taken(holder) => Some(holder.to_string()),
        HostEnd::Failed(why) => Some(why.clone()),
        HostEnd::Skipped => Some("not begun".to_owned()),
    }
}

fn cut(is_cut: bool) -> &'static str {
    if is_cut {
        "; it said more than is shown"
    } else {
        ""
    }
}

fn object(host: &HostId, end: &HostEnd) -> Value {
    let (word, status, why) = match end {
        HostEnd::Ended(ended) if ended.is_stopped => ("stopped", None, None),
        HostEnd::Ended(ended) => ("ended", Some(ended.status), None),
        HostEnd::Unreachable(why) => ("unreachable", None, Some(why.clone())),
        HostEnd::Taken(holder) => ("taken", None, Some(holder.to_string())),
        HostEnd::Failed(why) => ("failed", None, Some(why.clone())),
        HostEnd::Skipped => ("skipped", None, None),
    };
    let is_cut = matches!(end, HostEnd::Ended(ended) if ended.is_cut);
    json!({ "type": "host", "host": host, "end": word, "status": status, "why": why, "cut": is_cut })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_argument_is_a_line_of_shell_and_several_are_words() {
        let text = |words: &[&str]| text(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(text(&["ls | wc -l"]), "ls | wc -l");
        assert_eq!(text(&["echo", "a b", "$x;"]), "echo 'a b' '$x;'");
    }
}
