//! Loading: TOML and template files become the model, and every mistake in them a diagnostic.
//!
//! Nothing stops at the first mistake: a table with a wrong key is read without that key, so that one run names all.
//! [`raw`] holds the files' own form, from which `muster schema` is made. What the values mean for a host is
//! `plan::values`; what the modules declare there is `plan::desire`.

use crate::model::diagnostic::{Diagnostics, Sources};

mod groups;
mod hooks;
mod hosts;
mod include;
mod input;
mod inventory;
mod module;
mod modules;
mod overrides;
mod policy;
pub mod raw;
mod reader;
mod registries;
pub mod schema;
mod table;
mod values;

pub use inventory::inventory;
pub use modules::modules;
pub use overrides::{Overrides, VARIABLE};
pub use registries::lock_file;

/// What came of loading.
#[derive(Debug)]
pub struct Loaded<T> {
    /// The value, as complete as the files allow; `None` where nothing could be read. Not to be used for planning while
    /// the diagnostics hold an error.
    pub value: Option<T>,
    /// What is wrong.
    pub diagnostics: Diagnostics,
    /// The texts that were read.
    pub sources: Sources,
}
