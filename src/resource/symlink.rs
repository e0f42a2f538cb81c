//! A symbolic link.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::change::{Action, FieldChange, Undo};
use crate::model::id::ResourceKey;
use crate::model::observation::{Answer, Observed};
use crate::model::op::{ContentWanted, Op, Probe};

use super::{Claim, Context, Kind, Mistake, Step, path};

/// A symbolic link. Where it points to need not be there.
///
/// ```toml
/// [[symlink]]
/// path = "/etc/localtime"
/// to   = "/usr/share/zoneinfo/UTC"
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Symlink {
    /// The absolute path of the link.
    pub path: String,
    /// What it points to, as it is written into the link.
    pub to: String,
}

/// What is at a link's path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActualSymlink {
    /// What it is: `link`, or what stands in its way.
    pub kind: String,
    /// Where it points to; empty where it is no link.
    pub to: String,
}

impl Kind for Symlink {
    const NAME: &'static str = "symlink";
    const FIELDS: &'static [&'static str] = &["type", "to"];
    type Actual = ActualSymlink;

    fn name(&self) -> String {
        self.path.clone()
    }

    fn check(&self) -> Vec<Mistake> {
        let is_odd = self.to.is_empty() || self.to.chars().any(char::is_control);
        let to = (is_odd || self.to.len() > path::PATH_MAX_BYTES).then(|| {
            let what = "a link must point to something, without control characters, in at most 4095 bytes";
            Mistake::new("to", what)
        });
        path::check_path("path", &self.path)
            .into_iter()
            .chain(to)
            .collect()
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim {
            what: self.path.clone(),
            keys: None,
        }]
    }

    fn implied(&self) -> Vec<ResourceKey> {
        path::parents(&self.path)
            .map(|parent| ResourceKey::new("directory", parent))
            .collect()
    }

    fn probes(&self) -> Vec<Probe> {
        vec![Probe::Path {
            path: self.path.clone(),
            content: ContentWanted::None,
        }]
    }

    fn read(&self, answers: &[Answer]) -> Observed<ActualSymlink> {
        path::observed(&answers[0], |answer| {
            let to = if answer.kind == "link" {
                answer.get("to")?.to_owned()
            } else {
                String::new()
            };
            Ok(ActualSymlink {
                kind: answer.kind.clone(),
                to,
            })
        })
    }

    fn compare(&self, actual: &ActualSymlink, _context: &Context<'_>) -> Vec<FieldChange> {
        match (actual.kind.as_str(), actual.to == self.to) {
            ("link", true) => Vec::new(),
            ("link", false) => vec![FieldChange::text("to", actual.to.as_str(), self.to.as_str())],
            (other, _) => vec![FieldChange::text("type", other, "link")],
        }
    }

    fn immutable<'a>(&self, fields: &'a [FieldChange]) -> Option<&'a FieldChange> {
        fields.iter().find(|change| change.field == "type")
    }

    fn ops(&self, step: &Step<'_, ActualSymlink>) -> Vec<Op> {
        let path = self.path.clone();
        match step.action {
            Action::Create | Action::Update | Action::Replace => vec![Op::Link {
                path,
                to: self.to.clone(),
            }],
            Action::Delete => vec![path::remove(
                path,
                step.before.present().map(|actual| actual.kind.as_str()),
            )],
            Action::Forget => Vec::new(),
        }
    }

    fn undo(&self, _step: &Step<'_, ActualSymlink>) -> Undo {
        path::restored(&self.path)
    }

    fn never_deleted(&self) -> Option<String> {
        path::identity(&self.path)
    }
}
