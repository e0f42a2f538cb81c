//! A host over SSH: scripts as sessions of one connection.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig, client};
use tokio::sync::{SemaphorePermit, mpsc};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::connector::Connector;
use super::exchange::{ENDING, Exchange, Next};
use super::link::Link;
use super::pipe;
use super::root::{self, Account};
use super::shell::{DialError, Ran, Shell, ShellError, Stream, Tap};
use super::sudo::Rise;
use crate::model::id::HostId;
use crate::model::target::Sudo;
use crate::ports::ReachError;

/// How long what a script left running in the background may hold its output open after it has ended.
const LINGER: Duration = Duration::from_secs(2);
/// How long a session may take to open. Waiting for one of the permitted sessions does not count.
const OPENING: Duration = Duration::from_secs(30);
/// How long stopping a script may take that did not end in time.
const STOPPING: Duration = Duration::from_secs(5);
/// The pauses before a session is asked for again that was refused though no other was open.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(2),
];
/// The extended data type of standard error.
const STDERR: u32 = 1;

/// A root shell on a host, over one SSH connection.
pub(super) struct SshShell {
    session: Session,
    rise: Rise,
}

impl SshShell {
    /// Makes sure that root is to be had over a connection.
    pub async fn open(
        connector: &Connector,
        host: &HostId,
        link: Arc<Link>,
        sudo: &Sudo,
    ) -> Result<Self, ReachError> {
        let user = link.peer.user.clone();
        let session = Session {
            host: host.clone(),
            user,
            link: Mutex::new(Some(link)),
        };
        let rise = root::rise(
            &session.account(),
            sudo,
            &connector.secrets,
            |rise, script, deadline| {
                let session = &session;
                Box::pin(async move { session.converse(&rise, script, deadline).await })
            },
        )
        .await?;
        Ok(Self { session, rise })
    }
}

impl Shell for SshShell {
    fn run<'a>(&'a self, script: &'a str, deadline: Duration) -> BoxFuture<'a, Result<Ran, ShellError>> {
        Box::pin(self.session.converse(&self.rise, script, deadline))
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
            let ran = self.session.play(talk, &self.rise, deadline, stop).await?;
            Ok(ran.status)
        })
    }

    fn dial<'a>(&'a self, address: &'a str, port: u16) -> BoxFuture<'a, Result<Box<dyn Stream>, DialError>> {
        Box::pin(async move {
            self.session
                .link()
                .map_err(|error| DialError::NoWay(error.to_string()))?
                .dial(address, port)
                .await
        })
    }

    fn socket<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Box<dyn Stream>, DialError>> {
        Box::pin(async move {
            let link = self.session.link();
            let link = link.map_err(|error| DialError::NoWay(error.to_string()))?;
            link.socket(path).await
        })
    }

    fn pipe<'a>(&'a self, program: &'static str) -> BoxFuture<'a, Result<Box<dyn Stream>, DialError>> {
        Box::pin(async move {
            let link = self.session.link();
            let link = link.map_err(|error| DialError::NoWay(error.to_string()))?;
            pipe::over_ssh(link, &self.rise, program).await
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        let link = self
            .session
            .link
            .lock()
            .expect("nobody panics while holding a link")
            .take();
        Box::pin(async move {
            if let Some(link) = link {
                link.part().await;
            }
        })
    }
}

/// The connection as one host's shell sees it.
struct Session {
    host: HostId,
    user: String,
    /// `None` once closed.
    link: Mutex<Option<Arc<Link>>>,
}

impl Session {
    fn account(&self) -> Account<'_> {
        Account {
            host: &self.host,
            name: Some(&self.user),
        }
    }

    fn link(&self) -> Result<Arc<Link>, ReachError> {
        let link = self
            .link
            .lock()
            .expect("nobody panics while holding a link")
            .clone();
        match link {
            Some(link) if !link.handle.is_closed() => Ok(link),
            Some(link) => Err(ReachError::Unreachable(format!(
                "the connection to {} is gone",
                link.peer
            ))),
            None => Err(ReachError::Unreachable(format!(
                "the connection to `{}` was closed",
                self.host
            ))),
        }
    }

    async fn converse(&self, rise: &Rise, script: &str, deadline: Duration) -> Result<Ran, ShellError> {
        let talk = Exchange::new(rise, script);
        self.play(talk, rise, deadline, std::future::pending()).await
    }

    /// Plays a talk through, or stops it.
    async fn play(
        &self,
        mut talk: Exchange<'_>,
        rise: &Rise,
        deadline: Duration,
        stop: impl Future<Output = ()>,
    ) -> Result<Ran, ShellError> {
        let talked = tokio::select! {
            biased;
            talked = self.talk(&mut talk, deadline) => Some(talked?),
            () = stop => None,
        };
        let Some(talked) = talked else {
            let mut is_over = false;
            if let Some(ender) = talk.ender() {
                let mut ending = Exchange::new(rise, &ender);
                let ended = self.talk(&mut ending, ENDING + STOPPING).await;
                is_over = matches!(ended, Ok(Some(Heard::Ended(Some(0)))));
            }
            return Err(talk.stopped(is_over));
        };
        match talked {
            Some(Heard::Ended(status)) => self.account().judge(talk.end(status), rise),
            Some(Heard::TooMuch) => {
                self.stop(&talk, rise).await;
                self.account().judge(talk.end(None), rise)
            }
            Some(Heard::Refused) => Err(self
                .account()
                .unreachable("may not run commands: sshd refused to start one")
                .into()),
            None => {
                self.stop(&talk, rise).await;
                Err(self.account().overdue(&talk, deadline))
            }
        }
    }

    /// Stops a script by another. Best effort: either way nobody knows how far it had come.
    async fn stop(&self, talk: &Exchange<'_>, rise: &Rise) {
        if let Some(stopper) = talk.stopper() {
            let _ = self.talk(&mut Exchange::new(rise, &stopper), STOPPING).await;
        }
    }

    /// Plays a talk through in a session of its own. `None` if it did not end in time.
    async fn talk(&self, talk: &mut Exchange<'_>, deadline: Duration) -> Result<Option<Heard>, ReachError> {
        let link = self.link()?;
        let (_room, mut hearing, telling) = open_in_turn(&link, &talk.command()).await?;
        let heard = timeout(deadline, listen(&mut hearing, &telling, talk)).await;
        // A session that something in the background holds open would go on counting against `MaxSessions`. Its end
        // is all that can be told this way: sshd passes no signals on to root's sessions.
        let _ = timeout(STOPPING, telling.close()).await;
        Ok(heard.ok())
    }
}

/// Opens a session when there is room for one. Where sshd permits fewer than we thought, it is tried again alone, and then a few times
/// more: sshd counts a session for a moment after its end.
async fn open_in_turn<'l>(
    link: &'l Link,
    command: &str,
) -> Result<
    (
        SemaphorePermit<'l>,
        ChannelReadHalf,
        ChannelWriteHalf<client::Msg>,
    ),
    ReachError,
> {
    let mut pauses = PAUSES.iter();
    loop {
        let room = link.room().await;
        match open(link, command).await {
            Ok((hearing, telling)) => return Ok((room, hearing, telling)),
            Err(Unopened::Refused(_)) if link.narrow() || room.num_permits() == 1 => {}
            Err(Unopened::Refused(_)) if pauses.len() > 0 => {
                tokio::time::sleep(*pauses.next().expect("one is left")).await;
            }
            Err(Unopened::Refused(why) | Unopened::Broken(why)) => {
                return Err(ReachError::Unreachable(format!(
                    "{} opened no session: {why}",
                    link.peer
                )));
            }
        }
    }
}

/// Why there is no session.
enum Unopened {
    /// sshd said no to one more.
    Refused(String),
    /// The connection is gone, or silent.
    Broken(String),
}

/// Opens a session and asks for a command. Nothing of the script has been sent when this fails.
async fn open(
    link: &Link,
    command: &str,
) -> Result<(ChannelReadHalf, ChannelWriteHalf<client::Msg>), Unopened> {
    let open = async {
        let channel = link.handle.channel_open_session().await?;
        channel.exec(true, command).await?;
        Ok::<_, russh::Error>(channel.split())
    };
    match timeout(OPENING, open).await {
        Ok(Ok(halves)) => Ok(halves),
        Ok(Err(why @ russh::Error::ChannelOpenFailure(_))) => Err(Unopened::Refused(format!(
            "{why}; its sshd_config may permit too few (`MaxSessions`)"
        ))),
        Ok(Err(why)) => Err(Unopened::Broken(why.to_string())),
        Err(_) => Err(Unopened::Broken(format!(
            "no answer within {} s",
            OPENING.as_secs()
        ))),
    }
}

enum Heard {
    /// The channel is done, with an exit status if there was one.
    Ended(Option<i32>),
    /// sshd did not start the command.
    Refused,
    /// More was said than is heard.
    TooMuch,
}

/// Plays a talk through. Sending and hearing go on side by side: either alone would stop at a full window.
async fn listen(
    hearing: &mut ChannelReadHalf,
    telling: &ChannelWriteHalf<client::Msg>,
    talk: &mut Exchange<'_>,
) -> Heard {
    let (sending, outbox) = mpsc::unbounded_channel();
    let hear = hear(hearing, talk, sending);
    let tell = tell(telling, outbox);
    tokio::pin!(hear, tell);
    let mut is_told = false;
    loop {
        tokio::select! {
            heard = &mut hear => return heard,
            () = &mut tell, if !is_told => is_told = true,
        }
    }
}

async fn hear(
    hearing: &mut ChannelReadHalf,
    talk: &mut Exchange<'_>,
    sending: mpsc::UnboundedSender<Zeroizing<Vec<u8>>>,
) -> Heard {
    let mut sending = Some(sending);
    let mut status = None;
    let mut is_over = apply(talk.open(), &mut sending);
    loop {
        let message = match status {
            None => hearing.wait().await,
            // Data may follow the status, but what runs on in the background must not hold us.
            Some(_) => timeout(LINGER, hearing.wait()).await.unwrap_or(None),
        };
        match message {
            None => return Heard::Ended(status),
            Some(ChannelMsg::Data { data }) => is_over = apply(talk.hear_stdout(&data), &mut sending),
            Some(ChannelMsg::ExtendedData { data, ext: STDERR }) => {
                is_over = apply(talk.hear_stderr(&data), &mut sending);
            }
            Some(ChannelMsg::ExitStatus { exit_status }) => status = i32::try_from(exit_status).ok(),
            Some(ChannelMsg::ExitSignal { signal_name, .. }) => status = Some(128 + number(&signal_name)),
            Some(ChannelMsg::Failure) => return Heard::Refused,
            Some(_) => {}
        }
        if is_over.is_break() {
            return Heard::TooMuch;
        }
    }
}

/// Puts what is to be sent into the outbox, and closes it after the last. Breaks off where that is what comes next.
fn apply(next: Next, sending: &mut Option<mpsc::UnboundedSender<Zeroizing<Vec<u8>>>>) -> ControlFlow<()> {
    // A teller that is gone means a connection that is gone: the missing exit status tells the rest.
    match next {
        Next::HangUp => return ControlFlow::Break(()),
        Next::Listen => {}
        Next::Send(bytes) => drop(sending.as_ref().map(|sending| sending.send(bytes))),
        Next::SendLast(bytes) => drop(sending.take().map(|sending| sending.send(bytes))),
    }
    ControlFlow::Continue(())
}

async fn tell(
    telling: &ChannelWriteHalf<client::Msg>,
    mut outbox: mpsc::UnboundedReceiver<Zeroizing<Vec<u8>>>,
) {
    while let Some(bytes) = outbox.recv().await {
        if telling.data(bytes.as_slice()).await.is_err() {
            return;
        }
    }
    // An end that cannot be told is a connection that is gone; the missing exit status says so.
    let _ = telling.eof().await;
}

/// Returns a signal's number on Linux.
fn number(signal: &Sig) -> i32 {
    match signal {
        Sig::HUP => 1,
        Sig::INT => 2,
        Sig::QUIT => 3,
        Sig::ILL => 4,
        Sig::ABRT => 6,
        Sig::FPE => 8,
        Sig::KILL => 9,
        Sig::USR1 => 10,
        Sig::SEGV => 11,
        Sig::PIPE => 13,
        Sig::ALRM => 14,
        Sig::TERM => 15,
        Sig::Custom(_) => 0,
    }
}
