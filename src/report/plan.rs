//! A plan as people review it, and as programs read it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::block;
use super::container;
use super::contents::Extent;
use super::escape;
use super::line::{Line, Page, Tone};
use super::names::{self, count};
use super::switch;
use crate::model::aim::Along;
use crate::model::change::Change;
use crate::model::id::HostId;
use crate::model::plan::{HeldWhat, HeldWhy, Plan, Purpose};
use crate::model::wave::{Wave, WaveKind};

/// The number of the form of JSON reports.
pub const JSON_FORMAT: u32 = 1;

/// Returns a plan as a page. The last line is the sum.
pub fn page(plan: &Plan, extent: Extent) -> Page {
    let title = Line::new(
        Tone::Head,
        0,
        format!("Plan {} for fleet {}", plan.id(), plan.fleet),
    );
    let mut lines = purpose(plan);
    for block in block::fold(plan) {
        lines.extend(block.planned(extent));
        lines.push(Line::blank());
    }
    for section in [
        aimed(plan),
        waves(plan),
        switches(plan),
        hooks(plan),
        held(plan),
        notes(plan),
        takes(plan),
    ] {
        lines.extend(section);
    }
    Page {
        title,
        lines,
        sum: Line::new(Tone::Head, 0, sum(plan)),
    }
}

/// Says what a plan is for, where that is not to make the fleet what is declared.
fn purpose(plan: &Plan) -> Vec<Line> {
    let text = match &plan.purpose {
        Purpose::Declared => return Vec::new(),
        Purpose::Rollback(run) => format!("Takes back what run {run} did on {}.", plan.fleet),
        Purpose::Destroy => format!("Takes away what muster made on {}.", plan.fleet),
    };
    vec![Line::new(Tone::Head, 0, text), Line::blank()]
}

/// Returns the last line: what would be done in numbers, and whether that is all.
pub fn sum(plan: &Plan) -> String {
    let sums = plan.sums();
    let is_empty = plan.changes.is_empty();
    let mut text = match (is_empty, sums.held) {
        (true, 0) => "No changes.".to_owned(),
        (true, held) => format!("No changes, but the plan is incomplete: {held} held."),
        (false, _) => {
            let forget = if sums.forget > 0 {
                format!(", {} to forget", sums.forget)
            } else {
                String::new()
            };
            format!(
                "Plan: {} to create, {} to change, {} to replace, {} to delete{forget} on {} in {}.",
                sums.create,
                sums.change,
                sums.replace,
                sums.delete,
                count(sums.hosts, "host"),
                count(sums.waves, "wave"),
            )
        }
    };
    if !is_empty && sums.held > 0 {
        text.push_str(&format!(" Incomplete: {} held.", sums.held));
    }
    if plan
        .held
        .iter()
        .any(|held| matches!(held.why, HeldWhy::AfterApply(_)))
    {
        text.push_str(" After apply, plan again.");
    }
    text + &limited(plan)
}

/// Returns how much of the fleet and of its changes a plan is about, where that is not all.
pub(super) fn limited(plan: &Plan) -> String {
    let hosts = plan
        .limited_to
        .as_ref()
        .map(|(_, picked)| format!("{picked} of {}", count(plan.fleet_size, "host")));
    let changes = plan.aimed.as_ref().map(|aimed| {
        let all = aimed.changes_in_all.max(plan.changes.len());
        format!("{} of {}", plan.changes.len(), count(all, "change"))
    });
    let parts: Vec<String> = hosts.into_iter().chain(changes).collect();
    match parts.is_empty() {
        true => String::new(),
        false => format!(" Limited to {}.", parts.join(" and ")),
    }
}

/// Returns what the plan was limited to, and what came along.
pub(super) fn aimed(plan: &Plan) -> Vec<Line> {
    let Some(aimed) = &plan.aimed else {
        return Vec::new();
    };
    let targets = aimed
        .targets
        .iter()
        .map(|aim| format!("only {aim}, with what it needs"));
    let excludes = aimed.excludes.iter().map(|aim| format!("not {aim}"));
    let mut folded: BTreeMap<(String, String), Vec<&HostId>> = BTreeMap::new();
    for (id, along) in &aimed.along {
        let why = match along {
            Along::NeededBy(by) if by.host == id.host => format!("needed by {}", by.key),
            Along::WipedBy(by) if by.host == id.host => format!("wiped by {}", by.key),
            along => along.to_string(),
        };
        folded
            .entry((id.key.to_string(), why))
            .or_default()
            .push(&id.host);
    }
    let along = folded
        .into_iter()
        .map(|((key, why), hosts)| format!("{key} on {} comes along: {why}", names::hosts(hosts)));
    let lines = targets.chain(excludes).chain(along);
    section("Limited", lines.map(|text| Line::new(Tone::Plain, 2, text)))
}

fn waves(plan: &Plan) -> Vec<Line> {
    if plan.waves.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![Line::new(Tone::Head, 0, "Waves")];
    for (index, wave) in plan.waves.iter().enumerate() {
        lines.push(Line::new(Tone::Plain, 2, wave_line(index, wave)));
        lines.extend(gates(wave));
    }
    lines.push(Line::blank());
    lines
}

fn hooks(plan: &Plan) -> Vec<Line> {
    if plan.changes.is_empty() {
        return Vec::new();
    }
    let lines = plan.hooks.iter().map(|hook| {
        let required = if hook.required { ", required" } else { "" };
        let text = format!("{} {}: {}{required}", hook.on, hook.name, hook.call);
        Line::new(Tone::Plain, 2, text)
    });
    section("Hooks", lines)
}

fn wave_line(index: usize, wave: &Wave) -> String {
    let kind = match wave.kind {
        WaveKind::Ahead => "ahead",
        WaveKind::Canary => "canary",
        WaveKind::Batch => "batch",
        WaveKind::Finish => "finish",
    };
    let width = if wave.width < wave.hosts.len() {
        format!(", {} at a time", wave.width)
    } else {
        String::new()
    };
    let changes = count(wave.changes.len(), "change");
    format!(
        "{}. {kind}: {changes} on {}{width}",
        index + 1,
        names::hosts(&wave.hosts)
    )
}

/// The same gate on several hosts is one line.
fn gates(wave: &Wave) -> Vec<Line> {
    let mut asked: Vec<(String, Vec<&HostId>)> = Vec::new();
    for gate in &wave.after {
        let text = block::gate(&gate.gate);
        match asked.iter_mut().find(|(known, _)| *known == text) {
            Some((_, hosts)) => hosts.push(&gate.host),
            None => asked.push((text, vec![&gate.host])),
        }
    }
    let line = |(text, hosts): (String, Vec<&HostId>)| {
        Line::new(Tone::Muted, 5, format!("then on {}: {text}", names::hosts(hosts)))
    };
    asked.into_iter().map(line).collect()
}

fn switches(plan: &Plan) -> Vec<Line> {
    section("Under the dead-man switch", switch::switches(plan))
}

/// Returns what is held, folded over hosts: each reason with what it keeps back.
pub(super) fn held(plan: &Plan) -> Vec<Line> {
    let mut folded: BTreeMap<(String, String), Vec<&HostId>> = BTreeMap::new();
    for held in &plan.held {
        let (what, host) = match &held.what {
            HeldWhat::Host(host) => (String::new(), host),
            HeldWhat::Resource(id) => (id.key.to_string(), &id.host),
        };
        folded.entry((what, held.why.to_string())).or_default().push(host);
    }
    let lines = folded.into_iter().map(|((what, why), hosts)| {
        let hosts = names::hosts(hosts);
        let subject = if what.is_empty() {
            hosts
        } else {
            format!("{what} on {hosts}")
        };
        Line::new(Tone::Warn, 2, format!("? {subject}: {why}"))
    });
    section("Held: wanted, and not planned", lines)
}

/// Returns the notes, folded over their subjects.
pub(super) fn notes(plan: &Plan) -> Vec<Line> {
    let mut folded: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for note in &plan.notes {
        folded.entry(&note.text).or_default().push(&note.subject);
    }
    let lines = folded.into_iter().map(|(text, subjects)| {
        let hosts: Result<Vec<HostId>, _> = subjects.iter().map(|subject| subject.parse()).collect();
        let subjects = hosts.map_or_else(|_| subjects.join(", "), |hosts| names::hosts(&hosts));
        Line::new(Tone::Plain, 2, format!("{subjects}: {text}"))
    });
    section("Notes", lines)
}

fn takes(plan: &Plan) -> Vec<Line> {
    let number: usize = plan.takes.values().map(Vec::len).sum();
    if number == 0 {
        return Vec::new();
    }
    let hosts = names::hosts(plan.takes.keys());
    let text = format!(
        "{} found as declared will be recorded on {hosts}.",
        count(number, "resource")
    );
    vec![Line::new(Tone::Plain, 0, text), Line::blank()]
}

fn section(title: &str, lines: impl Iterator<Item = Line>) -> Vec<Line> {
    let lines: Vec<Line> = lines.collect();
    if lines.is_empty() {
        return Vec::new();
    }
    let head = Line::new(Tone::Head, 0, title);
    std::iter::once(head)
        .chain(lines)
        .chain([Line::blank()])
        .collect()
}

/// Returns a plan as JSON, one object a line: first the format, last the sums.
pub fn json_lines(plan: &Plan) -> String {
    let mut objects = vec![
        json!({ "type": "format", "format": JSON_FORMAT, "report": "plan", "version": env!("CARGO_PKG_VERSION") }),
        json!({
            "type": "plan", "id": plan.id(), "digest": plan.digest(), "fleet": plan.fleet,
            "purpose": plan.purpose, "fleet_size": plan.fleet_size, "limited_to": plan.limited_to,
            "aimed": plan.aimed,
        }),
    ];
    objects.extend(plan.changes.values().map(change));
    objects.extend(plan.takes.iter().flat_map(|(host, takes)| {
        takes
            .iter()
            .map(move |take| json!({ "type": "take", "target": take.key.on(host), "outputs": take.outputs }))
    }));
    objects.extend(plan.waves.iter().map(|wave| tagged("wave", wave)));
    objects.extend(plan.hooks.iter().map(|hook| tagged("hook", hook)));
    objects.extend(switch::objects(plan));
    objects.extend(plan.held.iter().map(
        |held| json!({ "type": "held", "what": held.what, "why": held.why, "text": held.why.to_string() }),
    ));
    objects.extend(plan.notes.iter().map(|note| tagged("note", note)));
    objects.push(sums(plan));
    lines(&objects)
}

/// A sensitive content may stand in the saved plan, but is not echoed: neither where it is wanted nor where it is written.
fn change(change: &Change) -> Value {
    let mut object = tagged("change", change);
    if change.spec["sensitive"] == json!(true) {
        object["spec"]["content"] = json!("(secret)");
        object["ops"] = json!("(secret)");
    }
    // So may a content that the manifest knows from before.
    let formers = ["/former", "/back/entry"].map(|at| format!("{at}/spec"));
    for former in formers {
        if let Some(spec) = object
            .pointer_mut(&former)
            .filter(|spec| spec["sensitive"] == json!(true))
        {
            spec["content"] = json!("(secret)");
        }
    }
    // What a container's variables hold may come from a file that is never shown.
    if container::is_one(change.target.key.kind.as_str()) {
        for spec in ["/spec", "/former/spec", "/back/entry/spec"] {
            object.pointer_mut(spec).into_iter().for_each(container::hide);
        }
        object["ops"] = json!("(the engine's, see the fields)");
    }
    object
}

/// Returns a value as one JSON object with its type beside its fields.
pub(super) fn tagged(kind: &str, value: &impl serde::Serialize) -> Value {
    let mut object = json!({ "type": kind });
    match serde_json::to_value(value).expect("model types serialise to JSON: no maps with odd keys") {
        Value::Object(fields) => fields.into_iter().for_each(|(key, field)| object[key] = field),
        other => object["value"] = other,
    }
    object
}

pub(super) fn sums(plan: &Plan) -> Value {
    let mut object = tagged("sums", &plan.sums());
    object["text"] = Value::from(sum(plan));
    object
}

/// Writes objects one a line.
pub(super) fn lines(objects: &[Value]) -> String {
    objects.iter().fold(String::new(), |out, object| {
        out + &escape::json(&object.to_string()) + "\n"
    })
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;
    use crate::model::change::{Action, FieldChange};

    fn text(plan: &Plan) -> String {
        page(plan, Extent::default()).plain()
    }

    #[test]
    fn a_plan_shows_what_is_done_why_when_and_what_is_not() {
        insta::assert_snapshot!(text(&sample::full()));
    }

    #[test]
    fn two_hundred_hosts_with_one_change_are_one_block_and_the_odd_one_stands_apart() {
        let mode = |after: &str| vec![FieldChange::text("mode", "0644", after)];
        let change = |n: usize| {
            let fields = mode(if n == 77 { "0600" } else { "0640" });
            sample::change(
                sample::id("file", "/etc/a", &format!("gpu-{n}")),
                Action::Update,
                fields,
                Value::Null,
            )
        };
        let plan = sample::plan((1..=200).map(change).collect());
        insta::assert_snapshot!(text(&plan), @r"
          ~ file[/etc/a] on 199 hosts: gpu-1 … gpu-76, gpu-78 … gpu-200
              mode: 0644 → 0640

          ~ file[/etc/a] on gpu-77
              mode: 0644 → 0600

        Waves
          1. batch: 200 changes on 200 hosts: gpu-1 … gpu-200

        Plan: 0 to create, 200 to change, 0 to replace, 0 to delete on 200 hosts in 1 wave.
        ");
    }

    #[test]
    fn nothing_to_do_is_one_line_and_held_makes_it_incomplete() {
        let mut plan = sample::plan(Vec::new());
        assert_eq!(text(&plan), "No changes.\n");
        plan.held = sample::held();
        assert!(
            text(&plan)
                .ends_with("\nNo changes, but the plan is incomplete: 4 held. After apply, plan again.\n")
        );
        plan.held.clear();
        plan.limited_to = Some(("@ml".to_owned(), 3));
        assert_eq!(text(&plan), "No changes. Limited to 3 of 5 hosts.\n");
    }

    #[test]
    fn odd_characters_of_a_host_never_reach_the_terminal() {
        let fields = vec![FieldChange::text("comment", "a\u{1b}]0;x\u{7}", "b\u{202e}")];
        let target = sample::id("account", "a\u{1b}[2J\nb", "nn-1");
        let plan = sample::plan(vec![sample::change(target, Action::Update, fields, Value::Null)]);
        let text = text(&plan);
        assert!(
            text.chars().all(|char| char == '\n' || !char.is_control()),
            "{text:?}"
        );
        assert!(text.contains("account[a\\u{1b}[2J\\nb] on nn-1"), "{text}");
    }

    #[test]
    fn no_sensitive_content_is_in_any_form_of_the_page() {
        let page = page(&sample::full(), Extent { full: true });
        let json = json_lines(&sample::full());
        for text in [page.ansi(), page.plain(), page.markdown(), page.html(), json] {
            assert!(text.contains("/etc/key") && !text.contains("hush"));
        }
    }

    #[test]
    fn json_is_one_object_a_line_between_format_and_sums() {
        let text = json_lines(&sample::full());
        let objects: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(objects[0]["type"], "format");
        assert_eq!(objects[0]["format"], JSON_FORMAT);
        let last = objects.last().unwrap();
        assert_eq!(
            (&last["type"], &last["update"], &last["change"]),
            (&"sums".into(), &Value::Null, &10.into())
        );
        let changes = objects.iter().filter(|object| object["type"] == "change").count();
        assert_eq!(changes, sample::full().changes.len());
    }
}
