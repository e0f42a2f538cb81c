//! What ops do, and what they say when they fail.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;
use std::process::Command;

use muster::model::body::{Body, Piece};
use muster::model::digest::Digest;
use muster::model::op::{ContentWanted, Op, Probe, SettingValue, SettingsFormat};
use muster::model::secret::{Secret, SecretSource};
use muster::ports::{PerformError, Secrets};

use crate::bed::{Bed, call, failure, line, mode, text, write};

pub fn run(script: &str) -> Op {
    Op::Run {
        script: Body::text(script),
        env: BTreeMap::new(),
        user: None,
        directory: None,
        timeout_secs: 30,
    }
}

#[tokio::test]
async fn a_file_is_written_under_the_guard_with_owner_mode_and_bytes() {
    let bed = Bed::new();
    let fence = bed.lock("p-1").await.unwrap();
    let path = bed.path("a file's \"name\" $HOME\n;rm");
    let content = "no line break at the end, a NUL \0, END-\n'\"`$(x)\\ é";
    let outcome = bed.perform(&fence, vec![write(&path, content)]).await.unwrap();
    assert!(outcome.host_now_secs > 1_700_000_000);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
    assert_eq!((mode(&path), std::fs::metadata(&path).unwrap().uid()), (0o640, 0));
    let (_, answers) = bed
        .look(vec![Probe::Path {
            path: path.clone(),
            content: ContentWanted::Text,
        }])
        .await;
    let (answer, status) = text(&answers[0]);
    assert_eq!(status, 0);
    assert_eq!(line(&answers[0], "sha256"), Digest::of(content).0);
    assert!(answer.ends_with(&format!("\n\n{content}")), "{answer}");
}

#[tokio::test]
async fn ops_go_in_order_until_one_fails_and_the_failure_names_it() {
    let bed = Bed::new();
    let fence = bed.lock("p-1").await.unwrap();
    let (first, third) = (bed.path("1"), bed.path("3"));
    let script = "for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do echo line $n; done; exit 7";
    let result = bed
        .perform(&fence, vec![write(&first, "1"), run(script), write(&third, "3")])
        .await;
    let (operation, status, tail) = failure(result);
    assert_eq!((operation.as_str(), status), ("run a script as root", 7));
    assert!(
        tail.starts_with("line 6\n") && tail.ends_with("line 20"),
        "{tail}"
    );
    assert!(Path::new(&first).exists() && !Path::new(&third).exists());
    let log = std::fs::read_to_string(bed.state("log")).unwrap();
    let ends: Vec<&str> = log
        .lines()
        .skip(1)
        .map(|line| line.split_once(" p-1 1 ").unwrap().1)
        .collect();
    assert_eq!(
        ends,
        [
            format!("write {first}: done").as_str(),
            "run a script as root: failed (7)"
        ]
    );
}

#[tokio::test]
async fn a_file_that_its_check_refuses_is_not_moved_in_place() {
    let bed = Bed::new();
    let fence = bed.lock("p-1").await.unwrap();
    let path = bed.path("a b");
    bed.perform(&fence, vec![write(&path, "good")]).await.unwrap();
    let checked = |content: &str| match write(&path, content) {
        Op::WriteFile {
            path,
            body,
            owner,
            group,
            mode,
            ..
        } => Op::WriteFile {
            validate: Some("grep -q good {} || { echo bad content; false; }".to_owned()),
            path,
            body,
            owner,
            group,
            mode,
        },
        other => other,
    };
    let (operation, status, tail) = failure(bed.perform(&fence, vec![checked("evil")]).await);
    assert_eq!(
        (operation, status, tail),
        (format!("write {path}"), 1, "bad content".to_owned())
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "good");
    bed.perform(&fence, vec![checked("good too")]).await.unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "good too");
    assert_eq!(leftovers(&bed), Vec::<String>::new());
}

fn leftovers(bed: &Bed) -> Vec<String> {
    let names = std::fs::read_dir(bed.path(""))
        .unwrap()
        .map(|e| e.unwrap().file_name());
    names
        .map(|name| name.into_string().unwrap())
        .filter(|name| name.starts_with(".muster"))
        .collect()
}

#[tokio::test]
async fn a_link_in_the_way_is_replaced_and_never_followed() {
    let bed = Bed::new();
    let fence = bed.lock("p-1").await.unwrap();
    let (target, path) = (bed.path("target"), bed.path("link"));
    std::fs::write(&target, "untouched").unwrap();
    symlink(&target, &path).unwrap();
    // A link planted where the new file is made first is not followed either.
    symlink(
        &target,
        bed.path(&format!(".muster-{}", &Digest::of(&path).0[..12])),
    )
    .unwrap();
    bed.perform(&fence, vec![write(&path, "new")]).await.unwrap();
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "untouched");
    assert!(std::fs::symlink_metadata(&path).unwrap().is_file());
    let refused = bed
        .perform(
            &fence,
            vec![Op::MakeDirectory {
                path: path.clone(),
                owner: "root".into(),
                group: "root".into(),
                mode: "0755".into(),
            }],
        )
        .await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn a_full_disk_leaves_the_old_file_and_nothing_half_written() {
    let bed = Bed::new();
    let fence = bed.lock("p-1").await.unwrap();
    let disk = bed.path("disk");
    std::fs::create_dir(&disk).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "none", &disk])
        .status();
    assert!(mounted.unwrap().success(), "these tests run as root");
    let path = format!("{disk}/file");
    bed.perform(&fence, vec![write(&path, "old")]).await.unwrap();
    let result = bed.perform(&fence, vec![write(&path, "x".repeat(200_000))]).await;
    let after = std::fs::read_to_string(&path).unwrap();
    let names = std::fs::read_dir(&disk).unwrap().count();
    Command::new("umount").arg(&disk).status().unwrap();
    let (_, status, tail) = failure(result);
    assert!(status != 0 && tail.contains("No space left on device"), "{tail}");
    assert_eq!((after.as_str(), names), ("old", 1));
}

#[tokio::test]
async fn directories_links_attributes_and_removals_may_be_done_twice() {
    let bed = Bed::new();
    let fence = bed.lock("p-1").await.unwrap();
    let (folder, link, file) = (bed.path("d"), bed.path("l"), bed.path("f"));
    let attributes = |path: &str, mode: &str| {
        (
            path.to_owned(),
            "games".to_owned(),
            "games".to_owned(),
            mode.to_owned(),
        )
    };
    let make = || {
        let (path, owner, group, mode) = attributes(&folder, "2750");
        Op::MakeDirectory {
            path,
            owner,
            group,
            mode,
        }
    };
    let set = || {
        let (path, owner, group, mode) = attributes(&file, "0604");
        Op::SetAttributes {
            path,
            owner,
            group,
            mode,
        }
    };
    let point = |to: &str| Op::Link {
        path: link.clone(),
        to: to.to_owned(),
    };
    for _ in 0..2 {
        let ops = vec![make(), write(&file, "x"), set(), point("-odd to"), point(&folder)];
        bed.perform(&fence, ops).await.unwrap();
    }
    assert_eq!((mode(&folder), mode(&file)), (0o2750, 0o604));
    for path in [&folder, &file] {
        let there = std::fs::metadata(path).unwrap();
        assert_eq!((there.uid(), there.gid()), (5, 60), "Debian's numbers for games");
    }
    assert_eq!(std::fs::read_link(&link).unwrap(), Path::new(&folder));

    std::fs::write(format!("{folder}/.hidden"), "").unwrap();
    let remove = || Op::RemoveDirectory { path: folder.clone() };
    assert!(
        bed.perform(&fence, vec![remove()]).await.is_err(),
        "it is not empty"
    );
    assert!(
        bed.perform(&fence, vec![Op::RemoveFile { path: folder.clone() }])
            .await
            .is_err()
    );
    std::fs::remove_file(format!("{folder}/.hidden")).unwrap();
    for _ in 0..2 {
        let ops = vec![
            Op::RemoveFile { path: link.clone() },
            Op::RemoveFile { path: file.clone() },
            remove(),
        ];
        bed.perform(&fence, ops).await.unwrap();
    }
    assert!(!Path::new(&folder).exists() && !Path::new(&file).exists());
}

fn secrets() -> (Secrets, SecretSource) {
    let source: SecretSource = "env:PASS".parse().unwrap();
    let value = Secret::new("hunter2 'and\" more");
    (Secrets::new(BTreeMap::from([(source.clone(), value)])), source)
}

fn secret_body(encoding: &str) -> Body {
    Body::from_pieces([Piece::Secret(format!("{encoding}|env:PASS").parse().unwrap())])
}

#[tokio::test]
async fn a_script_gets_its_environment_user_and_folder_and_secrets_stay_out_of_argument_lists() {
    let (secrets, _) = secrets();
    let bed = Bed::with_secrets(secrets);
    let fence = bed.lock("p-1").await.unwrap();
    let script = "all=$(cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ')\n\
         case $all in *\"$PASS\"*) echo seen in an argument list; exit 9 ;; esac\n\
         echo \"$PASS\" in $PWD as $(id -un); echo $ENCODED; exit 3";
    let op = Op::Run {
        script: Body::text(script),
        env: BTreeMap::from([
            ("PASS".to_owned(), secret_body("plain")),
            ("ENCODED".to_owned(), secret_body("base64")),
        ]),
        user: Some("games".to_owned()),
        directory: Some("/usr/games".to_owned()),
        timeout_secs: 30,
    };
    let (operation, status, tail) = failure(bed.perform(&fence, vec![op]).await);
    assert_eq!(
        (operation.as_str(), status),
        ("run a script as games", 3),
        "{tail}"
    );
    assert_eq!(tail, "*** in /usr/games as games\n***");
    let log = std::fs::read_to_string(bed.state("log")).unwrap();
    assert!(!log.contains("hunter2"));
    assert!(!Path::new(&bed.state("output")).exists());
}

#[tokio::test]
async fn a_script_that_takes_too_long_is_ended_and_what_it_leaves_running_does_not_hold_the_lock() {
    let bed = Bed::new();
    let fence = bed.lock("p-1").await.unwrap();
    let mut long = run("while :; do sleep 0.05; done");
    if let Op::Run { timeout_secs, .. } = &mut long {
        *timeout_secs = 1;
    }
    assert_eq!(failure(bed.perform(&fence, vec![long]).await).1, 124);
    let pid = bed.path("pid");
    bed.perform(&fence, vec![run(&format!("setsid sleep 300 & echo $! > {pid}"))])
        .await
        .unwrap();
    bed.perform(&fence, vec![run("true")]).await.unwrap();
    let pid = std::fs::read_to_string(pid).unwrap();
    Command::new("kill").arg(pid.trim()).status().unwrap();
}

#[tokio::test]
async fn a_secret_without_a_value_stops_the_call_before_its_first_op() {
    let bed = Bed::new();
    let fence = bed.lock("p-1").await.unwrap();
    let (first, second) = (bed.path("1"), bed.path("2"));
    let mut secret = write(&second, "");
    if let Op::WriteFile { body, .. } = &mut secret {
        *body = secret_body("plain");
    }
    let (operation, _, tail) = failure(bed.perform(&fence, vec![write(&first, "1"), secret]).await);
    assert_eq!(
        (operation, tail.contains("env:PASS")),
        (format!("write {second}"), true)
    );
    assert!(!Path::new(&first).exists());
}

fn settings(path: &str, set: &[(&str, Body)], remove: &[&str]) -> Op {
    Op::Settings {
        path: path.to_owned(),
        format: SettingsFormat::Env,
        set: set
            .iter()
            .map(|(k, v)| (k.to_string(), SettingValue::Text(v.clone())))
            .collect(),
        remove: remove.iter().map(|key| key.to_string()).collect::<BTreeSet<_>>(),
        owner: "games".to_owned(),
        group: "games".to_owned(),
        mode: "0600".to_owned(),
    }
}

#[tokio::test]
async fn keys_are_edited_between_other_ops_and_the_file_keeps_its_owner() {
    let (secrets, _) = secrets();
    let bed = Bed::with_secrets(secrets);
    let fence = bed.lock("p-1").await.unwrap();
    let path = bed.path("app.env");
    let ops = vec![
        write(&path, "theirs=1\nold=2\n"),
        settings(
            &path,
            &[("a", Body::text("x")), ("p", secret_body("plain"))],
            &["old"],
        ),
        settings(&path, &[("b", Body::text("y"))], &[]),
        run(&format!("cp {path} {path}.seen")),
    ];
    bed.perform(&fence, ops).await.unwrap();
    let wanted = "theirs=1\na=x\np=hunter2 'and\" more\nb=y\n";
    assert_eq!(std::fs::read_to_string(format!("{path}.seen")).unwrap(), wanted);
    assert_eq!((mode(&path), std::fs::metadata(&path).unwrap().uid()), (0o640, 0));
    let new = bed.path("new.env");
    bed.perform(&fence, vec![settings(&new, &[("a", Body::text("x"))], &[])])
        .await
        .unwrap();
    assert_eq!(
        (mode(&new), std::fs::metadata(&new).unwrap().uid() == 0),
        (0o600, false)
    );
    let none = bed.path("none.env");
    bed.perform(&fence, vec![settings(&none, &[], &["a"])])
        .await
        .unwrap();
    assert!(!Path::new(&none).exists());
}

#[tokio::test]
async fn a_file_that_others_change_meanwhile_is_read_again() {
    let bed = Bed::new();
    let fence = bed.lock("p-1").await.unwrap();
    let path = bed.path("app.env");
    // The edit of this bed writes to the file itself, once, when it finds this key: see `edit_lines`.
    std::fs::write(&path, format!("race={path}\n")).unwrap();
    bed.perform(&fence, vec![settings(&path, &[("a", Body::text("x"))], &[])])
        .await
        .unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "raced=yes\na=x\n");
}

#[tokio::test]
async fn a_file_that_is_no_text_is_not_edited() {
    let bed = Bed::new();
    let fence = bed.lock("p-1").await.unwrap();
    let path = bed.path("app.env");
    std::fs::write(&path, b"a=\xff\n").unwrap();
    let (_, status, tail) = failure(
        bed.perform(&fence, vec![settings(&path, &[("a", Body::text("x"))], &[])])
            .await,
    );
    assert_eq!((status, tail), (65, format!("{path} is not text")));
}

#[tokio::test]
async fn a_call_that_runs_out_of_time_is_unknown() {
    let bed = Bed::new();
    let fence = bed.lock("p-1").await.unwrap();
    let mut call = call(&fence, vec![run("while :; do sleep 0.05; done")]);
    call.deadline = std::time::Duration::from_secs(2);
    let result = muster::ports::Transport::perform(&bed.transport, &bed.host, &call).await;
    assert!(matches!(result, Err(PerformError::Unknown { .. })), "{result:?}");
}
