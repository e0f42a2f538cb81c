//! A run on its way, told to whoever watches: a person at a terminal, a log, or a program.
//!
//! On a terminal there is one live line a host in progress and one for the whole; lines of the story scroll above them.
//! Without a terminal each line is written as it comes. Programs get every event as one JSON object a line.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;
use serde_json::json;

use super::escape;
use super::line::{Line, Tone};
use super::narration::Narration;
use super::pace::Pace;
use super::plan::JSON_FORMAT;
use crate::model::event::{Event, GateId, Task};
use crate::model::id::{HostId, ResourceId, RunId};
use crate::model::plan::Plan;
use crate::model::pulling::Pulling;

/// How a run is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Telling {
    /// With live lines on standard error, for a person at a terminal.
    Live,
    /// One line an event.
    Plain,
    /// Only what needs attention, and the summary.
    Quiet,
    /// One JSON object a line.
    Json,
}

/// A run on its way. Feed it every task and every event in their order.
pub struct Progress<'p> {
    narration: Narration<'p>,
    plan: &'p Plan,
    run: RunId,
    telling: Telling,
    out: Box<dyn Write + Send + 'p>,
    live: Option<Live>,
    pace: Pace,
}

impl<'p> Progress<'p> {
    /// Begins to tell of a run. `out` gets the lines; one that it refuses is lost, since a run does not stop for that.
    pub fn new(plan: &'p Plan, run: &RunId, telling: Telling, out: Box<dyn Write + Send + 'p>) -> Self {
        let total = plan.changes.len();
        let live = (telling == Telling::Live).then(|| Live::new(total, ProgressDrawTarget::stderr()));
        Self {
            narration: Narration::new(plan, run.clone()),
            plan,
            run: run.clone(),
            telling,
            out,
            live,
            pace: Pace::default(),
        }
    }

    /// Tells of a task that is about to be performed.
    pub fn task(&mut self, at: Timestamp, task: &Task) {
        if let Some(live) = &mut self.live {
            live.task(self.plan, task);
        }
        let lines = self.narration.task(at, task);
        match self.telling {
            Telling::Json => {}
            Telling::Quiet => self.say_what_matters(&lines),
            Telling::Live | Telling::Plain => self.say(&lines),
        }
    }

    /// Tells of an event.
    pub fn event(&mut self, at: Timestamp, event: &Event) {
        let lines = self.narration.event(at, event);
        if let Some(live) = &mut self.live {
            live.event(self.plan, event, self.narration.applied());
        }
        let is_end = matches!(event, Event::Ended { .. });
        match self.telling {
            Telling::Json => self.object(at, event),
            Telling::Quiet if !is_end => self.say_what_matters(&lines),
            Telling::Live | Telling::Plain | Telling::Quiet => self.say(&lines),
        }
    }

    /// Tells how far a pull has come: in the host's live line, or in a line of its own now and then.
    pub fn pulling(&mut self, at: Timestamp, pulling: &Pulling) {
        match (&mut self.live, self.telling) {
            (Some(live), _) => live.pulling(pulling),
            (None, Telling::Quiet) => {}
            (None, _) if !self.pace.passes(at, pulling) => {}
            (None, Telling::Json) => {
                let mut object = json!({ "type": "pulling", "at": at });
                if let (Some(object), Ok(serde_json::Value::Object(said))) =
                    (object.as_object_mut(), serde_json::to_value(pulling))
                {
                    object.extend(said);
                }
                self.write(&format!("{}\n", escape::json(&object.to_string())));
            }
            (None, Telling::Live | Telling::Plain) => {
                let lines = self.narration.pulling(at, pulling);
                self.say(&lines);
            }
        }
    }

    /// Does something that writes to the terminal, such as a log line, while the live lines are out of its way.
    pub fn around<R>(&self, f: impl FnOnce() -> R) -> R {
        match &self.live {
            Some(live) => live.lines.suspend(f),
            None => f(),
        }
    }

    fn say_what_matters(&mut self, lines: &[Line]) {
        let lines: Vec<Line> = lines
            .iter()
            .filter(|line| line.needs_attention())
            .cloned()
            .collect();
        self.say(&lines);
    }

    fn say(&mut self, lines: &[Line]) {
        let text: String = lines.iter().map(|line| line.ansi() + "\n").collect();
        let out = &mut self.out;
        // A reader that has gone away must not stop a run half-way.
        let mut write = || drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
        match &self.live {
            Some(live) => live.lines.suspend(write),
            None => write(),
        }
    }

    fn object(&mut self, at: Timestamp, event: &Event) {
        let mut text = String::new();
        if matches!(event, Event::Started { .. }) {
            let first = json!({
                "type": "format", "format": JSON_FORMAT, "report": "run", "version": env!("CARGO_PKG_VERSION"),
                "run": self.run, "fleet": self.plan.fleet,
            });
            text.push_str(&format!("{}\n", escape::json(&first.to_string())));
        }
        text.push_str(&format!(
            "{}\n",
            escape::json(&json!({ "type": "event", "at": at, "event": event }).to_string())
        ));
        self.write(&text);
    }

    fn write(&mut self, text: &str) {
        drop(
            self.out
                .write_all(text.as_bytes())
                .and_then(|()| self.out.flush()),
        );
    }
}

impl Line {
    /// Says whether the line is told even to those who want to hear little.
    fn needs_attention(&self) -> bool {
        matches!(self.tone(), Tone::Remove | Tone::Warn)
    }
}

/// The lines that are drawn again and again.
struct Live {
    lines: MultiProgress,
    total: ProgressBar,
    hosts: BTreeMap<HostId, ProgressBar>,
}

impl Live {
    fn new(total: usize, target: ProgressDrawTarget) -> Self {
        let lines = MultiProgress::with_draw_target(target);
        let style = "{elapsed:>6}  [{bar:30}] {pos} of {len} changes  {msg}";
        let total = lines.add(ProgressBar::new(total as u64).with_style(styled(style)));
        total.enable_steady_tick(Duration::from_millis(200));
        Self {
            lines,
            total,
            hosts: BTreeMap::new(),
        }
    }

    fn task(&mut self, plan: &Plan, task: &Task) {
        match task {
            Task::Check { host, wave } => {
                self.total
                    .set_message(format!("wave {} of {}", wave + 1, plan.waves.len()));
                self.show(host, "looks again".to_owned());
            }
            Task::Apply { host, changes } | Task::Switched { host, changes } => {
                self.show(host, named(plan, changes));
            }
            Task::Arm { host, .. } => self.show(host, "arms its dead-man switch".to_owned()),
            Task::Settle { host } => self.show(host, "asks for its dead-man switch".to_owned()),
            Task::Record { host } => self.show(host, "records what was found".to_owned()),
            Task::Undo { host, changes } => self.show(host, format!("undoes {}", named(plan, changes))),
            Task::Gate { host, ask, .. } => self.show(
                host,
                format!("waits for: {}, at most {} s", ask.name, ask.within_secs),
            ),
            Task::Hook { hook } => {
                let name = plan.hooks.get(hook.index).map_or("", |hook| hook.name.as_str());
                self.total
                    .set_message(super::escape::controls(&format!("hook {name}")));
            }
        }
    }

    fn event(&mut self, plan: &Plan, event: &Event, applied: usize) {
        self.total.set_position(applied as u64);
        match event {
            Event::Began { changes } => {
                if let Some(first) = changes.first() {
                    self.show(&first.host, named(plan, changes));
                }
            }
            Event::Checked { host, .. }
            | Event::Recorded { host, .. }
            | Event::Confirmed { host }
            | Event::Restored { host, .. }
            | Event::Unarmed { host }
            | Event::Unsettled { host, .. } => self.hide(host),
            Event::Armed { host, changes, .. } => self.show(host, named(plan, changes)),
            Event::Applied { change, .. } | Event::Failed { change, .. } | Event::Undone { change, .. } => {
                self.hide(&change.host);
            }
            Event::GateSaid { gate, .. } => {
                if let Some(host) = gate_host(plan, gate) {
                    self.hide(host);
                }
            }
            Event::Ended { .. } => {
                self.hosts.values().for_each(ProgressBar::finish_and_clear);
                self.total.finish_and_clear();
            }
            Event::Started { .. }
            | Event::Locked { .. }
            | Event::Unmade { .. }
            | Event::HookSaid { .. }
            | Event::Interrupted => {}
        }
    }

    /// Only where the host has a line already: word may come when its pull is over.
    fn pulling(&self, pulling: &Pulling) {
        if let Some(bar) = self.hosts.get(&pulling.host) {
            let text = format!("pulls {}: {}", pulling.image, pulling.layers);
            bar.set_message(escape::controls(&text));
        }
    }

    fn show(&mut self, host: &HostId, text: String) {
        let (lines, total) = (&self.lines, &self.total);
        let bar = self.hosts.entry(host.clone()).or_insert_with(|| {
            let bar = lines.insert_before(
                total,
                ProgressBar::new_spinner().with_style(styled("{elapsed:>6}  {prefix}: {msg}")),
            );
            bar.set_prefix(host.to_string());
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        bar.set_message(escape::controls(&text));
    }

    fn hide(&mut self, host: &HostId) {
        if let Some(bar) = self.hosts.remove(host) {
            bar.finish_and_clear();
            self.lines.remove(&bar);
        }
    }
}

fn styled(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the template is well formed")
        .progress_chars("=> ")
}

fn gate_host<'a>(plan: &'a Plan, gate: &'a GateId) -> Option<&'a HostId> {
    match gate {
        GateId::Change(change, _) => Some(&change.host),
        GateId::Wave(wave, index) => plan.waves.get(*wave)?.after.get(*index).map(|gate| &gate.host),
    }
}

fn named(plan: &Plan, changes: &[ResourceId]) -> String {
    let glyph = |id: &ResourceId| plan.changes.get(id).map_or("~", |change| change.action.glyph());
    match changes {
        [] => String::new(),
        [one] => format!("{} {}", glyph(one), one.key),
        [first, rest @ ..] => format!("{} {} and {} more", glyph(first), first.key, rest.len()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::super::sample;
    use super::*;
    use crate::model::digest::Digest;
    use crate::model::event::{CheckOutcome, RunOutcome};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + secs).unwrap()
    }

    fn story(telling: Telling) -> String {
        let plan = sample::full();
        let sink = Sink::default();
        let run = "0123456789ab-1".parse().unwrap();
        let mut progress = Progress::new(&plan, &run, telling, Box::new(sink.clone()));
        let (file, unit) = (
            sample::id("file", "/etc/app.toml", "ml-1"),
            sample::id("unit", "app.service", "ml-1"),
        );
        let (other, host) = (sample::id("file", "/etc/app.toml", "ml-2"), sample::host("ml-1"));
        let gate = GateId::Wave(0, 0);
        progress.event(
            at(0),
            &Event::Started {
                who: "a@b".to_owned(),
                resumed: false,
                left_out: BTreeMap::new(),
            },
        );
        progress.task(
            at(0),
            &Task::Check {
                host: host.clone(),
                wave: 0,
            },
        );
        progress.event(
            at(1),
            &Event::Checked {
                host: host.clone(),
                wave: 0,
                outcome: CheckOutcome::Fresh,
            },
        );
        progress.event(
            at(1),
            &Event::Began {
                changes: vec![file.clone()],
            },
        );
        let done = |change| Event::Applied {
            change,
            after: Digest::of("x"),
            outputs: BTreeMap::new(),
        };
        progress.event(at(1), &done(file));
        progress.event(
            at(2),
            &Event::Began {
                changes: vec![unit.clone()],
            },
        );
        progress.event(at(7), &done(unit.clone()));
        progress.task(
            at(7),
            &Task::Gate {
                gate: gate.clone(),
                host,
                ask: sample::gate(),
            },
        );
        progress.event(
            at(75),
            &Event::GateSaid {
                gate,
                open: false,
                why: "refused".to_owned(),
            },
        );
        let tail = vec!["line 1: bad \u{1b}[31m".to_owned()];
        let why = "app --check ended with status 1".to_owned();
        progress.event(
            at(76),
            &Event::Failed {
                change: other.clone(),
                why,
                tail,
                unknown: false,
            },
        );
        let outcome = RunOutcome {
            exit: 3,
            applied: 2,
            failed: [other].into(),
            undone: 0,
            not_done: [(
                sample::id("unit", "app.service", "ml-2"),
                "needs file[/etc/app.toml]@ml-2".to_owned(),
            )]
            .into(),
            unreachable: [sample::host("ml-7")].into(),
        };
        progress.event(at(80), &Event::Ended { outcome });
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        if telling == Telling::Json {
            text
        } else {
            anstream::adapter::strip_str(&text).to_string()
        }
    }

    #[test]
    fn a_run_is_told_as_a_story_that_ends_in_its_sum() {
        insta::assert_snapshot!(story(Telling::Plain));
    }

    #[test]
    fn the_terminal_gets_the_same_lines_above_its_live_ones() {
        assert_eq!(story(Telling::Live), story(Telling::Plain));
    }

    #[test]
    fn quiet_tells_what_needs_attention() {
        let text = story(Telling::Quiet);
        assert!(text.contains("failed") && !text.contains("wave 1"), "{text}");
        assert!(
            text.ends_with("Applied 2 changes on 1 host in 1:20 min: 1 failed, 1 not done.\n"),
            "{text}"
        );
    }

    #[test]
    fn programs_get_the_format_first_and_then_every_event() {
        let text = story(Telling::Json);
        let objects: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(
            (&objects[0]["type"], &objects[0]["format"]),
            (&json!("format"), &json!(JSON_FORMAT))
        );
        assert_eq!(objects.len(), 10);
        assert!(
            objects[1..]
                .iter()
                .all(|object| object["type"] == "event" && object["at"].is_string())
        );
    }
}
