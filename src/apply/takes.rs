//! What was found as declared: it is recorded, and nothing is done to it.

use std::collections::BTreeMap;

use crate::model::digest::Digest;
use crate::model::event::Event;
use crate::model::id::{HostId, ResourceKey};
use crate::model::observation::Observed;
use crate::model::plan::Take;
use crate::ports::LookRequest;
use crate::resource::Spec;

use super::crew::Crew;
use super::entry;

impl Crew<'_, '_> {
    /// Records what was found as declared. It is not looked at again: whoever changed it since is found by the next look,
    /// as a difference from what is recorded here. Unless it was seen by prints under a salt that nobody kept: these say nothing
    /// later, and what is there would count as changed by somebody.
    pub(super) async fn record_takes(&self, host: &HostId) -> Vec<Event> {
        let takes = self.run.plan.takes.get(host).map_or(&[][..], Vec::as_slice);
        let anew = self.seen_anew(host, takes).await;
        let mut entries = BTreeMap::new();
        for take in takes {
            let moved = take.keep.moved_from.as_ref();
            let before = self.owned(host, moved.unwrap_or(&take.key));
            entries.extend(moved.map(|moved| (moved.clone(), None)));
            let mut taken = entry::taken(take, before.as_ref());
            if let Some(after) = anew.get(&take.key) {
                taken.after = Some(after.clone());
            }
            entries.insert(take.key.clone(), Some(taken));
        }
        let error = self.record(host, &entries).await.err();
        vec![Event::Recorded {
            host: host.clone(),
            error,
        }]
    }

    /// Looks again at what the plan saw by prints before the host had a salt, and returns the digests that last.
    async fn seen_anew(&self, host: &HostId, takes: &[Take]) -> BTreeMap<ResourceKey, Digest> {
        let had_salt = self
            .run
            .plan
            .basis
            .get(host)
            .is_some_and(|basis| basis.lineage.is_some());
        let decoded = |take: &Take| Spec::decode(take.key.kind.as_str(), &take.spec).ok();
        let salted: BTreeMap<&ResourceKey, Spec> = takes
            .iter()
            .filter(|_| !had_salt)
            .filter_map(|take| Some((&take.key, decoded(take).filter(Spec::is_salted)?)))
            .collect();
        if salted.is_empty() {
            return BTreeMap::new();
        }
        let probes = salted.iter().map(|(key, spec)| ((*key).clone(), spec.probes()));
        let request = LookRequest {
            probes: probes.collect(),
            ..LookRequest::default()
        };
        // Where it does not answer now, the record says what the plan saw.
        let looked = self.run.ports.transport.look(host, &request).await.ok();
        let answers = looked.map(|reply| reply.answers).unwrap_or_default();
        let seen = |(key, spec): (&&ResourceKey, &Spec)| match spec.read(answers.get(*key)?) {
            observed @ Observed::Present(_) => Some(((*key).clone(), spec.seen(&observed))),
            Observed::Absent | Observed::Unknown(_) => None,
        };
        salted.iter().filter_map(seen).collect()
    }
}
