//! The way to a host: a connection, a root shell on it, and what ops and probes become there.
//!
//! [`shell`] is the seam: below it are connections (SSH, this machine), above it is the only place where a command
//! is spelled. Knows nothing of resources, plans or rollouts.

mod auth;
pub mod connector;
pub mod engine;
mod engines;
mod exchange;
pub mod fleet;
mod gate;
mod greeter;
mod host_key;
mod keyring;
mod known_hosts;
mod lines;
mod link;
mod local;
pub mod lower;
mod pattern;
mod peer;
pub mod perform;
mod pipe;
mod pulls;
pub mod quote;
mod root;
mod setup;
pub mod shell;
mod ssh;
mod ssh_config;
mod ssh_config_file;
mod sudo;
mod switch;
mod wallet;

use std::sync::Arc;

use self::connector::Connector;
use self::local::LocalShell;
use self::shell::Shell;
use self::ssh::SshShell;
use crate::model::id::HostId;
use crate::model::target::{Target, Transport};
use crate::ports::ReachError;

/// Connects to a host and makes sure that root is to be had there.
///
/// Setting the connection up is tried again after setbacks that may pass. A shell whose connection breaks stays
/// broken: connect anew.
///
/// # Errors
/// [`ReachError`], naming the host, what was attempted and what to do. Nothing was changed on the host.
pub async fn connect(
    host: &HostId,
    target: &Target,
    connector: &Connector,
) -> Result<Arc<dyn Shell>, ReachError> {
    Ok(match &target.transport {
        Transport::Local => Arc::new(LocalShell::open(host, &target.sudo, &connector.secrets).await?),
        Transport::Ssh(ssh) => {
            let link = link::reach(connector, host.as_str(), ssh, 0).await?;
            Arc::new(SshShell::open(connector, host, link, &target.sudo).await?)
        }
    })
}

/// Connects to a host as [`connect`] does, but over a connection that nobody has used before: another one may stay open
/// though nobody could log in any more. Jump hosts may be shared.
///
/// # Errors
/// As [`connect`].
pub async fn connect_anew(
    host: &HostId,
    target: &Target,
    connector: &Connector,
) -> Result<Arc<dyn Shell>, ReachError> {
    match &target.transport {
        Transport::Local => connect(host, target, connector).await,
        Transport::Ssh(ssh) => {
            let link = link::reach_anew(connector, host.as_str(), ssh).await?;
            Ok(Arc::new(
                SshShell::open(connector, host, link, &target.sudo).await?,
            ))
        }
    }
}
