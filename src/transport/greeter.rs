//! Our side of the handshake: checks the host's key, and remembers what the host says as it hangs up.

use std::sync::{Arc, Mutex};

use russh::client::{self, DisconnectReason};
use russh::keys::PublicKeyOrCertificate;

use super::host_key::HostKeyCheck;
use crate::ports::ReachError;

/// What a host said as it hung up.
#[derive(Debug, Clone, Default)]
pub(super) struct Farewell(Arc<Mutex<Option<String>>>);

impl Farewell {
    /// Returns it, if it said anything.
    pub fn said(&self) -> Option<String> {
        self.0
            .lock()
            .expect("nobody panics while holding a farewell")
            .clone()
    }
}

/// Our side of the handshake.
pub(super) struct Greeter {
    check: HostKeyCheck,
    farewell: Farewell,
}

impl Greeter {
    /// Makes a greeter, and the place where what the host says at the end will be found.
    pub fn new(check: HostKeyCheck) -> (Self, Farewell) {
        let farewell = Farewell::default();
        (
            Self {
                check,
                farewell: farewell.clone(),
            },
            farewell,
        )
    }
}

/// Why a handshake failed.
#[derive(Debug)]
pub(super) enum GreetError {
    /// The host is not who it should be.
    HostKey(ReachError),
    /// Anything else.
    Ssh(russh::Error),
}

impl From<russh::Error> for GreetError {
    fn from(error: russh::Error) -> Self {
        Self::Ssh(error)
    }
}

impl client::Handler for Greeter {
    type Error = GreetError;

    // An own error and not `Ok(false)`, so that the reason survives.
    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, GreetError> {
        self.check.judge(key).map(|()| true).map_err(GreetError::HostKey)
    }

    async fn disconnected(&mut self, reason: DisconnectReason<GreetError>) -> Result<(), GreetError> {
        match reason {
            DisconnectReason::ReceivedDisconnect(farewell) => {
                *self
                    .farewell
                    .0
                    .lock()
                    .expect("nobody panics while holding a farewell") = Some(farewell.message);
                Ok(())
            }
            DisconnectReason::Error(error) => Err(error),
        }
    }
}
