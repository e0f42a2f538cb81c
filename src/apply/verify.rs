//! Whether a change came about: what is there now against what was wanted. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use regex::Regex;

use crate::model::body::Body;
use crate::model::change::{Action, Change, FieldChange, Shown};
use crate::model::digest::{Digest, Fingerprint};
use crate::model::id::{OutputRef, ResourceId};
use crate::model::known::Known;
use crate::model::manifest::{Owned, OwnedState};
use crate::model::observation::{Answer, Observed};
use crate::model::op::Op;
use crate::model::secret::Secret;
use crate::model::undo::Back;
use crate::ports::{Salt, Secrets};
use crate::resource::{Actual, Consumed, Context, Spec};

use super::entry::{self, Seen};

/// Values that other resources produced.
pub(super) type Outputs = BTreeMap<ResourceId, BTreeMap<String, String>>;

/// What a comparison after a change needs beside the answers.
#[derive(Clone, Copy)]
pub(super) struct Means<'a> {
    /// Outputs of all hosts.
    pub(super) outputs: &'a Outputs,
    /// Values of secrets.
    pub(super) secrets: &'a Secrets,
    /// The host's salt.
    pub(super) salt: &'a Salt,
    /// What the manifest says of the resource.
    pub(super) owned: Option<&'a Owned>,
    /// Whether the ops were seen to be done; if not, only what is there can tell.
    pub(super) is_seen: bool,
}

/// Returns what is there after a change, or why it is not what the change was to bring about.
pub(super) fn verify(change: &Change, answers: &[Answer], means: Means<'_>) -> Result<Seen, String> {
    let spec = Spec::decode(change.target.key.kind.as_str(), &change.spec)?;
    let observed = spec.read(answers);
    let after = spec.seen(&observed);
    if let Some(back) = &change.back {
        return taken_back(back, &observed, after);
    }
    match (change.action, &observed) {
        (_, Observed::Unknown(why)) => Err(format!("was applied, but could not be read again: {why}")),
        (Action::Forget, _) | (Action::Delete, Observed::Absent) => Ok(Seen {
            after,
            outputs: BTreeMap::new(),
            invocation: None,
        }),
        (Action::Delete, Observed::Present(actual)) if is_gone(change, &spec, actual, means) => Ok(Seen {
            after,
            outputs: BTreeMap::new(),
            invocation: None,
        }),
        (Action::Delete, Observed::Present(_)) => Err("was deleted, but is still there".to_owned()),
        (Action::Create | Action::Update | Action::Replace, Observed::Absent) => {
            Err("was applied, but is not there".to_owned())
        }
        (Action::Create | Action::Update | Action::Replace, Observed::Present(actual)) => {
            settled(change, &spec, actual, means)?;
            if !means.is_seen && entry::restarts(change) && !has_restarted(change, &spec, actual, means.owned)
            {
                return Err("nobody has seen it restart".to_owned());
            }
            let outputs = outputs(&spec, actual)?;
            Ok(Seen {
                after,
                outputs,
                invocation: spec.invocation(actual),
            })
        }
    }
}

fn is_gone(change: &Change, spec: &Spec, actual: &Actual, means: Means<'_>) -> bool {
    let owned = means.owned.map(|owned| &owned.made_keys);
    spec.is_gone(actual, owned.unwrap_or(&change.keep.made_keys))
}

/// Says whether a restart is seen to have happened, where nobody saw it happen.
///
/// Nothing that is there tells a unit that was restarted from one that was not; only the start itself does. The intent that was
/// written before holds the start that was to be replaced; the entry that is written after holds the new one.
fn has_restarted(change: &Change, spec: &Spec, actual: &Actual, owned: Option<&Owned>) -> bool {
    let Some((owned, started)) = owned.and_then(|owned| Some((owned, owned.started_with.as_ref()?))) else {
        return false;
    };
    let is_same = spec.invocation(actual).as_ref() == Some(&started.invocation);
    match owned.state {
        OwnedState::Intent => !is_same,
        OwnedState::Done => is_same && Some(&started.consumed) == change.keep.consumed.as_ref(),
    }
}

/// A change that takes another back is held against what was there before that one, and not against what was wanted.
fn taken_back(back: &Back, observed: &Observed<Actual>, after: Digest) -> Result<Seen, String> {
    if let Observed::Unknown(why) = observed {
        return Err(format!("was taken back, but could not be read again: {why}"));
    }
    if !back.is_reached(&after) {
        return Err(format!(
            "was taken back, but is not as it was before run {}",
            back.run
        ));
    }
    Ok(Seen {
        after,
        outputs: BTreeMap::new(),
        invocation: None,
    })
}

fn settled(change: &Change, spec: &Spec, actual: &Actual, means: Means<'_>) -> Result<(), String> {
    let known = known(spec, means);
    let started_with = entry::started_with(
        &change.keep,
        means.owned,
        spec.invocation(actual).as_deref(),
        None,
    );
    // The change is over: what a kind does about one that never ended is not asked here.
    let owned = Owned {
        started_with,
        state: OwnedState::Done,
        ..entry::intent(change, means.owned, None)
    };
    let consumed = change.keep.consumed.as_ref().map(|digest| Consumed {
        digest: digest.clone(),
        changed_at_secs: None,
        is_unfinished: false,
        changing: Vec::new(),
    });
    let context = Context {
        known: &known,
        owned: Some(&owned),
        consumed: consumed.as_ref(),
    };
    let fields = spec.compare(actual, &context);
    match fields.iter().find(|field| is_wanted(change, field)) {
        Some(field) => Err(format!(
            "was applied but is still not as declared: {}",
            field.field
        )),
        None => Ok(()),
    }
}

/// Says whether a field that still differs should not. An update was to mend the fields that it shows, and others may be
/// ignored on purpose; a value that nobody knows here cannot be judged.
fn is_wanted(change: &Change, field: &FieldChange) -> bool {
    let is_shown = change.fields.iter().any(|shown| shown.field == field.field);
    // A new file of a unit is read only by this, whatever the host says that it did.
    let is_brought = field.field == "loaded" && change.ops.contains(&Op::ReloadUnits);
    let is_judged = !matches!(field.after, Shown::Pending(_));
    is_judged && (is_shown || is_brought || change.action != Action::Update)
}

fn known(spec: &Spec, means: Means<'_>) -> Known {
    let flat = means.outputs.iter().flat_map(|(resource, values)| {
        values.iter().map(|(output, value)| {
            let output = OutputRef {
                resource: resource.clone(),
                output: output.clone(),
            };
            (output, value.clone())
        })
    });
    let mut known = Known {
        outputs: Arc::new(flat.collect()),
        ..Known::default()
    };
    let bodies: Vec<Body> = spec
        .printed()
        .into_iter()
        .map(|body| known.with_outputs(body))
        .collect();
    known.prints = bodies.iter().filter_map(|body| print(body, means)).collect();
    known
}

fn print(body: &Body, means: Means<'_>) -> Option<(Digest, Fingerprint)> {
    let value =
        |secret: &crate::model::secret::SecretRef| means.secrets.get(&secret.source).map(Secret::reveal);
    let text = zeroize::Zeroizing::new(body.fill(value).ok()?);
    Some((body.digest(), Fingerprint::of(&means.salt.0, text.as_bytes())))
}

/// Reads the outputs and holds each to its pattern: what fills other files must be what it claims to be.
fn outputs(spec: &Spec, actual: &Actual) -> Result<BTreeMap<String, String>, String> {
    let outputs: BTreeMap<String, String> = spec.outputs(actual).into_iter().collect();
    for (name, pattern) in spec.declared_outputs() {
        let value = outputs
            .get(&name)
            .ok_or_else(|| format!("was applied, but produced no output `{name}`"))?;
        let whole = Regex::new(&format!("^(?:{pattern})$"))
            .map_err(|_| format!("the pattern of its output `{name}` cannot be read"))?;
        if !whole.is_match(value) {
            return Err(format!(
                "was applied, but its output `{name}` does not fit its pattern `{pattern}`"
            ));
        }
    }
    Ok(outputs)
}
