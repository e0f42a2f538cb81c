//! The tables of keys: every accepted one has a case, every refused one its error.

use std::collections::BTreeSet;

use muster::compose::keys::{SECTIONS, Section};
use muster::compose::{self, Request, SourceFile};
use muster::model::body::Body;
use muster::model::code;
use muster::report::diagnostic::{Look, text};
use serde_json::Value;

use super::case::{self, filled};

/// Collects the paths of all keys: names that the file's author chooses become `*`, items of lists `[]`.
fn paths(value: &Value, path: &mut Vec<String>, found: &mut BTreeSet<Vec<String>>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                path.push(key.clone());
                found.insert(path.clone());
                paths(value, path, found);
                path.pop();
            }
        }
        Value::Array(items) => {
            for item in items {
                path.push("[]".to_owned());
                paths(item, path, found);
                path.pop();
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn fits(path: &[String], section: &Section, key: &str) -> bool {
    let wanted = section.path.iter().copied().chain([key]);
    path.len() == section.path.len() + 1
        && wanted.zip(path).enumerate().all(|(at, (wanted, part))| {
            // Configs and secrets are one section.
            wanted == "*" || wanted == part || (at == 0 && wanted == "configs" && part == "secrets")
        })
}

#[test]
fn every_accepted_key_has_a_case() {
    let mut found = BTreeSet::new();
    for case in case::all("cases") {
        for (_, text) in case.files("was").into_iter().chain(case.files("now")) {
            // The tags are of this format alone.
            let text = filled(&text).replace("!reset", "").replace("!override", "");
            let value: Value =
                serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", case.name()));
            paths(&value, &mut Vec::new(), &mut found);
        }
    }
    let mut missing = Vec::new();
    for section in SECTIONS {
        let keys = section.accepted.iter().map(|(key, ..)| *key);
        missing.extend(
            keys.filter(|key| !found.iter().any(|path| fits(path, section, key)))
                .map(|key| format!("{}: {key}", section.title)),
        );
    }
    assert!(missing.is_empty(), "keys without a case: {missing:#?}");
}

#[test]
fn no_key_is_both_accepted_and_refused_and_every_reason_is_a_clause() {
    for section in SECTIONS {
        for (key, reason) in section.refused {
            assert!(!section.accepts(key), "{}: {key}", section.title);
            assert!(
                reason.len() > 5 && !reason.ends_with('.'),
                "{}: {key}: {reason}",
                section.title
            );
        }
        for (key, form, meaning) in section.accepted {
            assert!(
                !form.is_empty() && meaning.ends_with('.'),
                "{}: {key}: {meaning}",
                section.title
            );
        }
    }
}

/// Writes a file that has a key at a section's path.
fn file_with(section: &Section, key: &str) -> String {
    let mut text = String::new();
    let mut indent = 0;
    let mut item = "";
    for part in section.path {
        match *part {
            "[]" => item = "- ",
            part => {
                let name = if part == "*" { "app" } else { part };
                text += &format!("{}{item}{name}:\n", " ".repeat(indent));
                indent += 2 + item.len();
                item = "";
            }
        }
    }
    text + &format!("{}{item}{key}: there\n", " ".repeat(indent))
}

fn wrong_with(text: &str) -> (compose::Request, muster::model::diagnostic::Diagnostics) {
    let file = SourceFile {
        path: "compose.yml".to_owned(),
        body: Body::text(text),
    };
    let request = Request {
        files: vec![file],
        folder: "/srv/join".to_owned(),
        ..Request::default()
    };
    let wrong = compose::read(&request).expect_err("it has mistakes");
    (request, wrong)
}

#[test]
fn every_refused_key_gives_its_error_with_its_line() {
    let mut told = String::new();
    for section in SECTIONS {
        for (key, reason) in section.refused {
            let (request, wrong) = wrong_with(&file_with(section, key));
            let refused: Vec<_> = wrong
                .into_iter()
                .filter(|found| found.code == code::COMPOSE_REFUSED)
                .collect();
            assert_eq!(refused.len(), 1, "{}: {key}", section.title);
            assert_eq!(refused[0].hint.as_deref(), Some(*reason));
            assert_eq!(
                refused[0].place.as_ref().expect("it has a place").place.line,
                section.path.iter().filter(|part| **part != "[]").count() + 1
            );
            let mut only = muster::model::diagnostic::Diagnostics::default();
            only.extend(refused);
            told += &text(&only, &compose::sources(&request.files), Look::default());
        }
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compose/refused.golden");
    if case::updates() {
        std::fs::write(&path, &told).expect("the golden file can be written");
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        golden == told,
        "tests/compose/refused.golden is not current: run with MUSTER_UPDATE=1"
    );
}
