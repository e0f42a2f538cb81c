//! `.env` files and the files of `env_file`: `KEY=value` lines, quotes, comments, `export`.

use std::collections::BTreeMap;

use crate::model::body::has_token;
use crate::model::code;
use crate::model::secret::Encoding;

use super::interpolate::{self, Variables};
use super::source::{At, Fit, Opened, SourceFile, Texts};

/// Reads a file's keys with their values and places. A value may use `seen` and what earlier lines set.
pub(super) fn read(texts: &mut Texts, file: &SourceFile, seen: &Variables) -> BTreeMap<String, (String, At)> {
    let opened = texts.open(file);
    let text = opened.text.clone();
    let mut reading = Reading {
        texts,
        opened: &opened,
        seen,
        read: BTreeMap::new(),
    };
    let mut at = 0;
    while at < text.len() {
        at = reading.line(&text, at);
    }
    reading.read
}

struct Reading<'t> {
    texts: &'t mut Texts,
    opened: &'t Opened,
    seen: &'t Variables,
    read: BTreeMap<String, (String, At)>,
}

/// How a value was quoted.
#[derive(Clone, Copy, PartialEq)]
enum Quote {
    None,
    Single,
    Double,
}

impl Reading<'_> {
    /// Reads the line that begins here; returns where the next one begins.
    fn line(&mut self, text: &str, start: usize) -> usize {
        let end = text[start..]
            .find('\n')
            .map_or(text.len(), |length| start + length);
        let line = &text[start..end];
        let bare = line.trim();
        if bare.is_empty() || bare.starts_with('#') {
            return end + 1;
        }
        let indent = line.len() - line.trim_start().len();
        let body = line.trim_start();
        let after_export = body
            .strip_prefix("export")
            .filter(|rest| rest.starts_with([' ', '\t']))
            .map_or(body, str::trim_start);
        let key_start = start + indent + (body.len() - after_export.len());
        let Some((key, _)) = after_export.split_once('=') else {
            self.mistake(
                key_start..end,
                "the line is no `KEY=value`",
                "no `=`",
                "write `KEY=` where the value is empty",
            );
            return end + 1;
        };
        let name = key.trim_end();
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
        if !is_name {
            self.mistake(
                key_start..key_start + key.len(),
                "the key cannot be read",
                "no name",
                "names have letters, digits and `_`",
            );
            return end + 1;
        }
        let value_start = key_start + key.len() + 1;
        let at = self.opened.at(key_start..end);
        let (raw, quote, next) = self.value(text, value_start, end);
        if let Some(value) = self.finish(raw, quote, at) {
            self.read.insert(name.to_owned(), (value, at));
        }
        next
    }

    /// Takes a value's characters, and says how it was quoted and where the next line begins.
    fn value(&mut self, text: &str, start: usize, end: usize) -> (String, Quote, usize) {
        let line = &text[start..end];
        let lead = line.len() - line.trim_start_matches([' ', '\t']).len();
        let open = start + lead;
        let quote = match text[open..end].chars().next() {
            Some('\'') => Quote::Single,
            Some('"') => Quote::Double,
            Some(_) | None => {
                let raw = &text[open..end];
                let comment = raw
                    .match_indices('#')
                    .map(|(at, _)| at)
                    .find(|at| *at == 0 || raw[..*at].ends_with([' ', '\t']));
                return (
                    raw[..comment.unwrap_or(raw.len())].trim_end().to_owned(),
                    Quote::None,
                    end + 1,
                );
            }
        };
        let mark = if quote == Quote::Single { '\'' } else { '"' };
        let Some(length) = closing(&text[open + 1..], mark) else {
            self.mistake(
                open..end,
                "a quote is not closed",
                "opened here",
                "close it, or leave both out",
            );
            return (String::new(), Quote::Single, end + 1);
        };
        let close = open + 1 + length;
        let line_end = text[close..]
            .find('\n')
            .map_or(text.len(), |length| close + length);
        let rest = text[close + 1..line_end].trim();
        if !rest.is_empty() && !rest.starts_with('#') {
            self.mistake(
                close + 1..line_end,
                "text follows the closing quote",
                "this",
                "one value has one pair of quotes; a comment begins with `#`",
            );
        }
        (text[open + 1..close].to_owned(), quote, line_end + 1)
    }

    /// Undoes escapes and interpolates.
    fn finish(&mut self, raw: String, quote: Quote, at: At) -> Option<String> {
        let is_alone = alone(&raw);
        let raw = match has_token(&raw) {
            false => raw,
            true => match self
                .texts
                .unwrap_holes(raw, |encoding| fit(encoding, quote, is_alone))
            {
                Ok(text) => text,
                Err(why) => {
                    let hint = "write `KEY={{ value | shell }}` or `KEY={{ value | base64 }}`";
                    let message = "a secret is not written as this place needs it".to_owned();
                    self.texts.hinted(code::COMPOSE_SECRET, message, at, why, hint);
                    return None;
                }
            },
        };
        let text = match quote {
            Quote::Single => return Some(raw),
            Quote::Double => unescape(&raw),
            Quote::None => raw,
        };
        let mut variables = self.seen.clone();
        variables.extend(
            self.read
                .iter()
                .map(|(key, (value, _))| (key.clone(), value.clone())),
        );
        match interpolate::interpolate(&text, &variables) {
            Ok(text) => Some(text),
            Err(trouble) => {
                interpolate::report(self.texts, &trouble, at);
                None
            }
        }
    }

    fn mistake(&mut self, span: std::ops::Range<usize>, message: &str, label: &str, hint: &str) {
        let at = self.opened.at(span);
        self.texts
            .hinted(code::ENV_FILE, message.to_owned(), at, label, hint);
    }
}

/// Says how a secret's encoding fits a value.
fn fit(encoding: Encoding, quote: Quote, is_alone: bool) -> Fit {
    match (encoding, quote) {
        (Encoding::Base64, _) => Fit::Stays,
        // Single quotes of a shell, which the filter brings along.
        (Encoding::Shell, Quote::None) if is_alone => Fit::Undone,
        (Encoding::Shell, _) => Fit::Wrong("the filter `shell` writes a whole value, with its quotes"),
        (Encoding::Plain | Encoding::Json | Encoding::Compose, _) => {
            Fit::Wrong("quotes, `#` or `$` in its value would be misread")
        }
    }
}

/// Says whether a text is one placeholder and nothing else.
fn alone(text: &str) -> bool {
    text.starts_with(crate::model::body::TOKEN_OPEN)
        && text
            .find(crate::model::body::TOKEN_CLOSE)
            .is_some_and(|at| at + crate::model::body::TOKEN_CLOSE.len_utf8() == text.len())
}

/// Returns where a quote closes; within double quotes a backslash takes the next character along.
fn closing(text: &str, mark: char) -> Option<usize> {
    let mut is_escaped = false;
    for (at, character) in text.char_indices() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' if mark == '"' => is_escaped = true,
            character if character == mark => return Some(at),
            _ => {}
        }
    }
    None
}

/// Undoes the escapes of double quotes; an escaped dollar sign stays one through interpolation.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, character == '\\') {
            (character, false) => out.push(character),
            (_, true) => match characters.next() {
                Some('n') => out.push('\n'),
                Some('r') => out.push('\r'),
                Some('t') => out.push('\t'),
                Some('$') => out.push_str("$$"),
                Some(other @ ('"' | '\\' | '\'')) => out.push(other),
                Some(other) => out.extend(['\\', other]),
                None => out.push('\\'),
            },
        }
    }
    out
}
