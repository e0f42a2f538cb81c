//! The other end of a connection, as messages name it.

use std::fmt;

use super::ssh_config::Settings;

/// The other end of a connection, as messages name it: `val-1 (ops@10.0.0.1:22)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Peer {
    /// The host's name in the inventory; a jump host's address.
    pub name: String,
    /// The account.
    pub user: String,
    /// The address.
    pub host_name: String,
    /// The port.
    pub port: u16,
}

impl Peer {
    /// Names the other end.
    pub fn new(name: &str, settings: &Settings) -> Self {
        Self {
            name: name.to_owned(),
            user: settings.user.clone(),
            host_name: settings.host_name.clone(),
            port: settings.port,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` ({}@{}:{})",
            self.name, self.user, self.host_name, self.port
        )
    }
}
