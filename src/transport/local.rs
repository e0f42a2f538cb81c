//! This machine as a host: the same talk with a child process.

use std::ops::ControlFlow;
use std::process::Stdio;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::exchange::{ENDING, Exchange, Next};
use super::pipe;
use super::root::{self, Account};
use super::shell::{DialError, Ran, Shell, ShellError, Stream, Tap};
use super::sudo::Rise;
use crate::model::id::HostId;
use crate::model::target::Sudo;
use crate::ports::{ReachError, Secrets};

/// How long what a script left running in the background may hold its output open after it has ended.
const LINGER: Duration = Duration::from_secs(2);

/// How long stopping a script may take that did not end in time.
const STOPPING: Duration = Duration::from_secs(5);

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

impl LocalShell {
    fn account(&self) -> Account<'_> {
        Account {
            host: &self.host,
            name: None,
        }
    }
}

impl Shell for LocalShell {
    fn run<'a>(&'a self, script: &'a str, deadline: Duration) -> BoxFuture<'a, Result<Ran, ShellError>> {
        Box::pin(async move { converse(&self.account(), &self.rise, script, deadline).await })
    }

    fn stream<'a>(
        &'a self,
        script: &'a str,
        deadline: Duration,
        tap: Tap<'a>,
        stop: BoxFuture<'a, ()>,
    ) -> BoxFuture<'a, Result<i32, ShellError>> {
        Box::pin(async move {
            let talk = Exchange::tapped(&self.rise, script, tap);
            let ran = play(&self.account(), &self.rise, talk, deadline, stop).await?;
            Ok(ran.status)
        })
    }

    fn dial<'a>(&'a self, address: &'a str, port: u16) -> BoxFuture<'a, Result<Box<dyn Stream>, DialError>> {
        Box::pin(async move {
            let stream = tokio::net::TcpStream::connect((address, port)).await;
            stream
                .map(|stream| Box::new(stream) as Box<dyn Stream>)
                .map_err(|error| DialError::Refused(error.to_string()))
        })
    }

    fn socket<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Box<dyn Stream>, DialError>> {
        Box::pin(async move {
            let stream = tokio::net::UnixStream::connect(path).await;
            stream
                .map(|stream| Box::new(stream) as Box<dyn Stream>)
                .map_err(|error| DialError::Refused(format!("{path}: {error}")))
        })
    }

    fn pipe<'a>(&'a self, program: &'static str) -> BoxFuture<'a, Result<Box<dyn Stream>, DialError>> {
        Box::pin(pipe::on_this_machine(&self.rise, program))
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
    let exchange = Exchange::new(rise, script);
    play(account, rise, exchange, deadline, std::future::pending()).await
}

/// Plays a talk through, or stops it.
async fn play(
    account: &Account<'_>,
    rise: &Rise,
    mut exchange: Exchange<'_>,
    deadline: Duration,
    stop: impl Future<Output = ()>,
) -> Result<Ran, ShellError> {
    // The child lives until it is judged: its group is found by its number.
    let mut child = spawn(account, &exchange.command())?;
    let talked = tokio::select! {
        biased;
        talked = tokio::time::timeout(deadline, listen(&mut child, &mut exchange)) => Some(talked),
        () = stop => None,
    };
    match talked {
        Some(Ok(status)) => {
            if exchange.is_cut()
                && let Some(stopper) = exchange.stopper()
            {
                play_in(account, rise, &stopper, STOPPING).await;
            }
            account.judge(exchange.end(status), rise)
        }
        Some(Err(_)) => {
            if let Some(stopper) = exchange.stopper() {
                play_in(account, rise, &stopper, STOPPING).await;
            }
            Err(account.overdue(&exchange, deadline))
        }
        None => {
            let is_over = match exchange.ender() {
                Some(ender) => play_in(account, rise, &ender, ENDING + STOPPING).await,
                None => false,
            };
            Err(exchange.stopped(is_over))
        }
    }
}

/// Stops a script by another, and says whether that one saw to it. Either way nobody knows how far the first had come.
async fn play_in(account: &Account<'_>, rise: &Rise, stopper: &str, patience: Duration) -> bool {
    let mut exchange = Exchange::new(rise, stopper);
    let Ok(mut child) = spawn(account, &exchange.command()) else {
        return false;
    };
    let ended = tokio::time::timeout(patience, listen(&mut child, &mut exchange)).await;
    ended == Ok(Some(0))
}

/// Starts the login shell's part. A group of its own keeps the terminal's Ctrl-C away from operations in flight.
fn spawn(account: &Account<'_>, command: &str) -> Result<Child, ReachError> {
    let child = Command::new("/bin/sh")
        .arg("-c")
        .arg(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    child.map_err(|error| account.unreachable(&format!("cannot start a shell: {error}")))
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
    let mut is_over = apply(talk.open(), &mut sending);
    while is_over.is_continue() {
        tokio::select! {
            biased;
            next = hearing.recv() => match next {
                Some(Heard::Stdout(bytes)) => is_over = apply(talk.hear_stdout(&bytes), &mut sending),
                Some(Heard::Stderr(bytes)) => is_over = apply(talk.hear_stderr(&bytes), &mut sending),
                None => break,
            },
            ended = child.wait(), if status.is_none() => status = Some(ended),
            () = tokio::time::sleep(LINGER), if status.is_some() => break,
        }
    }
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    if is_over.is_break() {
        return None;
    }
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

/// Puts what is to be sent into the outbox, and closes it after the last. Breaks off where that is what comes next.
fn apply(next: Next, sending: &mut Option<mpsc::UnboundedSender<Zeroizing<Vec<u8>>>>) -> ControlFlow<()> {
    // A writer that is gone means a child that reads no more: its exit status tells the rest.
    match next {
        Next::HangUp => return ControlFlow::Break(()),
        Next::Listen => {}
        Next::Send(bytes) => drop(sending.as_ref().map(|sending| sending.send(bytes))),
        Next::SendLast(bytes) => drop(sending.take().map(|sending| sending.send(bytes))),
    }
    ControlFlow::Continue(())
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::model::secret::SecretSource;

    const SOON: Duration = Duration::from_secs(30);

    async fn shell() -> LocalShell {
        let host = "here".parse().expect("a host id");
        LocalShell::open(&host, &Sudo::None, &Secrets::default())
            .await
            .expect("the tests run as root")
    }

    #[tokio::test]
    async fn a_script_runs_here_with_its_own_streams_and_status() {
        let ran = shell()
            .await
            .run("cat; echo out; echo err >&2; exit 7", SOON)
            .await
            .expect("it ran");
        assert_eq!(
            (&*ran.stdout, &*ran.stderr, ran.status),
            (&b"out\n"[..], &b"err\n"[..], 7)
        );
    }

    #[tokio::test]
    async fn many_bytes_come_back_whole() {
        let content = "0123456789abcde\n".repeat(1 << 18);
        let ran = shell()
            .await
            .run(&format!("cat <<'END'\n{content}END"), SOON)
            .await
            .expect("it ran");
        assert!(
            ran.stdout == content.as_bytes(),
            "{} bytes came back",
            ran.stdout.len()
        );
    }

    #[tokio::test]
    async fn a_deadline_stops_the_script_and_its_children() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("pid");
        let script = format!("sleep 600 & echo $! >{}; wait", file.display());
        let deadline = Duration::from_millis(500);
        assert_eq!(
            shell().await.run(&script, deadline).await,
            Err(ShellError::TimedOut(deadline))
        );
        let pid = fs::read_to_string(&file).expect("it had begun");
        let state = || fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        let gone = async {
            while !state().is_empty() && !state().contains(") Z ") {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(SOON, gone).await.expect("the child is gone");
    }

    #[tokio::test]
    async fn root_needs_no_password_even_where_one_is_named() {
        let host = "here".parse().expect("a host id");
        let sudo = Sudo::Password(SecretSource::Env("NOT_SET".to_owned()));
        let shell = LocalShell::open(&host, &sudo, &Secrets::default())
            .await
            .expect("root is root");
        assert_eq!(shell.run("id -u", SOON).await.expect("it ran").stdout, b"0\n");
    }

    #[tokio::test]
    async fn a_script_that_is_no_shell_runs_nothing_and_says_why() {
        let Err(ShellError::Reach(error)) = shell().await.run("echo a; (", SOON).await else {
            panic!("nothing was run")
        };
        assert!(
            error.to_string().to_lowercase().contains("syntax error"),
            "{error}"
        );
    }
}
