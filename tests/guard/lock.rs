//! Who may change a host.

use std::collections::BTreeMap;
use std::path::Path;

use muster::model::holder::Grip;
use muster::model::id::ResourceKey;
use muster::model::manifest::{ManifestState, OwnedState};
use muster::model::op::Op;
use muster::ports::{LockError, LookRequest, PerformError, Transport as _};
use muster::transport::lower::{Guard, Over};

use crate::bed::{Bed, call, mode, owned, raw, request, until, write};

#[tokio::test]
async fn locking_makes_the_guards_files_and_gives_growing_tokens() {
    let bed = Bed::new();
    let first = bed.lock("p-1").await.unwrap();
    assert_eq!(first.token, 1);
    assert_eq!(
        bed.lock("p-1").await.unwrap().token,
        2,
        "the same run takes a new token"
    );
    assert_eq!(
        (
            mode(bed.state("")),
            mode(bed.state("salt")),
            mode(bed.state("fence"))
        ),
        (0o700, 0o600, 0o600)
    );
    let salt = std::fs::read_to_string(bed.state("salt")).unwrap();
    assert_eq!(salt.len(), 45, "32 bytes in Base64 and a line break");
    let manifest = bed.present_manifest().await;
    assert_eq!(
        (
            manifest.fleet.as_str(),
            manifest.host.as_str(),
            manifest.generation
        ),
        ("main", "h1", 0)
    );
    assert_eq!(manifest.lineage.len(), 36);
    assert!(manifest.owned.is_empty() && manifest.last_run.is_none());
}

#[tokio::test]
async fn a_lock_with_a_look_is_a_lock_whose_lease_a_long_look_does_not_use_up() {
    let bed = Bed::new();
    let request = request("p-1", "main", "alice@laptop");
    let locked = bed
        .transport
        .lock_and_look(&bed.host, &request, &LookRequest::default())
        .await;
    let (fence, reply) = locked.unwrap();
    assert_eq!(fence.token, 1);
    assert_eq!(
        reply.manifest.present().unwrap().lineage.len(),
        36,
        "the lock made it first"
    );
    assert!(bed.perform(&fence, Vec::new()).await.is_ok());
    // The look takes five seconds of a lease of eight.
    let (state, wait_secs) = (bed.state(""), 1);
    let guard = Guard {
        state_dir: &state,
        wait_secs,
    };
    let request = muster::ports::LockRequest {
        lease_secs: 8,
        ..request
    };
    let script = guard.lock_and_look(&bed.host, &request, Over::Local, &LookRequest::default());
    let slow = script.replace("\nkeep_lease\n", "\nsleep 5\nkeep_lease\n");
    assert_ne!(script, slow);
    for shell in [&["dash"][..], &["bash", "--posix"]] {
        let ran = raw(shell, &slow);
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(
            said.starts_with("mark ") && said.contains("\ntoken ") && said.ends_with("\nend 5\n"),
            "{ran:?}"
        );
        let text = std::fs::read_to_string(bed.state("fence")).unwrap();
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
            line.trim().parse::<u64>().unwrap()
        };
        assert!(value("renewed ") >= value("taken ") + 4, "{text}");
        assert_eq!(value("until "), value("renewed ") + 8, "{text}");
    }
}

#[tokio::test]
async fn last_entries_are_written_and_the_lock_is_free_with_them() {
    let bed = Bed::new();
    let fence = bed.lock("p-1").await.unwrap();
    let key: ResourceKey = "file[/a]".parse().unwrap();
    let entry = owned(OwnedState::Done);
    let entries = BTreeMap::from([(key.clone(), Some(entry.clone()))]);
    let done = bed.transport.conclude(&bed.host, &fence, &entries).await;
    done.unwrap();
    let manifest = bed.present_manifest().await;
    assert_eq!(manifest.owned.get(&key), Some(&entry));
    assert_eq!(
        manifest.last_run.as_ref().map(ToString::to_string).as_deref(),
        Some("p-1")
    );
    let refused = bed.perform(&fence, Vec::new()).await;
    assert!(matches!(refused, Err(PerformError::Fenced(_))), "{refused:?}");
    let next = bed.lock("p-2").await.unwrap();
    assert_eq!(next.token, 2, "no token comes twice");
    // Whoever has the host since is not disturbed by a second try.
    let again = bed.transport.conclude(&bed.host, &fence, &BTreeMap::new()).await;
    assert!(matches!(again, Err(PerformError::Fenced(_))), "{again:?}");
    assert!(bed.perform(&next, Vec::new()).await.is_ok());
}

#[tokio::test]
async fn a_look_creates_nothing() {
    let bed = Bed::new();
    assert_eq!(bed.manifest().await, ManifestState::Absent);
    assert!(!Path::new(&bed.state("")).exists());
}

#[tokio::test]
async fn another_run_is_refused_while_the_lease_lasts_and_let_in_after_release() {
    let bed = Bed::new();
    let fence = bed.lock("p-1").await.unwrap();
    match bed.lock("p-2").await {
        Err(LockError::Held(holder)) => {
            assert_eq!(
                (holder.grip, holder.run.as_deref(), holder.who.as_str()),
                (Grip::Locked, Some("p-1"), "alice@laptop")
            );
            assert!(holder.age_secs < 60);
        }
        other => panic!("{other:?}"),
    }
    bed.transport.release(&bed.host, &fence).await.unwrap();
    bed.transport.release(&bed.host, &fence).await.unwrap();
    assert_eq!(bed.lock("p-2").await.unwrap().token, 2);
}

/// Ends the present lease, as a minute without renewal would.
pub fn end_lease(bed: &Bed) {
    let fence = std::fs::read_to_string(bed.state("fence")).unwrap();
    let until = fence.lines().find(|line| line.starts_with("until ")).unwrap();
    std::fs::write(bed.state("fence"), fence.replace(until, "until 1")).unwrap();
}

#[tokio::test]
async fn after_the_lease_another_run_takes_over_and_the_first_can_change_nothing() {
    let bed = Bed::new();
    let old = bed.lock("p-1").await.unwrap();
    end_lease(&bed);
    let new = bed.lock("p-2").await.unwrap();
    assert_eq!(new.token, 2);
    let path = bed.path("x");
    let refused = bed.perform(&old, vec![write(&path, "old")]).await;
    assert!(matches!(refused, Err(PerformError::Fenced(_))), "{refused:?}");
    assert!(!Path::new(&path).exists());
    let record = bed.transport.record(&bed.host, &old, &Default::default()).await;
    assert!(matches!(record, Err(PerformError::Fenced(_))), "{record:?}");
    assert_eq!(bed.transport.renew(&bed.host, &old).await, Err(LockError::Lost));
    bed.transport.release(&bed.host, &old).await.unwrap();
    bed.perform(&new, vec![write(&path, "new")]).await.unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
}

#[tokio::test]
async fn an_op_whose_lease_is_over_is_refused_until_the_run_locks_again() {
    let bed = Bed::new();
    let fence = bed.lock("p-1").await.unwrap();
    end_lease(&bed);
    let refused = bed.perform(&fence, vec![]).await;
    assert!(matches!(refused, Err(PerformError::Fenced(_))), "{refused:?}");
    assert_eq!(bed.transport.renew(&bed.host, &fence).await, Err(LockError::Lost));
    let again = bed.lock("p-1").await.unwrap();
    bed.perform(&again, vec![]).await.unwrap();
}

/// Of one run there may be two controllers: one that was paused, and one that resumed it.
#[tokio::test]
async fn an_older_token_of_the_same_run_is_refused() {
    let bed = Bed::new();
    let older = bed.lock("p-1").await.unwrap();
    end_lease(&bed);
    let newer = bed.lock("p-1").await.unwrap();
    assert!(newer.token > older.token && newer.run == older.run);
    let refused = bed.perform(&older, vec![write(&bed.path("x"), "older\n")]).await;
    assert!(matches!(refused, Err(PerformError::Fenced(_))), "{refused:?}");
    assert!(!std::path::Path::new(&bed.path("x")).exists());
    bed.perform(&newer, vec![write(&bed.path("x"), "newer\n")])
        .await
        .unwrap();
}

#[tokio::test]
async fn a_lease_of_another_boot_is_over() {
    let bed = Bed::new();
    bed.lock("p-1").await.unwrap();
    let fence = std::fs::read_to_string(bed.state("fence")).unwrap();
    let boot = fence.lines().find(|line| line.starts_with("boot ")).unwrap();
    assert!(boot["boot ".len()..].parse::<u64>().is_ok(), "{boot}");
    std::fs::write(bed.state("fence"), fence.replace(boot, "boot 17")).unwrap();
    assert_eq!(bed.lock("p-2").await.unwrap().token, 2);
}

#[tokio::test]
async fn renewal_moves_the_end_of_the_lease() {
    let bed = Bed::new();
    let fence = bed.lock("p-1").await.unwrap();
    let text = std::fs::read_to_string(bed.state("fence")).unwrap();
    let end = |text: &str| -> u64 {
        text.lines()
            .find_map(|line| line.strip_prefix("until "))
            .unwrap()
            .parse()
            .unwrap()
    };
    let sooner = text.replace(
        &format!("until {}", end(&text)),
        &format!("until {}", end(&text) - 30),
    );
    std::fs::write(bed.state("fence"), &sooner).unwrap();
    bed.transport.renew(&bed.host, &fence).await.unwrap();
    assert!(end(&std::fs::read_to_string(bed.state("fence")).unwrap()) >= end(&text));
}

#[tokio::test]
async fn a_host_of_another_fleet_or_name_is_refused() {
    let bed = Bed::new();
    let fence = bed.lock("p-1").await.unwrap();
    bed.transport.release(&bed.host, &fence).await.unwrap();
    match bed.lock_for("p-2", "other").await {
        Err(LockError::NotOurs(why)) => assert_eq!(why, "this machine is h1 of fleet main"),
        other => panic!("{other:?}"),
    }
    assert_eq!(
        bed.lock("p-3").await.unwrap().token,
        2,
        "a refusal hands out no token"
    );
}

#[tokio::test]
async fn a_broken_fence_is_never_read_as_no_token_yet() {
    let bed = Bed::new();
    let fence = bed.lock("p-1").await.unwrap();
    for broken in ["", "muster-fence 1\n", "token x\n"] {
        std::fs::write(bed.state("fence"), broken).unwrap();
        assert!(matches!(bed.lock("p-1").await, Err(LockError::Reach(_))));
        assert!(bed.perform(&fence, vec![]).await.is_err());
    }
}

#[tokio::test]
async fn a_renewal_during_an_operation_does_not_wait_for_it() {
    let bed = Bed::new();
    let fence = bed.lock("p-1").await.unwrap();
    let (began, go) = (bed.path("began"), bed.path("go"));
    let script = format!("touch {began}; while [ ! -e {go} ]; do sleep 0.05; done");
    let work = bed.perform(&fence, vec![run(&script)]);
    let renew = async {
        until("the op runs", || Path::new(&began).exists()).await;
        let renewed = bed.transport.renew(&bed.host, &fence).await;
        std::fs::write(&go, "").unwrap();
        renewed
    };
    let (done, renewed) = tokio::join!(work, renew);
    done.unwrap();
    renewed.unwrap();
}

fn run(script: &str) -> Op {
    crate::ops::run(script)
}

#[tokio::test]
async fn dash_and_bash_agree_on_every_script() {
    for shell in [&["dash"][..], &["bash", "--posix"]] {
        let bed = Bed::new();
        let state = bed.state("");
        let guard = Guard {
            state_dir: state.trim_end_matches('/'),
            wait_secs: 5,
        };
        let request = request("p-1", "main", "it's \"me\"\nhere");
        let locked = raw(shell, &guard.lock(&bed.host, &request, Over::Ssh));
        let said = String::from_utf8_lossy(&locked.stdout).into_owned();
        assert_eq!(
            (said.as_str(), locked.status.code()),
            ("token 1\nend\n", Some(0)),
            "{shell:?}"
        );
        let fence = muster::ports::Fence {
            run: request.run,
            token: 1,
        };
        let renewed = raw(shell, &guard.renew(&fence, Over::Ssh));
        assert_eq!(String::from_utf8_lossy(&renewed.stdout), "end\n", "{shell:?}");
        // The same state folder, written by one shell and read through another.
        let path = bed.path("it's here");
        bed.transport
            .perform(&bed.host, &call(&fence, vec![write(&path, "x")]))
            .await
            .unwrap();
        let released = raw(shell, &guard.release(&fence));
        assert_eq!(String::from_utf8_lossy(&released.stdout), "end\n", "{shell:?}");
        assert!(matches!(bed.manifest().await, ManifestState::Present(_)));
        for answer in [locked, renewed, released] {
            assert_eq!(String::from_utf8_lossy(&answer.stderr), "", "{shell:?}");
        }
    }
}

#[tokio::test]
async fn a_host_known_under_a_former_name_takes_the_new_one_and_keeps_its_lineage() {
    let bed = Bed::new();
    let fence = bed.lock_for("p-1", "old").await.unwrap();
    let before = bed.present_manifest().await;
    bed.transport.release(&bed.host, &fence).await.unwrap();
    assert!(matches!(
        bed.lock_for("p-2", "main").await,
        Err(LockError::NotOurs(_))
    ));
    let mut request = request("p-2", "main", "alice@laptop");
    request.former = Some(("old".parse().unwrap(), bed.host.clone()));
    bed.transport.lock(&bed.host, &request).await.unwrap();
    let after = bed.present_manifest().await;
    assert_eq!((after.fleet.as_str(), &after.lineage), ("main", &before.lineage));
    assert!(after.generation > before.generation);
    assert_eq!(after.last_run, Some("p-2".parse().unwrap()));
}
