//! `muster schema`: JSON Schemas for editors.

use super::console::Console;
use super::exit::Exit;
use super::global::Global;
use crate::load::schema;
use crate::resource::KINDS;
use crate::resource::project::{self, Compose};

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
                let kinds = KINDS.iter().filter(|kind| kind.has_table);
                let mut tables: Vec<schema::KindSchema<'_>> =
                    kinds.map(|kind| (kind.name, kind.schema)).collect();
                tables.push((project::NAME, |generator| generator.subschema_for::<Compose>()));
                schema::module(&tables)
            }
        };
        console.data(&format!("{schema:#}\n"));
        Exit::Done
    }
}
