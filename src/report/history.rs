//! Runs as their journals tell them: a list of all, or one at length.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::block::seconds;
use super::line::{Line, Page, Tone};
use super::names::count;
use super::plan::{JSON_FORMAT, lines, tagged};
use crate::model::event::{Event, RunOutcome};
use crate::model::id::{HostId, PlanId, ResourceId, RunId};
use crate::model::plan::Purpose;

/// One run.
#[derive(Debug, Clone, PartialEq)]
pub struct Story {
    /// The run.
    pub run: RunId,
    /// The plan that it carried out.
    pub plan: PlanId,
    /// What that plan was for; `None` where the plan cannot be read any more.
    pub purpose: Option<Purpose>,
    /// When it began.
    pub began: Timestamp,
    /// Whether `muster resume` would go on with it.
    pub is_resumable: bool,
    /// Whether a process carries it out at this moment.
    pub is_in_progress: bool,
    /// What happened, and when.
    pub events: Vec<(Timestamp, Event)>,
}

/// A run, or a journal that tells nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// A run.
    Story(Box<Story>),
    /// A journal that cannot be read.
    Unreadable {
        /// Its file.
        file: String,
        /// Why not.
        why: String,
    },
}

/// How far one change of a run came.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    Began,
    Applied,
    Failed(String),
    Undone,
    Kept(String),
}

impl Fate {
    fn word(&self) -> &'static str {
        match self {
            Self::Began => "began",
            Self::Applied => "applied",
            Self::Failed(_) => "failed",
            Self::Undone => "undone",
            Self::Kept(_) => "not_undone",
        }
    }

    fn why(&self) -> Option<&str> {
        match self {
            Self::Began | Self::Applied | Self::Undone => None,
            Self::Failed(why) | Self::Kept(why) => Some(why),
        }
    }
}

impl Story {
    fn who(&self) -> Vec<&str> {
        let who = |(_, event): &'_ &(Timestamp, Event)| matches!(event, Event::Started { .. });
        let started = self.events.iter().filter(who);
        let mut names: Vec<&str> = started
            .filter_map(|(_, event)| match event {
                Event::Started { who, .. } => Some(who.as_str()),
                _ => None,
            })
            .collect();
        names.dedup();
        names
    }

    fn outcome(&self) -> Option<&RunOutcome> {
        let last = self.events.iter().rev().map(|(_, event)| event);
        let mut marks = last.filter(|event| matches!(event, Event::Ended { .. } | Event::Started { .. }));
        match marks.next() {
            Some(Event::Ended { outcome }) => Some(outcome),
            _ => None,
        }
    }

    fn took_secs(&self) -> u64 {
        let last = self.events.last().map_or(self.began, |(at, _)| *at);
        last.duration_since(self.began).as_secs().max(0).unsigned_abs()
    }

    fn fates(&self) -> BTreeMap<&ResourceId, Fate> {
        let mut fates = BTreeMap::new();
        let mut switched: BTreeMap<&HostId, &[ResourceId]> = BTreeMap::new();
        let mut restored: BTreeMap<&ResourceId, Fate> = BTreeMap::new();
        for (_, event) in &self.events {
            match event {
                Event::Armed { host, changes, .. } => {
                    switched.insert(host, changes);
                    changes.iter().for_each(|id| drop(restored.remove(id)));
                }
                Event::Restored { host, trouble, .. } => {
                    let fate = match trouble.as_slice() {
                        [] => Fate::Undone,
                        some => Fate::Kept(some.join("; ")),
                    };
                    let under = switched.get(host).copied().unwrap_or_default();
                    restored.extend(under.iter().map(|id| (id, fate.clone())));
                }
                Event::Began { changes } => changes.iter().for_each(|id| drop(fates.insert(id, Fate::Began))),
                Event::Applied { change, .. } => drop(fates.insert(change, Fate::Applied)),
                Event::Failed { change, why, .. } => drop(fates.insert(change, Fate::Failed(why.clone()))),
                Event::Unmade { changes } => changes.iter().for_each(|id| drop(fates.remove(id))),
                Event::Undone { change, error, .. } => {
                    let fate = error.clone().map_or(Fate::Undone, Fate::Kept);
                    fates.insert(change, fate);
                }
                Event::Started { .. }
                | Event::Locked { .. }
                | Event::Checked { .. }
                | Event::Confirmed { .. }
                | Event::Unarmed { .. }
                | Event::Unsettled { .. }
                | Event::Recorded { .. }
                | Event::GateSaid { .. }
                | Event::HookSaid { .. }
                | Event::Interrupted
                | Event::Ended { .. } => {}
            }
        }
        // Only what was begun has a fate; the host's own word on it is the last.
        let restored = restored.into_iter().filter(|(id, _)| fates.contains_key(id));
        let restored: Vec<_> = restored.collect();
        fates.extend(restored);
        fates
    }

    fn tally(&self) -> [(usize, &'static str); 4] {
        let fates = self.fates();
        let number = |word: &str| fates.values().filter(|fate| fate.word() == word).count();
        [
            (number("applied") + number("not_undone"), "applied"),
            (number("failed"), "failed"),
            (number("undone"), "undone"),
            (number("began"), "unknown"),
        ]
    }

    fn tallied(&self) -> String {
        let tally = self.tally();
        let some = tally.iter().filter(|(number, _)| *number > 0);
        let words: Vec<String> = some.map(|(number, word)| format!("{number} {word}")).collect();
        match words.as_slice() {
            [] => "nothing changed".to_owned(),
            words => words.join(", "),
        }
    }

    /// Says how the run ended, in a word or two, and how that looks.
    fn ending(&self) -> (String, Tone) {
        let Some(outcome) = self.outcome() else {
            return match self.is_in_progress {
                true => ("in progress".to_owned(), Tone::Change),
                false => ("broke off".to_owned(), Tone::Remove),
            };
        };
        let (word, tone) = match outcome.exit {
            0 => ("done", Tone::Add),
            3 => ("some hosts failed", Tone::Remove),
            4 => ("hosts unreachable", Tone::Warn),
            5 => ("locked", Tone::Warn),
            6 => ("stale", Tone::Warn),
            7 => ("refused", Tone::Warn),
            8 => ("halted", Tone::Remove),
            9 => ("undone", Tone::Warn),
            130 => ("interrupted", Tone::Warn),
            _ => ("failed", Tone::Remove),
        };
        (format!("{word} ({})", outcome.exit), tone)
    }

    fn purpose(&self) -> String {
        match &self.purpose {
            Some(Purpose::Declared) | None => String::new(),
            Some(Purpose::Rollback(run)) => format!(", rollback of {run}"),
            Some(Purpose::Destroy) => ", destroy".to_owned(),
        }
    }

    fn line(&self) -> Line {
        let (ending, tone) = self.ending();
        let resumable = if self.is_resumable { "; resumable" } else { "" };
        let text = format!(
            "{}  {}  {:>5}  {}  {ending}: {}{}{resumable}",
            self.run,
            self.began.strftime("%Y-%m-%d %H:%M:%SZ"),
            seconds(self.took_secs()),
            self.who().join(", "),
            self.tallied(),
            self.purpose(),
        );
        Line::new(tone, 0, text)
    }

    fn json(&self) -> Value {
        let outcome = self.outcome();
        let tally: BTreeMap<&str, usize> = self
            .tally()
            .into_iter()
            .map(|(number, word)| (word, number))
            .collect();
        json!({
            "type": "run", "run": self.run, "plan": self.plan, "purpose": self.purpose, "began": self.began,
            "took_secs": self.took_secs(), "who": self.who(), "exit": outcome.map(|outcome| outcome.exit),
            "changes": tally, "is_resumable": self.is_resumable, "is_in_progress": self.is_in_progress,
        })
    }
}

/// Returns the list of runs, the latest last.
pub fn list(told: &[Told]) -> Page {
    let line = |told: &Told| match told {
        Told::Story(story) => story.line(),
        Told::Unreadable { file, why } => Line::new(Tone::Warn, 0, format!("? {file}: {why}")),
    };
    let unreadable = told
        .iter()
        .filter(|told| matches!(told, Told::Unreadable { .. }))
        .count();
    let mut sum = format!("{}.", count(told.len() - unreadable, "run"));
    if unreadable > 0 {
        sum.push_str(&format!(" {} cannot be read.", count(unreadable, "journal")));
    }
    Page {
        title: Line::new(Tone::Head, 0, "Runs"),
        lines: told.iter().map(line).collect(),
        sum: Line::new(Tone::Head, 0, sum),
    }
}

/// Returns the list as JSON, one object a line.
pub fn list_json(told: &[Told]) -> String {
    let object = |told: &Told| match told {
        Told::Story(story) => story.json(),
        Told::Unreadable { file, why } => json!({ "type": "unreadable", "file": file, "why": why }),
    };
    let objects: Vec<Value> = std::iter::once(format()).chain(told.iter().map(object)).collect();
    lines(&objects)
}

/// Tells one run: what came of each change, what gates said, what was not done.
pub fn told(story: &Story) -> Page {
    let head = |text: String| Line::new(Tone::Head, 0, text);
    let mut page = vec![
        head(format!(
            "Run {} of plan {}{}",
            story.run,
            story.plan,
            story.purpose()
        )),
        Line::new(
            Tone::Plain,
            2,
            format!("began {} by {}", story.began, story.who().join(", then ")),
        ),
    ];
    page.extend(story.fates().into_iter().map(|(id, fate)| {
        let tone = match fate {
            Fate::Applied => Tone::Add,
            Fate::Undone | Fate::Began => Tone::Warn,
            Fate::Failed(_) | Fate::Kept(_) => Tone::Remove,
        };
        let why = fate.why().map(|why| format!(": {why}")).unwrap_or_default();
        Line::new(tone, 2, format!("{} {id}{why}", fate.word().replace('_', " ")))
    }));
    for (_, event) in &story.events {
        if let Event::GateSaid { open, why, .. } = event {
            let word = if *open { "opened" } else { "stayed shut" };
            page.push(Line::new(Tone::Muted, 2, format!("a gate {word}: {why}")));
        }
    }
    if let Some(outcome) = story.outcome() {
        let not_done = outcome.not_done.iter();
        page.extend(not_done.map(|(id, why)| Line::new(Tone::Warn, 2, format!("not done {id}: {why}"))));
    }
    page.push(Line::blank());
    let (ending, _) = story.ending();
    let mut sum = format!(
        "{ending} after {}: {}.",
        seconds(story.took_secs()),
        story.tallied()
    );
    if story.is_resumable {
        sum.push_str(&format!(" `muster resume {}` goes on.", story.run));
    }
    Page {
        title: head(format!("Run {}", story.run)),
        lines: page,
        sum: head(sum),
    }
}

/// Returns one run as JSON, one object a line: the run, its changes, and the events of its journal.
pub fn told_json(story: &Story) -> String {
    let change = |(id, fate): (&ResourceId, Fate)| json!({ "type": "change", "target": id, "state": fate.word(), "why": fate.why() });
    let event = |(at, event): &(Timestamp, Event)| {
        let mut object = tagged("event", event);
        object["at"] = json!(at);
        object
    };
    let mut objects = vec![format(), story.json()];
    objects.extend(story.fates().into_iter().map(change));
    objects.extend(story.events.iter().map(event));
    lines(&objects)
}

fn format() -> Value {
    json!({ "type": "format", "format": JSON_FORMAT, "report": "history", "version": env!("CARGO_PKG_VERSION") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::digest::Digest;

    fn id(name: &str) -> ResourceId {
        format!("file[/{name}]@h1").parse().unwrap()
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(1_795_248_000 + secs).unwrap()
    }

    fn story(events: Vec<Event>) -> Story {
        let start = Event::Started {
            who: "alice@laptop".to_owned(),
            resumed: false,
            left_out: BTreeMap::new(),
        };
        let events = std::iter::once(start).chain(events);
        Story {
            run: "56db791bf424-1".parse().unwrap(),
            plan: "56db791bf424".parse().unwrap(),
            purpose: Some(Purpose::Declared),
            began: at(0),
            is_resumable: false,
            is_in_progress: false,
            events: events.zip(0..).map(|(event, n)| (at(n * 30), event)).collect(),
        }
    }

    fn ended(exit: u8) -> Event {
        Event::Ended {
            outcome: RunOutcome {
                exit,
                applied: 1,
                failed: Default::default(),
                undone: 0,
                not_done: BTreeMap::from([(id("z"), "h1: it failed".to_owned())]),
                unreachable: Default::default(),
            },
        }
    }

    fn sample() -> Story {
        story(vec![
            Event::Began {
                changes: vec![id("a"), id("b")],
            },
            Event::Applied {
                change: id("a"),
                after: Digest::of("a"),
                outputs: BTreeMap::new(),
            },
            Event::Failed {
                change: id("b"),
                why: "write \u{1b}[2J ended with status 1".to_owned(),
                tail: Vec::new(),
                unknown: false,
            },
            ended(3),
        ])
    }

    #[test]
    fn every_journal_is_told_also_one_that_cannot_be_read_and_one_without_an_end() {
        let cut = Story {
            is_resumable: true,
            purpose: Some(Purpose::Rollback("56db791bf424-1".parse().unwrap())),
            run: "0123456789ab-2".parse().unwrap(),
            ..story(vec![Event::Began {
                changes: vec![id("a")],
            }])
        };
        let unreadable = Told::Unreadable {
            file: "plans/demo/x.journal.jsonl".to_owned(),
            why: "it is damaged".to_owned(),
        };
        let told = [
            unreadable,
            Told::Story(Box::new(sample())),
            Told::Story(Box::new(cut)),
        ];
        insta::assert_snapshot!(list(&told).plain(), @r"
        ? plans/demo/x.journal.jsonl: it is damaged
        56db791bf424-1  2026-11-21 08:00:00Z     2m  alice@laptop  some hosts failed (3): 1 applied, 1 failed
        0123456789ab-2  2026-11-21 08:00:00Z    30s  alice@laptop  broke off: 1 unknown, rollback of 56db791bf424-1; resumable
        2 runs. 1 journal cannot be read.
        ");
    }

    #[test]
    fn one_run_says_what_came_of_each_change_and_what_was_not_done() {
        insta::assert_snapshot!(super::told(&sample()).plain(), @r"
        Run 56db791bf424-1 of plan 56db791bf424
          began 2026-11-21T08:00:00Z by alice@laptop
          applied file[/a]@h1
          failed file[/b]@h1: write \u{1b}[2J ended with status 1
          not done file[/z]@h1: h1: it failed

        some hosts failed (3) after 2m: 1 applied, 1 failed.
        ");
    }

    #[test]
    fn json_is_one_object_a_line_and_holds_every_event() {
        let text = told_json(&sample());
        let objects: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let of = |kind: &str| objects.iter().filter(|object| object["type"] == kind).count();
        assert_eq!((of("format"), of("run"), of("change"), of("event")), (1, 1, 2, 5));
        assert_eq!(objects[1]["exit"], 3);
    }
}
