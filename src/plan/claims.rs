//! Claims: one thing, one owner. Source: decision 0020.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::code;
use crate::model::diagnostic::Diagnostic;
use crate::model::id::{HostId, ResourceKey};
use crate::resource::desired::{Desired, DesiredHost, Entry};

/// Folders that are links to others on every Debian and Ubuntu since the merge of `/usr`.
const LINKS: &[(&str, &str)] = &[
    ("/bin/", "/usr/bin/"),
    ("/sbin/", "/usr/sbin/"),
    ("/lib/", "/usr/lib/"),
    ("/var/run/", "/run/"),
    ("/var/lock/", "/run/lock/"),
];

/// A resource that owns something, and which keys of it.
type Owner<'a> = (&'a ResourceKey, &'a Entry, Option<BTreeSet<String>>);

/// Returns an error for each pair of resources that own the same thing.
pub fn clashes(desired: &Desired) -> Vec<Diagnostic> {
    desired
        .hosts
        .iter()
        .flat_map(|(host, desired)| clashes_of(host, desired))
        .collect()
}

fn clashes_of(host: &HostId, desired: &DesiredHost) -> Vec<Diagnostic> {
    let mut owners: BTreeMap<String, Vec<Owner<'_>>> = BTreeMap::new();
    for (key, entry) in &desired.entries {
        for claim in entry.spec.claims() {
            owners
                .entry(real(&claim.what))
                .or_default()
                .push((key, entry, claim.keys));
        }
    }
    let mut found = Vec::new();
    for (what, owners) in owners.iter().filter(|(_, owners)| owners.len() > 1) {
        for (index, first) in owners.iter().enumerate() {
            for second in &owners[index + 1..] {
                if let Some(shared) = overlap(first.2.as_ref(), second.2.as_ref()) {
                    found.push(diagnostic(
                        host,
                        what,
                        &shared,
                        (first.0, first.1),
                        (second.0, second.1),
                    ));
                }
            }
        }
    }
    found
}

/// Returns a path behind the links that every host has.
fn real(what: &str) -> String {
    let link = LINKS
        .iter()
        .find_map(|(link, to)| Some((to, what.strip_prefix(link)?)));
    link.map_or_else(|| what.to_owned(), |(to, rest)| format!("{to}{rest}"))
}

/// Returns what both own: nothing in particular for the whole, else the keys.
fn overlap(first: Option<&BTreeSet<String>>, second: Option<&BTreeSet<String>>) -> Option<Vec<String>> {
    match (first, second) {
        (Some(first), Some(second)) => {
            let nested = |key: &&String| {
                let inside =
                    |a: &str, b: &str| a == b || a.strip_prefix(b).is_some_and(|rest| rest.starts_with('.'));
                second
                    .iter()
                    .any(|other| inside(key, other) || inside(other, key))
            };
            let shared: Vec<String> = first.iter().filter(nested).cloned().collect();
            (!shared.is_empty()).then_some(shared)
        }
        (None, _) | (_, None) => Some(Vec::new()),
    }
}

fn diagnostic(
    host: &HostId,
    what: &str,
    shared: &[String],
    first: (&ResourceKey, &Entry),
    second: (&ResourceKey, &Entry),
) -> Diagnostic {
    let what = match shared {
        [] => format!("`{what}`"),
        keys => format!("`{}` of `{what}`", keys.join("`, `")),
    };
    let message = format!("{what} on `{host}` has two owners: {} and {}", first.0, second.0);
    let mut diagnostic = Diagnostic::error(code::TWO_OWNERS, message);
    if let Some(origin) = second.1.origins.first() {
        diagnostic = diagnostic.at(origin.clone(), "owned here");
    }
    if let Some(origin) = first.1.origins.first() {
        diagnostic = diagnostic.and(origin.clone(), "and here");
    }
    diagnostic
        .hint("let one own it; keys of one shared file may have several `settings` owners, if no key has two")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_overlap_when_one_holds_the_other() {
        let set = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<BTreeSet<_>>();
        assert!(overlap(Some(&set(&["a.b"])), Some(&set(&["a.b"]))).is_some());
        assert!(overlap(Some(&set(&["a"])), Some(&set(&["a.b"]))).is_some());
        assert!(overlap(Some(&set(&["a"])), Some(&set(&["ab"]))).is_none());
        assert!(overlap(None, Some(&set(&["a"]))).is_some());
    }

    #[test]
    fn paths_are_compared_behind_the_links_of_every_host() {
        assert_eq!(real("/var/run/app.pid"), "/run/app.pid");
        assert_eq!(real("/binary"), "/binary");
    }
}
