//! A plan on its way through a pretend fleet: the real driver, a journal in memory, killed and resumed as the faults have it.

use muster::apply::{
    DriveError, Log, Progress, Ready, Refusal, Run, Start, drive, preflight, preflight_again,
};
use muster::model::event::{Event, RunOutcome, Task};
use muster::model::id::RunId;
use muster::model::plan::Plan;
use muster::ports::Secrets;
use muster::rollout::{Rollout, replay};
use muster::sim::{Fate, Session, World};
use muster::store::StoreError;
use muster::store::journal::{Header, JOURNAL_FORMAT, Line, Recorded};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// A journal that a run writes in memory: the lines as they would stand in the file.
pub struct Trip<'p> {
    pub world: World,
    pub plan: &'p Plan,
    pub run: RunId,
    pub secrets: Secrets,
    pub lines: Vec<String>,
}

/// How one session of a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// It came to its end.
    Ended(RunOutcome),
    /// Nothing was done.
    Refused(Refusal),
    /// The controller was killed.
    Killed,
    /// The operator left at once.
    Left,
}

impl<'p> Trip<'p> {
    pub fn new(world: &World, plan: &'p Plan, run: &str, secrets: Secrets) -> Self {
        Self {
            world: world.clone(),
            plan,
            run: run.parse().expect("a run id"),
            secrets,
            lines: Vec::new(),
        }
    }

    /// Begins the run: reserves the fleet, and looks at it.
    pub fn begin(&mut self, watch: &mut dyn Progress) -> End {
        let session = self.world.session();
        self.begin_in(&session, watch)
    }

    /// Begins the run in a session that is there already.
    pub fn begin_in(&mut self, session: &Session, watch: &mut dyn Progress) -> End {
        let run = self.run_of(session);
        let ready = self.world.run(session.living(preflight(&run, None, false)));
        self.go(
            session,
            ready.expect("a look ends"),
            Rollout::new(self.plan),
            false,
            watch,
        )
    }

    /// Begins the run without asking anybody before.
    pub fn force(&mut self, watch: &mut dyn Progress) -> End {
        let session = self.world.session();
        self.walk(&session, Rollout::new(self.plan), Start::default(), watch)
    }

    /// Goes on from the journal.
    pub fn resume(&mut self, watch: &mut dyn Progress) -> End {
        let session = self.world.session();
        let run = self.run_of(&session);
        let ready = self.world.run(session.living(preflight_again(&run)));
        let events = self.events();
        let rollout = replay(self.plan, &events);
        self.go(&session, ready.expect("a look ends"), rollout, true, watch)
    }

    fn go(
        &mut self,
        session: &Session,
        ready: Option<Result<Ready, Refusal>>,
        rollout: Rollout<'p>,
        is_resumed: bool,
        watch: &mut dyn Progress,
    ) -> End {
        match ready {
            None => End::Killed,
            Some(Err(refusal)) => End::Refused(refusal),
            Some(Ok(Ready { left_out, reserved })) => {
                let start = Start {
                    is_resumed,
                    left_out,
                    reserved,
                };
                self.walk(session, rollout, start, watch)
            }
        }
    }

    fn walk(
        &mut self,
        session: &Session,
        rollout: Rollout<'p>,
        start: Start,
        watch: &mut dyn Progress,
    ) -> End {
        let run = self.run_of(session);
        let (ask, mut asked) = unbounded_channel();
        let world = self.world.clone();
        let mut log = Memory {
            session: session.clone(),
            lines: &mut self.lines,
            ask,
        };
        let driven = drive(&run, rollout, start, &mut log, &mut asked, watch);
        match world.run(session.living(driven)).expect("a run ends") {
            None => End::Killed,
            Some(Ok(outcome)) => End::Ended(outcome),
            Some(Err(DriveError::Left { .. })) => End::Left,
            Some(Err(error @ DriveError::Journal(_))) => panic!("a journal in memory is kept: {error}"),
        }
    }

    fn run_of(&self, session: &Session) -> Run<'p> {
        Run {
            plan: self.plan,
            id: self.run.clone(),
            who: "alice@laptop".to_owned(),
            secrets: self.secrets.clone(),
            ports: session.ports(),
        }
    }

    /// Returns what the journal says.
    pub fn recorded(&self) -> Recorded {
        let line = |text: &String| -> Line { serde_json::from_str(text).expect("what was written is read") };
        Recorded {
            header: Header {
                format: JOURNAL_FORMAT,
                plan: self.plan.id(),
                run: self.run.clone(),
                by_version: "0".to_owned(),
                at: jiff::Timestamp::UNIX_EPOCH,
            },
            lines: self.lines.iter().map(line).collect(),
        }
    }

    pub fn events(&self) -> Vec<Event> {
        self.recorded().lines.into_iter().map(|line| line.event).collect()
    }
}

struct Memory<'l> {
    session: Session,
    lines: &'l mut Vec<String>,
    ask: UnboundedSender<()>,
}

impl Log for Memory<'_> {
    fn append(&mut self, at: jiff::Timestamp, event: &Event) -> Result<(), StoreError> {
        let asked = match self.session.line_begins() {
            Fate::Dead => return Ok(()),
            Fate::GoOn => 0,
            Fate::Asked(times) => times,
        };
        let line = Line {
            seq: self.lines.len() as u64 + 1,
            at,
            event: event.clone(),
        };
        let text = serde_json::to_string(&line).expect("lines are plain data");
        self.lines.push(text);
        self.session.line_written();
        // A run that has ended hears nothing any more.
        for _ in 0..asked {
            let _ = self.ask.send(());
        }
        Ok(())
    }
}

/// Watches nothing.
pub struct Quiet;

impl Progress for Quiet {
    fn started(&mut self, _: jiff::Timestamp, _: &Task) {}
    fn happened(&mut self, _: jiff::Timestamp, _: &Event) {}
}
