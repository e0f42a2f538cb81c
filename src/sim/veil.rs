//! Veils: what is to be changed looks another way until its change is done.

use std::collections::BTreeMap;

use serde_json::json;

use crate::model::digest::{Digest, Fingerprint};
use crate::model::observation::Answer;
use crate::model::op::{ContentWanted, Op, Probe};

use super::host::{Host, Kind, Node};

/// What stands where something will be changed.
const BEFORE: &str = "before\n";

/// One thing that looks another way, whichever of its fields is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Veil {
    probes: Vec<Probe>,
    /// The op with which it goes.
    until: Option<Op>,
}

impl Veil {
    /// Makes a veil over what these probes ask for, until the last of these ops is done.
    pub(super) fn over(probes: &[Probe], ops: &[Op]) -> Self {
        Self {
            probes: probes.to_vec(),
            until: ops.last().cloned(),
        }
    }

    /// Says whether an op lifts it. Packages of several changes go in one call; outputs are filled by then.
    fn is_lifted_by(&self, op: &Op) -> bool {
        match (&self.until, op) {
            (
                Some(Op::Packages {
                    install,
                    remove,
                    hold,
                    unhold,
                }),
                Op::Packages {
                    install: i,
                    remove: r,
                    hold: h,
                    unhold: u,
                },
            ) => {
                install.keys().all(|name| i.contains_key(name))
                    && remove.is_subset(r)
                    && hold.is_subset(h)
                    && unhold.is_subset(u)
            }
            (Some(until), op) => until.to_string() == op.to_string(),
            (None, _) => true,
        }
    }
}

impl Host {
    /// Lifts the veils of what an op has changed.
    pub(super) fn lift(&mut self, op: &Op) {
        self.veils.retain(|veil| !veil.is_lifted_by(op));
    }

    pub(super) fn is_veiled(&self, probe: &Probe) -> bool {
        self.veils.iter().any(|veil| veil.probes.contains(probe))
    }

    /// Answers a probe another way than things are.
    pub(super) fn veiled(&self, probe: &Probe) -> Answer {
        let output = match probe {
            Probe::Path { path, content } => self.other_path(path, *content),
            Probe::Account(name) => match self.accounts.get(name) {
                None => String::new(),
                Some(account) => format!("{name}:x:64000:64000:before:/before:/before\n\n{}\n", account.group),
            },
            Probe::Group(name) => format!("{name}:x:64000:\n"),
            Probe::AuthorizedKeys(name) => match self.accounts.get(name) {
                None => "type=no-account\n".to_owned(),
                Some(account) => format!("path={}/.ssh/authorized_keys\ntype=absent\n", account.home),
            },
            Probe::Package(name) => match self.packages.get(name) {
                None => String::new(),
                Some((_, held)) => {
                    let want = if *held { "install" } else { "hold" };
                    format!("{want}\tinstalled\t0~before\n")
                }
            },
            Probe::Unit(name) => self.other_unit(name),
            Probe::Sysctl { .. } => "value=before\nfile=before\n".to_owned(),
            Probe::Settings { path, .. } => match self.paths.get(path) {
                None => json!({"type": "absent"}).to_string(),
                Some(Node { owner, group, mode, .. }) => {
                    json!({"type": "file", "mode": mode, "owner": owner, "group": group, "keys": BTreeMap::<String, String>::new()})
                        .to_string()
                }
            },
            // What a run kept is no part of what a change is about.
            Probe::Kept { .. } => "store=yes\nleft=yes\n".to_owned(),
            Probe::Engine(_) => "null".to_owned(),
            Probe::Command { .. } => {
                return Answer::Text {
                    output: String::new(),
                    status: 1,
                };
            }
        };
        Answer::Text { output, status: 0 }
    }

    fn other_path(&self, path: &str, content: ContentWanted) -> String {
        let Some(node) = self.paths.get(path) else {
            return "type=absent\n".to_owned();
        };
        let head = "mode=0001\nowner=nobody\ngroup=nogroup\nchanged=1\n";
        let size = BEFORE.len();
        match (&node.kind, content, &self.salt) {
            (Kind::Directory, _, _) => format!("type=directory\n{head}size=0\nempty=no\n"),
            (Kind::Link(_), _, _) => format!("type=link\n{head}size=0\nto=/before\n"),
            (Kind::File(_), ContentWanted::Print, Some(salt)) => {
                let print = Fingerprint::of(salt, BEFORE.as_bytes()).0;
                format!("type=file\n{head}size={size}\nprint={print}\n")
            }
            (Kind::File(_), ContentWanted::None | ContentWanted::Print, _) => {
                format!("type=file\n{head}size={size}\nopaque=yes\n")
            }
            (Kind::File(_), ContentWanted::Text, _) => {
                format!(
                    "type=file\n{head}size={size}\nsha256={}\n\n{BEFORE}",
                    Digest::of(BEFORE)
                )
            }
        }
    }

    /// A unit that does the opposite, in the same start.
    fn other_unit(&self, name: &str) -> String {
        let mut other = self.clone();
        if let Some(unit) = other.units.get_mut(name) {
            unit.enabled = !unit.enabled;
            unit.active = !unit.active;
            unit.loaded = Some(BEFORE.to_owned());
        }
        other.show_unit(name)
    }
}
