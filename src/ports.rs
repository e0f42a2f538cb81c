//! The traits to the world, and what crosses them. Only values of `model` do; no client type, no handle.
//!
//! The real implementations are `transport`, `clock` and `vault`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::model::engine::ContainerProbe;
use crate::model::gate::Check;
use crate::model::holder::Holder;
use crate::model::hook::Hook;
use crate::model::id::{HostId, ResourceKey, RunId};
use crate::model::manifest::{ManifestState, Owned};
use crate::model::observation::{Answer, Facts, Machine};
use crate::model::op::{Op, Probe};
use crate::model::pulling::Pulling;
use crate::model::redaction::Redaction;
use crate::model::registry::Placed;
use crate::model::secret::{Secret, SecretSource};
use crate::model::switch::Restores;

/// Everything of the world that a verb may need.
#[derive(Clone)]
pub struct Ports {
    /// The hosts.
    pub transport: Arc<dyn Transport>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The way to hooks.
    pub hooks: Arc<dyn Hooks>,
}

/// The clock of the controller.
pub trait Clock: Send + Sync {
    /// Returns the time now.
    fn now(&self) -> jiff::Timestamp;
    /// Waits.
    fn sleep(&self, time: Duration) -> BoxFuture<'_, ()>;
}

/// The hosts of one fleet. One connection a host for a whole run, made when it is first needed.
pub trait Transport: Send + Sync {
    /// Looks at a host in one exec. Changes nothing there.
    fn look<'a>(
        &'a self,
        host: &'a HostId,
        request: &'a LookRequest,
    ) -> BoxFuture<'a, Result<LookReply, ReachError>>;

    /// Reserves a host for a run, or renews its reservation, and looks at the host in the same exec.
    ///
    /// A reservation keeps other runs out and permits nothing: ops need the lock. It ends ten minutes after it was last
    /// renewed, with a reboot, or when the run takes the lock.
    fn reserve<'a>(
        &'a self,
        host: &'a HostId,
        request: &'a LockRequest,
        look: &'a LookRequest,
    ) -> BoxFuture<'a, Result<LookReply, LockError>>;

    /// Gives a reservation of a run up. Giving up what it does not have is no error.
    fn unreserve<'a>(&'a self, host: &'a HostId, run: &'a RunId) -> BoxFuture<'a, Result<(), ReachError>>;

    /// Takes a host's lock for a run, or takes it again after an interruption, and returns the fencing token.
    ///
    /// The run's reservation goes into it. A lock whose lease is over is taken from its run; then the connection over which
    /// that run held it is ended first.
    fn lock<'a>(
        &'a self,
        host: &'a HostId,
        request: &'a LockRequest,
    ) -> BoxFuture<'a, Result<Fence, LockError>>;

    /// Takes a host's lock as [`Self::lock`] does, and looks at the host in the same exec.
    fn lock_and_look<'a>(
        &'a self,
        host: &'a HostId,
        request: &'a LockRequest,
        look: &'a LookRequest,
    ) -> BoxFuture<'a, Result<(Fence, LookReply), LockError>>;

    /// Extends the lease of a lock that this run holds.
    fn renew<'a>(&'a self, host: &'a HostId, fence: &'a Fence) -> BoxFuture<'a, Result<(), LockError>>;

    /// Frees a lock that this run holds. Freeing what is no longer held is no error.
    fn release<'a>(&'a self, host: &'a HostId, fence: &'a Fence) -> BoxFuture<'a, Result<(), ReachError>>;

    /// Writes intents into the manifest, performs ops in order until one fails, then looks; all under the host's guard.
    fn perform<'a>(
        &'a self,
        host: &'a HostId,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Outcome, PerformError>>;

    /// Writes entries of the manifest, or removes them (`None`), under the host's guard.
    fn record<'a>(
        &'a self,
        host: &'a HostId,
        fence: &'a Fence,
        entries: &'a BTreeMap<ResourceKey, Option<Owned>>,
    ) -> BoxFuture<'a, Result<(), PerformError>>;

    /// Writes entries as [`Self::record`] does, and frees the lock in the same exec: nothing more is done on the host.
    fn conclude<'a>(
        &'a self,
        host: &'a HostId,
        fence: &'a Fence,
        entries: &'a BTreeMap<ResourceKey, Option<Owned>>,
    ) -> BoxFuture<'a, Result<(), PerformError>>;

    /// Arms the dead-man switch of a run: what it restores is kept, and a timer on the host is running when this returns.
    fn arm<'a>(&'a self, host: &'a HostId, request: &'a Arming) -> BoxFuture<'a, Result<(), PerformError>>;

    /// Confirms what was changed under a run's switch, over a connection that is made for it: the same way, the same account,
    /// root. That connection is then the host's. A switch that was settled before stays as it is.
    fn confirm<'a>(
        &'a self,
        host: &'a HostId,
        run: &'a RunId,
    ) -> BoxFuture<'a, Result<SwitchState, ReachError>>;

    /// Asks how a run's switch stands. Changes nothing.
    fn switch<'a>(
        &'a self,
        host: &'a HostId,
        run: &'a RunId,
    ) -> BoxFuture<'a, Result<SwitchState, ReachError>>;

    /// Has the host put everything back now, if a run's switch is armed, and does not wait for that.
    fn put_back<'a>(
        &'a self,
        host: &'a HostId,
        run: &'a RunId,
    ) -> BoxFuture<'a, Result<SwitchState, ReachError>>;

    /// Asks a gate's question once; the inner result is what it said.
    fn ask<'a>(
        &'a self,
        host: &'a HostId,
        check: &'a Check,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<Said, ReachError>>;

    /// Waits for word of how far some pull has come. A transport that tells of none waits for ever.
    fn pulling(&self) -> BoxFuture<'_, Pulling> {
        Box::pin(std::future::pending())
    }

    /// Closes the connection to a host that is no longer needed.
    fn close<'a>(&'a self, host: &'a HostId) -> BoxFuture<'a, ()>;
}

/// Calls hooks. What they say is for people; nothing is read from it.
pub trait Hooks: Send + Sync {
    /// Calls a hook once, with this JSON.
    fn call<'a>(&'a self, hook: &'a Hook, input: &'a serde_json::Value) -> BoxFuture<'a, HookSaid>;
}

/// What came of a call of a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookSaid {
    /// Whether it was good.
    pub result: Result<(), HookError>,
    /// The last lines that it said, secrets taken out.
    pub tail: Vec<String>,
}

/// Why a call of a hook was not good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct HookError {
    /// What went wrong, without secrets.
    pub why: String,
    /// Whether another try could be good.
    pub is_worth_another_try: bool,
}

/// What people do with who has a host, beside all runs.
pub trait Warden: Send + Sync {
    /// Says who has a host. Changes nothing there.
    fn standing<'a>(&'a self, host: &'a HostId) -> BoxFuture<'a, Result<Option<Holder>, ReachError>>;

    /// Holds a host for a person until it is released. Who holds it already may give another reason.
    fn hold<'a>(
        &'a self,
        host: &'a HostId,
        who: &'a str,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<(), LockError>>;

    /// Releases a person's own hold, and says whether there was one.
    fn free<'a>(&'a self, host: &'a HostId, who: &'a str) -> BoxFuture<'a, Result<bool, LockError>>;

    /// Takes a host from whoever has it, gives it to nobody, and says who had it. A lock's token is then no longer the last.
    fn break_open<'a>(
        &'a self,
        host: &'a HostId,
        who: &'a str,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<Option<Holder>, LockError>>;
}

/// Commands of people.
pub trait Exec: Send + Sync {
    /// Runs a command as root and passes its lines on as they come. Once `stop` is over the command is asked to end, and killed if it
    /// does not.
    fn exec<'a>(
        &'a self,
        host: &'a HostId,
        order: &'a Order,
        hear: Hear<'a>,
        stop: BoxFuture<'a, ()>,
    ) -> BoxFuture<'a, Result<Ended, PerformError>>;
}

/// What containers say.
pub trait Logs: Send + Sync {
    /// Passes the lines of a container's log on as they come, secrets taken out: what it has said so far, or, where that is
    /// asked for, what it and its successors of the same place go on to say until `stop` is over.
    fn logs<'a>(
        &'a self,
        host: &'a HostId,
        request: &'a LogRequest,
        hear: &'a HearLine<'a>,
        stop: BoxFuture<'a, ()>,
    ) -> BoxFuture<'a, Result<LogEnd, Untold>>;
}

/// Hears a line of a container: when it was said, where, and what.
pub type HearLine<'a> = dyn Fn(jiff::Timestamp, Output, &str) + Send + Sync + 'a;

/// Whose log is wanted, and how much of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRequest {
    /// The container.
    pub container: ContainerProbe,
    /// How many of the last lines; `None` is all.
    pub tail: Option<u64>,
    /// Nothing that was said before this.
    pub since: Option<jiff::Timestamp>,
    /// Whether to go on.
    pub follow: bool,
}

/// How the reading of a log ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogEnd {
    /// All was said, or the reader stopped.
    Read,
    /// There is no such container.
    Absent,
}

/// Registries, asked from where a host stands: by its engine, over its network.
pub trait Registries: Send + Sync {
    /// Asks for the digest that an image's name means now.
    fn digest<'a>(&'a self, host: &'a HostId, image: &'a Placed) -> BoxFuture<'a, Result<String, Untold>>;
}

/// Why an engine did not tell what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Untold {
    /// The host was not reached.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// Its engine did not tell.
    #[error("{0}")]
    Engine(String),
}

/// Hears a line of what a command says.
pub type Hear<'a> = &'a (dyn Fn(Output, &str) + Send + Sync);

/// Where a program says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Its standard output.
    Stdout,
    /// Its standard error.
    Stderr,
}

impl Output {
    /// Returns its name, as programs call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// A command of a person for one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The lock under which it runs; `None` for one that changes nothing, as its person says.
    pub fence: Option<Fence>,
    /// The name under which the host's log knows it.
    pub run: RunId,
    /// The person and the machine.
    pub who: String,
    /// The text for root's shell. It stands in the host's log.
    pub command: String,
    /// The longest that it may take.
    pub deadline: Duration,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Its exit status.
    pub status: i32,
    /// Whether it was asked to end before its time; the status says nothing then.
    pub is_stopped: bool,
    /// Whether it said more than was passed on.
    pub is_cut: bool,
}

/// What a gate's question said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Whether the condition holds.
    pub good: bool,
    /// The answer in a few words, for people.
    pub what: String,
}

/// What is looked at on a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LookRequest {
    /// The probes, by resource.
    pub probes: BTreeMap<ResourceKey, Vec<Probe>>,
    /// Tools whose presence is asked.
    pub tools: BTreeSet<String>,
    /// Whether facts are gathered.
    pub facts: bool,
}

/// What a host said.
#[derive(Clone, PartialEq)]
pub struct LookReply {
    /// What identifies the machine.
    pub machine: Machine,
    /// Its manifest.
    pub manifest: ManifestState,
    /// Its facts, where asked for.
    pub facts: Option<Facts>,
    /// Its salt, if it has one yet. Never recorded.
    pub salt: Option<Salt>,
    /// One answer for each probe.
    pub answers: BTreeMap<ResourceKey, Vec<Answer>>,
}

/// A host's salt for fingerprints. It cannot be printed or serialised.
#[derive(Clone, PartialEq, Eq)]
pub struct Salt(pub Vec<u8>);

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt(***)")
    }
}

/// Who wants a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockRequest {
    /// The run.
    pub run: RunId,
    /// The person and the machine: `alice@laptop`.
    pub who: String,
    /// The fleet, for a manifest that is yet to be made.
    pub fleet: crate::model::id::FleetName,
    /// The fleet and the name under which the host's manifest may know it so far. The manifest then takes the new ones.
    pub former: Option<(crate::model::id::FleetName, HostId)>,
    /// How long the lock lasts without renewal, in seconds of the host's uptime.
    pub lease_secs: u64,
}

/// A lock that is held: what every op shows to the host's guard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// The run that holds it.
    pub run: RunId,
    /// The token: the highest that the host has given out.
    pub token: u64,
}

/// Ops for one host, with what the manifest says before them and what is looked at after.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The lock.
    pub fence: Fence,
    /// Whether it may only be done while the run's dead-man switch is armed.
    pub is_under_switch: bool,
    /// Entries written to the manifest before the first op.
    pub intents: BTreeMap<ResourceKey, Owned>,
    /// The steps. Outputs are filled; secrets join in the transport.
    pub ops: Vec<Op>,
    /// What is looked at when all steps are done.
    pub probes: BTreeMap<ResourceKey, Vec<Probe>>,
    /// The longest that the call may take.
    pub deadline: Duration,
}

/// A dead-man switch that is to be armed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arming {
    /// The lock.
    pub fence: Fence,
    /// How long a new login may take, in seconds.
    pub within_secs: u64,
    /// What is put back if none comes.
    pub restores: Restores,
    /// The manifest's entries that are put back with it.
    pub entries: BTreeSet<ResourceKey>,
}

/// How a run's dead-man switch stands on its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SwitchState {
    /// The host knows nothing of one.
    None,
    /// It waits for a new login.
    Armed,
    /// A new login came; everything stays as it was changed.
    Confirmed,
    /// None came. Everything is as it was before, but for what is named.
    Restored {
        /// What could not be put back, each with why.
        trouble: Vec<String>,
    },
}

/// What came of a call that went through.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// One answer for each probe.
    pub answers: BTreeMap<ResourceKey, Vec<Answer>>,
    /// The host's own clock after the last op, in seconds.
    pub host_now_secs: u64,
    /// The host's salt.
    pub salt: Salt,
    /// The last lines that the ops said, secrets taken out.
    pub tail: Vec<String>,
}

/// A host that cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReachError {
    /// No connection, or no login, or no root there.
    #[error("{0}")]
    Unreachable(String),
    /// The host's own key is not the one that it should be.
    #[error("{0}")]
    HostKey(String),
    /// It was reached, and what it said makes no sense.
    #[error("{operation} on {host} ended with status {status}: {}", tail.join(" / "))]
    Failed {
        /// The host.
        host: HostId,
        /// What was attempted.
        operation: String,
        /// The exit status.
        status: i32,
        /// The last lines.
        tail: Vec<String>,
    },
}

/// Why a lock was not to be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// Somebody else has the host.
    #[error("{0}")]
    Held(Holder),
    /// The host belongs to another fleet or another name.
    #[error("{0}")]
    NotOurs(String),
    /// It was ours and is no longer.
    #[error("lost to another run")]
    Lost,
    /// The host was not reached.
    #[error(transparent)]
    Reach(#[from] ReachError),
}

/// Why a call did not go through.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PerformError {
    /// An op failed; those before it are done.
    #[error("{operation} ended with status {status}")]
    Failed {
        /// The op's place in its call, from 0; `None` where none of them began.
        at: Option<usize>,
        /// What was attempted, without secrets.
        operation: String,
        /// The exit status.
        status: i32,
        /// The last lines, secrets taken out.
        tail: Vec<String>,
    },
    /// The connection broke or time ran out: nobody knows how far it came.
    #[error("{why}")]
    Unknown {
        /// What happened.
        why: String,
    },
    /// The guard refused: the lock is another's, or its lease is over.
    #[error("the host's guard refused: {0}")]
    Fenced(String),
    /// The host was not reached; nothing was done.
    #[error(transparent)]
    Reach(#[from] ReachError),
}

/// Secrets that were resolved, for the transport.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    values: BTreeMap<SecretSource, Secret>,
}

impl Secrets {
    /// Takes resolved values in.
    pub fn new(values: BTreeMap<SecretSource, Secret>) -> Self {
        Self { values }
    }

    /// Returns a value.
    pub fn get(&self, source: &SecretSource) -> Option<&Secret> {
        self.values.get(source)
    }

    /// Returns what takes every resolved value out of a text, so that what a host echoes cannot leak it.
    pub fn redaction(&self) -> Redaction {
        Redaction::of(self.values.values().map(Secret::reveal))
    }
}
