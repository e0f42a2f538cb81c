//! `KEY=value` files: values are words of a POSIX shell, `export` may stand before a key, comments stay.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde_json::Value;

use super::lines::Lines;

/// One assignment.
#[derive(Debug)]
struct Entry {
    name: String,
    value: String,
    is_exported: bool,
    /// The lines that it covers: more than one where a quoted value holds line breaks.
    lines: Range<usize>,
    /// What stands before the value: indentation, `export`, key, `=`.
    head: String,
    /// What stands after it: blanks and a comment.
    tail: String,
}

pub fn read(text: &str, keys: &BTreeSet<String>) -> Result<BTreeMap<String, Value>, String> {
    let entries = entries(&Lines::split(text).lines)?;
    let of = |key: &String| entries.iter().rfind(|entry| entry.name == *key);
    keys.iter().try_for_each(|key| check_name(key))?;
    Ok(keys
        .iter()
        .filter_map(|key| Some((key.clone(), Value::from(of(key)?.value.as_str()))))
        .collect())
}

pub fn edit(
    text: Option<&str>,
    set: &BTreeMap<String, Value>,
    remove: &BTreeSet<String>,
) -> Result<String, String> {
    let mut all = Lines::split(text.unwrap_or(""));
    set.keys().chain(remove).try_for_each(|key| check_name(key))?;
    for key in remove {
        for entry in entries(&all.lines)?
            .iter()
            .rev()
            .filter(|entry| entry.name == *key)
        {
            all.lines.drain(entry.lines.clone());
        }
    }
    for (key, value) in set {
        let value = self::text(value).map_err(|why| format!("`{key}`: {why}"))?;
        set_key(&mut all.lines, key, &value)?;
    }
    Ok(all.join())
}

/// Returns a value as text.
pub fn text(value: &Value) -> Result<String, String> {
    let text = super::scalar(value, "an env file")?;
    match text.contains(['\n', '\r', '\0']) {
        true => Err("an env file holds no line breaks in a value".to_owned()),
        false => Ok(text),
    }
}

/// Says whether a key is a shell variable's name.
pub fn check_name(name: &str) -> Result<(), String> {
    let mut bytes = name.bytes();
    let is_name = bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_name {
        Ok(())
    } else {
        Err("the key is not a variable's name".to_owned())
    }
}

fn set_key(lines: &mut Vec<String>, name: &str, value: &str) -> Result<(), String> {
    let entries = entries(lines)?;
    match entries.iter().rfind(|entry| entry.name == name) {
        Some(entry) if entry.value == value => {}
        Some(entry) => {
            let line = format!("{}{}{}", entry.head, quoted(value), entry.tail);
            lines.splice(entry.lines.clone(), [line]);
        }
        None => {
            let is_exported = !entries.is_empty() && entries.iter().all(|entry| entry.is_exported);
            lines.push(format!(
                "{}{name}={}",
                if is_exported { "export " } else { "" },
                quoted(value)
            ));
        }
    }
    Ok(())
}

/// Writes a value as one word, in single quotes where it needs them.
fn quoted(value: &str) -> String {
    let is_plain = value
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(&b));
    if is_plain {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', r"'\''"))
    }
}

fn entries(lines: &[String]) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        match head(&lines[at]) {
            Some(head) => {
                let entry = entry(lines, at, head)?;
                at = entry.lines.end;
                entries.push(entry);
            }
            None => at += 1,
        }
    }
    Ok(entries)
}

/// Returns what stands before the value, if the line is an assignment.
fn head(line: &str) -> Option<&str> {
    let (head, _) = line.split_once('=')?;
    let (_, name) = exported(head);
    check_name(name).is_ok().then(|| &line[..head.len() + 1])
}

/// Takes `export` off what stands before `=`, and says whether it was there.
fn exported(head: &str) -> (bool, &str) {
    let head = head.trim_start();
    let rest = head
        .strip_prefix("export")
        .filter(|rest| rest.starts_with([' ', '\t']));
    (rest.is_some(), rest.map_or(head, str::trim_start))
}

fn entry(lines: &[String], at: usize, head: &str) -> Result<Entry, String> {
    let (is_exported, name) = exported(&head[..head.len() - 1]);
    let mut raw = lines[at][head.len()..].to_owned();
    let mut end = at + 1;
    let (value, length) = loop {
        match word(&raw) {
            Some(word) => break word,
            None if end < lines.len() => {
                raw.push('\n');
                raw.push_str(&lines[end]);
                end += 1;
            }
            None => return Err(format!("line {} opens a quote that is never closed", at + 1)),
        }
    };
    let tail = &raw[length..];
    let is_clean =
        tail.trim_start().is_empty() || (tail.starts_with([' ', '\t']) && tail.trim_start().starts_with('#'));
    // What is no word of a shell, such as blanks without quotes, is taken as it stands.
    let (value, tail) = if is_clean {
        (value, tail)
    } else {
        (raw.trim().to_owned(), "")
    };
    Ok(Entry {
        name: name.to_owned(),
        value,
        is_exported,
        lines: at..end,
        head: head.to_owned(),
        tail: tail.to_owned(),
    })
}

/// Reads one shell word and returns it with its length; `None` where a quote is not closed.
fn word(text: &str) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut chars = text.char_indices().peekable();
    let mut quote = None;
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (None, ' ' | '\t' | '\r' | '\n') => return Some((value, at)),
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None, '\\') => value.extend(chars.next().map(|(_, c)| c)),
            (Some('"'), '\\') => match chars.peek().copied() {
                Some((_, next)) if "$`\"\\".contains(next) => {
                    value.push(next);
                    chars.next();
                }
                _ => value.push('\\'),
            },
            (_, c) => value.push(c),
        }
    }
    quote.is_none().then_some((value, text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(text: &str, set: &[(&str, &str)], remove: &[&str]) -> String {
        let set = set
            .iter()
            .map(|(k, v)| ((*k).to_owned(), Value::from(*v)))
            .collect();
        edit(
            Some(text),
            &set,
            &remove.iter().map(|k| (*k).to_owned()).collect(),
        )
        .unwrap()
    }

    fn value(text: &str) -> String {
        read(text, &["K".to_owned()].into()).unwrap()["K"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn values_are_read_as_shell_words() {
        for (text, wanted) in [
            ("K=a", "a"),
            ("  export K='a b' # why", "a b"),
            (r#"K="a \"b\" \x $c""#, r#"a "b" \x $c"#),
            (r"K=a\ b'c'", "a bc"),
            ("K=", ""),
            ("K=a#b", "a#b"),
            ("K=a b c", "a b c"),
            ("K='a\nb'\nL=1", "a\nb"),
            ("#K=1\nK=2\nK=3", "3"),
        ] {
            assert_eq!(value(text), wanted, "{text}");
        }
    }

    #[test]
    fn a_changed_value_keeps_export_and_comment() {
        let text = "# top\nexport A=1  # one\nexport B='x y'\n";
        assert_eq!(
            edited(text, &[("A", "it's"), ("C", "")], &["B"]),
            "# top\nexport A='it'\\''s'  # one\nexport C=\n"
        );
    }

    #[test]
    fn an_unclosed_quote_is_an_error_that_repeats_nothing() {
        let error = read("A=1\nK='hunter2\n", &["A".to_owned()].into()).unwrap_err();
        assert_eq!(error, "line 2 opens a quote that is never closed");
    }

    #[test]
    fn a_value_over_several_lines_is_replaced_as_a_whole() {
        assert_eq!(edited("K='a\nb' # c\nL=1", &[("K", "x")], &[]), "K=x # c\nL=1");
        assert_eq!(edited("K='a\nL=2'\nL=1", &[], &["L"]), "K='a\nL=2'");
    }
}
