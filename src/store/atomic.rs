//! Files that are there whole or not at all.

use std::io::{BufWriter, Write};
use std::path::Path;

use super::StoreError;

/// Writes a file so that after a crash at any moment either the old content or the new one is there.
///
/// Folders above it are made where they are missing. The mode is 0644 less the umask.
///
/// # Errors
/// [`StoreError::Write`]; the old content is then still there.
pub fn write(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    write_with(path, |file| file.write_all(content))
}

/// Writes a file as [`write`] does, from what `fill` writes.
///
/// # Errors
/// [`StoreError::Write`]; the old content is then still there.
pub fn write_with(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<(), StoreError> {
    write_inner(path, fill).map_err(|source| StoreError::Write {
        path: path.to_owned(),
        source,
    })
}

fn write_inner(path: &Path, fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder)?;
    let mut builder = tempfile::Builder::new();
    builder
        .prefix(".new-")
        .permissions(std::fs::Permissions::from_mode(0o644));
    let mut file = builder.tempfile_in(folder)?;
    let mut buffered = BufWriter::new(file.as_file_mut());
    fill(&mut buffered)?;
    buffered.flush()?;
    drop(buffered);
    file.as_file().sync_all()?;
    file.persist(path)?;
    // The rename itself is only on disk once the folder is.
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/a.json");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_names_the_file_and_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::create_dir(&path).unwrap();
        let error = write(&path, b"x").unwrap_err();
        assert!(error.to_string().contains("cannot be written"), "{error}");
        assert!(path.is_dir());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
