//! Settings of a service that are one key each.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::code;
use crate::model::container::{Settings, is_own_label};
use crate::model::container_part::{Logging, Restart, Ulimit};

use super::form::Form;
use super::keys_parts;
use super::node::{Node, Value};
use super::source::Texts;
use super::values;

/// Reads the settings that are one key each.
pub(super) fn plain_settings(form: &mut Form<'_>) -> Settings {
    let upper = |words: Vec<String>| -> BTreeSet<String> {
        let bare = |word: String| word.to_ascii_uppercase().trim_start_matches("CAP_").to_owned();
        words.into_iter().map(bare).collect()
    };
    let settings = Settings {
        command: form.field("command", values::command),
        entrypoint: form.field("entrypoint", values::command),
        user: form.word("user"),
        working_dir: form.word("working_dir"),
        labels: labels(form),
        stop_signal: form.word("stop_signal"),
        stop_grace_secs: form
            .field("stop_grace_period", values::nanos)
            .map(|nanos| nanos.div_ceil(1_000_000_000)),
        hostname: form.word("hostname"),
        domainname: form.word("domainname"),
        tty: form.truth("tty").unwrap_or(false),
        stdin_open: form.truth("stdin_open").unwrap_or(false),
        restart: restart(form),
        logging: form.field("logging", logging),
        privileged: form.truth("privileged").unwrap_or(false),
        read_only: form.truth("read_only").unwrap_or(false),
        init: form.truth("init"),
        cap_add: upper(form.words("cap_add")),
        cap_drop: upper(form.words("cap_drop")),
        security_opt: form.words("security_opt").into_iter().collect(),
        sysctls: form.pairs("sysctls"),
        ulimits: form
            .field("ulimits", |texts, node, subject| {
                Some(ulimits(texts, node, subject))
            })
            .unwrap_or_default(),
        device_cgroup_rules: form.words("device_cgroup_rules").into_iter().collect(),
        group_add: form.words("group_add").into_iter().collect(),
        extra_hosts: extra_hosts(form),
        dns: form.words("dns"),
        dns_search: form.words("dns_search"),
        dns_options: form.words("dns_opt").into_iter().collect(),
        ipc: shared(form, "ipc", &["host", "private", "shareable", "none"]),
        pid: shared(form, "pid", &["host"]),
        userns: form.choice("userns_mode", &["host"]),
        cgroup_parent: form.word("cgroup_parent"),
        runtime: form.word("runtime"),
        ..Settings::default()
    };
    if settings.command.as_ref().is_some_and(Vec::is_empty) && settings.entrypoint.is_none() {
        let at = form.node.get("command").map_or(form.node.at, |node| node.at);
        let message = format!(
            "{}: `command`: an image's command cannot be taken away",
            form.subject
        );
        form.texts.hinted(
            code::COMPOSE_VALUE,
            message,
            at,
            "empty",
            "set `entrypoint` too, or leave `command` out",
        );
    }
    settings
}

fn labels(form: &mut Form<'_>) -> BTreeMap<String, String> {
    let labels = form.pairs("labels");
    for entry in form.node.get("labels").map(Node::entries).unwrap_or_default() {
        if is_own_label(&entry.key) {
            let message = format!("{}: label `{}` is muster's own to set", form.subject, entry.key);
            form.texts
                .error(code::COMPOSE_VALUE, message, entry.key_at, "another name");
        }
    }
    labels
}

/// Reads whose share of something a container has: a word, `service:NAME` or `container:NAME`.
fn shared(form: &mut Form<'_>, key: &str, words: &[&str]) -> Option<String> {
    form.field(key, |texts, node, subject| {
        let text = values::word(texts, node, subject)?;
        let is_other = ["service:", "container:"]
            .iter()
            .any(|sort| text.strip_prefix(sort).is_some_and(|name| !name.is_empty()));
        match is_other {
            true => Some(text),
            false => values::choice(texts, node, subject, words),
        }
    })
}

fn restart(form: &mut Form<'_>) -> Restart {
    let read = form.field("restart", |texts, node, subject| {
        // Without quotes `no` is a truth value to old readers; Compose takes it for the word that it is.
        let text = node.as_text().unwrap_or_default().to_owned();
        match text.split_once(':') {
            Some(("on-failure", times)) if times.parse::<u64>().is_ok() => {
                times.parse().ok().map(Restart::OnFailure)
            }
            _ if text == "no" => Some(Restart::No),
            _ => match values::choice(
                texts,
                node,
                subject,
                &["no", "always", "unless-stopped", "on-failure"],
            )?
            .as_str()
            {
                "always" => Some(Restart::Always),
                "unless-stopped" => Some(Restart::UnlessStopped),
                _ => Some(Restart::OnFailure(0)),
            },
        }
    });
    read.unwrap_or_default()
}

fn logging(texts: &mut Texts, node: &Node, subject: &str) -> Option<Logging> {
    values::check(texts, node, &keys_parts::LOGGING, subject);
    let mut form = Form { texts, node, subject };
    Some(Logging {
        driver: form.word("driver"),
        options: form.pairs("options"),
    })
}

fn ulimits(texts: &mut Texts, node: &Node, subject: &str) -> BTreeMap<String, Ulimit> {
    let mut ulimits = BTreeMap::new();
    for entry in node.entries() {
        let subject = format!("{subject}: `{}`", entry.key);
        let ulimit = match &entry.value.value {
            Value::Map(_) => {
                values::check(texts, &entry.value, &keys_parts::ULIMIT, &subject);
                let mut side = |key: &str| match entry.value.get(key) {
                    Some(node) => values::number(texts, node, &format!("{subject}: `{key}`")),
                    None => {
                        texts.error(
                            code::MISSING_KEY,
                            format!("{subject}: key `{key}` is missing"),
                            entry.key_at,
                            "it belongs here",
                        );
                        None
                    }
                };
                let (soft, hard) = (side("soft"), side("hard"));
                soft.zip(hard)
            }
            Value::Null | Value::Scalar(_) | Value::List(_) => {
                values::number(texts, &entry.value, &subject).map(|both| (both, both))
            }
        };
        ulimits.extend(ulimit.map(|(soft, hard)| (entry.key.clone(), Ulimit { soft, hard })));
    }
    ulimits
}

fn extra_hosts(form: &mut Form<'_>) -> BTreeSet<String> {
    let mut hosts = BTreeSet::new();
    let Some(node) = form.node.get("extra_hosts") else {
        return hosts;
    };
    let subject = format!("{}: `extra_hosts`", form.subject);
    for item in values::items(form.texts, node, &subject) {
        let Some(text) = values::word(form.texts, item, &subject) else {
            continue;
        };
        match text.split_once(['=', ':']) {
            Some((name, address)) if !name.is_empty() && !address.is_empty() => {
                let bare = address.trim_start_matches('[').trim_end_matches(']');
                hosts.insert(format!("{name}:{bare}"));
            }
            Some(_) | None => form.texts.error(
                code::COMPOSE_VALUE,
                format!("{subject}: `{text}` is no `name:address`"),
                item.at,
                "this does not fit",
            ),
        }
    }
    hosts
}
