//! How a command becomes root's: as it is, through sudo, or through sudo with its password.

use crate::model::secret::Secret;

/// The whole environment that a script finds. The account's own stays outside.
const BARE: &str = "env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C";

/// How commands become root's on one host, once it is known who logs in there.
#[derive(Debug, Clone)]
pub(super) enum Rise {
    /// The account is root already, or root is not needed yet.
    AsIs,
    /// sudo, which asks for nothing.
    Quiet,
    /// sudo, which may ask for this password.
    Asking(Secret),
}

/// The words by which the two ends of one exchange recognise each other. Fresh for each, so that nothing that a
/// profile or an earlier script printed is taken for them.
#[derive(Debug, Clone)]
pub(super) struct Marks {
    /// sudo's prompt, on standard error.
    pub prompt: String,
    /// The root shell reads now. Only said where a password may have been asked for.
    pub ready: String,
    /// The script begins.
    pub start: String,
}

impl Marks {
    /// Makes marks that nobody has seen yet.
    pub fn fresh() -> Self {
        let id = rand::random::<u128>();
        Self {
            prompt: format!("muster-password-{id:032x}:"),
            ready: format!("muster-ready-{id:032x}"),
            start: format!("muster-start-{id:032x}"),
        }
    }
}

impl Rise {
    /// Returns the command that the account's login shell executes. It holds neither script nor password.
    ///
    /// Where a password may be needed, nothing is sent before sudo asks, and the script not before the shell says
    /// that it reads. A password sent blindly would be executed as a command by a shell that sudo let in without
    /// asking, which happens as soon as somebody, perhaps muster itself, writes `NOPASSWD` into sudoers.
    pub fn command(&self, marks: &Marks) -> String {
        match self {
            Self::AsIs => format!("exec {BARE} sh -s"),
            Self::Quiet => format!("exec sudo -n -- {BARE} sh -s"),
            Self::Asking(_) => format!(
                "exec sudo -k -S -p {} -- {BARE} sh -c 'echo {}; exec sh -s'",
                marks.prompt, marks.ready
            ),
        }
    }
}

impl Rise {
    /// Returns the command that starts a program as root after it has said the mark of the start. Its own input and output follow.
    ///
    /// sudo reads no further than the line with the password, so that the rest is the program's.
    pub fn piping(&self, marks: &Marks, program: &'static str) -> String {
        // One that is not there must say so before the mark, and not after it.
        let name = program.split(' ').next().unwrap_or_default();
        let inner = format!(
            "{BARE} sh -c 'command -v {name} >/dev/null || {{ echo {name}: not found >&2; exit 127; }}; echo {}; exec {program}'",
            marks.start
        );
        match self {
            Self::AsIs => format!("exec {inner}"),
            Self::Quiet => format!("exec sudo -n -- {inner}"),
            Self::Asking(_) => format!("exec sudo -k -S -p {} -- {inner}", marks.prompt),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_holds_no_password() {
        let command = Rise::Asking(Secret::new("hunter2")).command(&Marks::fresh());
        assert!(
            command.contains("sudo -k -S") && !command.contains("hunter2"),
            "{command}"
        );
    }

    #[test]
    fn marks_are_never_the_same() {
        assert_ne!(Marks::fresh().start, Marks::fresh().start);
    }
}
