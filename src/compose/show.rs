//! Values of containers as people read them.

use std::collections::BTreeSet;

use crate::model::change::Shown;
use crate::model::container_part::Health;
use crate::model::inspected::State;

/// Writes words so that each can be told apart.
pub(super) fn words(words: &[String]) -> String {
    let is_bare = |word: &str| {
        !word.is_empty()
            && word
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c))
    };
    let word = |word: &String| {
        if is_bare(word) {
            word.clone()
        } else {
            format!("{word:?}")
        }
    };
    words.iter().map(word).collect::<Vec<_>>().join(" ")
}

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

pub(super) fn bytes(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let whole = units
        .into_iter()
        .find(|(shift, _)| bytes != 0 && bytes.is_multiple_of(1 << shift));
    whole.map_or_else(
        || format!("{bytes} bytes"),
        |(shift, unit)| format!("{} {unit}", bytes >> shift),
    )
}

pub(super) fn cpus(nanos: u64) -> String {
    let text = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

pub(super) fn nanos(nanos: u64) -> String {
    match (nanos % 1_000_000_000, nanos % 1_000_000) {
        (0, _) => format!("{}s", nanos / 1_000_000_000),
        (_, 0) => format!("{}ms", nanos / 1_000_000),
        _ => format!("{nanos}ns"),
    }
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
