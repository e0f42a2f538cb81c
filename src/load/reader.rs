//! Reading files: texts are kept for diagnostics, syntax errors and forbidden characters are collected.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::model::body;
use crate::model::code::{self, Code};
use crate::model::diagnostic::{Diagnostic, Diagnostics, Place, Sources};

/// What `muster init` writes where only a person knows the value.
pub(super) const PLACEHOLDER: &str = "<FILLIN>";

/// The longest file that is read.
const FILE_MAX_BYTES: u64 = 32 << 20;

/// Texts and diagnostics of a loading.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) sources: Sources,
    pub(super) diagnostics: Diagnostics,
}

impl Reader {
    /// Reads a text file and keeps it. What goes wrong is said at the line that names the file, if there is one.
    pub(super) fn text(&mut self, path: &Path, named_at: Option<&Place>) -> Option<(String, Arc<str>)> {
        let file = shown(path);
        match bytes(path).and_then(utf8) {
            Ok(text) => {
                let text: Arc<str> = text.into();
                self.sources.add(file.clone(), text.clone());
                self.refuse_reserved(&file, &text);
                Some((file, text))
            }
            Err(why) => {
                let found =
                    Diagnostic::error(code::UNREADABLE, format!("`{file}` cannot be read")).because(why);
                self.diagnostics.push(match named_at {
                    Some(place) => found.at(place.clone(), "named here"),
                    None => found,
                });
                None
            }
        }
    }

    /// Parses a text as TOML, as far as it is TOML.
    pub(super) fn parse<'t>(&mut self, file: &str, text: &'t str) -> Spanned<DeTable<'t>> {
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let span = clamp(error.span().unwrap_or(0..0), text);
            let found = Diagnostic::error(code::SYNTAX, format!("`{file}`: {}", error.message()));
            self.diagnostics
                .push(found.at(self.sources.place(file, span), "here"));
        }
        self.refuse_reserved_in_values(file, table.get_ref());
        table
    }

    /// Names every value that still waits for a person.
    pub(super) fn refuse_placeholders(&mut self, file: &str, table: &DeTable<'_>) {
        for_each_string(table, &mut |text, span| {
            if text.contains(PLACEHOLDER) {
                let place = self.sources.place(file, span);
                let found = Diagnostic::error(code::PLACEHOLDER_LEFT, "a value still has to be filled in");
                self.diagnostics.push(
                    found
                        .at(place, "replace this")
                        .hint(format!("replace `{PLACEHOLDER}` with the value")),
                );
            }
        });
    }

    fn refuse_reserved(&mut self, file: &str, text: &str) {
        let found = text.match_indices([body::TOKEN_OPEN, body::TOKEN_CLOSE]);
        for (at, character) in found.take(20) {
            self.reserved(file, at..at + character.len());
        }
    }

    /// Finds reserved characters that TOML's own escapes write.
    fn refuse_reserved_in_values(&mut self, file: &str, table: &DeTable<'_>) {
        for_each_string(table, &mut |text, span| {
            let is_escaped = body::has_token(text)
                && self
                    .sources
                    .text(file)
                    .and_then(|all| all.get(span.clone()))
                    .is_some_and(|raw| !body::has_token(raw));
            if is_escaped {
                self.reserved(file, span);
            }
        });
    }

    fn reserved(&mut self, file: &str, span: Range<usize>) {
        let message = format!("`{file}` holds a character that muster keeps for itself");
        let found = Diagnostic::error(code::RESERVED_CHARACTER, message);
        self.diagnostics
            .push(found.at(self.sources.place(file, span), "U+100000 or U+100001"));
    }

    /// Reports a mistake at a byte range of a file.
    pub(super) fn error(
        &mut self,
        code: Code,
        message: impl Into<String>,
        (file, span): (&str, Range<usize>),
        label: impl Into<String>,
    ) {
        let place = self.sources.place(file, span);
        self.diagnostics
            .push(Diagnostic::error(code, message).at(place, label));
    }

    /// Returns the place of a whole entry, from its key to its value; of a table only what opens it.
    pub(super) fn entry(&self, file: &str, key: Range<usize>, value: &Spanned<DeValue<'_>>) -> Place {
        self.sources.place(file, entry_span(key, value))
    }
}

/// Returns the byte range of a whole entry.
pub(super) fn entry_span(key: Range<usize>, value: &Spanned<DeValue<'_>>) -> Range<usize> {
    let span = value.span();
    if span.start >= key.end {
        key.start..span.end
    } else {
        key
    }
}

/// Reads a file, up to a length that no file which people wrote has: a device never ends.
fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let read =
        std::fs::File::open(path).and_then(|file| file.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|error| error.to_string())?;
    match bytes.len() as u64 > FILE_MAX_BYTES {
        true => Err(format!("it is longer than {} MiB", FILE_MAX_BYTES >> 20)),
        false => Ok(bytes),
    }
}

fn utf8(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes)
        .map_err(|error| format!("it is not UTF-8 (byte {})", error.utf8_error().valid_up_to()))
}

/// Returns a range within the text, on the borders of characters: parsers point behind the end of a cut file.
fn clamp(span: Range<usize>, text: &str) -> Range<usize> {
    let start = text.floor_char_boundary(span.start.min(text.len()));
    let end = text.ceil_char_boundary(span.end.clamp(start, text.len()));
    start..end
}

/// Returns a path as people know it: without `./`, and relative to the current folder if it lies below.
pub(super) fn shown(path: &Path) -> String {
    let below = std::env::current_dir()
        .ok()
        .and_then(|here| path.strip_prefix(here).ok().map(Path::to_owned));
    let path = below.as_deref().unwrap_or(path);
    let path: std::path::PathBuf = path.components().collect();
    path.strip_prefix(".").unwrap_or(&path).display().to_string()
}

/// Calls with every string value and its place. The parser bounds the depth.
fn for_each_string(table: &DeTable<'_>, act: &mut dyn FnMut(&str, Range<usize>)) {
    table.values().for_each(|value| for_each_in(value, act));
}

fn for_each_in(value: &Spanned<DeValue<'_>>, act: &mut dyn FnMut(&str, Range<usize>)) {
    match value.get_ref() {
        DeValue::String(text) => act(text, value.span()),
        DeValue::Array(items) => items.iter().for_each(|item| for_each_in(item, act)),
        DeValue::Table(table) => for_each_string(table, act),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
    }
}
