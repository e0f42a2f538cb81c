//! Diagnostics: what is wrong in a file that people wrote, where, and what to do about it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use serde::Serialize;

use super::code::Code;

/// The text of every file that was read, so that a diagnostic can show the line it speaks of.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    texts: BTreeMap<String, Source>,
}

/// A file's text, with the byte offset at which each of its lines begins: places are asked for by the ten thousand.
#[derive(Debug, Clone)]
struct Source {
    text: Arc<str>,
    lines: Vec<usize>,
}

impl Sources {
    /// Remembers a file's text under the path by which people know it.
    pub fn add(&mut self, file: impl Into<String>, text: impl Into<Arc<str>>) {
        let text = text.into();
        let lines = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        self.texts.insert(file.into(), Source { text, lines });
    }

    /// Returns every file with its text, in order of the paths.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts
            .iter()
            .map(|(file, source)| (file.as_str(), source.text.as_ref()))
    }

    /// Returns a file's text.
    pub fn text(&self, file: &str) -> Option<&Arc<str>> {
        self.texts.get(file).map(|source| &source.text)
    }

    /// Takes the texts of another set in.
    pub fn extend(&mut self, other: Self) {
        self.texts.extend(other.texts);
    }

    /// Makes a place from a byte range of a file that was added; line and column count from 1, columns in characters.
    pub fn place(&self, file: &str, span: Range<usize>) -> Place {
        let (line, column) = self
            .texts
            .get(file)
            .map_or((1, 1), |source| source.position(span.start));
        Place {
            file: file.to_owned(),
            line,
            column,
            span: Some(span),
        }
    }
}

impl Source {
    fn position(&self, at: usize) -> (usize, usize) {
        let line = self.lines.partition_point(|start| *start <= at);
        let start = self.lines[line - 1];
        let column = self
            .text
            .get(start..at)
            .map_or(0, |before| before.chars().count());
        (line, column + 1)
    }
}

/// A place in a file: `modules/app/module.toml:14`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Place {
    /// The path as people know it: relative to where muster runs, if it lies below.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The byte range, where the caret goes; `None` points to the whole line.
    #[serde(skip)]
    pub span: Option<Range<usize>>,
}

impl Place {
    /// Makes a place in a text from a line and, where it is known, a byte range of the whole text.
    pub fn in_text(file: &str, text: &str, line: usize, span: Option<Range<usize>>) -> Self {
        let start = span.as_ref().map_or(0, |span| span.start);
        let before = text.get(..start).unwrap_or("");
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        Self {
            file: file.to_owned(),
            line,
            column,
            span,
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// How much a diagnostic matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing goes on until it is mended.
    Error,
    /// It goes on, and the reader should know.
    Warning,
}

/// A further place that a diagnostic speaks of, such as the other of two conflicting lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Label {
    /// Where.
    pub place: Place,
    /// What is there, in a few words.
    pub text: String,
}

/// One thing that is wrong, in the manner of a compiler's message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The stable code, for `muster explain`.
    pub code: Code,
    /// Error or warning.
    pub severity: Severity,
    /// One lower-case clause, subject first, without a full stop.
    pub message: String,
    /// Where the mistake is, with what the caret says; the place to mend.
    pub place: Option<Label>,
    /// Further places.
    pub others: Vec<Label>,
    /// What led to it, outermost first.
    pub causes: Vec<String>,
    /// A thing to do.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// Makes an error.
    pub fn error(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: message.into(),
            place: None,
            others: Vec::new(),
            causes: Vec::new(),
            hint: None,
        }
    }

    /// Makes a warning.
    pub fn warning(code: Code, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(code, message)
        }
    }

    /// Points the caret at a place and says there what was expected.
    pub fn at(mut self, place: Place, text: impl Into<String>) -> Self {
        self.place = Some(Label {
            place,
            text: text.into(),
        });
        self
    }

    /// Names a further place.
    pub fn and(mut self, place: Place, text: impl Into<String>) -> Self {
        self.others.push(Label {
            place,
            text: text.into(),
        });
        self
    }

    /// Adds a cause.
    pub fn because(mut self, cause: impl std::fmt::Display) -> Self {
        self.causes.push(cause.to_string());
        self
    }

    /// Adds a hint.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a hint, where there is one.
    pub fn hint_opt(mut self, hint: Option<String>) -> Self {
        self.hint = hint.or(self.hint);
        self
    }
}

/// Every diagnostic of a run so far. Collected, never thrown at the first.
#[derive(Debug, Clone, Default)]
pub struct Diagnostics {
    found: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if !self.found.contains(&diagnostic) {
            self.found.push(diagnostic);
        }
    }

    /// Takes all of another collection in.
    pub fn extend(&mut self, others: impl IntoIterator<Item = Diagnostic>) {
        others.into_iter().for_each(|other| self.push(other));
    }

    /// Says whether one of them is an error.
    pub fn has_errors(&self) -> bool {
        self.found
            .iter()
            .any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// Says whether there is none.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Returns them by file, then by line, those without a place first.
    pub fn sorted(&self) -> Vec<&Diagnostic> {
        let mut all: Vec<&Diagnostic> = self.found.iter().collect();
        all.sort_by_key(|diagnostic| {
            diagnostic
                .place
                .as_ref()
                .map(|label| (label.place.file.clone(), label.place.line, label.place.column))
        });
        all
    }

    /// Returns them in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.found.iter()
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;
    fn into_iter(self) -> Self::IntoIter {
        self.found.into_iter()
    }
}

/// Returns the candidate that somebody who wrote `word` most likely meant, as a hint: "did you mean `replicas`?".
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| {
            let length = candidate.len().max(word.len());
            *distance <= (length / 3).max(1) && *distance < length
        })
        .min()
        .map(|(_, candidate)| format!("did you mean `{candidate}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let mut sources = Sources::default();
        sources.add("a.toml", "x = 1\ny = \"é\" # here\n");
        let at = "x = 1\ny = \"é\" # here".find("here").unwrap();
        let place = sources.place("a.toml", at..at + 4);
        assert_eq!((place.line, place.column), (2, 11));
    }

    #[test]
    fn suggestions_are_near_or_absent() {
        assert_eq!(
            did_you_mean("replcas", ["replicas", "image"]).as_deref(),
            Some("did you mean `replicas`?")
        );
        assert_eq!(did_you_mean("zebra", ["replicas", "image"]), None);
        assert_eq!(did_you_mean("x", ["a"]), None);
    }
}
