//! The table of a Compose project. It is no kind: a project becomes files, networks, volumes, images and containers.
//!
//! Source: decision 0032 (a project becomes resources).

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::body::Body;
use crate::model::quantity::parse_duration;

use super::{Mistake, path};

/// The name of the table, and of what stands for all resources of a project in references.
pub const NAME: &str = "compose";

/// A Compose project: its files are rendered, stay on the host as people know them, and are what muster reads. It becomes
/// a `file` for each of its files, and an `image`, a `network`, a `volume` and a `container` for each that they declare. The
/// [accepted part](compose.md) of the Compose specification is listed; a container that is equal is adopted, whoever made it.
///
/// In `after` and in gates `compose:NAME` stands for all of the project's resources. The keys that all kinds share hold for each of
/// them: `after` for all, `restart_on`, `loses_on`, `ignore` and `protect` for the containers, `delete` for volumes and images.
///
/// ```toml
/// [[compose]]
/// name         = "join"
/// folder       = "/srv/join"
/// files        = ["docker-compose.yml.j2", "docker-compose.gpu.yml.j2"]   # below templates/; each over those before it
/// env_template = "join.env.j2"                                             # becomes /srv/join/.env
/// profiles     = ["metrics"]
/// after        = ["package:docker.io"]
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Compose {
    /// The project's name: lower-case letters, digits, `-` and `_`.
    pub name: String,
    /// The project's folder on the host, an absolute path. It is made where nobody declares it.
    pub folder: String,
    /// The templates of the Compose files, each over those before it. On the host they have the same names, without `.j2`.
    pub files: Vec<String>,
    /// The content of `.env`. In a module one of `env` and `env_template` gives it; without either there is no such file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<Body>,
    /// The template of `.env`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env_template: Option<String>,
    /// The profiles that are active; `*` is all of them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub profiles: BTreeSet<String>,
    /// The owner of the folder and of the files.
    #[serde(default = "super::file::root")]
    pub owner: String,
    /// Their group.
    #[serde(default = "super::file::root")]
    pub group: String,
    /// The mode of the Compose files. Files that hold a secret, and `.env`, have `0600`.
    #[serde(default = "mode_0644")]
    pub mode: String,
    /// How long a container may take to prove itself: to become healthy, or to stay up. A health check that asks for more gets it.
    #[serde(default = "within_5m")]
    pub within: String,
}

fn mode_0644() -> String {
    "0644".to_owned()
}

fn within_5m() -> String {
    "5m".to_owned()
}

impl Compose {
    /// Returns rules that the types cannot say and this declaration breaks.
    pub fn check(&self) -> Vec<Mistake> {
        let mut mistakes: Vec<Mistake> = path::check_path("folder", &self.folder)
            .into_iter()
            .chain(path::check_mode(&self.mode))
            .collect();
        let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        let begins = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        if !self.name.starts_with(begins) || !self.name.chars().all(is_part) {
            let found = format!("`{}` is no name of a project", self.name);
            mistakes.push(Mistake::new("name", found).hint("write lower-case letters, digits, `-` and `_`"));
        }
        if self.files.is_empty() {
            mistakes.push(Mistake::new("files", "no Compose file is named"));
        }
        let mut names = BTreeSet::new();
        for template in &self.files {
            if !names.insert(file_name(template)) {
                let found = format!("two files would be `{}`", file_name(template));
                mistakes
                    .push(Mistake::new("files", found).hint("files of one project need names of their own"));
            }
        }
        if self.env.is_some() && self.env_template.is_some() {
            mistakes.push(Mistake::new("env", "`env` and `env_template` exclude each other"));
        }
        if parse_duration(&self.within).is_err() {
            let found = format!("`{}` is not a duration", self.within);
            mistakes.push(Mistake::new("within", found).hint("write `90s`, `5m` or `1h`"));
        }
        mistakes
    }

    /// Returns the path on the host of the file that comes out of a template.
    pub fn path_of(&self, template: &str) -> String {
        format!("{}/{}", self.folder, file_name(template))
    }

    /// Returns how long a container may take to prove itself, in seconds.
    pub fn within_secs(&self) -> u64 {
        parse_duration(&self.within).unwrap_or(300)
    }
}

fn file_name(template: &str) -> &str {
    let name = template.rsplit('/').next().unwrap_or(template);
    name.strip_suffix(".j2").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compose(json: serde_json::Value) -> Compose {
        let mut whole =
            serde_json::json!({ "name": "join", "folder": "/srv/join", "files": ["a/compose.yml.j2"] });
        whole
            .as_object_mut()
            .unwrap()
            .extend(json.as_object().unwrap().clone());
        serde_json::from_value(whole).unwrap()
    }

    #[test]
    fn files_keep_their_names_and_mistakes_are_named_together() {
        let good = compose(serde_json::json!({}));
        assert_eq!(good.check(), []);
        assert_eq!(good.path_of(&good.files[0]), "/srv/join/compose.yml");
        let bad = compose(serde_json::json!({
            "name": "Join", "folder": "srv", "files": ["a.yml", "b/a.yml.j2"], "env": "", "env_template": "x", "within": "soon"
        }));
        let fields: Vec<&str> = bad.check().iter().map(|mistake| mistake.field).collect();
        assert_eq!(fields, ["folder", "name", "files", "env", "within"]);
    }
}
