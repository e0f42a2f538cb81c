//! Contents of hosts and files, made harmless for terminals and documents.

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

pub(super) fn acts(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            | '\u{feff}' | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..='\u{e007f}' | '\u{f0000}'..='\u{10ffff}')
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
    fn markup_is_text_in_html() {
        assert_eq!(html("<b a='\"'>&"), "&lt;b a=&#39;&quot;&#39;&gt;&amp;");
    }
}
