//! Interpolation: `$NAME` and `${NAME…}` in values, before files are merged. Keys are left alone.
//!
//! | form | unset | empty | set |
//! | --- | --- | --- | --- |
//! | `$NAME`, `${NAME}` | a mistake | nothing | the value |
//! | `${NAME-word}` | the word | nothing | the value |
//! | `${NAME:-word}` | the word | the word | the value |
//! | `${NAME?word}` | a mistake that says the word | nothing | the value |
//! | `${NAME:?word}` | the same | the same | the value |
//! | `${NAME+word}` | nothing | the word | the word |
//! | `${NAME:+word}` | nothing | nothing | the word |
//!
//! `$$` is a dollar sign; words may hold variables. The first row departs from Compose, which warns and takes nothing:
//! a container with blank values is the classic accident.

use std::collections::BTreeMap;

use crate::model::body::{TOKEN_CLOSE, TOKEN_OPEN};
use crate::model::code;

use super::node::{Node, Value};
use super::source::{At, Texts};

/// The variables' values, with placeholders.
pub(super) type Variables = BTreeMap<String, String>;

/// Why a text cannot be interpolated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The variable has no value.
    Unset(String),
    /// The text asks for the variable with these words.
    Asked(String, String),
    /// This cannot be read.
    Invalid(String),
}

/// So deep may variables stand in each other's words.
const DEPTH_MAX: usize = 32;

/// Replaces the variables of a text.
///
/// # Errors
/// [`Trouble`] names the first thing that cannot be replaced.
pub fn interpolate(text: &str, variables: &BTreeMap<String, String>) -> Result<String, Trouble> {
    let mut rest = text;
    let mut out = String::new();
    while !rest.is_empty() {
        rest = step(rest, variables, &mut out, 0)?;
    }
    Ok(out)
}

/// Takes one piece of a text: up to a dollar sign, or what one begins.
fn step<'t>(
    text: &'t str,
    variables: &Variables,
    out: &mut String,
    depth: usize,
) -> Result<&'t str, Trouble> {
    let Some(rest) = text.strip_prefix('$') else {
        let end = text.find('$').unwrap_or(text.len());
        out.push_str(&text[..end]);
        return Ok(&text[end..]);
    };
    if let Some(rest) = rest.strip_prefix('$') {
        out.push('$');
        return Ok(rest);
    }
    if let Some(inner) = rest.strip_prefix('{') {
        let end = closing(inner).ok_or_else(|| Trouble::Invalid(shorten(text)))?;
        out.push_str(&braced(&inner[..end], variables, depth)?);
        return Ok(&inner[end + 1..]);
    }
    let name = name(rest);
    if name.is_empty() {
        return Err(Trouble::Invalid(shorten(text)));
    }
    let value = variables
        .get(name)
        .ok_or_else(|| Trouble::Unset(name.to_owned()))?;
    out.push_str(value);
    Ok(&rest[name.len()..])
}

/// Returns where the brace closes: variables in words have braces of their own.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut before = ' ';
    for (at, character) in text.char_indices() {
        match character {
            '{' if before == '$' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
        before = character;
    }
    None
}

fn braced(inner: &str, variables: &Variables, depth: usize) -> Result<String, Trouble> {
    let invalid = || Trouble::Invalid(shorten(&format!("${{{inner}}}")));
    let name = name(inner);
    if name.is_empty() || depth > DEPTH_MAX {
        return Err(invalid());
    }
    let operator = &inner[name.len()..];
    let (minds_empty, operator) = match operator.strip_prefix(':') {
        Some(operator) => (true, operator),
        None => (false, operator),
    };
    let value = variables
        .get(name)
        .filter(|value| !(minds_empty && value.is_empty()));
    let mut operator = operator.chars();
    let sort = operator.next();
    let word = || {
        let mut rest = operator.as_str();
        let mut out = String::new();
        while !rest.is_empty() {
            rest = step(rest, variables, &mut out, depth + 1)?;
        }
        Ok::<_, Trouble>(out)
    };
    match (sort, value) {
        (None, _) if minds_empty => Err(invalid()),
        (None, Some(value)) => Ok(value.clone()),
        (None, None) => Err(Trouble::Unset(name.to_owned())),
        (Some('-' | '?'), Some(value)) => Ok(value.clone()),
        (Some('-'), None) | (Some('+'), Some(_)) => word(),
        (Some('+'), None) => Ok(String::new()),
        (Some('?'), None) => Err(Trouble::Asked(name.to_owned(), word()?)),
        (Some(_), _) => Err(invalid()),
    }
}

/// Returns the name that a text begins with.
fn name(text: &str) -> &str {
    let is_first = |first: char| first.is_ascii_alphabetic() || first == '_';
    if !text.starts_with(is_first) {
        return "";
    }
    let end = text
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    &text[..end]
}

fn shorten(text: &str) -> String {
    let clean: String = text
        .chars()
        .filter(|c| ![TOKEN_OPEN, TOKEN_CLOSE].contains(c))
        .take(40)
        .collect();
    clean
}

/// Replaces the variables of every value of a tree.
pub(super) fn tree(texts: &mut Texts, node: &mut Node, variables: &Variables) {
    match &mut node.value {
        Value::Null => {}
        Value::List(items) => items.iter_mut().for_each(|item| tree(texts, item, variables)),
        Value::Map(entries) => {
            let ours = entries.iter_mut().filter(|entry| !is_foreign(&entry.key));
            ours.for_each(|entry| tree(texts, &mut entry.value, variables));
        }
        Value::Scalar(scalar) if !scalar.text.contains('$') => {}
        Value::Scalar(scalar) => {
            // What replaces it is text, whatever YAML would read in it.
            scalar.is_plain = false;
            match interpolate(&scalar.text, variables) {
                Ok(text) => scalar.text = text,
                Err(trouble) => {
                    report(texts, &trouble, node.at);
                    // A stand-in, so that what else is wrong with the file comes to light.
                    scalar.text = String::new();
                    node.value = Value::Null;
                }
            }
        }
    }
}

/// Says whether a key is somebody else's extension, whose values nobody reads here.
pub(super) fn is_foreign(key: &str) -> bool {
    key.starts_with("x-") && key != "x-muster"
}

/// Reports what stands in the way of a text.
pub(super) fn report(texts: &mut Texts, trouble: &Trouble, at: At) {
    match trouble {
        Trouble::Unset(name) => {
            let hint = format!(
                "set it in `.env` or in the resource's `variables`, or write `${{{name}:-}}` if it may be empty"
            );
            texts.hinted(
                code::COMPOSE_VARIABLE,
                format!("variable `{name}` has no value"),
                at,
                "used here",
                hint,
            );
        }
        Trouble::Asked(name, words) => {
            let words = texts.shown(words);
            let why = if words.is_empty() {
                "it is required"
            } else {
                &words
            };
            texts.error(
                code::COMPOSE_VARIABLE,
                format!("variable `{name}` has no value: {why}"),
                at,
                "required here",
            );
        }
        Trouble::Invalid(what) => {
            let hint = "write `$$` for a dollar sign, `$NAME` or `${NAME}` for a variable";
            let message = format!("`{what}` cannot be read as a variable");
            texts.hinted(code::COMPOSE_INTERPOLATION, message, at, "here", hint);
        }
    }
}
