//! A short text that fits a pattern, for pretend hosts.

use regex_syntax::hir::{Class, Hir, HirKind};

/// Returns a text that fits a pattern; empty for a pattern that cannot be read.
pub(super) fn sample(pattern: &str) -> String {
    let mut text = String::new();
    if let Ok(hir) = regex_syntax::parse(pattern) {
        write(&hir, &mut text);
    }
    text
}

fn write(hir: &Hir, text: &mut String) {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => text.push_str(&String::from_utf8_lossy(&literal.0)),
        HirKind::Class(class) => text.extend(member(class)),
        HirKind::Repetition(repetition) => {
            // Once where never would do too, so that an output is rarely empty.
            let most = repetition.max.unwrap_or(u32::MAX);
            (0..repetition.min.max(1).min(most)).for_each(|_| write(&repetition.sub, text));
        }
        HirKind::Capture(capture) => write(&capture.sub, text),
        HirKind::Concat(parts) => parts.iter().for_each(|part| write(part, text)),
        HirKind::Alternation(parts) => parts.iter().take(1).for_each(|part| write(part, text)),
    }
}

/// Returns a character of a class: a letter or a digit if it has one.
fn member(class: &Class) -> Option<char> {
    let ranges: Vec<(char, char)> = match class {
        Class::Unicode(class) => class.iter().map(|range| (range.start(), range.end())).collect(),
        Class::Bytes(class) => class
            .iter()
            .map(|range| (range.start().into(), range.end().into()))
            .collect(),
    };
    let plain = ['a', '0', 'A'].into_iter();
    let mut plain = plain.filter(|c| ranges.iter().any(|(start, end)| (start..=end).contains(&c)));
    plain.next().or_else(|| ranges.first().map(|(start, _)| *start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_fits_its_pattern() {
        for pattern in [
            "app1[a-z0-9]{38}",
            "[0-9]+(\\.[0-9]+)?",
            "(a|b)c*",
            "0x[0-9a-fA-F]{4}",
            ".+",
            "[^a-z]x",
        ] {
            let fits = regex::Regex::new(&format!("^(?:{pattern})$")).unwrap();
            assert!(
                fits.is_match(&sample(pattern)),
                "{pattern}: {:?}",
                sample(pattern)
            );
        }
    }
}
