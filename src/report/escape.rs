//! Contents of hosts and files, made harmless for terminals and documents.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// Returns a text in which no character acts on a terminal: control characters, and those that change the direction of
/// writing, are spelled out. Tabs stay.
pub fn controls(text: &str) -> String {
    text.chars()
        .fold(String::with_capacity(text.len()), |mut out, char| {
            match char {
                '\t' => out.push('\t'),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                char if acts(char) => out.extend(char.escape_unicode()),
                char => out.push(char),
            }
            out
        })
}

/// Says whether a character acts on a terminal, or on the reader of one: it moves, hides or turns text round, or is none
/// that a document may hold (XML refuses U+FFFE and U+FFFF even as references).
pub(super) fn acts(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{fdd0}'..='\u{fdef}'
            | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..='\u{e007f}' | '\u{f0000}'..='\u{10ffff}')
        || u32::from(char) & 0xfffe == 0xfffe
}

/// Returns one line, made harmless for a terminal and for the log of a CI job.
///
/// Jobs read commands out of what programs print: GitHub takes a line that begins with `::`, after blanks, and `##[`
/// anywhere, Azure and TeamCity take `##word[`. A host's file could hold such a line, so its first sign is spelled out.
pub fn line(text: &str) -> String {
    let text = controls(text);
    let text = AT_THE_START.replace(&text, "$1\\u{3a}:");
    spell_hashes(&text, "\\u{23}").into_owned()
}

/// Spells all but the last of the signs before a bracket out, so that no two are left side by side.
fn spell_hashes<'t>(text: &'t str, spelled: &str) -> Cow<'t, str> {
    ANYWHERE.replace_all(text, |found: &Captures<'_>| {
        let signs = found[0].len() - found[1].len();
        spelled.repeat(signs) + &found[1]
    })
}

static AT_THE_START: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^(\s*)::").expect("the pattern is well formed"));
static ANYWHERE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"#+(#[A-Za-z0-9]*\[)").expect("the pattern is well formed"));

/// Returns several lines, each made harmless.
pub fn lines(text: &str) -> String {
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// Returns JSON in which no character acts on a terminal: those within its strings are written as escapes, which mean
/// the same. JSON itself asks for that only below U+0020.
pub fn json(text: &str) -> String {
    let acts = |char| char != '\n' && acts(char);
    let text = spell_hashes(text, "\\u0023");
    text.chars()
        .fold(String::with_capacity(text.len()), |mut out, char| {
            if acts(char) {
                let mut units = [0; 2];
                let units = char.encode_utf16(&mut units).iter();
                units.for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
            } else {
                out.push(char);
            }
            out
        })
}

/// Returns a text for HTML and XML, between tags and within quoted attributes.
pub fn html(text: &str) -> String {
    text.chars()
        .fold(String::with_capacity(text.len()), |mut out, char| {
            match char {
                '&' => out.push_str("&amp;"),
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                '"' => out.push_str("&quot;"),
                '\'' => out.push_str("&#39;"),
                char => out.push(char),
            }
            out
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_acts_on_a_terminal_passes() {
        let text = "a\u{1b}[31mb\u{7}\r\n\u{9b}c\u{202e}d\u{100000}\tz é 界";
        let escaped = controls(text);
        assert_eq!(
            escaped,
            "a\\u{1b}[31mb\\u{7}\\r\\n\\u{9b}c\\u{202e}d\\u{100000}\tz é 界"
        );
    }

    #[test]
    fn no_line_is_a_command_to_a_job() {
        let lines = [
            ("::error::x", "\\u{3a}:error::x"),
            ("  \t ::stop-commands::x", "  \t \\u{3a}:stop-commands::x"),
            ("a ::error::x", "a ::error::x"),
            (
                "x ##[set-env name=A;]b ##[x]",
                "x \\u{23}#[set-env name=A;]b \\u{23}#[x]",
            ),
            ("##vso[task.x]", "\\u{23}#vso[task.x]"),
            ("###teamcity[x", "\\u{23}\\u{23}#teamcity[x"),
            ("## Heading [1]", "## Heading [1]"),
            ("é##", "é##"),
        ];
        for (text, wanted) in lines {
            assert_eq!(line(text), wanted);
        }
        assert_eq!(super::lines("a\n::x\u{1b}"), "a\n\\u{3a}:x\\u{1b}");
    }

    #[test]
    fn json_means_the_same_and_acts_on_nothing() {
        let value = serde_json::json!({ "a": "##[x]\u{9b}31m\u{202e}\u{100000}\u{7f}\u{1b}é\n" });
        let text = json(&value.to_string());
        assert!(
            !text.contains(acts) && text.contains('é') && !text.contains("##"),
            "{text:?}"
        );
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }

    #[test]
    fn markup_is_text_in_html() {
        assert_eq!(html("<b a='\"'>&"), "&lt;b a=&#39;&quot;&#39;&gt;&amp;");
    }
}
