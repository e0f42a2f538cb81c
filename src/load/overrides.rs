//! The layers above those of the files: what the environment and the command line set.

use std::collections::BTreeSet;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::DeValue;

use crate::model::id::ModuleName;
use crate::model::inventory::{Given, GivenAt, ValueKey, Values};

use super::reader::Reader;
use super::values;

/// What begins the name of a variable that sets a value.
pub const VARIABLE: &str = "MUSTER_VAR_";

/// What the environment and the command line set above the layers of the files.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// What follows `MUSTER_VAR_` in each variable of the environment that begins so, with its value.
    pub environment: Vec<(String, String)>,
    /// `--var-file`, in order; a later one wins over an earlier one, and all win over the environment.
    pub files: Vec<PathBuf>,
    /// `--var key=value`, in order; a later one wins, and all win over the files.
    pub vars: Vec<(String, String)>,
}

/// Reads the layers, the lowest first. Values of the environment and of `--var` are text, read by the type of their input.
pub(super) fn layers(
    reader: &mut Reader,
    overrides: &Overrides,
    modules: &BTreeSet<ModuleName>,
) -> Vec<Values> {
    let environment = overrides.environment.iter().map(|(name, text)| {
        let origin = GivenAt::Environment(format!("{VARIABLE}{name}"));
        (variable(name, modules), given(text, origin))
    });
    let mut layers = vec![environment.collect()];
    for path in &overrides.files {
        if let Some((file, text)) = reader.text(path, None) {
            let root = reader.parse(&file, &text);
            reader.refuse_placeholders(&file, root.get_ref());
            let table = Spanned::new(root.span(), DeValue::Table(root.into_inner()));
            layers.push(values::layer(reader, &file, &table, modules));
        }
    }
    let vars = overrides.vars.iter();
    let vars = vars.map(|(name, text)| (key(name, modules), given(text, GivenAt::Flag(name.clone()))));
    layers.push(vars.collect());
    layers
}

fn given(text: &str, origin: GivenAt) -> Given {
    Given {
        value: toml::Value::String(text.to_owned()),
        origin,
    }
}

/// Reads a key of the command line: `module.input` where there is such a module, else an input.
fn key(text: &str, modules: &BTreeSet<ModuleName>) -> ValueKey {
    // Module names may hold dots, so the last one parts module and input.
    let split = text
        .rsplit_once('.')
        .and_then(|(module, input)| Some((module.parse().ok()?, input)));
    match split {
        Some((module, input)) if modules.contains(&module) => ValueKey {
            module: Some(module),
            input: input.to_owned(),
        },
        _ => ValueKey {
            module: None,
            input: text.to_owned(),
        },
    }
}

/// Reads the name of a variable: as a key, or as `module__input`, since a shell sets no variable with `.` or `-` in its name.
/// There `_` stands for either; a name that fits two modules is meant for neither.
fn variable(text: &str, modules: &BTreeSet<ModuleName>) -> ValueKey {
    let plain = |name: &str| name.replace(['.', '-'], "_");
    let scoped = text.rsplit_once("__").and_then(|(module, input)| {
        let mut fitting = modules
            .iter()
            .filter(|name| plain(name.as_str()) == plain(module));
        let one = fitting.next().filter(|_| !input.is_empty())?;
        fitting.next().is_none().then(|| ValueKey {
            module: Some(one.clone()),
            input: input.to_owned(),
        })
    });
    scoped.unwrap_or_else(|| key(text, modules))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        let modules = ["app", "ml-node", "a.b", "a-b"].map(|name| name.parse().unwrap());
        variable(text, &modules.into()).to_string()
    }

    #[test]
    fn variables_name_an_input_or_a_module_and_its_input() {
        assert_eq!(read("port"), "port");
        assert_eq!(read("app__port"), "app.port");
        assert_eq!(read("ml_node__port"), "ml-node.port");
        assert_eq!(read("ml-node.port"), "ml-node.port");
        assert_eq!(read("two__words"), "two__words");
        assert_eq!(read("a_b__port"), "a_b__port", "two modules fit");
    }
}
