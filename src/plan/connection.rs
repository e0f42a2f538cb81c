//! What can cut us off from a host: the list by which changes come under its dead-man switch. Source: decision 0011.
//!
//! It goes by what ops touch, so that a new kind needs no entry here. It cannot see what a script or a package does.

use std::collections::BTreeSet;

use crate::model::change::Change;
use crate::model::id::ResourceKey;
use crate::model::op::Op;
use crate::model::switch::Restores;
use crate::model::target::{SshTarget, Target, Transport};

/// One way in which a host is kept within reach.
struct Topic {
    /// What it is, for people.
    name: &'static str,
    /// Files, and everything below them where they are folders.
    paths: &'static [&'static str],
    /// Units that are about it, and that may read its files anew.
    units: &'static [&'static str],
}

const TOPICS: &[Topic] = &[
    Topic {
        name: "sshd",
        paths: &["/etc/ssh", "/etc/hosts.allow", "/etc/hosts.deny"],
        units: &["ssh.service", "sshd.service", "ssh.socket"],
    },
    Topic {
        name: "the firewall",
        paths: &[
            "/etc/nftables.conf",
            "/etc/nftables.d",
            "/etc/nftables",
            "/etc/iptables",
            "/etc/ufw",
            "/etc/default/ufw",
            "/etc/firewalld",
        ],
        units: &[
            "nftables.service",
            "netfilter-persistent.service",
            "iptables.service",
            "ip6tables.service",
            "ufw.service",
            "firewalld.service",
        ],
    },
    Topic {
        name: "the network",
        paths: &[
            "/etc/network",
            "/etc/netplan",
            "/etc/systemd/network",
            "/etc/NetworkManager",
        ],
        units: &[
            "networking.service",
            "systemd-networkd.service",
            "systemd-networkd.socket",
            "NetworkManager.service",
        ],
    },
    Topic {
        name: "sudo",
        paths: &["/etc/sudoers", "/etc/sudoers.d", "/etc/sudo.conf"],
        units: &[],
    },
    Topic {
        name: "who may log in",
        paths: &[
            "/etc/pam.d",
            "/etc/security",
            "/etc/nsswitch.conf",
            "/etc/passwd",
            "/etc/shadow",
            "/etc/group",
            "/etc/gshadow",
        ],
        units: &[],
    },
    Topic {
        name: "Docker's networks",
        paths: &["/etc/docker/daemon.json"],
        units: &["docker.service", "docker.socket"],
    },
];

/// What accounts and groups are kept in.
const ACCOUNT_FILES: &[&str] = &["/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow"];
/// Groups through which accounts commonly get root.
const ROOT_GROUPS: &[&str] = &["sudo", "wheel", "admin"];
/// Packages without which nobody logs in, or becomes root.
const PACKAGES: &[&str] = &["openssh-server", "sudo", "libpam-runtime", "systemd"];
/// Kernel parameters that decide whether packets of one interface are taken.
const PARAMETERS: &[&str] = &["net.ipv4.conf.", "net.ipv6.conf."];

/// Returns why a change may cut us off from its host, if it may; `None` for a host that is not reached through a network.
pub(super) fn cuts(change: &Change, target: &Target) -> Option<String> {
    let Transport::Ssh(ssh) = &target.transport else {
        return None;
    };
    change.ops.iter().find_map(|op| op_cuts(op, ssh))
}

/// Says the same of a resource that is named by its path.
pub(super) fn key_cuts(key: &ResourceKey, target: &Target) -> Option<String> {
    match &target.transport {
        Transport::Ssh(ssh) if key.name.starts_with('/') => path_cuts(&key.name, ssh),
        Transport::Ssh(_) | Transport::Local => None,
    }
}

fn op_cuts(op: &Op, ssh: &SshTarget) -> Option<String> {
    match op {
        Op::WriteFile { path, .. }
        | Op::SetAttributes { path, .. }
        | Op::MakeDirectory { path, .. }
        | Op::Link { path, .. }
        | Op::RemoveFile { path }
        | Op::RemoveDirectory { path }
        | Op::Restore { path, .. }
        | Op::Settings { path, .. } => path_cuts(path, ssh),
        Op::EnableUnit { unit, .. } | Op::ControlUnit { unit, .. } => {
            topic_of_unit(unit).map(|topic| topic.name.to_owned())
        }
        Op::Account { name, .. } | Op::RemoveAccount { name, .. } => login(name, ssh),
        Op::Group { name, .. } | Op::RemoveGroup { name } => {
            ROOT_GROUPS.contains(&name.as_str()).then(|| "sudo".to_owned())
        }
        Op::Packages { remove, .. } => PACKAGES
            .iter()
            .find(|name| remove.contains(**name))
            .map(|name| format!("`{name}`, which goes")),
        Op::Sysctl { key, .. } => PARAMETERS
            .iter()
            .any(|begin| key.starts_with(begin))
            .then(|| "the network".to_owned()),
        Op::ReloadUnits | Op::Run { .. } | Op::Engine(_) => None,
    }
}

/// The account is not known where it is left to `~/.ssh/config`, and then any may be it.
fn login(account: &str, ssh: &SshTarget) -> Option<String> {
    let is_login = ssh.user.as_deref().is_none_or(|user| user == account);
    is_login.then(|| "the account that logs in".to_owned())
}

fn path_cuts(path: &str, ssh: &SshTarget) -> Option<String> {
    let topic = TOPICS
        .iter()
        .find(|topic| topic.paths.iter().any(|root| is_within(path, root)));
    let unit = || topic_of_unit_file(path);
    match topic.or_else(unit) {
        Some(topic) => Some(topic.name.to_owned()),
        None => home_cuts(path, ssh),
    }
}

/// sshd refuses keys in a home that others may write to, so the folders count as well.
fn home_cuts(path: &str, ssh: &SshTarget) -> Option<String> {
    let keys = || Some("the keys that log in".to_owned());
    let in_home = |home: &str| path == home || is_within(path, &format!("{home}/.ssh"));
    match ssh.user.as_deref() {
        Some("root") => in_home("/root").then(keys)?,
        Some(user) => in_home(&format!("/home/{user}")).then(keys)?,
        None => path.split('/').any(|part| part == ".ssh").then(keys)?,
    }
}

fn is_within(path: &str, root: &str) -> bool {
    path.strip_prefix(root)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn topic_of_unit(unit: &str) -> Option<&'static Topic> {
    TOPICS.iter().find(|topic| topic.units.contains(&unit))
}

/// `/etc/systemd/system/ssh.service`, and what lies in `ssh.service.d`.
fn topic_of_unit_file(path: &str) -> Option<&'static Topic> {
    let name = path.strip_prefix("/etc/systemd/system/")?.split('/').next()?;
    topic_of_unit(name.strip_suffix(".d").unwrap_or(name))
}

/// Adds what a host must put back to take a change back.
///
/// # Errors
/// A clause that says what cannot be put back.
pub(super) fn restores(change: &Change, restores: &mut Restores) -> Result<(), String> {
    change.ops.iter().try_for_each(|op| op_restores(op, restores))
}

fn op_restores(op: &Op, restores: &mut Restores) -> Result<(), String> {
    match op {
        Op::WriteFile { path, .. }
        | Op::SetAttributes { path, .. }
        | Op::MakeDirectory { path, .. }
        | Op::Link { path, .. }
        | Op::RemoveFile { path }
        | Op::RemoveDirectory { path }
        | Op::Restore { path, .. }
        | Op::Settings { path, .. } => {
            restores.paths.insert(path.clone());
            restores.readers.extend(readers(path));
        }
        Op::EnableUnit { unit, .. } | Op::ControlUnit { unit, .. } => {
            restores.units.insert(unit.clone());
        }
        Op::Account { .. } | Op::Group { .. } | Op::RemoveGroup { .. } => {
            restores
                .paths
                .extend(ACCOUNT_FILES.iter().map(|path| (*path).to_owned()));
        }
        Op::Sysctl { key, file, .. } => {
            restores.parameters.insert(key.clone());
            restores.paths.insert(file.clone());
        }
        Op::ReloadUnits => {}
        Op::RemoveAccount { .. } => return Err("a removed account does not come back whole".to_owned()),
        Op::Packages { .. } => return Err("packages are not put back".to_owned()),
        Op::Run { .. } => return Err("what a script does is not put back".to_owned()),
        Op::Engine(_) => return Err("what a Docker engine does is not put back".to_owned()),
    }
    Ok(())
}

fn readers(path: &str) -> BTreeSet<String> {
    let topic = TOPICS
        .iter()
        .find(|topic| topic.paths.iter().any(|root| is_within(path, root)));
    topic
        .or_else(|| topic_of_unit_file(path))
        .map(|topic| topic.units.iter().map(|unit| (*unit).to_owned()).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::op::UnitVerb;
    use crate::model::target::HostKey;

    fn ssh(user: Option<&str>) -> SshTarget {
        SshTarget {
            address: "h1".to_owned(),
            port: None,
            user: user.map(str::to_owned),
            identity_file: None,
            host_key: HostKey::KnownHosts,
            via: None,
        }
    }

    fn removes(path: &str, user: Option<&str>) -> Option<String> {
        let path = path.to_owned();
        op_cuts(&Op::RemoveFile { path }, &ssh(user))
    }

    #[test]
    fn paths_count_with_all_below_them_and_nothing_beside() {
        for path in [
            "/etc/ssh/sshd_config.d/x.conf",
            "/etc/nftables.conf",
            "/etc/sudoers.d/ops",
            "/etc/systemd/system/ssh.service.d/port.conf",
            "/etc/pam.d/sshd",
            "/home/ops/.ssh/authorized_keys",
            "/home/ops",
        ] {
            assert!(removes(path, Some("ops")).is_some(), "{path}");
        }
        for path in [
            "/etc/sshguard",
            "/etc/systemd/system/app.service",
            "/home/other/.ssh/authorized_keys",
            "/home/ops/app.toml",
            "/etc/nftables.conf.bak",
        ] {
            assert_eq!(removes(path, Some("ops")), None, "{path}");
        }
    }

    #[test]
    fn an_account_that_is_left_open_may_be_any() {
        let account = |name: &str, user| {
            let op = Op::RemoveAccount {
                name: name.to_owned(),
                home: false,
            };
            op_cuts(&op, &ssh(user))
        };
        assert!(account("ops", Some("ops")).is_some());
        assert_eq!(account("app", Some("ops")), None);
        assert!(account("app", None).is_some());
        assert!(removes("/srv/a/.ssh/authorized_keys", None).is_some());
    }

    #[test]
    fn what_is_restarted_only_if_somebody_restarted_it_follows_from_the_files() {
        let mut all = Restores::default();
        let ops = [
            Op::RemoveFile {
                path: "/etc/nftables.conf".to_owned(),
            },
            Op::ControlUnit {
                unit: "ssh.service".to_owned(),
                verb: UnitVerb::Restart,
            },
        ];
        ops.iter().for_each(|op| op_restores(op, &mut all).unwrap());
        assert!(all.readers.contains("nftables.service") && !all.readers.contains("ssh.service"));
        assert_eq!(all.units, ["ssh.service".to_owned()].into());
        let run = Op::RemoveAccount {
            name: "ops".to_owned(),
            home: true,
        };
        assert!(op_restores(&run, &mut all).is_err());
    }
}
