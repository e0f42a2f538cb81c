//! A page as something to do: its `sh` blocks are typed in one shell, and a `text` block after one is what it must say.
//!
//! A block's head may say more: `sh exit=2` ends with that code, `sh answer=yes` is asked something on a terminal.

use std::path::Path;
use std::process::Command;

use super::block::{self, Block};

/// What a page tells its reader to do.
pub struct Lesson {
    steps: Vec<Step>,
}

struct Step {
    line: usize,
    commands: String,
    exit: i32,
    answer: Option<String>,
    says: Option<String>,
}

impl Lesson {
    /// Reads a page.
    pub fn of(page: &Path) -> Self {
        let text = std::fs::read_to_string(page).expect("the page is there");
        let (blocks, _) = block::split(&text).expect("its blocks are closed");
        let mut steps: Vec<Step> = Vec::new();
        for block in &blocks {
            match (block.language(), steps.last_mut()) {
                ("sh", _) => steps.push(Step::of(block)),
                ("text", Some(step)) => step.says = Some(block.text.clone()),
                _ => {}
            }
        }
        assert!(!steps.is_empty(), "{} has something to do", page.display());
        Self { steps }
    }

    /// Replaces a text in every step, such as the name of a fleet that somebody may have already.
    pub fn replace(mut self, from: &str, to: &str) -> Self {
        for step in &mut self.steps {
            step.commands = step.commands.replace(from, to);
            step.says = step.says.take().map(|says| says.replace(from, to));
        }
        self
    }

    /// Does it all in a folder, and holds each step to what the page says of it.
    pub fn follow(&self, folder: &Path, prelude: &str) {
        let notes = tempfile::tempdir().expect("a folder for what is said");
        let script = notes.path().join("lesson");
        std::fs::write(&script, self.script(prelude, notes.path())).expect("the script can be written");
        let status = Command::new("bash")
            .arg(&script)
            .current_dir(folder)
            .env("NO_COLOR", "1")
            .status()
            .expect("bash runs");
        for (index, step) in self.steps.iter().enumerate() {
            step.judge(&notes.path().join(format!("{index}")));
        }
        assert!(status.success(), "the lesson ended with {status}");
    }

    fn script(&self, prelude: &str, notes: &Path) -> String {
        let mut script = format!("{prelude}\n");
        for (index, step) in self.steps.iter().enumerate() {
            let said = notes.join(format!("{index}.said"));
            let code = notes.join(format!("{index}.code"));
            script.push_str(&step.shell(said.to_str().expect("a plain path")));
            script.push_str(&format!("echo $? >{}\n", code.display()));
        }
        script
    }
}

impl Step {
    fn of(block: &Block) -> Self {
        let option = |name: &str| {
            let mut words = block
                .head
                .split_whitespace()
                .filter_map(|word| word.split_once('='));
            words
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.to_owned())
        };
        Self {
            line: block.line,
            commands: block.text.clone(),
            exit: option("exit").map_or(0, |code| code.parse().expect("a code is a number")),
            answer: option("answer"),
            says: None,
        }
    }

    fn shell(&self, said: &str) -> String {
        match &self.answer {
            // What asks somebody wants a terminal; `script` is one.
            Some(answer) => format!(
                "printf '%s\\n' {answer} | script -qefc '{}' /dev/null >{said} 2>&1\n",
                self.commands.trim().replace('\'', r"'\''")
            ),
            None => format!("{{\n{}\n}} >{said} 2>&1 </dev/null\n", self.commands.trim_end()),
        }
    }

    fn judge(&self, note: &Path) {
        let read = |kind: &str| std::fs::read_to_string(note.with_extension(kind)).unwrap_or_default();
        let (said, code) = (read("said"), read("code"));
        let at = format!("line {}: {}", self.line, self.commands.trim());
        assert_eq!(code.trim(), self.exit.to_string(), "{at}\n{said}");
        if let Some(says) = &self.says {
            assert_told(says, &said, &at);
        }
    }
}

/// Asserts that what a page promises was said, line by line in this order; a line of `…` stands for any others, and so
/// does nothing at all.
pub fn assert_told(promised: &str, said: &str, at: &str) {
    let said = said.replace('\r', "");
    let mut rest = said.lines();
    let promised = promised
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && *line != "…");
    for wanted in promised {
        let pattern = pattern(wanted);
        assert!(
            rest.any(|line| pattern.is_match(line.trim())),
            "{at}\nthe page promises the line\n  {wanted}\nand this was said:\n{said}"
        );
    }
}

/// Makes a pattern of a line: what differs from run to run is left open, and so is what stands for `…`.
fn pattern(line: &str) -> regex::Regex {
    let open =
        regex::Regex::new(r"…|10\.77\.\d+\.\d+|\b[0-9a-f]{12}\b|\b\d+(\.\d+)? ?(ms|s)\b").expect("a pattern");
    let mut made = String::from("^");
    let mut from = 0;
    for found in open.find_iter(line) {
        made.push_str(&regex::escape(&line[from..found.start()]));
        made.push_str(match found.as_str() {
            "…" => ".*",
            address if address.starts_with("10.77.") => r"10\.\d+\.\d+\.\d+",
            id if id.len() == 12 && !id.ends_with('s') => "[0-9a-f]{12}",
            _ => r"\d+(\.\d+)? ?(ms|s)",
        });
        from = found.end();
    }
    made.push_str(&regex::escape(line[from..].trim_end()));
    made.push('$');
    regex::Regex::new(&made).expect("an escaped line is a pattern")
}

#[test]
fn lines_are_compared_but_for_what_differs_from_run_to_run() {
    let promised = pattern("Plan 0123456789ab: 3 to create on 10.77.0.11 in 1.2 s …");
    assert!(promised.is_match("Plan fedcba987654: 3 to create on 10.77.4.12 in 34 s and so on"));
    assert!(!promised.is_match("Plan fedcba987654: 4 to create on 10.77.4.12 in 34 s and so on"));
}
