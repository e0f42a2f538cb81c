//! A program of the controller, with the JSON on its standard input.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use super::{TAIL_BYTES, failed, tail};
use crate::ports::HookSaid;

/// What a program finds in its environment. Nothing else: the environment is where secrets come from.
const ENVIRONMENT: [&str; 10] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "TERM",
    "XDG_RUNTIME_DIR",
];

/// How long what a program wrote is waited for after its end: a child of its own may hold the stream open.
const DRAIN: Duration = Duration::from_secs(1);

/// Runs a program and waits for its end. Status 0 is good.
pub(super) async fn run(words: &[String], folder: &Path, input: String, timeout: Duration) -> HookSaid {
    let Some((program, arguments)) = words.split_first() else {
        return failed("it names no program", false, Vec::new());
    };
    let mut command = Command::new(found(program, folder));
    command
        .args(arguments)
        .env_clear()
        .envs(
            ENVIRONMENT
                .iter()
                .filter_map(|name| Some((name, std::env::var_os(name)?))),
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own: Ctrl-C is for muster, and what the program starts ends with it.
        .process_group(0)
        .kill_on_drop(true);
    if !folder.as_os_str().is_empty() {
        command.current_dir(folder);
    }
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            return failed(
                format!("`{program}` cannot be started: {error}"),
                false,
                Vec::new(),
            );
        }
    };
    let group = Group(child.id());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let stdin = child.stdin.take();
    let write = async {
        if let Some(mut stdin) = stdin {
            // A program that does not want to hear it may close the stream.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
    };
    let heard = std::sync::Mutex::new(Vec::new());
    let listen = async {
        tokio::join!(keep_end(stdout, &heard), keep_end(stderr, &heard));
    };
    let streams = async {
        tokio::join!(listen, write);
    };
    tokio::pin!(streams);
    let mut are_closed = false;
    let both = async {
        loop {
            tokio::select! {
                ended = child.wait() => return ended,
                () = &mut streams, if !are_closed => are_closed = true,
            }
        }
    };
    let ended = tokio::time::timeout(timeout, both).await.ok();
    if ended.is_some() && !are_closed {
        let _ = tokio::time::timeout(DRAIN, &mut streams).await;
    }
    // Whatever it left running goes with it, in time or not.
    drop(group);
    let tail = tail(&heard.lock().expect("nothing panics under it"));
    match ended {
        None => failed(format!("no end within {} s", timeout.as_secs()), true, tail),
        Some(Err(error)) => failed(format!("`{program}`: {error}"), true, tail),
        Some(Ok(status)) if status.success() => HookSaid { result: Ok(()), tail },
        Some(Ok(status)) => {
            let status = status.to_string().replace("exit status: ", "status ");
            failed(format!("`{program}` ended with {status}"), true, tail)
        }
    }
}

async fn keep_end(stream: Option<impl AsyncRead + Unpin>, heard: &std::sync::Mutex<Vec<u8>>) {
    let Some(mut stream) = stream else { return };
    let mut part = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut part).await {
        let mut heard = heard.lock().expect("nothing panics under it");
        heard.extend_from_slice(&part[..count]);
        let surplus = heard.len().saturating_sub(TAIL_BYTES);
        heard.drain(..surplus);
    }
}

/// A program with a `/` in it lies below the inventory's folder, as everything does that an inventory names; another is found by `PATH`.
fn found(program: &str, folder: &Path) -> PathBuf {
    if !program.contains('/') {
        return program.into();
    }
    let path = folder.join(program);
    // The folder becomes the working folder, so what is relative to muster's own is made absolute first.
    std::path::absolute(&path).unwrap_or(path)
}

/// A group of processes that ends when this is dropped.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(id) = self.0 {
            let mut kill = std::process::Command::new("kill");
            kill.args(["-KILL", "--", &format!("-{id}")]);
            let _ = kill
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
        }
    }
}
