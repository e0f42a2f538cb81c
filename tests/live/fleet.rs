//! Real hosts for tests: a fleet of containers with systemd and sshd, and a project folder that declares them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A running fleet. Taken down when dropped; the fleet program's own `gc` finds it if this process dies first.
pub struct Fleet {
    name: String,
    state: PathBuf,
    hosts: usize,
}

static COUNTER: AtomicUsize = AtomicUsize::new(0);
/// Fleets start one after the other: two at once would build the image twice.
static STARTING: Mutex<()> = Mutex::new(());

impl Fleet {
    /// Starts so many hosts, `h1` and on.
    pub fn up(hosts: usize) -> Self {
        Self::up_with(hosts, &[])
    }

    /// Starts so many hosts, each with a Docker engine of its own that has the image `box:1`, whose one program is busybox.
    #[allow(dead_code)] // Not by every suite.
    pub fn up_with_engines(hosts: usize) -> Self {
        let fleet = Self::up_with(hosts, &["--docker"]);
        for host in fleet.hosts() {
            fleet.import(&host, "box:1");
        }
        fleet
    }

    fn up_with(hosts: usize, more: &[&str]) -> Self {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("live{}-{number}", std::process::id());
        let owner = std::process::id().to_string();
        let _one = STARTING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let count = hosts.to_string();
        let mut args = vec!["up", name.as_str(), count.as_str(), "--owner", owner.as_str()];
        args.extend(more);
        let output = program(&args);
        assert!(
            output.status.success(),
            "the fleet did not start: {}",
            text(&output.stderr)
        );
        let state = PathBuf::from(text(&output.stdout).trim());
        assert!(
            state.join("hosts.json").is_file(),
            "no state in {}",
            state.display()
        );
        Self { name, state, hosts }
    }

    /// Returns the names of the hosts.
    pub fn hosts(&self) -> Vec<String> {
        (1..=self.hosts).map(|number| format!("h{number}")).collect()
    }

    /// Returns a host's address.
    pub fn address(&self, host: &str) -> String {
        let addresses =
            std::fs::read_to_string(self.state.join("addresses")).expect("the addresses are readable");
        let line = addresses
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{host} ")));
        line.expect("the host has an address").to_owned()
    }

    /// Returns a file of the fleet's state, such as `key` or `known_hosts`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.state.join(name)
    }

    /// Runs a shell script on a host, past muster and past sshd, and returns what it printed.
    pub fn sh(&self, host: &str, script: &str) -> String {
        let output = self.try_sh(host, script);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "on {host}: {script}\n{out}{err}");
        out
    }

    /// Runs a shell script on a host and returns how it ended.
    pub fn try_sh(&self, host: &str, script: &str) -> Output {
        program(&["exec", &self.name, host, "sh", "-c", script])
    }

    /// Gives a host's engine an image that was made here: no registry is asked.
    #[allow(dead_code)] // Not by every suite.
    pub fn import(&self, host: &str, image: &str) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let bin = folder.path().join("bin");
        std::fs::create_dir(&bin).expect("a folder");
        std::fs::copy("/bin/busybox", bin.join("busybox")).expect("busybox is installed");
        for name in [
            "sh", "sleep", "cat", "echo", "httpd", "wget", "test", "touch", "printenv", "sync",
        ] {
            std::os::unix::fs::symlink("busybox", bin.join(name)).expect("a link");
        }
        let tar = Command::new("tar")
            .arg("-C")
            .arg(folder.path())
            .args(["-c", "."])
            .output()
            .expect("tar runs");
        assert!(tar.status.success(), "{}", text(&tar.stderr));
        let import = format!(
            "docker import -c 'CMD [\"sleep\",\"3600\"]' -c 'ENV FROM_IMAGE=yes PATH=/bin' - {image}"
        );
        let output = self.feed(host, &import, &tar.stdout);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }

    /// Runs a shell script on a host that reads this.
    #[allow(dead_code)] // Not by every suite.
    pub fn feed(&self, host: &str, script: &str, input: &[u8]) -> Output {
        let mut child = fleet_command(&["exec", &self.name, host, "sh", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("tests/fleet/fleet runs");
        let mut stdin = child.stdin.take().expect("standard input is piped");
        std::io::Write::write_all(&mut stdin, input).expect("it reads");
        drop(stdin);
        child.wait_with_output().expect("it ends")
    }

    /// Waits until nothing of muster runs on a host any more. A controller that is killed leaves the shells that it started: they
    /// finish what they were sent, and what is compared before that end is another a moment later.
    #[allow(dead_code)] // Not by every suite.
    pub fn wait_until_quiet(&self, host: &str) {
        // Its sessions first: a session may have a shell yet to start, and a shell outlives its session.
        let is_quiet = "! pgrep -f '^sshd: .*@notty' >/dev/null && ! pgrep -x -f 'sh -s' >/dev/null";
        let deadline = Instant::now() + Duration::from_secs(90);
        while !self.try_sh(host, is_quiet).status.success() {
            assert!(Instant::now() < deadline, "{host} never becomes quiet");
        }
    }

    /// Does something to a host that the fleet program knows: `reboot`, `kill`, `pause` …
    pub fn act(&self, verb: &str, host: &str) {
        let output = program(&[verb, &self.name, host]);
        assert!(output.status.success(), "{verb} {host}: {}", text(&output.stderr));
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        program(&["down", &self.name]);
    }
}

fn program(args: &[&str]) -> Output {
    let output = fleet_command(args).stdin(Stdio::null()).output();
    output.expect("tests/fleet/fleet runs")
}

fn fleet_command(args: &[&str]) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(root.join("tests/fleet/fleet"));
    command.args(args).current_dir(root);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A folder with `inventories/` and `modules/` in which muster runs, as its user would.
pub struct Project<'a> {
    fleet: &'a Fleet,
    folder: tempfile::TempDir,
}

/// What a run of muster came to.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl<'a> Project<'a> {
    /// Makes a project whose inventory declares these hosts, logged in to as root, and uses the module `app` on all.
    pub fn new(fleet: &'a Fleet, hosts: &[&str]) -> Self {
        let project = Self {
            fleet,
            folder: tempfile::tempdir().expect("a temporary folder"),
        };
        let hosts: String = hosts.iter().map(|host| project.host(host, "")).collect();
        project.write(
            "inventories/fleet.toml",
            &format!("[fleet]\nname = \"live\"\n\n{hosts}\n[[use]]\nmodule = \"app\"\non = \"all\"\n"),
        );
        project.module("");
        project
    }

    /// Returns the inventory's table of one host, with further keys.
    pub fn host(&self, host: &str, more: &str) -> String {
        format!(
            "[hosts.{host}]\naddress = \"{}\"\nuser = \"root\"\nidentity_file = \"{}\"\n{}{more}\n",
            self.fleet.address(host),
            self.fleet.file("key").display(),
            if more.contains("host_key") {
                String::new()
            } else {
                format!("host_key = \"{}\"\n", self.host_key(host))
            },
        )
    }

    /// Returns the host's own key, as a line of known_hosts has it.
    pub fn host_key(&self, host: &str) -> String {
        let address = self.fleet.address(host);
        let known = std::fs::read_to_string(self.fleet.file("known_hosts")).expect("known_hosts is readable");
        let names = |line: &str| line.split_whitespace().next().unwrap_or_default().to_owned();
        let is_ours =
            |line: &&str| names(line).split(',').any(|name| name == address) && line.contains("ssh-ed25519");
        let line = known.lines().find(is_ours).expect("the host's key is known");
        line.split_once(' ').expect("a name and a key").1.to_owned()
    }

    /// Adds text at the end of the inventory.
    pub fn extend_inventory(&self, more: &str) {
        let text = self.read("inventories/fleet.toml") + more;
        self.write("inventories/fleet.toml", &text);
    }

    /// Writes the module `app`: these tables after its head.
    pub fn module(&self, tables: &str) {
        self.write(
            "modules/app/module.toml",
            &format!("[module]\nname = \"app\"\ndescription = \"For tests.\"\n\n{tables}"),
        );
    }

    /// Writes a file of the project.
    pub fn write(&self, path: &str, content: &str) {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("the folder can be made");
        std::fs::write(path, content).expect("the file can be written");
    }

    /// Reads a file of the project.
    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(path)).expect("the file is readable")
    }

    /// Returns the project's folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns muster's command in this project, without a terminal and without the caller's own ssh configuration.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
        command
            .args(args)
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
            .env("HOME", self.folder.path())
            .env("NO_COLOR", "1")
            .env_remove("SSH_AUTH_SOCK")
            .env_remove("CI");
        command
    }

    /// Runs muster.
    pub fn muster(&self, args: &[&str]) -> Ran {
        let output = self.command(args).output().expect("muster runs");
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// Applies, and asserts that it went through and that the next plan is empty.
    pub fn apply(&self) -> Ran {
        let ran = self.muster(&["apply", "-y", "--no-input"]);
        assert_eq!(ran.code, 0, "apply: {}{}", ran.stdout, ran.stderr);
        self.assert_settled();
        ran
    }

    /// Asserts that there is nothing to do.
    pub fn assert_settled(&self) {
        let ran = self.muster(&["plan", "--detailed-exitcode", "--no-input"]);
        assert_eq!(
            ran.code, 0,
            "the second plan is not empty: {}{}",
            ran.stdout, ran.stderr
        );
        let last = ran
            .stdout
            .trim_end()
            .lines()
            .last()
            .unwrap_or_default()
            .to_owned();
        assert!(last.starts_with("No changes."), "{}", ran.stdout);
    }

    /// Asserts that drift is found and that the report names all of these.
    pub fn assert_drift(&self, names: &[&str]) {
        let ran = self.muster(&["drift", "--no-input"]);
        assert_eq!(ran.code, 2, "no drift: {}{}", ran.stdout, ran.stderr);
        for name in names {
            assert!(
                ran.stdout.contains(name),
                "drift does not name {name}: {}",
                ran.stdout
            );
        }
    }
}
