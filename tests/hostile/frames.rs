//! Answers of hosts, cut, altered and made up: the parser ends, and what it believes was said.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use muster::keyed;
use muster::model::id::ResourceKey;
use muster::model::known::Known;
use muster::model::observation::{Answer, Observed};
use muster::model::op::{ContentWanted, Probe, SettingsFormat};
use muster::ports::LookRequest;
use muster::resource::{Context, Spec};
use muster::transport::lower::reply::Reply;
use muster::transport::lower::{Guard, answer, facts};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Specs of every kind that can be looked at anywhere.
fn specs(folder: &str) -> Vec<(&'static str, Value)> {
    vec![
        (
            "file",
            json!({ "path": format!("{folder}/it's a file"), "content": "a\n" }),
        ),
        (
            "file",
            json!({ "path": format!("{folder}/secret"), "content": "a\n", "sensitive": true }),
        ),
        (
            "file",
            json!({ "path": format!("{folder}/none"), "content": "a\n" }),
        ),
        ("directory", json!({ "path": format!("{folder}/full") })),
        ("directory", json!({ "path": format!("{folder}/empty") })),
        (
            "symlink",
            json!({ "path": format!("{folder}/link"), "to": "/etc/passwd" }),
        ),
        ("group", json!({ "name": "root" })),
        ("account", json!({ "name": "root", "home": "/root" })),
        ("account", json!({ "name": "nobody-there" })),
        ("package", json!({ "name": "dash" })),
        ("package", json!({ "name": "muster-none" })),
        ("sysctl", json!({ "key": "kernel.ostype", "value": "x" })),
        (
            "settings",
            json!({ "path": format!("{folder}/app.json"), "keys": { "a": 1, "b": "x" } }),
        ),
        ("unit", json!({ "name": "muster-none.service", "running": true })),
        (
            "command",
            json!({ "name": "c", "run": "true", "probe": "echo out=7", "outputs": { "out": "[0-9]+" } }),
        ),
        (
            "command",
            json!({ "name": "d", "run": "true", "probe": "exit 1" }),
        ),
        ("authorized_keys", json!({ "user": "root", "keys": [] })),
    ]
}

struct Look {
    probes: BTreeMap<ResourceKey, Vec<Probe>>,
    specs: Vec<Spec>,
    stdout: String,
}

/// A real look at this machine, once for all tests.
fn look() -> &'static Look {
    static LOOK: OnceLock<Look> = OnceLock::new();
    LOOK.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("it's a file"), "b\n").expect("a file");
        std::fs::write(at("secret"), "hush\n").expect("a file");
        std::fs::write(at("app.json"), "{\"a\": 2}\n").expect("a file");
        std::fs::create_dir_all(at("full/x")).expect("a folder");
        std::fs::create_dir(at("empty")).expect("a folder");
        std::os::unix::fs::symlink("/etc/group", at("link")).expect("a link");
        std::fs::create_dir(at("state")).expect("a folder");
        std::fs::write(at("state/salt"), "c2FsdHNhbHRzYWx0c2FsdHNhbHRzYWx0c2FsdHNhbHQ=\n").expect("a salt");
        let specs: Vec<Spec> = specs(folder.path().to_str().expect("a text"))
            .into_iter()
            .map(|(kind, value)| Spec::decode(kind, &value).expect("the spec fits its kind"))
            .collect();
        let probes: BTreeMap<_, _> = specs.iter().map(|spec| (spec.key(), spec.probes())).collect();
        let state = at("state");
        let guard = Guard {
            state_dir: state.to_str().expect("a text"),
            wait_secs: 5,
        };
        let request = LookRequest {
            probes: probes.clone(),
            facts: true,
            ..LookRequest::default()
        };
        let output = Command::new("sh")
            .args(["-c", &guard.look(&request)])
            .stdin(Stdio::null())
            .output()
            .expect("sh runs");
        let stdout = String::from_utf8(output.stdout).expect("a frame is text");
        let answers = answers(&probes, &stdout).expect("the true frame is read");
        for spec in &specs {
            let observed = spec.read(&answers[&spec.key()]);
            let is_unit = spec.key().kind.as_str() == "unit";
            assert!(
                is_unit || !matches!(observed, Observed::Unknown(_)),
                "{}: {observed:?}",
                spec.key()
            );
        }
        Look {
            probes,
            specs,
            stdout,
        }
    })
}

fn answers(
    probes: &BTreeMap<ResourceKey, Vec<Probe>>,
    stdout: &str,
) -> Result<BTreeMap<ResourceKey, Vec<Answer>>, String> {
    let reply = Reply::read(stdout.as_bytes())?;
    if !reply.is_whole {
        return Err("cut".to_owned());
    }
    // Whoever reads a look reads all of these.
    drop(facts::facts(&reply));
    drop(answer::file_text("/etc/passwd", &reply));
    if let Some(said) = reply.first("manifest") {
        drop(muster::model::manifest_text::read(&said.text()));
    }
    Ok(answer::answers(probes, &reply, &keyed::read))
}

/// Reads and compares as planning does; returns what was believed.
fn believed(spec: &Spec, answers: &[Answer]) -> Observed<Value> {
    let observed = spec.read(answers);
    let known = Known::default();
    if let Observed::Present(actual) = &observed {
        let context = Context {
            known: &known,
            owned: None,
            consumed: None,
        };
        drop(spec.compare(actual, &context));
        drop(spec.outputs(actual));
    }
    drop(spec.seen(&observed));
    observed.map(|actual| serde_json::to_value(actual).expect("what is seen can be written"))
}

#[test]
fn an_answer_that_is_cut_anywhere_is_an_error() {
    let look = look();
    for at in (0..look.stdout.len() - 1)
        .step_by(3)
        .chain(look.stdout.len() - 200..look.stdout.len() - 1)
    {
        if let Some(cut) = look.stdout.get(..at) {
            assert!(answers(&look.probes, cut).is_err(), "cut after {at} bytes");
        }
    }
}

/// How one line is spoilt.
#[derive(Debug, Clone)]
enum Spoil {
    Bytes(usize, u8),
    Inner(usize, usize, Vec<u8>),
    Swap(usize, usize),
    Double(usize),
    Insert(usize, String),
    Status(usize, i64),
}

fn spoil() -> impl Strategy<Value = Spoil> {
    let bytes = prop::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        1 => (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Spoil::Bytes(at, byte)),
        4 => (any::<usize>(), any::<usize>(), bytes).prop_map(|(line, at, bytes)| Spoil::Inner(line, at, bytes)),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(a, b)| Spoil::Swap(a, b)),
        1 => any::<usize>().prop_map(Spoil::Double),
        1 => (any::<usize>(), "[a-z]{1,8}( [A-Za-z0-9+/]{0,12}={0,2}){0,3}").prop_map(|(at, line)| Spoil::Insert(at, line)),
        1 => (any::<usize>(), any::<i64>()).prop_map(|(line, status)| Spoil::Status(line, status)),
    ]
}

fn spoilt(text: &str, spoils: &[Spoil]) -> Vec<u8> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut flips = Vec::new();
    for spoil in spoils {
        let count = lines.len();
        match spoil {
            Spoil::Bytes(at, byte) => flips.push((*at, *byte)),
            Spoil::Swap(a, b) => lines.swap(a % count, b % count),
            Spoil::Double(line) => lines.insert(line % count, lines[line % count].clone()),
            Spoil::Insert(at, line) => lines.insert(at % count, line.clone()),
            Spoil::Inner(line, at, bytes) => alter(&mut lines[line % count], |inner| {
                let at = at % (inner.len() + 1);
                let until = (at + bytes.len()).min(inner.len());
                inner.splice(at..until, bytes.iter().copied());
            }),
            Spoil::Status(line, status) => alter(&mut lines[line % count], |inner| {
                let end = inner.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
                inner.truncate(end);
                inner.extend(format!("\n{status}").bytes());
            }),
        }
    }
    let mut bytes = (lines.join("\n") + "\n").into_bytes();
    for (at, byte) in flips {
        let count = bytes.len();
        bytes[at % count] = byte;
    }
    bytes
}

/// Alters what a line holds in Base64.
fn alter(line: &mut String, how: impl FnOnce(&mut Vec<u8>)) {
    let mut parts: Vec<String> = line.split(' ').map(str::to_owned).collect();
    if let Some(mut inner) = parts.get(1).and_then(|part| STANDARD.decode(part).ok()) {
        how(&mut inner);
        parts[1] = STANDARD.encode(inner);
        *line = parts.join(" ");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_spoilt_answer_ends_in_answers_or_in_words(spoils in prop::collection::vec(spoil(), 1..6)) {
        let look = look();
        let bytes = spoilt(&look.stdout, &spoils);
        let Ok(text) = String::from_utf8(bytes) else { return Ok(()) };
        if let Ok(answers) = answers(&look.probes, &text) {
            look.specs.iter().for_each(|spec| drop(believed(spec, &answers[&spec.key()])));
        }
    }

    #[test]
    fn made_up_answers_of_every_probe_are_read_or_unknown(output in prop_oneof![super::nasty::text(), "[a-z]{0,6}=[ -~]{0,9}\n([a-z]{0,6}=[ -~]{0,9}\n){0,6}"], status in any::<i32>()) {
        for spec in &look().specs {
            let made_up = Answer::Text { output: output.clone(), status };
            believed(spec, &vec![made_up; spec.probes().len()]);
            let zero = Answer::Text { output: output.clone(), status: 0 };
            believed(spec, &vec![zero; spec.probes().len()]);
        }
    }
}

#[test]
fn counts_that_no_memory_holds_cost_none() {
    let frame = |name: &str, inner: &[u8]| {
        let said = STANDARD.encode([inner, b"\n0"].concat());
        format!("{name} {said} {}\nend\n", STANDARD.encode("\n"))
    };
    let probes = BTreeMap::from([(
        ResourceKey::new("x", "x"),
        vec![
            Probe::Path {
                path: "/a".to_owned(),
                content: ContentWanted::Text,
            },
            Probe::Settings {
                path: "/a".to_owned(),
                format: SettingsFormat::Json,
                keys: BTreeMap::from([("a".to_owned(), false)]),
            },
        ],
    )]);
    for inner in [
        &b"18446744073709551615\0"[..],
        b"9999999999\0",
        b"1\x0018446744073709551615\0/a\0",
        b"2\x001\x001\0/a\0/b\0x",
        b"-1\0",
        b"\0\0\0\0",
    ] {
        for name in ["text", "link", "stat", "sum", "empty", "print", "sysctl"] {
            let read = answers(&probes, &frame(name, inner)).expect("the frame is whole");
            assert_eq!(read.len(), 1);
        }
    }
}
