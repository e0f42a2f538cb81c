//! The promises that hold for every format, as properties.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const FORMATS: [SettingsFormat; 4] = [
    SettingsFormat::Json,
    SettingsFormat::Toml,
    SettingsFormat::Ini,
    SettingsFormat::Env,
];

/// Samples as hands write them. The keys `zz*` are in none of them.
fn samples(format: SettingsFormat) -> &'static [&'static str] {
    match format {
        SettingsFormat::Json => &[
            "{}\n",
            "{\"a\":1,\"t\":{\"b\":\"x\"}}",
            "{\n  \"a\": 1.50,\n  \"t\": {\n    \"b\": [1,  2]\n  }\n}\n",
            "{\r\n\t\"t\": { \"b\": \"}\", \"c\" : {} },\r\n\t\"a\": \"\\u0041\"\r\n}",
        ],
        SettingsFormat::Toml => &[
            "",
            "a = 1",
            "# top\na = 1 # one\n\n[t] # table\n  b = 'x'\n\n# end\n",
            "a = 0x10\r\nt = { b = 1, c = [1, 2] }\r\n[[u]]\r\nx = 1\r\n",
            "t.b = 1\n\n[t.c]\nd = \"\"\"\n[x]\n\"\"\"\n",
        ],
        SettingsFormat::Ini => &[
            "",
            "a=1",
            "; top\na = 1\n\n[t]\n# c\nb = x ; y\n\n",
            "[t]\r\nb=1\r\nodd line\r\n[u]\r\nb=2\r\n",
        ],
        SettingsFormat::Env => &[
            "",
            "A=1",
            "# top\nexport A='x y' # one\nB=\"a\nb\"\n\n",
            "A=1\r\nB=a b c\r\nnot an assignment\r\n",
        ],
    }
}

fn keys(format: SettingsFormat) -> &'static [&'static str] {
    match format {
        SettingsFormat::Json | SettingsFormat::Toml => {
            &["a", "zz1", "t.b", "t.zz2", "zz3.k", "zz3.l.m", "t.\"zz.4\""]
        }
        SettingsFormat::Ini => &["a", "zz1", "t.b", "t.zz2", "zz3.k", "zz3.l.m"],
        SettingsFormat::Env => &["A", "B", "ZZ1", "ZZ2", "_zz3"],
    }
}

fn value(format: SettingsFormat) -> BoxedStrategy<Value> {
    let text = "[ -~é]{0,12}".prop_map(|text| Value::from(text.trim()));
    let scalar = prop_oneof![
        text,
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from)
    ];
    match format {
        SettingsFormat::Ini | SettingsFormat::Env => scalar.boxed(),
        SettingsFormat::Json | SettingsFormat::Toml => prop_oneof![
            4 => scalar.clone(),
            1 => prop::collection::vec(scalar.clone(), 0..3).prop_map(Value::from),
            1 => prop::collection::btree_map("[a-z .]{1,4}", scalar, 1..3).prop_map(|map| json!(map)),
        ]
        .boxed(),
    }
}

/// A format, a text, values to set and keys to remove; no key is in both.
fn edits() -> impl Strategy<Value = (SettingsFormat, String, BTreeMap<String, Value>, BTreeSet<String>)> {
    prop::sample::select(&FORMATS).prop_flat_map(|format| {
        let text = prop::sample::select(samples(format)).prop_map(str::to_owned);
        let key = prop::sample::select(keys(format)).prop_map(str::to_owned);
        let set = prop::collection::btree_map(key.clone(), value(format), 0..4);
        let remove = prop::collection::btree_set(key, 0..3);
        (Just(format), text, set, remove).prop_map(|(format, text, set, mut remove)| {
            remove.retain(|key| !set.contains_key(key));
            (format, text, set, remove)
        })
    })
}

fn all_keys(format: SettingsFormat) -> BTreeSet<String> {
    keys(format).iter().map(|key| (*key).to_owned()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]

    #[test]
    fn what_is_set_is_read_back_and_what_is_removed_is_gone((format, text, set, remove) in edits()) {
        let edited = edit(format, Some(&text), &set, &remove).unwrap();
        let wanted: BTreeMap<String, Value> =
            set.iter().map(|(key, value)| (key.clone(), canonical(format, value).unwrap())).collect();
        let there = read(format, &edited, &set.keys().cloned().collect()).unwrap();
        prop_assert_eq!(there, wanted, "{}", edited);
        prop_assert!(read(format, &edited, &remove).unwrap().is_empty(), "{}", edited);
    }

    #[test]
    fn keys_that_are_not_named_keep_their_values((format, text, set, remove) in edits()) {
        let edited = edit(format, Some(&text), &set, &remove).unwrap();
        let mut others = all_keys(format);
        others.retain(|key| !set.contains_key(key) && !remove.contains(key));
        prop_assert_eq!(read(format, &edited, &others), read(format, &text, &others), "{}", edited);
    }

    #[test]
    fn an_edit_done_twice_is_done_once((format, text, set, remove) in edits()) {
        let once = edit(format, Some(&text), &set, &remove).unwrap();
        prop_assert_eq!(&edit(format, Some(&once), &set, &remove).unwrap(), &once);
    }

    #[test]
    fn lines_that_are_not_named_stay_byte_for_byte((format, text, set, remove) in edits()) {
        let mut remove = remove;
        remove.retain(|key| key.to_lowercase().contains("zz"));
        let set: BTreeMap<_, _> = set.into_iter().filter(|(key, _)| key.to_lowercase().contains("zz")).collect();
        let edited = edit(format, Some(&text), &set, &remove).unwrap();
        // In JSON and in inline tables a new key joins a line that was there.
        if format != SettingsFormat::Json && !text.contains("t = {") {
            let mut rest = edited.lines();
            for line in text.lines() {
                prop_assert!(rest.any(|there| there == line), "{:?} is not in {:?}", line, edited);
            }
        }
    }

    #[test]
    fn removing_what_was_set_gives_the_former_text((format, text, set, _) in edits()) {
        let set: BTreeMap<_, _> = set.into_iter().filter(|(key, _)| key.to_lowercase().contains("zz")).collect();
        let edited = edit(format, Some(&text), &set, &BTreeSet::new()).unwrap();
        let removed = edit(format, Some(&edited), &BTreeMap::new(), &set.keys().cloned().collect()).unwrap();
        prop_assert_eq!(removed, text, "{}", edited);
    }
}

#[test]
fn keys_that_do_not_fit_a_format_are_refused() {
    for (format, bad) in [
        (SettingsFormat::Json, "a..b"),
        (SettingsFormat::Toml, "\"a"),
        (SettingsFormat::Ini, "a.b=c"),
        (SettingsFormat::Env, "a.b"),
    ] {
        assert!(check_key(format, bad).is_err(), "{format:?} takes {bad}");
        let set = [(bad.to_owned(), json!(1))].into();
        assert!(
            edit(format, None, &set, &BTreeSet::new()).is_err(),
            "{format:?} sets {bad}"
        );
    }
}

#[test]
fn values_that_do_not_fit_a_format_are_refused_without_being_repeated() {
    for (format, bad) in [
        (SettingsFormat::Toml, json!(null)),
        (SettingsFormat::Ini, json!(["hunter2"])),
        (SettingsFormat::Ini, json!(" hunter2")),
        (SettingsFormat::Env, json!("hunter2\n")),
    ] {
        let error = canonical(format, &bad).unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
        let set = [("A".to_owned(), bad)].into();
        assert!(edit(format, None, &set, &BTreeSet::new()).is_err());
    }
}
