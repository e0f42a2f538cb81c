//! Carrying a plan out: what `apply` and `resume` share, from the plan to the exit code.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::console::Console;
use super::exit::Exit;
use super::global::Global;
use super::survey::transport_ports;
use crate::apply::{self, DriveError, Ready, Refusal, Run, Start, Taken};
use crate::model::body::Body;
use crate::model::code;
use crate::model::diagnostic::{Diagnostic, Diagnostics, Sources};
use crate::model::event::{Event, Task};
use crate::model::holder::Grip;
use crate::model::hook::Hook;
use crate::model::id::{HostId, PlanId, RunId};
use crate::model::op::Op;
use crate::model::plan::{Basis, Plan};
use crate::model::pulling::Pulling;
use crate::model::secret::SecretSource;
use crate::model::target::{Sudo, Target};
use crate::ports::{Ports, Secrets};
use crate::report::progress::{Progress, Telling};
use crate::resource::Spec;
use crate::rollout::{Rollout, replay};
use crate::store::hosts::KnownHost;
use crate::store::journal::{Header, JOURNAL_FORMAT, Journal, Recorded};
use crate::store::{self, StoreError};
use crate::vault;

/// A plan with everything that carrying it out needs.
pub struct Work {
    plan: Plan,
    id: PlanId,
    folder: PathBuf,
    ports: Ports,
    secrets: Secrets,
    telling: Telling,
    colors: bool,
}

/// How a new run begins.
#[derive(Debug, Clone, Copy)]
pub struct Begin {
    /// When the plan was made; `None` for just now.
    pub made_at: Option<jiff::Timestamp>,
    /// Whether stale hosts are left out.
    pub skips_stale: bool,
}

/// Makes ready to carry out a saved plan: has its secrets, and a way to its hosts.
///
/// # Errors
/// [`Exit::Error`], after saying why.
pub async fn open(
    plan: Plan,
    id: PlanId,
    folder: PathBuf,
    global: &Global,
    console: &mut Console,
) -> Result<Work, Exit> {
    let options = vault::Options::for_inventory(&plan.inventory_file, age_identity(&plan.inventory_file));
    let secrets = match vault::resolve(&sources(&plan), &options).await {
        Ok(resolved) => {
            resolved
                .warnings
                .iter()
                .for_each(|warning| console.note(&format!("warning: {warning}")));
            resolved.secrets
        }
        Err(errors) => {
            return Err(fail_all(
                console,
                errors.iter().map(vault::VaultError::diagnostic),
            ));
        }
    };
    let parallel = global.parallel.map_or(plan.policy.parallel, usize::from);
    let ports = transport_ports(
        plan.hosts.clone(),
        &plan.inventory_file,
        global,
        secrets.clone(),
        parallel,
    );
    Ok(with(plan, id, folder, ports, secrets, global))
}

/// Makes ready to carry out a plan with what is there already.
pub fn with(
    mut plan: Plan,
    id: PlanId,
    folder: PathBuf,
    ports: Ports,
    secrets: Secrets,
    global: &Global,
) -> Work {
    if let Some(parallel) = global.parallel {
        plan.policy.parallel = parallel.into();
    }
    let console = Console::new(global);
    let telling = match (global.json, global.quiet, console.is_live()) {
        (true, _, _) => Telling::Json,
        (_, true, _) => Telling::Quiet,
        (_, _, true) => Telling::Live,
        (_, _, false) => Telling::Plain,
    };
    Work {
        plan,
        id,
        folder,
        ports,
        secrets,
        telling,
        colors: console.colors_errors(),
    }
}

impl Work {
    /// Begins a new run.
    ///
    /// # Errors
    /// The exit code, after saying why, if nothing was done.
    pub async fn begin(self, begin: Begin, console: &mut Console) -> Result<Exit, Exit> {
        let stored = |console: &mut Console, error: StoreError| fail(console, error.diagnostic());
        let id = store::plan::next_run(&self.folder, &self.id).map_err(|error| stored(console, error))?;
        let run = self.run(&id);
        let mut interrupts = interrupts();
        let preflight = apply::preflight(&run, begin.made_at, begin.skips_stale);
        let Ready { left_out, reserved } = made_ready(&run, preflight, &mut interrupts, console).await?;
        for (host, stale) in &left_out {
            console.note(&format!("{host} is left out: {}", stale.join("; ")));
        }
        let header = Header {
            format: JOURNAL_FORMAT,
            plan: self.id.clone(),
            run: id,
            by_version: env!("CARGO_PKG_VERSION").to_owned(),
            at: self.ports.clock.now(),
        };
        let journal = match Journal::create(&self.folder, &header) {
            Ok(journal) => journal,
            Err(error) => {
                run.give_back(&reserved).await;
                return Err(stored(console, error));
            }
        };
        let start = Start {
            is_resumed: false,
            left_out,
            reserved,
        };
        Ok(self
            .drive(
                &run,
                Rollout::new(&self.plan),
                start,
                journal,
                &mut interrupts,
                console,
            )
            .await)
    }

    /// Goes on with a run.
    ///
    /// # Errors
    /// The exit code, after saying why, if nothing was done.
    pub async fn go_on(
        self,
        journal: Journal,
        recorded: &Recorded,
        console: &mut Console,
    ) -> Result<Exit, Exit> {
        let run = self.run(&recorded.header.run);
        let mut interrupts = interrupts();
        let preflight = apply::preflight_again(&run);
        let Ready { reserved, .. } = made_ready(&run, preflight, &mut interrupts, console).await?;
        // What an earlier session heard it had perhaps no time to note.
        self.remember(recorded.events().filter_map(lineage_of).collect(), console);
        let rollout = replay(&self.plan, recorded.events());
        let start = Start {
            is_resumed: true,
            reserved,
            ..Start::default()
        };
        Ok(self
            .drive(&run, rollout, start, journal, &mut interrupts, console)
            .await)
    }

    fn run(&self, id: &RunId) -> Run<'_> {
        Run {
            plan: &self.plan,
            id: id.clone(),
            who: who(),
            secrets: self.secrets.clone(),
            ports: self.ports.clone(),
        }
    }

    async fn drive(
        &self,
        run: &Run<'_>,
        rollout: Rollout<'_>,
        start: Start,
        mut journal: Journal,
        interrupts: &mut UnboundedReceiver<()>,
        console: &mut Console,
    ) -> Exit {
        let mut told = Told {
            progress: Progress::new(&self.plan, &run.id, self.telling, self.out()),
            lineages: BTreeMap::new(),
        };
        let driven = apply::drive(run, rollout, start, &mut journal, interrupts, &mut told).await;
        let Told { lineages, .. } = told;
        self.remember(lineages, console);
        match driven {
            Ok(outcome) => {
                if matches!(outcome.exit, 8 | 130) {
                    console.note(&format!("hint: `muster resume {}` goes on", run.id));
                }
                Exit::of_run(outcome.exit)
            }
            Err(error) => broken_off(console, &run.id, &error),
        }
    }

    /// Notes the lineages of hosts that had no manifest before this run, so that one that is wiped later is not taken for new.
    fn remember(&self, lineages: BTreeMap<HostId, String>, console: &Console) {
        let is_new = |basis: &Basis| basis.lineage.is_none() || basis.former.is_some();
        let new = lineages
            .into_iter()
            .filter(|(host, _)| self.plan.basis.get(host).is_some_and(is_new));
        let known_as = new.filter_map(|(host, lineage)| {
            let address = store::hosts::address(self.plan.hosts.get(&host)?);
            Some((host, KnownHost { address, lineage }))
        });
        let noted = store::hosts::load(&self.folder).and_then(|mut known| {
            for (host, noted) in known_as {
                known.hosts.entry(host).or_insert(noted);
            }
            store::hosts::save(&known, &self.folder)
        });
        if let Err(error) = noted {
            console.note(&format!("warning: {}", super::chain(&error)));
        }
    }

    fn out(&self) -> Box<dyn std::io::Write + Send> {
        match (self.telling, self.colors) {
            (Telling::Json, _) => Box::new(std::io::stdout()),
            (Telling::Live | Telling::Plain | Telling::Quiet, true) => Box::new(std::io::stderr()),
            (Telling::Live | Telling::Plain | Telling::Quiet, false) => {
                Box::new(anstream::StripStream::new(std::io::stderr()))
            }
        }
    }
}

/// The report of a run, as the driver knows it.
struct Told<'p> {
    progress: Progress<'p>,
    /// Of the manifests of all hosts that were locked.
    lineages: BTreeMap<HostId, String>,
}

impl apply::Progress for Told<'_> {
    fn started(&mut self, at: jiff::Timestamp, task: &Task) {
        self.progress.task(at, task);
    }

    fn happened(&mut self, at: jiff::Timestamp, event: &Event) {
        lineage_of(event)
            .into_iter()
            .for_each(|(host, lineage)| drop(self.lineages.insert(host, lineage)));
        self.progress.event(at, event);
    }

    fn pulling(&mut self, at: jiff::Timestamp, pulling: &Pulling) {
        self.progress.pulling(at, pulling);
    }
}

/// Returns what an event says of a host's manifest.
fn lineage_of(event: &Event) -> Option<(HostId, String)> {
    match event {
        Event::Locked { host, lineage, .. } => Some((host.clone(), lineage.clone()?)),
        _ => None,
    }
}

/// Hears Ctrl-C and a request to end, each time.
pub fn interrupts() -> UnboundedReceiver<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (ask, asked) = unbounded_channel();
    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        let ask = ask.clone();
        // Without a handler the signal ends the process as it always did, which resume can go on from.
        let Ok(mut heard) = signal(kind) else { continue };
        tokio::spawn(async move { while heard.recv().await.is_some() && ask.send(()).is_ok() {} });
    }
    asked
}

/// Returns who runs this, for other people: `alice@laptop`.
pub fn who() -> String {
    let named = |name| std::env::var(name).ok().filter(|name| !name.is_empty());
    let user = named("USER")
        .or_else(|| named("LOGNAME"))
        .or_else(account)
        .unwrap_or_else(|| "somebody".to_owned());
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match machine.trim() {
        "" => user,
        machine => format!("{user}@{machine}"),
    }
}

/// Returns the name of the account that runs this, where the environment does not say it: a job or a service has none.
fn account() -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;
    let uid = std::fs::metadata("/proc/self").ok()?.uid().to_string();
    let accounts = std::fs::read_to_string("/etc/passwd").ok()?;
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    })
}

/// Returns where every secret of a plan is to be had.
fn sources(plan: &Plan) -> BTreeSet<SecretSource> {
    let mut sources: BTreeSet<SecretSource> = BTreeSet::new();
    let mut take = |body: &Body| sources.extend(body.secrets().map(|secret| secret.source.clone()));
    for (id, change) in &plan.changes {
        let undo = change.undo.ops().unwrap_or_default();
        change
            .ops
            .iter()
            .chain(undo)
            .flat_map(Op::bodies)
            .for_each(&mut take);
        // What takes another change back is held against what was there, not against what is wanted.
        let spec = Spec::decode(id.key.kind.as_str(), &change.spec);
        if let (Ok(spec), None) = (spec, &change.back) {
            spec.printed().into_iter().for_each(&mut take);
        }
    }
    sources.extend(plan.hosts.values().filter_map(sudo_password).cloned());
    sources.extend(plan.hooks.iter().flat_map(Hook::secrets).cloned());
    sources
}

fn sudo_password(target: &Target) -> Option<&SecretSource> {
    match &target.sudo {
        Sudo::Password(source) => Some(source),
        Sudo::None | Sudo::Passwordless => None,
    }
}

/// Returns where the inventory says that its age identity lies. A plan does not hold that: it is a matter of who applies it.
fn age_identity(inventory_file: &str) -> Option<String> {
    let text = std::fs::read_to_string(inventory_file).ok()?;
    let inventory: toml::Table = toml::from_str(&text).ok()?;
    Some(
        inventory
            .get("secrets")?
            .get("age_identity")?
            .as_str()?
            .to_owned(),
    )
}

/// Waits until a run may begin. Whoever interrupts that leaves no reservation behind.
async fn made_ready(
    run: &Run<'_>,
    preflight: impl Future<Output = Result<Ready, Refusal>>,
    interrupts: &mut UnboundedReceiver<()>,
    console: &mut Console,
) -> Result<Ready, Exit> {
    tokio::select! {
        biased;
        ready = preflight => ready.map_err(|refusal| refused(console, &refusal)),
        Some(()) = interrupts.recv() => {
            // Which of them were reserved in this moment nobody knows.
            run.give_back(&run.plan.hosts.keys().cloned().collect()).await;
            console.note("Nothing was done.");
            Err(Exit::Interrupted)
        }
    }
}

/// Says which hosts somebody else has, and returns the exit code.
pub fn taken(console: &mut Console, taken: &Taken) -> Exit {
    let names: Vec<&str> = taken.keys().map(HostId::as_str).collect();
    let found = Diagnostic::error(code::HOST_TAKEN, format!("others have {}", names.join(", ")));
    let found = taken.iter().fold(found, |found, (host, holder)| {
        found.because(format!("{host}: {holder}"))
    });
    fail(console, found.hint(way_out(taken, &names)));
    Exit::Locked
}

/// Says what ends it: a run that was killed keeps its hosts for a while, and nobody else can know that it is over.
fn way_out(taken: &Taken, names: &[&str]) -> String {
    let any = |wanted: &[Grip]| taken.values().any(|holder| wanted.contains(&holder.grip));
    let limit = names.join(",");
    let by_force = format!("`muster lock break --limit {limit} --reason WHY`");
    let what = if any(&[Grip::Reserved, Grip::Locked]) {
        format!(
            "if the run is over: what it reserved is free 10 minutes after it was last heard of, `muster resume` goes on with it, \
             and {by_force} takes it from it at once"
        )
    } else if any(&[Grip::Held]) {
        format!("a hold ends with `muster lock release` by its person, or with {by_force}")
    } else {
        "it ends by itself: try again".to_owned()
    };
    format!("nothing was done; {what}")
}

fn refused(console: &mut Console, refusal: &Refusal) -> Exit {
    let found = match refusal {
        Refusal::TooOld { .. } => Diagnostic::error(code::PLAN_OLD, refusal.to_string()).hint("plan again"),
        Refusal::Taken(hosts) => return taken(console, hosts),
        Refusal::Stale(stale) => {
            let lines = stale
                .iter()
                .flat_map(|(host, what)| what.iter().map(move |what| format!("{host}: {what}")));
            let found = Diagnostic::error(code::PLAN_STALE, refusal.to_string());
            lines
                .fold(found, |found, line| found.because(line))
                .hint("plan again, or leave these hosts out with `--skip-stale`")
        }
    };
    fail(console, found);
    Exit::Stale
}

fn broken_off(console: &mut Console, run: &RunId, error: &DriveError) -> Exit {
    let found = Diagnostic::error(code::RUN_BROKEN_OFF, super::chain(error));
    fail(
        console,
        found.hint(format!(
            "`muster resume {run}` looks at what was in flight and goes on"
        )),
    );
    match error {
        DriveError::Journal(_) => Exit::Error,
        DriveError::Left { .. } => Exit::Interrupted,
    }
}

/// Shows one diagnostic and returns the exit code of an error.
pub fn fail(console: &mut Console, found: Diagnostic) -> Exit {
    fail_all(console, [found])
}

/// Shows diagnostics and returns the exit code of an error.
pub fn fail_all(console: &mut Console, found: impl IntoIterator<Item = Diagnostic>) -> Exit {
    let mut all = Diagnostics::default();
    all.extend(found);
    console.diagnostics(&all, &Sources::default());
    Exit::Error
}

/// Loads a run's plan from its inventory's folder.
///
/// # Errors
/// [`Exit::Error`], after saying why.
pub fn plan_of(folder: &Path, id: &PlanId, console: &mut Console) -> Result<Plan, Exit> {
    let saved = store::plan::load(&store::plan::path(folder, id));
    saved
        .map(|saved| saved.plan)
        .map_err(|error| fail(console, error.diagnostic()))
}
