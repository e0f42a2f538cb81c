//! Keys of a file that others own too.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::keyed;
use crate::model::body::Body;
use crate::model::change::{Action, FieldChange, Undo};
use crate::model::digest::{Digest, Fingerprint};
use crate::model::id::ResourceKey;
use crate::model::known::{Comparable, Known};
use crate::model::manifest::Owned;
use crate::model::observation::{Answer, Observed};
use crate::model::op::{Op, Probe, SettingValue, SettingsFormat};

use super::{Claim, Context, Kind, Mistake, Step, path};

/// Keys of a JSON, TOML, INI or `KEY=value` file that others own too. Everything else in it stays as it is: comments,
/// order, line ends. Keys that muster made are removed when they are no longer declared; others are left.
///
/// ```toml
/// [[settings]]
/// path = "/etc/docker/daemon.json"
/// keys = { "log-opts.max-size" = "10m", live-restore = true }
///
/// [[settings]]
/// path   = "/etc/app.conf"
/// format = "ini"                  # else by the ending: .json, .toml, .ini, .conf, .env
/// keys   = { "server.port" = 8080, "server.password" = "{{ password }}" }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The absolute path.
    pub path: String,
    /// The file's format; by the path's ending where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<SettingsFormat>,
    /// Values by key: `a.b.c`; a name with a dot in it stands in double quotes.
    pub keys: BTreeMap<String, SettingValue>,
    /// The owner's name, for a file that is not there yet.
    #[serde(default = "super::file::root")]
    pub owner: String,
    /// The group's name, for a file that is not there yet.
    #[serde(default = "super::file::root")]
    pub group: String,
    /// The mode, four octal digits, for a file that is not there yet.
    #[serde(default = "mode_0644")]
    pub mode: String,
}

fn mode_0644() -> String {
    "0644".to_owned()
}

/// The wanted keys of a file that is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActualSettings {
    /// The keys that are there.
    pub keys: BTreeMap<String, Setting>,
}

/// What is known of one key's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Setting {
    /// The value.
    Value(Value),
    /// Its salted print: it is secret.
    Print(Fingerprint),
    /// Only that it is there: it is secret, and the host has no salt before its first apply.
    Opaque,
}

impl Setting {
    fn shown(&self) -> String {
        match self {
            Self::Value(value) => value.to_string(),
            Self::Print(print) => format!("(secret {})", print.short()),
            Self::Opaque => "(secret)".to_owned(),
        }
    }
}

/// A declared value as it can be compared.
enum Wanted {
    Value(Value),
    Print(Fingerprint),
    /// An output in it is not known yet.
    Pending,
    /// A secret in it was not resolved.
    Unresolved,
}

impl Settings {
    /// Returns the format; that of the path's ending where none is declared.
    fn format(&self) -> Option<SettingsFormat> {
        self.format.or_else(|| match self.path.rsplit_once('.')?.1 {
            "json" => Some(SettingsFormat::Json),
            "toml" => Some(SettingsFormat::Toml),
            "ini" | "conf" => Some(SettingsFormat::Ini),
            "env" => Some(SettingsFormat::Env),
            _ => None,
        })
    }

    /// Returns the format of a declaration that passed its check.
    fn known_format(&self) -> SettingsFormat {
        self.format().unwrap_or(SettingsFormat::Env)
    }

    fn wanted(&self, value: &SettingValue, known: &Known) -> Wanted {
        if let SettingValue::Text(body) = value {
            match known.comparable(body) {
                Comparable::Text(_) => {}
                Comparable::Print(print) => return Wanted::Print(print),
                Comparable::Pending(_) => return Wanted::Pending,
                Comparable::Unresolved => return Wanted::Unresolved,
            }
        }
        match plain(value, known) {
            Some(value) => Wanted::Value(keyed::canonical(self.known_format(), &value).unwrap_or(value)),
            None => Wanted::Pending,
        }
    }

    /// Says whether a key is not as declared.
    fn differs(&self, value: &SettingValue, there: Option<&Setting>, known: &Known) -> bool {
        match (self.wanted(value, known), there) {
            (Wanted::Value(wanted), Some(Setting::Value(there))) => wanted != *there,
            (Wanted::Print(wanted), Some(Setting::Print(there))) => wanted != *there,
            // Left out on purpose: the planner then compares with the manifest.
            (Wanted::Unresolved, Some(Setting::Print(_) | Setting::Value(_))) => false,
            (Wanted::Value(_) | Wanted::Print(_) | Wanted::Pending | Wanted::Unresolved, _) => true,
        }
    }

    fn shown(&self, value: &SettingValue, known: &Known) -> String {
        match self.wanted(value, known) {
            Wanted::Value(value) => value.to_string(),
            Wanted::Print(print) => format!("(secret {})", print.short()),
            Wanted::Pending => "(known after apply)".to_owned(),
            Wanted::Unresolved => "(secret)".to_owned(),
        }
    }

    /// Returns the keys that muster made and nobody declares any more.
    fn dropped(&self, owned: Option<&Owned>) -> BTreeSet<String> {
        let made = owned.map(|owned| owned.made_keys.clone()).unwrap_or_default();
        made.into_iter()
            .filter(|key| !self.keys.contains_key(key))
            .collect()
    }

    fn op(&self, set: BTreeMap<String, SettingValue>, remove: BTreeSet<String>) -> Op {
        Op::Settings {
            path: self.path.clone(),
            format: self.known_format(),
            set,
            remove,
            owner: self.owner.clone(),
            group: self.group.clone(),
            mode: self.mode.clone(),
        }
    }

    fn check_keys(&self, format: SettingsFormat) -> Vec<Mistake> {
        let key = self.keys.keys().filter_map(|key| {
            let why = keyed::check_key(format, key).err()?;
            Some(
                Mistake::new("keys", format!("`{key}`: {why}"))
                    .hint("write `a.b`, with names that hold a dot in double quotes"),
            )
        });
        let value = self.keys.iter().filter_map(|(key, value)| {
            let is_nested_secret =
                !matches!(value, SettingValue::Text(_)) && value.bodies().iter().any(|b| b.is_sensitive());
            if is_nested_secret {
                return Some(
                    Mistake::new("keys", format!("`{key}` holds a secret within a list or a table"))
                        .hint("name the secret's own key"),
                );
            }
            let why = keyed::canonical(format, &plain(value, &Known::default())?).err()?;
            Some(Mistake::new("keys", format!("`{key}`: {why}")))
        });
        key.chain(value).chain(self.check_nesting()).collect()
    }

    /// A key within another declared key would be written twice.
    fn check_nesting(&self) -> Option<Mistake> {
        let paths: Vec<(Vec<String>, &String)> = self
            .keys
            .keys()
            .filter_map(|key| Some((keyed::segments(key).ok()?, key)))
            .collect();
        let (outer, inner) = paths.iter().find_map(|(outer, key)| {
            let within =
                |(inner, _): &&(Vec<String>, &String)| inner.len() > outer.len() && inner.starts_with(outer);
            Some((*key, paths.iter().find(within)?.1))
        })?;
        (self.known_format() != SettingsFormat::Env).then(|| {
            Mistake::new("keys", format!("`{inner}` lies within `{outer}`")).hint("declare one of them")
        })
    }
}

/// Returns a value without holes as JSON; `None` where one has no value yet.
fn plain(value: &SettingValue, known: &Known) -> Option<Value> {
    Some(match value {
        SettingValue::Bool(value) => (*value).into(),
        SettingValue::Int(value) => (*value).into(),
        SettingValue::Text(body) => known.with_outputs(body).plain()?.into(),
        SettingValue::List(values) => values
            .iter()
            .map(|value| plain(value, known))
            .collect::<Option<Vec<_>>>()?
            .into(),
        SettingValue::Map(values) => {
            let members = values
                .iter()
                .map(|(key, value)| Some((key.clone(), plain(value, known)?)));
            Value::Object(members.collect::<Option<_>>()?)
        }
    })
}

impl Kind for Settings {
    const NAME: &'static str = "settings";
    const FIELDS: &'static [&'static str] = &["keys"];
    type Actual = ActualSettings;

    fn name(&self) -> String {
        self.path.clone()
    }

    fn check(&self) -> Vec<Mistake> {
        let mut mistakes: Vec<Mistake> = path::check_path("path", &self.path)
            .into_iter()
            .chain(path::check_mode(&self.mode))
            .collect();
        if self.keys.is_empty() {
            mistakes.push(Mistake::new("keys", "no key is declared"));
        }
        match self.format() {
            Some(format) => mistakes.extend(self.check_keys(format)),
            None => mistakes.push(
                Mistake::new("format", "the path's ending does not tell the format")
                    .hint("say `format = \"json\"`, \"toml\", \"ini\" or \"env\""),
            ),
        }
        mistakes
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim {
            what: self.path.clone(),
            keys: Some(self.keys.keys().cloned().collect()),
        }]
    }

    /// Several may own keys of one file, as long as no key has two values.
    fn joined(&self, other: &Self) -> Option<Self> {
        let mut joined = self.clone();
        joined.keys.extend(other.keys.clone());
        let bare = |settings: &Self| Self {
            keys: BTreeMap::new(),
            ..settings.clone()
        };
        let agrees = other
            .keys
            .iter()
            .all(|(key, value)| self.keys.get(key).is_none_or(|there| there == value));
        (bare(self) == bare(other) && agrees && joined.check_nesting().is_none()).then_some(joined)
    }

    fn implied(&self) -> Vec<ResourceKey> {
        path::implied(&self.path, &self.owner, &self.group)
    }

    fn probes(&self) -> Vec<Probe> {
        let is_secret = |value: &SettingValue| value.bodies().iter().any(|body| body.is_sensitive());
        let keys = self
            .keys
            .iter()
            .map(|(key, value)| (key.clone(), is_secret(value)))
            .collect();
        vec![Probe::Settings {
            path: self.path.clone(),
            format: self.known_format(),
            keys,
        }]
    }

    fn read(&self, answers: &[Answer]) -> Observed<ActualSettings> {
        match read_keys(&answers[0], &self.keys) {
            Ok(Some(keys)) => Observed::Present(ActualSettings { keys }),
            Ok(None) => Observed::Absent,
            Err(why) => Observed::Unknown(why),
        }
    }

    fn compare(&self, actual: &ActualSettings, context: &Context<'_>) -> Vec<FieldChange> {
        let former: Option<Self> = context.former();
        let was_secret = |key: &String| {
            let value = former.as_ref().and_then(|former| former.keys.get(key));
            value.is_some_and(|value| value.bodies().iter().any(|body| body.is_sensitive()))
        };
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for (key, value) in &self.keys {
            let there = actual.keys.get(key);
            if self.differs(value, there, context.known) {
                let shown = |there: &Setting| match was_secret(key) {
                    true => "(secret until now)".to_owned(),
                    false => there.shown(),
                };
                before.extend(there.map(|there| format!("{key} = {}\n", shown(there))));
                after.push(format!("{key} = {}\n", self.shown(value, context.known)));
            }
        }
        before.extend(
            self.dropped(context.owned)
                .iter()
                .map(|key| format!("{key} = (made by muster)\n")),
        );
        if before.is_empty() && after.is_empty() {
            return Vec::new();
        }
        vec![FieldChange::text("keys", before.concat(), after.concat())]
    }

    fn ops(&self, step: &Step<'_, ActualSettings>) -> Vec<Op> {
        let known = step.context.known;
        match step.action {
            Action::Create | Action::Replace => vec![self.op(self.keys.clone(), BTreeSet::new())],
            Action::Update => {
                let there = step.before.present().map(|actual| &actual.keys);
                let differs = |(key, value): &(&String, &SettingValue)| {
                    self.differs(value, there.and_then(|there| there.get(*key)), known)
                };
                let set = self
                    .keys
                    .iter()
                    .filter(differs)
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect();
                vec![self.op(set, self.dropped(step.context.owned))]
            }
            Action::Delete => {
                let made = step
                    .context
                    .owned
                    .map(|owned| owned.made_keys.clone())
                    .unwrap_or_default();
                vec![self.op(BTreeMap::new(), made)]
            }
            Action::Forget => Vec::new(),
        }
    }

    fn is_gone(&self, actual: &ActualSettings, made: &BTreeSet<String>) -> bool {
        !made.iter().any(|key| actual.keys.contains_key(key))
    }

    fn undo(&self, _step: &Step<'_, ActualSettings>) -> Undo {
        path::restored(&self.path)
    }

    fn never_deleted(&self) -> Option<String> {
        path::identity(&self.path)
    }

    fn consumed(&self) -> Digest {
        Digest::of_value(&self.keys)
    }

    fn printed(&self) -> Vec<&Body> {
        self.bodies()
            .into_iter()
            .filter(|body| body.is_sensitive())
            .collect()
    }

    fn bodies(&self) -> Vec<&Body> {
        self.keys.values().flat_map(SettingValue::bodies).collect()
    }

    fn made_keys(&self, actual: Option<&ActualSettings>, owned: Option<&Owned>) -> BTreeSet<String> {
        let is_there = |key: &String| actual.is_some_and(|actual| actual.keys.contains_key(key));
        let was_made = |key: &String| owned.is_some_and(|owned| owned.made_keys.contains(key));
        self.keys
            .keys()
            .filter(|key| !is_there(key) || was_made(key))
            .cloned()
            .collect()
    }
}

/// Reads the answer (see [`Probe::Settings`]); `None` where there is no file.
fn read_keys(
    answer: &Answer,
    wanted: &BTreeMap<String, SettingValue>,
) -> Result<Option<BTreeMap<String, Setting>>, String> {
    let Answer::Text { output, status } = answer else {
        return Err(answer.missing().unwrap_or("no answer").to_owned());
    };
    if *status != 0 {
        return Err(output.trim().to_owned());
    }
    // The parser's message could repeat content.
    let json: Value = serde_json::from_str(output).map_err(|_| "the answer is not JSON".to_owned())?;
    match json["type"].as_str() {
        Some("absent") => return Ok(None),
        Some("file") => {}
        Some(other) => return Err(format!("there is a {other} in its place")),
        None => return Err("the answer does not say what is at the path".to_owned()),
    }
    let keys = json["keys"].as_object().ok_or("the answer lacks `keys`")?;
    let settings = keys.iter().map(|(key, value)| {
        let is_secret = wanted
            .get(key)
            .is_none_or(|value| value.bodies().iter().any(|body| body.is_sensitive()));
        let setting = match (is_secret, value["print"].as_str()) {
            (true, Some(print)) => Setting::Print(Fingerprint(print.to_owned())),
            (true, None) => Setting::Opaque,
            (false, _) => Setting::Value(value.clone()),
        };
        (key.clone(), setting)
    });
    Ok(Some(settings.collect()))
}
