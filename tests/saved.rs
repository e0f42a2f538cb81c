//! Saved plans and encrypted secrets, through the binary.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use age::secrecy::ExposeSecret as _;
use assert_cmd::Command;
use muster::model::change::{Action, Change, Disruption, Keep, Reason, Undo};
use muster::model::id::ResourceKey;
use muster::model::plan::Plan;
use muster::model::wave::{RolloutPolicy, Wave, WaveKind};
use muster::store::plan::Made;
use serde_json::{Value, json};

fn muster(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("muster").unwrap();
    command.current_dir(folder).env_clear().args(arguments);
    command
}

fn output(mut command: Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn plan() -> Plan {
    let target = ResourceKey::new("file", "/etc/long").on(&"val-1".parse().unwrap());
    let content: String = (0..2000).map(|n| format!("line {n} </pre>\n")).collect();
    let change = Change {
        target: target.clone(),
        action: Action::Create,
        fields: Vec::new(),
        reasons: vec![Reason::Missing],
        needs: BTreeSet::new(),
        disruption: Disruption::None,
        ops: Vec::new(),
        undo: Undo::Exact(Vec::new()),
        probes: Vec::new(),
        spec: json!({ "path": "/etc/long", "content": content }),
        keep: Keep::default(),
        former: None,
        back: None,
        gates: Vec::new(),
        modules: BTreeSet::new(),
        origins: Vec::new(),
    };
    let wave = Wave {
        kind: WaveKind::Batch,
        hosts: [target.host.clone()].into(),
        changes: vec![target.clone()],
        width: 1,
        after: Vec::new(),
    };
    Plan {
        fleet: "demo".parse().unwrap(),
        purpose: Default::default(),
        inputs: BTreeMap::new(),
        basis: BTreeMap::new(),
        changes: [(target, change)].into(),
        takes: BTreeMap::new(),
        waves: vec![wave],
        switches: BTreeMap::new(),
        held: Vec::new(),
        notes: Vec::new(),
        hosts: BTreeMap::new(),
        policy: RolloutPolicy::default(),
        fleet_size: 1,
        limited_to: None,
        aimed: None,
        hooks: Vec::new(),
        inventory_file: "inventories/demo.toml".to_owned(),
    }
}

const SUM: &str = "Plan: 1 to create, 0 to change, 0 to replace, 0 to delete on 1 host in 1 wave.\n";

#[test]
fn a_saved_plan_is_shown_in_every_form() {
    let folder = tempfile::tempdir().unwrap();
    let made = Made::now("2026-11-21T08:00:00Z".parse().unwrap());
    let saved = muster::store::plan::save(plan(), made, folder.path()).unwrap();
    let path = saved.path.to_str().unwrap();
    let show = |more: &[&str]| {
        let (code, out, err) = output(muster(folder.path(), &[&["show", path], more].concat()));
        assert_eq!(code, 0, "{err}");
        out
    };
    let text = show(&[]);
    assert!(text.ends_with(SUM) && text.contains("1984 more lines"), "{text}");
    assert!(!text.contains('\u{1b}'));
    assert_eq!(show(&["--full"]).matches("line 1").count(), 1111);
    assert!(show(&["--format", "markdown"]).contains("```diff\n"));
    assert!(!show(&["--format", "html", "--full"]).contains("9 </pre>"));
    let json = show(&["--json"]);
    let objects: Vec<Value> = json
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        (&objects[0]["type"], &objects[1]["id"]),
        (&json!("format"), &json!(saved.id))
    );
}

#[test]
fn an_edited_plan_is_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let made = Made::now("2026-11-21T08:00:00Z".parse().unwrap());
    let saved = muster::store::plan::save(plan(), made, folder.path()).unwrap();
    let text = std::fs::read_to_string(&saved.path).unwrap();
    std::fs::write(
        &saved.path,
        text.replace("\"fleet_size\": 1", "\"fleet_size\": 2"),
    )
    .unwrap();
    let (code, out, err) = output(muster(folder.path(), &["show", saved.path.to_str().unwrap()]));
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("M0802") && err.contains("does not match"), "{err}");
}

#[test]
fn a_secret_goes_from_standard_input_into_the_file_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let key = age::x25519::Identity::generate();
    std::fs::write(folder.path().join("identity"), key.to_string().expose_secret()).unwrap();
    let mut command = muster(
        folder.path(),
        &["secret", "encrypt", "s.age", "pass", "--identity", "identity"],
    );
    command.write_stdin("hunter2\n");
    let (code, out, err) = output(command);
    assert_eq!(code, 0, "{err}");
    assert!(!format!("{out}{err}").contains("hunter2"));
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    assert!(!format!("{}{}", read("s.age"), read("s.age.recipients")).contains("hunter2"));
    let text =
        muster::vault::age::decrypt(&folder.path().join("s.age"), &folder.path().join("identity")).unwrap();
    assert_eq!(text.as_str(), "pass = \"hunter2\"\n");
    let mut command = muster(
        folder.path(),
        &["secret", "edit", "s.age", "--identity", "identity"],
    );
    command
        .env("EDITOR", "sed -i s/hunter2/hunter3/")
        .env("PATH", "/usr/bin:/bin");
    let (code, out, err) = output(command);
    assert_eq!((code, out.as_str()), (0, ""), "{err}");
    let text =
        muster::vault::age::decrypt(&folder.path().join("s.age"), &folder.path().join("identity")).unwrap();
    assert_eq!(text.as_str(), "pass = \"hunter3\"\n");
}
