//! A host in memory that understands every op and every probe, for the laws.
//!
//! It does what `transport::lower` and Debian do between them, in the smallest form in which the laws can fail. Scripts
//! are pretended: running one leaves its text behind, and the probe `did TEXT` finds it.

use std::collections::{BTreeMap, BTreeSet};

use muster::keyed;
use muster::model::body::Body;
use muster::model::digest::{Digest, Fingerprint};
use muster::model::observation::Answer;
use muster::model::op::{ContentWanted, Op, Probe, SettingValue, UnitVerb};
use muster::resource::Spec;
use serde_json::{Value, json};

/// The value of every secret. Long enough to be found wherever it leaks.
pub const SECRET: &str = "hunter2-hunter2";
const SALT: &[u8] = b"salt";

/// What is at a path.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub kind: Kind,
    pub owner: String,
    pub group: String,
    pub mode: String,
    pub changed: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    File(String),
    Directory,
    Link(String),
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Account {
    pub uid: u32,
    pub group: String,
    pub groups: BTreeSet<String>,
    pub home: String,
    pub shell: String,
    pub comment: String,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Unit {
    /// The file as systemd has read it; `None` where it never looked.
    pub loaded: Option<String>,
    pub enabled: bool,
    pub active: bool,
    pub starts: u64,
    pub since: u64,
}

/// One host.
#[derive(Debug, Clone, Default)]
pub struct Host {
    pub clock: u64,
    pub paths: BTreeMap<String, Node>,
    pub groups: BTreeMap<String, u32>,
    pub accounts: BTreeMap<String, Account>,
    /// Version and hold by name.
    pub packages: BTreeMap<String, (String, bool)>,
    pub units: BTreeMap<String, Unit>,
    pub parameters: BTreeMap<String, String>,
    pub ran: BTreeSet<String>,
    kept: BTreeMap<String, Option<Node>>,
}

impl Host {
    /// Makes a host with the folders that every host has, the group and the account of root.
    pub fn new() -> Self {
        let mut host = Self {
            clock: 1_700_000_000,
            ..Self::default()
        };
        for path in [
            "/etc",
            "/srv",
            "/root",
            "/home",
            "/home/ops",
            "/etc/systemd/system",
            "/etc/sysctl.d",
        ] {
            host.put(path, Kind::Directory, "root", "root", "0755");
        }
        host.groups.insert("root".into(), 0);
        host.groups.insert("users".into(), 100);
        host
    }

    /// Begins a run: what is there before each path's first op is kept for its undo.
    pub fn begin(&mut self) {
        self.kept.clear();
    }

    /// Performs one op.
    pub fn perform(&mut self, op: &Op) -> Result<(), String> {
        self.clock += 1;
        match op {
            Op::WriteFile {
                path,
                body,
                owner,
                group,
                mode,
                validate: _,
            } => {
                self.is_free(path)?;
                self.keep(path);
                let group = self.group_of(owner, group);
                self.put(path, Kind::File(fill(body)), owner, &group, mode);
            }
            Op::SetAttributes {
                path,
                owner,
                group,
                mode,
            } => {
                self.keep(path);
                let kind = self.paths.get(path).ok_or("there is nothing")?.kind.clone();
                self.put(path, kind, owner, group, mode);
            }
            Op::MakeDirectory {
                path,
                owner,
                group,
                mode,
            } => {
                let there = self.paths.get(path).map(|node| &node.kind);
                if !matches!(there, None | Some(Kind::Directory)) {
                    return Err(format!("{path} is no directory"));
                }
                self.parent(path)?;
                self.keep(path);
                let group = self.group_of(owner, group);
                self.put(path, Kind::Directory, owner, &group, mode);
            }
            Op::Link { path, to } => {
                self.is_free(path)?;
                self.keep(path);
                self.put(path, Kind::Link(to.clone()), "root", "root", "0777");
            }
            Op::RemoveFile { path } => {
                if matches!(
                    self.paths.get(path),
                    Some(Node {
                        kind: Kind::Directory,
                        ..
                    })
                ) {
                    return Err(format!("{path} is a directory"));
                }
                self.keep(path);
                self.paths.remove(path);
            }
            Op::RemoveDirectory { path } => {
                if !self.is_empty(path) {
                    return Err(format!("{path} is not empty"));
                }
                self.keep(path);
                self.paths.remove(path);
            }
            Op::Restore { path } => match self.kept.get(path).cloned() {
                Some(Some(node)) => drop(self.paths.insert(path.clone(), node)),
                Some(None) => drop(self.paths.remove(path)),
                None => return Err(format!("nothing was kept of {path}")),
            },
            Op::Group { name, gid, system: _ } => {
                let next = 1000 + self.groups.len() as u32;
                let there = self.groups.get(name).copied().unwrap_or(next);
                self.groups.insert(name.clone(), gid.unwrap_or(there));
            }
            Op::RemoveGroup { name } => drop(self.groups.remove(name)),
            Op::Account { .. } => self.account(op),
            Op::RemoveAccount { name, home: _ } => drop(self.accounts.remove(name)),
            Op::Packages {
                install,
                remove,
                hold,
                unhold,
            } => {
                for (name, version) in install {
                    let held = self.packages.get(name).is_some_and(|(_, held)| *held);
                    let version = version.clone().unwrap_or_else(|| "1.0".into());
                    self.packages.insert(name.clone(), (version, held));
                }
                remove.iter().for_each(|name| drop(self.packages.remove(name)));
                for (names, held) in [(hold, true), (unhold, false)] {
                    names
                        .iter()
                        .filter_map(|name| self.packages.get_mut(name).map(|p| p.1 = held))
                        .for_each(drop);
                }
            }
            Op::ReloadUnits => {
                let paths = self.paths.clone();
                self.units
                    .iter_mut()
                    .for_each(|(name, unit)| unit.loaded = unit_text(&paths, name));
            }
            Op::EnableUnit { unit, enabled } => {
                if !enabled && !self.units.contains_key(unit) {
                    return Ok(());
                }
                self.unit(unit)?.enabled = *enabled;
            }
            Op::ControlUnit { unit, verb } => self.control(unit, *verb)?,
            Op::Sysctl { key, value, file } => {
                self.keep(file);
                self.parameters.insert(key.clone(), value.clone());
                self.put(
                    file,
                    Kind::File(format!("{key} = {value}\n")),
                    "root",
                    "root",
                    "0644",
                );
            }
            Op::Settings {
                path,
                format,
                set,
                remove,
                owner,
                group,
                mode,
            } => {
                self.keep(path);
                let node = self.paths.get(path).cloned();
                let text = node.as_ref().and_then(|node| match &node.kind {
                    Kind::File(text) => Some(text.as_str()),
                    Kind::Directory | Kind::Link(_) => None,
                });
                let set = set
                    .iter()
                    .map(|(key, value)| (key.clone(), filled(value)))
                    .collect();
                let text = keyed::edit(*format, text, &set, remove)?;
                match &node {
                    Some(node) => self.put(path, Kind::File(text), &node.owner, &node.group, &node.mode),
                    None => self.put(path, Kind::File(text), owner, group, mode),
                }
            }
            Op::Run { script, .. } => drop(self.ran.insert(fill(script))),
        }
        Ok(())
    }

    /// Answers one probe.
    pub fn look(&self, probe: &Probe) -> Answer {
        let output = match probe {
            Probe::Path { path, content } => self.path(path, *content),
            Probe::Account(name) => self.passwd(name),
            Probe::Group(name) => self
                .groups
                .get(name)
                .map(|gid| format!("{name}:x:{gid}:\n"))
                .unwrap_or_default(),
            Probe::AuthorizedKeys(name) => match self.accounts.get(name) {
                None => "type=no-account\n".to_owned(),
                Some(account) => {
                    let path = format!("{}/.ssh/authorized_keys", account.home);
                    format!("path={path}\n{}", self.path(&path, ContentWanted::Text))
                }
            },
            Probe::Package(name) => match self.packages.get(name) {
                None => String::new(),
                Some((version, held)) => {
                    format!(
                        "{}\tinstalled\t{version}\n",
                        if *held { "hold" } else { "install" }
                    )
                }
            },
            Probe::Unit(name) => self.show(name),
            Probe::Sysctl { key, file } => {
                let value = self.parameters.get(key).map_or("0", String::as_str);
                let kept = match self.paths.get(file).map(|node| &node.kind) {
                    Some(Kind::File(text)) => {
                        text.split_once(" = ").map(|(_, value)| format!("file={value}"))
                    }
                    Some(Kind::Directory | Kind::Link(_)) | None => None,
                };
                format!("value={value}\n{}", kept.unwrap_or_default())
            }
            Probe::Settings { path, format, keys } => match self.paths.get(path).map(|node| &node.kind) {
                None => json!({"type": "absent"}).to_string(),
                Some(Kind::Directory | Kind::Link(_)) => return Answer::NoAnswer("no file".into()),
                Some(Kind::File(text)) => {
                    let there = match keyed::read(*format, text, &keys.keys().cloned().collect()) {
                        Ok(there) => there,
                        Err(output) => return Answer::Text { output, status: 65 },
                    };
                    let shown: BTreeMap<String, Value> = there
                        .into_iter()
                        .map(|(key, value)| {
                            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                            let print = json!({ "print": Fingerprint::of(SALT, text.as_bytes()) });
                            let value = if keys[&key] { print } else { value };
                            (key, value)
                        })
                        .collect();
                    json!({"type": "file", "mode": "0644", "owner": "root", "group": "root", "keys": shown})
                        .to_string()
                }
            },
            Probe::Command { script, .. } => {
                let did = script
                    .strip_prefix("did ")
                    .is_some_and(|script| self.ran.contains(script));
                return Answer::Text {
                    output: "out=value\n".into(),
                    status: i32::from(!did),
                };
            }
        };
        Answer::Text { output, status: 0 }
    }

    fn put(&mut self, path: &str, kind: Kind, owner: &str, group: &str, mode: &str) {
        let (owner, group, mode) = (owner.to_owned(), group.to_owned(), mode.to_owned());
        self.paths.insert(
            path.to_owned(),
            Node {
                kind,
                owner,
                group,
                mode,
                changed: self.clock,
            },
        );
        // systemd loads a unit that it never heard of from its file when it is first asked.
        if let Some(name) = path.strip_prefix("/etc/systemd/system/") {
            let text = unit_text(&self.paths, name);
            self.units.entry(name.to_owned()).or_insert_with(|| Unit {
                loaded: text,
                ..Unit::default()
            });
        }
    }

    fn keep(&mut self, path: &str) {
        let node = self.paths.get(path).cloned();
        self.kept.entry(path.to_owned()).or_insert(node);
    }

    fn parent(&self, path: &str) -> Result<(), String> {
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let is_there = matches!(
            self.paths.get(parent),
            Some(Node {
                kind: Kind::Directory,
                ..
            })
        );
        if is_there {
            Ok(())
        } else {
            Err(format!("{parent} is no directory"))
        }
    }

    /// Says whether a file or a link may be renamed into a place.
    fn is_free(&self, path: &str) -> Result<(), String> {
        match self.paths.get(path) {
            Some(Node {
                kind: Kind::Directory,
                ..
            }) => Err(format!("{path} is a directory")),
            Some(_) | None => self.parent(path),
        }
    }

    fn is_empty(&self, path: &str) -> bool {
        let inside = format!("{path}/");
        !self.paths.keys().any(|other| other.starts_with(&inside))
    }

    fn group_of(&self, owner: &str, group: &str) -> String {
        match (group, self.accounts.get(owner)) {
            ("", Some(account)) => account.group.clone(),
            ("", None) => owner.to_owned(),
            (group, _) => group.to_owned(),
        }
    }

    fn account(&mut self, op: &Op) {
        let Op::Account {
            name,
            uid,
            group,
            groups,
            home,
            shell,
            comment,
            ..
        } = op
        else {
            return;
        };
        let next = 1000 + self.accounts.len() as u32;
        let account = self.accounts.entry(name.clone()).or_insert_with(|| Account {
            uid: next,
            group: name.clone(),
            home: format!("/home/{name}"),
            shell: "/bin/sh".into(),
            ..Account::default()
        });
        account.uid = uid.unwrap_or(account.uid);
        let set = |there: &mut String, new: &Option<String>| new.iter().for_each(|new| new.clone_into(there));
        set(&mut account.group, group);
        set(&mut account.home, home);
        set(&mut account.shell, shell);
        set(&mut account.comment, comment);
        groups.iter().for_each(|groups| account.groups = groups.clone());
    }

    fn passwd(&self, name: &str) -> String {
        let Some(Account {
            uid,
            group,
            groups,
            home,
            shell,
            comment,
        }) = self.accounts.get(name)
        else {
            return String::new();
        };
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        format!(
            "{name}:x:{uid}:{uid}:{comment}:{home}:{shell}\n{}\n{group}\n",
            groups.join(",")
        )
    }

    fn path(&self, path: &str, content: ContentWanted) -> String {
        let Some(node) = self.paths.get(path) else {
            return "type=absent\n".into();
        };
        let Node {
            owner,
            group,
            mode,
            changed,
            ..
        } = node;
        let head = format!("mode={mode}\nowner={owner}\ngroup={group}\nchanged={changed}\n");
        match (&node.kind, content) {
            (Kind::Directory, _) => {
                format!(
                    "type=directory\n{head}size=0\nempty={}\n",
                    if self.is_empty(path) { "yes" } else { "no" }
                )
            }
            (Kind::Link(to), _) => format!("type=link\n{head}size=0\nto={to}\n"),
            (Kind::File(text), wanted) => {
                let head = format!("type=file\n{head}size={}\n", text.len());
                match wanted {
                    ContentWanted::None => head,
                    ContentWanted::Text => format!("{head}sha256={}\n\n{text}", Digest::of(text)),
                    ContentWanted::Print => {
                        format!("{head}print={}\n", Fingerprint::of(SALT, text.as_bytes()).0)
                    }
                }
            }
        }
    }

    fn unit(&mut self, name: &str) -> Result<&mut Unit, String> {
        let is_there = name.starts_with("vendor") || unit_text(&self.paths, name).is_some();
        match self.units.get_mut(name) {
            Some(unit) if is_there => Ok(unit),
            Some(_) | None => Err(format!("there is no unit {name}")),
        }
    }

    fn control(&mut self, name: &str, verb: UnitVerb) -> Result<(), String> {
        let clock = self.clock;
        let unit = match (self.unit(name), verb) {
            (Ok(unit), _) => unit,
            (Err(_), UnitVerb::Stop) => return Ok(()),
            (Err(why), _) => return Err(why),
        };
        let starts = match verb {
            UnitVerb::Start => !unit.active,
            UnitVerb::Restart => true,
            UnitVerb::Stop | UnitVerb::Reload => false,
        };
        if starts {
            unit.starts += 1;
            unit.since = clock;
        }
        unit.active = verb != UnitVerb::Stop;
        Ok(())
    }

    fn show(&self, name: &str) -> String {
        let text = unit_text(&self.paths, name);
        let unit = self
            .units
            .get(name)
            .filter(|_| text.is_some() || name.starts_with("vendor"));
        let Some(unit) = unit else {
            return format!(
                "Id={name}\nLoadState=not-found\nActiveState=inactive\nSubState=dead\nUnitFileState=\n"
            );
        };
        let (active, sub) = if unit.active {
            ("active", "running")
        } else {
            ("inactive", "dead")
        };
        let state = if unit.enabled { "enabled" } else { "disabled" };
        let needs = if unit.loaded == text { "no" } else { "yes" };
        let (starts, since) = (unit.starts, unit.since);
        format!(
            "Id={name}\nLoadState=loaded\nActiveState={active}\nSubState={sub}\nUnitFileState={state}\n\
             NeedDaemonReload={needs}\nCanReload=yes\nInvocationID={starts}\nActiveEnterTimestamp=@{since}\n"
        )
    }
}

fn unit_text(paths: &BTreeMap<String, Node>, name: &str) -> Option<String> {
    match &paths.get(&format!("/etc/systemd/system/{name}"))?.kind {
        Kind::File(text) => Some(text.clone()),
        Kind::Directory | Kind::Link(_) => None,
    }
}

/// Joins a body with its secrets.
pub fn fill(body: &Body) -> String {
    body.fill(|_| Some(SECRET)).expect("no outputs are left open")
}

fn filled(value: &SettingValue) -> Value {
    match value {
        SettingValue::Bool(value) => (*value).into(),
        SettingValue::Int(value) => (*value).into(),
        SettingValue::Text(body) => fill(body).into(),
        SettingValue::List(values) => values.iter().map(filled).collect(),
        SettingValue::Map(values) => values
            .iter()
            .map(|(key, value)| (key.clone(), filled(value)))
            .collect(),
    }
}

/// Returns the prints of everything in a spec that is compared by its print.
pub fn prints(spec: &Spec) -> BTreeMap<Digest, Fingerprint> {
    let print = |body: &&Body| (body.digest(), Fingerprint::of(SALT, fill(body).as_bytes()));
    spec.printed().iter().map(print).collect()
}
