//! Forms that outlive a release: every one ever written stays readable. A sample of each is kept for ever.

use std::path::Path;

use muster::model::event::Event;
use muster::model::manifest::{Origin, OwnedState};
use muster::model::manifest_text;
use muster::store::journal;

#[test]
fn a_manifest_of_form_1_is_read_whole() {
    let text = include_str!("formats/v1/manifest.txt");
    let manifest = manifest_text::read(text).unwrap();
    assert_eq!(
        (manifest.fleet.as_str(), manifest.host.as_str()),
        ("main", "val-1")
    );
    assert_eq!((manifest.format, manifest.generation), (1, 12));
    assert_eq!(manifest.last_run.as_ref().unwrap().as_str(), "0f3a9c2b7d41-2");
    let entry = |key: &str| &manifest.owned[&key.parse().unwrap()];
    assert_eq!(manifest.owned.len(), 4);
    assert_eq!(entry("account[app]").origin, Origin::Found);
    let file = entry("file[/etc/app.toml]");
    assert!(file.protect && file.delete && file.after.is_some());
    assert_eq!((file.needs.len(), file.outputs["address"].as_str()), (1, "x1"));
    let settings = entry("settings[/etc/docker/daemon.json]");
    assert_eq!(
        (settings.state, settings.made_keys.contains("log-driver")),
        (OwnedState::Intent, true)
    );
    assert_eq!(
        entry("unit[app.service]")
            .started_with
            .as_ref()
            .unwrap()
            .invocation,
        "5d1a0b"
    );
    assert_eq!(
        manifest_text::write(&manifest),
        text,
        "what is read is written as it was"
    );
}

#[test]
fn a_journal_of_form_1_is_read_whole_with_every_event() {
    let path = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/formats/v1/run.journal.jsonl"
    ));
    let recorded = journal::read(path).unwrap();
    assert_eq!(
        (recorded.header.plan.as_str(), recorded.header.run.as_str()),
        ("56db791bf424", "56db791bf424-1")
    );
    let undone = Event::Undone {
        change: "file[/etc/a]@h2".parse().unwrap(),
        error: None,
        held: false,
    };
    assert_eq!(recorded.lines.len(), 18);
    assert_eq!(
        recorded.lines[14].event, undone,
        "an event without a later field reads as it was meant"
    );
    assert!(recorded.is_unfinished());
    let lines = recorded
        .lines
        .iter()
        .map(|line| serde_json::to_string(line).unwrap());
    let text = std::fs::read_to_string(path).unwrap();
    let wanted: Vec<&str> = text.lines().skip(1).collect();
    assert_eq!(
        lines.collect::<Vec<_>>(),
        wanted,
        "what is read is written as it was"
    );
}
