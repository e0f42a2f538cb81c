//! What a script printed: lines of plain words, and between lines with a mark what its programs said, as it was.
//!
//! What commands said is numbered, and the end says how many there were, so that a part that is missing, comes twice or
//! stands elsewhere is not taken for an answer. The connection sees to it that nothing is altered on the way; this is for
//! hosts whose shell or whose account's start files are not what they should be.

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

/// What is wrong with an answer of which parts are missing, come twice or stand elsewhere.
pub const NOT_AS_ASKED: &str = "this host's answer is not what was asked";

impl Reply {
    /// Reads a script's standard output. A line that makes no sense is an error: its frame can no longer be trusted.
    pub fn read(stdout: &[u8]) -> Result<Self, String> {
        let mut reply = Self::default();
        let mut mark: Option<&[u8]> = None;
        let mut rest = stdout;
        while let Some((line, after)) = next_line(rest) {
            rest = after;
            match (mark, line.strip_prefix(b"mark ")) {
                (None, Some(fresh)) => mark = Some(fresh),
                _ => match mark.and_then(|mark| Some((mark, line.strip_prefix(mark)?))) {
                    Some((mark, opening)) => rest = reply.frame(opening, mark, rest)?,
                    None => reply.plain(line)?,
                },
            }
        }
        Ok(reply)
    }

    /// Takes in a frame; returns what follows it.
    fn frame<'a>(&mut self, opening: &[u8], mark: &[u8], text: &'a [u8]) -> Result<&'a [u8], String> {
        if self.is_whole {
            return Err("the answer goes on after its end".to_owned());
        }
        let opening = std::str::from_utf8(opening)
            .ok()
            .and_then(|text| text.strip_prefix(' '));
        let (number, name) = opening
            .and_then(|text| text.split_once(' '))
            .ok_or(NOT_AS_ASKED)?;
        self.expect(number).ok_or(NOT_AS_ASKED)?;
        let (said, rest) = framed(text, mark).ok_or("the answer breaks off")?;
        // Nothing that is looked at can know the mark.
        let holds_mark = |bytes: &[u8]| memchr::memmem::find(bytes, mark).is_some();
        if holds_mark(&said.output) || holds_mark(said.errors.as_bytes()) {
            return Err(NOT_AS_ASKED.to_owned());
        }
        self.said.push((name.to_owned(), said));
        Ok(rest)
    }

    /// Says whether this is the number of what comes now.
    fn expect(&self, number: &str) -> Option<()> {
        (number.parse() == Ok(self.said.len())).then_some(())
    }

    /// Takes in a line outside of frames.
    fn plain(&mut self, line: &[u8]) -> Result<(), String> {
        // It may still be what stood in a frame, so that it is quoted only before the first.
        let odd = match (self.said.is_empty(), std::str::from_utf8(line)) {
            (true, Ok(line)) => format!("the answer holds an odd line: {}", beginning(line)),
            (true, Err(_)) => "the answer is not text".to_owned(),
            (false, _) => "the answer holds an odd line".to_owned(),
        };
        let line = std::str::from_utf8(line).ok();
        line.and_then(|line| self.line(line)).ok_or(odd)
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

    /// Returns how many commands of this name said something.
    pub fn count(&self, name: &str) -> usize {
        self.all(name).count()
    }

    /// Returns the host's salt, if it has one.
    ///
    /// # Errors
    /// The host did not say whether it has one.
    pub fn salt(&self) -> Result<Option<Vec<u8>>, String> {
        let salt = self
            .first("salt")
            .and_then(|said| said.output.strip_prefix(b"salt "));
        let is_base64 = |salt: &&[u8]| decode(&String::from_utf8_lossy(salt)).is_some();
        let salt = salt.filter(is_base64).ok_or(NOT_AS_ASKED)?;
        Ok(Some(salt.to_vec()).filter(|salt| !salt.is_empty()))
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
            "end" if rest.is_empty() => self.is_whole = self.said.is_empty().then_some(true)?,
            "end" => self.is_whole = self.expect(rest).map(|()| true)?,
            "step" => self.steps.push(StepEnd::read(rest)?),
            "trouble" => self.words.push((name.to_owned(), rest.to_owned())),
            "refused" | "token" | "switch" | "busy" | "state" | "run" | "who" | "age" | "reason" => {
                self.word(name).is_none().then_some(())?;
                self.words.push((name.to_owned(), rest.to_owned()));
            }
            _ => {
                let (number, rest) = rest.split_once(' ')?;
                self.expect(number)?;
                self.said.push((name.to_owned(), Said::read(rest)?));
            }
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

/// Cuts the first line off.
fn next_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    if text.is_empty() {
        return None;
    }
    let end = text.iter().position(|&byte| byte == b'\n');
    Some(end.map_or((text, &[]), |end| (&text[..end], &text[end + 1..])))
}

/// Reads a frame: output, a line with mark and status, errors, a line with the mark. Returns what follows, too.
fn framed<'a>(text: &'a [u8], mark: &[u8]) -> Option<(Said, &'a [u8])> {
    let (output, rest) = split_at_line(text, &[mark, b" "].concat())?;
    let (status, rest) = next_line(rest)?;
    let (errors, rest) = split_at_line(rest, &[mark, b"\n"].concat())?;
    let said = Said {
        output: output.to_vec(),
        errors: String::from_utf8_lossy(errors).into_owned(),
        status: std::str::from_utf8(status).ok()?.parse().ok()?,
    };
    Some((said, rest))
}

/// Splits before the line break that stands before a word at the start of a line, and after that word.
fn split_at_line<'a>(text: &'a [u8], word: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let needle = [b"\n", word].concat();
    let at = memchr::memmem::find(text, &needle)?;
    Some((&text[..at], &text[at + needle.len()..]))
}

fn decode(text: &str) -> Option<Vec<u8>> {
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: &str = "0b1c";

    #[test]
    fn what_is_framed_comes_as_it_was_whatever_it_holds() {
        let output = b"\xff\0end\nrefused all\n\nmark 0b1d\nend 1\n";
        let frame = [
            b"mark 0b1c\n0b1c 0 x\n".as_slice(),
            output,
            b"\n0b1c 7\nbad\nworse\n0b1c\n0b1c 1 y\n\n0b1c 0\n\n0b1c\nend 2\n",
        ]
        .concat();
        let reply = Reply::read(&frame).unwrap();
        let said = reply.first("x").unwrap();
        assert_eq!((said.output.as_slice(), said.status), (output.as_slice(), 7));
        assert_eq!(
            (said.errors.as_str(), said.why().as_str()),
            ("bad\nworse", "worse")
        );
        assert_eq!(reply.first("y"), Some(&Said::default()));
        assert!(reply.is_whole && reply.words.is_empty());
        // Cut anywhere, it is not whole, and nothing of a frame is taken for a line.
        for cut in 0..frame.len() - 1 {
            let read = Reply::read(&frame[..cut]);
            assert!(read.is_err() || read.is_ok_and(|reply| !reply.is_whole || cut + 1 == frame.len()));
        }
    }

    #[test]
    fn a_part_that_is_missing_or_twice_or_elsewhere_is_no_answer() {
        let frame =
            |number: usize, name: &str| format!("{MARK} {number} {name}\nout\n{MARK} 0\nerr\n{MARK}\n");
        let read = |parts: &[String], end: usize| {
            Reply::read(format!("mark {MARK}\n{}end {end}\n", parts.concat()).as_bytes())
        };
        let [a, b, c] = [frame(0, "a"), frame(1, "b"), frame(2, "c")];
        assert!(read(&[a.clone(), b.clone(), c.clone()], 3).unwrap().is_whole);
        for (parts, end) in [
            (vec![&a, &c], 3),
            (vec![&a, &b], 3),
            (vec![&b, &c], 3),
            (vec![&a, &b, &b, &c], 3),
            (vec![&a, &c, &b], 3),
            (vec![&a, &b, &c, &c], 4),
            (vec![], 3),
        ] {
            let parts: Vec<String> = parts.into_iter().cloned().collect();
            assert!(read(&parts, end).is_err(), "{parts:?}");
        }
        let lines: Vec<&str> = a.lines().collect();
        let twice = |n: usize| [&lines[..=n], &lines[n..]].concat().join("\n") + "\n";
        assert!([0, 2, 4].into_iter().all(|n| read(&[twice(n)], 1).is_err()));
    }

    #[test]
    fn an_odd_line_is_quoted_only_before_the_first_frame() {
        let odd = Reply::read(b"Welcome to this machine!\n").unwrap_err();
        assert!(odd.contains("Welcome"), "{odd}");
        let late = format!("mark {MARK}\n{MARK} 0 x\n\n{MARK} 0\n\n{MARK}\npassword!\n");
        let odd = Reply::read(late.as_bytes()).unwrap_err();
        assert!(!odd.contains("password"), "{odd}");
    }

    #[test]
    fn lines_are_read_and_a_cut_answer_is_not_whole() {
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        let text = format!(
            "token 7\nx 0 {} {}\nstep 0 3 {}\n",
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
        assert!(Reply::read(format!("{text}end 1\n").as_bytes()).unwrap().is_whole);
        for odd in [
            "end\n",
            "end 0\n",
            "end 2\n",
            "token 8\n",
            "x 0 Cg== Cg==\n",
            "x 2 Cg== Cg==\n",
        ] {
            assert!(Reply::read(format!("{text}{odd}").as_bytes()).is_err(), "{odd}");
        }
        assert!(Reply::read(b"Welcome to this machine!\n").is_err());
        assert!(Reply::read(b"end of it\n").is_err());
        assert!(
            Reply::read(b"token 7\nend\ntoken 8\n").is_err(),
            "nothing follows the end"
        );
    }
}
