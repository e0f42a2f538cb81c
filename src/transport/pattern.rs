//! OpenSSH's patterns: `*`, `?`, and lists in which `!` takes away.

/// Tells whether a name matches a pattern, whatever the case.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.to_lowercase().chars().collect();
    let name: Vec<char> = name.to_lowercase().chars().collect();
    // The position after the last `*`, and how much of the name it has taken so far.
    let (mut at, mut in_name, mut star) = (0, 0, None);
    while in_name < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at + 1, in_name));
                at += 1;
            }
            Some(wanted) if *wanted == '?' || *wanted == name[in_name] => {
                at += 1;
                in_name += 1;
            }
            _ => match star {
                Some((after, taken)) => {
                    (at, in_name) = (after, taken + 1);
                    star = Some((after, taken + 1));
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|rest| *rest == '*')
}

/// Tells whether a name matches a list of patterns: at least one, and none that begins with `!`.
pub(super) fn matches_list<'a>(patterns: impl IntoIterator<Item = &'a str>, name: &str) -> bool {
    let mut found = false;
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(pattern) if matches(pattern, name) => return false,
            Some(_) => {}
            None => found |= matches(pattern, name),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_openssh() {
        let cases = [
            ("*", "", true),
            ("*.Example.org", "a.example.ORG", true),
            ("*.example.org", "example.org", false),
            ("10.0.0.?", "10.0.0.7", true),
            ("10.0.0.?", "10.0.0.17", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b", false),
            ("[*.example.org]:22*", "[x.example.org]:2222", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(matches(pattern, name), expected, "{pattern} on {name}");
        }
    }

    #[test]
    fn a_negated_pattern_takes_away_wherever_it_stands() {
        assert!(matches_list(["*.org", "!b.org"], "a.org"));
        assert!(!matches_list(["*.org", "!b.org"], "b.org"));
        assert!(!matches_list(["!b.org", "*.org"], "b.org"));
        assert!(!matches_list(["!b.org"], "a.org"));
    }
}
