//! What a pretend host answers to each probe, in the form that stands with the probe.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::keyed;
use crate::model::digest::{Digest, Fingerprint};
use crate::model::observation::Answer;
use crate::model::op::{CONTENT_MAX_BYTES, ContentWanted, Probe, SettingsFormat};

use super::host::{Host, Kind, Node};

impl Host {
    /// Answers one probe.
    pub fn look(&self, probe: &Probe) -> Answer {
        if self.is_veiled(probe) {
            return self.veiled(probe);
        }
        let output = match probe {
            Probe::Path { path, content } => self.path(path, *content),
            Probe::Account(name) => self.passwd(name),
            Probe::Group(name) => self
                .groups
                .get(name)
                .map(|gid| {
                    let of = self.accounts.iter().filter(|(_, account)| account.group == *name);
                    let of: Vec<&str> = of.map(|(account, _)| account.as_str()).collect();
                    format!("{name}:x:{gid}:\n{}\n", of.join(","))
                })
                .unwrap_or_default(),
            Probe::AuthorizedKeys(name) => match self.accounts.get(name) {
                None => "type=no-account\n".to_owned(),
                Some(account) => {
                    let path = format!("{}/.ssh/authorized_keys", account.home);
                    format!("path={path}\n{}", self.path(&path, ContentWanted::Text))
                }
            },
            Probe::Package(name) => match self.packages.get(name) {
                None => String::new(),
                Some((version, held)) => {
                    let want = if *held { "hold" } else { "install" };
                    format!("{want}\tinstalled\t{version}\n")
                }
            },
            Probe::Unit(name) => self.show_unit(name),
            Probe::Sysctl { key, file } => self.parameter(key, file),
            Probe::Settings { path, format, keys } => return self.settings(path, *format, keys),
            Probe::Kept { run, path } => {
                let say = |is: bool| if is { "yes" } else { "no" };
                let is_there = self.kept.contains_key(run.as_str());
                let is_left = self.is_left(run.as_str(), path);
                format!("store={}\nleft={}\n", say(is_there), say(is_left))
            }
            Probe::Command { script, .. } => return self.asked(script),
            Probe::Engine(probe) => return self.ask_engine(probe),
        };
        Answer::Text { output, status: 0 }
    }

    fn path(&self, path: &str, content: ContentWanted) -> String {
        let Some(node) = self.paths.get(path) else {
            return "type=absent\n".into();
        };
        let Node {
            owner,
            group,
            mode,
            changed,
            ..
        } = node;
        let head = format!("mode={mode}\nowner={owner}\ngroup={group}\nchanged={changed}\n");
        match &node.kind {
            Kind::Directory => {
                let parent =
                    |inside: &&String| inside.rsplit_once('/').map(|(parent, _)| parent) == Some(path);
                let entries = self.paths.keys().filter(parent).count();
                let empty = if entries == 0 { "yes" } else { "no" };
                format!("type=directory\n{head}size=0\nempty={empty}\nentries={entries}\n")
            }
            Kind::Link(to) => format!("type=link\n{head}size=0\nto={to}\n"),
            Kind::File(text) => {
                let head = format!("type=file\n{head}size={}\n", text.len());
                match (content, &self.salt) {
                    (ContentWanted::None, _) => head,
                    (ContentWanted::Text, _) if text.len() as u64 > CONTENT_MAX_BYTES => {
                        format!("{head}sha256={}\n", Digest::of(text))
                    }
                    (ContentWanted::Text, _) => format!("{head}sha256={}\n\n{text}", Digest::of(text)),
                    (ContentWanted::Print, Some(salt)) => {
                        format!("{head}print={}\n", Fingerprint::of(salt, text.as_bytes()).0)
                    }
                    (ContentWanted::Print, None) => format!("{head}opaque=yes\n"),
                }
            }
        }
    }

    fn parameter(&self, key: &str, file: &str) -> String {
        let value = self.parameters.get(key).map_or("0", String::as_str);
        let of_key = |line: &str| {
            let (name, value) = line.split_once('=')?;
            (name.trim() == key).then(|| value.trim().to_owned())
        };
        let kept = self
            .text(file)
            .and_then(|text| text.lines().filter_map(of_key).next_back());
        // A file without the key says so with an empty value.
        let kept = kept.or(self.text(file).map(|_| String::new()));
        let kept = kept.map(|value| format!("file={value}\n"));
        format!("value={value}\n{}", kept.unwrap_or_default())
    }

    fn settings(&self, path: &str, format: SettingsFormat, keys: &BTreeMap<String, bool>) -> Answer {
        let answer = |output: String, status| Answer::Text { output, status };
        let node = match self.paths.get(path) {
            None => return answer(json!({"type": "absent"}).to_string(), 0),
            Some(node) => node,
        };
        let Kind::File(text) = &node.kind else {
            return Answer::NoAnswer("no file".into());
        };
        let there = match keyed::read(format, text, &keys.keys().cloned().collect()) {
            Ok(there) => there,
            Err(why) => return answer(why, 65),
        };
        let shown = |(key, value): (String, Value)| {
            let value = if keys[&key] { self.printed(&value) } else { value };
            (key, value)
        };
        let shown: BTreeMap<String, Value> = there.into_iter().map(shown).collect();
        let Node {
            owner, group, mode, ..
        } = node;
        let output = json!({"type": "file", "mode": mode, "owner": owner, "group": group, "keys": shown});
        answer(output.to_string(), 0)
    }

    fn printed(&self, value: &Value) -> Value {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match &self.salt {
            Some(salt) => json!({ "print": Fingerprint::of(salt, text.as_bytes()) }),
            None => json!({ "opaque": true }),
        }
    }

    /// Answers a module's own question: by what its script leads to, or for `did TEXT` whether TEXT was run.
    fn asked(&self, probe: &str) -> Answer {
        let known = self.scripts.iter().find(|(_, led)| led.probe == probe);
        let (did, prints) = match known {
            Some((script, led)) => (self.ran.contains_key(script), led.prints.clone()),
            None => {
                let did = probe
                    .strip_prefix("did ")
                    .is_some_and(|script| self.ran.contains_key(script));
                (did, "out=value\n".to_owned())
            }
        };
        Answer::Text {
            output: if did || known.is_none() {
                prints
            } else {
                String::new()
            },
            status: i32::from(!did),
        }
    }
}
