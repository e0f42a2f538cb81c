//! What all connections of one run share.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::keyring::Keyring;
use super::known_hosts::KnownHosts;
use super::link::Links;
use super::ssh_config::Configuration;
use crate::model::secret::Secret;
use crate::ports::Secrets;

/// What all connections of one run share: limits, secrets, keys once unlocked, jump connections.
pub struct Connector {
    pub(super) limits: Limits,
    pub(super) places: Places,
    pub(super) secrets: Secrets,
    pub(super) keyring: Keyring,
    pub(super) links: Links,
    pub(super) configuration: Configuration,
    pub(super) known_hosts: KnownHosts,
    pub(super) logins: Semaphore,
}

impl Connector {
    /// Makes a connector without any connection.
    ///
    /// `secrets` holds the passwords for sudo that the targets name. Without a prompter (`--no-input`) encrypted keys
    /// are used through an agent only.
    pub fn new(
        limits: Limits,
        places: Places,
        secrets: Secrets,
        prompter: Option<Arc<dyn Prompter>>,
    ) -> Self {
        let logins = Semaphore::new(limits.logins_max);
        let keyring = Keyring::new(prompter);
        Self {
            limits,
            places,
            secrets,
            keyring,
            links: Links::default(),
            configuration: Configuration::default(),
            known_hosts: KnownHosts::default(),
            logins,
        }
    }
}

/// Asks the person at the terminal. Called outside the async threads, and never twice at once.
pub trait Prompter: Send + Sync {
    /// Asks for a secret without echoing it; `None` if nobody answers.
    fn ask(&self, question: &str) -> Option<Secret>;
}

/// How long and how often connecting is tried.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The longest that the TCP connection may take; and then the handshake, from banner to keys.
    pub connect: Duration,
    /// The longest that one key may take to be accepted or refused.
    pub login: Duration,
    /// How long a quiet connection waits before it asks whether the other end is there; gone after three such.
    pub keepalive: Duration,
    /// How often setting a connection up is tried in all. A script is never tried twice.
    pub attempts: u32,
    /// How long a host that hangs up before anybody is logged in is tried at least: sshd sheds load that way (`MaxStartups`).
    pub patience: Duration,
    /// How many logins may be under way at once.
    pub logins_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            login: Duration::from_secs(30),
            keepalive: Duration::from_secs(15),
            attempts: 4,
            patience: Duration::from_secs(20),
            logins_max: 32,
        }
    }
}

/// Where the controller keeps what SSH needs.
#[derive(Debug, Clone)]
pub struct Places {
    /// The home directory, for `~`.
    pub home: PathBuf,
    /// The caller's own account name.
    pub user: String,
    /// The `ssh` program, which reads `ssh_config` for us. Where there is none, muster reads the plain part itself.
    pub ssh: PathBuf,
    /// The configuration file; `None` is the user's and the system's.
    pub ssh_config: Option<PathBuf>,
    /// The one known_hosts file; `None` leaves it to the configuration.
    pub known_hosts: Option<PathBuf>,
    /// The agent's socket, where the configuration names none.
    pub agent: Option<PathBuf>,
}

impl Places {
    /// Returns the places of the person who runs muster.
    pub fn of_user() -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            home: std::env::home_dir().unwrap_or_else(|| PathBuf::from("/")),
            user: variable("USER")
                .or_else(|| variable("LOGNAME"))
                .unwrap_or_else(|| "root".to_owned()),
            ssh: PathBuf::from("ssh"),
            ssh_config: None,
            known_hosts: None,
            agent: variable("SSH_AUTH_SOCK").map(PathBuf::from),
        }
    }

    /// Replaces a leading `~/` by the home directory.
    pub(super) fn expand_home(&self, path: &str) -> PathBuf {
        match path.strip_prefix("~/") {
            Some(rest) => self.home.join(rest),
            None => PathBuf::from(path),
        }
    }
}
