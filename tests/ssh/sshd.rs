//! A private sshd for one test: its own port on 127.0.0.1, its own host key, its own list of keys that may log in.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The longest that a daemon of a test may take to answer.
const STARTS_WITHIN: Duration = Duration::from_secs(20);

/// A running sshd. It ends with the value.
pub struct Sshd {
    /// Holds `host_key`, `user_key`, `authorized_keys` and whatever a test adds.
    pub dir: TempDir,
    /// Its port on 127.0.0.1.
    pub port: u16,
    child: Child,
}

/// A folder with keys, before the sshd that will use them runs.
pub struct Keys(pub TempDir);

impl Keys {
    /// Makes a host key, a user key, and lets that user key in.
    pub fn new() -> Self {
        let keys = Self(tempfile::tempdir().expect("a folder"));
        // sshd reads the keys of an account that is not root as that account.
        fs::set_permissions(keys.0.path(), fs::Permissions::from_mode(0o755)).expect("an open folder");
        keygen(&keys.path("host_key"), &["-t", "ed25519", "-N", ""]);
        keygen(&keys.path("user_key"), &["-t", "ed25519", "-N", ""]);
        fs::copy(keys.path("user_key.pub"), keys.path("authorized_keys")).expect("a copy");
        keys
    }

    /// Returns the path of a file beside the keys.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Starts an sshd with these keys and further lines of configuration.
    pub fn serve(self, more: &str) -> Sshd {
        Sshd::start(self.0, more)
    }
}

impl Sshd {
    /// Starts one with fresh keys.
    pub fn fresh() -> Self {
        Keys::new().serve("")
    }

    fn start(dir: TempDir, more: &str) -> Self {
        fs::create_dir_all("/run/sshd").expect("sshd's folder for its unprivileged part");
        let port = free_port();
        let at = dir.path().display();
        let config = format!(
            "{more}\nListenAddress 127.0.0.1\nPort {port}\nHostKey {at}/host_key\nPidFile none\nUsePAM no\n\
             StrictModes no\nAuthorizedKeysFile {at}/authorized_keys\nPermitRootLogin yes\n\
             LogLevel VERBOSE\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        );
        fs::write(dir.path().join("sshd_config"), config).expect("a configuration");
        let log = fs::File::create(dir.path().join("sshd.log")).expect("a log");
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(dir.path().join("sshd_config"))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("sshd is installed (package openssh-server)");
        let sshd = Self { dir, port, child };
        sshd.wait();
        sshd
    }

    fn wait(&self) {
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(
                started.elapsed() < STARTS_WITHIN,
                "sshd does not start: {}",
                self.log()
            );
            std::thread::yield_now();
        }
    }

    /// Returns what it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("sshd.log")).unwrap_or_default()
    }

    /// Returns how often somebody logged in.
    pub fn logins(&self) -> usize {
        self.log().matches("Accepted publickey").count()
    }

    /// Returns the path of a file beside its keys.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Returns its host key as known_hosts and inventories write it.
    pub fn host_key(&self) -> String {
        public_key(&self.path("host_key.pub"))
    }

    /// Returns its name as known_hosts writes it.
    pub fn known_name(&self) -> String {
        format!("[127.0.0.1]:{}", self.port)
    }

    /// Returns the line by which a client knows it.
    pub fn known_line(&self) -> String {
        format!("{} {}\n", self.known_name(), self.host_key())
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("what sshd logged:\n{}", self.log());
        }
    }
}

/// Returns a port that nobody listens on.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}

/// Waits until something holds.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < STARTS_WITHIN, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Makes a key, or signs one.
pub fn keygen(file: &Path, arguments: &[&str]) {
    let output = Command::new("ssh-keygen")
        .args(["-q", "-f"])
        .arg(file)
        .args(arguments)
        .output();
    let output = output.expect("ssh-keygen is installed");
    assert!(
        output.status.success(),
        "ssh-keygen: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Reads a public key without its comment.
pub fn public_key(file: &Path) -> String {
    let text = fs::read_to_string(file).expect("a public key");
    text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}
