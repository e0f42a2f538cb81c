//! Grants: configs and secrets that a service sees as files.

use serde::{Deserialize, Serialize};

use crate::model::code;

use super::keys_parts;
use super::mount;
use super::node::{Node, Value};
use super::source::{At, Texts};
use super::values;

/// A config or a secret of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Grant {
    /// Whether it is a secret.
    pub(super) is_secret: bool,
    /// Its name within the project.
    pub(super) source: String,
    /// Where it is mounted.
    pub(super) target: String,
    /// Owner, group and mode of the file, where somebody asks for them.
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mode: Option<u32>,
    #[serde(skip)]
    pub(super) at: At,
}

/// Reads `secrets` and `configs` of a service.
pub(super) fn read(texts: &mut Texts, node: &Node, subject: &str) -> Vec<Grant> {
    let mut grants = Vec::new();
    for (key, is_secret) in [("configs", false), ("secrets", true)] {
        let Some(list) = node.get(key) else { continue };
        let subject = format!("{subject}: `{key}`");
        for item in values::items(texts, list, &subject) {
            grants.extend(grant(texts, item, &subject, is_secret));
        }
    }
    grants
}

fn grant(texts: &mut Texts, node: &Node, subject: &str, is_secret: bool) -> Option<Grant> {
    let home = if is_secret { "/run/secrets/" } else { "/" };
    let within = |name: &str| {
        if name.starts_with('/') {
            name.to_owned()
        } else {
            format!("{home}{name}")
        }
    };
    let Value::Map(_) = &node.value else {
        let source = values::word(texts, node, subject)?;
        return Some(Grant {
            is_secret,
            target: within(&source),
            source,
            uid: None,
            gid: None,
            mode: None,
            at: node.at,
        });
    };
    values::check(
        texts,
        node,
        if is_secret {
            &keys_parts::SECRET_GRANT
        } else {
            &keys_parts::CONFIG_GRANT
        },
        subject,
    );
    let Some(source) = node.get("source") else {
        texts.error(
            code::MISSING_KEY,
            format!("{subject}: key `source` is missing"),
            node.at,
            "`source` belongs here",
        );
        return None;
    };
    let source = values::word(texts, source, &format!("{subject}: `source`"))?;
    let target = match node.get("target") {
        Some(target) => values::word(texts, target, &format!("{subject}: `target`"))?,
        None => source.clone(),
    };
    let mut number = |key: &str| {
        let node = node.get(key)?;
        let number = values::count(texts, node, &format!("{subject}: `{key}`"))?;
        u32::try_from(number).ok()
    };
    let (uid, gid) = (number("uid"), number("gid"));
    let mode = node
        .get("mode")
        .and_then(|node| mount::octal(texts, node, &format!("{subject}: `mode`")));
    Some(Grant {
        is_secret,
        target: within(&target),
        source,
        uid,
        gid,
        mode,
        at: node.at,
    })
}
