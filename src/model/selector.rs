//! Selectors: which hosts. `val-*`, `@validators`, `site=fra`, `all - @canary`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use super::id::{GroupName, HostId, serde_as_text};

/// One term of a selector.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Term {
    /// `all` or `@all`: every host.
    All,
    /// `@name`: the hosts of a group.
    Group(GroupName),
    /// `key=value`: the hosts with this label.
    Label(String, String),
    /// A host's name, in which `*` stands for any characters.
    Name(String),
}

/// A selection of hosts: joined with `,`, taken away with ` - `, from left to right.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selector {
    /// The terms in order, each with whether it is taken away.
    pub terms: Vec<(Sign, Term)>,
}

/// Whether a term adds hosts or takes them away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sign {
    /// The hosts join.
    Plus,
    /// The hosts leave.
    Minus,
}

/// Says why a text is no selector, or what it names does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// The text cannot be read.
    #[error("`{0}` is not a selector")]
    Unreadable(String),
    /// No group has this name.
    #[error("there is no group `{0}`")]
    NoGroup(GroupName),
    /// No host has this name or fits this pattern.
    #[error("there is no host `{0}`")]
    NoHost(String),
}

/// The hosts that a selector picks from.
pub struct Field<'a> {
    /// Every host with its labels.
    pub hosts: BTreeMap<&'a HostId, &'a BTreeMap<String, String>>,
    /// Every group with its members.
    pub groups: &'a BTreeMap<GroupName, BTreeSet<HostId>>,
}

impl Selector {
    /// Returns the selector of every host.
    pub fn all() -> Self {
        Self {
            terms: vec![(Sign::Plus, Term::All)],
        }
    }

    /// Returns the hosts that are picked, in order of their names.
    ///
    /// A label that no host has picks nobody and is no error; a name or a group that does not exist is.
    ///
    /// # Errors
    /// [`SelectorError::NoGroup`] and [`SelectorError::NoHost`].
    pub fn resolve(&self, field: &Field<'_>) -> Result<BTreeSet<HostId>, SelectorError> {
        let mut picked = BTreeSet::new();
        for (sign, term) in &self.terms {
            let hosts = term.resolve(field)?;
            match sign {
                Sign::Plus => picked.extend(hosts),
                Sign::Minus => picked.retain(|host| !hosts.contains(host)),
            }
        }
        Ok(picked)
    }
}

impl Term {
    /// Reads one term.
    pub fn parse(text: &str) -> Option<Self> {
        parse_term(text)
    }

    /// Returns the hosts that it picks.
    ///
    /// # Errors
    /// As [`Selector::resolve`].
    pub fn resolve(&self, field: &Field<'_>) -> Result<BTreeSet<HostId>, SelectorError> {
        let all = field.hosts.keys().map(|host| (*host).clone());
        match self {
            Self::All => Ok(all.collect()),
            Self::Group(name) if name.as_str() == "all" => Ok(all.collect()),
            Self::Group(name) => field
                .groups
                .get(name)
                .cloned()
                .ok_or_else(|| SelectorError::NoGroup(name.clone())),
            Self::Label(key, value) => Ok(field
                .hosts
                .iter()
                .filter(|(_, labels)| labels.get(key).is_some_and(|held| held == value))
                .map(|(host, _)| (*host).clone())
                .collect()),
            Self::Name(pattern) => {
                let found: BTreeSet<HostId> = all.filter(|host| fits(pattern, host.as_str())).collect();
                if found.is_empty() {
                    Err(SelectorError::NoHost(pattern.clone()))
                } else {
                    Ok(found)
                }
            }
        }
    }
}

/// Says whether a name fits a pattern in which `*` stands for any characters.
pub fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, tail)) => name.strip_prefix(head).is_some_and(|rest| {
            (0..=rest.len())
                .filter(|at| rest.is_char_boundary(*at))
                .any(|at| fits(tail, &rest[at..]))
        }),
    }
}

impl FromStr for Selector {
    type Err = SelectorError;
    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let mut terms = Vec::new();
        for (index, part) in text.split(" - ").enumerate() {
            for (position, word) in part.split(',').map(str::trim).enumerate() {
                // Only the first word after a ` - ` is taken away: `a - b, c` reads as a list from left to right.
                let sign = if index > 0 && position == 0 {
                    Sign::Minus
                } else {
                    Sign::Plus
                };
                let term = parse_term(word).ok_or_else(|| SelectorError::Unreadable(text.to_owned()))?;
                terms.push((sign, term));
            }
        }
        Ok(Self { terms })
    }
}

fn parse_term(word: &str) -> Option<Term> {
    if word == "all" {
        return Some(Term::All);
    }
    if let Some(group) = word.strip_prefix('@') {
        return group.parse().ok().map(Term::Group);
    }
    if let Some((key, value)) = word.split_once('=') {
        return (!key.is_empty()).then(|| Term::Label(key.to_owned(), value.to_owned()));
    }
    let is_pattern = !word.is_empty()
        && word
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.*".contains(&byte))
        && !word.starts_with('-');
    is_pattern.then(|| Term::Name(word.to_owned()))
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (sign, term)) in self.terms.iter().enumerate() {
            match (index, sign) {
                (0, Sign::Plus) => {}
                (_, Sign::Plus) => f.write_str(",")?,
                (_, Sign::Minus) => f.write_str(" - ")?,
            }
            term.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Group(name) => write!(f, "@{name}"),
            Self::Label(key, value) => write!(f, "{key}={value}"),
            Self::Name(pattern) => f.write_str(pattern),
        }
    }
}
serde_as_text!(Selector);

#[cfg(test)]
mod tests {
    use super::*;

    fn pick(text: &str) -> Result<Vec<String>, SelectorError> {
        let labels = |site: &str| BTreeMap::from([("site".to_owned(), site.to_owned())]);
        let hosts: BTreeMap<HostId, _> = [("val-1", "fra"), ("val-2", "hel"), ("ml-1", "fra")]
            .map(|(name, site)| (name.parse().unwrap(), labels(site)))
            .into();
        let groups = BTreeMap::from([(
            "canary".parse().unwrap(),
            BTreeSet::from(["val-1".parse().unwrap()]),
        )]);
        let field = Field {
            hosts: hosts.iter().collect(),
            groups: &groups,
        };
        let picked = text.parse::<Selector>()?.resolve(&field)?;
        Ok(picked.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn selectors_pick_hosts_in_order_of_their_names() {
        assert_eq!(pick("all").unwrap(), ["ml-1", "val-1", "val-2"]);
        assert_eq!(pick("val-*").unwrap(), ["val-1", "val-2"]);
        assert_eq!(pick("all - @canary").unwrap(), ["ml-1", "val-2"]);
        assert_eq!(pick("site=fra").unwrap(), ["ml-1", "val-1"]);
        assert_eq!(pick("ml-1,val-2").unwrap(), ["ml-1", "val-2"]);
    }

    #[test]
    fn names_that_do_not_exist_are_errors() {
        assert_eq!(
            pick("@nope"),
            Err(SelectorError::NoGroup("nope".parse().unwrap()))
        );
        assert_eq!(pick("nope-*"), Err(SelectorError::NoHost("nope-*".into())));
        assert!(matches!(pick("a b"), Err(SelectorError::Unreadable(_))));
        assert!(matches!(pick(""), Err(SelectorError::Unreadable(_))));
    }

    #[test]
    fn selectors_round_trip() {
        for text in ["all - @canary", "val-*,site=fra", "@a - b"] {
            assert_eq!(text.parse::<Selector>().unwrap().to_string(), text);
        }
    }
}
