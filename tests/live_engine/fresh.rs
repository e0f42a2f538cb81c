//! An image that is asked for always: what its tag means in the registry now is what runs after the next apply.

use crate::fleet::{Fleet, Project};
use crate::registry::Registry;

fn push(fleet: &Fleet, name: &str, variable: &str) {
    let script = format!(
        "id=$(docker create box:1) && docker commit -c 'ENV {variable}=1' $id {name} >/dev/null && docker push -q {name} && docker rm $id && docker rmi {name}"
    );
    fleet.sh("h1", &script);
}

#[test]
fn tag_that_moved_is_pulled_and_its_container_comes_anew_in_one_plan() {
    let fleet = Fleet::up_with_engines(1);
    let mut registry = Some(Registry::start(&fleet, None));
    let local = registry
        .as_ref()
        .map(|registry| registry.name.clone())
        .expect("it runs");
    registry.as_ref().expect("it runs").admit(&fleet, "h1");
    let name = format!("{local}/team/box:1");
    push(&fleet, &name, "FIRST");
    let project = Project::new(&fleet, &["h1"]);
    project.module(
        "[[compose]]\nname = \"join\"\nfolder = \"/srv/join\"\nfiles = [\"compose.yml\"]\n\n[[compose]]\nname = \"beside\"\nfolder = \"/srv/beside\"\nfiles = [\"beside.yml\"]\n",
    );
    let file = |policy: &str| {
        format!(
            "services:\n  api: {{ image: \"{name}\", command: [sleep, \"3600\"], stop_grace_period: 1s, pull_policy: {policy} }}\n"
        )
    };
    project.write("modules/app/templates/compose.yml", &file("always"));
    // Another that runs it and asks for nothing comes along.
    project.write("modules/app/templates/beside.yml", &file("missing"));
    project.apply();
    let variables = "docker exec join-api-1 sh -c 'echo $FIRST$SECOND $SECOND'";
    assert_eq!(fleet.sh("h1", variables), "1\n");

    // The tag moves. Who asks only for what is missing sees nothing of that, who asks always does.
    fleet.sh("h1", &format!("docker tag {name} kept:1"));
    push(&fleet, &name, "SECOND");
    fleet.sh("h1", &format!("docker tag kept:1 {name}"));
    project.write("modules/app/templates/compose.yml", &file("missing"));
    let quiet = project.muster(&["plan", "--no-input"]);
    assert!(
        !quiet.stdout.contains("container[join-api-1]"),
        "{}",
        quiet.stdout
    );
    project.write("modules/app/templates/compose.yml", &file("always"));
    let plan = project.muster(&["plan", "--no-input"]);
    for part in [
        &format!("image[{name}]"),
        "digest",
        "container[join-api-1]",
        "container[beside-api-1]",
        "recreated_with",
    ] {
        assert!(
            plan.stdout.contains(part),
            "{part}: {}{}",
            plan.stdout,
            plan.stderr
        );
    }
    project.apply();
    assert_eq!(fleet.sh("h1", variables), "1 1\n");

    // A registry that does not answer: what runs stays, and the plan says that it is not whole.
    drop(registry.take());
    let plan = project.muster(&["plan", "--no-input"]);
    assert!(
        plan.stdout.contains("does not say what"),
        "{}{}",
        plan.stdout,
        plan.stderr
    );
    assert_eq!(fleet.sh("h1", variables), "1 1\n");
}
