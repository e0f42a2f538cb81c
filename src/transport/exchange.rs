//! One script's talk with one shell: what is sent when, and what the answer means.
//!
//! A state machine without input or output of its own, so that SSH and this machine behave alike.

use std::sync::atomic::{AtomicUsize, Ordering};

use zeroize::Zeroizing;

use super::shell::{Ran, ShellError, Tap};
use super::sudo::{Marks, Rise};
use crate::model::redaction::Redaction;
use crate::ports::Output;

/// A talk under way.
pub(super) struct Exchange<'a> {
    rise: &'a Rise,
    script: &'a str,
    /// Hears what the script says. Nothing of it is kept then.
    tap: Option<Tap<'a>>,
    marks: Marks,
    stage: Stage,
    stdout: Heard,
    stderr: Heard,
}

/// The most that is heard of one stream. Whoever says more has gone wild, and must not take our memory with it. The
/// longest sensible look holds a few hundred files of 256 KiB.
pub(super) const HEARD_MAX: usize = 64 << 20;
/// The most that is held of all streams together: a whole fleet may have gone wild.
const HELD_MAX: usize = 512 << 20;
/// What one stream may hold even then.
const HELD_FREE: usize = 1 << 20;
/// How much of the errors of a shell that did not begin is repeated.
const TAIL_MAX_BYTES: usize = 2048;
/// What is held of all streams now.
static HELD: AtomicUsize = AtomicUsize::new(0);

/// How long a script that is asked to end has for it.
pub(super) const ENDING: std::time::Duration = std::time::Duration::from_secs(5);

/// How far the sending has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing is sent; sudo may ask for its password.
    Silent,
    /// The password is sent, the script is not.
    Authenticating,
    /// sudo asked a second time: it did not like the password. The script will never be sent.
    Refused,
    /// The script is sent.
    Sent,
}

/// What to do on the wire after something was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing.
    Listen,
    /// Send this.
    Send(Zeroizing<Vec<u8>>),
    /// Send this, and nothing after it.
    SendLast(Zeroizing<Vec<u8>>),
    /// Hang up: more was said than is heard.
    HangUp,
}

/// What a talk came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// The script ran to its end.
    Ran(Ran),
    /// The shell ended before the script began: nothing was run.
    NotBegun {
        /// The shell's exit status, if there was one.
        status: Option<i32>,
        /// Whether sudo refused the password.
        refused: bool,
        /// The last lines that were heard.
        tail: Vec<String>,
    },
    /// The script was sent, and there is no exit status.
    Lost,
    /// The script said more than is kept.
    TooMuch,
}

impl<'a> Exchange<'a> {
    /// Prepares a talk.
    pub fn new(rise: &'a Rise, script: &'a str) -> Self {
        let marks = Marks::fresh();
        Self {
            rise,
            script,
            tap: None,
            marks,
            stage: Stage::Silent,
            stdout: Heard::default(),
            stderr: Heard::default(),
        }
    }

    /// Prepares a talk of which the script's part is passed on as it comes.
    pub fn tapped(rise: &'a Rise, script: &'a str, tap: Tap<'a>) -> Self {
        Self {
            tap: Some(tap),
            ..Self::new(rise, script)
        }
    }

    /// Returns the command to execute.
    pub fn command(&self) -> String {
        self.rise.command(&self.marks)
    }

    /// Says what to send before anything is heard.
    pub fn open(&mut self) -> Next {
        match self.rise {
            Rise::AsIs | Rise::Quiet => self.send_script(),
            Rise::Asking(_) => Next::Listen,
        }
    }

    /// Takes in what came on standard output.
    pub fn hear_stdout(&mut self, bytes: &[u8]) -> Next {
        if !self.stdout.take(bytes) {
            return Next::HangUp;
        }
        if let Some(tap) = self.tap {
            self.stdout
                .pass_on(&self.marks.start, |bytes| tap(Output::Stdout, bytes));
        }
        match self.stage {
            Stage::Silent | Stage::Authenticating if self.stdout.has_new(&self.marks.ready) => {
                self.send_script()
            }
            Stage::Silent | Stage::Authenticating | Stage::Refused | Stage::Sent => Next::Listen,
        }
    }

    /// Takes in what came on standard error.
    pub fn hear_stderr(&mut self, bytes: &[u8]) -> Next {
        if !self.stderr.take(bytes) {
            return Next::HangUp;
        }
        if let Some(tap) = self.tap {
            self.stderr
                .pass_on(&self.marks.start, |bytes| tap(Output::Stderr, bytes));
        }
        let password = match self.rise {
            Rise::Asking(password) if self.stderr.has_new(&self.marks.prompt) => password,
            Rise::Asking(_) | Rise::AsIs | Rise::Quiet => return Next::Listen,
        };
        match self.stage {
            Stage::Silent => {
                self.stage = Stage::Authenticating;
                Next::Send(Zeroizing::new(format!("{}\n", password.reveal()).into_bytes()))
            }
            Stage::Authenticating => {
                self.stage = Stage::Refused;
                Next::SendLast(Zeroizing::default())
            }
            Stage::Refused | Stage::Sent => Next::Listen,
        }
    }

    /// Tells whether the script may have begun.
    pub fn is_sent(&self) -> bool {
        self.stage == Stage::Sent
    }

    /// Tells whether more was said than is heard.
    pub fn is_cut(&self) -> bool {
        self.stdout.is_cut || self.stderr.is_cut
    }

    /// Returns the script that asks this one to end and kills it if it does not, if it has begun. Its status is 0 only where it
    /// saw the end. It has to run as the same account.
    pub fn ender(&self) -> Option<String> {
        let pid = self.pid()?;
        let patience = ENDING.as_secs() * 10;
        Some(format!(
            "{{ read -r _ _ _ _ group _ </proc/{pid}/stat; }} 2>/dev/null || exit 0\nkill -s TERM -- \"-$group\"\nleft={patience}\n\
             while {{ read -r _ _ state _ </proc/{pid}/stat; }} 2>/dev/null && [ \"$state\" != Z ]; do\n\
             left=$((left - 1))\n[ \"$left\" -ne 0 ] || kill -s KILL -- \"-$group\"\n\
             [ \"$left\" -gt -20 ] || exit 1\nsleep 0.1\ndone"
        ))
    }

    fn pid(&self) -> Option<u32> {
        let (rest, _) = self.stdout.from(&self.marks.start)?;
        String::from_utf8_lossy(rest).trim().parse().ok()
    }

    /// What it means that a talk was broken off on request, given whether its end was seen.
    pub fn stopped(&self, is_over: bool) -> ShellError {
        // What was not sent cannot have begun.
        match is_over || !self.is_sent() {
            true => ShellError::Stopped,
            false => ShellError::Lost("it was asked to end, and nobody has seen its end".to_owned()),
        }
    }

    /// Returns the script that stops this one at once, if it has begun. It has to run as the same account.
    pub fn stopper(&self) -> Option<String> {
        let pid = self.pid()?;
        // sshd makes a group for each session, and the local transport for each child; so does sudo with a terminal
        // of its own. The group is read anew, since its number may not be the shell's.
        Some(format!(
            "read -r _ _ _ _ group _ </proc/{pid}/stat && kill -s KILL -- \"-$group\""
        ))
    }

    /// Says what the talk came to, given the exit status if one came.
    pub fn end(self, status: Option<i32>) -> Ending {
        if self.is_cut() {
            return Ending::TooMuch;
        }
        match (self.stdout.from(&self.marks.start), status) {
            (Some((_, stdout)), Some(status)) => {
                let stderr = self
                    .stderr
                    .from(&self.marks.start)
                    .map_or(&*self.stderr.bytes, |(_, rest)| rest);
                Ending::Ran(Ran {
                    stdout: stdout.to_vec(),
                    stderr: stderr.to_vec(),
                    status,
                })
            }
            (_, None) if self.stage == Stage::Sent => Ending::Lost,
            (_, status) => Ending::NotBegun {
                status,
                refused: self.stage == Stage::Refused,
                tail: self.tail(),
            },
        }
    }

    /// Returns the last errors, without the password: a sudo that is none may have repeated it.
    fn tail(&self) -> Vec<String> {
        let tail = self.stderr.tail(&self.marks);
        match self.rise {
            Rise::Asking(password) => {
                let redaction = Redaction::of([password.reveal()]);
                tail.iter().map(|line| redaction.apply(line)).collect()
            }
            Rise::AsIs | Rise::Quiet => tail,
        }
    }

    fn send_script(&mut self) -> Next {
        self.stage = Stage::Sent;
        Next::SendLast(Zeroizing::new(wrap(self.script, &self.marks.start).into_bytes()))
    }
}

/// Wraps a script so that it runs whole or not at all, says when it begins, and cannot be eaten by its own commands.
fn wrap(script: &str, start: &str) -> String {
    format!(
        "muster_main() {{\n:\n{script}\n}}\necho {start} $$; echo {start} $$ >&2; muster_main </dev/null\n"
    )
}

/// The bytes of one stream so far.
#[derive(Default)]
struct Heard {
    bytes: Vec<u8>,
    /// Where the search for the next mark starts, so that a long profile is not searched again and again.
    searched: usize,
    /// Whether something was thrown away.
    is_cut: bool,
}

impl Heard {
    /// Takes bytes in; says whether there was room for them.
    fn take(&mut self, bytes: &[u8]) -> bool {
        let whole = self.bytes.len() + bytes.len();
        let held = HELD.load(Ordering::Relaxed) + bytes.len();
        self.is_cut |= whole > HEARD_MAX || (held > HELD_MAX && whole > HELD_FREE);
        if self.is_cut {
            return false;
        }
        HELD.fetch_add(bytes.len(), Ordering::Relaxed);
        self.bytes.extend_from_slice(bytes);
        true
    }

    /// Passes on what follows the line with a mark, and keeps nothing of it.
    fn pass_on(&mut self, mark: &str, to: impl FnOnce(&[u8])) {
        let Some((_, rest)) = self.from(mark) else { return };
        to(rest);
        let passed = rest.len();
        self.bytes.truncate(self.bytes.len() - passed);
        HELD.fetch_sub(passed, Ordering::Relaxed);
    }

    /// Tells whether a mark has come since the last one that was found.
    fn has_new(&mut self, mark: &str) -> bool {
        let found = find(&self.bytes[self.searched..], mark.as_bytes());
        match found {
            Some(at) => self.searched += at + mark.len(),
            None => self.searched = self.searched.max(self.bytes.len().saturating_sub(mark.len())),
        }
        found.is_some()
    }

    /// Returns the rest of the line with a mark, and what follows that line.
    fn from(&self, mark: &str) -> Option<(&[u8], &[u8])> {
        let rest = &self.bytes[find(&self.bytes, mark.as_bytes())? + mark.len()..];
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        Some((&rest[..end], &rest[end + 1..]))
    }

    /// Returns the last lines as people may read them.
    fn tail(&self, marks: &Marks) -> Vec<String> {
        let end = &self.bytes[self.bytes.len().saturating_sub(TAIL_MAX_BYTES)..];
        let text = String::from_utf8_lossy(end).replace(&marks.prompt, "");
        let lines: Vec<String> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect();
        lines[lines.len().saturating_sub(3)..].to_vec()
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        HELD.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(haystack, needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::secret::Secret;

    fn asking() -> Rise {
        Rise::Asking(Secret::new("hunter2"))
    }

    #[test]
    fn the_password_is_sent_when_sudo_asks_and_the_script_when_the_shell_reads() {
        let rise = asking();
        let mut talk = Exchange::new(&rise, "id");
        let (prompt, ready) = (talk.marks.prompt.clone(), talk.marks.ready.clone());
        assert_eq!(talk.open(), Next::Listen);
        assert_eq!(talk.hear_stderr(b"a lecture\n"), Next::Listen);
        assert_eq!(talk.hear_stderr(&prompt.as_bytes()[..9]), Next::Listen);
        assert_eq!(
            talk.hear_stderr(&prompt.as_bytes()[9..]),
            Next::Send(Zeroizing::new(b"hunter2\n".to_vec()))
        );
        assert!(!talk.is_sent());
        assert!(matches!(
            talk.hear_stdout(format!("{ready}\n").as_bytes()),
            Next::SendLast(_)
        ));
        assert!(talk.is_sent());
    }

    #[test]
    fn a_shell_that_sudo_lets_in_unasked_never_sees_the_password() {
        let rise = asking();
        let mut talk = Exchange::new(&rise, "id");
        let ready = format!("{}\n", talk.marks.ready);
        let Next::SendLast(sent) = talk.hear_stdout(ready.as_bytes()) else {
            panic!("the script is sent")
        };
        assert!(!String::from_utf8_lossy(&sent).contains("hunter2"));
    }

    #[test]
    fn a_second_prompt_means_a_wrong_password_and_the_script_stays_here() {
        let rise = asking();
        let mut talk = Exchange::new(&rise, "id");
        let prompt = talk.marks.prompt.clone();
        talk.hear_stderr(prompt.as_bytes());
        assert_eq!(
            talk.hear_stderr(format!("Sorry, try again.\n{prompt}").as_bytes()),
            Next::SendLast(Zeroizing::default())
        );
        let Ending::NotBegun {
            refused: true, tail, ..
        } = talk.end(Some(1))
        else {
            panic!("refused")
        };
        assert_eq!(tail, ["Sorry, try again."]);
    }

    #[test]
    fn what_came_before_the_start_is_not_part_of_the_result() {
        let mut talk = Exchange::new(&Rise::AsIs, "echo hi");
        let start = talk.marks.start.clone();
        assert!(matches!(talk.open(), Next::SendLast(_)));
        assert_eq!(talk.stopper(), None);
        talk.hear_stdout(format!("Welcome!\n{start} 71\nhi\n").as_bytes());
        talk.hear_stderr(format!("motd\n{start} 71\noh\n").as_bytes());
        assert!(
            talk.stopper()
                .is_some_and(|script| script.contains("/proc/71/stat"))
        );
        let ran = Ran {
            stdout: b"hi\n".to_vec(),
            stderr: b"oh\n".to_vec(),
            status: 3,
        };
        assert_eq!(talk.end(Some(3)), Ending::Ran(ran));
    }

    #[test]
    fn no_exit_status_is_lost_once_the_script_was_sent() {
        let mut talk = Exchange::new(&Rise::AsIs, ":");
        talk.open();
        assert_eq!(talk.end(None), Ending::Lost);
        let rise = asking();
        assert!(matches!(
            Exchange::new(&rise, ":").end(None),
            Ending::NotBegun { status: None, .. }
        ));
    }

    #[test]
    fn whoever_says_too_much_is_hung_up_on() {
        let mut talk = Exchange::new(&Rise::AsIs, "yes");
        talk.open();
        let start = talk.marks.start.clone();
        talk.hear_stdout(format!("{start} 71\n").as_bytes());
        let mebibyte = vec![b'y'; 1 << 20];
        // Bounded, so that it fails, and does not take all memory, where nothing is cut.
        let heard = (0..2 * (HEARD_MAX >> 20))
            .take_while(|_| talk.hear_stdout(&mebibyte) == Next::Listen)
            .count();
        assert_eq!(heard, (HEARD_MAX >> 20) - 1);
        assert_eq!(
            talk.hear_stderr(b"oh"),
            Next::Listen,
            "each stream has its own room"
        );
        assert!(HELD.load(Ordering::Relaxed) >= heard << 20);
        assert_eq!(talk.end(Some(0)), Ending::TooMuch);
    }

    #[test]
    fn a_tapped_talk_passes_the_scripts_part_on_and_keeps_none_of_it() {
        let said = std::sync::Mutex::new(Vec::new());
        let tap = |output: Output, bytes: &[u8]| said.lock().unwrap().push((output, bytes.to_vec()));
        let mut talk = Exchange::tapped(&Rise::AsIs, "yes", &tap);
        talk.open();
        let start = talk.marks.start.clone();
        talk.hear_stdout(b"Welcome!\n");
        talk.hear_stdout(format!("{start} 7").as_bytes());
        talk.hear_stdout(b"1\none");
        talk.hear_stderr(format!("{start} 71\noh").as_bytes());
        (0..3).for_each(|_| drop(talk.hear_stdout(&vec![b'y'; HEARD_MAX / 2])));
        assert!(talk.stdout.bytes.len() < 200);
        assert!(
            talk.ender()
                .is_some_and(|script| script.contains("/proc/71/stat"))
        );
        let said = std::mem::take(&mut *said.lock().unwrap());
        assert_eq!(said[0], (Output::Stdout, b"one".to_vec()));
        assert!(said.contains(&(Output::Stderr, b"oh".to_vec())));
        assert!(matches!(talk.end(Some(4)), Ending::Ran(Ran { status: 4, .. })));
    }

    #[test]
    fn a_script_cut_short_anywhere_runs_nothing() {
        let whole = wrap("touch \"$1\"\ncat <<'E'\n}\nE", "mark");
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("it");
        let run = |script: &str| {
            let status = std::process::Command::new("sh")
                .args(["-c", script, "sh"])
                .arg(&file)
                .output();
            status.expect("sh runs");
            std::fs::remove_file(&file).is_ok()
        };
        let whole = whole.replace("\"$1\"", &file.display().to_string());
        assert!(run(&whole), "the whole script runs");
        let last = whole.rfind("; muster_main").expect("it is called");
        for cut in 0..last {
            assert!(!run(&whole[..cut]), "cut after {cut} bytes");
        }
    }
}
