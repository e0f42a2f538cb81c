//! Includes: which files an `include` entry names.

use std::path::{Path, PathBuf};

/// Returns the files that a pattern names, sorted; `base` is the folder that it is relative to.
///
/// `*` and `?` stand for characters within one name and do not match a leading dot. A pattern without them is itself
/// the answer, whether or not the file exists.
pub(super) fn files(base: &Path, pattern: &str) -> Vec<PathBuf> {
    if !is_pattern(pattern) {
        return vec![base.join(pattern)];
    }
    let mut found = vec![if pattern.starts_with('/') {
        PathBuf::from("/")
    } else {
        base.to_owned()
    }];
    for step in pattern.split('/').filter(|step| !step.is_empty()) {
        found = found.iter().flat_map(|folder| matching(folder, step)).collect();
    }
    found.retain(|path| path.is_file());
    found.sort();
    found
}

/// Says whether an entry may name no file, one or many.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?'])
}

fn matching(folder: &Path, step: &str) -> Vec<PathBuf> {
    if !is_pattern(step) {
        return vec![folder.join(step)];
    }
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter(|name| !name.starts_with('.') && fits(step, name))
        .map(|name| folder.join(name))
        .collect()
}

/// Says whether a name fits, in time linear in their product: each `*` is tried again only from the last one on.
fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut read, mut star) = (0, 0, None);
    while read < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(wanted) if *wanted == '?' || *wanted == name[read] => {
                at += 1;
                read += 1;
            }
            _ => {
                let Some((back, from)) = star else { return false };
                star = Some((back, from + 1));
                at = back + 1;
                read = from + 1;
            }
        }
    }
    pattern[at..].iter().all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_characters_of_a_name() {
        for (pattern, name) in [("*.toml", "a.toml"), ("a*b*c", "aXbYbc"), ("?", "é"), ("*", "")] {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("*.toml", "a.tom"), ("a*b", "ac"), ("?", ""), ("", "a")] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn files_come_sorted_and_hidden_ones_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.toml", "a.toml", ".c.toml", "d.txt"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let found = files(folder.path(), "*.toml");
        assert_eq!(found, ["a.toml", "b.toml"].map(|name| folder.path().join(name)));
        assert_eq!(
            files(folder.path(), "missing.toml"),
            [folder.path().join("missing.toml")]
        );
    }
}
