//! Hosts behind hosts.

use std::fs;

use muster::model::target::HostKey;
use muster::ports::ReachError;

use super::client::{Client, text};
use super::sshd::Sshd;

/// A client of a target behind a jump host, by the inventory.
fn behind(jump: &Sshd, target: &Sshd) -> Client {
    let mut client = Client::of(target);
    client.knows(&format!("{}{}", jump.known_line(), target.known_line()));
    client.target.via = Some(Box::new(Client::of(jump).target));
    client
}

#[tokio::test]
async fn the_inventory_leads_through_a_jump_host() {
    let (jump, target) = (Sshd::fresh(), Sshd::fresh());
    let client = behind(&jump, &target);
    let shell = client.shell().await.expect("a shell");
    let ran = shell.run("echo there", super::run::SOON).await.expect("it ran");
    assert_eq!(text(&ran.stdout), "there\n");
    let content = "0123456789abcde\n".repeat(1 << 18);
    let ran = shell
        .run(&format!("cat <<'END'\n{content}END"), super::run::SOON)
        .await
        .expect("it ran");
    assert!(ran.stdout == content.as_bytes(), "4 MiB go through");
    assert_eq!((jump.logins(), target.logins()), (1, 1));
}

#[tokio::test]
async fn the_targets_own_key_is_checked_behind_a_jump_host() {
    let (jump, target) = (Sshd::fresh(), Sshd::fresh());
    let mut client = behind(&jump, &target);
    client.knows(&jump.known_line());
    let error = client.refusal().await;
    let ReachError::HostKey(why) = &error else {
        panic!("{error}")
    };
    assert!(
        why.contains(&target.host_key()) && why.contains(&target.port.to_string()),
        "{why}"
    );
    client.target.host_key = HostKey::Pinned(jump.host_key());
    let ReachError::HostKey(_) = client.refusal().await else {
        panic!("the jump host's key is not the target's")
    };
}

#[tokio::test]
async fn an_unknown_jump_host_is_refused_by_name() {
    let (jump, target) = (Sshd::fresh(), Sshd::fresh());
    let client = behind(&jump, &target);
    client.knows(&target.known_line());
    let error = client.refusal().await;
    let ReachError::HostKey(why) = &error else {
        panic!("{error}")
    };
    assert!(
        why.contains("`val-1` is behind a jump host") && why.contains(&jump.host_key()),
        "{why}"
    );
    assert_eq!(target.logins(), 0);
}

#[tokio::test]
async fn hosts_behind_one_jump_host_share_its_connection() {
    let (jump, one, two) = (Sshd::fresh(), Sshd::fresh(), Sshd::fresh());
    let first = behind(&jump, &one);
    let mut second = behind(&jump, &two);
    first.knows(&format!(
        "{}{}{}",
        jump.known_line(),
        one.known_line(),
        two.known_line()
    ));
    second.places = first.places.clone();
    let connector = first.connector();
    let (first, second) = tokio::join!(first.shell_by(&connector), second.shell_by(&connector));
    let (first, second) = (first.expect("a shell"), second.expect("a shell"));
    assert_eq!(jump.logins(), 1);
    first.close().await;
    second
        .run(":", super::run::SOON)
        .await
        .expect("one may close while the other goes on");
}

/// Describes three servers as an ssh_config does, the last one behind the others.
fn chain(sshds: [&Sshd; 3]) -> String {
    let names = ["first", "second", "third"];
    let hosts: String = names
        .iter()
        .zip(sshds)
        .map(|(name, sshd)| {
            format!(
                "Host {name}\n HostName 127.0.0.1\n Port {}\n User root\n IdentityFile {}\n",
                sshd.port,
                sshd.path("user_key").display()
            )
        })
        .collect();
    format!("{hosts}Host third\n ProxyJump first,second\n")
}

#[tokio::test]
async fn the_configuration_leads_through_a_chain_with_and_without_an_ssh_program() {
    let sshds = [Sshd::fresh(), Sshd::fresh(), Sshd::fresh()];
    let [one, two, three] = &sshds;
    let mut client = Client::at(22);
    client.knows(&sshds.iter().map(Sshd::known_line).collect::<String>());
    fs::write(client.home.path().join("more"), chain([one, two, three])).expect("an included file");
    client.configure(&format!("Include {}/more\n", client.home.path().display()));
    (client.target.port, client.target.user) = (None, None);
    client.target.address = "third".to_owned();
    for (round, ssh) in ["ssh", "/nonexistent/ssh"].into_iter().enumerate() {
        client.places.ssh = ssh.into();
        let shell = client.shell().await.expect("a shell");
        shell.run(":", super::run::SOON).await.expect("it ran");
        assert_eq!(sshds.each_ref().map(Sshd::logins), [round + 1; 3]);
    }
}

#[tokio::test]
async fn a_circle_of_jump_hosts_is_an_error() {
    let mut client = Client::at(22);
    client.configure("Host a\n ProxyJump b\nHost b\n ProxyJump a\n");
    client.target.address = "a".to_owned();
    let error = client.refusal().await.to_string();
    assert!(error.contains("or behind itself"), "{error}");
}
