//! One module: its folder's files, and the tables of `module.toml`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use crate::model::code;
use crate::model::diagnostic::{Diagnostic, Place, did_you_mean};
use crate::model::id::{KindName, ModuleName, ResourceKey};
use crate::model::inventory::Moved;
use crate::model::module::{Declared, Derived, Input, Module, Rule, Shared, Text};

use super::input;
use super::inventory::{table, tables, unknown_key};
use super::raw::module::{GATE, KEYS, LISTENER, RawHead, RawLevel, RawMoved, RawRule, RawShared, SHARED};
use super::reader::{Reader, shown};
use super::table::decode;
use super::values::{plain, twice};

/// A module whose needs are still to be looked up.
pub(super) struct Draft {
    pub(super) module: Module,
    pub(super) needs: Vec<(ModuleName, Place)>,
    /// Inputs that rules speak of; they may be declared further down.
    ruled: Vec<(String, Place)>,
}

/// Reads a module's folder. `None` where its name is no module name or its file cannot be read at all.
pub(super) fn folder(reader: &mut Reader, path: &Path, kinds: &[&str]) -> Option<(ModuleName, Draft)> {
    let stem = path.file_name()?.to_string_lossy();
    let name: ModuleName = stem
        .parse()
        .map_err(|error: crate::model::id::IdError| {
            let message = format!("the folder `{}` cannot hold a module", shown(path));
            reader
                .diagnostics
                .push(Diagnostic::error(code::WRONG_TYPE, message).because(error));
        })
        .ok()?;
    let (file, text) = reader.text(&path.join("module.toml"), None)?;
    let root = reader.parse(&file, &text);
    let mut draft = Draft {
        module: empty(&name, &file),
        needs: Vec::new(),
        ruled: Vec::new(),
    };
    draft.module.templates = texts(reader, &path.join("templates"));
    draft.module.files = texts(reader, &path.join("files"));
    draft.module.data = data(reader, &path.join("data"));
    draft.root(reader, root.get_ref(), kinds);
    Some((name, draft))
}

fn empty(name: &ModuleName, file: &str) -> Module {
    Module {
        name: name.clone(),
        description: String::new(),
        needs: Vec::new(),
        inputs: Vec::new(),
        derived: Vec::new(),
        declared: Vec::new(),
        rules: Vec::new(),
        listeners: Vec::new(),
        gates: Vec::new(),
        moved: Vec::new(),
        templates: BTreeMap::new(),
        files: BTreeMap::new(),
        data: BTreeMap::new(),
        file: file.to_owned(),
    }
}

/// Reads every text file below a folder, by its path within it. A folder that is not there holds none.
fn texts(reader: &mut Reader, folder: &Path) -> BTreeMap<String, Text> {
    let mut found = BTreeMap::new();
    walk(reader, folder, folder, "", &mut found);
    found
}

/// Reads a file of a module. A link that leads elsewhere would carry a file of the operator's own onto hosts.
fn own_text(reader: &mut Reader, path: &Path, root: &Path) -> Option<(String, std::sync::Arc<str>)> {
    let is_own = match (path.canonicalize(), root.parent().map(Path::canonicalize)) {
        (Ok(path), Some(Ok(module))) => path.starts_with(module),
        // What cannot be found is told when it is read.
        (Err(_), _) | (_, None | Some(Err(_))) => true,
    };
    if is_own {
        return reader.text(path, None);
    }
    let message = format!(
        "`{}` is a link that leads out of its module",
        super::reader::shown(path)
    );
    let found = Diagnostic::error(code::UNREADABLE, message).hint("put a copy of the file into the module");
    reader.diagnostics.push(found);
    None
}

fn walk(reader: &mut Reader, root: &Path, folder: &Path, prefix: &str, found: &mut BTreeMap<String, Text>) {
    let mut entries: Vec<_> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        // A link to a folder is not followed: it may lead back here.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(reader, root, &entry.path(), &format!("{name}/"), found);
        } else if let Some((file, text)) = own_text(reader, &entry.path(), root) {
            found.insert(
                name,
                Text {
                    file,
                    text: text.to_string(),
                },
            );
        }
    }
}

/// Reads `data/*.toml`, by stem.
fn data(reader: &mut Reader, folder: &Path) -> BTreeMap<String, toml::Value> {
    let mut found = BTreeMap::new();
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "toml"))
        .collect();
    paths.sort();
    for path in paths {
        let Some((file, text)) = own_text(reader, &path, folder) else {
            continue;
        };
        let root = reader.parse(&file, &text);
        let root = Spanned::new(root.span(), DeValue::Table(root.into_inner()));
        if let (Some(stem), Some(value)) = (path.file_stem(), plain(reader, &file, &root)) {
            found.insert(stem.to_string_lossy().into_owned(), value);
        }
    }
    found
}

impl Draft {
    fn root(&mut self, reader: &mut Reader, root: &DeTable<'_>, kinds: &[&str]) {
        let file = self.module.file.clone();
        if !root.contains_key("module") {
            let message = format!("`{file}` has no `[module]`");
            reader.error(code::MISSING_KEY, message, (&file, 0..0), "it belongs here");
        }
        for (key, value) in root {
            match key.get_ref().as_ref() {
                "module" => self.head(reader, value),
                "inputs" => self.inputs(reader, value),
                "derived" => self.derived(reader, value),
                "rule" => self.rules(reader, value),
                "listener" => self.module.listeners = declared(reader, &file, key, value, Some(&LISTENER)),
                "gate" => self.module.gates = declared(reader, &file, key, value, Some(&GATE)),
                "moved" => self.moved(reader, value, kinds),
                kind if kinds.contains(&kind) => {
                    self.module
                        .declared
                        .extend(declared(reader, &file, key, value, None));
                }
                unknown if value.get_ref().is_array() => {
                    unknown_kind(reader, &file, unknown, key.span(), kinds)
                }
                unknown => unknown_key(reader, &file, unknown, key.span(), &[&KEYS, kinds].concat()),
            }
        }
        // Tables of one kind come together from the parser; people read them in the order of the file.
        self.module.declared.sort_by_key(|declared| declared.origin.line);
        self.check_names(reader);
        self.check_rules(reader);
        self.check_templates(reader);
    }

    fn head(&mut self, reader: &mut Reader, value: &Spanned<DeValue<'_>>) {
        let file = &self.module.file;
        let Some(head) = decode::<RawHead>(reader, file, value, "module") else {
            return;
        };
        if *head.name.get_ref() != self.module.name {
            let message = format!(
                "module `{}` lies in the folder `{}`",
                head.name.get_ref(),
                self.module.name
            );
            reader.error(
                code::NAME_MISMATCH,
                message,
                (file, head.name.span()),
                "not the folder's name",
            );
        }
        self.module.description = head.description;
        let placed =
            |name: &Spanned<ModuleName>| (name.get_ref().clone(), reader.sources.place(file, name.span()));
        self.needs = head.needs.iter().map(placed).collect();
        self.module.needs = head.needs.into_iter().map(Spanned::into_inner).collect();
    }

    fn inputs(&mut self, reader: &mut Reader, value: &Spanned<DeValue<'_>>) {
        let file = self.module.file.clone();
        for (key, value) in table(reader, &file, "inputs", value) {
            self.module.inputs.extend(input::read(reader, &file, key, value));
        }
    }

    fn derived(&mut self, reader: &mut Reader, value: &Spanned<DeValue<'_>>) {
        let file = self.module.file.clone();
        for (key, value) in table(reader, &file, "derived", value) {
            let origin = reader.entry(&file, key.span(), value);
            input::check_name(reader, &file, key);
            match value.get_ref() {
                DeValue::String(text) => {
                    let (name, expression) = (key.get_ref().to_string(), text.to_string());
                    self.module.derived.push(Derived {
                        name,
                        expression,
                        origin,
                    });
                }
                _ => {
                    let message = format!(
                        "derived `{}` is an expression, written as a string",
                        key.get_ref()
                    );
                    reader.error(
                        code::WRONG_TYPE,
                        message,
                        (&file, value.span()),
                        "this does not fit",
                    );
                }
            }
        }
    }

    fn rules(&mut self, reader: &mut Reader, value: &Spanned<DeValue<'_>>) {
        let file = self.module.file.clone();
        for entry in tables(reader, &file, "rule", value) {
            let origin = reader.sources.place(&file, entry.span());
            let Some(form) = decode::<RawRule>(reader, &file, entry, "rule") else {
                continue;
            };
            let placed = |named: &Spanned<String>| {
                (named.get_ref().clone(), reader.sources.place(&file, named.span()))
            };
            self.ruled.extend(form.input.as_ref().map(placed));
            self.module.rules.push(Rule {
                must: form.must,
                when: form.when,
                message: form.message,
                hint: form.hint,
                is_warning: form.level == RawLevel::Warning,
                input: form.input.map(Spanned::into_inner),
                origin,
            });
        }
    }

    fn moved(&mut self, reader: &mut Reader, value: &Spanned<DeValue<'_>>, kinds: &[&str]) {
        let file = self.module.file.clone();
        for entry in tables(reader, &file, "moved", value) {
            let origin = reader.sources.place(&file, entry.span());
            let Some(form) = decode::<RawMoved>(reader, &file, entry, "moved") else {
                continue;
            };
            let from = reference(reader, &file, &form.from, kinds);
            let to = reference(reader, &file, &form.to, kinds);
            if let (Some(from), Some(to)) = (from, to) {
                self.module.moved.push(Moved { from, to, origin });
            }
        }
    }

    /// Refuses two meanings of one name.
    fn check_names(&self, reader: &mut Reader) {
        let inputs = self
            .module
            .inputs
            .iter()
            .map(|Input { name, origin, .. }| (name, origin));
        let derived = self
            .module
            .derived
            .iter()
            .map(|Derived { name, origin, .. }| (name, origin));
        let mut seen: BTreeMap<&String, &Place> = BTreeMap::new();
        for (name, origin) in inputs.chain(derived) {
            if let Some(first) = seen.insert(name, origin) {
                twice(reader, &format!("`{name}`"), first, origin);
            }
        }
    }

    /// Refuses rules that speak of inputs that are not there.
    fn check_rules(&self, reader: &mut Reader) {
        for (name, place) in self.ruled.iter().filter(|(name, _)| !self.module.has_input(name)) {
            let hint = did_you_mean(name, self.module.inputs.iter().map(|input| input.name.as_str()));
            let found = Diagnostic::error(code::BAD_INPUT, format!("rule: there is no input `{name}`"));
            reader
                .diagnostics
                .push(found.at(place.clone(), "named here").hint_opt(hint));
        }
    }

    /// Refuses templates and sources that are not there, as far as their names are no templates themselves.
    fn check_templates(&self, reader: &mut Reader) {
        let module = &self.module;
        for declared in &module.declared {
            for (key, folder, there) in [
                ("template", "templates", &module.templates),
                ("source", "files", &module.files),
            ] {
                let Some(toml::Value::String(name)) = declared.body.get(key) else {
                    continue;
                };
                if there.contains_key(name) || name.contains("{{") || name.contains("{%") {
                    continue;
                }
                let message = format!("module `{}` has no `{folder}/{name}`", module.name);
                let hint = did_you_mean(name, there.keys().map(String::as_str));
                let place = declared.keys.get(key).unwrap_or(&declared.origin).clone();
                let found = Diagnostic::error(code::NO_TEMPLATE, message).at(place, "named here");
                reader.diagnostics.push(found.hint_opt(hint));
            }
        }
    }
}

fn unknown_kind(reader: &mut Reader, file: &str, kind: &str, span: std::ops::Range<usize>, kinds: &[&str]) {
    let place = reader.sources.place(file, span);
    let hint = did_you_mean(kind, kinds.iter().copied().chain(KEYS))
        .unwrap_or_else(|| format!("the kinds are: {}", kinds.join(", ")));
    let found = Diagnostic::error(code::UNKNOWN_KIND, format!("there is no resource kind `{kind}`"));
    reader
        .diagnostics
        .push(found.at(place, "unknown kind").hint(hint));
}

/// Reads `kind:name`.
fn reference(reader: &mut Reader, file: &str, text: &Spanned<String>, kinds: &[&str]) -> Option<ResourceKey> {
    let parts = text
        .get_ref()
        .split_once(':')
        .filter(|(kind, name)| kinds.contains(kind) && !name.is_empty());
    if parts.is_none() {
        let message = format!("`{}` is not a reference `kind:name`", text.get_ref());
        reader.error(
            code::BAD_REFERENCE,
            message,
            (file, text.span()),
            "this does not fit",
        );
    }
    parts.map(|(kind, name)| ResourceKey::new(kind, name))
}

/// Reads the tables of one kind. `known` are the keys that its body may have; `None` leaves that to the kind.
fn declared(
    reader: &mut Reader,
    file: &str,
    key: &Spanned<Cow<'_, str>>,
    value: &Spanned<DeValue<'_>>,
    known: Option<&[&str]>,
) -> Vec<Declared> {
    let kind = key.get_ref();
    let mut found = Vec::new();
    for entry in tables(reader, file, kind, value) {
        let DeValue::Table(table) = entry.get_ref() else {
            reader.error(
                code::WRONG_TYPE,
                format!("`{kind}` is a list of tables"),
                (file, entry.span()),
                "no table",
            );
            continue;
        };
        if let Some(known) = known {
            let all = [known, &SHARED].concat();
            for (key, _) in table
                .iter()
                .filter(|(key, _)| !all.contains(&key.get_ref().as_ref()))
            {
                unknown_key(reader, file, key.get_ref(), key.span(), &all);
            }
        }
        found.extend(one(reader, file, kind, table, entry.span()));
    }
    found
}

fn one(
    reader: &mut Reader,
    file: &str,
    kind: &str,
    table: &DeTable<'_>,
    span: std::ops::Range<usize>,
) -> Option<Declared> {
    let kind_name: KindName = kind.parse().ok()?;
    let (shared, body): (DeTable<'_>, DeTable<'_>) = table
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .partition(|(key, _)| SHARED.contains(&key.get_ref().as_ref()));
    let keys = table
        .iter()
        .map(|(key, value)| (key.get_ref().to_string(), reader.entry(file, key.span(), value)))
        .collect();
    let shared = Spanned::new(span.clone(), DeValue::Table(shared));
    let shared: RawShared = decode(reader, file, &shared, kind).unwrap_or_default();
    let body = body_of(
        reader,
        file,
        kind,
        Spanned::new(span.clone(), DeValue::Table(body)),
    );
    let origin = reader.sources.place(file, span);
    Some(Declared {
        kind: kind_name,
        body,
        shared: shared.into(),
        origin,
        keys,
    })
}

fn body_of(reader: &mut Reader, file: &str, kind: &str, body: Spanned<DeValue<'_>>) -> toml::Table {
    let span = body.span();
    toml::Table::deserialize(ValueDeserializer::from(body)).unwrap_or_else(|error| {
        let at = error.span().unwrap_or(span);
        reader.error(
            code::WRONG_TYPE,
            format!("{kind}: {}", error.message()),
            (file, at),
            "this does not fit",
        );
        toml::Table::new()
    })
}

impl From<RawShared> for Shared {
    fn from(raw: RawShared) -> Self {
        Self {
            when: raw.when,
            for_each: raw.for_each,
            after: raw.after.0,
            restart_on: raw.restart_on.0,
            loses_on: raw.loses_on.0,
            protect: raw.protect,
            ignore: raw.ignore.0,
            delete: raw.delete,
        }
    }
}
