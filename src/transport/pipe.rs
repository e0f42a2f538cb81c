//! A program of root's as a stream: what is said before it begins is read away, what follows is its own.

use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use russh::ChannelMsg;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::link::Link;
use super::shell::{DialError, Stream};
use super::sudo::{Marks, Rise};

/// How long the account's profile and sudo may take before the program begins.
const BEGINNING: Duration = Duration::from_secs(30);
/// How much may be said before that.
const BEFORE_MAX: usize = 256 * 1024;
/// The extended data type of standard error.
const STDERR: u32 = 1;

/// Starts a program over a connection that is there.
pub(super) async fn over_ssh(
    link: Arc<Link>,
    rise: &Rise,
    program: &'static str,
) -> Result<Box<dyn Stream>, DialError> {
    let lost = |why: &dyn std::fmt::Display| DialError::NoWay(format!("{program} on {}: {why}", link.peer));
    let Some(room) = link.lasting_room().await else {
        return Err(lost(&"its sshd permits one session at a time (`MaxSessions`)"));
    };
    let mut begun = Begun::new(rise);
    let begin = async {
        let mut channel = link.handle.channel_open_session().await?;
        channel.exec(true, begun.command(program)).await?;
        while !begun.is_over() {
            let next = match channel.wait().await {
                Some(ChannelMsg::Data { data }) => begun.hear(&data),
                Some(ChannelMsg::ExtendedData { data, ext: STDERR }) => begun.hear_errors(&data),
                Some(ChannelMsg::Failure | ChannelMsg::ExitStatus { .. } | ChannelMsg::Eof) | None => {
                    begun.end();
                    None
                }
                Some(_) => None,
            };
            if let Some(password) = next {
                channel.data(password.as_slice()).await?;
            }
        }
        Ok::<_, russh::Error>(channel)
    };
    let channel = match timeout(BEGINNING, begin).await {
        Ok(channel) => channel.map_err(|error| lost(&error))?,
        Err(_) => {
            return Err(lost(&format!(
                "it did not begin within {} s",
                BEGINNING.as_secs()
            )));
        }
    };
    let rest = begun
        .rest()
        .map_err(|why| DialError::Refused(format!("{program} on {}: {why}", link.peer)))?;
    let (reading, writing) = tokio::io::split(channel.into_stream());
    Ok(Box::new(Kept {
        stream: tokio::io::join(std::io::Cursor::new(rest).chain(reading), writing),
        _kept: (room, Arc::clone(&link)),
    }))
}

/// Starts a program on this machine.
pub(super) async fn on_this_machine(
    rise: &Rise,
    program: &'static str,
) -> Result<Box<dyn Stream>, DialError> {
    let refused = |why: &dyn std::fmt::Display| DialError::Refused(format!("{program}: {why}"));
    let mut begun = Begun::new(rise);
    let mut child: Child = Command::new("/bin/sh")
        .arg("-c")
        .arg(begun.command(program))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| refused(&error))?;
    let mut stdin = child.stdin.take().expect("standard input is piped");
    let mut stdout = child.stdout.take().expect("standard output is piped");
    let mut stderr = child.stderr.take().expect("standard error is piped");
    let begin = async {
        let (mut said, mut complained) = (vec![0; 4096], vec![0; 4096]);
        while !begun.is_over() {
            let next = tokio::select! {
                read = stdout.read(&mut said) => match read? {
                    0 => { begun.end(); None }
                    count => begun.hear(&said[..count]),
                },
                read = stderr.read(&mut complained) => match read? {
                    0 => std::future::pending().await,
                    count => begun.hear_errors(&complained[..count]),
                },
            };
            if let Some(password) = next {
                stdin.write_all(&password).await?;
            }
        }
        Ok::<_, std::io::Error>(())
    };
    match timeout(BEGINNING, begin).await {
        Ok(begun) => begun.map_err(|error| refused(&error))?,
        Err(_) => {
            return Err(refused(&format!(
                "it did not begin within {} s",
                BEGINNING.as_secs()
            )));
        }
    }
    let rest = begun.rest().map_err(|why| refused(&why))?;
    Ok(Box::new(Kept {
        stream: tokio::io::join(std::io::Cursor::new(rest).chain(stdout), stdin),
        _kept: (child, stderr),
    }))
}

/// How far the beginning has come.
struct Begun<'a> {
    rise: &'a Rise,
    marks: Marks,
    said: Vec<u8>,
    errors: Vec<u8>,
    is_asked: bool,
    is_ended: bool,
}

impl<'a> Begun<'a> {
    fn new(rise: &'a Rise) -> Self {
        Self {
            rise,
            marks: Marks::fresh(),
            said: Vec::new(),
            errors: Vec::new(),
            is_asked: false,
            is_ended: false,
        }
    }

    fn command(&self, program: &'static str) -> String {
        self.rise.piping(&self.marks, program)
    }

    fn hear(&mut self, bytes: &[u8]) -> Option<zeroize::Zeroizing<Vec<u8>>> {
        self.said.extend_from_slice(bytes);
        None
    }

    /// Returns the password, if it is asked for. A second question means that sudo did not like it.
    fn hear_errors(&mut self, bytes: &[u8]) -> Option<zeroize::Zeroizing<Vec<u8>>> {
        self.errors.extend_from_slice(bytes);
        let Rise::Asking(password) = self.rise else {
            return None;
        };
        let asked = memchr::memmem::find_iter(&self.errors, self.marks.prompt.as_bytes()).count();
        match (asked, self.is_asked) {
            (0, _) | (1, true) => None,
            (1, false) => {
                self.is_asked = true;
                Some(zeroize::Zeroizing::new(
                    format!("{}\n", password.reveal()).into_bytes(),
                ))
            }
            (_, _) => {
                self.is_ended = true;
                None
            }
        }
    }

    fn end(&mut self) {
        self.is_ended = true;
    }

    fn begins_at(&self) -> Option<usize> {
        let mark = format!("{}\n", self.marks.start);
        memchr::memmem::find(&self.said, mark.as_bytes()).map(|at| at + mark.len())
    }

    fn is_over(&self) -> bool {
        self.is_ended || self.said.len() + self.errors.len() > BEFORE_MAX || self.begins_at().is_some()
    }

    /// Returns what the program itself has said already.
    ///
    /// # Errors
    /// A clause that says why it did not begin.
    fn rest(&self) -> Result<Vec<u8>, String> {
        match self.begins_at() {
            Some(at) => Ok(self.said[at..].to_vec()),
            None => {
                let said = String::from_utf8_lossy(&self.errors).replace(&self.marks.prompt, "");
                let last = said.lines().rfind(|line| !line.trim().is_empty());
                Err(format!(
                    "it did not begin: {}",
                    last.unwrap_or("no reason was given")
                ))
            }
        }
    }
}

/// A stream, and what must live as long.
struct Kept<S, K> {
    stream: S,
    _kept: K,
}

impl<S: AsyncRead + Unpin, K: Unpin> AsyncRead for Kept<S, K> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin, K: Unpin> AsyncWrite for Kept<S, K> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
