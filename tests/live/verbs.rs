//! Around a plan on real hosts: targets and excludes, hooks, gates that cannot be asked.

use crate::fleet::{Fleet, Project};

const FILES: &str = r#"
[[directory]]
path = "/etc/app"
[[file]]
path = "/etc/app/a.conf"
content = "a\n"
[[file]]
path = "/etc/other.conf"
content = "b\n"
"#;

#[test]
fn a_part_is_applied_and_the_rest_is_left_as_it_was() {
    let fleet = Fleet::up(2);
    let project = Project::new(&fleet, &["h1", "h2"]);
    project.module(FILES);
    let ran = project.muster(&["apply", "-y", "--no-input", "--target", "file[/etc/app/*]@h1"]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stdout
            .contains("comes along: needed by file[/etc/app/a.conf]"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout.contains("Limited to 2 of 6 changes."),
        "{}",
        ran.stdout
    );
    assert_eq!(fleet.sh("h1", "cat /etc/app/a.conf"), "a\n");
    fleet.sh("h1", "test ! -e /etc/other.conf");
    fleet.sh("h2", "test ! -e /etc/app");

    let drift = project.muster(&["drift", "--no-input", "--target", "file[/etc/app/*]@h1"]);
    assert_eq!(drift.code, 0, "{}{}", drift.stdout, drift.stderr);
    let ran = project.muster(&["apply", "-y", "--no-input", "--exclude", "@h2"]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    fleet.sh("h2", "test ! -e /etc/other.conf");
    project.apply();
    project.assert_settled();

    // What is no longer declared goes only where it is aimed at.
    project.module(&FILES.replace("[[file]]\npath = \"/etc/other.conf\"\ncontent = \"b\\n\"\n", ""));
    let ran = project.muster(&[
        "apply",
        "-y",
        "--no-input",
        "--exclude",
        "file[/etc/other.conf]@h2",
    ]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    fleet.sh("h1", "test ! -e /etc/other.conf");
    fleet.sh("h2", "test -e /etc/other.conf");
}

#[test]
fn hooks_around_a_saved_plan_are_called_once_and_told_of_the_run() {
    let fleet = Fleet::up(2);
    let project = Project::new(&fleet, &["h1", "h2"]);
    project.module(FILES);
    let note = project.folder().join("note.sh");
    let calls = project.folder().join("calls");
    let script = format!("cat >> {calls}; echo >> {calls}\n", calls = calls.display());
    std::fs::write(&note, script).unwrap();
    let hook = |name: &str, on: &str| {
        format!(
            "[[hook]]\nname = \"{name}\"\non = \"{on}\"\ncommand = [\"sh\", \"{}\"]\n",
            note.display()
        )
    };
    let moments = [
        "before-plan",
        "after-plan",
        "before-run",
        "before-wave",
        "after-wave",
        "after-run",
        "failure",
    ];
    let hooks: String = moments.iter().map(|on| hook(on, on)).collect();
    project.extend_inventory(&format!("\n[policy]\nbatch = 1\n{hooks}"));
    let ran = project.muster(&["plan", "--no-input", "-o", "saved.plan.json"]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stdout.contains("\nHooks\n  before-run before-run: runs `sh"),
        "{}",
        ran.stdout
    );
    let ran = project.muster(&["apply", "saved.plan.json", "-y", "--no-input"]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let told = std::fs::read_to_string(calls).unwrap();
    let row = |line: &str| {
        let told: serde_json::Value = serde_json::from_str(line).expect("a hook is told JSON");
        let has_run = told.get("run").is_some();
        serde_json::json!([
            told["on"],
            has_run,
            told["wave"]["hosts"],
            told["outcome"]["exit"]
        ])
        .to_string()
    };
    let told: Vec<String> = told.lines().map(row).collect();
    assert_eq!(
        told,
        [
            r#"["before-plan",false,null,null]"#,
            r#"["after-plan",false,null,null]"#,
            r#"["before-run",true,null,null]"#,
            r#"["before-wave",true,["h1"],null]"#,
            r#"["after-wave",true,["h1"],null]"#,
            r#"["before-wave",true,["h2"],null]"#,
            r#"["after-wave",true,["h2"],null]"#,
            r#"["after-run",true,null,0]"#,
        ],
        "{}",
        ran.stderr
    );
}

#[test]
fn a_command_whose_effect_takes_a_while_is_waited_for_and_no_longer_than_said() {
    let fleet = Fleet::up(1);
    let project = Project::new(&fleet, &["h1"]);
    let module = |within: &str| {
        format!(
            "[[command]]\nname = \"slow\"\nrun = \"(sleep 3; touch /srv/there) >/dev/null 2>&1 &\"\nprobe = \"test -e /srv/there\"\nretry = {{ within = \"{within}\", every = \"1s\" }}\n"
        )
    };
    project.module(&module("30s"));
    project.apply();
    fleet.sh("h1", "rm /srv/there");
    project.module(&module("1s"));
    let ran = project.muster(&["apply", "-y", "--no-input"]);
    assert_eq!(ran.code, 3, "{}{}", ran.stdout, ran.stderr);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(
        said.contains("was applied, but is not there, after 1 s"),
        "{said}"
    );
}
