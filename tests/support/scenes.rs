//! Generated specs of every kind, and hosts in memory on which hands were at work. For the laws.

use crate::host::{self, Host};
use muster::model::change::Action;
use muster::model::engine::EngineOp;
use muster::model::inspected::Effect;
use muster::model::known::Known;
use muster::model::observation::Observed;
use muster::model::op::Op;
use muster::resource::{Actual, Context, Spec, Step};
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
pub fn spec_of(kind: &str) -> BoxedStrategy<Value> {
    match kind {
        "file" => (body(), attributes(), any::<bool>())
            .prop_map(|(content, attributes, sensitive)| {
                joined(json!({ "path": "/etc/app", "content": content, "sensitive": sensitive }), attributes)
            })
            .boxed(),
        "directory" => attributes().prop_map(|attributes| joined(json!({ "path": "/srv/app" }), attributes)).boxed(),
        "symlink" => select(&["/a", "/b"]).prop_map(|to| json!({ "path": "/etc/app", "to": to })).boxed(),
        // Not the name of an account: the primary group of an account that stays cannot go.
        "group" => prop::option::of(900..903).prop_map(|gid| joined(json!({ "name": "team" }), json!({ "gid": gid }))).boxed(),
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
                    // systemd enables only what says where it belongs.
                    other => {
                        let pieces = other.as_array().cloned().unwrap_or_default();
                        std::iter::once(json!({ "text": "[Install]\n" })).chain(pieces).collect()
                    }
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
        "container_run" => (any::<bool>(), select(&["1m", "5m"]))
            .prop_map(|(has_output, within)| {
                let outputs = if has_output { json!({ "out": "[a-z]+" }) } else { json!({}) };
                let env = json!({ "PASS": [{ "secret": "plain|env:PASS" }] });
                let said = json!({ "name": "app", "image": "base:1", "command": ["make", "it"], "within": within });
                joined(said, json!({ "probe": "did container app", "environment": env, "outputs": outputs }))
            })
            .boxed(),
        "authorized_keys" => {
            let line = select(&["ssh-rsa AAAAa a", "ssh-rsa AAAAb b", "restrict ssh-rsa AAAAa a"]).prop_map(str::to_owned);
            (prop::collection::btree_set(line, 1..3), any::<bool>())
                .prop_map(|(keys, exclusive)| json!({ "user": "ops", "keys": keys, "exclusive": exclusive }))
                .boxed()
        }
        "image" => maybe(&["linux/amd64"]).prop_map(|platform| joined(json!({ "name": "app:1" }), json!({ "platform": platform }))).boxed(),
        "network" => (any::<bool>(), maybe(&["172.30.0.0/24", "172.31.0.0/24"]), maybe(&["ops"]))
            .prop_map(|(internal, subnet, team)| {
                let subnets = subnet.map(|subnet| json!([{ "subnet": subnet }]));
                let labels = team.map(|team| json!({ "team": team }));
                joined(json!({ "name": "app_net", "internal": internal }), json!({ "subnets": subnets, "labels": labels }))
            })
            .boxed(),
        "volume" => maybe(&["/srv/a", "/srv/b"])
            .prop_map(|device| {
                let options = device.map(|device| json!({ "type": "none", "o": "bind", "device": device }));
                joined(json!({ "name": "app_data" }), json!({ "driver_opts": options }))
            })
            .boxed(),
        "container" => container().boxed(),
        other => panic!("the kind `{other}` has no generator"),
    }
}

fn container() -> impl Strategy<Value = Value> {
    let command = prop::option::of(select(&["run", "walk"]).prop_map(|word| json!([word])));
    let restart = select(&["no", "always"]);
    let limit = prop::option::of(select(&[64u64 << 20, 128 << 20]));
    let env = (body(), body(), any::<bool>());
    (
        select(&["base:1", "base:2"]),
        command,
        restart,
        limit,
        env,
        any::<bool>(),
    )
        .prop_map(
            |(image, command, restart, limit, (open, shut, has_secret), sees)| {
                let limits = limit.map(|bytes| json!({ "memory_bytes": bytes }));
                let secret = has_secret.then(|| json!([{ "secret": "plain|env:PASS" }]));
                let mounted = sees.then(|| json!({ "/etc/app": "0f" }));
                let settings = joined(
                    json!({ "restart": restart }),
                    json!({ "command": command, "limits": limits }),
                );
                let environment = joined(json!({ "OPEN": open, "SHUT": shut }), json!({ "PASS": secret }));
                let spec = json!({
                    "project": "app", "service": "web", "number": 1, "name": "app-web-1", "image": image,
                    "environment": environment, "public_env": ["OPEN"], "settings": settings,
                });
                json!({ "spec": joined(spec, json!({ "mounted": mounted })), "within_secs": 30 })
            },
        )
}

/// What may be there before: nothing, or something that a hand made.
pub fn hand_made() -> impl Strategy<Value = Vec<Hand>> {
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
            select(&["base:1", "base:2"]).prop_map(Hand::Container),
        ],
        0..3,
    )
}

#[derive(Debug, Clone)]
pub enum Hand {
    Nothing,
    File(&'static str, &'static str),
    Directory(&'static str),
    Link(&'static str),
    /// Keys of somebody else, in the home of `ops`.
    Keys,
    /// A start, or a stop, of both units.
    Unit(bool),
    /// A container of this image, with a password in its environment that nobody knows of.
    Container(&'static str),
}

/// A host on which a package brought a unit, an account is there, and hands were at work.
pub fn prepared(hands: &[Hand]) -> Host {
    let mut host = Host::new();
    host.salt = Some(host::SALT.to_vec());
    host.bring_unit("vendor.service");
    host.engine.images.extend(["base:1", "base:2"].map(str::to_owned));
    let account = json!({ "name": "ops", "home": "/home/ops", "group": "users" });
    let spec = Spec::decode("account", &account).expect("a spec");
    let known = Known::default();
    let context = Context {
        known: &known,
        owned: None,
        consumed: None,
    };
    let step = Step {
        action: Action::Create,
        before: &Observed::Absent,
        fields: &[],
        context,
    };
    perform(&mut host, &spec.ops(&step));
    lay(&mut host, hands);
    host.begin("later");
    host
}

/// Lets hands do their work on a host.
pub fn lay(host: &mut Host, hands: &[Hand]) {
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
            Hand::Container(image) => {
                let spec = json!({
                    "project": "", "service": "", "number": 1, "name": "app-web-1", "image": image,
                    "environment": { "OPEN": "by hand", "OLD": crate::host::SECRET }, "settings": {},
                });
                vec![Op::Engine(EngineOp::Container {
                    spec: Box::new(serde_json::from_value(spec).expect("a container")),
                    effect: Effect::Recreate,
                    within_secs: 30,
                })]
            }
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
        ops.iter().for_each(|op| drop(host.perform(op, &host::secrets())));
    }
}

/// Performs ops that must not fail.
pub fn perform(host: &mut Host, ops: &[Op]) {
    let secrets = host::secrets();
    for op in ops {
        // Every op has a second of its own, so that what was started before and after can be told.
        host.clock += 1;
        host.perform(op, &secrets)
            .unwrap_or_else(|why| panic!("{op:?}: {why}"));
    }
}

/// Returns what is there.
pub fn look(host: &Host, spec: &Spec) -> Observed<Actual> {
    spec.read(
        &spec
            .probes()
            .iter()
            .map(|probe| host.look(probe))
            .collect::<Vec<_>>(),
    )
}
