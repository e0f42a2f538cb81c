//! What a look brings back.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Instant;

use muster::model::digest::{Digest, Fingerprint};
use muster::model::id::ResourceKey;
use muster::model::observation::Answer;
use muster::model::op::{ContentWanted, Op, Probe, SettingsFormat};
use muster::ports::{LookRequest, Transport as _};

use crate::bed::{Bed, line, text};

fn path(path: &str, content: ContentWanted) -> Probe {
    Probe::Path {
        path: path.to_owned(),
        content,
    }
}

#[tokio::test]
async fn every_sort_of_path_is_told_apart_whatever_its_name() {
    let bed = Bed::new();
    for name in ["plain", "it's \"odd\"\n$x\ty", "-n", "é\\"] {
        let base = bed.path(name);
        std::fs::create_dir(&base).unwrap();
        let within = |name: &str| format!("{base}/{name}");
        std::fs::create_dir(within("full")).unwrap();
        std::fs::create_dir(within("empty")).unwrap();
        std::fs::write(within("full/.hidden"), "").unwrap();
        std::fs::write(within("file"), "two\n\nlines, no end").unwrap();
        std::fs::write(within("binary"), b"\xff\0").unwrap();
        std::fs::write(within("long"), "x".repeat(300_000)).unwrap();
        symlink("no where\n", within("link")).unwrap();
        Command::new("mkfifo").arg(within("fifo")).status().unwrap();
        let names = [
            "full",
            "empty",
            "file",
            "binary",
            "long",
            "link",
            "fifo",
            "absent",
            "file/below",
        ];
        let probes = names
            .iter()
            .map(|name| path(&within(name), ContentWanted::Text))
            .collect();
        let (_, answers) = bed.look(probes).await;
        let types: Vec<&str> = answers.iter().map(|answer| line(answer, "type")).collect();
        let wanted = [
            "directory",
            "directory",
            "file",
            "file",
            "file",
            "link",
            "other",
            "absent",
            "absent",
        ];
        assert_eq!(types, wanted, "{name}");
        assert_eq!(
            (line(&answers[0], "empty"), line(&answers[1], "empty")),
            ("no", "yes")
        );
        assert!(text(&answers[2]).0.ends_with("\n\ntwo\n\nlines, no end"));
        assert_eq!(line(&answers[2], "sha256"), Digest::of("two\n\nlines, no end").0);
        for (n, content) in [(3, b"\xff\0".to_vec()), (4, "x".repeat(300_000).into_bytes())] {
            assert_eq!(line(&answers[n], "sha256"), Digest::of(content).0);
            assert!(!text(&answers[n]).0.contains("\n\n"));
        }
        assert!(text(&answers[5]).0.contains("to=no where\n"), "{:?}", answers[5]);
        assert_eq!(
            (line(&answers[2], "owner"), line(&answers[2], "mode")),
            ("root", "0644")
        );
        assert_eq!(line(&answers[2], "size"), "18");
    }
}

#[tokio::test]
async fn a_path_that_cannot_be_read_is_neither_absent_nor_fatal() {
    let bed = Bed::new();
    let (first, second) = (bed.path("a"), bed.path("b"));
    symlink(&second, &first).unwrap();
    symlink(&first, &second).unwrap();
    let (_, answers) = bed
        .look(vec![
            path(&format!("{first}/x"), ContentWanted::Text),
            path(&bed.path("absent"), ContentWanted::Text),
        ])
        .await;
    let (output, status) = text(&answers[0]);
    assert!(
        status != 0 && output.contains("Too many levels of symbolic links"),
        "{output}"
    );
    assert_eq!(text(&answers[1]), ("type=absent\n", 0));
}

#[tokio::test]
async fn secret_places_give_prints_that_the_controller_can_make_too() {
    let bed = Bed::new();
    let file = bed.path("secret");
    std::fs::write(&file, "pass=word\nopen=1\n").unwrap();
    let settings = Probe::Settings {
        path: file.clone(),
        format: SettingsFormat::Env,
        keys: BTreeMap::from([
            ("pass".to_owned(), true),
            ("open".to_owned(), false),
            ("no".to_owned(), true),
        ]),
    };
    let probes = vec![path(&file, ContentWanted::Print), settings.clone()];
    let (reply, answers) = bed.look(probes.clone()).await;
    assert!(reply.salt.is_none() && text(&answers[0]).0.contains("opaque=yes\n"));
    assert!(!format!("{answers:?}").contains("word"));

    bed.lock("p-1").await.unwrap();
    let (reply, answers) = bed.look(probes).await;
    let salt = reply.salt.unwrap().0;
    assert_eq!(
        line(&answers[0], "print"),
        Fingerprint::of(&salt, b"pass=word\nopen=1\n").0
    );
    assert!(!format!("{answers:?}").contains("word"));
    let json: serde_json::Value = serde_json::from_str(text(&answers[1]).0).unwrap();
    let print = serde_json::json!({"print": Fingerprint::of(&salt, b"word")});
    assert_eq!(json["keys"], serde_json::json!({"open": "1", "pass": print}));
    assert_eq!(
        (json["type"].as_str(), json["mode"].as_str()),
        (Some("file"), Some("0644"))
    );
}

#[tokio::test]
async fn commands_say_their_output_and_status_and_a_slow_one_says_nothing() {
    let bed = Bed::new();
    let command = |script: &str, user: Option<&str>, timeout_secs| Probe::Command {
        script: script.to_owned(),
        user: user.map(str::to_owned),
        timeout_secs,
    };
    let (_, answers) = bed
        .look(vec![
            command("printf 'a\n\nb'; echo hidden >&2; exit 4", None, 10),
            command("id -un; cat", Some("games"), 10),
            command("while :; do sleep 0.05; done", None, 1),
            command("if then", None, 10),
        ])
        .await;
    assert_eq!(text(&answers[0]), ("a\n\nb", 4));
    assert_eq!(text(&answers[1]), ("games\n", 0));
    assert_eq!(
        answers[2],
        Answer::NoAnswer("the command did not end within 1 s".to_owned())
    );
    assert_ne!(text(&answers[3]).1, 0);
}

#[tokio::test]
async fn a_number_of_the_kernel_is_read_to_its_last_digit() {
    let bed = Bed::new();
    let probe = Probe::Sysctl {
        key: "net.ipv4.tcp_keepalive_time".into(),
        file: bed.path("none.conf"),
    };
    let there = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_keepalive_time").unwrap();
    assert!(
        there.trim().len() > 1,
        "a number of one digit shows nothing: {there}"
    );
    let (_, answers) = bed.look(vec![probe]).await;
    assert_eq!(line(&answers[0], "value"), there.trim());
}

#[tokio::test]
async fn accounts_groups_packages_and_parameters_are_read() {
    let bed = Bed::new();
    let sysctl = Probe::Sysctl {
        key: "kernel.ostype".into(),
        file: bed.path("none.conf"),
    };
    let file = bed.path("60-x.conf");
    std::fs::write(&file, "# net.core.somaxconn = 1\nnet.core.somaxconn =  17\n").unwrap();
    let (reply, answers) = bed
        .look(vec![
            Probe::Account("games".into()),
            Probe::Account("no-such".into()),
            Probe::Group("games".into()),
            Probe::AuthorizedKeys("no-such".into()),
            Probe::AuthorizedKeys("games".into()),
            Probe::Package("coreutils".into()),
            Probe::Package("no-such-package".into()),
            sysctl,
            Probe::Sysctl {
                key: "net.core.somaxconn".into(),
                file,
            },
            Probe::Sysctl {
                key: "net.no.such".into(),
                file: bed.path("none.conf"),
            },
        ])
        .await;
    let said: Vec<&str> = answers.iter().map(|answer| text(answer).0).collect();
    assert!(
        said[0].starts_with("games:x:5:60:games:") && said[0].ends_with("\n\ngames\n"),
        "{}",
        said[0]
    );
    assert_eq!(
        (said[1], said[2], said[3]),
        ("", "games:x:60:\ngames\n", "type=no-account\n")
    );
    assert_eq!(said[4], "path=/usr/games/.ssh/authorized_keys\ntype=absent\n");
    assert!(said[5].starts_with("install\tinstalled\t"), "{}", said[5]);
    assert_eq!((said[6], said[7]), ("", "value=Linux\n"));
    assert!(said[8].ends_with("\nfile=17\n"), "{}", said[8]);
    assert_eq!(said[9], "absent=yes\n");
    assert_eq!(
        reply.machine.id,
        std::fs::read_to_string("/etc/machine-id")
            .unwrap_or_default()
            .trim()
    );
}

#[tokio::test]
async fn a_tool_that_is_missing_spoils_only_its_own_probes() {
    let bed = Bed::new();
    let key = ResourceKey::new("unit", "x");
    let request = LookRequest {
        probes: BTreeMap::from([(key.clone(), vec![Probe::Unit("no-such.service".into())])]),
        tools: ["sh", "no-such-tool", "another"].map(str::to_owned).into(),
        facts: true,
    };
    let reply = bed.transport.look(&bed.host, &request).await.unwrap();
    assert_eq!(reply.machine.missing_tools, ["another", "no-such-tool"]);
    let has_systemctl = Command::new("systemctl").arg("--version").output().is_ok();
    if !has_systemctl || !reply.machine.has_systemd {
        assert!(
            matches!(reply.answers[&key][0], Answer::NoAnswer(_)),
            "{:?}",
            reply.answers[&key]
        );
    }
    let facts = reply.facts.unwrap();
    assert!(
        facts.cpus > 0 && facts.memory_bytes > 1_000_000 && !facts.kernel.is_empty(),
        "{facts:?}"
    );
    assert_eq!((facts.os.as_str(), facts.arch.as_str()), ("debian", "amd64"));
}

#[tokio::test]
async fn three_hundred_files_cost_little_more_than_one() {
    let bed = Bed::new();
    let probes: Vec<Probe> = (0..1000)
        .map(|n| {
            let name = bed.path(&format!("f{n}"));
            if n % 3 > 0 {
                std::fs::write(&name, format!("content {n}\n")).unwrap();
            }
            path(&name, ContentWanted::Text)
        })
        .collect();
    let started = Instant::now();
    let (_, answers) = bed.look(probes[..300].to_vec()).await;
    assert!(started.elapsed().as_secs_f32() < 3.0, "{:?}", started.elapsed());
    assert_eq!(answers.len(), 300);
    // More than one call's arguments.
    let (_, answers) = bed.look(probes).await;
    for (n, answer) in answers.iter().enumerate() {
        let wanted = if n % 3 > 0 {
            format!("\n\ncontent {n}\n")
        } else {
            "type=absent\n".to_owned()
        };
        assert!(text(answer).0.ends_with(&wanted), "{n}: {answer:?}");
    }
}

#[tokio::test]
async fn probes_after_ops_see_what_the_ops_did() {
    let bed = Bed::new();
    let fence = bed.lock("p-1").await.unwrap();
    let file = bed.path("x");
    let mut call = crate::bed::call(&fence, vec![crate::bed::write(&file, "done"), Op::ReloadUnits]);
    call.ops.truncate(1);
    let key = ResourceKey::new("file", file.clone());
    call.probes
        .insert(key.clone(), vec![path(&file, ContentWanted::Print)]);
    let outcome = bed.transport.perform(&bed.host, &call).await.unwrap();
    let print = Fingerprint::of(&outcome.salt.0, b"done");
    assert_eq!(line(&outcome.answers[&key][0], "print"), print.0);
}
