//! The keys with which one may log in to an account.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::body::{Body, Piece};
use crate::model::change::{Action, FieldChange, Undo};
use crate::model::id::ResourceKey;
use crate::model::known::Known;
use crate::model::manifest::Owned;
use crate::model::observation::{Answer, Observed};
use crate::model::op::{Op, Probe};

use super::path::{self, Attributes, PathAnswer};
use super::{Claim, Context, Kind, Mistake, Step, account};

/// The keys with which one may log in to an account: lines of `.ssh/authorized_keys` in its home.
///
/// The file belongs to the account, with mode 0600 in a folder with mode 0700. Lines of others stay, unless
/// `exclusive = true`. Lines that muster made go when they are no longer declared.
///
/// ```toml
/// [[authorized_keys]]
/// user      = "ops"
/// keys      = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0hVu1JXMnbqWqwfRYfRkZ0fCkTDPzmMnGxYdVTJqzV alice"]
/// exclusive = true
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthorizedKeys {
    /// The account's name.
    pub user: String,
    /// The lines: options, type, key, comment.
    pub keys: Vec<Body>,
    /// Whether no other line may be there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exclusive: bool,
    /// The account's home, for an account that is made in the same plan and whose home is not `/home/<user>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<String>,
}

/// The file of an account that is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActualKeys {
    /// The file's path.
    pub path: String,
    /// Its whole text; `None` where there is no such file.
    pub text: Option<String>,
    /// Its owner, group and mode; `None` where there is no such file.
    pub attributes: Option<Attributes>,
    /// The account's primary group.
    pub group: String,
}

const FOLDER_MODE: &str = "0700";
const FILE_MODE: &str = "0600";

impl AuthorizedKeys {
    fn guessed_path(&self) -> String {
        let home = match (&self.home, self.user.as_str()) {
            (Some(home), _) => home.clone(),
            (None, "root") => "/root".to_owned(),
            (None, user) => format!("/home/{user}"),
        };
        format!("{home}/.ssh/authorized_keys")
    }

    /// Returns the lines that must be there, with the outputs that are known.
    fn lines(&self, known: &Known) -> Vec<Body> {
        self.keys
            .iter()
            .map(|key| trimmed(&known.with_outputs(key)))
            .collect()
    }

    /// Returns the lines that are there and must go: foreign ones where that is said, those that muster made and nobody
    /// declares, and those that hold a declared key in another form.
    fn surplus<'t>(&self, text: &'t str, context: &Context<'_>) -> Vec<&'t str> {
        let wanted: Vec<Body> = self.lines(context.known);
        let is_wanted = |line: &str| wanted.iter().any(|body| body.plain() == Some(line));
        let blobs: BTreeSet<&str> = wanted.iter().filter_map(|body| blob(body.plain()?)).collect();
        let is_surplus = |line: &&str| {
            let is_made = context.owned.is_some_and(|owned| owned.made_keys.contains(*line));
            !is_wanted(line)
                && (self.exclusive || is_made || blob(line).is_some_and(|blob| blobs.contains(blob)))
        };
        entries(text).filter(is_surplus).collect()
    }

    fn missing(&self, text: &str, known: &Known) -> Vec<Body> {
        let is_missing = |body: &Body| !entries(text).any(|line| body.plain() == Some(line));
        self.lines(known).into_iter().filter(is_missing).collect()
    }

    /// Returns the file's new content: what stays, byte for byte, then what is missing.
    fn merged(&self, text: &str, context: &Context<'_>) -> Body {
        let surplus = self.surplus(text, context);
        let mut kept = without(text, |line| surplus.contains(&line));
        let missing = self.missing(text, context.known);
        if !missing.is_empty() && !kept.is_empty() && !kept.ends_with('\n') {
            kept.push('\n');
        }
        let added = missing.iter().flat_map(|body| {
            body.pieces()
                .iter()
                .cloned()
                .chain(std::iter::once(Piece::Text("\n".to_owned())))
        });
        Body::from_pieces(std::iter::once(Piece::Text(kept)).chain(added))
    }

    fn write(&self, actual: Option<&ActualKeys>, body: Body) -> Vec<Op> {
        let path = actual.map_or_else(|| self.guessed_path(), |actual| actual.path.clone());
        // An account that is made in the same plan gets its primary group then: an empty name stands for it.
        let group = actual.map(|actual| actual.group.clone()).unwrap_or_default();
        let owner = self.user.clone();
        let (mode, validate) = (FILE_MODE.to_owned(), None);
        let mut ops = Vec::new();
        if actual.is_none_or(|actual| actual.text.is_none()) {
            let folder = path.strip_suffix("/authorized_keys").unwrap_or(&path).to_owned();
            let (owner, group, mode) = (owner.clone(), group.clone(), FOLDER_MODE.to_owned());
            ops.push(Op::MakeDirectory {
                path: folder,
                owner,
                group,
                mode,
            });
        }
        ops.push(Op::WriteFile {
            path,
            body,
            owner,
            group,
            mode,
            validate,
        });
        ops
    }

    /// Takes the lines that muster made out again.
    fn delete(&self, step: &Step<'_, ActualKeys>) -> Vec<Op> {
        let Some(actual) = step.before.present() else {
            return Vec::new();
        };
        let Some(text) = &actual.text else {
            return Vec::new();
        };
        let made = step
            .context
            .owned
            .map(|owned| owned.made_keys.clone())
            .unwrap_or_default();
        let left = without(text, |line| made.contains(line));
        match left.trim().is_empty() {
            true => vec![Op::RemoveFile {
                path: actual.path.clone(),
            }],
            false => self.write(Some(actual), Body::text(left)),
        }
    }
}

/// Returns the lines that hold keys.
fn entries(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Returns a text without some of the lines that hold keys, everything else byte for byte.
fn without(text: &str, is_out: impl Fn(&str) -> bool) -> String {
    let is_kept = |line: &&str| {
        let trimmed = line.trim();
        trimmed.is_empty() || trimmed.starts_with('#') || !is_out(trimmed)
    };
    text.split_inclusive('\n').filter(is_kept).collect()
}

/// Returns the key itself, by which two lines are the same key: the word after the type.
fn blob(line: &str) -> Option<&str> {
    let is_type = |word: &str| {
        ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"]
            .iter()
            .any(|start| word.starts_with(start))
    };
    let mut words = line.split_whitespace();
    words.find(|word| is_type(word))?;
    words.next()
}

/// Takes blanks and line ends off both ends of a body.
fn trimmed(body: &Body) -> Body {
    let count = body.pieces().len();
    Body::from_pieces(body.pieces().iter().enumerate().map(|(at, piece)| match piece {
        Piece::Text(text) => {
            let text = if at == 0 { text.trim_start() } else { text };
            Piece::Text(if at + 1 == count { text.trim_end() } else { text }.to_owned())
        }
        Piece::Secret(_) | Piece::Output(_) => piece.clone(),
    }))
}

impl Kind for AuthorizedKeys {
    const NAME: &'static str = "authorized_keys";
    const FIELDS: &'static [&'static str] = &["keys", "owner", "group", "mode"];
    type Actual = ActualKeys;

    fn name(&self) -> String {
        self.user.clone()
    }

    fn check(&self) -> Vec<Mistake> {
        let keys = self.keys.iter().enumerate().filter_map(|(at, key)| {
            let number = at + 1;
            if key.is_sensitive() {
                return Some(Mistake::new(
                    "keys",
                    format!("key {number} holds a secret; a public key is none"),
                ));
            }
            let text = key.plain()?.trim();
            let is_one = !text.contains('\n') && blob(text).is_some_and(|blob| blob.starts_with("AAAA"));
            (!is_one).then(|| {
                Mistake::new("keys", format!("key {number} is not one line with a public key"))
                    .hint("write it as in the .pub file: `ssh-ed25519 AAAA… comment`")
            })
        });
        let none = self.keys.is_empty().then(|| {
            Mistake::new("keys", "no key is declared")
                .hint("an empty list would lock everybody out of the account")
        });
        let home = self
            .home
            .as_deref()
            .and_then(|home| path::check_path("home", home));
        account::check_name("user", &self.user)
            .into_iter()
            .chain(keys)
            .chain(none)
            .chain(home)
            .collect()
    }

    fn claims(&self) -> Vec<Claim> {
        let file = Claim {
            what: self.guessed_path(),
            keys: None,
        };
        vec![
            Claim {
                what: format!("authorized_keys:{}", self.user),
                keys: None,
            },
            file,
        ]
    }

    fn implied(&self) -> Vec<ResourceKey> {
        let path = self.guessed_path();
        let folders = path::parents(&path).map(|folder| ResourceKey::new("directory", folder));
        std::iter::once(ResourceKey::new("account", &self.user))
            .chain(folders)
            .collect()
    }

    fn probes(&self) -> Vec<Probe> {
        vec![
            Probe::Account(self.user.clone()),
            Probe::AuthorizedKeys(self.user.clone()),
        ]
    }

    fn read(&self, answers: &[Answer]) -> Observed<ActualKeys> {
        match read_file(&answers[0], &answers[1]) {
            Ok(Some(actual)) => Observed::Present(actual),
            Ok(None) => Observed::Absent,
            Err(why) => Observed::Unknown(why),
        }
    }

    fn compare(&self, actual: &ActualKeys, context: &Context<'_>) -> Vec<FieldChange> {
        let text = actual.text.as_deref().unwrap_or_default();
        let surplus = self.surplus(text, context);
        let missing = self.missing(text, context.known);
        let mut fields = Vec::new();
        if !surplus.is_empty() || !missing.is_empty() {
            let missing: Vec<String> = missing.iter().map(Body::to_string).collect();
            fields.push(FieldChange::text("keys", lines(&surplus), lines(&missing)));
        }
        if let Some(there) = &actual.attributes {
            let wanted = Attributes {
                owner: self.user.clone(),
                group: actual.group.clone(),
                mode: FILE_MODE.to_owned(),
            };
            fields.extend(path::compare_attributes(&wanted, there));
        }
        fields
    }

    fn ops(&self, step: &Step<'_, ActualKeys>) -> Vec<Op> {
        let actual = step.before.present();
        let text = actual
            .and_then(|actual| actual.text.as_deref())
            .unwrap_or_default();
        match step.action {
            Action::Create | Action::Replace => self.write(actual, self.merged(text, &step.context)),
            Action::Update if step.has("keys") => self.write(actual, self.merged(text, &step.context)),
            Action::Update => actual
                .map(|actual| Op::SetAttributes {
                    path: actual.path.clone(),
                    owner: self.user.clone(),
                    group: actual.group.clone(),
                    mode: FILE_MODE.to_owned(),
                })
                .into_iter()
                .collect(),
            Action::Delete => self.delete(step),
            Action::Forget => Vec::new(),
        }
    }

    fn is_gone(&self, actual: &ActualKeys, made: &BTreeSet<String>) -> bool {
        let text = actual.text.as_deref().unwrap_or_default();
        !entries(text).any(|there| made.contains(there))
    }

    fn undo(&self, step: &Step<'_, ActualKeys>) -> Undo {
        let ops = self.ops(step).into_iter().rev().filter_map(|op| match op {
            Op::MakeDirectory { path, .. }
            | Op::WriteFile { path, .. }
            | Op::SetAttributes { path, .. }
            | Op::RemoveFile { path } => Some(Op::restore(path)),
            _ => None,
        });
        Undo::Exact(ops.collect())
    }

    fn bodies(&self) -> Vec<&Body> {
        self.keys.iter().collect()
    }

    fn made_keys(&self, actual: Option<&ActualKeys>, owned: Option<&Owned>) -> BTreeSet<String> {
        let text = actual
            .and_then(|actual| actual.text.as_deref())
            .unwrap_or_default();
        let is_there = |line: &str| entries(text).any(|there| there == line);
        let was_made = |line: &str| owned.is_some_and(|owned| owned.made_keys.contains(line));
        let lines = self.keys.iter().filter_map(|key| key.plain().map(str::trim));
        lines
            .filter(|line| !is_there(line) || was_made(line))
            .map(str::to_owned)
            .collect()
    }
}

fn lines(lines: &[impl AsRef<str>]) -> String {
    lines.iter().map(|line| format!("{}\n", line.as_ref())).collect()
}

/// Reads the answers about the account and its file (see [`Probe::AuthorizedKeys`]); `None` where there is no account.
fn read_file(account: &Answer, file: &Answer) -> Result<Option<ActualKeys>, String> {
    let file = PathAnswer::read(file)?;
    if file.kind == "no-account" {
        return Ok(None);
    }
    let Answer::Text { output, status: 0 } = account else {
        return Err("the account cannot be read".to_owned());
    };
    let group = output.lines().nth(2).filter(|group| !group.is_empty());
    let actual = ActualKeys {
        path: file.get("path")?.to_owned(),
        text: None,
        attributes: None,
        group: group.ok_or("the account's group cannot be read")?.to_owned(),
    };
    match file.kind.as_str() {
        "absent" => Ok(Some(actual)),
        "file" => {
            let attributes = Some(file.attributes()?);
            let text = file.content.ok_or("the file is too long, or is no text")?;
            Ok(Some(ActualKeys {
                text: Some(text),
                attributes,
                ..actual
            }))
        }
        other => Err(format!("there is a {other} in place of the file")),
    }
}
