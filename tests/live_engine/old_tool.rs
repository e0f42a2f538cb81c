//! Debian's docker-compose (1.29.2), which runs on this machine and speaks with a host's engine.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::fleet::Fleet;

/// A forwarded socket of a host's engine, for tools of this machine.
pub struct Socket {
    path: std::path::PathBuf,
    ssh: Child,
    _folder: tempfile::TempDir,
}

impl Socket {
    pub fn open(fleet: &Fleet) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("engine");
        let mut ssh = Command::new("ssh");
        ssh.args([
            "-N",
            "-F",
            "none",
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-i",
        ])
        .arg(fleet.file("key"))
        .arg("-L")
        .arg(format!("{}:/var/run/docker.sock", path.display()))
        .arg(format!("root@{}", fleet.address("h1")))
        .stdin(Stdio::null())
        .stderr(Stdio::null());
        let ssh = ssh.spawn().expect("ssh is there");
        let until = Instant::now() + Duration::from_secs(20);
        while !path.exists() {
            assert!(Instant::now() < until, "the socket was never forwarded");
            std::thread::sleep(Duration::from_millis(50));
        }
        Self {
            path,
            ssh,
            _folder: folder,
        }
    }

    /// Runs Debian's docker-compose of old on a folder's project.
    pub fn old_tool(&self, folder: &Path, args: &[&str]) {
        let output = Command::new("docker-compose")
            .args(args)
            .current_dir(folder)
            .env("DOCKER_HOST", format!("unix://{}", self.path.display()))
            .output()
            .expect("docker-compose is there: tests/setup/packages");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = self.ssh.kill();
        let _ = self.ssh.wait();
    }
}
