//! Accounts that are not root, and sudo.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use muster::model::target::Sudo;

use super::client::{Client, text};
use super::run::{SOON, processes};
use super::sshd::{Sshd, until};

const PASSWORD: &str = "pass-word-of-the-test";

/// An account of this machine, for one test.
struct Account {
    name: String,
    rule: PathBuf,
}

impl Account {
    /// Makes one with [`PASSWORD`] and a rule in sudoers: what stands after `ALL=(ALL) `, or no rule.
    fn new(rule: Option<&str>) -> Self {
        Self::with_password(rule, PASSWORD)
    }

    fn with_password(rule: Option<&str>, password: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!(
            "muster-t{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::SeqCst)
        );
        let made = Command::new("useradd")
            .args(["-M", "-d", "/", "-s", "/bin/sh", &name])
            .status();
        assert!(made.expect("useradd is installed").success());
        let account = Self {
            rule: PathBuf::from(format!("/etc/sudoers.d/{name}")),
            name,
        };
        let mut change = Command::new("chpasswd")
            .stdin(Stdio::piped())
            .spawn()
            .expect("chpasswd is installed");
        let line = format!("{}:{password}\n", account.name);
        change
            .stdin
            .take()
            .expect("a pipe")
            .write_all(line.as_bytes())
            .expect("written");
        assert!(change.wait().expect("chpasswd ends").success());
        if let Some(rule) = rule {
            account.allow(rule);
        }
        account
    }

    fn allow(&self, rule: &str) {
        fs::write(&self.rule, format!("{} ALL=(ALL) {rule}\n", self.name))
            .expect("a rule in sudoers.d (package sudo)");
    }

    fn client(&self, sshd: &Sshd) -> Client {
        let mut client = Client::of(sshd);
        client.target.user = Some(self.name.clone());
        client
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.rule);
        let _ = Command::new("userdel")
            .args(["-f", &self.name])
            .stderr(Stdio::null())
            .status();
    }
}

#[tokio::test]
async fn sudo_without_a_password_makes_root() {
    let (sshd, account) = (Sshd::fresh(), Account::new(Some("NOPASSWD: ALL")));
    let mut client = account.client(&sshd);
    client.sudo = Sudo::Passwordless;
    let ran = client
        .shell()
        .await
        .expect("a shell")
        .run("id -u", SOON)
        .await
        .expect("it ran");
    assert_eq!((text(&ran.stdout).as_str(), ran.status), ("0\n", 0));
}

#[tokio::test]
async fn sudo_with_its_password_makes_root_and_the_password_is_nowhere_to_be_seen() {
    let (sshd, account) = (Sshd::fresh(), Account::new(Some("ALL")));
    let mut client = account.client(&sshd);
    client.with_password(PASSWORD);
    let shell = client.shell().await.expect("a shell");
    let (begun, go) = (sshd.path("begun"), sshd.path("go"));
    let script = format!(
        "id -u; cat; set; : >{}; while [ ! -e {} ]; do sleep 0.02; done",
        begun.display(),
        go.display()
    );
    let look = async {
        until("the script begins", || begun.exists()).await;
        let seen = processes();
        fs::write(&go, "").expect("it may end");
        seen
    };
    let (ran, seen) = tokio::join!(shell.run(&script, SOON), look);
    let ran = ran.expect("it ran");
    let (output, errors) = (text(&ran.stdout), text(&ran.stderr));
    assert!(output.starts_with("0\n"), "{output}");
    assert!(seen.contains("sudo\0-k\0-S"), "sudo was there to be seen");
    assert!(!seen.contains(PASSWORD) && !output.contains(PASSWORD) && !errors.contains(PASSWORD));
}

#[tokio::test]
async fn a_wrong_password_is_said_and_sent_only_once() {
    let (sshd, account) = (Sshd::fresh(), Account::new(Some("ALL")));
    let mut client = account.client(&sshd);
    client.with_password("not-it");
    let error = client.refusal().await.to_string();
    assert!(
        error.contains("`val-1`") && error.contains("sudo refused the password"),
        "{error}"
    );
    assert!(!error.contains("not-it"), "{error}");
}

#[tokio::test]
async fn a_password_that_sudo_stops_asking_for_is_never_run_as_a_command() {
    let sshd = Sshd::fresh();
    // A password that leaves a trace if a shell reads it.
    let trace = sshd.path("trace");
    let password = format!("echo>{}", trace.display());
    let account = Account::with_password(Some("ALL"), &password);
    let mut client = account.client(&sshd);
    client.with_password(&password);
    let shell = client.shell().await.expect("a shell");
    account.allow("NOPASSWD: ALL");
    let ran = shell.run("id -u; cat", SOON).await.expect("it ran");
    assert_eq!(
        (text(&ran.stdout).as_str(), text(&ran.stderr).as_str()),
        ("0\n", "")
    );
    assert!(!trace.exists(), "the password was run");
}

#[tokio::test]
async fn an_account_that_may_not_use_sudo_is_refused_in_sudos_words() {
    let (sshd, account) = (Sshd::fresh(), Account::new(None));
    let mut client = account.client(&sshd);
    client.with_password(PASSWORD);
    let error = client.refusal().await.to_string();
    assert!(
        error.contains(&account.name) && error.contains("not in the sudoers file"),
        "{error}"
    );
}

#[tokio::test]
async fn sudo_that_wants_a_password_nobody_named_says_what_to_do() {
    let (sshd, account) = (Sshd::fresh(), Account::new(Some("ALL")));
    let mut client = account.client(&sshd);
    client.sudo = Sudo::Passwordless;
    let error = client.refusal().await.to_string();
    assert!(
        error.contains("NOPASSWD") && error.contains("a password is required"),
        "{error}"
    );
    client.sudo = Sudo::None;
    let error = client.refusal().await.to_string();
    assert!(
        error.contains("is not root") && error.contains("sudo = \"none\""),
        "{error}"
    );
}
