//! A fleet in memory: hosts with files, manifests and locks, and faults on demand. Time passes when somebody sleeps.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::BoxFuture;
use muster::model::digest::{Digest, Fingerprint};
use muster::model::gate::Check;
use muster::model::holder::{Grip, Holder};
use muster::model::id::{HostId, ResourceKey, RunId};
use muster::model::manifest::{Manifest, ManifestState, Owned};
use muster::model::observation::{Answer, Machine};
use muster::model::op::{ContentWanted, Op, Probe};
use muster::model::secret::Secret;
use muster::ports::{
    Arming, Call, Clock, Fence, LockError, LockRequest, LookReply, LookRequest, Outcome, PerformError, Ports,
    ReachError, Said, Salt, Secrets, SwitchState, Transport,
};

/// One host.
#[derive(Debug, Clone, Default)]
pub struct Host {
    /// Its files: path to content.
    pub files: BTreeMap<String, String>,
    /// Its manifest.
    pub manifest: Option<Manifest>,
    /// The run that reserved it.
    pub reserved_by: Option<RunId>,
    /// The run that holds its lock.
    pub locked_by: Option<RunId>,
    /// The last token.
    pub token: u64,
    /// What the guard kept for each run: by path every content that the run found or left there, or that there was none.
    pub kept: BTreeMap<RunId, BTreeMap<String, Vec<Option<String>>>>,
    /// Whether it has a salt.
    pub is_salted: bool,
    /// Its dead-man switch: the last one that was armed.
    pub switch: Option<Switch>,
    /// How often each path was written.
    pub writes: BTreeMap<String, usize>,
}

/// A dead-man switch, and what became of it.
#[derive(Debug, Clone)]
pub struct Switch {
    /// The run that armed it.
    pub run: RunId,
    /// How it stands.
    pub stands: SwitchState,
    /// When it puts everything back.
    due_secs: i64,
    paths: BTreeMap<String, Option<String>>,
    entries: BTreeMap<ResourceKey, Option<Owned>>,
}

/// What goes wrong, and what gates say.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// Hosts that do not answer.
    pub unreachable: BTreeSet<HostId>,
    /// Hosts without systemd.
    pub without_systemd: BTreeSet<HostId>,
    /// Paths whose write fails.
    pub fails: BTreeSet<String>,
    /// Paths whose write does nothing and says that it did.
    pub lies: BTreeSet<String>,
    /// Paths after whose write the connection breaks, once.
    pub breaks: BTreeSet<String>,
    /// Hosts where nobody can log in any more once one of these paths is written.
    pub cuts: BTreeSet<String>,
    /// Hosts whose answer to their last entries is lost on its way, once.
    pub lost_endings: BTreeSet<HostId>,
    /// How many answers to a confirmation are lost on their way.
    pub lost_confirmations: usize,
    /// What a host cannot put back, if anything.
    pub switch_trouble: Vec<String>,
    /// Paths whose restore does nothing and says that it did.
    pub restores: BTreeSet<String>,
    /// Paths during whose write somebody else writes another one: which, and what.
    pub meddles: BTreeMap<String, (String, String)>,
    /// What gates say in turn; good when nothing is left.
    pub said: VecDeque<bool>,
}

/// The fleet, shared with whoever watches it.
#[derive(Clone, Default)]
pub struct Fleet {
    hosts: Arc<Mutex<BTreeMap<HostId, Host>>>,
    faults: Arc<Mutex<Faults>>,
    now_secs: Arc<Mutex<i64>>,
    /// Values for holes.
    pub secrets: Secrets,
}

const SALT: &[u8] = b"salt";

impl Fleet {
    /// Returns the world that this fleet is.
    pub fn ports(&self) -> Ports {
        Ports {
            transport: Arc::new(self.clone()),
            clock: Arc::new(self.clone()),
            hooks: Arc::new(muster::hooks::LocalHooks::for_inventory("", self.secrets.clone())),
        }
    }

    /// Changes or reads a host behind muster's back.
    pub fn host<T>(&self, name: &str, with: impl FnOnce(&mut Host) -> T) -> T {
        with(self.all().entry(name.parse().expect("a host name")).or_default())
    }

    /// Arranges faults.
    pub fn faults(&self, with: impl FnOnce(&mut Faults)) {
        with(&mut self.faults.lock().unwrap());
    }

    /// Returns every file of every host.
    pub fn files(&self) -> BTreeMap<HostId, BTreeMap<String, String>> {
        self.all()
            .iter()
            .map(|(host, state)| (host.clone(), state.files.clone()))
            .collect()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<HostId, Host>> {
        self.hosts.lock().unwrap()
    }

    fn reach(&self, host: &HostId) -> Result<(), ReachError> {
        match self.faults.lock().unwrap().unreachable.contains(host) {
            true => Err(ReachError::Unreachable("no route".to_owned())),
            false => Ok(()),
        }
    }

    /// Lets the host put everything back, if its time has come; returns how the switch of a run stands then.
    fn settle(&self, host: &HostId, run: &RunId, is_due_now: bool) -> SwitchState {
        let now = *self.now_secs.lock().unwrap();
        let trouble = self.faults.lock().unwrap().switch_trouble.clone();
        let mut hosts = self.all();
        let Some(state) = hosts.get_mut(host) else {
            return SwitchState::None;
        };
        let Some(mut switch) = state.switch.take().filter(|switch| switch.run == *run) else {
            return SwitchState::None;
        };
        if switch.stands == SwitchState::Armed && (is_due_now || now >= switch.due_secs) {
            for (path, content) in switch.paths.clone() {
                match content {
                    Some(content) => drop(state.files.insert(path, content)),
                    None => drop(state.files.remove(&path)),
                }
            }
            if trouble.is_empty() {
                state.write(&switch.run, &switch.entries.clone());
            }
            switch.stands = SwitchState::Restored { trouble };
        }
        let stands = switch.stands.clone();
        state.switch = Some(switch);
        stands
    }

    /// Says whether a new login would fail: somebody wrote what cuts us off, and it is still there.
    fn is_cut(&self, host: &HostId) -> bool {
        let cuts = self.faults.lock().unwrap().cuts.clone();
        let hosts = self.all();
        let Some(state) = hosts.get(host) else {
            return false;
        };
        let before = |path: &String| state.switch.as_ref()?.paths.get(path).cloned();
        cuts.iter()
            .any(|path| before(path).is_some_and(|before| before != state.files.get(path).cloned()))
    }

    fn guard(&self, host: &HostId, fence: &Fence) -> Result<(), PerformError> {
        self.reach(host)?;
        let hosts = self.all();
        let state = &hosts[host];
        match state.locked_by.as_ref() == Some(&fence.run) && state.token == fence.token {
            true => Ok(()),
            false => Err(PerformError::Fenced("the lock is another's".to_owned())),
        }
    }

    fn act(&self, state: &mut Host, op: &Op) -> Result<(), PerformError> {
        let mut faults = self.faults.lock().unwrap();
        let failed = || PerformError::Failed {
            at: None,
            operation: "write".into(),
            status: 1,
            tail: vec!["no space".into()],
        };
        if let Op::WriteFile { path, .. } = op
            && let Some((other, content)) = faults.meddles.remove(path)
        {
            state.files.insert(other, content);
        }
        match op {
            Op::WriteFile { path, .. } if faults.fails.contains(path) => Err(failed()),
            Op::WriteFile { path, .. } if faults.lies.contains(path) => Ok(()),
            Op::WriteFile { path, body, .. } => {
                let secret = |secret: &muster::model::secret::SecretRef| {
                    self.secrets.get(&secret.source).map(Secret::reveal)
                };
                let text = body.fill(secret).map_err(|_| failed())?;
                state.put(path, Some(text));
                *state.writes.entry(path.clone()).or_default() += 1;
                match faults.breaks.remove(path) {
                    true => Err(PerformError::Unknown {
                        why: "the connection broke".to_owned(),
                    }),
                    false => Ok(()),
                }
            }
            Op::RemoveFile { path } => {
                state.put(path, None);
                Ok(())
            }
            Op::Restore { path, .. } if faults.restores.contains(path) => Ok(()),
            Op::Restore { path, run } => {
                let run = run.as_ref().or(state.locked_by.as_ref()).expect("somebody acts");
                let store = state.kept.get(run).ok_or_else(failed)?;
                if let Some(states) = store.get(path) {
                    let before = states.first().cloned().expect("what was there is kept first");
                    state.put(path, before);
                }
                Ok(())
            }
            other => panic!("this fleet cannot do {other:?}"),
        }
    }
}

impl Host {
    /// Returns who has the host, if it is another run than this.
    fn holder(&self, run: &RunId) -> Option<Holder> {
        let armed = self
            .switch
            .as_ref()
            .filter(|switch| switch.stands == SwitchState::Armed);
        let armed = armed.map(|switch| switch.run.clone());
        let claims = [
            (Grip::Armed, &armed),
            (Grip::Locked, &self.locked_by),
            (Grip::Reserved, &self.reserved_by),
        ];
        let other = |(grip, by): (Grip, &Option<RunId>)| {
            let by = by.as_ref().filter(|by| *by != run)?;
            Some(Holder {
                grip,
                run: Some(by.to_string()),
                who: "bob".to_owned(),
                age_secs: 3,
                reason: None,
            })
        };
        claims.into_iter().find_map(other)
    }

    fn answers(&self, probes: &BTreeMap<ResourceKey, Vec<Probe>>) -> BTreeMap<ResourceKey, Vec<Answer>> {
        let answer = |probe: &Probe| match probe {
            Probe::Path { path, content } => self.path(path, *content),
            Probe::Kept { run, path } => {
                let store = self.kept.get(run);
                let states = store.and_then(|store| store.get(path));
                let is_left = states.is_none_or(|states| states.contains(&self.files.get(path).cloned()));
                let say = |is: bool| if is { "yes" } else { "no" };
                Answer::Text {
                    output: format!("store={}\nleft={}\n", say(store.is_some()), say(is_left)),
                    status: 0,
                }
            }
            other => panic!("this fleet cannot answer {other:?}"),
        };
        probes
            .iter()
            .map(|(key, probes)| (key.clone(), probes.iter().map(answer).collect()))
            .collect()
    }

    /// Puts a content in its place, or takes it away, and keeps what was there for the run that holds the lock.
    fn put(&mut self, path: &str, content: Option<String>) {
        let run = self.locked_by.clone().expect("somebody acts");
        let before = match &content {
            Some(content) => self.files.insert(path.to_owned(), content.clone()),
            None => self.files.remove(path),
        };
        let states = self
            .kept
            .entry(run)
            .or_default()
            .entry(path.to_owned())
            .or_default();
        if states.is_empty() {
            states.push(before);
        }
        states.push(content);
    }

    fn path(&self, path: &str, wanted: ContentWanted) -> Answer {
        let output = match self.files.get(path) {
            None => "type=absent\n".to_owned(),
            Some(content) => {
                let head = "type=file\nmode=0644\nowner=root\ngroup=root\nchanged=1\n";
                let size = content.len();
                match (wanted, self.is_salted) {
                    (ContentWanted::Print, true) => {
                        let print = Fingerprint::of(SALT, content.as_bytes()).0;
                        format!("{head}size={size}\nprint={print}\n")
                    }
                    (ContentWanted::Print, false) => format!("{head}size={size}\nopaque=yes\n"),
                    _ => format!("{head}size={size}\nsha256={}\n\n{content}", Digest::of(content)),
                }
            }
        };
        Answer::Text { output, status: 0 }
    }

    fn write(&mut self, run: &RunId, entries: &BTreeMap<ResourceKey, Option<Owned>>) {
        let manifest = self.manifest.as_mut().expect("a lock made it");
        manifest.generation += 1;
        manifest.last_run = Some(run.clone());
        for (key, entry) in entries {
            match entry {
                Some(entry) => drop(manifest.owned.insert(key.clone(), entry.clone())),
                None => drop(manifest.owned.remove(key)),
            }
        }
    }
}

impl Clock for Fleet {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::from_second(*self.now_secs.lock().unwrap()).expect("a small number")
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // Renewals have a beat of their own: they must not drive the time of those who wait. It is a real one, since a
            // beat that is over at once would leave no turn to anybody else.
            if time >= Duration::from_secs(20) {
                return tokio::time::sleep(Duration::from_millis(1)).await;
            }
            tokio::task::yield_now().await;
            *self.now_secs.lock().unwrap() += time.as_secs() as i64;
        })
    }
}

impl Transport for Fleet {
    fn look<'a>(
        &'a self,
        host: &'a HostId,
        request: &'a LookRequest,
    ) -> BoxFuture<'a, Result<LookReply, ReachError>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            self.reach(host)?;
            let mut has_systemd = true;
            self.faults(|faults| has_systemd = !faults.without_systemd.contains(host));
            let mut hosts = self.all();
            let state = hosts.entry(host.clone()).or_default();
            Ok(LookReply {
                machine: Machine {
                    id: host.to_string(),
                    missing_tools: Vec::new(),
                    has_systemd,
                },
                manifest: state
                    .manifest
                    .clone()
                    .map_or(ManifestState::Absent, ManifestState::Present),
                facts: None,
                salt: state.is_salted.then(|| Salt(SALT.to_vec())),
                answers: state.answers(&request.probes),
            })
        })
    }

    fn reserve<'a>(
        &'a self,
        host: &'a HostId,
        request: &'a LockRequest,
        look: &'a LookRequest,
    ) -> BoxFuture<'a, Result<LookReply, LockError>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            self.reach(host)?;
            {
                let mut hosts = self.all();
                let state = hosts.entry(host.clone()).or_default();
                if let Some(other) = state.holder(&request.run) {
                    return Err(LockError::Held(other));
                }
                state.reserved_by = Some(request.run.clone());
            }
            Ok(self.look(host, look).await?)
        })
    }

    fn unreserve<'a>(&'a self, host: &'a HostId, run: &'a RunId) -> BoxFuture<'a, Result<(), ReachError>> {
        Box::pin(async move {
            self.reach(host)?;
            let mut hosts = self.all();
            let reserved = &mut hosts.entry(host.clone()).or_default().reserved_by;
            *reserved = reserved.take().filter(|reserved| reserved != run);
            Ok(())
        })
    }

    fn lock<'a>(
        &'a self,
        host: &'a HostId,
        request: &'a LockRequest,
    ) -> BoxFuture<'a, Result<Fence, LockError>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            self.reach(host)?;
            let mut hosts = self.all();
            let state = hosts.entry(host.clone()).or_default();
            if let Some(other) = state.holder(&request.run) {
                return Err(LockError::Held(other));
            }
            // A switch that is armed bars its own run too.
            let nobody = "nobody".parse().expect("a name");
            if let Some(armed) = state.holder(&nobody).filter(|holder| holder.grip == Grip::Armed) {
                return Err(LockError::Held(armed));
            }
            state.reserved_by = None;
            state.locked_by = Some(request.run.clone());
            state.token += 1;
            state.is_salted = true;
            state.manifest.get_or_insert_with(|| Manifest {
                format: 1,
                fleet: request.fleet.clone(),
                host: host.clone(),
                lineage: format!("l-{host}"),
                generation: 0,
                last_run: None,
                owned: BTreeMap::new(),
            });
            Ok(Fence {
                run: request.run.clone(),
                token: state.token,
            })
        })
    }

    fn lock_and_look<'a>(
        &'a self,
        host: &'a HostId,
        request: &'a LockRequest,
        look: &'a LookRequest,
    ) -> BoxFuture<'a, Result<(Fence, LookReply), LockError>> {
        Box::pin(async move { Ok((self.lock(host, request).await?, self.look(host, look).await?)) })
    }

    fn renew<'a>(&'a self, _: &'a HostId, _: &'a Fence) -> BoxFuture<'a, Result<(), LockError>> {
        // Whoever renews must let others go on: beats take no time here.
        Box::pin(async {
            tokio::task::yield_now().await;
            Ok(())
        })
    }

    fn release<'a>(&'a self, host: &'a HostId, fence: &'a Fence) -> BoxFuture<'a, Result<(), ReachError>> {
        Box::pin(async move {
            if self.guard(host, fence).is_ok() {
                self.all().get_mut(host).expect("it was locked").locked_by = None;
            }
            Ok(())
        })
    }

    fn perform<'a>(
        &'a self,
        host: &'a HostId,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Outcome, PerformError>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            self.guard(host, &call.fence)?;
            if call.is_under_switch && self.settle(host, &call.fence.run, false) != SwitchState::Armed {
                return Err(PerformError::Fenced("the switch is not armed".to_owned()));
            }
            let answers = {
                let mut hosts = self.all();
                let state = hosts.get_mut(host).expect("it was locked");
                let intents = call
                    .intents
                    .iter()
                    .map(|(key, owned)| (key.clone(), Some(owned.clone())))
                    .collect();
                state.write(&call.fence.run, &intents);
                for (at, op) in call.ops.iter().enumerate() {
                    self.act(state, op).map_err(|error| at_place(error, at))?;
                }
                state.answers(&call.probes)
            };
            // Whoever is killed here has done the work and never hears of it.
            tokio::task::yield_now().await;
            Ok(Outcome {
                answers,
                host_now_secs: 7,
                salt: Salt(SALT.to_vec()),
                tail: Vec::new(),
            })
        })
    }

    fn record<'a>(
        &'a self,
        host: &'a HostId,
        fence: &'a Fence,
        entries: &'a BTreeMap<ResourceKey, Option<Owned>>,
    ) -> BoxFuture<'a, Result<(), PerformError>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            self.guard(host, fence)?;
            self.all()
                .get_mut(host)
                .expect("it was locked")
                .write(&fence.run, entries);
            Ok(())
        })
    }

    fn conclude<'a>(
        &'a self,
        host: &'a HostId,
        fence: &'a Fence,
        entries: &'a BTreeMap<ResourceKey, Option<Owned>>,
    ) -> BoxFuture<'a, Result<(), PerformError>> {
        Box::pin(async move {
            self.record(host, fence, entries).await?;
            self.release(host, fence).await?;
            match self.faults.lock().unwrap().lost_endings.remove(host) {
                true => Err(PerformError::Unknown {
                    why: "the answer was lost".to_owned(),
                }),
                false => Ok(()),
            }
        })
    }

    fn arm<'a>(&'a self, host: &'a HostId, request: &'a Arming) -> BoxFuture<'a, Result<(), PerformError>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            self.guard(host, &request.fence)?;
            let now = *self.now_secs.lock().unwrap();
            let mut hosts = self.all();
            let state = hosts.get_mut(host).expect("it was locked");
            let manifest = state.manifest.as_ref().expect("a lock made it");
            state.switch = Some(Switch {
                run: request.fence.run.clone(),
                stands: SwitchState::Armed,
                due_secs: now + i64::try_from(request.within_secs).unwrap(),
                paths: request
                    .restores
                    .paths
                    .iter()
                    .map(|path| (path.clone(), state.files.get(path).cloned()))
                    .collect(),
                entries: request
                    .entries
                    .iter()
                    .map(|key| (key.clone(), manifest.owned.get(key).cloned()))
                    .collect(),
            });
            Ok(())
        })
    }

    fn confirm<'a>(
        &'a self,
        host: &'a HostId,
        run: &'a RunId,
    ) -> BoxFuture<'a, Result<SwitchState, ReachError>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            self.reach(host)?;
            let stands = self.settle(host, run, false);
            if self.is_cut(host) {
                return Err(ReachError::Unreachable("nobody may log in".to_owned()));
            }
            if stands != SwitchState::Armed {
                return Ok(stands);
            }
            let mut hosts = self.all();
            let switch = hosts.get_mut(host).and_then(|state| state.switch.as_mut());
            switch.expect("it is armed").stands = SwitchState::Confirmed;
            let lost = &mut self.faults.lock().unwrap().lost_confirmations;
            if *lost > 0 {
                *lost -= 1;
                return Err(ReachError::Unreachable("the answer was lost".to_owned()));
            }
            Ok(SwitchState::Confirmed)
        })
    }

    fn switch<'a>(
        &'a self,
        host: &'a HostId,
        run: &'a RunId,
    ) -> BoxFuture<'a, Result<SwitchState, ReachError>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            self.reach(host)?;
            let stands = self.settle(host, run, false);
            match self.is_cut(host) {
                true => Err(ReachError::Unreachable("nobody may log in".to_owned())),
                false => Ok(stands),
            }
        })
    }

    fn put_back<'a>(
        &'a self,
        host: &'a HostId,
        run: &'a RunId,
    ) -> BoxFuture<'a, Result<SwitchState, ReachError>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            self.reach(host)?;
            self.settle(host, run, true);
            Ok(SwitchState::Armed)
        })
    }

    fn ask<'a>(
        &'a self,
        host: &'a HostId,
        _: &'a Check,
        _: Duration,
    ) -> BoxFuture<'a, Result<Said, ReachError>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            self.reach(host)?;
            let good = self.faults.lock().unwrap().said.pop_front().unwrap_or(true);
            Ok(Said {
                good,
                what: if good { "up" } else { "down" }.to_owned(),
            })
        })
    }

    fn close<'a>(&'a self, _: &'a HostId) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }
}

/// Says which op of a call it was that failed.
fn at_place(error: PerformError, place: usize) -> PerformError {
    match error {
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
    }
}
