//! Who logs in on a host, how that account becomes root, and what a talk with its shell means for the caller.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::exchange::{Ending, Exchange, HEARD_MAX};
use super::shell::{Ran, ShellError};
use super::sudo::Rise;
use crate::model::id::HostId;
use crate::model::target::Sudo;
use crate::ports::{ReachError, Secrets};

/// How long the account's profile, `id` and sudo's own checks may take together.
const PATIENCE: Duration = Duration::from_secs(60);

/// The account that logs in on a host.
#[derive(Debug, Clone, Copy)]
pub(super) struct Account<'a> {
    /// The host.
    pub host: &'a HostId,
    /// The account's name; `None` is whoever runs muster.
    pub name: Option<&'a str>,
}

/// Finds out how an account becomes root, and makes sure that it does.
///
/// # Errors
/// [`ReachError::Unreachable`] if root is not to be had, with what to do about it.
pub(super) async fn rise<'a, F>(
    account: &Account<'_>,
    sudo: &Sudo,
    secrets: &Secrets,
    run: F,
) -> Result<Rise, ReachError>
where
    F: Fn(Rise, &'static str, Duration) -> BoxFuture<'a, Result<Ran, ShellError>>,
{
    // Most fleets log in as root; they are spared the question.
    if account.name == Some("root") || is_root(account, run(Rise::AsIs, "id -u", PATIENCE).await, secrets)? {
        return Ok(Rise::AsIs);
    }
    let rise = match sudo {
        Sudo::None => return Err(account.unreachable(NO_SUDO)),
        Sudo::Passwordless => Rise::Quiet,
        Sudo::Password(source) => Rise::Asking(secrets.get(source).cloned().ok_or_else(|| {
            account.unreachable(&format!("the password for sudo, `{source}`, was not resolved"))
        })?),
    };
    match run(rise.clone(), ":", PATIENCE).await {
        Ok(Ran { status: 0, .. }) => Ok(rise),
        Ok(ran) => Err(account.failed("trying sudo", &ran, secrets)),
        Err(error) => Err(account.unopened(error)),
    }
}

const NO_SUDO: &str = "is not root, and the inventory says `sudo = \"none\"`; \
    set `sudo = \"passwordless\"` or the source of a password, or log in as root";

fn is_root(
    account: &Account<'_>,
    ran: Result<Ran, ShellError>,
    secrets: &Secrets,
) -> Result<bool, ReachError> {
    match ran {
        Ok(ran) if ran.status == 0 => Ok(ran.stdout == b"0\n"),
        Ok(ran) => Err(account.failed("asking who it is", &ran, secrets)),
        Err(error) => Err(account.unopened(error)),
    }
}

impl Account<'_> {
    /// Returns what a talk with the account's shell came to.
    pub fn judge(&self, ending: Ending, rise: &Rise) -> Result<Ran, ShellError> {
        match ending {
            Ending::Ran(ran) => Ok(ran),
            Ending::Lost => Err(ShellError::Lost(format!(
                "the connection to `{}` broke while a script ran; nobody knows how far it came",
                self.host
            ))),
            Ending::TooMuch => Err(ShellError::Lost(format!(
                "a script on `{}` said more than the {} MiB that are heard, so that nobody knows what came of it",
                self.host,
                HEARD_MAX >> 20
            ))),
            Ending::NotBegun { refused: true, .. } => Err(self
                .unreachable("sudo refused the password; see what the inventory's `sudo` names")
                .into()),
            Ending::NotBegun { status, tail, .. } => {
                Err(self.unreachable(&not_begun(status, &tail, rise)).into())
            }
        }
    }

    /// Returns the error for a script whose deadline passed.
    pub fn overdue(&self, talk: &Exchange<'_>, deadline: Duration) -> ShellError {
        if talk.is_sent() {
            return ShellError::TimedOut(deadline);
        }
        let secs = deadline.as_secs_f32();
        self.unreachable(&format!(
            "got no root shell within {secs} s; see what its profile or sudo waits for"
        ))
        .into()
    }

    /// Returns an error that names host and account first.
    pub fn unreachable(&self, why: &str) -> ReachError {
        ReachError::Unreachable(match self.name {
            Some(name) => format!("`{name}` on `{}` {why}", self.host),
            None => format!("the account on `{}` {why}", self.host),
        })
    }

    fn failed(&self, operation: &str, ran: &Ran, secrets: &Secrets) -> ReachError {
        let text = secrets.redaction().apply(&String::from_utf8_lossy(&ran.stderr));
        let tail = text.lines().rev().take(3).map(str::to_owned).collect::<Vec<_>>();
        ReachError::Failed {
            host: self.host.clone(),
            operation: operation.to_owned(),
            status: ran.status,
            tail: tail.into_iter().rev().collect(),
        }
    }

    /// Returns the error for a shell that did not even answer the first questions. They change nothing, so that
    /// no answer is the same as no shell.
    fn unopened(&self, error: ShellError) -> ReachError {
        match error {
            ShellError::Reach(error) => error,
            ShellError::Lost(why) => ReachError::Unreachable(why),
            ShellError::Stopped => self.unreachable("was asked to stop"),
            ShellError::TimedOut(after) => self.unreachable(&format!(
                "got no answer from its shell within {} s",
                after.as_secs()
            )),
        }
    }
}

fn not_begun(status: Option<i32>, tail: &[String], rise: &Rise) -> String {
    let said = if tail.is_empty() {
        String::new()
    } else {
        format!(": {}", tail.join(" / "))
    };
    let Some(status) = status else {
        return format!("lost the connection before a script was sent{said}");
    };
    match rise {
        Rise::AsIs => format!("got no shell (status {status}){said}"),
        Rise::Quiet => format!(
            "got nothing from sudo without a password (status {status}){said}; \
             allow it with `NOPASSWD` in sudoers, or name the password's source in the inventory's `sudo`"
        ),
        Rise::Asking(_) => format!("got nothing from sudo (status {status}){said}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::secret::Secret;

    #[test]
    fn what_sudo_says_back_is_told_without_the_password() {
        let host: HostId = "val-1".parse().unwrap();
        let account = Account {
            host: &host,
            name: Some("ops"),
        };
        let ran = Ran {
            stdout: Vec::new(),
            stderr: b"sudo: `hunter2` is no password".to_vec(),
            status: 1,
        };
        let secrets = Secrets::new([("env:SUDO".parse().unwrap(), Secret::new("hunter2"))].into());
        let ReachError::Failed { tail, .. } = account.failed("trying sudo", &ran, &secrets) else {
            panic!("the host was reached");
        };
        assert_eq!(tail, ["sudo: `***` is no password"]);
    }
}
