//! Changes: what a plan does to one resource, and why.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::diagnostic::Place;
use super::digest::{Digest, Fingerprint};
use super::engine::EngineOp;
use super::gate::Gate;
use super::id::{ModuleName, OutputRef, ResourceId, ResourceKey, RunId};
use super::manifest::Owned;
use super::op::{Op, Probe, UnitVerb};
use super::undo::Back;

/// What is done to one resource. A plan has at most one for each, so the resource's id names the change too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The resource.
    pub target: ResourceId,
    /// What is done.
    pub action: Action,
    /// What differs, in the order of the kind's fields.
    pub fields: Vec<FieldChange>,
    /// Why, at least one.
    pub reasons: Vec<Reason>,
    /// Changes of this plan that come first.
    pub needs: BTreeSet<ResourceId>,
    /// What the change does to those who use the host meanwhile.
    pub disruption: Disruption,
    /// The steps, in order.
    pub ops: Vec<Op>,
    /// How it is undone.
    pub undo: Undo,
    /// What is looked at to tell what is there, before and after.
    pub probes: Vec<Probe>,
    /// What is wanted, in its kind's own form, and as the manifest will hold it. For a deletion what was wanted last.
    pub spec: serde_json::Value,
    /// The entry's further fields in the manifest.
    pub keep: Keep,
    /// What the manifest says of it now, under its own name or under [`Keep::moved_from`]: what an undo puts back there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<Owned>,
    /// What comes back, if this takes a change of an earlier run back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back: Option<Back>,
    /// What must hold after the change, before what needs it begins.
    pub gates: Vec<Gate>,
    /// The modules that declare it.
    pub modules: BTreeSet<ModuleName>,
    /// Where it is declared.
    pub origins: Vec<Place>,
}

impl Change {
    /// Says whether it alters what a consumer reads, and not only who may read it.
    pub fn changes_content(&self) -> bool {
        let only_attributes = |field: &str| ["owner", "group", "mode"].contains(&field);
        match self.action {
            Action::Create | Action::Replace | Action::Delete => true,
            Action::Update => self.fields.iter().any(|field| !only_attributes(&field.field)),
            Action::Forget => false,
        }
    }

    /// Says whether all that it does is brief, so that it may be made in a row with its neighbours.
    pub fn is_brief(&self) -> bool {
        self.ops.iter().all(Op::is_brief)
    }
}

/// What the manifest will hold of a changed resource, beside its spec.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Keep {
    /// Whether it will count as made: created now, or made before.
    pub is_made: bool,
    /// What it needs.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub needs: BTreeSet<ResourceId>,
    /// Whether deletion and replacement are refused.
    #[serde(default)]
    pub protect: bool,
    /// Whether it may be deleted though its kind is otherwise kept.
    #[serde(default)]
    pub delete: bool,
    /// The digest of what it consumes at its start, if it starts something.
    #[serde(default)]
    pub consumed: Option<Digest>,
    /// Whether this change starts or restarts it, so that `consumed` becomes what it started with.
    #[serde(default)]
    pub starts: bool,
    /// The name under which the manifest knows it so far, if that is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_from: Option<ResourceKey>,
    /// The keys of a shared file that this change makes, or that muster made before.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub made_keys: BTreeSet<String>,
}

/// What is done to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is not there and will be.
    Create,
    /// It is there and changes in place.
    Update,
    /// It goes and comes again.
    Replace,
    /// It goes.
    Delete,
    /// It stays, and muster no longer owns it.
    Forget,
}

impl Action {
    /// Returns the glyph that stands for the action everywhere.
    pub fn glyph(self) -> &'static str {
        match self {
            Self::Create => "+",
            Self::Update => "~",
            Self::Replace => "-/+",
            Self::Delete => "-",
            Self::Forget => ".",
        }
    }
}

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldChange {
    /// The field, as its kind names it.
    pub field: String,
    /// What is there.
    pub before: Shown,
    /// What will be there.
    pub after: Shown,
}

impl FieldChange {
    /// Makes a change between two plain texts.
    pub fn text(field: &str, before: impl Into<String>, after: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            before: Shown::Text(before.into()),
            after: Shown::Text(after.into()),
        }
    }
}

/// A value as people may see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    /// There is none.
    Nothing,
    /// Text in the clear.
    Text(String),
    /// A secret, by its print.
    Secret(Fingerprint),
    /// Something that cannot be shown: binary, too long, or a secret without a print. Says what it is.
    Opaque(String),
    /// A value that is known only after another change.
    Pending(OutputRef),
}

/// Why something is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It is declared and not there.
    Missing,
    /// It is there and differs from what is declared, and muster did not leave it so: somebody changed it since.
    Drifted,
    /// What is declared has changed, or it was never as declared.
    Differs,
    /// It was there before muster, and is not as declared.
    Foreign,
    /// It is no longer declared.
    Undeclared,
    /// It is no longer declared, and its kind is kept unless the resource said `delete = true`.
    Kept,
    /// It is no longer declared, and it is gone already.
    Gone,
    /// It is no longer declared, and muster only found it.
    Found,
    /// It consumes what this plan changes.
    Consumes(Vec<ResourceId>),
    /// What it consumes has changed since it was last started.
    StartedWithOld,
    /// What this plan changes wipes it.
    LostOn(Vec<ResourceId>),
    /// An earlier run began this change and did not see its end.
    Unfinished,
    /// Its kind cannot change this field in place.
    Immutable(String),
    /// It is no longer declared, and holds what muster did not make.
    NotEmpty,
    /// A run changed it, and that is taken back.
    TakenBack(RunId),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |ids: &[ResourceId]| {
            ids.iter()
                .map(|id| id.key.to_string())
                .collect::<Vec<_>>()
                .join(", ")
        };
        match self {
            Self::Missing => f.write_str("it is not there"),
            Self::Drifted => f.write_str("somebody changed it since muster did"),
            Self::Differs => f.write_str("it is not as declared"),
            Self::Foreign => f.write_str("it was there before muster, and is not as declared"),
            Self::Undeclared => f.write_str("it is no longer declared"),
            Self::Kept => f.write_str("it is no longer declared, and is kept without `delete = true`"),
            Self::Gone => f.write_str("it is no longer declared, and is gone already"),
            Self::Found => f.write_str("it is no longer declared, and was there before muster"),
            Self::Consumes(ids) => write!(f, "it consumes {}", list(ids)),
            Self::StartedWithOld => f.write_str("it runs with what it consumed before the last change"),
            Self::LostOn(ids) => write!(f, "it is lost when {} changes", list(ids)),
            Self::Unfinished => f.write_str("an earlier run began it and did not see its end"),
            Self::Immutable(field) => write!(f, "`{field}` cannot change in place"),
            Self::NotEmpty => f.write_str("it is no longer declared, and holds what muster did not make"),
            Self::TakenBack(run) => write!(f, "it takes back what run {run} did"),
        }
    }
}

/// What a change does to those who use the host meanwhile, from the least to the most.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disruption {
    /// Nothing that anybody notices.
    None,
    /// A service stops for a moment, or for good. Names it.
    Service(String),
    /// The whole host.
    Host,
}

/// How a change is undone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undo {
    /// These ops bring back exactly what was there.
    Exact(Vec<Op>),
    /// These ops bring back what matters, and lose what is named.
    Inverse {
        /// The steps, in order.
        ops: Vec<Op>,
        /// What is not brought back.
        loses: String,
    },
    /// It cannot be undone, and why.
    Impossible(String),
}

impl Undo {
    /// Returns the steps; `None` where it cannot be undone.
    pub fn ops(&self) -> Option<&[Op]> {
        match self {
            Self::Exact(ops) | Self::Inverse { ops, .. } => Some(ops),
            Self::Impossible(_) => None,
        }
    }

    /// Says whether the undo starts something, or lets it read its configuration again: what it consumes comes back first.
    pub fn starts(&self) -> bool {
        let starts = |op: &Op| match op {
            Op::ControlUnit { verb, .. } => *verb != UnitVerb::Stop,
            Op::Engine(EngineOp::Container { .. } | EngineOp::Once { .. }) => true,
            _ => false,
        };
        self.ops().is_some_and(|ops| ops.iter().any(starts))
    }
}
