//! What is quoted is evaluated by real shells: they give back exactly what went in.

use std::io::Write as _;
use std::process::{Command, Stdio};

use base64::Engine as _;
use muster::model::secret::Encoding;
use muster::transport::quote;
use proptest::prelude::*;

use super::nasty;

/// The shells that are here. The first two must be: hosts are Debian and Ubuntu.
fn shells() -> Vec<Vec<&'static str>> {
    let all = [
        vec!["dash"],
        vec!["sh"],
        vec!["bash", "--posix"],
        vec!["bash"],
        vec!["busybox", "sh"],
    ];
    let is_there = |shell: &Vec<&str>| {
        Command::new(shell[0])
            .args(&shell[1..])
            .args(["-c", ":"])
            .output()
            .is_ok_and(|output| output.status.success())
    };
    let there: Vec<_> = all.into_iter().filter(is_there).collect();
    assert!(
        there.len() >= 2 && there[0] == ["dash"],
        "dash and sh are here: {there:?}"
    );
    there
}

fn run(shell: &[&str], script: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut child = Command::new(shell[0])
        .args(&shell[1..])
        .arg("-s")
        .env("LC_ALL", "C")
        .current_dir("/etc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the shell starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    let script = script.to_vec();
    let writing = std::thread::spawn(move || stdin.write_all(&script));
    let output = child.wait_with_output().expect("the shell ends");
    drop(writing.join());
    (output.stdout, output.stderr)
}

/// Asserts that every shell prints these texts, each between line breaks, out of one script.
fn assert_printed(script: &str, wanted: &[u8]) {
    for shell in shells() {
        let (stdout, stderr) = run(&shell, script.as_bytes());
        assert!(
            stdout == wanted && stderr.is_empty(),
            "{shell:?}: {script:?}\ngave {:?}\n{}",
            String::from_utf8_lossy(&stdout),
            String::from_utf8_lossy(&stderr)
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_word_is_given_back_by_every_shell(texts in prop::collection::vec(prop_oneof![nasty::text(), "[^\0]{0,20}", "[ -~]{0,12}"], 1..12)) {
        // As an argument, in an assignment, exported, and as a pattern of `case`: the places where words stand.
        let mut script = String::new();
        let mut wanted = Vec::new();
        for text in &texts {
            let word = quote::word(text);
            script.push_str(&format!(
                "printf '%s\\0' {word}\nx={word}\nprintf '%s\\0' \"$x\"\nexport y={word}\nsh -c 'printf \"%s\\0\" \"$y\"'\n\
                 case \"$x\" in {word}) printf yes ;; *) printf no ;; esac\nset -- {word} {word}\nprintf '%s\\0' $#\n"
            ));
            for _ in 0..3 {
                wanted.extend(text.as_bytes());
                wanted.push(0);
            }
            wanted.extend(b"yes2\0");
        }
        assert_printed(&script, &wanted);
    }

    #[test]
    fn every_byte_is_given_back_by_a_document(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        // In a function and outside, as ops use it.
        let document = quote::document(&bytes);
        let script = format!("f() {{\nbase64 -d {document}\n}}\nf\nbase64 -d {document}\n");
        assert_printed(&script, &[bytes.clone(), bytes].concat());
    }

    #[test]
    fn a_secret_as_a_shell_word_is_given_back(text in prop_oneof![nasty::text(), "[^\0]{0,20}"]) {
        assert_printed(&format!("printf %s {}\n", Encoding::Shell.encode(&text)), text.as_bytes());
    }
}

#[test]
fn every_single_byte_is_given_back_as_a_word() {
    let texts: Vec<String> = (1..=0x250).filter_map(char::from_u32).map(String::from).collect();
    let script = format!(
        "printf '%s\\0' {}\n",
        quote::words(texts.iter().map(String::as_str))
    );
    let wanted: Vec<u8> = texts
        .iter()
        .flat_map(|text| [text.as_bytes(), b"\0"].concat())
        .collect();
    assert_printed(&script, &wanted);
}

#[test]
fn long_lines_and_long_words_are_given_back() {
    let line: String = "0123456789'\"$(x)`\\ ".chars().cycle().take(10 << 20).collect();
    let sum = muster::model::digest::Digest::of(&line);
    let word = &line[..100_000];
    let script = format!(
        "f() {{\nbase64 -d {}\n}}\nf | sha256sum\nx={}\nprintf %s \"$x\" | sha256sum\n",
        quote::document(&line),
        quote::word(word)
    );
    let wanted = format!("{sum}  -\n{}  -\n", muster::model::digest::Digest::of(word));
    for shell in shells().into_iter().filter(|shell| shell[0] != "bash") {
        let (stdout, _) = run(&shell, script.as_bytes());
        assert_eq!(String::from_utf8_lossy(&stdout), wanted, "{shell:?}");
    }
}

#[test]
fn no_document_is_ended_by_what_it_holds() {
    // Content that is itself Base64 of the end mark, and content whose Base64 could look like one.
    for content in ["END-\n", "\nEND-\n", "4D0\u{3e}"] {
        let document = quote::document(content);
        let lines: Vec<&str> = document.lines().collect();
        assert_eq!(
            lines.iter().filter(|line| **line == "END-").count(),
            1,
            "{document}"
        );
        let inner = lines[1..lines.len() - 1].concat();
        let decoded = base64::engine::general_purpose::STANDARD.decode(inner).unwrap();
        assert_eq!(decoded, content.as_bytes());
    }
}
