//! Lying hosts, end to end: an error or something held, never a wrong plan, never a terminal that obeys.

use std::time::Duration;

use super::liar::{Liar, Told};
use super::nasty;

/// The colours and titles that a host would like to set.
const PAINT: &str = r#"paint() { printf '\033[2J\033]0;owned\007\033]52;c;eA==\007\302\233\061m\342\200\256::error::owned\n::error::owned\n##[error]owned\n'; }"#;

fn assert_harmless(told: &Told, what: &str) {
    assert_eq!(nasty::acts(&told.all()), None, "{what}: {:?}", told.all());
    assert_eq!(nasty::command(&told.all()), None, "{what}: {:?}", told.all());
    assert!(!told.all().contains("panicked"), "{what}: {}", told.all());
}

/// Plans, and asserts that nothing is planned, that somebody is named, and that the end is one of error or unknown.
fn assert_held(liar: &Liar, lie: &str) -> Told {
    liar.tells(&format!("{PAINT}\n{lie}"));
    let told = liar.muster(&["plan", "--detailed-exitcode", "--no-input"]);
    assert!(
        [1, 3, 4].contains(&told.code),
        "{lie}: {} {}",
        told.code,
        told.all()
    );
    assert!(told.all().contains("h1"), "{lie}: {}", told.all());
    assert!(!told.stdout.contains("to create,"), "{lie}: {}", told.all());
    assert_harmless(&told, lie);
    if !lie.contains("paint") {
        return told;
    }
    let json = liar.muster(&["plan", "--detailed-exitcode", "--no-input", "--json"]);
    assert_eq!(json.code, told.code, "{lie}: {}", json.all());
    assert_harmless(&json, lie);
    for line in json.stdout.lines() {
        serde_json::from_str::<serde_json::Value>(line)
            .unwrap_or_else(|error| panic!("{lie}: {error}: {line}"));
    }
    told
}

#[test]
fn an_honest_host_is_planned() {
    let told = Liar::new("begin; truth").muster(&["plan", "--detailed-exitcode", "--no-input"]);
    assert_eq!(told.code, 2, "{}", told.all());
    assert!(
        told.stdout.contains("Plan: 5 to create, 0 to change"),
        "{}",
        told.all()
    );
}

#[test]
fn a_shell_that_is_none_is_an_error() {
    let liar = Liar::new("exit 0");
    for lie in [
        "exit 0",
        "exit 1",
        "paint; exit 0",
        "paint; paint >&2; exit 3",
        "begin; exit 0",
        "begin; paint; exit 0",
        "begin; paint >&2; exit 7",
        "printf '%s\\n' \"$script\"",
        "printf '%s\\n' \"$script\" >&2",
        "begin; printf '%s\\n' \"$script\"",
        "head -c 100000 /dev/urandom",
        "begin; head -c 100000 /dev/urandom",
        "echo \"$SSH_ORIGINAL_COMMAND\"",
        "kill -KILL $$",
        "begin; kill -KILL $$",
    ] {
        assert_held(&liar, lie);
    }
}

#[test]
fn an_answer_that_is_not_whole_or_not_the_one_asked_for_is_an_error() {
    let liar = Liar::new("exit 0");
    for lie in [
        "begin; truth | head -c 700",
        "begin; truth | head -n 3",
        "begin; truth | sed '$d'",
        "begin; truth | sed 's/^end /en /'",
        "begin; truth | sed 's/^end .*/end of it/'",
        "begin; truth | sed 's/^end .*/end/'",
        "begin; truth; paint",
        "begin; echo end; truth",
        "begin; truth | sed 's/^mark ./mark /'",
        "begin; truth; exit 5",
        "begin; truth | tr a-z A-Z",
        "begin; for status in 91 92 93 94 95 96 97 98; do printf 'refused '; paint; done; exit 97",
    ] {
        assert_held(&liar, lie);
    }
}

#[test]
fn an_answer_without_answers_leaves_everything_unknown() {
    let liar = Liar::new("exit 0");
    for lie in [
        "begin; echo 'end 0'",
        "begin; echo mark lie-mark; said 0 manifest-absent '' 0 ''; echo end 1",
        "begin; echo mark lie-mark; said 0 machine x 0 ''; said 1 manifest-absent '' 0 ''; echo end 2",
        "begin; truth | copied stat 0",
        "begin; truth | copied stat 2",
        "begin; truth | copied passwd 0 | copied group 0",
        "begin; truth | copied passwd 2",
        "begin; truth | copied package 0",
        "begin; truth | copied command 2",
        "begin; truth | copied command 0; exit 0",
        "begin; truth | retold package '' 0 '' | retold stat '' 1 'stat: it is gone' | retold passwd '' 0 '' | copied command 0",
    ] {
        let told = assert_held(&liar, lie);
        assert!([3, 4].contains(&told.code), "{lie}: {}", told.all());
        assert!(!told.stdout.contains("to create,"), "{lie}: {}", told.all());
    }
}

#[test]
fn a_truth_that_is_copied_once_is_the_truth() {
    let liar = Liar::new("begin; truth | copied stat 1 | retold nothing x 0 y");
    let told = liar.muster(&["plan", "--detailed-exitcode", "--no-input"]);
    assert_eq!(told.code, 2, "{}", told.all());
}

#[test]
fn what_a_host_says_of_itself_never_acts() {
    // Honest in form, and painted in every text that is shown: versions, names, files, errors.
    let lie = r#"begin
p=$(paint)
first=${p%%$'\n'*}
passwd=$(printf 'muster-hostile:x:7:7:%s:/%s:/bin/x\n\nend\n' "$first" "$first" | cat -n)
truth |
    retold package "$(printf 'muster-hostile\tamd64\tinstall\tinstalled\t%s\n' "$first")" 0 "$p" |
    retold passwd "$passwd"$'\n' 0 "$p" |
    retold stat "" 1 "stat: cannot statx '/etc/muster-hostile.conf': $p" |
    retold machine "$p" 0 "$p" |
    retold os "ID=$p" 0 '' |
    while IFS= read -r line; do
        case $line in
        'command '*) printf '%s %s %s\n' "$(cut -d ' ' -f 1,2 <<<"$line")" "$(printf '%s\n9' "$p" | base64 -w0)" "$(printf %s "$p" | base64 -w0)" ;;
        *) printf '%s\n' "$line" ;;
        esac
    done"#;
    let liar = Liar::new(&format!("{PAINT}\n{lie}"));
    liar.write(
        "modules/app/module.toml",
        "[module]\nname = \"app\"\n[[file]]\npath = \"/etc/muster-hostile.conf\"\ncontent = \"{{ facts.os }}\\n\"\n\
         [[account]]\nname = \"muster-hostile\"\ncomment = \"x\"\n[[package]]\nname = \"muster-hostile\"\nversion = \"1\"\n\
         [[command]]\nname = \"c\"\nrun = \"true\"\nprobe = \"exit 1\"\n",
    );
    for args in [
        &["plan", "--no-input", "-v"][..],
        &["plan", "--no-input", "--json"],
        &["drift", "--no-input"],
        &["drift", "--no-input", "--format", "markdown"],
        &["drift", "--no-input", "--format", "junit"],
        &["drift", "--no-input", "--format", "sarif"],
        &["plan", "--no-input", "-o", "saved.plan.json"],
        &["show", "saved.plan.json", "--full"],
        &["show", "saved.plan.json", "--format", "html"],
        &["adopt", "h1", "--no-input"],
    ] {
        let told = liar.muster(args);
        assert_harmless(&told, &args.join(" "));
    }
    let github = liar.muster(&["drift", "--no-input", "--format", "github"]);
    assert_eq!(nasty::acts(&github.all()), None);
    let is_ours = |line: &str| line.starts_with("::error file=") || line.starts_with("::warning file=");
    for line in github
        .stdout
        .lines()
        .filter(|line| line.trim_start().starts_with("::"))
    {
        assert!(is_ours(line) && line.matches("::").count() >= 2, "{line}");
    }
}

#[test]
fn endless_output_is_cut_off_in_bounded_memory() {
    let liar = Liar::new("exit 0");
    for lie in [
        "begin; exec cat /dev/zero",
        "begin; exec yes \"$(paint)\"",
        "begin; exec cat /dev/urandom >&2",
        "exec yes before the start",
        "begin; printf 'stat '; exec base64 -w0 /dev/zero",
    ] {
        liar.tells(&format!("{PAINT}\n{lie}"));
        let told = liar.muster(&["plan", "--detailed-exitcode", "--no-input"]);
        assert_eq!(told.code, 4, "{lie}: {}", told.all());
        assert!(
            told.all().contains("said more than the 64 MiB"),
            "{lie}: {}",
            told.all()
        );
        assert_harmless(&told, lie);
        assert!(
            told.peak_kib > 0 && told.peak_kib < 300 << 10,
            "{lie}: {} KiB",
            told.peak_kib
        );
        assert!(told.took < Duration::from_secs(30), "{lie}: {:?}", told.took);
    }
}

/// A host that is honest when it is looked at, gives its lock away, and lies when it is to act. Nothing is run on it but looks.
fn acts_by(liar: &Liar, lie: &str) -> Told {
    let host = format!(
        r#"{PAINT}
case $script in
*$'\nlock_host '*) begin; printf 'token 7\nend\n' ;;
*$'\nrenew_lock '* | *$'\nrelease_lock '* | *$'\nunreserve_host '*) begin; echo end ;;
*$'\nsay_host '* | *$'\nreserve_host '*) begin; truth ;;
*'op_0() {{'*) {lie} ;;
*) begin; echo end ;;
esac"#
    );
    liar.tells(&host);
    let told = liar.muster(&["apply", "-y", "--no-input"]);
    assert!(![0, 2].contains(&told.code), "{lie}: {}", told.all());
    assert!(
        !told.all().contains("Applied 1") && !told.all().contains("Applied 5"),
        "{lie}: {}",
        told.all()
    );
    assert_harmless(&told, lie);
    told
}

#[test]
fn a_host_that_lies_about_what_it_did_is_not_believed() {
    let liar = Liar::new("exit 0");
    for lie in [
        "exit 0",
        "begin; exit 0",
        "begin; echo end",
        "begin; paint; exit 96",
        "begin; printf 'step 0 0 \\n'; echo end",
        "begin; for n in $(seq 0 99); do printf 'step %s 0 \\n' $n; done; echo end",
        "begin; for n in $(seq 0 98); do printf 'step %s 0 \\n' $n; done; printf 'step 99 1 \\n'; exit 96",
        "begin; printf 'step 18446744073709551615 0 \\n'; exit 96",
        "begin; printf 'step 0 1 %s\\n' \"$(paint | base64 -w0)\"; exit 96",
        "begin; printf 'refused '; paint; exit 91",
        "begin; paint >&2; exit 97",
        "begin; kill -KILL $$",
        "printf '%s\\n' \"$script\" >&2; exit 1",
    ] {
        let told = acts_by(&liar, lie);
        assert!(
            [1, 3, 4, 5, 6].contains(&told.code),
            "{lie}: {} {}",
            told.code,
            told.all()
        );
    }
}

#[test]
fn a_lock_that_is_no_lock_is_not_taken() {
    let liar = Liar::new("exit 0");
    for answer in [
        "exit 0",
        "begin; echo end",
        "begin; echo token; echo end",
        "begin; echo token x; echo end",
        "begin; printf 'refused '; paint; exit 92",
        "begin; paint; exit 93",
    ] {
        let host = format!(
            "{PAINT}\ncase $script in\n*$'\\nsay_host '* | *$'\\nreserve_host '*) begin; truth ;;\n*) {answer} ;;\nesac"
        );
        liar.tells(&host);
        let told = liar.muster(&["apply", "-y", "--no-input"]);
        assert!(
            [1, 3, 4, 5, 7].contains(&told.code),
            "{answer}: {} {}",
            told.code,
            told.all()
        );
        assert_harmless(&told, answer);
    }
}

#[test]
fn odd_lines_of_known_hosts_hide_no_key() {
    let liar = Liar::new("begin; truth");
    let inventory =
        std::fs::read_to_string(liar.project.path().join("inventories/hostile.toml")).expect("it is there");
    let without: String = inventory
        .lines()
        .filter(|line| !line.starts_with("host_key"))
        .map(|line| format!("{line}\n"))
        .collect();
    liar.write("inventories/hostile.toml", &without);
    let name = liar.sshd.known_name();
    let odd = format!(
        "# \u{1b}[2J\n@revoked\n@cert-authority * ssh-ed25519\n|1|x|y ssh-ed25519 AAAA\n{name}\n{name} ssh-ed25519\n{name} ssh-ed25519 !!!!\n\
         {name} no-such-type AAAA\n{}\n\t\n\u{0}\u{feff}\n{} ssh-ed25519 AAAA\n",
        "*".repeat(100_000),
        "?*".repeat(2_000),
    );
    let known = liar.project.path().join(".ssh/known_hosts");
    liar.write(
        ".ssh/config",
        &format!("Host *\n  UserKnownHostsFile {}\n", known.display()),
    );
    liar.write(".ssh/known_hosts", &format!("{odd}{}", liar.sshd.known_line()));
    let plan = ["plan", "--detailed-exitcode", "--no-input"];
    let told = liar.muster(&plan);
    assert_eq!(told.code, 2, "{}", told.all());
    liar.write(".ssh/known_hosts", &odd);
    let told = liar.muster(&plan);
    assert_eq!(told.code, 4, "an unknown key is refused: {}", told.all());
    assert_harmless(&told, "known_hosts");
}
