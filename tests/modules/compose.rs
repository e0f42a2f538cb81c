//! What the Gonka modules write, read by what will read it: a YAML parser, a JSON parser and a shell.

use std::collections::BTreeMap;
use std::process::Command;

use muster::compose::{Project, Request, SourceFile};
use muster::model::body::Body;
use muster::model::id::HostId;
use muster::model::secret::SecretRef;
use serde_json::Value;

use super::render::{Rendered, Rendering, text};

/// Returns a secret's value that is as awkward as an operator's can be, written as its place wants it.
fn awkward(secret: &SecretRef) -> String {
    secret
        .encoding
        .encode(&format!("a'b\"c$d${{HOME}} \\ {}", secret.source))
}

/// The files of one host, by name, with their secrets.
pub struct Deployment {
    files: BTreeMap<String, String>,
    /// The same, secrets as references, by their paths.
    bodies: BTreeMap<String, Body>,
}

impl Deployment {
    /// Takes the files of a host's deployment.
    pub fn of(rendered: &Rendered, host: &HostId) -> Self {
        let name = |file: &Rendering<'_>| file.path.rsplit('/').next().unwrap_or_default().to_owned();
        let files = rendered.files(host);
        let bodies = files.iter().map(|file| (file.path.to_owned(), file.body.clone()));
        Self {
            bodies: bodies.collect(),
            files: files
                .iter()
                .map(|file| (name(file), text(file.body, awkward)))
                .collect(),
        }
    }

    /// Returns the project that the Compose files are to muster's own reader, all profiles active.
    pub fn project(&self) -> Option<Project> {
        // The network node's own file comes first, and its overlays stand over it.
        let name = |path: &str| {
            path.rsplit_once('/')
                .map(|(_, name)| name.to_owned())
                .unwrap_or_default()
        };
        let mut paths: Vec<&String> = self
            .bodies
            .keys()
            .filter(|path| name(path).starts_with("docker-compose."))
            .collect();
        paths.sort_by_key(|path| (name(path) != "docker-compose.yml", name(path)));
        let folder = paths.first()?.rsplit_once('/')?.0.to_owned();
        let request = Request {
            files: paths
                .iter()
                .map(|path| SourceFile {
                    path: (*path).clone(),
                    body: self.bodies[*path].clone(),
                })
                .collect(),
            profiles: ["ssl".to_owned()].into(),
            folder,
            rendered: self.bodies.clone(),
            ..Request::default()
        };
        let read = muster::compose::read(&request);
        Some(read.unwrap_or_else(|found| panic!("{paths:?}: {found:#?}")))
    }

    /// Returns the Compose files, parsed.
    pub fn compose(&self) -> Vec<(&str, Value)> {
        let compose = self
            .files
            .iter()
            .filter(|(name, _)| name.starts_with("docker-compose."));
        let parse = |name: &str, text: &str| -> Value {
            serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}\n{text}"))
        };
        compose
            .map(|(name, text)| (name.as_str(), parse(name, text)))
            .collect()
    }

    /// Returns the ML nodes of `node-config.json`, where there is one.
    pub fn ml_nodes(&self) -> Option<Vec<Value>> {
        let text = self.files.get("node-config.json")?;
        Some(serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}")))
    }

    /// Returns what a shell knows after it has read `config.env` in an empty environment.
    pub fn sourced(&self) -> Option<BTreeMap<String, String>> {
        let text = self.files.get("config.env")?;
        let folder = tempfile::tempdir().expect("there is room");
        std::fs::write(folder.path().join("config.env"), text).expect("there is room");
        let output = Command::new("env")
            .args([
                "-i",
                "/bin/sh",
                "-eu",
                "-c",
                ". ./config.env; exec /usr/bin/env -0",
            ])
            .current_dir(folder.path())
            .output()
            .expect("there is a shell");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let output = String::from_utf8(output.stdout).expect("it is text");
        let pairs = output.split('\0').filter_map(|pair| pair.split_once('='));
        Some(
            pairs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        )
    }
}

/// Returns every environment variable of every service of a Compose file, as its container will see it.
pub fn environment(compose: &Value) -> Vec<(String, String, String)> {
    let services = compose["services"].as_object().into_iter().flatten();
    let seen = |value: &Value| value.as_str().expect("a variable is text").replace("$$", "$");
    services
        .flat_map(|(service, body)| {
            let variables = body["environment"].as_object().into_iter().flatten();
            variables.map(|(name, value)| (service.clone(), name.clone(), seen(value)))
        })
        .collect()
}

/// Returns every text of a Compose file in which Compose would look for a variable.
pub fn unescaped(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => Some(text.clone())
            .filter(|text| text.replace("$$", "").contains('$'))
            .into_iter()
            .collect(),
        Value::Array(values) => values.iter().flat_map(unescaped).collect(),
        Value::Object(values) => values.values().flat_map(unescaped).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}
