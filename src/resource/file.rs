//! A file whose whole content muster owns.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::body::Body;
use crate::model::change::{Action, FieldChange, Undo};
use crate::model::digest::Digest;
use crate::model::id::ResourceKey;
use crate::model::known::Comparable;
use crate::model::manifest::Owned;
use crate::model::observation::{Answer, Observed};
use crate::model::op::{ContentWanted, Op, Probe};

use super::path::{self, Attributes, Content};
use super::{Claim, Context, Kind, Mistake, Step, veil};

/// A file whose whole content muster owns.
///
/// ```toml
/// [[file]]
/// path     = "/etc/app.toml"
/// template = "app.toml.j2"      # or `content`, or `source` for a file under the module's `files/`
/// mode     = "0640"
/// validate = "app --check {}"   # must succeed before the file is moved in place
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// The absolute path.
    pub path: String,
    /// The whole content. In a module one of `content`, `template` and `source` gives it.
    pub content: Body,
    /// The owner's name, or a number, whether an account has it or not.
    #[serde(default = "root")]
    pub owner: String,
    /// The group's name, or a number.
    #[serde(default = "root")]
    pub group: String,
    /// The mode, four octal digits.
    #[serde(default = "mode_0644")]
    pub mode: String,
    /// A shell command that must exit 0 before the file is moved in place; `{}` stands for the new file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validate: Option<String>,
    /// Whether the content is never shown, even where it holds no declared secret.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sensitive: bool,
}

/// Returns the default owner and group.
pub(super) fn root() -> String {
    "root".to_owned()
}

fn mode_0644() -> String {
    "0644".to_owned()
}

/// What is at a file's path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActualFile {
    /// What it is: `file`, or what stands in its way.
    pub kind: String,
    /// Owner, group, mode.
    pub attributes: Attributes,
    /// Its content; `None` where it is no file.
    pub content: Option<Content>,
}

impl File {
    fn is_secret(&self) -> bool {
        self.sensitive || self.content.is_sensitive()
    }

    fn attributes(&self) -> Attributes {
        Attributes {
            owner: self.owner.clone(),
            group: self.group.clone(),
            mode: self.mode.clone(),
        }
    }

    fn write(&self, attributes: Attributes) -> Op {
        Op::WriteFile {
            path: self.path.clone(),
            body: self.content.clone(),
            owner: attributes.owner,
            group: attributes.group,
            mode: attributes.mode,
            validate: self.validate.clone(),
        }
    }
}

impl Kind for File {
    const NAME: &'static str = "file";
    const FIELDS: &'static [&'static str] = &["type", "content", "owner", "group", "mode"];
    type Actual = ActualFile;

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
        let content = if self.is_secret() {
            ContentWanted::Print
        } else {
            ContentWanted::Text
        };
        vec![Probe::Path {
            path: self.path.clone(),
            content,
        }]
    }

    fn veil(
        &self,
        owned: Option<&Owned>,
        answers: &[Answer],
        salt: Option<&[u8]>,
        seen: &dyn Fn() -> Digest,
    ) -> Option<Vec<Answer>> {
        let (answer, wanted) = (answers.first()?, self.content.plain().unwrap_or_default());
        if veil::is_as_declared(answer, wanted) {
            return None;
        }
        let former = owned.and_then(|owned| Self::deserialize(&owned.spec).ok());
        let former = former
            .as_ref()
            .and_then(|file| file.content.plain())
            .unwrap_or_default();
        veil::answer(answer, &self.path, &[wanted, former], salt, seen).map(|answer| vec![answer])
    }

    fn digest(&self, actual: &ActualFile) -> Digest {
        let seen = actual.content.as_ref().and_then(Content::seen);
        seen.cloned().unwrap_or_else(|| Digest::of_value(actual))
    }

    fn read(&self, answers: &[Answer]) -> Observed<ActualFile> {
        path::observed(&answers[0], |answer| {
            let content = (answer.kind == "file").then(|| answer.content()).transpose()?;
            Ok(ActualFile {
                attributes: answer.attributes_like(&self.attributes())?,
                content,
                kind: answer.kind.clone(),
            })
        })
    }

    fn compare(&self, actual: &ActualFile, context: &Context<'_>) -> Vec<FieldChange> {
        let Some(content) = &actual.content else {
            return vec![FieldChange::text("type", actual.kind.as_str(), "file")];
        };
        let wanted = match context.known.comparable(&self.content) {
            // A sensitive file without declared secrets is printed on the host all the same.
            Comparable::Text(text) if self.is_secret() => context
                .known
                .prints
                .get(&Body::text(text).digest())
                .cloned()
                .map_or(Comparable::Unresolved, Comparable::Print),
            other => other,
        };
        let was_secret = context.former().is_some_and(|former: Self| former.is_secret());
        let mut fields: Vec<FieldChange> = content
            .differs("content", &wanted)
            .into_iter()
            .map(|change| path::hidden(change, was_secret))
            .collect();
        fields.extend(path::compare_attributes(&self.attributes(), &actual.attributes));
        fields
    }

    fn immutable<'a>(&self, fields: &'a [FieldChange]) -> Option<&'a FieldChange> {
        fields.iter().find(|change| change.field == "type")
    }

    fn ops(&self, step: &Step<'_, ActualFile>) -> Vec<Op> {
        match step.action {
            Action::Create | Action::Replace => vec![self.write(self.attributes())],
            Action::Update => {
                let there = step.before.present().map(|actual| &actual.attributes);
                let attributes = path::merged_attributes(&self.attributes(), there, |field| step.has(field));
                if step.has("content") {
                    return vec![self.write(attributes)];
                }
                let Attributes { owner, group, mode } = attributes;
                vec![Op::SetAttributes {
                    path: self.path.clone(),
                    owner,
                    group,
                    mode,
                }]
            }
            Action::Delete => {
                let kind = step.before.present().map(|actual| actual.kind.as_str());
                vec![path::remove(self.path.clone(), kind)]
            }
            Action::Forget => Vec::new(),
        }
    }

    fn undo(&self, _step: &Step<'_, ActualFile>) -> Undo {
        path::restored(&self.path)
    }

    fn never_deleted(&self) -> Option<String> {
        path::identity(&self.path)
    }

    fn printed(&self) -> Vec<&Body> {
        if self.is_secret() {
            vec![&self.content]
        } else {
            Vec::new()
        }
    }

    fn bodies(&self) -> Vec<&Body> {
        vec![&self.content]
    }

    fn consumed(&self) -> Digest {
        self.content.digest()
    }
}
