//! The command line: one file for each verb, holding its arguments, its help and its body.
//!
//! A verb is added by its file and one line in [`Command`]. Nothing but this room and `report` says anything to people;
//! what is said passes through [`console::Console`]. Nobody uses this room.

use std::ffi::OsString;
use std::io::{BufRead as _, IsTerminal as _, Write as _};

use clap::{CommandFactory as _, Parser, Subcommand};

pub mod aim;
pub mod calls;
pub mod console;
pub mod context;
pub mod discover;
pub mod exit;
pub mod global;
pub mod prompter;
pub mod survey;

mod adopt;
mod apply;
mod carry;
mod completions;
mod destroy;
mod drift;
mod exec;
mod explain;
mod history;
mod init;
mod lock;
mod logs;
mod man;
mod memory;
mod offer;
mod pin;
mod plan;
mod reach;
mod render;
mod resume;
mod rollback;
mod schema;
mod secret;
mod show;
mod simulate;
mod validate;
mod why;

use console::Console;
use exit::Exit;
use global::Global;

/// Declarative provisioner for fleets: one inventory, an exact plan, an apply that does what the plan says.
#[derive(Debug, Parser)]
#[command(name = "muster", version, max_term_width = 100, arg_required_else_help = true)]
#[command(subcommand_required = true, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Makes the verbs' enum and the call of each from one list.
macro_rules! verbs {
    ($($verb:ident :: $name:ident),* $(,)?) => {
        /// The verbs.
        #[derive(Debug, Subcommand)]
        enum Command {
            $($name($verb::Args),)*
        }

        impl Command {
            fn run(self, global: &Global, console: &mut Console) -> Exit {
                match self {
                    $(Self::$name(args) => args.run(global, console),)*
                }
            }
        }
    };
}

// A verb is one line here: its file, and its name.
verbs! {
    validate::Validate,
    plan::Plan,
    pin::Pin,
    render::Render,
    apply::Apply,
    resume::Resume,
    rollback::Rollback,
    destroy::Destroy,
    history::History,
    lock::Lock,
    logs::Logs,
    exec::Exec,
    adopt::Adopt,
    drift::Drift,
    why::Why,
    explain::Explain,
    schema::Schema,
    completions::Completions,
    man::Man,
    init::Init,
    show::Show,
    simulate::Simulate,
    secret::Secret,
}

/// Runs the program with its arguments, the first of which is its own name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    memory::watch();
    let mut console = Console::new(&cli.global);
    let exit = cli.command.run(&cli.global, &mut console);
    console.close(exit)
}

/// Prints help, the version, or what is wrong with the arguments. A closed pipe is nobody's mistake.
fn refuse(error: &clap::Error) -> Exit {
    let _ = error.print();
    if error.use_stderr() {
        Exit::Usage
    } else {
        Exit::Done
    }
}

/// Returns the whole command line, for completions, manual pages and the reference.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs a future to its end, on as many threads as the machine has processors.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let _ = allow_many_connections();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a process can start threads").block_on(future)
}

/// The most files that may be open at once, where the machine permits it.
const FILES_MAX: u64 = 65_536;

/// A connection is an open file, and most systems begin with 1,024 of them. What is not permitted is met again when a
/// connection cannot be opened, and told there.
fn allow_many_connections() -> std::io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(FILES_MAX, |maximum| maximum.min(FILES_MAX));
    if limit.current.is_some_and(|current| current < wanted) {
        let current = Some(wanted);
        setrlimit(Resource::Nofile, Rlimit { current, ..limit })?;
    }
    Ok(())
}

/// Returns an error with everything that led to it, outermost first.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

/// Asks for the name of a fleet that is to be destroyed. `--yes` does not answer this; `--confirm NAME` does.
///
/// # Errors
/// [`Exit::Usage`] where nobody can be asked, [`Exit::Error`] where another name was given; both after saying so.
fn confirm_fleet(fleet: &str, given: Option<&str>, global: &Global, console: &Console) -> Result<(), Exit> {
    let given = match given {
        Some(given) => given.to_owned(),
        None if global.no_input || !std::io::stdin().is_terminal() => {
            console.error("nobody can be asked for the name of the fleet");
            console.note(&format!("hint: look first, and say `--confirm {fleet}` then"));
            return Err(Exit::Usage);
        }
        None => {
            let mut answer = String::new();
            let asked = write!(std::io::stderr(), "Type the name of the fleet to go on: ")
                .and_then(|()| std::io::stdin().lock().read_line(&mut answer));
            asked.map_or_else(|_| String::new(), |_| answer.trim().to_owned())
        }
    };
    if given == fleet {
        return Ok(());
    }
    console.note(&format!("The name of the fleet is `{fleet}`. Nothing was done."));
    Err(Exit::Error)
}

/// Asks a question that only `yes` answers; `--yes` answers it too.
///
/// # Errors
/// [`Exit::Usage`] where nobody can be asked, [`Exit::Error`] where the answer was another; both after saying so.
fn confirm(question: &str, global: &Global, console: &Console) -> Result<(), Exit> {
    if global.yes {
        return Ok(());
    }
    if global.no_input || !std::io::stdin().is_terminal() {
        console.error("nobody can be asked whether to go on");
        console.note("hint: look first, and say `--yes` then");
        return Err(Exit::Usage);
    }
    let mut answer = String::new();
    let asked = write!(
        std::io::stderr(),
        "{} Only `yes` goes on: ",
        crate::report::escape::lines(question)
    )
    .and_then(|()| std::io::stdin().lock().read_line(&mut answer));
    if asked.is_ok() && answer.trim() == "yes" {
        return Ok(());
    }
    console.note("Nothing was done.");
    Err(Exit::Error)
}
