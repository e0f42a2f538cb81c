//! What a host remembers.

use std::collections::BTreeMap;
use std::time::Instant;

use muster::model::id::ResourceKey;
use muster::model::manifest::{ManifestState, OwnedState};
use muster::model::manifest_text;
use muster::model::op::Probe;
use muster::ports::{LockError, PerformError, Transport as _};
use muster::transport::lower::{Guard, Over, Then, op};

use crate::bed::{Bed, call, owned, raw, request, spawn, until, write};

fn keys(count: usize) -> Vec<ResourceKey> {
    // Odd names are among them: control characters, quotes, and kinds whose order by bytes differs.
    let odd = ["file[/etc/a b\tc\n'\"\\]", "file-x[a]", "zz[é]"];
    let plain = (0..count).map(|n| format!("file[/etc/app/{n:04}.conf]"));
    odd.iter()
        .map(|name| name.to_string())
        .chain(plain)
        .map(|name| name.parse().unwrap())
        .collect()
}

#[tokio::test]
async fn five_hundred_entries_are_set_and_removed_quickly() {
    let bed = Bed::new();
    let fence = bed.lock("p-1").await.unwrap();
    let all: BTreeMap<_, _> = keys(500)
        .into_iter()
        .map(|key| (key, Some(owned(OwnedState::Done))))
        .collect();
    bed.transport.record(&bed.host, &fence, &all).await.unwrap();
    let manifest = bed.present_manifest().await;
    assert_eq!((manifest.owned.len(), manifest.generation), (503, 1));
    assert_eq!(manifest.last_run.as_ref().unwrap().as_str(), "p-1");
    assert!(
        manifest
            .owned
            .values()
            .all(|entry| *entry == owned(OwnedState::Done))
    );

    let mut some = BTreeMap::new();
    for (n, key) in keys(500)
        .into_iter()
        .enumerate()
        .filter(|(n, _)| n % 50 == 0 || *n < 3)
    {
        some.insert(key, (n % 2 == 1).then(|| owned(OwnedState::Intent)));
    }
    some.insert("file[/new]".parse().unwrap(), Some(owned(OwnedState::Intent)));
    some.insert("file[/never-there]".parse().unwrap(), None);
    let started = Instant::now();
    bed.transport.record(&bed.host, &fence, &some).await.unwrap();
    assert!(started.elapsed().as_secs_f32() < 3.0, "{:?}", started.elapsed());

    let mut wanted = manifest.owned.clone();
    for (key, entry) in some {
        match entry {
            Some(entry) => drop(wanted.insert(key, entry)),
            None => drop(wanted.remove(&key)),
        }
    }
    let after = bed.present_manifest().await;
    assert_eq!((after.owned, after.generation), (wanted, 2));
    assert_eq!(after.lineage, manifest.lineage);
    let text = std::fs::read_to_string(bed.state("manifest")).unwrap();
    assert_eq!(
        manifest_text::write(&bed.present_manifest().await),
        text,
        "both sides write one form"
    );
    let before = std::fs::read_to_string(bed.state("manifest.previous")).unwrap();
    assert_eq!(manifest_text::read(&before).unwrap(), manifest);
}

#[tokio::test]
async fn a_damaged_manifest_holds_the_host() {
    let bed = Bed::new();
    let fence = bed.lock("p-1").await.unwrap();
    let text = std::fs::read_to_string(bed.state("manifest")).unwrap();
    let entry: BTreeMap<_, _> = [(ResourceKey::new("file", "/x"), Some(owned(OwnedState::Done)))].into();
    for damaged in [
        "".to_owned(),
        text[..text.len() / 2].to_owned(),
        text.replace("h1", "h2"),
    ] {
        std::fs::write(bed.state("manifest"), &damaged).unwrap();
        assert!(matches!(bed.manifest().await, ManifestState::Unreadable(_)));
        assert!(matches!(bed.lock("p-1").await, Err(LockError::NotOurs(_))));
        let record = bed.transport.record(&bed.host, &fence, &entry).await;
        assert!(matches!(record, Err(PerformError::Failed { .. })), "{record:?}");
        assert_eq!(std::fs::read_to_string(bed.state("manifest")).unwrap(), damaged);
    }
}

#[tokio::test]
async fn a_manifest_that_went_away_is_not_taken_for_a_new_host() {
    let bed = Bed::new();
    let fence = bed.lock("p-1").await.unwrap();
    bed.transport
        .record(&bed.host, &fence, &BTreeMap::new())
        .await
        .unwrap();
    std::fs::remove_file(bed.state("manifest")).unwrap();
    assert!(matches!(bed.manifest().await, ManifestState::Unreadable(_)));
    assert!(
        bed.lock("p-1").await.is_err(),
        "locking must not make a new lineage over a lost one"
    );
}

#[tokio::test]
async fn intents_stand_before_the_first_op_and_outlive_a_kill() {
    let bed = Bed::new();
    let fence = bed.lock("p-1").await.unwrap();
    let (began, never) = (bed.path("began"), bed.path("never"));
    let mut call = call(&fence, vec![write(&bed.path("first"), "1")]);
    call.intents
        .insert(ResourceKey::new("file", "/x"), owned(OwnedState::Intent));
    call.ops.push(crate::ops::run(&format!(
        "touch {began}; while :; do sleep 0.05; done"
    )));
    call.ops.push(write(&never, "3"));
    let acts: Vec<_> = call
        .ops
        .iter()
        .map(|op| {
            op::act(op, &|body| body.fill(|_| None))
                .unwrap()
                .expect("no keyed edit")
        })
        .collect();
    let state = bed.state("");
    let guard = Guard {
        state_dir: state.trim_end_matches('/'),
        wait_secs: 5,
    };
    let script = guard.perform(&fence, false, &call.intents, &acts, &Then::Look(&call.probes));
    let mut child = spawn(&["sh"]);
    use std::io::Write as _;
    let whole = format!("main() {{\n{script}\n}}\nmain </dev/null\n");
    child.stdin.take().unwrap().write_all(whole.as_bytes()).unwrap();
    until("the second op runs", || std::path::Path::new(&began).exists()).await;
    child.kill().unwrap();
    child.wait().unwrap();

    let manifest = bed.present_manifest().await;
    assert_eq!(
        manifest.owned[&ResourceKey::new("file", "/x")].state,
        OwnedState::Intent
    );
    assert_eq!(std::fs::read_to_string(bed.path("first")).unwrap(), "1");
    assert!(!std::path::Path::new(&never).exists());
    // The op is still there and still holds the lock file, so nobody can begin beside it.
    let request = guard.lock(&bed.host, &request("p-1", "main", "alice@laptop"), Over::Local);
    let refused = raw(
        &["sh"],
        &request.replace("wait=5", "wait=0").replace("h1 5 ", "h1 0 "),
    );
    assert_eq!(
        refused.status.code(),
        Some(94),
        "{}",
        String::from_utf8_lossy(&refused.stdout)
    );
    // It leads a group, in which its script runs.
    std::process::Command::new("sh")
        .args(["-c", &format!("for p in /proc/[0-9]*; do [ \"$(readlink $p/fd/8)\" = {} ] && {{ kill -s KILL -- -${{p#/proc/}} || kill -s KILL ${{p#/proc/}}; }}; done; true", bed.state("lock"))])
        .status()
        .unwrap();
    let again = bed.lock("p-1").await.unwrap();
    assert!(again.token > fence.token);
    let (_, answers) = bed
        .look(vec![Probe::Path {
            path: never,
            content: muster::model::op::ContentWanted::None,
        }])
        .await;
    assert_eq!(crate::bed::text(&answers[0]).0, "type=absent\n");
}
