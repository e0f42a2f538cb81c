//! The binary: wiring, exit codes, and what people read in help and errors.

use std::process::Stdio;

use assert_cmd::Command;

/// A folder in which the binary runs.
struct Folder(tempfile::TempDir);

/// What a run said.
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self(folder)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::cargo_bin("muster").unwrap();
        command.current_dir(self.0.path()).args(arguments);
        command.env_clear().env("COLUMNS", "100");
        command
    }

    fn run(&self, arguments: &[&str]) -> Said {
        said(self.command(arguments))
    }
}

fn said(mut command: Command) -> Said {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said {
        code: output.status.code().unwrap(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "exit {}\n--- stdout\n{}--- stderr\n{}",
            self.code, self.out, self.err
        )
    }
}

const MODULE: &str = r#"[module]
name = "app"
[inputs.port]
type = "port"
default = 8000
doc = "Where it listens."
[inputs.password]
type = "secret"
optional = true
[[file]]
path = "/etc/app.toml"
content = "port = {{ port }}\n"
"#;

const GOOD: &str = r#"[fleet]
name = "demo"
[values]
port = 8080
[hosts.a]
address = "10.0.0.1"
[hosts.b]
address = "10.0.0.2"
values = { port = 9000 }
[[use]]
module = "app"
on = "all"
"#;

const BAD: &str = r#"[fleet]
name = "demo"
[values]
prot = 8080
password = "hunter2"
[hosts.a]
adress = "10.0.0.1"
port = 70000
[hosts.b]
address = "<FILLIN>"
via = "b"
values = { port = "x" }
[groups.g]
hosts = ["a", "bb"]
[[use]]
module = "ap"
on = "@h"
[[use]]
module = "app"
on = "all"
"#;

fn good() -> Folder {
    Folder::new(&[
        ("inventories/demo.toml", GOOD),
        ("modules/app/module.toml", MODULE),
    ])
}

#[test]
fn help_names_every_verb() {
    insta::assert_snapshot!(good().run(&["-h"]));
}

#[test]
fn wrong_usage_ends_with_64_and_help_with_0() {
    let folder = good();
    for arguments in [
        &["nope"][..],
        &["validate", "--nope"],
        &[],
        &["-q", "-v", "validate"],
        &["--parallel", "0", "validate"],
    ] {
        assert_eq!(folder.run(arguments).code, 64, "{arguments:?}");
    }
    for arguments in [&["--help"][..], &["--version"], &["validate", "--help"]] {
        let said = folder.run(arguments);
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{arguments:?}");
    }
    assert_eq!(folder.run(&["validate", "--var", "x"]).code, 64);
    assert_eq!(folder.run(&["validate", "--limit", "a b"]).code, 64);
}

#[test]
fn an_inventory_without_mistakes_is_summed_up() {
    insta::assert_snapshot!(good().run(&["validate"]));
}

#[test]
fn every_mistake_is_drawn_and_no_secret_is_shown() {
    let folder = Folder::new(&[
        ("inventories/demo.toml", BAD),
        ("modules/app/module.toml", MODULE),
    ]);
    let said = folder.run(&["validate"]);
    assert!(!said.err.contains("hunter2"));
    insta::assert_snapshot!(said);
}

#[test]
fn json_is_one_object_a_line_and_the_first_names_the_format() {
    let folder = Folder::new(&[
        ("inventories/demo.toml", BAD),
        ("modules/app/module.toml", MODULE),
    ]);
    let said = folder.run(&["validate", "--json"]);
    let lines: Vec<serde_json::Value> = said
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        (said.code, &lines[0]["type"], &lines[0]["format"]),
        (1, &"format".into(), &1.into())
    );
    let found: Vec<&serde_json::Value> = lines.iter().filter(|line| line["type"] == "diagnostic").collect();
    assert!(found.len() > 5);
    assert!(
        found
            .iter()
            .all(|line| line["code"].is_string() && line["place"]["place"]["line"].is_u64())
    );
    assert_eq!(lines.last().unwrap()["ok"], false);
    assert!(!said.out.contains("hunter2"));
}

#[test]
fn the_inventory_is_the_flags_then_the_variables_then_the_only_one() {
    let folder = good();
    assert!(
        folder
            .run(&["validate"])
            .err
            .starts_with("inventory: inventories/demo.toml (the only one")
    );
    std::fs::copy(
        folder.0.path().join("inventories/demo.toml"),
        folder.0.path().join("inventories/two.toml"),
    )
    .unwrap();
    let said = folder.run(&["validate"]);
    assert_eq!(said.code, 64);
    assert!(
        said.err.contains("inventories/demo.toml, inventories/two.toml"),
        "{said}"
    );
    let mut command = folder.command(&["validate"]);
    command.env("MUSTER_INVENTORY", "inventories/two.toml");
    let with_variable = self::said(command);
    assert!(
        with_variable.code == 0
            && with_variable
                .err
                .contains("inventories/two.toml (MUSTER_INVENTORY)"),
        "{with_variable}"
    );
    let mut command = folder.command(&["validate", "-i", "inventories/demo.toml"]);
    command.env("MUSTER_INVENTORY", "inventories/two.toml");
    assert!(
        self::said(command)
            .err
            .contains("inventories/demo.toml (--inventory)")
    );
    assert_eq!(
        folder.run(&["validate", "-q", "-i", "inventories/demo.toml"]).err,
        ""
    );
    assert_eq!(folder.run(&["validate", "-i", "nothing.toml"]).code, 1);
    assert_eq!(Folder::new(&[]).run(&["validate"]).code, 64);
}

#[test]
fn why_prints_every_layer_and_the_winner() {
    insta::assert_snapshot!(good().run(&["why", "b", "port", "--var", "app.port=1"]));
    let folder = good();
    assert_eq!(folder.run(&["why", "c", "port"]).code, 1);
    let said = folder.run(&["why", "a", "prot"]);
    assert!(
        said.code == 1 && said.err.contains("did you mean `port`?"),
        "{said}"
    );
}

#[test]
fn the_environment_and_the_command_line_are_layers_of_their_own() {
    let folder = good();
    std::fs::write(folder.0.path().join("one.toml"), "port = 1001\n").unwrap();
    std::fs::write(folder.0.path().join("two.toml"), "[app]\nport = 1002\n").unwrap();
    let why = |variables: &[(&str, &str)], flags: &[&str]| {
        let mut command = folder.command(&["why", "b", "port"]);
        command.args(flags).envs(variables.iter().copied());
        said(command).out
    };
    let environment = [("MUSTER_VAR_port", "1000"), ("MUSTER_VAR_app__port", "999")];
    let files = ["--var-file", "one.toml", "--var-file", "two.toml"];
    let all = why(&environment, &[&files[..], &["--var", "port=1003"]].concat());
    insta::assert_snapshot!(all);
    assert!(
        why(&environment, &[]).contains("→ environment     \"999\""),
        "{}",
        why(&environment, &[])
    );
    assert!(why(&environment, &files).contains("→ --var-file      1002"));
}

#[test]
fn a_variable_that_nobody_takes_is_named_with_a_suggestion() {
    let mut command = good().command(&["validate"]);
    command.env("MUSTER_VAR_prot", "1").env("MUSTER_VAR_port", "x");
    let folder = good();
    command.current_dir(folder.0.path());
    let said = said(command);
    assert_eq!(said.code, 1, "{said}");
    for part in [
        "no module takes the value `prot`",
        "`MUSTER_VAR_prot`",
        "did you mean `port`",
        "`MUSTER_VAR_port`",
    ] {
        assert!(said.err.contains(part), "{part}: {said}");
    }
}

#[test]
fn a_secret_in_the_environment_is_refused_and_not_shown() {
    let folder = good();
    let mut command = folder.command(&["validate"]);
    command.env("MUSTER_VAR_password", "hunter2");
    let said = said(command);
    assert_eq!(said.code, 1, "{said}");
    assert!(
        said.err.contains("M0702") && said.err.contains("env:NAME"),
        "{said}"
    );
    assert!(
        !said.err.contains("hunter2") && !said.out.contains("hunter2"),
        "{said}"
    );
}

#[test]
fn codes_are_explained() {
    insta::assert_snapshot!(good().run(&["explain", "M0303"]));
    assert_eq!(good().run(&["explain", "M9999"]).code, 1);
    assert!(good().run(&["explain"]).out.lines().count() > 30);
}

#[test]
fn schemas_accept_what_is_right_and_refuse_what_is_wrong() {
    let folder = good();
    for (file, right, wrong) in [
        ("inventory", GOOD, BAD),
        ("module", MODULE, "[module]\nnam = 'x'\n"),
    ] {
        let schema: serde_json::Value = serde_json::from_str(&folder.run(&["schema", file]).out).unwrap();
        let schema = jsonschema::validator_for(&schema).unwrap();
        let value = |text: &str| serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap();
        let why: Vec<String> = schema
            .iter_errors(&value(right))
            .map(|error| error.to_string())
            .collect();
        assert_eq!(why, [""; 0], "{file}");
        assert!(!schema.is_valid(&value(wrong)), "{file}");
    }
}

#[test]
fn completions_and_manual_pages_are_made() {
    let folder = good();
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            folder.run(&["completions", shell]).out.contains("validate"),
            "{shell}"
        );
    }
    assert!(folder.run(&["man"]).out.contains(".TH muster"));
    assert!(folder.run(&["man", "why"]).out.contains("HOST"));
    assert_eq!(folder.run(&["man", "nope"]).code, 64);
}

#[test]
fn colours_come_only_where_they_are_wanted() {
    let folder = Folder::new(&[("inventories/demo.toml", BAD)]);
    assert!(!folder.run(&["validate"]).err.contains('\u{1b}'), "a pipe");
    assert!(
        folder
            .run(&["validate", "--color", "always"])
            .err
            .contains('\u{1b}')
    );
    let mut command = folder.command(&["validate", "--color", "never"]);
    command.env("CLICOLOR_FORCE", "1");
    assert!(!said(command).err.contains('\u{1b}'));
}

#[test]
fn a_gate_of_a_module_comes_after_a_resource_and_says_so_where_it_does_not() {
    let check = |gate: &str| {
        let module = format!("{MODULE}{gate}");
        Folder::new(&[
            ("modules/app/module.toml", &module),
            ("inventories/demo.toml", GOOD),
        ])
        .run(&["validate"])
    };
    let said = check(
        "[[gate]]\nafter = 'file:/etc/{{ \"app\" }}.toml'\nname = 'up'\ntcp = '127.0.0.1:{{ port }}'\n",
    );
    assert_eq!(said.code, 0, "{said}");
    let said = check("[[gate]]\nname = 'up'\ntcp = '127.0.0.1:1'\n");
    assert!(said.code == 1 && said.err.contains("it needs `after`"), "{said}");
    let said = check("[[gate]]\nafter = 'file:/etc/else'\nname = 'up'\ntcp = '127.0.0.1:1'\n");
    assert!(
        said.code == 1 && said.err.contains("which is not declared"),
        "{said}"
    );
}

#[test]
fn a_reader_that_closes_its_pipe_is_no_error() {
    let folder = good();
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("muster"))
        .args(["schema", "module"])
        .current_dir(folder.0.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert_eq!(output.status.code(), Some(0));
}

const HOOKS: &str = r#"
[[hook]]
name = "ask"
on = "before-plan"
command = ["./ask.sh", "STATUS"]
required = true
[[hook]]
name = "tell"
on = "after-plan"
command = ["sh", "-c", "cat > ../after.json; echo told"]
"#;

/// A fleet of one host on which nobody listens, with hooks around its plan.
fn hooked(status: &str) -> Folder {
    let hosts = "[fleet]\nname = \"demo\"\n[hosts.a]\naddress = \"127.0.0.1\"\nport = 1\n[[use]]\nmodule = \"app\"\non = \"all\"\n";
    let folder = Folder::new(&[
        (
            "inventories/demo.toml",
            &format!("{hosts}{}", HOOKS.replace("STATUS", status)),
        ),
        (
            "inventories/ask.sh",
            "#!/bin/sh\ncat > ../before.json\nprintf 'because \\033[31m\\n'\nexit $1\n",
        ),
        ("modules/app/module.toml", MODULE),
    ]);
    let script = folder.0.path().join("inventories/ask.sh");
    std::fs::set_permissions(script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    folder
}

#[test]
fn hooks_around_a_plan_are_called_and_one_that_is_required_refuses_it() {
    let folder = hooked("0");
    let mut command = folder.command(&["plan", "--no-input"]);
    command.env("PATH", std::env::var_os("PATH").unwrap());
    let ran = said(command);
    assert_eq!(ran.code, 4, "{ran}");
    assert!(
        ran.err.contains("  | told") && ran.err.contains("  | because \\u{1b}[31m"),
        "{ran}"
    );
    let read = |name: &str| -> serde_json::Value {
        serde_json::from_str(&std::fs::read_to_string(folder.0.path().join(name)).unwrap()).unwrap()
    };
    assert_eq!(
        (&read("before.json")["hook"], &read("before.json")["on"]),
        (&"ask".into(), &"before-plan".into())
    );
    assert_eq!(read("after.json")["plan"]["sums"]["held"], 1);

    let folder = hooked("5");
    let mut command = folder.command(&["plan", "--no-input"]);
    command.env("PATH", std::env::var_os("PATH").unwrap());
    let ran = said(command);
    assert_eq!(ran.code, 7, "{ran}");
    assert!(
        ran.err
            .contains("error: hook before-plan ask failed: `./ask.sh` ended with status 5"),
        "{ran}"
    );
    assert!(
        ran.out.is_empty() && !folder.0.path().join("after.json").exists(),
        "{ran}"
    );
}

#[test]
fn every_mistake_of_a_hook_is_named_at_its_line() {
    let hooks = r#"
[[hook]]
name = "a"
on = "before-lunch"
command = ["x"]
[[hook]]
name = "b"
on = "after-run"
required = true
command = ["x"]
[[hook]]
name = "c"
on = "failure"
webhook = { url = "http://203.0.113.1/", secret_headers = { authorization = "env:X" } }
[[hook]]
name = "d"
on = "failure"
webhook = { url = "hunter2", headers = { "a b" = "x" } }
[[hook]]
name = "e"
on = "failure"
command = []
[[hook]]
name = "f"
on = "failure"
command = ["x"]
timeout = "2h"
[[hook]]
name = "g"
on = "before-wave"
retry = { withn = "1m" }
[[hook]]
name = "f"
on = "failure"
webhook = { url = "https://a.example" }
[[hook]]
name = "h"
on = "failure"
command = ["x"]
[[hook]]
name = "h"
on = "failure"
command = ["x"]
"#;
    let folder = Folder::new(&[
        ("inventories/demo.toml", &format!("{GOOD}{hooks}")),
        ("modules/app/module.toml", MODULE),
    ]);
    let said = folder.run(&["validate"]);
    assert_eq!(said.code, 1);
    assert!(!said.err.contains("hunter2"));
    insta::assert_snapshot!(said);
}

const RENDERED: &str = r#"[module]
name = "app"
[inputs.port]
type = "port"
default = 8000
[inputs.password]
type = "secret"
[[directory]]
path = "/etc/app"
[[file]]
path = "/etc/app/app.toml"
content = "port = {{ port }}\npassword = \"{{ password }}\"\n"
[[file]]
path = "/etc/app/key"
content = "hush"
sensitive = true
[[command]]
name = "identity"
run = "make-one"
probe = "echo address=x"
outputs = { address = "x" }
[[file]]
path = "/etc/app/peers"
content = "peer = {{ output('command:identity', 'address') }}\n"
"#;

fn rendered(more: &str) -> Folder {
    let inventory = "[fleet]\nname = \"demo\"\n[values]\npassword = \"env:NOBODY_SET_THIS\"\n[hosts.a]\naddress = \"10.0.0.1\"\n[[use]]\nmodule = \"app\"\non = \"all\"\n";
    Folder::new(&[
        ("inventories/demo.toml", inventory),
        ("modules/app/module.toml", &format!("{RENDERED}{more}")),
        (
            "modules/app/templates/size.j2",
            "one\nthreads = {{ facts.cpus }}\n",
        ),
    ])
}

#[test]
fn a_host_is_rendered_whole_without_a_look_and_without_a_secret() {
    let folder = rendered("");
    let page = folder.run(&["render", "a", "-q"]);
    insta::assert_snapshot!(page);
    let one = folder.run(&["render", "a", "-q", "--path", "/etc/app/app.toml"]);
    assert_eq!(
        one.out,
        "port = 8000\npassword = \"(secret env:NOBODY_SET_THIS)\"\n"
    );
    let none = folder.run(&["render", "a", "--path", "/etc/app/ap.toml"]);
    assert_eq!(none.code, 1);
    assert!(none.err.contains("did you mean `/etc/app/app.toml`"), "{none}");
    let json = folder
        .run(&["render", "a", "--json", "--path", "/etc/app/peers"])
        .out;
    let last: serde_json::Value = serde_json::from_str(json.lines().last().unwrap()).unwrap();
    assert_eq!(last["spec"]["content"], "peer = (? address of a)\n");
    assert_eq!(
        last["needs"],
        serde_json::json!(["command[identity]@a", "directory[/etc/app]@a"])
    );
}

#[test]
fn a_rendered_tree_is_written_again_the_same_and_over_nobody() {
    let folder = rendered("");
    let tree = folder.0.path().join("out/a");
    let read = |name: &str| std::fs::read_to_string(tree.join(name)).unwrap();
    assert_eq!(folder.run(&["render", "a", "--out", "out/a"]).code, 0);
    let first = (
        read("files/etc/app/app.toml"),
        read("resources.txt"),
        read("files/etc/app/key"),
    );
    assert_eq!(first.2, "(sensitive, not shown)");
    assert!(
        first.1.contains("command[identity]") && !first.1.contains("port = 8000"),
        "{}",
        first.1
    );
    assert_eq!(folder.run(&["render", "a", "--out", "out/a"]).code, 0);
    assert_eq!(first.0, read("files/etc/app/app.toml"));
    let refused = folder.run(&["render", "a", "--out", "modules"]);
    assert_eq!(refused.code, 1, "{refused}");
    assert!(
        refused.err.contains("did not write there") && refused.err.contains("--force"),
        "{refused}"
    );
}

#[test]
fn a_fact_that_nobody_recorded_is_named_at_its_line() {
    let folder = rendered("[[file]]\npath = \"/etc/app/size\"\ntemplate = \"size.j2\"\n");
    let ran = folder.run(&["render", "a", "-q", "--out", "out"]);
    insta::assert_snapshot!(ran);
    assert!(!folder.0.path().join("out").exists(), "half a tree is none");
    let facts = serde_json::to_value(muster::model::observation::Facts {
        cpus: 7,
        ..Default::default()
    })
    .unwrap();
    let host = serde_json::json!({ "reach": "reached", "machine": null, "facts": facts, "manifest": "absent", "answers": {} });
    let seen = serde_json::json!({ "format": 1, "by_version": "0", "observation": { "taken_at": "2026-11-21T08:00:00Z", "hosts": { "a": host } } });
    std::fs::write(folder.0.path().join("seen.json"), seen.to_string()).unwrap();
    let ran = folder.run(&[
        "render",
        "a",
        "-q",
        "--recorded",
        "seen.json",
        "--path",
        "/etc/app/size",
    ]);
    assert_eq!(ran.out, "one\nthreads = 7\n", "{ran}");
}
