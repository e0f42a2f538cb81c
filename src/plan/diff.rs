//! Differences: desired × observed → changes, each with a reason. What cannot be read is held.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::change::{Action, Change, Disruption, FieldChange, Keep, Reason, Shown, Undo};
use crate::model::digest::Digest;
use crate::model::id::{HostId, ResourceId, ResourceKey};
use crate::model::known::Known;
use crate::model::manifest::{Origin, Owned, OwnedState};
use crate::model::observation::{HostView, Observed};
use crate::model::plan::{Held, HeldWhat, HeldWhy, Take};
use crate::resource::desired::{DesiredHost, Entry};
use crate::resource::{Actual, Consumed, Context, Spec, Step};

/// What one host comes to.
#[derive(Debug, Default)]
pub struct HostDiff {
    /// What is done.
    pub changes: BTreeMap<ResourceKey, Change>,
    /// What is only recorded.
    pub takes: Vec<Take>,
    /// What is held.
    pub held: Vec<Held>,
    /// The digest of what was there, for every resource that is changed.
    pub seen: BTreeMap<ResourceKey, Digest>,
    /// How many things lie in what is deleted, where there are some.
    holding: BTreeMap<ResourceKey, u64>,
    /// What uses what is deleted, and how, where something does.
    used: BTreeMap<ResourceKey, Vec<(ResourceKey, String)>>,
}

/// One host as the planner sees it.
pub struct HostInput<'a> {
    /// Its name.
    pub host: &'a HostId,
    /// What it must be.
    pub desired: &'a DesiredHost,
    /// What it said.
    pub view: &'a HostView,
    /// Outputs and fingerprints.
    pub known: &'a Known,
}

impl HostInput<'_> {
    /// Returns the manifest's entry for a resource, under its name or the one that it had.
    fn owned(&self, key: &ResourceKey) -> Option<(&ResourceKey, &Owned)> {
        let owned = &self.view.manifest.present()?.owned;
        owned
            .get_key_value(key)
            .or_else(|| owned.get_key_value(self.desired.moved.get(key)?))
    }

    fn observed(&self, key: &ResourceKey, spec: &Spec) -> Observed<Actual> {
        match self.view.answers.get(key) {
            Some(answers) => spec.read(answers),
            None => Observed::Unknown("nobody looked at it".to_owned()),
        }
    }
}

impl HostDiff {
    /// Compares one declared resource. `consumed` stands for what it lists in `restart_on`; `lost_on` for those of its
    /// `loses_on` that this plan changes, so that it counts as absent.
    pub fn compare(
        &mut self,
        input: &HostInput<'_>,
        key: &ResourceKey,
        entry: &Entry,
        consumed: Option<&Consumed>,
        lost_on: &[ResourceId],
    ) {
        let spec = &entry.spec;
        let there = input.observed(key, spec);
        if let Some(tool) = missing_tool(input.view, spec) {
            return self.hold(input, key, HeldWhy::MissingTool(tool));
        }
        if let Observed::Unknown(why) = there {
            return self.hold(input, key, HeldWhy::Unknown(why));
        }
        let found = input.owned(key);
        let owned = found.map(|(_, owned)| owned);
        if let Some(why) = changed_output(spec, &there, owned) {
            return self.hold(input, key, HeldWhy::Unknown(why));
        }
        let gone = Observed::Absent;
        let observed = if lost_on.is_empty() { &there } else { &gone };
        let context = Context {
            known: input.known,
            owned,
            consumed,
        };
        let fields = differences(entry, observed, &context, || spec.seen(&there));
        let moved_from = found.map(|(name, _)| name).filter(|name| *name != key).cloned();
        let is_settled = observed.present().is_some() && fields.is_empty();
        // Most resources of most plans end here, so nothing is made before that only the others need.
        if is_settled && moved_from.is_none() && owned.is_some_and(|owned| is_known(entry, owned)) {
            return;
        }
        let seen = spec.seen(&there);
        let keep = keep(entry, owned, observed, consumed, moved_from);
        if is_settled {
            return self.settle(key, entry, keep, observed, (seen, owned));
        }
        let action = match observed {
            Observed::Absent => Action::Create,
            _ if spec.immutable(&fields).is_some() => Action::Replace,
            _ => Action::Update,
        };
        if action == Action::Replace && (entry.protect || spec.never_deleted().is_some()) {
            return self.hold(input, key, HeldWhy::Protected);
        }
        if let (Action::Replace, Some(why)) = (action, spec.never_replaced()) {
            let fields: Vec<&str> = fields.iter().map(|change| change.field.as_str()).collect();
            let why = format!("{} cannot change in place, and {why}", fields.join(", "));
            return self.hold(input, key, HeldWhy::Kept(why));
        }
        let reasons = reasons(spec, action, &fields, owned, &seen, consumed, lost_on);
        let step = Step {
            action,
            before: observed,
            fields: &fields,
            context,
        };
        let known = |ops: Vec<crate::model::op::Op>| {
            if input.known.outputs.is_empty() {
                return ops;
            }
            let value = |output: &_| input.known.outputs.get(output).map(String::as_str);
            ops.iter().map(|op| op.with_outputs(&value)).collect()
        };
        let change = Change {
            target: key.on(input.host),
            action,
            reasons,
            needs: BTreeSet::new(),
            disruption: spec.disruption(&step),
            ops: known(ops(spec, &step)),
            undo: spec.undo(&step),
            probes: spec.probes(),
            spec: spec.encode(),
            keep: Keep {
                starts: starts(spec, action, &fields),
                ..keep
            },
            former: owned.cloned(),
            back: None,
            gates: entry.gates.clone(),
            modules: entry.modules.clone(),
            origins: entry.origins.clone(),
            fields,
        };
        self.seen.insert(key.clone(), seen);
        self.changes.insert(key.clone(), change);
    }

    /// Records what is as declared and not yet known to be so.
    fn settle(
        &mut self,
        key: &ResourceKey,
        entry: &Entry,
        keep: Keep,
        observed: &Observed<Actual>,
        (seen, owned): (Digest, Option<&Owned>),
    ) {
        let spec = entry.spec.encode();
        let outputs = observed
            .present()
            .map(|actual| entry.spec.outputs(actual))
            .unwrap_or_default();
        let outputs = outputs.into_iter().collect();
        let probes = entry.spec.probes();
        self.takes.push(Take {
            key: key.clone(),
            spec,
            keep,
            probes,
            after: seen,
            outputs,
            former: owned.cloned(),
        });
    }

    /// Plans the end of everything that the manifest names and nobody declares.
    pub fn remove(&mut self, input: &HostInput<'_>) {
        let Some(manifest) = input.view.manifest.present() else {
            return;
        };
        let renamed: BTreeSet<&ResourceKey> = input
            .desired
            .entries
            .keys()
            .filter_map(|key| input.owned(key))
            .map(|(name, _)| name)
            .collect();
        for (key, owned) in &manifest.owned {
            if !input.desired.entries.contains_key(key) && !renamed.contains(key) {
                self.remove_one(input, key, owned);
            }
        }
        self.leave_what_holds_others();
        self.hold_what_is_used(input);
    }

    /// What something else uses cannot go before that does. An account that only changes its group may do so later than this.
    fn hold_what_is_used(&mut self, input: &HostInput<'_>) {
        for (key, users) in std::mem::take(&mut self.used) {
            let goes = |user: &ResourceKey| {
                let change = self.changes.get(user);
                change.is_some_and(|change| change.action == Action::Delete)
            };
            if let Some((_, why)) = users.into_iter().find(|(user, _)| !goes(user)) {
                self.changes.remove(&key);
                self.seen.remove(&key);
                self.hold(input, &key, HeldWhy::Kept(why));
            }
        }
    }

    /// A directory goes only when it is empty: one that holds more than what goes with it is forgotten. The deepest is judged
    /// first, since what is in its parent depends on it.
    fn leave_what_holds_others(&mut self) {
        let mut holding: Vec<(ResourceKey, u64)> = std::mem::take(&mut self.holding).into_iter().collect();
        holding.sort_by_key(|(key, _)| std::cmp::Reverse(key.name.split('/').count()));
        for (key, holds) in holding {
            let is_in = |other: &Change| {
                let parent = other.target.key.name.rsplit_once('/').map(|(parent, _)| parent);
                other.action == Action::Delete && parent == Some(key.name.as_str())
            };
            let going = self.changes.values().filter(|change| is_in(change)).count() as u64;
            let Some(change) = self.changes.get_mut(&key).filter(|_| holds > going) else {
                continue;
            };
            change.action = Action::Forget;
            change.reasons = vec![Reason::NotEmpty];
            change.disruption = Disruption::None;
            change.ops.clear();
            change.undo = Undo::Exact(Vec::new());
        }
    }

    fn remove_one(&mut self, input: &HostInput<'_>, key: &ResourceKey, owned: &Owned) {
        let spec = match Spec::decode(key.kind.as_str(), &owned.spec) {
            Ok(spec) => spec,
            Err(why) => return self.hold(input, key, HeldWhy::Unknown(format!("its manifest entry: {why}"))),
        };
        let observed = input.observed(key, &spec);
        let seen = spec.seen(&observed);
        let forget = |reason| (Action::Forget, reason);
        let (action, reason) = match (&observed, owned.origin) {
            (Observed::Unknown(why), _) => return self.hold(input, key, HeldWhy::Unknown(why.clone())),
            (Observed::Absent, _) => forget(Reason::Gone),
            // Of a file that was found only the keys that muster made go.
            (Observed::Present(_), Origin::Found) if owned.made_keys.is_empty() => forget(Reason::Found),
            (Observed::Present(_), Origin::Found | Origin::Made) => {
                if owned.protect {
                    return self.hold(input, key, HeldWhy::Protected);
                }
                if let Some(why) = spec.never_deleted() {
                    return self.hold(input, key, HeldWhy::Kept(why));
                }
                if spec.info().kept_unless_delete && !owned.delete {
                    forget(Reason::Kept)
                } else if owned.after.as_ref() != Some(&seen) {
                    return self.hold(input, key, HeldWhy::ChangedByHand);
                } else {
                    (Action::Delete, Reason::Undeclared)
                }
            }
        };
        let holds = observed.present().map_or(0, |actual| spec.holds(actual));
        if action == Action::Delete && holds > 0 {
            self.holding.insert(key.clone(), holds);
        }
        let users = observed.present().map(|actual| spec.users(actual));
        if let Some(users) = users.filter(|users| action == Action::Delete && !users.is_empty()) {
            self.used.insert(key.clone(), users);
        }
        let context = Context {
            known: input.known,
            owned: Some(owned),
            consumed: None,
        };
        let step = Step {
            action,
            before: &observed,
            fields: &[],
            context,
        };
        let change = Change {
            target: key.on(input.host),
            action,
            fields: Vec::new(),
            reasons: vec![reason],
            needs: BTreeSet::new(),
            disruption: if action == Action::Delete {
                spec.disruption(&step)
            } else {
                Disruption::None
            },
            ops: if action == Action::Delete {
                spec.ops(&step)
            } else {
                Vec::new()
            },
            undo: if action == Action::Delete {
                spec.undo(&step)
            } else {
                Undo::Exact(Vec::new())
            },
            probes: spec.probes(),
            spec: owned.spec.clone(),
            keep: Keep {
                is_made: owned.origin == Origin::Made,
                needs: owned.needs.clone(),
                ..Keep::default()
            },
            former: Some(owned.clone()),
            back: None,
            gates: Vec::new(),
            modules: BTreeSet::new(),
            origins: Vec::new(),
        };
        self.seen.insert(key.clone(), seen);
        self.changes.insert(key.clone(), change);
    }

    fn hold(&mut self, input: &HostInput<'_>, key: &ResourceKey, why: HeldWhy) {
        self.held.push(Held {
            what: HeldWhat::Resource(key.on(input.host)),
            why,
        });
    }
}

/// Says whether the manifest knows already that a resource is as declared.
fn is_known(entry: &Entry, owned: &Owned) -> bool {
    owned.state == OwnedState::Done
        && owned.needs == entry.needs
        && (owned.protect, owned.delete) == (entry.protect, entry.delete)
        && owned.spec == entry.spec.encode()
}

fn missing_tool(view: &HostView, spec: &Spec) -> Option<String> {
    let missing = &view.machine.as_ref()?.missing_tools;
    spec.tools()
        .iter()
        .find(|tool| missing.iter().any(|missing| missing == **tool))
        .map(|tool| (*tool).to_owned())
}

/// A value that was produced once is never replaced by another: that would be taking over what somebody changed.
fn changed_output(spec: &Spec, observed: &Observed<Actual>, owned: Option<&Owned>) -> Option<String> {
    let outputs = spec.outputs(observed.present()?);
    let known = &owned?.outputs;
    outputs.into_iter().find_map(|(name, value)| {
        let before = known.get(&name).filter(|before| **before != value)?;
        Some(format!(
            "its output `{name}` was `{before}` and is now `{value}`; put it back, or forget it first"
        ))
    })
}

fn differences(
    entry: &Entry,
    observed: &Observed<Actual>,
    context: &Context<'_>,
    seen: impl FnOnce() -> Digest,
) -> Vec<FieldChange> {
    let Some(actual) = observed.present() else {
        return Vec::new();
    };
    let mut fields = entry.spec.compare(actual, context);
    // Without the secrets the host is held against what muster left there, not against what is declared now.
    let after = context.owned.and_then(|owned| owned.after.as_ref());
    if context.known.is_without_secrets
        && fields.is_empty()
        && !entry.spec.printed().is_empty()
        && after != Some(&seen())
    {
        let (before, after) = (
            Shown::Opaque("secret, changed".into()),
            Shown::Opaque("secret, as last applied".into()),
        );
        fields.push(FieldChange {
            field: "content".to_owned(),
            before,
            after,
        });
    }
    fields.retain(|change| !entry.ignore.iter().any(|ignored| is_part(&change.field, ignored)));
    fields
}

/// Says whether a field is another one, or a part of it: `environment.LEVEL` of `environment`.
pub(super) fn is_part(field: &str, whole: &str) -> bool {
    field
        .strip_prefix(whole)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn keep(
    entry: &Entry,
    owned: Option<&Owned>,
    observed: &Observed<Actual>,
    consumed: Option<&Consumed>,
    moved_from: Option<ResourceKey>,
) -> Keep {
    // What was there before muster stays found, even if it was removed by hand since and is made again: then it is made.
    let is_made = match (owned, observed) {
        (_, Observed::Absent) => true,
        (Some(owned), _) => owned.origin == Origin::Made,
        (None, _) => false,
    };
    Keep {
        is_made,
        needs: entry.needs.clone(),
        protect: entry.protect,
        delete: entry.delete,
        consumed: consumed.map(|consumed| consumed.digest.clone()),
        starts: false,
        moved_from,
        made_keys: entry.spec.made_keys(observed.present(), owned),
    }
}

fn ops(spec: &Spec, step: &Step<'_, Actual>) -> Vec<crate::model::op::Op> {
    match step.action {
        Action::Create | Action::Update | Action::Delete | Action::Forget => spec.ops(step),
        Action::Replace => spec.replace(step),
    }
}

/// Says whether a step starts or restarts what it is about, so that what it consumes is what it started with.
fn starts(spec: &Spec, action: Action, fields: &[FieldChange]) -> bool {
    let does = matches!(action, Action::Create | Action::Replace) || !fields.is_empty();
    spec.info().starts && does
}

fn reasons(
    spec: &Spec,
    action: Action,
    fields: &[FieldChange],
    owned: Option<&Owned>,
    seen: &Digest,
    consumed: Option<&Consumed>,
    lost_on: &[ResourceId],
) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if !lost_on.is_empty() {
        reasons.push(Reason::LostOn(lost_on.to_vec()));
    }
    let is_drift = owned.is_some_and(|owned| owned.after.as_ref().is_some_and(|after| after != seen));
    match (action, owned.map(|owned| owned.state)) {
        (_, Some(OwnedState::Intent)) => reasons.push(Reason::Unfinished),
        (Action::Create, _) if is_drift => reasons.push(Reason::Drifted),
        (Action::Create, _) if lost_on.is_empty() => reasons.push(Reason::Missing),
        (Action::Create | Action::Forget | Action::Delete, _) => {}
        (Action::Update | Action::Replace, _) => {
            let restarts_only = fields.iter().all(|change| change.field == "started_with");
            match (restarts_only, is_drift) {
                (true, _) => {}
                (false, true) => reasons.push(Reason::Drifted),
                (false, false) if owned.is_none() => reasons.push(Reason::Foreign),
                (false, false) => reasons.push(Reason::Differs),
            }
        }
    }
    if fields.iter().any(|change| change.field == "started_with") {
        match consumed {
            Some(consumed) if !consumed.changing.is_empty() => {
                reasons.push(Reason::Consumes(consumed.changing.clone()))
            }
            _ => reasons.push(Reason::StartedWithOld),
        }
    }
    if let Some(change) = spec.immutable(fields) {
        reasons.push(Reason::Immutable(change.field.clone()));
    }
    reasons
}
