//! What is not shown of a file that hands wrote: values for which no declaration has a key.
//!
//! A hand-made file may hold a password that no vault knows. Whoever declares a key with a public value says that it is
//! public; nobody has said so of the others. They are shown by their print, and never reach a plan or a recorded look.
//! Source: decision 0008 (secrets by reference).

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use crate::model::digest::{Digest, Fingerprint, canonical_json};
use crate::model::observation::Answer;

/// The line of a path's answer that says that values of its text are hidden; its value is the digest of what was seen.
pub(super) const VEILED: &str = "veiled";

/// Returns a path's answer with values hidden, where its text holds some that no declaration has a key for. `seen` tells
/// the digest by which a later look at the whole is compared.
pub(super) fn answer(
    answer: &Answer,
    path: &str,
    declared: &[&str],
    salt: Option<&[u8]>,
    seen: &dyn Fn() -> Digest,
) -> Option<Answer> {
    let Answer::Text { output, status: 0 } = answer else {
        return None;
    };
    let (head, text) = output.split_once("\n\n")?;
    let veiled = content(path, declared, text, salt)?;
    Some(Answer::Text {
        output: format!("{head}\n{VEILED}={}\n\n{veiled}", seen()),
        status: 0,
    })
}

/// Says whether a path's answer holds this very text. Most do, and need no further look.
pub(super) fn is_as_declared(answer: &Answer, declared: &str) -> bool {
    match answer {
        Answer::Text { output, .. } => {
            output.ends_with(declared) && {
                let head = &output[..output.len() - declared.len()];
                head.ends_with("\n\n") && !head[..head.len() - 2].contains("\n\n")
            }
        }
        Answer::NoAnswer(_) => true,
    }
}

/// The settings of containers, networks and volumes in which people write words of their own, as JSON pointers.
const WORDS: [&str; 7] = [
    "/command",
    "/entrypoint",
    "/healthcheck/check/test",
    "/labels",
    "/logging/options",
    "/driver_opts",
    "/ipam_options",
];

/// Returns settings with hidden words, where there are some that no declaration has; `None` where there are none.
pub(super) fn told(settings: &Value, declared: &[Value], salt: Option<&[u8]>) -> Option<Value> {
    let veil = Veil { salt };
    let mut shown = settings.clone();
    for pointer in WORDS {
        let declared: Vec<&Value> = declared
            .iter()
            .filter_map(|declared| declared.pointer(pointer))
            .collect();
        let Some(there) = shown.pointer_mut(pointer) else {
            continue;
        };
        let mut hidden = veil.value(there, &declared);
        // What tools note of a container says who made it.
        if let (Value::Object(there), Value::Object(hidden)) = (&*there, &mut hidden) {
            let is_tools = |key: &str| key.starts_with("com.docker.") || key.starts_with("dev.muster.");
            let noted = there.iter().filter(|(key, _)| is_tools(key));
            hidden.extend(noted.map(|(key, value)| (key.clone(), value.clone())));
        }
        *there = hidden;
    }
    (shown != *settings).then_some(shown)
}

/// Returns the print of a value. Without a salt it would let the value be guessed; then all of them are one.
pub(super) fn print(value: &str, salt: Option<&[u8]>) -> Fingerprint {
    match salt {
        Some(salt) => Fingerprint::of(salt, value.as_bytes()),
        None => Fingerprint::of(b"", b""),
    }
}

/// Returns a text with hidden values; `None` where nothing is to be hidden.
fn content(path: &str, declared: &[&str], there: &str, salt: Option<&[u8]>) -> Option<String> {
    let veil = Veil { salt };
    if let Some(value) = object(there) {
        let declared: Vec<Value> = declared.iter().filter_map(|text| object(text)).collect();
        let shown = veil.value(&value, &declared.iter().collect::<Vec<_>>());
        return (shown != value).then(|| format!("{shown:#}\n"));
    }
    if let Some(value) = toml(path, there) {
        let declared: Vec<Value> = declared.iter().filter_map(|text| toml(path, text)).collect();
        let shown = veil.value(&value, &declared.iter().collect::<Vec<_>>());
        // A comment may hold what was a value once, so it is shown only where nothing is hidden.
        return (shown != value).then(|| toml::to_string(&shown).unwrap_or_else(|_| veil.text(there)));
    }
    veil.lines(declared, there)
}

fn object(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok().filter(Value::is_object)
}

fn toml(path: &str, text: &str) -> Option<Value> {
    let value: toml::Value = path.ends_with(".toml").then(|| toml::from_str(text).ok())??;
    serde_json::to_value(value).ok()
}

struct Veil<'a> {
    salt: Option<&'a [u8]>,
}

impl Veil<'_> {
    /// Stands for a value: its print, or only that it is there before the host has a salt.
    fn text(&self, value: &str) -> String {
        match self.salt {
            Some(salt) => format!("(secret {})", Fingerprint::of(salt, value.as_bytes()).short()),
            None => "(secret)".to_owned(),
        }
    }

    fn hidden(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.text(text).into(),
            other => self.text(&canonical_json(other)).into(),
        }
    }

    /// Hides what none of the declared values has a key for.
    fn value(&self, there: &Value, declared: &[&Value]) -> Value {
        match there {
            Value::Object(fields) => {
                let field = |(key, value): (&String, &Value)| {
                    let declared: Vec<&Value> = declared.iter().filter_map(|other| other.get(key)).collect();
                    let shown = match declared.is_empty() {
                        true => self.hidden(value),
                        false => self.value(value, &declared),
                    };
                    (key.clone(), shown)
                };
                Value::Object(fields.iter().map(field).collect())
            }
            Value::Array(items) => {
                let known: Vec<&Value> = declared
                    .iter()
                    .filter_map(|other| other.as_array())
                    .flatten()
                    .collect();
                let item = |item: &Value| match known.contains(&item) {
                    true => item.clone(),
                    false => self.hidden(item),
                };
                Value::Array(items.iter().map(item).collect())
            }
            leaf if declared
                .iter()
                .any(|other| !other.is_object() && !other.is_array()) =>
            {
                leaf.clone()
            }
            leaf => self.hidden(leaf),
        }
    }

    /// Hides values of assignments whose key no declared line has, and what stands in a private key.
    fn lines(&self, declared: &[&str], there: &str) -> Option<String> {
        let lines: BTreeSet<&str> = declared
            .iter()
            .flat_map(|text| text.lines())
            .map(str::trim)
            .collect();
        let keys: BTreeSet<String> = lines
            .iter()
            .filter_map(|line| Some(assignment(line)?.key))
            .collect();
        let mut is_key = false;
        let mut is_veiled = false;
        let mut shown = String::with_capacity(there.len());
        for line in there.split_inclusive('\n') {
            let text = line.trim_end_matches(['\n', '\r']);
            let is_end = text.contains("-----END ");
            let hidden = match assignment(text) {
                _ if lines.contains(text.trim()) => None,
                _ if is_key && !is_end => Some(self.text(text.trim())),
                Some(found) if !keys.contains(&found.key) => {
                    Some(format!("{}{}", found.head, self.text(&found.value)))
                }
                Some(_) => None,
                None => telling(text).map(|(head, value)| format!("{head}{}", self.text(&value))),
            };
            is_key = (is_key || (text.contains("-----BEGIN ") && text.contains("PRIVATE KEY"))) && !is_end;
            is_veiled |= hidden.is_some();
            shown.push_str(&hidden.unwrap_or_else(|| text.to_owned()));
            shown.push_str(&line[text.len()..]);
        }
        is_veiled.then_some(shown)
    }
}

/// A line that gives something a value, also where it is commented out.
struct Assignment {
    head: String,
    key: String,
    value: String,
}

/// Key and value of `key = value`, `key: value`, `export KEY=value`, `Environment="KEY=value"`, `"key": "value",`.
fn assignment(line: &str) -> Option<Assignment> {
    static FORM: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r#"^(\s*(?:[#;/]+\s*)?(?:-\s+)?(?:export\s+|Environment=\s*)?["']?([A-Za-z_][A-Za-z0-9_.-]*)["']?\s*[=:]\s*)(\S.*)$"#,
        )
        .expect("the pattern is well formed")
    });
    let found = FORM.captures(line)?;
    Some(Assignment {
        head: found[1].to_owned(),
        key: found[2].to_owned(),
        value: found[3].trim_end().to_owned(),
    })
}

/// A line of another form whose first word promises a secret: `requirepass x`.
fn telling(line: &str) -> Option<(String, String)> {
    static FORM: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?i)^(\s*(?:[#;/]+\s*)?[a-z0-9_.-]*(?:pass|secret|token|apikey|api_key|mnemonic|credential)[a-z0-9_.-]*\s+)(\S.*)$")
            .expect("the pattern is well formed")
    });
    let found = FORM.captures(line)?;
    Some((found[1].to_owned(), found[2].trim_end().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "hunter2-hunter2";

    fn shown(path: &str, declared: &str, there: &str) -> String {
        content(path, &[declared], there, Some(b"salt")).unwrap_or_else(|| there.to_owned())
    }

    #[test]
    fn values_without_a_declared_key_are_hidden_in_every_form() {
        let cases = [
            (
                "/etc/a.env",
                "A=1\n",
                "A=2\nPASS='hunter2-hunter2'\nexport B=hunter2-hunter2\n# OLD=hunter2-hunter2\n",
            ),
            (
                "/etc/a.conf",
                "port = 1\n",
                "port = 2\npassword = hunter2-hunter2\nrequirepass hunter2-hunter2\n",
            ),
            (
                "/etc/a.yaml",
                "a:\n  b: 1\n",
                "a:\n  b: 2\n  key: \"hunter2-hunter2\"\n  - token: hunter2-hunter2\n",
            ),
            (
                "/etc/a.service",
                "Environment=A=1\n",
                "Environment=A=2\nEnvironment=\"P=hunter2-hunter2\"\n",
            ),
            (
                "/etc/a.json",
                r#"{"a":{"b":1}}"#,
                r#"{"a":{"b":2,"p":"hunter2-hunter2"},"l":["hunter2-hunter2"]}"#,
            ),
            (
                "/etc/a.toml",
                "a = 1\n",
                "# hunter2-hunter2\na = 2\nt = { p = \"hunter2-hunter2\" }\n[x]\nl = [\"hunter2-hunter2\"]\n",
            ),
            (
                "/etc/key",
                "x\n",
                "x\n-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2-hunter2\n-----END OPENSSH PRIVATE KEY-----\n",
            ),
        ];
        for (path, declared, there) in cases {
            let shown = shown(path, declared, there);
            assert!(
                !shown.contains(OLD) && shown.contains("(secret "),
                "{path}: {shown}"
            );
            assert!(
                shown.contains('2') || path == "/etc/key",
                "what is declared is shown: {path}: {shown}"
            );
        }
    }

    #[test]
    fn words_of_an_old_container_that_nobody_declares_are_hidden() {
        let there = serde_json::json!({
            "command": ["app", "--token", "hunter2-hunter2"], "entrypoint": ["sh"], "restart": "always",
            "healthcheck": { "check": { "test": ["CMD-SHELL", "probe hunter2-hunter2"] } },
            "labels": { "note": "hunter2-hunter2", "com.docker.compose.service": "app", "team": "ops" },
            "logging": { "driver": "splunk", "options": { "splunk-token": "hunter2-hunter2" } }
        });
        let declared = serde_json::json!({ "command": ["app"], "labels": { "team": "else" } });
        let shown = told(&there, std::slice::from_ref(&declared), Some(b"salt")).unwrap();
        assert!(!shown.to_string().contains(OLD), "{shown}");
        assert_eq!(shown["command"][0], "app");
        assert_eq!(shown["labels"]["team"], "ops");
        assert_eq!(shown["labels"]["com.docker.compose.service"], "app");
        assert_eq!(shown["restart"], "always");
        assert_eq!(told(&there, std::slice::from_ref(&there), None), None);
    }

    #[test]
    fn declared_keys_and_lines_are_shown_as_they_are() {
        for (path, declared, there) in [
            ("/etc/a.env", "A=1\nB=x\n", "B=y\nA=2\n"),
            ("/etc/a.json", r#"{"a":1,"l":["x"]}"#, r#"{"a":2,"l":["x"]}"#),
            ("/etc/a.toml", "a = 1\n", "a = 2 # why\n"),
            (
                "/etc/nginx.conf",
                "listen 80;\n",
                "listen 81;\nserver_name old;\n",
            ),
            ("/etc/passphrase", "token = x\n", "token = x\n"),
        ] {
            assert_eq!(content(path, &[declared], there, None), None, "{path}");
        }
    }

    #[test]
    fn without_a_salt_nothing_is_told_of_a_value() {
        let once = content("/a.env", &["A=1\n"], "A=1\nP=hunter2-hunter2\n", None).unwrap();
        assert_eq!(once, "A=1\nP=(secret)\n");
        let said = Answer::Text {
            output: "type=file\nsha256=x\n\nP=hunter2-hunter2\n".to_owned(),
            status: 0,
        };
        let veiled = answer(&said, "/a.env", &[], None, &|| Digest("d".to_owned())).unwrap();
        let wanted = Answer::Text {
            output: "type=file\nsha256=x\nveiled=d\n\nP=(secret)\n".to_owned(),
            status: 0,
        };
        assert_eq!(veiled, wanted);
        assert!(is_as_declared(&said, "P=hunter2-hunter2\n") && !is_as_declared(&said, "hunter2-hunter2\n"));
    }
}
