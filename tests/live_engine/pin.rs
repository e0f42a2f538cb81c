//! Images of a registry that stands in another's place, asked for with an account, and held to their digests.

use crate::bed::POISON;
use crate::fleet::{Fleet, Project};
use crate::registry::Registry;

const FILE: &str = r#"services:
  api:
    image: ghcr.io/team/box:1
    stop_grace_period: 1s
    command: ["sleep", "3600"]
"#;

const MODULE: &str =
    "[[compose]]\nname = \"join\"\nfolder = \"/srv/join\"\nfiles = [\"docker-compose.yml.j2\"]\n";
const LOCK: &str = "inventories/fleet.images.lock";

/// Pushes the host's image `box:1`, with one more variable, and returns its digest.
pub fn push(fleet: &Fleet, registry: &Registry, variable: &str) -> String {
    let name = format!("{}/team/box:1", registry.name);
    let script = format!(
        "docker login -u ops --password-stdin {0} >/dev/null 2>&1 && id=$(docker create box:1) && \
         docker commit -c 'ENV {variable}=1' $id {name} >/dev/null && docker push -q {name} >/dev/null && \
         docker inspect -f '{{{{index .RepoDigests 0}}}}' {name} && docker rm $id >/dev/null && \
         docker rmi {name} >/dev/null && docker logout {0} >/dev/null",
        registry.name
    );
    let said = fleet.feed("h1", &script, POISON.as_bytes());
    let out = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(
        said.status.success(),
        "{out}{}",
        String::from_utf8_lossy(&said.stderr)
    );
    let digest = out.lines().find_map(|line| line.split_once('@'));
    digest.expect("a digest").1.to_owned()
}

fn said(ran: &crate::fleet::Ran) -> String {
    format!("{}{}", ran.stdout, ran.stderr)
}

#[test]
fn image_is_held_to_the_digest_that_its_registry_told() {
    let fleet = Fleet::up_with_engines(1);
    let registry = Registry::start(&fleet, Some(("ops", POISON)));
    registry.admit(&fleet, "h1");
    let first = push(&fleet, &registry, "FIRST");
    let project = Project::new(&fleet, &["h1"]);
    project.module(MODULE);
    project.write("modules/app/templates/docker-compose.yml.j2", FILE);
    project.write("inventories/secret", "wrong-password");
    let local = &registry.name;
    project.extend_inventory(&format!(
        "\n[registries.\"ghcr.io\"]\nrewrite = \"{local}\"\n\n[registries.\"{local}\"]\nuser = \"ops\"\npassword = \"file:secret\"\n"
    ));
    let plan = project.muster(&["plan", "--no-input"]);
    assert!(
        said(&plan).contains("M0316") && said(&plan).contains("ghcr.io/team/box:1"),
        "{}",
        said(&plan)
    );
    assert!(
        plan.stdout.contains(&format!("image[{local}/team/box:1]")),
        "{}",
        said(&plan)
    );

    let refused = project.muster(&["pin", "--no-input"]);
    assert_eq!(refused.code, 3, "{}", said(&refused));
    assert!(
        refused.stderr.contains("ghcr.io/team/box:1: "),
        "{}",
        said(&refused)
    );
    assert!(!project.folder().join(LOCK).exists(), "digests are never made up");
    assert!(!said(&refused).contains("wrong-password"), "{}", said(&refused));

    project.write("inventories/secret", POISON);
    let check = project.muster(&["pin", "--check", "--no-input"]);
    assert_eq!(check.code, 2, "{}", said(&check));
    assert!(!project.folder().join(LOCK).exists());
    let pinned = project.muster(&["pin", "--no-input"]);
    assert_eq!(pinned.code, 0, "{}", said(&pinned));
    assert_eq!(pinned.stdout, format!("+ ghcr.io/team/box:1 {first}\n"));
    assert!(
        project
            .read(LOCK)
            .contains(&format!("\"ghcr.io/team/box:1\" = \"{first}\"")),
        "{}",
        project.read(LOCK)
    );
    let again = project.muster(&["pin", "--no-input"]);
    assert!(
        again.code == 0 && again.stderr.contains("No changes."),
        "{}",
        said(&again)
    );

    let applied = project.apply();
    assert!(
        !said(&applied).contains("M0316") && !said(&applied).contains(POISON),
        "{}",
        said(&applied)
    );
    let variables = "docker inspect -f '{{json .Config.Env}}' join-api-1";
    assert!(fleet.sh("h1", variables).contains("FIRST=1"));

    // The tag moves: nothing changes here until somebody asks for it.
    let second = push(&fleet, &registry, "SECOND");
    assert_ne!(first, second);
    project.assert_settled();
    let update = project.muster(&["pin", "--update", "ghcr.io/*", "--no-input"]);
    assert_eq!(
        update.stdout,
        format!("~ ghcr.io/team/box:1 {first} → {second}\n"),
        "{}",
        said(&update)
    );
    let plan = project.muster(&["plan", "--no-input"]);
    assert!(plan.stdout.contains("container[join-api-1]"), "{}", said(&plan));
    project.apply();
    assert!(fleet.sh("h1", variables).contains("SECOND=1"));

    // What is no longer declared leaves the file, and what is damaged is never taken for a digest.
    project.write(
        "modules/app/templates/docker-compose.yml.j2",
        &FILE.replace("ghcr.io/team/box:1", "box:1"),
    );
    let dropped = project.muster(&["pin", "--check", "--no-input"]);
    assert!(
        dropped.stdout.contains(&format!("- ghcr.io/team/box:1 {second}")),
        "{}",
        said(&dropped)
    );
    project.write(LOCK, &project.read(LOCK).replace(&second, "sha256:0f"));
    let damaged = project.muster(&["plan", "--no-input"]);
    assert_eq!(damaged.code, 1, "{}", said(&damaged));
    assert!(
        damaged.stderr.contains("fleet.images.lock:"),
        "{}",
        said(&damaged)
    );
}
