//! Nonsense in, diagnostics out: whatever the files hold, loading ends with words and never with a panic.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use muster::load::{self, Overrides};
use muster::model::diagnostic::{Diagnostics, Sources};
use muster::model::id::ModuleName;
use muster::report::diagnostic::{self, Look};
use proptest::prelude::*;

const GOOD: &str = include_str!("../docs/reference/inventory.md");
const GOOD_MODULE: &str = include_str!("../docs/reference/modules.md");

/// Returns the first TOML example of a page.
fn example(page: &str) -> &str {
    page.split("```toml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .expect("the page begins with an example")
}

fn load(folder: &Path, inventory: &[u8], module: &[u8]) -> (Diagnostics, Sources) {
    let home = folder.join("modules/app");
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(folder.join("f.toml"), inventory).unwrap();
    std::fs::write(home.join("module.toml"), module).unwrap();
    let modules = load::modules(&folder.join("modules"), &["file", "unit", "directory"]);
    let names: BTreeSet<ModuleName> = modules
        .value
        .iter()
        .flat_map(|found| found.keys().cloned())
        .collect();
    let loaded = load::inventory(&folder.join("f.toml"), &names, &Overrides::default());
    let (mut diagnostics, mut sources) = (modules.diagnostics, modules.sources);
    if let (Some(inventory), Some(modules)) = (&loaded.value, &modules.value) {
        muster::plan::values::resolve(inventory, modules, &mut diagnostics);
    }
    diagnostics.extend(loaded.diagnostics);
    sources.extend(loaded.sources);
    // Every place lies within its file, and can be drawn.
    for label in diagnostics
        .iter()
        .flat_map(|found| found.place.iter().chain(&found.others))
    {
        let text = sources.text(&label.place.file).expect("the file was read");
        let span = label.place.span.clone().expect("places of loading have a range");
        assert!(
            text.get(span.clone()).is_some(),
            "{span:?} is not within {text:?}"
        );
    }
    assert!(diagnostics.is_empty() || !diagnostic::text(&diagnostics, &sources, Look::default()).is_empty());
    (diagnostics, sources)
}

fn inventory(text: &[u8]) -> Diagnostics {
    load(
        tempfile::tempdir().unwrap().path(),
        text,
        b"[module]\nname = 'app'\n",
    )
    .0
}

fn module(text: &[u8]) -> Diagnostics {
    load(
        tempfile::tempdir().unwrap().path(),
        b"[fleet]\nname = 'f'\n",
        text,
    )
    .0
}

#[test]
fn files_that_end_anywhere_are_mistakes_and_no_panics() {
    let (good, good_module) = (example(GOOD), example(GOOD_MODULE));
    let folder = tempfile::tempdir().unwrap();
    for at in (0..good.len()).step_by(7).filter(|at| good.is_char_boundary(*at)) {
        load(folder.path(), &good.as_bytes()[..at], b"");
    }
    for at in (0..good_module.len())
        .step_by(7)
        .filter(|at| good_module.is_char_boundary(*at))
    {
        load(folder.path(), b"", &good_module.as_bytes()[..at]);
    }
}

#[test]
fn bytes_that_are_no_text_are_one_mistake() {
    for bytes in [&b"\xff\xfe\x00"[..], b"[fleet]\nname = '\xc3'", &[0x80; 4096]] {
        assert!(
            inventory(bytes)
                .iter()
                .any(|found| found.code.to_string() == "M0105")
        );
        assert!(
            module(bytes)
                .iter()
                .any(|found| found.code.to_string() == "M0105")
        );
    }
    assert!(inventory(&[0; 4096]).has_errors());
}

#[test]
fn a_thousand_unknown_keys_are_a_thousand_mistakes_in_little_time() {
    let keys: String = (0..1000)
        .map(|index| format!("strange_{index} = {index}\n"))
        .collect();
    let began = Instant::now();
    let found = inventory(format!("[fleet]\nname = 'f'\n[hosts.a]\naddress = 'a'\n{keys}").as_bytes());
    assert_eq!(
        found
            .iter()
            .filter(|found| found.code.to_string() == "M0102")
            .count(),
        1000
    );
    let found = inventory(format!("[fleet]\nname = 'f'\n[values]\n{keys}").as_bytes());
    assert_eq!(
        found
            .iter()
            .filter(|found| found.code.to_string() == "M0303")
            .count(),
        1000
    );
    // Far above what it takes, and far below what a quadratic path would take.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn deep_nesting_is_a_mistake_and_no_overflow() {
    for depth in [50, 1000, 100_000] {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        inventory(format!("[fleet]\nname = 'f'\n[values]\nx = {open}{close}\n").as_bytes());
        inventory(
            format!(
                "[fleet]\nname = 'f'\n[values]\nx = {}1{}\n",
                "{a=".repeat(depth),
                "}".repeat(depth)
            )
            .as_bytes(),
        );
        inventory(format!("[fleet]\nname = 'f'\n[{}]\n", vec!["a"; depth].join(".")).as_bytes());
        module(
            format!(
                "[module]\nname = 'app'\n[inputs.x]\ntype = 'list'\nitem = {}'int'{}\n",
                "{type='list',item=".repeat(depth),
                "}".repeat(depth)
            )
            .as_bytes(),
        );
    }
}

/// The keys that mean something, and others.
const WORDS: &[&str] = &[
    "fleet", "name", "include", "hosts", "a", "b", "address", "port", "via", "host_key", "sudo", "labels",
    "values", "groups", "select", "use", "module", "on", "policy", "gate", "canary", "batch", "order", "tcp",
    "within", "retired", "host", "secrets", "inputs", "type", "item", "default", "pattern", "min", "derived",
    "rule", "must", "listener", "file", "path", "when", "after", "moved", "from", "to", "needs", "app", "x",
    "\u{e9}",
];
const VALUES: &[&str] = &[
    "1",
    "-1",
    "99999999999999999999",
    "1.5",
    "true",
    "''",
    "'a'",
    "'@a'",
    "'all - a'",
    "'a=b'",
    "'*'",
    "'env:X'",
    "'<FILLIN>'",
    "'[a'",
    "'5m'",
    "'25%'",
    "[]",
    "['a', 'b']",
    "[1, 'a']",
    "{}",
    "{ a = 1 }",
    "{ type = 'list' }",
    "1979-05-27",
    "'file:/a'",
    "'string'",
    "'list'",
    "\"\\U00100000\"",
    "nan",
    "'''\nx'''",
    "[[1], [{a=1}]]",
    "'f.toml'",
    "'*.toml'",
    "'ssh-ed25519 AAAA'",
    "'local'",
];

fn line() -> impl Strategy<Value = String> {
    let word = || prop::sample::select(WORDS);
    let key = prop::collection::vec(word(), 1..3).prop_map(|words| {
        words
            .iter()
            .map(|word| {
                if word.is_ascii() {
                    (*word).to_owned()
                } else {
                    format!("'{word}'")
                }
            })
            .collect::<Vec<_>>()
            .join(".")
    });
    let value = prop::sample::select(VALUES);
    prop_oneof![
        4 => (key.clone(), value).prop_map(|(key, value)| format!("{key} = {value}\n")),
        2 => key.clone().prop_map(|key| format!("[{key}]\n")),
        2 => key.prop_map(|key| format!("[[{key}]]\n")),
        1 => "[ -~]{0,12}\n",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_stands_in_the_files_loading_ends(lines in prop::collection::vec(line(), 0..25), more in prop::collection::vec(line(), 0..25)) {
        let folder = tempfile::tempdir().unwrap();
        let text = format!("[fleet]\nname = 'f'\n{}", lines.concat());
        load(folder.path(), text.as_bytes(), more.concat().as_bytes());
        let text = format!("[module]\nname = 'app'\n{}", more.concat());
        load(folder.path(), lines.concat().as_bytes(), text.as_bytes());
    }

    #[test]
    fn whatever_bytes_the_files_hold_loading_ends(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,200}") {
        let folder = tempfile::tempdir().unwrap();
        load(folder.path(), &bytes, text.as_bytes());
        load(folder.path(), text.as_bytes(), &bytes);
    }
}
