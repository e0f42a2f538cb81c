//! Values: a node as a text, a number, a truth value, a size or a duration; what does not fit is reported.

use std::collections::BTreeMap;

use crate::model::code;
use crate::model::diagnostic::did_you_mean;

use super::interpolate::is_foreign;
use super::keys::Section;
use super::node::{Meaning, Node, Value};
use super::source::Texts;

/// Checks the keys of a mapping against its section. Says whether it is a mapping at all.
pub(super) fn check(texts: &mut Texts, node: &Node, section: &Section, subject: &str) -> bool {
    let Value::Map(entries) = &node.value else {
        if !node.is_null() {
            let message = format!("{subject}: found {}, expected a mapping", node.what());
            texts.error(code::COMPOSE_VALUE, message, node.at, "not a mapping");
        }
        return false;
    };
    for entry in entries {
        let key = entry.key.as_str();
        if section.accepts(key) || is_foreign(key) {
            continue;
        }
        if let Some(reason) = section.refuses(key) {
            let message = format!("{subject}: `{key}` is not accepted");
            texts.hinted(code::COMPOSE_REFUSED, message, entry.key_at, "refused", reason);
            continue;
        }
        let known: Vec<&str> = section.accepted.iter().map(|(name, ..)| *name).collect();
        let hint = did_you_mean(key, known.iter().copied())
            .unwrap_or_else(|| format!("known here: {}", known.join(", ")));
        let message = format!("{subject}: key `{key}` is not known here");
        texts.hinted(code::COMPOSE_KEY, message, entry.key_at, "unknown key", hint);
    }
    true
}

fn misfit(texts: &mut Texts, node: &Node, subject: &str, expected: &str) {
    let message = format!("{subject}: found {}, expected {expected}", found(texts, node));
    texts.error(code::COMPOSE_VALUE, message, node.at, "this does not fit");
}

fn found(texts: &Texts, node: &Node) -> String {
    match node.as_text() {
        Some(text) => format!("`{}`", texts.shown(text)),
        None => node.what().to_owned(),
    }
}

/// Reads a text that may hold secrets. A number is taken as it is written, unless readers of YAML disagree about it.
pub(super) fn sensitive(texts: &mut Texts, node: &Node, subject: &str) -> Option<String> {
    let Value::Scalar(scalar) = &node.value else {
        misfit(texts, node, subject, "a text");
        return None;
    };
    if scalar.means() == Meaning::Ambiguous {
        let message = format!(
            "{subject}: `{}` is read differently by different readers of YAML",
            scalar.text
        );
        let hint = format!("put it in quotes: `\"{}\"`", scalar.text);
        texts.hinted(
            code::COMPOSE_AMBIGUOUS,
            message,
            node.at,
            "a text or a number?",
            hint,
        );
        return None;
    }
    Some(scalar.text.clone())
}

/// Reads a text without secrets.
pub(super) fn text(texts: &mut Texts, node: &Node, subject: &str) -> Option<String> {
    let text = sensitive(texts, node, subject)?;
    (!texts.refuse_holes(&text, subject, node.at)).then_some(text)
}

/// Reads a text without secrets that is not empty.
pub(super) fn word(texts: &mut Texts, node: &Node, subject: &str) -> Option<String> {
    let word = text(texts, node, subject)?;
    if word.is_empty() {
        misfit(texts, node, subject, "a text that is not empty");
        return None;
    }
    Some(word)
}

/// Reads a truth value.
pub(super) fn truth(texts: &mut Texts, node: &Node, subject: &str) -> Option<bool> {
    match node.as_text() {
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(_) | None => {
            misfit(texts, node, subject, "`true` or `false`");
            None
        }
    }
}

/// Reads a whole number.
pub(super) fn number(texts: &mut Texts, node: &Node, subject: &str) -> Option<i64> {
    let number = node.as_text().and_then(|text| text.parse().ok());
    if number.is_none() {
        misfit(texts, node, subject, "a whole number");
    }
    number
}

/// Reads a whole number of at least 0.
pub(super) fn count(texts: &mut Texts, node: &Node, subject: &str) -> Option<u64> {
    let number = node.as_text().and_then(|text| text.parse().ok());
    if number.is_none() {
        misfit(texts, node, subject, "a whole number of at least 0");
    }
    number
}

/// Reads processors such as `0.5` into billionths.
pub(super) fn nano_cpus(texts: &mut Texts, node: &Node, subject: &str) -> Option<u64> {
    let nanos = node.as_text().and_then(parse_nano);
    if nanos.is_none() {
        misfit(texts, node, subject, "a number of processors such as `0.5`");
    }
    nanos
}

fn parse_nano(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() && fraction.is_empty()
        || fraction.len() > 9
        || !(whole.to_owned() + fraction)
            .bytes()
            .all(|byte| byte.is_ascii_digit())
    {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction: u64 = format!("{fraction:0<9}").parse().ok()?;
    whole.checked_mul(1_000_000_000)?.checked_add(fraction)
}

/// Reads a size such as `512m`, `2g`, `1.5gb`.
pub(super) fn bytes(texts: &mut Texts, node: &Node, subject: &str) -> Option<u64> {
    let bytes = node.as_text().and_then(parse_bytes);
    if bytes.is_none() {
        misfit(texts, node, subject, "a size such as `512m` or `2g`");
    }
    bytes
}

/// Reads a size as Compose does: every unit is a power of 1024, whatever its name.
pub(super) fn parse_bytes(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(lower.len());
    let shift = match lower[digits..].trim() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        "p" | "pb" | "pib" => 50,
        _ => return None,
    };
    let number = &lower[..digits];
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(1 << shift);
    }
    let value: f64 = number.parse().ok()?;
    let bytes = value * (1u64 << shift) as f64;
    (0.0..9e15).contains(&bytes).then_some(bytes as u64)
}

/// Reads a duration such as `90s`, `1m30s`, `500ms` into nanoseconds.
pub(super) fn nanos(texts: &mut Texts, node: &Node, subject: &str) -> Option<u64> {
    let nanos = node.as_text().and_then(parse_nanos);
    if nanos.is_none() {
        misfit(
            texts,
            node,
            subject,
            "a duration such as `90s`, `1m30s` or `500ms`",
        );
    }
    nanos
}

pub(super) fn parse_nanos(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 9] = [
        ("us", 1_000),
        ("µs", 1_000),
        ("ms", 1_000_000),
        ("ns", 1),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
        ("d", 86_400_000_000_000),
        ("w", 604_800_000_000_000),
    ];
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut sum: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let (unit, factor) = UNITS.into_iter().find(|(unit, _)| rest.starts_with(unit))?;
        rest = &rest[unit.len()..];
        let part = number * factor as f64;
        if part > 9e18 {
            return None;
        }
        sum = sum.checked_add(part.round() as u64)?;
    }
    (!text.is_empty()).then_some(sum)
}

/// Returns the items of a list; a single text is a list of one.
pub(super) fn items<'n>(texts: &mut Texts, node: &'n Node, subject: &str) -> Vec<&'n Node> {
    match &node.value {
        Value::List(items) => items.iter().collect(),
        Value::Scalar(_) => vec![node],
        Value::Null => Vec::new(),
        Value::Map(_) => {
            misfit(texts, node, subject, "a list");
            Vec::new()
        }
    }
}

/// Reads a list of texts without secrets; a single text is a list of one.
pub(super) fn words(texts: &mut Texts, node: &Node, subject: &str) -> Vec<String> {
    let items = items(texts, node, subject);
    items
        .into_iter()
        .filter_map(|item| word(texts, item, subject))
        .collect()
}

/// Reads a mapping of texts without secrets; nothing counts as an empty text.
pub(super) fn pairs(texts: &mut Texts, node: &Node, subject: &str) -> BTreeMap<String, String> {
    if !matches!(node.value, Value::Map(_) | Value::Null) {
        misfit(texts, node, subject, "a mapping, or a list of `key=value`");
    }
    let mut pairs = BTreeMap::new();
    for entry in node.entries() {
        let subject = format!("{subject}: `{}`", entry.key);
        let value = if entry.value.is_null() {
            Some(String::new())
        } else {
            text(texts, &entry.value, &subject)
        };
        pairs.extend(value.map(|value| (entry.key.clone(), value)));
    }
    pairs
}

/// Reads one of some words.
pub(super) fn choice(texts: &mut Texts, node: &Node, subject: &str, words: &[&str]) -> Option<String> {
    let word = text(texts, node, subject)?;
    if words.contains(&word.as_str()) {
        return Some(word);
    }
    let hint =
        did_you_mean(&word, words.iter().copied()).unwrap_or_else(|| format!("one of: {}", words.join(", ")));
    texts.hinted(
        code::COMPOSE_VALUE,
        format!("{subject}: `{word}` is not known here"),
        node.at,
        "this does not fit",
        hint,
    );
    None
}

/// Reads the words of a command: a list as it is, a text split as a shell splits it.
pub(super) fn command(texts: &mut Texts, node: &Node, subject: &str) -> Option<Vec<String>> {
    match &node.value {
        Value::List(items) => Some(
            items
                .iter()
                .filter_map(|item| text(texts, item, subject))
                .collect(),
        ),
        Value::Scalar(_) => {
            let line = text(texts, node, subject)?;
            let words = split(&line);
            if words.is_none() {
                misfit(texts, node, subject, "a command whose quotes are closed");
            }
            words
        }
        Value::Null => None,
        Value::Map(_) => {
            misfit(texts, node, subject, "a text or a list of words");
            None
        }
    }
}

/// Splits a line into words: blanks part them, quotes and backslashes keep blanks together. Nothing is expanded.
fn split(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next()? {
                        '\'' => break,
                        inner => word.push(inner),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next()? {
                        '"' => break,
                        '\\' => match characters.next()? {
                            inner @ ('"' | '\\' | '$' | '`') => word.push(inner),
                            inner => word.extend(['\\', inner]),
                        },
                        inner => word.push(inner),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(characters.next()?),
            blank if blank.is_whitespace() => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024_and_may_have_fractions() {
        assert_eq!(parse_bytes("64m"), Some(64 << 20));
        assert_eq!(parse_bytes("1.5gb"), Some(3 << 29));
        assert_eq!(parse_bytes("17"), Some(17));
        for bad in ["", "m", "-1", "1x", "1e9g", "99999999999999999999"] {
            assert_eq!(parse_bytes(bad), None, "{bad}");
        }
    }

    #[test]
    fn durations_add_up_and_processors_are_exact() {
        assert_eq!(parse_nanos("1m30s"), Some(90_000_000_000));
        assert_eq!(parse_nanos("500ms"), Some(500_000_000));
        assert_eq!(parse_nanos("1.5s"), Some(1_500_000_000));
        for bad in ["", "30", "s", "1y", "-5s", "999999999999h"] {
            assert_eq!(parse_nanos(bad), None, "{bad}");
        }
        assert_eq!(parse_nano("0.1"), Some(100_000_000));
        assert_eq!(parse_nano("2"), Some(2_000_000_000));
        assert_eq!(parse_nano("1e3"), None);
    }

    #[test]
    fn a_command_is_split_as_a_shell_splits_it() {
        let words = |line: &str| split(line).map(|words| words.join("|"));
        assert_eq!(
            words(r#"sh -c "a 'b' \"c\"" 'd e' f\ g"#).as_deref(),
            Some(r#"sh|-c|a 'b' "c"|d e|f g"#)
        );
        assert_eq!(words("'' x").as_deref(), Some("|x"));
        assert_eq!(words("a 'b"), None);
        assert_eq!(words("  "), Some(String::new()));
    }
}
