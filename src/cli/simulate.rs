//! `muster simulate PLAN`: a saved plan, rehearsed on a pretend fleet.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Deserialize;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::carry;
use super::console::Console;
use super::exit::Exit;
use super::global::Global;
use crate::apply::{self, DriveError, Log, Run, Start};
use crate::model::code;
use crate::model::diagnostic::{Diagnostic, Place};
use crate::model::event::{Event, Task};
use crate::model::id::{HostId, RunId};
use crate::model::plan::Purpose;
use crate::report::rehearsal::{self, Heard};
use crate::rollout::{Rollout, replay};
use crate::sim::fault::Fault;
use crate::sim::{Deed, Fate, Rehearsal, Session, rehearse};
use crate::store::{self, StoreError};

/// Rehearse a saved plan on a pretend fleet
///
/// The plan is carried out by the same driver that `apply` uses, against hosts that exist in memory only: nothing is connected to,
/// nothing is changed, no secret is asked for. The hosts are as the plan saw them. Times are estimates. Faults show what is at risk when
/// something goes wrong half-way; a controller that is killed goes on as `muster resume` would. Exits as `apply` would.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The plan's file
    plan: PathBuf,
    /// What goes wrong: WHAT[@HOST][:N][+SECONDS], such as `reboot@val-2:3`, `gate-shut@val-1`, `kill:12`
    #[arg(long = "fault", value_name = "FAULT")]
    faults: Vec<Fault>,
    /// A TOML file of `[[fault]]` tables with `what`, `host`, `at` and `secs`
    #[arg(long = "faults", value_name = "FILE")]
    file: Option<PathBuf>,
    /// Who is how fast: another seed, another order in which things end
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

/// A file of faults.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Faults {
    #[serde(default)]
    fault: Vec<Fault>,
}

impl Args {
    /// Runs the verb.
    pub(super) fn run(self, global: &Global, console: &mut Console) -> Exit {
        self.rehearsed(global, console).unwrap_or_else(|exit| exit)
    }

    fn rehearsed(mut self, global: &Global, console: &mut Console) -> Result<Exit, Exit> {
        let saved =
            store::plan::load(&self.plan).map_err(|error| carry::fail(console, error.diagnostic()))?;
        if let Some(file) = &self.file {
            let faults = read(file).map_err(|found| carry::fail(console, *found))?;
            self.faults.extend(faults);
        }
        if saved.plan.changes.is_empty() && saved.plan.takes.is_empty() {
            console.note("Nothing to do.");
            return Ok(Exit::of_look(&saved.plan, false));
        }
        if let Purpose::Rollback(run) = &saved.plan.purpose {
            console.error(&format!(
                "the plan takes run {run} back from what its hosts kept, which a pretend fleet does not have"
            ));
            return Err(Exit::Usage);
        }
        let run: RunId = format!("{}-1", saved.id)
            .parse()
            .expect("a plan's id and a number make a run's");
        let ready = rehearse(&saved.plan, self.seed);
        let hosts: BTreeSet<HostId> = ready.world.hosts().into_keys().collect();
        for fault in &self.faults {
            if let Some(host) = fault.host.as_ref().filter(|host| !hosts.contains(host)) {
                console.error(&format!(
                    "the plan has nothing to do on `{host}`, so `{fault}` cannot strike"
                ));
                return Err(Exit::Usage);
            }
            ready.world.arm(fault.clone());
        }
        let (heard, exit) = walk(&ready, &run);
        if global.json {
            console.data(&rehearsal::json_lines(&saved.plan, &heard));
        } else {
            console.page(&rehearsal::page(&saved.plan, &run, &heard));
        }
        let struck = ready.world.happened();
        for fault in &self.faults {
            let is_struck = |deed: &Deed| matches!(deed, Deed::Struck(struck) if struck == fault);
            if !struck.iter().any(|happened| is_struck(&happened.deed)) {
                console.note(&format!("`{fault}` never struck: the run did not come to it"));
            }
        }
        console.note("A rehearsal: nothing was connected to, and nothing was changed.");
        Ok(exit)
    }
}

/// Reads a file of faults.
fn read(path: &Path) -> Result<Vec<Fault>, Box<Diagnostic>> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        Diagnostic::error(code::UNREADABLE, format!("`{name}` cannot be read"))
            .because(error)
            .hint("check the path and its permissions")
    });
    let text = text.map_err(Box::new)?;
    let place = |span: Option<std::ops::Range<usize>>| {
        let start = span.as_ref().map_or(0, |span| span.start);
        let line = text[..start.min(text.len())].matches('\n').count() + 1;
        Place::in_text(&name, &text, line, span)
    };
    let faults: Result<Faults, Diagnostic> = toml::from_str(&text).map_err(|error| {
        Diagnostic::error(code::BAD_FAULT, error.message().to_owned())
            .at(place(error.span()), "here")
            .hint("each `[[fault]]` has `what`, and perhaps `host`, `at` and `secs`")
    });
    let faults = faults.map_err(Box::new)?;
    for fault in &faults.fault {
        if let Some(why) = fault.check() {
            let found = Diagnostic::error(code::BAD_FAULT, why);
            let found = found
                .because(format!("in {name}"))
                .hint("`muster explain M0901` lists the faults");
            return Err(Box::new(found));
        }
    }
    Ok(faults.fault)
}

/// Carries the plan out on the pretend fleet, and goes on where its controller is killed.
fn walk(ready: &Rehearsal, run: &RunId) -> (Vec<(Timestamp, Heard)>, Exit) {
    let Rehearsal { world, plan, secrets } = ready;
    let mut kept = Vec::new();
    let mut heard = Vec::new();
    let exit = loop {
        let session = world.session();
        let run = Run {
            plan,
            id: run.clone(),
            who: carry::who(),
            secrets: secrets.clone(),
            ports: session.ports(),
        };
        let (ask, mut asked) = unbounded_channel();
        let is_resumed = !kept.is_empty();
        let rollout = match is_resumed {
            true => replay(plan, &kept),
            false => Rollout::new(plan),
        };
        let start = Start {
            is_resumed,
            ..Start::default()
        };
        let mut log = Kept {
            session: &session,
            events: &mut kept,
            ask,
        };
        let mut watch = Watch {
            session: &session,
            heard: &mut heard,
        };
        let driven = apply::drive(&run, rollout, start, &mut log, &mut asked, &mut watch);
        match world.run(session.living(driven)) {
            Ok(Some(Ok(outcome))) => break Exit::of_run(outcome.exit),
            Ok(Some(Err(DriveError::Left { .. }))) => break Exit::Interrupted,
            Ok(Some(Err(DriveError::Journal(_)))) | Err(_) => break Exit::Error,
            // Whoever resumes comes when the leases are over.
            Ok(None) => drop(world.pass(90)),
        }
    };
    (with_strikes(ready, heard), exit)
}

/// Joins what the run said with what happened to it, in order of time.
fn with_strikes(ready: &Rehearsal, heard: Vec<(Timestamp, Heard)>) -> Vec<(Timestamp, Heard)> {
    let struck = ready.world.happened().into_iter().filter_map(|happened| {
        let what = match happened.deed {
            Deed::Struck(fault) => format!("fault: {fault}"),
            Deed::Hand(what) => what,
            Deed::Done { .. } | Deed::Failed { .. } | Deed::Unfenced { .. } => return None,
        };
        Some((
            ready.world.time(happened.at_ms),
            Heard::Struck(happened.host, what),
        ))
    });
    let mut all: Vec<(Timestamp, Heard)> = heard.into_iter().chain(struck).collect();
    all.sort_by_key(|(at, _)| *at);
    all
}

/// The journal of a rehearsal, which is kept nowhere.
struct Kept<'k> {
    session: &'k Session,
    events: &'k mut Vec<Event>,
    ask: UnboundedSender<()>,
}

impl Log for Kept<'_> {
    fn append(&mut self, _: Timestamp, event: &Event) -> Result<(), StoreError> {
        let asked = match self.session.line_begins() {
            Fate::Dead => return Ok(()),
            Fate::GoOn => 0,
            Fate::Asked(times) => times,
        };
        self.events.push(event.clone());
        self.session.line_written();
        for _ in 0..asked {
            // A run that has ended hears nothing any more.
            let _ = self.ask.send(());
        }
        Ok(())
    }
}

/// Hears what a controller says as long as it lives.
struct Watch<'w> {
    session: &'w Session,
    heard: &'w mut Vec<(Timestamp, Heard)>,
}

impl Watch<'_> {
    fn hear(&mut self, at: Timestamp, heard: Heard) {
        if !self.session.is_dead() {
            self.heard.push((at, heard));
        }
    }
}

impl apply::Progress for Watch<'_> {
    fn started(&mut self, at: Timestamp, task: &Task) {
        self.hear(at, Heard::Task(task.clone()));
    }

    fn happened(&mut self, at: Timestamp, event: &Event) {
        self.hear(at, Heard::Event(event.clone()));
    }
}
