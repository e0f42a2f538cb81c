//! Parts: the resources that a Compose project becomes, made from what its files declare.

use crate::model::body::Body;
use crate::model::container::{ContainerSpec, Pull};
use crate::model::network::NetworkSpec;
use crate::model::registry::Placed;
use crate::model::volume::VolumeSpec;

use super::container::Container;
use super::directory::Directory;
use super::file::File;
use super::image::{Image, PullPolicy};
use super::{Spec, network, volume};

/// Returns a folder.
pub fn directory(path: &str, [owner, group]: [&str; 2], mode: &str) -> Spec {
    Spec::Directory(Directory {
        path: path.to_owned(),
        owner: owner.to_owned(),
        group: group.to_owned(),
        mode: mode.to_owned(),
        identity: false,
    })
}

/// Returns a file.
pub fn file(path: &str, content: Body, [owner, group]: [&str; 2], mode: &str, sensitive: bool) -> Spec {
    Spec::File(File {
        path: path.to_owned(),
        content,
        owner: owner.to_owned(),
        group: group.to_owned(),
        mode: mode.to_owned(),
        validate: None,
        sensitive,
    })
}

/// Returns an image.
pub fn image(placed: &Placed, platform: Option<String>, pull: Pull) -> Spec {
    Spec::Image(Image {
        name: placed.name.clone(),
        platform,
        pull_policy: match pull {
            Pull::Always => PullPolicy::Always,
            Pull::Missing | Pull::Never => PullPolicy::Missing,
        },
        login: placed.login.clone(),
    })
}

/// Returns a network.
pub fn network(spec: &NetworkSpec) -> Spec {
    Spec::Network(network::Network::from(spec))
}

/// Returns a volume.
pub fn volume(spec: &VolumeSpec) -> Spec {
    Spec::Volume(volume::Volume::from(spec))
}

/// Returns a container. The files that its project writes for it are parts of their own.
pub fn container(mut spec: ContainerSpec, within_secs: u64) -> Spec {
    spec.files.clear();
    Spec::Container(Container::new(spec, within_secs))
}
