//! Holds of people, what breaks whose claim, and connections that a takeover ends.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use muster::model::holder::{Grip, Holder};
use muster::ports::{LockError, LookRequest, PerformError, Transport as _, Warden as _};
use muster::transport::lower::{Guard, Over};

use crate::bed::{Bed, raw, request, until, write};
use crate::lock::end_lease;

async fn standing(bed: &Bed) -> Option<Holder> {
    bed.transport.standing(&bed.host).await.unwrap()
}

fn holder<T>(refused: Result<T, LockError>) -> Holder {
    match refused.map(|_| ()) {
        Err(LockError::Held(holder)) => holder,
        other => panic!("{other:?}"),
    }
}

fn log(bed: &Bed) -> String {
    std::fs::read_to_string(bed.state("log")).unwrap_or_default()
}

#[tokio::test]
async fn who_has_the_host_is_told_and_telling_creates_nothing() {
    let bed = Bed::new();
    assert_eq!(standing(&bed).await, None);
    assert!(!Path::new(&bed.state("")).exists());
    let asked = request("p-1", "main", "alice@laptop");
    let look = LookRequest::default();
    bed.transport.reserve(&bed.host, &asked, &look).await.unwrap();
    let grip = |standing: Option<Holder>| standing.map(|holder| (holder.grip, holder.run));
    assert_eq!(
        grip(standing(&bed).await),
        Some((Grip::Reserved, Some("p-1".to_owned())))
    );
    let fence = bed.lock("p-1").await.unwrap();
    assert_eq!(
        grip(standing(&bed).await),
        Some((Grip::Locked, Some("p-1".to_owned())))
    );
    bed.transport.release(&bed.host, &fence).await.unwrap();
    assert_eq!(standing(&bed).await, None);
}

#[tokio::test]
async fn a_hold_keeps_every_run_out_until_its_person_releases_it() {
    let bed = Bed::new();
    let reason = "disk swap; it's $(ours) \"until\" noon";
    bed.transport
        .hold(&bed.host, "alice@laptop", reason)
        .await
        .unwrap();
    let look = LookRequest::default();
    let asked = request("p-1", "main", "alice@laptop");
    let told = [
        holder(bed.transport.reserve(&bed.host, &asked, &look).await),
        holder(bed.lock("p-1").await),
        holder(bed.transport.hold(&bed.host, "bob@desk", "mine").await),
        holder(bed.transport.free(&bed.host, "bob@desk").await),
        standing(&bed).await.unwrap(),
    ];
    for told in told {
        assert_eq!((told.grip, told.run.as_deref()), (Grip::Held, None));
        assert_eq!(
            (told.who.as_str(), told.reason.as_deref()),
            ("alice@laptop", Some(reason))
        );
        assert!(told.age_secs < 60);
    }
    // Neither the boot nor the clock ends it.
    let text = std::fs::read_to_string(bed.state("hold")).unwrap();
    let at = text.lines().find(|line| line.starts_with("at ")).unwrap();
    for then in ["at 1", "at 99999999999", "at ?"] {
        std::fs::write(bed.state("hold"), text.replace(at, then)).unwrap();
        assert_eq!(holder(bed.lock("p-1").await).grip, Grip::Held, "{then}");
    }
    std::fs::write(bed.state("hold"), "").unwrap();
    assert_eq!(
        holder(bed.lock("p-1").await).grip,
        Grip::Held,
        "a hold that cannot be read is one"
    );
    std::fs::write(bed.state("hold"), &text).unwrap();
    bed.transport
        .hold(&bed.host, "alice@laptop", "longer")
        .await
        .unwrap();
    assert_eq!(standing(&bed).await.unwrap().reason.as_deref(), Some("longer"));
    assert!(bed.transport.free(&bed.host, "alice@laptop").await.unwrap());
    assert!(!bed.transport.free(&bed.host, "alice@laptop").await.unwrap());
    bed.lock("p-1").await.unwrap();
    assert!(
        log(&bed).contains("hold by alice@laptop: disk swap"),
        "{}",
        log(&bed)
    );
}

#[tokio::test]
async fn a_hold_is_refused_while_a_run_has_the_host() {
    let bed = Bed::new();
    let fence = bed.lock("p-1").await.unwrap();
    assert_eq!(
        holder(bed.transport.hold(&bed.host, "bob", "x").await).grip,
        Grip::Locked
    );
    bed.transport.release(&bed.host, &fence).await.unwrap();
    let asked = request("p-1", "main", "alice@laptop");
    bed.transport
        .reserve(&bed.host, &asked, &LookRequest::default())
        .await
        .unwrap();
    assert_eq!(
        holder(bed.transport.hold(&bed.host, "bob", "x").await).grip,
        Grip::Reserved
    );
    assert!(!Path::new(&bed.state("hold")).exists());
}

#[tokio::test]
async fn a_broken_lock_fences_its_run_off_and_the_log_says_who_broke_it() {
    let bed = Bed::new();
    assert_eq!(
        bed.transport.break_open(&bed.host, "bob@desk", "x").await,
        Ok(None)
    );
    let old = bed.lock("p-1").await.unwrap();
    let had = bed
        .transport
        .break_open(&bed.host, "bob@desk", "laptop lost")
        .await
        .unwrap();
    assert_eq!(
        had.map(|had| (had.grip, had.run)),
        Some((Grip::Locked, Some("p-1".to_owned())))
    );
    assert_eq!(standing(&bed).await, None);
    let path = bed.path("x");
    let refused = bed.perform(&old, vec![write(&path, "old")]).await;
    assert!(matches!(refused, Err(PerformError::Fenced(_))), "{refused:?}");
    assert_eq!(bed.transport.renew(&bed.host, &old).await, Err(LockError::Lost));
    assert!(!Path::new(&path).exists());
    assert!(log(&bed).contains("break by bob@desk of the lock of run p-1 of alice@laptop: laptop lost"));
    assert_eq!(bed.lock("p-2").await.unwrap().token, old.token + 2);
}

#[tokio::test]
async fn reservations_and_holds_are_broken_too() {
    let bed = Bed::new();
    let asked = request("p-1", "main", "alice@laptop");
    bed.transport
        .reserve(&bed.host, &asked, &LookRequest::default())
        .await
        .unwrap();
    bed.transport.break_open(&bed.host, "bob", "why").await.unwrap();
    bed.transport
        .hold(&bed.host, "alice@laptop", "swap")
        .await
        .unwrap();
    let had = bed.transport.break_open(&bed.host, "bob", "why").await.unwrap();
    assert_eq!(had.and_then(|had| had.reason).as_deref(), Some("swap"));
    assert_eq!(standing(&bed).await, None);
    for line in [
        "break by bob of the reservation of run p-1 of alice@laptop: why",
        "break by bob of the hold of alice@laptop: why",
    ] {
        assert!(log(&bed).contains(line), "{}", log(&bed));
    }
}

#[tokio::test]
async fn a_break_waits_for_what_runs_and_then_refuses() {
    let bed = Bed::new();
    bed.lock("p-1").await.unwrap();
    let held = std::fs::File::options()
        .append(true)
        .open(bed.state("lock"))
        .unwrap();
    held.lock().unwrap();
    let guard = Guard {
        state_dir: &bed.state(""),
        wait_secs: 1,
    };
    let ran = raw(&["sh"], &guard.break_open("bob", "x", Over::Ssh));
    assert_eq!(
        ran.status.code(),
        Some(94),
        "{}",
        String::from_utf8_lossy(&ran.stdout)
    );
    assert_eq!(standing(&bed).await.map(|holder| holder.grip), Some(Grip::Locked));
}

/// A process that looks like the sshd of a connection: a shell of that name, which runs scripts as children.
struct Sshd {
    _folder: tempfile::TempDir,
    child: Child,
}

impl Sshd {
    /// Starts one whose child runs a script, and waits until that has ended. `name` is the program's.
    fn run(name: &str, script: &str) -> (Self, String) {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join(name);
        std::fs::copy("/bin/dash", &program).unwrap();
        let (input, output) = (folder.path().join("script"), folder.path().join("said"));
        std::fs::write(&input, format!("main() {{\n{script}\n}}\nmain </dev/null\n")).unwrap();
        // A subshell more, as with sudo: the guard looks for the nearest ancestor of that name.
        let line = format!(
            "sh -c 'sh {} >{}; true'; touch {}/done; while :; do sleep 1; done",
            input.display(),
            output.display(),
            folder.path().display()
        );
        let child = Command::new(&program)
            .args(["-c", &line])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        while !folder.path().join("done").exists() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let said = std::fs::read_to_string(output).unwrap();
        (
            Self {
                _folder: folder,
                child,
            },
            said,
        )
    }

    fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lock_script(bed: &Bed, run: &str, over: Over) -> String {
    let state = bed.state("");
    let guard = Guard {
        state_dir: &state,
        wait_secs: 1,
    };
    guard.lock(&bed.host, &request(run, "main", "alice@laptop"), over)
}

#[tokio::test]
async fn a_takeover_ends_the_connection_of_whoever_slept_before_it_hands_out_a_token() {
    for name in ["sshd", "sshd-session"] {
        let bed = Bed::new();
        let (mut old, said) = Sshd::run(name, &lock_script(&bed, "p-1", Over::Ssh));
        assert_eq!(said, "token 1\nend\n");
        holder(bed.lock("p-2").await);
        assert!(old.is_running(), "a refusal ends nothing");
        end_lease(&bed);
        assert_eq!(bed.lock("p-2").await.unwrap().token, 2);
        until("the connection is gone", || !old.is_running()).await;
        assert!(
            log(&bed).contains("end the connection of run p-1: done"),
            "{}",
            log(&bed)
        );
    }
}

#[tokio::test]
async fn a_break_and_the_same_run_on_another_connection_end_it_too() {
    let bed = Bed::new();
    let (mut old, _) = Sshd::run("sshd", &lock_script(&bed, "p-1", Over::Ssh));
    bed.transport.break_open(&bed.host, "bob", "why").await.unwrap();
    until("the connection is gone", || !old.is_running()).await;
    let (mut old, _) = Sshd::run("sshd", &lock_script(&bed, "p-1", Over::Ssh));
    let (mut new, said) = Sshd::run("sshd", &lock_script(&bed, "p-1", Over::Ssh));
    assert!(said.starts_with("token "), "{said}");
    until("the connection is gone", || !old.is_running()).await;
    assert!(new.is_running());
}

#[tokio::test]
async fn only_the_very_process_that_held_the_connection_is_ended() {
    let bed = Bed::new();
    let (mut old, _) = Sshd::run("sshd", &lock_script(&bed, "p-1", Over::Ssh));
    let fence = std::fs::read_to_string(bed.state("fence")).unwrap();
    let line = fence.lines().find(|line| line.starts_with("sshd ")).unwrap();
    let (pid, start) = line["sshd ".len()..].split_once(' ').unwrap();
    assert_eq!(pid.parse::<u32>().unwrap(), old.child.id());
    // Its number was given out again, or this is another boot.
    let other = format!("sshd {pid} {}", start.parse::<u64>().unwrap() + 1);
    std::fs::write(bed.state("fence"), fence.replace(line, &other)).unwrap();
    end_lease(&bed);
    bed.lock("p-2").await.unwrap();
    assert!(old.is_running());
    let boot = fence.lines().find(|line| line.starts_with("boot ")).unwrap();
    std::fs::write(bed.state("fence"), fence.replace(boot, "boot 17")).unwrap();
    bed.lock("p-3").await.unwrap();
    assert!(old.is_running());
}

#[tokio::test]
async fn a_lock_that_came_over_this_connection_or_from_this_machine_ends_none() {
    let bed = Bed::new();
    let twice = format!(
        "({})\n({})",
        lock_script(&bed, "p-1", Over::Ssh),
        lock_script(&bed, "p-1", Over::Ssh)
    );
    let (mut own, said) = Sshd::run("sshd", &twice);
    assert_eq!(said, "token 1\nend\ntoken 2\nend\n");
    assert!(own.is_running());
    let (mut local, _) = Sshd::run("sshd", &lock_script(&bed, "p-1", Over::Local));
    assert!(
        std::fs::read_to_string(bed.state("fence"))
            .unwrap()
            .contains("sshd -\n")
    );
    end_lease(&bed);
    bed.lock("p-2").await.unwrap();
    assert!(local.is_running());
}

#[tokio::test]
async fn a_lease_is_as_long_as_it_was_asked_for() {
    let bed = Bed::new();
    let mut asked = request("p-1", "main", "alice@laptop");
    asked.lease_secs = 10;
    let fence = bed.transport.lock(&bed.host, &asked).await.unwrap();
    let lease = || {
        let text = std::fs::read_to_string(bed.state("fence")).unwrap();
        let secs = |key: &str| -> u64 {
            let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
            line.trim().parse().unwrap()
        };
        secs("until ") - secs("renewed ")
    };
    assert_eq!(lease(), 10);
    bed.transport.renew(&bed.host, &fence).await.unwrap();
    assert_eq!(lease(), 10);
    bed.perform(&fence, vec![]).await.unwrap();
    assert_eq!(lease(), 10);
}

#[tokio::test]
async fn dash_and_bash_agree_on_what_people_do() {
    for shell in [&["dash"][..], &["bash", "--posix"]] {
        let bed = Bed::new();
        let state = bed.state("");
        let guard = Guard {
            state_dir: &state,
            wait_secs: 1,
        };
        let who = "it's \"me\"\nhere";
        let hold = "state held\nwho it's \"me\"\\nhere\nage 0\nreason a\\nb\n";
        let told = [
            (guard.standing(), "state free\nend\n".to_owned(), 0),
            (guard.hold(who, "a\nb"), "end\n".to_owned(), 0),
            (guard.standing(), format!("{hold}end\n"), 0),
            (guard.hold("bob", "x"), format!("{hold}refused held\n"), 92),
            (guard.free(who), format!("{hold}end\n"), 0),
            (guard.free(who), "state free\nend\n".to_owned(), 0),
            (
                guard.break_open(who, "why", Over::Ssh),
                "state free\nend\n".to_owned(),
                0,
            ),
        ];
        for (script, wanted, status) in told {
            let ran = raw(shell, &script);
            let said = String::from_utf8_lossy(&ran.stdout).replace("age 1\n", "age 0\n");
            assert_eq!(
                (said.as_str(), ran.status.code()),
                (wanted.as_str(), Some(status)),
                "{shell:?}"
            );
            assert_eq!(String::from_utf8_lossy(&ran.stderr), "", "{shell:?}");
        }
    }
}
