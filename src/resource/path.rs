//! What the kinds of the file system share: reading a path's answer, owners, modes, parents.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::change::{FieldChange, Shown, Undo};
use crate::model::digest::{Digest, Fingerprint};
use crate::model::id::ResourceKey;
use crate::model::known::Comparable;
use crate::model::observation::{Answer, Observed};
use crate::model::op::Op;

use super::{Mistake, veil};

/// What a path's answer says (see [`crate::model::op::Probe::Path`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathAnswer {
    /// `absent`, `file`, `directory`, `link` or `other`.
    pub kind: String,
    /// The `key=value` lines.
    pub lines: BTreeMap<String, String>,
    /// The content, where it came along.
    pub content: Option<String>,
}

impl PathAnswer {
    /// Reads an answer; the error says why it cannot be read.
    pub fn read(answer: &Answer) -> Result<Self, String> {
        let Answer::Text { output, status } = answer else {
            return Err(answer.missing().unwrap_or("no answer").to_owned());
        };
        if *status != 0 {
            return Err(format!("status {status}: {}", output.trim()));
        }
        let (head, content) = match output.split_once("\n\n") {
            Some((head, content)) => (head, Some(content.to_owned())),
            None => (output.as_str(), None),
        };
        let lines: BTreeMap<String, String> = head
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let kind = lines
            .get("type")
            .cloned()
            .ok_or("the answer does not say what is at the path")?;
        Ok(Self { kind, lines, content })
    }

    /// Returns one line's value.
    ///
    /// # Errors
    /// A clause, if the line is missing.
    pub fn get(&self, key: &str) -> Result<&str, String> {
        self.lines
            .get(key)
            .map(String::as_str)
            .ok_or_else(|| format!("the answer lacks `{key}`"))
    }

    /// Returns owner, group and mode.
    pub fn attributes(&self) -> Result<Attributes, String> {
        Ok(Attributes {
            owner: self.get("owner")?.to_owned(),
            group: self.get("group")?.to_owned(),
            mode: self.get("mode")?.to_owned(),
        })
    }

    /// Returns owner, group and mode, the first two as numbers where they are wanted so: whether an account has that number
    /// says nothing then.
    pub fn attributes_like(&self, wanted: &Attributes) -> Result<Attributes, String> {
        let there = self.attributes()?;
        let like = |wanted: &str, number: &str, name: String| match is_number(wanted) {
            true => self.get(number).map_or(name, str::to_owned),
            false => name,
        };
        Ok(Attributes {
            owner: like(&wanted.owner, "uid", there.owner),
            group: like(&wanted.group, "gid", there.group),
            mode: there.mode,
        })
    }

    /// Returns what is known of a file's content.
    pub fn content(&self) -> Result<Content, String> {
        if let Some(text) = &self.content {
            let Some(seen) = self.lines.get(veil::VEILED) else {
                return Ok(Content::Text(text.clone()));
            };
            return Ok(Content::Veiled {
                text: text.clone(),
                sha256: Digest(self.get("sha256")?.to_owned()),
                seen: Digest(seen.clone()),
            });
        }
        if let Some(print) = self.lines.get("print") {
            return Ok(Content::Print(Fingerprint(print.clone())));
        }
        if let Some(digest) = self.lines.get("sha256") {
            return Ok(Content::Digest(Digest(digest.clone())));
        }
        Ok(Content::Opaque {
            size: self.get("size")?.to_owned(),
            changed: self.get("changed")?.to_owned(),
        })
    }
}

/// Reads what is at a path: absent, or what `read` makes of it, or unknown and why.
pub fn observed<T>(answer: &Answer, read: impl FnOnce(&PathAnswer) -> Result<T, String>) -> Observed<T> {
    match PathAnswer::read(answer) {
        Ok(answer) if answer.kind == "absent" => Observed::Absent,
        Ok(answer) => read(&answer).map_or_else(Observed::Unknown, Observed::Present),
        Err(why) => Observed::Unknown(why),
    }
}

/// Removes what stands at a path. A folder goes only when it is empty: the op fails otherwise.
pub fn remove(path: String, kind: Option<&str>) -> Op {
    if kind == Some("directory") {
        Op::RemoveDirectory { path }
    } else {
        Op::RemoveFile { path }
    }
}

/// Returns how a change of a path is undone: from what the guard kept, unless an identity would be overwritten by that.
pub fn restored(path: &str) -> Undo {
    match identity(path) {
        Some(_) => {
            Undo::Impossible("it belongs to an identity, which is never put back over another".to_owned())
        }
        None => Undo::Exact(vec![Op::restore(path)]),
    }
}

/// Owner, group and mode of a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// The owner's name.
    pub owner: String,
    /// The group's name.
    pub group: String,
    /// The mode, four octal digits.
    pub mode: String,
}

/// What is known of a file's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// The whole text.
    Text(String),
    /// Its digest: it is binary or long.
    Digest(Digest),
    /// The text with values hidden that nobody declared.
    Veiled {
        /// What may be shown.
        text: String,
        /// The digest of the whole content.
        sha256: Digest,
        /// The digest of the resource as it was seen, by which a later look is compared.
        seen: Digest,
    },
    /// Its salted print: it is secret.
    Print(Fingerprint),
    /// Only that it is there: it is secret, and the host has no salt before its first apply.
    Opaque {
        /// Its size in bytes.
        size: String,
        /// Its ctime in seconds.
        changed: String,
    },
}

impl Content {
    /// Returns the content as people may see it.
    pub fn shown(&self) -> Shown {
        match self {
            Self::Text(text) | Self::Veiled { text, .. } => Shown::Text(text.clone()),
            Self::Digest(digest) => Shown::Opaque(format!("sha256 {}", digest.short())),
            Self::Print(print) => Shown::Secret(print.clone()),
            Self::Opaque { .. } => Shown::Opaque("secret, not compared before the first apply".to_owned()),
        }
    }

    /// Says how the content differs from what is wanted; `None` where it does not, or where that cannot be told
    /// because secrets were left out on purpose (the planner then compares with the manifest).
    pub fn differs(&self, field: &str, wanted: &Comparable) -> Option<FieldChange> {
        let after = match (self, wanted) {
            (Self::Text(there), Comparable::Text(wanted)) if there == wanted => return None,
            (Self::Digest(there), Comparable::Text(wanted)) if *there == Digest::of(wanted) => return None,
            (Self::Veiled { sha256, .. }, Comparable::Text(wanted)) if *sha256 == Digest::of(wanted) => {
                return None;
            }
            (Self::Print(there), Comparable::Print(wanted)) if there == wanted => return None,
            // Nothing can be compared before the first apply gave the host a salt, so the content is written anew.
            (Self::Opaque { .. }, Comparable::Unresolved) => Shown::Opaque("secret".to_owned()),
            (_, Comparable::Unresolved) => return None,
            (_, Comparable::Text(wanted)) => match self {
                // A secret place never shows its text, even where this part of it has no secret in it.
                Self::Print(_) | Self::Opaque { .. } => Shown::Opaque("secret".to_owned()),
                Self::Text(_) | Self::Veiled { .. } | Self::Digest(_) => Shown::Text(wanted.clone()),
            },
            (_, Comparable::Print(print)) => Shown::Secret(print.clone()),
            (_, Comparable::Pending(output)) => Shown::Pending(output.clone()),
        };
        Some(FieldChange {
            field: field.to_owned(),
            before: self.shown(),
            after,
        })
    }
}

impl Content {
    /// Returns the digest of the whole resource, where it was taken before values were hidden.
    pub fn seen(&self) -> Option<&Digest> {
        match self {
            Self::Veiled { seen, .. } => Some(seen),
            Self::Text(_) | Self::Digest(_) | Self::Print(_) | Self::Opaque { .. } => None,
        }
    }
}

/// Hides what a change would show of a place that was secret until now.
pub fn hidden(change: FieldChange, was_secret: bool) -> FieldChange {
    match (was_secret, &change.before) {
        (true, Shown::Text(_)) => FieldChange {
            before: Shown::Opaque("secret until now".to_owned()),
            ..change
        },
        _ => change,
    }
}

/// Returns the changes of owner, group and mode.
pub fn compare_attributes(wanted: &Attributes, there: &Attributes) -> Vec<FieldChange> {
    let pairs = [
        ("owner", &there.owner, &wanted.owner),
        ("group", &there.group, &wanted.group),
        ("mode", &there.mode, &wanted.mode),
    ];
    pairs
        .into_iter()
        .filter(|(_, there, wanted)| there != wanted)
        .map(|(field, there, wanted)| FieldChange::text(field, there.as_str(), wanted.as_str()))
        .collect()
}

/// Returns what to write for the attributes that a step may change: those ignored stay as they are.
pub fn merged_attributes(
    wanted: &Attributes,
    there: Option<&Attributes>,
    has: impl Fn(&str) -> bool,
) -> Attributes {
    let pick = |field: &str, wanted: &String, there: Option<&String>| match there {
        Some(there) if !has(field) => there.clone(),
        _ => wanted.clone(),
    };
    Attributes {
        owner: pick("owner", &wanted.owner, there.map(|a| &a.owner)),
        group: pick("group", &wanted.group, there.map(|a| &a.group)),
        mode: pick("mode", &wanted.mode, there.map(|a| &a.mode)),
    }
}

/// Returns the resources that a path needs if they are declared: its folder, its owner, its group.
pub fn implied(path: &str, owner: &str, group: &str) -> Vec<ResourceKey> {
    let mut needs = vec![
        ResourceKey::new("account", owner),
        ResourceKey::new("group", group),
    ];
    needs.extend(parents(path).map(|parent| ResourceKey::new("directory", parent)));
    needs
}

/// Returns the folders above a path, nearest first, without the root.
pub fn parents(path: &str) -> impl Iterator<Item = &str> {
    let mut rest = path;
    std::iter::from_fn(move || {
        rest = rest.rsplit_once('/')?.0;
        (!rest.is_empty()).then_some(rest)
    })
}

/// The longest path and the longest name in one that Linux takes.
pub const PATH_MAX_BYTES: usize = 4095;
const NAME_MAX_BYTES: usize = 255;

/// Returns what is wrong with a path.
pub fn check_path(field: &'static str, path: &str) -> Option<Mistake> {
    let is_plain = path.starts_with('/')
        && path.len() > 1
        && !path.ends_with('/')
        && !path[1..]
            .split('/')
            .any(|part| part.is_empty() || part == "." || part == "..")
        && !path.chars().any(char::is_control)
        && path.len() <= PATH_MAX_BYTES
        && path.split('/').all(|part| part.len() <= NAME_MAX_BYTES);
    (!is_plain).then(|| {
        Mistake::new(field, format!("`{path}` is not an absolute path in plain form"))
            .hint("write it from the root, without `.`, `..`, doubled or trailing slashes")
    })
}

/// Says whether an owner or a group is given by its number.
fn is_number(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns what is wrong with a mode.
pub fn check_mode(mode: &str) -> Option<Mistake> {
    let is_mode = mode.len() == 4 && mode.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    (!is_mode).then(|| {
        Mistake::new("mode", format!("`{mode}` is not a mode"))
            .hint("write four octal digits in quotes, such as \"0644\"")
    })
}

/// Returns why an identity path may never be deleted, if it is one. Source: promise 5 of the product.
pub fn identity(path: &str) -> Option<String> {
    path.split('/')
        .find(|part| {
            [
                ".tmkms",
                ".inference",
                "keyring-file",
                "keyring-test",
                "keyring-os",
            ]
            .contains(part)
        })
        .map(|part| format!("`{part}` holds an identity, which muster never deletes"))
}
