//! Dead-man switches of a plan: what is taken back unless a new login confirms it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::line::{Line, Tone};
use super::names;
use crate::model::id::{HostId, ResourceId};
use crate::model::plan::Plan;
use crate::model::switch::Switch;

/// Returns what is made under switches, folded over hosts.
pub(super) fn switches(plan: &Plan) -> impl Iterator<Item = Line> {
    let mut folded: BTreeMap<(u64, Vec<String>), Vec<&HostId>> = BTreeMap::new();
    for (host, switch) in &plan.switches {
        folded
            .entry((switch.within_secs, changes(switch)))
            .or_default()
            .push(host);
    }
    folded.into_iter().flat_map(|((within, changes), hosts)| {
        let text = format!(
            "{}: taken back after {within} s unless a new login confirms",
            names::hosts(hosts)
        );
        let changes = changes.into_iter().map(|text| Line::new(Tone::Plain, 6, text));
        std::iter::once(Line::new(Tone::Warn, 2, text)).chain(changes)
    })
}

fn changes(switch: &Switch) -> Vec<String> {
    let text = |id: &ResourceId| match switch.cuts.get(id) {
        Some(why) => format!("{}, as it may cut off: {why}", id.key),
        None => format!("{}, which stands between", id.key),
    };
    switch.changes.iter().map(text).collect()
}

/// Returns one object for each switch.
pub(super) fn objects(plan: &Plan) -> impl Iterator<Item = Value> {
    plan.switches.iter().map(|(host, switch)| {
        let mut object = super::plan::tagged("switch", switch);
        object["host"] = json!(host);
        object
    })
}
