//! An account of the system.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::change::{Action, FieldChange, Undo};
use crate::model::id::ResourceKey;
use crate::model::observation::{Answer, Observed};
use crate::model::op::{Op, Probe};

use super::{Claim, Context, Kind, Mistake, Step, path};

/// An account of the system. What is not said is left as it is, or as the system chooses.
///
/// ```toml
/// [[account]]
/// name      = "app"
/// group     = "app"
/// groups    = ["docker"]     # exactly these further groups
/// home      = "/srv/app"
/// make_home = true
/// shell     = "/usr/sbin/nologin"
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Its primary group's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Its further groups; exactly these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<BTreeSet<String>>,
    /// Its home directory's path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<String>,
    /// Its login shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<String>,
    /// Its comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether it is made as a system account.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub system: bool,
    /// Whether its home directory is made with it, and goes with it where `delete = true`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub make_home: bool,
}

/// An account that is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActualAccount {
    /// Its number.
    pub uid: u32,
    /// Its primary group's name.
    pub group: String,
    /// Its further groups.
    pub groups: BTreeSet<String>,
    /// Its home directory's path.
    pub home: String,
    /// Its login shell.
    pub shell: String,
    /// Its comment.
    pub comment: String,
}

/// The longest comment: a line of /etc/passwd has to stay readable for every program.
const COMMENT_MAX_BYTES: usize = 255;

/// Returns what is wrong with the name of an account or a group: what `useradd` of Debian would refuse.
pub(super) fn check_name(field: &'static str, name: &str) -> Option<Mistake> {
    let is_first = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    let is_next = |byte: u8| is_first(byte) || byte.is_ascii_digit() || byte == b'-';
    let is_name = name.len() <= 32 && name.bytes().next().is_some_and(is_first) && name.bytes().all(is_next);
    (!is_name).then(|| {
        Mistake::new(field, format!("`{name}` is not a name of the system")).hint(
            "begin with a lower-case letter or `_`, go on with those, digits and `-`, at most 32 in all",
        )
    })
}

impl Account {
    /// Returns the op that makes the fields for which `has` holds as declared.
    fn op(&self, has: impl Fn(&str) -> bool) -> Op {
        let pick = |field: &str, value: &Option<String>| value.clone().filter(|_| has(field));
        Op::Account {
            name: self.name.clone(),
            uid: self.uid.filter(|_| has("uid")),
            group: pick("group", &self.group),
            groups: self.groups.clone().filter(|_| has("groups")),
            home: pick("home", &self.home),
            shell: pick("shell", &self.shell),
            comment: pick("comment", &self.comment),
            system: self.system,
            make_home: self.make_home,
        }
    }

    /// Returns the op that puts back what was there.
    fn back(&self, before: &ActualAccount) -> Op {
        Op::Account {
            name: self.name.clone(),
            uid: Some(before.uid),
            group: Some(before.group.clone()),
            groups: Some(before.groups.clone()),
            home: Some(before.home.clone()),
            shell: Some(before.shell.clone()),
            comment: Some(before.comment.clone()),
            system: self.system,
            make_home: false,
        }
    }
}

impl Kind for Account {
    const NAME: &'static str = "account";
    const FIELDS: &'static [&'static str] = &["uid", "group", "groups", "home", "shell", "comment"];
    const KEPT_UNLESS_DELETE: bool = true;
    type Actual = ActualAccount;

    fn name(&self) -> String {
        self.name.clone()
    }

    fn check(&self) -> Vec<Mistake> {
        let groups = self
            .groups
            .iter()
            .flatten()
            .filter_map(|group| check_name("groups", group));
        let group = self.group.as_deref().and_then(|group| check_name("group", group));
        let home = self
            .home
            .as_deref()
            .and_then(|home| path::check_path("home", home));
        let shell = self
            .shell
            .as_deref()
            .and_then(|shell| path::check_path("shell", shell));
        let comment = self.comment.as_deref().filter(|comment| {
            comment.contains(|char: char| char == ':' || char.is_control())
                || comment.len() > COMMENT_MAX_BYTES
        });
        let comment = comment.map(|_| {
            let what = "a comment holds no colon and no control characters, and at most 255 bytes";
            Mistake::new("comment", what)
        });
        check_name("name", &self.name)
            .into_iter()
            .chain(group)
            .chain(groups)
            .chain(home)
            .chain(shell)
            .chain(comment)
            .collect()
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim {
            what: format!("account:{}", self.name),
            keys: None,
        }]
    }

    fn tools(&self) -> &'static [&'static str] {
        &["useradd", "usermod", "userdel"]
    }

    fn implied(&self) -> Vec<ResourceKey> {
        let groups = self.group.iter().chain(self.groups.iter().flatten());
        let mut needs: Vec<ResourceKey> = groups.map(|group| ResourceKey::new("group", group)).collect();
        needs.extend(
            self.home
                .iter()
                .flat_map(|home| path::parents(home))
                .map(|parent| ResourceKey::new("directory", parent)),
        );
        needs
    }

    fn probes(&self) -> Vec<Probe> {
        vec![Probe::Account(self.name.clone())]
    }

    fn read(&self, answers: &[Answer]) -> Observed<ActualAccount> {
        let Answer::Text { output, status } = &answers[0] else {
            return Observed::Unknown("no answer".to_owned());
        };
        if *status != 0 {
            return Observed::Unknown(format!("status {status}: {}", output.trim()));
        }
        if output.trim().is_empty() {
            return Observed::Absent;
        }
        match read_lines(output) {
            Some(actual) => Observed::Present(actual),
            None => Observed::Unknown("its line of /etc/passwd cannot be read".to_owned()),
        }
    }

    fn compare(&self, actual: &ActualAccount, _context: &Context<'_>) -> Vec<FieldChange> {
        let joined = |groups: &BTreeSet<String>| groups.iter().cloned().collect::<Vec<_>>().join(",");
        let pairs = [
            ("uid", self.uid.map(|uid| uid.to_string()), actual.uid.to_string()),
            ("group", self.group.clone(), actual.group.clone()),
            ("groups", self.groups.as_ref().map(joined), joined(&actual.groups)),
            ("home", self.home.clone(), actual.home.clone()),
            ("shell", self.shell.clone(), actual.shell.clone()),
            ("comment", self.comment.clone(), actual.comment.clone()),
        ];
        pairs
            .into_iter()
            .filter_map(|(field, wanted, there)| {
                let wanted = wanted.filter(|wanted| *wanted != there)?;
                Some(FieldChange::text(field, there, wanted))
            })
            .collect()
    }

    fn ops(&self, step: &Step<'_, ActualAccount>) -> Vec<Op> {
        match step.action {
            Action::Create | Action::Replace => vec![self.op(|_| true)],
            Action::Update => vec![self.op(|field| step.has(field))],
            Action::Delete => vec![Op::RemoveAccount {
                name: self.name.clone(),
                home: self.make_home,
            }],
            Action::Forget => Vec::new(),
        }
    }

    fn undo(&self, step: &Step<'_, ActualAccount>) -> Undo {
        match (step.action, step.before) {
            (Action::Update, Observed::Present(before)) => Undo::Exact(vec![self.back(before)]),
            (Action::Delete, _) => {
                Undo::Impossible("a deleted account's password and home do not come back".to_owned())
            }
            _ => Undo::Inverse {
                ops: vec![Op::RemoveAccount {
                    name: self.name.clone(),
                    home: false,
                }],
                loses: "the number that it was given; a home that was made stays".to_owned(),
            },
        }
    }

    fn never_deleted(&self) -> Option<String> {
        (self.name == "root").then(|| "the account of root is never deleted".to_owned())
    }
}

/// Reads the answer's three lines (see [`Probe::Account`]).
fn read_lines(output: &str) -> Option<ActualAccount> {
    let mut lines = output.lines();
    let fields: Vec<&str> = lines.next()?.split(':').collect();
    let [_, _, uid, _, comment, home, shell] = fields.as_slice() else {
        return None;
    };
    let groups = lines
        .next()
        .unwrap_or_default()
        .split(',')
        .filter(|group| !group.is_empty());
    let groups = groups.map(str::to_owned).collect();
    let group = lines.next().filter(|group| !group.is_empty())?.to_owned();
    let (home, shell, comment) = ((*home).to_owned(), (*shell).to_owned(), (*comment).to_owned());
    Some(ActualAccount {
        uid: uid.parse().ok()?,
        group,
        groups,
        home,
        shell,
        comment,
    })
}
