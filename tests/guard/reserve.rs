//! Reservations: who may come next.

use std::path::Path;

use muster::model::holder::{Grip, Holder};
use muster::model::manifest::ManifestState;
use muster::ports::{LockError, LookReply, LookRequest, Transport as _};
use muster::transport::lower::Guard;

use crate::bed::{Bed, raw, request};

async fn reserve(bed: &Bed, run: &str) -> Result<LookReply, LockError> {
    let request = request(run, "main", "alice@laptop");
    let look = LookRequest::default();
    bed.transport.reserve(&bed.host, &request, &look).await
}

fn holder<T>(refused: Result<T, LockError>) -> Holder {
    match refused.map(|_| ()) {
        Err(LockError::Held(holder)) => holder,
        other => panic!("{other:?}"),
    }
}

/// Changes one line of the reservation.
fn edit(bed: &Bed, key: &str, value: &str) {
    let text = std::fs::read_to_string(bed.state("reserved")).unwrap();
    let line = text.lines().find(|line| line.starts_with(key)).unwrap();
    std::fs::write(
        bed.state("reserved"),
        text.replace(line, &format!("{key} {value}")),
    )
    .unwrap();
}

#[tokio::test]
async fn a_reservation_looks_and_leaves_nothing_but_itself() {
    let bed = Bed::new();
    let reply = reserve(&bed, "p-1").await.unwrap();
    assert_eq!(
        (reply.manifest, reply.salt.is_none()),
        (ManifestState::Absent, true)
    );
    assert!(!Path::new(&bed.state("fence")).exists());
    bed.transport
        .unreserve(&bed.host, &"p-1".parse().unwrap())
        .await
        .unwrap();
    assert!(!Path::new(&bed.state("reserved")).exists());
    bed.transport
        .unreserve(&bed.host, &"p-1".parse().unwrap())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_reservation_keeps_other_runs_out_and_goes_into_the_lock() {
    let bed = Bed::new();
    reserve(&bed, "p-1").await.unwrap();
    let told = holder(reserve(&bed, "p-2").await);
    assert_eq!(
        (told.grip, told.run.as_deref(), told.who.as_str()),
        (Grip::Reserved, Some("p-1"), "alice@laptop")
    );
    assert_eq!(holder(bed.lock("p-2").await).grip, Grip::Reserved);
    bed.transport
        .unreserve(&bed.host, &"p-2".parse().unwrap())
        .await
        .unwrap();
    holder(reserve(&bed, "p-2").await);

    let fence = bed.lock("p-1").await.unwrap();
    assert!(!Path::new(&bed.state("reserved")).exists());
    assert_eq!(holder(reserve(&bed, "p-2").await).grip, Grip::Locked);
    bed.transport.release(&bed.host, &fence).await.unwrap();
    reserve(&bed, "p-2").await.unwrap();
}

#[tokio::test]
async fn a_reservation_ends_after_ten_minutes_of_uptime_or_with_the_boot() {
    let bed = Bed::new();
    reserve(&bed, "p-1").await.unwrap();
    let text = std::fs::read_to_string(bed.state("reserved")).unwrap();
    let secs = |key: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim().parse().unwrap()
    };
    let uptime: f64 = std::fs::read_to_string("/proc/uptime")
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(secs("until ") - secs("taken "), 600);
    assert!(
        secs("taken ").abs_diff(uptime as u64) < 60,
        "by uptime, never by the wall clock"
    );

    edit(&bed, "until", &(uptime as u64 + 30).to_string());
    holder(reserve(&bed, "p-2").await);
    edit(&bed, "until", &(uptime as u64).to_string());
    reserve(&bed, "p-2").await.unwrap();

    edit(&bed, "boot", "17");
    reserve(&bed, "p-3").await.unwrap();
    edit(&bed, "boot", "17");
    bed.lock("p-4").await.unwrap();
}

#[tokio::test]
async fn a_renewed_reservation_keeps_its_age_and_moves_its_end() {
    let bed = Bed::new();
    reserve(&bed, "p-1").await.unwrap();
    let uptime = |bed: &Bed| {
        let text = std::fs::read_to_string(bed.state("reserved")).unwrap();
        let secs = |key: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(key))
                .unwrap()
                .trim()
                .parse::<u64>()
                .unwrap()
        };
        (secs("taken "), secs("until "))
    };
    let (taken, until) = uptime(&bed);
    edit(&bed, "until", &(until - 500).to_string());
    edit(&bed, "taken", &(taken - 100).to_string());
    reserve(&bed, "p-1").await.unwrap();
    assert_eq!(uptime(&bed).0, taken - 100);
    assert!(uptime(&bed).1 >= until);
    assert!(holder(reserve(&bed, "p-2").await).age_secs >= 100);
}

#[tokio::test]
async fn an_operation_that_still_runs_is_waited_for_and_then_refuses() {
    let bed = Bed::new();
    bed.lock("p-1").await.unwrap();
    std::fs::remove_file(bed.state("fence")).unwrap();
    let held = std::fs::File::options()
        .append(true)
        .open(bed.state("lock"))
        .unwrap();
    held.lock().unwrap();
    let guard = Guard {
        state_dir: &bed.state(""),
        wait_secs: 1,
    };
    let script = guard.reserve(&request("p-2", "main", "bob"), &LookRequest::default());
    let refused = raw(&["sh"], &script);
    assert_eq!(
        refused.status.code(),
        Some(94),
        "{}",
        String::from_utf8_lossy(&refused.stdout)
    );
    assert!(!Path::new(&bed.state("reserved")).exists());
}

#[tokio::test]
async fn a_look_of_a_reservation_does_not_hold_the_lock_file() {
    let bed = Bed::new();
    let guard = Guard {
        state_dir: &bed.state(""),
        wait_secs: 1,
    };
    for shell in [&["dash"][..], &["bash", "--posix"]] {
        let script = guard.reserve(
            &request("p-1", "main", "it's \"me\"\nhere"),
            &LookRequest::default(),
        );
        let script = script.replace(
            "\nfinish\n",
            &format!("\nflock -n {} true && finish\n", bed.state("lock")),
        );
        let ran = raw(shell, &script);
        assert!(
            String::from_utf8_lossy(&ran.stdout).ends_with("\nend 5\n"),
            "{shell:?} {ran:?}"
        );
        assert_eq!(String::from_utf8_lossy(&ran.stderr), "", "{shell:?}");
    }
}

#[tokio::test]
async fn a_broken_reservation_is_never_read_as_none() {
    let bed = Bed::new();
    reserve(&bed, "p-1").await.unwrap();
    edit(&bed, "until", "soon");
    assert!(matches!(reserve(&bed, "p-2").await, Err(LockError::Reach(_))));
    assert!(matches!(bed.lock("p-1").await, Err(LockError::Reach(_))));
}
