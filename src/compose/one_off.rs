//! One container by itself, said in the words of a service: what a table of a module has of them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::model::body::Body;
use crate::model::container_part::NetworkMode;

use super::interpolate::Variables;
use super::service::{self, Around, Service};
use super::source::{SourceFile, Texts};
use super::{normal, yaml};

/// What it is called while it is read.
const NAME: &str = "container";

/// Reads the keys of a service that stands alone, with its image among them. Nothing is interpolated, and names of volumes are
/// those on the engine.
///
/// # Errors
/// Every mistake as a clause.
pub fn one_off(keys: &Map<String, Value>) -> Result<Service, Vec<String>> {
    let mut texts = Texts::default();
    let written = json!({ NAME: keys }).to_string();
    let file = SourceFile {
        path: NAME.to_owned(),
        body: Body::text(written),
    };
    let opened = texts.open(&file);
    let tree = yaml::parse(&mut texts, &opened);
    let (variables, files) = (Variables::new(), BTreeMap::new());
    let around = Around {
        variables: &variables,
        files: &files,
        folder: "/",
    };
    let entry = tree.as_ref().and_then(|tree| tree.entries().first());
    let read = entry.and_then(|entry| service::read(&mut texts, entry, &around));
    let mut mistakes: Vec<String> = texts
        .diagnostics
        .iter()
        .map(|diagnostic| diagnostic.message.replacen(&format!("service `{NAME}`: "), "", 1))
        .collect();
    let Some(mut service) = read else {
        return Err(mistakes);
    };
    if let NetworkMode::Service(other) = &service.settings.network_mode {
        mistakes.push(format!(
            "`network_mode`: it is in no project, so that `service:{other}` means nothing"
        ));
    }
    normal::settle(&mut service.settings);
    match texts.diagnostics.has_errors() || !mistakes.is_empty() {
        true => Err(mistakes),
        false => Ok(service),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::container_part::MountFrom;

    fn read(keys: Value) -> Result<Service, Vec<String>> {
        one_off(keys.as_object().expect("an object"))
    }

    #[test]
    fn a_container_by_itself_is_said_as_a_service_is() {
        let keys = json!({ "image": "box:1", "command": "sh -c 'echo $HOME'", "volumes": ["data:/data", "/srv:/srv:ro"] });
        let service = read(keys).expect("it is well said");
        let settings = &service.settings;
        assert_eq!(
            settings.command.as_deref(),
            Some(&["sh", "-c", "echo $HOME"].map(String::from)[..])
        );
        assert_eq!(
            settings.mounts["/data"].from,
            MountFrom::Volume("data".to_owned())
        );
        assert!(settings.mounts["/srv"].read_only);
    }

    #[test]
    fn every_mistake_is_named() {
        let found =
            read(json!({ "image": "box:1", "volumes": ["~/x:/x"], "devices": ["null"] })).unwrap_err();
        assert_eq!(found.len(), 2, "{found:?}");
        let found = read(json!({ "image": "box:1", "network_mode": "service:api" })).unwrap_err();
        assert!(found[0].contains("in no project"), "{found:?}");
    }
}
