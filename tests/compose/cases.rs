//! The pairs: a Compose file against what an engine said.

use std::collections::BTreeSet;

use muster::compose;
use muster::model::change::Shown;
use muster::model::inspected::{Differences, Effect};

use super::case::{self, Case};

fn told(differences: &Differences) -> String {
    let shown = |value: &Shown| match value {
        Shown::Nothing => "(nothing)".to_owned(),
        Shown::Text(text) => text.clone(),
        Shown::Secret(print) => format!("(print {})", print.short()),
        Shown::Opaque(what) => format!("({what})"),
        Shown::Pending(output) => format!("(pending {output})"),
    };
    let mut lines: Vec<String> = Vec::new();
    for change in &differences.changes {
        let effect = match change.effect {
            Effect::Update => "update",
            Effect::Restart => "restart",
            Effect::Recreate => "recreate",
        };
        lines.push(format!(
            "{effect} {}: {} → {}\n",
            change.field.field,
            shown(&change.field.before),
            shown(&change.field.after)
        ));
    }
    lines.extend(
        differences
            .uncompared
            .iter()
            .map(|field| format!("not compared {field}\n")),
    );
    if lines.is_empty() {
        "nothing\n".to_owned()
    } else {
        lines.concat()
    }
}

fn compared(case: &Case, state: &str, with_drift: bool) -> Differences {
    let spec = case.spec(state);
    let known = case::known(&spec);
    compose::differences(&spec, &case.inspected(&spec, with_drift), &known)
}

/// The old tool made each container; none of them is touched.
#[test]
fn a_container_that_the_old_tool_made_is_as_its_file_says() {
    let wrong: Vec<String> = case::all("cases")
        .iter()
        .map(|case| (case, compared(case, "was", false)))
        .filter(|(_, differences)| *differences != Differences::default())
        .map(|(case, differences)| format!("{}:\n{}", case.name(), told(&differences)))
        .collect();
    assert!(
        wrong.is_empty(),
        "{} cases differ from what made them:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn every_case_comes_out_as_it_says() {
    let mut wrong = Vec::new();
    for mut case in case::all("cases") {
        let told = told(&compared(&case, "now", true));
        if case::updates() {
            case.set("changes", told);
            case.write();
        } else if case.section("changes") != Some(&told) {
            wrong.push(format!(
                "{}:\nexpected\n{}got\n{told}",
                case.name(),
                case.section("changes").unwrap_or("(no section)\n")
            ));
        }
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn there_are_sixty_pairs_and_each_says_what_it_proves() {
    let cases = case::all("cases");
    assert!(cases.len() >= 60, "{}", cases.len());
    let sentences: BTreeSet<&str> = cases.iter().map(|case| case.says.as_str()).collect();
    assert_eq!(sentences.len(), cases.len(), "two cases say the same");
    assert!(!sentences.contains(""), "a case says nothing");
    let changed = cases
        .iter()
        .filter(|case| case.section("changes") != Some("nothing\n"))
        .count();
    assert!(changed > 45, "only {changed} cases change anything");
}

/// A value of the environment that nobody declared public appears nowhere in what is told.
#[test]
fn no_value_of_an_environment_is_told() {
    let mut secrets = 0;
    for case in case::all("cases") {
        let spec = case.spec("now");
        let whole = format!(
            "{:?} {:?}",
            case.inspected(&spec, true),
            compared(&case, "now", true)
        );
        for (_, body) in spec.sensitive_env() {
            for secret in body.secrets() {
                secrets += 1;
                assert!(!whole.contains(&case::secret_value(secret)), "{}", case.name());
            }
        }
        assert!(
            !whole.contains("poison"),
            "{}: an old value is shown",
            case.name()
        );
    }
    assert!(secrets > 0, "no case has a secret");
}

#[test]
fn a_service_that_is_not_required_may_be_in_no_active_profile() {
    let text = "services:\n  app:\n    image: x:1\n    depends_on: {other: {condition: service_healthy, required: REQUIRED}}\n  other: {image: \"x:1\", profiles: [never]}\n";
    let read = |required: &str| {
        let body = case::body(&text.replace("REQUIRED", required));
        let file = compose::SourceFile {
            path: "compose.yml".to_owned(),
            body,
        };
        compose::read(&compose::Request {
            files: vec![file],
            folder: "/srv/join".to_owned(),
            ..Default::default()
        })
    };
    let project = read("false").expect("it is not missed");
    assert_eq!(project.order, ["app"]);
    assert!(project.containers(&Default::default())[0].needs.is_empty());
    assert!(read("true").is_err());
}
