//! Which inventory, and which modules.

use std::path::{Path, PathBuf};

use super::console::Console;
use super::exit::Exit;
use super::global::Global;

/// Where inventories are looked for.
const INVENTORIES: &str = "inventories";
/// The variable that names one.
const VARIABLE: &str = "MUSTER_INVENTORY";

/// Returns the inventory's path, and says on standard error which one was chosen and why.
///
/// # Errors
/// [`Exit::Usage`] where none is named and there is not exactly one.
pub fn inventory(global: &Global, console: &Console) -> Result<PathBuf, Exit> {
    let (path, why) = match (
        &global.inventory,
        std::env::var_os(VARIABLE).filter(|name| !name.is_empty()),
    ) {
        (Some(path), _) => (path.clone(), "--inventory"),
        (None, Some(path)) => (PathBuf::from(path), VARIABLE),
        (None, None) => (only_one(console)?, "the only one in inventories/"),
    };
    console.note(&format!("inventory: {} ({why})", path.display()));
    Ok(path)
}

fn only_one(console: &Console) -> Result<PathBuf, Exit> {
    let mut found = files(Path::new(INVENTORIES));
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => {
            console.error("there is no inventory: `inventories/` holds no TOML file");
            console.note(&format!(
                "hint: name one with `--inventory FILE` or in `{VARIABLE}`"
            ));
            Err(Exit::Usage)
        }
        _ => {
            let names: Vec<String> = found.iter().map(|path| path.display().to_string()).collect();
            console.error(&format!("there are several inventories: {}", names.join(", ")));
            console.note(&format!(
                "hint: name one with `--inventory FILE` or in `{VARIABLE}`"
            ));
            Err(Exit::Usage)
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let is_inventory = |path: &PathBuf| path.is_file() && path.extension().is_some_and(|name| name == "toml");
    let mut found: Vec<PathBuf> = entries.filter(is_inventory).collect();
    found.sort();
    found
}

/// Returns the folder of modules: the one that is named, else `modules/` beside the inventory's folder, beside the
/// inventory, or here. `None` where there is none.
pub fn modules(global: &Global, inventory: &Path) -> Option<PathBuf> {
    if let Some(named) = &global.modules {
        return Some(named.clone());
    }
    let beside = inventory.parent();
    let candidates = [beside.and_then(Path::parent), beside, Some(Path::new(""))];
    candidates
        .into_iter()
        .flatten()
        .map(|folder| folder.join("modules"))
        .find(|path| path.is_dir())
}
