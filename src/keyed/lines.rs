//! Text as lines, with the line ends and the last line's end kept.

/// The lines of a text. Joined again they are the text, byte for byte.
pub struct Lines {
    /// The lines without their ends, and without the empty one after the last end.
    pub lines: Vec<String>,
    // What stands between lines; `\r\n` only where every line ends so, else a lone `\r` stays in its line.
    newline: &'static str,
    has_last_end: bool,
}

impl Lines {
    /// Splits a text.
    pub fn split(text: &str) -> Self {
        let breaks = text.matches('\n').count();
        let newline = if breaks > 0 && breaks == text.matches("\r\n").count() {
            "\r\n"
        } else {
            "\n"
        };
        let has_last_end = text.is_empty() || text.ends_with(newline);
        let body = text.strip_suffix(newline).unwrap_or(text);
        let lines = match text {
            "" => Vec::new(),
            _ => body.split(newline).map(str::to_owned).collect(),
        };
        Self {
            lines,
            newline,
            has_last_end,
        }
    }

    /// Joins the lines.
    pub fn join(self) -> String {
        let mut text = self.lines.join(self.newline);
        if self.has_last_end && !self.lines.is_empty() {
            text.push_str(self.newline);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_lines_are_the_text() {
        for text in [
            "",
            "\n",
            "a",
            "a\n",
            "a\r\nb\r\n",
            "a\r\nb",
            "a\r\nb\n",
            "\n\n",
            "\r\n",
        ] {
            assert_eq!(Lines::split(text).join(), text, "{text:?}");
        }
    }
}
