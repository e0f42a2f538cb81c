//! This machine as a host: the same talk with a child process.

use std::process::Stdio;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::exchange::{Exchange, Next};
use super::root::{self, Account};
use super::shell::{Ran, Shell, ShellError, Stream};
use super::sudo::Rise;
use crate::model::id::HostId;
use crate::model::target::Sudo;
use crate::ports::{ReachError, Secrets};

/// How long what a script left running in the background may hold its output open after it has ended.
const LINGER: Duration = Duration::from_secs(2);

/// A root shell on this machine.
pub(super) struct LocalShell {
    host: HostId,
    rise: Rise,
}

impl LocalShell {
    /// Opens it, and makes sure that root is to be had.
    pub async fn open(host: &HostId, sudo: &Sudo, secrets: &Secrets) -> Result<Self, ReachError> {
        let account = Account { host, name: None };
        let rise = root::rise(&account, sudo, secrets, |rise, script, deadline| {
            Box::pin(async move { converse(&account, &rise, script, deadline).await })
        })
        .await?;
        Ok(Self {
            host: host.clone(),
            rise,
        })
    }
}

impl Shell for LocalShell {
    fn run<'a>(&'a self, script: &'a str, deadline: Duration) -> BoxFuture<'a, Result<Ran, ShellError>> {
        Box::pin(async move {
            converse(
                &Account {
                    host: &self.host,
                    name: None,
                },
                &self.rise,
                script,
                deadline,
            )
            .await
        })
    }

    fn dial<'a>(&'a self, address: &'a str, port: u16) -> BoxFuture<'a, Result<Box<dyn Stream>, String>> {
        Box::pin(async move {
            let stream = tokio::net::TcpStream::connect((address, port)).await;
            stream
                .map(|stream| Box::new(stream) as Box<dyn Stream>)
                .map_err(|error| error.to_string())
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

async fn converse(
    account: &Account<'_>,
    rise: &Rise,
    script: &str,
    deadline: Duration,
) -> Result<Ran, ShellError> {
    let mut talk = Exchange::new(rise, script);
    let mut child = spawn(&talk.command())
        .map_err(|error| account.unreachable(&format!("cannot start a shell: {error}")))?;
    let heard = tokio::time::timeout(deadline, listen(&mut child, &mut talk)).await;
    match heard {
        Ok(status) => account.judge(talk.end(status), rise),
        Err(_) => {
            stop(&child).await;
            Err(account.overdue(&talk, deadline))
        }
    }
}

/// Starts the login shell's part. A group of its own keeps the terminal's Ctrl-C away from operations in flight.
fn spawn(command: &str) -> std::io::Result<Child> {
    Command::new("/bin/sh")
        .arg("-c")
        .arg(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

/// Stops the whole group, as far as this account may.
async fn stop(child: &Child) {
    if let Some(id) = child.id() {
        let group = format!("-{id}");
        // A group that is gone already, or that is root's, cannot be stopped; the caller says that nobody knows.
        let _ = Command::new("kill")
            .args(["-s", "KILL", "--", &group])
            .stderr(Stdio::null())
            .status()
            .await;
    }
}

enum Heard {
    Stdout(Vec<u8>),
    Stderr(Vec<u8>),
}

/// Plays a talk through, and returns the exit status.
async fn listen(child: &mut Child, talk: &mut Exchange<'_>) -> Option<i32> {
    let (heard, mut hearing) = mpsc::channel(16);
    let (sending, outbox) = mpsc::unbounded_channel();
    let stdin = child.stdin.take().expect("standard input is piped");
    let stdout = child.stdout.take().expect("standard output is piped");
    let stderr = child.stderr.take().expect("standard error is piped");
    let tasks = [
        tokio::spawn(write(stdin, outbox)),
        tokio::spawn(read(stdout, heard.clone(), Heard::Stdout)),
        tokio::spawn(read(stderr, heard, Heard::Stderr)),
    ];
    let mut sending = Some(sending);
    let mut status = None;
    apply(talk.open(), &mut sending);
    loop {
        tokio::select! {
            biased;
            next = hearing.recv() => match next {
                Some(Heard::Stdout(bytes)) => apply(talk.hear_stdout(&bytes), &mut sending),
                Some(Heard::Stderr(bytes)) => apply(talk.hear_stderr(&bytes), &mut sending),
                None => break,
            },
            ended = child.wait(), if status.is_none() => status = Some(ended),
            () = tokio::time::sleep(LINGER), if status.is_some() => break,
        }
    }
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    let status = match status {
        Some(status) => status,
        None => child.wait().await,
    };
    status.ok().map(exit_status)
}

fn exit_status(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(-1)
}

/// Puts what is to be sent into the outbox, and closes it after the last.
fn apply(next: Next, sending: &mut Option<mpsc::UnboundedSender<Zeroizing<Vec<u8>>>>) {
    // A writer that is gone means a child that reads no more: its exit status tells the rest.
    match next {
        Next::Listen => {}
        Next::Send(bytes) => drop(sending.as_ref().map(|sending| sending.send(bytes))),
        Next::SendLast(bytes) => drop(sending.take().map(|sending| sending.send(bytes))),
    }
}

async fn write(mut stdin: ChildStdin, mut outbox: mpsc::UnboundedReceiver<Zeroizing<Vec<u8>>>) {
    while let Some(bytes) = outbox.recv().await {
        if stdin.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

async fn read(mut from: impl AsyncRead + Unpin, to: mpsc::Sender<Heard>, as_heard: fn(Vec<u8>) -> Heard) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if to.send(as_heard(buffer[..count].to_vec())).await.is_err() {
            return;
        }
    }
}
