//! Lists of hosts, folded: `ml-1 … ml-200` instead of two hundred names.

use std::collections::BTreeSet;

use crate::model::id::HostId;

/// Returns the names of some hosts, runs of three and more folded, with their number where there are several.
pub fn hosts<'a>(hosts: impl IntoIterator<Item = &'a HostId>) -> String {
    let mut names: Vec<Name> = hosts
        .into_iter()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .map(Name::of)
        .collect();
    names.sort();
    let count = names.len();
    let list = runs(&names).into_iter().map(fold).collect::<Vec<_>>().join(", ");
    if count > 2 {
        format!("{count} hosts: {list}")
    } else {
        list
    }
}

/// Returns `1 host` or `3 hosts`.
pub fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// A name with the number at its end, so that `ml-2` comes before `ml-10`.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Name<'a> {
    stem: &'a str,
    number: Option<u64>,
    whole: &'a str,
}

impl<'a> Name<'a> {
    fn of(id: &'a HostId) -> Self {
        let whole = id.as_str();
        let stem = whole.trim_end_matches(|char: char| char.is_ascii_digit());
        let digits = &whole[stem.len()..];
        // `ml-07` is not followed by `ml-8`: numbers that are padded do not count.
        let number = digits
            .parse()
            .ok()
            .filter(|number: &u64| number.to_string() == digits);
        Self { stem, number, whole }
    }

    fn is_followed_by(&self, next: &Self) -> bool {
        let follows = self
            .number
            .zip(next.number)
            .is_some_and(|(this, next)| this.checked_add(1) == Some(next));
        follows && self.stem == next.stem
    }
}

fn runs<'a, 'b>(names: &'b [Name<'a>]) -> Vec<&'b [Name<'a>]> {
    names.chunk_by(Name::is_followed_by).collect()
}

fn fold(run: &[Name<'_>]) -> String {
    match run {
        [first, _, .., last] => format!("{} … {}", first.whole, last.whole),
        few => few.iter().map(|name| name.whole).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(names: &[&str]) -> String {
        let ids: Vec<HostId> = names.iter().map(|name| name.parse().unwrap()).collect();
        hosts(&ids)
    }

    #[test]
    fn runs_are_folded_and_gaps_are_not() {
        assert_eq!(folded(&["a"]), "a");
        assert_eq!(folded(&["b-2", "b-1"]), "b-1, b-2");
        assert_eq!(
            folded(&["b-10", "b-9", "b-8", "b-12", "nn"]),
            "5 hosts: b-8 … b-10, b-12, nn"
        );
        assert_eq!(folded(&["x-07", "x-08", "x-09"]), "3 hosts: x-07, x-08, x-09");
    }
}
