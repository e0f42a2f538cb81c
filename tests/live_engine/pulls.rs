//! Pulls from a real registry: by tag, by digest, with credentials, and what goes wrong.

use muster::model::body::Body;
use muster::model::engine::{EngineOp, EngineProbe, Login};
use muster::model::observation::Answer;
use muster::ports::{Fence, PerformError};

use crate::bed::{Bed, POISON, secret, text};
use crate::fleet::Fleet;
use crate::registry::Registry;

fn pull(image: &str, login: Option<Login>) -> EngineOp {
    EngineOp::Pull {
        image: image.to_owned(),
        platform: None,
        login,
    }
}

fn is_there(bed: &Bed, image: &str) -> bool {
    match bed.ask(EngineProbe::Image(image.to_owned())) {
        Answer::Text { output, status: 0 } => output != "null",
        other => panic!("{other:?}"),
    }
}

/// Returns what a pull that fails says.
fn refused(bed: &Bed, fence: &Fence, op: EngineOp) -> String {
    match bed.act(fence, vec![op]) {
        Err(PerformError::Failed { operation, tail, .. }) => format!("{operation}: {}", tail.join("\n")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn image_comes_by_tag_and_by_digest_and_is_not_asked_for_twice() {
    let fleet = Fleet::up_with_engines(1);
    let registry = Registry::start(None);
    registry.admit(&fleet, "h1");
    let tag = format!("{}/box:1", registry.name);
    let push = format!(
        "docker tag box:1 {tag} && docker push -q {tag} && docker inspect -f '{{{{index .RepoDigests 0}}}}' {tag}"
    );
    let digest = fleet.sh("h1", &push).lines().last().expect("a digest").to_owned();
    assert!(digest.contains("@sha256:"), "{digest}");
    fleet.sh("h1", &format!("docker rmi {tag} box:1"));
    let bed = Bed::new(&fleet, "root");
    let fence = bed.lock("0123456789ab-1");
    assert!(!is_there(&bed, &tag));
    bed.act(&fence, vec![pull(&tag, None)])
        .expect("it comes by its tag");
    assert!(is_there(&bed, &tag) && is_there(&bed, &digest));
    fleet.sh("h1", &format!("docker rmi {tag}"));
    bed.act(&fence, vec![pull(&digest, None)])
        .expect("it comes by its digest");
    assert!(is_there(&bed, &digest));
    // A name with both: the digest decides.
    let both = digest.replacen("/box@", "/box:whatever@", 1);
    bed.act(&fence, vec![pull(&both, None)]).expect("it is there");

    let wrong = format!("{}/box@sha256:{}", registry.name, "0".repeat(64));
    let said = refused(&bed, &fence, pull(&wrong, None));
    assert!(said.contains("not found") || said.contains("unknown"), "{said}");
    registry.stop();
    bed.act(&fence, vec![pull(&digest, None)])
        .expect("what is there is not asked for");
    let said = refused(&bed, &fence, pull(&tag.replace(":1", ":2"), None));
    assert!(said.contains("connection refused"), "{said}");
}

#[test]
fn registry_with_an_account_lets_nobody_else_in_and_no_password_is_seen() {
    let fleet = Fleet::up_with_engines(1);
    let registry = Registry::start(Some(("puller", POISON)));
    registry.admit(&fleet, "h1");
    let tag = format!("{}/box:1", registry.name);
    fleet.sh(
        "h1",
        &format!(
            "docker tag box:1 {tag} && echo {POISON} | docker login -u puller --password-stdin {} && docker push -q {tag} && \
             docker logout {} && docker rmi {tag} box:1",
            registry.name, registry.name
        ),
    );
    let bed = Bed::new(&fleet, "root");
    let fence = bed.lock("0123456789ab-1");
    let login = |password: Body| Login {
        user: text("puller"),
        password,
    };
    let said = refused(&bed, &fence, pull(&tag, None));
    assert!(said.contains("auth"), "{said}");
    let said = refused(&bed, &fence, pull(&tag, Some(login(text("not-the-password")))));
    assert!(said.contains("unauthorized"), "{said}");
    let right = login(secret());
    bed.act(&fence, vec![pull(&tag, Some(right))]).expect("it comes");
    assert!(is_there(&bed, &tag));
    fleet.sh(
        "h1",
        &format!("! grep -r {POISON} /var/lib/muster /root/.docker 2>/dev/null"),
    );
}
