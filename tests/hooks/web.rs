//! Webhooks: what is posted, when it is tried again, to whom, and that no secret comes back.

use std::process::Output;

use assert_cmd::Command;
use muster::model::hook::{Call, Hook, Moment, Said};
use muster::model::secret::Secret;
use muster::ports::Secrets;

use crate::server::{Authority, http, https};
use crate::support::fleet::Fleet;
use crate::{call, hook, two_waves, walk};

fn webhook(port: u16, within_secs: u64) -> Hook {
    let headers = [
        ("x-plain".to_owned(), Said::Text("yes".to_owned())),
        (
            "authorization".to_owned(),
            Said::Secret("env:TOKEN".parse().unwrap()),
        ),
    ];
    let url = Said::Text(format!("http://127.0.0.1:{port}/tell?x=1"));
    let mut hook = hook(
        Moment::Failure,
        Call::Webhook {
            url,
            headers: headers.into(),
        },
    );
    hook.retry_within_secs = within_secs;
    hook
}

fn token() -> Secrets {
    Secrets::new([("env:TOKEN".parse().unwrap(), Secret::new("Bearer hunter2"))].into())
}

#[test]
fn a_webhook_is_posted_with_its_headers_and_tried_again_until_it_is_heard() {
    let (port, served) = http(&[503, 429, 204]);
    let said = call(&webhook(port, 60), token());
    assert_eq!(said.result, Ok(()), "{said:?}");
    let heard = served.join().unwrap();
    assert_eq!(heard.len(), 3);
    let (head, body) = &heard[2];
    assert!(head.starts_with("POST /tell?x=1 HTTP/1.1\r\n"), "{head}");
    for part in [
        "x-plain: yes",
        "authorization: Bearer hunter2",
        "content-type: application/json",
    ] {
        assert!(head.contains(part), "{part}: {head}");
    }
    assert_eq!(body, "{\"a\":1}");
}

#[test]
fn a_webhook_that_is_refused_is_not_repeated_and_says_no_secret() {
    let (port, served) = http(&[403]);
    let said = call(&webhook(port, 60), token());
    assert_eq!(said.result.as_ref().unwrap_err().why, "status 403");
    assert_eq!(served.join().unwrap().len(), 1);
    // Nobody listens there any more: tried until the time is up, and said so.
    let said = call(&webhook(port, 5), token());
    let why = said.result.unwrap_err().why;
    assert!(
        why.starts_with("no answer: ") && why.contains("tries in 5 s"),
        "{why}"
    );
    let said = call(&webhook(port, 60), Secrets::default());
    assert_eq!(said.result.unwrap_err().why, "its secret env:TOKEN was not read");
}

/// Where the other side says everything back, its address and its headers too.
#[test]
fn no_secret_of_a_webhook_is_in_the_journal_whatever_the_other_side_says() {
    for (statuses, fails) in [(&[200][..], false), (&[403], true)] {
        let (port, served) = http(statuses);
        let mut told = webhook(port, 0);
        told.on = Moment::AfterRun;
        let address = format!("http://127.0.0.1:{port}/services/T0-kept-to-us");
        if let Call::Webhook { url, .. } = &mut told.call {
            *url = Said::Secret("env:URL".parse().unwrap());
        }
        let folder = tempfile::tempdir().unwrap();
        let mut plan = two_waves(folder.path());
        plan.hooks = vec![told];
        let mut fleet = Fleet::default();
        fleet.secrets = Secrets::new(
            [
                ("env:TOKEN".parse().unwrap(), Secret::new("Bearer hunter2")),
                ("env:URL".parse().unwrap(), Secret::new(address.as_str())),
            ]
            .into(),
        );
        let (outcome, events) = walk(&plan, &fleet);
        assert_eq!(outcome.exit, 0);
        assert!(served.join().unwrap()[0].0.contains("hunter2"), "it was told");
        let journal = serde_json::to_string(&events).unwrap();
        assert!(
            journal.contains("authorization: ***") && journal.contains("status 403") == fails,
            "{journal}"
        );
        for secret in ["hunter2", "kept-to-us"] {
            assert!(!journal.contains(secret), "{secret}: {journal}");
            assert!(!serde_json::to_string(&plan).unwrap().contains(secret));
        }
    }
}

/// Plans with the program itself, whose environment names the authority that its owner trusts: the hook comes before everything else.
fn plan_told(url: &str, trusted: Option<&Authority>) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let inventory = format!(
        "[fleet]\nname = \"demo\"\n[hosts.a]\naddress = \"127.0.0.1\"\nport = 1\n[[use]]\nmodule = \"app\"\non = \"all\"\n\
         [[hook]]\nname = \"tell\"\non = \"before-plan\"\nrequired = true\n\
         webhook = {{ url = \"{url}\", secret_headers = {{ authorization = \"env:TOKEN\" }} }}\n"
    );
    let module = "[module]\nname = \"app\"\n[[file]]\npath = \"/etc/app\"\ncontent = \"x\"\n";
    for (path, text) in [
        ("inventories/demo.toml", inventory.as_str()),
        ("modules/app/module.toml", module),
    ] {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let mut muster = Command::cargo_bin("muster").unwrap();
    muster
        .current_dir(folder.path())
        .args(["plan", "--no-input", "-v"]);
    muster.env_clear().env("TOKEN", "Bearer hunter2");
    if let Some(authority) = trusted {
        muster.env("SSL_CERT_FILE", authority.certificate());
    }
    muster.output().unwrap()
}

#[test]
fn over_tls_only_whom_a_trusted_authority_vouches_for_is_told() {
    let authority = Authority::new();
    let said = |ran: &Output| {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said = text(&ran.stdout) + &text(&ran.stderr);
        assert!(!said.contains("hunter2"), "{said}");
        said
    };

    let (port, served) = https(&authority, &[200]);
    let ran = plan_told(&format!("https://localhost:{port}/tell"), Some(&authority));
    // The host itself does not answer.
    assert_eq!(ran.status.code(), Some(4), "{}", said(&ran));
    assert!(said(&ran).contains("authorization: ***"), "{}", said(&ran));
    let heard = served.join().unwrap();
    let (head, body) = &heard[0];
    assert!(
        head.starts_with("POST /tell HTTP/1.1\r\n") && head.contains("authorization: Bearer hunter2"),
        "{head}"
    );
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        (&body["hook"], &body["on"]),
        (&"tell".into(), &"before-plan".into())
    );

    // Nobody vouches for it, and then not for this name of it.
    for (name, trusted) in [("localhost", None), ("127.0.0.1", Some(&authority))] {
        let (port, served) = https(&authority, &[200]);
        let ran = plan_told(&format!("https://{name}:{port}/tell"), trusted);
        assert_eq!(ran.status.code(), Some(7), "{name}: {}", said(&ran));
        assert!(said(&ran).contains("certificate"), "{name}: {}", said(&ran));
        assert_eq!(served.join().unwrap(), [], "{name} was told nothing");
    }
}
