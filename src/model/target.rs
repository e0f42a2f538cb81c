//! Targets: how a host is reached. Part of a plan, which must not need the inventory.

use serde::{Deserialize, Serialize};

use super::secret::SecretSource;

/// How a host is reached and how root is had there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The way to it.
    pub transport: Transport,
    /// How commands become root's.
    pub sudo: Sudo,
}

/// The way to a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// This machine.
    Local,
    /// SSH.
    Ssh(SshTarget),
}

/// What the inventory says of an SSH host. What it leaves open comes from `~/.ssh/config`, then from OpenSSH's defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshTarget {
    /// A name or an IP address. Also the name that `~/.ssh/config` is asked about.
    pub address: String,
    /// The port; `None` leaves it to `~/.ssh/config`, then 22.
    pub port: Option<u16>,
    /// The account; `None` leaves it to `~/.ssh/config`, then to the caller's own name.
    pub user: Option<String>,
    /// The key file to log in with, `~` allowed; `None` leaves it to `~/.ssh/config`, the agent and the usual files.
    pub identity_file: Option<String>,
    /// How the host's own key is checked.
    pub host_key: HostKey,
    /// The jump host to go through, itself perhaps behind another.
    pub via: Option<Box<SshTarget>>,
}

/// How a host's own key is checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostKey {
    /// As OpenSSH does by the known_hosts files; an unknown key is refused.
    KnownHosts,
    /// As `KnownHosts`, but an unknown key is accepted and written to the file. A changed one is refused.
    AcceptNew,
    /// Only this key, in OpenSSH's form: `ssh-ed25519 AAAA…`.
    Pinned(String),
}

/// How commands become root's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sudo {
    /// The account is root, or nothing needs root: no sudo.
    None,
    /// `sudo` if the account is not root, without a password.
    Passwordless,
    /// `sudo` if the account is not root, with the password from this source.
    Password(SecretSource),
}
