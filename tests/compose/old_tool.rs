//! Debian's docker-compose (1.29.2) reads the same files, and reads the same in them.

use std::path::Path;
use std::process::{Command, Output};

use muster::compose::{self, Project, Request, SourceFile};
use muster::model::body::Body;
use muster::model::container::ContainerSpec;

use super::case::{self, Case, FOLDER, filled};

/// Takes away the two things that the old tool does not know and every other Compose does: a project's name, and
/// `required` of a dependency.
pub fn for_the_old_tool(text: &str) -> String {
    let is_taken = |line: &&str| line.starts_with("name:") || line.trim_start().starts_with("required:");
    text.lines()
        .filter(|line| !is_taken(line))
        .map(|line| format!("{line}\n"))
        .collect()
}

fn config(case: &Case, state: &str, prepare: impl Fn(&str) -> String) -> Output {
    let folder = tempfile::tempdir().expect("there is room");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("it has a folder")).expect("there is room");
        std::fs::write(path, text).expect("there is room");
    };
    write(".env", case.section("env").map(filled).unwrap_or_default());
    for (name, text) in case.rendered() {
        write(
            name.strip_prefix(FOLDER)
                .expect("it is of the project")
                .trim_start_matches('/'),
            filled(&text),
        );
    }
    let mut command = Command::new("docker-compose");
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.args([
        "--env-file",
        &path(".env"),
        "--project-directory",
        &folder.path().display().to_string(),
    ]);
    for (name, text) in case.files(state) {
        write(&name, prepare(&filled(&text)));
        command.args(["-f", &path(&name)]);
    }
    for profile in case.profiles() {
        command.args(["--profile", &profile]);
    }
    let mut output = command
        .arg("config")
        .output()
        .expect("docker-compose is there: tests/setup/packages");
    // What it says of paths is as if it stood in the cases' own folder.
    let text = String::from_utf8(output.stdout).expect("it is text");
    output.stdout = text
        .replace(&folder.path().display().to_string(), FOLDER)
        .into_bytes();
    output
}

fn states(case: &Case) -> Vec<&'static str> {
    match case.section("now") {
        Some(_) => vec!["was", "now"],
        None => vec!["was"],
    }
}

/// Reads what the old tool makes of a file.
fn by_the_old_tool(case: &Case, state: &str, ours: &Project) -> Result<Project, String> {
    let output = config(case, state, for_the_old_tool);
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = String::from_utf8(output.stdout).expect("it is text");
    let request = Request {
        files: vec![SourceFile {
            path: "config".to_owned(),
            body: Body::text(text.clone()),
        }],
        profiles: case.profiles(),
        name: Some(ours.name.clone()),
        folder: FOLDER.to_owned(),
        ..Request::default()
    };
    compose::read(&request).map_err(|wrong| format!("{}\n{text}", case::messages(&wrong)))
}

/// Returns the containers as far as both tools speak of them: with secrets as text, without the files' own names.
fn comparable(project: &Project) -> Vec<ContainerSpec> {
    let mut specs = project.containers(&Default::default());
    for spec in &mut specs {
        spec.settings
            .labels
            .retain(|key, _| !key.starts_with("com.docker.compose.") && !key.starts_with("dev.muster."));
        for body in spec.environment.values_mut() {
            *body = Body::text(filled_body(body));
        }
        for need in &mut spec.needs {
            need.is_required = true;
        }
        // The old tool leaves an `x-` key of a service out.
        spec.public_env.clear();
        spec.is_log_secret = false;
        // It resolves these itself and asks nobody to make a folder.
        for mount in spec.settings.mounts.values_mut() {
            mount.makes_host_path = false;
        }
    }
    specs.sort_by(|a, b| a.name.cmp(&b.name));
    specs
}

fn filled_body(body: &Body) -> String {
    let values: Vec<_> = body
        .secrets()
        .map(|secret| (secret.clone(), case::secret_value(secret)))
        .collect();
    body.fill(|secret| {
        values
            .iter()
            .find(|(known, _)| known == secret)
            .map(|(_, value)| value.as_str())
    })
    .expect("it has no outputs")
}

#[test]
fn the_old_tool_reads_the_same_in_every_file() {
    let mut wrong = Vec::new();
    let mut compared = 0;
    // Many cases begin alike, and the old tool takes its time.
    let mut done = std::collections::BTreeSet::new();
    for case in case::all("cases") {
        for state in states(&case) {
            let is_newer = state == "now" && case.section("newer").is_some();
            let read = (
                case.files(state),
                case.section("env").map(str::to_owned),
                case.rendered(),
                case.profiles(),
            );
            if is_newer || !done.insert(read) {
                continue;
            }
            let ours = case
                .project(state)
                .unwrap_or_else(|wrong| panic!("{}: {}", case.name(), case::messages(&wrong)));
            match by_the_old_tool(&case, state, &ours) {
                Err(why) => wrong.push(format!("{} ({state}): {why}", case.name())),
                Ok(theirs) => {
                    compared += 1;
                    let (ours_specs, their_specs) = (comparable(&ours), comparable(&theirs));
                    if ours_specs != their_specs {
                        let show = |specs: &[ContainerSpec]| {
                            serde_json::to_string_pretty(specs).expect("it is JSON")
                        };
                        let (ours, theirs) = (show(&ours_specs), show(&their_specs));
                        let lines: Vec<String> = similar::TextDiff::from_lines(&theirs, &ours)
                            .unified_diff()
                            .context_radius(2)
                            .to_string()
                            .lines()
                            .map(str::to_owned)
                            .collect();
                        wrong.push(format!("{} ({state}):\n{}", case.name(), lines.join("\n")));
                    }
                    assert_eq!(
                        ours.networks.keys().collect::<Vec<_>>(),
                        theirs.networks.keys().collect::<Vec<_>>(),
                        "{}",
                        case.name()
                    );
                    assert_eq!(
                        ours.volumes.keys().collect::<Vec<_>>(),
                        theirs.volumes.keys().collect::<Vec<_>>(),
                        "{}",
                        case.name()
                    );
                }
            }
        }
    }
    assert!(compared > 60, "only {compared} files were compared");
    assert!(wrong.is_empty(), "{} files:\n{}", wrong.len(), wrong.join("\n\n"));
}

/// What is taken away is exactly what the old tool minds, and each has a case of its own.
#[test]
fn the_two_things_that_are_taken_away_are_minded_by_the_old_tool() {
    for (name, says) in [("name", "name"), ("depends-on-required", "required")] {
        let cases = case::all("cases");
        let case = cases
            .iter()
            .find(|case| case.name() == name)
            .unwrap_or_else(|| panic!("there is no case `{name}`"));
        let output = config(case, "now", str::to_owned);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains(says), "{name}: {told}");
    }
}

/// A case that says it is newer than the old tool is.
#[test]
fn what_is_newer_than_the_old_tool_is_minded_by_it() {
    let newer: Vec<Case> = case::all("cases")
        .into_iter()
        .filter(|case| case.section("newer").is_some())
        .collect();
    assert!(!newer.is_empty() && newer.len() < 10, "{}", newer.len());
    for case in newer {
        let output = config(&case, "now", for_the_old_tool);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success(),
            "{} is read by the old tool",
            case.name()
        );
        for word in case.section("newer").unwrap_or_default().lines() {
            assert!(
                told.contains(word),
                "{}: it does not mind `{word}`: {told}",
                case.name()
            );
        }
    }
    assert!(Path::new("/usr/bin/docker-compose").exists());
}
