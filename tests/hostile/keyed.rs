//! Settings files as a hostile host may hold them: reading and editing ends with a value or with words.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use muster::keyed;
use muster::model::op::SettingsFormat::{self, Env, Ini, Json, Toml};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::nasty;

const FORMATS: [SettingsFormat; 4] = [Json, Toml, Ini, Env];

const SYNTAX: &[&str] = &[
    "{", "}", "[", "]", "[[", "]]", "\"", "'", "\"\"\"", "'''", ":", "=", ",", ".", "\n", "\r\n", "\r", " ",
    "\t", "#", ";", "\\", "\\u0041", "\\ud800", "a", "b.c", "\"a\"", "export ", "A", "1", "-", "true",
    "null", "1e999", "é", "\u{feff}", "\u{0}", "$(x)", "`", "{\"a\":", "[t]", "a = 1\n", "A=1\n", "\"a\": 1",
];

fn soup() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(SYNTAX), 0..24).prop_map(|pieces| pieces.concat())
}

/// The keys that are read and set, in each format's own paths.
fn keys(format: SettingsFormat) -> &'static [&'static str] {
    match format {
        Json | Toml => &["a", "t.a", "b.c", "\"x.y\".z"],
        Ini => &["a", "t.a"],
        Env => &["A", "B"],
    }
}

fn poke(format: SettingsFormat, text: &str, value: &Value) {
    let wanted: BTreeSet<String> = keys(format).iter().map(|key| (*key).to_owned()).collect();
    // An error repeats nothing of the content, which may hold secrets.
    if let Err(why) = keyed::read(format, text, &wanted) {
        assert!(!why.contains("secretive"), "{why}");
    }
    for key in keys(format) {
        let set = BTreeMap::from([((*key).to_owned(), value.clone())]);
        let Ok(edited) = keyed::edit(format, Some(text), &set, &BTreeSet::new()) else {
            continue;
        };
        let Ok(canonical) = keyed::canonical(format, value) else {
            continue;
        };
        let again = keyed::read(format, &edited, &BTreeSet::from([(*key).to_owned()]));
        let again = again.unwrap_or_else(|why| panic!("{format:?} {text:?} → {edited:?}: {why}"));
        assert_eq!(
            again.get(*key),
            Some(&canonical),
            "{format:?} {key} {text:?} → {edited:?}"
        );
        let twice = keyed::edit(format, Some(&edited), &set, &BTreeSet::new());
        assert_eq!(twice.as_deref(), Ok(edited.as_str()), "{format:?} {key} twice");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_file_holds_a_key_is_set_or_refused(text in soup(), value in nasty::text()) {
        for format in FORMATS {
            poke(format, &text, &json!(value));
        }
    }

    #[test]
    fn whatever_bytes_it_holds_it_ends_with_words(text in "\\PC{0,60}", other in nasty::text()) {
        for format in FORMATS {
            poke(format, &text, &json!(1));
            poke(format, &other, &json!(true));
        }
    }
}

#[test]
fn deep_nesting_and_long_lines_are_read_or_refused_in_little_time() {
    let began = Instant::now();
    for depth in [200, 100_000] {
        for text in [
            "[".repeat(depth),
            "{\"a\":".repeat(depth),
            format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth)),
            format!("a = {}1{}", "[".repeat(depth), "]".repeat(depth)),
            format!("a = {}1{}", "{ a = ".repeat(depth), "}".repeat(depth)),
            format!("[{}]\n", vec!["a"; depth].join(".")),
        ] {
            for format in FORMATS {
                poke(format, &text, &json!(1));
            }
        }
    }
    let line = "x".repeat(4 << 20);
    poke(Json, &format!("{{\"a\":1,\"long\":\"{line}\"}}"), &json!("y"));
    poke(Toml, &format!("a = 1\nlong = \"{line}\"\n"), &json!("y"));
    poke(Ini, &format!("a = 1\nlong = {line}\n"), &json!("y"));
    poke(Env, &format!("A=1\nLONG={line}\n"), &json!("y"));
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}
