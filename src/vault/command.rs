//! `cmd:COMMAND`: what a command prints, such as a password manager's.

use std::process::Stdio;

use zeroize::Zeroizing;

use super::Options;
use crate::model::secret::Secret;

/// How many lines of what a failed command said are repeated.
const TAIL_LINES: usize = 3;

pub(super) async fn read(command: &str, options: &Options) -> Result<Secret, String> {
    let mut shell = tokio::process::Command::new("sh");
    shell
        .args(["-c", command])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    if !options.folder.as_os_str().is_empty() {
        shell.current_dir(&options.folder);
    }
    let output = tokio::time::timeout(options.command_timeout, shell.output())
        .await
        .map_err(|_| format!("it did not end within {} s", options.command_timeout.as_secs()))?
        .map_err(|error| format!("it cannot be started: {error}"))?;
    let value = super::value(&Zeroizing::new(output.stdout));
    if output.status.success() {
        return value;
    }
    let printed = value.ok();
    Err(format!(
        "it ended with {}{}",
        output.status.to_string().replace("exit status: ", "status "),
        tail(&output.stderr, printed)
    ))
}

/// The last lines of the error stream, in which whatever the command printed as the value is blanked, line by line.
fn tail(stderr: &[u8], printed: Option<Secret>) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text.lines().collect();
    let last = lines[lines.len().saturating_sub(TAIL_LINES)..].join(" / ");
    let secret = printed.as_ref().map_or("", Secret::reveal);
    let blanked = secret
        .lines()
        .filter(|line| !line.trim().is_empty())
        .fold(last, |text, line| text.replace(line.trim(), "***"));
    if blanked.is_empty() {
        blanked
    } else {
        format!(": {blanked}")
    }
}
