//! The hosts of a fleet: the `Transport` port over root shells. Spells nothing itself; see [`super::lower`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Mutex;

use crate::model::engine::EngineOp;
use crate::model::gate::Check;
use crate::model::holder::{Grip, Holder};
use crate::model::id::{HostId, ResourceKey, RunId};
use crate::model::manifest::{ManifestState, Owned};
use crate::model::manifest_text;
use crate::model::observation::Machine;
use crate::model::op::Probe;
use crate::model::pulling::Pulling;
use crate::model::target::{self, Target};
use crate::ports::{
    Arming, Call, Ended, Exec, Fence, Hear, LockError, LockRequest, LookReply, LookRequest, Order, Outcome,
    Output, PerformError, ReachError, Said, Salt, Secrets, SwitchState, Transport, Warden,
};

use super::connector::Connector;
use super::engine::{EngineReads, EngineVeil};
use super::engines::Opened;
use super::gate;
use super::lines::Lines;
use super::lower::reply::Reply;
use super::lower::{self, Guard, Over, answer, facts, status};
use super::perform::{self, Keyed, Leg, Means, Redactor};
use super::pulls::Pulls;
use super::quote;
use super::shell::{Ran, Shell, ShellError};

/// The longest that a look may take, beside the time that its commands ask for.
const LOOK: Duration = Duration::from_secs(120);
/// The longest wait for a host's lock file, in seconds: an operation of another run may still hold it.
const WAIT_SECS: u64 = 30;
/// Shorter lines of errors may stand in a script by chance.
const ECHO_MIN_BYTES: usize = 12;
/// How much of the errors is read: the end.
const ECHO_MAX_BYTES: usize = 64 * 1024;
/// The longest that taking, renewing and freeing a lock may take in all.
const LOCK: Duration = Duration::from_secs(WAIT_SECS + 30);

/// The hosts of one fleet, each reached over one connection that is made when it is first needed.
pub struct FleetTransport {
    hosts: BTreeMap<HostId, Reachable>,
    connector: Arc<Connector>,
    redactor: Redactor,
    secrets: Secrets,
    keyed: Keyed,
    engine_reads: Option<EngineReads>,
    pulls: Pulls,
    state_dir: String,
}

/// One host: how it is reached, and how far that came.
struct Reachable {
    target: Target,
    way: Mutex<Way>,
    engine: Mutex<Opened>,
}

enum Way {
    /// Not tried, or lost since: the next call connects.
    Untried,
    Open(Arc<dyn Shell>),
    /// Tried in vain. A look is told so at once; whatever else is asked tries again.
    Failed(ReachError),
}

impl FleetTransport {
    /// Makes the transport. Nothing is connected yet.
    ///
    /// `secrets` holds every secret that ops will need, and is what is taken out of all that hosts say.
    pub fn new(
        targets: BTreeMap<HostId, Target>,
        connector: Arc<Connector>,
        secrets: Secrets,
        keyed: Keyed,
    ) -> Self {
        let reachable = |target| Reachable {
            target,
            way: Mutex::new(Way::Untried),
            engine: Mutex::default(),
        };
        let hosts = targets
            .into_iter()
            .map(|(host, target)| (host, reachable(target)))
            .collect();
        Self {
            hosts,
            connector,
            redactor: Redactor::new(&secrets),
            secrets,
            keyed,
            engine_reads: None,
            pulls: Pulls::default(),
            state_dir: lower::STATE_DIR.to_owned(),
        }
    }

    /// Lets Docker engines be asked. Without it what they say is unknown.
    pub fn with_engines(self, reads: EngineReads) -> Self {
        Self {
            engine_reads: Some(reads),
            ..self
        }
    }

    /// Keeps the guard's files elsewhere on the hosts. For tests.
    pub fn with_state_dir(self, state_dir: impl Into<String>) -> Self {
        Self {
            state_dir: state_dir.into(),
            ..self
        }
    }

    pub(super) fn pulls(&self) -> &Pulls {
        &self.pulls
    }

    pub(super) fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    pub(super) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    pub(super) fn engine_reads(&self) -> Option<EngineReads> {
        self.engine_reads
    }

    pub(super) fn engine_slot(&self, host: &HostId) -> Result<&Mutex<Opened>, ReachError> {
        self.reachable(host).map(|reachable| &reachable.engine)
    }

    pub(super) fn guard(&self) -> Guard<'_> {
        Guard {
            state_dir: &self.state_dir,
            wait_secs: WAIT_SECS,
        }
    }

    /// Returns the shell of a host, connecting if need be.
    pub(super) async fn shell(&self, host: &HostId, retry: Retry) -> Result<Arc<dyn Shell>, ReachError> {
        let reachable = self.reachable(host)?;
        let mut way = reachable.way.lock().await;
        match (&*way, retry) {
            (Way::Open(shell), _) => return Ok(Arc::clone(shell)),
            (Way::Failed(error), Retry::No) => return Err(error.clone()),
            (Way::Failed(_), Retry::Yes) | (Way::Untried, _) => {}
        }
        let opened = super::connect(host, &reachable.target, &self.connector).await;
        *way = match &opened {
            Ok(shell) => Way::Open(Arc::clone(shell)),
            Err(error) => Way::Failed(error.clone()),
        };
        opened
    }

    /// Runs a script. A connection that broke is forgotten, so that the next call makes another.
    pub(super) async fn run(
        &self,
        host: &HostId,
        script: &str,
        deadline: Duration,
        retry: Retry,
    ) -> Result<Ran, ShellError> {
        refuse_nul(host, script)?;
        let shell = self.shell(host, retry).await?;
        let ran = shell.run(script, deadline).await;
        if ran.is_err() {
            self.forget(host, &shell).await;
        }
        ran.map(|ran| without_echo(ran, script))
    }

    /// Makes another connection to a host, beside the one that is there.
    pub(super) async fn connect_anew(&self, host: &HostId) -> Result<Arc<dyn Shell>, ReachError> {
        let reachable = self.reachable(host)?;
        super::connect_anew(host, &reachable.target, &self.connector).await
    }

    /// Makes a connection the host's, in the place of the one that was there.
    pub(super) async fn take_over(&self, host: &HostId, shell: Arc<dyn Shell>) {
        if let Ok(reachable) = self.reachable(host) {
            *reachable.way.lock().await = Way::Open(shell);
        }
    }

    fn reachable(&self, host: &HostId) -> Result<&Reachable, ReachError> {
        self.hosts
            .get(host)
            .ok_or_else(|| ReachError::Unreachable(format!("`{host}` is not known to this run")))
    }

    /// Forgets a connection, unless another has taken its place already.
    async fn forget(&self, host: &HostId, lost: &Arc<dyn Shell>) {
        if let Some(reachable) = self.hosts.get(host) {
            let mut way = reachable.way.lock().await;
            if matches!(&*way, Way::Open(shell) if Arc::ptr_eq(shell, lost)) {
                *way = Way::Untried;
            }
        }
    }

    /// Runs a script of the guard that changes nothing but the guard's own files, and reads its reply.
    pub(super) async fn ask_guard(
        &self,
        host: &HostId,
        what: &str,
        script: &str,
    ) -> Result<Reply, LockError> {
        self.ask_guard_within(host, what, script, (LOCK, Retry::Yes))
            .await
    }

    async fn ask_guard_within(
        &self,
        host: &HostId,
        what: &str,
        script: &str,
        (deadline, retry): (Duration, Retry),
    ) -> Result<Reply, LockError> {
        let ran = self
            .run(host, script, deadline, retry)
            .await
            .map_err(unreachable)?;
        let reply = Reply::read(&ran.stdout).map_err(|why| self.failed(host, what, &ran, &why))?;
        // A status without the guard's own sentence is somebody else's.
        let refusal = reply.word("refused").map(|why| self.redactor.clause(why));
        match (ran.status, refusal) {
            (0, None) if reply.is_whole => Ok(reply),
            (status::HELD, Some(_)) => Err(LockError::Held(holder(&reply).unwrap_or_else(Holder::busy))),
            (status::FENCED, Some(_)) => Err(LockError::Lost),
            (status::NOT_OURS | status::DAMAGED, Some(refusal)) => Err(LockError::NotOurs(refusal)),
            (status::BUSY, Some(_)) => Err(LockError::Held(Holder::busy())),
            (_, refusal) => Err(self.failed(host, what, &ran, &refusal.unwrap_or_default()).into()),
        }
    }

    pub(super) fn failed(&self, host: &HostId, operation: &str, ran: &Ran, refusal: &str) -> ReachError {
        let mut tail = self.lines(&String::from_utf8_lossy(&ran.stderr));
        tail.extend(self.lines(refusal));
        ReachError::Failed {
            host: host.clone(),
            operation: operation.to_owned(),
            status: ran.status,
            tail,
        }
    }

    fn lines(&self, text: &str) -> Vec<String> {
        self.redactor.lines(text)
    }

    async fn look_at(&self, host: &HostId, request: &LookRequest) -> Result<LookReply, ReachError> {
        let script = self.guard().look(request);
        let deadline = LOOK + lower::look::patience(&request.probes);
        let ran = self
            .run(host, &script, deadline, Retry::No)
            .await
            .map_err(unreachable)?;
        let reply = match Reply::read(&ran.stdout) {
            Ok(reply) if ran.status == 0 && reply.is_whole => reply,
            Ok(_) => return Err(self.failed(host, "looking", &ran, "")),
            Err(why) => return Err(self.failed(host, "looking", &ran, &why)),
        };
        Ok(self.read_look(host, request, &reply).await)
    }

    async fn read_look(&self, host: &HostId, request: &LookRequest, reply: &Reply) -> LookReply {
        let mut look = LookReply {
            machine: machine(reply),
            manifest: manifest(reply),
            facts: request.facts.then(|| facts::facts(reply)),
            salt: reply.salt().unwrap_or_default().map(Salt),
            answers: answer::answers(&request.probes, reply, &self.keyed.read),
        };
        let asks_engine = || {
            request
                .probes
                .values()
                .flatten()
                .any(|probe| matches!(probe, Probe::Engine(_)))
        };
        let is_fleeting = look.salt.is_none() && asks_engine();
        if is_fleeting {
            // What is there is compared by prints before the first lock too: under a salt that nobody keeps.
            look.salt = Some(Salt(rand::random::<[u8; 32]>().to_vec()));
        }
        if let Some(salt) = look.salt.as_ref().map(|salt| salt.0.as_slice()) {
            let veil = EngineVeil { salt, is_fleeting };
            self.ask_engine(host, &request.probes, &mut look.answers, veil)
                .await;
        }
        look
    }

    async fn reserve_host(
        &self,
        host: &HostId,
        request: &LockRequest,
        look: &LookRequest,
    ) -> Result<LookReply, LockError> {
        let script = self.guard().reserve(request, look);
        let deadline = LOCK + LOOK + lower::look::patience(&look.probes);
        let reply = self
            .ask_guard_within(host, "reserving", &script, (deadline, Retry::No))
            .await?;
        Ok(self.read_look(host, look, &reply).await)
    }

    /// Says how scripts come to a host.
    pub(super) fn over(&self, host: &HostId) -> Over {
        match self.hosts.get(host).map(|reachable| &reachable.target.transport) {
            Some(target::Transport::Local) => Over::Local,
            Some(target::Transport::Ssh(_)) | None => Over::Ssh,
        }
    }

    async fn take_lock(&self, host: &HostId, request: &LockRequest) -> Result<Fence, LockError> {
        let script = self.guard().lock(host, request, self.over(host));
        let reply = self.ask_guard(host, "locking", &script).await?;
        Ok(fence(host, request, &reply)?)
    }

    async fn take_lock_and_look(
        &self,
        host: &HostId,
        request: &LockRequest,
        look: &LookRequest,
    ) -> Result<(Fence, LookReply), LockError> {
        let script = self.guard().lock_and_look(host, request, self.over(host), look);
        let deadline = LOCK + LOOK + lower::look::patience(&look.probes);
        let reply = self
            .ask_guard_within(host, "locking", &script, (deadline, Retry::Yes))
            .await?;
        let fence = fence(host, request, &reply)?;
        Ok((fence, self.read_look(host, look, &reply).await))
    }

    /// Runs a script that writes entries into the manifest.
    async fn keep_entries(&self, host: &HostId, script: &str) -> Result<(), PerformError> {
        let ran = self
            .run(host, script, LOCK, Retry::Yes)
            .await
            .map_err(perform::unknown)?;
        Leg::read(&ran, &self.redactor, 0).map(|_| ())
    }

    async fn ask_check(&self, host: &HostId, check: &Check, deadline: Duration) -> Result<Said, ReachError> {
        let (url, status, contains) = match check {
            Check::Command(command) => return self.ask_command(host, command, deadline).await,
            Check::Http {
                url,
                status,
                contains,
            } => (url, *status, contains.as_deref()),
            Check::Tcp { address, port } => {
                let shell = self.shell(host, Retry::Yes).await?;
                let asked = gate::tcp(&*shell, address, *port, deadline).await;
                return self.asked(host, &shell, asked).await;
            }
        };
        let shell = self.shell(host, Retry::Yes).await?;
        let check = gate::HttpCheck {
            url,
            status,
            contains,
        };
        let asked = gate::http(&*shell, check, deadline).await;
        self.asked(host, &shell, asked).await
    }

    /// Forgets a connection over which nothing could be asked, so that the next question makes another.
    async fn asked(
        &self,
        host: &HostId,
        shell: &Arc<dyn Shell>,
        asked: Result<Said, gate::NotAsked>,
    ) -> Result<Said, ReachError> {
        match asked {
            Ok(said) => Ok(said),
            Err(gate::NotAsked(why)) => {
                self.forget(host, shell).await;
                Err(ReachError::Unreachable(why))
            }
        }
    }

    async fn ask_command(
        &self,
        host: &HostId,
        command: &str,
        deadline: Duration,
    ) -> Result<Said, ReachError> {
        let secs = deadline.as_secs().max(1);
        let script = self.guard().ask(command, secs);
        // The command has its own deadline on the host; the connection gets a little more.
        let patience = deadline + Duration::from_secs(20);
        let ran = self
            .run(host, &script, patience, Retry::Yes)
            .await
            .map_err(unreachable)?;
        let reply = Reply::read(&ran.stdout).unwrap_or_default();
        let Some(said) = reply.first("command") else {
            return Err(self.failed(host, "asking a gate's command", &ran, ""));
        };
        let text = said.text() + &said.errors;
        let what = match said.status {
            124 => format!("no end within {secs} s"),
            status => {
                let last = self.redactor.clause(&text);
                format!("status {status} {last}").trim_end().to_owned()
            }
        };
        Ok(Said {
            good: said.status == 0,
            what,
        })
    }
}

impl FleetTransport {
    async fn exec_order(
        &self,
        host: &HostId,
        order: &Order,
        hear: Hear<'_>,
        stop: BoxFuture<'_, ()>,
    ) -> Result<Ended, PerformError> {
        let script = self.guard().exec(order);
        refuse_nul(host, &script)?;
        let shell = self.shell(host, Retry::Yes).await?;
        let lines = Lines::new(hear, &self.secrets);
        let tap = |output: Output, bytes: &[u8]| lines.take(output, bytes);
        let deadline = order.deadline + LOCK;
        let ended = shell.stream(&script, deadline, &tap, stop).await;
        let is_cut = lines.finish();
        let (status, is_stopped) = match ended {
            Ok(status) => (status, false),
            Err(ShellError::Stopped) => (0, true),
            Err(error) => {
                self.forget(host, &shell).await;
                return Err(perform::unknown(error));
            }
        };
        match lines.refusal() {
            Some(stdout) if !is_stopped => {
                let ran = Ran {
                    stdout,
                    stderr: Vec::new(),
                    status,
                };
                let odd = "the command did not begin".to_owned();
                Err(Leg::read(&ran, &self.redactor, 0)
                    .err()
                    .unwrap_or(PerformError::Unknown { why: odd }))
            }
            Some(_) | None => Ok(Ended {
                status,
                is_stopped,
                is_cut,
            }),
        }
    }
}

impl Exec for FleetTransport {
    fn exec<'a>(
        &'a self,
        host: &'a HostId,
        order: &'a Order,
        hear: Hear<'a>,
        stop: BoxFuture<'a, ()>,
    ) -> BoxFuture<'a, Result<Ended, PerformError>> {
        Box::pin(self.exec_order(host, order, hear, stop))
    }
}

impl Warden for FleetTransport {
    fn standing<'a>(&'a self, host: &'a HostId) -> BoxFuture<'a, Result<Option<Holder>, ReachError>> {
        Box::pin(async move {
            let script = self.guard().standing();
            match self.ask_guard(host, "asking who has it", &script).await {
                Ok(reply) => Ok(holder(&reply)),
                Err(LockError::Reach(error)) => Err(error),
                Err(LockError::Held(holder)) => Ok(Some(holder)),
                Err(error @ (LockError::NotOurs(_) | LockError::Lost)) => {
                    Err(ReachError::Unreachable(error.to_string()))
                }
            }
        })
    }

    fn hold<'a>(
        &'a self,
        host: &'a HostId,
        who: &'a str,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<(), LockError>> {
        Box::pin(async move {
            let script = self.guard().hold(who, reason);
            self.ask_guard(host, "holding", &script).await.map(|_| ())
        })
    }

    fn free<'a>(&'a self, host: &'a HostId, who: &'a str) -> BoxFuture<'a, Result<bool, LockError>> {
        Box::pin(async move {
            let reply = self.ask_guard(host, "releasing", &self.guard().free(who)).await?;
            Ok(holder(&reply).is_some())
        })
    }

    fn break_open<'a>(
        &'a self,
        host: &'a HostId,
        who: &'a str,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<Option<Holder>, LockError>> {
        Box::pin(async move {
            let script = self.guard().break_open(who, reason, self.over(host));
            let reply = self.ask_guard(host, "taking it", &script).await?;
            Ok(holder(&reply))
        })
    }
}

/// No word of shell can hold a NUL byte: names with one would silently become other names.
fn refuse_nul(host: &HostId, script: &str) -> Result<(), ReachError> {
    match script.contains('\0') {
        true => Err(ReachError::Unreachable(format!(
            "`{host}`: a name holds a NUL byte"
        ))),
        false => Ok(()),
    }
}

/// Whether a host that could not be reached before is tried again.
#[derive(Debug, Clone, Copy)]
pub(super) enum Retry {
    Yes,
    No,
}

impl Transport for FleetTransport {
    fn pulling(&self) -> BoxFuture<'_, Pulling> {
        Box::pin(self.pulls.told())
    }

    fn look<'a>(
        &'a self,
        host: &'a HostId,
        request: &'a LookRequest,
    ) -> BoxFuture<'a, Result<LookReply, ReachError>> {
        Box::pin(self.look_at(host, request))
    }

    fn reserve<'a>(
        &'a self,
        host: &'a HostId,
        request: &'a LockRequest,
        look: &'a LookRequest,
    ) -> BoxFuture<'a, Result<LookReply, LockError>> {
        Box::pin(self.reserve_host(host, request, look))
    }

    fn unreserve<'a>(&'a self, host: &'a HostId, run: &'a RunId) -> BoxFuture<'a, Result<(), ReachError>> {
        Box::pin(async move {
            let script = self.guard().unreserve(run);
            freed(self.ask_guard(host, "giving the reservation up", &script).await)
        })
    }

    fn lock<'a>(
        &'a self,
        host: &'a HostId,
        request: &'a LockRequest,
    ) -> BoxFuture<'a, Result<Fence, LockError>> {
        Box::pin(self.take_lock(host, request))
    }

    fn lock_and_look<'a>(
        &'a self,
        host: &'a HostId,
        request: &'a LockRequest,
        look: &'a LookRequest,
    ) -> BoxFuture<'a, Result<(Fence, LookReply), LockError>> {
        Box::pin(self.take_lock_and_look(host, request, look))
    }

    fn renew<'a>(&'a self, host: &'a HostId, fence: &'a Fence) -> BoxFuture<'a, Result<(), LockError>> {
        Box::pin(async move {
            let script = self.guard().renew(fence, self.over(host));
            self.ask_guard(host, "renewing the lock", &script)
                .await
                .map(|_| ())
        })
    }

    fn release<'a>(&'a self, host: &'a HostId, fence: &'a Fence) -> BoxFuture<'a, Result<(), ReachError>> {
        Box::pin(async move {
            let script = self.guard().release(fence);
            freed(self.ask_guard(host, "freeing the lock", &script).await)
        })
    }

    fn perform<'a>(
        &'a self,
        host: &'a HostId,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Outcome, PerformError>> {
        let run = move |script: String, deadline| -> BoxFuture<'a, Result<Ran, ShellError>> {
            Box::pin(async move { self.run(host, &script, deadline, Retry::Yes).await })
        };
        let act = move |op: &'a EngineOp, ends_at| -> BoxFuture<'a, Result<(), PerformError>> {
            Box::pin(self.act_on_engine(host, call, op, ends_at))
        };
        let means = Means {
            secrets: &self.secrets,
            redactor: &self.redactor,
            keyed: self.keyed,
            state_dir: &self.state_dir,
            run,
            act,
        };
        Box::pin(async move {
            let mut outcome = perform::perform(means, call).await?;
            let salt = outcome.salt.0.clone();
            let veil = EngineVeil {
                salt: &salt,
                is_fleeting: false,
            };
            self.ask_engine(host, &call.probes, &mut outcome.answers, veil)
                .await;
            Ok(outcome)
        })
    }

    fn record<'a>(
        &'a self,
        host: &'a HostId,
        fence: &'a Fence,
        entries: &'a BTreeMap<ResourceKey, Option<Owned>>,
    ) -> BoxFuture<'a, Result<(), PerformError>> {
        Box::pin(async move {
            let script = self.guard().record(fence, entries);
            self.keep_entries(host, &script).await
        })
    }

    fn conclude<'a>(
        &'a self,
        host: &'a HostId,
        fence: &'a Fence,
        entries: &'a BTreeMap<ResourceKey, Option<Owned>>,
    ) -> BoxFuture<'a, Result<(), PerformError>> {
        Box::pin(async move {
            let script = self.guard().conclude(fence, entries);
            self.keep_entries(host, &script).await
        })
    }

    fn arm<'a>(&'a self, host: &'a HostId, request: &'a Arming) -> BoxFuture<'a, Result<(), PerformError>> {
        Box::pin(self.arm_switch(host, request))
    }

    fn confirm<'a>(
        &'a self,
        host: &'a HostId,
        run: &'a RunId,
    ) -> BoxFuture<'a, Result<SwitchState, ReachError>> {
        Box::pin(self.confirm_switch(host, run))
    }

    fn switch<'a>(
        &'a self,
        host: &'a HostId,
        run: &'a RunId,
    ) -> BoxFuture<'a, Result<SwitchState, ReachError>> {
        Box::pin(async move {
            let script = self.guard().switch(run);
            self.ask_switch(host, "asking for the dead-man switch", &script)
                .await
        })
    }

    fn put_back<'a>(
        &'a self,
        host: &'a HostId,
        run: &'a RunId,
    ) -> BoxFuture<'a, Result<SwitchState, ReachError>> {
        Box::pin(async move {
            let script = self.guard().put_back(run);
            self.ask_switch(host, "putting back by the dead-man switch", &script)
                .await
        })
    }

    fn ask<'a>(
        &'a self,
        host: &'a HostId,
        check: &'a Check,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<Said, ReachError>> {
        Box::pin(self.ask_check(host, check, deadline))
    }

    fn close<'a>(&'a self, host: &'a HostId) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let Some(reachable) = self.hosts.get(host) else {
                return;
            };
            let mut way = reachable.way.lock().await;
            if let Way::Open(shell) = &*way {
                shell.close().await;
                *way = Way::Untried;
            }
        })
    }
}

/// Takes lines of the script itself out of its errors: a shell that prints what it reads would repeat bodies with secrets
/// in them, in the encoding of their transport.
fn without_echo(ran: Ran, script: &str) -> Ran {
    if ran.stderr.is_empty() {
        return ran;
    }
    let said = String::from_utf8_lossy(&ran.stderr);
    let own = |line: &&str| {
        let line = line.trim_start_matches(['+', ' ']).trim_end();
        line.len() < ECHO_MIN_BYTES || !script.contains(line)
    };
    let end = said.floor_char_boundary(said.len().saturating_sub(ECHO_MAX_BYTES));
    let kept: String = said[end..].split_inclusive('\n').filter(own).collect();
    Ran {
        stderr: kept.into_bytes(),
        ..ran
    }
}

/// For calls that changed nothing: whatever went wrong, the host was not reached.
pub(super) fn unreachable(error: ShellError) -> ReachError {
    match error {
        ShellError::Reach(error) => error,
        error @ (ShellError::Lost(_) | ShellError::TimedOut(_) | ShellError::Stopped) => {
            ReachError::Unreachable(error.to_string())
        }
    }
}

/// Reads the token of a lock that was taken.
fn fence(host: &HostId, request: &LockRequest, reply: &Reply) -> Result<Fence, ReachError> {
    let token = reply.word("token").and_then(|token| token.parse().ok());
    let token =
        token.ok_or_else(|| ReachError::Unreachable(format!("`{host}` gave no token with its lock")))?;
    Ok(Fence {
        run: request.run.clone(),
        token,
    })
}

/// For what is given back: whoever has it now, it is not this run.
fn freed(asked: Result<Reply, LockError>) -> Result<(), ReachError> {
    match asked {
        Err(LockError::Reach(error)) => Err(error),
        Ok(_) | Err(LockError::Held(_) | LockError::NotOurs(_) | LockError::Lost) => Ok(()),
    }
}

/// Reads who has a host. `None` if nobody has.
fn holder(reply: &Reply) -> Option<Holder> {
    let text = |name: &str| reply.word(name).map(quote::one_line);
    let grip = match reply.word("state")? {
        "reserved" => Grip::Reserved,
        "locked" => Grip::Locked,
        "held" => Grip::Held,
        "armed" => Grip::Armed,
        _ => return None,
    };
    Some(Holder {
        grip,
        run: text("run"),
        who: text("who").unwrap_or_default(),
        age_secs: reply.word("age").and_then(|age| age.parse().ok()).unwrap_or(0),
        reason: text("reason"),
    })
}

fn machine(reply: &Reply) -> Machine {
    let text = |name: &str| reply.first(name).map(|said| said.text()).unwrap_or_default();
    let mut missing_tools: Vec<String> = text("missing").lines().map(str::to_owned).collect();
    missing_tools.sort();
    Machine {
        id: text("machine").trim().to_owned(),
        missing_tools,
        has_systemd: reply.first("systemd").is_some_and(|said| said.status == 0),
    }
}

fn manifest(reply: &Reply) -> ManifestState {
    if let Some(said) = reply.first("manifest") {
        return match (said.status, manifest_text::read(&said.text())) {
            (0, Ok(manifest)) => ManifestState::Present(manifest),
            (0, Err(error)) => ManifestState::Unreadable(format!("the manifest cannot be read: {error}")),
            (_, _) => ManifestState::Unreadable(said.why()),
        };
    }
    match (reply.first("manifest-absent"), reply.first("manifest-lost")) {
        (Some(_), _) => ManifestState::Absent,
        (None, Some(_)) => {
            ManifestState::Unreadable("the manifest is gone, and the one before it is still there".to_owned())
        }
        (None, None) => ManifestState::Unreadable("the guard's folder cannot be read".to_owned()),
    }
}
