//! Waves: changed hosts × policy → which changes happen together. Source: decisions 0007 and 0021.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::change::{Action, Change, Disruption};
use crate::model::gate::HostGate;
use crate::model::id::{HostId, ResourceId};
use crate::model::inventory::Inventory;
use crate::model::switch::Switch;
use crate::model::wave::{Canary, RolloutPolicy, Wave, WaveKind};

/// What waves are cut by.
pub struct WaveInput<'a> {
    /// The inventory: its policy, its labels, its size.
    pub inventory: &'a Inventory,
    /// The changes, in an order in which nothing comes before what it needs.
    pub ordered: Vec<&'a ResourceId>,
    /// The changes by resource, their needs filled.
    pub changes: &'a BTreeMap<ResourceId, Change>,
    /// Changes that are made in one go, and so in one wave.
    pub switches: &'a BTreeMap<HostId, Switch>,
    /// Hosts that are down already, or about which nobody knows.
    pub down: BTreeSet<HostId>,
}

/// A wave while it is being cut.
struct Cut {
    kind: WaveKind,
    hosts: BTreeSet<HostId>,
    disrupted: BTreeSet<HostId>,
    changes: Vec<ResourceId>,
}

impl<'a> WaveInput<'a> {
    /// Returns how many more hosts may be down at once: the policy's share of the whole fleet, less those down already.
    pub fn room(&self) -> usize {
        let whole = self.inventory.hosts.len();
        self.inventory
            .policy
            .down_max
            .of(whole)
            .saturating_sub(self.down.len())
    }

    /// Splits the changed hosts into waves: what goes ahead, then canaries, then batches.
    ///
    /// Every change is in exactly one wave, and in none before that of anything it needs, on whatever host. No wave is
    /// empty. No wave disrupts more hosts than [`Self::room`]. None but that which goes ahead has more hosts than a batch, or
    /// two hosts with one value of the label that the policy spreads over. Callers have held back disrupting changes where there is no room.
    pub fn waves(&self) -> Vec<Wave> {
        let mut cuts = Vec::from_iter(self.ahead());
        let ahead = cuts.len();
        cuts.extend(self.base());
        let base: BTreeMap<HostId, usize> = cuts
            .iter()
            .enumerate()
            .skip(ahead)
            .flat_map(|(index, cut)| cut.hosts.iter().map(move |host| (host.clone(), index)))
            .collect();
        let mut wave_of: BTreeMap<&ResourceId, usize> = BTreeMap::new();
        for (index, cut) in cuts[..ahead].iter().enumerate() {
            let taken = cut.changes.iter().filter_map(|id| self.changes.get_key_value(id));
            wave_of.extend(taken.map(|(id, _)| (id, index)));
        }
        for id in &self.ordered {
            if wave_of.contains_key(id) {
                continue;
            }
            let together = self.together(id);
            let changes = || together.iter().map(|id| &self.changes[*id]);
            let needed = changes()
                .flat_map(|change| &change.needs)
                .filter_map(|need| wave_of.get(need))
                .max()
                .copied()
                .unwrap_or(0);
            let disrupting = changes().any(is_disrupting);
            let mut wave = needed.max(base[&id.host]);
            while wave < cuts.len() && !self.fits(&cuts[wave], &id.host, disrupting) {
                wave += 1;
            }
            if wave == cuts.len() {
                cuts.push(Cut::new(WaveKind::Finish));
            }
            cuts[wave].take(&id.host, disrupting);
            cuts[wave].changes.extend(together.iter().map(|id| (*id).clone()));
            wave_of.extend(together.into_iter().map(|id| (id, wave)));
        }
        cuts.into_iter()
            .filter(|cut| !cut.changes.is_empty())
            .map(|cut| self.wave(cut))
            .collect()
    }

    /// Returns a change with all that is made in one go with it. Its place in the order is after what any of them needs.
    fn together(&self, id: &'a ResourceId) -> Vec<&'a ResourceId> {
        let switch = self.switches.get(&id.host);
        match switch.filter(|switch| switch.changes.contains(id)) {
            Some(switch) => switch.changes.iter().collect(),
            None => vec![id],
        }
    }

    /// Cuts off what is brought along before anything else: images of hosts that this plan disrupts, so that nobody is down while
    /// gigabytes come. All hosts at once, as many side by side as the policy says, since nothing that serves changes. What needs a
    /// change of this plan itself, such as that of the engine, does not go ahead.
    fn ahead(&self) -> Option<Cut> {
        let disrupted: BTreeSet<&HostId> = self.disrupted();
        let goes = |id: &&&ResourceId| {
            let change = &self.changes[**id];
            let is_alone = !change.needs.iter().any(|need| self.changes.contains_key(need));
            id.key.kind.as_str() == "image"
                && change.action == Action::Create
                && is_alone
                && disrupted.contains(&id.host)
        };
        let mut cut = Cut::new(WaveKind::Ahead);
        for id in self.ordered.iter().filter(goes) {
            cut.take(&id.host, false);
            cut.changes.push((*id).clone());
        }
        Some(cut).filter(|cut| !cut.changes.is_empty())
    }

    fn disrupted(&self) -> BTreeSet<&'a HostId> {
        let disrupting = self.changes.values().filter(|change| is_disrupting(change));
        disrupting.map(|change| &change.target.host).collect()
    }

    /// Deals the hosts out: canaries, then batches.
    fn base(&self) -> Vec<Cut> {
        let hosts = self.hosts_in_order();
        let canaries = self.canaries(&hosts);
        let disrupted = self.disrupted();
        let mut cuts = Vec::new();
        for kind in [WaveKind::Canary, WaveKind::Batch] {
            let mut waiting: Vec<&HostId> = hosts
                .iter()
                .copied()
                .filter(|host| canaries.contains(*host) == (kind == WaveKind::Canary))
                .collect();
            while !waiting.is_empty() {
                let mut cut = Cut::new(kind);
                waiting.retain(|host| {
                    // A wave that is still empty takes any host, so that every host finds one.
                    let fits = cut.hosts.is_empty() || self.fits(&cut, host, disrupted.contains(host));
                    if fits {
                        cut.take(host, disrupted.contains(host));
                    }
                    !fits
                });
                cuts.push(cut);
            }
        }
        // From here on only what really lies in a wave counts, but its hosts keep their seats.
        cuts
    }

    fn hosts_in_order(&self) -> Vec<&HostId> {
        let members = self.inventory.members();
        let field = self.inventory.field(&members);
        let order: Vec<BTreeSet<HostId>> = self
            .policy()
            .order
            .iter()
            .map(|selector| selector.resolve(&field).unwrap_or_default())
            .collect();
        let changed: BTreeSet<&HostId> = self.changes.keys().map(|id| &id.host).collect();
        let mut hosts: Vec<&HostId> = changed.into_iter().collect();
        hosts.sort_by_key(|host| {
            (
                order
                    .iter()
                    .position(|group| group.contains(*host))
                    .unwrap_or(order.len()),
                (*host).clone(),
            )
        });
        hosts
    }

    fn canaries(&self, hosts: &[&HostId]) -> BTreeSet<HostId> {
        match &self.policy().canary {
            None => BTreeSet::new(),
            Some(Canary::First(share)) => {
                let count = share.of(self.inventory.hosts.len());
                hosts.iter().take(count).map(|host| (*host).clone()).collect()
            }
            Some(Canary::Hosts(selector)) => self.inventory.select(selector).unwrap_or_default(),
        }
    }

    fn policy(&self) -> &RolloutPolicy {
        &self.inventory.policy
    }

    /// Says whether a host may join a wave; one that is in it already may, if that disrupts nobody further.
    fn fits(&self, cut: &Cut, host: &HostId, disrupting: bool) -> bool {
        let has_room =
            !disrupting || cut.disrupted.contains(host) || cut.disrupted.len() < self.room().max(1);
        if cut.hosts.contains(host) {
            return has_room;
        }
        let batch = self.policy().batch.of(self.inventory.hosts.len()).max(1);
        let label = |host: &HostId| {
            let key = self.policy().spread.as_ref()?;
            self.inventory.hosts.get(host)?.labels.get(key)
        };
        let is_spread =
            label(host).is_none_or(|mine| cut.hosts.iter().all(|other| label(other) != Some(mine)));
        has_room && is_spread && cut.hosts.len() < batch
    }

    fn wave(&self, cut: Cut) -> Wave {
        let hosts: BTreeSet<HostId> = cut.changes.iter().map(|id| id.host.clone()).collect();
        let gates = |host: &HostId| {
            let host = host.clone();
            self.policy().gates.iter().map(move |gate| HostGate {
                host: host.clone(),
                gate: gate.clone(),
            })
        };
        // Nothing that serves has changed yet.
        let gated = hosts.iter().filter(|_| cut.kind != WaveKind::Ahead);
        let after = gated.flat_map(gates).collect();
        let width = self.policy().parallel.min(hosts.len()).max(1);
        Wave {
            kind: cut.kind,
            width,
            after,
            hosts,
            changes: cut.changes,
        }
    }
}

impl Cut {
    fn new(kind: WaveKind) -> Self {
        Self {
            kind,
            hosts: BTreeSet::new(),
            disrupted: BTreeSet::new(),
            changes: Vec::new(),
        }
    }

    fn take(&mut self, host: &HostId, disrupting: bool) {
        // Asked first, since a host has many changes and a name is a string.
        if !self.hosts.contains(host) {
            self.hosts.insert(host.clone());
        }
        if disrupting && !self.disrupted.contains(host) {
            self.disrupted.insert(host.clone());
        }
    }
}

/// Says whether a change takes something down that others use.
pub fn is_disrupting(change: &Change) -> bool {
    change.disruption != Disruption::None
}
