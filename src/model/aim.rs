//! Aims: which resources a plan is limited to. `file[/etc/*]@val-1`, `@val-1`, `module:app`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::id::{HostId, ModuleName, ResourceId, serde_as_text};
use super::selector::{Field, SelectorError, Term, fits};

/// Some resources, by pattern. `*` stands for any characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Aim {
    what: What,
    /// The hosts; `None` is all.
    on: Option<Term>,
}

/// Which resources of a host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// All.
    All,
    /// Those of a kind with a name.
    Key { kind: String, name: String },
    /// Those that a module declares.
    Module(String),
}

/// Says why a text is no aim.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` names no resource: {hint}")]
pub struct AimError {
    /// The text.
    pub text: String,
    /// What to write.
    pub hint: String,
}

/// What a plan is limited to, and what it leaves out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Aims {
    /// Only these, with what they need; none is all.
    pub targets: Vec<Aim>,
    /// Not these.
    pub excludes: Vec<Aim>,
}

/// What a plan was limited to, as it was said and as it turned out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aimed {
    /// Only these, with what they need; none is all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Aim>,
    /// Not these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excludes: Vec<Aim>,
    /// Changes that no target names, each with what brought it along.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub along: BTreeMap<ResourceId, Along>,
    /// How many changes there would be without the limit.
    pub changes_in_all: usize,
}

/// Why a change comes along that no target names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Along {
    /// This needs it.
    NeededBy(ResourceId),
    /// This wipes it.
    WipedBy(ResourceId),
}

impl fmt::Display for Along {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeededBy(id) => write!(f, "needed by {id}"),
            Self::WipedBy(id) => write!(f, "wiped by {id}"),
        }
    }
}

impl Aims {
    /// Says whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty() && self.excludes.is_empty()
    }
}

impl Aim {
    /// Returns the hosts that it speaks of; `None` is all.
    ///
    /// # Errors
    /// [`SelectorError`] where what stands after `@` names nobody.
    pub fn hosts(&self, field: &Field<'_>) -> Result<Option<BTreeSet<HostId>>, SelectorError> {
        self.on.as_ref().map(|term| term.resolve(field)).transpose()
    }

    /// Says whether it means a resource of one of its hosts.
    pub fn means(&self, id: &ResourceId, modules: &BTreeSet<ModuleName>) -> bool {
        match &self.what {
            What::All => true,
            What::Key { kind, name } => fits(kind, id.key.kind.as_str()) && fits(name, &id.key.name),
            What::Module(pattern) => modules.iter().any(|module| fits(pattern, module.as_str())),
        }
    }

    /// Returns the module that it names, if it names one.
    pub fn module(&self) -> Option<&str> {
        match &self.what {
            What::Module(module) => Some(module),
            What::All | What::Key { .. } => None,
        }
    }

    /// Returns `kind[name]`, if it names resources so.
    pub fn key(&self) -> Option<String> {
        match &self.what {
            What::Key { kind, name } => Some(format!("{kind}[{name}]")),
            What::All | What::Module(_) => None,
        }
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::All => {}
            What::Key { kind, name } => write!(f, "{kind}[{name}]")?,
            What::Module(module) => write!(f, "module:{module}")?,
        }
        match &self.on {
            None => Ok(()),
            Some(term) => write!(f, "@{term}"),
        }
    }
}

impl FromStr for Aim {
    type Err = AimError;
    fn from_str(text: &str) -> Result<Self, AimError> {
        let error = |hint: String| AimError {
            text: text.to_owned(),
            hint,
        };
        let forms = || error("write `kind[name]`, `kind[name]@host`, `@host` or `module:name`".to_owned());
        // A name may hold `@` and `]`, so the last bracket ends it.
        let (what, rest) = match (text.split_once('['), text.rfind(']')) {
            (Some((kind, _)), Some(end)) if end > kind.len() + 1 && is_pattern(kind) => {
                let name = text[kind.len() + 1..end].to_owned();
                let kind = kind.to_owned();
                (What::Key { kind, name }, &text[end + 1..])
            }
            (Some(_), _) => return Err(forms()),
            (None, _) => {
                let at = text.find('@').unwrap_or(text.len());
                match &text[..at] {
                    "" if at < text.len() => (What::All, &text[at..]),
                    word => match word.split_once(':') {
                        Some(("module", name)) if is_pattern(name) => {
                            (What::Module(name.to_owned()), &text[at..])
                        }
                        Some((kind, name)) if is_pattern(kind) && !name.is_empty() => {
                            return Err(error(format!("write `{kind}[{name}]`")));
                        }
                        None if is_pattern(word) => {
                            return Err(error(format!(
                                "write `@{word}` for a host, `module:{word}` for a module"
                            )));
                        }
                        _ => return Err(forms()),
                    },
                }
            }
        };
        let on = match rest.strip_prefix('@') {
            None if rest.is_empty() => None,
            Some(term) => Some(Term::parse(term).ok_or_else(forms)?),
            None => return Err(forms()),
        };
        Ok(Self { what, on })
    }
}
serde_as_text!(Aim);

fn is_pattern(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.*".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn means(aim: &str, id: &str) -> bool {
        let modules = ["app".parse().unwrap()];
        aim.parse::<Aim>()
            .unwrap()
            .means(&id.parse().unwrap(), &modules.into())
    }

    #[test]
    fn aims_are_read_and_written_alike() {
        for text in [
            "file[/etc/app.toml]",
            "file[/etc/*]@val-1",
            "*[*]@@canary",
            "unit[a@1.service]@site=fra",
            "@val-*",
            "module:app",
            "module:app@val-1",
            "command[a[0]]@all",
        ] {
            assert_eq!(text.parse::<Aim>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_aim_says_what_to_write() {
        let hint = |text: &str| text.parse::<Aim>().unwrap_err().hint;
        assert_eq!(hint("file:/etc/a"), "write `file[/etc/a]`");
        assert!(hint("val-1").starts_with("write `@val-1` for a host"));
        for text in [
            "",
            "@",
            "file[]",
            "file[a",
            "file[a]x",
            "module:",
            "a b",
            "file[a]@x y",
            "[a]",
        ] {
            assert!(text.parse::<Aim>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_aim_means_what_fits_its_pattern() {
        assert!(means("file[/etc/*]", "file[/etc/a/b]@h"));
        assert!(!means("file[/etc/*]", "directory[/etc/a]@h"));
        assert!(!means("file[/etc/a]", "file[/etc/ab]@h"));
        assert!(means("*[/etc/*]", "directory[/etc/a]@h"));
        assert!(means("module:a*", "file[/x]@h") && !means("module:b", "file[/x]@h"));
        assert!(means("@h", "file[/x]@h"));
    }
}
