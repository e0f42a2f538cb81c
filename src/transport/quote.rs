//! Quoting for POSIX shell. Pure, and the only place where anything is quoted.

use base64::Engine as _;

/// Writes a text as one word of shell.
///
/// A word cannot hold a NUL byte; whoever sends a script refuses one that has any.
pub fn word(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-:=,@%+".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Writes several texts as words of shell, separated by blanks.
pub fn words<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    texts.into_iter().map(word).collect::<Vec<_>>().join(" ")
}

/// Writes bytes as a here-document in Base64: `<<'END'`, the lines, `END`. Whatever the bytes are, none can end it early.
pub fn document(bytes: impl AsRef<[u8]>) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(bytes);
    let mut text = String::from("<<'END-'\n");
    // Base64 is ASCII, so each chunk of bytes is a text.
    for line in encoded.as_bytes().chunks(76) {
        text.extend(line.iter().map(|&byte| char::from(byte)));
        text.push('\n');
    }
    text + "END-"
}

/// Writes a text on one line for logs and messages: control characters become their escapes.
pub fn one_line(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let (plain, escaped) = if c.is_control() {
                (None, Some(c.escape_default()))
            } else {
                (Some(c), None)
            };
            plain.into_iter().chain(escaped.into_iter().flatten())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use proptest::prelude::*;

    use super::*;

    fn shell(script: &str) -> Vec<u8> {
        let mut child = Command::new("sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh is there");
        child
            .stdin
            .take()
            .expect("it is piped")
            .write_all(script.as_bytes())
            .expect("sh reads");
        child.wait_with_output().expect("sh ends").stdout
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_text_survives_as_a_word(text in "[^\0]{0,40}") {
            prop_assert_eq!(shell(&format!("printf %s {}", word(&text))), text.as_bytes());
        }

        #[test]
        fn shell_syntax_survives_as_a_word(text in r#"['"\\$`!*?~\[\]{}();&|<># \n\t=-]{0,20}"#) {
            prop_assert_eq!(shell(&format!("printf %s {}", word(&text))), text.as_bytes());
        }

        #[test]
        fn any_bytes_survive_as_a_document(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(shell(&format!("base64 -d {}\n", document(&bytes))), bytes);
        }
    }

    #[test]
    fn a_tilde_and_an_empty_text_are_quoted() {
        assert_eq!(words(["~", "", "a b", "/etc/x"]), "'~' '' 'a b' /etc/x");
    }

    #[test]
    fn one_line_holds_no_line_break() {
        assert_eq!(one_line("a\nb\tc é"), "a\\nb\\tc é");
    }
}
