//! The hosts: folders with Debian's own programs under one sshd, told apart by the address that was connected to.
//!
//! All lies on a tmpfs over `/mnt`, in namespaces that end with the bench. A host costs hard links and one mount. It has no
//! systemd; what is measured are files, a directory and a link.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use super::contender::{self, Contender};

/// Where all hosts listen.
pub const PORT: u16 = 2222;
/// The key to log in with.
pub const USER_KEY: &str = "/mnt/home/.ssh/id_ed25519";
/// What the hosts are known by.
pub const HOST_KEY_PUBLIC: &str = "/mnt/ssh/host_key.pub";
/// The home of whoever runs the clients.
pub const HOME: &str = "/mnt/home";
/// muster's inventories and modules.
pub const PROJECT: &str = "/mnt/project";
/// pyinfra's inventories and deploy.
pub const PYINFRA: &str = "/mnt/pyinfra";
/// A script as long as a look, of which nothing is called.
pub const IDLE: &str = "/mnt/idle.sh";
/// A look.
pub const LOOK: &str = "/mnt/look.sh";
/// How scripts are started: as muster does where the account is root.
pub const COMMAND: &str =
    "exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C sh -s";

const HOSTS: &str = "/mnt/hosts";
const TEMPLATE: &str = "/mnt/template";
/// The longest that sshd may take to start, and the last of its sessions to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// The files under measure: name and content. The last is a template that names the host.
const FILES: [(&str, &str); 4] = [
    ("/srv/app/app.toml", include_str!("../../Cargo.toml")),
    ("/srv/app/motd", "This host belongs to a bench.\n"),
    (
        "/srv/app/limits.conf",
        "* soft nofile 65536\n* hard nofile 65536\n",
    ),
    ("/srv/app/peer.conf", "listen = {}:26656\n"),
];

/// The programs that a host has besides coreutils.
const PROGRAMS: [&str; 18] = [
    "dash",
    "bash",
    "sh",
    "flock",
    "grep",
    "sed",
    "awk",
    "find",
    "hostname",
    "ip",
    "dpkg",
    "dpkg-query",
    "getent",
    "gzip",
    "tar",
    "which",
    "ps",
    "mount",
];

/// Everything that is measured on.
pub struct Bed {
    /// pyinfra, where it is installed.
    pub pyinfra: Option<PathBuf>,
    sshd: Child,
    settled: std::cell::Cell<usize>,
}

/// Returns the address of a host by its number, from 0.
pub fn address(number: usize) -> Ipv4Addr {
    let number = u32::try_from(number).expect("few hosts");
    Ipv4Addr::from_bits(Ipv4Addr::new(127, 1, 0, 1).to_bits() + number)
}

/// Lists what is declared: kind and path.
pub fn resources() -> Vec<(&'static str, String)> {
    let files = FILES.iter().map(|(path, _)| ("file", (*path).to_owned()));
    let others = [
        ("directory", "/srv/app".to_owned()),
        ("symlink", "/srv/current".to_owned()),
    ];
    files.chain(others).collect()
}

impl Bed {
    /// Makes hosts, keys and files, and starts sshd. In namespaces of its own, or not at all.
    pub fn make(hosts: usize) -> Self {
        assert!(
            nix::unistd::getpid().as_raw() == 1,
            "the bench runs in a process namespace of its own"
        );
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("mounts of its own");
        mount(
            Some("tmpfs"),
            "/mnt",
            Some("tmpfs"),
            MsFlags::empty(),
            Some("mode=755,nr_inodes=0"),
        )
        .expect("a tmpfs");
        quiet(Command::new("ip").args(["link", "set", "lo", "up"]));
        for folder in [
            HOSTS,
            TEMPLATE,
            "/mnt/home/.ssh",
            "/mnt/ssh",
            "/mnt/sshd-run",
            PYINFRA,
        ] {
            fs::create_dir_all(folder).expect("a folder");
        }
        make_template();
        (0..hosts).for_each(make_host);
        make_keys(hosts);
        become_root_of_the_bench();
        make_project(hosts);
        make_deploy(hosts);
        let look = contender::look_script();
        write(
            LOOK,
            &format!("muster_main() {{\n{look}\n}}\nmuster_main </dev/null\n"),
        );
        write(IDLE, &format!("muster_main() {{\n{look}\n}}\necho end\n"));
        let sshd = start_sshd();
        let pyinfra = std::env::var_os("MUSTER_BENCH_PYINFRA")
            .map(PathBuf::from)
            .filter(|path| path.exists());
        Self {
            pyinfra,
            sshd,
            settled: std::cell::Cell::new(0),
        }
    }

    /// Returns the processor time of sshd and all that it started, once its last session has ended.
    pub fn target_cpu(&self) -> Duration {
        let pid = self.sshd.id();
        let started = Instant::now();
        while has_children(pid) {
            assert!(started.elapsed() < PATIENCE, "a session does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("sshd runs");
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        // utime, stime, cutime, cstime: in ticks, of which there are a hundred a second on Linux.
        let ticks: u64 = fields[11..15]
            .iter()
            .map(|field| field.parse::<u64>().expect("a number"))
            .sum();
        Duration::from_millis(ticks * 10)
    }

    /// Removes all that was ever applied.
    pub fn wipe(&self, hosts: usize) {
        for number in 0..hosts {
            let root = root_of(number);
            for folder in ["srv", "var/lib/muster"] {
                let _ = fs::remove_dir_all(root.join(folder));
            }
            fs::create_dir(root.join("srv")).expect("a folder");
        }
        let _ = fs::remove_dir_all(Path::new(PROJECT).join("plans"));
        self.settled.set(0);
    }

    /// Sees to it that muster has nothing to do on the first hosts.
    pub fn settle(&self, hosts: usize) {
        if self.settled.get() == hosts {
            return;
        }
        self.wipe(hosts);
        quiet(&mut contender::muster("apply", "plain", hosts));
        self.is_settled(hosts);
    }

    /// Notes that muster has nothing to do on the first hosts.
    pub fn is_settled(&self, hosts: usize) {
        self.settled.set(hosts);
    }

    /// Proves that a contender did what it was to do.
    pub fn check(&self, contender: &Contender) {
        let last = root_of(contender.hosts - 1);
        for (path, content) in FILES {
            let wanted = content.replace("{}", &address(contender.hosts - 1).to_string());
            let found = fs::read_to_string(last.join(&path[1..])).unwrap_or_default();
            assert_eq!(found, wanted, "{path} after {}", contender.name);
        }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = self.sshd.kill();
        let _ = self.sshd.wait();
    }
}

fn root_of(number: usize) -> PathBuf {
    Path::new(HOSTS).join(address(number).to_string())
}

fn write(path: impl AsRef<Path>, text: &str) {
    let path = path.as_ref();
    fs::create_dir_all(path.parent().expect("a file in a folder")).expect("a folder");
    fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Runs a command that must work; what it says is shown if it does not.
fn quiet(command: &mut Command) {
    let output = command
        .stdin(Stdio::null())
        .output()
        .expect("a program that is installed");
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&said)
    );
}

/// Copies the programs that a host has, and what they are linked to, into a folder from which hosts are linked.
fn make_template() {
    let coreutils = Command::new("dpkg")
        .args(["-L", "coreutils"])
        .output()
        .expect("dpkg");
    let listed = String::from_utf8_lossy(&coreutils.stdout).into_owned();
    let of_coreutils = listed
        .lines()
        .filter_map(|line| line.rsplit_once("bin/").map(|(_, name)| name.to_owned()));
    let names = of_coreutils.chain(PROGRAMS.map(str::to_owned));
    let mut files: BTreeSet<PathBuf> = names.filter_map(|name| found(&name)).collect();
    files.insert(PathBuf::from("/usr/lib/openssh/sftp-server"));
    let libraries: BTreeSet<PathBuf> = libraries_of(&files);
    for path in files.iter().chain(&libraries) {
        // On a merged /usr, `/lib/x` and `/usr/lib/x` are one file.
        let own = Path::new("/usr").join(
            path.strip_prefix("/usr")
                .unwrap_or(path.strip_prefix("/").expect("absolute")),
        );
        let to = Path::new(TEMPLATE).join(own.strip_prefix("/").expect("absolute"));
        fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        fs::copy(path, &to).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    write(
        Path::new(TEMPLATE).join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/bash\n",
    );
    write(Path::new(TEMPLATE).join("etc/group"), "root:x:0:\n");
    write(
        Path::new(TEMPLATE).join("etc/nsswitch.conf"),
        "passwd: files\ngroup: files\n",
    );
    // What Debian gives root: comments.
    write(
        Path::new(TEMPLATE).join("root/.bashrc"),
        "# ~/.bashrc: executed by bash(1) for non-login shells.\n",
    );
    fs::copy("/etc/os-release", Path::new(TEMPLATE).join("etc/os-release")).expect("a copy");
    fs::create_dir_all(Path::new(TEMPLATE).join("dev")).expect("a folder");
    for (name, major, minor) in [("null", 1, 3), ("zero", 1, 5), ("urandom", 1, 9)] {
        let (path, mode) = (
            Path::new(TEMPLATE).join("dev").join(name),
            Mode::from_bits_truncate(0o666),
        );
        mknod(&path, SFlag::S_IFCHR, mode, makedev(major, minor)).expect("a device");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("a mode");
    }
}

fn found(name: &str) -> Option<PathBuf> {
    ["/usr/bin", "/usr/sbin", "/bin", "/sbin"]
        .map(|folder| Path::new(folder).join(name))
        .into_iter()
        .find(|path| path.exists())
}

fn libraries_of(programs: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
    let output = Command::new("ldd").args(programs).output().expect("ldd");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let path = |line: &str| {
        line.split_whitespace()
            .find(|word| word.starts_with('/'))
            .map(PathBuf::from)
    };
    let mut libraries: BTreeSet<PathBuf> = text
        .lines()
        .filter(|line| line.contains("(0x"))
        .filter_map(path)
        .collect();
    // Loaded by name and not linked: how names of accounts are found.
    let beside = libraries
        .iter()
        .find(|path| path.ends_with("libc.so.6"))
        .and_then(|path| path.parent());
    let files = beside.map(|folder| folder.join("libnss_files.so.2"));
    libraries.extend(files.filter(|path| path.exists()));
    libraries
}

fn make_host(number: usize) {
    let root = root_of(number);
    link_all(Path::new(TEMPLATE), &root);
    for (from, to) in [
        ("bin", "usr/bin"),
        ("sbin", "usr/sbin"),
        ("lib", "usr/lib"),
        ("lib64", "usr/lib64"),
    ] {
        symlink(to, root.join(from)).expect("a link");
    }
    for folder in ["proc", "srv", "tmp", "run", "var/lib"] {
        fs::create_dir_all(root.join(folder)).expect("a folder");
    }
    // Of the shape of a machine id, and of nobody's machine.
    write(
        root.join("etc/machine-id"),
        &format!("{:032x}\n", 0xbe9c_u128 << 64 | number as u128),
    );
    let none = None::<&str>;
    mount(Some("/proc"), &root.join("proc"), none, MsFlags::MS_BIND, none).expect("a mount");
}

fn link_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            link_all(&entry.path(), &to);
        } else {
            fs::hard_link(entry.path(), &to).expect("a hard link");
        }
    }
}

fn make_keys(hosts: usize) {
    for path in [USER_KEY, HOST_KEY_PUBLIC.trim_end_matches(".pub")] {
        quiet(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path]));
    }
    fs::copy(format!("{USER_KEY}.pub"), "/mnt/ssh/authorized_keys").expect("a copy");
    let key = fs::read_to_string(HOST_KEY_PUBLIC).expect("a key");
    // A line each, as a person's file has them.
    let lines = (0..hosts).map(|number| format!("[{}]:{PORT} {key}", address(number)));
    write("/mnt/home/.ssh/known_hosts", &lines.collect::<String>());
}

/// Gives root another home and the door for a shell, for us alone.
fn become_root_of_the_bench() {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let door = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/fleet/door.rs");
    let flags = [
        "--edition",
        "2024",
        "-O",
        "-C",
        "target-feature=+crt-static",
        "-C",
        "panic=abort",
        "-o",
        "/mnt/door",
    ];
    quiet(Command::new(rustc).args(flags).arg(door));
    let passwd = fs::read_to_string("/etc/passwd").expect("a list of accounts");
    let others = passwd
        .lines()
        .filter(|line| !line.starts_with("root:"))
        .map(|line| format!("{line}\n"));
    write(
        "/mnt/passwd",
        &format!("root:x:0:0:root:{HOME}:/mnt/door\n{}", others.collect::<String>()),
    );
    let none = None::<&str>;
    mount(Some("/mnt/passwd"), "/etc/passwd", none, MsFlags::MS_BIND, none).expect("a mount");
    fs::create_dir_all("/run/sshd").expect("sshd's folder for its unprivileged part");
}

/// Writes an inventory for each size and for both modules. They declare the same; one of them asks for a fact first.
fn make_project(most: usize) {
    for (name, when) in [("plain", "true"), ("facts", "facts.cpus > 0")] {
        let mut module = format!("[module]\nname = \"{name}\"\ndescription = \"What the bench measures.\"\n");
        let when = format!("when = \"{when}\"\n");
        for (path, content) in FILES {
            let content = content.replace("{}", "{{ host.address }}").replace('\\', "\\\\");
            let text = toml::Value::String(content).to_string();
            module += &format!("[[file]]\npath = \"{path}\"\ncontent = {text}\nmode = \"0644\"\n{when}");
        }
        module += &format!("[[directory]]\npath = \"/srv/app\"\nmode = \"0755\"\n{when}");
        module += &format!("[[symlink]]\npath = \"/srv/current\"\nto = \"/srv/app\"\n{when}");
        write(format!("{PROJECT}/modules/{name}/module.toml"), &module);
        for hosts in [100, 500, most] {
            let rollout = "canary = 0\nbatch = \"100%\"\ndown_max = \"100%\"\n";
            let mut inventory = format!("[fleet]\nname = \"bench\"\n[policy]\n{rollout}");
            inventory += &format!("[[use]]\nmodule = \"{name}\"\non = \"all\"\n");
            for number in 0..hosts.min(most) {
                inventory += &format!(
                    "[hosts.h{number:04}]\naddress = \"{}\"\nport = {PORT}\nuser = \"root\"\n",
                    address(number)
                );
            }
            write(
                format!("{PROJECT}/inventories/{name}-{}.toml", hosts.min(most)),
                &inventory,
            );
        }
    }
}

/// Writes the same for pyinfra.
fn make_deploy(hosts: usize) {
    let mut deploy =
        String::from("from pyinfra.operations import files\n\nown = dict(user=\"root\", group=\"root\")\n");
    deploy += "files.directory(path=\"/srv/app\", mode=\"755\", **own)\n";
    for (number, (path, content)) in FILES.iter().enumerate() {
        let (name, operation) = match content.contains("{}") {
            true => (format!("{number}.j2"), "template"),
            false => (format!("{number}"), "put"),
        };
        write(
            format!("{PYINFRA}/{name}"),
            &content.replace("{}", "{{ host.name }}"),
        );
        deploy += &format!("files.{operation}(src=\"{name}\", dest=\"{path}\", mode=\"644\", **own)\n");
    }
    deploy += "files.link(path=\"/srv/current\", target=\"/srv/app\", **own)\n";
    write(format!("{PYINFRA}/deploy.py"), &deploy);
    let names: String = (0..hosts.min(100))
        .map(|number| format!("    \"{}\",\n", address(number)))
        .collect();
    let data =
        format!("dict(ssh_user=\"root\", ssh_port={PORT}, ssh_key=\"{USER_KEY}\", ssh_allow_agent=False)");
    write(
        format!("{PYINFRA}/inventory-{}.py", hosts.min(100)),
        &format!("hosts = ([\n{names}], {data})\n"),
    );
}

fn start_sshd() -> Child {
    // Nobody else is in this network, so that all its addresses may be listened on.
    let config = format!(
        "ListenAddress 0.0.0.0\nPort {PORT}\nHostKey /mnt/ssh/host_key\nPidFile none\nUsePAM no\nUseDNS no\n\
         StrictModes no\nAuthorizedKeysFile /mnt/ssh/authorized_keys\nPermitRootLogin yes\nMaxStartups 2000\n\
         PasswordAuthentication no\nKbdInteractiveAuthentication no\nPrintMotd no\nLogLevel ERROR\n\
         Subsystem sftp /usr/lib/openssh/sftp-server\n"
    );
    write("/mnt/ssh/sshd_config", &config);
    let program = found("sshd").expect("sshd is installed (package openssh-server)");
    let sshd = Command::new(program)
        .args(["-D", "-e", "-f", "/mnt/ssh/sshd_config"])
        .stdin(Stdio::null())
        .spawn()
        .expect("sshd starts");
    let started = Instant::now();
    while std::net::TcpStream::connect((address(0), PORT)).is_err() {
        assert!(started.elapsed() < PATIENCE, "sshd does not start");
        std::thread::sleep(Duration::from_millis(10));
    }
    sshd
}

/// Tells whether a process has children, in a process namespace that is ours.
fn has_children(pid: u32) -> bool {
    let parent = |stat: String| -> Option<u32> { stat.rsplit(") ").next()?.split(' ').nth(1)?.parse().ok() };
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let mut parents = processes
        .filter(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .bytes()
                .all(|byte| byte.is_ascii_digit())
        })
        .filter_map(|entry| {
            fs::read_to_string(entry.path().join("stat"))
                .ok()
                .and_then(parent)
        });
    parents.any(|parent| parent == pid)
}
