//! SIGKILL of the controller at chosen lines of the journal: `resume` ends as an undisturbed run does, and each effect comes once.

use std::fs::OpenOptions;

use crate::bed::{Bed, assert_said, said};
use crate::stopper::{Stop, library};

/// Every resource changes with each generation, and counts what is done to it. Two hosts make more than 40 operations.
fn module(generation: &str) -> String {
    let mut text = String::from("[[directory]]\npath = \"/srv/fire\"\n");
    for n in 1..=9 {
        text += &format!("[[file]]\npath = \"/srv/fire/f{n}\"\ncontent = \"GEN\\n\"\nmode = \"0640\"\n");
    }
    for n in 1..=5 {
        text += &format!(
            "[[command]]\nname = \"c{n}\"\nrun = \"echo GEN >> /srv/fire/c{n}\"\nprobe = \"test -e /srv/fire/c{n} && grep -qx GEN /srv/fire/c{n}\"\nafter = [\"directory:/srv/fire\"]\n"
        );
    }
    text += r#"
[[symlink]]
path = "/srv/fire/link"
to   = "GEN"

[[settings]]
path = "/srv/fire/s.json"
keys = { "a.b" = "GEN" }

[[settings]]
path = "/srv/fire/s.env"
keys = { GENERATION = "GEN" }

[[command]]
name  = "may-fail"
run   = "test -e /srv/fire.ok && echo GEN >> /srv/fire/may-fail"
probe = "test -e /srv/fire/may-fail && grep -qx GEN /srv/fire/may-fail"
after = ["file:/srv/fire/f5"]

[[file]]
path    = "/srv/fire/app.conf"
content = "GEN\n"

[[unit]]
name       = "fire.service"
content    = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c 'cat /srv/fire/app.conf >> /srv/fire/starts'\n[Install]\nWantedBy=multi-user.target\n"
enabled    = true
running    = true
restart_on = ["file:/srv/fire/app.conf"]

[[gate]]
after   = "unit:fire.service"
command = "grep -qx GEN /srv/fire/starts"
every   = "1s"

[[file]]
path    = "/srv/fire/last"
content = "GEN\n"
after   = ["unit:fire.service"]
"#;
    text.replace("GEN", generation)
}

/// Prints everything that a generation leaves on a host, with how often each of its operations was performed.
fn state(bed: &Bed, generation: &str) -> String {
    let script = r#"
cd /srv/fire
for name in *; do
    echo "$name: $(stat -c '%F %a %U:%G' "$name")"
    case $name in
    c*|may-fail|starts) echo "  GEN $(grep -cx GEN "$name") times" ;;
    link) readlink "$name" ;;
    *) cat "$name" ;;
    esac
done
systemctl is-active fire.service
systemctl is-enabled fire.service
echo operations:
cut -d' ' -f4- /var/lib/muster/log | grep 'done$' | grep -Ev '^(lock|release|reserve|unreserve)' | sort | uniq -c
echo left over:
find /srv /etc -name '.muster-*'
find /var/lib/muster -name '*.new' -o -name 'manifest.*' ! -name manifest.previous -o -name output
echo manifest:
grep -c '"state":"done"' /var/lib/muster/manifest
! grep '"state":"intent"' /var/lib/muster/manifest
"#;
    let hosts = bed.hosts.iter();
    let all: String = hosts
        .map(|host| bed.fleet.sh(host, &script.replace("GEN", generation)))
        .collect();
    all.replace(generation, "GEN")
}

struct Fire {
    bed: Bed,
    generations: usize,
    wanted: String,
}

impl Fire {
    /// Has two hosts, and learns from an undisturbed run what a generation leaves.
    fn kindle() -> Self {
        let bed = Bed::new(2);
        bed.project.extend_inventory("");
        for host in &bed.hosts {
            bed.fleet.sh(host, "touch /srv/fire.ok");
        }
        let mut fire = Self {
            bed,
            generations: 0,
            wanted: String::new(),
        };
        let first = fire.next();
        fire.bed.project.apply();
        state(&fire.bed, &first);
        let second = fire.next();
        fire.bed.project.apply();
        let is_operation = |event: &&serde_json::Value| !event["event"]["applied"].is_null();
        let operations = fire.bed.events().iter().filter(is_operation).count();
        assert!(operations >= 40, "only {operations} operations");
        fire.wanted = state(&fire.bed, &second);
        let counts = fire
            .wanted
            .lines()
            .filter(|line| line.contains("GEN 1 times"))
            .count();
        assert_eq!(counts, 2 * 7, "each effect is counted: {}", fire.wanted);
        fire
    }

    /// Declares the next generation and forgets what the hosts' logs say of the last.
    fn next(&mut self) -> String {
        self.generations += 1;
        let generation = format!("gen{:02}", self.generations);
        self.bed.project.module(&module(&generation));
        for host in &self.bed.hosts {
            self.bed
                .fleet
                .sh(host, "test ! -e /var/lib/muster/log || : > /var/lib/muster/log");
        }
        generation
    }

    /// Applies a generation and is killed on the way.
    fn apply_until(&self, stop: Stop) {
        let at = format!("{} {} {}", stop.when, stop.event, stop.nth);
        let library = library().to_string_lossy();
        let variables = [("LD_PRELOAD", &*library), ("STOP_AT", &at)];
        let killed = self
            .bed
            .start_with(&["apply", "-y", "--no-input"], &variables)
            .end();
        assert_eq!(killed.code, -9, "not killed {at}: {}", said(&killed));
    }

    fn assert_as_undisturbed(&self, generation: &str, what: &dyn std::fmt::Debug) {
        let state = state(&self.bed, generation);
        if state != self.wanted {
            let diff = similar(&self.wanted, &state);
            panic!("{what:?}: not as after an undisturbed run:\n{diff}");
        }
    }
}

/// Returns the lines that only one of two texts has.
fn similar(wanted: &str, found: &str) -> String {
    let lines = |text: &str, other: &str, sign: &str| -> String {
        let only = text
            .lines()
            .filter(|line| !other.lines().any(|there| there == *line));
        only.map(|line| format!("{sign} {line}\n")).collect()
    };
    lines(wanted, found, "-") + &lines(found, wanted, "+")
}

fn resume_ends_as_undisturbed(stops: &[Stop]) {
    let mut fire = Fire::kindle();
    for stop in stops {
        let generation = fire.next();
        let ok = |script: &str| drop(fire.bed.fleet.sh(&fire.bed.hosts[0], script));
        if stop.event == "failed" {
            ok("rm /srv/fire.ok");
        }
        fire.apply_until(*stop);
        ok("touch /srv/fire.ok");
        fire.bed.resume();
        fire.assert_as_undisturbed(&generation, stop);
    }
}

const fn stop(when: &'static str, event: &'static str, nth: usize) -> Stop {
    Stop { when, event, nth }
}

#[test]
fn resume_after_a_kill_in_the_first_half_ends_as_an_undisturbed_run() {
    resume_ends_as_undisturbed(&[
        stop("after", "started", 1),
        stop("before", "locked", 1),
        stop("after", "locked", 2),
        stop("after", "checked", 2),
        stop("after", "began", 1),
        stop("before", "applied", 2),
        stop("torn", "began", 9),
    ]);
}

#[test]
fn resume_after_a_kill_in_the_second_half_ends_as_an_undisturbed_run() {
    resume_ends_as_undisturbed(&[
        stop("before", "failed", 1),
        stop("after", "failed", 1),
        stop("torn", "applied", 30),
        stop("before", "gate_said", 1),
        stop("after", "gate_said", 2),
        stop("after", "applied", 42),
        stop("before", "ended", 1),
    ]);
}

#[test]
fn journal_cut_in_its_last_line_is_gone_on_with_and_one_cut_elsewhere_is_refused() {
    let mut fire = Fire::kindle();
    for cut in [1, 40, 1_000_000] {
        let generation = fire.next();
        fire.apply_until(stop("after", "applied", 20));
        let path = fire.bed.journal();
        let whole = std::fs::read_to_string(&path).expect("the journal is readable");
        let last = whole.trim_end().rfind('\n').expect("many lines") + 1;
        // All but the first byte of the last line, where more than that is asked.
        let size = (whole.len() - cut.min(whole.len() - last - 1)) as u64;
        let file = OpenOptions::new().write(true).open(&path).expect("the journal");
        file.set_len(size).expect("it can be cut");
        fire.bed.resume();
        fire.assert_as_undisturbed(&generation, &format!("cut by {cut}"));
    }

    let generation = fire.next();
    fire.apply_until(stop("after", "applied", 20));
    let path = fire.bed.journal();
    let whole = std::fs::read_to_string(&path).expect("the journal is readable");
    let lines: Vec<&str> = whole.lines().collect();
    for host in &fire.bed.hosts {
        fire.bed.fleet.wait_until_quiet(host);
    }
    let before = state_of_log(&fire.bed);
    let without_one: Vec<&str> = [&lines[..8], &lines[9..]].concat();
    let torn_inside = whole.replacen(lines[8], &lines[8][..lines[8].len() / 2], 1);
    for damaged in [without_one.join("\n") + "\n", torn_inside] {
        std::fs::write(&path, damaged).expect("the journal can be damaged");
        let refused = fire.bed.project.muster(&["resume", "-y", "--no-input"]);
        assert_eq!(refused.code, 1, "{}", said(&refused));
        assert_said(&refused, &["journal.jsonl", "line 9"]);
        assert_eq!(state_of_log(&fire.bed), before, "nothing was done");
    }
    std::fs::write(&path, &whole).expect("the journal can be mended");
    fire.bed.resume();
    fire.assert_as_undisturbed(&generation, &"damaged and mended");
}

fn state_of_log(bed: &Bed) -> String {
    bed.hosts
        .iter()
        .map(|host| bed.fleet.sh(host, "cat /var/lib/muster/log"))
        .collect()
}

#[test]
fn kill_before_the_journal_begins_leaves_nothing_to_resume_and_a_reservation_to_break() {
    let bed = Bed::new(1);
    bed.project
        .module("[[file]]\npath = \"/srv/a\"\ncontent = \"1\\n\"\n");
    let library = library().to_string_lossy();
    let variables = [("LD_PRELOAD", &*library), ("STOP_AT", "before started 1")];
    assert_eq!(
        bed.start_with(&["apply", "-y", "--no-input"], &variables)
            .end()
            .code,
        -9
    );
    for header in ["whole", "torn", "empty"] {
        let file = OpenOptions::new()
            .write(true)
            .open(bed.journal())
            .expect("the journal");
        let size = file.metadata().expect("its size").len();
        match header {
            "torn" => file.set_len(size / 2).expect("it can be cut"),
            "empty" => file.set_len(0).expect("it can be emptied"),
            _ => {}
        }
        let ran = bed.project.muster(&["resume", "-y", "--no-input"]);
        assert_eq!(ran.code, 1, "{header}: {}", said(&ran));
        assert_said(&ran, &["has come to its end, or there is none"]);
    }
    // What it had reserved stays so for ten minutes, unless somebody who knows better says that it is over.
    let ran = bed.project.muster(&["apply", "-y", "--no-input"]);
    assert_eq!(ran.code, 5, "{}", said(&ran));
    let (host, who) = (bed.host(), said(&ran));
    let by = regex::Regex::new(&format!(
        r"{host}: reserved by run [0-9a-f]{{12}}-1 of \S+@\S+ for \d+ (s|min)\b"
    ));
    assert!(by.expect("a pattern").is_match(&who), "{who}");
    let words = said(&ran).split_whitespace().collect::<Vec<_>>().join(" ");
    let way = format!("`muster lock break --limit {host} --reason WHY`");
    assert!(
        words.contains(&way) && words.contains("10 minutes"),
        "{way}: {words}"
    );
    let ran = bed.project.muster(&[
        "lock",
        "break",
        "--limit",
        host,
        "--reason",
        "its controller was killed",
        "-y",
        "--no-input",
    ]);
    assert_eq!(ran.code, 0, "{}", said(&ran));
    bed.project.apply();
    assert_eq!(bed.sh("cat /srv/a"), "1\n");
}
