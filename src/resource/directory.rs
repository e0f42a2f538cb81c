//! A directory, with its owner and mode. What is in it is not its concern.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::change::{Action, FieldChange, Undo};
use crate::model::digest::Digest;
use crate::model::id::ResourceKey;
use crate::model::observation::{Answer, Observed};
use crate::model::op::{ContentWanted, Op, Probe};

use super::path::{self, Attributes};
use super::{Claim, Context, Kind, Mistake, Step};

/// A directory, with its owner and mode. What is in it is not its concern: it is removed only when it is empty.
///
/// ```toml
/// [[directory]]
/// path  = "/srv/app"
/// owner = "app"
/// group = "app"
/// mode  = "0750"
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Directory {
    /// The absolute path. Its parent must be there, or be declared.
    pub path: String,
    /// The owner's name, or a number, whether an account has it or not.
    #[serde(default = "super::file::root")]
    pub owner: String,
    /// The group's name, or a number.
    #[serde(default = "super::file::root")]
    pub group: String,
    /// The mode, four octal digits.
    #[serde(default = "mode_0755")]
    pub mode: String,
    /// Whether an identity lies in it: keys, what a validator has signed. It is never deleted then, and containers of others that mount
    /// it are named in plans.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub identity: bool,
}

fn mode_0755() -> String {
    "0755".to_owned()
}

/// What is at a directory's path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActualDirectory {
    /// What it is: `directory`, or what stands in its way.
    pub kind: String,
    /// Owner, group, mode.
    pub attributes: Attributes,
    /// How many things are in it. No part of what is compared.
    #[serde(skip)]
    pub entries: u64,
}

impl Directory {
    fn attributes(&self) -> Attributes {
        Attributes {
            owner: self.owner.clone(),
            group: self.group.clone(),
            mode: self.mode.clone(),
        }
    }
}

impl Kind for Directory {
    const NAME: &'static str = "directory";
    const FIELDS: &'static [&'static str] = &["type", "owner", "group", "mode"];
    type Actual = ActualDirectory;

    fn name(&self) -> String {
        self.path.clone()
    }

    fn check(&self) -> Vec<Mistake> {
        path::check_path("path", &self.path)
            .into_iter()
            .chain(path::check_mode(&self.mode))
            .collect()
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim {
            what: self.path.clone(),
            keys: None,
        }]
    }

    fn implied(&self) -> Vec<ResourceKey> {
        path::implied(&self.path, &self.owner, &self.group)
    }

    fn probes(&self) -> Vec<Probe> {
        vec![Probe::Path {
            path: self.path.clone(),
            content: ContentWanted::None,
        }]
    }

    fn read(&self, answers: &[Answer]) -> Observed<ActualDirectory> {
        path::observed(&answers[0], |answer| {
            Ok(ActualDirectory {
                attributes: answer.attributes_like(&self.attributes())?,
                kind: answer.kind.clone(),
                entries: answer
                    .get("entries")
                    .ok()
                    .and_then(|n| n.parse().ok())
                    .unwrap_or(0),
            })
        })
    }

    fn compare(&self, actual: &ActualDirectory, _context: &Context<'_>) -> Vec<FieldChange> {
        if actual.kind != Self::NAME {
            return vec![FieldChange::text("type", actual.kind.as_str(), Self::NAME)];
        }
        path::compare_attributes(&self.attributes(), &actual.attributes)
    }

    fn immutable<'a>(&self, fields: &'a [FieldChange]) -> Option<&'a FieldChange> {
        fields.iter().find(|change| change.field == "type")
    }

    fn ops(&self, step: &Step<'_, ActualDirectory>) -> Vec<Op> {
        let path = self.path.clone();
        match step.action {
            Action::Create | Action::Replace => {
                let Attributes { owner, group, mode } = self.attributes();
                vec![Op::MakeDirectory {
                    path,
                    owner,
                    group,
                    mode,
                }]
            }
            Action::Update => {
                let there = step.before.present().map(|actual| &actual.attributes);
                let merged = path::merged_attributes(&self.attributes(), there, |field| step.has(field));
                let Attributes { owner, group, mode } = merged;
                vec![Op::SetAttributes {
                    path,
                    owner,
                    group,
                    mode,
                }]
            }
            Action::Delete => vec![path::remove(
                path,
                step.before.present().map(|actual| actual.kind.as_str()),
            )],
            Action::Forget => Vec::new(),
        }
    }

    fn undo(&self, _step: &Step<'_, ActualDirectory>) -> Undo {
        path::restored(&self.path)
    }

    fn holds(&self, actual: &ActualDirectory) -> u64 {
        actual.entries
    }

    fn never_deleted(&self) -> Option<String> {
        let is_said = || {
            let why = format!("`{}` holds an identity, which muster never deletes", self.path);
            self.identity.then_some(why)
        };
        path::identity(&self.path).or_else(is_said)
    }

    fn consumed(&self) -> Digest {
        Digest::of(&self.path)
    }
}
