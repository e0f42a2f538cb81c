//! Values of containers as people read them.

use std::collections::BTreeSet;

use crate::model::change::Shown;
use crate::model::container::words;
use crate::model::container_part::Health;
use crate::model::inspected::State;

pub(super) fn joined<T: ToString>(values: impl Iterator<Item = T>) -> Shown {
    let text = values
        .map(|value| value.to_string())
        .collect::<Vec<_>>()
        .join(", ");
    if text.is_empty() {
        Shown::Nothing
    } else {
        Shown::Text(text)
    }
}

pub(super) fn set<T: ToString>(set: &BTreeSet<T>) -> Shown {
    joined(set.iter().map(ToString::to_string))
}

pub(super) fn health(health: &Health) -> String {
    match health {
        Health::Disabled => "disabled".to_owned(),
        Health::Check(check) if check.test.is_empty() => "the image's, in other intervals".to_owned(),
        Health::Check(check) => words(&check.test),
    }
}

pub(super) fn state(state: &State) -> String {
    match (state.status.as_str(), state.is_oom_killed) {
        ("exited", true) => format!("exited with status {}, killed for its memory", state.exit_code),
        ("exited", false) => format!("exited with status {}", state.exit_code),
        (status, _) => status.to_owned(),
    }
}
