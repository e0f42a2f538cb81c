//! Groups: their members, and the selectors that name groups.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use toml::Spanned;
use toml::de::DeValue;

use crate::model::code;
use crate::model::diagnostic::{Diagnostic, Place, did_you_mean};
use crate::model::id::{GroupName, HostId, ModuleName};
use crate::model::inventory::{Group, Values};
use crate::model::selector::{Field, Selector, Term};

use super::inventory::{Picked, unresolved};
use super::raw::inventory::RawGroup;
use super::reader::Reader;
use super::table::decode;
use super::values;

/// A group as its file has it.
pub(super) struct GroupDraft {
    pub(super) origin: Place,
    hosts: Vec<(HostId, Place)>,
    select: Option<(String, Place)>,
    values: Values,
}

/// Reads a group's table.
pub(super) fn draft(
    reader: &mut Reader,
    file: &str,
    id: &GroupName,
    (key, value): (Range<usize>, &Spanned<DeValue<'_>>),
    modules: &BTreeSet<ModuleName>,
) -> GroupDraft {
    let origin = reader.sources.place(
        file,
        if value.span().is_empty() {
            key
        } else {
            value.span()
        },
    );
    let form: Option<RawGroup> = decode(reader, file, value, &format!("group `{id}`"));
    let given = value
        .get_ref()
        .get("values")
        .filter(|values| values.get_ref().is_table());
    let values = given
        .map(|given| values::layer(reader, file, given, modules))
        .unwrap_or_default();
    let (hosts, select) = form.map(|form| (form.hosts, form.select)).unwrap_or_default();
    let place = |span| reader.sources.place(file, span);
    GroupDraft {
        origin,
        hosts: hosts
            .iter()
            .map(|host| (host.get_ref().clone(), place(host.span())))
            .collect(),
        select: select.map(|text| (text.get_ref().clone(), place(text.span()))),
        values,
    }
}

/// Resolves selectors against the hosts and the groups that are known so far.
pub(super) struct Picker<'h> {
    field_hosts: BTreeMap<&'h HostId, &'h BTreeMap<String, String>>,
    members: BTreeMap<GroupName, BTreeSet<HostId>>,
}

impl<'h> Picker<'h> {
    /// Starts with groups that have no members yet.
    pub(super) fn new<'g>(
        hosts: BTreeMap<&'h HostId, &'h BTreeMap<String, String>>,
        groups: impl Iterator<Item = &'g GroupName>,
    ) -> Self {
        Self {
            field_hosts: hosts,
            members: groups.map(|name| (name.clone(), BTreeSet::new())).collect(),
        }
    }

    /// Returns a selector and its hosts, or reports why it has none.
    pub(super) fn pick(&self, reader: &mut Reader, text: &str, place: &Place) -> Option<Picked> {
        let field = Field {
            hosts: self.field_hosts.clone(),
            groups: &self.members,
        };
        let picked = text.parse::<Selector>().and_then(|selector| {
            let hosts = selector.resolve(&field)?;
            Ok((selector, hosts))
        });
        picked
            .map_err(|error| {
                let hosts = self.field_hosts.keys().map(|host| host.as_str());
                let found = unresolved(&error, hosts, self.members.keys().map(GroupName::as_str));
                reader.diagnostics.push(found.at(place.clone(), "selected here"));
            })
            .ok()
    }
}

/// Finds the members of every group, those first that others select.
pub(super) fn resolve(
    reader: &mut Reader,
    drafts: BTreeMap<GroupName, GroupDraft>,
    picker: &mut Picker<'_>,
) -> BTreeMap<GroupName, Group> {
    let order = order(reader, &drafts);
    for name in &order {
        let members = drafts[name].members(reader, name, picker);
        picker.members.insert(name.clone(), members);
    }
    drafts
        .into_iter()
        .map(|(name, draft)| {
            let members = picker.members[&name].clone();
            (
                name,
                Group {
                    members,
                    values: draft.values,
                    origin: draft.origin,
                },
            )
        })
        .collect()
}

impl GroupDraft {
    fn members(&self, reader: &mut Reader, name: &GroupName, picker: &Picker<'_>) -> BTreeSet<HostId> {
        let mut members = BTreeSet::new();
        for (host, place) in &self.hosts {
            if picker.field_hosts.contains_key(host) {
                members.insert(host.clone());
            } else {
                let hint = did_you_mean(host.as_str(), picker.field_hosts.keys().map(|host| host.as_str()));
                let found = Diagnostic::error(
                    code::UNKNOWN_HOST,
                    format!("group `{name}`: there is no host `{host}`"),
                );
                reader
                    .diagnostics
                    .push(found.at(place.clone(), "named here").hint_opt(hint));
            }
        }
        let selected = self
            .select
            .as_ref()
            .and_then(|(text, place)| picker.pick(reader, text, place));
        members.extend(selected.into_iter().flat_map(|(_, hosts)| hosts));
        members
    }

    /// Returns the groups that its selector names.
    fn needs(&self) -> Vec<GroupName> {
        let selector = self
            .select
            .as_ref()
            .and_then(|(text, _)| text.parse::<Selector>().ok());
        let terms = selector.into_iter().flat_map(|selector| selector.terms);
        terms
            .filter_map(|(_, term)| match term {
                Term::Group(name) => Some(name),
                Term::All | Term::Label(..) | Term::Name(_) => None,
            })
            .collect()
    }
}

/// Returns the groups so that each comes after those that it selects, and names circles.
fn order(reader: &mut Reader, drafts: &BTreeMap<GroupName, GroupDraft>) -> Vec<GroupName> {
    let mut walk = Walk {
        drafts,
        done: BTreeSet::new(),
        order: Vec::new(),
    };
    for name in drafts.keys() {
        walk.visit(reader, name, &mut Vec::new());
    }
    walk.order
}

/// A walk through the groups that select each other.
struct Walk<'d> {
    drafts: &'d BTreeMap<GroupName, GroupDraft>,
    done: BTreeSet<GroupName>,
    order: Vec<GroupName>,
}

impl Walk<'_> {
    fn visit(&mut self, reader: &mut Reader, name: &GroupName, chain: &mut Vec<GroupName>) {
        let Some(draft) = self.drafts.get(name) else {
            return;
        };
        if self.done.contains(name) {
            return;
        }
        if let Some(start) = chain.iter().position(|passed| passed == name) {
            let steps: Vec<String> = chain[start..]
                .iter()
                .chain([name])
                .map(ToString::to_string)
                .collect();
            let message = format!("groups select each other in a circle: {}", steps.join(" → "));
            let place = draft.select.as_ref().map_or(&draft.origin, |(_, place)| place);
            reader
                .diagnostics
                .push(Diagnostic::error(code::GROUP_LOOP, message).at(place.clone(), "goes on here"));
            return;
        }
        chain.push(name.clone());
        draft
            .needs()
            .iter()
            .for_each(|needed| self.visit(reader, needed, chain));
        chain.pop();
        self.done.insert(name.clone());
        self.order.push(name.clone());
    }
}
