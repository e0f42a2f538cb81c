//! Connections that end in the middle of an operation: a reboot, a firewall, a host that freezes.

use std::time::{Duration, Instant};

use crate::bed::{Bed, assert_said, said};
use crate::fleet::Ran;

/// Two files around a command that waits, and appends a line each time that it is run to its end.
const SLOW: &str = r#"
[[file]]
path    = "/srv/first"
content = "1\n"

[[command]]
name  = "slow"
run   = "touch /srv/began; while [ ! -e /srv/go ]; do sleep 0.1; done; echo once >> /srv/slow"
probe = "test -s /srv/slow"
after = ["file:/srv/first"]

[[file]]
path    = "/srv/last"
content = "1\n"
after   = ["command:slow"]
"#;

/// What an undisturbed run leaves, with how often each operation came to its end.
const LEFT: &str = "1\nonce\n1\n";
const READ: &str = "cat /srv/first /srv/slow /srv/last";

/// Asserts that a run did not claim to know what it could not see: its code, the host, the operation, and that it is unknown.
fn assert_unknown(bed: &Bed, ran: &Ran, host: &str) {
    assert!(matches!(ran.code, 3 | 4), "code {}: {}", ran.code, said(ran));
    assert_said(ran, &[host, "command[slow]"]);
    let id = format!("command[slow]@{host}");
    let failed: Vec<_> = bed
        .events()
        .into_iter()
        .map(|event| event["event"]["failed"].clone())
        .filter(|failed| failed["change"] == id.as_str())
        .collect();
    assert_eq!(failed.len(), 1, "{id} failed once: {failed:?}");
    assert_eq!(failed[0]["unknown"], true, "{}", failed[0]);
}

#[test]
fn host_that_reboots_in_the_middle_is_told_as_unknown_and_resumed() {
    let bed = Bed::new(2);
    let [rebooted, other] = [&bed.hosts[0], &bed.hosts[1]];
    bed.project.module(SLOW);
    bed.fleet.sh(other, "touch /srv/go");
    let running = bed.start(&["apply", "-y", "--no-input"]);
    bed.until(rebooted, "test -e /srv/began");
    bed.fleet.act("reboot", rebooted);
    let ran = running.end();
    assert_unknown(&bed, &ran, rebooted);
    assert_eq!(bed.fleet.sh(other, READ), LEFT, "the other host is done");
    bed.fleet.sh(rebooted, "test ! -e /srv/last; test ! -e /srv/slow");

    bed.fleet.sh(rebooted, "touch /srv/go");
    bed.resume();
    assert_eq!(bed.fleet.sh(rebooted, READ), LEFT);
    assert_eq!(bed.fleet.sh(other, READ), LEFT, "nothing was done twice");
}

/// Cuts a host's port 22 off behind muster's back.
fn cut(bed: &Bed, host: &str, target: &str) {
    bed.fleet
        .sh(host, &format!("iptables -I INPUT -p tcp --dport 22 -j {target}"));
}

fn mend(bed: &Bed, host: &str, target: &str) {
    bed.fleet
        .sh(host, &format!("iptables -D INPUT -p tcp --dport 22 -j {target}"));
}

const RESET: &str = "REJECT --reject-with tcp-reset";

#[test]
fn connection_cut_in_the_middle_is_looked_at_again_and_each_effect_comes_once() {
    let bed = Bed::new(5);
    let [dropped, reset, frozen, briefly, other] = std::array::from_fn(|n| bed.hosts[n].as_str());
    bed.project.module(SLOW);
    // Those that are lost must not stop the run before the one that is cut for a moment is heard again.
    bed.project.extend_inventory("failures_max = 5\n");
    bed.fleet.sh(other, "touch /srv/go");
    let begun = Instant::now();
    let running = bed.start(&["apply", "-y", "--no-input"]);
    for host in [dropped, reset, frozen, briefly] {
        bed.until(host, "test -e /srv/began");
    }
    cut(&bed, dropped, "DROP");
    cut(&bed, reset, RESET);
    bed.fleet.act("pause", frozen);
    cut(&bed, briefly, "DROP");
    // The operations end while nobody can hear it.
    for host in [dropped, reset, briefly] {
        bed.fleet.sh(host, "touch /srv/go");
        bed.until(host, "test -s /srv/slow");
    }
    mend(&bed, briefly, "DROP");
    let ran = running.end();
    let took = begun.elapsed();
    bed.fleet.act("unpause", frozen);

    for host in [dropped, reset, frozen] {
        assert_unknown(&bed, &ran, host);
        bed.fleet.sh(host, "test ! -e /srv/last");
    }
    for host in [briefly, other] {
        assert_eq!(bed.fleet.sh(host, READ), LEFT, "{host} is done: {}", said(&ran));
    }
    // Keepalives give a silent host up after a minute, and the look after that after ten seconds.
    assert!(took < Duration::from_secs(150), "it took {took:?}");

    mend(&bed, dropped, "DROP");
    mend(&bed, reset, RESET);
    bed.fleet.sh(frozen, "touch /srv/go");
    bed.resume();
    for host in &bed.hosts {
        assert_eq!(bed.fleet.sh(host, READ), LEFT, "{host}");
    }
}
