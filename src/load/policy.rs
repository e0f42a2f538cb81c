//! The rollout policy: its form, and the selectors in it.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::model::code;
use crate::model::diagnostic::{Diagnostic, Place};
use crate::model::gate::{Gate, GateForm};
use crate::model::quantity::parse_duration;
use crate::model::switch::{WITHIN_SECS_MAX, WITHIN_SECS_MIN};
use crate::model::wave::{Canary, RolloutPolicy, Share};

use super::groups::Picker;
use super::inventory::tables;
use super::raw::inventory::RawPolicy;
use super::reader::Reader;
use super::table::decode;

/// A policy whose selectors are still to be looked up.
pub(super) struct PolicyDraft {
    policy: RolloutPolicy,
    canary: Option<(String, Place)>,
    order: Vec<(String, Place)>,
}

/// Reads the policy's table.
pub(super) fn draft(reader: &mut Reader, file: &str, value: &Spanned<DeValue<'_>>) -> Option<PolicyDraft> {
    let gates = value
        .get_ref()
        .get("gate")
        .map(|list| gates(reader, file, list))
        .unwrap_or_default();
    // Gates were read one by one, so that each mistake has its own line.
    let rest = without_gates(value);
    let form: RawPolicy = decode(reader, file, &rest, "policy")?;
    let default = RolloutPolicy::default();
    let named = |text: &Spanned<String>| (text.get_ref().clone(), reader.sources.place(file, text.span()));
    let order = form.order.iter().map(named).collect();
    let canary = form
        .canary
        .as_ref()
        .map(|text| (text.get_ref().0.clone(), reader.sources.place(file, text.span())));
    let policy = RolloutPolicy {
        canary: None,
        batch: share(
            reader,
            file,
            "batch",
            form.batch.as_ref().map(|share| (share.get_ref().0, share.span())),
        )
        .unwrap_or(default.batch),
        down_max: form.down_max.map_or(default.down_max, |share| share.get_ref().0),
        failures_max: form.failures_max.unwrap_or(default.failures_max),
        on_failure: form.on_failure.unwrap_or(default.on_failure),
        order: Vec::new(),
        spread: form.spread,
        plan_max_age_secs: form
            .plan_max_age
            .and_then(|text| duration(reader, file, "plan_max_age", &text))
            .unwrap_or(default.plan_max_age_secs),
        lease_secs: form
            .lease
            .and_then(|text| lease(reader, file, &text))
            .unwrap_or(default.lease_secs),
        login_within_secs: form
            .login_within
            .and_then(|text| login_within(reader, file, &text))
            .unwrap_or(default.login_within_secs),
        parallel: form
            .parallel
            .map_or(default.parallel, std::num::NonZeroUsize::get),
        gates,
    };
    Some(PolicyDraft {
        policy,
        canary,
        order,
    })
}

fn without_gates<'i>(value: &Spanned<DeValue<'i>>) -> Spanned<DeValue<'i>> {
    match value.get_ref() {
        DeValue::Table(table) => {
            let rest: DeTable<'i> = table
                .iter()
                .filter(|(key, _)| key.get_ref() != "gate")
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            Spanned::new(value.span(), DeValue::Table(rest))
        }
        _ => value.clone(),
    }
}

/// Refuses a share of nothing: no batch would ever be done.
fn share(
    reader: &mut Reader,
    file: &str,
    key: &str,
    share: Option<(Share, std::ops::Range<usize>)>,
) -> Option<Share> {
    let (share, span) = share?;
    if matches!(share, Share::Count(0) | Share::Percent(0)) {
        let message = format!("policy: `{key}` is {share}, so nothing would ever be done");
        reader.error(code::BAD_POLICY, message, (file, span), "at least 1");
        return None;
    }
    Some(share)
}

fn duration(reader: &mut Reader, file: &str, key: &str, text: &Spanned<String>) -> Option<u64> {
    let read = parse_duration(text.get_ref());
    read.map_err(|why| {
        reader.error(
            code::WRONG_TYPE,
            format!("policy: `{key}`: {why}"),
            (file, text.span()),
            "this does not fit",
        );
    })
    .ok()
}

/// Reads how long a lock lasts. Shorter than the least, and a slow login would lose it; longer than the most, and nobody could
/// take over what a dead run left.
fn lease(reader: &mut Reader, file: &str, text: &Spanned<String>) -> Option<u64> {
    let secs = duration(reader, file, "lease", text)?;
    if LEASE_SECS.contains(&secs) {
        return Some(secs);
    }
    let message = format!(
        "policy: `lease` is {}, and a lease is from 10 s to 10 min long",
        text.get_ref()
    );
    reader.error(
        code::BAD_POLICY,
        message,
        (file, text.span()),
        "from `10s` to `10m`",
    );
    None
}

/// How long a lease may be.
const LEASE_SECS: std::ops::RangeInclusive<u64> = 10..=600;

/// Refuses a time in which nobody could log in, and one for which nobody would wait.
fn login_within(reader: &mut Reader, file: &str, text: &Spanned<String>) -> Option<u64> {
    let secs = duration(reader, file, "login_within", text)?;
    if !(WITHIN_SECS_MIN..=WITHIN_SECS_MAX).contains(&secs) {
        let message = format!("policy: `login_within` is {}", text.get_ref());
        let expected = format!("from {WITHIN_SECS_MIN} s to {WITHIN_SECS_MAX} s");
        reader.error(code::BAD_POLICY, message, (file, text.span()), expected);
        return None;
    }
    Some(secs)
}

fn gates(reader: &mut Reader, file: &str, list: &Spanned<DeValue<'_>>) -> Vec<Gate> {
    let mut gates = Vec::new();
    for table in tables(reader, file, "policy.gate", list) {
        let Some(form) = decode::<GateForm>(reader, file, table, "gate") else {
            continue;
        };
        match form.gate() {
            Ok(gate) => gates.push(gate),
            Err(error) => {
                let at = table
                    .get_ref()
                    .get(error.key)
                    .map_or_else(|| table.span(), Spanned::span);
                let message = format!("gate `{}`: {error}", form.name);
                reader.error(code::WRONG_TYPE, message, (file, at), "this does not fit");
            }
        }
    }
    gates
}

impl PolicyDraft {
    /// Looks the selectors up.
    pub(super) fn resolve(self, reader: &mut Reader, picker: &Picker<'_>) -> RolloutPolicy {
        let canary = self
            .canary
            .and_then(|(text, place)| canary(reader, picker, &text, &place));
        let picked = self
            .order
            .iter()
            .filter_map(|(text, place)| picker.pick(reader, text, place));
        let order = picked.map(|(selector, _)| selector).collect();
        RolloutPolicy {
            canary,
            order,
            ..self.policy
        }
    }
}

fn canary(reader: &mut Reader, picker: &Picker<'_>, text: &str, place: &Place) -> Option<Canary> {
    if let Ok(share) = text.parse::<Share>() {
        let is_none = matches!(share, Share::Count(0) | Share::Percent(0));
        return (!is_none).then_some(Canary::First(share));
    }
    let (selector, hosts) = picker.pick(reader, text, place)?;
    if hosts.is_empty() {
        let found = Diagnostic::warning(code::NO_HOSTS, format!("`{text}` picks no host to be the canary"));
        reader.diagnostics.push(found.at(place.clone(), "nobody"));
    }
    Some(Canary::Hosts(selector))
}
