//! Differences: a container that must be against the one that is, field by field, each with what it takes to mend it.

use std::collections::BTreeSet;

use crate::model::change::Shown;
use crate::model::container::{ContainerSpec, Settings, strangers, words};
use crate::model::container_part::{Port, Restart};
use crate::model::inspected::{Differences, Inspected};
use crate::model::known::Known;

use super::found::Found;
use super::{diff_env, diff_host, diff_network, diff_process, expected, image, show};

/// Compares a container with what it must be.
///
/// `known` has the outputs of other resources, and the prints of the values of [`ContainerSpec::sensitive_env`] under the
/// host's salt, by their bodies' digests. A value without a print is not compared, and listed.
///
/// What the container's image says is no difference, nor is what the engine does where nothing is said. The labels of
/// Compose and of muster are left aside, so a container that somebody else made is adopted when it is equal.
pub fn differences(spec: &ContainerSpec, seen: &Inspected, known: &Known) -> Differences {
    let mut found = Found::default();
    if !image::runs(&spec.image, seen) {
        let short = |id: &str| {
            id.trim_start_matches("sha256:")
                .get(..12)
                .unwrap_or(id)
                .to_owned()
        };
        let now = seen
            .image_now
            .as_deref()
            .map(|id| format!("{} ({})", spec.image, short(id)));
        let before = format!("{} ({})", seen.image, short(&seen.runs.id));
        found.add(
            "image",
            Shown::Text(before),
            Shown::Text(now.unwrap_or_else(|| spec.image.clone())),
        );
    }
    if seen.name != spec.name && !spec.former_names.contains(&seen.name) {
        found.text("container_name", &seen.name, &spec.name);
    }
    let wanted = expected::settings(spec, &seen.runs);
    let is = &seen.settings;
    found.option("command", is.command.as_ref(), wanted.command.as_ref(), |list| {
        words(list)
    });
    found.option(
        "entrypoint",
        is.entrypoint.as_ref(),
        wanted.entrypoint.as_ref(),
        |list| words(list),
    );
    diff_env::compare(&mut found, spec, seen, known);
    diff_process::process(&mut found, is, &wanted);
    diff_host::mounts(&mut found, is, &wanted);
    found.set("ports", &is.ports, &wanted.ports);
    found.set("expose", &only_exposed(is), &only_exposed(&wanted));
    diff_process::health(&mut found, is.healthcheck.as_ref(), wanted.healthcheck.as_ref());
    diff_host::limits(&mut found, is, &wanted);
    diff_host::devices(&mut found, is, &wanted);
    diff_network::network(&mut found, seen, &wanted);
    found.map(
        "labels",
        &strangers(&is.labels),
        &strangers(&wanted.labels),
        |value| value.clone(),
    );
    if is.restart != wanted.restart {
        found.text("restart", is.restart, wanted.restart);
    }
    diff_host::logging(&mut found, seen, wanted.logging.as_ref());
    diff_process::security(&mut found, is, &wanted);
    diff_process::shared(&mut found, seen, &wanted);
    state(&mut found, spec, seen);
    Differences {
        changes: found.changes,
        uncompared: found.uncompared,
    }
}

/// What is published is exposed besides, and told once.
fn only_exposed(settings: &Settings) -> BTreeSet<Port> {
    let is_published = |port: &Port| settings.ports.iter().any(|published| published.port == *port);
    settings
        .exposed
        .iter()
        .filter(|port| !is_published(port))
        .cloned()
        .collect()
}

/// A container must run, and have been started after the last change of every rendered file that it sees.
fn state(found: &mut Found, spec: &ContainerSpec, seen: &Inspected) {
    if let Some(name) = &seen.predecessor {
        found.text("predecessor", format!("{name} waits"), "gone");
    }
    let state = &seen.state;
    // One that ended well is started again by no policy but these.
    let stays_ended = matches!(spec.settings.restart, Restart::No | Restart::OnFailure(_));
    let has_done = state.status == "exited" && state.exit_code == 0 && stays_ended;
    if !state.is_running() {
        if !has_done {
            found.text("state", show::state(state), "running");
        }
        return;
    }
    let Some(started) = state.started_at_nanos else {
        return;
    };
    for path in spec.mounted.keys() {
        if seen
            .changed_at_nanos
            .get(path)
            .is_some_and(|changed| *changed >= started)
        {
            found.text(
                &format!("mounted.{path}"),
                "as before its last change",
                "as it is now",
            );
        }
    }
}
