//! The dead-man switch: what cuts us off is taken back by the host itself, and what does not stays.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::fleet::{Fleet, Project, Ran};

/// A file of sshd's and the unit that reads it.
fn sshd(line: &str) -> String {
    format!(
        "[[file]]\npath = \"/etc/ssh/sshd_config.d/x.conf\"\ncontent = \"{line}\\n\"\n\n\
         [[unit]]\nname = \"ssh.service\"\nrunning = true\nrestart_on = [\"file:/etc/ssh/sshd_config.d/x.conf\"]\n"
    )
}

fn project<'f>(fleet: &'f Fleet, within: &str) -> Project<'f> {
    let project = Project::new(fleet, &["h1"]);
    project.extend_inventory(&format!("\n[policy]\nlogin_within = \"{within}\"\n"));
    project
}

fn apply(project: &Project<'_>) -> Ran {
    project.muster(&["apply", "-y", "--no-input"])
}

fn start(project: &Project<'_>) -> Child {
    project
        .command(&["apply", "-y", "--no-input"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("muster runs")
}

fn wait_for(fleet: &Fleet, condition: &str) {
    let deadline = Instant::now() + Duration::from_secs(90);
    while !fleet.try_sh("h1", condition).status.success() {
        assert!(Instant::now() < deadline, "never: {condition}");
        std::thread::yield_now();
    }
}

/// Returns the events of the latest journal, one a line.
fn journal(project: &Project<'_>) -> String {
    let plans = project.folder().join("plans/fleet");
    let journals = std::fs::read_dir(plans).expect("the plans' folder is there");
    let newest = journals
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_string_lossy().ends_with(".journal.jsonl"))
        .max_by_key(|path| std::fs::metadata(path).and_then(|about| about.modified()).ok());
    std::fs::read_to_string(newest.expect("there is a journal")).expect("it is readable")
}

/// Asserts that the host is as before, that the manifest says so, and that nothing of the switch is left.
fn assert_put_back(fleet: &Fleet, project: &Project<'_>) {
    fleet.sh(
        "h1",
        "test ! -e /var/lib/muster/switch && ! ls /etc/systemd/system | grep muster-deadman",
    );
    let ran = project.muster(&["plan", "--detailed-exitcode", "--no-input"]);
    assert_eq!(
        ran.code, 2,
        "the change is still wanted: {}{}",
        ran.stdout, ran.stderr
    );
    assert!(!ran.stdout.contains("did not see its end"), "{}", ran.stdout);
    let journal = journal(project);
    assert!(journal.contains("\"restored\":{\"host\":\"h1\""), "{journal}");
    assert!(!journal.contains("\"applied\":{\"change\""), "{journal}");
}

#[test]
fn good_change_is_confirmed_and_stays_and_a_wrong_port_is_taken_back() {
    let fleet = Fleet::up(1);
    let project = project(&fleet, "15s");
    project.module(&sshd("MaxAuthTries 5"));
    let plan = project.muster(&["plan", "--no-input"]);
    assert!(
        plan.stdout
            .contains("h1: taken back after 15 s unless a new login confirms"),
        "{}",
        plan.stdout
    );
    project.apply();
    assert!(journal(&project).contains("\"confirmed\":{\"host\":\"h1\"}"));
    fleet.sh(
        "h1",
        "sshd -T | grep -qi '^maxauthtries 5$' && ! ls /etc/systemd/system | grep muster-deadman",
    );
    project.assert_settled();

    project.module(&sshd("Port 2222"));
    let ran = apply(&project);
    assert_eq!(ran.code, 9, "{}{}", ran.stdout, ran.stderr);
    assert_eq!(
        fleet.sh("h1", "cat /etc/ssh/sshd_config.d/x.conf"),
        "MaxAuthTries 5\n"
    );
    fleet.sh("h1", "ss -tln | grep -q ':22 ' && ! ss -tln | grep -q ':2222 '");
    assert_put_back(&fleet, &project);
    project.module(&sshd("MaxAuthTries 5"));
    project.assert_settled();
}

#[test]
fn firewall_that_drops_ssh_is_taken_back_with_its_rules() {
    let fleet = Fleet::up(1);
    let project = project(&fleet, "20s");
    // Nothing of this unit takes rules away again.
    project.module(
        "[[directory]]\npath = \"/etc/iptables\"\n\n\
         [[file]]\npath = \"/etc/iptables/rules.v4\"\n\
         content = \"*filter\\n:INPUT ACCEPT [0:0]\\n-A INPUT -p tcp --dport 22 -j DROP\\nCOMMIT\\n\"\n\n\
         [[unit]]\nname = \"fw.service\"\nenabled = true\nrunning = true\n\
         content = \"[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nExecStart=/sbin/iptables-restore /etc/iptables/rules.v4\\n\
         [Install]\\nWantedBy=multi-user.target\\n\"\nrestart_on = [\"file:/etc/iptables/rules.v4\"]\n",
    );
    let ran = apply(&project);
    assert_eq!(ran.code, 9, "{}{}", ran.stdout, ran.stderr);
    fleet.sh(
        "h1",
        "! iptables-save | grep -q 'dport 22'; test ! -e /etc/iptables",
    );
    fleet.sh(
        "h1",
        "! systemctl is-enabled fw.service; ! systemctl is-active fw.service",
    );
    assert_put_back(&fleet, &project);
}

#[test]
fn account_that_can_no_longer_become_root_is_no_new_login() {
    let fleet = Fleet::up(1);
    let project = project(&fleet, "15s");
    let as_ops = project
        .read("inventories/fleet.toml")
        .replace("user = \"root\"", "user = \"ops\"");
    project.write("inventories/fleet.toml", &as_ops);
    project.module(
        "[[file]]\npath = \"/etc/sudoers.d/zz\"\ncontent = \"ops ALL=(ALL) !ALL\\n\"\nmode = \"0440\"\n",
    );
    let ran = apply(&project);
    assert_eq!(ran.code, 9, "{}{}", ran.stdout, ran.stderr);
    fleet.sh("h1", "test ! -e /etc/sudoers.d/zz");
    assert_put_back(&fleet, &project);

    project.module("[[authorized_keys]]\naccount = \"ops\"\nexclusive = true\nkeys = []\n");
    let plan = project.muster(&["plan", "--no-input"]);
    assert!(
        plan.stdout.contains("taken back after 15 s") || plan.code != 0,
        "{}{}",
        plan.stdout,
        plan.stderr
    );
}

#[test]
fn reboot_while_armed_does_not_lose_the_switch() {
    let fleet = Fleet::up(1);
    let project = project(&fleet, "40s");
    project.module(&sshd("Port 2222"));
    let mut child = start(&project);
    wait_for(
        &fleet,
        "test -e /var/lib/muster/switch/armed && ss -tln | grep -q ':2222 '",
    );
    fleet.sh("h1", "touch /run/this-boot");
    // Its own wait is for a login at port 22, which only the restore brings back.
    fleet.act("reboot", "h1");
    fleet.sh("h1", "test ! -e /run/this-boot");
    let code = child.wait().expect("it ends").code();
    assert_eq!(code, Some(9), "{}", journal(&project));
    fleet.sh("h1", "test ! -e /etc/ssh/sshd_config.d/x.conf");
    fleet.sh("h1", "grep -q 'dead-man switch: restored' /var/lib/muster/log");
    assert_put_back(&fleet, &project);
}

#[test]
fn controller_that_is_killed_before_the_login_finds_everything_put_back() {
    let fleet = Fleet::up(1);
    let project = project(&fleet, "15s");
    let cut = |project: &Project<'_>| {
        project.module(&sshd("Port 2222"));
        let mut child = start(project);
        wait_for(
            &fleet,
            "test -e /var/lib/muster/switch/armed && ss -tln | grep -q ':2222 '",
        );
        child.kill().expect("the controller can be killed");
        child.wait().expect("the controller ends");
    };
    cut(&project);
    wait_for(
        &fleet,
        "test ! -e /etc/ssh/sshd_config.d/x.conf && test ! -e /var/lib/muster/switch/armed",
    );
    wait_for(&fleet, "ss -tln | grep -q ':22 '");
    let ran = project.muster(&["resume", "-y", "--no-input"]);
    assert_eq!(ran.code, 9, "{}{}", ran.stdout, ran.stderr);
    assert_put_back(&fleet, &project);

    // A run that comes while the switch is armed is refused, and a resume has the host put everything back at once.
    let inventory = project
        .read("inventories/fleet.toml")
        .replace("\"15s\"", "\"10m\"");
    project.write("inventories/fleet.toml", &inventory);
    project.module(&format!(
        "{}[[unit]]\nname = \"slow.service\"\nrunning = true\n\
         content = \"[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nExecStart=/bin/sleep 20\\n\"\n\
         restart_on = [\"file:/etc/ssh/sshd_config.d/x.conf\"]\n",
        sshd("MaxAuthTries 5")
    ));
    let mut child = start(&project);
    wait_for(
        &fleet,
        "test -e /var/lib/muster/switch/armed && systemctl is-active slow.service | grep -q activating",
    );
    child.kill().expect("the controller can be killed");
    child.wait().expect("the controller ends");
    let ran = project.muster(&["apply", "-y", "--no-input"]);
    assert_eq!(ran.code, 5, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("dead-man switch"), "{}", ran.stderr);
    let armed = fleet.sh("h1", "cut -d' ' -f1 /var/lib/muster/switch/armed");
    let ran = project.muster(&["resume", armed.trim(), "-y", "--no-input"]);
    assert_eq!(ran.code, 9, "{}{}", ran.stdout, ran.stderr);
    fleet.sh(
        "h1",
        "test ! -e /etc/ssh/sshd_config.d/x.conf && ! systemctl is-active slow.service",
    );
}

#[test]
fn lost_answer_to_a_confirmation_is_no_failure() {
    let fleet = Fleet::up(1);
    let project = project(&fleet, "30s");
    let relay = Relay::open(&fleet.address("h1"));
    let through = project.read("inventories/fleet.toml").replace(
        &format!("address = \"{}\"", fleet.address("h1")),
        &format!("address = \"127.0.0.1\"\nport = {}", relay.port),
    );
    project.write("inventories/fleet.toml", &through);
    project.module(&sshd("MaxAuthTries 5"));
    // The second connection of this run is the one that confirms.
    let ran = apply(&project);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert_eq!(relay.cuts.load(Ordering::SeqCst), 1, "the answer was lost");
    assert!(relay.connections.load(Ordering::SeqCst) >= 3);
    fleet.sh("h1", "grep -q 'MaxAuthTries 5' /etc/ssh/sshd_config.d/x.conf");
    assert!(journal(&project).contains("\"confirmed\":{\"host\":\"h1\"}"));
    project.assert_settled();
}

/// Passes connections on. Of the second it keeps the answers back once a whole script has gone to the host, and then cuts it.
struct Relay {
    port: u16,
    connections: Arc<AtomicUsize>,
    cuts: Arc<AtomicUsize>,
}

/// More than a login takes, and less than a login and the script that confirms.
const LOGIN_BYTES_MAX: usize = 12 * 1024;

impl Relay {
    fn open(address: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let relay = Self {
            port: listener.local_addr().expect("it is bound").port(),
            connections: Arc::default(),
            cuts: Arc::default(),
        };
        let (connections, cuts) = (Arc::clone(&relay.connections), Arc::clone(&relay.cuts));
        let address = format!("{address}:22");
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { break };
                let number = connections.fetch_add(1, Ordering::SeqCst);
                let Ok(server) = TcpStream::connect(&address) else {
                    continue;
                };
                pass(client, server, (number == 1).then(|| Arc::clone(&cuts)));
            }
        });
        relay
    }
}

fn pass(client: TcpStream, server: TcpStream, cuts: Option<Arc<AtomicUsize>>) {
    let sent = Arc::new(AtomicUsize::new(0));
    let is_cut = cuts.is_some();
    let clone = |stream: &TcpStream| stream.try_clone().expect("a socket can be cloned");
    let (mut from, mut to, count) = (clone(&client), clone(&server), Arc::clone(&sent));
    std::thread::spawn(move || {
        let mut bytes = [0; 16 * 1024];
        while let Ok(read @ 1..) = from.read(&mut bytes) {
            count.fetch_add(read, Ordering::SeqCst);
            if to.write_all(&bytes[..read]).is_err() {
                break;
            }
        }
        drop(to.shutdown(Shutdown::Both));
    });
    let (mut from, mut to) = (server, client);
    std::thread::spawn(move || {
        let mut bytes = [0; 16 * 1024];
        while let Ok(read @ 1..) = from.read(&mut bytes) {
            if is_cut && sent.load(Ordering::SeqCst) > LOGIN_BYTES_MAX {
                // The host goes on with what it has heard.
                std::thread::sleep(Duration::from_secs(3));
                cuts.as_ref()
                    .expect("it is to be cut")
                    .fetch_add(1, Ordering::SeqCst);
                drop(to.shutdown(Shutdown::Both));
                break;
            }
            if to.write_all(&bytes[..read]).is_err() {
                break;
            }
        }
        drop(to.shutdown(Shutdown::Both));
    });
}

#[test]
fn rollback_that_cuts_us_off_is_taken_back_and_one_that_does_not_is_confirmed() {
    let fleet = Fleet::up(1);
    let project = project(&fleet, "15s");
    // Nobody restarts sshd yet, so that this alone does no harm.
    project.module("[[file]]\npath = \"/etc/ssh/sshd_config.d/x.conf\"\ncontent = \"Port 2222\\n\"\n");
    project.apply();
    project.module(&sshd("MaxAuthTries 5"));
    project.apply();

    let ran = project.muster(&["rollback", "-y", "--no-input"]);
    assert!(
        ran.stdout
            .contains("h1: taken back after 15 s unless a new login confirms"),
        "{}",
        ran.stdout
    );
    assert_eq!(ran.code, 9, "{}{}", ran.stdout, ran.stderr);
    assert_eq!(
        fleet.sh("h1", "cat /etc/ssh/sshd_config.d/x.conf"),
        "MaxAuthTries 5\n"
    );
    project.assert_settled();

    project.module(&sshd("MaxAuthTries 4"));
    project.apply();
    let ran = project.muster(&["rollback", "-y", "--no-input"]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert!(journal(&project).contains("\"confirmed\":{\"host\":\"h1\"}"));
    fleet.sh("h1", "sshd -T | grep -qi '^maxauthtries 5$'");
    project.module(&sshd("MaxAuthTries 5"));
    project.assert_settled();
}
