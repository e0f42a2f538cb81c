//! TOML files, edited by the spans of a parsed document: only the lines of the named keys change.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde_json::Value;
use toml_edit::{Document, InlineTable, Item, Key};

use super::path::segments;

pub fn read(text: &str, keys: &BTreeSet<String>) -> Result<BTreeMap<String, Value>, String> {
    let document = parse(text)?;
    let mut found = BTreeMap::new();
    for key in keys {
        if let Some(item) = get(document.as_item(), &segments(key)?) {
            found.insert(key.clone(), json(item));
        }
    }
    Ok(found)
}

pub fn edit(
    text: Option<&str>,
    set: &BTreeMap<String, Value>,
    remove: &BTreeSet<String>,
) -> Result<String, String> {
    let mut text = text.unwrap_or("").to_owned();
    for key in remove {
        text = remove_key(text, &segments(key)?)?;
    }
    for (key, value) in set {
        let path = segments(key)?;
        text = set_key(text, &path, value).map_err(|why| format!("`{key}`: {why}"))?;
    }
    parse(&text)?;
    Ok(text)
}

/// Returns a value as TOML.
pub fn value(value: &Value) -> Result<toml_edit::Value, String> {
    Ok(match value {
        Value::Null => return Err("TOML has no null".to_owned()),
        Value::Bool(bool) => (*bool).into(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(int), _) => int.into(),
            (None, Some(float)) if !number.is_u64() => float.into(),
            (None, _) => return Err("TOML has no number as great as this".to_owned()),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => items
            .iter()
            .map(self::value)
            .collect::<Result<toml_edit::Array, _>>()?
            .into(),
        Value::Object(members) => {
            let mut table = InlineTable::new();
            for (key, member) in members {
                table.insert(key, self::value(member)?);
            }
            table.into()
        }
    })
}

fn parse(text: &str) -> Result<Document<&str>, String> {
    // The parser's own message shows the line, which may hold a secret.
    Document::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let line = text.get(..at).unwrap_or(text).matches('\n').count() + 1;
        format!("not TOML: line {line}")
    })
}

fn get<'a>(root: &'a Item, path: &[String]) -> Option<&'a Item> {
    path.iter()
        .try_fold(root, |item, segment| item.as_table_like()?.get(segment))
        .filter(|item| !item.is_none())
}

fn set_key(text: String, path: &[String], wanted: &Value) -> Result<String, String> {
    let document = parse(&text)?;
    let root = document.as_item();
    let new = value(wanted)?;
    match get(root, path) {
        Some(item) if json(item) == *wanted => return Ok(text),
        Some(Item::Value(_)) | None => {}
        Some(_) => return Err("there is a table; name its keys one by one".to_owned()),
    }
    // The deepest thing on the way that is there; what it lacks is added to it.
    let depth = (0..path.len())
        .rev()
        .find(|depth| get(root, &path[..*depth]).is_some())
        .unwrap_or(0);
    if let Some((outer, inline)) = inline_on_the_way(root, path) {
        let mut inline = owned(&text, &path[..outer], inline);
        set_inline(&mut inline, &path[outer..], new)?;
        let span = span(get(root, &path[..outer]))?;
        return Ok(splice(&text, span, inline.to_string().trim()));
    }
    if let Some(there) = get(root, path) {
        return Ok(splice(&text, span(Some(there))?, new.to_string().trim()));
    }
    let Some(Item::Table(table)) = get(root, &path[..depth]) else {
        return Err("something on the way to it is not a table".to_owned());
    };
    let missing = &path[depth..];
    if table.is_dotted() {
        // `a.c = 1` stands below some header: the new key gets the same way from there.
        let header = (0..depth)
            .rev()
            .find(|d| !is_dotted(root, &path[..*d]))
            .unwrap_or(0);
        return Ok(insert_line(
            &text,
            last_line(&text, table, depth == 0),
            &path[header..],
            &new,
        ));
    }
    if missing.len() == 1 && (depth == 0 || !table.is_implicit()) {
        return Ok(insert_line(
            &text,
            last_line(&text, table, depth == 0),
            missing,
            &new,
        ));
    }
    Ok(append_table(
        &text,
        &path[..path.len() - 1],
        &path[path.len() - 1..],
        &new,
    ))
}

fn is_dotted(root: &Item, path: &[String]) -> bool {
    get(root, path)
        .and_then(Item::as_table)
        .is_some_and(toml_edit::Table::is_dotted)
}

/// Returns the outermost inline table on the way to a key, and how many segments lead to it.
fn inline_on_the_way<'a>(root: &'a Item, path: &[String]) -> Option<(usize, &'a InlineTable)> {
    (1..path.len()).find_map(|depth| Some((depth, get(root, &path[..depth])?.as_inline_table()?)))
}

/// Returns an inline table that knows its own layout: within a borrowed document it stands in the text.
fn owned(text: &str, path: &[String], borrowed: &InlineTable) -> InlineTable {
    let document = parse(text).map(Document::into_mut);
    let found = document
        .ok()
        .and_then(|document| get(document.as_item(), path)?.as_inline_table().cloned());
    let mut table = found.unwrap_or_else(|| borrowed.clone());
    table.decor_mut().clear();
    table
}

fn set_inline(table: &mut InlineTable, path: &[String], new: toml_edit::Value) -> Result<(), String> {
    let (segment, rest) = path
        .split_first()
        .expect("an inline table on the way leaves segments");
    if rest.is_empty() {
        match table.get_mut(segment) {
            Some(old) => {
                let decor = old.decor().clone();
                *old = new;
                *old.decor_mut() = decor;
            }
            None => drop(table.insert(segment, new)),
        }
        return Ok(());
    }
    let inner = table.get_or_insert(segment, InlineTable::new());
    let inner = inner
        .as_inline_table_mut()
        .ok_or("something on the way to it is not a table")?;
    set_inline(inner, rest, new)
}

/// Removes a key, and the tables that this leaves empty of keys and of comments.
fn remove_key(mut text: String, path: &[String]) -> Result<String, String> {
    for depth in (1..=path.len()).rev() {
        let document = parse(&text)?;
        let (root, path_here) = (document.as_item(), &path[..depth]);
        let Some(item) = get(root, path_here) else {
            return Ok(text);
        };
        if depth < path.len() && item.as_table_like().is_none_or(|table| !table.is_empty()) {
            return Ok(text);
        }
        text = match (inline_on_the_way(root, path_here), item) {
            (Some((outer, inline)), _) => {
                let mut inline = owned(&text, &path[..outer], inline);
                remove_inline(&mut inline, &path_here[outer..]);
                splice(&text, span(get(root, &path[..outer]))?, inline.to_string().trim())
            }
            (None, Item::Table(table)) if depth < path.len() => match header_lines(&text, table) {
                Some(lines) => cut(&text, lines),
                None => return Ok(text),
            },
            (None, Item::Value(value)) => {
                let parent = get(root, &path[..depth - 1]).and_then(Item::as_table_like);
                let key = parent
                    .and_then(|parent| parent.key(&path[depth - 1]))
                    .and_then(Key::span);
                let start = key.ok_or("the key has no place")?.start;
                let end = value.span().ok_or("the key has no place")?.end;
                cut(&text, line_start(&text, start)..line_end(&text, end))
            }
            (None, Item::None | Item::Table(_) | Item::ArrayOfTables(_)) => {
                return Err("there is a table; name its keys one by one".to_owned());
            }
        };
    }
    Ok(text)
}

fn remove_inline(table: &mut InlineTable, path: &[String]) {
    let (segment, rest) = path
        .split_first()
        .expect("an inline table on the way leaves segments");
    match table
        .get_mut(segment)
        .and_then(toml_edit::Value::as_inline_table_mut)
    {
        Some(inner) if !rest.is_empty() => remove_inline(inner, rest),
        Some(_) | None => drop(table.remove(segment)),
    }
}

fn span(item: Option<&Item>) -> Result<Range<usize>, String> {
    item.and_then(Item::span)
        .ok_or_else(|| "the key has no place".to_owned())
}

/// Returns the end of the line behind which a new key of a table belongs: its last value's, or its header's.
fn last_line(text: &str, table: &toml_edit::Table, is_root: bool) -> usize {
    let values = table.get_values();
    let last = values
        .iter()
        .filter_map(|(_, value)| Some(value.span()?.end))
        .max();
    let header = || table.span().filter(|_| !is_root).map(|span| span.end);
    match last.or_else(header) {
        Some(end) if !text.is_empty() => line_end(text, end),
        Some(_) | None => 0,
    }
}

/// Returns the lines of a header and of the blank lines below it, with one above; `None` if a comment stands there.
fn header_lines(text: &str, table: &toml_edit::Table) -> Option<Range<usize>> {
    let span = table.span()?;
    let mut start = line_start(text, span.start);
    let end = line_end(text, span.start);
    let header = text[start..end].trim();
    let below = text[end..].lines().map(str::trim).find(|line| !line.is_empty());
    let is_bare = header.ends_with(']') && below.is_none_or(|line| line.starts_with('['));
    let above = line_start(text, start.saturating_sub(1));
    if start > 0 && text[above..start].trim().is_empty() {
        start = above;
    }
    is_bare.then_some(start..end)
}

fn insert_line(text: &str, at: usize, path: &[String], value: &toml_edit::Value) -> String {
    let above = &text[line_start(text, at.saturating_sub(1))..at];
    let is_key = !above.trim_start().starts_with('[');
    let indent = &above[..above.len() - above.trim_start_matches([' ', '\t']).len()];
    let indent = if is_key && at > 0 { indent } else { "" };
    add(
        text,
        at,
        &format!("{indent}{} = {}", written(path), value.to_string().trim()),
    )
}

fn append_table(text: &str, table: &[String], path: &[String], value: &toml_edit::Value) -> String {
    let newline = newline(text);
    let header = format!(
        "[{}]{newline}{} = {}",
        written(table),
        written(path),
        value.to_string().trim()
    );
    let gap = if text.is_empty() { "" } else { newline };
    add(text, text.len(), &format!("{gap}{header}"))
}

/// Adds lines at a line's end. A text without an end of its last line stays one.
fn add(text: &str, at: usize, lines: &str) -> String {
    let newline = newline(text);
    if at > 0 && !text[..at].ends_with('\n') {
        return format!("{}{newline}{lines}{}", &text[..at], &text[at..]);
    }
    format!("{}{lines}{newline}{}", &text[..at], &text[at..])
}

/// Cuts whole lines out. A text without an end of its last line stays one.
fn cut(text: &str, lines: Range<usize>) -> String {
    let mut before = &text[..lines.start];
    if lines.end == text.len() && !text.ends_with('\n') {
        before = before
            .strip_suffix('\n')
            .map_or(before, |rest| rest.strip_suffix('\r').unwrap_or(rest));
    }
    format!("{before}{}", &text[lines.end..])
}

fn written(path: &[String]) -> String {
    path.iter()
        .map(|segment| Key::new(segment).display_repr().into_owned())
        .collect::<Vec<_>>()
        .join(".")
}

fn splice(text: &str, span: Range<usize>, new: &str) -> String {
    format!("{}{new}{}", &text[..span.start], &text[span.end..])
}

fn newline(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

fn line_end(text: &str, at: usize) -> usize {
    text[at..]
        .find('\n')
        .map_or(text.len(), |newline| at + newline + 1)
}

fn json(item: &Item) -> Value {
    match item {
        Item::None => Value::Null,
        Item::Value(value) => json_value(value),
        Item::Table(table) => json_members(table.iter()),
        Item::ArrayOfTables(tables) => tables.iter().map(|table| json_members(table.iter())).collect(),
    }
}

fn json_value(value: &toml_edit::Value) -> Value {
    match value {
        toml_edit::Value::String(text) => text.value().as_str().into(),
        toml_edit::Value::Integer(int) => (*int.value()).into(),
        toml_edit::Value::Float(float) => (*float.value()).into(),
        toml_edit::Value::Boolean(bool) => (*bool.value()).into(),
        toml_edit::Value::Datetime(time) => time.value().to_string().into(),
        toml_edit::Value::Array(items) => items.iter().map(json_value).collect(),
        toml_edit::Value::InlineTable(table) => table
            .iter()
            .map(|(key, value)| (key.to_owned(), json_value(value)))
            .collect(),
    }
}

fn json_members<'a>(members: impl Iterator<Item = (&'a str, &'a Item)>) -> Value {
    members
        .filter(|(_, item)| !item.is_none())
        .map(|(key, item)| (key.to_owned(), json(item)))
        .collect()
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
    fn a_changed_value_keeps_its_comment_and_all_else() {
        let text = "# top\r\na  =  1 # one\r\n[t]\r\n  b = [1,\r\n 2] # two\r\n[u]\r\nx=1\r\n";
        assert_eq!(
            edited(
                text,
                &[("a", json!(2)), ("t.b", json!("x")), ("t.c", json!(true))],
                &[]
            ),
            "# top\r\na  =  2 # one\r\n[t]\r\n  b = \"x\" # two\r\n  c = true\r\n[u]\r\nx=1\r\n"
        );
    }

    #[test]
    fn new_keys_find_their_tables() {
        assert_eq!(
            edited("[a]\n\n[b]\nx=1\n", &[("a.k", json!(1))], &[]),
            "[a]\nk = 1\n\n[b]\nx=1\n"
        );
        assert_eq!(
            edited("x = 1", &[("a.b.k", json!(1))], &[]),
            "x = 1\n\n[a.b]\nk = 1"
        );
        assert_eq!(
            edited("[a.b]\nx=1\n", &[("a.k", json!(1))], &[]),
            "[a.b]\nx=1\n\n[a]\nk = 1\n"
        );
        assert_eq!(edited("[a]\nx=1\n", &[("k", json!(1))], &[]), "k = 1\n[a]\nx=1\n");
        assert_eq!(
            edited("", &[("k", json!({"a b": 1}))], &[]),
            "k = { \"a b\" = 1 }\n"
        );
    }

    #[test]
    fn dotted_and_inline_tables_are_edited_in_their_manner() {
        assert_eq!(
            edited("[t]\na.x = 1\nz = 1\n", &[("t.a.y", json!(2))], &[]),
            "[t]\na.x = 1\na.y = 2\nz = 1\n"
        );
        assert_eq!(
            edited(
                "a = { x = 1, y = {z = 2} } # c\n",
                &[("a.y.w", json!(3))],
                &["a.x"]
            ),
            "a = { y = {z = 2, w = 3 } } # c\n"
        );
        assert_eq!(edited("a = { x = 1 }\nb = 1\n", &[], &["a.x"]), "b = 1\n");
    }

    #[test]
    fn a_removed_key_takes_its_line_and_an_empty_table_but_no_comment_above() {
        assert_eq!(
            edited("# licence\na = 1\nb = 2\n", &[], &["a"]),
            "# licence\nb = 2\n"
        );
        assert_eq!(
            edited("x = 1\n\n[t]\nk = 1\n\n[u]\ny = 1\n", &[], &["t.k"]),
            "x = 1\n\n[u]\ny = 1\n"
        );
        assert_eq!(edited("[t]\n# why\nk = 1\n", &[], &["t.k"]), "[t]\n# why\n");
    }

    #[test]
    fn errors_say_where_and_repeat_nothing() {
        let error = read("a = 1\nk = hunter2\n", &["k".to_owned()].into()).unwrap_err();
        assert_eq!(error, "not TOML: line 2");
        let set = [("a.b".to_owned(), json!(1))].into();
        assert!(edit(Some("a = 'hunter2'"), &set, &[].into()).is_err_and(|e| !e.contains("hunter2")));
        assert!(edit(Some("[[a]]\nb=1"), &set, &[].into()).is_err());
        assert!(value(&Value::Null).is_err());
    }
}
