//! One client for one test: its own home, configuration, known_hosts and key.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use muster::model::id::HostId;
use muster::model::secret::{Secret, SecretSource};
use muster::model::target::{HostKey, SshTarget, Sudo, Target, Transport};
use muster::ports::{ReachError, Secrets};
use muster::transport::connect;
use muster::transport::connector::{Connector, Limits, Places, Prompter};
use muster::transport::shell::Shell;
use tempfile::TempDir;

use super::sshd::Sshd;

/// A client as a test wants it.
pub struct Client {
    /// Its home, which holds `known_hosts` and `config`.
    pub home: TempDir,
    /// Where it connects to.
    pub target: SshTarget,
    /// How it becomes root.
    pub sudo: Sudo,
    /// Its limits.
    pub limits: Limits,
    /// Its places.
    pub places: Places,
    /// Its secrets.
    pub secrets: Secrets,
    /// Whom it asks.
    pub prompter: Option<Arc<dyn Prompter>>,
}

impl Client {
    /// Makes a client that knows a server and holds a key for it.
    pub fn of(sshd: &Sshd) -> Self {
        let mut client = Self::at(sshd.port);
        client.knows(&sshd.known_line());
        client.target.identity_file = Some(sshd.path("user_key").display().to_string());
        client
    }

    /// Makes a client that knows nothing but a port.
    pub fn at(port: u16) -> Self {
        let home = tempfile::tempdir().expect("a folder");
        fs::write(home.path().join("config"), "").expect("a configuration");
        let target = SshTarget {
            address: "127.0.0.1".to_owned(),
            port: Some(port),
            user: Some("root".to_owned()),
            identity_file: None,
            host_key: HostKey::KnownHosts,
            via: None,
        };
        let places = Places {
            home: home.path().to_owned(),
            user: "root".to_owned(),
            ssh: "ssh".into(),
            ssh_config: Some(home.path().join("config")),
            known_hosts: Some(home.path().join("known_hosts")),
            agent: None,
        };
        let limits = Limits {
            connect: Duration::from_secs(10),
            ..Limits::default()
        };
        Self {
            home,
            target,
            sudo: Sudo::None,
            limits,
            places,
            secrets: Secrets::default(),
            prompter: None,
        }
    }

    /// Returns the path of its known_hosts.
    pub fn known_hosts(&self) -> PathBuf {
        self.home.path().join("known_hosts")
    }

    /// Writes its known_hosts.
    pub fn knows(&self, lines: &str) {
        fs::write(self.known_hosts(), lines).expect("known_hosts");
    }

    /// Writes its ssh_config.
    pub fn configure(&self, text: &str) {
        fs::write(self.home.path().join("config"), text).expect("a configuration");
    }

    /// Becomes root by sudo with this password.
    pub fn with_password(&mut self, password: &str) {
        let source = SecretSource::Env("SUDO_PASSWORD".to_owned());
        self.sudo = Sudo::Password(source.clone());
        self.secrets = Secrets::new([(source, Secret::new(password))].into());
    }

    /// Returns its connector, for several connections.
    pub fn connector(&self) -> Connector {
        Connector::new(
            self.limits.clone(),
            self.places.clone(),
            self.secrets.clone(),
            self.prompter.clone(),
        )
    }

    /// Connects.
    pub async fn shell(&self) -> Result<Arc<dyn Shell>, ReachError> {
        self.shell_by(&self.connector()).await
    }

    /// Connects with what another connection shares.
    pub async fn shell_by(&self, connector: &Connector) -> Result<Arc<dyn Shell>, ReachError> {
        let host: HostId = "val-1".parse().expect("a host id");
        let target = Target {
            transport: Transport::Ssh(self.target.clone()),
            sudo: self.sudo.clone(),
        };
        connect(&host, &target, connector).await
    }

    /// Connects, and returns why that failed.
    pub async fn refusal(&self) -> ReachError {
        self.shell().await.err().expect("the connection is refused")
    }
}

/// Reads bytes as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
