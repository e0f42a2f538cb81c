//! Ops and probes: the closed vocabulary of doing and of looking. `transport::lower` alone says how each is spelled.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::body::Body;
use super::engine::{EngineOp, EngineProbe};
use super::id::{OutputRef, RunId};

/// One step whose half-done state a probe can tell. Every op may be done twice with the effect of once.
///
/// Serialisable; secrets stand as references. Before an op touches a path, the guard keeps what was there in the run's
/// undo store, once per run and path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Writes a file beside its place, checks it, syncs it and renames it into place.
    WriteFile {
        /// The absolute path.
        path: String,
        /// The content.
        body: Body,
        /// The owner's name.
        owner: String,
        /// The group's name; empty is the owner's primary group.
        group: String,
        /// The mode in octal, four digits.
        mode: String,
        /// A shell command that must exit 0 before the rename; `{}` stands for the path of the new file, quoted.
        validate: Option<String>,
    },
    /// Sets owner, group and mode of what is there.
    SetAttributes {
        /// The absolute path.
        path: String,
        /// The owner's name.
        owner: String,
        /// The group's name; empty is the owner's primary group.
        group: String,
        /// The mode in octal, four digits.
        mode: String,
    },
    /// Makes a directory, whose parent must be there.
    MakeDirectory {
        /// The absolute path.
        path: String,
        /// The owner's name.
        owner: String,
        /// The group's name; empty is the owner's primary group.
        group: String,
        /// The mode in octal, four digits.
        mode: String,
    },
    /// Makes a symbolic link or points it elsewhere, atomically.
    Link {
        /// The absolute path of the link.
        path: String,
        /// What it points to.
        to: String,
    },
    /// Removes a file or a link.
    RemoveFile {
        /// The absolute path.
        path: String,
    },
    /// Removes a directory if it is empty, and fails if it is not.
    RemoveDirectory {
        /// The absolute path.
        path: String,
    },
    /// Puts back what the guard kept of a path in a run's undo store, or removes the path if nothing was there. Fails if
    /// what is there is not what that run left: then others changed it since.
    Restore {
        /// The absolute path.
        path: String,
        /// The run that touched it; `None` is the present one. What is there now is kept first for the present run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<RunId>,
    },
    /// Makes or changes a group.
    Group {
        /// Its name.
        name: String,
        /// Its number; `None` leaves it.
        gid: Option<u32>,
        /// Whether it is made as a system group.
        system: bool,
    },
    /// Removes a group.
    RemoveGroup {
        /// Its name.
        name: String,
    },
    /// Makes or changes an account. Fields that are `None` are left as they are, or as the system chooses.
    Account {
        /// Its name.
        name: String,
        /// Its number.
        uid: Option<u32>,
        /// Its primary group's name.
        group: Option<String>,
        /// Its further groups; exactly these.
        groups: Option<BTreeSet<String>>,
        /// Its home directory's path.
        home: Option<String>,
        /// Its login shell.
        shell: Option<String>,
        /// Its comment.
        comment: Option<String>,
        /// Whether it is made as a system account.
        system: bool,
        /// Whether its home directory is made with it.
        make_home: bool,
    },
    /// Removes an account.
    RemoveAccount {
        /// Its name.
        name: String,
        /// Whether its home directory goes too.
        home: bool,
    },
    /// Installs, removes, holds and releases packages in one call of the package manager.
    Packages {
        /// Packages to install, with the exact version or `None` for the candidate.
        install: BTreeMap<String, Option<String>>,
        /// Packages to remove.
        remove: BTreeSet<String>,
        /// Packages to hold at their version.
        hold: BTreeSet<String>,
        /// Packages to release.
        unhold: BTreeSet<String>,
    },
    /// Tells systemd to read its unit files again.
    ReloadUnits,
    /// Enables or disables a unit.
    EnableUnit {
        /// Its full name.
        unit: String,
        /// Whether it is enabled.
        enabled: bool,
    },
    /// Starts, stops, restarts or reloads a unit and waits for the end of that job.
    ControlUnit {
        /// Its full name.
        unit: String,
        /// What is done.
        verb: UnitVerb,
    },
    /// Sets a kernel parameter now, and in `/etc/sysctl.d/` for the next boot.
    Sysctl {
        /// Its name with dots.
        key: String,
        /// Its value; several numbers are separated by one blank.
        value: String,
        /// The file that keeps it.
        file: String,
    },
    /// Changes keys of a file that others own too, and keeps everything else: comments, order, line ends.
    Settings {
        /// The absolute path.
        path: String,
        /// The file's format.
        format: SettingsFormat,
        /// Keys to set, each as its path (see [`SettingsFormat`]), with its new value.
        set: BTreeMap<String, SettingValue>,
        /// Keys to remove.
        remove: BTreeSet<String>,
        /// Owner, group and mode for a file that is not there yet.
        owner: String,
        /// The group's name.
        group: String,
        /// The mode in octal, four digits.
        mode: String,
    },
    /// Runs a shell script.
    Run {
        /// The script, as its module wrote it.
        script: Body,
        /// Its environment, beside `PATH` and `LC_ALL=C`.
        env: BTreeMap<String, Body>,
        /// The account that runs it; `None` is root.
        user: Option<String>,
        /// The folder that it runs in; `None` is `/`.
        directory: Option<String>,
        /// How long it may take, in seconds.
        timeout_secs: u64,
    },
    /// Does something on the host's Docker engine.
    Engine(EngineOp),
}

/// What is done to a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnitVerb {
    /// Start, if it is not running.
    Start,
    /// Stop, if it is running.
    Stop,
    /// Stop and start.
    Restart,
    /// Reload its configuration without a stop.
    Reload,
}

/// The format of a file whose keys are set one by one.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum SettingsFormat {
    /// JSON: `a.b.c`, objects only; a key with a dot in it stands in double quotes.
    Json,
    /// TOML: as JSON.
    Toml,
    /// INI: `section.key`; the section is everything before the last dot.
    Ini,
    /// `KEY=value` lines, perhaps after `export `.
    Env,
}

/// The value of one key of a settings file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
pub enum SettingValue {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Text, perhaps with holes.
    Text(Body),
    /// Several values.
    List(Vec<SettingValue>),
    /// Named values: a JSON object or an inline TOML table.
    Map(BTreeMap<String, SettingValue>),
}

impl Op {
    /// Restores a path from what the present run kept of it.
    pub fn restore(path: impl Into<String>) -> Self {
        Self::Restore {
            path: path.into(),
            run: None,
        }
    }

    /// Says whether the op works on one path, is over in a moment whatever it finds there, and runs nobody's program: such ops
    /// may share one call with others.
    pub fn is_brief(&self) -> bool {
        match self {
            Self::WriteFile { validate, .. } => validate.is_none(),
            Self::SetAttributes { .. }
            | Self::MakeDirectory { .. }
            | Self::Link { .. }
            | Self::RemoveFile { .. }
            | Self::RemoveDirectory { .. }
            | Self::Sysctl { .. } => true,
            // A keyed edit reads before it writes, which takes calls of its own; what is taken back is judged path by path.
            Self::Settings { .. }
            | Self::Restore { .. }
            | Self::Group { .. }
            | Self::RemoveGroup { .. }
            | Self::Account { .. }
            | Self::RemoveAccount { .. }
            | Self::Packages { .. }
            | Self::ReloadUnits
            | Self::EnableUnit { .. }
            | Self::ControlUnit { .. }
            | Self::Engine(_)
            | Self::Run { .. } => false,
        }
    }

    /// Returns the bodies that the op writes, in which secrets and outputs may stand.
    pub fn bodies(&self) -> Vec<&Body> {
        match self {
            Self::WriteFile { body, .. } => vec![body],
            Self::Run { script, env, .. } => std::iter::once(script).chain(env.values()).collect(),
            Self::Settings { set, .. } => set.values().flat_map(SettingValue::bodies).collect(),
            Self::Engine(op) => op.bodies(),
            Self::SetAttributes { .. }
            | Self::MakeDirectory { .. }
            | Self::Link { .. }
            | Self::RemoveFile { .. }
            | Self::RemoveDirectory { .. }
            | Self::Restore { .. }
            | Self::Group { .. }
            | Self::RemoveGroup { .. }
            | Self::Account { .. }
            | Self::RemoveAccount { .. }
            | Self::Packages { .. }
            | Self::ReloadUnits
            | Self::EnableUnit { .. }
            | Self::ControlUnit { .. }
            | Self::Sysctl { .. } => Vec::new(),
        }
    }

    /// Fills the outputs that `known` has into every body.
    pub fn with_outputs<'a>(&self, known: &impl Fn(&OutputRef) -> Option<&'a str>) -> Self {
        let mut op = self.clone();
        match &mut op {
            Self::WriteFile { body, .. } => *body = body.with_outputs(known),
            Self::Run { script, env, .. } => {
                *script = script.with_outputs(known);
                env.values_mut()
                    .for_each(|value| *value = value.with_outputs(known));
            }
            Self::Settings { set, .. } => set
                .values_mut()
                .for_each(|value| *value = value.with_outputs(known)),
            Self::Engine(op) => op
                .bodies_mut()
                .into_iter()
                .for_each(|body| *body = body.with_outputs(known)),
            Self::SetAttributes { .. }
            | Self::MakeDirectory { .. }
            | Self::Link { .. }
            | Self::RemoveFile { .. }
            | Self::RemoveDirectory { .. }
            | Self::Restore { .. }
            | Self::Group { .. }
            | Self::RemoveGroup { .. }
            | Self::Account { .. }
            | Self::RemoveAccount { .. }
            | Self::Packages { .. }
            | Self::ReloadUnits
            | Self::EnableUnit { .. }
            | Self::ControlUnit { .. }
            | Self::Sysctl { .. } => {}
        }
        op
    }
}

impl SettingValue {
    /// Returns the bodies within the value.
    pub fn bodies(&self) -> Vec<&Body> {
        match self {
            Self::Bool(_) | Self::Int(_) => Vec::new(),
            Self::Text(body) => vec![body],
            Self::List(values) => values.iter().flat_map(Self::bodies).collect(),
            Self::Map(values) => values.values().flat_map(Self::bodies).collect(),
        }
    }

    /// Fills the outputs that `known` has.
    pub fn with_outputs<'a>(&self, known: &impl Fn(&OutputRef) -> Option<&'a str>) -> Self {
        match self {
            Self::Bool(_) | Self::Int(_) => self.clone(),
            Self::Text(body) => Self::Text(body.with_outputs(known)),
            Self::List(values) => Self::List(values.iter().map(|value| value.with_outputs(known)).collect()),
            Self::Map(values) => Self::Map(
                values
                    .iter()
                    .map(|(key, value)| (key.clone(), value.with_outputs(known)))
                    .collect(),
            ),
        }
    }
}

/// One question to a host. The form of the answer stands with each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// What is at a path.
    ///
    /// Answer, status 0: lines `key=value`: `type` (`absent`, `file`, `directory`, `link`, `other`); then for what is there
    /// `mode` (octal, four digits), `owner`, `group`, their numbers `uid` and `gid`, `size` (bytes), `changed` (ctime in seconds); for a link `to`; for a
    /// directory `empty` (`yes`, `no`) and `entries` (how many things are in it, at most 1000); for a file one of `sha256`, `print` (salted), or `opaque=yes` (a print was asked for
    /// and the host has no salt yet). Where content was asked for and is UTF-8 and not longer than the limit: one empty
    /// line, then the content to the end of the answer. A path that cannot be read has a status other than 0.
    Path {
        /// The absolute path. Not followed if it is a link.
        path: String,
        /// What is wanted of a file's content.
        content: ContentWanted,
    },
    /// An account.
    ///
    /// Answer, status 0: its line of `/etc/passwd`, then one line with its further groups separated by commas, sorted, then
    /// the name of its primary group; or nothing if there is no such account.
    Account(String),
    /// A group.
    ///
    /// Answer, status 0: its line of `/etc/group`, then one line with the accounts whose primary group it is, separated by
    /// commas, sorted; or nothing if there is no such group.
    Group(String),
    /// The authorized keys of an account.
    ///
    /// Answer, status 0: as `Path` with content, for `.ssh/authorized_keys` in the account's home, with one more line
    /// `path`; `type=no-account` if there is no such account.
    AuthorizedKeys(String),
    /// A package.
    ///
    /// Answer, status 0: `want` `status` `version` separated by tabs, as dpkg-query names them (`install`, `installed`,
    /// `7.88.1-10`), or nothing if dpkg does not know it.
    Package(String),
    /// A systemd unit. Answer, status 0: the lines of `systemctl show` for [`UNIT_PROPERTIES`], timestamps in UTC
    /// (`Tue 2023-11-14 22:13:20 UTC`) or as `@seconds`.
    Unit(String),
    /// A kernel parameter.
    ///
    /// Answer, status 0: `value=…` (blanks squeezed) on the first line, `absent=yes` if the kernel has no such parameter,
    /// then `file=…` with what the file keeps for it, if the file is there.
    Sysctl {
        /// Its name with dots.
        key: String,
        /// The file that keeps it.
        file: String,
    },
    /// Keys of a file that others own too.
    ///
    /// Answer, status 0: one JSON object: `{"type":"absent"}`, or `{"type":"file","mode","owner","group","keys":{…}}` with the wanted keys
    /// that are there; a value that no spec declares public stands as `{"print":"…"}`, or as
    /// `{"opaque":true}` where the host has no salt yet. A file that cannot be parsed has
    /// status 65 and the parser's message, without its content.
    Settings {
        /// The absolute path.
        path: String,
        /// The file's format.
        format: SettingsFormat,
        /// The keys that are wanted, and whether each is secret.
        keys: BTreeMap<String, bool>,
    },
    /// What the guard kept of a path that a run touched.
    ///
    /// Answer, status 0: lines `store=yes` or `store=no` (the run's undo store is still there) and `left=yes` or `left=no`
    /// (what is at the path is what the run found or left there).
    Kept {
        /// The run.
        run: RunId,
        /// The absolute path.
        path: String,
    },
    /// A shell script of a module that tells whether a command is needed, and its outputs.
    ///
    /// Answer: its output and status.
    Command {
        /// The script.
        script: String,
        /// The account that runs it; `None` is root.
        user: Option<String>,
        /// How long it may take, in seconds.
        timeout_secs: u64,
    },
    /// Something of the host's Docker engine.
    Engine(EngineProbe),
}

/// What is wanted of a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContentWanted {
    /// Nothing.
    None,
    /// Its digest and, up to [`CONTENT_MAX_BYTES`], its text.
    Text,
    /// Its salted print only; the content never leaves the host.
    Print,
}

/// The longest content that a look brings back, in bytes. A longer file is compared by its digest and shown without a diff.
pub const CONTENT_MAX_BYTES: u64 = 256 * 1024;

/// The properties that a look at a unit asks for.
pub const UNIT_PROPERTIES: &[&str] = &[
    "Id",
    "LoadState",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "FragmentPath",
    "NeedDaemonReload",
    "CanReload",
    "InvocationID",
    "ActiveEnterTimestamp",
    "Type",
    "Result",
];
