//! JSON files, edited in place: only the bytes of the named members change.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde_json::Value;

use super::path::segments;

/// One member of an object, by byte offsets into the text.
struct Member {
    key: String,
    key_span: Range<usize>,
    value: Range<usize>,
}

/// An object, by byte offsets into the text.
struct Object {
    open: usize,
    close: usize,
    members: Vec<Member>,
}

impl Object {
    fn last(&self, key: &str) -> Option<&Member> {
        self.members.iter().rfind(|member| member.key == key)
    }
}

pub fn read(text: &str, keys: &BTreeSet<String>) -> Result<BTreeMap<String, Value>, String> {
    let root = parse(text)?;
    let mut found = BTreeMap::new();
    for key in keys {
        let mut at = Some(&root);
        for segment in segments(key)? {
            at = at.and_then(|value| value.get(&segment));
        }
        if let Some(value) = at {
            found.insert(key.clone(), value.clone());
        }
    }
    Ok(found)
}

pub fn edit(
    text: Option<&str>,
    set: &BTreeMap<String, Value>,
    remove: &BTreeSet<String>,
) -> Result<String, String> {
    let mut text = match text {
        Some(text) if !text.trim().is_empty() => text.to_owned(),
        Some(_) | None => "{}\n".to_owned(),
    };
    if !parse(&text)?.is_object() {
        return Err("the top of the file is not an object".to_owned());
    }
    for key in remove {
        text = remove_key(text, &segments(key)?);
    }
    for (key, value) in set {
        text = set_key(&text, &segments(key)?, value).map_err(|why| format!("`{key}`: {why}"))?;
    }
    Ok(text)
}

fn parse(text: &str) -> Result<Value, String> {
    // The parser's own message could repeat content.
    serde_json::from_str(text)
        .map_err(|error| format!("not JSON: line {}, column {}", error.line(), error.column()))
}

fn set_key(text: &str, path: &[String], value: &Value) -> Result<String, String> {
    let mut object = root(text);
    for (depth, segment) in path.iter().enumerate() {
        let rest = &path[depth + 1..];
        let Some(member) = object.last(segment) else {
            let nested = rest.iter().rev().fold(value.clone(), |inner, segment| {
                Value::Object([(segment.clone(), inner)].into_iter().collect())
            });
            return Ok(insert(text, &object, segment, &nested));
        };
        let there = &text[member.value.clone()];
        if rest.is_empty() {
            if serde_json::from_str::<Value>(there).is_ok_and(|there| there == *value) {
                return Ok(text.to_owned());
            }
            let written = write(text, value, indent_at(text, member.key_span.start));
            return Ok(splice(text, member.value.clone(), &written));
        }
        if !there.starts_with('{') {
            return Err("something on the way to it is not an object".to_owned());
        }
        object = scan(text, member.value.start);
    }
    unreachable!("a path has at least one segment, and its last one returns")
}

fn insert(text: &str, object: &Object, key: &str, value: &Value) -> String {
    let key = Value::from(key).to_string();
    let Some(last) = object.members.last() else {
        return insert_first(text, object, &key, value);
    };
    let first = &object.members[0];
    let opening = &text[object.open + 1..first.key_span.start];
    let colon = &text[last.key_span.end..last.value.start];
    let between = match object.members.len() {
        1 if opening.contains('\n') => format!(",{opening}"),
        1 if colon == ":" => ",".to_owned(),
        1 => ", ".to_owned(),
        n => text[object.members[n - 2].value.end..last.key_span.start].to_owned(),
    };
    let written = write(text, value, indent_at(text, last.key_span.start));
    splice(
        text,
        last.value.end..last.value.end,
        &format!("{between}{key}{colon}{written}"),
    )
}

fn insert_first(text: &str, object: &Object, key: &str, value: &Value) -> String {
    let inside = object.open + 1..object.close;
    if !is_spread(text) {
        return splice(text, inside, &format!("{key}:{}", write(text, value, "")));
    }
    let outer = indent_at(text, object.open).to_owned();
    let inner = format!("{outer}{}", unit(text));
    let newline = newline(text);
    let written = write(text, value, &inner);
    splice(
        text,
        inside,
        &format!("{newline}{inner}{key}: {written}{newline}{outer}"),
    )
}

/// Removes a member wherever it stands, and the objects that this leaves empty.
fn remove_key(mut text: String, path: &[String]) -> String {
    for depth in (0..path.len()).rev() {
        let Some(object) = descend(&text, &path[..depth]) else {
            return text;
        };
        let (key, is_last_step) = (&path[depth], depth + 1 == path.len());
        if !is_last_step {
            let is_empty = descend(&text, &path[..=depth]).is_some_and(|inner| inner.members.is_empty());
            if !is_empty {
                return text;
            }
        } else if object.last(key).is_none() {
            return text;
        }
        while let Some(index) =
            descend(&text, &path[..depth]).and_then(|o| o.members.iter().position(|m| m.key == *key))
        {
            text = remove_member(
                &text,
                &descend(&text, &path[..depth]).expect("found just now"),
                index,
            );
        }
    }
    text
}

fn remove_member(text: &str, object: &Object, index: usize) -> String {
    let members = &object.members;
    let span = match (members.len(), members.get(index + 1)) {
        (1, _) => object.open + 1..object.close,
        (_, Some(next)) => members[index].key_span.start..next.key_span.start,
        (_, None) => members[index - 1].value.end..members[index].value.end,
    };
    splice(text, span, "")
}

fn descend(text: &str, path: &[String]) -> Option<Object> {
    path.iter().try_fold(root(text), |object, segment| {
        let member = object.last(segment)?;
        text[member.value.clone()]
            .starts_with('{')
            .then(|| scan(text, member.value.start))
    })
}

fn splice(text: &str, span: Range<usize>, new: &str) -> String {
    format!("{}{new}{}", &text[..span.start], &text[span.end..])
}

/// Writes a value in the manner of the file; `indent` is that of the line on which it begins.
fn write(text: &str, value: &Value, indent: &str) -> String {
    let is_flat = |items: &Vec<Value>| items.iter().all(|item| !item.is_array() && !item.is_object());
    match value {
        Value::Array(items) if is_flat(items) => {
            let comma = if is_spread(text) { ", " } else { "," };
            format!(
                "[{}]",
                items.iter().map(Value::to_string).collect::<Vec<_>>().join(comma)
            )
        }
        Value::Array(_) | Value::Object(_) if is_spread(text) => {
            let pretty = serde_json::to_string_pretty(value).expect("values serialise");
            let lines = pretty.lines().enumerate().map(|(number, line)| {
                let content = line.trim_start();
                let depth = (line.len() - content.len()) / 2;
                let start = if number == 0 {
                    String::new()
                } else {
                    format!("{indent}{}", unit(text).repeat(depth))
                };
                format!("{start}{content}")
            });
            lines.collect::<Vec<_>>().join(newline(text))
        }
        value => value.to_string(),
    }
}

/// Says whether the file spreads over lines; an empty object does too once it is filled.
fn is_spread(text: &str) -> bool {
    let trimmed = text.trim();
    trimmed.contains('\n') || root(text).members.is_empty()
}

fn newline(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}

/// Returns the blanks with which the line of a place begins.
fn indent_at(text: &str, at: usize) -> &str {
    let line = &text[text[..at].rfind('\n').map_or(0, |newline| newline + 1)..];
    &line[..line.len() - line.trim_start_matches([' ', '\t']).len()]
}

/// Returns one step of indentation: that of the first member, else two blanks.
fn unit(text: &str) -> &str {
    root(text)
        .members
        .first()
        .map(|member| indent_at(text, member.key_span.start))
        .filter(|indent| !indent.is_empty())
        .unwrap_or("  ")
}

fn root(text: &str) -> Object {
    scan(text, skip_blanks(text, 0))
}

/// Finds the members of the object that begins at `open`. INVARIANT: the text was parsed as JSON before.
fn scan(text: &str, open: usize) -> Object {
    let mut object = Object {
        open,
        close: open,
        members: Vec::new(),
    };
    let mut at = skip_blanks(text, open + 1);
    while text.as_bytes()[at] == b'"' {
        let key_span = at..skip_string(text, at);
        let colon = skip_blanks(text, key_span.end);
        let start = skip_blanks(text, colon + 1);
        let value = start..skip_value(text, start);
        at = skip_blanks(text, value.end);
        let key = serde_json::from_str(&text[key_span.clone()]).expect("parsed before");
        object.members.push(Member { key, key_span, value });
        if text.as_bytes()[at] == b',' {
            at = skip_blanks(text, at + 1);
        }
    }
    object.close = at;
    object
}

fn skip_blanks(text: &str, from: usize) -> usize {
    text.len() - text[from..].trim_start_matches([' ', '\t', '\r', '\n']).len()
}

fn skip_string(text: &str, from: usize) -> usize {
    let mut is_escaped = false;
    for (offset, byte) in text.bytes().enumerate().skip(from + 1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return offset + 1,
            _ => {}
        }
    }
    text.len()
}

fn skip_value(text: &str, from: usize) -> usize {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (from, 0_usize);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = skip_string(text, at) - 1,
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => return at,
            b'}' | b']' => depth -= 1,
            b',' | b' ' | b'\t' | b'\r' | b'\n' if depth == 0 => return at,
            _ => {}
        }
        at += 1;
        if depth == 0 && matches!(bytes[at - 1], b'"' | b'}' | b']') {
            return at;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn edited(text: &str, set: &[(&str, Value)], remove: &[&str]) -> String {
        let set = set.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
        edit(
            Some(text),
            &set,
            &remove.iter().map(|k| (*k).to_owned()).collect(),
        )
        .unwrap()
    }

    #[test]
    fn only_the_named_members_change() {
        let text = "{\n\t\"a\": 1.50,\n\t\"b\": { \"x\": [1,  2] , \"y\":2}\n}\n";
        assert_eq!(
            edited(text, &[("b.y", json!(3)), ("b.z", json!([true, "q"]))], &["a"]),
            "{\n\t\"b\": { \"x\": [1,  2] , \"y\":3 , \"z\":[true, \"q\"]}\n}\n"
        );
    }

    #[test]
    fn new_objects_take_the_files_indentation_and_line_ends() {
        let text = "{\r\n    \"a\": 1\r\n}\r\n";
        assert_eq!(
            edited(text, &[("b.c", json!({"d": 1}))], &[]),
            "{\r\n    \"a\": 1,\r\n    \"b\": {\r\n        \"c\": {\r\n            \"d\": 1\r\n        }\r\n    }\r\n}\r\n"
        );
        assert_eq!(
            edited("{\"a\":{}}", &[("a.b", json!(1))], &[]),
            "{\"a\":{\"b\":1}}"
        );
        assert_eq!(
            edit(None, &[("a".to_owned(), json!(1))].into(), &[].into()).unwrap(),
            "{\n  \"a\": 1\n}\n"
        );
    }

    #[test]
    fn objects_left_empty_go_too() {
        assert_eq!(
            edited("{\"a\":{\"b\":{\"c\":1}},\"d\":2}", &[], &["a.b.c"]),
            "{\"d\":2}"
        );
        assert_eq!(
            edited("{\"a\":{\"b\":1,\"c\":2}}", &[], &["a.b"]),
            "{\"a\":{\"c\":2}}"
        );
    }

    #[test]
    fn errors_say_where_and_repeat_nothing() {
        let error = read("{\n \"k\": hunter2\n}", &["k".to_owned()].into()).unwrap_err();
        assert!(error.contains("line 2") && !error.contains("hunter2"), "{error}");
        let set = [("a.b".to_owned(), json!(1))].into();
        assert!(edit(Some("{\"a\": \"hunter2\"}"), &set, &[].into()).is_err_and(|e| !e.contains("hunter2")));
        assert!(edit(Some("[]"), &set, &[].into()).is_err());
    }

    #[test]
    fn strings_with_braces_and_escapes_do_not_mislead() {
        let text = r#"{"a":"}\"{,", "b\"": [{"c":"]"}], "d": -1e5}"#;
        assert_eq!(
            edited(text, &[("d", json!(1))], &["a"]),
            r#"{"b\"": [{"c":"]"}], "d": 1}"#
        );
    }
}
