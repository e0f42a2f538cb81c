//! Whether a host still is what the plan saw. Pure: a basis against a reply.

use crate::model::change::{Change, FieldChange};
use crate::model::digest::Digest;
use crate::model::id::{HostId, RunId};
use crate::model::known::Known;
use crate::model::manifest::{Manifest, ManifestState};
use crate::model::observation::Observed;
use crate::model::plan::{Basis, Plan};
use crate::ports::LookReply;
use crate::resource::{Actual, Context, Spec};

/// How far this run itself may have changed what is seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trust<'a> {
    /// The run.
    pub(super) run: &'a RunId,
    /// Whether it has changed something on the host.
    pub(super) is_touched: bool,
    /// Whether it holds the host's lock, and so has perhaps made the host's salt and manifest.
    pub(super) is_locked: bool,
}

/// Returns what is not as the plan saw it, each as a clause with its subject; empty where all is.
pub(super) fn stale(
    plan: &Plan,
    host: &HostId,
    changes: &[&Change],
    reply: &LookReply,
    trust: Trust<'_>,
) -> Vec<String> {
    let unknown = Basis::default();
    let basis = plan.basis.get(host).unwrap_or(&unknown);
    // A host that is changed nowhere in the plan rests on nothing; what is recorded there was seen when planning.
    let is_based = plan.basis.contains_key(host);
    let mut stale: Vec<String> = Vec::new();
    stale.extend(manifest(basis, &reply.manifest, trust).filter(|_| is_based));
    if !trust.is_touched {
        stale.extend(facts(basis, reply));
    }
    stale.extend(
        reply
            .machine
            .missing_tools
            .iter()
            .map(|tool| format!("`{tool}` is missing")),
    );
    stale.extend(
        changes
            .iter()
            .filter_map(|change| resource(basis, change, reply, trust)),
    );
    stale
}

/// Names the facts that templates read and that are others now.
fn facts(basis: &Basis, reply: &LookReply) -> Vec<String> {
    let now = reply
        .facts
        .as_ref()
        .map(|facts| facts.digests(basis.facts.keys()))
        .unwrap_or_default();
    let changed = basis
        .facts
        .iter()
        .filter(|(name, digest)| now.get(*name) != Some(*digest));
    changed
        .map(|(name, _)| format!("facts: `{name}` has changed"))
        .collect()
}

fn manifest(basis: &Basis, state: &ManifestState, trust: Trust<'_>) -> Option<String> {
    let manifest = match (state, &basis.lineage) {
        (ManifestState::Unreadable(why), _) => return Some(format!("manifest: {why}")),
        (ManifestState::Absent, None) => return None,
        (ManifestState::Absent, Some(_)) => {
            return Some("manifest: it is gone; the host was reinstalled or wiped".to_owned());
        }
        (ManifestState::Present(manifest), _) => manifest,
    };
    if manifest.last_run.as_ref() == Some(trust.run) {
        return None;
    }
    match &basis.lineage {
        // A lock makes an empty manifest before anything is changed.
        None if manifest.generation == 0 && manifest.owned.is_empty() => None,
        None => Some(format!(
            "manifest: it is there, and was not; {}",
            writer(manifest)
        )),
        Some(lineage) if *lineage != manifest.lineage => {
            Some("manifest: it is another one; the host was reinstalled or exchanged".to_owned())
        }
        Some(_) if manifest.generation != basis.generation => {
            Some(format!("manifest: it has changed since; {}", writer(manifest)))
        }
        Some(_) => None,
    }
}

fn writer(manifest: &Manifest) -> String {
    match &manifest.last_run {
        Some(run) => format!("run {run} wrote it"),
        None => "no run says that it wrote it".to_owned(),
    }
}

/// Compares one resource with the plan's look.
///
/// On a host that this run has changed already a difference says nothing: a package that was installed brings files along, and
/// nobody can tell these from an edit by hand. The lock keeps other runs out meanwhile; ops are declarative, so the
/// outcome is the declared one. What cannot be read is held even so.
fn resource(basis: &Basis, change: &Change, reply: &LookReply, trust: Trust<'_>) -> Option<String> {
    let key = &change.target.key;
    let spec = match Spec::decode(key.kind.as_str(), &change.spec) {
        Ok(spec) => spec,
        Err(why) => return Some(format!("{key}: {why}")),
    };
    let observed = spec.read(reply.answers.get(key).map_or(&[][..], Vec::as_slice));
    if let Observed::Unknown(why) = &observed {
        return Some(format!("{key}: could not be read: {why}"));
    }
    // The lock gave the host a salt, so what was opaque when planning now has a print.
    let is_newly_salted = trust.is_locked && basis.lineage.is_none() && spec.is_salted();
    if trust.is_touched || is_newly_salted {
        return None;
    }
    let wanted = basis.seen.get(key)?;
    (spec.seen(&observed) != *wanted)
        .then(|| format!("{key}: {}", difference(change, &spec, &observed, wanted)))
}

fn difference(change: &Change, spec: &Spec, observed: &Observed<Actual>, wanted: &Digest) -> String {
    let actual = match observed {
        Observed::Absent | Observed::Unknown(_) => return "it is gone".to_owned(),
        Observed::Present(_) if *wanted == spec.seen(&Observed::Absent) => {
            return "it is there, and was not".to_owned();
        }
        Observed::Present(actual) => actual,
    };
    let known = Known::default();
    let now = spec.compare(
        actual,
        &Context {
            known: &known,
            owned: None,
            consumed: None,
        },
    );
    let fields = moved_fields(&change.fields, &now);
    match fields.as_slice() {
        [] => "it differs from what the plan saw".to_owned(),
        [field] => format!("{field} differs from what the plan saw"),
        fields => format!("{} differ from what the plan saw", fields.join(", ")),
    }
}

/// Returns the fields whose present value is not the one that the plan shows.
fn moved_fields<'a>(then: &'a [FieldChange], now: &'a [FieldChange]) -> Vec<&'a str> {
    let find = |fields: &'a [FieldChange], name: &str| fields.iter().find(|field| field.field == name);
    let moved = now
        .iter()
        .filter(|field| find(then, &field.field).is_none_or(|then| then.before != field.before));
    let mended = then.iter().filter(|field| find(now, &field.field).is_none());
    moved.chain(mended).map(|field| field.field.as_str()).collect()
}
