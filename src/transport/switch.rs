//! The dead-man switch of a host: arming it, confirming by a new connection, and asking how it stands.

use std::sync::Arc;
use std::time::Duration;

use super::fleet::{FleetTransport, Retry};
use super::lower::reply::Reply;
use super::perform::{self, Leg, Redactor};
use super::shell::Shell;
use crate::model::id::{HostId, RunId};
use crate::ports::{Arming, LockError, PerformError, ReachError, SwitchState};

/// The longest that arming may take: systemd reads its units again.
const ARM: Duration = Duration::from_secs(120);
/// The longest that the confirmation may take, once connected.
const CONFIRM: Duration = Duration::from_secs(60);

impl FleetTransport {
    pub(super) async fn arm_switch(&self, host: &HostId, request: &Arming) -> Result<(), PerformError> {
        let script = self.guard().arm(request);
        let ran = self
            .run(host, &script, ARM, Retry::Yes)
            .await
            .map_err(perform::unknown)?;
        Leg::read(&ran, self.redactor(), 0).map(|_| ())
    }

    /// Connects anew, whatever is open: a connection that was there before the change proves nothing.
    pub(super) async fn confirm_switch(&self, host: &HostId, run: &RunId) -> Result<SwitchState, ReachError> {
        let shell = self.connect_anew(host).await?;
        let script = self.guard().confirm(run);
        let state = self.read_switch(host, "confirming", &shell, &script).await?;
        self.take_over(host, shell).await;
        Ok(state)
    }

    async fn read_switch(
        &self,
        host: &HostId,
        what: &str,
        shell: &Arc<dyn Shell>,
        script: &str,
    ) -> Result<SwitchState, ReachError> {
        let ran = shell
            .run(script, CONFIRM)
            .await
            .map_err(super::fleet::unreachable)?;
        let reply = Reply::read(&ran.stdout).unwrap_or_default();
        match (ran.status, state(&reply, self.redactor())) {
            (0, Some(state)) if reply.is_whole => Ok(state),
            _ => Err(self.failed(host, what, &ran, reply.word("refused").unwrap_or_default())),
        }
    }

    pub(super) async fn ask_switch(
        &self,
        host: &HostId,
        what: &str,
        script: &str,
    ) -> Result<SwitchState, ReachError> {
        let reply = self
            .ask_guard(host, what, script)
            .await
            .map_err(|error| match error {
                LockError::Reach(error) => error,
                other => ReachError::Unreachable(format!("`{host}`: {other}")),
            })?;
        state(&reply, self.redactor())
            .ok_or_else(|| ReachError::Unreachable(format!("`{host}` does not say how its switch stands")))
    }
}

fn state(reply: &Reply, redactor: &Redactor) -> Option<SwitchState> {
    Some(match reply.word("switch")? {
        "none" => SwitchState::None,
        "armed" => SwitchState::Armed,
        "confirmed" => SwitchState::Confirmed,
        "restored" => SwitchState::Restored {
            trouble: reply
                .words
                .iter()
                .filter(|(name, _)| name == "trouble")
                .map(|(_, what)| redactor.clause(what))
                .collect(),
        },
        _ => return None,
    })
}
