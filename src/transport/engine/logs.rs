//! What a container says, line by line.

use std::sync::Mutex;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder, LogsOptionsBuilder};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use jiff::Timestamp;

use crate::model::engine::ContainerProbe;
use crate::model::redaction::Redaction;
use crate::ports::{HearLine, LogEnd, LogRequest, Output};

use super::look::{Listed, which};
use super::{Engine, EngineError};

/// The pause before a container is looked for again that has gone, or says nothing more.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest line that is passed on whole. A longer one goes on in the next.
const LINE_MAX: usize = 64 * 1024;

/// Takes secrets out: those that everybody knows of, and those of one container.
type Clean<'a> = &'a (dyn Fn(&Redaction, &str) -> String + Send + Sync);

impl Engine {
    /// Passes a container's log on.
    ///
    /// # Errors
    /// [`EngineError`].
    pub(in crate::transport) async fn logs(
        &self,
        request: &LogRequest,
        hear: &HearLine<'_>,
        clean: Clean<'_>,
        stop: BoxFuture<'_, ()>,
    ) -> Result<LogEnd, EngineError> {
        let reading = self.read_logs(request, hear, clean);
        tokio::select! {
            ended = reading => ended,
            () = stop => Ok(LogEnd::Read),
        }
    }

    async fn read_logs(
        &self,
        request: &LogRequest,
        hear: &HearLine<'_>,
        clean: Clean<'_>,
    ) -> Result<LogEnd, EngineError> {
        let mut tail = request.tail;
        // What was heard last. The next reading begins in the same second, and what was heard is left out of it.
        let mut heard: Option<Timestamp> = None;
        loop {
            match self.find(&request.container).await? {
                Some(there) => {
                    let own = values_of(&there, &request.container);
                    let last = Mutex::new(heard);
                    let pass = |at: Timestamp, output: Output, line: &str| {
                        let is_known = heard.is_some_and(|heard| at <= heard);
                        if !is_known && request.since.is_none_or(|since| since <= at) {
                            *last.lock().expect("nothing panics under it") = Some(at);
                            hear(at, output, &clean(&own, line));
                        }
                    };
                    let since = heard.or(request.since);
                    let id = there.id.unwrap_or_default();
                    self.stream(&id, tail, since, request.follow, &pass).await?;
                    heard = last.into_inner().expect("nothing panicked under it");
                }
                None if request.follow => {}
                None => return Ok(LogEnd::Absent),
            }
            if !request.follow {
                return Ok(LogEnd::Read);
            }
            tail = None;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn find(&self, probe: &ContainerProbe) -> Result<Option<ContainerInspectResponse>, EngineError> {
        let options = ListContainersOptionsBuilder::default().all(true).build();
        let all = self.docker.list_containers(Some(options)).await?;
        let all: Vec<Listed> = all.into_iter().map(Listed::from).collect();
        let Some(listed) = which(&all, probe) else {
            return Ok(None);
        };
        let inspected = self
            .docker
            .inspect_container(listed.id(), None::<InspectContainerOptions>);
        match inspected.await.map_err(EngineError::from) {
            Ok(inspected) => Ok(Some(inspected)),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn stream(
        &self,
        id: &str,
        tail: Option<u64>,
        since: Option<Timestamp>,
        follow: bool,
        pass: &(dyn Fn(Timestamp, Output, &str) + Send + Sync),
    ) -> Result<(), EngineError> {
        let secs = since.map_or(0, |since| since.as_second());
        let options = LogsOptionsBuilder::default()
            .stdout(true)
            .stderr(true)
            .timestamps(true)
            .follow(follow)
            .since(i32::try_from(secs).unwrap_or(i32::MAX))
            .tail(&tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string()))
            .build();
        let mut log = std::pin::pin!(self.lasting.logs(id, Some(options)));
        let mut stdout = Lines::new(Output::Stdout);
        let mut stderr = Lines::new(Output::Stderr);
        while let Some(part) = log.next().await {
            match part.map_err(EngineError::from) {
                Ok(LogOutput::StdErr { message }) => stderr.take(&message, pass),
                Ok(
                    LogOutput::StdOut { message }
                    | LogOutput::Console { message }
                    | LogOutput::StdIn { message },
                ) => stdout.take(&message, pass),
                // It went while it was read.
                Err(error) if error.is_absent() => break,
                Err(error) => return Err(error),
            }
        }
        stdout.finish(pass);
        stderr.finish(pass);
        Ok(())
    }
}

/// Returns what takes the values out that a container's environment has and nobody declared public.
fn values_of(there: &ContainerInspectResponse, probe: &ContainerProbe) -> Redaction {
    let variables = there
        .config
        .iter()
        .filter_map(|config| config.env.as_ref())
        .flatten();
    let hidden = variables
        .filter_map(|variable| variable.split_once('='))
        .filter(|(key, _)| !probe.public_env.contains(*key) && !is_plain(key));
    Redaction::of(hidden.map(|(_, value)| value))
}

/// Says whether a variable is one of the system's own, whose value stands in any log and tells nobody anything.
fn is_plain(key: &str) -> bool {
    ["PATH", "HOME", "HOSTNAME", "LANG", "TERM", "TZ", "PWD"].contains(&key)
}

/// The parts of an output, put together to lines. Each part begins with the time at which it was said.
struct Lines {
    output: Output,
    at: Timestamp,
    line: Vec<u8>,
}

impl Lines {
    fn new(output: Output) -> Self {
        Self {
            output,
            at: Timestamp::UNIX_EPOCH,
            line: Vec::new(),
        }
    }

    fn take(&mut self, message: &[u8], pass: &(dyn Fn(Timestamp, Output, &str) + Send + Sync)) {
        for piece in message.split_inclusive(|byte| *byte == b'\n') {
            let (at, said) = timed(piece);
            if let Some(at) = at.filter(|_| self.line.is_empty()) {
                self.at = at;
            }
            self.line.extend_from_slice(said);
            if self.line.ends_with(b"\n") || self.line.len() >= LINE_MAX {
                self.finish(pass);
            }
        }
    }

    fn finish(&mut self, pass: &(dyn Fn(Timestamp, Output, &str) + Send + Sync)) {
        if !self.line.is_empty() {
            let line = std::mem::take(&mut self.line);
            let line = String::from_utf8_lossy(&line);
            pass(self.at, self.output, line.trim_end_matches(['\n', '\r']));
        }
    }
}

/// Takes the time off the beginning of a part.
fn timed(piece: &[u8]) -> (Option<Timestamp>, &[u8]) {
    let Some(space) = piece.iter().take(40).position(|byte| *byte == b' ') else {
        return (None, piece);
    };
    let at = std::str::from_utf8(&piece[..space])
        .ok()
        .and_then(|at| at.parse().ok());
    match at {
        Some(at) => (Some(at), &piece[space + 1..]),
        None => (None, piece),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(parts: &[&str]) -> Vec<(String, String)> {
        let heard = Mutex::new(Vec::new());
        let pass = |at: Timestamp, _: Output, line: &str| {
            heard.lock().unwrap().push((at.to_string(), line.to_owned()));
        };
        let mut lines = Lines::new(Output::Stdout);
        parts.iter().for_each(|part| lines.take(part.as_bytes(), &pass));
        lines.finish(&pass);
        heard.into_inner().unwrap()
    }

    #[test]
    fn lines_are_put_together_and_lose_their_times() {
        let said = heard(&[
            "2026-01-02T03:04:05.000000006Z one\n",
            "2026-01-02T03:04:06Z a very long ",
            "2026-01-02T03:04:07Z line\r\n",
            "2026-01-02T03:04:08Z no end",
        ]);
        let expected = [
            ("2026-01-02T03:04:05.000000006Z", "one"),
            ("2026-01-02T03:04:06Z", "a very long line"),
            ("2026-01-02T03:04:08Z", "no end"),
        ];
        assert_eq!(said, expected.map(|(at, line)| (at.to_owned(), line.to_owned())));
    }

    #[test]
    fn what_has_no_time_is_passed_on_as_it_is() {
        let said = heard(&["plain words here\n", "\u{fffd} x\n"]);
        assert_eq!(said[0].1, "plain words here");
        assert_eq!(said[1].1, "\u{fffd} x");
    }

    #[test]
    fn line_without_an_end_is_cut() {
        let long = "x".repeat(LINE_MAX + 10);
        let said = heard(&[&long, "y\n"]);
        assert_eq!(said.len(), 2);
        assert_eq!(said[1].1, "y");
    }
}
