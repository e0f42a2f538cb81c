//! The demo's plan, from what the demo's hosts said: the same inputs must give the same plan, and the README shows it.
//!
//! `MUSTER_UPDATE=1` makes the plan and the README's transcript anew, after a change to the inventory or the modules.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const OBSERVATION: &str = "plans/demo/observation.json";
const OPEN: &str = "<!-- transcript -->\n```text\n";
const CLOSE: &str = "```\n<!-- /transcript -->";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn muster(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    command.args(args).current_dir(root()).env("NO_COLOR", "1");
    command.output().expect("muster runs")
}

/// Returns the one saved plan of the demo.
fn saved() -> PathBuf {
    let entries = std::fs::read_dir(root().join("plans/demo")).expect("the demo's folder is there");
    let paths = entries.map(|entry| entry.expect("the folder is readable").path());
    let plans: Vec<PathBuf> = paths
        .filter(|path| path.to_string_lossy().ends_with(".plan.json"))
        .collect();
    let [plan] = plans.as_slice() else {
        panic!("one saved plan, not {plans:?}")
    };
    plan.clone()
}

/// Plans from the recording and returns the file that the plan was saved in.
fn plan_again(folder: &Path) -> PathBuf {
    let file = folder.join("again.plan.json");
    let path = file.to_str().expect("temporary paths are text");
    let ran = muster(&[
        "-i",
        "inventories/demo.toml",
        "plan",
        "--recorded",
        OBSERVATION,
        "-o",
        path,
    ]);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    file
}

fn id(plan: &Path) -> String {
    let text = std::fs::read_to_string(plan).expect("the plan is readable");
    let plan: serde_json::Value = serde_json::from_str(&text).expect("the plan is JSON");
    plan["id"].as_str().expect("a plan has an id").to_owned()
}

/// Returns how the README shows a plan.
fn transcript(plan: &Path) -> String {
    let name = plan
        .strip_prefix(root())
        .expect("the plan lies in the repository")
        .to_str()
        .expect("its name is text");
    let ran = muster(&["show", name]);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    format!("$ muster show {name}\n{}", String::from_utf8_lossy(&ran.stdout))
}

fn updates() -> bool {
    std::env::var_os("MUSTER_UPDATE").is_some()
}

#[test]
fn planning_again_from_the_recording_gives_the_same_plan_and_the_readme_shows_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let again = plan_again(folder.path());
    if updates() {
        std::fs::remove_file(saved()).expect("the old plan can go");
        let new = root().join(format!("plans/demo/{}.plan.json", id(&again)));
        std::fs::copy(&again, new).expect("the new plan can be kept");
    }
    assert_eq!(
        id(&again),
        id(&saved()),
        "run with MUSTER_UPDATE=1 if the inventory or a module has changed"
    );

    let readme = root().join("README.md");
    let text = std::fs::read_to_string(&readme).expect("the README is readable");
    let (before, rest) = text.split_once(OPEN).expect("the README has a transcript");
    let (shown, after) = rest.split_once(CLOSE).expect("the transcript ends");
    let wanted = transcript(&saved());
    if updates() {
        std::fs::write(&readme, format!("{before}{OPEN}{wanted}{CLOSE}{after}"))
            .expect("the README can be written");
    } else {
        assert_eq!(
            shown, wanted,
            "run with MUSTER_UPDATE=1 if this is how a plan looks now"
        );
    }
}

#[test]
fn recording_holds_secret_files_by_their_print_alone() {
    let text = std::fs::read_to_string(root().join(OBSERVATION)).expect("the recording is readable");
    let recorded: serde_json::Value = serde_json::from_str(&text).expect("the recording is JSON");
    let answers = &recorded["observation"]["hosts"]["demo-h1"]["answers"];
    // The keyring's password stands in both.
    for file in ["/srv/gonka/config.env", "/srv/gonka/docker-compose.yml"] {
        let output = &answers[format!("file[{file}]")][0]["text"]["output"];
        let output = output.as_str().expect("the host said something of the file");
        assert!(
            output.contains("print=") && !output.contains("\n\n"),
            "{file} was recorded in the clear"
        );
    }
}

#[test]
fn a_limited_plan_says_so_and_is_saved_with_its_limits() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("part.plan.json");
    let path = file.to_str().expect("temporary paths are text");
    let plan = |flags: &[&str]| {
        let base = ["-i", "inventories/demo.toml", "plan", "--recorded", OBSERVATION];
        muster(&[&base[..], flags].concat())
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let ran = plan(&["--target", "unit[systemd-journald.service]", "-o", path]);
    assert!(ran.status.success(), "{}", text(&ran.stderr));
    let said = text(&ran.stdout);
    assert!(
        said.contains("comes along: needed by unit[systemd-journald.service]"),
        "{said}"
    );
    assert!(
        said.trim_end().ends_with("changes.") && said.contains(" Limited to "),
        "{said}"
    );
    assert_eq!(text(&muster(&["show", path]).stdout), said);
    let ran = muster(&["apply", path, "--exclude", "@demo-h1"]);
    assert_eq!(ran.status.code(), Some(64));
    let ran = plan(&["--target", "unit[systemd-journld.service]"]);
    assert_eq!(ran.status.code(), Some(1));
    assert!(
        text(&ran.stderr).contains("did you mean `unit[systemd-journald.service]`?"),
        "{}",
        text(&ran.stderr)
    );
    let ran = plan(&["--exclude", "journald"]);
    assert_eq!(ran.status.code(), Some(64));
    assert!(
        text(&ran.stderr).contains("write `@journald` for a host"),
        "{}",
        text(&ran.stderr)
    );
}
