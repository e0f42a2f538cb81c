//! Images: where they come from, and which of them have no digest.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::code;
use crate::model::diagnostic::{Diagnostic, Place};
use crate::model::id::{HostId, ResourceId, ResourceKey};
use crate::model::inventory::Host;
use crate::model::registry::{Images, Placed, is_pinned};
use crate::resource::Spec;

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

    /// Returns the image that a container runs, where its registry is asked for another at every plan, whoever asks.
    pub(super) fn asked_image(&self, id: &ResourceId) -> Option<ResourceId> {
        let desired = &self.wished.desired;
        let Spec::Container(container) = &desired.get(id)?.spec else {
            return None;
        };
        let image = ResourceKey::new("image", &container.spec.image).on(&id.host);
        match &desired.get(&image)?.spec {
            Spec::Image(found) if found.is_asked_for() => Some(image),
            _ => None,
        }
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
