//! What a command says, cut into lines as it comes, within bounds.

use std::sync::Mutex;

use crate::model::redaction::Redaction;
use crate::ports::{Hear, Output, Secrets};

/// The longest line that is passed on whole. A longer one goes on in the next.
const LINE_MAX: usize = 16 * 1024;
/// The most that is passed on of one host. Whoever says more goes on and is not heard.
const SAID_MAX: usize = 4 << 20;

/// Hears bytes and passes lines on, secrets taken out. The first line of standard output is the guard's: see [`Self::refusal`].
pub(super) struct Lines<'a> {
    hear: Hear<'a>,
    redaction: Redaction,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    has_begun: bool,
    /// What the guard says before the command begins.
    prelude: Vec<u8>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    said: usize,
}

impl<'a> Lines<'a> {
    pub fn new(hear: Hear<'a>, secrets: &Secrets) -> Self {
        Self {
            hear,
            redaction: secrets.redaction(),
            state: Mutex::default(),
        }
    }

    /// Takes in bytes.
    pub fn take(&self, output: Output, bytes: &[u8]) {
        let state = &mut *self.state.lock().expect("nothing panics under it");
        let bytes = match output {
            Output::Stdout if !state.has_begun => match state.begin(bytes) {
                Some(rest) => rest,
                None => return,
            },
            Output::Stdout | Output::Stderr => bytes.to_vec(),
        };
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let line = match output {
                Output::Stdout => &mut state.stdout,
                Output::Stderr => &mut state.stderr,
            };
            // Past the bound bytes are dropped as they come.
            if state.said > SAID_MAX {
                line.clear();
                continue;
            }
            state.said += piece.len();
            line.extend_from_slice(piece);
            if line.ends_with(b"\n") || line.len() >= LINE_MAX {
                let line = std::mem::take(line);
                self.pass(output, &line);
            }
        }
    }

    /// Passes on what has no end of line, and says whether something was left out.
    pub fn finish(&self) -> bool {
        let state = &mut *self.state.lock().expect("nothing panics under it");
        for (output, line) in [
            (Output::Stdout, &mut state.stdout),
            (Output::Stderr, &mut state.stderr),
        ] {
            if !line.is_empty() {
                self.pass(output, &std::mem::take(line));
            }
        }
        state.said > SAID_MAX
    }

    /// Returns what the guard said instead of letting the command begin; `None` if it began.
    pub fn refusal(&self) -> Option<Vec<u8>> {
        let state = self.state.lock().expect("nothing panics under it");
        (!state.has_begun).then(|| state.prelude.clone())
    }

    fn pass(&self, output: Output, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end_matches('\n').trim_end_matches('\r');
        (self.hear)(output, &self.redaction.apply(text));
    }
}

impl State {
    /// Waits for the guard's `go`; returns what follows it.
    fn begin(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        if self.prelude.len() < LINE_MAX {
            self.prelude.extend_from_slice(bytes);
        }
        let rest = self.prelude.strip_prefix(b"go\n")?.to_vec();
        self.has_begun = true;
        self.prelude.clear();
        Some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::secret::Secret;

    fn heard(chunks: &[(Output, &[u8])]) -> (Vec<(Output, String)>, Option<Vec<u8>>, bool) {
        let lines = Mutex::new(Vec::new());
        let hear = |output: Output, line: &str| lines.lock().unwrap().push((output, line.to_owned()));
        let secrets = Secrets::default();
        let cutter = Lines::new(&hear, &secrets);
        chunks
            .iter()
            .for_each(|(output, bytes)| cutter.take(*output, bytes));
        let (refusal, is_cut) = (cutter.refusal(), cutter.finish());
        (lines.into_inner().unwrap(), refusal, is_cut)
    }

    #[test]
    fn no_secret_is_passed_on_in_however_many_parts_it_comes() {
        let lines = Mutex::new(Vec::new());
        let hear = |output: Output, line: &str| lines.lock().unwrap().push((output, line.to_owned()));
        let secrets = Secrets::new([("env:X".parse().unwrap(), Secret::new("hunter2"))].into());
        let cutter = Lines::new(&hear, &secrets);
        cutter.take(Output::Stdout, b"go\nit is hun");
        cutter.take(Output::Stderr, b"hunter2, again");
        cutter.take(Output::Stdout, b"ter2\n");
        cutter.finish();
        let wanted = [(Output::Stdout, "it is ***"), (Output::Stderr, "***, again")];
        assert_eq!(
            lines.into_inner().unwrap(),
            wanted.map(|(output, line)| (output, line.to_owned()))
        );
    }

    #[test]
    fn lines_come_whole_and_the_guards_word_is_none_of_them() {
        let (lines, refusal, is_cut) = heard(&[
            (Output::Stdout, b"g"),
            (Output::Stdout, b"o\none\nt"),
            (Output::Stderr, b"oh\r\n"),
            (Output::Stdout, b"wo\n\nthree"),
        ]);
        let told: Vec<&str> = lines.iter().map(|(_, line)| line.as_str()).collect();
        assert_eq!(told, ["one", "oh", "two", "", "three"]);
        assert_eq!((refusal, is_cut), (None, false));
    }

    #[test]
    fn what_comes_before_the_guards_word_is_its_refusal() {
        let (lines, refusal, _) = heard(&[(Output::Stdout, b"refused no\n")]);
        assert_eq!((lines.len(), refusal.as_deref()), (0, Some(&b"refused no\n"[..])));
    }

    #[test]
    fn endless_lines_and_endless_output_are_bounded() {
        let chunk = vec![b'y'; 1 << 20];
        let mut chunks: Vec<(Output, &[u8])> = vec![(Output::Stdout, b"go\n")];
        chunks.extend((0..64).map(|_| (Output::Stdout, chunk.as_slice())));
        let (lines, _, is_cut) = heard(&chunks);
        let said: usize = lines.iter().map(|(_, line)| line.len()).sum();
        assert!(is_cut && said <= SAID_MAX + (1 << 20) + LINE_MAX, "{said}");
    }
}
