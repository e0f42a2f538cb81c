//! Hosts that lie: a real sshd that runs a program of the test's in place of the account's shell.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use std::os::unix::fs::PermissionsExt as _;

use super::sshd::{Keys, Sshd};

/// What every liar begins with: the script that it was sent, and the ways to answer it.
const PRELUDE: &str = r#"#!/bin/bash
export LC_ALL=C
# Told what to do, as sshd tells a login shell; the script comes on standard input.
script=$(cat)
mark=$(grep -o 'muster-start-[0-9a-f]*' <<<"$script" | head -n 1)
begin() { echo "$mark $$"; echo "$mark $$" >&2; }
# What an honest host would say to a look. Nothing that writes is ever run.
truth() { printf '%s\n' "$script" | sed -E '/^(reserve_host|unreserve_host|lock_host|renew_lock|release_lock|enter|record|op_|step) /d' | env -i PATH="$PATH" LC_ALL=C sh -s 2>/dev/null | sed 1d; }
# A section as a look's script says it: NUMBER NAME OUTPUT STATUS ERRORS.
said() { printf '%s %s %s\n%s\n%s %s\n%s\n%s\n' lie-mark "$1" "$2" "$3" lie-mark "$4" "$5" lie-mark; }
# Tells an answer, but with another OUTPUT, STATUS and ERRORS in the sections NAME.
retold() { perl -0777 -e 'my ($name, $o, $s, $e) = @ARGV; local $_ = <STDIN>; my ($m) = /^mark (\S+)$/m;
    s/^(\Q$m\E \d+ \Q$name\E\n).*?\n\Q$m\E \d+\n.*?\n\Q$m\E\n/$1$o\n$m $s\n$e\n$m\n/smg; print' "$@"; }
# Tells an answer with COUNT copies of the sections NAME, all numbered as they should be.
copied() { perl -0777 -e 'my ($name, $count) = @ARGV; local $_ = <STDIN>; my ($m) = /^mark (\S+)$/m;
    s/^(\Q$m\E \d+ \Q$name\E\n.*?\n\Q$m\E \d+\n.*?\n\Q$m\E\n|\Q$name\E \d+ \S+ \S*\n)/$1 x $count/smge;
    my $n = 0; s/^(\Q$m\E|command) \d+ (?=\S)/"$1 " . $n++ . " "/mge; s/^end \d+$/end $n/m; print' "$@"; }
"#;

/// A host that lies, and a project that declares it.
pub struct Liar {
    pub sshd: Sshd,
    pub project: tempfile::TempDir,
}

/// What muster said to a lie, and what that cost.
pub struct Told {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    pub peak_kib: u64,
    pub took: Duration,
}

impl Told {
    pub fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

const MODULE: &str = r#"[module]
name = "app"

[[file]]
path    = "/etc/muster-hostile.conf"
content = "x\n"

[[account]]
name = "muster-hostile"

[[package]]
name = "muster-hostile"

[[command]]
name  = "c"
run   = "true"
probe = "exit 1"

[[settings]]
path = "/etc/muster-hostile.json"
keys = { a = 1 }
"#;

impl Liar {
    /// Makes a host that answers with this shell script.
    pub fn new(lie: &str) -> Self {
        let keys = Keys::new();
        let program = keys.path("liar");
        let sshd = keys.serve(&format!("ForceCommand {}", program.display()));
        let project = tempfile::tempdir().expect("a folder");
        let liar = Self { sshd, project };
        let inventory = format!(
            "[fleet]\nname = \"hostile\"\n\n[hosts.h1]\naddress = \"127.0.0.1\"\nport = {}\nuser = \"root\"\n\
             identity_file = \"{}\"\nhost_key = \"{}\"\n\n[[use]]\nmodule = \"app\"\non = \"all\"\n",
            liar.sshd.port,
            liar.sshd.path("user_key").display(),
            liar.sshd.host_key(),
        );
        liar.write("inventories/hostile.toml", &inventory);
        liar.write("modules/app/module.toml", MODULE);
        liar.tells(lie);
        liar
    }

    /// Makes it tell another lie from now on.
    pub fn tells(&self, lie: &str) {
        let program = self.sshd.path("liar");
        std::fs::write(&program, format!("{PRELUDE}{lie}\n")).expect("the liar is written");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("it can run");
    }

    pub fn write(&self, path: &str, content: &str) {
        let path = self.project.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, content).expect("written");
    }

    /// Runs muster, and watches how much memory it takes.
    pub fn muster(&self, args: &[&str]) -> Told {
        muster(self.project.path(), args)
    }
}

/// Puts an `ssh` in front that reads the configuration of this folder, since the real one asks the system for the home.
fn path(folder: &Path) -> String {
    let bin = folder.join("bin");
    if folder.join(".ssh/config").exists() && !bin.exists() {
        std::fs::create_dir(&bin).expect("a folder");
        std::fs::write(
            bin.join("ssh"),
            "#!/bin/sh\nexec /usr/bin/ssh -F \"$HOME/.ssh/config\" \"$@\"\n",
        )
        .expect("written");
        std::fs::set_permissions(bin.join("ssh"), std::fs::Permissions::from_mode(0o755))
            .expect("it can run");
    }
    format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default())
}

/// Runs muster in a folder.
pub fn muster(folder: &Path, args: &[&str]) -> Told {
    let began = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_muster"))
        .args(args)
        .current_dir(folder)
        .env("HOME", folder)
        .env("PATH", path(folder))
        .env("NO_COLOR", "1")
        .env_remove("SSH_AUTH_SOCK")
        .env_remove("CI")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("muster runs");
    let status = format!("/proc/{}/status", child.id());
    let (ended, end) = std::sync::mpsc::channel::<()>();
    let watching = std::thread::spawn(move || {
        let mut peak = 0;
        while end.recv_timeout(Duration::from_millis(3)).is_err() {
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kib = line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
            peak = peak.max(kib.unwrap_or(0));
        }
        peak
    });
    let read = |stream: Option<Box<dyn std::io::Read + Send>>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            drop(stream.map(|mut stream| stream.read_to_end(&mut bytes)));
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let stdout = read(child.stdout.take().map(|stream| Box::new(stream) as _));
    let stderr = read(child.stderr.take().map(|stream| Box::new(stream) as _));
    let code = child.wait().expect("muster ends").code().unwrap_or(-1);
    ended.send(()).expect("it is watched");
    Told {
        code,
        stdout: stdout.join().expect("it is read"),
        stderr: stderr.join().expect("it is read"),
        peak_kib: watching.join().expect("it is watched"),
        took: began.elapsed(),
    }
}
