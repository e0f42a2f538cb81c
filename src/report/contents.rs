//! Values and contents, before and after: inline, by key, or as a unified diff.

use similar::{ChangeTag, TextDiff};

use super::keyed::{self, KeyChange};
use super::line::{Line, Tone};
use crate::model::body::Body;
use crate::model::change::{FieldChange, Shown};
use crate::model::id::OutputRef;

/// The longest value that stands on one line with another, in characters.
const INLINE_MAX_CHARS: usize = 72;
/// How many lines of a diff are shown unless all are asked for.
const DIFF_MAX_LINES: usize = 120;
/// How many lines of a new content are shown unless all are asked for.
const NEW_MAX_LINES: usize = 16;

/// How much is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extent {
    /// Whether long contents are shown to their end.
    pub full: bool,
}

/// Shows a field that differs.
pub fn field(path: &str, change: &FieldChange, prints_vary: bool, extent: Extent) -> Vec<Line> {
    let name = &change.field;
    match (&change.before, &change.after) {
        (Shown::Text(before), Shown::Text(after)) if is_block(before) || is_block(after) => {
            block(path, name, before, after, extent)
        }
        (Shown::Nothing, Shown::Text(after)) if is_block(after) => new(name, after, extent),
        (Shown::Secret(_), Shown::Secret(_)) if prints_vary => {
            vec![Line::new(
                Tone::Change,
                6,
                format!("{name}: (secret changes, with another print on each host)"),
            )]
        }
        (Shown::Secret(before), Shown::Secret(after)) => {
            let text = format!("{name}: (secret {} → {})", before.short(), after.short());
            vec![Line::new(Tone::Change, 6, text)]
        }
        (before, after) => {
            let text = format!(
                "{name}: {} → {}",
                shown(before, prints_vary),
                shown(after, prints_vary)
            );
            vec![Line::new(Tone::Change, 6, text)]
        }
    }
}

/// Shows a content that was not there before.
pub fn new(name: &str, content: &str, extent: Extent) -> Vec<Line> {
    let lines: Vec<&str> = content.lines().collect();
    let body = lines
        .iter()
        .map(|line| Line::new(Tone::Add, 8, format!("+{line}")))
        .collect();
    std::iter::once(Line::new(Tone::Plain, 6, name))
        .chain(cut(body, NEW_MAX_LINES, extent))
        .collect()
}

/// Shows a JSON value of a spec on one line: bodies with their holes named, everything else as JSON.
pub fn value(value: &serde_json::Value) -> String {
    match (body(value), value) {
        (Some(body), _) => body.to_string(),
        (None, serde_json::Value::Object(fields)) => {
            let inner: Vec<String> = fields
                .iter()
                .map(|(key, field)| format!("{key} = {}", self::value(field)))
                .collect();
            format!("{{ {} }}", inner.join(", "))
        }
        (None, serde_json::Value::Array(items)) => {
            format!(
                "[{}]",
                items.iter().map(self::value).collect::<Vec<_>>().join(", ")
            )
        }
        (None, other) => other.to_string(),
    }
}

/// Reads a value of a spec as text, perhaps with holes.
pub fn body(value: &serde_json::Value) -> Option<Body> {
    let is_text = match value {
        serde_json::Value::String(_) => true,
        serde_json::Value::Array(items) => {
            !items.is_empty() && items.iter().all(serde_json::Value::is_object)
        }
        _ => false,
    };
    is_text
        .then(|| serde_json::from_value(value.clone()).ok())
        .flatten()
}

/// Names an output that is not known yet.
pub fn pending(output: &OutputRef) -> String {
    format!("? {} of {}", output.output, output.resource.host)
}

/// Says whether a text needs lines of its own.
pub fn is_block(text: &str) -> bool {
    text.trim_end_matches('\n').contains('\n') || text.chars().count() > INLINE_MAX_CHARS
}

fn shown(value: &Shown, prints_vary: bool) -> String {
    match value {
        Shown::Nothing => "(none)".to_owned(),
        Shown::Text(text) if text.is_empty() => "\"\"".to_owned(),
        Shown::Text(text) if is_block(text) => format!("({} lines)", text.lines().count()),
        Shown::Text(text) => text.trim_end_matches('\n').to_owned(),
        Shown::Secret(_) if prints_vary => "(secret)".to_owned(),
        Shown::Secret(print) => format!("(secret {})", print.short()),
        Shown::Opaque(what) => format!("({what})"),
        Shown::Pending(output) => pending(output),
    }
}

fn block(path: &str, name: &str, before: &str, after: &str, extent: Extent) -> Vec<Line> {
    let body = match keyed::compare(path, before, after) {
        Some(changes) => changes.iter().flat_map(key).collect(),
        None => unified(before, after),
    };
    let head = Line::new(Tone::Plain, 6, name);
    std::iter::once(head)
        .chain(cut(body, DIFF_MAX_LINES, extent))
        .collect()
}

fn key(change: &KeyChange) -> Vec<Line> {
    let name = &change.key;
    match (&change.before, &change.after) {
        (Some(before), Some(after)) if before.len() + after.len() > 2 * INLINE_MAX_CHARS => vec![
            Line::new(Tone::Remove, 8, format!("-{name}: {before}")),
            Line::new(Tone::Add, 8, format!("+{name}: {after}")),
        ],
        (Some(before), Some(after)) => {
            vec![Line::new(Tone::Change, 8, format!("~{name}: {before} → {after}"))]
        }
        (None, Some(after)) => vec![Line::new(Tone::Add, 8, format!("+{name}: {after}"))],
        (Some(before), None) => vec![Line::new(Tone::Remove, 8, format!("-{name}: {before}"))],
        (None, None) => Vec::new(),
    }
}

fn unified(before: &str, after: &str) -> Vec<Line> {
    let diff = TextDiff::from_lines(before, after);
    let mut lines = Vec::new();
    for hunk in diff.unified_diff().context_radius(3).iter_hunks() {
        lines.push(Line::new(Tone::Muted, 8, hunk.header().to_string()));
        for change in hunk.iter_changes() {
            let (tone, sign) = match change.tag() {
                ChangeTag::Equal => (Tone::Plain, ' '),
                ChangeTag::Delete => (Tone::Remove, '-'),
                ChangeTag::Insert => (Tone::Add, '+'),
            };
            let text = change.value();
            let line = text.strip_suffix('\n').unwrap_or(text);
            lines.push(Line::new(tone, 8, format!("{sign}{line}")));
            if change.missing_newline() {
                lines.push(Line::new(Tone::Muted, 8, "\\ no line break at the end"));
            }
        }
    }
    lines
}

fn cut(mut lines: Vec<Line>, most: usize, extent: Extent) -> Vec<Line> {
    // A few lines more are shown rather than counted.
    if extent.full || lines.len() <= most + 3 {
        return lines;
    }
    let left_out = lines.len() - most;
    lines.truncate(most);
    lines.push(Line::new(
        Tone::Muted,
        8,
        format!("… {left_out} more lines (`--full` shows them)"),
    ));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::digest::Fingerprint;

    fn text(lines: &[Line]) -> String {
        let mut lines = lines.to_vec();
        let sum = lines.pop().unwrap();
        super::super::line::Page {
            title: Line::blank(),
            lines,
            sum,
        }
        .plain()
    }

    fn lines(count: usize, odd: Option<usize>) -> String {
        (0..count)
            .map(|n| {
                if Some(n) == odd {
                    format!("odd {n}\n")
                } else {
                    format!("line {n}\n")
                }
            })
            .collect()
    }

    #[test]
    fn a_long_file_shows_what_differs_with_its_surroundings() {
        let change = FieldChange::text("content", lines(1000, None), lines(1000, Some(500)));
        insta::assert_snapshot!(text(&field("/etc/a.conf", &change, false, Extent::default())), @r"
              content
                @@ -498,7 +498,7 @@
                 line 497
                 line 498
                 line 499
                -line 500
                +odd 500
                 line 501
                 line 502
                 line 503
        ");
    }

    #[test]
    fn a_long_diff_is_cut_and_says_so_unless_all_is_wanted() {
        let change = FieldChange::text("content", "a\nb\n", lines(1000, None));
        let short = field("/etc/a.conf", &change, false, Extent::default());
        assert_eq!(short.len(), DIFF_MAX_LINES + 2);
        assert!(text(&short).ends_with("… 883 more lines (`--full` shows them)\n"));
        assert_eq!(
            field("/etc/a.conf", &change, false, Extent { full: true }).len(),
            1004
        );
    }

    #[test]
    fn odd_characters_and_line_ends_are_spelled_out() {
        let change = FieldChange::text("content", "a\r\nb\n", "a\nb\u{1b}[2J");
        insta::assert_snapshot!(text(&field("/etc/a.conf", &change, false, Extent::default())), @r"
              content
                @@ -1,2 +1,2 @@
                -a\r
                -b
                +a
                +b\u{1b}[2J
                \ no line break at the end
        ");
    }

    #[test]
    fn structured_files_are_compared_by_key() {
        let change = FieldChange::text(
            "content",
            "{\"a\": 1,\n \"b\": {\"c\": 2}}",
            "{\"b\": {\"c\": 3}, \"d\": []}",
        );
        insta::assert_snapshot!(text(&field("/etc/a.json", &change, false, Extent::default())), @r"
              content
                -a: 1
                ~b.c: 2 → 3
                +d: []
        ");
    }

    #[test]
    fn secrets_show_their_prints_only() {
        let print = |text: &str| Shown::Secret(Fingerprint(text.to_owned()));
        let change = FieldChange {
            field: "content".to_owned(),
            before: print("a91fcc"),
            after: print("03c2dd"),
        };
        assert_eq!(
            text(&field("/a", &change, false, Extent::default())),
            "      content: (secret a91f → 03c2)\n"
        );
        assert!(!text(&field("/a", &change, true, Extent::default())).contains("a91f"));
    }

    #[test]
    fn holes_of_a_spec_are_named() {
        let json = serde_json::json!({ "k": [{ "text": "p=" }, { "secret": "plain|env:P" }], "n": [1, "x"] });
        assert_eq!(value(&json), "{ k = p=(secret env:P), n = [1, x] }");
    }
}
