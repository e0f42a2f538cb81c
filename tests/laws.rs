//! The laws that every registered kind keeps, over generated specs and a host in memory.
//!
//! A kind that joins the list needs a generator here; `every_kind_is_held_to_the_laws` fails until it has one.

#[path = "support/host.rs"]
mod host;

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
use serde_json::{Value, json};

/// A text, perhaps with a secret in it.
fn body() -> BoxedStrategy<Value> {
    let text = "[a-z =\n]{0,12}".prop_map(Value::from);
    let secret = "[a-z =\n]{1,8}".prop_map(|text| json!([{ "text": text }, { "secret": "plain|env:PASS" }]));
    prop_oneof![2 => text, 1 => secret].boxed()
}

fn attributes() -> impl Strategy<Value = Value> {
    (
        select(&["root", "ops"]),
        select(&["root", "users"]),
        select(&["0600", "0644", "0755"]),
    )
        .prop_map(|(owner, group, mode)| json!({ "owner": owner, "group": group, "mode": mode }))
}

/// Joins two objects; members that are null are left out.
fn joined(mut one: Value, other: Value) -> Value {
    let there = one.as_object_mut().expect("an object");
    there.extend(other.as_object().expect("an object").clone());
    there.retain(|_, value| !value.is_null());
    one
}

fn maybe(values: &'static [&'static str]) -> impl Strategy<Value = Option<&'static str>> {
    prop::option::of(select(values))
}

fn setting() -> BoxedStrategy<Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z #']{0,6}".prop_map(|text| Value::from(text.trim())),
        Just(json!([{ "secret": "plain|env:PASS" }])),
    ]
    .boxed()
}

/// Returns the generator of a kind's specs, all of one name.
fn spec_of(kind: &str) -> BoxedStrategy<Value> {
    match kind {
        "file" => (body(), attributes(), any::<bool>())
            .prop_map(|(content, attributes, sensitive)| {
                joined(json!({ "path": "/etc/app", "content": content, "sensitive": sensitive }), attributes)
            })
            .boxed(),
        "directory" => attributes().prop_map(|attributes| joined(json!({ "path": "/srv/app" }), attributes)).boxed(),
        "symlink" => select(&["/a", "/b"]).prop_map(|to| json!({ "path": "/etc/app", "to": to })).boxed(),
        "group" => prop::option::of(900..903).prop_map(|gid| joined(json!({ "name": "app" }), json!({ "gid": gid }))).boxed(),
        "account" => {
            let groups = prop::option::of(prop::collection::btree_set(select(&["adm", "users"]), 0..3));
            (prop::option::of(900..903), maybe(&["root", "users"]), groups, maybe(&["/srv/a", "/srv/b"]), maybe(&["/bin/sh", "/bin/bash"]))
                .prop_map(|(uid, group, groups, home, shell)| {
                    let fields = json!({ "uid": uid, "group": group, "groups": groups, "home": home, "shell": shell });
                    joined(json!({ "name": "app" }), fields)
                })
                .boxed()
        }
        "package" => (maybe(&["1.0", "2.0"]), prop::option::of(any::<bool>()), any::<bool>())
            .prop_map(|(version, hold, is_absent)| match is_absent {
                true => json!({ "name": "app", "state": "absent" }),
                false => joined(json!({ "name": "app" }), json!({ "version": version, "hold": hold })),
            })
            .boxed(),
        "sysctl" => select(&["1", "4096 16384"]).prop_map(|value| json!({ "key": "net.app", "value": value })).boxed(),
        "unit" => (prop::option::of(body()), prop::option::of(any::<bool>()), prop::option::of(any::<bool>()), any::<bool>())
            .prop_map(|(content, enabled, running, reload)| {
                let name = if content.is_some() { "app.service" } else { "vendor.service" };
                let content = content.map(|content| match content {
                    Value::String(text) => json!(format!("[Install]\n{text}")),
                    other => other,
                });
                let fields = json!({ "content": content, "enabled": enabled, "running": running });
                joined(json!({ "name": name, "reload": reload }), fields)
            })
            .boxed(),
        "settings" => {
            let key = select(&["a", "t.b", "t.c", "u.d.e"]).prop_map(str::to_owned);
            prop::collection::btree_map(key, setting(), 1..4)
                .prop_map(|keys| json!({ "path": "/etc/app.ini", "keys": keys }))
                .boxed()
        }
        "command" => any::<bool>()
            .prop_map(|has_output| {
                let outputs = if has_output { json!({ "out": "[a-z]+" }) } else { json!({}) };
                let env = json!({ "PASS": [{ "secret": "plain|env:PASS" }] });
                json!({ "name": "app", "run": "make it", "probe": "did make it", "env": env, "outputs": outputs })
            })
            .boxed(),
        "authorized_keys" => {
            let line = select(&["ssh-rsa AAAAa a", "ssh-rsa AAAAb b", "restrict ssh-rsa AAAAa a"]).prop_map(str::to_owned);
            (prop::collection::btree_set(line, 1..3), any::<bool>())
                .prop_map(|(keys, exclusive)| json!({ "user": "ops", "keys": keys, "exclusive": exclusive }))
                .boxed()
        }
        other => panic!("the kind `{other}` has no generator"),
    }
}

/// What may be there before: nothing, or something that a hand made.
fn hand_made() -> impl Strategy<Value = Vec<Hand>> {
    prop::collection::vec(
        prop_oneof![
            Just(Hand::Nothing),
            (
                select(&[
                    "/etc/app",
                    "/srv/app",
                    "/etc/app.ini",
                    "/etc/systemd/system/app.service"
                ]),
                select(&["", "[t]\nb = x\n", "K=1\n"])
            )
                .prop_map(|(path, text)| Hand::File(path, text)),
            select(&["/etc/app", "/srv/app"]).prop_map(Hand::Directory),
            select(&["/etc/app", "/srv/app"]).prop_map(Hand::Link),
            Just(Hand::Keys),
            any::<bool>().prop_map(Hand::Unit),
        ],
        0..3,
    )
}

#[derive(Debug, Clone)]
enum Hand {
    Nothing,
    File(&'static str, &'static str),
    Directory(&'static str),
    Link(&'static str),
    /// Keys of somebody else, in the home of `ops`.
    Keys,
    /// A start, or a stop, of both units.
    Unit(bool),
}

/// A host on which a package brought a unit, an account is there, and hands were at work.
fn prepared(hands: &[Hand]) -> Host {
    let mut host = Host::new();
    host.units.insert("vendor.service".into(), host::Unit::default());
    let account = json!({ "name": "ops", "home": "/home/ops", "group": "users" });
    let spec = Spec::decode("account", &account).expect("a spec");
    perform(
        &mut host,
        &ops(
            &spec,
            Action::Create,
            &Observed::Absent,
            &[],
            &Context {
                known: &Known::default(),
                owned: None,
                consumed: None,
            },
        ),
    );
    for hand in hands {
        let (owner, group, mode) = ("root".to_owned(), "root".to_owned(), "0644".to_owned());
        let write = |path: &str, text: &str| Op::WriteFile {
            path: path.to_owned(),
            body: muster::model::body::Body::text(text),
            owner: owner.clone(),
            group: group.clone(),
            mode: mode.clone(),
            validate: None,
        };
        let ops = match hand {
            Hand::Nothing => vec![],
            Hand::File(path, text) => vec![write(path, text)],
            Hand::Directory(path) => {
                vec![Op::MakeDirectory {
                    path: (*path).to_owned(),
                    owner: owner.clone(),
                    group: group.clone(),
                    mode: mode.clone(),
                }]
            }
            Hand::Link(path) => vec![Op::Link {
                path: (*path).to_owned(),
                to: "/c".into(),
            }],
            Hand::Keys => vec![
                Op::MakeDirectory {
                    path: "/home/ops/.ssh".into(),
                    owner: owner.clone(),
                    group: group.clone(),
                    mode: mode.clone(),
                },
                write(
                    "/home/ops/.ssh/authorized_keys",
                    "# theirs\nssh-rsa AAAAz z\nssh-rsa AAAAa a",
                ),
            ],
            Hand::Unit(active) => {
                host.clock += 5;
                let clock = host.clock;
                host.units.values_mut().for_each(|unit| {
                    unit.active = *active;
                    unit.starts += 1;
                    unit.since = clock;
                });
                vec![]
            }
        };
        // A hand that finds its place taken gives up.
        ops.iter().for_each(|op| drop(host.perform(op)));
    }
    host.begin();
    host
}

fn perform(host: &mut Host, ops: &[Op]) {
    ops.iter()
        .for_each(|op| host.perform(op).unwrap_or_else(|why| panic!("{op:?}: {why}")));
}

fn look(host: &Host, spec: &Spec) -> Observed<Actual> {
    spec.read(
        &spec
            .probes()
            .iter()
            .map(|probe| host.look(probe))
            .collect::<Vec<_>>(),
    )
}

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
    if action != Action::Replace {
        return spec.ops(&Step {
            action,
            before,
            fields,
            context: *context,
        });
    }
    let mut ops = spec.ops(&Step {
        action: Action::Delete,
        before,
        fields: &[],
        context: *context,
    });
    ops.extend(spec.ops(&Step {
        action: Action::Create,
        before: &Observed::Absent,
        fields: &[],
        context: *context,
    }));
    ops
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
    host.begin();
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
        if !["command", "settings", "sysctl", "package"].contains(&spec.info().name) && was == Observed::Absent {
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
