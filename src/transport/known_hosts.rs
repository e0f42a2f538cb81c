//! The known_hosts files: which keys a host is known by, and how a new one is written down.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use russh::keys::PublicKey;
use russh::keys::ssh_key::known_hosts::{Entry, HostPatterns, Marker};

use super::pattern;

/// One line that speaks of a host.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub number: usize,
    /// What the line says of its key.
    pub marker: Option<Marker>,
    /// The key.
    pub key: PublicKey,
}

impl Line {
    /// Returns where the line stands.
    pub fn place(&self) -> String {
        format!("{}:{}", self.file.display(), self.number)
    }
}

/// Writes a host's name as the files do: `[host]:port` unless the port is 22.
pub(super) fn written_name(host: &str, port: u16) -> String {
    match port {
        22 => host.to_lowercase(),
        _ => format!("[{}]:{port}", host.to_lowercase()),
    }
}

/// The known_hosts files as they were last read: a file that has not changed is not read again for every host.
#[derive(Default)]
pub(super) struct KnownHosts {
    read: Mutex<BTreeMap<PathBuf, (Stamp, Arc<Entries>)>>,
}

/// What tells a changed file: its identity, length and time of change.
type Stamp = (u64, u64, i64, i64);

/// The lines of a file, with those that speak of plain names at hand.
#[derive(Default)]
struct Entries {
    lines: Vec<Raw>,
    /// Lines by each name in them, where all of their names are plain.
    by_name: BTreeMap<String, Vec<usize>>,
    /// Lines with patterns or hashed names, which have to be tried.
    others: Vec<usize>,
}

/// A line before its key is read.
struct Raw {
    number: usize,
    names: String,
    text: String,
}

impl KnownHosts {
    /// Returns every line of the files that speaks of a name. A file that does not exist has no lines.
    ///
    /// # Errors
    /// A clause, if a file is there and cannot be read: what it would have refused must not pass.
    pub fn lines_for(&self, files: &[PathBuf], name: &str) -> Result<Vec<Line>, String> {
        let mut lines = Vec::new();
        for file in files {
            let entries = self
                .entries(file)
                .map_err(|error| format!("cannot be checked, {} cannot be read: {error}", file.display()))?;
            lines.extend(entries.lines_for(file, name));
        }
        Ok(lines)
    }

    fn entries(&self, file: &Path) -> io::Result<Arc<Entries>> {
        // Before the bytes: a file that changes in between is read again next time.
        let stamp = match fs::metadata(file) {
            Ok(data) => (data.ino(), data.len(), data.ctime(), data.ctime_nsec()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Arc::default()),
            Err(error) => return Err(error),
        };
        let mut read = self.read.lock().expect("nobody panics while holding the files");
        if let Some((_, entries)) = read.get(file).filter(|(known, _)| *known == stamp) {
            return Ok(entries.clone());
        }
        let entries = Arc::new(Entries::read(&String::from_utf8_lossy(&fs::read(file)?)));
        read.insert(file.to_owned(), (stamp, entries.clone()));
        Ok(entries)
    }
}

impl Entries {
    /// Lines that cannot be read are passed over, as OpenSSH does: files hold key types that we do not know.
    fn read(text: &str) -> Self {
        let mut entries = Self::default();
        for (index, line) in text.lines().enumerate() {
            // The parser wants single spaces, and takes `#` anywhere for a comment.
            let words: Vec<&str> = line.split_whitespace().collect();
            let fields = 3 + usize::from(words.first().is_some_and(|word| word.starts_with('@')));
            if words.len() < fields || words[0].starts_with('#') {
                continue;
            }
            let names = words[fields - 3];
            let at = entries.lines.len();
            if names.contains(['*', '?', '!', '|']) {
                entries.others.push(at);
            } else {
                let each = names.split(',').map(str::to_lowercase);
                each.for_each(|name| entries.by_name.entry(name).or_default().push(at));
            }
            entries.lines.push(Raw {
                number: index + 1,
                names: names.to_owned(),
                text: words[..fields].join(" "),
            });
        }
        entries
    }

    fn lines_for(&self, file: &Path, name: &str) -> Vec<Line> {
        let plain = self.by_name.get(&name.to_lowercase()).into_iter().flatten();
        let others = self
            .others
            .iter()
            .filter(|at| speaks_of(&self.lines[**at].names, name));
        // In the order of the file, each once.
        let found: BTreeSet<usize> = plain.chain(others).copied().collect();
        found
            .into_iter()
            .filter_map(|at| self.lines[at].line(file))
            .collect()
    }
}

impl Raw {
    fn line(&self, file: &Path) -> Option<Line> {
        let entry: Entry = self.text.parse().ok()?;
        Some(Line {
            file: file.to_owned(),
            number: self.number,
            marker: entry.marker().copied(),
            key: entry.public_key().clone(),
        })
    }
}

fn speaks_of(patterns: &str, name: &str) -> bool {
    match patterns.parse() {
        Ok(HostPatterns::Patterns(patterns)) => {
            pattern::matches_list(patterns.iter().map(String::as_str), name)
        }
        Ok(HostPatterns::HashedName { salt, hash }) => {
            // The format's own hash; it hides names, and protects nothing else.
            let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt);
            hmac::verify(&key, name.as_bytes(), &hash).is_ok()
        }
        Err(_) => false,
    }
}

/// Hides a name as `HashKnownHosts` does.
fn hashed(name: &str) -> String {
    let salt: [u8; 20] = rand::random();
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt);
    let hash = hmac::sign(&key, name.as_bytes());
    format!("|1|{}|{}", STANDARD.encode(salt), STANDARD.encode(hash))
}

/// Returns a key as it is written in files: type and Base64.
pub(super) fn written_key(key: &PublicKey) -> String {
    let mut bare = key.clone();
    bare.set_comment("");
    bare.to_openssh()
        .map(|text| text.trim_end().to_owned())
        .unwrap_or_default()
}

/// Writes a new host's key down, under a lock, unless another run has done so in the meantime.
///
/// # Errors
/// A clause; the file then is as it was. Also if meanwhile another key was written for the host.
pub(super) fn learn(file: &Path, name: &str, key: &PublicKey, is_hashed: bool) -> Result<(), String> {
    append(file, name, key, is_hashed)
        .map_err(|error| format!("cannot be written down in {}: {error}", file.display()))
}

fn append(path: &Path, name: &str, key: &PublicKey, is_hashed: bool) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    let mut lock = fd_lock::RwLock::new(file);
    let mut file = lock.write()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let known = Entries::read(&text).lines_for(path, name);
    if known
        .iter()
        .any(|line| line.marker.is_none() && line.key.key_data() == key.key_data())
    {
        return Ok(());
    }
    if !known.is_empty() {
        return Err(io::Error::other(
            "another key for this host was written there in the meantime",
        ));
    }
    let gap = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    let shown = if is_hashed { hashed(name) } else { name.to_owned() };
    file.write_all(format!("{gap}{shown} {}\n", written_key(key)).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB9dG4kjRhQTtWTVzd2t27+t0DEHBPW7iOD23TUiYLio";
    const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    fn count(text: &str, name: &str) -> usize {
        Entries::read(text).lines_for(Path::new("k"), name).len()
    }

    #[test]
    fn names_match_with_ports_wildcards_negation_and_hashes() {
        let file = [
            format!("a.example.org,10.0.0.1 {KEY} comment # with a sign"),
            format!("[b.example.org]:2222\t{KEY}"),
            format!("*.net,!bad.net {KEY}"),
            format!("{} {KEY}", hashed("[c.example.org]:2200")),
            format!("#d {KEY}"),
            "e ssh-unknown AAAA".to_owned(),
        ]
        .join("\n");
        for (name, expected) in [
            ("a.example.org", 1),
            ("10.0.0.1", 1),
            ("b.example.org", 0),
            ("[b.example.org]:2222", 1),
            ("good.net", 1),
            ("bad.net", 0),
            ("[c.example.org]:2200", 1),
            ("[c.example.org]:2201", 0),
            ("d", 0),
            ("e", 0),
        ] {
            assert_eq!(count(&file, name), expected, "{name}");
        }
    }

    #[test]
    fn hashes_are_those_of_openssh() {
        // Made by `ssh-keygen -H` for the name `host.example.org`.
        let line = format!("|1|lcY/In3lsGnkJikLENb0DM70B/I=|Qs4e9Nr7mM6avuEv02fw2uFnwQo= {KEY}");
        assert_eq!(count(&line, "nobody"), 0);
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("k");
        fs::write(&file, format!("{} {KEY}\n", hashed("[h.example.org]:2222"))).expect("a file");
        let found = std::process::Command::new("ssh-keygen")
            .args(["-F", "[h.example.org]:2222", "-f"])
            .arg(&file)
            .output()
            .expect("ssh-keygen runs");
        assert!(found.status.success(), "ssh-keygen finds what we hashed");
    }

    #[test]
    fn a_new_key_is_written_once_and_on_a_line_of_its_own() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("ssh/known_hosts");
        let key: PublicKey = KEY.parse().expect("a key");
        learn(&file, "a", &key, false).expect("learnt");
        fs::write(&file, fs::read_to_string(&file).expect("text").trim_end()).expect("cut");
        learn(&file, "b", &key, false).expect("learnt");
        learn(&file, "b", &key, false).expect("learnt again");
        assert_eq!(
            fs::read_to_string(&file).expect("text"),
            format!("a {KEY}\nb {KEY}\n")
        );
        let error = learn(&file, "b", &OTHER.parse().expect("a key"), false).unwrap_err();
        assert!(error.contains("in the meantime"), "{error}");
    }

    #[test]
    fn a_file_that_changed_is_read_again() {
        let dir = tempfile::tempdir().expect("a folder");
        let (file, book) = (dir.path().join("k"), KnownHosts::default());
        let lines = || {
            book.lines_for(std::slice::from_ref(&file), "a")
                .expect("lines")
                .len()
        };
        assert_eq!(lines(), 0);
        fs::write(&file, format!("b {KEY}\n")).expect("a file");
        assert_eq!(lines(), 0);
        learn(&file, "a", &KEY.parse().expect("a key"), false).expect("learnt");
        assert_eq!((lines(), lines()), (1, 1));
        fs::remove_file(&file).expect("removed");
        assert_eq!(lines(), 0);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_not_an_empty_one() {
        let dir = tempfile::tempdir().expect("a folder");
        let book = KnownHosts::default();
        assert!(book.lines_for(&[dir.path().to_owned()], "a").is_err());
        assert!(
            book.lines_for(&[dir.path().join("none")], "a")
                .expect("no lines")
                .is_empty()
        );
    }
}
