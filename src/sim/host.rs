//! A pretend host: what is on it, and what each op does to it.
//!
//! It does what the guard's shell and Debian do between them, in the smallest form in which a law can fail. Nothing here knows
//! of locks (see [`super::guard`]), of time or of faults.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::keyed;
use crate::model::body::Body;
use crate::model::id::RunId;
use crate::model::op::{Op, SettingValue, UnitVerb};
use crate::model::secret::Secret;
use crate::ports::Secrets;

use super::account::Account;
use super::engine::Engine;
use super::unit::Unit;
use super::veil::Veil;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Which sort of thing.
    pub kind: Kind,
    /// Its owner's name.
    pub owner: String,
    /// Its group's name.
    pub group: String,
    /// Its mode in octal, four digits.
    pub mode: String,
    /// When it was last changed, in seconds of the host's clock.
    pub changed: u64,
}

/// The sorts of things at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A file with this content.
    File(String),
    /// A directory.
    Directory,
    /// A symbolic link to this.
    Link(String),
}

/// What running a script leads to: what the probe that belongs to it says from then on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scripted {
    /// The probe's script.
    pub probe: String,
    /// What the probe prints once the script has run.
    pub prints: String,
}

/// One host.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Host {
    /// Its own clock, in seconds.
    pub clock: u64,
    /// What is at each path. A folder is there if it is listed.
    pub paths: BTreeMap<String, Node>,
    /// Numbers of groups by name.
    pub groups: BTreeMap<String, u32>,
    /// Accounts by name.
    pub accounts: BTreeMap<String, Account>,
    /// Version and hold of installed packages by name.
    pub packages: BTreeMap<String, (String, bool)>,
    /// Units by full name.
    pub units: BTreeMap<String, Unit>,
    /// Units that a package or the system itself brings, which have no file under `/etc/systemd/system`.
    pub vendor_units: BTreeSet<String>,
    /// Kernel parameters.
    pub parameters: BTreeMap<String, String>,
    /// Its Docker engine.
    pub engine: Engine,
    /// How often each script was run.
    pub ran: BTreeMap<String, u64>,
    /// What scripts lead to, by their text. A script that is not listed is found by the probe `did TEXT`.
    pub scripts: BTreeMap<String, Scripted>,
    /// What looks another way until its change is done, in a rehearsal.
    pub veils: Vec<Veil>,
    /// The salt of its fingerprints; a first lock makes it.
    pub salt: Option<Vec<u8>>,
    /// What each run found at the paths that it touched, and then everything that it left there, by run. `None` is nothing.
    pub kept: BTreeMap<String, BTreeMap<String, Vec<Option<Node>>>>,
    /// The run for which things are kept now.
    pub run: String,
}

impl Host {
    /// Makes a host with the folders that every host has, the groups and the account of root.
    pub fn new() -> Self {
        let mut host = Self {
            // Before the world begins: what is prepared there is older than what happens.
            clock: 1_699_990_000,
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
            host.put(path, Kind::Directory, ["root", "root", "0755"]);
        }
        host.groups.insert("root".into(), 0);
        host.groups.insert("adm".into(), 4);
        host.groups.insert("users".into(), 100);
        host
    }

    /// Begins a run: what is there before each path's first op is kept for its undo. Those of the five runs before stay.
    pub fn begin(&mut self, run: &str) {
        run.clone_into(&mut self.run);
        self.kept.entry(run.to_owned()).or_default();
        while self.kept.len() > 6 {
            let oldest = self.kept.keys().find(|kept| *kept != run).cloned();
            self.kept.remove(&oldest.expect("there are more than six"));
        }
    }

    /// Performs one op.
    ///
    /// # Errors
    /// What the host says of its failure; nothing was then done.
    pub fn perform(&mut self, op: &Op, secrets: &Secrets) -> Result<(), String> {
        let done = self.act(op, secrets);
        if let Some(store) = self.kept.get_mut(&self.run) {
            for (path, states) in store {
                let now = self.paths.get(path).cloned();
                if states.last() != Some(&now) {
                    states.push(now);
                }
            }
        }
        done
    }

    fn act(&mut self, op: &Op, secrets: &Secrets) -> Result<(), String> {
        match op {
            Op::WriteFile {
                path,
                body,
                owner,
                group,
                mode,
                // A pretend host has no programs: a check is taken to agree.
                validate: _,
            } => {
                let text = fill(body, secrets)?;
                self.is_free(path)?;
                let group = self.group_of(owner, group)?;
                self.keep(path);
                self.put(path, Kind::File(text), [owner, &group, mode]);
            }
            Op::SetAttributes {
                path,
                owner,
                group,
                mode,
            } => {
                let kind = match self.paths.get(path).map(|node| &node.kind) {
                    None => return Err(format!("{path}: No such file or directory")),
                    Some(Kind::Link(_)) => return Err(format!("{path} is a link")),
                    Some(kind) => kind.clone(),
                };
                let group = self.group_of(owner, group)?;
                self.keep(path);
                self.put(path, kind, [owner, &group, mode]);
            }
            Op::MakeDirectory {
                path,
                owner,
                group,
                mode,
            } => {
                match self.paths.get(path).map(|node| &node.kind) {
                    None => self.parent(path)?,
                    Some(Kind::Directory) => {}
                    Some(Kind::Link(_)) => return Err(format!("{path} is a link")),
                    Some(Kind::File(_)) => return Err(format!("{path}: File exists")),
                }
                let group = self.group_of(owner, group)?;
                self.keep(path);
                self.put(path, Kind::Directory, [owner, &group, mode]);
            }
            Op::Link { path, to } => {
                self.is_free(path)?;
                self.keep(path);
                self.put(path, Kind::Link(to.clone()), ["root", "root", "0777"]);
            }
            Op::RemoveFile { path } => match self.paths.get(path).map(|node| &node.kind) {
                None => {}
                Some(Kind::Directory) => return Err(format!("{path} is a directory")),
                Some(Kind::File(_) | Kind::Link(_)) => {
                    self.keep(path);
                    self.paths.remove(path);
                }
            },
            Op::RemoveDirectory { path } => self.remove_directory(path)?,
            Op::Restore { path, run } => self.restore(path, run.as_ref().map(RunId::as_str))?,
            Op::Group { name, gid, .. } => self.group(name, *gid),
            Op::RemoveGroup { name } => self.remove_group(name)?,
            Op::Account { .. } => self.account(op)?,
            Op::RemoveAccount { name, home } => self.remove_account(name, *home),
            Op::Packages {
                install,
                remove,
                hold,
                unhold,
            } => self.packages(install, remove, hold, unhold),
            Op::ReloadUnits => self.reload_units(),
            Op::EnableUnit { unit, enabled } => self.enable(unit, *enabled)?,
            Op::ControlUnit { unit, verb } => self.control(unit, *verb)?,
            Op::Sysctl { key, value, file } => self.set_parameter(key, value, file)?,
            Op::Settings { .. } => self.edit(op, secrets)?,
            Op::Engine(op) => self.act_on_engine(op, secrets)?,
            Op::Run { script, env, .. } => {
                env.values()
                    .try_for_each(|value| fill(value, secrets).map(drop))?;
                *self.ran.entry(fill(script, secrets)?).or_default() += 1;
            }
        }
        self.lift(op);
        Ok(())
    }

    /// Puts something at a path, whatever is there.
    pub fn put(&mut self, path: &str, kind: Kind, [owner, group, mode]: [&str; 3]) {
        self.paths.insert(
            path.to_owned(),
            Node {
                kind,
                owner: owner.to_owned(),
                group: group.to_owned(),
                mode: mode.to_owned(),
                changed: self.clock,
            },
        );
        self.notice_unit(path);
    }

    /// Returns a file's content.
    pub fn text(&self, path: &str) -> Option<&str> {
        match &self.paths.get(path)?.kind {
            Kind::File(text) => Some(text),
            Kind::Directory | Kind::Link(_) => None,
        }
    }

    /// Says whether nothing lies in a directory.
    pub fn is_empty(&self, path: &str) -> bool {
        let inside = format!("{path}/");
        let mut below = self.paths.range::<String, _>(&inside..);
        !below.next().is_some_and(|(other, _)| other.starts_with(&inside))
    }

    fn keep(&mut self, path: &str) {
        let node = self.paths.get(path).cloned();
        let kept = self.kept.entry(self.run.clone()).or_default();
        kept.entry(path.to_owned()).or_insert_with(|| vec![node]);
    }

    /// Puts back what a run kept: this one, or an older one. What it never touched is as it was; what others changed since stays.
    fn restore(&mut self, path: &str, older: Option<&str>) -> Result<(), String> {
        let run = older.unwrap_or(&self.run).to_owned();
        let kept = self
            .kept
            .get(&run)
            .ok_or_else(|| format!("nothing was kept of run {run}"))?;
        let Some(found) = kept.get(path).and_then(|states| states.first().cloned()) else {
            return Ok(());
        };
        let is_own = older.is_some() && self.has_kept(path) && self.is_left(&self.run, path);
        if !self.is_left(&run, path) && !is_own {
            return Err(format!("{path} was changed since; it stays as it is"));
        }
        self.keep(path);
        let is_folder = |node: &Node| node.kind == Kind::Directory;
        if found.is_none() && self.paths.get(path).is_some_and(is_folder) && !self.is_empty(path) {
            return Err(format!("{path}: Directory not empty"));
        }
        let changed = self.clock;
        match found {
            Some(node) => drop(self.paths.insert(path.to_owned(), Node { changed, ..node })),
            None => drop(self.paths.remove(path)),
        }
        Ok(())
    }

    fn has_kept(&self, path: &str) -> bool {
        self.kept
            .get(&self.run)
            .is_some_and(|store| store.contains_key(path))
    }

    /// Says whether what is at a path is what a run found or left there; times do not count.
    pub(super) fn is_left(&self, run: &str, path: &str) -> bool {
        let state = |node: Option<&Node>| {
            let node = node?;
            Some((
                node.kind.clone(),
                node.owner.clone(),
                node.group.clone(),
                node.mode.clone(),
            ))
        };
        let now = state(self.paths.get(path));
        let states = self.kept.get(run).and_then(|store| store.get(path));
        states.is_none_or(|states| states.iter().any(|left| state(left.as_ref()) == now))
    }

    fn remove_directory(&mut self, path: &str) -> Result<(), String> {
        match self.paths.get(path).map(|node| &node.kind) {
            None => return Ok(()),
            Some(Kind::File(_) | Kind::Link(_)) => return Err(format!("{path}: Not a directory")),
            Some(Kind::Directory) if !self.is_empty(path) => {
                return Err(format!("{path}: Directory not empty"));
            }
            Some(Kind::Directory) => {}
        }
        self.keep(path);
        self.paths.remove(path);
        Ok(())
    }

    fn parent(&self, path: &str) -> Result<(), String> {
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let node = self.paths.get(parent);
        if parent.is_empty() || node.is_some_and(|node| node.kind == Kind::Directory) {
            Ok(())
        } else {
            Err(format!("{parent}: No such file or directory"))
        }
    }

    /// Says whether a file or a link may be renamed into a place.
    fn is_free(&self, path: &str) -> Result<(), String> {
        match self.paths.get(path).map(|node| &node.kind) {
            Some(Kind::Directory) => Err(format!("{path} is a directory")),
            Some(Kind::File(_) | Kind::Link(_)) | None => self.parent(path),
        }
    }

    /// Returns the group that a path gets; chown knows accounts and groups by name or by number.
    fn group_of(&self, owner: &str, group: &str) -> Result<String, String> {
        let is_number = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
        let account = self.accounts.get(owner);
        if account.is_none() && owner != "root" && !is_number(owner) {
            return Err(format!("chown: invalid user: '{owner}'"));
        }
        match (group, account) {
            ("", Some(account)) => Ok(account.group.clone()),
            ("", None) => Ok(owner.to_owned()),
            (group, _) if self.groups.contains_key(group) || is_number(group) => Ok(group.to_owned()),
            (group, _) => Err(format!("chown: invalid group: '{group}'")),
        }
    }

    fn packages(
        &mut self,
        install: &BTreeMap<String, Option<String>>,
        remove: &BTreeSet<String>,
        hold: &BTreeSet<String>,
        unhold: &BTreeSet<String>,
    ) {
        for (name, version) in install {
            let there = self.packages.get(name).cloned();
            let held = there.as_ref().is_some_and(|(_, held)| *held);
            // A package that is there stays at its version where none is asked for.
            let version = version.clone().or(there.map(|(version, _)| version));
            self.packages
                .insert(name.clone(), (version.unwrap_or_else(|| "1.0".into()), held));
        }
        remove.iter().for_each(|name| drop(self.packages.remove(name)));
        for (names, held) in [(unhold, false), (hold, true)] {
            names
                .iter()
                .filter_map(|name| self.packages.get_mut(name).map(|package| package.1 = held))
                .for_each(drop);
        }
    }

    /// Sets a parameter now and in its file, in which other keys stay.
    fn set_parameter(&mut self, key: &str, value: &str, file: &str) -> Result<(), String> {
        self.is_free(file)?;
        self.keep(file);
        self.parameters.insert(key.to_owned(), value.to_owned());
        let there = self.text(file).unwrap_or_default().to_owned();
        let is_other = |line: &&str| line.split('=').next().map(str::trim) != Some(key);
        let mut text: String = there
            .lines()
            .filter(is_other)
            .map(|line| format!("{line}\n"))
            .collect();
        text.push_str(&format!("{key} = {value}\n"));
        self.put(file, Kind::File(text), ["root", "root", "0644"]);
        Ok(())
    }

    /// Changes keys of a file. One that is as wanted already is not written.
    fn edit(&mut self, op: &Op, secrets: &Secrets) -> Result<(), String> {
        let Op::Settings {
            path,
            format,
            set,
            remove,
            owner,
            group,
            mode,
        } = op
        else {
            return Ok(());
        };
        let there = match self.paths.get(path).map(|node| &node.kind) {
            None => None,
            Some(Kind::File(text)) => Some(text.clone()),
            Some(Kind::Directory | Kind::Link(_)) => return Err(format!("{path} is not a file")),
        };
        if set.is_empty() && there.is_none() {
            return Ok(());
        }
        let set = set
            .iter()
            .map(|(key, value)| Ok((key.clone(), filled(value, secrets)?)))
            .collect::<Result<_, String>>()?;
        let text = keyed::edit(*format, there.as_deref(), &set, remove)?;
        if there.as_ref() == Some(&text) {
            return Ok(());
        }
        self.is_free(path)?;
        let attributes = match self.paths.get(path) {
            Some(node) => [node.owner.clone(), node.group.clone(), node.mode.clone()],
            None => [owner.clone(), self.group_of(owner, group)?, mode.clone()],
        };
        self.keep(path);
        let [owner, group, mode] = &attributes;
        self.put(path, Kind::File(text), [owner, group, mode]);
        Ok(())
    }

    fn control(&mut self, name: &str, verb: UnitVerb) -> Result<(), String> {
        let clock = self.clock;
        match (self.unit(name), verb) {
            (Ok(unit), _) => unit.control(verb, clock),
            (Err(_), UnitVerb::Stop) => {}
            (Err(why), _) => return Err(why),
        }
        Ok(())
    }
}

/// Joins a body with its secrets.
///
/// # Errors
/// A clause that names the first hole without a value.
pub fn fill(body: &Body, secrets: &Secrets) -> Result<String, String> {
    body.fill(|reference| secrets.get(&reference.source).map(Secret::reveal))
        .map_err(|error| error.to_string())
}

fn filled(value: &SettingValue, secrets: &Secrets) -> Result<Value, String> {
    Ok(match value {
        SettingValue::Bool(value) => (*value).into(),
        SettingValue::Int(value) => (*value).into(),
        SettingValue::Text(body) => fill(body, secrets)?.into(),
        SettingValue::List(values) => {
            let values: Result<Vec<Value>, String> =
                values.iter().map(|value| filled(value, secrets)).collect();
            values?.into()
        }
        SettingValue::Map(values) => {
            let pair = |(key, value): (&String, &SettingValue)| Ok((key.clone(), filled(value, secrets)?));
            values
                .iter()
                .map(pair)
                .collect::<Result<serde_json::Map<_, _>, String>>()?
                .into()
        }
    })
}
