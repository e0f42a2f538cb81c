//! What a script printed, line by line: `NAME PART…`, the parts of what was said in Base64.

use base64::Engine as _;

/// What a command said, within a script.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// Its output.
    pub output: Vec<u8>,
    /// Its errors, as text.
    pub errors: String,
    /// Its exit status.
    pub status: i32,
}

/// How one step of a call went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepEnd {
    /// Its number, from 0.
    pub number: usize,
    /// Its exit status.
    pub status: i32,
    /// The end of what it said.
    pub output: String,
}

/// Everything that a script printed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// What commands said, by name, in order.
    pub said: Vec<(String, Said)>,
    /// How the steps went, in order.
    pub steps: Vec<StepEnd>,
    /// Lines with plain words: the line's name and the rest.
    pub words: Vec<(String, String)>,
    /// Whether the script came to its end.
    pub is_whole: bool,
}

impl Reply {
    /// Reads a script's standard output. A line that makes no sense is an error: its frame can no longer be trusted.
    pub fn read(stdout: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(stdout).map_err(|_| "the answer is not text".to_owned())?;
        let mut reply = Self::default();
        for line in text.lines() {
            let odd = || format!("the answer holds an odd line: {}", beginning(line));
            reply.line(line).ok_or_else(odd)?;
        }
        Ok(reply)
    }

    /// Returns what the first command of this name said.
    pub fn first(&self, name: &str) -> Option<&Said> {
        self.all(name).next()
    }

    /// Returns what the commands of this name said, in order.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Said> {
        self.said
            .iter()
            .filter(move |(n, _)| n == name)
            .map(|(_, said)| said)
    }

    /// Returns the rest of the first plain line of this name.
    pub fn word(&self, name: &str) -> Option<&str> {
        self.words
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, rest)| rest.as_str())
    }

    fn line(&mut self, line: &str) -> Option<()> {
        // Nothing follows the end: what does is somebody else's.
        (!self.is_whole).then_some(())?;
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        match name {
            "end" if rest.is_empty() => self.is_whole = true,
            "step" => self.steps.push(StepEnd::read(rest)?),
            "refused"
            | "token"
            | "salt"
            | "busy"
            | "state"
            | "run"
            | "who"
            | "age"
            | "reason"
            | "manifest-absent"
            | "manifest-lost"
            | "manifest-unreadable" => self.words.push((name.to_owned(), rest.to_owned())),
            _ => self.said.push((name.to_owned(), Said::read(rest)?)),
        }
        Some(())
    }
}

impl StepEnd {
    fn read(rest: &str) -> Option<Self> {
        let mut parts = rest.split(' ');
        Some(Self {
            number: parts.next()?.parse().ok()?,
            status: parts.next()?.parse().ok()?,
            output: String::from_utf8_lossy(&decode(parts.next()?)?).into_owned(),
        })
    }
}

impl Said {
    fn read(rest: &str) -> Option<Self> {
        let (output, errors) = rest.split_once(' ')?;
        let mut output = decode(output)?;
        let at = output.iter().rposition(|&byte| byte == b'\n')?;
        let status = std::str::from_utf8(&output[at + 1..]).ok()?.parse().ok()?;
        output.truncate(at);
        Some(Self {
            output,
            errors: String::from_utf8_lossy(&decode(errors)?).into_owned(),
            status,
        })
    }

    /// Returns the output as text, with what is not UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }

    /// Returns why there is no answer: the last line of the errors, or else the status.
    pub fn why(&self) -> String {
        let last = self.errors.lines().rev().find(|line| !line.trim().is_empty());
        last.map_or_else(
            || format!("status {}", self.status),
            |line| line.trim().to_owned(),
        )
    }
}

/// A line that makes no sense may be endless.
fn beginning(line: &str) -> &str {
    &line[..line.floor_char_boundary(line.len().min(4096))]
}

fn decode(text: &str) -> Option<Vec<u8>> {
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_a_cut_answer_is_not_whole() {
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        let text = format!(
            "token 7\nx {} {}\nstep 0 3 {}\n",
            encode("a\nb\n\n4"),
            encode("bad\n"),
            encode("no")
        );
        let reply = Reply::read(text.as_bytes()).unwrap();
        assert_eq!(reply.word("token"), Some("7"));
        let said = reply.first("x").unwrap();
        assert_eq!(
            (said.text().as_str(), said.status, said.why().as_str()),
            ("a\nb\n", 4, "bad")
        );
        assert_eq!(
            reply.steps,
            [StepEnd {
                number: 0,
                status: 3,
                output: "no".to_owned()
            }]
        );
        assert!(!reply.is_whole);
        assert!(Reply::read(format!("{text}end\n").as_bytes()).unwrap().is_whole);
        assert!(Reply::read(b"Welcome to this machine!\n").is_err());
        assert!(Reply::read(b"end of it\n").is_err());
        assert!(
            Reply::read(b"token 7\nend\ntoken 8\n").is_err(),
            "nothing follows the end"
        );
    }
}
