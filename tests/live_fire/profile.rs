//! Accounts whose shells get in the way: profiles that print, wait and read, and login shells that are no POSIX shells.

use crate::bed::{Bed, assert_said, said};

const FILE: &str = "[[file]]\npath = \"/srv/a\"\ncontent = \"1\\n\"\n";

/// Everything that a login reads, made to print on both streams and to take its time.
const NOISE: &str = r#"
noise='echo noise on stdout; echo noise on stderr >&2; sleep 0.3; printf "no line end"'
for home in /root /home/ops /home/op2; do
    for name in .bashrc .profile .bash_profile; do echo "$noise" > "$home/$name"; done
    mkdir -p "$home/.ssh" && echo "$noise" > "$home/.ssh/rc"
done
echo "$noise" > /etc/profile
echo "$noise" > /etc/bash.bashrc
echo "$noise" > /etc/fire.env
echo BASH_ENV=/etc/fire.env >> /etc/environment
echo 'Welcome to a noisy host' > /etc/motd
usermod -s /bin/bash ops && usermod -s /bin/bash op2
"#;

/// Makes a host be logged in to as somebody else.
fn log_in_as(bed: &Bed, host: &str, user: &str, sudo: &str) {
    let inventory = bed.project.read("inventories/fleet.toml");
    let (before, after) = inventory.split_once(&format!("[hosts.{host}]")).expect("a host");
    let user = format!("user = \"{user}\"\nsudo = \"{sudo}\"");
    let after = after.replacen("user = \"root\"", &user, 1);
    bed.project.write(
        "inventories/fleet.toml",
        &format!("{before}[hosts.{host}]{after}"),
    );
}

#[test]
fn profile_that_prints_and_waits_changes_nothing() {
    let bed = Bed::new(3);
    let password = format!("file:{}", bed.fleet.file("op2.password").display());
    let users = [
        ("root", "none"),
        ("ops", "passwordless"),
        ("op2", password.as_str()),
    ];
    for (host, (user, sudo)) in bed.hosts.iter().zip(users) {
        bed.fleet.sh(host, NOISE);
        log_in_as(&bed, host, user, sudo);
        let config = bed.fleet.file("ssh_config");
        let ssh = std::process::Command::new("ssh")
            .args(["-F", &config.to_string_lossy(), "-l", user, host, "true"])
            .output()
            .expect("ssh runs");
        let heard = String::from_utf8_lossy(&ssh.stdout);
        assert!(
            heard.contains("noise on stdout"),
            "the profile of {user} is noisy: {ssh:?}"
        );
    }
    bed.project.module(FILE);
    let ran = bed.project.apply();
    assert!(!said(&ran).contains("noise"), "{}", said(&ran));
    for host in &bed.hosts {
        assert_eq!(bed.fleet.sh(host, "cat /srv/a; stat -c %U /srv/a"), "1\nroot\n");
    }
}

#[test]
fn profile_that_reads_what_muster_sends_lets_nothing_happen_by_halves() {
    let bed = Bed::new(1);
    bed.project.module(FILE);
    for eats in ["read -r line", "head -c 1000 >/dev/null", "cat >/dev/null"] {
        bed.sh(&format!("echo '{eats}' > /root/.bashrc"));
        let ran = bed.project.muster(&["apply", "-y", "--no-input"]);
        if ran.code == 0 {
            assert_eq!(bed.sh("cat /srv/a"), "1\n");
            bed.sh("rm /srv/a");
        } else {
            assert_eq!(ran.code, 4, "{eats}: {}", said(&ran));
            assert_said(&ran, &[bed.host()]);
            bed.sh("test ! -e /srv/a && test ! -e /var/lib/muster");
        }
    }
}

/// A login shell that is no shell of POSIX, as fish or csh are none: it knows plain words, and prints a greeting.
const ODD_SHELL: &str = r#"#!/bin/sh
echo 'Welcome to oddsh, the odd interactive shell'
[ "$1" = -c ] || exit 1
case $2 in *'$('*|*'`'*|*';'*|*'&&'*|*'||'*|*'{'*) echo 'oddsh: syntax error' >&2; exit 127 ;; esac
exec sh -c "$2"
"#;

#[test]
fn login_shell_that_is_not_posix_works_or_is_named() {
    let bed = Bed::new(1);
    bed.project.module(FILE);
    log_in_as(&bed, bed.host(), "ops", "passwordless");
    bed.sh(&format!(
        "cat > /bin/oddsh <<'END'\n{ODD_SHELL}END\nchmod 755 /bin/oddsh && usermod -s /bin/oddsh ops"
    ));
    bed.project.apply();
    assert_eq!(bed.sh("cat /srv/a"), "1\n");

    for shell in ["/usr/sbin/nologin", "/bin/false", "/bin/rbash", "/bin/not-there"] {
        bed.sh(&format!("ln -sf bash /bin/rbash; usermod -s {shell} ops"));
        let ran = bed.project.muster(&["plan", "--no-input"]);
        assert_eq!(ran.code, 4, "{shell}: {}", said(&ran));
        assert_said(&ran, &[bed.host(), "ops"]);
    }
}
