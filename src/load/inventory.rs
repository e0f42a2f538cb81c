//! The inventory: its file and those it includes, gathered into one draft, then resolved.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::model::code;
use crate::model::diagnostic::{Diagnostic, Place, did_you_mean};
use crate::model::hook::Hook;
use crate::model::id::{FleetName, GroupName, HostId, IdError, ModuleName};
use crate::model::inventory::{Inventory, Retired, Use, Values};
use crate::model::registry::{Images, Registry};
use crate::model::selector::{Selector, SelectorError};
use crate::model::wave::RolloutPolicy;

use super::groups::{GroupDraft, Picker};
use super::hosts::HostDraft;
use super::overrides::{self, Overrides};
use super::raw::inventory::{KEYS, RawFleet, RawRetired, RawSecrets, RawUse};
use super::reader::{Reader, shown};
use super::table::decode;
use super::{Loaded, groups, hooks, hosts, include, policy, registries, values};

/// Reads an inventory and the files that it includes.
///
/// `modules` are the names of all modules there are: they tell a table of values for one module from a value that is
/// itself a table. Values are not checked against inputs here; `plan::values` does that.
pub fn inventory(path: &Path, modules: &BTreeSet<ModuleName>, overrides: &Overrides) -> Loaded<Inventory> {
    let mut reader = Reader::default();
    let mut draft = Draft::new(modules);
    let is_read = draft.file(&mut reader, path, None, &mut Vec::new());
    let layers = overrides::layers(&mut reader, overrides, modules);
    let pins = registries::pins(&mut reader, path);
    let value = is_read.then(|| draft.resolve(&mut reader, shown(path), layers, pins));
    Loaded {
        value,
        diagnostics: reader.diagnostics,
        sources: reader.sources,
    }
}

/// A use that is still to be resolved.
struct UseDraft {
    module: (ModuleName, Place),
    on: (String, Place),
    origin: Place,
}

/// What the files say, before names are looked up.
struct Draft<'m> {
    modules: &'m BTreeSet<ModuleName>,
    seen: BTreeSet<PathBuf>,
    name: Option<(FleetName, Place)>,
    values: Values,
    hosts: BTreeMap<HostId, HostDraft>,
    groups: BTreeMap<GroupName, GroupDraft>,
    uses: Vec<UseDraft>,
    policy: Option<(policy::PolicyDraft, Place)>,
    secrets: Option<(RawSecrets, Place)>,
    retired: Vec<Retired>,
    hooks: Vec<(Hook, Place)>,
    registries: BTreeMap<String, (Registry, Place)>,
}

/// A file that is being read.
#[derive(Clone, Copy)]
struct File<'f> {
    name: &'f str,
    path: &'f Path,
    is_main: bool,
}

impl<'m> Draft<'m> {
    fn new(modules: &'m BTreeSet<ModuleName>) -> Self {
        Self {
            modules,
            seen: BTreeSet::new(),
            name: None,
            values: Values::new(),
            hosts: BTreeMap::new(),
            groups: BTreeMap::new(),
            uses: Vec::new(),
            policy: None,
            secrets: None,
            retired: Vec::new(),
            hooks: Vec::new(),
            registries: BTreeMap::new(),
        }
    }

    /// Reads a file and what it includes. `chain` is the files that led here.
    fn file(
        &mut self,
        reader: &mut Reader,
        path: &Path,
        named_at: Option<&Place>,
        chain: &mut Vec<PathBuf>,
    ) -> bool {
        let Some((name, text)) = reader.text(path, named_at) else {
            return false;
        };
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        self.seen.insert(real.clone());
        let root = reader.parse(&name, &text);
        reader.refuse_placeholders(&name, root.get_ref());
        chain.push(real);
        let file = File {
            name: &name,
            path,
            is_main: chain.len() == 1,
        };
        self.root(reader, file, &root, chain);
        chain.pop();
        true
    }

    fn root(
        &mut self,
        reader: &mut Reader,
        file: File<'_>,
        root: &Spanned<DeTable<'_>>,
        chain: &mut Vec<PathBuf>,
    ) {
        if file.is_main && !root.get_ref().contains_key("fleet") {
            let found = Diagnostic::error(code::MISSING_KEY, format!("`{}` has no `[fleet]`", file.name));
            let place = reader.sources.place(file.name, 0..0);
            reader.diagnostics.push(
                found
                    .at(place, "it belongs here")
                    .hint("begin with `[fleet]` and `name = \"…\"`"),
            );
        }
        for (key, value) in root.get_ref() {
            match key.get_ref().as_ref() {
                "fleet" => self.fleet(reader, file, value, chain),
                "values" => {
                    let layer = values::layer(reader, file.name, value, self.modules);
                    values::merge(reader, &mut self.values, layer);
                }
                "hosts" => self.hosts(reader, file.name, value),
                "groups" => self.groups(reader, file.name, value),
                "use" => self.uses(reader, file.name, value),
                "hook" => hooks::read(reader, file.name, value, &mut self.hooks),
                "policy" => self.policy(reader, file.name, value),
                "secrets" => self.secrets(reader, file.name, value),
                "registries" => registries::read(reader, file.name, value, &mut self.registries),
                "retired" => self.retired(reader, file.name, value),
                unknown => unknown_key(reader, file.name, unknown, key.span(), &KEYS),
            }
        }
    }

    fn fleet(
        &mut self,
        reader: &mut Reader,
        file: File<'_>,
        value: &Spanned<DeValue<'_>>,
        chain: &mut Vec<PathBuf>,
    ) {
        let Some(fleet) = decode::<RawFleet>(reader, file.name, value, "fleet") else {
            return;
        };
        match (fleet.name, &self.name) {
            (Some(name), None) => {
                let place = reader.sources.place(file.name, name.span());
                self.name = Some((name.into_inner(), place));
            }
            (Some(name), Some((_, first))) => {
                let second = reader.sources.place(file.name, name.span());
                values::twice(reader, "the fleet's name", &first.clone(), &second);
            }
            (None, None) if file.is_main => {
                let message = "fleet: key `name` is missing";
                reader.error(
                    code::MISSING_KEY,
                    message,
                    (file.name, value.span()),
                    "`name` belongs here",
                );
            }
            (None, _) => {}
        }
        for entry in &fleet.include {
            self.include(reader, file, entry, chain);
        }
    }

    /// Reads the files of one `include` entry. A pattern passes over what is being read already; a name does not.
    fn include(
        &mut self,
        reader: &mut Reader,
        file: File<'_>,
        entry: &Spanned<String>,
        chain: &mut Vec<PathBuf>,
    ) {
        let base = file.path.parent().unwrap_or(Path::new(""));
        let place = reader.sources.place(file.name, entry.span());
        for path in include::files(base, entry.get_ref()) {
            let real = path.canonicalize().unwrap_or_else(|_| path.clone());
            let is_looping = chain.contains(&real);
            if is_looping && !include::is_pattern(entry.get_ref()) {
                let steps: Vec<String> = chain.iter().chain([&real]).map(|path| shown(path)).collect();
                let message = format!("`{}` includes itself: {}", shown(&real), steps.join(" → "));
                reader
                    .diagnostics
                    .push(Diagnostic::error(code::INCLUDE_LOOP, message).at(place.clone(), "included here"));
            } else if !is_looping && !self.seen.contains(&real) {
                self.file(reader, &path, Some(&place), chain);
            }
        }
    }

    fn hosts(&mut self, reader: &mut Reader, file: &str, value: &Spanned<DeValue<'_>>) {
        for (key, value) in table(reader, file, "hosts", value) {
            let Some(id) = name::<HostId>(reader, file, key) else {
                continue;
            };
            let draft = hosts::draft(reader, file, &id, (key.span(), value), self.modules);
            match self.hosts.get(&id) {
                Some(first) => values::twice(
                    reader,
                    &format!("host `{id}`"),
                    &first.origin.clone(),
                    &draft.origin,
                ),
                None => drop(self.hosts.insert(id, draft)),
            }
        }
    }

    fn groups(&mut self, reader: &mut Reader, file: &str, value: &Spanned<DeValue<'_>>) {
        for (key, value) in table(reader, file, "groups", value) {
            let Some(id) = name::<GroupName>(reader, file, key) else {
                continue;
            };
            if id.as_str() == "all" {
                reader.error(
                    code::DECLARED_TWICE,
                    "group `all` is built in: every host",
                    (file, key.span()),
                    "another name",
                );
                continue;
            }
            let draft = groups::draft(reader, file, &id, (key.span(), value), self.modules);
            match self.groups.get(&id) {
                Some(first) => values::twice(
                    reader,
                    &format!("group `{id}`"),
                    &first.origin.clone(),
                    &draft.origin,
                ),
                None => drop(self.groups.insert(id, draft)),
            }
        }
    }

    fn uses(&mut self, reader: &mut Reader, file: &str, value: &Spanned<DeValue<'_>>) {
        for entry in tables(reader, file, "use", value) {
            let origin = reader.sources.place(file, entry.span());
            if let Some(form) = decode::<RawUse>(reader, file, entry, "use") {
                let module = (
                    form.module.get_ref().clone(),
                    reader.sources.place(file, form.module.span()),
                );
                let on = (
                    form.on.get_ref().clone(),
                    reader.sources.place(file, form.on.span()),
                );
                self.uses.push(UseDraft { module, on, origin });
            }
        }
    }

    fn policy(&mut self, reader: &mut Reader, file: &str, value: &Spanned<DeValue<'_>>) {
        let place = reader.sources.place(file, value.span());
        match &self.policy {
            Some((_, first)) => values::twice(reader, "the policy", &first.clone(), &place),
            None => self.policy = policy::draft(reader, file, value).map(|draft| (draft, place)),
        }
    }

    fn secrets(&mut self, reader: &mut Reader, file: &str, value: &Spanned<DeValue<'_>>) {
        let place = reader.sources.place(file, value.span());
        match &self.secrets {
            Some((_, first)) => values::twice(reader, "`[secrets]`", &first.clone(), &place),
            None => self.secrets = decode(reader, file, value, "secrets").map(|form| (form, place)),
        }
    }

    fn retired(&mut self, reader: &mut Reader, file: &str, value: &Spanned<DeValue<'_>>) {
        for entry in tables(reader, file, "retired", value) {
            let origin = reader.sources.place(file, entry.span());
            if let Some(RawRetired { host, note }) = decode(reader, file, entry, "retired") {
                self.retired.push(Retired {
                    host: host.into_inner(),
                    note,
                    origin,
                });
            }
        }
    }

    fn resolve(
        self,
        reader: &mut Reader,
        file: String,
        overrides: Vec<Values>,
        pins: BTreeMap<String, String>,
    ) -> Inventory {
        let hosts = hosts::resolve(reader, self.hosts);
        let labels = hosts.values().map(|host| (&host.id, &host.labels)).collect();
        let mut picker = Picker::new(labels, self.groups.keys());
        let groups = groups::resolve(reader, self.groups, &mut picker);
        let uses = self
            .uses
            .into_iter()
            .filter_map(|draft| draft.resolve(reader, self.modules, &picker))
            .collect();
        let policy = match self.policy {
            Some((draft, _)) => draft.resolve(reader, &picker),
            None => RolloutPolicy::default(),
        };
        for retired in self
            .retired
            .iter()
            .filter(|retired| hosts.contains_key(&retired.host))
        {
            let host = &hosts[&retired.host];
            let found = Diagnostic::error(
                code::DECLARED_TWICE,
                format!("host `{}` is declared and retired", host.id),
            );
            reader.diagnostics.push(
                found
                    .at(retired.origin.clone(), "retired")
                    .and(host.origin.clone(), "declared"),
            );
        }
        Inventory {
            name: self.name.map_or_else(
                || "unnamed".parse().expect("a well-formed name"),
                |(name, _)| name,
            ),
            file,
            hosts,
            groups,
            values: self.values,
            overrides,
            uses,
            hooks: self.hooks.into_iter().map(|(hook, _)| hook).collect(),
            policy,
            images: Images {
                registries: self
                    .registries
                    .into_iter()
                    .map(|(name, (registry, _))| (name, registry))
                    .collect(),
                pins,
            },
            retired: self.retired,
            age_identity: self.secrets.and_then(|(secrets, _)| secrets.age_identity),
        }
    }
}

impl UseDraft {
    fn resolve(
        self,
        reader: &mut Reader,
        modules: &BTreeSet<ModuleName>,
        picker: &Picker<'_>,
    ) -> Option<Use> {
        let (module, place) = self.module;
        let is_known = modules.contains(&module);
        if !is_known {
            let found = Diagnostic::error(code::UNKNOWN_MODULE, format!("there is no module `{module}`"));
            let hint = did_you_mean(module.as_str(), modules.iter().map(ModuleName::as_str));
            reader
                .diagnostics
                .push(found.at(place, "named here").hint_opt(hint));
        }
        let (on, place) = self.on;
        let (selector, hosts) = picker.pick(reader, &on, &place)?;
        if hosts.is_empty() {
            let found = Diagnostic::warning(
                code::NO_HOSTS,
                format!("`{on}` picks no host for module `{module}`"),
            );
            reader.diagnostics.push(found.at(place, "nobody"));
        }
        is_known.then_some(Use {
            module,
            on: selector,
            hosts,
            origin: self.origin,
        })
    }
}

/// Reports a key that is not known at the top of a file.
pub(super) fn unknown_key(
    reader: &mut Reader,
    file: &str,
    key: &str,
    span: std::ops::Range<usize>,
    known: &[&str],
) {
    let place = reader.sources.place(file, span);
    let hint = did_you_mean(key, known.iter().copied()).unwrap_or_else(|| {
        format!(
            "known here: {}",
            known
                .iter()
                .map(|key| format!("`{key}`"))
                .collect::<Vec<_>>()
                .join(", ")
        )
    });
    let found = Diagnostic::error(code::UNKNOWN_KEY, format!("key `{key}` is not known here"));
    reader.diagnostics.push(found.at(place, "unknown key").hint(hint));
}

/// Returns the entries of what must be a table.
pub(super) fn table<'v, 'i>(
    reader: &mut Reader,
    file: &str,
    what: &str,
    value: &'v Spanned<DeValue<'i>>,
) -> impl Iterator<Item = (&'v Spanned<std::borrow::Cow<'i, str>>, &'v Spanned<DeValue<'i>>)> + use<'v, 'i> {
    let table = value.get_ref().as_table();
    if table.is_none() {
        let message = format!("`{what}` is a table of tables: `[{what}.NAME]`");
        reader.error(
            code::WRONG_TYPE,
            message,
            (file, value.span()),
            "this is something else",
        );
    }
    table.into_iter().flatten()
}

/// Returns the tables of what must be a list of tables.
pub(super) fn tables<'v, 'i>(
    reader: &mut Reader,
    file: &str,
    what: &str,
    value: &'v Spanned<DeValue<'i>>,
) -> impl Iterator<Item = &'v Spanned<DeValue<'i>>> + use<'v, 'i> {
    let list = value.get_ref().as_array();
    if list.is_none() {
        let place = reader.sources.place(file, value.span());
        let found = Diagnostic::error(code::WRONG_TYPE, format!("`{what}` is a list of tables"));
        reader.diagnostics.push(
            found
                .at(place, "this is something else")
                .hint(format!("write `[[{what}]]`")),
        );
    }
    list.into_iter().flatten()
}

/// Reads a name that stands as a key.
pub(super) fn name<T: std::str::FromStr<Err = IdError>>(
    reader: &mut Reader,
    file: &str,
    key: &Spanned<std::borrow::Cow<'_, str>>,
) -> Option<T> {
    let read = key.get_ref().parse();
    read.map_err(|error: IdError| {
        reader.error(
            code::WRONG_TYPE,
            error.to_string(),
            (file, key.span()),
            "not a name",
        )
    })
    .ok()
}

/// Puts a selector that cannot be resolved into a diagnostic.
pub(super) fn unresolved<'n>(
    error: &SelectorError,
    hosts: impl Iterator<Item = &'n str>,
    groups: impl Iterator<Item = &'n str>,
) -> Diagnostic {
    match error {
        SelectorError::Unreadable(_) => Diagnostic::error(code::BAD_SELECTOR, error.to_string()).hint(
            "write `all`, a host or pattern such as `val-*`, `@group`, `label=value`; join with `,` or ` - `",
        ),
        SelectorError::NoGroup(name) => Diagnostic::error(code::UNKNOWN_GROUP, error.to_string())
            .hint_opt(did_you_mean(name.as_str(), groups)),
        SelectorError::NoHost(name) => {
            Diagnostic::error(code::UNKNOWN_HOST, error.to_string()).hint_opt(did_you_mean(name, hosts))
        }
    }
}

/// A selector and what it picks.
pub(super) type Picked = (Selector, BTreeSet<HostId>);
