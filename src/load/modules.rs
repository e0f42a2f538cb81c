//! Modules: every folder under `modules/` that has a `module.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::model::code;
use crate::model::diagnostic::{Diagnostic, did_you_mean};
use crate::model::id::ModuleName;
use crate::model::module::Module;

use super::Loaded;
use super::module::{Draft, folder};
use super::reader::{Reader, shown};

/// Reads every module of a folder. `kinds` are the names of the resource kinds there are.
pub fn modules(dir: &Path, kinds: &[&str]) -> Loaded<BTreeMap<ModuleName, Module>> {
    let mut reader = Reader::default();
    let value = folders(&mut reader, dir).map(|found| {
        let drafts: BTreeMap<ModuleName, Draft> = found
            .into_iter()
            .filter_map(|path| folder(&mut reader, &path, kinds))
            .collect();
        check_needs(&mut reader, &drafts);
        check_circles(&mut reader, &drafts);
        drafts
            .into_iter()
            .map(|(name, draft)| (name, draft.module))
            .collect()
    });
    Loaded {
        value,
        diagnostics: reader.diagnostics,
        sources: reader.sources,
    }
}

/// Returns the folders of the modules, sorted.
fn folders(reader: &mut Reader, dir: &Path) -> Option<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir).map_err(|error| {
        let message = format!("the folder of modules `{}` cannot be read", shown(dir));
        let hint = "name it with `--modules DIR`";
        reader.diagnostics.push(
            Diagnostic::error(code::UNREADABLE, message)
                .because(error)
                .hint(hint),
        );
    });
    let mut found: Vec<PathBuf> = entries
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join("module.toml").exists())
        .collect();
    found.sort();
    Some(found)
}

fn check_needs(reader: &mut Reader, drafts: &BTreeMap<ModuleName, Draft>) {
    for (name, draft) in drafts {
        for (needed, place) in &draft.needs {
            if !drafts.contains_key(needed) {
                let message = format!("module `{name}` needs `{needed}`, which does not exist");
                let hint = did_you_mean(needed.as_str(), drafts.keys().map(ModuleName::as_str));
                let found = Diagnostic::error(code::UNKNOWN_MODULE, message);
                reader
                    .diagnostics
                    .push(found.at(place.clone(), "needed here").hint_opt(hint));
            }
        }
    }
}

fn check_circles(reader: &mut Reader, drafts: &BTreeMap<ModuleName, Draft>) {
    let mut done = BTreeSet::new();
    for name in drafts.keys() {
        visit(reader, drafts, name, &mut Vec::new(), &mut done);
    }
}

fn visit<'d>(
    reader: &mut Reader,
    drafts: &'d BTreeMap<ModuleName, Draft>,
    name: &'d ModuleName,
    chain: &mut Vec<&'d ModuleName>,
    done: &mut BTreeSet<&'d ModuleName>,
) {
    let Some(draft) = drafts.get(name).filter(|_| !done.contains(name)) else {
        return;
    };
    chain.push(name);
    for (needed, place) in &draft.needs {
        if let Some(start) = chain.iter().position(|passed| *passed == needed) {
            let steps: Vec<&str> = chain[start..]
                .iter()
                .chain([&needed])
                .map(|name| name.as_str())
                .collect();
            let message = format!("modules need each other in a circle: {}", steps.join(" → "));
            reader
                .diagnostics
                .push(Diagnostic::error(code::MODULE_LOOP, message).at(place.clone(), "closes the circle"));
        } else {
            visit(reader, drafts, needed, chain, done);
        }
    }
    chain.pop();
    done.insert(name);
}
