//! The ways to an engine: the socket, the relay through root, and none.

use muster::model::engine::EngineProbe;
use muster::model::observation::Answer;

use crate::bed::{Bed, make, sleeper};
use crate::fleet::Fleet;

#[test]
fn account_that_may_not_open_the_socket_goes_through_roots_relay_also_where_sshd_forwards_nothing() {
    let fleet = Fleet::up_with_engines(1);
    // `ops` is in no group of Docker's, and becomes root by sudo.
    let bed = Bed::new(&fleet, "ops");
    let spec = sleeper("app");
    let fence = bed.lock("0123456789ab-1");
    bed.act(&fence, vec![make(&spec)]).expect("through the relay");
    assert!(bed.inspect(&spec).expect("it is there").state.is_running());

    fleet.sh(
        "h1",
        "echo 'DisableForwarding yes' >/etc/ssh/sshd_config.d/00-none.conf; systemctl reload ssh",
    );
    let logins = || {
        fleet.sh(
            "h1",
            "journalctl -u ssh -o cat | grep -c '^Accepted publickey for root'",
        )
    };
    let before: u32 = logins().trim().parse().expect("a number");
    let bed = Bed::new(&fleet, "root");
    assert!(bed.inspect(&spec).expect("it is there").state.is_running());
    assert_eq!(
        logins().trim(),
        (before + 1).to_string(),
        "one login, whatever is asked"
    );
}

#[test]
fn no_engine_has_nothing_and_one_that_is_down_is_unknown() {
    let fleet = Fleet::up_with_engines(1);
    let bed = Bed::new(&fleet, "root");
    fleet.sh(
        "h1",
        "systemctl stop docker.socket docker.service containerd.service",
    );
    let down = bed.ask(EngineProbe::Network("bridge".to_owned()));
    assert!(
        matches!(&down, Answer::NoAnswer(why) if why.contains("does not answer")),
        "{down:?}"
    );
    fleet.sh(
        "h1",
        "rm -f /run/docker.sock /var/run/docker.sock; mv /usr/bin/docker /usr/bin/docker.away; mv /usr/sbin/dockerd /usr/sbin/dockerd.away",
    );
    let none = bed.ask(EngineProbe::Network("bridge".to_owned()));
    let nothing = Answer::Text {
        output: "null".to_owned(),
        status: 0,
    };
    assert_eq!(none, nothing);
    fleet.sh("h1", "mv /usr/bin/docker.away /usr/bin/docker; mv /usr/sbin/dockerd.away /usr/sbin/dockerd; systemctl start docker");
    let up = bed.ask(EngineProbe::Network("bridge".to_owned()));
    assert!(
        matches!(&up, Answer::Text { output, status: 0 } if output.contains("\"bridge\"")),
        "{up:?}"
    );
}
