//! What the look's programs said of paths.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::model::digest::Digest;
use crate::model::observation::Answer;
use crate::model::op::ContentWanted;

use super::super::reply::{NOT_AS_ASKED, Reply, Said};
use super::records::{fields, lossy, pairs, parsed};
use super::{bad, good};

/// What was seen of paths. Names are bytes, as the file system has them.
#[derive(Default)]
pub(super) struct Files {
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
    pub(super) fn read(reply: &Reply, asked: &[Vec<String>]) -> Self {
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

    pub(super) fn attributes(&self, path: &str) -> Option<(String, String, String)> {
        let stat = self.stats.get(path.as_bytes())?;
        Some((stat.mode.clone(), stat.owner.clone(), stat.group.clone()))
    }

    /// Returns a file's text; `None` where nothing is there.
    pub(super) fn text(&self, path: &str) -> Result<Option<String>, String> {
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
    pub(super) fn changes(&self, paths: &BTreeSet<String>) -> Answer {
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

    pub(super) fn answer(&self, path: &str, wanted: ContentWanted, has_salt: bool) -> Answer {
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
