//! A systemd unit: its file, whether it is enabled, whether it runs, and what it was started with.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::model::body::Body;
use crate::model::change::{Action, Disruption, FieldChange, Shown, Undo};
use crate::model::digest::Digest;
use crate::model::known::{Comparable, Known};
use crate::model::manifest::Owned;
use crate::model::manifest::OwnedState;
use crate::model::observation::{Answer, Observed};
use crate::model::op::{ContentWanted, Op, Probe, UnitVerb};

use super::path::{self, Attributes, Content, PathAnswer};
use super::{Claim, Context, Kind, Mistake, Step, veil};

/// A systemd unit: a service, a timer, a socket or any other. What is not said is left as it is.
///
/// A unit with `content` has its whole file at `/etc/systemd/system/<name>`; a change of it is read by systemd, and
/// restarts the unit if it runs. A unit is also restarted when something in `restart_on` has changed since it was
/// started, whoever changed it; a start by hand after the last change counts.
///
/// A `oneshot` service does not stay running: let a timer start it, or say `RemainAfterExit=yes`.
///
/// ```toml
/// [[unit]]
/// name       = "app.service"
/// content    = """
/// [Service]
/// ExecStart=/usr/local/bin/app
/// [Install]
/// WantedBy=multi-user.target
/// """
/// enabled    = true
/// running    = true
/// reload     = true                     # reload instead of restart, where the unit can
/// restart_on = ["file:/etc/app.toml"]
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Unit {
    /// Its full name, with the suffix: `app.service`, `app.timer`.
    pub name: String,
    /// The whole content of its file; a unit without it comes with a package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Body>,
    /// The mode of its file, four octal digits.
    #[serde(default = "mode_0644")]
    pub mode: String,
    /// Whether it starts with the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Whether it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<bool>,
    /// Whether it is reloaded, not restarted, when something that it consumes changes; restarted where it cannot.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reload: bool,
}

fn mode_0644() -> String {
    "0644".to_owned()
}

/// What systemd says of a unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActualUnit {
    /// What is at its file's place; `None` where nothing is, or where muster does not own the file.
    pub file: Option<UnitFile>,
    /// `loaded`, `not-found`, `masked` …
    pub load: String,
    /// `active`, `inactive`, `failed` …
    pub active: String,
    /// `running`, `auto-restart`, `dead` …
    pub sub: String,
    /// `enabled`, `disabled`, `static` …; empty where systemd knows no file.
    pub file_state: String,
    /// Whether its file changed since systemd read it.
    pub needs_reload: bool,
    /// Whether it can reload its configuration.
    pub can_reload: bool,
    /// What names its present start.
    pub invocation: Option<String>,
    /// When it became active, in seconds of the host's clock.
    pub active_since_secs: Option<u64>,
}

/// What is at the place of a unit's file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnitFile {
    /// What it is: `file`, or what stands in its way.
    pub kind: String,
    /// Owner, group, mode.
    pub attributes: Attributes,
    /// Its content; `None` where it is no file.
    pub content: Option<Content>,
    /// When it last changed in any way, in seconds of the host's clock.
    pub changed_secs: Option<u64>,
}

impl ActualUnit {
    fn is_found(&self) -> bool {
        self.load != "not-found"
    }

    fn is_running(&self) -> bool {
        match self.active.as_str() {
            "active" | "reloading" | "refreshing" => true,
            // A unit that dies and is started again and again does not run.
            "activating" => !self.sub.starts_with("auto-restart"),
            _ => false,
        }
    }

    fn is_enabled(&self) -> bool {
        matches!(self.file_state.as_str(), "enabled" | "enabled-runtime" | "alias")
    }
}

impl Unit {
    fn path(&self) -> String {
        format!("/etc/systemd/system/{}", self.name)
    }

    fn attributes(&self) -> Attributes {
        let root = super::file::root;
        Attributes {
            owner: root(),
            group: root(),
            mode: self.mode.clone(),
        }
    }

    fn file(&self, answer: &Answer) -> Result<Option<UnitFile>, String> {
        let answer = PathAnswer::read(answer)?;
        if answer.kind == "absent" {
            return Ok(None);
        }
        Ok(Some(UnitFile {
            content: (answer.kind == "file").then(|| answer.content()).transpose()?,
            attributes: answer.attributes()?,
            changed_secs: answer.get("changed").ok().and_then(|secs| secs.parse().ok()),
            kind: answer.kind,
        }))
    }

    /// Returns what cannot be mended by enabling, starting or writing.
    fn obstacle(&self, actual: &ActualUnit) -> Option<String> {
        if self.content.is_some() {
            return None;
        }
        let is_wanted = self.enabled == Some(true) || self.running == Some(true);
        if actual.load == "masked" && is_wanted {
            return Some("the unit is masked; unmask it first".to_owned());
        }
        let is_fixed = ["static", "generated", "transient"].contains(&actual.file_state.as_str());
        (is_fixed && self.enabled == Some(true)).then(|| {
            format!(
                "the unit is {} and cannot be enabled: it has no [Install] section",
                actual.file_state
            )
        })
    }

    /// Says whether what runs has consumed something older than what is there, or will be after this plan.
    fn is_stale(&self, actual: &ActualUnit, context: &Context<'_>) -> bool {
        if !actual.is_running() || self.running == Some(false) {
            return false;
        }
        let Some(consumed) = context.consumed else {
            return false;
        };
        if !consumed.changing.is_empty() || consumed.is_unfinished {
            return true;
        }
        let started = context.owned.and_then(|owned| owned.started_with.as_ref());
        match started {
            Some(started) if Some(&started.invocation) == actual.invocation.as_ref() => {
                // The digest is of what is declared, where a secret is only a name; that it was rotated since, or mended
                // after somebody changed it, shows in the time alone.
                let changed_since = consumed
                    .changed_at_secs
                    .zip(started.at_secs)
                    .is_some_and(|(changed, at)| at < changed);
                started.consumed != consumed.digest || changed_since
            }
            // Somebody else started it: fresh if that was after the last change. In one and the same second nobody
            // can tell, and a restart too many does less harm than an old configuration.
            Some(_) | None => match (consumed.changed_at_secs, actual.active_since_secs) {
                (Some(changed), Some(since)) => since <= changed,
                (Some(_), None) => started.is_none_or(|started| started.consumed != consumed.digest),
                // What it consumes is on other hosts, if anywhere, whose clocks say nothing about this one.
                (None, _) => started.is_some_and(|started| started.consumed != consumed.digest),
            },
        }
    }

    /// Says whether an earlier run wrote the unit's own file and ended before it restarted the unit.
    fn is_unfinished(&self, actual: &ActualUnit, context: &Context<'_>) -> bool {
        let is_intent = context
            .owned
            .is_some_and(|owned| owned.state == OwnedState::Intent);
        let changed = actual.file.as_ref().and_then(|file| file.changed_secs);
        let is_older =
            matches!((actual.active_since_secs, changed), (Some(since), Some(changed)) if since <= changed);
        is_intent && is_older && actual.is_running() && self.running != Some(false)
    }

    /// Returns what a step does to what runs.
    fn verb(&self, step: &Step<'_, ActualUnit>) -> Option<UnitVerb> {
        let before = step.before.present();
        match step.action {
            Action::Create | Action::Replace => self.running.and_then(|runs| {
                // What this plan installs may have started by itself, before the files that it consumes were there.
                let is_changing = step
                    .context
                    .consumed
                    .is_some_and(|consumed| !consumed.changing.is_empty());
                runs.then_some(if is_changing {
                    UnitVerb::Restart
                } else {
                    UnitVerb::Start
                })
            }),
            Action::Update if step.has("running") => Some(if self.running == Some(true) {
                UnitVerb::Start
            } else {
                UnitVerb::Stop
            }),
            Action::Update => {
                let before = before.filter(|before| before.is_running() && self.running != Some(false))?;
                let is_own = step.has("content") || (step.has("loaded") && self.content.is_some());
                let reloads = self.reload && before.can_reload && !is_own;
                (is_own || step.has("started_with")).then_some(if reloads {
                    UnitVerb::Reload
                } else {
                    UnitVerb::Restart
                })
            }
            Action::Delete => Some(UnitVerb::Stop),
            Action::Forget => None,
        }
    }

    fn write(&self, attributes: Attributes) -> Option<Op> {
        let Attributes { owner, group, mode } = attributes;
        let body = self.content.clone()?;
        Some(Op::WriteFile {
            path: self.path(),
            body,
            owner,
            group,
            mode,
            validate: None,
        })
    }

    fn enable(&self, enabled: bool) -> Op {
        Op::EnableUnit {
            unit: self.name.clone(),
            enabled,
        }
    }

    fn control(&self, verb: UnitVerb) -> Op {
        Op::ControlUnit {
            unit: self.name.clone(),
            verb,
        }
    }

    fn create(&self, step: &Step<'_, ActualUnit>) -> Vec<Op> {
        let mut ops: Vec<Op> = self.write(self.attributes()).into_iter().collect();
        ops.push(Op::ReloadUnits);
        ops.extend(
            self.enabled
                .filter(|enabled| *enabled)
                .map(|enabled| self.enable(enabled)),
        );
        ops.extend(self.verb(step).map(|verb| self.control(verb)));
        ops
    }

    fn update(&self, step: &Step<'_, ActualUnit>) -> Vec<Op> {
        let file = step.before.present().and_then(|before| before.file.as_ref());
        // A link or whatever stands in the file's place has attributes of its own, which are not kept.
        let there = file
            .filter(|file| file.kind == "file")
            .map(|file| &file.attributes);
        let attributes = path::merged_attributes(&self.attributes(), there, |field| step.has(field));
        let mut ops = Vec::new();
        if step.has("content") {
            ops.extend(self.write(attributes));
        } else if ["owner", "group", "mode"].iter().any(|field| step.has(field)) {
            let Attributes { owner, group, mode } = attributes;
            ops.push(Op::SetAttributes {
                path: self.path(),
                owner,
                group,
                mode,
            });
        }
        if step.has("content") || step.has("loaded") || (step.has("started_with") && consumes_units(step)) {
            ops.push(Op::ReloadUnits);
        }
        if step.has("enabled") {
            ops.push(self.enable(self.enabled == Some(true)));
        }
        ops.extend(self.verb(step).map(|verb| self.control(verb)));
        ops
    }

    fn delete(&self) -> Vec<Op> {
        let mut ops = vec![self.control(UnitVerb::Stop), self.enable(false)];
        if self.content.is_some() {
            ops.push(Op::RemoveFile { path: self.path() });
            ops.push(Op::ReloadUnits);
        }
        ops
    }

    fn undo_update(&self, step: &Step<'_, ActualUnit>, before: &ActualUnit) -> Undo {
        let mut ops = Vec::new();
        if ["content", "owner", "group", "mode"]
            .iter()
            .any(|field| step.has(field))
        {
            ops.push(Op::restore(self.path()));
        }
        if step.has("content") || (step.has("started_with") && consumes_units(step)) {
            ops.push(Op::ReloadUnits);
        }
        if step.has("enabled") {
            ops.push(self.enable(before.is_enabled()));
        }
        let Some(verb) = self.verb(step) else {
            return match step.has("loaded") {
                true => Undo::Inverse {
                    ops,
                    loses: "that systemd had not read the unit's file yet".to_owned(),
                },
                false => Undo::Exact(ops),
            };
        };
        ops.push(self.control(match verb {
            UnitVerb::Start => UnitVerb::Stop,
            UnitVerb::Stop => UnitVerb::Start,
            UnitVerb::Restart => UnitVerb::Restart,
            UnitVerb::Reload => UnitVerb::Reload,
        }));
        Undo::Inverse {
            ops,
            loses: "what its processes held in memory".to_owned(),
        }
    }
}

/// Says whether what changes is read by systemd itself, such as a drop-in of the unit.
fn consumes_units(step: &Step<'_, ActualUnit>) -> bool {
    let folders = [
        "/etc/systemd/",
        "/usr/lib/systemd/",
        "/lib/systemd/",
        "/run/systemd/",
    ];
    let is_unit_file = |name: &str| folders.iter().any(|folder| name.starts_with(folder));
    let consumed = step.context.consumed;
    consumed.is_some_and(|consumed| consumed.changing.iter().any(|id| is_unit_file(&id.key.name)))
}

impl Kind for Unit {
    const NAME: &'static str = "unit";
    const FIELDS: &'static [&'static str] = &[
        "content",
        "owner",
        "group",
        "mode",
        "loaded",
        "enabled",
        "running",
        "started_with",
    ];
    const STARTS: bool = true;
    type Actual = ActualUnit;

    fn name(&self) -> String {
        self.name.clone()
    }

    fn check(&self) -> Vec<Mistake> {
        [
            check_name(&self.name),
            path::check_mode(&self.mode),
            self.check_content(),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn claims(&self) -> Vec<Claim> {
        let file = self.content.is_some().then(|| self.path());
        let unit = Some(format!("unit:{}", self.name));
        unit.into_iter()
            .chain(file)
            .map(|what| Claim { what, keys: None })
            .collect()
    }

    fn tools(&self) -> &'static [&'static str] {
        &["systemctl"]
    }

    fn probes(&self) -> Vec<Probe> {
        let mut probes = vec![Probe::Unit(self.name.clone())];
        if let Some(content) = &self.content {
            let content = if content.is_sensitive() {
                ContentWanted::Print
            } else {
                ContentWanted::Text
            };
            probes.push(Probe::Path {
                path: self.path(),
                content,
            });
        }
        probes
    }

    fn veil(
        &self,
        owned: Option<&Owned>,
        answers: &[Answer],
        salt: Option<&[u8]>,
        seen: &dyn Fn() -> Digest,
    ) -> Option<Vec<Answer>> {
        let [unit, file] = answers else { return None };
        let wanted = self.content.as_ref()?.plain().unwrap_or_default();
        if veil::is_as_declared(file, wanted) {
            return None;
        }
        let former = owned.and_then(|owned| Self::deserialize(&owned.spec).ok()?.content);
        let former = former.as_ref().and_then(Body::plain).unwrap_or_default();
        let file = veil::answer(file, &self.path(), &[wanted, former], salt, seen)?;
        Some(vec![unit.clone(), file])
    }

    fn read(&self, answers: &[Answer]) -> Observed<ActualUnit> {
        let actual = read_unit(&answers[0]).and_then(|actual| {
            let file = answers
                .get(1)
                .map(|answer| self.file(answer))
                .transpose()?
                .flatten();
            Ok(ActualUnit { file, ..actual })
        });
        let actual = match actual {
            Ok(actual) => actual,
            Err(why) => return Observed::Unknown(why),
        };
        if let Some(why) = self.obstacle(&actual) {
            return Observed::Unknown(why);
        }
        let is_wanted = self.content.is_some() || self.enabled == Some(true) || self.running == Some(true);
        if is_wanted && !actual.is_found() && actual.file.is_none() {
            return Observed::Absent;
        }
        Observed::Present(actual)
    }

    fn compare(&self, actual: &ActualUnit, context: &Context<'_>) -> Vec<FieldChange> {
        let mut fields = Vec::new();
        if let Some(content) = &self.content {
            let former: Option<Self> = context.former();
            let was_secret = former
                .and_then(|former| former.content)
                .is_some_and(|content| content.is_sensitive());
            let changes = compare_file(content, &self.attributes(), actual.file.as_ref(), context.known);
            fields.extend(changes.into_iter().map(|change| {
                let is_secret = was_secret && change.field == "content";
                path::hidden(change, is_secret)
            }));
        }
        if actual.needs_reload {
            fields.push(FieldChange::text("loaded", "older than its file", "as its file"));
        }
        if let Some(enabled) = self.enabled.filter(|enabled| *enabled != actual.is_enabled()) {
            let before = if actual.file_state.is_empty() {
                "not found"
            } else {
                &actual.file_state
            };
            fields.push(FieldChange::text(
                "enabled",
                before,
                if enabled { "enabled" } else { "disabled" },
            ));
        }
        if let Some(running) = self.running.filter(|running| *running != actual.is_running()) {
            let after = if running { "running" } else { "stopped" };
            fields.push(FieldChange::text("running", actual.active.as_str(), after));
        }
        if self.is_stale(actual, context) || self.is_unfinished(actual, context) {
            fields.push(FieldChange::text(
                "started_with",
                "what was there before",
                "what is there now",
            ));
        }
        fields
    }

    fn ops(&self, step: &Step<'_, ActualUnit>) -> Vec<Op> {
        match step.action {
            Action::Create | Action::Replace => self.create(step),
            Action::Update => self.update(step),
            Action::Delete => self.delete(),
            Action::Forget => Vec::new(),
        }
    }

    /// A unit that a package brings stays, stopped and disabled.
    fn is_gone(&self, actual: &ActualUnit, _made: &BTreeSet<String>) -> bool {
        actual.file.is_none() && !actual.is_running() && !actual.is_enabled()
    }

    fn undo(&self, step: &Step<'_, ActualUnit>) -> Undo {
        match (step.action, step.before) {
            (Action::Update, Observed::Present(before)) => self.undo_update(step, before),
            (Action::Delete, Observed::Present(before)) => {
                let mut ops = Vec::new();
                if self.content.is_some() {
                    ops.extend([Op::restore(self.path()), Op::ReloadUnits]);
                }
                ops.extend(before.is_enabled().then(|| self.enable(true)));
                ops.extend(before.is_running().then(|| self.control(UnitVerb::Start)));
                Undo::Inverse {
                    ops,
                    loses: "what its processes held in memory".to_owned(),
                }
            }
            _ if self.content.is_some() => {
                let stop = [self.control(UnitVerb::Stop), self.enable(false)];
                Undo::Exact(
                    stop.into_iter()
                        .chain([Op::restore(self.path()), Op::ReloadUnits])
                        .collect(),
                )
            }
            _ => Undo::Inverse {
                ops: vec![self.control(UnitVerb::Stop), self.enable(false)],
                loses: "a host without the unit, which stays with what brought it".to_owned(),
            },
        }
    }

    fn disruption(&self, step: &Step<'_, ActualUnit>) -> Disruption {
        let is_running = step.before.present().is_some_and(ActualUnit::is_running);
        match self.verb(step) {
            Some(UnitVerb::Stop | UnitVerb::Restart) if is_running => Disruption::Service(self.name.clone()),
            Some(UnitVerb::Start | UnitVerb::Stop | UnitVerb::Restart | UnitVerb::Reload) | None => {
                Disruption::None
            }
        }
    }

    fn consumed(&self) -> Digest {
        match &self.content {
            Some(content) => content.digest(),
            None => Digest::of(&self.name),
        }
    }

    /// Of what systemd says only what is declared counts: units start and stop by themselves.
    fn digest(&self, actual: &ActualUnit) -> Digest {
        let content = actual.file.as_ref().and_then(|file| file.content.as_ref());
        if let Some(seen) = content.and_then(Content::seen) {
            return seen.clone();
        }
        let file = actual
            .file
            .as_ref()
            .map(|file| (&file.kind, &file.attributes, &file.content));
        Digest::of_value(&json!({
            "file": file,
            "found": actual.is_found(),
            "enabled": self.enabled.map(|_| actual.is_enabled()),
            "running": self.running.map(|_| actual.is_running()),
        }))
    }

    fn printed(&self) -> Vec<&Body> {
        self.content
            .iter()
            .filter(|content| content.is_sensitive())
            .collect()
    }

    fn bodies(&self) -> Vec<&Body> {
        self.content.iter().collect()
    }

    fn invocation(&self, actual: &ActualUnit) -> Option<String> {
        actual.invocation.clone()
    }
}

fn compare_file(
    wanted: &Body,
    attributes: &Attributes,
    there: Option<&UnitFile>,
    known: &Known,
) -> Vec<FieldChange> {
    let after = || match known.comparable(wanted) {
        Comparable::Text(text) => Shown::Text(text),
        Comparable::Print(print) => Shown::Secret(print),
        Comparable::Pending(output) => Shown::Pending(output),
        Comparable::Unresolved => Shown::Opaque("secret".to_owned()),
    };
    let replaced = |before| {
        vec![FieldChange {
            field: "content".to_owned(),
            before,
            after: after(),
        }]
    };
    match there {
        None => replaced(Shown::Nothing),
        Some(UnitFile {
            content: None, kind, ..
        }) => replaced(Shown::Opaque(format!("a {kind}"))),
        Some(UnitFile {
            content: Some(content),
            attributes: there,
            ..
        }) => content
            .differs("content", &known.comparable(wanted))
            .into_iter()
            .chain(path::compare_attributes(attributes, there))
            .collect(),
    }
}

fn read_unit(answer: &Answer) -> Result<ActualUnit, String> {
    let Answer::Text { output, status } = answer else {
        return Err(answer.missing().unwrap_or("no answer").to_owned());
    };
    if *status != 0 {
        return Err(format!("status {status}: {}", output.trim()));
    }
    let lines: BTreeMap<&str, &str> = output.lines().filter_map(|line| line.split_once('=')).collect();
    let get = |key: &str| lines.get(key).copied().unwrap_or_default().to_owned();
    let needed = |key: &str| {
        lines
            .get(key)
            .map(|v| (*v).to_owned())
            .ok_or_else(|| format!("the answer lacks `{key}`"))
    };
    Ok(ActualUnit {
        file: None,
        load: needed("LoadState")?,
        active: needed("ActiveState")?,
        sub: get("SubState"),
        file_state: get("UnitFileState"),
        needs_reload: get("NeedDaemonReload") == "yes",
        can_reload: get("CanReload") == "yes",
        invocation: Some(get("InvocationID")).filter(|id| !id.is_empty()),
        active_since_secs: seconds(&get("ActiveEnterTimestamp")),
    })
}

/// Reads a point in time as systemctl writes it in UTC, `Tue 2023-11-14 22:13:20 UTC`, or as `@1700000000`.
fn seconds(text: &str) -> Option<u64> {
    if let Some(secs) = text.strip_prefix('@') {
        return secs.parse().ok();
    }
    let rest = text.strip_suffix(" UTC")?;
    let (_day, rest) = rest.split_once(' ')?;
    let civil: jiff::civil::DateTime = rest.replace(' ', "T").parse().ok()?;
    let zoned = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    zoned.timestamp().as_second().try_into().ok()
}

/// Returns what is wrong with a unit's name. Source: systemd.unit(5).
fn check_name(name: &str) -> Option<Mistake> {
    const SUFFIXES: &[&str] = &[
        "service",
        "timer",
        "socket",
        "path",
        "mount",
        "automount",
        "swap",
        "target",
        "slice",
    ];
    let is_suffix = |suffix: &str| SUFFIXES.contains(&suffix);
    let is_name = name.rsplit_once('.').is_some_and(|(stem, suffix)| {
        let is_char = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
        !stem.is_empty() && !stem.ends_with('@') && is_suffix(suffix) && stem.bytes().all(is_char)
    });
    (!is_name || name.len() > 255).then(|| {
        Mistake::new("name", format!("`{name}` is not the full name of a unit")).hint(format!(
            "end it with what it is: `{name}.service`, or one of .{}",
            SUFFIXES.join(", .")
        ))
    })
}

impl Unit {
    /// Returns what can be told of a plain content: that it cannot be enabled, or cannot stay running.
    fn check_content(&self) -> Option<Mistake> {
        let text = self.content.as_ref()?.plain()?;
        let has = |wanted: &str| {
            text.lines()
                .any(|line| line.trim().replace(' ', "").eq_ignore_ascii_case(wanted))
        };
        if self.enabled == Some(true) && !has("[install]") {
            return Some(
                Mistake::new("enabled", "a unit without an [Install] section cannot be enabled")
                    .hint("add `[Install]` with `WantedBy=multi-user.target`"),
            );
        }
        let remains = ["yes", "true", "on", "1"]
            .iter()
            .any(|yes| has(&format!("remainafterexit={yes}")));
        (self.running == Some(true) && has("type=oneshot") && !remains).then(|| {
            Mistake::new("running", "a oneshot service does not stay running")
                .hint("say `RemainAfterExit=yes` in it, or leave `running` out and let a timer start it")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_in_time_are_read_in_both_forms() {
        assert_eq!(seconds("@1700000000"), Some(1_700_000_000));
        assert_eq!(seconds("Tue 2023-11-14 22:13:20 UTC"), Some(1_700_000_000));
        for odd in ["", "n/a", "0", "Tue 2023-11-14 22:13:20 CET"] {
            assert_eq!(seconds(odd), None, "{odd}");
        }
    }

    #[test]
    fn names_need_a_suffix_that_systemd_knows() {
        for good in [
            "app.service",
            "app@1.service",
            "a-b_c.timer",
            "dev-disk\\x2dby.mount",
        ] {
            assert_eq!(check_name(good), None, "{good}");
        }
        for bad in [
            "app",
            "app.conf",
            ".service",
            "app@.service",
            "a b.service",
            "a/b.service",
            "",
        ] {
            assert!(check_name(bad).is_some(), "{bad}");
        }
    }
}
