//! The dead-man switch: the real scripts, under dash and bash, with systemd played by a function that keeps its units in a
//! folder. What real units do is shown on real hosts.

use std::collections::BTreeSet;
use std::path::Path;

use muster::model::holder::Grip;
use muster::model::id::{ResourceKey, RunId};
use muster::model::manifest::OwnedState;
use muster::model::switch::Restores;
use muster::ports::{Arming, Fence, LockError, PerformError, Transport as _};
use muster::transport::lower::Guard;

use crate::bed::{Bed, call, mode, owned, raw, spawn, until, write};

const SHELLS: [&[&str]; 2] = [&["dash"], &["bash", "--posix"]];

/// A host whose units are files: `NAME.active`, `NAME.enabled`, `NAME.start`; every verb is noted in `verbs`.
struct Host {
    bed: Bed,
    shell: &'static [&'static str],
}

impl Host {
    fn new(shell: &'static [&'static str]) -> Self {
        let host = Self {
            bed: Bed::new(),
            shell,
        };
        std::fs::create_dir_all(host.units("timers.target.wants")).unwrap();
        host
    }

    fn units(&self, name: &str) -> String {
        self.bed.path(&format!("units/{name}"))
    }

    /// Says what systemd is here, before a script of the guard.
    fn with_systemd(&self, script: &str) -> String {
        let units = self.units("");
        let systemctl = format!(
            r#"unit_dir={units}
systemctl() {{
    _last= _verb=
    for _word; do case $_word in -* | ActiveState | InvocationID) ;; *) [ -n "$_verb" ] || _verb=$_word; _last=$_word ;; esac; done
    case $_verb in
    is-enabled) if [ -e "{units}$_last.enabled" ]; then echo enabled; else echo disabled; return 1; fi ;;
    show) case "$*" in
        *ActiveState*) if [ -e "{units}$_last.active" ]; then echo active; else echo inactive; fi ;;
        *) cat "{units}$_last.start" 2>/dev/null || true ;;
        esac ;;
    *)
        echo "$_verb $_last" >>"{units}verbs"
        [ ! -e "{units}$_last.broken" ] || {{ echo "$_last is broken" >&2; return 1; }}
        case $_verb in
        enable) true >"{units}$_last.enabled" ;;
        disable) rm -f "{units}$_last.enabled" ;;
        start | restart) true >"{units}$_last.active"; echo "$_verb-$$" >"{units}$_last.start" ;;
        stop) rm -f "{units}$_last.active" ;;
        esac ;;
    esac
}}
iptables() {{ :; }}
command() {{ case "$*" in *iptables-save* | *ip6tables-save* | "-v nft") return 1 ;; "-v systemctl") return 0 ;; *) builtin_command "$@" ;; esac; }}
builtin_command() {{ shift; type "$1" >/dev/null 2>&1; }}
"#
        );
        // Functions go after the head that sets PATH, and win over programs.
        format!("{systemctl}{script}")
    }

    fn guard<T>(&self, with: impl FnOnce(Guard<'_>) -> T) -> T {
        with(Guard {
            state_dir: &self.bed.state(""),
            wait_secs: 5,
        })
    }

    fn run(&self, script: &str) -> (i32, String) {
        let output = raw(self.shell, &self.with_systemd(script));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code().unwrap_or(-1), said + &errors)
    }

    async fn arm(&self, run: &str, restores: Restores, keys: &[&str]) -> Fence {
        let fence = self.bed.lock(run).await.unwrap();
        let (status, said) = self.try_arm(&fence, restores, keys);
        assert_eq!(status, 0, "{said}");
        fence
    }

    fn try_arm(&self, fence: &Fence, restores: Restores, keys: &[&str]) -> (i32, String) {
        let request = Arming {
            fence: fence.clone(),
            within_secs: 60,
            restores,
            entries: keys.iter().map(|name| ResourceKey::new("file", *name)).collect(),
        };
        self.run(&self.guard(|guard| guard.arm(&request)))
    }

    fn restore(&self, run: &str) -> (i32, String) {
        let run: RunId = run.parse().unwrap();
        self.run(&self.guard(|guard| guard.restoring(&run)))
    }

    fn confirm(&self, run: &str) -> (i32, String) {
        let run: RunId = run.parse().unwrap();
        self.run(&self.guard(|guard| guard.confirm(&run)))
    }

    fn stands(&self, run: &str) -> String {
        let run: RunId = run.parse().unwrap();
        let (status, said) = self.run(&self.guard(|guard| guard.switch(&run)));
        assert_eq!(status, 0, "{said}");
        said.lines().next().unwrap_or_default().to_owned()
    }

    fn set_unit(&self, name: &str, is_active: bool, is_enabled: bool) {
        std::fs::write(self.units(&format!("{name}.start")), "before\n").unwrap();
        for (what, is_so) in [("active", is_active), ("enabled", is_enabled)] {
            let path = self.units(&format!("{name}.{what}"));
            if is_so {
                std::fs::write(path, "").unwrap();
            } else {
                drop(std::fs::remove_file(path));
            }
        }
    }

    fn unit(&self, name: &str) -> (bool, bool) {
        let is = |what: &str| Path::new(&self.units(&format!("{name}.{what}"))).exists();
        (is("active"), is("enabled"))
    }

    fn verbs(&self) -> Vec<String> {
        let verbs = std::fs::read_to_string(self.units("verbs")).unwrap_or_default();
        verbs.lines().map(str::to_owned).collect()
    }

    fn leaves_nothing(&self) {
        self.leaves_no_units();
        assert!(!Path::new(&self.bed.state("switch")).exists());
    }

    fn leaves_no_units(&self) {
        let left: Vec<_> = std::fs::read_dir(self.units(""))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".service") || name.ends_with(".timer"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

fn names<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

#[tokio::test]
async fn what_was_changed_is_put_back_with_its_units_and_its_manifest() {
    for shell in SHELLS {
        let host = Host::new(shell);
        let [file, made, folder] = ["sshd's config", "folder/made\nhere", "folder"].map(|n| host.bed.path(n));
        std::fs::write(&file, b"Port 22 \xff\n").unwrap();
        std::os::unix::fs::chown(&file, Some(5), Some(6)).unwrap();
        host.set_unit("ssh.service", true, true);
        host.set_unit("fw.service", false, false);
        host.set_unit("reader.service", true, false);
        let fence = host.bed.lock("p-1").await.unwrap();
        let key = |name: &str| ResourceKey::new("file", name);
        let entries = [(key("old"), Some(owned(OwnedState::Done)))].into();
        host.bed
            .transport
            .record(&host.bed.host, &fence, &entries)
            .await
            .unwrap();
        let before = host.bed.present_manifest().await;

        let restores = Restores {
            paths: names([&file, &made, &folder]),
            units: names(["ssh.service", "fw.service"]),
            readers: names(["reader.service"]),
            parameters: BTreeSet::new(),
        };
        let (status, said) = host.try_arm(&fence, restores, &["old", "new"]);
        assert_eq!(status, 0, "{said}");
        assert_eq!(host.stands("p-1"), "switch armed");
        assert_eq!(host.unit("muster-deadman-p-1.timer"), (true, true));
        let timer = std::fs::read_to_string(host.units("muster-deadman-p-1.timer")).unwrap();
        assert!(timer.contains("OnActiveSec=60\n"), "{timer}");
        assert_eq!(mode(host.bed.state("switch")), 0o700);

        let mkdir = muster::model::op::Op::MakeDirectory {
            path: folder.clone(),
            owner: "root".into(),
            group: "root".into(),
            mode: "0755".into(),
        };
        let mut changing = call(&fence, vec![write(&file, "Port 23"), mkdir, write(&made, "x")]);
        changing.is_under_switch = true;
        changing.intents = [
            (key("old"), owned(OwnedState::Intent)),
            (key("new"), owned(OwnedState::Intent)),
        ]
        .into();
        host.bed
            .transport
            .perform(&host.bed.host, &changing)
            .await
            .unwrap();
        host.set_unit("ssh.service", false, false);
        host.set_unit("fw.service", true, true);
        std::fs::write(host.units("reader.service.start"), "since\n").unwrap();

        let (status, said) = host.restore("p-1");
        assert_eq!(status, 0, "{said}");
        assert_eq!(std::fs::read(&file).unwrap(), b"Port 22 \xff\n");
        let attributes = std::fs::metadata(&file).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&attributes), 5);
        assert!(
            !Path::new(&folder).exists(),
            "what was not there goes, children first"
        );
        assert_eq!(host.unit("ssh.service"), (true, true));
        assert_eq!(host.unit("fw.service"), (false, false));
        assert!(host.verbs().contains(&"restart reader.service".to_owned()));
        let after = host.bed.present_manifest().await;
        assert_eq!(after.owned, before.owned, "the manifest says what it said");
        assert!(after.generation > before.generation);
        assert_eq!(host.stands("p-1"), "switch restored");
        host.leaves_nothing();
        // The timer may fire once more, and a late confirmation may come: both change nothing.
        assert_eq!(host.restore("p-1").0, 0);
        assert!(host.confirm("p-1").1.contains("switch restored"));
        assert_eq!(std::fs::read(&file).unwrap(), b"Port 22 \xff\n");
    }
}

#[tokio::test]
async fn what_is_confirmed_stays_and_a_late_timer_changes_nothing() {
    for shell in SHELLS {
        let host = Host::new(shell);
        let file = host.bed.path("x");
        std::fs::write(&file, "old").unwrap();
        let restores = Restores {
            paths: names([&file]),
            ..Restores::default()
        };
        let fence = host.arm("p-1", restores, &[]).await;
        host.bed.perform(&fence, vec![write(&file, "new")]).await.unwrap();
        for _ in 0..2 {
            let (status, said) = host.confirm("p-1");
            assert_eq!((status, said.as_str()), (0, "switch confirmed\nend\n"));
        }
        host.leaves_nothing();
        assert_eq!(host.restore("p-1").0, 0);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(host.stands("p-1"), "switch confirmed");
        assert_eq!(host.stands("p-2"), "switch none");
    }
}

#[tokio::test]
async fn an_armed_host_is_nobodys_and_changes_nothing_once_it_was_put_back() {
    let host = Host::new(SHELLS[0]);
    let file = host.bed.path("x");
    let restores = Restores {
        paths: names([&file]),
        ..Restores::default()
    };
    let fence = host.arm("p-1", restores.clone(), &[]).await;
    host.bed.transport.release(&host.bed.host, &fence).await.unwrap();
    for run in ["p-1", "p-2"] {
        match host.bed.lock(run).await {
            Err(LockError::Held(holder)) => {
                assert_eq!((holder.grip, holder.run.as_deref()), (Grip::Armed, Some("p-1")));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(host.restore("p-1").0, 0);
    let fence = host.bed.lock("p-1").await.unwrap();
    let mut late = call(&fence, vec![write(&file, "too late")]);
    late.is_under_switch = true;
    match host.bed.transport.perform(&host.bed.host, &late).await {
        Err(PerformError::Fenced(why)) => assert!(why.contains("not armed"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert!(!Path::new(&file).exists());
}

#[tokio::test]
async fn a_switch_that_cannot_be_armed_leaves_a_host_that_is_as_it_was() {
    let host = Host::new(SHELLS[0]);
    let fence = host.bed.lock("p-1").await.unwrap();
    std::fs::write(host.units("muster-deadman-p-1.timer.broken"), "").unwrap();
    let (status, said) = host.try_arm(&fence, Restores::default(), &[]);
    assert_eq!(status, 97, "{said}");
    assert!(said.contains("cannot be armed"), "{said}");
    assert_eq!(host.stands("p-1"), "switch none");
    std::fs::remove_file(host.units("muster-deadman-p-1.timer.broken")).unwrap();
    assert!(host.bed.lock("p-1").await.is_ok(), "and it bars nobody");
}

#[tokio::test]
async fn what_cannot_be_put_back_is_named_and_the_manifest_tells_of_no_end() {
    let host = Host::new(SHELLS[0]);
    host.set_unit("ssh.service", true, true);
    let restores = Restores {
        units: names(["ssh.service"]),
        ..Restores::default()
    };
    let fence = host.arm("p-1", restores, &["x"]).await;
    let mut changing = call(&fence, Vec::new());
    changing.intents = [(ResourceKey::new("file", "x"), owned(OwnedState::Intent))].into();
    host.bed
        .transport
        .perform(&host.bed.host, &changing)
        .await
        .unwrap();
    std::fs::write(host.units("ssh.service.broken"), "").unwrap();
    assert_eq!(host.restore("p-1").0, 0);
    let (_, said) = host.confirm("p-1");
    assert!(
        said.starts_with("switch restored\ntrouble starting ssh.service: ssh.service is broken\n"),
        "{said}"
    );
    let manifest = host.bed.present_manifest().await;
    let entry = &manifest.owned[&ResourceKey::new("file", "x")];
    assert_eq!(entry.state, OwnedState::Intent);
}

/// Kills the restore at every line that it comes to, and begins it again each time as systemd would.
#[tokio::test]
async fn a_restore_that_is_killed_anywhere_is_ended_by_the_next() {
    let host = Host::new(&["bash", "--posix"]);
    let run: RunId = "p-1".parse().unwrap();
    let mut points = 0;
    for n in (1..).step_by(7) {
        let file = host.bed.path("x");
        std::fs::write(&file, "old").unwrap();
        host.set_unit("ssh.service", true, true);
        let restores = Restores {
            paths: names([&file]),
            units: names(["ssh.service"]),
            ..Restores::default()
        };
        let fence = host.arm("p-1", restores, &["x"]).await;
        host.bed.perform(&fence, vec![write(&file, "new")]).await.unwrap();
        host.set_unit("ssh.service", false, true);
        let script = host.guard(|guard| guard.restoring(&run));
        let killed =
            format!("_left={n}\nset -T\ntrap '[ $((_left -= 1)) -gt 0 ] || kill -KILL $$' DEBUG\n{script}");
        let output = raw(host.shell, &host.with_systemd(&killed));
        let is_through = output.status.success();
        assert_eq!(host.restore("p-1").0, 0, "after a kill at command {n}");
        assert_eq!(
            std::fs::read_to_string(&file).unwrap(),
            "old",
            "after a kill at command {n}"
        );
        assert_eq!(
            host.unit("ssh.service"),
            (true, true),
            "after a kill at command {n}"
        );
        assert_eq!(
            host.stands("p-1"),
            "switch restored",
            "after a kill at command {n}"
        );
        assert!(host.bed.present_manifest().await.owned.is_empty());
        // A kill at the very end leaves a folder that says nothing any more.
        host.leaves_no_units();
        host.bed.transport.release(&host.bed.host, &fence).await.unwrap();
        if is_through {
            break;
        }
        points += 1;
    }
    assert!(points > 10, "it was killed at {points} points");
}

/// Confirming and restoring at the same moment: one of them wins, and the host is as that one says.
#[tokio::test]
async fn of_a_confirmation_and_a_restore_at_once_exactly_one_wins() {
    use std::io::Write as _;
    let run: RunId = "p-1".parse().unwrap();
    let mut winners = BTreeSet::new();
    for round in 0..12 {
        let host = Host::new(SHELLS[round % 2]);
        let file = host.bed.path("x");
        std::fs::write(&file, "old").unwrap();
        let restores = Restores {
            paths: names([&file]),
            ..Restores::default()
        };
        let fence = host.arm("p-1", restores, &[]).await;
        host.bed.perform(&fence, vec![write(&file, "new")]).await.unwrap();
        let mut scripts = [
            host.guard(|guard| guard.confirm(&run)),
            host.guard(|guard| guard.restoring(&run)),
        ];
        scripts.rotate_left(round / 2 % 2);
        let mut children = scripts.map(|script| {
            let mut child = spawn(host.shell);
            let script = host.with_systemd(&script);
            let whole = format!("main() {{\n{script}\n}}\nmain </dev/null\n");
            child.stdin.take().unwrap().write_all(whole.as_bytes()).unwrap();
            child
        });
        until("both are through", || {
            children
                .iter_mut()
                .all(|child| child.try_wait().unwrap().is_some())
        })
        .await;
        let stands = host.stands("p-1");
        let content = std::fs::read_to_string(&file).unwrap();
        match stands.as_str() {
            "switch confirmed" => assert_eq!(content, "new"),
            "switch restored" => assert_eq!(content, "old"),
            other => panic!("{other}"),
        }
        winners.insert(stands);
        host.leaves_nothing();
    }
    assert!(!winners.is_empty());
}
