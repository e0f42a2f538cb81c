//! Whether a host is who it claims to be.

use std::fs;
use std::process::Command;

use muster::model::target::HostKey;
use muster::ports::ReachError;

use super::client::Client;
use super::sshd::{Keys, Sshd, keygen, public_key};

/// Takes the commands out of a message and runs them, as a reader would.
fn follow(error: &ReachError, starting: &[&str]) {
    let message = error.to_string();
    let commands: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    for start in starting {
        let command = commands.iter().find(|command| command.starts_with(start));
        let command = command.unwrap_or_else(|| panic!("no `{start}` in: {message}"));
        let output = Command::new("sh")
            .args(["-c", command])
            .output()
            .expect("sh runs");
        assert!(
            output.status.success(),
            "{command}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

fn host_key_error(error: ReachError) -> String {
    match error {
        ReachError::HostKey(why) => why,
        other => panic!("not about the host key: {other}"),
    }
}

#[tokio::test]
async fn an_unknown_key_is_refused_with_the_command_that_adds_it() {
    let sshd = Sshd::fresh();
    let client = Client::of(&sshd);
    client.knows("");
    let error = client.refusal().await;
    assert!(error.to_string().contains("`val-1`"), "{error}");
    assert!(
        error
            .to_string()
            .contains(&format!("host_key = \"{}\"", sshd.host_key())),
        "{error}"
    );
    follow(&error, &["echo "]);
    client.shell().await.expect("the command mended it");
}

#[tokio::test]
async fn a_changed_key_is_refused_even_where_new_ones_are_accepted() {
    let sshd = Sshd::fresh();
    let mut client = Client::of(&sshd);
    for host_key in [HostKey::KnownHosts, HostKey::AcceptNew] {
        let old = format!(
            "{} {}\n",
            sshd.known_name(),
            public_key(&sshd.path("user_key.pub"))
        );
        client.knows(&old);
        client.target.host_key = host_key;
        let error = client.refusal().await;
        assert!(error.to_string().contains("has changed"), "{error}");
        assert_eq!(
            fs::read_to_string(client.known_hosts()).expect("known_hosts"),
            old
        );
        follow(&error, &["ssh-keygen -R", "echo "]);
        client.shell().await.expect("the commands mended it");
    }
}

#[tokio::test]
async fn a_pinned_key_counts_whatever_known_hosts_says() {
    let sshd = Sshd::fresh();
    let mut client = Client::of(&sshd);
    client.knows(&format!(
        "{} {}\n",
        sshd.known_name(),
        public_key(&sshd.path("user_key.pub"))
    ));
    client.target.host_key = HostKey::Pinned(sshd.host_key());
    client.shell().await.expect("the pinned key");
    client.knows(&sshd.known_line());
    client.target.host_key = HostKey::Pinned(public_key(&sshd.path("user_key.pub")));
    let why = host_key_error(client.refusal().await);
    assert!(
        why.contains("the inventory pins") && why.contains(&sshd.host_key()),
        "{why}"
    );
    client.target.host_key = HostKey::Pinned("SHA256:abc".to_owned());
    let why = host_key_error(client.refusal().await);
    assert!(why.contains("`SHA256:abc`"), "{why}");
}

#[tokio::test]
async fn a_new_key_is_accepted_where_allowed_and_written_once() {
    let sshd = Sshd::fresh();
    let mut client = Client::of(&sshd);
    client.knows("# mine\n");
    client.target.host_key = HostKey::AcceptNew;
    let (one, two) = tokio::join!(client.shell(), client.shell());
    one.and(two).expect("both get in");
    client.shell().await.expect("a later one, too");
    assert_eq!(
        fs::read_to_string(client.known_hosts()).expect("known_hosts"),
        format!("# mine\n{}", sshd.known_line())
    );
}

#[tokio::test]
async fn a_revoked_key_is_refused_even_if_known_or_pinned() {
    let sshd = Sshd::fresh();
    let mut client = Client::of(&sshd);
    client.knows(&format!("{}@revoked * {}\n", sshd.known_line(), sshd.host_key()));
    for host_key in [
        HostKey::KnownHosts,
        HostKey::AcceptNew,
        HostKey::Pinned(sshd.host_key()),
    ] {
        client.target.host_key = host_key;
        let why = host_key_error(client.refusal().await);
        assert!(
            why.contains("is revoked by") && why.contains("known_hosts:2"),
            "{why}"
        );
    }
}

#[tokio::test]
async fn names_that_ssh_keygen_hashed_are_found() {
    let sshd = Sshd::fresh();
    let client = Client::of(&sshd);
    keygen(&client.known_hosts(), &["-H"]);
    assert!(
        !fs::read_to_string(client.known_hosts())
            .expect("known_hosts")
            .contains("127.0.0.1")
    );
    client.shell().await.expect("the hashed name is found");
}

#[tokio::test]
async fn any_of_several_known_keys_is_a_match() {
    let sshd = Sshd::fresh();
    let client = Client::of(&sshd);
    let other = format!(
        "{} {}\n",
        sshd.known_name(),
        public_key(&sshd.path("user_key.pub"))
    );
    client.knows(&format!("{other}{}", sshd.known_line()));
    client.shell().await.expect("the second key matches");
}

#[tokio::test]
async fn a_host_is_asked_for_the_type_of_key_that_is_known() {
    let keys = Keys::new();
    keygen(&keys.path("ecdsa_key"), &["-t", "ecdsa", "-N", ""]);
    let more = format!("HostKey {}", keys.path("ecdsa_key").display());
    let known = public_key(&keys.path("ecdsa_key.pub"));
    let sshd = keys.serve(&more);
    let client = Client::of(&sshd);
    client.knows(&format!("{} {known}\n", sshd.known_name()));
    client.shell().await.expect("the host shows its ECDSA key");
}

#[tokio::test]
async fn an_alias_is_the_name_that_is_looked_up() {
    let sshd = Sshd::fresh();
    let client = Client::of(&sshd);
    client.configure("Host 127.0.0.1\n HostKeyAlias fleet-member\n");
    host_key_error(client.refusal().await);
    client.knows(&format!("fleet-member {}\n", sshd.host_key()));
    client.shell().await.expect("the alias is known");
}

/// Starts an sshd with a host certificate made out to a name.
fn certified(principal: &str, validity: &str) -> (Sshd, String) {
    let keys = Keys::new();
    keygen(&keys.path("ca"), &["-t", "ed25519", "-N", ""]);
    let host_key = keys.path("host_key.pub");
    let output = Command::new("ssh-keygen")
        .args(["-q", "-h", "-I", "a-host", "-n", principal, "-V", validity, "-s"])
        .args([keys.path("ca"), host_key])
        .status()
        .expect("ssh-keygen runs");
    assert!(output.success());
    let authority = public_key(&keys.path("ca.pub"));
    let more = format!("HostCertificate {}", keys.path("host_key-cert.pub").display());
    (keys.serve(&more), authority)
}

#[tokio::test]
async fn a_host_certificate_of_a_known_authority_counts() {
    let (sshd, authority) = certified("127.0.0.1", "-1h:+1h");
    let client = Client::of(&sshd);
    client.knows(&format!("@cert-authority [127.0.0.*]:* {authority}\n"));
    client.shell().await.expect("the certificate");
    client.knows(&format!("@cert-authority [10.0.0.*]:* {authority}\n"));
    host_key_error(client.refusal().await);
}

#[tokio::test]
async fn a_host_certificate_that_does_not_fit_does_not_count() {
    for (principal, validity, flaw) in [
        ("elsewhere", "-1h:+1h", "made out to `elsewhere`"),
        ("127.0.0.1", "-2h:-1h", "out of date"),
    ] {
        let (sshd, authority) = certified(principal, validity);
        let client = Client::of(&sshd);
        let line = format!("@cert-authority * {authority}\n");
        client.knows(&line);
        let why = host_key_error(client.refusal().await);
        assert!(why.contains(flaw), "{why}");
        client.knows(&format!("{line}{}", sshd.known_line()));
        client.shell().await.expect("the bare key is known");
    }
}

#[tokio::test]
async fn a_revoked_authority_does_not_count() {
    let (sshd, authority) = certified("127.0.0.1", "-1h:+1h");
    let client = Client::of(&sshd);
    client.knows(&format!(
        "@cert-authority * {authority}\n@revoked * {authority}\n"
    ));
    let why = host_key_error(client.refusal().await);
    assert!(why.contains("is revoked"), "{why}");
}
