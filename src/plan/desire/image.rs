//! Images: where they come from, and which of them have no digest.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::code;
use crate::model::diagnostic::{Diagnostic, Place};
use crate::model::id::HostId;
use crate::model::inventory::Host;
use crate::model::registry::{Images, Placed, is_pinned};

use super::Wish;

/// An image as modules name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The hosts that have it.
    pub hosts: BTreeSet<HostId>,
    /// Where it is declared first.
    pub origin: Place,
}

impl Wish<'_> {
    /// Says how a host is asked for an image, and remembers who named it.
    pub(super) fn placed(&mut self, host: &Host, name: &str, origin: &Place) -> Placed {
        let named = self
            .wished
            .images
            .entry(name.to_owned())
            .or_insert_with(|| Named {
                hosts: BTreeSet::new(),
                origin: origin.clone(),
            });
        named.hosts.insert(host.id.clone());
        self.images.place(name)
    }
}

/// Returns a warning for each image whose name may mean another one tomorrow.
pub(super) fn unpinned(images: &BTreeMap<String, Named>, declared: &Images) -> Vec<Diagnostic> {
    let open = images
        .iter()
        .filter(|(name, _)| !is_pinned(name) && !declared.pins.contains_key(*name));
    open.map(|(name, named)| {
        let message = format!("image `{name}` has no digest, and may be another one on the next host");
        Diagnostic::warning(code::UNPINNED_IMAGE, message)
            .at(named.origin.clone(), "declared here")
            .hint("`muster pin` asks the registry for it")
    })
    .collect()
}
