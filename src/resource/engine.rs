//! What the kinds of a Docker engine share: reading its answers.

use std::collections::BTreeMap;
use std::ops::Deref;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::change::{FieldChange, Shown};
use crate::model::digest::Digest;
use crate::model::observation::{Answer, Observed};

use super::{Mistake, veil};

/// A network or a volume that is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seen<T> {
    /// What the engine says of it.
    #[serde(flatten)]
    pub spec: T,
    /// The digest of what was seen, where parts of it are hidden.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub veiled: Option<Digest>,
}

impl<T> Deref for Seen<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.spec
    }
}

impl<T: Serialize + DeserializeOwned> Seen<T> {
    /// Hides what hands wrote into options and labels and no declaration has; `None` where there is nothing of that.
    pub(super) fn veil(
        answer: &Answer,
        declared: &[T],
        salt: Option<&[u8]>,
        seen: &dyn Fn() -> Digest,
    ) -> Option<Vec<Answer>> {
        let Observed::Present(there) = read::<T>(answer) else {
            return None;
        };
        let json = |spec: &T| serde_json::to_value(spec).expect("what an engine says is JSON");
        let declared: Vec<Value> = declared.iter().map(json).collect();
        let shown = veil::told(&json(&there), &declared, salt)?;
        let veiled = Self {
            spec: serde_json::from_value(shown).ok()?,
            veiled: Some(seen()),
        };
        Some(vec![Answer::Text {
            output: serde_json::to_string(&veiled).expect("what an engine says is JSON"),
            status: 0,
        }])
    }

    /// Returns the digest of all that is there, also of what is hidden.
    pub(super) fn digest(&self) -> Digest {
        self.veiled
            .clone()
            .unwrap_or_else(|| Digest::of_value(&self.spec))
    }
}

/// Reads an answer that is `null` or something as JSON.
pub(super) fn read<T: DeserializeOwned>(answer: &Answer) -> Observed<T> {
    match answer {
        Answer::NoAnswer(why) => Observed::Unknown(why.clone()),
        Answer::Text { output, status: 0 } => match serde_json::from_str::<Option<T>>(output) {
            Ok(Some(found)) => Observed::Present(found),
            Ok(None) => Observed::Absent,
            Err(_) => Observed::Unknown("what the engine said cannot be read".to_owned()),
        },
        Answer::Text { output, status } => Observed::Unknown(format!("status {status}: {}", output.trim())),
    }
}

/// Says that what others make is not there; they are to make it.
pub(super) fn external<T>(observed: Observed<T>, is_external: bool) -> Observed<T> {
    match observed {
        Observed::Absent if is_external => {
            Observed::Unknown("it is declared as external, and is not there".to_owned())
        }
        other => other,
    }
}

/// Names of networks, volumes and containers are of one form.
pub(super) fn check_name(name: &str) -> Option<Mistake> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let is_name = name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(is_part);
    (!is_name).then(|| {
        Mistake::new("name", format!("`{name}` is not a name that an engine takes"))
            .hint("letters, digits, `_`, `.` and `-` make a name")
    })
}

/// Notes a field of which the two sides are not the same.
pub(super) fn differ<T: PartialEq>(
    fields: &mut Vec<FieldChange>,
    field: &str,
    is: &T,
    wanted: &T,
    show: impl Fn(&T) -> String,
) {
    if is != wanted {
        let shown = |value: &T| match show(value) {
            text if text.is_empty() => Shown::Nothing,
            text => Shown::Text(text),
        };
        fields.push(FieldChange {
            field: field.to_owned(),
            before: shown(is),
            after: shown(wanted),
        });
    }
}

/// Writes pairs for people.
pub(super) fn pairs(pairs: &BTreeMap<String, String>) -> String {
    let pair = |(key, value): (&String, &String)| format!("{key}={value}");
    pairs.iter().map(pair).collect::<Vec<_>>().join(", ")
}

/// Returns those of the pairs that are there which have a key of the wanted ones: an engine adds its own.
pub(super) fn wanted_keys(
    is: &BTreeMap<String, String>,
    wanted: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let is_wanted = |(key, _): &(&String, &String)| wanted.contains_key(*key);
    is.iter()
        .filter(is_wanted)
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}
