//! Tables into typed forms, without stopping at the first mistake.
//!
//! Serde stops at the first thing that does not fit. So the offending key is named, taken out, and the rest is read
//! again, until it fits. A key that is missing is named and stands in as an empty string meanwhile, so that what else
//! is wrong with its table still comes to light; the form is then not handed out.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, ValueDeserializer};

use crate::model::code;
use crate::model::diagnostic::{Diagnostic, did_you_mean};

use super::reader::Reader;

/// So many mistakes of one table are named. Unknown keys count as one, however many they are.
const MISTAKES_MAX: usize = 100;

/// Where stand-ins for missing keys stand: behind the end of any file.
const STAND_IN: Range<usize> = usize::MAX - 1..usize::MAX;

/// Reads a table as a form. `subject` begins each message: "host `nn-1`".
pub(super) fn decode<T: DeserializeOwned>(
    reader: &mut Reader,
    file: &str,
    table: &Spanned<DeValue<'_>>,
    subject: &str,
) -> Option<T> {
    let mut mending = Mending {
        reader,
        file,
        subject,
        table: table.clone(),
        taken: BTreeSet::new(),
        is_whole: true,
    };
    for _ in 0..MISTAKES_MAX {
        match T::deserialize(ValueDeserializer::from(mending.table.clone())) {
            Ok(form) => return mending.is_whole.then_some(form),
            Err(error) => mending.mend(&error)?,
        }
    }
    None
}

/// A table that is being made to fit.
struct Mending<'r, 'i> {
    reader: &'r mut Reader,
    file: &'r str,
    subject: &'r str,
    table: Spanned<DeValue<'i>>,
    /// Keys that were taken out, with the place of their table: that they are missing now is no second mistake.
    taken: BTreeSet<(usize, String)>,
    is_whole: bool,
}

impl Mending<'_, '_> {
    /// Names a mistake and takes it out; `None` where that cannot be done.
    fn mend(&mut self, error: &toml::de::Error) -> Option<()> {
        let span = error.span().filter(|span| *span != STAND_IN)?;
        let message = error.message();
        if message.starts_with("unknown field `") {
            return self.unknown(&span, message);
        }
        if let Some(rest) = message.strip_prefix("missing field `") {
            return self.missing(&span, rest.trim_end_matches('`'));
        }
        self.misfit(span, message)
    }

    /// Names all unknown keys of one table at once.
    fn unknown(&mut self, span: &Range<usize>, message: &str) -> Option<()> {
        let known: Vec<&str> = quoted(message).skip(1).collect();
        let table = table_with_key(&mut self.table, span)?;
        let is_known = |key: &Spanned<Cow<'_, str>>| known.contains(&key.get_ref().as_ref());
        let (kept, strange): (DeTable<'_>, DeTable<'_>) = std::mem::take(table)
            .into_iter()
            .partition(|(key, _)| is_known(key));
        *table = kept;
        for key in strange.keys() {
            let place = self.reader.sources.place(self.file, key.span());
            let key = key.get_ref();
            let hint = did_you_mean(key, known.iter().copied())
                .unwrap_or_else(|| format!("known here: {}", list(&known)));
            let message = format!("{}: key `{key}` is not known here", self.subject);
            self.reader.diagnostics.push(
                Diagnostic::error(code::UNKNOWN_KEY, message)
                    .at(place, "unknown key")
                    .hint(hint),
            );
        }
        Some(())
    }

    fn missing(&mut self, span: &Range<usize>, key: &str) -> Option<()> {
        if !self.taken.contains(&(span.start, key.to_owned())) {
            let message = format!("{}: key `{key}` is missing", self.subject);
            self.reader.error(
                code::MISSING_KEY,
                message,
                (self.file, span.clone()),
                format!("`{key}` belongs here"),
            );
        }
        self.is_whole = false;
        let table = table_at(&mut self.table, span)?;
        let stand_in = Spanned::new(STAND_IN, DeValue::String(Cow::Borrowed("")));
        table.insert(Spanned::new(STAND_IN, Cow::Owned(key.to_owned())), stand_in);
        Some(())
    }

    fn misfit(&mut self, span: Range<usize>, message: &str) -> Option<()> {
        let mut path = Vec::new();
        let Some(table) = take_out(&mut self.table, &span, &mut path) else {
            let message = format!("{}: {}", self.subject, humane(message));
            self.reader
                .error(code::WRONG_TYPE, message, (self.file, span), "here");
            return None;
        };
        let key = path.join(".");
        let known: Vec<&str> = match message.strip_prefix("unknown variant `") {
            Some(_) => quoted(message).skip(1).collect(),
            None => Vec::new(),
        };
        let place = self.reader.sources.place(self.file, span);
        let found = Diagnostic::error(
            code::WRONG_TYPE,
            format!("{}: `{key}`: {}", self.subject, humane(message)),
        );
        let hint = quoted(message)
            .next()
            .and_then(|word| did_you_mean(word, known.iter().copied()));
        self.reader
            .diagnostics
            .push(found.at(place, "this does not fit").hint_opt(hint));
        self.taken.extend(path.pop().map(|key| (table, key)));
        Some(())
    }
}

/// Returns the words that a message of serde has in backticks.
fn quoted(message: &str) -> impl Iterator<Item = &str> {
    message.split('`').skip(1).step_by(2)
}

fn list(words: &[&str]) -> String {
    words
        .iter()
        .map(|word| format!("`{word}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Puts serde's words into those of people who write TOML.
fn humane(message: &str) -> String {
    let found = message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "));
    let Some((found, expected)) = found.and_then(|rest| rest.rsplit_once(", expected ")) else {
        return message.replacen("unknown variant ", "", 1).trim().to_owned();
    };
    let found = match found {
        "map" => "a table",
        "sequence" => "a list",
        found => found,
    };
    format!("found {found}, expected {}", humane_type(expected))
}

fn humane_type(expected: &str) -> &str {
    match expected {
        "a nonzero u16" => "a port (1 to 65535)",
        "u16" => "a whole number from 0 to 65535",
        "a nonzero usize" => "a whole number of at least 1",
        "usize" | "u64" => "a whole number of at least 0",
        "i64" => "a whole number",
        "a boolean" => "`true` or `false`",
        "a sequence" => "a list",
        "a map" => "a table",
        expected if expected.starts_with("struct ") => "a table",
        expected => expected,
    }
}

/// Finds the table that holds a key at this place.
fn table_with_key<'v, 'i>(
    value: &'v mut Spanned<DeValue<'i>>,
    span: &Range<usize>,
) -> Option<&'v mut DeTable<'i>> {
    find_table(value, &|table: &DeTable<'_>, _| {
        table.keys().any(|key| key.span() == *span)
    })
}

/// Finds the table at this place.
fn table_at<'v, 'i>(value: &'v mut Spanned<DeValue<'i>>, span: &Range<usize>) -> Option<&'v mut DeTable<'i>> {
    find_table(value, &|_, place| place == span)
}

fn find_table<'v, 'i>(
    value: &'v mut Spanned<DeValue<'i>>,
    is_it: &dyn Fn(&DeTable<'i>, &Range<usize>) -> bool,
) -> Option<&'v mut DeTable<'i>> {
    let span = value.span();
    match value.get_mut() {
        DeValue::Table(table) => match is_it(table, &span) {
            true => Some(table),
            false => table.iter_mut().find_map(|(_, value)| find_table(value, is_it)),
        },
        DeValue::Array(items) => items.iter_mut().find_map(|item| find_table(item, is_it)),
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => None,
    }
}

/// Takes the innermost entry or item around a place out. Says the path to it, and where its table or list stands.
fn take_out(value: &mut Spanned<DeValue<'_>>, span: &Range<usize>, path: &mut Vec<String>) -> Option<usize> {
    let start = value.span().start;
    match value.get_mut() {
        DeValue::Table(table) => take_out_of_table(table, start, span, path),
        DeValue::Array(items) => take_out_of_list(items, start, span, path),
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => None,
    }
}

fn take_out_of_table(
    table: &mut DeTable<'_>,
    start: usize,
    span: &Range<usize>,
    path: &mut Vec<String>,
) -> Option<usize> {
    for (key, value) in table.iter_mut() {
        path.push(key.get_ref().to_string());
        if let Some(start) = take_out(value, span, path) {
            return Some(start);
        }
        path.pop();
    }
    let mut entries = table.iter();
    let (key, _) =
        entries.find(|(key, value)| is_around(value.span(), span) || is_around(key.span(), span))?;
    let key = key.get_ref().to_string();
    table.remove(key.as_str());
    path.push(key);
    Some(start)
}

fn take_out_of_list(
    items: &mut DeArray<'_>,
    start: usize,
    span: &Range<usize>,
    path: &mut Vec<String>,
) -> Option<usize> {
    for (index, item) in items.iter_mut().enumerate() {
        path.push(index.to_string());
        if let Some(start) = take_out(item, span, path) {
            return Some(start);
        }
        path.pop();
    }
    let index = items.iter().position(|item| is_around(item.span(), span))?;
    let kept = std::mem::replace(items, [].into_iter().collect())
        .into_iter()
        .enumerate()
        .filter(|(at, _)| *at != index);
    *items = kept.map(|(_, item)| item).collect();
    path.push(index.to_string());
    Some(start)
}

fn is_around(place: Range<usize>, span: &Range<usize>) -> bool {
    place.start <= span.start && span.end <= place.end
}
