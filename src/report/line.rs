//! Pages: lines with a tone, and how they look on a terminal, in Markdown and in HTML.

use std::fmt::Write as _;

use owo_colors::OwoColorize as _;

use super::escape;

/// What a line says by its colour. Everything is readable without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Ordinary.
    Plain,
    /// A heading.
    Head,
    /// Something that comes.
    Add,
    /// Something that goes.
    Remove,
    /// Something that changes in place.
    Change,
    /// Something that needs attention.
    Warn,
    /// Detail.
    Muted,
}

/// One line, without its line break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    tone: Tone,
    indent: usize,
    // INVARIANT: holds nothing that acts on a terminal; every constructor escapes.
    text: String,
}

impl Line {
    /// Makes a line; characters that act on a terminal are spelled out.
    pub fn new(tone: Tone, indent: usize, text: impl AsRef<str>) -> Self {
        Self {
            tone,
            indent,
            text: escape::line(text.as_ref()),
        }
    }

    /// Makes an empty line.
    pub fn blank() -> Self {
        Self::new(Tone::Plain, 0, "")
    }

    pub(super) fn plain(&self) -> String {
        if self.text.is_empty() {
            String::new()
        } else {
            format!("{:1$}{2}", "", self.indent, self.text)
        }
    }

    /// Returns what the line says by its colour.
    pub(super) fn tone(&self) -> Tone {
        self.tone
    }

    /// Returns the line with its colour.
    pub(super) fn ansi(&self) -> String {
        let text = self.plain();
        match self.tone {
            Tone::Plain => text,
            Tone::Head => text.bold().to_string(),
            Tone::Add => text.green().to_string(),
            Tone::Remove => text.red().to_string(),
            Tone::Change => text.yellow().to_string(),
            Tone::Warn => text.magenta().to_string(),
            Tone::Muted => text.dimmed().to_string(),
        }
    }

    /// In a diff fence the first column colours the line, so lines that come and go lose their indentation.
    fn fenced(&self) -> String {
        match self.tone {
            Tone::Add | Tone::Remove if self.text.starts_with(['+', '-']) => self.text.clone(),
            _ => self.plain(),
        }
    }

    fn class(&self) -> &'static str {
        match self.tone {
            Tone::Plain => "plain",
            Tone::Head => "head",
            Tone::Add => "add",
            Tone::Remove => "remove",
            Tone::Change => "change",
            Tone::Warn => "warn",
            Tone::Muted => "muted",
        }
    }
}

/// A report: a title, lines, and the sum as the last line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The title, for Markdown and HTML.
    pub title: Line,
    /// The lines.
    pub lines: Vec<Line>,
    /// The sum.
    pub sum: Line,
}

impl Page {
    fn all(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().chain([&self.sum])
    }

    /// Returns the page with colours, for a stream that takes them out where they are not wanted.
    pub fn ansi(&self) -> String {
        self.all()
            .fold(String::new(), |out, line| out + &line.ansi() + "\n")
    }

    /// Returns the page without colours.
    pub fn plain(&self) -> String {
        self.all()
            .fold(String::new(), |out, line| out + &line.plain() + "\n")
    }

    /// Returns the page for a comment on a pull request: the sum first, then the lines in a fence.
    pub fn markdown(&self) -> String {
        let body: String = self
            .lines
            .iter()
            .fold(String::new(), |out, line| out + &line.fenced() + "\n");
        let fence = "`".repeat(longest_run(&body, '`').max(2) + 1);
        let title = markdown_text(&self.title.plain());
        let sum = markdown_text(&self.sum.plain());
        format!(
            "### {title}\n\n**{sum}**\n\n{fence}diff\n{}\n{fence}\n",
            body.trim_end()
        )
    }

    /// Returns the page as a document of its own, without scripts or links.
    pub fn html(&self) -> String {
        let title = escape::html(&self.title.plain());
        let body = self.all().fold(String::new(), |mut out, line| {
            let text = escape::html(&line.plain());
            writeln!(out, "<span class=\"{}\">{text}</span>", line.class())
                .expect("a String takes everything");
            out
        });
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\n\
             <style>{STYLE}</style></head>\n<body><h1>{title}</h1>\n<pre>\n{body}</pre></body></html>\n"
        )
    }
}

const STYLE: &str = "body{font:14px/1.4 sans-serif;margin:2em}pre{font-family:monospace;white-space:pre-wrap}\
.head{font-weight:bold}.add{color:#116329}.remove{color:#a40e26}.change{color:#7d4e00}.warn{color:#8250df}.muted{color:#6e7781}";

fn longest_run(text: &str, wanted: char) -> usize {
    text.chars()
        .fold((0, 0), |(best, run), char| {
            let run = if char == wanted { run + 1 } else { 0 };
            (usize::max(best, run), run)
        })
        .0
}

/// Text outside a fence: characters that Markdown gives a meaning are taken for what they are.
pub(super) fn markdown_text(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, char| {
        if "\\`*_{}[]<>#|~@!".contains(char) {
            out.push('\\');
        }
        out.push(char);
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Page {
        Page {
            title: Line::new(Tone::Head, 0, "plan <x>"),
            lines: vec![
                Line::new(Tone::Add, 6, "+``` </pre><script>\u{1b}[0m"),
                Line::blank(),
            ],
            sum: Line::new(Tone::Head, 0, "No changes."),
        }
    }

    #[test]
    fn a_content_cannot_leave_its_fence_or_its_element() {
        let markdown = page().markdown();
        assert!(markdown.contains("````diff\n+```"), "{markdown}");
        let html = page().html();
        assert!(
            html.contains("+``` &lt;/pre&gt;&lt;script&gt;\\u{1b}[0m</span>"),
            "{html}"
        );
        assert!(!html.contains("<script>"));
    }

    #[test]
    fn without_colours_the_text_is_the_same() {
        assert_eq!(
            anstream::adapter::strip_str(&page().ansi()).to_string(),
            page().plain()
        );
        assert_ne!(page().ansi(), page().plain());
    }
}
