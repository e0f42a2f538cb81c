//! References: how modules name resources. `kind:name` here, `@group:kind:name` or `host:kind:name` elsewhere.

use crate::model::id::{HostId, ResourceId, ResourceKey};
use crate::model::selector::{Selector, Term};
use crate::resource;

/// A reference as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The hosts; `None` is the host that the reference stands on.
    pub hosts: Option<Selector>,
    /// The resource.
    pub key: ResourceKey,
}

impl Reference {
    /// Reads a reference; `None` where it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let is_kind = |word: &str| resource::referable().any(|kind| kind == word);
        let (first, rest) = text.split_once(':')?;
        if is_kind(first) && !rest.is_empty() {
            return Some(Self {
                hosts: None,
                key: ResourceKey::new(first, rest),
            });
        }
        let (kind, name) = rest.split_once(':')?;
        let hosts = Some(first.parse().ok()?);
        (is_kind(kind) && !name.is_empty()).then(|| Self {
            hosts,
            key: ResourceKey::new(kind, name),
        })
    }

    /// Returns the one resource that is meant, seen from a host; `None` where several are.
    pub fn single(&self, here: &HostId) -> Option<ResourceId> {
        if self.key.kind.as_str() == resource::project::NAME {
            return None;
        }
        match &self.hosts {
            None => Some(self.key.on(here)),
            Some(selector) => match selector.terms.as_slice() {
                [(_, Term::Name(name))] => Some(self.key.on(&name.parse().ok()?)),
                _ => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_name_this_host_or_others() {
        let here: HostId = "h1".parse().unwrap();
        let single = |text: &str| Reference::parse(text)?.single(&here).map(|id| id.to_string());
        assert_eq!(single("file:/etc/a:b").as_deref(), Some("file[/etc/a:b]@h1"));
        assert_eq!(single("h2:file:/etc/a").as_deref(), Some("file[/etc/a]@h2"));
        assert!(
            Reference::parse("@nodes:file:/etc/a")
                .unwrap()
                .single(&here)
                .is_none()
        );
    }

    #[test]
    fn unknown_kinds_are_no_references() {
        assert_eq!(Reference::parse("flie:/etc/a"), None);
        assert_eq!(Reference::parse("file"), None);
        assert_eq!(Reference::parse("h1:file:"), None);
    }
}
