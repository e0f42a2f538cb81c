//! `hosts.json`: the hosts that muster owns something on, with the address and the lineage last seen.
//!
//! Committed with the plans. It is what notices a host that left the inventory without being retired, and a machine
//! that was reinstalled: the manifest alone cannot tell either.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{StoreError, atomic, read_text};
use crate::model::code;
use crate::model::diagnostic::Diagnostic;
use crate::model::id::HostId;
use crate::model::inventory::Inventory;
use crate::model::observation::Observation;
use crate::model::target::{Target, Transport};

/// The name of the file in an inventory's folder.
pub const FILE: &str = "hosts.json";
const FORMAT: u32 = 1;

/// What is known of one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownHost {
    /// Where it was last seen: its address, or `local`.
    pub address: String,
    /// The lineage of its manifest when it was first seen. Another one later is for people to judge.
    pub lineage: String,
}

/// The hosts that muster owns something on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownHosts {
    /// Them, by name.
    pub hosts: BTreeMap<HostId, KnownHost>,
}

#[derive(Serialize, Deserialize)]
struct File {
    format: u32,
    hosts: BTreeMap<HostId, KnownHost>,
}

/// Reads the file of an inventory's folder; where there is none, nothing is known.
///
/// # Errors
/// [`StoreError::Read`], [`StoreError::Format`], [`StoreError::Damaged`].
pub fn load(folder: &Path) -> Result<KnownHosts, StoreError> {
    let path = folder.join(FILE);
    let text = match read_text(&path) {
        Err(StoreError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            return Ok(KnownHosts::default());
        }
        other => other?,
    };
    let damaged = |error: serde_json::Error| StoreError::Damaged {
        path: path.clone(),
        why: error.to_string(),
    };
    let value: serde_json::Value = serde_json::from_str(&text).map_err(damaged)?;
    match value["format"].as_u64() {
        Some(found) if found != u64::from(FORMAT) => Err(StoreError::Format {
            path: path.clone(),
            found,
            wanted: FORMAT,
            by: "?".to_owned(),
        }),
        _ => {
            let file: File = serde_json::from_value(value).map_err(damaged)?;
            Ok(KnownHosts { hosts: file.hosts })
        }
    }
}

/// Writes the file of an inventory's folder.
///
/// # Errors
/// [`StoreError::Write`].
pub fn save(known: &KnownHosts, folder: &Path) -> Result<(), StoreError> {
    let file = File {
        format: FORMAT,
        hosts: known.hosts.clone(),
    };
    let mut text = serde_json::to_string_pretty(&file).expect("names and texts serialise");
    text.push('\n');
    atomic::write(&folder.join(FILE), text.as_bytes())
}

impl KnownHosts {
    /// Takes in what a look saw: hosts with a manifest join, and addresses follow the inventory.
    ///
    /// A lineage that is known stays, even where the look saw another or none: that is a reinstalled or exchanged machine,
    /// which is held until somebody takes it over.
    pub fn merge(&mut self, targets: &BTreeMap<HostId, Target>, seen: &Observation) {
        for (host, view) in &seen.hosts {
            let (Some(target), Some(manifest)) = (targets.get(host), view.manifest.present()) else {
                continue;
            };
            let address = address(target);
            self.hosts
                .entry(host.clone())
                .and_modify(|known| known.address.clone_from(&address))
                .or_insert_with(|| KnownHost {
                    address,
                    lineage: manifest.lineage.clone(),
                });
        }
    }

    /// Forgets the old names of hosts that now answer to a new one, so that they are not missed.
    pub fn rename(&mut self, inventory: &Inventory) {
        for (id, host) in &inventory.hosts {
            let (Some(old), true) = (&host.renamed_from, self.hosts.contains_key(id)) else {
                continue;
            };
            if !inventory.hosts.contains_key(old) {
                self.hosts.remove(old);
            }
        }
    }

    /// Returns the lineage of every host, under the name that the inventory now gives it.
    pub fn lineages(&self, inventory: &Inventory) -> BTreeMap<HostId, String> {
        let named = |id: &HostId| self.hosts.get(id).map(|known| known.lineage.clone());
        inventory
            .hosts
            .iter()
            .filter_map(|(id, host)| {
                let lineage = named(id).or_else(|| host.renamed_from.as_ref().and_then(named))?;
                Some((id.clone(), lineage))
            })
            .collect()
    }

    /// Returns an error for each host that is known and neither declared, nor retired, nor renamed.
    pub fn lost(&self, inventory: &Inventory) -> Vec<Diagnostic> {
        let is_kept = |id: &HostId| {
            inventory.hosts.contains_key(id)
                || inventory.retired.iter().any(|retired| retired.host == *id)
                || inventory
                    .hosts
                    .values()
                    .any(|host| host.renamed_from.as_ref() == Some(id))
        };
        self.hosts
            .iter()
            .filter(|(id, _)| !is_kept(id))
            .map(|(id, known)| lost(id, known, inventory))
            .collect()
    }
}

fn lost(id: &HostId, known: &KnownHost, inventory: &Inventory) -> Diagnostic {
    let message = format!(
        "host `{id}` ({}) is no longer declared in {}",
        known.address, inventory.file
    );
    Diagnostic::error(code::HOST_LOST, message).hint(format!(
        "add `[[retired]]` with `host = \"{id}\"`, or `renamed_from = \"{id}\"` to the host that it is now"
    ))
}

/// Returns the address by which people know a host; `local` for this machine.
pub fn address(target: &Target) -> String {
    match &target.transport {
        Transport::Local => "local".to_owned(),
        Transport::Ssh(ssh) => ssh.address.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::diagnostic::Place;
    use crate::model::inventory::{Host, Retired};
    use crate::model::manifest::{Manifest, ManifestState};
    use crate::model::observation::{HostView, Reach};
    use crate::model::target::Sudo;
    use crate::model::wave::RolloutPolicy;

    fn id(name: &str) -> HostId {
        name.parse().unwrap()
    }

    fn place() -> Place {
        Place {
            file: "f.toml".to_owned(),
            line: 1,
            column: 1,
            span: None,
        }
    }

    fn target() -> Target {
        Target {
            transport: Transport::Local,
            sudo: Sudo::None,
        }
    }

    fn view(host: &str, lineage: Option<&str>) -> HostView {
        let manifest = lineage.map(|lineage| Manifest {
            format: 1,
            fleet: "demo".parse().unwrap(),
            host: id(host),
            lineage: lineage.to_owned(),
            generation: 1,
            last_run: None,
            owned: BTreeMap::new(),
        });
        HostView {
            reach: Reach::Reached,
            manifest: manifest.map_or(ManifestState::Absent, ManifestState::Present),
            ..HostView::unreachable("")
        }
    }

    fn look(views: &[(&str, Option<&str>)]) -> Observation {
        let hosts = views
            .iter()
            .map(|(host, lineage)| (id(host), view(host, *lineage)))
            .collect();
        Observation {
            taken_at: String::new(),
            hosts,
        }
    }

    fn inventory(hosts: &[(&str, Option<&str>)], retired: &[&str]) -> Inventory {
        let host = |name: &str, renamed_from: Option<&str>| Host {
            id: id(name),
            target: target(),
            labels: BTreeMap::new(),
            values: BTreeMap::new(),
            renamed_from: renamed_from.map(id),
            origin: place(),
        };
        Inventory {
            name: "demo".parse().unwrap(),
            file: "f.toml".to_owned(),
            hosts: hosts
                .iter()
                .map(|(name, from)| (id(name), host(name, *from)))
                .collect(),
            groups: BTreeMap::new(),
            values: BTreeMap::new(),
            overrides: Vec::new(),
            hooks: Vec::new(),
            uses: Vec::new(),
            policy: RolloutPolicy::default(),
            retired: retired
                .iter()
                .map(|host| Retired {
                    host: id(host),
                    note: None,
                    origin: place(),
                })
                .collect(),
            images: Default::default(),
            age_identity: None,
        }
    }

    fn known(views: &[(&str, Option<&str>)]) -> KnownHosts {
        let mut known = KnownHosts::default();
        let targets = views.iter().map(|(host, _)| (id(host), target())).collect();
        known.merge(&targets, &look(views));
        known
    }

    #[test]
    fn only_hosts_with_a_manifest_join_and_the_file_keeps_them() {
        let known = known(&[("a", Some("l1")), ("b", None)]);
        assert_eq!(known.hosts.len(), 1);
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(load(folder.path()).unwrap(), KnownHosts::default());
        save(&known, folder.path()).unwrap();
        assert_eq!(load(folder.path()).unwrap(), known);
    }

    #[test]
    fn a_known_lineage_is_not_forgotten_when_another_or_none_is_seen() {
        let mut known = known(&[("a", Some("l1")), ("b", Some("l2"))]);
        let targets = BTreeMap::from([(id("a"), target()), (id("b"), target())]);
        known.merge(&targets, &look(&[("a", Some("other")), ("b", None)]));
        assert_eq!(known.hosts[&id("a")].lineage, "l1");
        assert_eq!(known.hosts[&id("b")].lineage, "l2");
    }

    #[test]
    fn a_host_that_left_without_a_word_is_lost() {
        let known = known(&[
            ("a", Some("l1")),
            ("b", Some("l2")),
            ("c", Some("l3")),
            ("d", Some("l4")),
        ]);
        let lost = known.lost(&inventory(&[("a", None), ("new", Some("b"))], &["c"]));
        assert_eq!(lost.len(), 1);
        assert_eq!(lost[0].code, code::HOST_LOST);
        assert!(lost[0].message.contains("`d`"), "{}", lost[0].message);
    }

    #[test]
    fn a_renamed_host_keeps_its_lineage_and_its_old_name_goes_once_the_new_one_is_known() {
        let inventory = inventory(&[("new", Some("b"))], &[]);
        let mut known = known(&[("b", Some("l2"))]);
        assert_eq!(known.lineages(&inventory)[&id("new")], "l2");
        known.rename(&inventory);
        assert!(known.hosts.contains_key(&id("b")));
        known.merge(
            &BTreeMap::from([(id("new"), target())]),
            &look(&[("new", Some("l2"))]),
        );
        known.rename(&inventory);
        assert_eq!(known.hosts.keys().collect::<Vec<_>>(), [&id("new")]);
    }

    #[test]
    fn another_format_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), r#"{"format": 2, "hosts": []}"#).unwrap();
        assert!(matches!(
            load(folder.path()),
            Err(StoreError::Format { found: 2, .. })
        ));
    }
}
