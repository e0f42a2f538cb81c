//! A group of accounts.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::change::{Action, FieldChange, Undo};
use crate::model::id::ResourceKey;
use crate::model::observation::{Answer, Observed};
use crate::model::op::{Op, Probe};

use super::account::check_name;
use super::{Claim, Context, Kind, Mistake, Step};

/// A group of accounts.
///
/// ```toml
/// [[group]]
/// name   = "app"
/// gid    = 900       # else as the system chooses
/// system = true      # how it is made; not compared
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its number; left to the system where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// Whether it is made as a system group.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub system: bool,
}

/// A group that is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActualGroup {
    /// Its number.
    pub gid: u32,
    /// The accounts whose primary group it is. What they are changes nothing of the group, so that no digest knows them.
    #[serde(skip)]
    pub primary_of: BTreeSet<String>,
}

impl Group {
    fn op(&self, gid: Option<u32>) -> Op {
        Op::Group {
            name: self.name.clone(),
            gid,
            system: self.system,
        }
    }
}

impl Kind for Group {
    const NAME: &'static str = "group";
    const FIELDS: &'static [&'static str] = &["gid"];
    const KEPT_UNLESS_DELETE: bool = true;
    type Actual = ActualGroup;

    fn name(&self) -> String {
        self.name.clone()
    }

    fn check(&self) -> Vec<Mistake> {
        check_name("name", &self.name).into_iter().collect()
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim {
            what: format!("group:{}", self.name),
            keys: None,
        }]
    }

    fn tools(&self) -> &'static [&'static str] {
        &["groupadd", "groupmod", "groupdel"]
    }

    fn probes(&self) -> Vec<Probe> {
        vec![Probe::Group(self.name.clone())]
    }

    fn read(&self, answers: &[Answer]) -> Observed<ActualGroup> {
        let Answer::Text { output, status } = &answers[0] else {
            return Observed::Unknown("no answer".to_owned());
        };
        if *status != 0 {
            return Observed::Unknown(format!("status {status}: {}", output.trim()));
        }
        let mut lines = output.lines();
        let line = lines.next().unwrap_or_default().trim();
        if line.is_empty() {
            return Observed::Absent;
        }
        let primary_of = lines.next().unwrap_or_default().split(',');
        let primary_of = primary_of.filter(|name| !name.is_empty()).map(str::to_owned);
        match line.split(':').nth(2).and_then(|gid| gid.parse().ok()) {
            Some(gid) => Observed::Present(ActualGroup {
                gid,
                primary_of: primary_of.collect(),
            }),
            None => Observed::Unknown("its line of /etc/group cannot be read".to_owned()),
        }
    }

    fn compare(&self, actual: &ActualGroup, _context: &Context<'_>) -> Vec<FieldChange> {
        let differs = self.gid.filter(|gid| *gid != actual.gid);
        differs
            .map(|gid| FieldChange::text("gid", actual.gid.to_string(), gid.to_string()))
            .into_iter()
            .collect()
    }

    fn ops(&self, step: &Step<'_, ActualGroup>) -> Vec<Op> {
        match step.action {
            Action::Create | Action::Update | Action::Replace => vec![self.op(self.gid)],
            Action::Delete => vec![Op::RemoveGroup {
                name: self.name.clone(),
            }],
            Action::Forget => Vec::new(),
        }
    }

    fn undo(&self, step: &Step<'_, ActualGroup>) -> Undo {
        match (step.action, step.before) {
            (Action::Update, Observed::Present(before)) => Undo::Exact(vec![self.op(Some(before.gid))]),
            (Action::Delete, Observed::Present(before)) => Undo::Inverse {
                ops: vec![self.op(Some(before.gid))],
                loses: "the accounts that were in it".to_owned(),
            },
            _ => Undo::Inverse {
                ops: vec![Op::RemoveGroup {
                    name: self.name.clone(),
                }],
                loses: "the number that it was given, and files that belong to it keep that number"
                    .to_owned(),
            },
        }
    }

    fn users(&self, actual: &ActualGroup) -> Vec<(ResourceKey, String)> {
        let why = |name: &String| format!("it is the primary group of the account {name}");
        let users = actual.primary_of.iter();
        users
            .map(|name| (ResourceKey::new("account", name), why(name)))
            .collect()
    }

    fn never_deleted(&self) -> Option<String> {
        (self.name == "root").then(|| "the group of root is never deleted".to_owned())
    }
}
