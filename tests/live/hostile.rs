//! Poison and hostile values, through real hosts: found only where they belong, and arrived byte for byte.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use muster::resource::Spec;
use muster::transport::quote;
use serde_json::{Value, json};

use crate::fleet::{Fleet, Project, Ran};

/// A value that is nowhere else in the world.
fn fresh() -> String {
    let mut bytes = [0; 20];
    let file = std::fs::File::open("/dev/urandom");
    file.and_then(|mut file| std::io::Read::read_exact(&mut file, &mut bytes))
        .expect("there is randomness");
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("Poison/{text}")
}

/// The forms in which a value may leak.
fn forms(value: &str) -> Vec<String> {
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    let within = STANDARD.encode(format!("x{value}"));
    vec![
        value.to_owned(),
        STANDARD.encode(value).trim_end_matches('=').to_owned(),
        within[2..within.len() - 4].to_owned(),
        hex.to_uppercase(),
        hex,
        value.replace('/', "%2F"),
        // The random part alone.
        value["Poison/".len()..].to_owned(),
    ]
}

fn assert_clean(what: &str, text: &str, values: &[&str]) {
    for form in values.iter().flat_map(|value| forms(value)) {
        let at = text.find(&form);
        assert!(
            at.is_none(),
            "{what} holds a secret, as {form:.12}…: {}",
            text.get(at.unwrap_or(0).saturating_sub(300)..)
                .map_or("", |text| &text[..text.floor_char_boundary(400)])
        );
    }
}

const MODULE: &str = r#"
[inputs.poison]
type = "secret"

[[file]]
path    = "/etc/p.file"
content = "password = {{ poison }}\n"
mode    = "0600"
validate = "sleep 0.3; test -s {}"

[[file]]
path    = "/etc/p.env"
content = "PASSWORD={{ poison | shell }}\n"
mode    = "0600"

[[file]]
path    = "/etc/p.b64"
content = "{{ poison | base64 }}\n"
mode    = "0600"

[[file]]
path    = "/etc/plain.env"
content = "A=1\n"

[[file]]
path    = "/etc/plain.toml"
content = "a = 1\n"

[[file]]
path    = "/etc/plain.conf"
content = "port = 1\n"

[[settings]]
path = "/etc/p.json"
keys = { "a.b" = "{{ poison }}" }

[[settings]]
path = "/etc/p.toml"
keys = { "t.x" = "{{ poison }}", port = 1 }

[[command]]
name  = "use"
run   = "sleep 0.5; printf %s \"$POISON\" | sha256sum > /srv/used"
env   = { POISON = "{{ poison }}" }
probe = "cat /etc/old-secret; test -s /srv/used"
"#;

const LEAK: &str = r#"
[[command]]
name  = "leak"
run   = "echo \"it is $POISON\"; printf %s \"$POISON\" | base64 >&2; printf %s \"$POISON\" | od -An -tx1 | tr -d ' \\n'; echo; echo \"${POISON#??}\"; exit 3"
env   = { POISON = "{{ poison }}" }
probe = "test -e /srv/never"
"#;

/// Everything that processes show of themselves on this machine, until it is told to stop.
fn watch(stop: Arc<AtomicBool>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut seen = BTreeSet::new();
        while !stop.load(Ordering::Relaxed) {
            for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
                for name in ["cmdline", "environ"] {
                    let bytes = std::fs::read(entry.path().join(name)).unwrap_or_default();
                    seen.extend(
                        bytes
                            .split(|byte| *byte == 0)
                            .map(|part| String::from_utf8_lossy(part).into_owned()),
                    );
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        seen.into_iter().collect::<Vec<_>>().join("\n")
    })
}

const SNAPSHOTS: &str = "systemd-run -q --unit=snap sh -c 'while [ ! -e /run/stop ]; do cat /proc/[0-9]*/cmdline 2>/dev/null | tr \"\\0\" \"\\n\" >>/run/snap.cmd; cat /proc/[0-9]*/environ 2>/dev/null | tr \"\\0\" \"\\n\" >>/run/snap.env; sleep 0.03; done'";

#[test]
fn poison_is_found_in_its_targets_and_nowhere_else() {
    let fleet = Fleet::up(1);
    let project = Project::new(&fleet, &["h1"]);
    let (poison, old) = (fresh(), fresh());
    let both = [poison.as_str(), old.as_str()];
    project.write("inventories/poison.txt", &format!("{poison}\n"));
    project.write("tmp/keep", "");
    project.extend_inventory("\n[values]\npoison = \"file:poison.txt\"\n");
    project.module(MODULE);
    // What somebody left there by hand, and no vault knows.
    fleet.sh("h1", &format!(
        "echo 'PASSWORD={old}' >/etc/p.env; echo 'password = {old}' >/etc/p.file; printf 'A=2\\nPASS={old}\\n# WAS={old}\\n' >/etc/plain.env; \
         printf 'a = 2\\n[t]\\np = \"{old}\"\\n' >/etc/plain.toml; printf 'port = 2\\nrequirepass {old}\\n' >/etc/plain.conf; \
         printf '{{\"a\": {{\"b\": \"{old}\"}}, \"c\": \"{old}\"}}\\n' >/etc/p.json; printf 'x = \"{old}\"\\n[t]\\nx = \"{old}\"\\n' >/etc/p.toml; \
         echo 'out={old}' >/etc/old-secret; {SNAPSHOTS}"
    ));
    let stop = Arc::new(AtomicBool::new(false));
    let watching = watch(stop.clone());
    let mut said: Vec<(String, Ran)> = Vec::new();
    let mut run = |args: &[&str]| {
        let output = project
            .command(args)
            .env("TMPDIR", project.folder().join("tmp"))
            .output()
            .expect("muster runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let ran = Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        };
        let told = (ran.code, format!("{}{}", ran.stdout, ran.stderr));
        said.push((args.join(" "), ran));
        told
    };
    let told = run(&["plan", "--no-input", "-v", "-o", "plans/one.plan.json"]);
    assert_eq!(told.0, 0, "{}", told.1);
    for args in [
        &["plan", "--no-input", "--json"][..],
        &["show", "plans/one.plan.json", "--full"],
        &["show", "plans/one.plan.json", "--json"],
        &["show", "plans/one.plan.json", "--format", "html"],
        &["show", "plans/one.plan.json", "--format", "markdown"],
        &["validate"],
        &["why", "h1", "poison"],
        &["drift", "--no-input"],
        &["drift", "--no-input", "--format", "json"],
        &["drift", "--no-input", "--format", "sarif"],
        &["drift", "--no-input", "--format", "github"],
        &["drift", "--no-input", "--no-secrets"],
    ] {
        run(args);
    }
    let told = run(&["apply", "-y", "--no-input", "-v"]);
    assert_eq!(told.0, 0, "{}", told.1);
    project.assert_settled();
    // A hand and then a second look: prints now, since the host has a salt.
    fleet.sh(
        "h1",
        &format!("printf 'A=2\\nPASS={old}\\n' >/etc/plain.env; echo 'password = {old}' >/etc/p.file"),
    );
    let (code, drift) = run(&["drift", "--no-input"]);
    assert_eq!(code, 2, "{drift}");
    assert!(
        drift.contains("PASS: (secret ") || drift.contains("PASS=(secret "),
        "people see its print: {drift}"
    );
    assert!(
        drift.contains("A: 2") || drift.contains("A=2"),
        "what is declared is shown: {drift}"
    );
    // An operation that fails and repeats its secret in every way.
    project.module(&format!("{MODULE}{LEAK}"));
    let (code, failed) = run(&["apply", "-y", "--no-input"]);
    assert_eq!(code, 3, "{failed}");
    assert!(failed.contains("it is ***"), "{failed}");
    run(&["resume", "-y", "--no-input", "--json"]);

    stop.store(true, Ordering::Relaxed);
    fleet.sh("h1", "touch /run/stop");
    for (args, ran) in &said {
        assert_clean(&format!("`{args}` on standard output"), &ran.stdout, &both);
        assert_clean(&format!("`{args}` on standard error"), &ran.stderr, &both);
    }
    // The machine sees the processes of its containers, too; the command's own environment is looked at below.
    let seen = watching
        .join()
        .expect("it watched")
        .replace(&format!("POISON={poison}"), "");
    assert!(seen.contains("--no-input"), "the controller was seen");
    assert_clean("a process of the controller", &seen, &[&poison]);
    std::fs::remove_file(project.folder().join("inventories/poison.txt")).expect("removed");
    for entry in files(project.folder()) {
        let bytes = std::fs::read(&entry).unwrap_or_default();
        assert_clean(
            &entry.display().to_string(),
            &String::from_utf8_lossy(&bytes),
            &both,
        );
    }

    let commands = fleet.sh("h1", "sort -u /run/snap.cmd");
    assert!(
        commands.contains("-s\n"),
        "the snapshots saw the script's shell: {commands}"
    );
    // The hand that left the old value here wrote it in an argument list of its own.
    assert_clean("an argument list on the host", &commands, &[&poison]);
    let environments = fleet.sh("h1", "sort -u /run/snap.env; rm -f /run/snap.*");
    assert!(
        environments.contains(&format!("POISON={poison}")),
        "the command had it, and was seen"
    );
    assert_clean(
        "an environment on the host",
        &environments.replace(&format!("POISON={poison}"), ""),
        &[&poison],
    );

    let holds = |value: &str| -> BTreeSet<String> {
        let found = fleet.sh(
            "h1",
            &format!("grep -rlF '{value}' /etc /srv /root /home /opt /var /run /tmp 2>/dev/null || true"),
        );
        found.lines().map(str::to_owned).collect()
    };
    let (undo, targets): (BTreeSet<String>, BTreeSet<String>) = holds(&poison)
        .into_iter()
        .partition(|path| path.starts_with("/var/lib/muster/undo/"));
    let wanted = ["/etc/p.env", "/etc/p.file", "/etc/p.json", "/etc/p.toml"].map(str::to_owned);
    assert_eq!(targets, BTreeSet::from(wanted));
    drop(undo);
    let encoded = holds(STANDARD.encode(&poison).trim_end_matches('='));
    assert_eq!(encoded, BTreeSet::from(["/etc/p.b64".to_owned()]));
    // The old value lies where the hand left it and muster does not own it, and in the undo store.
    for path in holds(&old) {
        let is_left = ["/etc/old-secret", "/etc/p.json", "/etc/p.toml"].contains(&path.as_str());
        assert!(is_left || path.starts_with("/var/lib/muster/undo/"), "{path}");
    }
    let modes = fleet.sh("h1", "find /var/lib/muster -printf '%m %y %p\\n'");
    for line in modes.lines().filter(|line| line.contains(" f ")) {
        assert!(line.starts_with("600 "), "{line}");
    }
    assert!(
        modes
            .lines()
            .any(|line| line.starts_with("700 d /var/lib/muster")),
        "{modes}"
    );
}

fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        match entry.file_type().expect("a type").is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}

#[test]
fn two_operators_and_a_job_without_secrets_agree_on_drift() {
    let fleet = Fleet::up(1);
    let project = Project::new(&fleet, &["h1"]);
    let poison = fresh();
    project.write("inventories/poison.txt", &format!("{poison}\n"));
    project.extend_inventory("\n[values]\npoison = \"file:poison.txt\"\n");
    project.module(MODULE);
    fleet.sh("h1", "echo none >/etc/old-secret");
    project.apply();
    let other = Project::new(&fleet, &["h1"]);
    let job = Project::new(&fleet, &["h1"]);
    for copy in [&other, &job] {
        copy.extend_inventory("\n[values]\npoison = \"file:poison.txt\"\n");
        copy.module(MODULE);
    }
    other.write("inventories/poison.txt", &format!("{poison}\n"));
    let findings = |project: &Project<'_>, more: &[&str]| {
        let ran = project.muster(&[&["drift", "--no-input", "--format", "json"], more].concat());
        assert_clean(
            "a drift report",
            &format!("{}{}", ran.stdout, ran.stderr),
            &[&poison],
        );
        let found: BTreeSet<String> = ran
            .stdout
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|line| line["type"] == "finding")
            .map(|line| format!("{} {}", line["what"], line["resource"]))
            .collect();
        (ran.code, found)
    };
    for (hand, count) in [
        ("true", 0),
        ("echo 'password = other' >/etc/p.file", 1),
        ("sed -i 's/\"b\": *\"[^\"]*\"/\"b\": \"other\"/' /etc/p.json", 2),
        ("rm /etc/p.b64", 3),
        ("echo A=7 >/etc/plain.env", 4),
    ] {
        fleet.sh("h1", hand);
        let first = findings(&project, &[]);
        assert_eq!(
            (first.0, first.1.len()),
            (if count == 0 { 0 } else { 2 }, count),
            "{hand}: {first:?}"
        );
        assert_eq!(findings(&other, &[]), first, "{hand}");
        assert_eq!(findings(&job, &["--no-secrets"]), first, "{hand}");
    }
}

/// Texts that break programs.
fn nasty() -> Vec<String> {
    let mut texts: Vec<String> = [
        "'\"`touch muster-hostile`$(touch muster-hostile);touch muster-hostile;&&|><",
        "* ? [a-z] ~ !! # $HOME ${PATH} {}()",
        "\\ \\n $'\\x41' '\"'\"' \\' ''",
        "a\nb\n\n",
        "a\r\nb\r\n",
        "\t a  ",
        "-rf",
        "--",
        "=a:b,c%s%n",
        "END-\n<<'E'\nE",
        "\u{1b}[2J\u{1b}]0;x\u{7}\u{9b}31m",
        "\u{202e}abc\u{200b}\u{feff}",
        "é界\u{1f600}",
        "a\u{0}b",
        "..",
        "",
    ]
    .map(str::to_owned)
    .into();
    texts.push("0123456789'\"$(x)`\\ ".repeat(5_000));
    texts
}

/// One value in one field: where it stands, and how somebody else reads it back.
struct Case {
    kind: &'static str,
    spec: Value,
    text: String,
    read: String,
}

fn cases() -> (Vec<Case>, usize) {
    let (mut accepted, mut refused) = (Vec::new(), 0);
    for (n, text) in nasty().into_iter().enumerate() {
        let path = format!("/srv/p/x{n}{text}");
        let fields = [
            (
                "file",
                json!({ "path": format!("/srv/c/{n}"), "content": text }),
                format!("cat /srv/c/{n}"),
            ),
            (
                "file",
                json!({ "path": path, "content": format!("at {n}") }),
                format!("cat -- {}", quote::word(&path)),
            ),
            (
                "directory",
                json!({ "path": path.replace("/p/", "/d/") }),
                String::new(),
            ),
            (
                "symlink",
                json!({ "path": format!("/srv/l/{n}"), "to": text }),
                format!("find /srv/l/{n} -printf %l"),
            ),
            (
                "account",
                json!({ "name": format!("u{n}"), "comment": text }),
                format!("getent passwd u{n} | cut -d: -f5 | head -c -1"),
            ),
            ("account", json!({ "name": text }), String::new()),
            ("group", json!({ "name": text }), String::new()),
            ("package", json!({ "name": text }), String::new()),
            (
                "package",
                json!({ "name": "dash", "version": text }),
                String::new(),
            ),
            ("unit", json!({ "name": text, "running": false }), String::new()),
            ("sysctl", json!({ "key": text, "value": "1" }), String::new()),
            (
                "authorized_keys",
                json!({ "user": "root", "keys": [text] }),
                String::new(),
            ),
            (
                "command",
                json!({ "name": format!("e{n}"), "run": format!("printf %s \"$V\" >/srv/e/{n}"), "env": { "V": text }, "probe": format!("test -e /srv/e/{n}") }),
                format!("cat /srv/e/{n}"),
            ),
            (
                "settings",
                json!({ "path": format!("/srv/s/{n}.json"), "keys": { "k": text } }),
                format!("cat /srv/s/{n}.json"),
            ),
            (
                "settings",
                json!({ "path": format!("/srv/s/{n}.toml"), "keys": { "k": text } }),
                format!("cat /srv/s/{n}.toml"),
            ),
            (
                "settings",
                json!({ "path": format!("/srv/s/{n}.env"), "keys": { "K": text } }),
                format!("set -a; . /srv/s/{n}.env; printf %s \"$K\""),
            ),
            (
                "settings",
                json!({ "path": format!("/srv/s/{n}.ini"), "keys": { "k": text } }),
                format!("cat /srv/s/{n}.ini"),
            ),
        ];
        for (kind, spec, read) in fields {
            let decoded = Spec::decode(kind, &spec);
            let is_fit = decoded.as_ref().is_ok_and(|spec| spec.check().is_empty());
            match &decoded {
                Ok(decoded) if !is_fit => {
                    let mistakes = decoded.check();
                    assert!(mistakes.iter().all(|mistake| !mistake.message.trim().is_empty()));
                    refused += 1;
                }
                Err(why) => {
                    assert!(!why.is_empty());
                    refused += 1;
                }
                // A name that passes is an ordinary one by then: nothing to read back.
                Ok(_) if read.is_empty() => {}
                // No word of shell holds it: refused when it is to be sent.
                Ok(_) if text.contains('\0') => refused += 1,
                Ok(_) => accepted.push(Case {
                    kind,
                    spec,
                    text: text.clone(),
                    read,
                }),
            }
        }
    }
    (accepted, refused)
}

#[test]
fn hostile_values_arrive_byte_for_byte_or_are_refused() {
    let (cases, refused) = cases();
    assert!(
        cases.len() > 80 && refused > 80,
        "{} go, {refused} are refused",
        cases.len()
    );
    let fleet = Fleet::up(1);
    let project = Project::new(&fleet, &["h1"]);
    let mut tables: BTreeMap<&str, Vec<toml::Value>> = BTreeMap::new();
    for folder in ["c", "p", "l", "e", "s"] {
        let table = json!({ "path": format!("/srv/{folder}") });
        tables
            .entry("directory")
            .or_default()
            .push(toml::Value::try_from(table).expect("a table"));
    }
    for case in &cases {
        tables
            .entry(case.kind)
            .or_default()
            .push(toml::Value::try_from(&case.spec).expect("a table"));
    }
    project.module(&toml::to_string(&tables).expect("it can be written"));
    // What is hostile on the host already, where muster reads.
    fleet.sh("h1", "mkdir -p /srv/c /srv/p /srv/d; touch \"/srv/p/$(printf 'odd\\377\\n\\033[2J')\"; printf '\\377\\000\\033]0;x\\007' >/srv/c/0; \
        printf 'odd:x:4000:4000:\\377\\033[2J $(touch muster-hostile):/nowhere:/bin/false\\n' >>/etc/passwd; \
        head -c 10485760 /dev/zero | tr '\\0' x >/srv/c/1; printf '{\"k\": 1, \"long\": \"%s\"}' \"$(head -c 1048576 /dev/zero | tr '\\0' x)\" >/dev/null; \
        printf '[Unit]\\nDescription=\\377\\033[2J\\n' >/etc/systemd/system/odd.service; systemctl daemon-reload; mkdir -p \"/srv/d/$(printf '\\377')\"");
    let ran = project.muster(&["apply", "-y", "--no-input"]);
    assert_eq!(
        ran.code,
        0,
        "{}",
        ran.stderr
            .get(ran.stderr.len().saturating_sub(3000)..)
            .unwrap_or_default()
    );
    let odd = |char: char| char.is_control() && char != '\n' && char != '\t';
    assert!(
        !format!("{}{}", ran.stdout, ran.stderr).contains(odd),
        "nothing acts on the terminal"
    );
    project.assert_settled();
    let script: String = cases
        .iter()
        .map(|case| format!("({}) | base64 -w0; echo\n", case.read))
        .collect();
    fleet.sh(
        "h1",
        "! find / -xdev -name muster-hostile 2>/dev/null | grep -q .",
    );
    project.write("read.sh", &script);
    let answers = fleet.sh("h1", &script_in(&script));
    let answers: Vec<&str> = answers.lines().collect();
    assert_eq!(answers.len(), cases.len());
    for (case, answer) in cases.iter().zip(answers) {
        let bytes = STANDARD.decode(answer).expect("it is Base64");
        let there = String::from_utf8_lossy(&bytes).into_owned();
        let path = case.spec["path"].as_str().unwrap_or_default();
        let (there, wanted) = match case.kind {
            "settings" if path.ends_with(".json") => {
                let value: Value = serde_json::from_str(&there).expect("JSON");
                (
                    value["k"].as_str().unwrap_or_default().to_owned(),
                    case.text.clone(),
                )
            }
            "settings" if path.ends_with(".toml") => {
                let value: toml::Table = toml::from_str(&there).expect("TOML");
                (
                    value["k"].as_str().unwrap_or_default().to_owned(),
                    case.text.clone(),
                )
            }
            "settings" if path.ends_with(".ini") => (
                there.trim_end_matches('\n').replacen("k = ", "k=", 1),
                format!("k={}", case.text),
            ),
            "file" if path.starts_with("/srv/p/") => (
                there,
                case.spec["content"].as_str().unwrap_or_default().to_owned(),
            ),
            _ => (there, case.text.clone()),
        };
        assert!(
            there == wanted,
            "{} {:.120}: {there:.200?} is not {wanted:.200?}",
            case.kind,
            case.spec.to_string()
        );
    }
    fleet.sh(
        "h1",
        "! find / -xdev -name muster-hostile 2>/dev/null | grep -q .",
    );
}

/// Shell that takes a script in Base64, so that it may be long and hold anything.
fn script_in(script: &str) -> String {
    format!("base64 -d <<'E' | sh\n{}\nE\n", STANDARD.encode(script))
}
