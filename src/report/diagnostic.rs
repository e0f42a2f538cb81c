//! Diagnostics in the manner of a compiler: file, line, caret, what was expected, what to do, and the code to look up.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents, SourceCode,
    SourceSpan, SpanContents, ThemeCharacters, ThemeStyles,
};
use serde_json::{Value, json};

use super::escape;
use crate::model::code;
use crate::model::diagnostic::{Diagnostic, Diagnostics, Label, Place, Severity, Sources};

/// How diagnostics are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Whether colours are used.
    pub color: bool,
    /// How wide lines may be, in characters.
    pub width: usize,
}

impl Default for Look {
    fn default() -> Self {
        Self {
            color: false,
            width: 100,
        }
    }
}

/// Returns all diagnostics as text, by file and line, with an empty line after each.
pub fn text(diagnostics: &Diagnostics, sources: &Sources, look: Look) -> String {
    let mut shelf = Shelf {
        sources,
        cleaned: BTreeMap::new(),
    };
    let sorted = diagnostics.sorted();
    for label in sorted
        .iter()
        .flat_map(|found| found.place.iter().chain(&found.others))
    {
        shelf.clean(&label.place.file);
    }
    let handler = handler(look);
    let mut out = String::new();
    for found in sorted {
        handler
            .render_report(&mut out, &shelf.report(found))
            .expect("writing to a string cannot fail");
        out.push('\n');
    }
    out
}

/// Returns a diagnostic as a line of a JSON stream.
pub fn json(found: &Diagnostic) -> Value {
    let mut value = json!({ "type": "diagnostic" });
    let body = serde_json::to_value(found).expect("diagnostics serialise to JSON: strings and numbers");
    if let (Value::Object(line), Value::Object(body)) = (&mut value, body) {
        line.extend(body);
    }
    value
}

/// Returns how many there are: `2 errors, 1 warning`.
pub fn sum(diagnostics: &Diagnostics) -> String {
    let count = |severity| {
        diagnostics
            .iter()
            .filter(|found| found.severity == severity)
            .count()
    };
    let say = |count: usize, word: &str| match count {
        0 => None,
        1 => Some(format!("1 {word}")),
        many => Some(format!("{many} {word}s")),
    };
    let parts = [
        say(count(Severity::Error), "error"),
        say(count(Severity::Warning), "warning"),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn handler(look: Look) -> GraphicalReportHandler {
    let styles = if look.color {
        ThemeStyles::ansi()
    } else {
        ThemeStyles::none()
    };
    GraphicalReportHandler::new_themed(GraphicalTheme {
        characters: ThemeCharacters::unicode(),
        styles,
    })
    .with_width(look.width)
    .with_links(false)
    // One asks for whole lines, zero for the place alone, whose column stands in the heading: see `Leaf`.
    .with_context_lines(1)
}

/// The texts, made harmless for a terminal without moving a byte.
struct Shelf<'s> {
    sources: &'s Sources,
    cleaned: BTreeMap<String, Arc<Leaf>>,
}

impl Shelf<'_> {
    fn clean(&mut self, file: &str) {
        if let Some(text) = self
            .sources
            .text(file)
            .filter(|_| !self.cleaned.contains_key(file))
        {
            self.cleaned
                .insert(file.to_owned(), Arc::new(Leaf::new(file, harmless(text))));
        }
    }

    fn report<'d>(&self, found: &'d Diagnostic) -> Report<'d> {
        let text = found
            .place
            .as_ref()
            .and_then(|label| self.shown_text(found, label));
        let main = found.place.as_ref().filter(|_| text.is_some());
        let is_near = |label: &&Label| main.is_some_and(|main| main.place.file == label.place.file);
        let near = found.others.iter().filter(is_near);
        let far = found.others.iter().filter(|label| !is_near(label));
        let labels = main
            .into_iter()
            .chain(near)
            .zip(std::iter::repeat(&text))
            .filter_map(|(label, text)| {
                let span = on_one_line(&label.place, &text.as_ref()?.text);
                Some((label.text.clone(), span))
            });
        let mut causes: Vec<String> = found.causes.clone();
        if let (Some(label), None) = (&found.place, &text) {
            causes.insert(0, format!("at {}", label.place));
        }
        Report {
            found,
            labels: labels.collect(),
            source: text,
            related: far.map(|label| self.aside(label)).collect(),
            cause: chain(causes),
        }
    }

    /// Returns the text to show lines of. Where a secret may stand in place of its source, that is none.
    fn shown_text(&self, found: &Diagnostic, label: &Label) -> Option<Arc<Leaf>> {
        if found.code == code::BAD_SECRET_SOURCE {
            return None;
        }
        self.cleaned.get(&label.place.file).cloned()
    }

    fn aside(&self, label: &Label) -> Aside {
        let source = self.cleaned.get(&label.place.file).cloned();
        let span = source.as_ref().map(|leaf| on_one_line(&label.place, &leaf.text));
        let message = match &source {
            Some(_) => label.text.clone(),
            None => format!("{}, at {}", label.text, label.place),
        };
        Aside {
            message,
            span,
            source,
        }
    }
}

/// Replaces what acts on a terminal by `?`, one for each byte, so that byte ranges stay true.
fn harmless(text: &Arc<str>) -> Arc<str> {
    let acts = |char: char| char != '\n' && char != '\t' && char != '\r' && escape::acts(char);
    if !text.contains(acts) {
        return text.clone();
    }
    let clean = |char: char| {
        if acts(char) {
            "?".repeat(char.len_utf8())
        } else {
            char.to_string()
        }
    };
    text.chars().map(clean).collect::<String>().into()
}

/// Returns where the caret goes: never over the end of a line, and never outside the text.
fn on_one_line(place: &Place, text: &str) -> Range<usize> {
    let span = place.span.clone().unwrap_or_else(|| whole_line(place.line, text));
    let start = text.floor_char_boundary(span.start.min(text.len()));
    let rest = &text[start..];
    let line = rest.find('\n').unwrap_or(rest.len());
    let end = text.ceil_char_boundary(span.end.clamp(start, start + line));
    start..end
}

fn whole_line(line: usize, text: &str) -> Range<usize> {
    let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1));
    let start = starts
        .into_iter()
        .nth(line.saturating_sub(1))
        .unwrap_or(text.len());
    let end = text[start..]
        .find('\n')
        .map_or(text.len(), |length| start + length);
    let indent = text[start..end].len() - text[start..end].trim_start().len();
    start + indent..end
}

/// A file as miette asks for it, with the offset at which each line begins: files may be long and places many.
#[derive(Debug)]
struct Leaf {
    file: String,
    text: Arc<str>,
    lines: Vec<usize>,
}

impl Leaf {
    fn new(file: &str, text: Arc<str>) -> Self {
        let lines = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        Self {
            file: file.to_owned(),
            text,
            lines,
        }
    }

    /// Returns the index of the line that holds an offset.
    fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|start| *start <= at) - 1
    }
}

impl SourceCode for Leaf {
    /// Returns the place alone where no lines around it are asked for, else the lines that it stands on and no others:
    /// a neighbour may hold what nobody asked to see.
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        _after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let end = span
            .offset()
            .checked_add(span.len())
            .filter(|end| *end <= self.text.len());
        let end = end.ok_or(MietteError::OutOfBounds)?;
        let (first, last) = (self.line(span.offset()), self.line(end));
        let line = self.lines[first];
        let (start, stop, column) = match before {
            0 => (span.offset(), end, self.text[line..span.offset()].chars().count()),
            _ => (
                line,
                self.lines.get(last + 1).copied().unwrap_or(self.text.len()),
                0,
            ),
        };
        let data = &self.text.as_bytes()[start..stop];
        let range = SourceSpan::from((start, stop - start));
        let contents =
            MietteSpanContents::new_named(self.file.clone(), data, range, first, column, last + 1 - first);
        Ok(Box::new(contents))
    }
}

/// A diagnostic in the form in which miette draws it.
#[derive(Debug)]
struct Report<'d> {
    found: &'d Diagnostic,
    labels: Vec<(String, Range<usize>)>,
    source: Option<Arc<Leaf>>,
    related: Vec<Aside>,
    cause: Option<Cause>,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape::controls(&self.found.message))
    }
}

impl std::error::Error for Report<'_> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_ref().map(|cause| cause as _)
    }
}

impl miette::Diagnostic for Report<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.found.code))
    }
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.found.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.found
            .hint
            .as_ref()
            .map(|hint| Box::new(escape::controls(hint)) as _)
    }
    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_deref().map(|source| source as _)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let spans = self.labels.iter().enumerate().map(|(index, (text, span))| {
            let label = LabeledSpan::new_with_span(Some(escape::controls(text)), span.clone());
            if index == 0 {
                LabeledSpan::new_primary_with_span(label.label().map(str::to_owned), span.clone())
            } else {
                label
            }
        });
        self.source.as_ref().map(|_| Box::new(spans) as _)
    }
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn miette::Diagnostic> + 'a>> {
        (!self.related.is_empty())
            .then(|| Box::new(self.related.iter().map(|aside| aside as &dyn miette::Diagnostic)) as _)
    }
}

/// A further place in another file.
#[derive(Debug)]
struct Aside {
    message: String,
    span: Option<Range<usize>>,
    source: Option<Arc<Leaf>>,
}

impl fmt::Display for Aside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape::controls(&self.message))
    }
}

impl std::error::Error for Aside {}

impl miette::Diagnostic for Aside {
    fn severity(&self) -> Option<miette::Severity> {
        Some(miette::Severity::Advice)
    }
    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_deref().map(|source| source as _)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.span.clone()?;
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(None, span))))
    }
}

/// One cause, and what led to it.
#[derive(Debug)]
struct Cause {
    text: String,
    next: Option<Box<Cause>>,
}

fn chain(causes: Vec<String>) -> Option<Cause> {
    causes.into_iter().rev().fold(None, |next, text| {
        Some(Cause {
            text,
            next: next.map(Box::new),
        })
    })
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape::controls(&self.text))
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.next.as_ref().map(|next| next as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(found: Diagnostic, files: &[(&str, &str)]) -> String {
        let mut sources = Sources::default();
        files.iter().for_each(|(file, text)| sources.add(*file, *text));
        let mut diagnostics = Diagnostics::default();
        diagnostics.push(found);
        text(&diagnostics, &sources, Look::default())
    }

    fn place(file: &str, text: &str, part: &str) -> Place {
        let mut sources = Sources::default();
        sources.add(file, text);
        let at = text.find(part).unwrap();
        sources.place(file, at..at + part.len())
    }

    #[test]
    fn a_caret_points_to_the_place_and_other_files_follow() {
        let (one, other) = ("[values]\nport = \"x\"\n", "[inputs.port]\ntype = \"port\"\n");
        let found = Diagnostic::error(code::BAD_VALUE, "value `port`: `\"x\"` is not a port")
            .at(place("f.toml", one, "port = \"x\""), "set here")
            .and(
                place("modules/app/module.toml", other, "[inputs.port]"),
                "declared here",
            )
            .because("somebody wrote it")
            .hint("write a number");
        insta::assert_snapshot!(drawn(
            found,
            &[("f.toml", one), ("modules/app/module.toml", other)]
        ));
    }

    #[test]
    fn the_line_of_what_may_be_a_secret_is_not_shown() {
        let text = "a = 1\npassword = \"hunter2\"\n";
        let found = Diagnostic::error(code::BAD_SECRET_SOURCE, "value `password`: not a source")
            .at(place("f.toml", text, "\"hunter2\""), "set here");
        let drawn = drawn(found, &[("f.toml", text)]);
        assert!(
            !drawn.contains("hunter2") && drawn.contains("at f.toml:2"),
            "{drawn}"
        );
    }

    #[test]
    fn neighbouring_lines_are_not_shown() {
        let text = "above = 1\nport = 2\nbelow = 3\n";
        let found = Diagnostic::error(code::BAD_VALUE, "x").at(place("f.toml", text, "port"), "here");
        let drawn = drawn(found, &[("f.toml", text)]);
        assert!(
            drawn.contains("port = 2") && !drawn.contains("above") && !drawn.contains("below"),
            "{drawn}"
        );
    }

    #[test]
    fn two_places_of_one_file_leave_out_what_lies_between() {
        let text = format!("first = 1\n{}second = 2\n", "between = 3\n".repeat(9));
        let found = Diagnostic::error(code::GROUP_CONFLICT, "x")
            .at(place("f.toml", &text, "second"), "that")
            .and(place("f.toml", &text, "first"), "this");
        let drawn = drawn(found, &[("f.toml", &text)]);
        assert!(
            drawn.contains("first = 1") && drawn.contains("second = 2") && !drawn.contains("between"),
            "{drawn}"
        );
        assert!(drawn.contains("11 │ second"), "{drawn}");
    }

    #[test]
    fn files_cannot_act_on_the_terminal() {
        let text = "a = \"\u{1b}[2J\u{202e}x\"\n";
        let found =
            Diagnostic::error(code::BAD_VALUE, "bad \u{1b}[2J").at(place("f.toml", text, "x"), "here\u{7}");
        let drawn = drawn(found, &[("f.toml", text)]);
        assert!(!drawn.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{drawn:?}");
    }

    #[test]
    fn places_beyond_the_text_are_drawn_at_its_end() {
        let beyond = |span, line| Place {
            file: "f.toml".into(),
            line,
            column: 1,
            span,
        };
        for place in [
            beyond(Some(90..99), 9),
            beyond(None, 9),
            beyond(Some(2..99), 1),
            beyond(None, 0),
        ] {
            let found = Diagnostic::error(code::SYNTAX, "cut").at(place, "here");
            assert!(drawn(found, &[("f.toml", "aé\nb")]).contains("cut"));
        }
        let found = Diagnostic::error(code::SYNTAX, "cut").at(beyond(Some(0..0), 1), "here");
        assert!(drawn(found, &[("f.toml", "")]).contains("cut"));
    }

    #[test]
    fn sums_count_by_severity() {
        let mut found = Diagnostics::default();
        assert_eq!(sum(&found), "");
        found.push(Diagnostic::error(code::SYNTAX, "a"));
        found.push(Diagnostic::error(code::SYNTAX, "b"));
        found.push(Diagnostic::warning(code::SYNTAX, "c"));
        assert_eq!(sum(&found), "2 errors, 1 warning");
    }
}
