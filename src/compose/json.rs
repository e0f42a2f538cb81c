//! Reading an engine's JSON: what is missing or of another shape is absent.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

pub(super) fn text(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer)?.as_str().map(str::to_owned)
}

pub(super) fn filled(value: &Value, pointer: &str) -> Option<String> {
    text(value, pointer).filter(|text| !text.is_empty())
}

pub(super) fn flag(value: &Value, pointer: &str) -> bool {
    value.pointer(pointer).and_then(Value::as_bool).unwrap_or(false)
}

pub(super) fn whole(value: &Value, pointer: &str) -> Option<i64> {
    value.pointer(pointer)?.as_i64()
}

pub(super) fn natural(value: &Value, pointer: &str) -> Option<u64> {
    whole(value, pointer)
        .and_then(|number| u64::try_from(number).ok())
        .filter(|number| *number != 0)
}

pub(super) fn texts(value: &Value, pointer: &str) -> Option<Vec<String>> {
    let items = value.pointer(pointer)?.as_array()?;
    Some(
        items
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
    )
}

pub(super) fn set(value: &Value, pointer: &str) -> BTreeSet<String> {
    texts(value, pointer).unwrap_or_default().into_iter().collect()
}

pub(super) fn objects<'v>(value: &'v Value, pointer: &str) -> Vec<(&'v String, &'v Value)> {
    value
        .pointer(pointer)
        .and_then(Value::as_object)
        .map(|object| object.iter().collect())
        .unwrap_or_default()
}

pub(super) fn items<'v>(value: &'v Value, pointer: &str) -> &'v [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

pub(super) fn map(value: &Value, pointer: &str) -> BTreeMap<String, String> {
    let pairs = objects(value, pointer).into_iter();
    pairs
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}
