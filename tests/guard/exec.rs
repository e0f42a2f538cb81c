//! Commands of people.

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use muster::ports::{Ended, Exec as _, Fence, Order, Output, PerformError, Transport as _};

use crate::bed::{Bed, until};
use crate::lock::end_lease;

fn order(fence: Option<Fence>, command: &str) -> Order {
    Order {
        run: "exec-1".parse().unwrap(),
        fence,
        who: "alice@laptop".to_owned(),
        command: command.to_owned(),
        deadline: Duration::from_secs(60),
    }
}

async fn exec(bed: &Bed, order: &Order) -> (Result<Ended, PerformError>, Vec<(Output, String)>) {
    let lines = Mutex::new(Vec::new());
    let hear = |output: Output, line: &str| lines.lock().unwrap().push((output, line.to_owned()));
    let stop = std::future::pending().boxed();
    let ended = bed.transport.exec(&bed.host, order, &hear, stop).await;
    (ended, lines.into_inner().unwrap())
}

#[tokio::test]
async fn a_command_has_its_own_output_status_and_line_in_the_log() {
    let bed = Bed::new();
    let fence = bed.lock("exec-1").await.unwrap();
    let command = "echo one; echo two >&2; cat; env | wc -l; exit 93";
    let (ended, lines) = exec(&bed, &order(Some(fence), command)).await;
    let ended = ended.unwrap();
    assert_eq!((ended.status, ended.is_stopped, ended.is_cut), (93, false, false));
    let of = |wanted| {
        let lines = lines.iter().filter(|(output, _)| *output == wanted);
        lines.map(|(_, line)| line.as_str()).collect::<Vec<_>>()
    };
    assert_eq!((of(Output::Stdout)[0], of(Output::Stderr)[0]), ("one", "two"));
    let log = std::fs::read_to_string(bed.state("log")).unwrap();
    assert!(
        log.contains("exec-1 1 exec by alice@laptop: echo one; echo two >&2; cat;"),
        "{log}"
    );
    assert!(log.contains("exec by alice@laptop: ended (93)"), "{log}");
    assert!(
        !Path::new(&bed.state("undo")).exists(),
        "it keeps nothing, and pushes out nothing that runs kept"
    );
}

#[tokio::test]
async fn commands_alone_turn_the_log_over_too() {
    let bed = Bed::new();
    let fence = bed.lock("exec-1").await.unwrap();
    std::fs::write(bed.state("log"), "x".repeat(1 << 20)).unwrap();
    let (ended, _) = exec(&bed, &order(Some(fence), "true")).await;
    assert_eq!(ended.unwrap().status, 0);
    let log = std::fs::read_to_string(bed.state("log")).unwrap();
    assert!(log.contains("ended (0)") && log.len() < 1000, "{log}");
    assert_eq!(std::fs::metadata(bed.state("log.1")).unwrap().len(), 1 << 20);
}

/// A command that cannot be ended in time: what became of it is not known, and nobody says that it stopped.
#[tokio::test]
async fn a_command_that_does_not_end_when_it_is_asked_is_killed_or_not_said_to_have_stopped() {
    let bed = Bed::new();
    let fence = bed.lock("exec-1").await.unwrap();
    let began = bed.path("began");
    let command = format!("trap '' TERM; touch {began}; while :; do sleep 1; done");
    let order = order(Some(fence), &command);
    let stop = until("it began", || Path::new(&began).exists());
    let ended = bed
        .transport
        .exec(&bed.host, &order, &|_, _| {}, stop.boxed())
        .await;
    assert!(
        ended.is_ok_and(|ended| ended.is_stopped),
        "it was killed, which was seen"
    );
}

#[tokio::test]
async fn a_command_without_the_lock_is_refused_and_one_that_only_reads_needs_none() {
    let bed = Bed::new();
    let path = bed.path("x");
    let (ended, lines) = exec(&bed, &order(None, &format!("touch {path}"))).await;
    assert_eq!((ended.unwrap().status, lines.len()), (0, 0));
    assert!(!Path::new(&bed.state("")).exists(), "nothing is made for it");
    std::fs::remove_file(&path).unwrap();
    let fence = bed.lock("exec-1").await.unwrap();
    end_lease(&bed);
    let (ended, lines) = exec(&bed, &order(Some(fence), &format!("touch {path}"))).await;
    assert!(matches!(ended, Err(PerformError::Fenced(_))), "{ended:?}");
    assert_eq!(lines, []);
    assert!(!Path::new(&path).exists());
}

#[tokio::test]
async fn lines_come_while_the_command_runs_and_a_stop_ends_it_and_is_written_down() {
    let bed = Bed::new();
    let fence = bed.lock("exec-1").await.unwrap();
    let (began, child) = (bed.path("began"), bed.path("child"));
    let command = format!("echo here; touch {began}; sleep 600 & echo $! >{child}; wait");
    let order = order(Some(fence.clone()), &command);
    let lines = Mutex::new(Vec::new());
    let hear = |_: Output, line: &str| lines.lock().unwrap().push(line.to_owned());
    let stop = async {
        until("the first line is here", || {
            Path::new(&began).exists() && !lines.lock().unwrap().is_empty()
        })
        .await;
    };
    let start = Instant::now();
    let ended = bed
        .transport
        .exec(&bed.host, &order, &hear, stop.boxed())
        .await
        .unwrap();
    assert!(
        ended.is_stopped && start.elapsed() < Duration::from_secs(20),
        "{ended:?}"
    );
    let pid = std::fs::read_to_string(&child).unwrap();
    let state = || std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    until("its child is gone", || {
        state().is_empty() || state().contains(") Z ")
    })
    .await;
    let log = || std::fs::read_to_string(bed.state("log")).unwrap();
    until("the log says so", || {
        log().contains("exec by alice@laptop: ended (143)")
    })
    .await;
    bed.transport.release(&bed.host, &fence).await.unwrap();
    bed.lock("p-2").await.unwrap();
}

#[tokio::test]
async fn a_command_that_never_stops_talking_is_bounded_and_ends() {
    let bed = Bed::new();
    let lines = Mutex::new(0_usize);
    let hear = |_: Output, line: &str| *lines.lock().unwrap() += line.len() + 1;
    let order = order(None, "head -c 100000000 /dev/zero | tr '\\0' y; exit 4");
    let stop = std::future::pending().boxed();
    let ended = bed.transport.exec(&bed.host, &order, &hear, stop).await.unwrap();
    assert!(ended.is_cut && ended.status == 4, "{ended:?}");
    assert!(lines.into_inner().unwrap() < 8 << 20);
}
