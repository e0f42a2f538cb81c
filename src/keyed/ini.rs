//! INI files: `[section]` lines and `key = value` lines. A value runs to the end of its line.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::lines::Lines;
use super::path::segments;

/// Where a key stands: its section (`None` before the first), and its name.
type Place = (Option<String>, String);

/// What one line is.
enum Line<'a> {
    Section(&'a str),
    Pair(&'a str, &'a str),
    /// A comment, or something that is none of these: left alone.
    Other,
    Blank,
}

pub fn read(text: &str, keys: &BTreeSet<String>) -> Result<BTreeMap<String, Value>, String> {
    let lines = Lines::split(text).lines;
    let mut found = BTreeMap::new();
    for key in keys {
        let (section, name) = place(key)?;
        if let Some(&at) = lines_of(&lines, section.as_deref(), &name).last()
            && let Line::Pair(_, value) = line(&lines[at])
        {
            found.insert(key.clone(), Value::String(value.to_owned()));
        }
    }
    Ok(found)
}

pub fn edit(
    text: Option<&str>,
    set: &BTreeMap<String, Value>,
    remove: &BTreeSet<String>,
) -> Result<String, String> {
    let mut all = Lines::split(text.unwrap_or(""));
    for key in remove {
        let (section, name) = place(key)?;
        remove_key(&mut all.lines, section.as_deref(), &name);
    }
    for (key, value) in set {
        let (section, name) = place(key)?;
        let value = self::text(value).map_err(|why| format!("`{key}`: {why}"))?;
        set_key(&mut all.lines, section.as_deref(), &name, &value);
    }
    Ok(all.join())
}

/// Returns a value as it stands in the file.
pub fn text(value: &Value) -> Result<String, String> {
    let text = super::scalar(value, "an INI file")?;
    match text.trim() == text && !text.contains(['\n', '\r']) {
        true => Ok(text),
        false => Err("an INI file holds neither line breaks nor blanks around a value".to_owned()),
    }
}

/// Splits a key path into section and name: the section is everything before the last dot.
pub fn place(key: &str) -> Result<Place, String> {
    let mut parts = segments(key)?;
    let name = parts.pop().expect("a path has at least one segment");
    let section = (!parts.is_empty()).then(|| parts.join("."));
    let is_name =
        !name.contains(['=', '\n', '\r']) && name.trim() == name && !name.starts_with(['[', '#', ';']);
    let is_section = section
        .as_deref()
        .is_none_or(|s| !s.contains([']', '\n', '\r']) && s.trim() == s);
    match is_name && is_section {
        true => Ok((section, name)),
        false => Err("the key is not `section.key` of an INI file".to_owned()),
    }
}

fn line(text: &str) -> Line<'_> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Line::Blank;
    }
    if trimmed.starts_with(['#', ';']) {
        return Line::Other;
    }
    if let Some(section) = trimmed.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return Line::Section(section.0.trim());
    }
    match trimmed.split_once('=') {
        Some((name, value)) => Line::Pair(name.trim_end(), value.trim_start()),
        None => Line::Other,
    }
}

/// Returns the indices of the lines below a section's headers, or before the first header.
fn region(lines: &[String], section: Option<&str>) -> Vec<usize> {
    let mut current = None;
    let mut inside = Vec::new();
    for (at, text) in lines.iter().enumerate() {
        match line(text) {
            Line::Section(name) => current = Some(name),
            Line::Pair(..) | Line::Other | Line::Blank if current == section => inside.push(at),
            Line::Pair(..) | Line::Other | Line::Blank => {}
        }
    }
    inside
}

fn lines_of(lines: &[String], section: Option<&str>, name: &str) -> Vec<usize> {
    let is_name = |at: &usize| matches!(line(&lines[*at]), Line::Pair(there, _) if there == name);
    region(lines, section).into_iter().filter(is_name).collect()
}

fn set_key(lines: &mut Vec<String>, section: Option<&str>, name: &str, value: &str) {
    if let Some(&at) = lines_of(lines, section, name).last() {
        let Line::Pair(_, there) = line(&lines[at]) else {
            unreachable!("found as a pair")
        };
        if there != value {
            let end = lines[at].find('=').expect("a pair has one") + 1;
            let blanks: String = lines[at][end..]
                .chars()
                .take_while(|c| [' ', '\t'].contains(c))
                .collect();
            let blanks = if there.is_empty() {
                separator(lines).1.to_owned()
            } else {
                blanks
            };
            lines[at] = format!("{}{blanks}{value}", &lines[at][..end]);
        }
        return;
    }
    let (before, after) = separator(lines);
    let pair = format!("{name}{before}={after}{value}");
    let header = |text: &String| matches!(line(text), Line::Section(there) if Some(there) == section);
    let filled = region(lines, section)
        .into_iter()
        .rfind(|at| !matches!(line(&lines[*at]), Line::Blank));
    match (filled, lines.iter().rposition(header), section) {
        (Some(at), _, _) | (None, Some(at), _) => lines.insert(at + 1, pair),
        (None, None, None) => lines.insert(0, pair),
        (None, None, Some(section)) => {
            if !lines.is_empty() {
                lines.push(String::new());
            }
            lines.push(format!("[{section}]"));
            lines.push(pair);
        }
    }
}

/// Returns the blanks around `=`, as the file's first pair has them.
fn separator(lines: &[String]) -> (&'static str, &'static str) {
    let pair = lines.iter().find(|text| matches!(line(text), Line::Pair(..)));
    let is_wide = pair.is_some_and(|text| text.contains(" ="));
    if is_wide { (" ", " ") } else { ("", "") }
}

fn remove_key(lines: &mut Vec<String>, section: Option<&str>, name: &str) {
    let found = lines_of(lines, section, name);
    for at in found.iter().rev() {
        lines.remove(*at);
    }
    let is_blank = |at: &usize| matches!(line(&lines[*at]), Line::Blank);
    if found.is_empty() || section.is_none() || !region(lines, section).iter().all(is_blank) {
        return;
    }
    // The header goes with its last key, and with it the blank line that parted it from what was before.
    while let Some(at) = lines
        .iter()
        .rposition(|t| matches!(line(t), Line::Section(s) if Some(s) == section))
    {
        lines.remove(at);
        if at > 0 && matches!(line(&lines[at - 1]), Line::Blank) {
            lines.remove(at - 1);
        }
    }
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

    #[test]
    fn a_changed_value_keeps_the_manner_of_its_line_and_all_others() {
        let text = "; top\r\n[a.b]\r\n  x =  1\r\ny=2\r\n\r\n[c]\r\nx=3\r\n";
        assert_eq!(
            edited(text, &[("a.b.x", "9"), ("c.z", "4")], &["a.b.y"]),
            "; top\r\n[a.b]\r\n  x =  9\r\n\r\n[c]\r\nx=3\r\nz = 4\r\n"
        );
    }

    #[test]
    fn new_sections_and_top_keys_find_their_places() {
        assert_eq!(
            edited("", &[("s.k", "v"), ("top", "1")], &[]),
            "top=1\n[s]\nk=v\n"
        );
        assert_eq!(
            edited("[s]\n\n[t]\nx=1", &[("s.k", "v")], &[]),
            "[s]\nk=v\n\n[t]\nx=1"
        );
    }

    #[test]
    fn a_section_that_holds_a_comment_stays_when_its_last_key_goes() {
        assert_eq!(edited("[s]\n# why\nk=v\n", &[], &["s.k"]), "[s]\n# why\n");
        assert_eq!(edited("x=1\n\n[s]\nk=v\n", &[], &["s.k"]), "x=1\n");
    }

    #[test]
    fn of_two_equal_keys_the_last_counts_and_both_are_removed() {
        let text = "[s]\nk=1\nk=2\n";
        let keys = ["s.k".to_owned()].into();
        assert_eq!(read(text, &keys).unwrap()["s.k"], "2");
        assert_eq!(edited(text, &[("s.k", "3")], &[]), "[s]\nk=1\nk=3\n");
        assert_eq!(edited(text, &[], &["s.k"]), "");
    }
}
