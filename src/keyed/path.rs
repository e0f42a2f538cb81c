//! Key paths: `a.b."c.d"`.

/// Splits a key path at its dots; a segment in double quotes may hold dots, and `\"` and `\\` within.
///
/// # Errors
/// A clause, if a segment is empty or a quote is not closed.
pub fn segments(path: &str) -> Result<Vec<String>, String> {
    let mut segments = Vec::new();
    let mut rest = path;
    loop {
        let (segment, after) = match rest.strip_prefix('"') {
            Some(quoted) => read_quoted(quoted).ok_or("the key has an unclosed quote")?,
            None => {
                let end = rest.find('.').unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        if segment.is_empty() || (!rest.starts_with('"') && segment.contains('"')) {
            return Err("the key is not names joined by dots, those with dots in double quotes".to_owned());
        }
        segments.push(segment);
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(segments),
            None => return Err("the key goes on after a closing quote".to_owned()),
        }
    }
}

fn read_quoted(text: &str) -> Option<(String, &str)> {
    let mut segment = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((segment, &text[at + 1..])),
            '\\' => segment.push(chars.next()?.1),
            c => segment.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_split_at_dots_outside_quotes() {
        assert_eq!(segments("a.b").unwrap(), ["a", "b"]);
        assert_eq!(segments(r#"a."b.c"."d\"e""#).unwrap(), ["a", "b.c", "d\"e"]);
        for bad in [
            "", ".", "a.", ".a", "a..b", r#""a"#, r#""a"b"#, r#"a"b"#, r#"a.b""#,
        ] {
            assert!(segments(bad).is_err(), "{bad}");
        }
    }
}
