//! A real registry, at the address by which the hosts of fleets find this machine.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::fleet::Fleet;

/// A running registry. Stopped when dropped.
pub struct Registry {
    /// `ADDRESS:PORT`, as it stands in names of images.
    pub name: String,
    child: Child,
    folder: tempfile::TempDir,
}

/// The address of this machine in a fleet's network.
fn gateway(fleet: &Fleet) -> String {
    let host = fleet.address("h1");
    let (net, _) = host.rsplit_once('.').expect("an address");
    format!("{net}.1")
}

impl Registry {
    /// Starts one for a fleet's hosts. With an account, nobody else may pull or push.
    pub fn start(fleet: &Fleet, account: Option<(&str, &str)>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let free = TcpListener::bind((gateway(fleet), 0)).expect("a free port");
        let name = free.local_addr().expect("an address").to_string();
        drop(free);
        let auth = account.map_or(String::new(), |(user, password)| {
            let file = folder.path().join("htpasswd");
            std::fs::write(&file, htpasswd(user, password)).expect("written");
            format!(
                "auth:\n  htpasswd:\n    realm: trial\n    path: {}\n",
                file.display()
            )
        });
        let config = folder.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog:\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\nhttp:\n  addr: {name}\n{auth}",
            folder.path().join("data").display()
        );
        std::fs::write(&config, text).expect("written");
        let child = serve(&config);
        let registry = Self { name, child, folder };
        registry.wait();
        registry
    }

    fn wait(&self) {
        let until = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(&self.name).is_err() {
            assert!(Instant::now() < until, "the registry never listened");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Starts one that gives everybody together so many bytes a second, whatever they push.
    pub fn start_slow(fleet: &Fleet, bytes_per_sec: u64) -> Self {
        let mut registry = Self::start(fleet, None);
        let gate = TcpListener::bind((gateway(fleet), 0)).expect("a free port");
        let behind = std::mem::replace(
            &mut registry.name,
            gate.local_addr().expect("an address").to_string(),
        );
        let turn = Arc::new(Mutex::new(()));
        std::thread::spawn(move || {
            // It ends with the test, as the pulls do that pass it.
            for client in gate.incoming().flatten() {
                let (Ok(server), turn) = (TcpStream::connect(&behind), Arc::clone(&turn)) else {
                    continue;
                };
                let there = (client.try_clone(), server.try_clone());
                let (Ok(mut from), Ok(mut to)) = there else {
                    continue;
                };
                std::thread::spawn(move || {
                    drop(std::io::copy(&mut from, &mut to));
                    drop(to.shutdown(Shutdown::Write));
                });
                std::thread::spawn(move || trickle(server, client, bytes_per_sec, &turn));
            }
        });
        registry
    }

    /// Lets a host's engine speak with it without TLS.
    pub fn admit(&self, fleet: &Fleet, host: &str) {
        admit(fleet, host, &self.name);
    }

    /// Kills it. What was pushed stays.
    pub fn halt(&mut self) {
        self.end();
    }

    /// Starts it again, at the same address.
    pub fn go_on(&mut self) {
        self.child = serve(&self.folder.path().join("config.yml"));
        self.wait();
    }

    /// Stops it.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Passes bytes on, slowly: whoever holds the turn sends a tenth of what is due in a second, and waits for as long.
fn trickle(mut from: TcpStream, mut to: TcpStream, bytes_per_sec: u64, turn: &Mutex<()>) {
    let mut part = vec![0; usize::try_from(bytes_per_sec / 10).expect("it is small")];
    while let Ok(read @ 1..) = from.read(&mut part) {
        let _turn = turn.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if to.write_all(&part[..read]).is_err() {
            break;
        }
        let due = Duration::from_secs(1).mul_f64(read as f64 / bytes_per_sec as f64);
        std::thread::sleep(due);
    }
    drop(to.shutdown(Shutdown::Both));
}

/// Lets a host's engine speak with a registry without TLS. A download that breaks is tried once more, and not four times.
pub fn admit(fleet: &Fleet, host: &str, registry: &str) {
    fleet.sh(
        host,
        &format!(
            "sed -i 's/^{{/{{\"max-download-attempts\":2,\"insecure-registries\":[\"{registry}\"],/' /etc/docker/daemon.json && \
             systemctl restart docker && until docker info >/dev/null 2>&1; do sleep 0.2; done",
        ),
    );
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.end();
    }
}

fn serve(config: &Path) -> Child {
    Command::new("docker-registry")
        .arg("serve")
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("docker-registry is installed")
}

/// The registry takes bcrypt only, and perl, which every Debian has, makes that through the C library.
fn htpasswd(user: &str, password: &str) -> String {
    let script = "print crypt($ARGV[0], q($2y$05$abcdefghijklmnopqrstuu))";
    let made = Command::new("perl").args(["-e", script, password]).output();
    let hash = made.expect("perl runs").stdout;
    let hash = String::from_utf8_lossy(&hash);
    assert!(hash.starts_with("$2y$"), "{hash}");
    format!("{user}:{hash}\n")
}
