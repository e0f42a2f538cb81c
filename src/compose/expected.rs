//! What an engine would hold of a container that is made from a spec: the spec over what its image says.

use crate::model::container::{ContainerSpec, Settings};
use crate::model::container_part::{Health, HealthCheck, Mount, MountFrom};
use crate::model::inspected::Image;

use super::normal;

/// Returns the settings that a container of this image has when it is as it must be.
pub(super) fn settings(spec: &ContainerSpec, image: &Image) -> Settings {
    let mut wanted = spec.settings.clone();
    let of_image = &image.settings;
    // An entrypoint of the spec's own takes the image's command away with the image's entrypoint; an empty one leaves the command.
    if wanted.entrypoint.as_ref().is_none_or(Vec::is_empty) {
        wanted.command = wanted.command.or_else(|| of_image.command.clone());
    }
    if wanted.entrypoint.is_none() {
        wanted.entrypoint = of_image.entrypoint.clone();
    }
    wanted.command = wanted.command.filter(|words| !words.is_empty());
    wanted.entrypoint = wanted.entrypoint.filter(|words| !words.is_empty());
    wanted.user = wanted.user.or_else(|| of_image.user.clone());
    wanted.working_dir = wanted.working_dir.or_else(|| of_image.working_dir.clone());
    wanted.stop_signal = wanted.stop_signal.or_else(|| of_image.stop_signal.clone());
    wanted.stop_grace_secs = wanted.stop_grace_secs.or(of_image.stop_grace_secs);
    wanted.healthcheck = health(wanted.healthcheck, of_image.healthcheck.clone());
    wanted.exposed.extend(of_image.exposed.iter().cloned());
    for (key, value) in &of_image.labels {
        wanted.labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    for path in &image.volumes {
        let anonymous = Mount {
            from: MountFrom::Anonymous,
            read_only: false,
            propagation: None,
            makes_host_path: false,
            nocopy: false,
        };
        wanted.mounts.entry(path.clone()).or_insert(anonymous);
    }
    // By its own name a container is found without an alias, and the engine may or may not say so.
    for endpoint in wanted.networks.values_mut() {
        endpoint.aliases.remove(&spec.name);
    }
    normal::settle(&mut wanted);
    wanted
}

/// The spec's check over the image's, part by part, as the engine does it.
fn health(own: Option<Health>, of_image: Option<Health>) -> Option<Health> {
    match (own, of_image) {
        (Some(Health::Check(own)), Some(Health::Check(image))) => Some(Health::Check(HealthCheck {
            test: if own.test.is_empty() { image.test } else { own.test },
            interval_nanos: said(own.interval_nanos).or(image.interval_nanos),
            timeout_nanos: said(own.timeout_nanos).or(image.timeout_nanos),
            retries: said(own.retries).or(image.retries),
            start_period_nanos: said(own.start_period_nanos).or(image.start_period_nanos),
            start_interval_nanos: said(own.start_interval_nanos).or(image.start_interval_nanos),
        })),
        (own, of_image) => own.or(of_image),
    }
}

/// To an engine 0 is not said, and so is the image's.
fn said(number: Option<u64>) -> Option<u64> {
    number.filter(|number| *number != 0)
}
