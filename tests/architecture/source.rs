//! A Rust file as the architecture test reads it: the paths and the macros that it names, and in which line.
//!
//! A small lexer, no parser: enough to tell code from comments and strings and to spell out groups of imports.

/// What a file names.
pub struct Source {
    /// Every path of two parts or more, and single names, each spelt out from groups, with its line.
    pub paths: Vec<(usize, Vec<String>)>,
    /// Every macro that is called.
    pub macros: Vec<(usize, String)>,
    tests_from: usize,
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Name(String),
    Colons,
    Mark(char),
}

impl Source {
    /// Reads a file.
    pub fn read(text: &str) -> Self {
        let tokens = lex(text);
        let mut source = Self {
            paths: Vec::new(),
            macros: Vec::new(),
            tests_from: tests_from(text),
        };
        let mut at = 0;
        while at < tokens.len() {
            at = source.path(&tokens, at, &[]);
        }
        source
    }

    /// Returns the rooms that the file names, as `crate::room` or as `super::…::room`, with the lines.
    ///
    /// `depth` is the number of `super` that lead from the file to the crate: 1 for the root of a room.
    pub fn rooms_named<'a>(
        &'a self,
        depth: usize,
        is_room: impl Fn(&str) -> bool + 'a,
    ) -> impl Iterator<Item = (usize, String)> + 'a {
        self.paths.iter().filter_map(move |(line, path)| {
            let depth = depth + usize::from(*line >= self.tests_from);
            let above = path.iter().take_while(|part| *part == "super").count();
            let room = match path.first()?.as_str() {
                "crate" => path.get(1)?,
                "super" if above == depth => path.get(above)?,
                _ => return None,
            };
            assert!(room != "*", "line {line}: `crate::*` hides who is used");
            is_room(room).then(|| (*line, room.clone()))
        })
    }

    /// Leaves out the unit tests, which stand last in a file and may do what the room may not.
    pub fn without_tests(&self) -> Self {
        let is_code = |line: usize| line < self.tests_from;
        Self {
            paths: self
                .paths
                .iter()
                .filter(|(line, _)| is_code(*line))
                .cloned()
                .collect(),
            macros: self
                .macros
                .iter()
                .filter(|(line, _)| is_code(*line))
                .cloned()
                .collect(),
            tests_from: self.tests_from,
        }
    }

    /// Reads a path or whatever else stands at a place, and returns where to go on.
    fn path(&mut self, tokens: &[(usize, Token)], mut at: usize, prefix: &[String]) -> usize {
        let mut path = prefix.to_vec();
        let line = tokens[at].0;
        while let Some((_, Token::Name(name))) = tokens.get(at) {
            path.push(name.clone());
            at += 1;
            match tokens.get(at).map(|(_, token)| token) {
                Some(Token::Colons) => at += 1,
                Some(Token::Mark('!')) => {
                    self.macros.push((line, name.clone()));
                    return at + 1;
                }
                _ => {
                    self.paths.push((line, path));
                    return at;
                }
            }
        }
        match tokens.get(at).map(|(_, token)| token) {
            Some(Token::Mark('{')) if !path.is_empty() => self.group(tokens, at + 1, &path),
            Some(Token::Mark('*')) if !path.is_empty() => {
                path.push("*".to_owned());
                self.paths.push((line, path));
                at + 1
            }
            // A turbofish or a mark of some other kind ends the path.
            _ => {
                if path.len() > prefix.len() {
                    self.paths.push((line, path));
                }
                at + 1
            }
        }
    }

    fn group(&mut self, tokens: &[(usize, Token)], mut at: usize, prefix: &[String]) -> usize {
        while let Some((_, token)) = tokens.get(at) {
            match token {
                Token::Mark('}') => return at + 1,
                Token::Name(_) | Token::Mark('{') | Token::Mark('*') => at = self.path(tokens, at, prefix),
                Token::Colons | Token::Mark(_) => at += 1,
            }
        }
        at
    }
}

/// Returns the line of the first `#[cfg(test)]` that stands at the margin and opens a module.
fn tests_from(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let opens = lines
        .windows(2)
        .position(|pair| pair[0].trim() == "#[cfg(test)]" && pair[1].trim().starts_with("mod "));
    opens.map_or(usize::MAX, |index| index + 1)
}

fn lex(text: &str) -> Vec<(usize, Token)> {
    let mut tokens = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let (length, token) = next(rest, first);
        let (taken, after) = rest.split_at(length);
        if let Some(token) = token {
            tokens.push((line, token));
        }
        line += taken.matches('\n').count();
        rest = after;
    }
    tokens
}

/// Returns how many bytes the next piece has, and its token if it is code.
fn next(rest: &str, first: char) -> (usize, Option<Token>) {
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), None);
    }
    if rest.starts_with("/*") {
        return (comment(rest), None);
    }
    if let Some(length) = string(rest).or_else(|| character(rest)) {
        return (length, None);
    }
    if first == '_' || first.is_alphanumeric() {
        let length = rest
            .find(|c: char| c != '_' && !c.is_alphanumeric())
            .unwrap_or(rest.len());
        return (length, Some(Token::Name(rest[..length].to_owned())));
    }
    if rest.starts_with("::") {
        return (2, Some(Token::Colons));
    }
    let token = (!first.is_whitespace()).then_some(Token::Mark(first));
    (first.len_utf8(), token)
}

/// Returns the length of a comment, with those within it.
fn comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        match rest.get(at..at + 2) {
            Some("/*") => (depth, at) = (depth + 1, at + 2),
            Some("*/") => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// Returns the length of the string that begins here, if one does.
fn string(rest: &str) -> Option<usize> {
    let body = rest.trim_start_matches('b');
    let raw = body.strip_prefix('r').unwrap_or("");
    let hashes = raw.len() - raw.trim_start_matches('#').len();
    if raw[hashes..].starts_with('"') {
        let opened = rest.len() - raw.len() + hashes + 1;
        let close = format!("\"{}", "#".repeat(hashes));
        let length = rest[opened..].find(&close)?;
        return Some(opened + length + close.len());
    }
    let opened = rest.len() - body.strip_prefix('"')?.len();
    quoted(rest, opened, b'"')
}

/// Returns the length of the character that begins here; a lifetime is none.
fn character(rest: &str) -> Option<usize> {
    let inside = rest.strip_prefix('\'')?;
    let mut chars = inside.chars();
    let first = chars.next()?;
    if first == '\\' {
        return quoted(rest, 1, b'\'');
    }
    (chars.next() == Some('\'')).then_some(1 + first.len_utf8() + 1)
}

fn quoted(rest: &str, opened: usize, close: u8) -> Option<usize> {
    let bytes = rest.as_bytes();
    let mut at = opened;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            byte if byte == close => return Some(at + 1),
            _ => at += 1,
        }
    }
    None
}
