//! Writing a tree that can be compared from one commit to the next: nothing outside its folder, nothing over others' files.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Component, Path, PathBuf};

/// The list of what muster wrote into a folder, so that it is known next time.
const MARK: &str = ".muster-render";

/// Why a tree is not written.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// There are files that muster did not write.
    #[error("`{}` holds files that muster did not write there", .0.display())]
    NotOurs(PathBuf),
    /// A name leads out of the folder.
    #[error("`{}` would be written outside the folder, through `{}`", name, through.display())]
    Outside {
        /// The name.
        name: String,
        /// What leads out.
        through: PathBuf,
    },
    /// A file cannot be written.
    #[error("`{}` cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

/// Writes files by their names below a folder, in place of those that muster wrote there before.
///
/// A folder that holds anything else is refused, unless `is_forced`: then what has the same name is replaced, and the rest stays.
///
/// # Errors
/// [`TreeError`]. What was written until then stays.
pub fn write(folder: &Path, files: &[(String, String)], is_forced: bool) -> Result<(), TreeError> {
    let wrong = |path: &Path| {
        let path = path.to_owned();
        move |source| TreeError::Write { path, source }
    };
    std::fs::create_dir_all(folder).map_err(wrong(folder))?;
    let mark = folder.join(MARK);
    let ours = read_mark(&mark);
    let is_empty = std::fs::read_dir(folder).map_err(wrong(folder))?.next().is_none();
    if ours.is_none() && !is_empty && !is_forced {
        return Err(TreeError::NotOurs(folder.to_owned()));
    }
    let names: BTreeSet<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    for name in ours
        .iter()
        .flatten()
        .filter(|name| !names.contains(name.as_str()))
    {
        // A name in the list that leads elsewhere, or names a folder, was not written by us.
        if let Ok(path) = place(folder, name, false) {
            let _ = std::fs::remove_file(&path);
            remove_empty_folders(folder, &path);
        }
    }
    for (name, text) in files {
        replace(&place(folder, name, true)?, text)?;
    }
    let list: String = names.iter().map(|name| format!("{name}\n")).collect();
    replace(&mark, &list)
}

fn read_mark(mark: &Path) -> Option<Vec<String>> {
    let is_file = std::fs::symlink_metadata(mark).is_ok_and(|metadata| metadata.is_file());
    let text = is_file.then(|| std::fs::read_to_string(mark).ok()).flatten()?;
    Some(text.lines().map(str::to_owned).collect())
}

/// Returns where a file comes to lie, its folders made if wanted. Each step on the way has to be a folder of its own, and no link.
fn place(folder: &Path, name: &str, makes_folders: bool) -> Result<PathBuf, TreeError> {
    let outside = |through: &Path| TreeError::Outside {
        name: name.to_owned(),
        through: through.to_owned(),
    };
    let mut path = folder.to_owned();
    let mut parts = Path::new(name).components().peekable();
    while let Some(part) = parts.next() {
        let Component::Normal(part) = part else {
            return Err(outside(Path::new(name)));
        };
        path.push(part);
        if parts.peek().is_none() {
            break;
        }
        match std::fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return Err(outside(&path)),
            Err(_) if makes_folders => std::fs::create_dir(&path).map_err(|source| TreeError::Write {
                path: path.clone(),
                source,
            })?,
            Err(_) => return Err(outside(&path)),
        }
    }
    Ok(path)
}

/// Writes a file beside and moves it into place, so that a link there is replaced and not followed.
fn replace(path: &Path, text: &str) -> Result<(), TreeError> {
    let written = || {
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new()
            .permissions(permissions())
            .tempfile_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    written().map_err(|source| TreeError::Write {
        path: path.to_owned(),
        source,
    })
}

/// What is rendered is meant for a repository, and holds no secret: it is as readable as the umask allows.
fn permissions() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o644)
}

fn remove_empty_folders(folder: &Path, path: &Path) {
    let above = path.ancestors().skip(1).take_while(|above| *above != folder);
    for above in above {
        if std::fs::remove_dir(above).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &[&str]) -> Vec<(String, String)> {
        names
            .iter()
            .map(|name| ((*name).to_owned(), format!("{name}\n")))
            .collect()
    }

    #[test]
    fn a_tree_replaces_its_own_files_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("out");
        write(&tree, &files(&["etc/a", "etc/b/c"]), false).unwrap();
        std::fs::write(tree.join("mine"), "x").unwrap();
        write(&tree, &files(&["etc/a"]), false).unwrap();
        assert!(!tree.join("etc/b").exists() && tree.join("mine").exists());
        assert_eq!(std::fs::read_to_string(tree.join("etc/a")).unwrap(), "etc/a\n");
        let strange = folder.path().join("strange");
        std::fs::create_dir(&strange).unwrap();
        std::fs::write(strange.join("mine"), "x").unwrap();
        assert!(matches!(
            write(&strange, &files(&["a"]), false),
            Err(TreeError::NotOurs(_))
        ));
        write(&strange, &files(&["a"]), true).unwrap();
        assert!(strange.join("mine").exists() && strange.join("a").exists());
    }

    #[test]
    fn nothing_is_written_outside() {
        let folder = tempfile::tempdir().unwrap();
        let (tree, other) = (folder.path().join("out"), folder.path().join("other"));
        std::fs::create_dir(&other).unwrap();
        std::fs::write(other.join("a"), "untouched").unwrap();
        write(&tree, &files(&["a"]), false).unwrap();
        std::os::unix::fs::symlink(&other, tree.join("etc")).unwrap();
        for name in ["etc/a", "../other/a", "/etc/a"] {
            assert!(
                matches!(
                    write(&tree, &files(&[name]), false),
                    Err(TreeError::Outside { .. })
                ),
                "{name}"
            );
        }
        // A link in a file's own place is replaced; a list that names what lies elsewhere removes nothing there.
        std::fs::remove_file(tree.join("etc")).unwrap();
        std::os::unix::fs::symlink(other.join("a"), tree.join("b")).unwrap();
        std::fs::write(tree.join(MARK), "../other/a\na\n").unwrap();
        write(&tree, &files(&["b"]), false).unwrap();
        assert_eq!(std::fs::read_to_string(other.join("a")).unwrap(), "untouched");
        assert_eq!(std::fs::read_to_string(tree.join("b")).unwrap(), "b\n");
    }
}
