//! Values: which layer gives an input its value, and what is wrong with those that do not fit.

use std::collections::{BTreeMap, BTreeSet};

use muster::load::{self, Overrides};
use muster::model::diagnostic::Diagnostics;
use muster::model::id::ModuleName;
use muster::model::inventory::Inventory;
use muster::model::module::Module;
use muster::model::value::Value;
use muster::plan::values::{Resolved, resolve};

const APP: &str = r#"
[module]
name = "app"
needs = ["base"]
[inputs.port]
type = "port"
default = 1
doc = "Where it listens."
[inputs.domain]
type = "string"
optional = true
[inputs.peer]
type = "host"
optional = true
[inputs.password]
type = "secret"
optional = true
[inputs.limits]
type = "map"
item = "int"
default = {}
"#;

const STRICT: &str = "[module]\nname = 'strict'\n[inputs.must]\ntype = 'size'\ndoc = 'What you know.'\n";

const BASE: &str = "[module]\nname = 'base'\n";

const HOSTS: &str = "[fleet]\nname = 'f'\n[hosts.a]\naddress = 'a'\n[hosts.b]\naddress = 'b'\n";

/// An inventory and modules, loaded without mistakes.
struct Given {
    inventory: Inventory,
    modules: BTreeMap<ModuleName, Module>,
}

impl Given {
    fn new(rest: &str, vars: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("app", APP), ("base", BASE), ("strict", STRICT)] {
            std::fs::create_dir_all(folder.path().join("modules").join(name)).unwrap();
            std::fs::write(folder.path().join("modules").join(name).join("module.toml"), text).unwrap();
        }
        std::fs::write(folder.path().join("f.toml"), format!("{HOSTS}{rest}")).unwrap();
        let modules = load::modules(&folder.path().join("modules"), &["file"]);
        assert!(modules.diagnostics.is_empty(), "{:?}", modules.diagnostics);
        let modules = modules.value.unwrap();
        let names: BTreeSet<ModuleName> = modules.keys().cloned().collect();
        let vars = vars
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let overrides = Overrides {
            vars,
            ..Overrides::default()
        };
        let inventory = load::inventory(&folder.path().join("f.toml"), &names, &overrides);
        assert!(!inventory.diagnostics.has_errors(), "{:?}", inventory.diagnostics);
        Self {
            inventory: inventory.value.unwrap(),
            modules,
        }
    }

    fn resolve(&self) -> (Resolved<'_>, Diagnostics) {
        let mut diagnostics = Diagnostics::default();
        let resolved = resolve(&self.inventory, &self.modules, &mut diagnostics);
        (resolved, diagnostics)
    }
}

/// Returns a value of `app` on a host, and what each layer said, the winner marked.
fn value(rest: &str, vars: &[(&str, &str)], host: &str, input: &str) -> (Value, Vec<String>) {
    let given = Given::new(&format!("{rest}\n{USE_APP}"), vars);
    let (resolved, diagnostics) = given.resolve();
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let inputs = resolved
        .of(&host.parse().unwrap(), &"app".parse().unwrap())
        .unwrap();
    let valued = &inputs[input];
    let mark = |won: bool| if won { "→" } else { "" };
    let layers = valued
        .layers
        .iter()
        .map(|said| format!("{}{} {}", mark(said.won), said.layer, said.shown()));
    ((*valued.value).clone(), layers.collect())
}

/// Returns the codes and messages of what is wrong.
fn wrong(rest: &str, vars: &[(&str, &str)]) -> Vec<String> {
    let given = Given::new(rest, vars);
    let (_, diagnostics) = given.resolve();
    diagnostics
        .sorted()
        .iter()
        .map(|found| format!("{} {}", found.code, found.message))
        .collect()
}

const USE_APP: &str = "[[use]]\nmodule = 'app'\non = 'all'\n[[use]]\nmodule = 'base'\non = 'all'\n";

#[test]
fn each_layer_wins_over_the_one_below() {
    let layers = [
        "",
        "[values]\nport = 2\n",
        "[values]\nport = 2\n[groups.g]\nhosts = ['a']\nvalues = { port = 3 }\n",
        "[values]\nport = 2\n[groups.g]\nhosts = ['a']\nvalues = { port = 3 }\n[hosts.a.values]\nport = 4\n",
    ];
    for (index, rest) in layers.iter().enumerate() {
        // The host's table comes first, so that TOML lets its values follow.
        assert_eq!(
            value(rest, &[], "a", "port").0,
            Value::Int(index as i64 + 1),
            "{rest}"
        );
    }
    let (held, said) = value(layers[3], &[("port", "5")], "a", "port");
    assert_eq!(held, Value::Int(5));
    assert_eq!(
        said,
        [
            "module default 1",
            "fleet 2",
            "group g 3",
            "host 4",
            "→--var \"5\""
        ]
    );
    assert_eq!(
        value(layers[3], &[], "b", "port").0,
        Value::Int(2),
        "groups and hosts reach only their own"
    );
}

#[test]
fn what_is_meant_for_one_module_wins_within_its_layer_only() {
    assert_eq!(
        value("[values]\nport = 2\n[values.app]\nport = 3\n", &[], "a", "port").0,
        Value::Int(3)
    );
    let rest = "[values.app]\nport = 3\n[hosts.a.values]\nport = 4\n";
    assert_eq!(value(rest, &[], "a", "port").0, Value::Int(4));
    assert_eq!(
        value("", &[("port", "5"), ("app.port", "6")], "a", "port").0,
        Value::Int(6)
    );
}

#[test]
fn of_two_groups_the_one_that_means_the_module_wins_whatever_their_names() {
    for (scoped, plain) in [("g", "h"), ("h", "g")] {
        let group = |name: &str, key: &str, port: u16| {
            format!("[groups.{name}]\nhosts = ['a']\nvalues = {{ {key} = {port} }}\n")
        };
        let rest = group(scoped, "app.port", 3) + &group(plain, "port", 4);
        assert_eq!(value(&rest, &[], "a", "port").0, Value::Int(3), "{rest}");
    }
}

#[test]
fn a_table_that_is_no_modules_is_a_value_itself() {
    let (held, _) = value("[values.limits]\nx = 1\n", &[], "a", "limits");
    assert_eq!(
        held,
        Value::Map(BTreeMap::from([("x".to_owned(), Value::Int(1))]))
    );
}

#[test]
fn what_nobody_sets_is_none_where_it_may_be_left_out() {
    assert_eq!(value("", &[], "a", "domain"), (Value::None, Vec::new()));
}

#[test]
fn text_of_the_command_line_is_read_by_the_type_of_its_input() {
    assert_eq!(
        value("", &[("domain", "5")], "a", "domain").0,
        Value::Text("5".into())
    );
    assert_eq!(
        value("", &[("domain", "\"5\"")], "a", "domain").0,
        Value::Text("5".into())
    );
    let limits = value("", &[("limits", "{ x = 1 }")], "a", "limits").0;
    assert_eq!(
        limits,
        Value::Map(BTreeMap::from([("x".to_owned(), Value::Int(1))]))
    );
    let wrong = wrong(USE_APP, &[("port", "x")]);
    assert_eq!(
        wrong,
        ["M0302 value `port` of module `app`: `\"x\"` is not a port (1 to 65535)"]
    );
}

#[test]
fn groups_that_contradict_each_other_are_both_named() {
    let groups = |rest: &str| {
        format!(
            "{USE_APP}[groups.g]\nhosts = ['a', 'b']\nvalues = {{ port = 3 }}\n[groups.h]\nhosts = ['a']\nvalues = {{ port = 4 }}\n{rest}"
        )
    };
    let found = wrong(&groups(""), &[]);
    assert_eq!(found, ["M0110 groups `g` and `h` set `port` differently for `a`"]);
    assert_eq!(
        wrong(&groups("[hosts.a.values]\nport = 1\n"), &[]),
        [""; 0],
        "the host decides"
    );
    assert_eq!(
        wrong(&groups(""), &[("port", "1")]),
        [""; 0],
        "the command line decides"
    );
    assert_eq!(
        wrong(&groups("").replace("4", "3"), &[]),
        [""; 0],
        "equal values do not contradict"
    );
}

#[test]
fn what_must_be_set_and_is_not_is_named_once_with_its_hosts() {
    let rest = "[[use]]\nmodule = 'strict'\non = 'all'\n";
    assert_eq!(
        wrong(rest, &[]),
        ["M0301 input `must` of module `strict` has no value on `a`, `b`"]
    );
    let given = Given::new(rest, &[]);
    let (_, diagnostics) = given.resolve();
    let found = diagnostics.iter().next().unwrap();
    assert_eq!(
        found.place.as_ref().unwrap().place.line,
        7,
        "the caret is at [[use]]"
    );
    assert!(found.hint.as_ref().unwrap().contains("What you know."));
}

#[test]
fn what_does_not_fit_is_named_at_its_line_however_many_hosts_it_reaches() {
    let found = wrong(&format!("{USE_APP}[values]\nport = 0\n"), &[]);
    assert_eq!(
        found,
        ["M0302 value `port` of module `app`: `0` is not a port (1 to 65535)"]
    );
    let overridden = wrong(
        &format!("{USE_APP}[values]\nport = 0\n[hosts.a.values]\nport = 1\n"),
        &[],
    );
    assert_eq!(overridden.len(), 1, "also where a higher layer decides");
}

#[test]
fn hosts_that_do_not_exist_are_named() {
    assert_eq!(wrong(&format!("{USE_APP}[values]\npeer = 'b'\n"), &[]), [""; 0]);
    let found = wrong(&format!("{USE_APP}[values]\npeer = 'c'\n"), &[]);
    assert_eq!(
        found,
        ["M0106 value `peer` of module `app`: there is no host `c`"]
    );
}

#[test]
fn a_secret_in_place_of_its_source_is_refused_and_never_repeated() {
    let rest = format!("{USE_APP}[values]\npassword = 'hunter2'\n");
    let given = Given::new(&rest, &[]);
    let (resolved, diagnostics) = given.resolve();
    let found = diagnostics.iter().next().unwrap();
    assert_eq!(found.code.to_string(), "M0702");
    assert!(!format!("{diagnostics:?}").contains("hunter2"));
    assert!(
        !resolved
            .of(&"a".parse().unwrap(), &"app".parse().unwrap())
            .unwrap()
            .contains_key("password")
    );
    let (held, said) = value("[values]\npassword = 'env:X'\n", &[], "a", "password");
    assert!(matches!(held, Value::Secret(_)));
    assert_eq!(said, ["→fleet env:X"]);
}

#[test]
fn values_that_nobody_takes_are_named_with_a_suggestion() {
    let rest = format!(
        "{USE_APP}[values]\nprot = 1\nmust = '1'\n[values.strict]\nmust = '1'\nmist = 1\n[hosts.a.values]\napp.prot = 1\n[hosts.b.values]\naap = {{ x = 1 }}\n"
    );
    assert_eq!(
        wrong(&rest, &[("nope", "1")]),
        [
            "M0303 no module takes the value `nope`",
            "M0303 no module takes the value `prot`",
            "M0303 value `must` is taken by module `strict`, which is used on no host that this reaches",
            "M0303 value `strict.must` is taken by module `strict`, which is used on no host that this reaches",
            "M0303 no module takes the value `strict.mist`",
            "M0303 no module takes the value `app.prot`",
            "M0303 no module takes the value `aap`",
        ]
    );
    let given = Given::new(&rest, &[]);
    let (_, diagnostics) = given.resolve();
    let hints: Vec<&str> = diagnostics
        .sorted()
        .iter()
        .filter_map(|found| found.hint.as_deref())
        .collect();
    assert!(
        hints.contains(&"did you mean `port`?") && hints.contains(&"did you mean `app`?"),
        "{hints:?}"
    );
    assert!(hints.contains(&"did you mean `must`?"), "{hints:?}");
}

#[test]
fn a_module_without_one_that_it_needs_is_named_with_its_hosts() {
    let rest = "[[use]]\nmodule = 'app'\non = 'all'\n[[use]]\nmodule = 'base'\non = 'a'\n";
    assert_eq!(
        wrong(rest, &[]),
        ["M0314 module `app` needs `base`, which is not used on `b`"]
    );
}

#[test]
fn lines_of_secrets_that_nobody_takes_are_named_and_not_shown() {
    let conflict = "[groups.g]\nhosts = ['a']\nvalues = { password = 'one' }\n[groups.h]\nhosts = ['a']\nvalues = { password = 'two' }\n";
    for rest in [
        "[values.app]\npassword = 'env:A'\n".to_owned(),
        format!("{USE_APP}{conflict}"),
    ] {
        let given = Given::new(&rest, &[]);
        let (_, diagnostics) = given.resolve();
        let others = diagnostics
            .iter()
            .filter(|found| found.code.to_string() != "M0702");
        let places: Vec<bool> = others.map(|found| found.place.is_none()).collect();
        assert_eq!(places, [true], "{diagnostics:?}");
    }
}
