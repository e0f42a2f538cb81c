//! Whether a resource still is as a change left it, or others changed it since.

use crate::model::change::{Action, Change, Undo};
use crate::model::digest::Digest;
use crate::model::id::RunId;
use crate::model::known::Known;
use crate::model::observation::{Answer, Observed};
use crate::model::op::Probe;
use crate::model::undo;

use super::{Actual, Context, Spec};

/// The fields of what runs that do not change by themselves, whether it runs or not.
const LASTING: [&str; 4] = ["owner", "group", "mode", "enabled"];

/// What a look says about a change that is to be taken back.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// The digest of what is there.
    pub now: Digest,
    /// Whether nothing is there.
    pub is_absent: bool,
    /// Whether the store of the run is gone, though the undo restores from it.
    pub is_expired: bool,
    /// What others changed since, as a clause.
    pub changed: Option<&'static str>,
}

/// Returns what is looked at before a change of a run is taken back.
pub fn probes(change: &Change, run: &RunId) -> Vec<Probe> {
    let kept = undo::probes(&change.undo, run);
    change.probes.iter().cloned().chain(kept).collect()
}

/// Reads the answers to [`probes`]. `left` is the digest of what the change left; `None` where nobody saw its end, so that only
/// what the host noted of its paths can tell.
///
/// # Errors
/// A clause, where it cannot be read.
pub fn standing(change: &Change, left: Option<&Digest>, answers: &[Answer]) -> Result<Standing, String> {
    let spec = Spec::decode(change.target.key.kind.as_str(), &change.spec)?;
    let (own, kept) = answers
        .split_at_checked(change.probes.len())
        .ok_or("the host did not answer every question")?;
    let observed = spec.read(own);
    if let Observed::Unknown(why) = &observed {
        return Err(why.clone());
    }
    let (mut is_expired, mut is_left) = (false, true);
    for answer in kept {
        let Answer::Text { output, status: 0 } = answer else {
            return Err("what was kept for its undo cannot be read".to_owned());
        };
        is_expired |= output.lines().any(|line| line == "store=no");
        is_left &= output.lines().any(|line| line == "left=yes");
    }
    let is_same = left.is_none_or(|left| is_as_left(change, &spec, &observed, left));
    let changed = match (is_same, is_left || is_expired) {
        (true, true) => None,
        (false, _) => Some("it is no longer as that run left it"),
        (true, false) => Some("others changed its file since"),
    };
    Ok(Standing {
        now: spec.seen(&observed),
        is_absent: observed == Observed::Absent,
        is_expired,
        changed,
    })
}

/// What runs may stop by itself; its file and whether it is enabled may not change. Its content is told by what the host noted.
fn is_as_left(change: &Change, spec: &Spec, observed: &Observed<Actual>, left: &Digest) -> bool {
    if spec.seen(observed) == *left {
        return true;
    }
    // Of a file that others own too a deletion leaves their part.
    if let (Action::Delete, Observed::Present(actual)) = (change.action, observed) {
        let owned = change.former.as_ref().map(|owned| &owned.made_keys);
        return spec.is_gone(actual, owned.unwrap_or(&change.keep.made_keys));
    }
    let Some(actual) = observed.present().filter(|_| spec.info().starts) else {
        return false;
    };
    let known = Known::default();
    let context = Context {
        known: &known,
        owned: None,
        consumed: None,
    };
    let fields = spec.compare(actual, &context);
    !fields.iter().any(|field| LASTING.contains(&field.field.as_str()))
}

/// Says whether the digest that a plan has of what was there before a change can be held against a later look: on a host that had no
/// salt yet, what is secret had no print.
pub fn is_comparable(change: &Change, before: &Digest, had_salt: bool) -> bool {
    let spec = Spec::decode(change.target.key.kind.as_str(), &change.spec);
    let is_printed = spec.is_ok_and(|spec| spec.is_salted());
    had_salt || !is_printed || *before == Digest::of("absent")
}

/// Says whether the undo of a change brings back exactly what was there, and that can be told.
pub fn is_exact(change: &Change, before: &Digest, had_salt: bool, is_whole: bool) -> bool {
    matches!(change.undo, Undo::Exact(_)) && is_whole && is_comparable(change, before, had_salt)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::change::{Disruption, Keep};
    use crate::model::id::ResourceKey;

    /// The deletion of a key that muster made in a file of others.
    fn deletion() -> Change {
        let spec = json!({ "path": "/etc/app.json", "keys": { "level": 1 } });
        let decoded = Spec::decode("settings", &spec).unwrap();
        Change {
            target: ResourceKey::new("settings", "/etc/app.json").on(&"h1".parse().unwrap()),
            action: Action::Delete,
            fields: Vec::new(),
            reasons: Vec::new(),
            needs: Default::default(),
            disruption: Disruption::None,
            ops: Vec::new(),
            undo: Undo::Exact(Vec::new()),
            probes: decoded.probes(),
            spec,
            keep: Keep {
                made_keys: ["level".to_owned()].into(),
                ..Keep::default()
            },
            former: None,
            back: None,
            gates: Vec::new(),
            modules: Default::default(),
            origins: Vec::new(),
        }
    }

    fn changed(keys: &serde_json::Value) -> Option<&'static str> {
        let file = json!({ "type": "file", "mode": "0644", "owner": "root", "group": "root", "keys": keys });
        let answer = Answer::Text {
            output: file.to_string(),
            status: 0,
        };
        let absent = Digest::of("absent");
        standing(&deletion(), Some(&absent), &[answer]).unwrap().changed
    }

    #[test]
    fn what_a_deletion_leaves_of_others_is_no_change_of_theirs() {
        assert_eq!(changed(&json!({})), None);
        assert!(changed(&json!({ "level": 2 })).is_some());
    }
}
