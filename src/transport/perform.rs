//! One call of ops on one host: legs under the guard, one for each script, cut where a file's keys are edited or an engine acts.
//!
//! A keyed edit reads the file on the host, changes its text here, and writes it back only if it still is what was
//! read; so a call with `Settings` takes one leg more for each. All other ops of a call share one script.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::time::Instant;

use crate::model::body::{Body, HoleError};
use crate::model::digest::Digest;
use crate::model::engine::EngineOp;
use crate::model::id::ResourceKey;
use crate::model::manifest::Owned;
use crate::model::op::{Op, SettingValue, SettingsFormat};
use crate::model::redaction::Redaction;
use crate::model::secret::Secret;
use crate::ports::{Call, Outcome, PerformError, Salt, Secrets};

use super::lower::op::{self, Act, Before};
use super::lower::reply::{Reply, StepEnd};
use super::lower::{Guard, Then, answer, status};
use super::shell::{Ran, ShellError};

/// How often a file whose keys are edited may change between the read and the write.
const EDITS_MAX: usize = 5;
/// How many lines of what an op said are kept.
const TAIL_MAX: usize = 15;
/// How much of one line is kept.
const LINE_MAX_CHARS: usize = 400;

/// The keyed edit of settings files.
#[derive(Debug, Clone, Copy)]
pub struct Keyed {
    /// Reads the wanted keys that are there. The error is a clause without the file's content.
    pub read: ReadKeys,
    /// Returns the text with keys set and removed, everything else as it was.
    pub edit: EditKeys,
}

/// Reads keys: format, text, wanted keys.
pub type ReadKeys = fn(SettingsFormat, &str, &BTreeSet<String>) -> Result<BTreeMap<String, Value>, String>;
/// Edits keys: format, text if there is any, keys to set, keys to remove.
pub type EditKeys =
    fn(SettingsFormat, Option<&str>, &BTreeMap<String, Value>, &BTreeSet<String>) -> Result<String, String>;

/// What a call is performed with.
pub(super) struct Means<'a, R, A> {
    /// Values of secrets.
    pub secrets: &'a Secrets,
    /// What takes them out of what the host says.
    pub redactor: &'a Redactor,
    /// The keyed edit.
    pub keyed: Keyed,
    /// The folder of the guard's files.
    pub state_dir: &'a str,
    /// Runs a script on the host.
    pub run: R,
    /// Does an op on the host's engine, before a deadline.
    pub act: A,
}

/// Performs a call.
pub(super) async fn perform<'a, R, A>(means: Means<'a, R, A>, call: &'a Call) -> Result<Outcome, PerformError>
where
    R: Fn(String, Duration) -> BoxFuture<'a, Result<Ran, ShellError>>,
    A: Fn(&'a EngineOp, Instant) -> BoxFuture<'a, Result<(), PerformError>>,
{
    let mut walk = Walk::new(&means, call)?;
    loop {
        let leg = walk.leg().await?;
        if let Some(outcome) = walk.after(leg)? {
            return Ok(outcome);
        }
        walk.act().await?;
    }
}

/// How far a call came.
struct Walk<'w, 'a, R, A> {
    means: &'w Means<'a, R, A>,
    call: &'a Call,
    /// Every op as shell; `None` for a keyed edit, which is spelled when its file was read, and for what an engine does.
    acts: Vec<Option<Act>>,
    /// The first op that is not done.
    next: usize,
    /// That op as shell, where it is a keyed edit whose file was read.
    edit: Option<Act>,
    edits: usize,
    is_first: bool,
    ends_at: Instant,
    tail: Vec<String>,
}

impl<'w, 'a, R, A> Walk<'w, 'a, R, A>
where
    R: Fn(String, Duration) -> BoxFuture<'a, Result<Ran, ShellError>>,
    A: Fn(&'a EngineOp, Instant) -> BoxFuture<'a, Result<(), PerformError>>,
{
    /// Spells all ops first, so that a missing value stops the call before anything is done.
    fn new(means: &'w Means<'a, R, A>, call: &'a Call) -> Result<Self, PerformError> {
        let fill = |body: &Body| fill(body, means.secrets);
        let acts = call
            .ops
            .iter()
            .map(|op| op::act(op, &fill).map_err(|error| failed((op, None), 1, vec![error.to_string()])))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            means,
            call,
            acts,
            next: 0,
            edit: None,
            edits: 0,
            is_first: true,
            ends_at: Instant::now() + call.deadline,
            tail: Vec::new(),
        })
    }

    /// Runs the next leg: acts up to the next keyed edit, and the read that it needs, or else the call's probes.
    async fn leg(&mut self) -> Result<Leg, PerformError> {
        let (acts, until) = self.acts_ahead();
        let nothing = BTreeMap::new();
        let then = match self.call.ops.get(until) {
            Some(Op::Settings { path, .. }) => Then::Read(path),
            Some(Op::Engine(_)) => Then::Look(&nothing),
            Some(_) | None => Then::Look(&self.call.probes),
        };
        let none = BTreeMap::<ResourceKey, Owned>::new();
        let intents = if self.is_first { &self.call.intents } else { &none };
        let left = self.ends_at.saturating_duration_since(Instant::now());
        let wait_secs = (left.as_secs() / 2).clamp(5, 600);
        let guard = Guard {
            state_dir: self.means.state_dir,
            wait_secs,
        };
        let script = guard.perform(&self.call.fence, self.call.is_under_switch, intents, &acts, &then);
        let ran = (self.means.run)(script, left).await.map_err(unknown)?;
        self.is_first = false;
        Leg::read(&ran, self.means.redactor, acts.len())
    }

    /// Returns the acts of the next leg, and the op that is not among them.
    fn acts_ahead(&self) -> (Vec<Act>, usize) {
        let edit = self.edit.iter().cloned();
        let from = self.next + self.edit.iter().count();
        let plain = self.acts[from.min(self.acts.len())..]
            .iter()
            .map_while(Clone::clone);
        let acts: Vec<Act> = edit.chain(plain).collect();
        let until = self.next + acts.len();
        (acts, until)
    }

    /// Takes a leg's result in; returns the outcome if it was the last.
    fn after(&mut self, leg: Leg) -> Result<Option<Outcome>, PerformError> {
        let done = leg.steps.iter().take_while(|step| step.status == 0).count();
        leg.steps
            .iter()
            .for_each(|step| self.tail.extend(self.means.redactor.lines(&step.output)));
        let was_edit = self.edit.take().is_some();
        self.next += done;
        if let Some(step) = leg.steps.get(done) {
            let op = &self.call.ops[self.next];
            if !(was_edit && done == 0 && step.status == status::CHANGED && self.edits < EDITS_MAX) {
                let tail = self.means.redactor.lines(&step.output);
                return Err(failed((op, Some(self.next)), step.status, tail));
            }
            self.edits += 1;
            return Ok(None);
        }
        match self.call.ops.get(self.next) {
            Some(Op::Engine(_)) => Ok(None),
            Some(op) => self.spell_edit(op, &leg.reply).map(|()| None),
            None => self.outcome(&leg.reply).map(Some),
        }
    }

    /// Does the ops on the engine that come next.
    async fn act(&mut self) -> Result<(), PerformError> {
        while let Some(Op::Engine(op)) = self.call.ops.get(self.next) {
            let place = self.next;
            let acted = (self.means.act)(op, self.ends_at).await;
            acted.map_err(|error| match error {
                PerformError::Failed {
                    operation,
                    status,
                    tail,
                    ..
                } => PerformError::Failed {
                    at: Some(place),
                    operation,
                    status,
                    tail,
                },
                other => other,
            })?;
            self.next += 1;
        }
        Ok(())
    }

    /// Spells a keyed edit, now that its file was read. A file that is as wanted already is not written.
    fn spell_edit(&mut self, op: &Op, reply: &Reply) -> Result<(), PerformError> {
        let Op::Settings {
            path,
            format,
            set,
            remove,
            owner,
            group,
            mode,
        } = op
        else {
            return Err(failed(
                (op, Some(self.next)),
                status::GUARD,
                vec!["a step is missing from the answer".to_owned()],
            ));
        };
        let at = Some(self.next);
        let stuck = |why: String| failed((op, at), 65, self.means.redactor.lines(&why));
        let text = answer::file_text(path, reply).map_err(stuck)?;
        let set = set
            .iter()
            .map(|(key, value)| Ok((key.clone(), filled(value, self.means.secrets)?)))
            .collect::<Result<BTreeMap<_, _>, HoleError>>()
            .map_err(|error| stuck(error.to_string()))?;
        let wanted = if set.is_empty() && text.is_none() {
            None
        } else {
            Some((self.means.keyed.edit)(*format, text.as_deref(), &set, remove).map_err(stuck)?)
        };
        match wanted.filter(|wanted| text.as_ref() != Some(wanted)) {
            Some(wanted) => {
                let before = text.map_or(Before::Absent, |text| Before::File(Digest::of(text)));
                self.edit = Some(op::edited(op, path, &before, &wanted, [owner, group, mode]));
            }
            None => self.next += 1,
        }
        Ok(())
    }

    fn outcome(&mut self, reply: &Reply) -> Result<Outcome, PerformError> {
        let odd = |what: &str| PerformError::Unknown {
            why: format!("the host's answer lacks {what}"),
        };
        let now = reply
            .first("now")
            .and_then(|said| said.text().trim().parse().ok());
        let salt = reply.salt().ok().flatten().ok_or_else(|| odd("the salt"))?;
        let excess = self.tail.len().saturating_sub(TAIL_MAX);
        Ok(Outcome {
            answers: answer::answers(&self.call.probes, reply, &self.means.keyed.read),
            host_now_secs: now.ok_or_else(|| odd("the time"))?,
            salt: Salt(salt),
            tail: self.tail.split_off(excess),
        })
    }
}

/// What came of one script under the guard.
pub(super) struct Leg {
    /// How its steps went; only the last may have failed.
    steps: Vec<StepEnd>,
    reply: Reply,
}

impl Leg {
    /// Reads what a script with so many acts printed. A refusal of the guard is an error; an act that failed is not one yet.
    pub fn read(ran: &Ran, redactor: &Redactor, acts: usize) -> Result<Self, PerformError> {
        let said = String::from_utf8_lossy(&ran.stderr);
        let reply = Reply::read(&ran.stdout).map_err(|why| PerformError::Unknown {
            why: redactor.clause(&why),
        })?;
        let refusal = reply.word("refused").unwrap_or_default().to_owned();
        let guard = |tail: String| PerformError::Failed {
            at: None,
            operation: "keep the guard's records".to_owned(),
            status: ran.status,
            tail: redactor.lines(&tail),
        };
        match ran.status {
            0 if reply.is_whole => Self::fitting(reply, acts, Last::Done),
            status::STEP => Self::fitting(reply, acts, Last::Failed),
            status::FENCED | status::BUSY => Err(PerformError::Fenced(redactor.clause(&refusal))),
            // What was done before is done, and the guard could not say so.
            status::DAMAGED | status::GUARD if !reply.steps.is_empty() => Err(PerformError::Unknown {
                why: format!(
                    "operations ran, and then the guard's records could not be kept: {}",
                    redactor.clause(&refusal)
                ),
            }),
            status::DAMAGED | status::GUARD => Err(guard(format!("{said}\n{refusal}"))),
            other => {
                let last = redactor.clause(&said);
                Err(PerformError::Unknown {
                    why: format!("the script ended with status {other} {last}"),
                })
            }
        }
    }

    /// Refuses an answer whose steps are not those that were sent: nobody knows then which of them were done.
    fn fitting(reply: Reply, acts: usize, last: Last) -> Result<Self, PerformError> {
        let steps = &reply.steps;
        let in_order = steps.iter().enumerate().all(|(index, step)| step.number == index);
        let done = steps.iter().take_while(|step| step.status == 0).count();
        let fits = match last {
            Last::Done => steps.len() == acts && done == acts,
            Last::Failed => steps.len() <= acts && done + 1 == steps.len(),
        };
        match in_order && fits {
            true => Ok(Self {
                steps: reply.steps.clone(),
                reply,
            }),
            false => Err(PerformError::Unknown {
                why: format!("the host's answer does not fit the {acts} steps that were sent"),
            }),
        }
    }
}

/// How the last step of an answer must have ended.
#[derive(Debug, Clone, Copy)]
enum Last {
    Done,
    Failed,
}

/// Makes lines for people of what a host said: the last ones, without secrets, none of them endless.
pub(super) struct Redactor(Redaction);

impl Redactor {
    /// Makes one that takes these values out.
    pub fn new(secrets: &Secrets) -> Self {
        Self(secrets.redaction())
    }

    /// Returns the last lines of a text, without secrets.
    pub fn lines(&self, text: &str) -> Vec<String> {
        let text = self.0.apply(text);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(TAIL_MAX)..]
            .iter()
            .map(|line| shortened(line.trim_end()))
            .collect()
    }

    /// Returns a clause of what a host said: the last line.
    pub fn clause(&self, text: &str) -> String {
        self.lines(text).pop().unwrap_or_default()
    }
}

fn shortened(line: &str) -> String {
    match line.char_indices().nth(LINE_MAX_CHARS) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}

/// For calls that may have changed something: a script that was sent and gave no status leaves its end unknown.
pub(super) fn unknown(error: ShellError) -> PerformError {
    match error {
        ShellError::Reach(error) => error.into(),
        error @ (ShellError::Lost(_) | ShellError::TimedOut(_) | ShellError::Stopped) => {
            PerformError::Unknown {
                why: error.to_string(),
            }
        }
    }
}

/// Names the op that failed, and its place where others may have been done before it.
fn failed((op, at): (&Op, Option<usize>), status: i32, tail: Vec<String>) -> PerformError {
    PerformError::Failed {
        at,
        operation: op::describe(op),
        status,
        tail,
    }
}

/// Fills secrets into a body.
pub(super) fn fill(body: &Body, secrets: &Secrets) -> Result<String, HoleError> {
    body.fill(|reference| secrets.get(&reference.source).map(Secret::reveal))
}

fn filled(value: &SettingValue, secrets: &Secrets) -> Result<Value, HoleError> {
    Ok(match value {
        SettingValue::Bool(value) => Value::from(*value),
        SettingValue::Int(value) => Value::from(*value),
        SettingValue::Text(body) => Value::from(fill(body, secrets)?),
        SettingValue::List(values) => Value::Array(
            values
                .iter()
                .map(|value| filled(value, secrets))
                .collect::<Result<_, _>>()?,
        ),
        SettingValue::Map(values) => Value::Object(
            values
                .iter()
                .map(|(key, value)| Ok((key.clone(), filled(value, secrets)?)))
                .collect::<Result<_, HoleError>>()?,
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(stdout: &str, status: i32, acts: usize) -> Result<usize, String> {
        let ran = Ran {
            stdout: stdout.into(),
            stderr: b"hunter2 went wrong\n".to_vec(),
            status,
        };
        let secrets = Secrets::new([("env:P".parse().unwrap(), Secret::new("hunter2"))].into());
        Leg::read(&ran, &Redactor::new(&secrets), acts)
            .map(|leg| leg.steps.len())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn steps_are_taken_only_as_they_were_sent() {
        assert_eq!(read("step 0 0 \nstep 1 0 \nend\n", 0, 2), Ok(2));
        assert_eq!(read("step 0 0 \nstep 1 7 \n", status::STEP, 3), Ok(2));
        for (stdout, status) in [
            ("step 0 0 \nend\n", 0),
            ("step 0 0 \nstep 1 0 \nstep 2 0 \nend\n", 0),
            ("step 1 0 \nstep 0 0 \nend\n", 0),
            ("step 0 0 \nstep 1 3 \nend\n", 0),
            ("step 0 0 \nstep 1 0 \n", status::STEP),
            ("step 0 0 \nstep 1 0 \nstep 2 1 \n", status::STEP),
            ("", status::STEP),
        ] {
            let error = read(stdout, status, 2).unwrap_err();
            assert!(error.contains("does not fit the 2 steps"), "{stdout:?}: {error}");
        }
    }

    #[test]
    fn an_answer_without_sense_leaves_the_end_unknown_and_repeats_no_secret() {
        for (stdout, status) in [
            ("", 0),
            ("", 1),
            ("garbage\n", 0),
            ("hunter2\nend\n", 0),
            ("\u{fffd}", 255),
        ] {
            let error = read(stdout, status, 1).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
