//! How probes are spelled: all of one class in one call, so that the cost does not grow with a program for each.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::engine::EngineProbe;
use crate::model::id::ResourceKey;
use crate::model::op::{CONTENT_MAX_BYTES, ContentWanted, Probe, UNIT_PROPERTIES};

use super::super::quote::words;
use super::op;

/// The longest settings file whose keys are read, in bytes.
pub const SETTINGS_MAX_BYTES: u64 = 4 * 1024 * 1024;
/// How many arguments one program gets. With paths of the longest kind this stays below the kernel's limit of 2 MiB.
const ARGUMENTS_MAX: usize = 400;

/// What is looked at, by class, in the order in which it is asked.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Classes<'a> {
    pub paths: BTreeSet<&'a str>,
    pub texts: BTreeSet<&'a str>,
    pub prints: BTreeSet<&'a str>,
    pub settings: BTreeSet<&'a str>,
    pub keys_of: BTreeSet<&'a str>,
    pub packages: BTreeSet<&'a str>,
    pub units: BTreeSet<&'a str>,
    pub sysctls: BTreeSet<&'a str>,
    pub accounts: bool,
    pub kept: BTreeSet<(&'a str, &'a str)>,
    pub commands: Vec<(&'a str, &'a str, u64)>,
}

impl<'a> Classes<'a> {
    pub(super) fn of(probes: &'a BTreeMap<ResourceKey, Vec<Probe>>) -> Self {
        let mut classes = Self::default();
        probes.values().flatten().for_each(|probe| classes.add(probe));
        classes
    }

    fn add(&mut self, probe: &'a Probe) {
        match probe {
            Probe::Path { path, content } => {
                self.paths.insert(path);
                match content {
                    ContentWanted::None => {}
                    ContentWanted::Text => drop(self.texts.insert(path)),
                    ContentWanted::Print => drop(self.prints.insert(path)),
                }
            }
            Probe::Account(_) | Probe::Group(_) => self.accounts = true,
            Probe::AuthorizedKeys(account) => {
                self.accounts = true;
                self.keys_of.insert(account);
            }
            Probe::Package(name) => drop(self.packages.insert(name)),
            Probe::Unit(name) => drop(self.units.insert(name)),
            Probe::Sysctl { key, file } => {
                self.sysctls.insert(key);
                self.paths.insert(file);
                self.texts.insert(file);
            }
            Probe::Settings { path, .. } => {
                self.paths.insert(path);
                self.settings.insert(path);
            }
            Probe::Engine(EngineProbe::Container(probe)) => {
                self.paths.extend(probe.mounted.iter().map(String::as_str));
            }
            Probe::Engine(_) => {}
            Probe::Kept { run, path } => drop(self.kept.insert((run.as_str(), path))),
            Probe::Command {
                script,
                user,
                timeout_secs,
            } => {
                self.commands
                    .push((script, user.as_deref().unwrap_or(""), *timeout_secs));
            }
        }
    }
}

/// Cuts a class into the argument lists of single calls.
pub(super) fn chunks<'a>(class: &BTreeSet<&'a str>) -> Vec<Vec<&'a str>> {
    let all: Vec<&str> = class.iter().copied().collect();
    all.chunks(ARGUMENTS_MAX).map(<[&str]>::to_vec).collect()
}

/// Cuts what is asked of what runs kept into single calls.
pub(super) fn kept_chunks<'a>(classes: &Classes<'a>) -> Vec<Vec<(&'a str, &'a str)>> {
    let all: Vec<(&str, &str)> = classes.kept.iter().copied().collect();
    all.chunks(ARGUMENTS_MAX).map(<[_]>::to_vec).collect()
}

/// Returns the sections of the answer to a look, each with the fewest and the most of them that there may be: some are
/// said only where there is something to say.
pub(super) fn expected(classes: &Classes<'_>) -> [(&'static str, usize, usize); 12] {
    let calls = |class| chunks(class).len();
    let keys = calls(&classes.keys_of);
    let stats = calls(&classes.paths) + keys;
    let contents = calls(&classes.texts) + calls(&classes.settings) + keys;
    let tables = usize::from(classes.accounts);
    let exactly = |name, count| (name, count, count);
    [
        exactly("stat", stats),
        exactly("empty", stats),
        ("sum", 0, contents),
        ("text", 0, contents),
        ("print", 0, calls(&classes.prints)),
        exactly("passwd", tables),
        exactly("group", tables),
        exactly("package", calls(&classes.packages)),
        exactly("unit", calls(&classes.units)),
        exactly("sysctl", calls(&classes.sysctls)),
        exactly("kept", kept_chunks(classes).len()),
        exactly("command", classes.commands.len()),
    ]
}

/// Spells all probes. Needs `say_salt` before it, for prints.
pub fn sections(probes: &BTreeMap<ResourceKey, Vec<Probe>>) -> String {
    let classes = Classes::of(probes);
    let mut script = Script::default();
    script.class(&classes.paths, &["LIST say_stats", "tell empty LIST empties"]);
    let texts = format!("LIST say_contents {CONTENT_MAX_BYTES}");
    script.class(&classes.texts, &["LIST say_sums", &texts]);
    script.class(&classes.prints, &["[ -z \"$salt\" ] || say print LIST prints"]);
    let settings = format!("LIST say_contents {SETTINGS_MAX_BYTES}");
    script.class(&classes.settings, &["LIST say_sums", &settings]);
    script.keys(&classes.keys_of, &texts);
    if classes.accounts {
        script
            .text
            .push_str("say passwd table /etc/passwd\nsay group table /etc/group\n");
    }
    script.class(&classes.packages, &["say package LIST package_states"]);
    let properties = UNIT_PROPERTIES.join(",");
    script.class(
        &classes.units,
        &[&format!("say unit LIST unit_states {properties}")],
    );
    let parameters: BTreeSet<String> = classes.sysctls.iter().map(|key| op::sysctl_path(key)).collect();
    script.class(
        &parameters.iter().map(String::as_str).collect(),
        &["say sysctl LIST sysctls"],
    );
    script.kept(&classes);
    classes
        .commands
        .iter()
        .for_each(|(command, user, secs)| script.command(command, user, *secs));
    script.text
}

/// Tells whether a command of a module is among the probes.
pub fn has_commands(probes: &BTreeMap<ResourceKey, Vec<Probe>>) -> bool {
    let mut all = probes.values().flatten();
    all.any(|probe| matches!(probe, Probe::Command { .. }))
}

/// Says whether a look asks what runs kept, for which it needs further functions.
pub fn asks_what_is_kept(probes: &BTreeMap<ResourceKey, Vec<Probe>>) -> bool {
    let mut probes = probes.values().flatten();
    probes.any(|probe| matches!(probe, Probe::Kept { .. }))
}

/// Returns how long the commands among the probes may take together.
pub fn patience(probes: &BTreeMap<ResourceKey, Vec<Probe>>) -> Duration {
    Duration::from_secs(
        Classes::of(probes)
            .commands
            .iter()
            .map(|(_, _, secs)| secs + 10)
            .sum(),
    )
}

/// Spells the read of one settings file.
pub fn reading(path: &str) -> String {
    let mut script = Script::default();
    let contents = format!("LIST say_contents {SETTINGS_MAX_BYTES}");
    script.class(
        &BTreeSet::from([path]),
        &["LIST say_stats", "LIST say_sums", &contents],
    );
    script.text
}

/// Spells one command, whose answer is named `command`.
pub fn asking(command: &str, secs: u64) -> String {
    let mut script = Script::default();
    script.command(command, "", secs);
    script.text
}

#[derive(Default)]
struct Script {
    text: String,
    lists: usize,
}

impl Script {
    /// Spells calls over a class. Each chunk is a function that adds its arguments to a command: `LIST` names it.
    fn class(&mut self, class: &BTreeSet<&str>, calls: &[&str]) {
        for chunk in chunks(class) {
            let list = self.list(&format!("\"$@\" {}", words(chunk)));
            self.calls(&list, calls);
        }
    }

    /// Spells the look at authorized keys: where the homes are is known only on the host.
    fn keys(&mut self, accounts: &BTreeSet<&str>, texts: &str) {
        for chunk in chunks(accounts) {
            let names = chunk
                .iter()
                .map(|name| words([*name]))
                .collect::<Vec<_>>()
                .join(" | ");
            let list = self.list(&format!(
                "while IFS=: read -r _name _ _ _ _ _home _; do\n\
                 case $_name in {names}) set -- \"$@\" \"$_home/.ssh/authorized_keys\" ;; esac\n\
                 done </etc/passwd\n\"$@\""
            ));
            self.calls(&list, &["LIST say_stats", "tell empty LIST empties"]);
            self.calls(&list, &["LIST say_sums", texts]);
        }
    }

    /// Spells the look at what runs kept: each path with its run and the name under which it is kept.
    fn kept(&mut self, classes: &Classes<'_>) {
        for chunk in kept_chunks(classes) {
            let arguments: Vec<String> = chunk
                .iter()
                .map(|(run, path)| words([run, op::path_id(path).as_str(), path]))
                .collect();
            let list = self.list(&format!("\"$@\" {}", arguments.join(" ")));
            self.calls(&list, &["say kept LIST kept_states"]);
        }
    }

    fn command(&mut self, command: &str, user: &str, secs: u64) {
        let list = self.list(&op::running(command, &[], "/", user, secs));
        self.calls(&list, &["relay command LIST"]);
    }

    fn list(&mut self, body: &str) -> String {
        let name = format!("list_{}", self.lists);
        self.lists += 1;
        self.text.push_str(&format!("{name}() {{\n{body}\n}}\n"));
        name
    }

    fn calls(&mut self, list: &str, calls: &[&str]) {
        calls.iter().for_each(|call| {
            self.text.push_str(&call.replace("LIST", list));
            self.text.push('\n');
        });
    }
}
