//! Ways to a host that are bad: hung, throttled, slow.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::bed::{Bed, assert_said, said};
use crate::relay::{Pace, Relay};

const FILES: &str = "[[file]]\npath = \"/srv/a\"\ncontent = \"1\\n\"\n[[file]]\npath = \"/srv/b\"\ncontent = \"1\\n\"\nafter = [\"file:/srv/a\"]\n";

#[test]
fn host_whose_banner_never_comes_delays_no_other() {
    let bed = Bed::new(3);
    let [hung, one, two] = std::array::from_fn(|n| bed.hosts[n].as_str());
    bed.project.module(FILES);
    // One host that is lost is no reason to stop here.
    bed.project.extend_inventory("failures_max = 1\n");
    let plan = bed
        .project
        .muster(&["plan", "--no-input", "-o", "saved.plan.json"]);
    assert_eq!(plan.code, 0, "{}", said(&plan));
    bed.fleet.act("pause", hung);
    let begun = Instant::now();
    let ran = bed.project.muster(&["plan", "--no-input"]);
    let looked = begun.elapsed();
    let applying = bed.start(&["apply", "saved.plan.json", "-y", "--no-input"]).end();
    let took = begun.elapsed() - looked;
    bed.fleet.act("unpause", hung);
    for said_of in [&ran, &applying] {
        assert_eq!(said_of.code, 4, "{}", said(said_of));
        assert_said(said_of, &[hung, "says nothing in SSH"]);
    }
    // Ten seconds are for the hung host; the rest is for a busy machine.
    assert!(looked < Duration::from_secs(25), "the look took {looked:?}");
    assert!(took < Duration::from_secs(45), "the apply took {took:?}");
    for host in [one, two] {
        assert_eq!(bed.fleet.sh(host, "cat /srv/a /srv/b"), "1\n1\n");
    }
    bed.resume();
    assert_eq!(bed.fleet.sh(hung, "cat /srv/a /srv/b"), "1\n1\n");
}

/// Comes to sshd and says nothing. `None` if it hangs up.
fn idle(address: &str) -> Option<TcpStream> {
    use std::io::Read as _;
    let mut stream = TcpStream::connect((address, 22)).ok()?;
    let mut said = [0; 8];
    stream.read_exact(&mut said).ok()?;
    (&said == b"SSH-2.0-").then_some(stream)
}

#[test]
fn sshd_that_sheds_load_is_tried_again_until_it_lets_muster_in() {
    let bed = Bed::new(1);
    bed.project.module(FILES);
    bed.sh("printf 'MaxStartups 2:100:3\\nMaxSessions 1\\n' >/etc/ssh/sshd_config.d/fire.conf && systemctl restart ssh");
    let address = bed.fleet.address(bed.host());
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut callers = Vec::new();
    while let Some(caller) = idle(&address) {
        assert!(Instant::now() < deadline, "sshd never throttles");
        callers.push(caller);
    }
    assert!(callers.len() >= 2, "they keep everybody else out");
    let mut running = bed.start(&["apply", "-y", "--no-input"]);
    // Longer than a handful of quick attempts.
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until {
        assert!(running.is_running(), "muster gave up: {}", said(&running.end()));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(idle(&address).is_none(), "sshd throttled all the while");
    drop(callers);
    let ran = running.end();
    assert_eq!(ran.code, 0, "with one session at a time: {}", said(&ran));
    bed.project.assert_settled();
}

#[test]
fn slow_link_makes_a_run_slow_and_nothing_else() {
    let delayed = Pace {
        delay: Duration::from_millis(150),
        trickle: None,
    };
    let trickling = Pace {
        delay: Duration::ZERO,
        trickle: Some((1024, Duration::from_millis(40))),
    };
    let bed = Bed::new(2);
    let relays =
        [(0, delayed), (1, trickling)].map(|(n, pace)| Relay::to(&bed.fleet.address(&bed.hosts[n]), pace));
    let mut inventory = bed.project.read("inventories/fleet.toml");
    for (host, relay) in bed.hosts.iter().zip(&relays) {
        let direct = format!("address = \"{}\"", bed.fleet.address(host));
        inventory = inventory.replace(
            &direct,
            &format!("address = \"127.0.0.1\"\nport = {}", relay.port),
        );
    }
    bed.project.write("inventories/fleet.toml", &inventory);
    bed.project.module(FILES);
    // One host that is lost is no reason to stop here.
    bed.project.extend_inventory("failures_max = 1\n");
    let plan = bed.project.muster(&["plan", "--no-input"]);
    assert_eq!(plan.code, 0, "{}", said(&plan));
    let turns = relays[0].turns();
    bed.project.apply();
    for host in &bed.hosts {
        assert_eq!(bed.fleet.sh(host, "cat /srv/a /srv/b"), "1\n1\n");
    }
    // From connect to the answer of the one look of a plan.
    assert!((3..=12).contains(&turns), "a plan takes {turns} turns");
}
