//! Containers of others: left alone, and named where they hold what nobody else should.

use crate::fleet::{Fleet, Project};

#[test]
fn containers_of_others_that_hold_a_gpu_or_see_an_identity_are_named_and_left_alone() {
    let fleet = Fleet::up_with_engines(1);
    fleet.sh(
        "h1",
        "mkdir -p /srv/join/keys && touch /dev/nvidia7 && mknod /tmp/null c 1 3 && mv /tmp/null /dev/nvidia7 &&
         docker run -d --name old-signer -v /srv/join:/keys box:1 sleep 3600 &&
         docker run -d --name old-ml --device /dev/nvidia7 box:1 sleep 3600 &&
         docker run -d --name exporter -v /:/host:ro box:1 sleep 3600 &&
         docker create --name stopped -v /srv/join/keys:/keys box:1 sleep 3600",
    );
    let project = Project::new(&fleet, &["h1"]);
    project.module(
        "[[directory]]\npath = \"/srv/join/keys\"\nidentity = true\n\n[[compose]]\nname = \"join\"\nfolder = \"/srv/join\"\nfiles = [\"compose.yml\"]\n",
    );
    project.write(
        "modules/app/templates/compose.yml",
        "services:\n  ml: { image: \"box:1\", command: [sleep, \"3600\"], stop_grace_period: 1s, volumes: [\"./keys:/keys\"] }\n",
    );
    let said = [
        "container `old-signer` is not muster's and mounts `/srv/join/keys`, where an identity lies",
        "container `old-ml` is not muster's and holds a GPU (/dev/nvidia7)",
    ];
    let named = |text: &str| {
        for part in said {
            assert!(text.contains(part), "{part}: {text}");
        }
        for other in ["exporter", "stopped", "join-ml-1` is"] {
            assert!(!text.contains(other), "{other}: {text}");
        }
    };
    named(&project.muster(&["plan", "--no-input"]).stdout);
    project.apply();
    let drift = project.muster(&["drift", "--no-input"]);
    assert_eq!(drift.code, 0, "it is no drift: {}", drift.stdout);
    named(&drift.stdout);
    let running = fleet.sh("h1", "docker ps --format '{{.Names}}' | sort | xargs");
    assert_eq!(running.trim(), "exporter join-ml-1 old-ml old-signer");

    // The folder is never deleted, whatever is declared.
    project.module("");
    let gone = project.muster(&["apply", "-y", "--no-input"]);
    assert!(
        fleet.try_sh("h1", "test -d /srv/join/keys").status.success(),
        "{}",
        gone.stdout
    );
}
