//! What the guard keeps, and how it is put back.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use muster::model::op::Op;
use muster::ports::Transport as _;

use crate::bed::{Bed, mode, write};

fn restore(path: &str) -> Op {
    Op::Restore {
        path: path.to_owned(),
    }
}

#[tokio::test]
async fn what_was_there_before_the_run_comes_back() {
    let bed = Bed::new();
    let fence = bed.lock("p-1").await.unwrap();
    let [file, link, folder, gone, absent] =
        ["a file's\nname", "link", "folder", "gone", "absent"].map(|name| bed.path(name));
    std::fs::write(&file, b"old \xff\0 bytes").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o4711)).unwrap();
    symlink("over there", &link).unwrap();
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o1750)).unwrap();
    std::fs::write(&gone, "gone").unwrap();
    let attributes = Op::SetAttributes {
        path: folder.clone(),
        owner: "games".into(),
        group: "games".into(),
        mode: "0700".into(),
    };
    let ops = vec![
        write(&file, "new"),
        write(&file, "newer"),
        write(&link, "now a file"),
        attributes,
        Op::RemoveDirectory { path: folder.clone() },
        Op::RemoveFile { path: gone.clone() },
        write(&absent, "made"),
    ];
    bed.perform(&fence, ops).await.unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "newer");
    let kept = std::fs::read_dir(bed.state("undo/p-1")).unwrap();
    assert!(
        kept.filter(|e| !e.as_ref().unwrap().file_type().unwrap().is_symlink())
            .all(|e| mode(e.unwrap().path()) == 0o600)
    );

    let paths = [&file, &link, &folder, &gone, &absent];
    for _ in 0..2 {
        bed.perform(&fence, paths.iter().map(|path| restore(path)).collect())
            .await
            .unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"old \xff\0 bytes");
        assert_eq!((mode(&file), mode(&folder)), (0o4711, 0o1750));
        assert_eq!(std::fs::read_link(&link).unwrap(), Path::new("over there"));
        assert_eq!(std::fs::read_to_string(&gone).unwrap(), "gone");
        assert!(!Path::new(&absent).exists());
    }
}

#[tokio::test]
async fn what_this_run_never_touched_stays_and_another_runs_store_is_not_used() {
    let bed = Bed::new();
    let path = bed.path("x");
    std::fs::write(&path, "0").unwrap();
    let first = bed.lock("p-1").await.unwrap();
    bed.perform(&first, vec![write(&path, "1")]).await.unwrap();
    bed.transport.release(&bed.host, &first).await.unwrap();
    let second = bed.lock("p-2").await.unwrap();
    bed.perform(&second, vec![restore(&path)]).await.unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "1");
    std::fs::remove_dir_all(bed.state("undo/p-2")).unwrap();
    assert!(
        bed.perform(&second, vec![restore(&path)]).await.is_err(),
        "a lost store is not an untouched path"
    );
}

#[tokio::test]
async fn the_stores_of_the_last_five_runs_stay() {
    let bed = Bed::new();
    for n in 1..=7 {
        let fence = bed.lock(&format!("p-{n}")).await.unwrap();
        bed.transport.release(&bed.host, &fence).await.unwrap();
    }
    let mut names: Vec<_> = std::fs::read_dir(bed.state("undo"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["p-3", "p-4", "p-5", "p-6", "p-7"]);
}
