//! Laws: interpolation against the table of the specification, and no text that makes the reader panic.

use std::collections::BTreeMap;

use muster::compose::{self, Request, SourceFile, Trouble, Veil, interpolate};
use muster::model::body::Body;
use muster::model::digest::Fingerprint;
use proptest::prelude::*;

use super::case;

/// A text with variables, as a tree.
#[derive(Debug, Clone)]
enum Part {
    Text(String),
    Dollar,
    Bare(&'static str),
    Braced(&'static str, Option<(&'static str, Vec<Part>)>),
}

/// `A` is set, `E` is empty, `U` is not set.
const NAMES: [&str; 3] = ["A", "E", "U"];

fn variables() -> BTreeMap<String, String> {
    BTreeMap::from([
        ("A".to_owned(), "va$lue".to_owned()),
        ("E".to_owned(), String::new()),
    ])
}

fn written(parts: &[Part]) -> String {
    let part = |part: &Part| match part {
        Part::Text(text) => text.clone(),
        Part::Dollar => "$$".to_owned(),
        Part::Bare(name) => format!("${name}"),
        Part::Braced(name, None) => format!("${{{name}}}"),
        Part::Braced(name, Some((operator, word))) => format!("${{{name}{operator}{}}}", written(word)),
    };
    parts.iter().map(part).collect()
}

/// The specification's table, row by row.
fn meant(parts: &[Part]) -> Result<String, ()> {
    let mut out = String::new();
    for part in parts {
        out += &match part {
            Part::Text(text) => text.clone(),
            Part::Dollar => "$".to_owned(),
            Part::Bare(name) | Part::Braced(name, None) => variables().get(*name).cloned().ok_or(())?,
            Part::Braced(name, Some((operator, word))) => match (*operator, *name) {
                ("-" | ":-" | "?" | ":?", "A") => "va$lue".to_owned(),
                ("-" | "?", "E") => String::new(),
                ("-", "U") | (":-", "E" | "U") => meant(word)?,
                ("?", "U") | (":?", "E" | "U") => return Err(()),
                ("+", "A" | "E") | (":+", "A") => meant(word)?,
                ("+", "U") | (":+", "E" | "U") => String::new(),
                other => unreachable!("{other:?}"),
            },
        };
    }
    Ok(out)
}

fn parts() -> impl Strategy<Value = Vec<Part>> {
    let name = || proptest::sample::select(&NAMES[..]);
    let leaf = prop_oneof![
        "[a-z0-9 :/.-]{1,6}".prop_map(Part::Text),
        Just(Part::Dollar),
        // What follows a bare name must not prolong it.
        name().prop_map(Part::Bare),
        name().prop_map(|name| Part::Braced(name, None)),
    ];
    let part = leaf.prop_recursive(3, 20, 3, move |inner| {
        let operator = proptest::sample::select(&["-", ":-", "?", ":?", "+", ":+"][..]);
        (name(), operator, proptest::collection::vec(inner, 0..3))
            .prop_map(|(name, operator, word)| Part::Braced(name, Some((operator, word))))
    });
    proptest::collection::vec(part, 0..5).prop_map(|parts| {
        let bare_ends = |part: &Part| matches!(part, Part::Bare(_));
        let mut out: Vec<Part> = Vec::new();
        for part in parts {
            if out.last().is_some_and(bare_ends) {
                out.push(Part::Text("/".to_owned()));
            }
            out.push(part);
        }
        out
    })
}

fn read(text: &str) {
    let file = SourceFile {
        path: "compose.yml".to_owned(),
        body: Body::text(text),
    };
    let env = SourceFile {
        path: ".env".to_owned(),
        body: Body::text(text),
    };
    let request = Request {
        files: vec![file.clone(), file],
        env_files: vec![env],
        folder: "/srv/join".to_owned(),
        ..Request::default()
    };
    if let Err(wrong) = compose::read(&request) {
        assert!(wrong.has_errors());
        let sources = compose::sources(request.files.iter().chain(&request.env_files));
        muster::report::diagnostic::text(&wrong, &sources, Default::default());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn interpolation_is_the_specifications_table(parts in parts()) {
        // A bare name before a word of its own inside braces would be prolonged there too.
        let is_prolonged = |text: &str| text.match_indices('$').any(|(at, _)| {
            let rest = &text[at + 1..];
            rest.starts_with(['A', 'E', 'U']) && rest[1..].starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_')
        });
        let text = written(&parts);
        prop_assume!(!is_prolonged(&text));
        match (interpolate(&text, &variables()), meant(&parts)) {
            (Ok(is), Ok(must)) => prop_assert_eq!(is, must, "{}", text),
            (Err(Trouble::Unset(_) | Trouble::Asked(..)), Err(())) => {}
            (is, must) => prop_assert!(false, "{text}: {is:?}, and must be {must:?}"),
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>()) {
        read(&text);
        let _ = interpolate(&text, &variables());
    }

    #[test]
    fn no_text_of_the_formats_own_characters_makes_it_panic(text in "[ \n\t:{}\\[\\]\"'$&*!|>#%@`,?a-c0-9<=\u{100000}\u{100001}é-]{0,60}") {
        read(&text);
    }

    #[test]
    fn no_cut_of_a_good_file_makes_it_panic(cut in 0usize..1_000_000, from in 0usize..1_000, junk in ".{0,3}") {
        let cases = case::all("cases");
        let case = &cases[from % cases.len()];
        for (_, text) in case.files("now") {
            let at = text.floor_char_boundary(cut % (text.len() + 1));
            read(&format!("{}{junk}", &text[..at]));
            read(&format!("{}{junk}{}", &text[..at], &text[at..]));
        }
    }

    #[test]
    fn no_answer_of_an_engine_makes_it_panic(path in 0usize..10_000, junk in prop_oneof![Just(serde_json::json!(null)), Just(serde_json::json!(-1)), Just(serde_json::json!("é:é/é")), Just(serde_json::json!([[], {}, 7])), Just(serde_json::json!({"a": {"b": []}}))]) {
        let mut container = case::base();
        let mut pointers = Vec::new();
        collect(&container, String::new(), &mut pointers);
        let pointer = pointers[path % pointers.len()].clone();
        *container.pointer_mut(&pointer).expect("it is there") = junk;
        let veil = Veil { shows: &|_| false, print: &|value| Fingerprint::of(case::SALT, value.as_bytes()) };
        let _ = compose::inspected(&container, &container, &veil);
    }
}

fn collect(value: &serde_json::Value, pointer: String, pointers: &mut Vec<String>) {
    pointers.push(pointer.clone());
    let children: Vec<(String, &serde_json::Value)> = match value {
        serde_json::Value::Object(object) => object
            .iter()
            .map(|(key, value)| (key.replace('~', "~0").replace('/', "~1"), value))
            .collect(),
        serde_json::Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(at, value)| (at.to_string(), value))
            .collect(),
        _ => Vec::new(),
    };
    children
        .into_iter()
        .for_each(|(key, value)| collect(value, format!("{pointer}/{key}"), pointers));
}
