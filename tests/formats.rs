//! Forms that outlive a release: every one ever written stays readable. A sample of each is kept for ever.

use muster::model::manifest::{Origin, OwnedState};
use muster::model::manifest_text;

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
