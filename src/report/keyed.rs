//! Structured contents, compared by key: TOML, JSON and `KEY=value` lines.

use std::collections::BTreeMap;

/// One key that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyChange {
    /// The key's path.
    pub key: String,
    /// What is there, if the key is.
    pub before: Option<String>,
    /// What will be there, if the key will.
    pub after: Option<String>,
}

/// Compares two contents of a file by key, in order of the keys.
///
/// `None` where the file's form is not known by its name, where one of the two cannot be read in it, or where they differ
/// in nothing but comments and layout: then only a diff of their lines tells the truth.
pub fn compare(path: &str, before: &str, after: &str) -> Option<Vec<KeyChange>> {
    let read = reader(path)?;
    let (before, after) = (read(before)?, read(after)?);
    let keys = before
        .keys()
        .chain(after.keys())
        .collect::<std::collections::BTreeSet<_>>();
    let changes: Vec<KeyChange> = keys
        .into_iter()
        .filter(|key| before.get(*key) != after.get(*key))
        .map(|key| KeyChange {
            key: key.clone(),
            before: before.get(key).cloned(),
            after: after.get(key).cloned(),
        })
        .collect();
    (!changes.is_empty()).then_some(changes)
}

type Keys = BTreeMap<String, String>;

fn reader(path: &str) -> Option<fn(&str) -> Option<Keys>> {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("toml") => Some(toml),
        Some("json") => Some(json),
        Some("env") => Some(env),
        _ => None,
    }
}

fn json(text: &str) -> Option<Keys> {
    // An array of objects compared by index names every later one when one is put in: lines are better there.
    let value: serde_json::Value = serde_json::from_str(text)
        .ok()
        .filter(serde_json::Value::is_object)?;
    let mut keys = Keys::new();
    flatten("", &value, &mut keys);
    Some(keys)
}

fn toml(text: &str) -> Option<Keys> {
    let value: toml::Value = toml::from_str(text).ok()?;
    let mut keys = Keys::new();
    flatten("", &serde_json::to_value(value).ok()?, &mut keys);
    Some(keys)
}

fn flatten(prefix: &str, value: &serde_json::Value, keys: &mut Keys) {
    match value {
        serde_json::Value::Object(fields) if !fields.is_empty() => fields.iter().for_each(|(key, value)| {
            let key = if key.contains('.') {
                format!("\"{key}\"")
            } else {
                key.clone()
            };
            let path = if prefix.is_empty() {
                key
            } else {
                format!("{prefix}.{key}")
            };
            flatten(&path, value, keys);
        }),
        leaf => {
            keys.insert(prefix.to_owned(), leaf.to_string());
        }
    }
}

/// Lines that are neither empty, comments nor `KEY=value` make the file something else; so does a key that comes twice.
fn env(text: &str) -> Option<Keys> {
    let mut keys = Keys::new();
    for line in text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (key, value) = line
            .strip_prefix("export ")
            .unwrap_or(line)
            .trim_start()
            .split_once('=')?;
        let is_key = !key.is_empty()
            && key
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let is_new = keys.insert(key.to_owned(), value.to_owned()).is_none();
        (is_key && is_new).then_some(())?;
    }
    Some(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(path: &str, before: &str, after: &str) -> Option<Vec<String>> {
        let text = |value: Option<String>| value.unwrap_or("-".to_owned());
        let changes = compare(path, before, after)?;
        Some(
            changes
                .into_iter()
                .map(|c| format!("{}: {} {}", c.key, text(c.before), text(c.after)))
                .collect(),
        )
    }

    #[test]
    fn keys_that_differ_are_named_whatever_their_order() {
        let toml = shown(
            "/a.toml",
            "x = 1\n[t]\n\"a.b\" = 2\n",
            "[t]\n\"a.b\" = 3\nnew = [1]\n",
        );
        assert_eq!(toml.unwrap(), ["t.\"a.b\": 2 3", "t.new: - [1]", "x: 1 -"]);
        assert_eq!(
            shown("/a.json", r#"{"a":1,"b":2}"#, r#"{"b":3,"a":1}"#).unwrap(),
            ["b: 2 3"]
        );
        assert_eq!(
            shown("/config.env", "# c\nexport A=1\nB=2\n", "A=1\nB=\n").unwrap(),
            ["B: 2 "]
        );
    }

    #[test]
    fn what_has_no_keys_or_differs_in_layout_only_is_left_to_lines() {
        assert_eq!(shown("/a.conf", "a=1", "a=2"), None);
        assert_eq!(shown("/a.toml", "a = 1", "a = 1 # why"), None);
        assert_eq!(shown("/a.toml", "a = 1", "a == 1"), None);
        assert_eq!(shown("/a.env", "A=1", "A=1\nA=2"), None);
        assert_eq!(shown("/a.env", "A=1", "if true; then A=2; fi"), None);
    }
}
