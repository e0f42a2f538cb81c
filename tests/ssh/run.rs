//! Scripts on a host.

use std::fs;
use std::time::{Duration, Instant};

use muster::ports::ReachError;
use muster::transport::shell::{DialError, ShellError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::client::{Client, text};
use super::sshd::{Keys, Sshd, free_port, until};

/// Longer than anything here takes.
pub const SOON: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_script_runs_as_root_in_an_empty_environment() {
    let sshd = Sshd::fresh();
    let shell = Client::of(&sshd).shell().await.expect("a shell");
    let ran = shell
        .run(
            "id -u; echo oh >&2; tr '\\0' '\\n' </proc/$$/environ; exit 3",
            SOON,
        )
        .await;
    let ran = ran.expect("it ran");
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(text(&ran.stdout), format!("0\nPATH={path}\nLC_ALL=C\n"));
    assert_eq!((text(&ran.stderr).as_str(), ran.status), ("oh\n", 3));
}

#[tokio::test]
async fn commands_cannot_eat_the_script() {
    let sshd = Sshd::fresh();
    let shell = Client::of(&sshd).shell().await.expect("a shell");
    let ran = shell.run("cat\necho after", SOON).await.expect("it ran");
    assert_eq!(text(&ran.stdout), "after\n");
}

#[tokio::test]
async fn a_script_that_a_signal_ends_has_the_signals_status() {
    let sshd = Sshd::fresh();
    let shell = Client::of(&sshd).shell().await.expect("a shell");
    assert_eq!(
        shell.run("kill -KILL $$", SOON).await.expect("it ended").status,
        137
    );
}

/// An sshd whose sessions begin with a profile.
fn with_profile(profile: &str) -> Sshd {
    let keys = Keys::new();
    let file = keys.path("profile");
    fs::write(&file, profile).expect("a profile");
    // bash reads this file before a command, as it reads .bashrc in an sshd session.
    let sshd = keys.serve(&format!("SetEnv BASH_ENV={}", file.display()));
    assert!(
        fs::read_to_string("/etc/passwd")
            .expect("accounts")
            .contains("root:/root:/bin/bash")
    );
    sshd
}

#[tokio::test]
async fn a_slow_profile_that_prints_does_not_show() {
    let sshd = with_profile("echo Welcome; echo Beware >&2; sleep 1; echo Ready");
    let shell = Client::of(&sshd).shell().await.expect("a shell");
    let ran = shell.run("echo out; echo err >&2", SOON).await.expect("it ran");
    assert_eq!(
        (text(&ran.stdout).as_str(), text(&ran.stderr).as_str()),
        ("out\n", "err\n")
    );
}

#[tokio::test]
async fn eight_mebibytes_go_both_ways_at_once_and_over_new_keys() {
    // The profile talks before anybody reads: whoever only writes would wait for ever. The small limit makes both
    // ends agree on new keys in between.
    let keys = Keys::new();
    fs::write(keys.path("profile"), "head -c 8388608 /dev/zero").expect("a profile");
    let more = format!(
        "RekeyLimit 2M\nSetEnv BASH_ENV={}",
        keys.path("profile").display()
    );
    let sshd = keys.serve(&more);
    let shell = Client::of(&sshd).shell().await.expect("a shell");
    let line = "0123456789abcde\n";
    let content = line.repeat((8 << 20) / line.len());
    let script = format!("cat <<'END'\n{content}END\n");
    let ran = shell.run(&script, SOON).await.expect("it ran");
    assert_eq!((ran.stdout.len(), ran.status), (8 << 20, 0));
    assert!(
        ran.stdout == content.as_bytes(),
        "what came back is what was sent"
    );
}

#[tokio::test]
async fn a_deadline_stops_the_script() {
    let sshd = Sshd::fresh();
    let shell = Client::of(&sshd).shell().await.expect("a shell");
    let file = sshd.path("pid");
    let script = format!("echo $$ >{}; sleep 600", file.display());
    let deadline = Duration::from_secs(1);
    assert_eq!(
        shell.run(&script, deadline).await,
        Err(ShellError::TimedOut(deadline))
    );
    let pid = fs::read_to_string(&file).expect("it had begun");
    let process = std::path::PathBuf::from(format!("/proc/{}", pid.trim()));
    until("the script stops", || !process.exists()).await;
    shell.run(":", SOON).await.expect("the connection goes on");
}

#[tokio::test]
async fn what_is_left_in_the_background_does_not_hold_the_result_nor_its_session() {
    let sshd = Keys::new().serve("MaxSessions 1");
    let shell = Client::of(&sshd).shell().await.expect("a shell");
    let started = Instant::now();
    let ran = shell.run("sleep 300 & echo $!", SOON).await.expect("it ran");
    assert!(started.elapsed() < Duration::from_secs(20));
    // sshd frees the session in its own time.
    let kill = format!("kill {}", text(&ran.stdout));
    while let Err(error) = shell.run(&kill, SOON).await {
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "the session stays taken: {error}"
        );
    }
}

#[tokio::test]
async fn a_connection_cut_in_the_middle_is_lost_and_never_tried_again() {
    let sshd = Sshd::fresh();
    let shell = Client::of(&sshd).shell().await.expect("a shell");
    let count = sshd.path("count");
    let script = format!("echo once >>{}; kill -KILL $PPID; sleep 600", count.display());
    let Err(ShellError::Lost(why)) = shell.run(&script, SOON).await else {
        panic!("nobody can know")
    };
    assert!(why.contains("`val-1`"), "{why}");
    assert_eq!(fs::read_to_string(&count).expect("it had begun"), "once\n");
    until("the connection is known to be gone", || {
        futures_util::FutureExt::now_or_never(shell.run(":", SOON)).is_some()
    })
    .await;
    let Err(ShellError::Reach(ReachError::Unreachable(why))) = shell.run(":", SOON).await else {
        panic!("nothing was run")
    };
    assert!(why.contains("is gone"), "{why}");
}

#[tokio::test]
async fn a_script_stands_in_no_argument_list_and_in_no_environment() {
    let sshd = Sshd::fresh();
    let shell = Client::of(&sshd).shell().await.expect("a shell");
    let (begun, go) = (sshd.path("begun"), sshd.path("go"));
    let script = format!(
        "# needle-in-the-script\n: >{}; while [ ! -e {} ]; do sleep 0.02; done",
        begun.display(),
        go.display()
    );
    let run = shell.run(&script, SOON);
    let look = async {
        until("the script begins", || begun.exists()).await;
        let seen = processes();
        fs::write(&go, "").expect("it may end");
        seen
    };
    let (ran, seen) = tokio::join!(run, look);
    ran.expect("it ran");
    assert!(seen.contains("sh\0-s\0"), "the shell was there to be seen");
    assert!(!seen.contains("needle-in-the-script"));
}

/// Returns the arguments and environments of all processes.
pub fn processes() -> String {
    let mut seen = String::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        for name in ["cmdline", "environ"] {
            seen += &String::from_utf8_lossy(&fs::read(entry.path().join(name)).unwrap_or_default());
        }
    }
    seen
}

#[tokio::test]
async fn more_scripts_than_sshd_has_sessions_take_turns() {
    let sshd = Sshd::fresh();
    let shell = Client::of(&sshd).shell().await.expect("a shell");
    let runs = (0..25).map(|index| {
        let shell = shell.clone();
        async move {
            text(
                &shell
                    .run(&format!("echo {index}"), SOON)
                    .await
                    .expect("it ran")
                    .stdout,
            )
        }
    });
    let outputs = futures_util::future::join_all(runs).await;
    assert_eq!(
        outputs,
        (0..25).map(|index| format!("{index}\n")).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn where_sshd_permits_fewer_sessions_than_thought_scripts_take_turns() {
    for permitted in [1, 2] {
        let sshd = Keys::new().serve(&format!("MaxSessions {permitted}\n"));
        let shell = Client::of(&sshd).shell().await.expect("a shell");
        let scripts: Vec<String> = (0..6).map(|n| format!("sleep 0.1; echo {n}")).collect();
        let runs = scripts.iter().map(|script| shell.run(script, SOON));
        for (n, ran) in futures_util::future::join_all(runs).await.into_iter().enumerate() {
            let ran = ran.unwrap_or_else(|error| panic!("with {permitted} sessions: {error}"));
            assert_eq!(ran.stdout, format!("{n}\n").into_bytes());
        }
        assert_eq!(sshd.logins(), 1, "one connection is enough");
    }
}

#[tokio::test]
async fn a_stream_is_opened_from_the_hosts_point_of_view() {
    let sshd = Sshd::fresh();
    let shell = Client::of(&sshd).shell().await.expect("a shell");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a listener");
    let port = listener.local_addr().expect("its address").port();
    let (stream, accepted) = tokio::join!(shell.dial("127.0.0.1", port), listener.accept());
    let (mut stream, (mut other, _)) = (stream.expect("a stream"), accepted.expect("a connection"));
    other.write_all(b"hello").await.expect("sent");
    let mut heard = [0; 5];
    stream.read_exact(&mut heard).await.expect("heard");
    assert_eq!(&heard, b"hello");
    let why = shell
        .dial("127.0.0.1", free_port())
        .await
        .err()
        .expect("nobody listens there");
    assert!(
        matches!(&why, DialError::Refused(why) if why.contains("no connection to 127.0.0.1")),
        "{why}"
    );
}

#[tokio::test]
async fn a_closed_shell_runs_nothing() {
    let sshd = Sshd::fresh();
    let shell = Client::of(&sshd).shell().await.expect("a shell");
    shell.run(":", SOON).await.expect("it ran");
    shell.close().await;
    shell.close().await;
    let Err(ShellError::Reach(error)) = shell.run(":", SOON).await else {
        panic!("it was closed")
    };
    assert!(error.to_string().contains("was closed"), "{error}");
    until("the host sees it", || {
        sshd.log().contains("Disconnected from user root")
    })
    .await;
}
