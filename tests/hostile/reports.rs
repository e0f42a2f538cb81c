//! Whatever stands in a plan or an event, no form of a report lets it act on a terminal, a job or a document.

use std::io::Write;
use std::sync::{Arc, Mutex};

use muster::model::change::{Change, Disruption, FieldChange, Reason, Shown, Undo};
use muster::model::diagnostic::Place;
use muster::model::event::{CheckOutcome, Event};
use muster::model::id::{ResourceId, ResourceKey};
use muster::model::plan::{Held, HeldWhat, HeldWhy, Note, Plan};
use muster::report::drift::{self, DriftFormat};
use muster::report::progress::{Progress, Telling};
use muster::report::{Extent, plan as plans_of};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::nasty;
use super::plans::{self, Builder};

const FULL: Extent = Extent { full: true };

fn target(name: &str) -> ResourceId {
    ResourceKey::new("file", name).on(&plans::host("h1"))
}

/// A change in which every text is this one.
fn change(text: &str, other: &str) -> Change {
    let shown = |text: &str| match text.len() % 3 {
        0 => Shown::Opaque(text.to_owned()),
        _ => Shown::Text(text.to_owned()),
    };
    Change {
        fields: vec![
            FieldChange::text("content", text, other),
            FieldChange::text(
                "content",
                format!("{text}\n{other}\n"),
                format!("{other}\nx\n{text}"),
            ),
            FieldChange {
                field: text.to_owned(),
                before: shown(text),
                after: shown(other),
            },
        ],
        reasons: vec![Reason::Immutable(text.to_owned()), Reason::Drifted],
        disruption: Disruption::Service(text.to_owned()),
        undo: Undo::Impossible(text.to_owned()),
        spec: json!({ "path": text, "content": format!("{text}\n{other}\n"), other: [text, { text: other }] }),
        gates: vec![plans::gate(text, muster::model::gate::OnDeadline::Halt)],
        origins: vec![Place {
            file: text.to_owned(),
            line: 3,
            column: 1,
            span: None,
        }],
        target: target(text),
        ..plans::file("file[/a]@h1", &[])
    }
}

fn plan(text: &str, other: &str) -> Plan {
    let mut plan = Builder::new().plan;
    for action in [
        muster::model::change::Action::Create,
        muster::model::change::Action::Update,
        muster::model::change::Action::Delete,
    ] {
        let mut change = change(text, other);
        change.action = action;
        change.target = target(&format!("{text}{}", action.glyph()));
        plan.changes.insert(change.target.clone(), change);
    }
    let whys = [
        HeldWhy::Unreachable(text.to_owned()),
        HeldWhy::Unknown(other.to_owned()),
        HeldWhy::NotOurs(text.to_owned()),
        HeldWhy::MissingTool(other.to_owned()),
        HeldWhy::ChangedByHand,
    ];
    plan.held = whys
        .into_iter()
        .map(|why| Held {
            what: HeldWhat::Resource(target(other)),
            why,
        })
        .collect();
    plan.notes = vec![Note {
        subject: text.to_owned(),
        text: other.to_owned(),
    }];
    plan.inventory_file = text.to_owned();
    plan.limited_to = Some((text.to_owned(), 1));
    plan
}

fn assert_harmless(form: &str, text: &str) {
    assert_eq!(nasty::acts(text), None, "{form}: {text:?}");
}

fn assert_lines_of_json(form: &str, text: &str) -> usize {
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{form}: {error}: {line}")))
        .collect();
    lines.len()
}

fn assert_all(plan: &Plan) {
    let page = plans_of::page(plan, FULL);
    for (form, text) in [
        ("text", page.plain()),
        ("colours", anstream::adapter::strip_str(&page.ansi()).to_string()),
        ("markdown", page.markdown()),
        ("drift", drift::page(plan, FULL).plain()),
        ("drift markdown", drift::render(plan, DriftFormat::Markdown, FULL)),
    ] {
        assert_harmless(form, &text);
        assert_eq!(nasty::command(&text), None, "{form}: {text}");
    }
    let html = page.html();
    assert_harmless("html", &html);
    let empty = plans_of::page(&plans::empty(), FULL).html();
    let opened = |html: &str| {
        html.matches('<').count() - html.matches("<span").count() - html.matches("</span").count()
    };
    assert_eq!(opened(&html), opened(&empty), "no element comes out of a content");

    let json = plans_of::json_lines(plan);
    assert_harmless("json", &json);
    assert_lines_of_json("json", &json);
    let json = drift::render(plan, DriftFormat::Json, FULL);
    assert_harmless("drift json", &json);
    let findings = assert_lines_of_json("drift json", &json) - 2;

    let sarif = drift::render(plan, DriftFormat::Sarif, FULL);
    assert_harmless("sarif", &sarif);
    let sarif: Value = serde_json::from_str(&sarif).expect("SARIF is JSON");
    assert_eq!(
        sarif["runs"][0]["results"].as_array().map(Vec::len),
        Some(findings)
    );

    let junit = drift::render(plan, DriftFormat::Junit, FULL);
    assert_harmless("junit", &junit);
    let document = roxmltree::Document::parse(&junit).unwrap_or_else(|error| panic!("{error}: {junit}"));
    let cases = document
        .descendants()
        .filter(|node| node.has_tag_name("testcase"))
        .count();
    assert_eq!(cases, findings);

    let github = drift::render(plan, DriftFormat::Github, FULL);
    assert_harmless("github", &github);
    let lines: Vec<&str> = github.lines().collect();
    assert_eq!(lines.len(), findings + 1, "an annotation is one line: {github}");
    for line in &lines[..findings] {
        let rest = line
            .strip_prefix("::error file=")
            .or_else(|| line.strip_prefix("::warning file="));
        assert!(rest.is_some_and(|rest| rest.contains(",title=")), "{line}");
        assert!(!line.contains("##["), "{line}");
    }
    assert_eq!(nasty::command(lines[findings]), None, "{github}");
}

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nobody panics").extend(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn told(plan: &Plan, telling: Telling, text: &str, other: &str) -> String {
    let sink = Sink::default();
    let run = "0123456789ab-1".parse().expect("a run");
    let mut progress = Progress::new(plan, &run, telling, Box::new(sink.clone()));
    let at = jiff::Timestamp::UNIX_EPOCH;
    let failed = plan.changes.keys().next().expect("a change").clone();
    for event in [
        Event::Started {
            who: text.to_owned(),
            resumed: false,
            left_out: [(plans::host("h1"), vec![other.to_owned()])].into(),
        },
        Event::Checked {
            host: plans::host("h1"),
            wave: 0,
            outcome: CheckOutcome::Stale(vec![text.to_owned()]),
        },
        Event::Checked {
            host: plans::host("h1"),
            wave: 7,
            outcome: CheckOutcome::Locked(other.to_owned()),
        },
        Event::Checked {
            host: plans::host("h1"),
            wave: 0,
            outcome: CheckOutcome::Unreachable(text.to_owned()),
        },
        Event::Began {
            changes: plan.changes.keys().cloned().collect(),
        },
        Event::Failed {
            change: failed.clone(),
            why: text.to_owned(),
            tail: vec![text.to_owned(), other.to_owned()],
            unknown: true,
        },
        Event::Recorded {
            host: plans::host("h1"),
            error: Some(text.to_owned()),
        },
        Event::Undone {
            change: failed,
            error: Some(other.to_owned()),
            held: false,
        },
        Event::Interrupted,
    ] {
        progress.event(at, &event);
    }
    let text = String::from_utf8(sink.0.lock().expect("nobody panics").clone()).expect("a text");
    match telling {
        Telling::Json => text,
        Telling::Live | Telling::Plain | Telling::Quiet => anstream::adapter::strip_str(&text).to_string(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_form_of_a_report_lets_a_text_act(text in nasty::text(), other in prop_oneof![nasty::text(), "[^\0]{0,12}"]) {
        assert_all(&plan(&text, &other));
    }

    #[test]
    fn no_telling_of_a_run_lets_a_text_act(text in nasty::text(), other in nasty::text()) {
        let plan = plan(&text, &other);
        for telling in [Telling::Plain, Telling::Quiet] {
            let said = told(&plan, telling, &text, &other);
            assert_harmless("telling", &said);
            assert_eq!(nasty::command(&said), None, "{said}");
        }
        let said = told(&plan, Telling::Json, &text, &other);
        assert_harmless("telling json", &said);
        assert_lines_of_json("telling json", &said);
    }
}

#[test]
fn every_piece_alone_is_harmless_in_every_form() {
    for piece in nasty::PIECES {
        assert_all(&plan(piece, piece));
    }
}
