//! Forms: a mapping that is read key by key.

use std::collections::BTreeMap;

use super::node::Node;
use super::source::Texts;
use super::values;

/// A mapping that is read key by key.
pub(super) struct Form<'a> {
    pub(super) texts: &'a mut Texts,
    pub(super) node: &'a Node,
    pub(super) subject: &'a str,
}

impl Form<'_> {
    pub(super) fn field<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&mut Texts, &Node, &str) -> Option<T>,
    ) -> Option<T> {
        let node = self.node.get(key).filter(|node| !node.is_null())?;
        read(self.texts, node, &format!("{}: `{key}`", self.subject))
    }

    pub(super) fn word(&mut self, key: &str) -> Option<String> {
        self.field(key, values::word)
    }

    pub(super) fn truth(&mut self, key: &str) -> Option<bool> {
        self.field(key, values::truth)
    }

    pub(super) fn words(&mut self, key: &str) -> Vec<String> {
        self.field(key, |texts, node, subject| {
            Some(values::words(texts, node, subject))
        })
        .unwrap_or_default()
    }

    pub(super) fn pairs(&mut self, key: &str) -> BTreeMap<String, String> {
        self.field(key, |texts, node, subject| {
            Some(values::pairs(texts, node, subject))
        })
        .unwrap_or_default()
    }

    pub(super) fn choice(&mut self, key: &str, words: &[&str]) -> Option<String> {
        self.field(key, |texts, node, subject| {
            values::choice(texts, node, subject, words)
        })
    }
}
