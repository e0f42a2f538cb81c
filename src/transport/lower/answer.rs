//! What the output of the look's programs means: one answer for each probe, in the forms that [`Probe`] says.

mod files;
mod named;
mod records;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::model::digest::{Fingerprint, canonical_json};
use crate::model::engine::EngineProbe;
use crate::model::id::ResourceKey;
use crate::model::observation::Answer;
use crate::model::op::{ContentWanted, Probe, SettingsFormat};

use super::look::{self, Classes};
use super::op::sysctl_path;
use super::reply::{NOT_AS_ASKED, Reply, Said};
use files::Files;
use named::{Named, packages, units};
use records::{kept, parameters, table};

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
