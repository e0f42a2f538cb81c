//! A case: a file of sections.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use muster::compose::{self, Project, Request, SourceFile, Veil};
use muster::model::body::{Body, Piece};
use muster::model::container::ContainerSpec;
use muster::model::diagnostic::Diagnostics;
use muster::model::digest::{Digest, Fingerprint};
use muster::model::inspected::Inspected;
use muster::model::known::Known;
use muster::model::secret::{Encoding, SecretRef};
use serde_json::Value;

/// The folder of the cases' project. It is made and taken down while cases are recorded.
pub const FOLDER: &str = "/tmp/mustercase";
/// The salt of the host.
pub const SALT: &[u8] = b"salt of the host";

/// A case.
pub struct Case {
    /// Its file.
    pub path: PathBuf,
    /// The sentence that it proves.
    pub says: String,
    /// Its sections by name, in order.
    pub sections: Vec<(String, String)>,
}

impl Case {
    /// Reads a file.
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("the case can be read");
        let mut says = String::new();
        let mut sections: Vec<(String, String)> = Vec::new();
        for line in text.lines() {
            match (line.strip_prefix("--- "), sections.last_mut()) {
                (Some(name), _) => sections.push((name.to_owned(), String::new())),
                (None, Some((_, text))) => *text += &format!("{line}\n"),
                (None, None) => says += line.trim_start_matches("# "),
            }
        }
        Self {
            path: path.to_owned(),
            says,
            sections,
        }
    }

    /// Writes it back.
    pub fn write(&self) {
        let sections: String = self
            .sections
            .iter()
            .map(|(name, text)| format!("--- {name}\n{text}"))
            .collect();
        std::fs::write(&self.path, format!("# {}\n{sections}", self.says)).expect("the case can be written");
    }

    /// Its name.
    pub fn name(&self) -> String {
        self.path
            .file_stem()
            .expect("it has a name")
            .to_string_lossy()
            .into_owned()
    }

    /// Returns a section.
    pub fn section(&self, name: &str) -> Option<&str> {
        self.sections
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, text)| text.as_str())
    }

    /// Sets a section.
    pub fn set(&mut self, name: &str, text: String) {
        match self.sections.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = text,
            None => self.sections.push((name.to_owned(), text)),
        }
    }

    /// Returns the Compose files of a state, `was` or `now`: `was`, `was over`, ….
    pub fn files(&self, state: &str) -> Vec<(String, String)> {
        let is = |name: &str| {
            name == state
                || name
                    .strip_prefix(state)
                    .is_some_and(|rest| rest.starts_with(" over"))
        };
        let of = |(at, (_, text)): (usize, &(String, String))| {
            (
                format!(
                    "compose{}.yml",
                    if at == 0 { String::new() } else { format!(".{at}") }
                ),
                text.clone(),
            )
        };
        let files: Vec<(String, String)> = self
            .sections
            .iter()
            .filter(|(name, _)| is(name))
            .enumerate()
            .map(of)
            .collect();
        match (files.is_empty(), state) {
            (true, "now") => self.files("was"),
            _ => files,
        }
    }

    /// Returns the files that muster renders beside the Compose files: `file NAME` sections.
    pub fn rendered(&self) -> BTreeMap<String, String> {
        let files = self
            .sections
            .iter()
            .filter_map(|(name, text)| Some((name.strip_prefix("file ")?, text)));
        files
            .map(|(name, text)| (format!("{FOLDER}/{name}"), text.clone()))
            .collect()
    }

    /// Returns the profiles, of a section with one on each line.
    pub fn profiles(&self) -> BTreeSet<String> {
        self.section("profiles")
            .unwrap_or_default()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// Returns what is read.
    pub fn request(&self, state: &str) -> Request {
        let source = |path: String, text: &str| SourceFile {
            body: body(text),
            path,
        };
        Request {
            files: self
                .files(state)
                .into_iter()
                .map(|(name, text)| source(format!("{FOLDER}/{name}"), &text))
                .collect(),
            env_files: self
                .section("env")
                .map(|text| source(format!("{FOLDER}/.env"), text))
                .into_iter()
                .collect(),
            variables: BTreeMap::new(),
            profiles: self.profiles(),
            name: None,
            folder: FOLDER.to_owned(),
            rendered: self
                .rendered()
                .into_iter()
                .map(|(path, text)| (path, body(&text)))
                .collect(),
        }
    }

    /// Reads the project of a state.
    pub fn project(&self, state: &str) -> Result<Project, Diagnostics> {
        compose::read(&self.request(state))
    }

    /// Returns the container of the service `app` in a state.
    pub fn spec(&self, state: &str) -> ContainerSpec {
        let project = self
            .project(state)
            .unwrap_or_else(|wrong| panic!("{}: {state}: {}", self.name(), messages(&wrong)));
        let digests = self
            .rendered()
            .into_iter()
            .map(|(path, text)| (path, Digest::of(text)))
            .collect();
        let specs = project.containers(&digests);
        specs
            .into_iter()
            .find(|spec| spec.service == "app")
            .unwrap_or_else(|| panic!("{}: there is no service `app`", self.name()))
    }

    /// Returns what the engine says of the container and of its image, with what somebody changed by hand.
    pub fn said(&self, with_drift: bool) -> (Value, Value) {
        let mut container = base();
        let patch = self
            .section("engine")
            .unwrap_or_else(|| panic!("{}: not recorded", self.name()));
        merge_patch(&mut container, &json(patch));
        if let Some(drift) = self.section("drift").filter(|_| with_drift) {
            let rich = images_by_tag("muster-case/rich:1");
            merge_patch(&mut container, &json(&drift.replace("RICH", &rich)));
        }
        let image = images()[container["Image"].as_str().expect("it has an image")].clone();
        (container, image)
    }

    /// Reads what the engine says, with what somebody changed by hand.
    pub fn inspected(&self, spec: &ContainerSpec, with_drift: bool) -> Inspected {
        let (container, image) = self.said(with_drift);
        inspected(spec, &container, &image)
    }
}

/// Reads what an engine says.
pub fn inspected(spec: &ContainerSpec, container: &Value, image: &Value) -> Inspected {
    let print = |value: &str| Fingerprint::of(SALT, value.as_bytes());
    let veil = Veil {
        shows: &|key| spec.shows(key),
        print: &print,
    };
    let mut inspected = compose::inspected(container, image, &veil).expect("it is an inspect");
    let peers = container["Peers"].as_object().cloned().unwrap_or_default();
    inspected.peers = peers
        .into_iter()
        .map(|(id, name)| (id, name.as_str().expect("a name").to_owned()))
        .collect();
    let changed = container["ChangedAt"].as_object().cloned().unwrap_or_default();
    inspected.changed_at_nanos = changed
        .into_iter()
        .map(|(path, at)| (path, at.as_u64().expect("a number")))
        .collect();
    inspected
}

/// Reads a text in which `«env:NAME»` stands for a secret.
pub fn body(text: &str) -> Body {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('«') {
        let (inside, after) = after.split_once('»').expect("a secret is closed");
        pieces.push(Piece::Text(before.to_owned()));
        let text = if inside.contains('|') {
            inside.to_owned()
        } else {
            format!("compose|{inside}")
        };
        pieces.push(Piece::Secret(text.parse().expect("a secret's reference")));
        rest = after;
    }
    pieces.push(Piece::Text(rest.to_owned()));
    Body::from_pieces(pieces)
}

/// The value of a secret, as awkward as an operator's can be.
pub fn secret_value(secret: &SecretRef) -> String {
    format!("a'b\"c$d${{HOME}} \\ {}", secret.source)
}

/// Returns a text as it lies on the host, with its secrets.
pub fn filled(text: &str) -> String {
    body(text)
        .pieces()
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Secret(secret) => secret.encoding.encode(&secret_value(secret)),
            Piece::Output(_) => unreachable!("no case has outputs"),
        })
        .collect()
}

/// Returns the prints of a container's values.
pub fn known(spec: &ContainerSpec) -> Known {
    let print = |body: &Body| {
        let secrets: Vec<(SecretRef, String)> = body
            .secrets()
            .map(|secret| (secret.clone(), secret_value(secret)))
            .collect();
        let text = body
            .fill(|secret| {
                secrets
                    .iter()
                    .find(|(known, _)| known == secret)
                    .map(|(_, value)| value.as_str())
            })
            .expect("it has no outputs");
        assert!(
            body.secrets()
                .all(|secret| [Encoding::Plain, Encoding::Base64].contains(&secret.encoding))
        );
        Fingerprint::of(SALT, text.as_bytes())
    };
    Known {
        prints: spec
            .sensitive_env()
            .map(|(_, body)| (body.digest(), print(body)))
            .collect(),
        ..Known::default()
    }
}

/// Returns the cases of a folder.
pub fn all(folder: &str) -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/compose")
        .join(folder);
    let entries = std::fs::read_dir(&root).expect("the folder can be read");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "case"));
    paths.sort();
    paths.iter().map(|path| Case::read(path)).collect()
}

/// Says whether expectations are written anew.
pub fn updates() -> bool {
    std::env::var_os("MUSTER_UPDATE").is_some()
}

fn fixture(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/compose")
        .join(name);
    json(&std::fs::read_to_string(path).expect("it was recorded"))
}

/// What the engine said of a container of which nothing was asked but its image.
pub fn base() -> Value {
    fixture("base.json")
}

/// What the engine said of the images, by id.
pub fn images() -> Value {
    fixture("images.json")
}

/// Returns the id of an image.
fn images_by_tag(tag: &str) -> String {
    let images = images();
    let mut all = images.as_object().expect("images by id").iter();
    let found = all.find(|(_, image)| {
        image["RepoTags"]
            .as_array()
            .is_some_and(|tags| tags.contains(&Value::from(tag)))
    });
    found.expect("it was recorded").0.clone()
}

pub fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Lays a patch over a value: objects key by key, `null` takes away (RFC 7386).
pub fn merge_patch(value: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *value = patch.clone();
        return;
    };
    if !value.is_object() {
        *value = Value::Object(Default::default());
    }
    let object = value.as_object_mut().expect("it is an object now");
    for (key, change) in patch {
        match change {
            Value::Null => drop(object.remove(key)),
            change => merge_patch(object.entry(key.clone()).or_insert(Value::Null), change),
        }
    }
}

/// Returns the patch that leads from one value to another.
pub fn patch_between(from: &Value, to: &Value) -> Value {
    let (Value::Object(from), Value::Object(to)) = (from, to) else {
        return to.clone();
    };
    let mut patch = serde_json::Map::new();
    for key in from.keys().filter(|key| !to.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, value) in to {
        match from.get(key) {
            Some(old) if old == value => {}
            Some(old) => drop(patch.insert(key.clone(), patch_between(old, value))),
            None => drop(patch.insert(key.clone(), value.clone())),
        }
    }
    Value::Object(patch)
}

pub fn messages(wrong: &Diagnostics) -> String {
    wrong
        .sorted()
        .iter()
        .map(|found| format!("\n  {}", found.message))
        .collect()
}
