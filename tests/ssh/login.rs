//! Who logs in, and with what.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use muster::model::secret::Secret;
use muster::transport::connector::Prompter;

use super::client::Client;
use super::sshd::{Keys, Sshd, keygen, until};

/// Answers questions from a list, and remembers them.
struct Person {
    answers: Mutex<Vec<&'static str>>,
    questions: Mutex<Vec<String>>,
}

impl Person {
    fn with(answers: &[&'static str]) -> Arc<Self> {
        let answers = answers.iter().rev().copied().collect();
        Arc::new(Self {
            answers: Mutex::new(answers),
            questions: Mutex::default(),
        })
    }

    fn questions(&self) -> usize {
        self.questions.lock().expect("questions").len()
    }
}

impl Prompter for Person {
    fn ask(&self, question: &str) -> Option<Secret> {
        self.questions
            .lock()
            .expect("questions")
            .push(question.to_owned());
        self.answers.lock().expect("answers").pop().map(Secret::new)
    }
}

/// An sshd whose user's key is encrypted.
fn with_encrypted_key() -> Sshd {
    let keys = Keys::new();
    keygen(&keys.path("user_key"), &["-p", "-P", "", "-N", "open sesame"]);
    keys.serve("")
}

#[tokio::test]
async fn an_encrypted_key_is_asked_for_once_in_a_run() {
    let sshd = with_encrypted_key();
    let mut client = Client::of(&sshd);
    let person = Person::with(&["wrong", "open sesame"]);
    client.prompter = Some(person.clone());
    let connector = client.connector();
    client.shell_by(&connector).await.expect("a first shell");
    let (one, two) = tokio::join!(client.shell_by(&connector), client.shell_by(&connector));
    one.and(two).expect("later shells");
    assert_eq!(person.questions(), 2, "one wrong answer, one right one");
    assert!(person.questions.lock().expect("questions")[0].contains("user_key"));
}

#[tokio::test]
async fn nobody_is_asked_for_a_key_that_the_host_would_not_take() {
    let sshd = with_encrypted_key();
    fs::write(sshd.path("authorized_keys"), "").expect("authorized_keys");
    let mut client = Client::of(&sshd);
    let person = Person::with(&["open sesame"]);
    client.prompter = Some(person.clone());
    let error = client.refusal().await.to_string();
    assert!(
        error.contains("none of the keys offered was accepted") && error.contains("user_key"),
        "{error}"
    );
    assert_eq!(person.questions(), 0);
}

#[tokio::test]
async fn an_encrypted_key_without_anybody_to_ask_says_what_to_do() {
    let error = Client::of(&with_encrypted_key()).refusal().await.to_string();
    assert!(error.contains("ssh-add"), "{error}");
}

/// A real agent.
struct Agent {
    child: Child,
    socket: std::path::PathBuf,
}

impl Agent {
    async fn beside(sshd: &Sshd) -> Self {
        let socket = sshd.path("agent");
        let child = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(&socket)
            .stdout(Stdio::null())
            .spawn();
        let child = child.expect("ssh-agent is installed");
        until("the agent listens", || socket.exists()).await;
        Self { child, socket }
    }

    fn add(&self, key: &std::path::Path) {
        let output = Command::new("ssh-add")
            .arg("-q")
            .arg(key)
            .env("SSH_AUTH_SOCK", &self.socket)
            .output();
        let output = output.expect("ssh-add is installed");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_key_of_the_agent_logs_in() {
    let sshd = Sshd::fresh();
    let agent = Agent::beside(&sshd).await;
    agent.add(&sshd.path("user_key"));
    fs::remove_file(sshd.path("user_key")).expect("the file is gone");
    let mut client = Client::of(&sshd);
    client.target.identity_file = None;
    client.places.agent = Some(agent.socket.clone());
    client.shell().await.expect("the agent signs");
    // A public key names one of the agent's.
    client.target.identity_file = Some(sshd.path("user_key.pub").display().to_string());
    client.shell().await.expect("the agent signs with the named key");
}

#[tokio::test]
async fn only_the_named_key_is_offered() {
    let sshd = Sshd::fresh();
    let agent = Agent::beside(&sshd).await;
    agent.add(&sshd.path("user_key"));
    keygen(&sshd.path("other_key"), &["-t", "ed25519", "-N", ""]);
    let mut client = Client::of(&sshd);
    client.places.agent = Some(agent.socket.clone());
    client.target.identity_file = Some(sshd.path("other_key").display().to_string());
    let error = client.refusal().await.to_string();
    assert!(
        error.contains("other_key") && !error.contains("agent's"),
        "{error}"
    );
}

/// An sshd that lets in whoever has a certificate of its user authority, with one for its user's key.
fn with_user_authority() -> Sshd {
    let keys = Keys::new();
    keygen(&keys.path("ca"), &["-t", "ed25519", "-N", ""]);
    let signed = Command::new("ssh-keygen")
        .args(["-q", "-I", "alice", "-n", "root", "-s"])
        .args([keys.path("ca"), keys.path("user_key.pub")])
        .status();
    assert!(signed.expect("ssh-keygen runs").success());
    fs::write(keys.path("authorized_keys"), "").expect("authorized_keys");
    let more = format!("TrustedUserCAKeys {}", keys.path("ca.pub").display());
    keys.serve(&more)
}

#[tokio::test]
async fn a_certificate_beside_the_key_logs_in() {
    let sshd = with_user_authority();
    Client::of(&sshd).shell().await.expect("the certificate");
    fs::remove_file(sshd.path("user_key-cert.pub")).expect("the certificate is gone");
    Client::of(&sshd).refusal().await;
}

#[tokio::test]
async fn a_configured_certificate_logs_in_with_a_key_of_the_agent() {
    let sshd = with_user_authority();
    let agent = Agent::beside(&sshd).await;
    let certificate = sshd.path("certificate");
    fs::rename(sshd.path("user_key-cert.pub"), &certificate).expect("the certificate moves");
    agent.add(&sshd.path("user_key"));
    fs::remove_file(sshd.path("user_key")).expect("the file is gone");
    let mut client = Client::of(&sshd);
    client.target.identity_file = None;
    client.places.agent = Some(agent.socket.clone());
    client.configure(&format!("Host *\n CertificateFile {}\n", certificate.display()));
    client.shell().await.expect("certificate and agent");
}

#[tokio::test]
async fn a_certificate_in_the_agent_logs_in() {
    let sshd = with_user_authority();
    let agent = Agent::beside(&sshd).await;
    agent.add(&sshd.path("user_key"));
    fs::remove_file(sshd.path("user_key-cert.pub")).expect("the certificate is gone");
    let mut client = Client::of(&sshd);
    client.places.agent = Some(agent.socket.clone());
    client.shell().await.expect("the agent's certificate");
}

#[tokio::test]
async fn rsa_keys_log_in_with_modern_signatures() {
    let keys = Keys::new();
    keygen(&keys.path("rsa_key"), &["-t", "rsa", "-b", "2048", "-N", ""]);
    fs::copy(keys.path("rsa_key.pub"), keys.path("authorized_keys")).expect("a copy");
    let sshd = keys.serve("");
    let mut client = Client::of(&sshd);
    client.target.identity_file = Some(sshd.path("rsa_key").display().to_string());
    client.shell().await.expect("the RSA key");
    let agent = Agent::beside(&sshd).await;
    agent.add(&sshd.path("rsa_key"));
    client.target.identity_file = Some(sshd.path("rsa_key.pub").display().to_string());
    client.places.agent = Some(agent.socket.clone());
    client.shell().await.expect("the RSA key in the agent");
}

#[tokio::test]
async fn a_refused_login_is_not_tried_again_and_says_what_the_host_said() {
    let sshd = Keys::new().serve("MaxAuthTries 1");
    let agent = Agent::beside(&sshd).await;
    for name in ["a", "b"] {
        keygen(&sshd.path(name), &["-t", "ed25519", "-N", ""]);
        agent.add(&sshd.path(name));
    }
    let mut client = Client::of(&sshd);
    client.target.identity_file = None;
    client.places.agent = Some(agent.socket.clone());
    let error = client.refusal().await.to_string();
    assert!(error.contains("Too many authentication failures"), "{error}");
    assert_eq!(
        sshd.log().matches("Connection from").count(),
        2,
        "the start's and ours: {}",
        sshd.log()
    );
}

#[tokio::test]
async fn without_any_key_the_error_says_so() {
    let sshd = Sshd::fresh();
    let mut client = Client::of(&sshd);
    client.target.identity_file = Some("~/none".to_owned());
    let error = client.refusal().await.to_string();
    assert!(
        error.contains("there is no key to log in with") && error.contains("identity_file"),
        "{error}"
    );
}
