//! Recorded looks: an observation on disk, so that a plan can be made again without a network.
//!
//! Secrets were printed on their hosts before they became answers, and salts are no part of an observation.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{StoreError, atomic, read_text};
use crate::model::id::PlanId;
use crate::model::observation::Observation;

const FORMAT: u32 = 1;

/// Returns the file of the look that a plan rests on, in an inventory's folder.
pub fn path(folder: &Path, plan: &PlanId) -> PathBuf {
    folder.join(format!("{plan}.observation.json"))
}

/// Saves a look.
///
/// # Errors
/// [`StoreError::Write`].
pub fn save(seen: &Observation, path: &Path) -> Result<(), StoreError> {
    let file = json!({ "format": FORMAT, "by_version": env!("CARGO_PKG_VERSION"), "observation": seen });
    let mut text = serde_json::to_string_pretty(&file).expect("a JSON value serialises");
    text.push('\n');
    atomic::write(path, text.as_bytes())
}

/// Loads a look.
///
/// # Errors
/// [`StoreError::Read`], [`StoreError::Format`], [`StoreError::Damaged`].
pub fn load(path: &Path) -> Result<Observation, StoreError> {
    let damaged = |error: serde_json::Error| StoreError::Damaged {
        path: path.to_owned(),
        why: error.to_string(),
    };
    let mut file: Value = serde_json::from_str(&read_text(path)?).map_err(damaged)?;
    match file["format"].as_u64() {
        Some(found) if found != u64::from(FORMAT) => {
            let by = file["by_version"].as_str().unwrap_or("?").to_owned();
            Err(StoreError::Format {
                path: path.to_owned(),
                found,
                wanted: FORMAT,
                by,
            })
        }
        _ => serde_json::from_value(file["observation"].take()).map_err(damaged),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::ResourceKey;
    use crate::model::manifest::ManifestState;
    use crate::model::observation::{Answer, Facts, HostView, Machine, Reach};

    #[test]
    fn a_look_comes_back_as_it_was() {
        let answer = Answer::Text {
            output: "type=file\n\na\u{0}b".to_owned(),
            status: 0,
        };
        let view = HostView {
            reach: Reach::Reached,
            machine: Some(Machine {
                id: "m".to_owned(),
                missing_tools: Vec::new(),
                has_systemd: true,
            }),
            facts: Some(Facts::default()),
            manifest: ManifestState::Absent,
            answers: [(ResourceKey::new("file", "/etc/a"), vec![answer])].into(),
        };
        let hosts = [
            ("a".parse().unwrap(), view),
            ("b".parse().unwrap(), HostView::unreachable("no route")),
        ];
        let seen = Observation {
            taken_at: "2026-11-21T08:00:00Z".to_owned(),
            hosts: hosts.into(),
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.observation.json");
        save(&seen, &path).unwrap();
        assert_eq!(load(&path).unwrap(), seen);
    }
}
