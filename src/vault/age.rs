//! `age:FILE#KEY`: a key of a TOML file that is encrypted with age.
//!
//! The file is opened once per run. It is encrypted to X25519 recipients (`age1…`), which stand in `FILE.recipients`
//! beside it: the encrypted file itself does not tell for whom it is.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::x25519::Recipient;
use age::{Decryptor, Encryptor, Identity, IdentityFile};
use zeroize::Zeroizing;

use super::Options;
use crate::model::secret::Secret;

/// Encrypted files that were opened in this run.
#[derive(Default)]
pub(super) struct Opened {
    files: BTreeMap<PathBuf, Result<BTreeMap<String, Secret>, String>>,
}

impl Opened {
    /// Returns the value of a key, opening its file when it is first asked for.
    pub(super) fn read(
        &mut self,
        path: &Path,
        key: &str,
        options: &Options,
        warnings: &mut Vec<String>,
    ) -> Result<Secret, String> {
        let open = || {
            let identity = identity_path(options.age_identity.as_deref())?;
            super::warn_if_public(&identity, warnings);
            keys(&decrypt(path, &identity)?)
        };
        let keys = self
            .files
            .entry(path.to_owned())
            .or_insert_with(open)
            .as_ref()
            .map_err(Clone::clone)?;
        keys.get(key)
            .cloned()
            .ok_or_else(|| format!("{} has no key `{key}` with a text", path.display()))
    }
}

/// The variable that names the identity where it lies elsewhere than the inventory says, as in a pipeline.
pub const IDENTITY_VARIABLE: &str = "MUSTER_AGE_IDENTITY";

/// Returns where the identity lies: as the environment says, else as the inventory declares.
///
/// # Errors
/// A clause, if neither does, or there is no home directory for `~/`.
pub fn identity_path(declared: Option<&str>) -> Result<PathBuf, String> {
    let from_env = std::env::var(IDENTITY_VARIABLE)
        .ok()
        .filter(|path| !path.is_empty());
    let path = from_env.or(declared.map(str::to_owned)).ok_or_else(|| {
        format!("no age identity is given: set `age_identity` under [secrets] in the inventory, or {IDENTITY_VARIABLE}")
    })?;
    at_home(&path)
}

/// Puts the home directory in place of a leading `~/`.
///
/// # Errors
/// A clause, if there is no home directory.
pub fn at_home(path: &str) -> Result<PathBuf, String> {
    match path.strip_prefix("~/") {
        Some(rest) => {
            let home = std::env::var_os("HOME").ok_or("HOME is not set, so `~/` means nothing")?;
            Ok(Path::new(&home).join(rest))
        }
        None => Ok(PathBuf::from(path)),
    }
}

/// Opens an encrypted file, armored or not.
///
/// # Errors
/// A clause without any of the content.
pub fn decrypt(path: &Path, identity: &Path) -> Result<Zeroizing<String>, String> {
    let cannot = |error: &dyn std::fmt::Display| format!("{} cannot be opened: {error}", path.display());
    let encrypted = std::fs::read(path).map_err(|error| cannot(&error))?;
    let identities = identities(identity)?;
    let decryptor =
        Decryptor::new_buffered(ArmoredReader::new(encrypted.as_slice())).map_err(|error| cannot(&error))?;
    let mut reader = decryptor
        .decrypt(identities.iter().map(AsRef::as_ref))
        .map_err(|error| cannot(&error))?;
    let mut text = Zeroizing::new(String::new());
    reader.read_to_string(&mut text).map_err(|error| cannot(&error))?;
    Ok(text)
}

fn identities(path: &Path) -> Result<Vec<Box<dyn Identity>>, String> {
    let cannot =
        |error: &dyn std::fmt::Display| format!("age identity {} cannot be read: {error}", path.display());
    let file = IdentityFile::from_file(path.display().to_string()).map_err(|error| cannot(&error))?;
    file.into_identities().map_err(|error| cannot(&error))
}

/// Encrypts a text to recipients, armored so that it can be committed.
///
/// # Errors
/// A clause, if there is no recipient or the encryption fails.
pub fn encrypt(text: &str, recipients: &[Recipient]) -> Result<Vec<u8>, String> {
    let dynamic = recipients
        .iter()
        .map(|recipient| recipient as &dyn age::Recipient);
    let encryptor =
        Encryptor::with_recipients(dynamic).map_err(|error| format!("it cannot be encrypted: {error}"))?;
    let written = || -> std::io::Result<Vec<u8>> {
        let armored = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor)?;
        let mut writer = encryptor.wrap_output(armored)?;
        writer.write_all(text.as_bytes())?;
        writer.finish()?.finish()
    };
    written().map_err(|error| format!("it cannot be encrypted: {error}"))
}

/// Reads recipients: one `age1…` a line; empty lines and comments are left out.
///
/// # Errors
/// A clause that names the line.
pub fn recipients(text: &str) -> Result<Vec<Recipient>, String> {
    let lines = text.lines().map(str::trim).enumerate();
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(index, line)| {
            // The line is not repeated: somebody may have put an identity where its recipient belongs.
            line.parse()
                .map_err(|error| format!("line {} is no age recipient (age1…): {error}", index + 1))
        })
        .collect()
}

/// Returns the recipients to whom the identities of a file belong.
///
/// # Errors
/// A clause, if the file cannot be read.
pub fn own_recipients(identity: &Path) -> Result<Vec<Recipient>, String> {
    let cannot = |error: &dyn std::fmt::Display| {
        format!("age identity {} cannot be read: {error}", identity.display())
    };
    let text = Zeroizing::new(std::fs::read_to_string(identity).map_err(|error| cannot(&error))?);
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            line.parse::<age::x25519::Identity>()
                .map(|identity| identity.to_public())
        })
        .collect::<Result<_, _>>()
        .map_err(|error| cannot(&error))
}

/// Returns the keys of an opened file that hold texts; a key of a table is `table.key`.
///
/// # Errors
/// A clause with the line at which the text is no TOML, and none of the text.
pub fn keys(text: &str) -> Result<BTreeMap<String, Secret>, String> {
    let table: toml::Table = toml::from_str(text).map_err(|error| {
        let line = error
            .span()
            .map_or(0, |span| text[..span.start].matches('\n').count() + 1);
        format!("what is in it is not TOML (line {line})")
    })?;
    let mut keys = BTreeMap::new();
    flatten("", table, &mut keys);
    Ok(keys)
}

fn flatten(prefix: &str, table: toml::Table, keys: &mut BTreeMap<String, Secret>) {
    for (key, value) in table {
        let path = if prefix.is_empty() {
            key
        } else {
            format!("{prefix}.{key}")
        };
        match value {
            toml::Value::String(text) => {
                keys.insert(path, Secret::new(text));
            }
            toml::Value::Table(table) => flatten(&path, table, keys),
            toml::Value::Integer(_)
            | toml::Value::Float(_)
            | toml::Value::Boolean(_)
            | toml::Value::Datetime(_)
            | toml::Value::Array(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use age::secrecy::ExposeSecret as _;

    use super::*;

    fn identity(folder: &Path) -> (PathBuf, Recipient) {
        let key = age::x25519::Identity::generate();
        let path = folder.join("identity.txt");
        std::fs::write(&path, format!("# mine\n{}\n", key.to_string().expose_secret())).unwrap();
        (path, key.to_public())
    }

    fn options(folder: &Path, identity: &Path) -> Options {
        let inventory = folder.join("fleet.toml").display().to_string();
        Options::for_inventory(&inventory, Some(identity.display().to_string()))
    }

    #[tokio::test]
    async fn keys_of_an_encrypted_file_are_had_by_the_inventorys_identity() {
        let folder = tempfile::tempdir().unwrap();
        let (identity, recipient) = identity(folder.path());
        let text = "pass = \"hunter2\"\n[db]\nuser = \"x\"\nport = 1\n";
        std::fs::write(folder.path().join("s.age"), encrypt(text, &[recipient]).unwrap()).unwrap();
        let sources = ["age:s.age#pass", "age:s.age#db.user"]
            .map(|source| source.parse().unwrap())
            .into();
        let resolved = super::super::resolve(&sources, &options(folder.path(), &identity))
            .await
            .unwrap();
        let values: Vec<&str> = sources
            .iter()
            .map(|s| resolved.secrets.get(s).unwrap().reveal())
            .collect();
        assert_eq!(values, ["x", "hunter2"]);
        let sources = ["age:s.age#db.port", "age:s.age#none"]
            .map(|source| source.parse().unwrap())
            .into();
        let errors = super::super::resolve(&sources, &options(folder.path(), &identity))
            .await
            .unwrap_err();
        assert_eq!(errors.len(), 2);
        assert!(errors[0].why.contains("has no key"), "{}", errors[0].why);
    }

    #[test]
    fn another_identity_opens_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (path, _) = identity(folder.path());
        let stranger = age::x25519::Identity::generate().to_public();
        std::fs::write(
            folder.path().join("s.age"),
            encrypt("a = \"b\"", &[stranger]).unwrap(),
        )
        .unwrap();
        let error = decrypt(&folder.path().join("s.age"), &path).unwrap_err();
        assert!(error.contains("cannot be opened"), "{error}");
        assert!(encrypt("x", &[]).is_err());
    }

    #[test]
    fn what_cannot_be_read_is_told_without_its_content() {
        let error = keys("ok = \"1\"\npass = hunter2\n").unwrap_err();
        assert_eq!(error, "what is in it is not TOML (line 2)");
        let error = recipients("# me\nAGE-SECRET-KEY-1ABC\n").err().unwrap();
        assert!(error.contains("line 2") && !error.contains("SECRET"), "{error}");
    }

    #[test]
    fn an_identity_tells_its_own_recipient() {
        let folder = tempfile::tempdir().unwrap();
        let (path, recipient) = identity(folder.path());
        let own: Vec<String> = own_recipients(&path)
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(own, [recipient.to_string()]);
    }
}
