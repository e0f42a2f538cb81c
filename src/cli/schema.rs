//! `muster schema`: JSON Schemas for editors.

use super::console::Console;
use super::exit::Exit;
use super::global::Global;
use crate::load::schema;
use crate::resource::KINDS;

/// Print the JSON Schema of inventories or of modules, for editors
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which file's
    #[arg(default_value = "inventory")]
    file: File,
}

/// A file that has a schema.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum File {
    /// inventories/*.toml
    Inventory,
    /// modules/*/module.toml
    Module,
}

impl Args {
    /// Runs the verb.
    pub(super) fn run(self, _global: &Global, console: &mut Console) -> Exit {
        let schema = match self.file {
            File::Inventory => schema::inventory(),
            File::Module => {
                let kinds: Vec<schema::KindSchema<'_>> =
                    KINDS.iter().map(|kind| (kind.name, kind.schema)).collect();
                schema::module(&kinds)
            }
        };
        console.data(&format!("{schema:#}\n"));
        Exit::Done
    }
}
