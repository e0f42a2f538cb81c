//! What the output of the look's programs means: one answer for each probe, in the forms that [`Probe`] says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::model::digest::{Digest, Fingerprint, canonical_json};
use crate::model::engine::EngineProbe;
use crate::model::id::ResourceKey;
use crate::model::observation::Answer;
use crate::model::op::{ContentWanted, Probe, SettingsFormat};

use super::look::{self, Classes};
use super::op::sysctl_path;
use super::reply::{NOT_AS_ASKED, Reply, Said};

/// Reads keys of a settings file: `keyed::read`.
pub type ReadKeys =
    dyn Fn(SettingsFormat, &str, &BTreeSet<String>) -> Result<BTreeMap<String, Value>, String>;

/// Returns one answer for each probe.
pub fn answers(
    probes: &BTreeMap<ResourceKey, Vec<Probe>>,
    reply: &Reply,
    read_keys: &ReadKeys,
) -> BTreeMap<ResourceKey, Vec<Answer>> {
    let classes = Classes::of(probes);
    let fits = |(name, least, most)| (least..=most).contains(&reply.count(name));
    if !look::expected(&classes).into_iter().all(fits) || reply.salt().is_err() {
        // Nobody knows then which answer belongs to which question.
        return probes
            .iter()
            .map(|(key, probes)| (key.clone(), vec![not_as_asked(); probes.len()]))
            .collect();
    }
    let seen = Seen::read(&classes, reply);
    let mut commands = reply.all("command");
    let mut answer = |probe: &Probe| match probe {
        Probe::Path { path, content } => seen.path(path, *content),
        Probe::Account(name) => seen.account(name),
        Probe::Group(name) => seen.group(name),
        Probe::AuthorizedKeys(name) => seen.authorized_keys(name),
        Probe::Package(name) => seen.packages.answer(name),
        Probe::Unit(name) => seen.units.answer(name),
        Probe::Sysctl { key, file } => seen.sysctl(key, file),
        Probe::Settings { path, format, keys } => seen.settings(path, *format, keys, read_keys),
        Probe::Kept { run, path } => seen.kept(run.as_str(), path),
        Probe::Command { timeout_secs, .. } => command(commands.next(), *timeout_secs),
        Probe::Engine(EngineProbe::Container(probe)) => seen.files.changes(&probe.mounted),
        Probe::Engine(_) => good(""),
    };
    probes
        .iter()
        .map(|(key, probes)| (key.clone(), probes.iter().map(&mut answer).collect()))
        .collect()
}

/// What a file was, for an edit of its keys: its text, or `None` where there is none.
///
/// # Errors
/// A clause, where it is no file or cannot be read.
pub fn file_text(path: &str, reply: &Reply) -> Result<Option<String>, String> {
    Files::read(reply, &[vec![path.to_owned()]]).text(path)
}

fn not_as_asked() -> Answer {
    Answer::NoAnswer(NOT_AS_ASKED.to_owned())
}

fn good(output: impl Into<String>) -> Answer {
    Answer::Text {
        output: output.into(),
        status: 0,
    }
}

fn bad(status: i32, why: impl Into<String>) -> Answer {
    Answer::Text {
        output: why.into(),
        status,
    }
}

fn command(said: Option<&Said>, timeout_secs: u64) -> Answer {
    match said {
        None => not_as_asked(),
        Some(said) if said.status == 124 => {
            Answer::NoAnswer(format!("the command did not end within {timeout_secs} s"))
        }
        Some(said) => Answer::Text {
            output: said.text(),
            status: said.status,
        },
    }
}

/// Everything that was seen, by name.
struct Seen {
    files: Files,
    salt: Option<Vec<u8>>,
    passwd: Result<Vec<Vec<String>>, String>,
    groups: Result<Vec<Vec<String>>, String>,
    packages: Named,
    units: Named,
    parameters: BTreeMap<Vec<u8>, (String, String)>,
    kept: BTreeMap<(Vec<u8>, Vec<u8>), String>,
}

impl Seen {
    fn read(classes: &Classes<'_>, reply: &Reply) -> Self {
        let passwd = table(reply.first("passwd"), 7);
        let own = |chunk: Vec<&str>| chunk.into_iter().map(str::to_owned).collect();
        let mut asked: Vec<Vec<String>> = look::chunks(&classes.paths).into_iter().map(own).collect();
        asked.extend(
            look::chunks(&classes.keys_of)
                .iter()
                .map(|names| key_files(&passwd, names)),
        );
        Self {
            files: Files::read(reply, &asked),
            salt: reply.salt().unwrap_or_default(),
            passwd,
            groups: table(reply.first("group"), 4),
            packages: packages(classes, reply),
            units: units(classes, reply),
            parameters: parameters(classes, reply),
            kept: kept(classes, reply),
        }
    }

    fn path(&self, path: &str, content: ContentWanted) -> Answer {
        self.files.answer(path, content, self.salt.is_some())
    }

    fn account(&self, name: &str) -> Answer {
        let (passwd, groups) = match (&self.passwd, &self.groups) {
            (Ok(passwd), Ok(groups)) => (passwd, groups),
            (Err(why), _) | (_, Err(why)) => return Answer::NoAnswer(why.clone()),
        };
        let Some(line) = passwd.iter().find(|line| line[0] == name) else {
            return good("");
        };
        let is_member = |line: &&Vec<String>| {
            line.get(3)
                .is_some_and(|all| all.split(',').any(|one| one == name))
        };
        let further: BTreeSet<&str> = groups
            .iter()
            .filter(is_member)
            .map(|line| line[0].as_str())
            .collect();
        let gid = line.get(3).map_or("", String::as_str);
        let primary = groups
            .iter()
            .find(|line| line.get(2).is_some_and(|number| number == gid));
        let further: Vec<&str> = further.into_iter().collect();
        let primary = primary.map_or(gid, |line| line[0].as_str());
        good(format!("{}\n{}\n{primary}\n", line.join(":"), further.join(",")))
    }

    fn group(&self, name: &str) -> Answer {
        let (passwd, groups) = match (&self.passwd, &self.groups) {
            (Ok(passwd), Ok(groups)) => (passwd, groups),
            (Err(why), _) | (_, Err(why)) => return Answer::NoAnswer(why.clone()),
        };
        let Some(line) = groups.iter().find(|line| line[0] == name) else {
            return good("");
        };
        let of = passwd
            .iter()
            .filter(|account| account.get(3).is_some_and(|gid| line.get(2) == Some(gid)));
        let of: BTreeSet<&str> = of.map(|account| account[0].as_str()).collect();
        let of: Vec<&str> = of.into_iter().collect();
        good(format!("{}\n{}\n", line.join(":"), of.join(",")))
    }

    fn authorized_keys(&self, name: &str) -> Answer {
        let passwd = match &self.passwd {
            Ok(passwd) => passwd,
            Err(why) => return Answer::NoAnswer(why.clone()),
        };
        let Some(line) = passwd.iter().find(|line| line[0] == name) else {
            return good("type=no-account\n");
        };
        let path = key_file(line);
        match self.path(&path, ContentWanted::Text) {
            Answer::Text { output, status: 0 } => good(format!("path={path}\n{output}")),
            other => other,
        }
    }

    fn sysctl(&self, key: &str, file: &str) -> Answer {
        let mut output = match self.parameters.get(sysctl_path(key).as_bytes()) {
            None => return not_as_asked(),
            Some((state, _)) if state == "bad" => return bad(1, format!("{key} cannot be read")),
            Some((state, _)) if state == "absent" => "absent=yes\n".to_owned(),
            Some((state, value)) if state == "ok" => format!("value={}\n", squeezed(value)),
            Some(_) => return not_as_asked(),
        };
        match self.files.text(file) {
            Ok(None) => {}
            Ok(Some(text)) => {
                writeln!(output, "file={}", kept_in(&text, key)).expect("writing to a String does not fail")
            }
            Err(why) => return bad(1, why),
        }
        good(output)
    }

    fn kept(&self, run: &str, path: &str) -> Answer {
        let kept = self
            .kept
            .get(&(run.as_bytes().to_vec(), path.as_bytes().to_vec()));
        kept.map_or_else(not_as_asked, good)
    }

    fn settings(
        &self,
        path: &str,
        format: SettingsFormat,
        keys: &BTreeMap<String, bool>,
        read_keys: &ReadKeys,
    ) -> Answer {
        let text = match self.files.text(path) {
            Ok(Some(text)) => text,
            Ok(None) => return good(json!({"type": "absent"}).to_string()),
            Err(why) => return bad(1, why),
        };
        let there = match read_keys(format, &text, &keys.keys().cloned().collect()) {
            Ok(there) => there,
            Err(why) => return bad(65, why),
        };
        let shown: BTreeMap<&String, Value> = there
            .iter()
            .map(|(key, value)| {
                let is_secret = keys.get(key).copied().unwrap_or(true);
                (
                    key,
                    if is_secret {
                        self.printed(value)
                    } else {
                        value.clone()
                    },
                )
            })
            .collect();
        let (mode, owner, group) = self.files.attributes(path).unwrap_or_default();
        good(json!({"type": "file", "mode": mode, "owner": owner, "group": group, "keys": shown}).to_string())
    }

    /// Stands for a secret value: its print, or that it cannot be had before the host has a salt.
    fn printed(&self, value: &Value) -> Value {
        let text = value
            .as_str()
            .map_or_else(|| canonical_json(value), str::to_owned);
        match &self.salt {
            Some(salt) => json!({"print": Fingerprint::of(salt, text.as_bytes())}),
            None => json!({"opaque": true}),
        }
    }
}

/// Where an account keeps its authorized keys.
fn key_file(line: &[String]) -> String {
    format!("{}/.ssh/authorized_keys", line.get(5).map_or("", String::as_str))
}

/// The files of these accounts' authorized keys, as the host finds them in its own table.
fn key_files(passwd: &Result<Vec<Vec<String>>, String>, names: &[&str]) -> Vec<String> {
    let lines = passwd.iter().flatten();
    let theirs = lines.filter(|line| names.contains(&line[0].as_str()));
    theirs.map(|line| key_file(line)).collect()
}

fn squeezed(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns what the last line for a key in a file of kernel parameters says.
fn kept_in(text: &str, key: &str) -> String {
    let dotted = key.replace('/', ".");
    let value = |line: &str| {
        let (name, value) = line.trim().trim_start_matches('-').split_once('=')?;
        (name.trim().replace('/', ".") == dotted).then(|| squeezed(value))
    };
    text.lines().filter_map(value).next_back().unwrap_or_default()
}

/// Answers by name.
struct Named {
    answers: BTreeMap<String, Answer>,
}

impl Named {
    fn answer(&self, name: &str) -> Answer {
        self.answers.get(name).cloned().unwrap_or_else(not_as_asked)
    }
}

fn packages(classes: &Classes<'_>, reply: &Reply) -> Named {
    let mut answers = BTreeMap::new();
    let chunks = look::chunks(&classes.packages);
    for (chunk, said) in chunks.iter().zip(reply.all("package")) {
        // dpkg-query says 1 where it does not know some of the names, and 2 where it cannot read its database.
        if said.status > 1 {
            answers.extend(
                chunk
                    .iter()
                    .map(|name| (name.to_string(), Answer::NoAnswer(said.why()))),
            );
            continue;
        }
        let text = said.text();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
        let is_unknown = |name: &str| said.errors.lines().any(|line| is_no_match(line, name));
        answers.extend(
            chunk
                .iter()
                .map(|name| (name.to_string(), package(name, &lines, is_unknown(name)))),
        );
    }
    Named { answers }
}

/// Tells whether dpkg-query says here that it does not know a name.
fn is_no_match(line: &str, name: &str) -> bool {
    let line = line.to_ascii_lowercase();
    line.split_once("no packages found matching ")
        .is_some_and(|(_, unknown)| unknown.trim_end_matches('.') == name.to_ascii_lowercase())
}

fn package(name: &str, lines: &[Vec<&str>], is_unknown: bool) -> Answer {
    let (plain, wanted_arch) = match name.split_once(':') {
        Some((plain, arch)) => (plain, Some(arch)),
        None => (name, None),
    };
    let mut fitting: Vec<&[&str]> = lines
        .iter()
        .filter_map(|line| match line.as_slice() {
            [package, arch, states @ ..]
                if *package == plain && wanted_arch.is_none_or(|wanted| wanted == *arch) =>
            {
                Some(states)
            }
            _ => None,
        })
        .collect();
    // Of several architectures the one that is installed counts.
    fitting.sort_by_key(|states| states.get(1) != Some(&"installed"));
    match fitting.first() {
        Some(states) => good(states.join("\t") + "\n"),
        None if is_unknown => good(""),
        None => not_as_asked(),
    }
}

fn units(classes: &Classes<'_>, reply: &Reply) -> Named {
    let mut answers = BTreeMap::new();
    let chunks = look::chunks(&classes.units);
    for (chunk, said) in chunks.iter().zip(reply.all("unit")) {
        let text = said.text();
        let blocks: Vec<&str> = text
            .split("\n\n")
            .filter(|block| !block.trim().is_empty())
            .collect();
        // One block for each name, in their order; the Id may be another name of the same unit.
        let fitting = |index: usize| (blocks.len() == chunk.len()).then(|| blocks[index]);
        answers.extend(chunk.iter().enumerate().map(|(index, name)| {
            let answer = match fitting(index) {
                Some(block) if !block.starts_with("Failed=") => good(format!("{}\n", block.trim_end())),
                Some(_) | None => Answer::NoAnswer(said.why()),
            };
            (name.to_string(), answer)
        }));
    }
    Named { answers }
}

/// Returns the state and value of each kernel parameter by its path. Those of a call that does not answer for each once, in
/// order, are left out.
fn parameters(classes: &Classes<'_>, reply: &Reply) -> BTreeMap<Vec<u8>, (String, String)> {
    let paths: BTreeSet<String> = classes.sysctls.iter().map(|key| sysctl_path(key)).collect();
    let chunks = look::chunks(&paths.iter().map(String::as_str).collect());
    let mut parameters = BTreeMap::new();
    for (chunk, said) in chunks.iter().zip(reply.all("sysctl")) {
        let fields = fields(&said.output);
        let names = fields.iter().step_by(3).map(|name| lossy(name));
        if fields.len() == 3 * chunk.len() && names.eq(chunk.iter().copied()) {
            let read = |f: &[&[u8]]| (f[0].to_vec(), (lossy(f[1]), lossy(f[2])));
            parameters.extend(fields.chunks_exact(3).map(read));
        }
    }
    parameters
}

/// Returns what runs kept, by run and path. A call that does not answer for each once, in order, is left out.
fn kept(classes: &Classes<'_>, reply: &Reply) -> BTreeMap<(Vec<u8>, Vec<u8>), String> {
    let mut kept = BTreeMap::new();
    for (chunk, said) in look::kept_chunks(classes).iter().zip(reply.all("kept")) {
        let fields = fields(&said.output);
        let names = fields.chunks(4).map(|f| (Some(f[0]), f.get(1).copied()));
        let asked = chunk
            .iter()
            .map(|(run, path)| (Some(run.as_bytes()), Some(path.as_bytes())));
        if fields.len() == 4 * chunk.len() && names.eq(asked) {
            let state = |f: &[&[u8]]| format!("store={}\nleft={}\n", lossy(f[2]), lossy(f[3]));
            let read = |f: &[&[u8]]| ((f[0].to_vec(), f[1].to_vec()), state(f));
            kept.extend(fields.chunks_exact(4).map(read));
        }
    }
    kept
}

/// Reads a table of accounts or groups: its lines are numbered, and an empty line and `end` follow them. What NIS adds, and
/// what is empty or a comment, names nobody.
fn table(said: Option<&Said>, columns: usize) -> Result<Vec<Vec<String>>, String> {
    let said = said.ok_or(NOT_AS_ASKED)?;
    if said.status != 0 {
        return Err(said.why());
    }
    let text = said.text();
    let numbered = |(index, line): (usize, &str)| {
        let (number, rest) = line.trim_start_matches(' ').split_once('\t')?;
        (number.parse() == Ok(index + 1)).then(|| rest.to_owned())
    };
    // Not `lines`, which would take a carriage return off.
    let lines = text.strip_suffix('\n').unwrap_or(&text).split('\n').enumerate();
    let mut lines: Vec<String> = lines.map(numbered).collect::<Option<_>>().ok_or(NOT_AS_ASKED)?;
    if lines.pop().as_deref() != Some("end") {
        return Err(NOT_AS_ASKED.to_owned());
    }
    lines
        .iter()
        .filter(|line| !line.is_empty() && !line.starts_with(['+', '-', '#']))
        .map(|line| {
            let line: Vec<String> = line.split(':').map(str::to_owned).collect();
            let is_whole = line.len() == columns;
            is_whole
                .then_some(line)
                .ok_or_else(|| "a line of the host's accounts or groups cannot be read".to_owned())
        })
        .collect()
}

/// Splits what ends with NUL bytes.
fn fields(bytes: &[u8]) -> Vec<&[u8]> {
    bytes
        .strip_suffix(b"\0")
        .map(|bytes| bytes.split(|&byte| byte == 0).collect())
        .unwrap_or_default()
}

/// What was seen of paths. Names are bytes, as the file system has them.
#[derive(Default)]
struct Files {
    stats: BTreeMap<Vec<u8>, Stat>,
    links: BTreeMap<Vec<u8>, String>,
    empties: BTreeMap<Vec<u8>, String>,
    sums: BTreeMap<Vec<u8>, String>,
    prints: BTreeMap<Vec<u8>, String>,
    texts: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Why a path has no `Stat`; `None` where nothing is there.
    missing: BTreeMap<String, Option<String>>,
}

/// What stat(1) said of one path.
struct Stat {
    kind: &'static str,
    mode: String,
    owner: String,
    group: String,
    /// Their numbers.
    uid: String,
    gid: String,
    size: String,
    /// The time of its last change: seconds, a point, and nine digits.
    changed: String,
}

impl Stat {
    fn changed_secs(&self) -> &str {
        self.changed
            .split_once('.')
            .map_or(&*self.changed, |(secs, _)| secs)
    }

    fn changed_nanos(&self) -> Option<u64> {
        let (secs, nanos) = self.changed.split_once('.')?;
        let nanos: u64 = (nanos.len() == 9).then(|| nanos.parse().ok())??;
        secs.parse::<u64>()
            .ok()?
            .checked_mul(1_000_000_000)?
            .checked_add(nanos)
    }
}

impl Files {
    /// Reads what was said of paths; `asked` is what each call of stat(1) was asked.
    fn read(reply: &Reply, asked: &[Vec<String>]) -> Self {
        let mut files = Self::default();
        if reply.count("stat") != asked.len() {
            return files;
        }
        for (asked, said) in asked.iter().zip(reply.all("stat")) {
            files.read_stats(asked, said);
        }
        for (name, said) in &reply.said {
            match name.as_str() {
                "empty" => files.empties.extend(pairs(&said.output)),
                "sum" => files.read_sums(&said.output),
                "print" => files.prints.extend(pairs(&said.output)),
                "text" => files.read_texts(&said.output),
                _ => {}
            }
        }
        files
    }

    /// Reads one call's records and errors. Where they are not one for each path that it was asked, they say nothing of any.
    fn read_stats(&mut self, asked: &[String], said: &Said) {
        let mut left = asked.to_vec();
        let fields = fields(&said.output);
        for record in fields.chunks(9) {
            let position = left.iter().position(|path| path.as_bytes() == record[0]);
            let Some((position, stat)) = position.zip(Stat::read(record)) else {
                return asked.iter().for_each(|path| self.forget(path));
            };
            let path = left.swap_remove(position);
            let target = record[8]
                .strip_prefix(record[0])
                .and_then(|rest| rest.strip_prefix(b" -> "));
            self.links
                .extend(target.map(|target| (record[0].to_vec(), lossy(target))));
            self.stats.insert(path.into_bytes(), stat);
        }
        // A link whose target cannot be read has a record beside its error.
        let errors: Vec<&str> = said
            .errors
            .lines()
            .filter(|line| !line.contains("cannot read symbolic link"))
            .collect();
        if errors.len() != left.len() {
            return asked.iter().for_each(|path| self.forget(path));
        }
        let missing = left.into_iter().map(|path| {
            let why = why_missing(&path, &errors);
            (path, why)
        });
        self.missing.extend(missing);
    }

    fn forget(&mut self, path: &str) {
        self.stats.remove(path.as_bytes());
        self.missing.remove(path);
    }

    fn read_sums(&mut self, output: &[u8]) {
        for field in fields(output) {
            // 64 digits, a blank, a blank or a star, the name.
            if let (Some(sum), Some(name)) = (field.get(..64), field.get(66..)) {
                self.sums.insert(name.to_vec(), lossy(sum));
            }
        }
    }

    /// Reads the most bytes that there are of each file, a count, that many names, and then all bytes.
    fn read_texts(&mut self, output: &[u8]) {
        let mut rest = output;
        let mut field = || {
            let end = rest.iter().position(|&byte| byte == 0)?;
            let field = &rest[..end];
            rest = &rest[end + 1..];
            Some(field)
        };
        let mut number = || field().and_then(parsed::<usize>);
        let (Some(most), Some(count)) = (number(), number()) else {
            return;
        };
        let names: Vec<&[u8]> = (0..count).map_while(|_| field()).collect();
        for name in names {
            let size = self
                .stats
                .get(name)
                .and_then(|stat| stat.size.parse::<usize>().ok());
            let Some((bytes, after)) = size.and_then(|size| rest.split_at_checked(size.min(most))) else {
                return;
            };
            rest = after;
            // Of a longer file this is a part only, and one that changed meanwhile has another digest than `say_sums`
            // gave: then only that counts.
            if self.sums.get(name) == Some(&Digest::of(bytes).0) {
                self.texts.insert(name.to_vec(), bytes.to_vec());
            }
        }
    }

    /// Says why a path has no `Stat`: `Ok` where nothing is there.
    fn is_absent(&self, path: &str) -> Result<(), String> {
        match self.missing.get(path) {
            Some(None) => Ok(()),
            Some(Some(why)) => Err(why.clone()),
            None => Err(format!("{path} cannot be read: {NOT_AS_ASKED}")),
        }
    }

    fn attributes(&self, path: &str) -> Option<(String, String, String)> {
        let stat = self.stats.get(path.as_bytes())?;
        Some((stat.mode.clone(), stat.owner.clone(), stat.group.clone()))
    }

    /// Returns a file's text; `None` where nothing is there.
    fn text(&self, path: &str) -> Result<Option<String>, String> {
        let Some(stat) = self.stats.get(path.as_bytes()) else {
            return self.is_absent(path).map(|()| None);
        };
        if stat.kind != "file" {
            return Err(format!("{path} is a {} and not a file", stat.kind));
        }
        let bytes = self
            .texts
            .get(path.as_bytes())
            .ok_or_else(|| format!("{path} is too long, or changed while it was read"))?;
        String::from_utf8(bytes.clone())
            .map(Some)
            .map_err(|_| format!("{path} is not text"))
    }

    /// Returns when each of these last changed, in nanoseconds, as a JSON object; what is not there is left out.
    fn changes(&self, paths: &BTreeSet<String>) -> Answer {
        let mut changes = BTreeMap::new();
        for path in paths {
            match self.stats.get(path.as_bytes()).map(Stat::changed_nanos) {
                Some(Some(nanos)) => drop(changes.insert(path, nanos)),
                Some(None) => return bad(1, format!("{path}: the time of its last change cannot be read")),
                None => match self.is_absent(path) {
                    Ok(()) => {}
                    Err(why) => return bad(1, why),
                },
            }
        }
        good(json!(changes).to_string())
    }

    fn answer(&self, path: &str, wanted: ContentWanted, has_salt: bool) -> Answer {
        let Some(stat) = self.stats.get(path.as_bytes()) else {
            return match self.is_absent(path) {
                Ok(()) => good("type=absent\n"),
                Err(why) => bad(1, why),
            };
        };
        let Stat {
            kind,
            mode,
            owner,
            group,
            uid,
            gid,
            size,
            changed: _,
        } = stat;
        let changed = stat.changed_secs();
        let mut head = format!(
            "type={kind}\nmode={mode}\nowner={owner}\ngroup={group}\nuid={uid}\ngid={gid}\nsize={size}\nchanged={changed}\n"
        );
        match self.further(path.as_bytes(), stat.kind, wanted, has_salt) {
            Ok(further) => head.push_str(&further),
            Err(why) => return bad(1, why),
        }
        good(head)
    }

    /// Returns the lines that depend on what is at the path, and the content.
    fn further(
        &self,
        path: &[u8],
        kind: &str,
        wanted: ContentWanted,
        has_salt: bool,
    ) -> Result<String, String> {
        let found = |map: &BTreeMap<Vec<u8>, String>| {
            map.get(path)
                .cloned()
                .ok_or_else(|| format!("{} changed while it was read", lossy(path)))
        };
        match (kind, wanted) {
            ("link", _) => Ok(format!("to={}\n", found(&self.links)?)),
            ("directory", _) => {
                let entries = found(&self.empties)?;
                let empty = if entries == "0" { "yes" } else { "no" };
                Ok(format!("empty={empty}\nentries={entries}\n"))
            }
            ("file", ContentWanted::Print) if !has_salt => Ok("opaque=yes\n".to_owned()),
            ("file", ContentWanted::Print) => {
                let print = found(&self.prints)?;
                let print = print
                    .get(..64)
                    .filter(|print| print.bytes().all(|b| b.is_ascii_hexdigit()));
                let print = print.ok_or_else(|| format!("{} cannot be read", lossy(path)))?;
                Ok(format!("print={print}\n"))
            }
            ("file", ContentWanted::Text) => {
                let sum = found(&self.sums)?;
                let text = self
                    .texts
                    .get(path)
                    .and_then(|bytes| std::str::from_utf8(bytes).ok());
                Ok(format!("sha256={sum}\n") + &text.map(|text| format!("\n{text}")).unwrap_or_default())
            }
            _ => Ok(String::new()),
        }
    }
}

/// Says what the errors of stat(1) mean for a path that has no record; `None` where nothing is there, which only ENOENT
/// and ENOTDIR say.
fn why_missing(path: &str, errors: &[&str]) -> Option<String> {
    let says_absent =
        |line: &&str| line.ends_with(": No such file or directory") || line.ends_with(": Not a directory");
    let quoted = format!("'{path}'");
    match errors.iter().find(|line| line.contains(&quoted)) {
        Some(line) if says_absent(line) => None,
        Some(line) => Some(line.trim_start_matches("stat: ").to_owned()),
        // A name that stat writes in another way cannot be found; then all that it missed must have been absent.
        None if errors.iter().all(says_absent) => None,
        None => Some(format!("{path} cannot be read")),
    }
}

impl Stat {
    /// Reads name, mode in hex, uid, user, gid, group, size, ctime, name with target.
    fn read(record: &[&[u8]]) -> Option<Self> {
        if record.len() != 9 {
            return None;
        }
        let mode = u32::from_str_radix(std::str::from_utf8(record[1]).ok()?, 16).ok()?;
        let kind = match mode & 0o170_000 {
            0o100_000 => "file",
            0o040_000 => "directory",
            0o120_000 => "link",
            _ => "other",
        };
        let name = |number: &[u8], name: &[u8]| {
            if name == b"UNKNOWN" {
                lossy(number)
            } else {
                lossy(name)
            }
        };
        Some(Self {
            kind,
            mode: format!("{:04o}", mode & 0o7777),
            owner: name(record[2], record[3]),
            group: name(record[4], record[5]),
            uid: lossy(record[2]),
            gid: lossy(record[4]),
            size: lossy(record[6]),
            changed: lossy(record[7]),
        })
    }
}

fn pairs(output: &[u8]) -> Vec<(Vec<u8>, String)> {
    fields(output)
        .chunks_exact(2)
        .map(|pair| (pair[0].to_vec(), lossy(pair[1])))
        .collect()
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn parsed<T: std::str::FromStr>(bytes: &[u8]) -> Option<T> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;

    use super::*;

    fn reply(name: &str, output: &str, errors: &str, status: i32) -> Reply {
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        let line = format!(
            "{name} 0 {} {}\n",
            encode(&format!("{output}\n{status}")),
            encode(errors)
        );
        Reply::read(line.as_bytes()).unwrap()
    }

    fn answers_of(probes: &[Probe], reply: &Reply) -> Vec<Answer> {
        let key = ResourceKey::new("x", "x");
        let probes = BTreeMap::from([(key.clone(), probes.to_vec())]);
        let mut reply = reply.clone();
        let salt = Said {
            output: b"salt ".to_vec(),
            ..Said::default()
        };
        reply.said.push(("salt".to_owned(), salt));
        answers(&probes, &reply, &|_, _, _| Ok(BTreeMap::new()))
            .remove(&key)
            .unwrap()
    }

    #[test]
    fn units_are_told_apart_by_order_and_one_without_an_answer_spoils_no_other() {
        let probes = ["a.service", "b@.service", "c.service"].map(|unit| Probe::Unit(unit.to_owned()));
        let output = "Id=real-a.service\nLoadState=loaded\n\nFailed=yes\n\nId=c.service\n\n";
        let answers = answers_of(&probes, &reply("unit", output, "bad name\n", 0));
        assert_eq!(answers[0], good("Id=real-a.service\nLoadState=loaded\n"));
        assert_eq!(answers[1], Answer::NoAnswer("bad name".to_owned()));
        assert_eq!(answers[2], good("Id=c.service\n"));
    }

    #[test]
    fn a_package_of_several_architectures_is_the_installed_one() {
        let probes = ["lib", "lib:i386", "none"].map(|name| Probe::Package(name.to_owned()));
        let output = "lib\tamd64\tdeinstall\tconfig-files\t1\nlib\ti386\tinstall\tinstalled\t2\n";
        let no_match = "dpkg-query: no packages found matching none\n";
        let installed = good("install\tinstalled\t2\n");
        let answers = answers_of(&probes, &reply("package", output, no_match, 1));
        assert_eq!(answers, [installed.clone(), installed, good("")]);
        let silent = answers_of(&probes, &reply("package", "", no_match, 1));
        assert!(silent[..2].iter().all(|answer| answer.missing().is_some()) && silent[2] == good(""));
        let broken = answers_of(&probes, &reply("package", "", "dpkg-query: error\n", 2));
        assert_eq!(broken, vec![Answer::NoAnswer("dpkg-query: error".to_owned()); 3]);
    }

    #[test]
    fn what_the_host_did_not_say_is_no_answer() {
        let probes = [
            Probe::Path {
                path: "/x".to_owned(),
                content: ContentWanted::Text,
            },
            Probe::Unit("a.service".to_owned()),
            Probe::Account("a".to_owned()),
        ];
        let answers = answers_of(&probes, &Reply::default());
        assert_eq!(answers, vec![not_as_asked(); 3]);
    }

    #[test]
    fn answers_that_are_not_as_many_as_the_questions_answer_none_of_them() {
        let probe = |script: &str| Probe::Command {
            script: script.to_owned(),
            user: None,
            timeout_secs: 5,
        };
        let probes = [probe("a"), probe("b"), Probe::Package("curl".to_owned())];
        let mut said = reply("command", "x=1", "", 0);
        let answers = answers_of(&probes, &said);
        assert_eq!(answers, vec![not_as_asked(); 3]);
        said.said.extend(reply("command", "", "", 0).said);
        let package = reply("package", "curl\tamd64\tinstall\tinstalled\t8\n", "", 0);
        said.said.extend(package.said.clone());
        let curl = good("install\tinstalled\t8\n");
        assert_eq!(answers_of(&probes, &said), [good("x=1"), good(""), curl]);
        said.said.extend(package.said);
        assert_eq!(
            answers_of(&probes, &said),
            vec![not_as_asked(); 3],
            "one call was asked, two answered"
        );
    }

    #[test]
    fn only_a_whole_table_tells_who_is_absent() {
        let probes = ["root", "nobody-there"].map(|name| Probe::Account(name.to_owned()));
        let answers = |passwd: &str| {
            let mut said = reply("passwd", passwd, "", 0);
            let group = "     1\troot:x:0:\n     2\t\n     3\tend\n";
            said.said.extend(reply("group", group, "", 0).said);
            answers_of(&probes, &said)
        };
        let root = "1\troot:x:0:0:root:/root:/bin/sh\n";
        let whole = answers(&format!("{root}2\t+\n3\t\n4\tend\n"));
        assert_eq!(whole, [good("root:x:0:0:root:/root:/bin/sh\n\nroot\n"), good("")]);
        for odd in [
            "",
            "1\tend\n2\tend",
            root,
            &format!("{root}3\tend\n"),
            &format!("{root}2\tbin:x:1\n3\tend\n"),
            &format!("{root}{root}2\tend\n"),
        ] {
            let answers = answers(odd);
            assert!(answers.iter().all(|answer| answer.missing().is_some()), "{odd}");
        }
    }

    #[test]
    fn a_path_is_absent_only_where_each_path_has_one_answer() {
        let probes = ["/a", "/b"].map(|path| Probe::Path {
            path: path.to_owned(),
            content: ContentWanted::None,
        });
        let record = "/a\x0041ed\x000\x00root\x000\x00root\x004096\x001\x00/a\x00";
        let gone = "stat: cannot statx '/b': No such file or directory\n";
        let answers = |records: &str, errors: &str| {
            let mut said = reply("stat", records, errors, 1);
            said.said.extend(reply("empty", "/a\x00yes\x00", "", 0).said);
            answers_of(&probes, &said)
        };
        let whole = answers(record, gone);
        assert!(matches!(&whole[0], Answer::Text { status: 0, .. }));
        assert_eq!(whole[1], good("type=absent\n"));
        for (records, errors) in [
            (String::new(), gone.to_owned()),
            (record.to_owned(), String::new()),
            (record.repeat(2), gone.to_owned()),
            (record.to_owned(), gone.repeat(2)),
            (record.replace("/a", "/c"), gone.to_owned()),
        ] {
            for answer in answers(&records, &errors) {
                assert!(matches!(answer, Answer::Text { status: 1, .. }), "{answer:?}");
            }
        }
    }
}
