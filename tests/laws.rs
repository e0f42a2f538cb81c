//! The laws that every registered kind keeps, over generated specs and a host in memory.
//!
//! A kind that joins the list needs a generator here; `every_kind_is_held_to_the_laws` fails until it has one.

#[path = "support/host.rs"]
mod host;
#[path = "support/scenes.rs"]
mod scenes;

use std::collections::{BTreeMap, BTreeSet};

use host::{Host, Kind, SECRET};
use muster::model::change::{Action, FieldChange, Undo};
use muster::model::digest::Digest;
use muster::model::known::Known;
use muster::model::manifest::{Origin, Owned, OwnedState, StartedWith};
use muster::model::observation::{Answer, Observed};
use muster::model::op::Op;
use muster::resource::{Actual, Consumed, Context, KINDS, Spec, Step};
use proptest::prelude::*;
use proptest::sample::select;
use scenes::{Hand, hand_made, look, perform, prepared, spec_of};
use serde_json::{Value, json};

fn known(spec: &Spec) -> Known {
    Known {
        prints: host::prints(spec),
        ..Known::default()
    }
}

/// Returns what the planner asks of a spec.
fn ops(
    spec: &Spec,
    action: Action,
    before: &Observed<Actual>,
    fields: &[FieldChange],
    context: &Context<'_>,
) -> Vec<Op> {
    let step = Step {
        action,
        before,
        fields,
        context: *context,
    };
    match action {
        Action::Replace => spec.replace(&step),
        Action::Create | Action::Update | Action::Delete | Action::Forget => spec.ops(&step),
    }
}

/// One step as the planner would take it: its ops and its undo, and the manifest's entry after it.
struct Taken {
    action: Action,
    fields: Vec<FieldChange>,
    ops: Vec<Op>,
    undo: Undo,
    owned: Owned,
}

/// Compares and takes the step that follows, if one does.
fn step(host: &mut Host, spec: &Spec, owned: Option<&Owned>, consumed: Option<&Consumed>) -> Option<Taken> {
    let (before, known) = (look(host, spec), known(spec));
    let context = Context {
        known: &known,
        owned,
        consumed,
    };
    let fields = before
        .present()
        .map(|actual| spec.compare(actual, &context))
        .unwrap_or_default();
    let action = match &before {
        Observed::Unknown(why) => panic!("{spec:?}: {why}"),
        Observed::Absent => Action::Create,
        Observed::Present(_) if fields.is_empty() => return None,
        Observed::Present(_) if spec.immutable(&fields).is_some() => Action::Replace,
        Observed::Present(_) => Action::Update,
    };
    let ops = ops(spec, action, &before, &fields, &context);
    let undo = spec.undo(&Step {
        action,
        before: &before,
        fields: &fields,
        context,
    });
    let made_keys = spec.made_keys(before.present(), owned);
    host.kept.clear();
    host.begin("now");
    perform(host, &ops);
    let after = look(host, spec);
    let invocation = after.present().and_then(|actual| spec.invocation(actual));
    let owned = Owned {
        origin: Origin::Made,
        state: OwnedState::Done,
        spec: spec.encode(),
        needs: BTreeSet::new(),
        protect: false,
        delete: false,
        after: Some(spec.seen(&after)),
        changed_at_secs: Some(host.clock),
        started_with: consumed
            .zip(invocation)
            .map(|(consumed, invocation)| StartedWith {
                consumed: consumed.digest.clone(),
                invocation,
                at_secs: Some(host.clock),
            }),
        outputs: BTreeMap::new(),
        made_keys,
    };
    Some(Taken {
        action,
        fields,
        ops,
        undo,
        owned,
    })
}

fn consumed(spec: &Spec, digest: &str, changes: bool) -> Option<Consumed> {
    spec.info().starts.then(|| Consumed {
        digest: Digest::of(digest),
        changed_at_secs: None,
        is_unfinished: false,
        changing: if changes {
            vec!["file[/etc/x]@h".parse().expect("an id")]
        } else {
            Vec::new()
        },
    })
}

/// Every kind with two specs of one name: what was declared before, if anything, and what is declared now.
fn scenes() -> impl Strategy<Value = (Spec, Option<Spec>, Vec<Hand>, bool)> {
    let kinds: Vec<&'static str> = KINDS.iter().map(|info| info.name).collect();
    select(kinds)
        .prop_flat_map(|kind| {
            let spec = spec_of(kind).prop_map(move |value| Spec::decode(kind, &value).expect("a spec"));
            (spec.clone(), prop::option::of(spec), hand_made(), any::<bool>())
        })
        .prop_filter("declared without mistakes", |(spec, former, _, _)| {
            spec.check().is_empty()
                && former
                    .as_ref()
                    .is_none_or(|former| former.check().is_empty() && former.key() == spec.key())
        })
}

/// Hands may have put something where a kind refuses to go on; such scenes say nothing.
fn is_readable(host: &Host, spec: &Spec) -> bool {
    !matches!(look(host, spec), Observed::Unknown(_))
}

/// Prepares a host and lets the former spec be applied there.
fn scene(spec: &Spec, former: Option<&Spec>, hands: &[Hand]) -> Option<(Host, Option<Owned>)> {
    let mut host = prepared(hands);
    if !is_readable(&host, spec) || former.is_some_and(|former| !is_readable(&host, former)) {
        return None;
    }
    let owned =
        former.and_then(|former| step(&mut host, former, None, consumed(former, "old", false).as_ref()));
    Some((host, owned.map(|taken| taken.owned)))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1500) })]

    /// Law 2: settled stays settled.
    #[test]
    fn what_was_applied_differs_in_nothing((spec, former, hands, changes) in scenes()) {
        let Some((mut host, owned)) = scene(&spec, former.as_ref(), &hands) else { return Ok(()) };
        let consumes = consumed(&spec, "new", changes);
        let taken = step(&mut host, &spec, owned.as_ref(), consumes.as_ref());
        let owned = taken.as_ref().map(|taken| taken.owned.clone()).or(owned);
        let later = consumed(&spec, "new", false);
        let again = step(&mut host, &spec, owned.as_ref(), later.as_ref());
        prop_assert!(again.is_none(), "again: {:?} {:?}", again.as_ref().map(|t| t.action), again.map(|t| t.fields));
    }

    /// Ops may be done twice: a resumed run does them again.
    #[test]
    fn ops_done_twice_are_done_once((spec, former, hands, changes) in scenes()) {
        let Some((mut host, owned)) = scene(&spec, former.as_ref(), &hands) else { return Ok(()) };
        let consumes = consumed(&spec, "new", changes);
        if let Some(taken) = step(&mut host, &spec, owned.as_ref(), consumes.as_ref())
            && taken.action != Action::Replace
        {
            let once = spec.seen(&look(&host, &spec));
            perform(&mut host, &taken.ops);
            prop_assert_eq!(spec.seen(&look(&host, &spec)), once);
        }
    }

    /// Law 9: an undo that says exact brings back what was there.
    #[test]
    fn exact_undo_brings_back_what_was_there((spec, former, hands, changes) in scenes()) {
        let Some((mut host, owned)) = scene(&spec, former.as_ref(), &hands) else { return Ok(()) };
        let before = look(&host, &spec);
        let consumes = consumed(&spec, "new", changes);
        if let Some(Taken { undo: Undo::Exact(ops), fields, .. }) = step(&mut host, &spec, owned.as_ref(), consumes.as_ref()) {
            perform(&mut host, &ops);
            let after = look(&host, &spec);
            prop_assert_eq!(spec.seen(&after), spec.seen(&before), "{:?}: {:?} is not {:?}", fields, after, before);
        }
    }

    /// What muster made goes when it is no longer declared, and what is left is as if it had never been declared.
    #[test]
    fn what_was_made_goes_when_it_is_no_longer_declared((spec, _, _, _) in scenes()) {
        let Some((mut host, _)) = scene(&spec, None, &[]) else { return Ok(()) };
        let was = look(&host, &spec);
        let Some(taken) = step(&mut host, &spec, None, None) else { return Ok(()) };
        let (before, known) = (look(&host, &spec), known(&spec));
        let context = Context { known: &known, owned: Some(&taken.owned), consumed: None };
        perform(&mut host, &ops(&spec, Action::Delete, &before, &[], &context));
        let after = look(&host, &spec);
        // A command is done, and nothing undoes it; of settings the file stays, empty; a parameter keeps its value.
        if !["command", "container_run", "settings", "sysctl", "package"].contains(&spec.info().name) && was == Observed::Absent {
            prop_assert_eq!(&after, &Observed::Absent, "{:?}", spec);
        }
        if let (Some(after), true) = (after.present(), spec.info().name == "settings") {
            prop_assert_eq!(spec.made_keys(Some(after), None), taken.owned.made_keys);
        }
    }

    /// Law 5: what cannot be read is unknown, whichever answer it is.
    #[test]
    fn an_unreadable_answer_is_unknown((spec, former, hands, _) in scenes(), which in any::<prop::sample::Index>()) {
        let Some((host, _)) = scene(&spec, former.as_ref(), &hands) else { return Ok(()) };
        let answers: Vec<Answer> = spec.probes().iter().map(|probe| host.look(probe)).collect();
        let at = which.index(answers.len());
        let bad = [
            Answer::NoAnswer("timed out".into()),
            Answer::Text { output: "Permission denied".into(), status: 3 },
            Answer::Text { output: String::new(), status: 255 },
        ];
        for answer in bad {
            let mut answers = answers.clone();
            answers[at] = answer.clone();
            // Who has no account has no keys, whatever is said of the account.
            let is_moot = spec.info().name == "authorized_keys" && spec.read(&answers) == Observed::Absent;
            prop_assert!(is_moot || matches!(spec.read(&answers), Observed::Unknown(_)), "{:?} made {:?}", answer, spec.read(&answers));
        }
        prop_assert!(matches!(spec.read(&answers[1..]), Observed::Unknown(_)), "one answer is missing");
    }

    /// Law 10: no secret stands in what is saved or shown.
    #[test]
    fn no_secret_is_in_what_is_saved_or_shown((spec, former, hands, changes) in scenes()) {
        let Some((mut host, owned)) = scene(&spec, former.as_ref(), &hands) else { return Ok(()) };
        // What was secret may have become public: its old value still stands on the host.
        let is_sensitive = |spec: &Spec| spec.bodies().iter().any(|body| body.is_sensitive());
        if !is_sensitive(&spec) && !former.as_ref().is_some_and(is_sensitive) {
            return Ok(());
        }
        let saved = |what: &str, value: Value| {
            prop_assert!(!value.to_string().contains(SECRET), "{}: {}", what, value);
            Ok(())
        };
        if let Some(taken) = step(&mut host, &spec, owned.as_ref(), consumed(&spec, "new", changes).as_ref()) {
            saved("ops", json!(taken.ops))?;
            saved("undo", json!(taken.undo))?;
            saved("fields", json!(taken.fields))?;
            saved("owned", json!(taken.owned))?;
        }
        // A second look sees the secret in its place on the host.
        let after = look(&host, &spec);
        saved("seen", json!(after))?;
        let known = Known::default();
        let context = Context { known: &known, owned: None, consumed: None };
        if let Some(actual) = after.present() {
            saved("fields without secrets", json!(spec.compare(actual, &context)))?;
        }
    }
}

#[test]
fn every_kind_is_held_to_the_laws() {
    for info in KINDS {
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let mut steps = 0;
        for _ in 0..64 {
            let tree = spec_of(info.name).new_tree(&mut runner).expect("a generator");
            let value = proptest::strategy::ValueTree::current(&tree);
            let spec = Spec::decode(info.name, &value).unwrap_or_else(|why| panic!("{}: {why}", info.name));
            if spec.check().is_empty()
                && let Some((mut host, _)) = scene(&spec, None, &[])
            {
                steps += usize::from(step(&mut host, &spec, None, None).is_some());
            }
        }
        assert!(steps > 8, "{}: the laws would see {steps} steps of 64", info.name);
    }
}

#[test]
fn the_host_in_memory_really_holds_what_ops_write() {
    let mut host = prepared(&[Hand::File("/etc/app", "K=1\n")]);
    let spec = Spec::decode(
        "file",
        &json!({ "path": "/etc/app", "content": [{ "secret": "plain|env:PASS" }] }),
    )
    .unwrap();
    assert!(step(&mut host, &spec, None, None).is_some());
    assert_eq!(host.paths["/etc/app"].kind, Kind::File(SECRET.to_owned()));
}

/// A script is the escape of modules; what muster itself does has an op that a probe can tell.
#[test]
fn only_commands_run_scripts() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/resource");
    let entries = std::fs::read_dir(folder).expect("the kinds are there");
    let runs = entries.filter_map(|entry| {
        let path = entry.expect("the folder is readable").path();
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let name = path.file_name()?.to_string_lossy().into_owned();
        text.contains("Op::Run").then_some(name)
    });
    assert_eq!(runs.collect::<Vec<_>>(), ["command.rs"]);
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for info in KINDS {
        for _ in 0..32 {
            let tree = spec_of(info.name).new_tree(&mut runner).expect("a generator");
            let value = proptest::strategy::ValueTree::current(&tree);
            let spec = Spec::decode(info.name, &value).expect("a spec");
            if spec.check().is_empty()
                && let Some((mut host, _)) = scene(&spec, None, &[])
                && let Some(taken) = step(&mut host, &spec, None, None)
            {
                let runs = taken.ops.iter().any(|op| matches!(op, Op::Run { .. }));
                assert_eq!(runs, info.name == "command", "{}", info.name);
            }
        }
    }
}
