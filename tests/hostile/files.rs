//! Hostile inventories and modules, through the whole binary: words, in bounded time and memory, and nothing read from elsewhere.

use std::path::Path;
use std::time::Duration;

use super::liar::{Told, muster};

fn project(folder: &Path, inventory: &str, module: &str) {
    let write = |path: &str, text: &str| {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("written");
    };
    write(
        "inventories/f.toml",
        &format!(
            "[fleet]\nname = 'f'\n[hosts.a]\naddress = 'local'\n[[use]]\nmodule = 'app'\non = 'all'\n{inventory}"
        ),
    );
    write(
        "modules/app/module.toml",
        &format!("[module]\nname = 'app'\n{module}"),
    );
}

fn assert_words(told: &Told, what: &str) {
    let said = told.all();
    assert!(
        !said.contains("panicked") && !said.contains("overflow"),
        "{what}: {said:.2000}"
    );
    assert_eq!(told.code, 1, "{what}: {said:.2000}");
    assert_eq!(super::nasty::acts(&said), None, "{what}");
    assert!(told.took < Duration::from_secs(40), "{what}: {:?}", told.took);
    assert!(told.peak_kib < 3 << 20, "{what}: {} KiB", told.peak_kib);
}

#[test]
fn templates_that_never_end_or_never_stop_growing_are_mistakes() {
    let loops = [
        "{% for a in range(100000) %}{% for b in range(100000) %}{% for c in range(100000) %}x{% endfor %}{% endfor %}{% endfor %}",
        "{% macro m(n) %}{{ m(n) }}{% endmacro %}{{ m(1) }}",
        "{% include 'self.j2' %}",
        // Of the many ways to double a text the one that is quickest; each ends the same way.
        "{% set ns = namespace(x='0123456789abcdef') %}{% for a in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x | length }}",
        "{{ 'x' * 99999999999 }}",
        "{{ range(99999999999) | list | length }}",
        "{{ 'x' | indent(99999999999) }}",
        "{{ 'x' | indent(width=99999999999) }}",
        "{{ ['x'] * 99999999999 }}",
        "{{ '%099999999999d' | format(1) }}",
        "{{ '%*d' | format(99999999999, 1) }}",
        "{{ 2 ** 99999999 }}",
    ];
    for template in loops {
        let folder = tempfile::tempdir().expect("a folder");
        project(
            folder.path(),
            "",
            "[[file]]\npath = '/etc/x'\ntemplate = 'self.j2'\n",
        );
        let templates = folder.path().join("modules/app/templates");
        std::fs::create_dir_all(&templates).expect("a folder");
        std::fs::write(templates.join("self.j2"), template).expect("written");
        assert_words(&muster(folder.path(), &["validate"]), template);
    }
}

#[test]
fn files_that_never_end_or_are_none_are_mistakes() {
    let folder = tempfile::tempdir().expect("a folder");
    project(folder.path(), "", "");
    let link = |to: &str, at: &str| {
        let at = folder.path().join(at);
        std::fs::create_dir_all(at.parent().expect("a parent")).expect("a folder");
        drop(std::fs::remove_file(&at));
        std::os::unix::fs::symlink(to, at).expect("linked");
    };
    link("/dev/zero", "inventories/zero.toml");
    assert_words(
        &muster(folder.path(), &["-i", "inventories/zero.toml", "validate"]),
        "an endless inventory",
    );
    assert_words(
        &muster(folder.path(), &["-i", "inventories", "validate"]),
        "a folder",
    );
    link("/dev/zero", "modules/app/files/zero");
    assert_words(
        &muster(folder.path(), &["-i", "inventories/f.toml", "validate"]),
        "an endless file",
    );
    std::fs::remove_file(folder.path().join("modules/app/files/zero")).expect("removed");
    link("../templates", "modules/app/templates/loop");
    assert_words(
        &muster(folder.path(), &["-i", "inventories/f.toml", "validate"]),
        "a loop of folders",
    );
}

#[test]
fn a_module_takes_no_file_from_elsewhere() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("id_ed25519"), "the operator's own key\n").expect("written");
    for name in [
        "../../id_ed25519",
        "../../../id_ed25519",
        "/etc/passwd",
        "x/../../../id_ed25519",
    ] {
        for key in ["template", "source"] {
            project(
                folder.path(),
                "",
                &format!("[[file]]\npath = '/etc/x'\n{key} = '{name}'\n"),
            );
            let told = muster(folder.path(), &["validate"]);
            assert_words(&told, name);
            assert!(
                told.all().contains("M0") && !told.all().contains("operator's own"),
                "{}",
                told.all()
            );
        }
        project(
            folder.path(),
            "",
            &format!("[[file]]\npath = '/etc/x'\ncontent = \"{{% include '{name}' %}}\"\n"),
        );
        let told = muster(folder.path(), &["validate"]);
        assert_words(&told, name);
    }
    for place in ["files", "templates", "data"] {
        let at = folder.path().join(format!("modules/app/{place}"));
        project(folder.path(), "", "");
        std::fs::create_dir_all(&at).expect("a folder");
        std::os::unix::fs::symlink("../../../id_ed25519", at.join("key.toml")).expect("linked");
        let told = muster(folder.path(), &["validate"]);
        assert_words(&told, place);
        assert!(told.all().contains("leads out of its module"), "{}", told.all());
        std::fs::remove_dir_all(&at).expect("removed");
    }
    // A link within the module is its own matter.
    std::fs::create_dir_all(folder.path().join("modules/app/files")).expect("a folder");
    std::fs::write(folder.path().join("modules/app/files/a"), "x").expect("written");
    std::os::unix::fs::symlink("a", folder.path().join("modules/app/files/b")).expect("linked");
    assert_eq!(muster(folder.path(), &["validate"]).code, 0);
}

#[test]
fn numbers_beyond_reason_are_mistakes() {
    for (inventory, module) in [
        (
            "",
            "[[command]]\nname = 'c'\nrun = 'true'\nprobe = 'true'\ntimeout = '18446744073709551615s'\n",
        ),
        (
            "",
            "[[command]]\nname = 'c'\nrun = 'true'\nprobe = 'true'\ntimeout = '999999999999d'\n",
        ),
        ("[policy]\nplan_max_age = '18446744073709551615s'\n", ""),
        (
            "[[policy.gate]]\nname = 'g'\ntcp = '127.0.0.1:1'\nwithin = '18446744073709551615s'\n",
            "",
        ),
        ("[values]\nx = 99999999999999999999\n", ""),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        project(folder.path(), inventory, module);
        assert_words(
            &muster(folder.path(), &["validate"]),
            &format!("{inventory}{module}"),
        );
    }
}
