//! What the guard keeps, and how it is put back.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use muster::model::id::RunId;
use muster::model::observation::Answer;
use muster::model::op::{Op, Probe};
use muster::ports::Transport as _;

use crate::bed::{Bed, mode, write};

fn restore(path: &str) -> Op {
    Op::restore(path)
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
async fn the_stores_of_the_five_runs_before_this_one_stay() {
    let bed = Bed::new();
    for n in 1..=8 {
        let fence = bed.lock(&format!("p-{n}")).await.unwrap();
        bed.transport.release(&bed.host, &fence).await.unwrap();
    }
    let mut names: Vec<_> = std::fs::read_dir(bed.state("undo"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["p-3", "p-4", "p-5", "p-6", "p-7", "p-8"]);
}

fn restore_from(path: &str, run: &str) -> Op {
    Op::Restore {
        path: path.to_owned(),
        run: Some(run.parse().unwrap()),
    }
}

/// Carries out ops as a run of its own.
async fn as_run(bed: &Bed, run: &str, ops: Vec<Op>) -> Result<(), muster::ports::PerformError> {
    let fence = bed.lock(run).await.unwrap();
    let performed = bed.perform(&fence, ops).await;
    bed.transport.release(&bed.host, &fence).await.unwrap();
    performed.map(drop)
}

#[tokio::test]
async fn a_later_run_restores_from_an_older_ones_store_and_keeps_what_it_replaces() {
    let bed = Bed::new();
    let [file, made, link] = ["a file's\nname", "made", "link"].map(|name| bed.path(name));
    std::fs::write(&file, b"0\xff").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o4711)).unwrap();
    symlink("over there", &link).unwrap();
    as_run(
        &bed,
        "p-1",
        vec![write(&file, "1"), write(&made, "1"), write(&link, "1")],
    )
    .await
    .unwrap();
    let paths = [&file, &made, &link];
    let back = |run: &str| {
        paths
            .iter()
            .map(|path| restore_from(path, run))
            .collect::<Vec<_>>()
    };
    // Twice is once, also by another run: what is there already is what the first run found.
    for run in ["p-2", "p-2", "p-3"] {
        as_run(&bed, run, back("p-1")).await.unwrap();
        assert_eq!(
            (std::fs::read(&file).unwrap(), mode(&file)),
            (b"0\xff".to_vec(), 0o4711)
        );
        assert_eq!(std::fs::read_link(&link).unwrap(), Path::new("over there"));
        assert!(!Path::new(&made).exists());
    }
    as_run(&bed, "p-4", back("p-2")).await.unwrap();
    let now: Vec<_> = paths
        .iter()
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    assert_eq!(now, ["1", "1", "1"]);
    let lost = as_run(&bed, "p-5", back("p-0")).await;
    assert!(
        lost.unwrap_err().to_string().contains("restore"),
        "a store that is gone is no untouched path"
    );
}

#[tokio::test]
async fn nothing_is_put_back_over_what_others_changed_since() {
    type Hand = fn(&str);
    let hands: [(&str, Hand); 4] = [
        ("content", |path| std::fs::write(path, "by hand").unwrap()),
        ("mode", |path| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap()
        }),
        ("gone", |path| std::fs::remove_file(path).unwrap()),
        ("link", |path| {
            std::fs::remove_file(path).unwrap();
            symlink("elsewhere", path).unwrap();
        }),
    ];
    let bed = Bed::new();
    for (n, (name, hand)) in hands.into_iter().enumerate() {
        let (path, run) = (bed.path(name), format!("p-{}", 2 * n + 1));
        std::fs::write(&path, "0").unwrap();
        as_run(&bed, &run, vec![write(&path, "1")]).await.unwrap();
        hand(&path);
        let state = |path: &str| (std::fs::read_link(path).ok(), std::fs::read(path).ok());
        let before = state(&path);
        let refused = as_run(&bed, &format!("p-{}", 2 * n + 2), vec![restore_from(&path, &run)]).await;
        assert!(refused.is_err(), "{name}");
        let own = as_run(&bed, &run, vec![restore(&path)]).await;
        assert!(own.is_err(), "{name}: by the run itself");
        assert_eq!(state(&path), before, "{name}");
    }
}

#[tokio::test]
async fn a_look_tells_whether_a_store_is_there_and_what_a_run_left_still_is() {
    let bed = Bed::new();
    let [same, changed, never] = ["same\nname", "changed", "never"].map(|name| bed.path(name));
    as_run(&bed, "p-1", vec![write(&same, "1"), write(&changed, "1")])
        .await
        .unwrap();
    std::fs::write(&changed, "by hand").unwrap();
    let probe = |run: &str, path: &str| Probe::Kept {
        run: run.parse::<RunId>().unwrap(),
        path: path.to_owned(),
    };
    let probes = vec![
        probe("p-1", &same),
        probe("p-1", &changed),
        probe("p-1", &never),
        probe("p-9", &same),
    ];
    let answer = |store: &str, left: &str| Answer::Text {
        output: format!("store={store}\nleft={left}\n"),
        status: 0,
    };
    let wanted = [
        answer("yes", "yes"),
        answer("yes", "no"),
        answer("yes", "yes"),
        answer("no", "yes"),
    ];
    assert_eq!(bed.look(probes).await.1, wanted);
}
