//! What a run says while it goes: events as lines, and the summary at its end. Reads no clock; times come with events.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::block;
use super::line::{Line, Tone};
use super::names::{self, count};
use crate::model::change::{Action, Change, Disruption};
use crate::model::event::{CheckOutcome, Event, GateId, RunOutcome, Task};
use crate::model::gate::Gate;
use crate::model::hook::HookId;
use crate::model::id::{HostId, ResourceId, RunId};
use crate::model::plan::Plan;
use crate::model::pulling::Pulling;
use crate::model::wave::WaveKind;

/// A run as it is told.
pub struct Narration<'p> {
    plan: &'p Plan,
    run: RunId,
    started: Option<Timestamp>,
    is_resumed: bool,
    began: BTreeMap<ResourceId, Timestamp>,
    waves_said: BTreeSet<usize>,
    gates_said: BTreeSet<GateId>,
    applied: BTreeSet<ResourceId>,
    failed: BTreeMap<ResourceId, String>,
    /// What the last call that failed said, and on which host: one call to apt may be the end of many changes.
    last_said: Option<(HostId, String, Vec<String>)>,
}

impl<'p> Narration<'p> {
    /// Makes the narration of a run, before its first event.
    pub fn new(plan: &'p Plan, run: RunId) -> Self {
        Self {
            plan,
            run,
            started: None,
            is_resumed: false,
            began: BTreeMap::new(),
            waves_said: BTreeSet::new(),
            gates_said: BTreeSet::new(),
            applied: BTreeSet::new(),
            failed: BTreeMap::new(),
            last_said: None,
        }
    }

    /// Returns how many changes were applied since this narration began.
    pub fn applied(&self) -> usize {
        self.applied.len()
    }

    /// Tells what is about to be done: the first task of a wave announces it, the first of a gate what is asked.
    pub fn task(&mut self, at: Timestamp, task: &Task) -> Vec<Line> {
        match task {
            Task::Check { wave, .. } => self.wave(at, *wave),
            Task::Gate { gate, host, ask } => self.gate_asked(at, gate, host, ask),
            Task::Undo { host, changes } => {
                vec![self.line(
                    at,
                    Tone::Warn,
                    Some(host),
                    &format!("undoes {}", count(changes.len(), "change")),
                )]
            }
            Task::Apply { .. }
            | Task::Arm { .. }
            | Task::Switched { .. }
            | Task::Settle { .. }
            | Task::Record { .. }
            | Task::Hook { .. } => Vec::new(),
        }
    }

    /// Tells what happened.
    pub fn event(&mut self, at: Timestamp, event: &Event) -> Vec<Line> {
        match event {
            Event::Started {
                who,
                resumed,
                left_out,
            } => self.begin(at, who, *resumed, left_out),
            Event::Locked { .. } => Vec::new(),
            Event::Checked { host, wave, outcome } => {
                let mut lines = self.wave(at, *wave);
                lines.extend(self.checked(at, host, outcome));
                lines
            }
            Event::Began { changes } => changes.iter().filter_map(|id| self.began(at, id)).collect(),
            Event::Armed {
                host,
                changes,
                within_secs,
            } => {
                let what = count(changes.len(), "change");
                let text = format!(
                    "{what} under the dead-man switch: a new login within {within_secs} s keeps them"
                );
                vec![self.line(at, Tone::Warn, Some(host), &text)]
            }
            Event::Confirmed { host } => {
                vec![self.line(
                    at,
                    Tone::Plain,
                    Some(host),
                    "a new login confirmed what was changed",
                )]
            }
            Event::Restored { host, why, trouble } => self.restored(at, host, why, trouble),
            Event::Unarmed { host } => {
                vec![self.line(at, Tone::Muted, Some(host), "its dead-man switch was not armed")]
            }
            Event::Unsettled { host, why } => {
                let text = format!("nobody knows what became of its dead-man switch: {why}");
                vec![self.line(at, Tone::Warn, Some(host), &text)]
            }
            Event::Applied { change, .. } => self.seen_applied(at, change),
            Event::Failed {
                change,
                why,
                tail,
                unknown,
            } => self.seen_failed(at, change, why, tail, *unknown),
            // What failed before them says it all; the summary names each.
            Event::Unmade { .. } => Vec::new(),
            Event::Recorded { host, error } => self.recorded(at, host, error.as_deref()),
            Event::Undone { change, error, held } => {
                vec![self.undone(at, change, error.as_deref(), *held)]
            }
            Event::GateSaid { gate, open, why } => vec![self.gate_said(at, gate, *open, why)],
            Event::HookSaid {
                hook,
                name,
                error,
                tail,
            } => self.hook_said(at, hook, name, error.as_deref(), tail),
            Event::Interrupted => {
                let text =
                    "interrupted: what is in flight ends, nothing new begins; once more leaves at once";
                vec![self.line(at, Tone::Warn, None, text)]
            }
            Event::Ended { outcome } => self.summary(at, outcome),
        }
    }

    /// Tells how far a pull has come.
    pub fn pulling(&self, at: Timestamp, pulling: &Pulling) -> Vec<Line> {
        let text = format!("pulls {}: {}", pulling.image, pulling.layers);
        vec![self.line(at, Tone::Muted, Some(&pulling.host), &text)]
    }

    fn hook_said(
        &mut self,
        at: Timestamp,
        id: &HookId,
        name: &str,
        error: Option<&str>,
        tail: &[String],
    ) -> Vec<Line> {
        let mut lines = id.wave.map_or_else(Vec::new, |wave| self.wave(at, wave));
        let on = self
            .plan
            .hooks
            .get(id.index)
            .map_or(String::new(), |hook| format!(" {}", hook.on));
        lines.push(match error {
            None => self.line(at, Tone::Muted, None, &format!("hook{on} {name}: done")),
            Some(why) => self.line(at, Tone::Warn, None, &format!("hook{on} {name} failed: {why}")),
        });
        let tail = tail
            .iter()
            .map(|line| Line::new(Tone::Muted, 12, format!("| {line}")));
        lines.extend(tail);
        lines
    }

    /// Tells of something that came from outside.
    pub fn aside(&mut self, at: Timestamp, host: Option<&HostId>, what: &str) -> Vec<Line> {
        vec![self.line(at, Tone::Warn, host, what)]
    }

    fn begin(
        &mut self,
        at: Timestamp,
        who: &str,
        resumed: bool,
        left_out: &BTreeMap<HostId, Vec<String>>,
    ) -> Vec<Line> {
        self.started = Some(at);
        self.is_resumed = resumed;
        let verb = if resumed { "goes on" } else { "begins" };
        let text = format!("run {} of fleet {} {verb}, by {who}", self.run, self.plan.fleet);
        let left_out = left_out.iter().map(|(host, what)| {
            self.line(
                at,
                Tone::Warn,
                Some(host),
                &format!("left out, since it is stale: {}", what.join("; ")),
            )
        });
        std::iter::once(self.line(at, Tone::Head, None, &text))
            .chain(left_out)
            .collect()
    }

    fn wave(&mut self, at: Timestamp, index: usize) -> Vec<Line> {
        let Some(wave) = self
            .plan
            .waves
            .get(index)
            .filter(|_| self.waves_said.insert(index))
        else {
            return Vec::new();
        };
        let kind = match wave.kind {
            WaveKind::Ahead => "ahead",
            WaveKind::Canary => "canary",
            WaveKind::Batch => "batch",
            WaveKind::Finish => "finish",
        };
        let hosts = names::hosts(&wave.hosts);
        let text = format!(
            "wave {} of {} ({kind}): {hosts}",
            index + 1,
            self.plan.waves.len()
        );
        vec![self.line(at, Tone::Head, None, &text)]
    }

    fn checked(&self, at: Timestamp, host: &HostId, outcome: &CheckOutcome) -> Option<Line> {
        let text = match outcome {
            CheckOutcome::Fresh => return None,
            CheckOutcome::Stale(what) => format!("stale, so it is left as it is: {}", what.join("; ")),
            CheckOutcome::Unreachable(why) => format!("unreachable: {why}"),
            CheckOutcome::Locked(who) => format!("left as it is: {who}"),
            CheckOutcome::Unfit(why) => format!("cannot be worked on: {why}"),
        };
        Some(self.line(at, Tone::Warn, Some(host), &text))
    }

    /// What interrupts a service or a host is told before it happens, with its reason; everything else when it is done.
    fn began(&mut self, at: Timestamp, id: &ResourceId) -> Option<Line> {
        self.began.insert(id.clone(), at);
        let change = self.plan.changes.get(id)?;
        let what = match &change.disruption {
            Disruption::None => return None,
            Disruption::Service(name) => name.clone(),
            Disruption::Host => "the whole host".to_owned(),
        };
        let reasons: Vec<String> = change.reasons.iter().map(ToString::to_string).collect();
        let text = format!(
            "{} interrupts {what}, because {}",
            named(change),
            reasons.join("; ")
        );
        Some(self.line(at, Tone::Warn, Some(&id.host), &text))
    }

    fn seen_applied(&mut self, at: Timestamp, id: &ResourceId) -> Vec<Line> {
        self.applied.insert(id.clone());
        let Some(change) = self.plan.changes.get(id) else {
            return Vec::new();
        };
        let took = self
            .took(at, id)
            .map_or(String::new(), |took| format!(" ({took})"));
        let tone = match change.action {
            Action::Create => Tone::Add,
            Action::Update | Action::Replace => Tone::Change,
            Action::Delete => Tone::Remove,
            Action::Forget => Tone::Muted,
        };
        vec![self.line(at, tone, Some(&id.host), &format!("{}{took}", named(change)))]
    }

    /// Returns how long a change took, where that is worth a word.
    fn took(&self, at: Timestamp, id: &ResourceId) -> Option<String> {
        let secs = elapsed_secs(*self.began.get(id)?, at);
        (secs >= 2).then(|| format!("{secs} s"))
    }

    fn seen_failed(
        &mut self,
        at: Timestamp,
        id: &ResourceId,
        why: &str,
        tail: &[String],
        unknown: bool,
    ) -> Vec<Line> {
        let name = self
            .plan
            .changes
            .get(id)
            .map_or_else(|| id.key.to_string(), named);
        let verb = if unknown { "has no known end" } else { "failed" };
        self.failed.insert(id.clone(), why.to_owned());
        let said = Some((id.host.clone(), why.to_owned(), tail.to_vec()));
        if !tail.is_empty() && self.last_said == said {
            let text = format!("{name} {verb} in the same call");
            return vec![self.line(at, Tone::Remove, Some(&id.host), &text)];
        }
        self.last_said = said;
        let head = self.line(at, Tone::Remove, Some(&id.host), &format!("{name} {verb}: {why}"));
        let tail = tail
            .iter()
            .map(|line| Line::new(Tone::Muted, 12, format!("| {line}")));
        std::iter::once(head).chain(tail).collect()
    }

    fn restored(&self, at: Timestamp, host: &HostId, why: &str, trouble: &[String]) -> Vec<Line> {
        let what = match trouble {
            [] => "put everything back",
            _ => "put back what it could",
        };
        let head = self.line(at, Tone::Remove, Some(host), &format!("{what}: {why}"));
        let trouble = trouble
            .iter()
            .map(|line| Line::new(Tone::Remove, 12, format!("| not {line}")));
        std::iter::once(head).chain(trouble).collect()
    }

    fn recorded(&self, at: Timestamp, host: &HostId, error: Option<&str>) -> Vec<Line> {
        let number = self.plan.takes.get(host).map_or(0, Vec::len);
        let what = format!("{} found as declared", count(number, "resource"));
        match error {
            None => vec![self.line(at, Tone::Muted, Some(host), &format!("recorded {what}"))],
            Some(why) => vec![self.line(
                at,
                Tone::Remove,
                Some(host),
                &format!("could not record {what}: {why}"),
            )],
        }
    }

    fn undone(&self, at: Timestamp, id: &ResourceId, error: Option<&str>, held: bool) -> Line {
        match error {
            Some(why) if held => self.line(
                at,
                Tone::Warn,
                Some(&id.host),
                &format!("not undone: {}: {why}", id.key),
            ),
            None => self.line(at, Tone::Warn, Some(&id.host), &format!("undone: {}", id.key)),
            Some(why) => self.line(
                at,
                Tone::Remove,
                Some(&id.host),
                &format!("cannot undo {}: {why}", id.key),
            ),
        }
    }

    fn gate_asked(&mut self, at: Timestamp, id: &GateId, host: &HostId, gate: &Gate) -> Vec<Line> {
        if !self.gates_said.insert(id.clone()) {
            return Vec::new();
        }
        vec![self.line(
            at,
            Tone::Muted,
            Some(host),
            &format!("gate: {}", block::gate(gate)),
        )]
    }

    fn gate_said(&self, at: Timestamp, id: &GateId, open: bool, why: &str) -> Line {
        let (name, host) = match id {
            GateId::Change(change, index) => {
                let gate = self
                    .plan
                    .changes
                    .get(change)
                    .and_then(|change| change.gates.get(*index));
                (gate.map(|gate| &gate.name), Some(&change.host))
            }
            GateId::Wave(wave, index) => {
                let gate = self.plan.waves.get(*wave).and_then(|wave| wave.after.get(*index));
                (gate.map(|gate| &gate.gate.name), gate.map(|gate| &gate.host))
            }
        };
        let name = name.map_or("gate", String::as_str);
        match open {
            true => self.line(at, Tone::Muted, host, &format!("{name}: yes")),
            false => self.line(at, Tone::Remove, host, &format!("{name}: no, {why}")),
        }
    }

    /// The end: what failed, what was not done and why, how to go on; the sum is the last line.
    fn summary(&self, at: Timestamp, outcome: &RunOutcome) -> Vec<Line> {
        let mut lines = vec![Line::blank()];
        let failed = outcome.failed.iter().map(|id| match self.failed.get(id) {
            Some(why) => format!("{} on {}: {why}", id.key, id.host),
            None => format!("{} on {}", id.key, id.host),
        });
        lines.extend(list("Failed", failed));
        lines.extend(list("Not done", not_done(&outcome.not_done)));
        lines.extend(list(
            "Unreachable",
            outcome.unreachable.iter().map(ToString::to_string),
        ));
        let is_whole =
            outcome.failed.is_empty() && outcome.not_done.is_empty() && outcome.unreachable.is_empty();
        if !is_whole || outcome.exit == 130 {
            let text = format!(
                "`muster resume {}` goes on; `muster plan` looks again first.",
                self.run
            );
            lines.push(Line::new(Tone::Plain, 0, text));
        }
        lines.push(Line::new(Tone::Head, 0, self.sum(at, outcome)));
        lines
    }

    fn sum(&self, at: Timestamp, outcome: &RunOutcome) -> String {
        let hosts: BTreeSet<&HostId> = self.applied.iter().map(|id| &id.host).collect();
        let took = seconds_said(self.started.map_or(0, |started| elapsed_secs(started, at)));
        let mut text = match (self.applied.len(), self.is_resumed) {
            (0, _) => format!("Applied no changes in {took}"),
            (number, false) => format!(
                "Applied {} on {} in {took}",
                count(number, "change"),
                count(hosts.len(), "host")
            ),
            (number, true) => format!(
                "Applied {number} more, {} in all, on {} in {took}",
                count(outcome.applied, "change"),
                count(hosts.len(), "host")
            ),
        };
        let rest = [
            (outcome.failed.len(), "failed"),
            (outcome.undone, "undone"),
            (outcome.not_done.len(), "not done"),
        ];
        let rest: Vec<String> = rest
            .iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, what)| format!("{number} {what}"))
            .collect();
        if !rest.is_empty() {
            text.push_str(&format!(": {}", rest.join(", ")));
        }
        text + "."
    }

    fn line(&self, at: Timestamp, tone: Tone, host: Option<&HostId>, text: &str) -> Line {
        let elapsed = self.started.map_or(0, |started| elapsed_secs(started, at));
        let subject = host.map_or(String::new(), |host| format!("{host}: "));
        Line::new(tone, 0, format!("{:>8}  {subject}{text}", seconds_said(elapsed)))
    }
}

fn named(change: &Change) -> String {
    format!("{} {}", change.action.glyph(), change.target.key)
}

/// The same reason for the same resource on several hosts is one line.
fn not_done(not_done: &BTreeMap<ResourceId, String>) -> impl Iterator<Item = String> {
    let mut folded: BTreeMap<(String, &str), Vec<&HostId>> = BTreeMap::new();
    for (id, why) in not_done {
        folded
            .entry((id.key.to_string(), why))
            .or_default()
            .push(&id.host);
    }
    folded
        .into_iter()
        .map(|((key, why), hosts)| format!("{key} on {}: {why}", names::hosts(hosts)))
}

fn list(title: &str, items: impl Iterator<Item = String>) -> Vec<Line> {
    let items: Vec<Line> = items.map(|item| Line::new(Tone::Warn, 2, item)).collect();
    if items.is_empty() {
        return Vec::new();
    }
    std::iter::once(Line::new(Tone::Head, 0, title))
        .chain(items)
        .collect()
}

fn elapsed_secs(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.as_second() - from.as_second()).unwrap_or(0)
}

fn seconds_said(secs: u64) -> String {
    match secs {
        secs if secs < 60 => format!("{secs} s"),
        secs if secs < 3600 => format!("{}:{:02} min", secs / 60, secs % 60),
        secs => format!("{}:{:02} h", secs / 3600, secs % 3600 / 60),
    }
}
