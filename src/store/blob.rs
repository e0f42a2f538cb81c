//! Blobs: long strings of a saved value, kept beside it under the digest of their content.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::{StoreError, atomic, read_text};
use crate::model::digest::Digest;

/// The longest string that stays within the saved value, in bytes.
const INLINE_MAX_BYTES: usize = 4 * 1024;
/// The only key of the object that stands for a long string.
const MARK: &str = "$blob";

/// Blobs that are being written, each once: a fleet has the same long file on many hosts.
#[derive(Debug)]
pub struct Blobs {
    folder: PathBuf,
    written: BTreeSet<Digest>,
    failed: Option<StoreError>,
}

impl Blobs {
    /// Begins to write blobs into a folder.
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            written: BTreeSet::new(),
            failed: None,
        }
    }

    /// Writes the long strings of a value and returns the value with references in their place; `None` once one cannot be written.
    ///
    /// A value's own object with the mark as its only key is wrapped in a list, so that it is not taken for a reference.
    pub fn take_out(&mut self, value: Value) -> Option<Value> {
        let lean = self.lean(value);
        lean.map_err(|error| self.failed = Some(error)).ok()
    }

    /// Returns why a blob could not be written.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn result(self) -> Result<(), StoreError> {
        self.failed.map_or(Ok(()), Err)
    }

    fn lean(&mut self, value: Value) -> Result<Value, StoreError> {
        match value {
            Value::String(text) if text.len() > INLINE_MAX_BYTES => {
                let digest = Digest::of(&text);
                // Same name, same content; writing what an earlier plan left mends a damaged one.
                if !self.written.contains(&digest) {
                    atomic::write(&self.folder.join(&digest.0), text.as_bytes())?;
                    self.written.insert(digest.clone());
                }
                Ok(json!({ MARK: digest }))
            }
            Value::Array(items) => items
                .into_iter()
                .map(|item| self.lean(item))
                .collect::<Result<_, _>>()
                .map(Value::Array),
            Value::Object(fields) => {
                let is_mark = marked(&fields).is_some();
                let fields = each(fields, |value| self.lean(value))?;
                Ok(if is_mark {
                    json!({ MARK: [fields] })
                } else {
                    Value::Object(fields)
                })
            }
            other => Ok(other),
        }
    }
}

/// Puts the long strings of a saved value back.
///
/// # Errors
/// [`StoreError::Damaged`] if a blob is missing, altered, or not named by a digest.
pub fn put_back(value: Value, folder: &Path) -> Result<Value, StoreError> {
    match value {
        Value::Array(items) => items
            .into_iter()
            .map(|item| put_back(item, folder))
            .collect::<Result<_, _>>()
            .map(Value::Array),
        Value::Object(mut fields) => match marked(&fields) {
            Some(Value::String(digest)) => {
                read(&folder.join(name(digest, folder)?), digest).map(Value::String)
            }
            Some(Value::Array(inner)) if inner.len() == 1 => {
                let inner = fields
                    .remove(MARK)
                    .and_then(|list| list.get(0).cloned())
                    .unwrap_or_default();
                match inner {
                    Value::Object(inner) => each(inner, |value| put_back(value, folder)).map(Value::Object),
                    other => Ok(other),
                }
            }
            _ => each(fields, |value| put_back(value, folder)).map(Value::Object),
        },
        other => Ok(other),
    }
}

fn marked(fields: &Map<String, Value>) -> Option<&Value> {
    fields.get(MARK).filter(|_| fields.len() == 1)
}

fn each(
    fields: Map<String, Value>,
    mut f: impl FnMut(Value) -> Result<Value, StoreError>,
) -> Result<Map<String, Value>, StoreError> {
    fields
        .into_iter()
        .map(|(key, value)| Ok((key, f(value)?)))
        .collect()
}

/// A name that is no digest could point anywhere, so it is refused before it becomes a path.
fn name<'a>(digest: &'a str, folder: &Path) -> Result<&'a str, StoreError> {
    let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    let why = || format!("it names a blob `{}`, which is no digest", digest.escape_debug());
    is_digest
        .then_some(digest)
        .ok_or_else(|| damaged(folder.to_owned(), why()))
}

fn read(path: &Path, digest: &str) -> Result<String, StoreError> {
    let text = read_text(path).map_err(|error| match error {
        StoreError::Read { path, source } if source.kind() == std::io::ErrorKind::NotFound => {
            damaged(path, "this blob of a plan is missing".to_owned())
        }
        other => other,
    })?;
    let is_whole = Digest::of(&text).0 == digest;
    is_whole
        .then_some(text)
        .ok_or_else(|| damaged(path.to_owned(), "its content does not match its name".to_owned()))
}

fn damaged(path: PathBuf, why: String) -> StoreError {
    StoreError::Damaged { path, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long() -> String {
        "é".repeat(INLINE_MAX_BYTES)
    }

    fn take_out(value: Value, folder: &Path) -> Value {
        let mut blobs = Blobs::new(folder.to_owned());
        let lean = blobs.take_out(value).expect("a folder that can be written");
        blobs.result().unwrap();
        lean
    }

    #[test]
    fn long_strings_go_out_and_come_back_and_short_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        let value = json!({ "a": [long(), "short"], "b": "x".repeat(INLINE_MAX_BYTES) });
        let saved = take_out(value.clone(), folder.path());
        assert_eq!(saved["a"][0], json!({ MARK: Digest::of(long()) }));
        assert_eq!(saved["b"], value["b"]);
        assert_eq!(put_back(saved, folder.path()).unwrap(), value);
    }

    #[test]
    fn a_value_that_looks_like_a_reference_survives() {
        let folder = tempfile::tempdir().unwrap();
        for value in [
            json!({ MARK: "x" }),
            json!({ MARK: { MARK: [long()] } }),
            json!({ MARK: [{ MARK: 1 }] }),
        ] {
            let saved = take_out(value.clone(), folder.path());
            assert_eq!(put_back(saved, folder.path()).unwrap(), value);
        }
    }

    #[test]
    fn a_missing_an_altered_and_a_wandering_blob_refuse() {
        let folder = tempfile::tempdir().unwrap();
        let saved = take_out(json!(long()), folder.path());
        let path = folder.path().join(Digest::of(long()).0);
        std::fs::write(&path, "other").unwrap();
        let altered = put_back(saved.clone(), folder.path()).unwrap_err();
        assert!(altered.to_string().contains("does not match"), "{altered}");
        std::fs::remove_file(&path).unwrap();
        let missing = put_back(saved, folder.path()).unwrap_err();
        assert!(missing.to_string().contains("missing"), "{missing}");
        let wandering = put_back(json!({ MARK: "../../etc/passwd" }), folder.path()).unwrap_err();
        assert!(wandering.to_string().contains("no digest"), "{wandering}");
    }
}
