//! Two at once: reservations, leases that end while their controller sleeps, holds, and commands of people.

use std::time::{Duration, Instant};

use crate::controller::{Controller, until};
use crate::fleet::{Fleet, Project, Ran};

/// A command that runs until it is let go, so that a run is at work for as long as a test wants.
const WAITS: &str = "[[command]]\nname = \"wait\"\n\
    run = \"touch /run/began; while [ ! -e /run/go ]; do sleep 0.1; done; touch /srv/NAME\"\nprobe = \"test -e /srv/NAME\"\n";

fn exists(fleet: &Fleet, host: &str, path: &str) -> bool {
    fleet.try_sh(host, &format!("test -e {path}")).status.success()
}

const APPLY: &[&str] = &["apply", "-y", "--no-input"];

#[test]
fn second_apply_exits_5_names_the_first_and_changes_nothing_anywhere() {
    let fleet = Fleet::up(3);
    let hosts = ["h1", "h2", "h3"];
    let (first, second) = (Project::new(&fleet, &hosts), Project::new(&fleet, &hosts));
    first.extend_inventory("\n[policy]\nbatch = 1\n");
    first.module(&WAITS.replace("NAME", "first"));
    // What the second wants first is free; only the last host is the first's.
    second.module("[[file]]\npath = \"/etc/second.conf\"\ncontent = \"x\\n\"\n");
    let run = Controller::start(&first, APPLY, "alice");
    until("the first is at work", || exists(&fleet, "h1", "/run/began"));
    let ran = second.muster(APPLY);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.code, 5, "{said}");
    assert!(
        said.contains("by run ") && said.contains(" of alice@") && said.contains(" for "),
        "{said}"
    );
    assert!(
        said.contains("h1: locked by") || said.contains("h2: reserved by"),
        "{said}"
    );
    for host in hosts {
        assert!(!exists(&fleet, host, "/etc/second.conf"), "{host}");
    }
    let status = second.muster(&["lock", "status", "--no-input"]);
    assert_eq!(status.code, 0, "{}", status.stderr);
    let lines: Vec<&str> = status.stdout.lines().collect();
    assert!(
        lines[0].starts_with("h1  locked by run ") && lines[0].contains("alice@"),
        "{}",
        status.stdout
    );
    assert!(
        lines[1].starts_with("h2  reserved by run ") && lines[2].starts_with("h3  reserved by run "),
        "{}",
        status.stdout
    );
    assert_eq!(lines[3], "2 reserved, 1 locked.");

    // All or none: a host that the first does not have stays free when another refuses.
    let limited = second.muster(&["apply", "-y", "--no-input", "--limit", "h3"]);
    assert_eq!(limited.code, 5, "{}{}", limited.stdout, limited.stderr);
    for host in hosts {
        fleet.sh(host, "touch /run/go");
    }
    let ran = run.end();
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let status = second.muster(&["lock", "status", "--no-input"]);
    assert!(status.stdout.ends_with("3 free.\n"), "{}", status.stdout);
    let ran = second.muster(APPLY);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
}

#[test]
fn of_two_applies_in_the_same_moment_exactly_one_proceeds() {
    let fleet = Fleet::up(3);
    let hosts = ["h1", "h2", "h3"];
    let projects = [Project::new(&fleet, &hosts), Project::new(&fleet, &hosts)];
    for (project, name) in projects.iter().zip(["first", "second"]) {
        project.module(&WAITS.replace("NAME", name));
    }
    let mut runs: Vec<Controller> = projects
        .iter()
        .zip(["alice", "bob"])
        .map(|(project, who)| Controller::start(project, APPLY, who))
        .collect();
    until("one of them has ended", || {
        runs.iter_mut().any(Controller::has_ended)
    });
    let loser = usize::from(runs[1].has_ended());
    for host in hosts {
        fleet.sh(host, "touch /run/go");
    }
    let ran: Vec<Ran> = runs.into_iter().map(Controller::end).collect();
    let said = |index: usize| format!("{}{}", ran[index].stdout, ran[index].stderr);
    assert_eq!(
        (ran[loser].code, ran[1 - loser].code),
        (5, 0),
        "{}\n---\n{}",
        said(0),
        said(1)
    );
    let name = ["first", "second"][loser];
    for host in hosts {
        assert!(!exists(&fleet, host, &format!("/srv/{name}")), "{host}");
    }
}

/// A project of two hosts, the first as root and the second as a user with sudo, with a short lease.
fn root_and_sudo<'f>(fleet: &'f Fleet, module: &str) -> Project<'f> {
    let project = Project::new(fleet, &["h1", "h2"]);
    let sudo = project
        .host("h2", "sudo = \"passwordless\"\n")
        .replace("user = \"root\"", "user = \"ops\"");
    project.write(
        "inventories/fleet.toml",
        &format!(
            "[fleet]\nname = \"live\"\n\n{}{sudo}\n[[use]]\nmodule = \"app\"\non = \"all\"\n\n[policy]\nlease = \"10s\"\n",
            project.host("h1", "")
        ),
    );
    project.module(module);
    project
}

/// Applies again and again until the sleeping run's lease is over; every refusal names it.
fn take_over(project: &Project<'_>) {
    let start = Instant::now();
    loop {
        let ran = project.muster(APPLY);
        let said = format!("{}{}", ran.stdout, ran.stderr);
        if ran.code == 0 {
            return;
        }
        assert_eq!(ran.code, 5, "{said}");
        assert!(
            said.contains("alice@") || said.contains("still running"),
            "{said}"
        );
        assert!(
            start.elapsed() < Duration::from_secs(120),
            "the lease never ends: {said}"
        );
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Lets the sleeper go on, and asserts that it did nothing.
fn wake(fleet: &Fleet, sleeper: Controller, check: &dyn Fn(&str)) {
    let fence = |host: &str| fleet.sh(host, "cat /var/lib/muster/fence /var/lib/muster/manifest");
    let before = ["h1", "h2"].map(fence);
    sleeper.signal("CONT");
    let ran = sleeper.end();
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(ran.code != 0, "it must not believe that it went through: {said}");
    for (host, before) in ["h1", "h2"].into_iter().zip(before) {
        check(host);
        assert_eq!(fence(host), before, "{host}: {said}");
        let log = fleet.sh(host, "cat /var/lib/muster/log");
        assert!(log.contains("end the connection of run "), "{host}: {log}");
    }
}

#[test]
fn sleeper_in_the_middle_of_a_file_write_wakes_fenced_off_as_root_and_through_sudo() {
    let fleet = Fleet::up(2);
    // More than sshd lets a client send ahead, which is 2 MiB.
    let big = "0123456789abcdef\n".repeat(4 << 16);
    let first = root_and_sudo(&fleet, "[[file]]\npath = \"/etc/app.conf\"\nsource = \"big\"\n");
    first.write("modules/app/files/big", &big);
    let second = root_and_sudo(
        &fleet,
        "[[file]]\npath = \"/etc/app.conf\"\ncontent = \"second\\n\"\n",
    );
    // Once a host's shell has read a part of the script its sshd is frozen, so that the rest stays with the controller.
    let freeze = "setsid sh -c 'while :; do for p in /proc/[0-9]*; do \
        [ \"$(tr \"\\\\0\" \" \" <$p/cmdline 2>/dev/null)\" = \"sh -s \" ] && \
        [ \"$(sed -n \"s/^rchar: //p\" $p/io 2>/dev/null || echo 0)\" -gt 300000 ] && \
        pkill -STOP -f \"^sshd: .*@notty\" && touch /run/frozen && exit; done; done' >/dev/null 2>&1 </dev/null &";
    for host in ["h1", "h2"] {
        fleet.sh(host, freeze);
    }
    let sleeper = Controller::start(&first, APPLY, "alice");
    for host in ["h1", "h2"] {
        until("a part of the script is there", || {
            exists(&fleet, host, "/run/frozen")
        });
    }
    sleeper.signal("STOP");
    for host in ["h1", "h2"] {
        fleet.sh(host, "pkill -CONT -f '^sshd: .*@notty'; test ! -e /etc/app.conf");
    }
    take_over(&second);
    wake(&fleet, sleeper, &|host| {
        assert_eq!(fleet.sh(host, "cat /etc/app.conf"), "second\n");
        assert_eq!(fleet.sh(host, "ls -A /etc | grep -c '^.muster' || true"), "0\n");
    });
}

#[test]
fn sleeper_before_a_settings_edit_wakes_fenced_off_as_root_and_through_sudo() {
    let fleet = Fleet::up(2);
    let module = |value: &str| {
        format!(
            "[[command]]\nname = \"block\"\nrun = \"touch /run/block /srv/blocked\"\nprobe = \"test -e /srv/blocked\"\n\n\
             [[settings]]\npath = \"/etc/app.env\"\nkeys = {{ OWNER = \"{value}\" }}\nafter = [\"command:block\"]\n"
        )
    };
    let (first, second) = (
        root_and_sudo(&fleet, &module("first")),
        root_and_sudo(&fleet, &module("second")),
    );
    // The edit's first half reads the file; it is held up there, and the second half writes.
    let slow = "printf '%s\\n' '#!/bin/sh' 'case $* in *app.env*) if [ -e /run/block ]; then touch /run/reading;' \
        'while [ -e /run/block ]; do sleep 0.1; done; fi ;; esac' 'exec /usr/bin/sha256sum \"$@\"' >/usr/local/sbin/sha256sum; \
        chmod 755 /usr/local/sbin/sha256sum; printf 'KEPT=1\\nOWNER=nobody\\n' >/etc/app.env";
    for host in ["h1", "h2"] {
        fleet.sh(host, slow);
    }
    let sleeper = Controller::start(&first, APPLY, "alice");
    for host in ["h1", "h2"] {
        until("the file is being read", || exists(&fleet, host, "/run/reading"));
    }
    sleeper.signal("STOP");
    for host in ["h1", "h2"] {
        fleet.sh(host, "rm /run/block");
    }
    take_over(&second);
    wake(&fleet, sleeper, &|host| {
        assert_eq!(fleet.sh(host, "cat /etc/app.env"), "KEPT=1\nOWNER=second\n");
    });
}

#[test]
fn hold_refuses_every_apply_with_its_reason_and_outlasts_a_reboot() {
    let fleet = Fleet::up(2);
    let project = Project::new(&fleet, &["h1", "h2"]);
    project.module("[[file]]\npath = \"/etc/app.conf\"\ncontent = \"v1\\n\"\n");
    let muster = |args: &[&str]| project.muster(&[args, &["--no-input"]].concat());
    let held = muster(&[
        "lock",
        "hold",
        "--limit",
        "h2",
        "--reason",
        "disk swap until noon",
    ]);
    assert_eq!(held.code, 0, "{}{}", held.stdout, held.stderr);
    fleet.act("reboot", "h2");
    for args in [&["apply", "-y"][..], &["exec", "-y", "--", "true"]] {
        let ran = muster(args);
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert_eq!(ran.code, 5, "{said}");
        assert!(
            said.contains("h2: held by ") && said.contains(": disk swap until noon"),
            "{said}"
        );
        assert!(!exists(&fleet, "h1", "/etc/app.conf"), "all or none");
    }
    let status = muster(&["lock", "status", "--json"]);
    let h2: serde_json::Value =
        serde_json::from_str(status.stdout.lines().nth(2).expect("h2")).expect("JSON");
    assert_eq!(
        (&h2["state"], &h2["reason"]),
        (&"held".into(), &"disk swap until noon".into()),
        "{h2}"
    );

    let mut other = project.command(&["lock", "release", "--no-input"]);
    let refused = other.env("USER", "mallory").output().expect("muster runs");
    assert_eq!(refused.status.code(), Some(5));
    let asked = muster(&["lock", "break", "--reason", "ticket 17"]);
    assert_eq!(asked.code, 64, "nobody can be asked: {}", asked.stderr);
    let broken = muster(&["lock", "break", "--reason", "ticket 17", "-y"]);
    assert_eq!(broken.code, 0, "{}{}", broken.stdout, broken.stderr);
    let log = fleet.sh("h2", "cat /var/lib/muster/log");
    assert!(log.contains("break by ") && log.contains(": ticket 17"), "{log}");
    project.apply();
}

#[test]
fn exec_runs_everywhere_shows_lines_and_ends_with_what_came_of_it() {
    let fleet = Fleet::up(2);
    let project = root_and_sudo(&fleet, "");
    let muster = |args: &[&str]| project.muster(&[&["-y", "--no-input", "exec"][..], args].concat());
    let ran = muster(&["--", "id -u; printf '\\033[31mred\\n'; hostname >&2"]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let mut lines: Vec<&str> = ran.stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        ["h1 | 0", "h1 | \\u{1b}[31mred", "h2 | 0", "h2 | \\u{1b}[31mred"]
    );
    assert!(
        ran.stderr.contains("h1 | ") && ran.stderr.contains("h2 | "),
        "{}",
        ran.stderr
    );
    let log = fleet.sh("h2", "cat /var/lib/muster/log");
    assert!(log.contains("exec by ") && log.contains("id -u; printf"), "{log}");
    let status = project.muster(&["lock", "status", "--no-input"]);
    assert!(status.stdout.ends_with("2 free.\n"), "{}", status.stdout);

    let ran = muster(&["--", "test", "-e", "/no such file"]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains("h1: exit status 1"), "{}", ran.stderr);
    fleet.act("kill", "h2");
    let ran = muster(&["--read-only", "--", "echo", "a b"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (4, "h1 | a b\n"),
        "{}",
        ran.stderr
    );
}

#[test]
fn exec_that_is_interrupted_ends_the_command_and_leaves_no_lock() {
    let fleet = Fleet::up(2);
    let project = root_and_sudo(&fleet, "");
    let args = [
        "exec",
        "-y",
        "--no-input",
        "--",
        "touch /run/began; echo here; sleep 777",
    ];
    let run = Controller::start(&project, &args, "alice");
    for host in ["h1", "h2"] {
        until("it runs", || exists(&fleet, host, "/run/began"));
    }
    // Beside it only what takes no lock.
    let ran = project.muster(&["exec", "-y", "--no-input", "--", "true"]);
    assert_eq!(ran.code, 5, "{}", ran.stderr);
    let ran = project.muster(&["exec", "--read-only", "--no-input", "--", "true"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    run.signal("INT");
    let ran = run.end();
    assert_eq!(ran.code, 130, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("h1 | here"), "{}", ran.stdout);
    for host in ["h1", "h2"] {
        fleet.sh(host, "! pgrep -f 'sleep 77[7]'");
        assert!(fleet.sh(host, "cat /var/lib/muster/log").contains("ended (143)"));
    }
    let status = project.muster(&["lock", "status", "--no-input"]);
    assert!(status.stdout.ends_with("2 free.\n"), "{}", status.stdout);
}
