//! Merging: a later file over an earlier one. Mappings are merged, lists appended, commands replaced, and what is
//! unique by a key of its own (ports, mounts, secrets, configs) is replaced under that key.

use super::mount;
use super::node::{Entry, Node, Scalar, Tag, Value};
use super::port;

/// How values of a place are merged.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// Mappings by key, lists appended, everything else replaced.
    Usual,
    /// The later takes the place of the earlier.
    Replace,
    /// `KEY=value` lists are mappings.
    Pairs,
    /// Lists of names are mappings.
    Names,
    /// A single value is a list of one; appended without what is there already.
    List,
    /// As a list, of `name:address`; a mapping of names to addresses is one too.
    Hosts,
    /// A list in which each item has a key.
    Unique(fn(&Node) -> Option<String>),
}

/// Puts a later tree over an earlier one.
pub(super) fn merge(base: Node, over: Node) -> Node {
    let mut path = Vec::new();
    merge_at(base, over, &mut path)
}

/// Puts a tree into the form that later files are merged into, and drops what it resets.
pub(super) fn alone(node: Node) -> Node {
    merge(Node::new(Value::Map(Vec::new()), node.at), node)
}

fn way(path: &[String]) -> Way {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path[..] {
        ["services", _, "command" | "entrypoint"] | ["services", _, "healthcheck", "test"] => Way::Replace,
        ["services", _, "environment" | "labels" | "sysctls"] | ["networks" | "volumes", _, "labels"] => {
            Way::Pairs
        }
        // A variable that is named without a value is taken from outside, whatever an earlier file set.
        ["services", _, "environment", _] => Way::Replace,
        ["services", _, "extra_hosts"] => Way::Hosts,
        ["services", _, "depends_on" | "networks"] => Way::Names,
        ["services", _, "ports"] => Way::Unique(port::key),
        ["services", _, "volumes"] => Way::Unique(mount::key),
        ["services", _, "devices"] => Way::Unique(mount::device_key),
        ["services", _, "secrets" | "configs"] => Way::Unique(mount::grant_key),
        [
            "services",
            _,
            "dns"
            | "dns_search"
            | "dns_opt"
            | "tmpfs"
            | "env_file"
            | "expose"
            | "cap_add"
            | "cap_drop"
            | "security_opt"
            | "group_add"
            | "profiles"
            | "device_cgroup_rules",
        ]
        | ["services", _, "networks", _, "aliases"]
        | ["services", _, "x-muster", "public_env"] => Way::List,
        _ => Way::Usual,
    }
}

fn merge_at(base: Node, over: Node, path: &mut Vec<String>) -> Node {
    if over.tag == Some(Tag::Override) {
        let bare = Node { tag: None, ..over };
        let empty = Node::null(bare.at);
        return merge_at(empty, bare, path);
    }
    let way = way(path);
    let is_replaced = matches!(way, Way::Replace);
    let (base, over) = (canonical(base, way), canonical(over, way));
    let (base_at, at) = (base.at, over.at);
    match (base.value, over.value) {
        (Value::Map(base), Value::Map(over)) if !is_replaced => {
            Node::new(Value::Map(maps(base, over, path)), at)
        }
        (Value::Null, Value::Map(over)) => Node::new(Value::Map(maps(Vec::new(), over, path)), at),
        (Value::List(base), Value::List(over)) if !is_replaced => {
            Node::new(Value::List(lists(base, over, way)), at)
        }
        (Value::Null, Value::List(over)) => Node::new(Value::List(lists(Vec::new(), over, way)), at),
        // Nothing said later takes nothing away; `!reset` does.
        (base, Value::Null) if !is_replaced => Node::new(base, base_at),
        (_, over) => Node::new(over, at),
    }
}

fn maps(mut base: Vec<Entry>, over: Vec<Entry>, path: &mut Vec<String>) -> Vec<Entry> {
    for entry in over {
        let at = base.iter().position(|own| own.key == entry.key);
        if entry.value.tag == Some(Tag::Reset) {
            at.map(|at| base.remove(at));
            continue;
        }
        path.push(entry.key.clone());
        match at {
            Some(at) => {
                let own = std::mem::replace(&mut base[at].value, Node::null(entry.key_at));
                // An entry with two drivers' options would suit neither.
                let own = if is_other_driver(path, &own, &entry.value) {
                    Node::null(own.at)
                } else {
                    own
                };
                base[at].value = merge_at(own, entry.value, path);
                base[at].key_at = entry.key_at;
            }
            None => {
                let value = merge_at(Node::null(entry.value.at), entry.value, path);
                base.push(Entry { value, ..entry });
            }
        }
        path.pop();
    }
    base
}

fn is_other_driver(path: &[String], base: &Node, over: &Node) -> bool {
    let driver = |node: &Node| node.get("driver").and_then(Node::as_text).map(str::to_owned);
    path.last().is_some_and(|key| key == "logging")
        && path.len() == 3
        && matches!((driver(base), driver(over)), (Some(base), Some(over)) if base != over)
}

/// Lays a list over another. What one file says twice stays twice, to be named as a mistake.
fn lists(mut base: Vec<Node>, over: Vec<Node>, way: Way) -> Vec<Node> {
    let earlier = base.len();
    for item in over {
        let mut of_earlier = base[..earlier].iter();
        let there = match way {
            Way::Unique(key) => {
                key(&item).and_then(|name| of_earlier.position(|own| key(own).as_deref() == Some(&name)))
            }
            Way::List | Way::Hosts => {
                of_earlier.position(|own| own.as_text().is_some() && own.as_text() == item.as_text())
            }
            Way::Usual | Way::Replace | Way::Pairs | Way::Names => None,
        };
        match there {
            Some(at) => {
                let own = base.remove(at);
                base.insert(at, unite(own, item));
            }
            None => base.push(item),
        }
    }
    base
}

/// Merges two long forms; a short one takes the other's place.
fn unite(base: Node, over: Node) -> Node {
    match (&base.value, &over.value) {
        (Value::Map(_), Value::Map(_)) => merge_at(base, over, &mut vec![String::new()]),
        _ => over,
    }
}

/// Brings short forms into the one form that is merged.
fn canonical(node: Node, way: Way) -> Node {
    let at = node.at;
    match (way, node.value) {
        (Way::Pairs, Value::List(items)) if items.iter().all(|item| item.as_text().is_some()) => {
            Node::new(Value::Map(last_wins(items.into_iter().map(pair))), at)
        }
        (Way::Names, Value::List(items)) if items.iter().all(|item| item.as_text().is_some()) => {
            let entry = |item: Node| Entry {
                key: item.as_text().unwrap_or_default().to_owned(),
                key_at: item.at,
                value: Node::null(item.at),
            };
            Node::new(Value::Map(last_wins(items.into_iter().map(entry))), at)
        }
        (Way::List, Value::Scalar(scalar)) => {
            Node::new(Value::List(vec![Node::new(Value::Scalar(scalar), at)]), at)
        }
        (Way::Hosts, Value::Map(entries)) => {
            Node::new(Value::List(entries.into_iter().flat_map(hosts).collect()), at)
        }
        (_, value) => Node {
            value,
            at,
            tag: node.tag,
        },
    }
}

/// Splits `KEY=value`; `KEY` alone has no value.
fn pair(item: Node) -> Entry {
    let at = item.at;
    let text = item.as_text().unwrap_or_default();
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (
            key.to_owned(),
            Node::new(
                Value::Scalar(Scalar {
                    text: value.to_owned(),
                    is_plain: false,
                }),
                at,
            ),
        ),
        None => (text.to_owned(), Node::null(at)),
    };
    Entry {
        key,
        key_at: at,
        value,
    }
}

/// Writes `name: address` and `name: [address, …]` as lines; what is neither stays, to be named as a mistake later.
fn hosts(entry: Entry) -> Vec<Node> {
    let line = |address: &Node| match address.as_text() {
        Some(text) => Node::text(format!("{}:{text}", entry.key), address.at),
        None => address.clone(),
    };
    match &entry.value.value {
        Value::List(items) => items.iter().map(line).collect(),
        Value::Null | Value::Scalar(_) | Value::Map(_) => vec![line(&entry.value)],
    }
}

fn last_wins(entries: impl Iterator<Item = Entry>) -> Vec<Entry> {
    let mut out: Vec<Entry> = Vec::new();
    for entry in entries {
        match out.iter_mut().find(|own| own.key == entry.key) {
            Some(own) => *own = entry,
            None => out.push(entry),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::source::{At, Texts};
    use super::super::{SourceFile, yaml};
    use super::*;
    use crate::model::body::Body;

    fn parse(text: &str) -> Node {
        let mut texts = Texts::default();
        let opened = texts.open(&SourceFile {
            path: "compose.yml".to_owned(),
            body: Body::text(text),
        });
        yaml::parse(&mut texts, &opened).expect("it is YAML")
    }

    /// Takes places away, so that trees of several files can be compared.
    fn bare(node: &Node) -> Node {
        let at = At::default();
        let value = match &node.value {
            Value::Null => Value::Null,
            Value::Scalar(scalar) => Value::Scalar(scalar.clone()),
            Value::List(items) => Value::List(items.iter().map(bare).collect()),
            Value::Map(entries) => Value::Map(
                entries
                    .iter()
                    .map(|entry| Entry {
                        key: entry.key.clone(),
                        key_at: at,
                        value: bare(&entry.value),
                    })
                    .collect(),
            ),
        };
        Node::new(value, at)
    }

    fn merged(files: &[&str]) -> Node {
        let mut trees = files.iter().map(|text| parse(text));
        let first = trees.next().expect("there is a file");
        bare(&trees.fold(alone(first), merge))
    }

    fn app(body: &str) -> String {
        format!("services:\n  app:\n    {}\n", body.replace('\n', "\n    "))
    }

    #[test]
    fn the_specifications_examples_come_out_as_it_says() {
        let cases = [
            ("dns: [1.1.1.1]", "dns: [8.8.8.8]", "dns: [1.1.1.1, 8.8.8.8]"),
            (
                "command: [echo, foo]",
                "command: [echo, bar]",
                "command: [echo, bar]",
            ),
            (
                "volumes: [\"foo:/work\"]",
                "volumes: [\"bar:/work\"]",
                "volumes: [\"bar:/work\"]",
            ),
            (
                "ports: [\"8080:80\"]\nenvironment: {FOO: BAR}",
                "ports: !reset []\nenvironment: {FOO: !reset null}",
                "environment: {}",
            ),
            (
                "ports: [\"8080:80\"]",
                "ports: !override [\"8443:443\"]",
                "ports: [\"8443:443\"]",
            ),
            (
                "environment: {A: a, B: b}",
                "environment: [\"B=c\"]",
                "environment: [\"A=a\", \"B=c\"]",
            ),
            ("dns: 1.1.1.1", "dns: 8.8.8.8", "dns: [1.1.1.1, 8.8.8.8]"),
            (
                "depends_on: [a]",
                "depends_on: {b: {condition: service_healthy}}",
                "depends_on: {a: , b: {condition: service_healthy}}",
            ),
            (
                "logging: {driver: a, options: {x: y}}",
                "logging: {driver: b}",
                "logging: {driver: b}",
            ),
            (
                "ports: [{target: 80, published: 1}]",
                "ports: [{target: 80, published: 1, mode: host}]",
                "ports: [{target: 80, published: 1, mode: host}]",
            ),
        ];
        for (base, over, must) in cases {
            let text = |node: Node| format!("{node:?}").replace("is_plain: true", "is_plain: false");
            assert_eq!(
                text(merged(&[&app(base), &app(over)])),
                text(merged(&[&app(must)])),
                "{base} / {over}"
            );
        }
    }

    /// Draws a part of a service in which no list has one thing twice.
    fn part() -> impl Strategy<Value = String> {
        let pairs = proptest::collection::btree_map("[A-C]", "[a-c]", 0..3);
        let names = proptest::collection::btree_set("[a-d]", 0..3);
        let ports = proptest::collection::btree_set(8080u16..8083, 0..3);
        (
            pairs,
            names,
            ports,
            proptest::option::of("[a-c]"),
            proptest::bool::ANY,
        )
            .prop_map(|(pairs, names, ports, command, is_list)| {
                let listed = |items: Vec<String>| format!("[{}]", items.join(", "));
                let mut lines = Vec::new();
                lines.push(match is_list {
                    true => format!(
                        "environment: {}",
                        listed(
                            pairs
                                .iter()
                                .map(|(key, value)| format!("\"{key}={value}\""))
                                .collect()
                        )
                    ),
                    false => format!(
                        "environment: {{{}}}",
                        pairs
                            .iter()
                            .map(|(key, value)| format!("{key}: {value}"))
                            .collect::<Vec<_>>()
                            .join(", ")
                    ),
                });
                lines.push(format!("cap_add: {}", listed(names.iter().cloned().collect())));
                lines.push(format!(
                    "volumes: {}",
                    listed(names.iter().map(|name| format!("\"{name}:/{name}\"")).collect())
                ));
                lines.push(format!(
                    "ports: {}",
                    listed(ports.iter().map(|port| format!("\"{port}:80\"")).collect())
                ));
                lines.push(format!(
                    "labels: {{{}}}",
                    names
                        .iter()
                        .map(|name| format!("{name}: x"))
                        .collect::<Vec<_>>()
                        .join(", ")
                ));
                lines.extend(command.map(|command| format!("command: [{command}]")));
                app(&lines.join("\n"))
            })
    }

    proptest! {
        #[test]
        fn files_may_be_merged_from_either_side(a in part(), b in part(), c in part()) {
            let (a, b, c) = (alone(parse(&a)), alone(parse(&b)), alone(parse(&c)));
            let left = merge(merge(a.clone(), b.clone()), c.clone());
            let right = merge(a, merge(b, c));
            prop_assert_eq!(bare(&left), bare(&right));
        }

        #[test]
        fn a_file_over_itself_says_nothing_new(a in part()) {
            prop_assert_eq!(merged(&[&a, &a]), merged(&[&a]));
        }
    }
}
