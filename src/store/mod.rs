//! What outlives a run on the controller: plans, their blobs, hosts that are known, recorded looks.
//!
//! Plain files beside the inventory, each with a format number, each written whole and renamed into place. Nothing here
//! holds a secret: values never reach the types that are saved.

use std::path::{Path, PathBuf};

use crate::model::code;
use crate::model::diagnostic::Diagnostic;

mod atomic;
mod blob;
pub mod hosts;
pub mod journal;
pub mod plan;
pub mod recorded;

pub use atomic::write;

/// Why a stored file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error("{} cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file was written in another form.
    #[error("{} was made by muster {by} in format {found}; this is {} with format {wanted}", path.display(), env!("CARGO_PKG_VERSION"))]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The format that this version reads.
        wanted: u32,
        /// The version that made it.
        by: String,
    },
    /// The file is not what was written.
    #[error("{} is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        why: String,
    },
    /// Another process writes the file.
    #[error("{} is being written by another process", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
}

impl StoreError {
    /// Returns the error as a diagnostic with its code and a thing to do.
    pub fn diagnostic(&self) -> Diagnostic {
        let (code, hint) = match self {
            Self::Read { .. } => (code::UNREADABLE, "check the path and its permissions"),
            Self::Write { .. } => (
                code::UNREADABLE,
                "check the folder's permissions and the space that is left",
            ),
            Self::Format { .. } => (code::STORED_FORMAT, "plan again"),
            Self::Damaged { .. } => (
                code::STORED_DAMAGED,
                "take it from version control again, or plan again",
            ),
            Self::Busy { .. } => (code::UNREADABLE, "wait for that run to end, or interrupt it"),
        };
        let diagnostic = Diagnostic::error(code, self.to_string()).hint(hint);
        match std::error::Error::source(self) {
            Some(source) => diagnostic.because(source),
            None => diagnostic,
        }
    }
}

/// Opens a file. What is none is refused before it is opened: a device never ends, and a pipe may never begin.
fn open(path: &Path) -> std::io::Result<std::fs::File> {
    match std::fs::metadata(path)?.is_file() {
        true => std::fs::File::open(path),
        false => Err(std::io::Error::other("it is no regular file")),
    }
}

/// Reads a file as text.
pub(crate) fn read_text(path: &Path) -> Result<String, StoreError> {
    use std::io::Read as _;
    let mut text = String::new();
    let read = open(path).and_then(|mut file| file.read_to_string(&mut text));
    read.map(|_| text).map_err(|source| match source.kind() {
        std::io::ErrorKind::InvalidData => StoreError::Damaged {
            path: path.to_owned(),
            why: "it is not UTF-8 text".to_owned(),
        },
        _ => StoreError::Read {
            path: path.to_owned(),
            source,
        },
    })
}

/// Returns the folder in which everything of an inventory is kept: `plans/<inventory stem>` beside its `inventories/`
/// folder, else beside the inventory itself.
pub fn folder(inventory_file: &str) -> PathBuf {
    let path = Path::new(inventory_file);
    let stem = path.file_stem().unwrap_or(path.as_os_str());
    let parent = path.parent().unwrap_or(Path::new(""));
    let root = match parent.file_name() {
        Some(name) if name == "inventories" => parent.parent().unwrap_or(Path::new("")),
        _ => parent,
    };
    root.join("plans").join(stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_lie_beside_the_inventories_folder() {
        assert_eq!(folder("inventories/demo.toml"), Path::new("plans/demo"));
        assert_eq!(folder("/a/inventories/demo.toml"), Path::new("/a/plans/demo"));
        assert_eq!(folder("fleet.toml"), Path::new("plans/fleet"));
        assert_eq!(folder("x/fleet.toml"), Path::new("x/plans/fleet"));
    }
}
