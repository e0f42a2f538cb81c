//! Secret sources: where values come from. One file each.
//!
//! Values are had once per run, before anything is changed, and every failure is named together with the others. A
//! message names the source and never the value; what a source's program or file says passes through no message unless
//! the value cannot stand in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use crate::model::body::Body;
use crate::model::code;
use crate::model::diagnostic::Diagnostic;
use crate::model::digest::{Digest, Fingerprint};
use crate::model::secret::{Secret, SecretSource};
use crate::ports::{Salt, Secrets};

pub mod age;
mod command;
mod env;
mod file;

/// What resolving needs to know.
#[derive(Debug, Clone)]
pub struct Options {
    /// The inventory's folder: files are relative to it, and commands run there.
    pub folder: PathBuf,
    /// The file with the age identity; `~/` is the home directory, else relative to where muster runs.
    pub age_identity: Option<String>,
    /// How long a command may take.
    pub command_timeout: Duration,
}

impl Options {
    /// Makes the options for an inventory's file, with the usual timeout of a minute.
    pub fn for_inventory(file: &str, age_identity: Option<String>) -> Self {
        let folder = Path::new(file).parent().unwrap_or(Path::new("")).to_owned();
        Self {
            folder,
            age_identity,
            command_timeout: Duration::from_secs(60),
        }
    }
}

/// Why a value cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("secret `{from}` cannot be had: {why}")]
pub struct VaultError {
    /// Where it should have come from.
    pub from: SecretSource,
    /// Why not, without the value.
    pub why: String,
}

impl VaultError {
    /// Returns the error as a diagnostic.
    pub fn diagnostic(&self) -> Diagnostic {
        let hint = match &self.from {
            SecretSource::Env(name) => format!("set {name} in the environment in which muster runs"),
            SecretSource::File(_) => "the path is relative to the inventory's folder".to_owned(),
            SecretSource::Command(_) => "run it by hand in the inventory's folder".to_owned(),
            SecretSource::Age { file, key } => format!("`muster secret encrypt {file} {key}` sets it"),
        };
        Diagnostic::error(
            code::SECRET_UNAVAILABLE,
            format!("secret `{}` cannot be had", self.from),
        )
        .because(&self.why)
        .hint(hint)
    }
}

/// Values, and what the reader should know of how they were had.
#[derive(Debug, Default)]
pub struct Resolved {
    /// The values.
    pub secrets: Secrets,
    /// Sentences about files that others can read.
    pub warnings: Vec<String>,
}

/// Has the value of every source, one after the other, since a command may ask its user something.
///
/// # Errors
/// Every source whose value cannot be had, is empty, or is no UTF-8 text.
pub async fn resolve(
    sources: &BTreeSet<SecretSource>,
    options: &Options,
) -> Result<Resolved, Vec<VaultError>> {
    let mut values = BTreeMap::new();
    let mut errors = Vec::new();
    let mut warnings = Vec::new();
    let mut opened = age::Opened::default();
    for source in sources {
        let value = match source {
            SecretSource::Env(name) => env::read(name),
            SecretSource::File(path) => file::read(&options.folder.join(path), &mut warnings),
            SecretSource::Command(command) => command::read(command, options).await,
            SecretSource::Age { file, key } => {
                opened.read(&options.folder.join(file), key, options, &mut warnings)
            }
        };
        match value.and_then(not_empty) {
            Ok(value) => {
                values.insert(source.clone(), value);
            }
            Err(why) => errors.push(VaultError {
                from: source.clone(),
                why,
            }),
        }
    }
    let resolved = Resolved {
        secrets: Secrets::new(values),
        warnings,
    };
    if errors.is_empty() {
        Ok(resolved)
    } else {
        Err(errors)
    }
}

/// Returns the print of each body that holds secrets or stands in a secret place, under one host's salt.
///
/// Keyed by [`Body::digest`]; the bodies' outputs are filled. A body with a hole for which there is no value is left out.
pub fn prints<'a>(
    secrets: &Secrets,
    salt: &Salt,
    bodies: impl IntoIterator<Item = &'a Body>,
) -> BTreeMap<Digest, Fingerprint> {
    let reveal = |body: &Body| {
        body.fill(|secret| secrets.get(&secret.source).map(Secret::reveal))
            .ok()
    };
    bodies
        .into_iter()
        .filter_map(|body| {
            let text = Zeroizing::new(reveal(body)?);
            Some((body.digest(), Fingerprint::of(&salt.0, text.as_bytes())))
        })
        .collect()
}

/// An empty secret is a mistake: an unset variable of a script, a file that was cut.
fn not_empty(value: Secret) -> Result<Secret, String> {
    if value.reveal().is_empty() {
        Err("it is empty".to_owned())
    } else {
        Ok(value)
    }
}

/// Turns bytes into a value, less one line break at the end.
fn value(bytes: &[u8]) -> Result<Secret, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
    let text = text
        .strip_suffix('\n')
        .map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
    Ok(Secret::new(text))
}

/// Says that a file with something secret in it can be read by others than its owner and group.
fn warn_if_public(path: &Path, warnings: &mut Vec<String>) {
    use std::os::unix::fs::PermissionsExt as _;
    let Ok(metadata) = std::fs::metadata(path) else {
        return;
    };
    let mode = metadata.permissions().mode() & 0o7777;
    let text = format!(
        "{} can be read by everyone (mode {mode:04o}): chmod 600 it",
        path.display()
    );
    if mode & 0o004 != 0 && !warnings.contains(&text) {
        warnings.push(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::body::Piece;

    fn options(folder: &Path) -> Options {
        Options {
            folder: folder.to_owned(),
            age_identity: None,
            command_timeout: Duration::from_secs(20),
        }
    }

    async fn resolve_in(folder: &Path, sources: &[&str]) -> Result<Resolved, Vec<VaultError>> {
        let sources = sources.iter().map(|source| source.parse().unwrap()).collect();
        resolve(&sources, &options(folder)).await
    }

    fn get(resolved: &Resolved, source: &str) -> String {
        resolved
            .secrets
            .get(&source.parse().unwrap())
            .unwrap()
            .reveal()
            .to_owned()
    }

    #[tokio::test]
    async fn files_and_commands_lose_one_line_break_and_are_found_from_the_inventory() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pass"), "hunter2\n\n").unwrap();
        let resolved = resolve_in(folder.path(), &["file:pass", "cmd:cat pass; echo noise >&2"])
            .await
            .unwrap();
        assert_eq!(get(&resolved, "file:pass"), "hunter2\n");
        assert_eq!(get(&resolved, "cmd:cat pass; echo noise >&2"), "hunter2\n");
    }

    #[tokio::test]
    async fn every_failure_is_named_and_no_value_is() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("empty"), "\n").unwrap();
        std::fs::write(folder.path().join("binary"), [0xff, 0xfe]).unwrap();
        let sources = [
            "env:MUSTER_TEST_THAT_NOBODY_SETS",
            "file:none",
            "file:empty",
            "file:binary",
            "cmd:echo hunter2; echo 'wrong hunter2' >&2; exit 3",
            "age:none.age#k",
        ];
        let errors = resolve_in(folder.path(), &sources).await.unwrap_err();
        assert_eq!(errors.len(), sources.len());
        let whys: Vec<&str> = errors.iter().map(|error| error.why.as_str()).collect();
        let command = whys.iter().find(|why| why.contains("status 3")).unwrap();
        assert!(
            command.contains("wrong ***") && !command.contains("hunter2"),
            "{command}"
        );
        assert!(
            whys.contains(&"it is empty") && whys.contains(&"it is not UTF-8 text"),
            "{whys:?}"
        );
    }

    #[tokio::test]
    async fn a_file_that_everyone_can_read_is_used_and_said() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pass");
        std::fs::write(&path, "x").unwrap();
        for (mode, warned) in [(0o644, 1), (0o600, 0)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let resolved = resolve_in(folder.path(), &["file:pass"]).await.unwrap();
            assert_eq!(resolved.warnings.len(), warned, "{mode:o}");
        }
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options {
            command_timeout: Duration::from_millis(50),
            ..options(folder.path())
        };
        let sources = BTreeSet::from(["cmd:exec tail -f /dev/null".parse().unwrap()]);
        let errors = resolve(&sources, &options).await.unwrap_err();
        assert!(errors[0].why.contains("did not end"), "{}", errors[0].why);
    }

    #[test]
    fn prints_are_those_of_the_text_that_will_stand_on_the_host() {
        let source: SecretSource = "env:P".parse().unwrap();
        let secrets = Secrets::new(BTreeMap::from([(source, Secret::new("hunter2"))]));
        let salt = Salt(vec![1, 2, 3]);
        let sensitive = Body::from_pieces([
            Piece::Text("p=".to_owned()),
            Piece::Secret("plain|env:P".parse().unwrap()),
        ]);
        let unknown = Body::from_pieces([Piece::Secret("plain|env:Q".parse().unwrap())]);
        let plain = Body::text("open");
        let prints = prints(&secrets, &salt, [&sensitive, &unknown, &plain]);
        assert_eq!(prints.len(), 2);
        assert_eq!(
            prints[&sensitive.digest()],
            Fingerprint::of(&[1, 2, 3], b"p=hunter2")
        );
        assert_eq!(prints[&plain.digest()], Fingerprint::of(&[1, 2, 3], b"open"));
    }
}
