//! The plain part of `ssh_config`: all that most people have there. What it cannot judge, it leaves to an `ssh` program,
//! which costs more than the whole rest of a connection, or refuses where there is none.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::connector::Places;
use super::pattern;
use super::ssh_config::Options;
use crate::model::target::SshTarget;

/// Keywords that, unless they say `no` or `none`, would change where or how we connect, and that this reader does not understand.
const REFUSED: [&str; 4] = [
    "match",
    "canonicalizehostname",
    "knownhostscommand",
    "pkcs11provider",
];
/// Keywords of which every line counts, not only the first.
const GATHERED: [&str; 2] = ["identityfile", "certificatefile"];
/// Keywords whose values this reader understands as OpenSSH does.
const UNDERSTOOD: [&str; 14] = [
    "host",
    "include",
    "hostname",
    "port",
    "user",
    "identityfile",
    "identitiesonly",
    "certificatefile",
    "userknownhostsfile",
    "globalknownhostsfile",
    "proxyjump",
    "hostkeyalias",
    "stricthostkeychecking",
    "hashknownhosts",
];
/// Keywords that change nothing of what muster asks a configuration for.
const IDLE: [&str; 24] = [
    "addkeystoagent",
    "compression",
    "connectionattempts",
    "connecttimeout",
    "controlmaster",
    "controlpath",
    "controlpersist",
    "forwardagent",
    "forwardx11",
    "forwardx11trusted",
    "gssapiauthentication",
    "gssapidelegatecredentials",
    "loglevel",
    "passwordauthentication",
    "preferredauthentications",
    "requesttty",
    "sendenv",
    "serveralivecountmax",
    "serveraliveinterval",
    "setenv",
    "tcpkeepalive",
    "updatehostkeys",
    "visualhostkey",
    "xauthlocation",
];
/// How deep Include may nest. OpenSSH's own limit.
const INCLUDES_MAX: u8 = 16;

/// The configuration files, each read once in a run.
#[derive(Default)]
pub(super) struct ConfigFiles {
    read: Mutex<BTreeMap<PathBuf, Lines>>,
}

/// The lines of one file, or a clause that says why there are none.
type Lines = Result<Arc<[Line]>, String>;

/// One line that says something.
struct Line {
    number: usize,
    /// In lower case.
    keyword: String,
    values: Vec<String>,
}

impl ConfigFiles {
    /// Reads what holds for a host from the user's file, then from the system's.
    ///
    /// # Errors
    /// A clause that names file, line and what cannot be judged.
    pub fn read(&self, target: &SshTarget, places: &Places) -> Result<Options, String> {
        self.options(target, places, Judge::Able)
    }

    /// The same, if all of it is understood as OpenSSH would.
    pub fn plain(&self, target: &SshTarget, places: &Places) -> Option<Options> {
        self.options(target, places, Judge::Strict).ok()
    }

    fn options(&self, target: &SshTarget, places: &Places, judge: Judge) -> Result<Options, String> {
        let mut reader = Reader {
            files: self,
            judge,
            places,
            address: &target.address,
            options: Options::new(),
        };
        match &places.ssh_config {
            Some(file) => reader.file(file, true, 0)?,
            None => {
                reader.file(&places.home.join(".ssh/config"), true, 0)?;
                reader.file(Path::new("/etc/ssh/ssh_config"), true, 0)?;
            }
        }
        Ok(reader.options)
    }

    fn lines(&self, path: &Path) -> Lines {
        let mut read = self.read.lock().expect("nobody panics while holding the files");
        let lines = read.entry(path.to_owned()).or_insert_with(|| lines(path));
        lines.clone()
    }
}

fn lines(path: &Path) -> Lines {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Arc::default()),
        Err(error) => return Err(format!("cannot be looked up in {}: {error}", path.display())),
    };
    let line = |(index, line): (usize, &str)| {
        let number = index + 1;
        let Some(words) = words(line) else {
            return Some(Err(format!("meets an open quote at {}:{number}", path.display())));
        };
        let (keyword, values) = words.split_first()?;
        Some(Ok(Line {
            number,
            keyword: keyword.to_lowercase(),
            values: values.to_vec(),
        }))
    };
    text.lines().enumerate().filter_map(line).collect()
}

/// What is done about lines that this reader may not understand.
#[derive(Clone, Copy)]
enum Judge {
    /// Nothing, unless they would change where or how we connect.
    Able,
    /// Everything must be understood, whether it holds for the host or not.
    Strict,
}

impl Judge {
    fn refuses(self, line: &Line) -> bool {
        let (keyword, value) = (line.keyword.as_str(), line.values.join(" "));
        match self {
            Self::Able => REFUSED.contains(&keyword) && !["no", "none"].contains(&value.as_str()),
            Self::Strict => {
                !(IDLE.contains(&keyword) || UNDERSTOOD.contains(&keyword) && is_plain(keyword, &value))
            }
        }
    }
}

/// Tells whether a value means itself.
fn is_plain(keyword: &str, value: &str) -> bool {
    let means_itself = !value.contains(['%', '$']);
    match keyword {
        "hostname" => !value.replace("%h", "").contains(['%', '$']),
        "user" | "port" | "proxyjump" | "hostkeyalias" => means_itself,
        "identityfile" => value != "none",
        "identitiesonly" | "hashknownhosts" => ["yes", "no"].contains(&value),
        "stricthostkeychecking" => ["yes", "no", "ask", "accept-new", "off"].contains(&value),
        _ => true,
    }
}

struct Reader<'a> {
    files: &'a ConfigFiles,
    judge: Judge,
    places: &'a Places,
    address: &'a str,
    options: Options,
}

impl Reader<'_> {
    /// Reads one file; `applies` says whether its lines before any `Host` hold.
    fn file(&mut self, path: &Path, applies: bool, depth: u8) -> Result<(), String> {
        let mut holds = applies;
        for line in self.files.lines(path)?.iter() {
            let at = || format!("{}:{}", path.display(), line.number);
            let (keyword, values) = (line.keyword.as_str(), &line.values);
            if self.judge.refuses(line) {
                return Err(format!(
                    "meets `{keyword}` at {}, which only an `ssh` program can judge; install openssh-client",
                    at()
                ));
            }
            match keyword {
                "host" => holds = applies && self.matches(values),
                "include" if holds => self.include(path, values, depth, &at())?,
                "include" => {}
                keyword if holds => self.set(keyword, values.join(" ")),
                _ => {}
            }
        }
        Ok(())
    }

    fn matches(&self, patterns: &[String]) -> bool {
        pattern::matches_list(patterns.iter().map(String::as_str), self.address)
    }

    fn include(&mut self, from: &Path, values: &[String], depth: u8, at: &str) -> Result<(), String> {
        if depth >= INCLUDES_MAX {
            return Err(format!("meets Include nested too deeply at {at}"));
        }
        let system = from.starts_with("/etc");
        let base = if system {
            PathBuf::from("/etc/ssh")
        } else {
            self.places.home.join(".ssh")
        };
        for value in values {
            for path in glob(&base.join(self.places.expand_home(value)), at)? {
                self.file(&path, true, depth + 1)?;
            }
        }
        Ok(())
    }

    /// The first value of a keyword counts, as in OpenSSH.
    fn set(&mut self, keyword: &str, value: String) {
        let values = self.options.entry(keyword.to_owned()).or_default();
        if values.is_empty() || GATHERED.contains(&keyword) {
            values.push(value);
        }
    }
}

/// Lists the files that a path with wildcards in its last part names, sorted.
fn glob(path: &Path, at: &str) -> Result<Vec<PathBuf>, String> {
    let text = path.to_string_lossy();
    if !text.contains(['*', '?', '[']) {
        return Ok(vec![path.to_owned()]);
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(Vec::new());
    };
    if text.contains('[') || folder.to_string_lossy().contains(['*', '?']) {
        return Err(format!(
            "meets `Include {text}` at {at}, which only an `ssh` program can judge; install openssh-client"
        ));
    }
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(Vec::new());
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            !file.starts_with('.') && pattern::matches(&name.to_string_lossy(), &file)
        })
        .collect();
    paths.sort();
    Ok(paths)
}

/// Splits a line into words, `Keyword=value` and double quotes understood. `None` where a quote stays open.
fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() && !rest.starts_with('#') {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest.split_at(
                rest.find(|c: char| c.is_whitespace() || (c == '=' && words.is_empty()))
                    .unwrap_or(rest.len()),
            ),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
        if words.len() == 1 {
            rest = rest.strip_prefix('=').unwrap_or(rest).trim_start();
        }
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::super::ssh_config::tests::{places, target};
    use super::*;

    fn read_text(text: &str, address: &str) -> Result<Options, String> {
        let home = tempfile::tempdir().expect("a folder");
        let mut places = places(&home.path().display().to_string());
        let file = home.path().join("config");
        fs::create_dir_all(home.path().join(".ssh/more")).expect("a folder");
        fs::write(
            home.path().join(".ssh/more/a.conf"),
            "Host web*\n  User from-include\n",
        )
        .expect("a file");
        fs::write(&file, text).expect("a file");
        places.ssh_config = Some(file);
        ConfigFiles::default().read(&target(address), &places)
    }

    fn one(options: &Options, keyword: &str) -> String {
        options
            .get(keyword)
            .map(|values| values.join("|"))
            .unwrap_or_default()
    }

    #[test]
    fn what_is_not_understood_is_left_to_ssh_wherever_it_stands() {
        let plain = |text: &str| {
            let home = tempfile::tempdir().expect("a folder");
            let mut places = places(&home.path().display().to_string());
            let file = home.path().join("config");
            fs::write(&file, text).expect("a file");
            places.ssh_config = Some(file);
            ConfigFiles::default().plain(&target("a"), &places)
        };
        let usual = "Host *\n SendEnv LANG LC_*\n HashKnownHosts yes\n GSSAPIAuthentication yes\n User x\n";
        assert_eq!(one(&plain(usual).expect("plain"), "user"), "x");
        assert!(plain("HostName %h.example.org\n").is_some());
        for odd in [
            "Host b\n Match exec true\n",
            "CanonicalizeHostname no\n",
            "User %u\n",
            "HostName %n\n",
            "IdentitiesOnly Yes\n",
            "IdentityAgent none\n",
            "ProxyCommand none\n",
            "Port \"22\n",
        ] {
            assert_eq!(plain(odd), None, "{odd}");
        }
    }

    #[test]
    fn the_first_value_counts_and_keys_are_gathered() {
        let text =
            "Host web-1 !web-2\n Port=2201\n IdentityFile \"a b\"\nHost *\n Port 22\n IdentityFile c\n";
        let found = read_text(text, "web-1").expect("options");
        assert_eq!(
            (one(&found, "port"), one(&found, "identityfile")),
            ("2201".into(), "a b|c".into())
        );
        assert_eq!(one(&read_text(text, "web-2").expect("options"), "port"), "22");
    }

    #[test]
    fn included_files_are_read_in_place() {
        let text = "Include more/*.conf\nHost *\n User later\n";
        assert_eq!(
            one(&read_text(text, "web-1").expect("options"), "user"),
            "from-include"
        );
        assert_eq!(one(&read_text(text, "db").expect("options"), "user"), "later");
    }

    #[test]
    fn match_blocks_are_refused_with_their_line() {
        let error = read_text("Host a\n Port 1\nMatch exec true\n Port 2\n", "b").unwrap_err();
        assert!(error.contains("`match`") && error.contains("config:3"), "{error}");
    }
}
