//! `muster secret`: encrypted values beside the inventory.
//!
//! Values come from an editor, a prompt or standard input, never from arguments, and are never printed. What an editor
//! needs as a file lies in memory, readable by its owner alone, and is overwritten before it goes.

use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use age::x25519::Recipient;
use clap::Subcommand;
use zeroize::Zeroizing;

use super::console::Console;
use super::discover;
use super::exit::Exit;
use super::global::Global;
use crate::load::{self, Overrides};
use crate::store;
use crate::vault::age as vault;

/// Edit values that are encrypted beside the inventory
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Open an encrypted TOML file in $VISUAL or $EDITOR and encrypt what you leave
    Edit {
        #[command(flatten)]
        place: Place,
    },
    /// Set one key of an encrypted TOML file, from standard input or a prompt
    Encrypt {
        #[command(flatten)]
        place: Place,
        /// The key, `table.key` for a key of a table
        key: String,
    },
}

/// Which file, and who can open it.
#[derive(Debug, clap::Args)]
struct Place {
    /// The encrypted file
    file: PathBuf,
    /// Who can open it: age1…; several times for several [default: those in FILE.recipients]
    #[arg(long, value_name = "AGE1", value_parser = recipient)]
    recipient: Vec<Recipient>,
    /// The identity that opens it [default: $MUSTER_AGE_IDENTITY, then the inventory's `age_identity`]
    #[arg(long, value_name = "FILE")]
    identity: Option<String>,
}

fn recipient(text: &str) -> Result<Recipient, String> {
    // Only the first error's words: the text may be an identity.
    text.parse().map_err(str::to_owned)
}

impl Args {
    /// Runs the verb.
    pub(super) fn run(self, global: &Global, console: &mut Console) -> Exit {
        let identity = |place: &Place| place.identity(global, console);
        let done = match &self.verb {
            Verb::Edit { place } => place.edit(&identity, &mut edit_in_editor),
            Verb::Encrypt { place, key } => {
                value(key, global.no_input).and_then(|value| place.encrypt(&identity, key, &value))
            }
        };
        match done {
            Ok(said) => {
                console.note(&said);
                Exit::Done
            }
            Err(why) => {
                console.error(&why);
                Exit::Error
            }
        }
    }
}

/// Changes a text, and says whether it is to be kept.
type Edit<'a> = dyn FnMut(&str) -> Result<Zeroizing<String>, String> + 'a;
/// Finds the identity, which is asked for only where something is to be opened.
type Identity<'a> = dyn Fn(&Place) -> Result<PathBuf, String> + 'a;

impl Place {
    fn edit(&self, identity: &Identity<'_>, edit: &mut Edit<'_>) -> Result<String, String> {
        let before = self.open(identity)?;
        let after = edit(&before)?;
        if *after == *before {
            return Ok(format!("{} stays as it is", self.file.display()));
        }
        vault::keys(&after).map_err(|why| format!("{} stays as it is: {why}", self.file.display()))?;
        self.close(identity, &after)
    }

    fn encrypt(&self, identity: &Identity<'_>, key: &str, value: &str) -> Result<String, String> {
        let before = self.open(identity)?;
        // The parser's words may repeat a line of the text, so they are left out.
        let mut table: toml_edit::DocumentMut = before
            .parse()
            .map_err(|_| format!("what is in {} is not TOML", self.file.display()))?;
        set(table.as_table_mut(), key, value)?;
        self.close(identity, &Zeroizing::new(table.to_string()))
    }

    /// Finds the identity: the flag, the environment, the inventory.
    fn identity(&self, global: &Global, console: &Console) -> Result<PathBuf, String> {
        if let Some(path) = &self.identity {
            return vault::at_home(path);
        }
        if std::env::var_os(vault::IDENTITY_VARIABLE).is_some() {
            return vault::identity_path(None);
        }
        let nobody =
            |_| "no age identity is given: name it with --identity, or the inventory that does".to_owned();
        let path = discover::inventory(global, console).map_err(nobody)?;
        let inventory = load::inventory(&path, &BTreeSet::new(), &Overrides::default()).value;
        vault::identity_path(inventory.and_then(|inventory| inventory.age_identity).as_deref())
    }

    /// Returns what is in the file; nothing if it is not there yet.
    fn open(&self, identity: &Identity<'_>) -> Result<Zeroizing<String>, String> {
        if !self.file.exists() {
            return Ok(Zeroizing::new(String::new()));
        }
        vault::decrypt(&self.file, &identity(self)?)
    }

    fn close(&self, identity: &Identity<'_>, text: &str) -> Result<String, String> {
        let recipients = self.recipients(identity)?;
        let encrypted = vault::encrypt(text, &recipients)?;
        let list: String = recipients
            .iter()
            .map(|recipient| format!("{recipient}\n"))
            .collect();
        // The list first: a file for people whom nobody knows could not be encrypted again.
        let list = format!("# who can open {}\n{list}", self.name());
        store::write(&self.list(), list.as_bytes()).map_err(|error| error.to_string())?;
        store::write(&self.file, &encrypted).map_err(|error| error.to_string())?;
        Ok(format!(
            "{} is encrypted to {}",
            self.file.display(),
            recipients.len()
        ))
    }

    /// The flags; else the list beside the file; else, for a new file, whoever encrypts it.
    fn recipients(&self, identity: &Identity<'_>) -> Result<Vec<Recipient>, String> {
        if !self.recipient.is_empty() {
            return Ok(self.recipient.clone());
        }
        match std::fs::read_to_string(self.list()) {
            Ok(text) => {
                match vault::recipients(&text).map_err(|why| format!("{}: {why}", self.list().display()))? {
                    list if list.is_empty() => Err(format!("{} names nobody", self.list().display())),
                    list => Ok(list),
                }
            }
            Err(_) if self.file.exists() => Err(format!(
                "nobody knows who can open {}, since {} is missing: name them all with --recipient",
                self.file.display(),
                self.list().display(),
            )),
            Err(_) => vault::own_recipients(&identity(self)?),
        }
    }

    fn list(&self) -> PathBuf {
        self.file.with_file_name(format!("{}.recipients", self.name()))
    }

    fn name(&self) -> String {
        self.file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }
}

/// Sets a key, making the tables that its path names.
fn set(table: &mut toml_edit::Table, key: &str, value: &str) -> Result<(), String> {
    match key.split_once('.') {
        None if key.is_empty() => Err("a key has no name".to_owned()),
        None => {
            table[key] = toml_edit::value(value);
            Ok(())
        }
        Some((first, rest)) => {
            let inner = table.entry(first).or_insert_with(toml_edit::table);
            let inner = inner
                .as_table_mut()
                .ok_or_else(|| format!("`{first}` is no table"))?;
            set(inner, rest, value)
        }
    }
}

/// Reads a value without an echo, or from standard input, less one line break.
fn value(key: &str, no_input: bool) -> Result<Zeroizing<String>, String> {
    if std::io::stdin().is_terminal() {
        if no_input {
            return Err("nobody may be asked: give the value on standard input".to_owned());
        }
        let value = rpassword::prompt_password(format!("{key}: ")).map_err(|error| error.to_string())?;
        return not_empty(Zeroizing::new(value));
    }
    let mut value = Zeroizing::new(String::new());
    std::io::stdin()
        .read_to_string(&mut value)
        .map_err(|_| "the value is not UTF-8 text".to_owned())?;
    let trimmed = value.strip_suffix('\n').unwrap_or(&value);
    not_empty(Zeroizing::new(trimmed.to_owned()))
}

fn not_empty(value: Zeroizing<String>) -> Result<Zeroizing<String>, String> {
    if value.is_empty() {
        Err("the value is empty".to_owned())
    } else {
        Ok(value)
    }
}

/// Lets a person edit a text in a file that lies in memory and is overwritten before it goes.
fn edit_in_editor(text: &str) -> Result<Zeroizing<String>, String> {
    let editor = ["VISUAL", "EDITOR"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    edit_with(&editor.unwrap_or_else(|| "vi".to_owned()), &memory()?, text)
}

fn edit_with(editor: &str, folder: &Path, text: &str) -> Result<Zeroizing<String>, String> {
    let cannot = |error: std::io::Error| format!("the text cannot be put into {}: {error}", folder.display());
    // tempfile makes folders with mode 0700 and files with 0600. A folder of its own catches the editor's swap files.
    let folder = tempfile::Builder::new()
        .prefix("muster-")
        .tempdir_in(folder)
        .map_err(cannot)?;
    let mut file = tempfile::Builder::new()
        .suffix(".toml")
        .tempfile_in(&folder)
        .map_err(cannot)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.flush())
        .map_err(cannot)?;
    let path = file.path();
    // A thread of its own, since there may be a runtime around this one already.
    let ended = std::thread::scope(|scope| scope.spawn(|| run_editor(editor, path)).join());
    let status = ended.unwrap_or_else(|_| Err(std::io::Error::other("it was lost")));
    let status = status.map_err(|error| format!("the editor cannot be run: {error}"));
    // Read by its path: an editor may have put another file in its place.
    let after = std::fs::read(file.path()).map(Zeroizing::new);
    wipe(file.as_file_mut());
    wipe_path(file.path());
    match status? {
        Some(status) if status.success() => {}
        Some(_) => return Err("the editor did not end well, so nothing is changed".to_owned()),
        None => return Err("asked to end while the editor ran, so nothing is changed".to_owned()),
    }
    let after = after.map_err(cannot)?;
    let text = std::str::from_utf8(&after).map_err(|_| "what you left is not UTF-8 text".to_owned())?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Runs an editor to its end. Ctrl-C is the editor's, which the terminal gives it to as well: we stay, to take the text away.
/// `None` where we are asked to end; the editor is ended then.
fn run_editor(editor: &str, path: &Path) -> std::io::Result<Option<std::process::ExitStatus>> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut interrupts = signal(SignalKind::interrupt())?;
        let mut ends = signal(SignalKind::terminate())?;
        let mut hangups = signal(SignalKind::hangup())?;
        // `$EDITOR` may hold arguments, as in `code --wait`, so the shell splits it; the path is an argument of its own.
        let mut child = tokio::process::Command::new("sh")
            .args(["-c", &format!("{editor} \"$1\""), "sh"])
            .arg(path)
            .spawn()?;
        loop {
            tokio::select! {
                status = child.wait() => return status.map(Some),
                Some(()) = interrupts.recv() => {}
                Some(()) = ends.recv() => break,
                Some(()) = hangups.recv() => break,
            }
        }
        child.kill().await?;
        Ok(None)
    })
}

/// Overwrites a file. It lies in memory, so what is overwritten is gone; a failure leaves it to the removal.
fn wipe(file: &mut std::fs::File) {
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let zeros = vec![0; usize::try_from(length).unwrap_or(0)];
    drop(
        file.rewind()
            .and_then(|()| file.write_all(&zeros))
            .and_then(|()| file.sync_all()),
    );
}

fn wipe_path(path: &Path) {
    if let Ok(mut file) = std::fs::OpenOptions::new().write(true).open(path) {
        wipe(&mut file);
    }
}

/// Returns a folder in memory.
fn memory() -> Result<PathBuf, String> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let mut folders = runtime.into_iter().chain([PathBuf::from("/dev/shm")]);
    folders.find(|folder| folder.is_dir()).ok_or_else(|| {
        "neither $XDG_RUNTIME_DIR nor /dev/shm is there, and a disk would keep what it saw".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use age::secrecy::ExposeSecret as _;

    use super::*;

    /// A signal is the whole process's: while one test sends it to its own editor, no other may edit.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

    struct Desk {
        folder: tempfile::TempDir,
        _alone: MutexGuard<'static, ()>,
    }

    impl Desk {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let key = age::x25519::Identity::generate();
            std::fs::write(folder.path().join("identity"), key.to_string().expose_secret()).unwrap();
            Self {
                folder,
                _alone: ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner),
            }
        }

        fn place(&self) -> Place {
            Place {
                file: self.folder.path().join("s.age"),
                recipient: Vec::new(),
                identity: None,
            }
        }

        fn identity(&self) -> PathBuf {
            self.folder.path().join("identity")
        }

        fn encrypt(&self, key: &str, value: &str) -> Result<String, String> {
            self.place().encrypt(&|_: &Place| Ok(self.identity()), key, value)
        }

        fn edit(&self, script: &str) -> Result<String, String> {
            let memory = memory().unwrap();
            let mut edit = |text: &str| edit_with(script, &memory, text);
            self.place().edit(&|_: &Place| Ok(self.identity()), &mut edit)
        }

        fn text(&self) -> String {
            vault::decrypt(&self.place().file, &self.identity())
                .unwrap()
                .to_string()
        }
    }

    #[test]
    fn keys_are_set_and_the_rest_of_the_text_stays() {
        let desk = Desk::new();
        desk.encrypt("pass", "a\"b").unwrap();
        desk.encrypt("db.user", "x").unwrap();
        desk.edit("printf '# why\\n' >>").unwrap();
        desk.encrypt("pass", "new").unwrap();
        assert_eq!(desk.text(), "pass = \"new\"\n\n[db]\nuser = \"x\"\n# why\n");
        let list = std::fs::read_to_string(desk.place().list()).unwrap();
        assert!(list.starts_with("# who can open s.age\nage1"), "{list}");
        let encrypted = std::fs::read_to_string(desk.place().file).unwrap();
        assert!(
            encrypted.starts_with("-----BEGIN AGE ENCRYPTED FILE-----"),
            "{encrypted}"
        );
    }

    #[test]
    fn an_aborted_or_spoilt_edit_leaves_the_old_file() {
        let desk = Desk::new();
        desk.encrypt("pass", "hunter2").unwrap();
        let before = std::fs::read(desk.place().file).unwrap();
        for (script, why) in [
            ("false", "nothing is changed"),
            ("echo broken >>", "line 2"),
            ("true", "stays"),
        ] {
            let said = desk.edit(script).unwrap_or_else(|why| why);
            assert!(said.contains(why) && !said.contains("hunter2"), "{said}");
            assert_eq!(std::fs::read(desk.place().file).unwrap(), before);
        }
    }

    #[test]
    fn the_edited_text_is_the_owners_alone_and_gone_afterwards() {
        let desk = Desk::new();
        let note = desk.folder.path().join("note");
        let script = format!(
            "f() {{ stat -c '%a %n' \"$1\" > {}; echo 'k = \"v\"' > \"$1\"; }}; f",
            note.display()
        );
        desk.edit(&script).unwrap();
        let note = std::fs::read_to_string(note).unwrap();
        let (mode, path) = note.trim().split_once(' ').unwrap();
        assert_eq!(mode, "600");
        assert!(!Path::new(path).exists() && !Path::new(path).parent().unwrap().exists());
        assert_eq!(desk.text(), "k = \"v\"\n");
    }

    #[test]
    fn a_signal_while_the_editor_runs_leaves_no_text_behind() {
        let desk = Desk::new();
        desk.encrypt("pass", "x").unwrap();
        let note = desk.folder.path().join("note");
        let script = |rest: &str| format!("f() {{ echo \"$1\" > {}; {rest}; }}; f", note.display());
        let is_gone = || {
            let path = std::fs::read_to_string(&note).unwrap();
            !Path::new(path.trim()).parent().unwrap().exists()
        };
        desk.edit(&script("kill -s INT $PPID; sleep 0.2; echo 'k = \"v\"' > \"$1\""))
            .unwrap();
        assert!(
            is_gone() && desk.text() == "k = \"v\"\n",
            "Ctrl-C is the editor's"
        );
        for signal in ["TERM", "HUP"] {
            let why = desk
                .edit(&script(&format!(
                    "echo 'k = \"w\"' > \"$1\"; kill -s {signal} $PPID; sleep 20"
                )))
                .unwrap_err();
            assert!(why.contains("asked to end"), "{signal}: {why}");
            assert!(is_gone() && desk.text() == "k = \"v\"\n", "{signal}");
        }
    }

    #[test]
    fn a_file_whose_readers_nobody_knows_is_not_encrypted_again() {
        let desk = Desk::new();
        desk.encrypt("pass", "x").unwrap();
        std::fs::remove_file(desk.place().list()).unwrap();
        let error = desk.encrypt("pass", "y").unwrap_err();
        assert!(error.contains("--recipient"), "{error}");
        assert_eq!(desk.text(), "pass = \"x\"\n");
    }
}
