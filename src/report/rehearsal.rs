//! A rehearsal told: the story of a pretended run, and what it says of the plan. No decisions.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::block::seconds;
use super::line::{Line, Page, Tone};
use super::names::{self, count};
use super::narration::Narration;
use super::plan::JSON_FORMAT;
use crate::model::change::Disruption;
use crate::model::event::{Event, GateId, RunOutcome, Task};
use crate::model::gate::Gate;
use crate::model::id::{HostId, ResourceId, RunId};
use crate::model::plan::{HeldWhat, HeldWhy, Plan};

/// Something that was heard of a pretended run.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// A task was handed out.
    Task(Task),
    /// Something came of one.
    Event(Event),
    /// A fault struck, or somebody else did something: where, and what.
    Struck(Option<HostId>, String),
}

/// What a rehearsal says of its plan.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sums {
    /// From the first event to the last, in seconds.
    pub took_secs: u64,
    /// By wave, from 0: when its first host was looked at and when its last change or gate ended, in seconds since the start.
    pub waves: BTreeMap<usize, (u64, u64)>,
    /// The most hosts that were disrupted at one time, with those that did not answer when the plan was made.
    pub down_most: BTreeSet<HostId>,
    /// The most hosts that were worked on at one time.
    pub at_work_most: usize,
    /// Gates that were asked: which, where, how long it took, and whether it opened.
    pub gates: Vec<(GateId, HostId, u64, bool)>,
    /// How it ended; nothing where the operator left at once.
    pub outcome: Option<RunOutcome>,
}

/// Sums a rehearsal up.
pub fn sums(plan: &Plan, heard: &[(Timestamp, Heard)]) -> Sums {
    let mut sums = Sums::default();
    let Some((start, _)) = heard.first() else {
        return sums;
    };
    let secs = |at: &Timestamp| u64::try_from(at.as_second() - start.as_second()).unwrap_or(0);
    let mut in_flight: BTreeSet<&ResourceId> = BTreeSet::new();
    let mut asked: BTreeMap<(GateId, HostId), u64> = BTreeMap::new();
    let down_before = down_before(plan);
    for (at, heard) in heard {
        let now = secs(at);
        sums.took_secs = sums.took_secs.max(now);
        match heard {
            Heard::Task(Task::Check { wave, .. }) => drop(sums.waves.entry(*wave).or_insert((now, now))),
            Heard::Task(Task::Gate { gate, host, .. }) => {
                asked.entry((gate.clone(), host.clone())).or_insert(now);
            }
            Heard::Event(Event::Began { changes }) => {
                in_flight.extend(changes);
                let at_work: BTreeSet<&HostId> = in_flight.iter().map(|id| &id.host).collect();
                sums.at_work_most = sums.at_work_most.max(at_work.len());
                let down = down(plan, &in_flight, &down_before);
                if down.len() > sums.down_most.len() {
                    sums.down_most = down;
                }
            }
            Heard::Event(Event::Applied { change, .. } | Event::Failed { change, .. }) => {
                in_flight.remove(change);
                ends(&mut sums, wave_of(plan, change), now);
            }
            Heard::Event(Event::Unmade { changes }) => in_flight.retain(|id| !changes.contains(id)),
            Heard::Event(Event::Started { .. }) => in_flight.clear(),
            Heard::Event(Event::GateSaid { gate, open, .. }) => {
                let host = gate_of(plan, gate).map(|(host, _)| host.clone());
                if let Some(since) = host.clone().and_then(|host| asked.remove(&(gate.clone(), host))) {
                    let wave = match gate {
                        GateId::Wave(wave, _) => Some(*wave),
                        GateId::Change(id, _) => wave_of(plan, id),
                    };
                    ends(&mut sums, wave, now);
                    sums.gates
                        .extend(host.map(|host| (gate.clone(), host, now - since, *open)));
                }
            }
            Heard::Event(Event::Ended { outcome }) => sums.outcome = Some(outcome.clone()),
            Heard::Task(_) | Heard::Event(_) | Heard::Struck(..) => {}
        }
    }
    if sums.down_most.is_empty() {
        sums.down_most = down_before;
    }
    sums
}

fn ends(sums: &mut Sums, wave: Option<usize>, now: u64) {
    if let Some((_, end)) = wave.and_then(|wave| sums.waves.get_mut(&wave)) {
        *end = now;
    }
}

fn wave_of(plan: &Plan, id: &ResourceId) -> Option<usize> {
    plan.waves.iter().position(|wave| wave.changes.contains(id))
}

fn gate_of<'p>(plan: &'p Plan, id: &GateId) -> Option<(&'p HostId, &'p Gate)> {
    match id {
        GateId::Change(change, n) => {
            let (id, change) = plan.changes.get_key_value(change)?;
            Some((&id.host, change.gates.get(*n)?))
        }
        GateId::Wave(wave, n) => {
            let gate = plan.waves.get(*wave)?.after.get(*n)?;
            Some((&gate.host, &gate.gate))
        }
    }
}

fn down_before(plan: &Plan) -> BTreeSet<HostId> {
    let unreachable = plan
        .held
        .iter()
        .filter(|held| matches!(held.why, HeldWhy::Unreachable(_)));
    unreachable
        .filter_map(|held| match &held.what {
            HeldWhat::Host(host) => Some(host.clone()),
            HeldWhat::Resource(_) => None,
        })
        .collect()
}

fn down(plan: &Plan, in_flight: &BTreeSet<&ResourceId>, before: &BTreeSet<HostId>) -> BTreeSet<HostId> {
    let disrupts = |id: &&&ResourceId| {
        let change = plan.changes.get(**id);
        change.is_some_and(|change| change.disruption != Disruption::None)
    };
    let hosts = in_flight.iter().filter(disrupts).map(|id| id.host.clone());
    hosts.chain(before.iter().cloned()).collect()
}

/// Returns the story of a rehearsal and its sums.
pub fn page(plan: &Plan, run: &RunId, heard: &[(Timestamp, Heard)]) -> Page {
    let mut lines = story(plan, run, heard);
    lines.push(Line::blank());
    let mut summary = summary(plan, &sums(plan, heard));
    let sum = summary.pop().unwrap_or_else(Line::blank);
    lines.extend(summary);
    Page {
        title: Line::new(Tone::Head, 0, format!("Rehearsal of plan {}", plan.id())),
        lines,
        sum,
    }
}

/// Returns the story alone, as text.
pub fn story_text(plan: &Plan, run: &RunId, heard: &[(Timestamp, Heard)]) -> Vec<String> {
    let lines = story(plan, run, heard);
    lines.iter().map(Line::plain).collect()
}

/// Returns the story alone.
fn story(plan: &Plan, run: &RunId, heard: &[(Timestamp, Heard)]) -> Vec<Line> {
    let mut narration = Narration::new(plan, run.clone());
    let lines = heard.iter().flat_map(|(at, heard)| match heard {
        Heard::Task(task) => narration.task(*at, task),
        Heard::Event(event) => narration.event(*at, event),
        Heard::Struck(host, what) => narration.aside(*at, host.as_ref(), what),
    });
    lines.collect()
}

fn summary(plan: &Plan, sums: &Sums) -> Vec<Line> {
    let mut lines = vec![Line::new(Tone::Head, 0, "What the rehearsal says")];
    let mut say = |text: String| lines.push(Line::new(Tone::Plain, 2, text));
    say(format!("it takes about {}", seconds(sums.took_secs)));
    for (at, (from, to)) in &sums.waves {
        let hosts = plan.waves.get(*at).map_or(0, |wave| wave.hosts.len());
        let (hosts, from, to) = (count(hosts, "host"), seconds(*from), seconds(*to));
        say(format!(
            "wave {} of {}: {hosts}, from {from} to {to}",
            at + 1,
            plan.waves.len()
        ));
    }
    let max = plan.policy.down_max.of(plan.fleet_size);
    say(match sums.down_most.is_empty() {
        true => format!("no host is down for it; {max} of {} may be", plan.fleet_size),
        false => format!(
            "at most {} down at once, of which {max} of {} may be: {}",
            count(sums.down_most.len(), "host"),
            plan.fleet_size,
            names::hosts(&sums.down_most)
        ),
    });
    say(format!(
        "at most {} worked on at once",
        count(sums.at_work_most, "host")
    ));
    let shut = sums.gates.iter().filter(|(.., open)| !open).count();
    say(match (sums.gates.len(), shut) {
        (0, _) => "no gate is asked".to_owned(),
        (all, 0) => format!("{} asked, and every one opens", count(all, "gate")),
        (all, shut) => format!("{} asked, of which {shut} does not open", count(all, "gate")),
    });
    match &sums.outcome {
        None => say("nobody sees its end: the operator left at once".to_owned()),
        Some(outcome) => {
            let risk = outcome.failed.len() + outcome.not_done.len() + outcome.undone;
            say(match risk {
                0 => format!("everything is done: exit {}", outcome.exit),
                _ => format!(
                    "{} of {} not done, failed or undone: exit {}",
                    risk,
                    count(plan.changes.len(), "change"),
                    outcome.exit
                ),
            });
        }
    }
    lines
}

/// Returns a rehearsal as objects, one a line.
pub fn json_lines(plan: &Plan, heard: &[(Timestamp, Heard)]) -> String {
    let start = heard
        .first()
        .map(|(at, _)| at.as_millisecond())
        .unwrap_or_default();
    let secs = |at: &Timestamp| (at.as_millisecond() - start) as f64 / 1000.0;
    let mut objects = vec![
        json!({ "type": "format", "format": JSON_FORMAT, "report": "rehearsal", "version": env!("CARGO_PKG_VERSION") }),
    ];
    objects.extend(heard.iter().filter_map(|(at, heard)| match heard {
        Heard::Task(_) => None,
        Heard::Event(event) => Some(json!({ "type": "event", "at_secs": secs(at), "event": event })),
        Heard::Struck(host, what) => {
            Some(json!({ "type": "fault", "at_secs": secs(at), "host": host, "what": what }))
        }
    }));
    let sums = sums(plan, heard);
    for (at, (from, to)) in &sums.waves {
        let wave = plan.waves.get(*at);
        objects.push(json!({
            "type": "wave", "wave": at, "kind": wave.map(|wave| wave.kind), "hosts": wave.map(|wave| &wave.hosts),
            "from_secs": from, "to_secs": to,
        }));
    }
    for (gate, host, took, open) in &sums.gates {
        let name = gate_of(plan, gate).map(|(_, gate)| gate.name.as_str());
        objects.push(json!({ "type": "gate", "gate": name, "host": host, "took_secs": took, "open": open }));
    }
    objects.push(json!({
        "type": "summary", "took_secs": sums.took_secs, "down_most": sums.down_most,
        "down_max": plan.policy.down_max.of(plan.fleet_size), "at_work_most": sums.at_work_most, "outcome": sums.outcome,
    }));
    objects
        .iter()
        .map(|object: &Value| format!("{object}\n"))
        .collect()
}
