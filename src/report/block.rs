//! Blocks: the same change on many hosts, shown once.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::container;
use super::contents::{self, Extent};
use super::line::{Line, Tone};
use super::names;
use crate::model::change::{Action, Change, Disruption, FieldChange, Reason, Shown, Undo};
use crate::model::gate::{Check, Gate, OnDeadline};
use crate::model::id::{HostId, ResourceId};
use crate::model::plan::Plan;

/// A change and the hosts on which it is the same to the reader.
pub struct Block<'a> {
    /// The change on the first of them.
    pub change: &'a Change,
    /// The hosts.
    pub hosts: Vec<&'a HostId>,
    /// Whether the prints of its secrets differ between them: each host has its own salt.
    pub prints_vary: bool,
}

/// Folds the changes of a plan, in the order in which they will be made.
pub fn fold(plan: &Plan) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for change in in_order(plan) {
        let place = *places.entry(face(change)).or_insert(blocks.len());
        match blocks.get_mut(place) {
            Some(block) => {
                block.hosts.push(&change.target.host);
                block.prints_vary |= block.change.fields != change.fields;
            }
            None => blocks.push(Block {
                change,
                hosts: vec![&change.target.host],
                prints_vary: false,
            }),
        }
    }
    blocks
}

fn in_order(plan: &Plan) -> impl Iterator<Item = &Change> {
    let waved: Vec<&ResourceId> = plan.waves.iter().flat_map(|wave| &wave.changes).collect();
    let in_waves: BTreeSet<&ResourceId> = waved.iter().copied().collect();
    let rest = plan.changes.keys().filter(move |id| !in_waves.contains(id));
    waved
        .into_iter()
        .chain(rest)
        .filter_map(|id| plan.changes.get(id))
}

/// Everything of a change that a reader sees, but for the host and the prints of secrets.
fn face(change: &Change) -> String {
    let reasons: Vec<String> = change.reasons.iter().map(ToString::to_string).collect();
    let fields: Vec<FieldChange> = change.fields.iter().map(masked).collect();
    let spec = if change.action == Action::Create {
        &change.spec
    } else {
        &Value::Null
    };
    let gates = &change.gates;
    json!([
        change.action,
        change.target.key,
        fields,
        reasons,
        spec,
        change.disruption,
        lost(&change.undo),
        gates
    ])
    .to_string()
}

fn masked(field: &FieldChange) -> FieldChange {
    let mask = |shown: &Shown| match shown {
        Shown::Secret(_) => Shown::Opaque("secret".to_owned()),
        other => other.clone(),
    };
    FieldChange {
        field: field.field.clone(),
        before: mask(&field.before),
        after: mask(&field.after),
    }
}

impl Block<'_> {
    /// Returns the block's lines as a plan shows them: what will be done.
    pub fn planned(&self, extent: Extent) -> Vec<Line> {
        let change = self.change;
        let mut lines = vec![self.head(change.action.glyph(), tone(change.action))];
        lines.extend(self.fields(extent));
        if change.action == Action::Create {
            lines.extend(spec(change, extent));
        }
        lines.extend(self.reasons(|reason| is_told(reason, change.action)));
        lines.extend(disruption(&change.disruption));
        lines.extend(lost(&change.undo).map(|text| Line::new(Tone::Warn, 6, text)));
        let then = |gate| Line::new(Tone::Muted, 6, format!("then: {}", self::gate(gate)));
        lines.extend(change.gates.iter().map(then));
        lines
    }

    /// Returns the block's lines as drift shows them: what is not as it should be.
    pub fn drifted(&self, extent: Extent) -> Vec<Line> {
        let mut lines = vec![self.head("!", Tone::Warn)];
        lines.extend(self.fields(extent));
        lines.extend(self.reasons(|_| true));
        lines
    }

    fn head(&self, glyph: &str, tone: Tone) -> Line {
        let hosts = names::hosts(self.hosts.iter().copied());
        Line::new(
            tone,
            0,
            format!("{glyph:>3} {} on {hosts}", self.change.target.key),
        )
    }

    fn fields(&self, extent: Extent) -> impl Iterator<Item = Line> {
        let path = &self.change.target.key.name;
        let fields = self.change.fields.iter();
        fields.flat_map(move |field| contents::field(path, field, self.prints_vary, extent))
    }

    fn reasons(&self, is_told: impl Fn(&Reason) -> bool) -> impl Iterator<Item = Line> {
        let told = self.change.reasons.iter().filter(move |reason| is_told(reason));
        told.map(|reason| Line::new(Tone::Muted, 6, format!("because {reason}")))
    }
}

fn tone(action: Action) -> Tone {
    match action {
        Action::Create => Tone::Add,
        Action::Update => Tone::Change,
        Action::Replace | Action::Delete => Tone::Remove,
        Action::Forget => Tone::Muted,
    }
}

/// What is created and what differs speaks for itself; everything else says why.
fn is_told(reason: &Reason, action: Action) -> bool {
    match reason {
        Reason::Missing => action != Action::Create,
        Reason::Differs => action != Action::Update,
        Reason::Drifted
        | Reason::Foreign
        | Reason::Undeclared
        | Reason::Kept
        | Reason::Gone
        | Reason::Found
        | Reason::Consumes(_)
        | Reason::StartedWithOld
        | Reason::LostOn(_)
        | Reason::Unfinished
        | Reason::Immutable(_)
        | Reason::NotEmpty => true,
        // The plan's first line says it of all of them.
        Reason::TakenBack(_) => false,
    }
}

fn disruption(disruption: &Disruption) -> Option<Line> {
    match disruption {
        Disruption::None => None,
        Disruption::Service(name) => Some(Line::new(Tone::Warn, 6, format!("interrupts {name}"))),
        Disruption::Host => Some(Line::new(Tone::Warn, 6, "interrupts the whole host")),
    }
}

fn lost(undo: &Undo) -> Option<String> {
    match undo {
        Undo::Exact(_) => None,
        Undo::Inverse { loses, .. } => Some(format!("undo does not bring back {loses}")),
        Undo::Impossible(why) => Some(format!("cannot be undone: {why}")),
    }
}

/// Shows what will be created: every field but the name, which the head has already.
fn spec(change: &Change, extent: Extent) -> Vec<Line> {
    let is_container = container::is_one(change.target.key.kind.as_str());
    let spec = if is_container {
        Value::Object(container::fields(&change.spec))
    } else {
        container::without_own_labels(&change.spec)
    };
    let Value::Object(fields) = &spec else {
        return Vec::new();
    };
    let is_sensitive = fields.get("sensitive") == Some(&Value::Bool(true));
    let is_name = |value: &Value| value.as_str() == Some(change.target.key.name.as_str());
    let is_said =
        |value: &Value| !value.is_null() && !is_name(value) && *value != json!([]) && *value != json!({});
    fields
        .iter()
        .filter(|(_, value)| is_said(value))
        .flat_map(
            |(name, value)| match contents::body(value).map(|body| body.to_string()) {
                Some(_) if is_sensitive && name == "content" => {
                    vec![Line::new(Tone::Plain, 6, format!("{name}: (secret)"))]
                }
                Some(text) if contents::is_block(&text) => contents::new(name, &text, extent),
                Some(_) | None => vec![Line::new(
                    Tone::Plain,
                    6,
                    format!("{name}: {}", contents::value(value)),
                )],
            },
        )
        .collect()
}

/// Says what a gate asks, for how long, and what comes of a no.
pub fn gate(gate: &Gate) -> String {
    let stable = match gate.stable_for_secs {
        0 => String::new(),
        secs => format!(", good for {}", seconds(secs)),
    };
    let otherwise = match gate.on_deadline {
        OnDeadline::Halt => "else halt",
        OnDeadline::Fail => "else it counts as failed",
        OnDeadline::GoOn => "else go on and say so",
    };
    format!(
        "{} ({} within {}{stable}, {otherwise})",
        gate.name,
        check(&gate.check),
        seconds(gate.within_secs)
    )
}

fn check(check: &Check) -> String {
    match check {
        Check::Command(command) => format!("`{command}` exits 0"),
        Check::Http {
            url,
            status,
            contains: None,
        } => format!("{url} answers {status}"),
        Check::Http {
            url,
            status,
            contains: Some(text),
        } => format!("{url} answers {status} with `{text}`"),
        Check::Tcp { address, port } => format!("{address}:{port} accepts"),
    }
}

/// Writes a duration the way people give it: `90s`, `5m`, `24h`.
pub fn seconds(secs: u64) -> String {
    match secs {
        0 => "0s".to_owned(),
        secs if secs % 3600 == 0 => format!("{}h", secs / 3600),
        secs if secs % 60 == 0 => format!("{}m", secs / 60),
        secs => format!("{secs}s"),
    }
}
