//! Looking at the fleet. One connection a host; failures become data. Decides nothing.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::{self, StreamExt};

use crate::model::id::{HostId, ResourceKey};
use crate::model::manifest::Manifest;
use crate::model::observation::{Facts, FactsSeen, HostView, Observation, Reach};
use crate::ports::{LookReply, LookRequest, Ports, ReachError, Salt};
use crate::resource::desired::{Desired, DesiredHost};
use crate::resource::{Spec, others};

/// What a look at the fleet brought.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// What every host said. May be recorded.
    pub observation: Observation,
    /// The salts of the hosts that have one. Never recorded.
    pub salts: BTreeMap<HostId, Salt>,
}

/// How a look goes about it.
#[derive(Debug, Clone, Copy)]
pub struct LookOptions {
    /// How many hosts are looked at side by side, at least 1.
    pub parallel: usize,
    /// Whether the connection to a host is closed when its look is done.
    pub closes: bool,
}

/// Gathers facts: one exec a host.
pub async fn facts(ports: &Ports, hosts: &BTreeSet<HostId>, parallel: usize) -> FactsSeen {
    let request = LookRequest {
        facts: true,
        ..LookRequest::default()
    };
    let looks =
        stream::iter(hosts).map(|host| async { (host.clone(), ports.transport.look(host, &request).await) });
    let replies: Vec<_> = looks.buffer_unordered(parallel.max(1)).collect().await;
    let mut seen = FactsSeen::default();
    for (host, reply) in replies {
        match reply.map(|reply| reply.facts) {
            Ok(Some(facts)) => drop(seen.known.insert(host, facts)),
            Ok(None) => drop(seen.lost.insert(host, "it said nothing of its facts".to_owned())),
            Err(error) => drop(seen.lost.insert(host, error.to_string())),
        }
    }
    seen
}

/// Looks at hosts: one exec each, and a second one where the manifest names resources that nobody declares.
///
/// Hosts that did not answer when their facts were gathered are not asked again.
pub async fn look(
    ports: &Ports,
    desired: &Desired,
    hosts: &BTreeSet<HostId>,
    facts: &FactsSeen,
    options: LookOptions,
) -> Seen {
    let looks = stream::iter(hosts).map(|host| async move {
        let nothing = DesiredHost::default();
        let wanted = desired.hosts.get(host).unwrap_or(&nothing);
        let reply = match facts.lost.get(host) {
            Some(why) => Err(ReachError::Unreachable(why.clone())),
            None => look_at(ports, host, wanted).await,
        };
        if options.closes {
            ports.transport.close(host).await;
        }
        (host.clone(), reply)
    });
    let replies: Vec<_> = looks.buffer_unordered(options.parallel.max(1)).collect().await;
    let mut seen = Seen::default();
    seen.observation.taken_at = ports.clock.now().to_string();
    for (host, reply) in replies {
        let view = match reply {
            Ok(mut reply) => {
                seen.salts
                    .extend(reply.salt.take().map(|salt| (host.clone(), salt)));
                view(reply, facts.known.get(&host).cloned())
            }
            Err(error) => HostView::unreachable(error.to_string()),
        };
        seen.observation.hosts.insert(host, view);
    }
    seen
}

/// Looks at hosts, with a request for each: one exec each.
pub async fn look_for(
    ports: &Ports,
    wanted: &BTreeMap<HostId, LookRequest>,
    options: LookOptions,
) -> Observation {
    let looks = stream::iter(wanted).map(|(host, request)| async move {
        let reply = ports.transport.look(host, request).await;
        if options.closes {
            ports.transport.close(host).await;
        }
        (host.clone(), reply)
    });
    let replies: Vec<_> = looks.buffer_unordered(options.parallel.max(1)).collect().await;
    let seen = |(host, reply): (HostId, Result<LookReply, ReachError>)| match reply {
        Ok(reply) => (host, view(reply, None)),
        Err(error) => (host, HostView::unreachable(error.to_string())),
    };
    Observation {
        taken_at: ports.clock.now().to_string(),
        hosts: replies.into_iter().map(seen).collect(),
    }
}

async fn look_at(ports: &Ports, host: &HostId, desired: &DesiredHost) -> Result<LookReply, ReachError> {
    let mut request = LookRequest::default();
    for (key, entry) in &desired.entries {
        request.probes.insert(key.clone(), entry.spec.probes());
        request
            .tools
            .extend(entry.spec.tools().iter().map(|tool| (*tool).to_owned()));
    }
    let others = others::probe(desired);
    request
        .probes
        .extend(others.map(|probe| (others::key(), vec![probe])));
    let mut reply = ports.transport.look(host, &request).await?;
    let leftovers = reply
        .manifest
        .present()
        .map(|manifest| leftovers(manifest, desired))
        .unwrap_or_default();
    if !leftovers.is_empty() {
        let request = LookRequest {
            probes: leftovers,
            ..LookRequest::default()
        };
        reply
            .answers
            .extend(ports.transport.look(host, &request).await?.answers);
    }
    veil(&mut reply, desired);
    Ok(reply)
}

/// Takes out of the answers what no plan and no recorded look may hold.
fn veil(reply: &mut LookReply, desired: &DesiredHost) {
    let manifest = reply.manifest.present();
    let salt = reply.salt.as_ref().map(|salt| salt.0.as_slice());
    for (key, answers) in &mut reply.answers {
        let owned = manifest.and_then(|manifest| manifest.owned.get(key));
        let veiled = match desired.entries.get(key) {
            Some(entry) => entry.spec.veil(owned, answers, salt),
            None => owned
                .and_then(|owned| Spec::decode(key.kind.as_str(), &owned.spec).ok())
                .and_then(|spec| spec.veil(owned, answers, salt)),
        };
        if let Some(veiled) = veiled {
            *answers = veiled;
        }
    }
}

/// Returns the probes of everything that the manifest names and nobody declares.
fn leftovers(
    manifest: &Manifest,
    desired: &DesiredHost,
) -> BTreeMap<ResourceKey, Vec<crate::model::op::Probe>> {
    let undeclared = manifest
        .owned
        .iter()
        .filter(|(key, _)| !desired.entries.contains_key(key));
    let probes = |(key, owned): (&ResourceKey, &crate::model::manifest::Owned)| {
        let spec = Spec::decode(key.kind.as_str(), &owned.spec).ok()?;
        Some((key.clone(), spec.probes()))
    };
    undeclared.filter_map(probes).collect()
}

fn view(reply: LookReply, facts: Option<Facts>) -> HostView {
    HostView {
        reach: Reach::Reached,
        machine: Some(reply.machine),
        facts: reply.facts.or(facts),
        manifest: reply.manifest,
        answers: reply.answers,
    }
}
