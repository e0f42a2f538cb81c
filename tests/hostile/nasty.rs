//! An alphabet of what breaks programs, and what may never come out of one.

use proptest::prelude::*;

/// Pieces that mean something to a shell, a terminal, a template's output, a pattern, a log or a parser.
pub const PIECES: &[&str] = &[
    "'",
    "\"",
    "`",
    "$(touch /tmp/muster-hostile)",
    "${HOME}",
    "$HOME",
    ";",
    "&&",
    "||",
    "|",
    ">",
    "<",
    "*",
    "?",
    "[a-z]",
    "~",
    "!",
    "#",
    "\\",
    "\\n",
    "\n",
    "\r\n",
    "\r",
    "\t",
    " ",
    "-",
    "--",
    "-rf",
    "=",
    ":",
    ",",
    "%s",
    "%n",
    "%25",
    "{}",
    "()",
    "..",
    "/",
    "END-",
    "END",
    "EOF",
    "<<'E'",
    "\u{1b}[2J",
    "\u{1b}]0;x\u{7}",
    "\u{1b}]52;c;eA==\u{7}",
    "\u{9b}31m",
    "\u{202e}",
    "\u{2066}",
    "\u{200b}",
    "\u{feff}",
    "\u{fffe}",
    "\u{85}",
    "\u{7f}",
    "\u{8}",
    "é",
    "界",
    "a",
    "B",
    "0",
    "::error::x",
    "##[x]",
    "]]>",
    "</pre>",
    "<script>",
    "&amp;",
    "|",
    "\u{2028}",
    "null",
    "true",
    "0x1",
];

/// A text of such pieces.
pub fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PIECES), 0..10).prop_map(|pieces| pieces.concat())
}

/// Says whether a text holds anything that acts on a terminal, beside line breaks and tabs.
pub fn acts(text: &str) -> Option<char> {
    text.chars().find(|char| {
        let is_plain = matches!(char, '\n' | '\t');
        let turns = matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}');
        turns || (char.is_control() && !is_plain)
    })
}

/// Says which line a CI job would take for a command.
pub fn command(text: &str) -> Option<&str> {
    text.lines()
        .find(|line| line.trim_start().starts_with("::") || line.contains("##["))
}
