//! Compose files: text becomes a [`Project`], a project the containers that must be, and these are compared with what an
//! engine says of the containers that are.
//!
//! Pure: nothing here opens a file, asks an engine or looks at a clock. [`read`] takes texts with holes for secrets;
//! [`inspected`] takes an engine's JSON with a [`Veil`] for values that may not be seen; [`differences`] compares.
//! The accepted part of the specification is [`keys::SECTIONS`], and `docs/reference/compose.md` is made from it.

mod attachment;
mod containers;
mod declared;
mod diff_env;
mod diff_host;
mod diff_network;
mod diff_process;
mod differences;
mod dotenv;
mod environment;
mod expected;
mod fields;
mod form;
mod found;
mod grant;
mod health;
mod image;
mod inspect;
mod inspect_around;
mod inspect_host;
mod interpolate;
mod json;
pub mod keys;
mod keys_parts;
mod keys_service;
mod limits;
mod merge;
mod mount;
mod node;
mod normal;
mod one_off;
mod order;
mod path;
mod port;
mod project;
mod references;
mod service;
mod settings;
mod show;
mod source;
mod values;
mod yaml;

pub use differences::differences;
pub use fields::{FIELDS, effect};
pub use inspect::{Veil, inspected};
pub use inspect_around::{image, network, volume};
pub use interpolate::{Trouble, interpolate};
pub use one_off::one_off;
pub use project::{Project, Request, read};
pub use service::{Dependency, Service};
pub use source::{SourceFile, sources};

/// What the label of Compose's version says.
const VERSION: &str = concat!("muster-", env!("CARGO_PKG_VERSION"));
