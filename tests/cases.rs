//! Cases as data: what was declared and what a host said → what is there, what differs, and the ops that mend it.
//!
//! Each `tests/cases/<kind>/*.toml` holds `[[case]]` tables; keys before the first are defaults for all of them. Adding a
//! case needs no code. `tests/cases/README.md` says what the keys mean.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use muster::model::body::Body;
use muster::model::change::{Action, Disruption, Undo};
use muster::model::digest::{Digest, Fingerprint};
use muster::model::id::{OutputRef, ResourceId};
use muster::model::known::Known;
use muster::model::manifest::{Origin, Owned, OwnedState, StartedWith};
use muster::model::observation::{Answer, Observed};
use muster::model::op::Op;
use muster::resource::{Actual, Consumed, Context, KINDS, Spec, Step};
use serde::Deserialize;
use serde_json::Value;

/// One case, as its file has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// The sentence that it proves.
    says: String,
    declared: Value,
    #[serde(default)]
    answers: Option<Vec<Said>>,
    #[serde(default)]
    owned: Option<OwnedForm>,
    #[serde(default)]
    consumed: Option<ConsumedForm>,
    #[serde(default)]
    outputs: BTreeMap<OutputRef, String>,
    #[serde(default)]
    prints: Vec<Print>,
    #[serde(default)]
    without_secrets: bool,
    /// Whether it is no longer declared.
    #[serde(default)]
    undeclared: bool,
    expect: Expect,
}

/// What a host said: an output with status 0, or an output with another status, or nothing.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Said {
    Good(String),
    Bad { output: String, status: i32 },
    Nothing { no_answer: String },
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct OwnedForm {
    is_intent: bool,
    made_keys: BTreeSet<String>,
    started_with: Option<StartedWith>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConsumedForm {
    digest: String,
    #[serde(default)]
    changed_at_secs: Option<u64>,
    #[serde(default)]
    is_unfinished: bool,
    #[serde(default)]
    changing: Vec<ResourceId>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Print {
    body: Body,
    print: Fingerprint,
}

/// What must come of it. What is left out is not checked, but a case that is to be planned names its fields.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    #[serde(default)]
    mistakes: Vec<String>,
    #[serde(default)]
    observed: Option<String>,
    #[serde(default)]
    why: Option<String>,
    #[serde(default)]
    fields: Vec<String>,
    #[serde(default)]
    action: Option<Action>,
    #[serde(default)]
    ops: Option<Vec<Op>>,
    #[serde(default)]
    undo: Option<String>,
    #[serde(default)]
    undo_ops: Option<Vec<Op>>,
    #[serde(default)]
    disruption: Option<String>,
    #[serde(default)]
    outputs: Option<BTreeMap<String, String>>,
    #[serde(default)]
    made_keys: Option<BTreeSet<String>>,
}

/// A case with its kind and the name that a failure shows.
struct Named {
    kind: String,
    name: String,
    case: Case,
}

fn cases() -> Vec<Named> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut cases = Vec::new();
    for folder in entries(&root).into_iter().filter(|path| path.is_dir()) {
        let kind = folder
            .file_name()
            .expect("a folder has a name")
            .to_string_lossy()
            .into_owned();
        for file in entries(&folder) {
            let text = std::fs::read_to_string(&file).expect("the file can be read");
            cases.extend(read(&kind, &file, &text));
        }
    }
    assert!(!cases.is_empty(), "no case was found");
    cases
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder can be read");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

fn read(kind: &str, file: &Path, text: &str) -> Vec<Named> {
    let mut defaults: toml::Table = text
        .parse()
        .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let Some(toml::Value::Array(tables)) = defaults.remove("case") else {
        panic!("{}: no [[case]]", file.display())
    };
    let named = |table: toml::Value| {
        let mut whole = defaults.clone();
        // A case may change single keys of what is declared for all.
        for (key, value) in table.as_table().expect("a table").clone() {
            match (whole.get_mut(&key), value) {
                (Some(toml::Value::Table(there)), toml::Value::Table(new)) if key == "declared" => {
                    merge(there, new)
                }
                (_, value) => drop(whole.insert(key, value)),
            }
        }
        let case: Case = whole
            .try_into()
            .unwrap_or_else(|error| panic!("{}: {table}: {error}", file.display()));
        let name = format!(
            "{}: {}",
            file.file_stem().unwrap_or_default().to_string_lossy(),
            case.says
        );
        Named {
            kind: kind.to_owned(),
            name: format!("{kind}/{name}"),
            case,
        }
    };
    tables.into_iter().map(named).collect()
}

/// Takes the keys of a case over those of the default. What holds a container's settings is merged deeper.
fn merge(there: &mut toml::Table, new: toml::Table) {
    for (key, value) in new {
        match (there.get_mut(&key), value) {
            (Some(toml::Value::Table(there)), toml::Value::Table(new))
                if ["spec", "settings"].contains(&key.as_str()) =>
            {
                merge(there, new)
            }
            (_, value) => drop(there.insert(key, value)),
        }
    }
}

impl Said {
    fn answer(&self) -> Answer {
        match self {
            Self::Good(output) => Answer::Text {
                output: output.clone(),
                status: 0,
            },
            Self::Bad { output, status } => Answer::Text {
                output: output.clone(),
                status: *status,
            },
            Self::Nothing { no_answer } => Answer::NoAnswer(no_answer.clone()),
        }
    }
}

impl Case {
    fn known(&self) -> Known {
        Known {
            outputs: self.outputs.clone().into(),
            prints: self
                .prints
                .iter()
                .map(|print| (print.body.digest(), print.print.clone()))
                .collect(),
            is_without_secrets: self.without_secrets,
        }
    }

    fn owned(&self, spec: &Spec) -> Option<Owned> {
        let form = self.owned.as_ref()?;
        Some(Owned {
            origin: Origin::Made,
            state: if form.is_intent {
                OwnedState::Intent
            } else {
                OwnedState::Done
            },
            spec: spec.encode(),
            needs: BTreeSet::new(),
            protect: false,
            delete: false,
            after: None,
            changed_at_secs: None,
            started_with: form.started_with.clone(),
            outputs: BTreeMap::new(),
            made_keys: form.made_keys.clone(),
        })
    }

    fn consumed(&self) -> Option<Consumed> {
        let form = self.consumed.as_ref()?;
        Some(Consumed {
            digest: Digest(form.digest.clone()),
            changed_at_secs: form.changed_at_secs,
            is_unfinished: form.is_unfinished,
            changing: form.changing.clone(),
        })
    }
}

/// Runs one case; the error says what is not as expected.
fn run(Named { kind, case, .. }: &Named) -> Result<(), String> {
    let spec = Spec::decode(kind, &case.declared)?;
    let mistakes: Vec<&str> = spec.check().iter().map(|mistake| mistake.field).collect();
    same("mistakes", &case.expect.mistakes, &mistakes)?;
    let again = Spec::decode(kind, &spec.encode())?;
    same("the spec, written and read", &spec, &again)?;
    let Some(answers) = &case.answers else {
        return Ok(());
    };
    let observed = spec.read(&answers.iter().map(Said::answer).collect::<Vec<_>>());
    if let Some(word) = &case.expect.observed {
        same("observed", word, &word_of(&observed)).map_err(|error| format!("{error} ({observed:?})"))?;
    }
    if let (Some(part), Observed::Unknown(why)) = (&case.expect.why, &observed)
        && !why.contains(part)
    {
        return Err(format!("why: `{part}` is not in `{why}`"));
    }
    if let Observed::Unknown(_) = observed {
        return Ok(());
    }
    planned(&spec, &observed, case)
}

fn planned(spec: &Spec, observed: &Observed<Actual>, case: &Case) -> Result<(), String> {
    let (known, owned, consumed, expect) = (case.known(), case.owned(spec), case.consumed(), &case.expect);
    let context = Context {
        known: &known,
        owned: owned.as_ref(),
        consumed: consumed.as_ref(),
    };
    let fields = match observed.present() {
        Some(actual) if !case.undeclared => spec.compare(actual, &context),
        Some(_) | None => Vec::new(),
    };
    let names: Vec<&str> = fields.iter().map(|change| change.field.as_str()).collect();
    same("fields", &expect.fields, &names)?;
    if let Some(outputs) = &expect.outputs {
        let there = observed
            .present()
            .map(|actual| spec.outputs(actual))
            .unwrap_or_default();
        same("outputs", outputs, &there.into_iter().collect())?;
    }
    if let Some(made) = &expect.made_keys {
        same(
            "made keys",
            made,
            &spec.made_keys(observed.present(), owned.as_ref()),
        )?;
    }
    let action = match observed {
        _ if case.undeclared => Some(Action::Delete),
        Observed::Absent => Some(Action::Create),
        Observed::Present(_) | Observed::Unknown(_) if fields.is_empty() => None,
        Observed::Present(_) | Observed::Unknown(_) if spec.immutable(&fields).is_some() => {
            Some(Action::Replace)
        }
        Observed::Present(_) | Observed::Unknown(_) => Some(Action::Update),
    };
    if expect.action.is_some() {
        same("action", &expect.action, &action)?;
    }
    let Some(action) = action else {
        return if expect.ops.is_none() {
            Ok(())
        } else {
            Err("nothing is to be done".to_owned())
        };
    };
    let step = Step {
        action,
        before: observed,
        fields: &fields,
        context,
    };
    if let Some(ops) = &expect.ops {
        let there = match action {
            Action::Replace => spec.replace(&step),
            Action::Create | Action::Update | Action::Delete | Action::Forget => spec.ops(&step),
        };
        same("ops", ops, &there)?;
    }
    let (word, ops) = undo_of(spec.undo(&step));
    if let Some(undo) = &expect.undo {
        same("undo", undo, &word.to_owned())?;
    }
    if let Some(undo_ops) = &expect.undo_ops {
        same("undo's ops", undo_ops, &ops)?;
    }
    let disruption = match spec.disruption(&step) {
        Disruption::None => "none".to_owned(),
        Disruption::Service(name) => format!("service {name}"),
        Disruption::Host => "host".to_owned(),
    };
    same(
        "disruption",
        expect.disruption.as_ref().unwrap_or(&"none".to_owned()),
        &disruption,
    )
}

fn undo_of(undo: Undo) -> (&'static str, Vec<Op>) {
    match undo {
        Undo::Exact(ops) => ("exact", ops),
        Undo::Inverse { ops, .. } => ("inverse", ops),
        Undo::Impossible(_) => ("impossible", Vec::new()),
    }
}

fn word_of(observed: &Observed<Actual>) -> String {
    match observed {
        Observed::Absent => "absent",
        Observed::Present(_) => "present",
        Observed::Unknown(_) => "unknown",
    }
    .to_owned()
}

fn same<A: std::fmt::Debug + PartialEq<B>, B: std::fmt::Debug>(
    what: &str,
    wanted: &A,
    there: &B,
) -> Result<(), String> {
    if wanted == there {
        Ok(())
    } else {
        Err(format!("{what}:\n  wanted {wanted:?}\n  got    {there:?}"))
    }
}

#[test]
fn every_case_comes_out_as_it_says() {
    let wrong: Vec<String> = cases()
        .iter()
        .filter_map(|named| Some(format!("{}\n  {}", named.name, run(named).err()?)))
        .collect();
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_field_of_every_kind_has_a_case_of_its_own() {
    let cases = cases();
    for info in KINDS {
        for field in info.fields {
            let is_it = |found: &String| {
                let rest = found.strip_prefix(field);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            let alone = cases.iter().any(|named| {
                named.kind == info.name
                    && matches!(named.case.expect.fields.as_slice(), [found] if is_it(found))
            });
            assert!(alone, "no case of `{}` alters `{field}` alone", info.name);
        }
    }
}

#[test]
fn every_kind_has_the_cases_that_each_kind_needs() {
    let cases = cases();
    for info in KINDS {
        let of = |is: &dyn Fn(&Case) -> bool| {
            cases
                .iter()
                .any(|named| named.kind == info.name && is(&named.case))
        };
        let observed = |case: &Case, word: &str| case.expect.observed.as_deref() == Some(word);
        // A kernel parameter is always there; its file may not be.
        assert!(
            info.name == "sysctl" || of(&|case| observed(case, "absent") && case.expect.ops.is_some()),
            "{}: absent → create",
            info.name
        );
        let is_same =
            |case: &Case| observed(case, "present") && case.expect.fields.is_empty() && !case.undeclared;
        assert!(of(&is_same), "{}: the same → nothing", info.name);
        assert!(
            of(&|case| observed(case, "unknown")),
            "{}: unreadable → unknown",
            info.name
        );
        assert!(
            of(&|case| case.undeclared && case.expect.ops.is_some()),
            "{}: undeclared → delete",
            info.name
        );
        assert!(
            of(&|case| !case.expect.mistakes.is_empty()),
            "{}: a mistake is named",
            info.name
        );
    }
}

#[test]
fn every_case_stands_in_the_folder_of_a_kind() {
    let kinds: BTreeSet<&str> = KINDS.iter().map(|info| info.name).collect();
    for named in cases() {
        assert!(
            kinds.contains(named.kind.as_str()),
            "{} is of no kind",
            named.name
        );
    }
}
