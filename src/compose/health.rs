//! Health checks.

use crate::model::code;
use crate::model::container_part::{Health, HealthCheck};

use super::keys_parts;
use super::node::{Node, Value};
use super::source::Texts;
use super::values;

/// Reads a service's health check; `None` leaves the image's.
pub(super) fn read(texts: &mut Texts, node: &Node, subject: &str) -> Option<Health> {
    let subject = format!("{subject}: `healthcheck`");
    if !values::check(texts, node, &keys_parts::HEALTHCHECK, &subject) {
        return None;
    }
    let is_disabled = node
        .get("disable")
        .and_then(|node| values::truth(texts, node, &format!("{subject}: `disable`")))
        .unwrap_or(false);
    let test = node
        .get("test")
        .and_then(|test| words(texts, test, &format!("{subject}: `test`")));
    if is_disabled
        || test
            .as_ref()
            .is_some_and(|test| test.first().is_some_and(|first| first == "NONE"))
    {
        if let (true, Some(entry)) = (is_disabled, node.entry("test"))
            && test
                .as_ref()
                .is_some_and(|test| test.first().is_some_and(|first| first != "NONE"))
        {
            texts.error(
                code::COMPOSE_CONFLICT,
                format!("{subject}: a check that is disabled has a test"),
                entry.key_at,
                "`test` and `disable`",
            );
        }
        return Some(Health::Disabled);
    }
    let mut nanos = |key: &str| {
        node.get(key)
            .and_then(|node| values::nanos(texts, node, &format!("{subject}: `{key}`")))
    };
    let check = HealthCheck {
        interval_nanos: nanos("interval"),
        timeout_nanos: nanos("timeout"),
        start_period_nanos: nanos("start_period"),
        start_interval_nanos: None,
        retries: node
            .get("retries")
            .and_then(|node| values::count(texts, node, &format!("{subject}: `retries`"))),
        test: test.unwrap_or_default(),
    };
    (check != HealthCheck::default()).then_some(Health::Check(check))
}

fn words(texts: &mut Texts, node: &Node, subject: &str) -> Option<Vec<String>> {
    let test = match &node.value {
        Value::Scalar(_) => vec!["CMD-SHELL".to_owned(), values::text(texts, node, subject)?],
        Value::List(items) => items
            .iter()
            .filter_map(|item| values::text(texts, item, subject))
            .collect(),
        Value::Null | Value::Map(_) => Vec::new(),
    };
    let is_whole = match test.first().map(String::as_str) {
        Some("NONE") => test.len() == 1,
        Some("CMD-SHELL") => test.len() == 2,
        Some("CMD") => test.len() > 1,
        Some(_) | None => false,
    };
    if !is_whole {
        let hint = "write a text for a shell, or `[CMD, …]`, `[CMD-SHELL, line]` or `[NONE]`";
        texts.hinted(
            code::COMPOSE_VALUE,
            format!("{subject}: this is no test"),
            node.at,
            "this does not fit",
            hint,
        );
        return None;
    }
    Some(test)
}
