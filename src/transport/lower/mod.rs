//! Ops and probes → POSIX shell. Pure, and the only place where a command is spelled.
//!
//! [`op`] spells ops, [`look`] spells probes, [`reply`] reads what a script printed, [`answer`] makes a probe's answer of
//! it; the shell functions that they call are in `guard.sh`, `ops.sh`, `look.sh`, `undo.sh`, `deadman.sh` and `rules.sh`
//! beside this file. Whole scripts are put together here.

pub mod answer;
pub mod facts;
pub mod look;
pub mod op;
pub mod reply;
mod switch;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use crate::model::id::RunId;
use crate::model::id::{HostId, ResourceKey};
use crate::model::manifest::Owned;
use crate::model::manifest_text;
use crate::model::op::Probe;
use crate::ports::{Fence, LockRequest, LookRequest, Order};

use self::op::Act;
use super::quote;

/// The folder that a host keeps its guard's files in.
pub const STATE_DIR: &str = "/var/lib/muster";

/// How much of a person's command the host's log keeps, in characters.
const LOGGED_MAX: usize = 1000;

/// The statuses with which the guard refuses.
pub mod status {
    /// The token is not the last one, its lease is over, or its dead-man switch is no longer armed.
    pub const FENCED: i32 = 91;
    /// Another run holds the lock.
    pub const HELD: i32 = 92;
    /// The manifest names another fleet or host.
    pub const NOT_OURS: i32 = 93;
    /// An operation still runs under the lock file.
    pub const BUSY: i32 = 94;
    /// The manifest is damaged.
    pub const DAMAGED: i32 = 95;
    /// An op failed.
    pub const STEP: i32 = 96;
    /// The guard's own files cannot be read or written.
    pub const GUARD: i32 = 97;
    /// As an op's status: a file is no longer what the op was made for.
    pub const CHANGED: i32 = 98;
}

static GUARD: Functions = Functions(LazyLock::new(|| bare(include_str!("guard.sh"))));
static LOCK: Functions = Functions(LazyLock::new(|| bare(include_str!("lock.sh"))));
static EXEC: Functions = Functions(LazyLock::new(|| bare(include_str!("exec.sh"))));
static OPS: Functions = Functions(LazyLock::new(|| bare(include_str!("ops.sh"))));
static LOOK: Functions = Functions(LazyLock::new(|| bare(include_str!("look.sh"))));
static UNDO: Functions = Functions(LazyLock::new(|| bare(include_str!("undo.sh"))));

/// Shell functions as they are sent.
struct Functions(LazyLock<String>);

impl fmt::Display for Functions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Leaves out what only people read: these functions are sent to every host, and parsed there, each time.
/// The files hold no text of several lines, in which a comment would be something else.
fn bare(script: &str) -> String {
    let lines = script
        .lines()
        .map(str::trim_start)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let head = |line: &str| match line.split_once("() { #") {
        Some((name, _)) => format!("{name}() {{\n"),
        None => format!("{line}\n"),
    };
    lines.map(head).collect()
}

/// Who acts on the host, and where the guard's files are.
#[derive(Debug, Clone, Copy)]
pub struct Guard<'a> {
    /// The folder of the guard's files; [`STATE_DIR`] but in tests.
    pub state_dir: &'a str,
    /// The longest wait for the lock file and for the package manager's locks, in seconds.
    pub wait_secs: u64,
}

/// Spells the question who listens on a port. It changes nothing.
pub fn listeners(port: u16) -> String {
    format!("ss -Hlntup 'sport = :{port}' 2>/dev/null\n")
}

impl Guard<'_> {
    /// Spells a look. It changes nothing, not even a temporary file.
    pub fn look(&self, request: &LookRequest) -> String {
        let (head, functions) = (self.head("-", 0), functions(request));
        format!("{head}{functions}\n{}finish\n", looking(request))
    }

    /// Spells a reservation, or its renewal, and a look.
    pub fn reserve(&self, request: &LockRequest, look: &LookRequest) -> String {
        let (head, who, wait) = (
            self.head(request.run.as_str(), 0),
            person(&request.who),
            self.wait_secs,
        );
        format!(
            "{head}{GUARD}{LOCK}{}\nreserve_host {who} {wait}\n{}finish\n",
            functions(look),
            looking(look)
        )
    }

    /// Spells the end of a reservation.
    pub fn unreserve(&self, run: &RunId) -> String {
        format!(
            "{}{GUARD}{LOCK}\nunreserve_host {}\n",
            self.head(run.as_str(), 0),
            self.wait_secs
        )
    }

    /// Spells the taking of a lock.
    pub fn lock(&self, host: &HostId, request: &LockRequest, over: Over) -> String {
        let head = self.head(request.run.as_str(), 0);
        format!(
            "{head}{GUARD}{LOCK}\n{}echo end\n",
            self.locking(host, request, over)
        )
    }

    /// Spells the taking of a lock and a look. The lock file is held until the look ends, so that nobody else comes between,
    /// however long it takes.
    pub fn lock_and_look(
        &self,
        host: &HostId,
        request: &LockRequest,
        over: Over,
        look: &LookRequest,
    ) -> String {
        format!(
            "{}{GUARD}{LOCK}{}\n{}{}keep_lease\nfinish\n",
            self.head(request.run.as_str(), 0),
            functions(look),
            self.locking(host, request, over),
            looking(look)
        )
    }

    fn locking(&self, host: &HostId, request: &LockRequest, over: Over) -> String {
        let who = person(&request.who);
        let wait = self.wait_secs;
        let former = match &request.former {
            Some((fleet, host)) => format!("{fleet} {host}"),
            None => "- -".to_owned(),
        };
        format!(
            "lock_host {who} {} {host} {wait} {former} {} {}\n",
            request.fleet,
            over.word(),
            request.lease_secs
        )
    }

    /// Spells the renewal of a lease.
    pub fn renew(&self, fence: &Fence, over: Over) -> String {
        format!(
            "{}{GUARD}{LOCK}\nrenew_lock {}\n",
            self.fenced_head(fence),
            over.word()
        )
    }

    /// Spells the release of a lock.
    pub fn release(&self, fence: &Fence) -> String {
        format!(
            "{}{GUARD}{LOCK}\nrelease_lock {}\n",
            self.fenced_head(fence),
            self.wait_secs
        )
    }

    /// Spells the question who has the host.
    pub fn standing(&self) -> String {
        self.by_hand("say_standing")
    }

    /// Spells a person's hold.
    pub fn hold(&self, who: &str, reason: &str) -> String {
        let (who, wait, reason) = (person(who), self.wait_secs, person(reason));
        self.by_hand(&format!("hold_host {who} {wait} {reason}"))
    }

    /// Spells the release of a person's own hold.
    pub fn free(&self, who: &str) -> String {
        self.by_hand(&format!("free_host {} {}", person(who), self.wait_secs))
    }

    /// Spells the taking of the host from whoever has it.
    pub fn break_open(&self, who: &str, reason: &str, over: Over) -> String {
        let (who, wait, reason) = (person(who), self.wait_secs, person(reason));
        self.by_hand(&format!("break_host {who} {wait} {reason} {}", over.word()))
    }

    /// Spells what people do beside all runs.
    fn by_hand(&self, call: &str) -> String {
        format!("{}{GUARD}{LOCK}\n{call}\n", self.head("-", 0))
    }

    /// Spells a person's command. Once it begins, the script's output and status are the command's.
    pub fn exec(&self, order: &Order) -> String {
        let (head, entrance, locked) = match &order.fence {
            Some(fence) => (self.fenced_head(fence), self.entrance(), "locked"),
            None => (self.head(order.run.as_str(), 0), "trap '' PIPE\n".to_owned(), ""),
        };
        let what: String = quote::one_line(&order.command).chars().take(LOGGED_MAX).collect();
        let arguments = quote::words([quote::one_line(&order.who).as_str(), &what, locked]);
        let command = quote::document(&order.command);
        format!("{head}{GUARD}{EXEC}\n{entrance}exec_command {arguments} {command}\n")
    }

    /// Spells a change of manifest entries.
    pub fn record(&self, fence: &Fence, entries: &BTreeMap<ResourceKey, Option<Owned>>) -> String {
        format!(
            "{}{GUARD}\n{}{}echo end\n",
            self.fenced_head(fence),
            self.entrance(),
            recording(entries)
        )
    }

    /// Spells a change of manifest entries after which the lock is free.
    pub fn conclude(&self, fence: &Fence, entries: &BTreeMap<ResourceKey, Option<Owned>>) -> String {
        format!(
            "{}{GUARD}{LOCK}\n{}{}free_lock\necho end\n",
            self.fenced_head(fence),
            self.entrance(),
            recording(entries)
        )
    }

    /// Spells acts under the guard, followed by what is looked at when all are done. Those under a dead-man switch do
    /// nothing once it is no longer armed.
    pub fn perform(
        &self,
        fence: &Fence,
        is_under_switch: bool,
        intents: &BTreeMap<ResourceKey, Owned>,
        acts: &[Act],
        then: &Then<'_>,
    ) -> String {
        let mut script = format!("{}{GUARD}{UNDO}{OPS}{LOOK}\n", self.fenced_head(fence));
        acts.iter()
            .enumerate()
            .for_each(|(n, act)| script.push_str(&act.function(n)));
        script.push_str(&self.entrance());
        if is_under_switch {
            script.push_str("check_armed\n");
        }
        if !intents.is_empty() {
            let entries = intents
                .iter()
                .map(|(key, owned)| (key.clone(), Some(owned.clone())))
                .collect();
            script.push_str(&recording(&entries));
        }
        acts.iter()
            .enumerate()
            .for_each(|(n, act)| script.push_str(&act.step(n)));
        script.push_str(&match then {
            Then::Look(probes) => format!("say_salt\n{}", look::sections(probes)),
            Then::Read(path) => look::reading(path),
        });
        script + "end_steps\nsay now date +%s\nfinish\n"
    }

    /// Spells a question to the host: its answer is one command's.
    pub fn ask(&self, command: &str, secs: u64) -> String {
        format!(
            "{}{OPS}{LOOK}\n{}finish\n",
            self.head("-", 0),
            look::asking(command, secs)
        )
    }

    /// Waits for the lock file and lets only the holder of the last token in.
    fn entrance(&self) -> String {
        format!("trap '' PIPE\nenter {}\ncheck_fence\n", self.wait_secs)
    }

    fn fenced_head(&self, fence: &Fence) -> String {
        self.head(fence.run.as_str(), fence.token)
    }

    fn head(&self, run: &str, token: u64) -> String {
        let state = quote::word(self.state_dir);
        let (run, wait) = (quote::word(run), self.wait_secs);
        format!(
            "export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\numask 077\n\
             state={state} run={run} token={token} lock_wait={wait}\n"
        )
    }
}

/// How a script comes to the host: whether there is a connection whose end the guard can find and end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Through sshd, which is an ancestor of the script's shell.
    Ssh,
    /// From this machine itself. An sshd above the shell would be that of the person who runs muster.
    Local,
}

impl Over {
    fn word(self) -> &'static str {
        match self {
            Self::Ssh => "ssh",
            Self::Local => "local",
        }
    }
}

/// Returns the functions that a look calls: of the ops' it needs the one that runs a module's command.
fn functions(request: &LookRequest) -> String {
    let ops: &str = match look::has_commands(&request.probes) {
        true => &OPS.0,
        false => "",
    };
    format!("{ops}{LOOK}")
}

/// Spells what is looked at, after a head and the functions that it calls.
fn looking(request: &LookRequest) -> String {
    let tools = quote::words(request.tools.iter().map(String::as_str));
    let facts = if request.facts { "say_facts\n" } else { "" };
    let sections = look::sections(&request.probes);
    let undo: &str = if look::asks_what_is_kept(&request.probes) {
        &UNDO.0
    } else {
        ""
    };
    format!("{undo}say_host {tools}\n{facts}{sections}")
}

/// Spells what a person is called or says as one word and one line.
fn person(text: &str) -> String {
    quote::word(&quote::one_line(text))
}

/// What is looked at after the acts of a call.
#[derive(Debug, Clone, Copy)]
pub enum Then<'a> {
    /// The call's own probes.
    Look(&'a BTreeMap<ResourceKey, Vec<Probe>>),
    /// A file whose keys the next act changes.
    Read(&'a str),
}

/// Spells a change of manifest entries for `record`, which wants them sorted by bytes.
fn recording(entries: &BTreeMap<ResourceKey, Option<Owned>>) -> String {
    let set = entries
        .iter()
        .filter_map(|(key, owned)| owned.as_ref().map(|owned| manifest_text::write_entry(key, owned)));
    let touched = entries.keys().map(manifest_text::write_key);
    format!(
        "incoming set {}\nincoming touched {}\nrecord\n",
        quote::words(sorted(set).iter().map(String::as_str)),
        quote::words(sorted(touched).iter().map(String::as_str)),
    )
}

fn sorted(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    lines
}
