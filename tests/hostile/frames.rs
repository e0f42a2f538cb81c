//! Answers of hosts, cut, altered and made up: the parser ends, and what it believes was said.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use muster::keyed;
use muster::model::digest::Digest;
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
    stdout: Vec<u8>,
    answers: BTreeMap<ResourceKey, Vec<Answer>>,
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
        let stdout = output.stdout;
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
            answers,
        }
    })
}

fn answers(
    probes: &BTreeMap<ResourceKey, Vec<Probe>>,
    stdout: &[u8],
) -> Result<BTreeMap<ResourceKey, Vec<Answer>>, String> {
    let reply = Reply::read(stdout)?;
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
        let cut = &look.stdout[..at];
        assert!(answers(&look.probes, cut).is_err(), "cut after {at} bytes");
    }
}

/// The lines of the true answer.
fn true_lines() -> Vec<&'static [u8]> {
    let stdout = look().stdout.strip_suffix(b"\n").expect("the last line ends");
    stdout.split(|byte| *byte == b'\n').collect()
}

/// The parts of the true answer: whole sections, and lines outside of them.
fn true_parts() -> Vec<Vec<u8>> {
    let lines = true_lines();
    let mark = lines[0].strip_prefix(b"mark ").expect("the mark comes first");
    let mut parts: Vec<Vec<u8>> = Vec::new();
    let mut is_within = false;
    for line in lines {
        if is_within {
            let last = parts.last_mut().expect("it was opened");
            last.extend([line, b"\n"].concat());
        } else {
            parts.push([line, b"\n"].concat());
        }
        is_within = if is_within {
            line != mark
        } else {
            line.starts_with(mark)
        };
    }
    parts
}

/// Asserts that an altered answer says of each thing what the true one says, or nothing.
fn assert_less(altered: &[u8], what: &str) {
    let look = look();
    let Ok(answers) = answers(&look.probes, altered) else {
        return;
    };
    for spec in &look.specs {
        let truth = believed(spec, &look.answers[&spec.key()]);
        let now = believed(spec, &answers[&spec.key()]);
        let is_less = match (&truth, &now) {
            (_, Observed::Unknown(_)) => true,
            // Without the text the digest still is true.
            (Observed::Present(truth), Observed::Present(now)) => {
                let mut truth = truth.clone();
                if let Some(text) = truth["File"]["content"]["text"].as_str() {
                    truth["File"]["content"] = json!({ "digest": Digest::of(text) });
                }
                truth == *now
            }
            _ => false,
        };
        assert!(
            is_less || truth == now,
            "{} {what}: {truth:?} became {now:?}",
            spec.key()
        );
    }
}

#[test]
fn an_answer_that_lacks_a_line_or_a_section_says_less_and_never_something_else() {
    let (lines, parts) = (true_lines(), true_parts());
    assert!(parts.len() > 15 && lines.len() > 2 * parts.len());
    for gone in 0..lines.len() {
        let rest = [&lines[..gone], &lines[gone + 1..]].concat();
        let what = format!("without line {gone}, `{}`", String::from_utf8_lossy(lines[gone]));
        assert_less(
            &(rest.join(&b'\n').into_iter().chain(*b"\n")).collect::<Vec<u8>>(),
            &what,
        );
    }
    for gone in 0..parts.len() {
        let rest = [&parts[..gone], &parts[gone + 1..]].concat().concat();
        assert!(answers(&look().probes, &rest).is_err(), "without part {gone}");
    }
}

#[test]
fn a_section_twice_or_elsewhere_or_of_another_probe_is_no_answer() {
    let parts = true_parts();
    let answers = |parts: &[Vec<u8>]| answers(&look().probes, &parts.concat());
    for (from, to) in (1..parts.len()).flat_map(|from| (1..parts.len()).map(move |to| (from, to))) {
        let mut twice = parts.clone();
        twice.insert(to, parts[from].clone());
        assert!(answers(&twice).is_err(), "part {from} twice, at {to}");
        let mut swapped = parts.clone();
        swapped.swap(from, to);
        assert_eq!(
            answers(&swapped).is_ok(),
            from == to,
            "parts {from} and {to} swapped"
        );
    }
}

#[test]
fn sections_that_are_numbered_as_if_they_were_asked_leave_everything_unknown() {
    let parts = true_parts();
    for n in 1..parts.len() - 1 {
        let name = name_of(&parts[n]);
        if ![
            "stat", "empty", "passwd", "group", "package", "unit", "sysctl", "command",
        ]
        .contains(&&*name)
        {
            continue;
        }
        let mut twice = parts.clone();
        twice.insert(n, parts[n].clone());
        let mut gone = parts.clone();
        gone.remove(n);
        for odd in [twice, gone] {
            let answers = answers(&look().probes, &renumbered(&odd)).expect("its form is right");
            for spec in &look().specs {
                let now = spec.read(&answers[&spec.key()]);
                assert!(
                    matches!(now, Observed::Unknown(_)),
                    "{} by {name}: {now:?}",
                    spec.key()
                );
            }
        }
    }
    assert_eq!(renumbered(&parts), look().stdout);
    // Any two of them may have changed their places.
    for (a, b) in (1..parts.len() - 1).flat_map(|a| (a + 1..parts.len() - 1).map(move |b| (a, b))) {
        let mut swapped = parts.clone();
        swapped.swap(a, b);
        // Nobody but the host knows which command said what.
        let order = |parts: &[Vec<u8>]| -> Vec<Vec<u8>> {
            let commands = parts.iter().filter(|part| name_of(part) == "command");
            commands
                .map(|part| {
                    part.split(|byte| *byte == b' ')
                        .skip(2)
                        .collect::<Vec<_>>()
                        .concat()
                })
                .collect()
        };
        if order(&swapped) == order(&parts) {
            assert_less(&renumbered(&swapped), &format!("with parts {a} and {b} swapped"));
        }
    }
}

/// The name of a section.
fn name_of(part: &[u8]) -> String {
    let line =
        String::from_utf8_lossy(part.split(|byte| *byte == b'\n').next().unwrap_or_default()).into_owned();
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        [_, _, name] => name.to_owned(),
        _ => words[0].to_owned(),
    }
}

/// Writes parts with numbers as they should be.
fn renumbered(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut all = parts[0].clone();
    let inner = &parts[1..parts.len() - 1];
    for (number, part) in inner.iter().enumerate() {
        let mut words = part.splitn(3, |byte| *byte == b' ');
        let mut word = || words.next().expect("a name, a number, the rest");
        all.extend([word(), format!(" {number} ").as_bytes()].concat());
        word();
        all.extend(word());
    }
    all.extend(format!("end {}\n", inner.len()).bytes());
    all
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

fn spoilt(spoils: &[Spoil]) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = true_lines().into_iter().map(<[u8]>::to_vec).collect();
    let mut flips = Vec::new();
    for spoil in spoils {
        let count = lines.len();
        match spoil {
            Spoil::Bytes(at, byte) => flips.push((*at, *byte)),
            Spoil::Swap(a, b) => lines.swap(a % count, b % count),
            Spoil::Double(line) => lines.insert(line % count, lines[line % count].clone()),
            Spoil::Insert(at, line) => lines.insert(at % count, line.clone().into_bytes()),
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
    let mut bytes = lines.join(&b'\n');
    bytes.push(b'\n');
    for (at, byte) in flips {
        let count = bytes.len();
        bytes[at % count] = byte;
    }
    bytes
}

/// Alters what a line holds, be it as it is or in Base64.
fn alter(line: &mut Vec<u8>, how: impl FnOnce(&mut Vec<u8>)) {
    let text = String::from_utf8_lossy(line).into_owned();
    let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    match words.get(2).and_then(|word| STANDARD.decode(word).ok()) {
        Some(mut inner) if words.len() == 4 => {
            how(&mut inner);
            words[2] = STANDARD.encode(inner);
            *line = words.join(" ").into_bytes();
        }
        _ => how(line),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_spoilt_answer_ends_in_answers_or_in_words(spoils in prop::collection::vec(spoil(), 1..6)) {
        let look = look();
        if let Ok(answers) = answers(&look.probes, &spoilt(&spoils)) {
            look.specs.iter().for_each(|spec| drop(believed(spec, &answers[&spec.key()])));
        }
    }

    #[test]
    fn a_line_that_is_lost_or_twice_or_elsewhere_makes_nothing_absent_or_present(how in 0..3, a in any::<usize>(), b in any::<usize>()) {
        let mut lines = true_lines();
        let (a, b) = (a % lines.len(), b % lines.len());
        match how {
            0 => drop(lines.remove(a)),
            1 => lines.insert(b, lines[a]),
            _ => lines.swap(a, b),
        }
        let mut altered = lines.join(&b'\n');
        altered.push(b'\n');
        assert_less(&altered, &format!("by {how} of {a} and {b}"));
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
        let said = |name: &str, number: usize, inner: &[u8]| {
            let inner = STANDARD.encode([inner, b"\n0"].concat());
            format!("{name} {number} {inner} {}\n", STANDARD.encode("\n"))
        };
        let others = ["stat", "empty"].into_iter().filter(|other| *other != name);
        let mut frame = said(name, 0, inner);
        let mut count = 1;
        for other in others {
            frame += &said(other, count, b"");
            count += 1;
        }
        frame += &said("salt", count, b"salt ");
        format!("{frame}end {}\n", count + 1)
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
            let read = answers(&probes, frame(name, inner).as_bytes()).expect("the frame is whole");
            assert_eq!(read.len(), 1);
        }
    }
}
