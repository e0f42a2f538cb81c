//! Loading: files in, model and diagnostics out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use muster::load::{self, Loaded, Overrides};
use muster::model::id::ModuleName;
use muster::model::inventory::Inventory;
use muster::model::module::Module;

/// A folder of files that goes away with the test.
struct Folder(tempfile::TempDir);

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

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn inventory(&self) -> Loaded<Inventory> {
        let modules: BTreeSet<ModuleName> = ["app", "base"].map(|name| name.parse().unwrap()).into();
        load::inventory(&self.path().join("f.toml"), &modules, &Overrides::default())
    }

    fn modules(&self) -> Loaded<BTreeMap<ModuleName, Module>> {
        load::modules(&self.path().join("modules"), &["file", "unit"])
    }
}

/// Cuts the temporary folder out of a message.
fn cut(message: &str) -> String {
    let is_path = |word: &&str| word.starts_with("`/tmp");
    let name = |word: &str| format!("`…/{}", word.rsplit('/').next().unwrap_or_default());
    message
        .split(' ')
        .map(|word| {
            if is_path(&word) {
                name(word)
            } else {
                word.to_owned()
            }
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// Returns each diagnostic as `line code message`, in the order of the lines.
fn said<T>(loaded: &Loaded<T>) -> Vec<String> {
    let line =
        |place: &Option<muster::model::diagnostic::Label>| place.as_ref().map_or(0, |label| label.place.line);
    loaded
        .diagnostics
        .sorted()
        .iter()
        .map(|found| format!("{} {} {}", line(&found.place), found.code, cut(&found.message)))
        .collect()
}

fn inventory(text: &str) -> Loaded<Inventory> {
    Folder::new(&[("f.toml", text)]).inventory()
}

#[test]
fn every_mistake_of_an_inventory_is_named_in_one_run() {
    let loaded = inventory(
        r#"[fleet]
name = "demo"
inclde = ["x"]
[values]
timezone = "UTC"
[values.app]
port = 8080
[hosts.a]
adress = "10.0.0.1"
port = 70000
labels = { site = 3, x = "y" }
foo = 1
[hosts.b]
address = "10.0.0.2"
via = "c"
sudo = "hunter2"
host_key = "acept-new"
[hosts.c]
address = "10.0.0.2"
via = "b"
values = { z = "<FILLIN>" }
[groups.g]
hosts = ["a", "x"]
select = "@h"
[groups.h]
select = "@g - nobody"
[[use]]
modul = "app"
on = "all"
[[use]]
module = "ap"
on = "site=4"
[[use]]
module = "app"
[policy]
batch = 0
on_failure = "stopp"
canary = true
order = ["@g", "@nope"]
[[policy.gate]]
tcp = "a"
name = "x"
[[policy.gate]]
naem = "a"
status = "x"
[polcy]
"#,
    );
    insta::assert_snapshot!(said(&loaded).join("\n"));
    let inventory = loaded.value.unwrap();
    assert_eq!(
        inventory.hosts.len(),
        3,
        "hosts with mistakes stay, so that others may name them"
    );
}

#[test]
fn a_lease_is_from_ten_seconds_to_ten_minutes_long() {
    let with = |lease: &str| {
        inventory(&format!(
            "[fleet]\nname = \"f\"\n[hosts.a]\naddress = \"a\"\n[policy]\nlease = {lease}\n"
        ))
    };
    for (text, secs) in [("\"10s\"", 10), ("\"10m\"", 600)] {
        let loaded = with(text);
        assert_eq!(said(&loaded), [""; 0], "{text}");
        assert_eq!(loaded.value.unwrap().policy.lease_secs, secs);
    }
    for text in [
        "\"9s\"",
        "\"601s\"",
        "\"0s\"",
        "\"soon\"",
        "\"-1m\"",
        "\"99999999999h\"",
        "60",
    ] {
        let found = said(&with(text));
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].starts_with("6 "), "{text}: {found:?}");
    }
    assert!(said(&with("\"9s\""))[0].contains("`lease` is 9s, and a lease is from 10 s to 10 min long"));
}

#[test]
fn every_mistake_of_a_module_is_named_in_one_run() {
    let module = r#"[module]
name = "ap"
needs = ["base", "bas"]
[inputs.port]
type = "prt"
[inputs.size]
type = "size"
default = "4G"
doc = "x"
colour = 1
[inputs.a-b]
type = "int"
min = 3
max = 1
[inputs.list]
type = "list"
[inputs.words]
type = "enum"
values = []
[inputs.text]
type = "string"
pattern = "a)"
min = 1
[inputs.password]
type = "secret"
default = "hunter2"
[inputs.host]
type = { x = 1 }
[inputs.nested]
type = "map"
item = { type = "list", item = "strng" }
[derived]
size = "1"
b = 1
[[rule]]
must = "true"
input = "sizee"
[[listener]]
port = 1
adress = "x"
[[gate]]
name = "x"
tpc = "y"
[[fil]]
path = "/a"
[[file]]
path = "/b"
template = "a.j2"
whn = "left to the kind"
after = 3
protect = "yes"
[[file]]
path = "/c"
template = "{{ x }}.j2"
[unit]
name = "x"
[[moved]]
from = "file:"
to = "fil:/x"
[nothing]
"#;
    let base = "[module]\nname = 'base'\nneeds = ['app']\n";
    let files = [
        ("modules/app/module.toml", module),
        ("modules/base/module.toml", base),
        ("modules/app/templates/b.j2", "x"),
        ("modules/app/data/d.toml", "x = [1\ny = 2"),
    ];
    insta::assert_snapshot!(said(&Folder::new(&files).modules()).join("\n"));
}
