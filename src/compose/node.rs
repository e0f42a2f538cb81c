//! Nodes: a YAML file as a tree in which every value knows its place.

use super::source::At;

/// A value with its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) at: At,
    /// `!reset` or `!override` before it.
    pub(super) tag: Option<Tag>,
}

/// What a later file may say of an earlier one's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    /// It goes.
    Reset,
    /// This takes its place, and is not merged with it.
    Override,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// Nothing.
    Null,
    /// A text, a number or a truth value, as it is written.
    Scalar(Scalar),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the file.
    Map(Vec<Entry>),
}

/// A scalar.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scalar {
    /// The text, with placeholders.
    pub(super) text: String,
    /// Whether it stands without quotes and nothing was interpolated, so that YAML may read more than a text in it.
    pub(super) is_plain: bool,
}

/// An entry of a mapping.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_at: At,
    pub(super) value: Node,
}

impl Node {
    pub(super) fn new(value: Value, at: At) -> Self {
        Self { value, at, tag: None }
    }

    /// Makes a text that needs no further reading.
    pub(super) fn text(text: impl Into<String>, at: At) -> Self {
        let scalar = Scalar {
            text: text.into(),
            is_plain: false,
        };
        Self::new(Value::Scalar(scalar), at)
    }

    pub(super) fn null(at: At) -> Self {
        Self::new(Value::Null, at)
    }

    pub(super) fn is_null(&self) -> bool {
        self.value == Value::Null
    }

    /// Returns the entry of a key.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// Returns the value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// Returns the entries of a mapping; of everything else none.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            Value::Null | Value::Scalar(_) | Value::List(_) => &[],
        }
    }

    /// Returns the text of a scalar.
    pub(super) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) => Some(&scalar.text),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// Says in a few words what it is.
    pub(super) fn what(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Scalar(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

impl Scalar {
    /// Says what YAML reads in a plain scalar that is no text.
    pub(super) fn means(&self) -> Meaning {
        match self.is_plain {
            true => meaning(&self.text),
            false => Meaning::Text,
        }
    }
}

/// What readers of YAML make of a plain scalar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    Text,
    Null,
    Bool(bool),
    /// A number that every reader writes back as it stands.
    Number,
    /// What readers of different versions of YAML read differently, or write back otherwise.
    Ambiguous,
}

fn meaning(text: &str) -> Meaning {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Meaning::Null,
        "true" => return Meaning::Bool(true),
        "false" => return Meaning::Bool(false),
        "True" | "TRUE" | "False" | "FALSE" | "yes" | "Yes" | "YES" | "no" | "No" | "NO" | "on" | "On"
        | "ON" | "off" | "Off" | "OFF" => return Meaning::Ambiguous,
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return Meaning::Text;
    }
    if text.bytes().all(|byte| byte.is_ascii_digit())
        || text.starts_with('-') && unsigned.bytes().all(|byte| byte.is_ascii_digit())
    {
        let has_zero_ahead = unsigned.len() > 1 && unsigned.starts_with('0');
        return if has_zero_ahead || unsigned.len() > 18 {
            Meaning::Ambiguous
        } else {
            Meaning::Number
        };
    }
    let is_based = ["0x", "0o", "0b"].iter().any(|base| {
        unsigned.strip_prefix(base).is_some_and(|digits| {
            !digits.is_empty()
                && digits
                    .bytes()
                    .all(|byte| byte.is_ascii_hexdigit() || byte == b'_')
        })
    });
    let is_sexagesimal = text.contains(':')
        && text
            .split(':')
            .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
        && text.split(':').skip(1).all(|part| part.len() <= 2 && part < "60");
    let is_underscored =
        text.contains('_') && unsigned.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    let is_float = unsigned
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte))
        && text.parse::<f64>().is_ok();
    match is_based || is_sexagesimal || is_underscored {
        true => Meaning::Ambiguous,
        false if is_float => float(text),
        false => Meaning::Text,
    }
}

/// A decimal fraction that is written back as it stands is a number; `1.0` and `1e3` are not.
fn float(text: &str) -> Meaning {
    match text.parse::<f64>() {
        Ok(value) if value.to_string() == text => Meaning::Number,
        Ok(_) | Err(_) => Meaning::Ambiguous,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_yaml_reads_differently_is_ambiguous() {
        for text in [
            "yes", "0644", "0x1F", "0o17", "1_000", "22:22", "1.0", "1e3", "True", "+5",
        ] {
            assert_eq!(meaning(text), Meaning::Ambiguous, "{text}");
        }
        for text in [
            "a",
            "1.2.3",
            "8080:80",
            "127.0.0.1:80:80",
            "30s",
            "v1",
            "-",
            "1-2",
            "2026-01-01",
            "0.14.2",
        ] {
            assert_eq!(meaning(text), Meaning::Text, "{text}");
        }
        for text in ["0", "8080", "-1", "0.5", "1.5"] {
            assert_eq!(meaning(text), Meaning::Number, "{text}");
        }
    }
}
