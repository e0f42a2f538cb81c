//! `muster lock`: who has which host, and taking and giving hosts by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};

use super::carry;
use super::console::Console;
use super::context::Context;
use super::exit::Exit;
use super::global::Global;
use super::survey;
use crate::model::code;
use crate::model::diagnostic::Diagnostic;
use crate::model::holder::Holder;
use crate::model::id::HostId;
use crate::ports::{LockError, ReachError, Warden};
use crate::report::lock::{self, Standing};

/// Say who has which host; hold hosts by hand, release them, or take them from whoever has them
///
/// A run reserves every host that it will change and locks each when it comes to it. A hold is a person's: while it lasts every apply that
/// would change the host ends with exit code 5 and tells the reason.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Say of each host whether it is free, reserved, locked or held; by whom, since when, and why
    Status,
    /// Hold hosts, so that no run changes them until they are released
    ///
    /// All of those that answer, or none: a host that somebody else has refuses the whole. A hold outlasts reboots. Holding
    /// again changes the reason.
    Hold {
        /// Why, for those who meet it
        #[arg(long, value_parser = reason)]
        reason: String,
    },
    /// Release hosts that you hold
    Release,
    /// Take hosts from whoever has them, and give them to nobody
    ///
    /// A run whose lock is broken changes nothing more: its token is no longer the last one, and its connection to the host is ended. An operation
    /// that still runs on the host is not stopped; muster waits for it half a minute and then refuses. The host's log
    /// says who broke what, and why.
    Break {
        /// Why, for the host's log
        #[arg(long, value_parser = reason)]
        reason: String,
    },
}

/// The longest reason, in characters: it is shown on one line.
const REASON_MAX: usize = 200;

fn reason(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("say why".to_owned()),
        text if text.chars().count() > REASON_MAX => Err(format!("at most {REASON_MAX} characters")),
        text => Ok(text.to_owned()),
    }
}

/// The hosts that are meant, and the way to them.
struct Desk {
    hosts: BTreeSet<HostId>,
    parallel: usize,
    warden: Arc<dyn Warden>,
    who: String,
}

impl Args {
    /// Runs the verb.
    pub(super) fn run(self, global: &Global, console: &mut Console) -> Exit {
        let done = super::block_on(async {
            let context = Context::load(global, console)?;
            let desk = Desk::open(&context, global, console).await?;
            match self.verb {
                Verb::Status => Ok(desk.status(console).await),
                Verb::Hold { reason } => desk.hold(&reason, console).await,
                Verb::Release => desk.release(console).await,
                Verb::Break { reason } => desk.break_open(&reason, global, console).await,
            }
        });
        done.unwrap_or_else(|exit: Exit| exit)
    }
}

impl Desk {
    async fn open(context: &Context, global: &Global, console: &Console) -> Result<Self, Exit> {
        let hosts = context.limited(global, console)?;
        let by_hand = survey::by_hand(context, global, console, &hosts).await?;
        Ok(Self {
            hosts,
            parallel: context.parallel(global).max(1),
            warden: by_hand.transport,
            who: carry::who(),
        })
    }

    /// Asks hosts, several at once.
    async fn each<T, F>(
        &self,
        hosts: impl IntoIterator<Item = HostId>,
        ask: impl Fn(Arc<dyn Warden>, HostId) -> F,
    ) -> BTreeMap<HostId, T>
    where
        F: Future<Output = T>,
    {
        let asked = hosts.into_iter().map(|host| {
            let answer = ask(Arc::clone(&self.warden), host.clone());
            async move { (host, answer.await) }
        });
        stream::iter(asked)
            .buffer_unordered(self.parallel)
            .collect()
            .await
    }

    async fn standings(&self) -> BTreeMap<HostId, Result<Option<Holder>, ReachError>> {
        self.each(self.hosts.clone(), |warden, host| async move {
            warden.standing(&host).await
        })
        .await
    }

    async fn status(&self, console: &mut Console) -> Exit {
        let found = self.standings().await;
        let exit = worst(found.values().filter_map(|standing| standing.as_ref().err()));
        let standings: BTreeMap<HostId, Standing> = found
            .into_iter()
            .map(|(host, standing)| (host, standing.map_err(|error| error.to_string())))
            .collect();
        if console.is_json() {
            console.begin_json("lock");
            for (host, standing) in &standings {
                console.object(&lock::json(host, standing));
            }
        } else {
            console.page(&lock::page(&standings));
        }
        exit
    }

    async fn hold(&self, reason: &str, console: &mut Console) -> Result<Exit, Exit> {
        let who = self.who.as_str();
        let before = self.standings().await;
        let held = self
            .each(self.hosts.clone(), |warden, host| async move {
                warden.hold(&host, who, reason).await
            })
            .await;
        let has_refusal = held.values().any(|held| matches!(held, Err(LockError::Held(_))));
        if has_refusal {
            // What was this person's before stays so.
            let new = held
                .iter()
                .filter(|(host, held)| held.is_ok() && matches!(before.get(*host), Some(Ok(None))))
                .map(|(host, _)| host.clone());
            self.each(new, |warden, host| async move { warden.free(&host, who).await })
                .await;
            return Err(self.refused(console, &held, "nothing is held that was not held before"));
        }
        for (host, _) in held.iter().filter(|(_, held)| held.is_ok()) {
            console.note(&format!("{host}: held by {who}: {reason}"));
        }
        Ok(self.end(console, &held))
    }

    async fn release(&self, console: &mut Console) -> Result<Exit, Exit> {
        let who = self.who.as_str();
        let freed = self
            .each(self.hosts.clone(), |warden, host| async move {
                warden.free(&host, who).await
            })
            .await;
        for (host, freed) in &freed {
            match freed {
                Ok(true) => console.note(&format!("{host}: released")),
                Ok(false) => console.note(&format!("{host}: was not held")),
                Err(_) => {}
            }
        }
        if freed
            .values()
            .any(|freed| matches!(freed, Err(LockError::Held(_))))
        {
            return Err(self.refused(
                console,
                &freed,
                "a hold of somebody else is taken away by `muster lock break --reason WHY`",
            ));
        }
        Ok(self.end(console, &freed))
    }

    async fn break_open(&self, reason: &str, global: &Global, console: &mut Console) -> Result<Exit, Exit> {
        let found = self.standings().await;
        let had: BTreeMap<&HostId, &Holder> = found
            .iter()
            .filter_map(|(host, standing)| Some((host, standing.as_ref().ok()?.as_ref()?)))
            .collect();
        for (host, error) in found
            .iter()
            .filter_map(|(host, standing)| Some((host, standing.as_ref().err()?)))
        {
            console.error(&format!("{host}: {error}"));
        }
        let unknown = worst(found.values().filter_map(|standing| standing.as_ref().err()));
        if had.is_empty() {
            console.note("Nobody has any of these hosts.");
            return Ok(unknown);
        }
        for (host, holder) in &had {
            console.note(&format!("{host}: {holder}"));
        }
        super::confirm(
            &format!("Take {} from them?", counted(had.len())),
            global,
            console,
        )?;
        let who = self.who.as_str();
        let hosts: Vec<HostId> = had.into_keys().cloned().collect();
        let broken = self
            .each(hosts, |warden, host| async move {
                warden.break_open(&host, who, reason).await
            })
            .await;
        for (host, broken) in &broken {
            match broken {
                Ok(Some(holder)) => {
                    console.note(&format!("{host}: taken from the one who had it ({holder})"))
                }
                Ok(None) => console.note(&format!("{host}: nobody had it any more")),
                Err(_) => {}
            }
        }
        if broken
            .values()
            .any(|broken| matches!(broken, Err(LockError::Held(_))))
        {
            return Err(self.refused(
                console,
                &broken,
                "what runs there is not stopped by this; try again when it has ended",
            ));
        }
        match self.end(console, &broken) {
            Exit::Done => Ok(unknown),
            exit => Ok(exit),
        }
    }

    /// Says which hosts others have.
    fn refused<T>(
        &self,
        console: &mut Console,
        asked: &BTreeMap<HostId, Result<T, LockError>>,
        hint: &str,
    ) -> Exit {
        let taken = asked.iter().filter_map(|(host, asked)| match asked {
            Err(LockError::Held(holder)) => Some((host, holder)),
            Ok(_) | Err(LockError::NotOurs(_) | LockError::Lost | LockError::Reach(_)) => None,
        });
        let names: Vec<&str> = taken.clone().map(|(host, _)| host.as_str()).collect();
        let found = Diagnostic::error(code::HOST_TAKEN, format!("others have {}", names.join(", ")));
        let found = taken.fold(found, |found, (host, holder)| {
            found.because(format!("{host}: {holder}"))
        });
        carry::fail(console, found.hint(hint));
        Exit::Locked
    }

    /// Says what went wrong elsewhere, and returns the exit code.
    fn end<T>(&self, console: &Console, asked: &BTreeMap<HostId, Result<T, LockError>>) -> Exit {
        let failed = || {
            asked
                .iter()
                .filter_map(|(host, asked)| Some((host, asked.as_ref().err()?)))
        };
        for (host, error) in failed() {
            console.error(&format!("{host}: {error}"));
        }
        let is_unreachable = |error: &LockError| {
            matches!(
                error,
                LockError::Reach(ReachError::Unreachable(_) | ReachError::HostKey(_))
            )
        };
        match (failed().count(), failed().all(|(_, error)| is_unreachable(error))) {
            (0, _) => Exit::Done,
            (_, true) => Exit::Unreachable,
            (_, false) => Exit::Failed,
        }
    }
}

/// Returns the exit code of a look: what could not be read counts more than who did not answer.
fn worst<'e>(errors: impl Iterator<Item = &'e ReachError>) -> Exit {
    errors.fold(Exit::Done, |exit, error| match (exit, error) {
        (Exit::Failed, _) | (_, ReachError::Failed { .. }) => Exit::Failed,
        (_, ReachError::Unreachable(_) | ReachError::HostKey(_)) => Exit::Unreachable,
    })
}

fn counted(hosts: usize) -> String {
    match hosts {
        1 => "1 host".to_owned(),
        hosts => format!("{hosts} hosts"),
    }
}
