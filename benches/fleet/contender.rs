//! Who is measured, and on what.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use muster::model::id::ResourceKey;
use muster::model::op::{ContentWanted, Probe};
use muster::ports::LookRequest;
use muster::transport::lower::{Guard, STATE_DIR};

use super::bed::{self, Bed};

/// One program on a number of hosts.
pub struct Contender {
    /// As the table names it.
    pub name: &'static str,
    /// How many hosts it works on.
    pub hosts: usize,
    /// Whether it finds hosts on which nothing was done yet.
    pub is_first: bool,
    /// How often it runs at most: some are slow.
    pub rounds_max: usize,
    does: Does,
}

enum Does {
    /// russh alone, with one of the scripts.
    Floor(&'static str),
    /// muster with a verb, on the module that reads no facts or on the one that does.
    Muster(&'static str, &'static str),
    /// pyinfra, changing nothing, or at once whatever it finds different: `-y` spares it a look before.
    Pyinfra(&'static [&'static str]),
}

/// The floor: a script as long as muster's look that does nothing.
pub const FLOOR: &str = "floor";
/// muster's own look, started by russh alone.
pub const LOOK: &str = "floor + the look's programs";
/// A plan in which nothing changes.
pub const PLAN: &str = "muster plan";
/// The same where a module reads facts of its hosts.
pub const PLAN_FACTS: &str = "muster plan, facts read";
/// The first apply.
pub const APPLY: &str = "muster apply, first";
/// A plan in which nothing changes, by pyinfra.
pub const PYINFRA_PLAN: &str = "pyinfra --dry";
/// The first apply, by pyinfra.
pub const PYINFRA_APPLY: &str = "pyinfra, first";

/// Lists the contenders for a number of hosts.
pub fn all(bed: &Bed, hosts: usize, is_quick: bool, only: Option<&str>) -> Vec<Contender> {
    let contender = |name, is_first, rounds_max, does| Contender {
        name,
        hosts,
        is_first,
        rounds_max,
        does,
    };
    let mut all = vec![
        contender(FLOOR, false, usize::MAX, Does::Floor(bed::IDLE)),
        contender(PLAN, false, usize::MAX, Does::Muster("plan", "plain")),
        contender(LOOK, false, usize::MAX, Does::Floor(bed::LOOK)),
        contender(PLAN_FACTS, false, usize::MAX, Does::Muster("plan", "facts")),
        contender(
            APPLY,
            true,
            if hosts > 500 { 1 } else { 3 },
            Does::Muster("apply", "plain"),
        ),
    ];
    // One size is enough to compare with; at a thousand hosts it would take all the time there is.
    if hosts <= 100 && bed.pyinfra.is_some() {
        let rounds_max = if is_quick { 1 } else { 3 };
        all.push(contender(
            PYINFRA_PLAN,
            false,
            rounds_max,
            Does::Pyinfra(&["--dry"]),
        ));
        if !is_quick {
            all.push(contender(PYINFRA_APPLY, true, 2, Does::Pyinfra(&["-y"])));
        }
    }
    all.retain(|contender| only.is_none_or(|only| only.split(';').any(|one| contender.name == one)));
    all
}

impl Contender {
    /// Tells whether muster has nothing to do afterwards, whatever was there before.
    pub fn settles(&self) -> bool {
        matches!(self.does, Does::Muster("apply", _))
    }

    /// Returns the command that is measured.
    pub fn command(&self, bed: &Bed) -> Command {
        match &self.does {
            Does::Floor(script) => {
                let own = std::env::current_exe().expect("this program has a path");
                let mut command = Command::new(own);
                command.args(["floor", &self.hosts.to_string(), script]);
                command
            }
            Does::Muster(verb, module) => muster(verb, module, self.hosts),
            Does::Pyinfra(more) => {
                let mut command = Command::new(bed.pyinfra.as_ref().expect("it is installed"));
                let hosts = format!("inventory-{}.py", self.hosts);
                command
                    .args(["--parallel", "64", &hosts, "deploy.py"])
                    .args(*more);
                command.current_dir(bed::PYINFRA).env("HOME", bed::HOME);
                command
            }
        }
    }
}

/// Returns `muster VERB` on a number of hosts.
pub fn muster(verb: &str, module: &str, hosts: usize) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    let inventory = PathBuf::from(bed::PROJECT).join(format!("inventories/{module}-{hosts}.toml"));
    command.arg("-i").arg(inventory).args(["-y", "--no-input", verb]);
    if verb == "plan" {
        command.arg("--detailed-exitcode");
    }
    command
        .current_dir(bed::PROJECT)
        .env("HOME", bed::HOME)
        .env_remove("SSH_AUTH_SOCK");
    command
}

/// Returns the script with which muster looks at a host: the probes of the module under measure.
pub fn look_script() -> String {
    let mut probes = BTreeMap::new();
    for (kind, path) in bed::resources() {
        let content = match kind {
            "file" => ContentWanted::Text,
            _ => ContentWanted::None,
        };
        probes.insert(ResourceKey::new(kind, &path), vec![Probe::Path { path, content }]);
    }
    let guard = Guard {
        state_dir: STATE_DIR,
        wait_secs: 30,
    };
    guard.look(&LookRequest {
        probes,
        ..LookRequest::default()
    })
}
