//! Aims: the plan cut down to what was asked for, with what that needs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::model::aim::{Aim, Aimed, Along};
use crate::model::change::Reason;
use crate::model::code;
use crate::model::diagnostic::{Diagnostic, Diagnostics, did_you_mean};
use crate::model::id::{HostId, ModuleName, ResourceId};
use crate::model::plan::{Held, HeldWhat, HeldWhy, Note};

use super::Work;

/// What is in the plan: what was aimed at, and what comes along.
#[derive(Default)]
pub(super) struct Wanted {
    ids: BTreeSet<ResourceId>,
    along: BTreeMap<ResourceId, Along>,
    excluded: BTreeSet<ResourceId>,
}

impl Work<'_> {
    /// Takes away what was not aimed at.
    ///
    /// What a wanted resource needs comes along, and so does what it wipes. Deletions never come along: what goes has to be named.
    /// Whatever would change and is left out, though something wanted rests on it, is held, and with it what rests on it.
    ///
    /// # Errors
    /// An error for each aim that means nothing.
    pub(in crate::plan) fn aim(&mut self) -> Result<(), Diagnostics> {
        if self.input.aims.is_empty() {
            return Ok(());
        }
        let changes_in_all = self.diffs.values().map(|diff| diff.changes.len()).sum();
        let wanted = self.wanted()?;
        let missed = self.missed(&wanted);
        self.note_stale_consumers(&wanted);
        self.drop_the_rest(&wanted);
        self.aimed = Some(Aimed {
            targets: self.input.aims.targets.clone(),
            excludes: self.input.aims.excludes.clone(),
            along: wanted.along.clone(),
            changes_in_all,
        });
        self.wanted = Some(wanted);
        missed.into_iter().for_each(|id| self.hold_left_out(id));
        Ok(())
    }

    /// Says whether a resource was left out of the plan.
    pub(super) fn is_left_out(&self, id: &ResourceId) -> bool {
        self.wanted
            .as_ref()
            .is_some_and(|wanted| !wanted.ids.contains(id))
    }

    /// Holds what was left out, so that what rests on it or would wipe it is held too.
    pub(super) fn hold_left_out(&mut self, id: ResourceId) {
        let is_excluded = self
            .wanted
            .as_ref()
            .is_some_and(|wanted| wanted.excluded.contains(&id));
        let why = match is_excluded {
            true => "left out by `--exclude`",
            false => "left out by `--target`",
        };
        if let Some(diff) = self.diffs.get_mut(&id.host) {
            diff.changes.remove(&id.key);
            diff.seen.remove(&id.key);
            let what = HeldWhat::Resource(id);
            diff.held.retain(|held| held.what != what);
            let why = HeldWhy::LeftOut(why.to_owned());
            diff.held.push(Held { what, why });
        }
    }

    /// Keeps of what comes along only what the finished plan changes.
    pub(super) fn aimed_at(&mut self) -> Option<Aimed> {
        let mut aimed = self.aimed.take()?;
        aimed.along.retain(|id, _| self.change(id).is_some());
        Some(aimed)
    }

    fn wanted(&self) -> Result<Wanted, Diagnostics> {
        let all = self.known_resources();
        let targets = self.meant(&self.input.aims.targets, "--target", &all);
        let excluded = self.meant(&self.input.aims.excludes, "--exclude", &all);
        let (targets, excluded) = match (targets, excluded) {
            (Ok(targets), Ok(excluded)) => (targets, excluded),
            (targets, excluded) => {
                let mut found = Diagnostics::default();
                found.extend(targets.err().into_iter().chain(excluded.err()).flatten());
                return Err(found);
            }
        };
        let named = match self.input.aims.targets.is_empty() {
            true => all.keys().cloned().collect(),
            false => targets,
        };
        Ok(self.with_what_comes_along(named, excluded))
    }

    /// Returns every resource that is declared, or that a manifest owns, where the limit allows it; with the modules that declare it.
    fn known_resources(&self) -> BTreeMap<ResourceId, BTreeSet<ModuleName>> {
        let desired = self.input.desired.iter();
        let desired = desired.map(|(id, entry)| (id, entry.modules.clone()));
        let owned = self.input.seen.hosts.iter().flat_map(|(host, view)| {
            let owned = view
                .manifest
                .present()
                .into_iter()
                .flat_map(|manifest| manifest.owned.keys());
            owned.map(move |key| (key.on(host), BTreeSet::new()))
        });
        // What is declared comes last, so that its modules stand.
        let all = owned.chain(desired);
        all.filter(|(id, _)| !self.is_limited_out(&id.host)).collect()
    }

    /// Returns what aims mean, or an error for each that means nothing: a misspelt target must not become "all is well".
    fn meant(
        &self,
        aims: &[Aim],
        flag: &str,
        all: &BTreeMap<ResourceId, BTreeSet<ModuleName>>,
    ) -> Result<BTreeSet<ResourceId>, Vec<Diagnostic>> {
        let mut meant = BTreeSet::new();
        let mut errors = Vec::new();
        let members = self.input.inventory.members();
        let field = self.input.inventory.field(&members);
        for aim in aims {
            let hosts = match aim.hosts(&field) {
                Ok(hosts) => hosts,
                Err(error) => {
                    let hosts = self.input.inventory.hosts.keys().map(HostId::as_str);
                    let word = aim.to_string();
                    let word = word.rsplit('@').next().unwrap_or_default();
                    let hint = match members.keys().any(|group| group.as_str() == word) {
                        true => Some(format!("`{word}` is a group: write `@@{word}`")),
                        false => did_you_mean(word, hosts),
                    };
                    errors.push(
                        Diagnostic::error(code::NO_SUCH_TARGET, format!("{flag} {aim}: {error}"))
                            .hint_opt(hint),
                    );
                    continue;
                }
            };
            let is_on = |host: &HostId| hosts.as_ref().is_none_or(|hosts| hosts.contains(host));
            let fitting = all
                .iter()
                .filter(|(id, modules)| is_on(&id.host) && aim.means(id, modules));
            let fitting: Vec<ResourceId> = fitting.map(|(id, _)| id.clone()).collect();
            if fitting.is_empty() && !self.may_be_unsaid(&is_on) {
                errors.push(self.meaningless(aim, flag, all, &is_on));
            }
            meant.extend(fitting);
        }
        if errors.is_empty() { Ok(meant) } else { Err(errors) }
    }

    /// Says whether a host's resources could not all be said, so that a missing one is no mistake.
    fn may_be_unsaid(&self, is_on: &dyn Fn(&HostId) -> bool) -> bool {
        let mut hosts = self.input.desired.hosts.iter();
        hosts.any(|(host, desired)| is_on(host) && desired.held.is_some())
    }

    fn meaningless(
        &self,
        aim: &Aim,
        flag: &str,
        all: &BTreeMap<ResourceId, BTreeSet<ModuleName>>,
        is_on: &dyn Fn(&HostId) -> bool,
    ) -> Diagnostic {
        let found = Diagnostic::error(
            code::NO_SUCH_TARGET,
            format!("{flag} {aim}: no such resource is declared, and no manifest has one"),
        );
        let on_hosts = || all.iter().filter(|(id, _)| is_on(&id.host));
        if let Some(module) = aim.module() {
            let modules: BTreeSet<&str> = on_hosts()
                .flat_map(|(_, modules)| modules.iter().map(ModuleName::as_str))
                .collect();
            return found.hint_opt(did_you_mean(module, modules));
        }
        let keys: BTreeSet<String> = on_hosts().map(|(id, _)| id.key.to_string()).collect();
        let wanted = aim.key().unwrap_or_default();
        let near = did_you_mean(&wanted, keys.iter().map(String::as_str));
        let elsewhere = || {
            aim.key()?;
            let mut hosts = all
                .iter()
                .filter(|(id, modules)| aim.means(id, modules))
                .map(|(id, _)| &id.host);
            hosts.next().map(|host| format!("it is on `{host}`"))
        };
        let unlimited = || {
            self.input
                .limit
                .as_ref()
                .map(|(selector, _)| format!("--limit {selector} leaves out some hosts"))
        };
        found.hint_opt(elsewhere().or(near).or_else(unlimited))
    }

    /// Adds what the named resources need, whether it changes or not, and what their changes wipe.
    fn with_what_comes_along(&self, named: BTreeSet<ResourceId>, excluded: BTreeSet<ResourceId>) -> Wanted {
        let mut lost_on: BTreeMap<&ResourceId, Vec<ResourceId>> = BTreeMap::new();
        for (id, entry) in self.input.desired.iter() {
            for wiping in &entry.loses_on {
                lost_on.entry(wiping).or_default().push(id.clone());
            }
        }
        let mut wanted = Wanted {
            ids: BTreeSet::new(),
            along: BTreeMap::new(),
            excluded,
        };
        let mut queue: VecDeque<(ResourceId, Option<Along>)> =
            named.into_iter().map(|id| (id, None)).collect();
        while let Some((id, along)) = queue.pop_front() {
            if wanted.excluded.contains(&id)
                || self.is_limited_out(&id.host)
                || !wanted.ids.insert(id.clone())
            {
                continue;
            }
            // What is wiped changes too, though nothing planned it yet.
            let is_wiped = matches!(along, Some(Along::WipedBy(_)));
            let changes = is_wiped || self.change(&id).is_some();
            if let Some(along) = along {
                wanted.along.insert(id.clone(), along);
            }
            let needs = self.input.desired.get(&id).map(|entry| &entry.needs);
            let needs = needs.into_iter().flatten().cloned();
            queue.extend(needs.map(|need| (need, Some(Along::NeededBy(id.clone())))));
            let wiped = lost_on
                .get(&id)
                .filter(|_| changes)
                .into_iter()
                .flatten()
                .cloned();
            queue.extend(wiped.map(|wiped| (wiped, Some(Along::WipedBy(id.clone())))));
        }
        wanted
    }

    /// Returns what would change and is left out, though a wanted change rests on it.
    fn missed(&self, wanted: &Wanted) -> BTreeSet<ResourceId> {
        let changes = |id: &ResourceId| self.change(id).is_some();
        let is_out = |id: &ResourceId| !wanted.ids.contains(id);
        let desired = self.input.desired.iter();
        let needed = desired
            .filter(|(id, _)| !is_out(id) && changes(id))
            .flat_map(|(_, entry)| {
                entry
                    .needs
                    .iter()
                    .filter(|need| is_out(need) && changes(need))
                    .cloned()
            });
        let wiped = self.input.desired.iter().filter(|(id, entry)| {
            is_out(id)
                && entry
                    .loses_on
                    .iter()
                    .any(|wiping| !is_out(wiping) && changes(wiping))
        });
        // What stands on something that goes has to go, or change, before.
        let standing = self.users_of_deletions();
        let standing = standing
            .into_iter()
            .filter(|(id, _)| !is_out(id))
            .flat_map(|(_, users)| users)
            .filter(|user| is_out(user) && changes(user));
        needed.chain(wiped.map(|(id, _)| id)).chain(standing).collect()
    }

    /// Says which services go on with what they have, though this plan changes what they read at their start.
    fn note_stale_consumers(&mut self, wanted: &Wanted) {
        let left_out = self.diffs.values().flat_map(|diff| diff.changes.values());
        let left_out = left_out.filter(|change| !wanted.ids.contains(&change.target));
        let mut notes = Vec::new();
        for change in left_out {
            let read = change.reasons.iter().filter_map(|reason| match reason {
                Reason::Consumes(ids) => Some(ids),
                _ => None,
            });
            let read: Vec<String> = read
                .flatten()
                .filter(|id| wanted.ids.contains(id))
                .map(|id| id.key.to_string())
                .collect();
            if !read.is_empty() {
                notes.push(Note {
                    subject: change.target.host.to_string(),
                    text: format!(
                        "{} is left out, and goes on with the old {}",
                        change.target.key,
                        read.join(", ")
                    ),
                });
            }
        }
        self.notes.extend(notes);
    }

    fn drop_the_rest(&mut self, wanted: &Wanted) {
        let is_wanted =
            |host: &HostId, key: &crate::model::id::ResourceKey| wanted.ids.contains(&key.on(host));
        for (host, diff) in &mut self.diffs {
            diff.changes.retain(|key, _| is_wanted(host, key));
            diff.seen.retain(|key, _| is_wanted(host, key));
            diff.takes.retain(|take| is_wanted(host, &take.key));
            diff.held.retain(|held| match &held.what {
                HeldWhat::Host(_) => true,
                HeldWhat::Resource(id) => wanted.ids.contains(id) || matches!(held.why, HeldWhy::LeftOut(_)),
            });
        }
        let hosts: BTreeSet<&HostId> = wanted.ids.iter().map(|id| &id.host).collect();
        self.held.retain(|held| match &held.what {
            HeldWhat::Host(host) => hosts.contains(host),
            HeldWhat::Resource(id) => wanted.ids.contains(id),
        });
    }
}
