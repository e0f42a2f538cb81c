//! Taking secrets out of what hosts say. Pure. A net and not a wall: a program can always write a value in a way of its own.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::secret::Encoding;

/// What stands in the place of a secret.
const STARS: &str = "***";
/// Values that are shorter would blank ordinary words, and are no secrets.
const VALUE_MIN_BYTES: usize = 4;
/// Parts of a value, and values within Base64, say something only from this length on.
const PART_MIN_BYTES: usize = 8;
/// A piece of a value that is as long as this is not there by chance.
const PIECE_MIN_BYTES: usize = 12;
/// The most of a text that is read: its end. What hosts say may be long, and only last lines are shown.
const TEXT_MAX_BYTES: usize = 64 * 1024;

/// The forms in which secrets may come back. It cannot be printed.
pub struct Redaction {
    /// The longest first: one form may hold another, whose stars would then hide the rest of it from the search.
    forms: Vec<String>,
    /// Values of which a long piece says too much: a program may have cut them.
    pieces: Vec<String>,
}

impl Redaction {
    /// Makes the forms of some values: as they are, line by line, and in the encodings that programs echo.
    pub fn of<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let values: Vec<&str> = values
            .into_iter()
            .filter(|value| value.len() >= VALUE_MIN_BYTES)
            .collect();
        let pieces = values.iter().filter(|value| value.len() > PIECE_MIN_BYTES);
        let pieces = pieces.map(|value| (*value).to_owned()).collect();
        let mut forms: Vec<String> = values.into_iter().flat_map(forms).collect();
        forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        forms.dedup();
        Self { forms, pieces }
    }

    /// Returns the end of a text with stars in the place of every form.
    ///
    /// A text that was cut may begin within a form; that rest goes too.
    pub fn apply(&self, text: &str) -> String {
        let start = text.floor_char_boundary(text.len().saturating_sub(TEXT_MAX_BYTES));
        let text = self.without_rest(&text[start..]);
        let text = self
            .forms
            .iter()
            .fold(text, |text, form| match text.contains(form.as_str()) {
                true => text.replace(form.as_str(), STARS),
                false => text,
            });
        self.pieces
            .iter()
            .fold(text, |text, piece| without_pieces(&text, piece))
    }

    /// Blanks the end of a form at the beginning of a text.
    fn without_rest(&self, text: &str) -> String {
        let rest = self
            .forms
            .iter()
            .filter_map(|form| {
                (1..=form.len().saturating_sub(PART_MIN_BYTES))
                    .filter(|at| form.is_char_boundary(*at))
                    .map(|at| &form[at..])
                    .find(|rest| text.starts_with(rest))
            })
            .max_by_key(|rest| rest.len());
        // What ends as it begins may stand there whole: without its beginning the rest of it would no longer be found.
        let whole = self.forms.iter().find(|form| text.starts_with(form.as_str()));
        match rest {
            Some(rest) if whole.is_none_or(|whole| whole.len() < rest.len()) => {
                format!("{STARS}{}", &text[rest.len()..])
            }
            Some(_) | None => text.to_owned(),
        }
    }
}

/// Blanks every piece of a value that is long enough to tell something.
fn without_pieces(text: &str, value: &str) -> String {
    let pieces: BTreeSet<&[u8]> = value.as_bytes().windows(PIECE_MIN_BYTES).collect();
    let mut out = String::with_capacity(text.len());
    let mut shown = 0;
    let mut hidden = 0;
    for (at, window) in text.as_bytes().windows(PIECE_MIN_BYTES).enumerate() {
        if pieces.contains(window) {
            if at > hidden || hidden == 0 {
                let start = text.floor_char_boundary(at).max(shown);
                out.push_str(&text[shown..start]);
                out.push_str(STARS);
            }
            hidden = at + PIECE_MIN_BYTES;
            shown = text.ceil_char_boundary(hidden);
        }
    }
    out + &text[shown..]
}

/// Returns the forms of one value.
fn forms(value: &str) -> Vec<String> {
    let bytes = value.as_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut forms = vec![
        value.to_owned(),
        STANDARD_NO_PAD.encode(bytes),
        STANDARD.encode(bytes),
        URL_SAFE_NO_PAD.encode(bytes),
        hex.to_uppercase(),
        hex,
        percent(value, "%20"),
        percent(value, "+"),
        percent(value, "%20").to_lowercase(),
        Encoding::Json.encode(value),
        Encoding::Compose.encode(value),
        value.replace('\'', r"'\''"),
        value.escape_debug().to_string(),
    ];
    forms.extend(
        value
            .lines()
            .map(|line| line.trim().to_owned())
            .filter(|line| line.len() >= PART_MIN_BYTES),
    );
    let parts: Vec<String> = (0..3).filter_map(|offset| within(bytes, offset)).collect();
    forms.extend(parts.iter().map(|part| part.replace('+', "-").replace('/', "_")));
    forms.extend(parts);
    forms
}

/// Returns what a value becomes within a longer text that is written in Base64: the characters that hold bits of nothing
/// but the value. They depend on where the value begins, counted in bytes by three.
fn within(value: &[u8], offset: usize) -> Option<String> {
    let shifted: Vec<u8> = std::iter::repeat_n(0, offset)
        .chain(value.iter().copied())
        .collect();
    let text = STANDARD_NO_PAD.encode(&shifted);
    let whole = shifted.len() * 8 / 6;
    let part = text.get((offset * 8).div_ceil(6)..whole)?;
    (part.len() >= PART_MIN_BYTES).then(|| part.to_owned())
}

/// Writes a value as URLs and forms do.
fn percent(value: &str, blank: &str) -> String {
    value.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => out.push(char::from(byte)),
            b' ' => out.push_str(blank),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = "correct horse/battery+staple?\"'$";

    #[test]
    fn a_value_is_taken_out_in_every_encoding_that_programs_echo() {
        let net = Redaction::of([VALUE]);
        let texts = [
            VALUE.to_owned(),
            STANDARD.encode(VALUE),
            URL_SAFE_NO_PAD.encode(VALUE),
            VALUE.bytes().map(|byte| format!("{byte:02x}")).collect(),
            "correct%20horse%2Fbattery%2Bstaple%3F%22%27%24".to_owned(),
            "correct+horse%2Fbattery%2Bstaple%3F%22%27%24".to_owned(),
            serde_json::json!(VALUE).to_string(),
            format!("'{}'", VALUE.replace('\'', r"'\''")),
        ];
        // Only a value like the second tells the alphabets of Base64 apart.
        const SIGNS: &str = "???~~~battery???~~~";
        let both = Redaction::of([SIGNS]);
        for text in [STANDARD.encode(SIGNS), URL_SAFE_NO_PAD.encode(SIGNS)] {
            let bodies = [
                text,
                URL_SAFE_NO_PAD.encode(format!("p={SIGNS}")),
                STANDARD.encode(format!("p={SIGNS}")),
            ];
            for body in bodies {
                let shown = both.apply(&body);
                assert!(shown.contains(STARS) && shown.len() < 12, "{body} → {shown}");
            }
        }
        for text in texts {
            let shown = net.apply(&format!("failed: {text} !"));
            assert!(shown.contains(STARS), "{text} → {shown}");
            assert!(!shown.contains("battery") && shown.len() < 24, "{text} → {shown}");
        }
    }

    #[test]
    fn a_value_within_a_body_in_base64_is_taken_out_wherever_it_begins() {
        let net = Redaction::of([VALUE]);
        for before in ["", "p", "p=", "p =", "pass"] {
            let shown = net.apply(&STANDARD.encode(format!("{before}{VALUE}\nmore\n")));
            assert!(shown.contains(STARS), "{before}: {shown}");
            // At most one byte at each end shares a character with its neighbours.
            assert!(
                shown.len() < STANDARD.encode(format!("{before}\nmore\n")).len() + 8,
                "{shown}"
            );
        }
    }

    #[test]
    fn lines_of_a_long_value_and_its_end_after_a_cut_are_taken_out() {
        let key =
            "-----BEGIN KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ0hVu1J\nXMnbqWqwfRYfRkZ0fCkTDPzm\n-----END KEY-----";
        let net = Redaction::of([key]);
        let shown = net.apply("line 1: XMnbqWqwfRYfRkZ0fCkTDPzm\nother");
        assert_eq!(shown, "line 1: ***\nother");
        assert_eq!(net.apply("wfRYfRkZ0fCkTDPzm\nother"), "***\nother");
        assert_eq!(net.apply("Zm is short"), "Zm is short");
    }

    #[test]
    fn a_long_piece_of_a_value_is_taken_out_and_a_short_one_is_a_word() {
        let net = Redaction::of([VALUE]);
        assert_eq!(net.apply("was: rrect horse/battery+sta, é"), "was: ***, é");
        assert_eq!(
            net.apply("battery+staple and correct horse/ba é"),
            "*** and *** é"
        );
        assert_eq!(net.apply("a horse and a battery"), "a horse and a battery");
    }

    #[test]
    fn short_values_blank_no_words_and_long_texts_lose_their_beginning() {
        assert_eq!(Redaction::of(["abc"]).apply("abc"), "abc");
        let long = format!("{}end", "x".repeat(TEXT_MAX_BYTES * 2));
        assert_eq!(Redaction::of([VALUE]).apply(&long).len(), TEXT_MAX_BYTES);
    }
}
