//! Stops muster at an exact line of its journal: a small library that is loaded into it. See `stopper.c`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A moment in a run.
#[derive(Debug, Clone, Copy)]
pub struct Stop {
    /// `before` the line is written, `torn` in the middle of it, or `after` it is on disk.
    pub when: &'static str,
    /// The event, as the journal names it.
    pub event: &'static str,
    /// Which of these events, from 1.
    pub nth: usize,
}

/// Builds the library once, and returns its path.
pub fn library() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/live_fire/stopper.c");
        let library = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("stopper.so");
        let mut compile = Command::new("cc");
        compile.args(["-D_GNU_SOURCE", "-Wall", "-Werror", "-shared", "-fPIC", "-o"]);
        let status = compile.arg(&library).arg(&source).status();
        assert!(
            status.expect("cc runs").success(),
            "{} does not compile",
            source.display()
        );
        library
    })
}
