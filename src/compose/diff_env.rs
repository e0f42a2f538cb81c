//! The environment of a container against what it must be: key by key, what is not public by its print.

use std::collections::BTreeSet;

use crate::model::body::Body;
use crate::model::change::Shown;
use crate::model::container::ContainerSpec;
use crate::model::inspected::{EnvValue, Inspected};
use crate::model::known::Known;

use super::found::Found;

/// What a value must be, as far as it can be compared.
enum Wanted {
    Text(String),
    Print(crate::model::digest::Fingerprint),
    Pending(crate::model::id::OutputRef),
    /// Nobody has its print.
    Unknown,
}

/// Compares every key.
pub(super) fn compare(found: &mut Found, spec: &ContainerSpec, seen: &Inspected, known: &Known) {
    let keys: BTreeSet<&String> = seen.environment.keys().chain(spec.environment.keys()).collect();
    for key in keys {
        let field = format!("environment.{key}");
        let is = seen.environment.get(key);
        let Some(body) = spec.environment.get(key) else {
            let of_image = seen.runs.environment.get(key);
            if is != of_image {
                found.add(&field, shown(is), shown(of_image));
            }
            continue;
        };
        match (is, wanted(spec, key, body, known)) {
            (_, Wanted::Pending(output)) => found.add(&field, shown(is), Shown::Pending(output)),
            (Some(EnvValue::Public(is)), Wanted::Text(text)) if *is == text => {}
            (Some(EnvValue::Print(is)), Wanted::Print(print)) if *is == print => {}
            (_, Wanted::Text(text)) => found.add(&field, shown(is), Shown::Text(text)),
            (_, Wanted::Print(print)) => found.add(&field, shown(is), Shown::Secret(print)),
            (Some(_), Wanted::Unknown) => found.uncompared.push(field),
            (None, Wanted::Unknown) => found.add(
                &field,
                Shown::Nothing,
                Shown::Opaque("a value that is not shown".to_owned()),
            ),
        }
    }
}

fn wanted(spec: &ContainerSpec, key: &str, body: &Body, known: &Known) -> Wanted {
    let filled = known.with_outputs(body);
    if let Some(output) = filled.outputs().next() {
        return Wanted::Pending(output.clone());
    }
    match (filled.plain(), spec.shows(key)) {
        (Some(text), true) => Wanted::Text(text.to_owned()),
        (_, _) => known
            .prints
            .get(&filled.digest())
            .cloned()
            .map_or(Wanted::Unknown, Wanted::Print),
    }
}

fn shown(value: Option<&EnvValue>) -> Shown {
    match value {
        None => Shown::Nothing,
        Some(EnvValue::Public(text)) => Shown::Text(text.clone()),
        Some(EnvValue::Print(print)) => Shown::Secret(print.clone()),
    }
}
