//! Two modules that declare keys of one file.

use std::collections::BTreeMap;

use muster::load;
use muster::model::id::ModuleName;
use muster::model::module::Module;
use muster::resource::Spec;

use super::render::{Rendered, render};

fn declared(first: &str, second: &str) -> Rendered {
    let folder = tempfile::tempdir().expect("there is room");
    for (name, keys) in [("first", first), ("second", second)] {
        let module = folder.path().join("modules").join(name);
        std::fs::create_dir_all(&module).expect("there is room");
        let text =
            format!("[module]\nname = '{name}'\n[[settings]]\npath = '/etc/app.json'\nkeys = {keys}\n");
        std::fs::write(module.join("module.toml"), text).expect("there is room");
    }
    let inventory = folder.path().join("fleet.toml");
    let text = "[fleet]\nname = 'f'\n[hosts.h]\naddress = 'h'\n[[use]]\nmodule = 'first'\non = 'all'\n[[use]]\nmodule = 'second'\non = 'all'\n";
    std::fs::write(&inventory, text).expect("there is room");
    let loaded = load::modules(&folder.path().join("modules"), &["settings"]);
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    let modules: BTreeMap<ModuleName, Module> = loaded.value.expect("there are modules");
    render(&inventory, &modules, None)
}

#[test]
fn two_modules_may_own_keys_of_one_file() {
    let rendered = declared("{ 'a.one' = 1, both = true }", "{ 'a.two' = 2, both = true }");
    assert_eq!(rendered.errors().count(), 0, "{:?}", rendered.diagnostics);
    let host = "h".parse().expect("a host");
    let entries: Vec<_> = rendered.entries(&host).collect();
    let [(key, entry)] = entries.as_slice() else {
        panic!("one resource, not {}", entries.len());
    };
    assert_eq!(key, "settings[/etc/app.json]");
    let Spec::Settings(settings) = &entry.spec else {
        panic!("{key} is of another kind");
    };
    let keys: Vec<&String> = settings.keys.keys().collect();
    assert_eq!(keys, ["a.one", "a.two", "both"]);
    assert_eq!(entry.modules.len(), 2, "both are its modules");
    assert_eq!(entry.origins.len(), 2, "both lines are its origins");
}

#[test]
fn two_modules_that_disagree_on_a_key_are_an_error_with_both_lines() {
    for (first, second) in [("{ a = 1 }", "{ a = 2 }"), ("{ a = 1 }", "{ 'a.b' = 2 }")] {
        let rendered = declared(first, second);
        let errors: Vec<_> = rendered.errors().collect();
        let [error] = errors.as_slice() else {
            panic!("{first} {second}: one error, not {errors:?}");
        };
        assert_eq!(error.code.to_string(), "M0308");
        let labels = error.place.iter().chain(&error.others);
        let places: Vec<&str> = labels.map(|label| label.place.file.as_str()).collect();
        assert_eq!(places.len(), 2, "{error:?}");
        assert!(
            places[0].contains("second") && places[1].contains("first"),
            "{places:?}"
        );
    }
}
