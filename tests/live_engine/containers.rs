//! Containers, networks and volumes: made, made anew, put back, taken away.

use muster::model::container_part::{Endpoint, Health, HealthCheck, Mount, MountFrom};
use muster::model::engine::EngineOp;
use muster::model::inspected::EnvValue;
use muster::model::network::NetworkSpec;
use muster::model::volume::VolumeSpec;
use muster::ports::PerformError;

use crate::bed::{Bed, POISON, make, secret, sleeper, text};
use crate::fleet::Fleet;

fn network() -> NetworkSpec {
    NetworkSpec {
        name: "trial_default".to_owned(),
        ..NetworkSpec::default()
    }
}

fn volume() -> VolumeSpec {
    VolumeSpec {
        name: "trial_data".to_owned(),
        ..VolumeSpec::default()
    }
}

#[test]
fn container_is_made_once_made_anew_when_asked_and_keeps_its_volume() {
    let fleet = Fleet::up_with_engines(1);
    let bed = Bed::new(&fleet, "root");
    let mut spec = sleeper("app");
    spec.settings.networks.insert(
        "trial_default".to_owned(),
        Endpoint {
            aliases: ["app".to_owned()].into(),
            ..Endpoint::default()
        },
    );
    spec.settings.mounts.insert(
        "/data".to_owned(),
        Mount {
            from: MountFrom::Volume("trial_data".to_owned()),
            read_only: false,
            propagation: None,
            makes_host_path: false,
            nocopy: false,
        },
    );
    spec.environment.insert("SHOWN".to_owned(), text("here"));
    spec.environment.insert("HIDDEN".to_owned(), secret());
    spec.public_env.insert("SHOWN".to_owned());
    let first = bed.lock("0123456789ab-1");
    assert_eq!(bed.inspect(&spec), None);
    let ops = vec![
        EngineOp::Network(network()),
        EngineOp::Volume(volume()),
        make(&spec),
    ];
    bed.act(&first, ops.clone()).expect("all of it can be made");
    let seen = bed.inspect(&spec).expect("it is there");
    assert!(seen.state.is_running(), "{:?}", seen.state);
    assert_eq!(
        seen.settings.networks.keys().collect::<Vec<_>>(),
        ["trial_default"]
    );
    assert_eq!(seen.environment["SHOWN"], EnvValue::Public("here".to_owned()));
    assert!(matches!(&seen.environment["HIDDEN"], EnvValue::Print(_)));
    assert_eq!(
        fleet.sh("h1", "docker exec trial-app-1 sh -c 'echo $HIDDEN'"),
        format!("{POISON}\n")
    );
    // The same run once more, as after an interruption: nothing more is made.
    bed.act(&first, ops).expect("it can be done twice");
    assert_eq!(bed.inspect(&spec).expect("it is there").id, seen.id);

    fleet.sh("h1", "docker exec trial-app-1 sh -c 'echo kept >/data/it'");
    bed.release(&first);
    let second = bed.lock("0123456789ab-2");
    spec.environment.insert("SHOWN".to_owned(), text("there"));
    bed.act(&second, vec![make(&spec)]).expect("it can be made anew");
    let anew = bed.inspect(&spec).expect("it is there");
    assert_ne!(anew.id, seen.id);
    assert_eq!(anew.environment["SHOWN"], EnvValue::Public("there".to_owned()));
    assert_eq!(fleet.sh("h1", "docker exec trial-app-1 cat /data/it"), "kept\n");
    assert_eq!(
        fleet.sh("h1", "docker ps -a --format '{{.Names}}'"),
        "trial-app-1\n",
        "what was set aside is gone"
    );

    // A network that is in use stays, and says so; a volume outlives its container.
    let in_use = bed.act(&second, vec![EngineOp::RemoveNetwork("trial_default".to_owned())]);
    assert!(
        matches!(&in_use, Err(PerformError::Failed { tail, .. }) if tail.join(" ").contains("active endpoints")),
        "{in_use:?}"
    );
    let away = vec![
        EngineOp::RemoveContainer("trial-app-1".to_owned()),
        EngineOp::RemoveNetwork("trial_default".to_owned()),
    ];
    bed.act(&second, away.clone()).expect("it can be taken away");
    bed.act(&second, away).expect("twice is once");
    assert_eq!(bed.inspect(&spec), None);
    fleet.sh("h1", "docker volume inspect trial_data");
}

#[test]
fn what_lies_in_a_volume_that_only_the_image_declares_goes_on_with_its_successor() {
    let fleet = Fleet::up_with_engines(1);
    fleet.sh(
        "h1",
        "docker commit -c 'VOLUME [\"/kept\"]' $(docker create box:1) box:kept && docker rm $(docker ps -aq)",
    );
    let bed = Bed::new(&fleet, "root");
    let fence = bed.lock("0123456789ab-1");
    let mut spec = sleeper("app");
    spec.image = "box:kept".to_owned();
    bed.act(&fence, vec![make(&spec)]).expect("it comes up");
    let before = bed.inspect(&spec).expect("it is there");
    fleet.sh("h1", "docker exec trial-app-1 sh -c 'echo data >/kept/it'");
    bed.release(&fence);
    spec.environment.insert("SHOWN".to_owned(), text("there"));
    let fence = bed.lock("0123456789ab-2");
    bed.act(&fence, vec![make(&spec)]).expect("it can be made anew");
    assert_ne!(bed.inspect(&spec).expect("it is there").id, before.id);
    assert_eq!(fleet.sh("h1", "docker exec trial-app-1 cat /kept/it"), "data\n");
    // An image that declares none is given none.
    bed.release(&fence);
    spec.image = "box:1".to_owned();
    let fence = bed.lock("0123456789ab-3");
    bed.act(&fence, vec![make(&spec)]).expect("it can be made anew");
    assert_eq!(
        fleet.sh("h1", "docker inspect -f '{{.Mounts}}' trial-app-1"),
        "[]\n"
    );
}

#[test]
fn one_that_does_not_prove_itself_gives_way_to_the_one_before_it() {
    let fleet = Fleet::up_with_engines(1);
    let bed = Bed::new(&fleet, "root");
    let fence = bed.lock("0123456789ab-1");
    let mut spec = sleeper("app");
    bed.act(&fence, vec![make(&spec)]).expect("it can be made");
    let before = bed.inspect(&spec).expect("it is there");

    // Never healthy, and it repeats what nobody may see.
    spec.environment.insert("TOKEN".to_owned(), secret());
    spec.environment
        .insert("ALSO".to_owned(), text("not-declared-public"));
    spec.settings.command = Some(
        [
            "sh",
            "-c",
            "echo $TOKEN; echo $ALSO; echo it begins; exec sleep 3600",
        ]
        .map(str::to_owned)
        .into(),
    );
    spec.settings.healthcheck = Some(Health::Check(HealthCheck {
        test: ["CMD-SHELL", "echo not yet; exit 1"].map(str::to_owned).into(),
        interval_nanos: Some(300_000_000),
        retries: Some(2),
        ..HealthCheck::default()
    }));
    bed.release(&fence);
    let fence = bed.lock("0123456789ab-2");
    let failed = bed.act(&fence, vec![make(&spec)]);
    let Err(PerformError::Failed { operation, tail, .. }) = failed else {
        panic!("{failed:?}");
    };
    let said = tail.join("\n");
    assert_eq!(operation, "make container trial-app-1");
    for part in [
        "unhealthy",
        "not yet",
        "it begins",
        "the container before it is back",
    ] {
        assert!(said.contains(part), "`{part}` is missing: {said}");
    }
    assert!(
        !said.contains(POISON) && !said.contains("not-declared-public"),
        "{said}"
    );
    let back = bed.inspect(&spec).expect("it is there");
    assert_eq!((back.id, back.state.is_running()), (before.id, true));
    assert_eq!(
        fleet.sh("h1", "docker ps -a --format '{{.Names}}'"),
        "trial-app-1\n"
    );

    // One that ends at once says with which status, and a log that is secret is not shown.
    spec.settings.healthcheck = None;
    spec.settings.command = Some(["sh", "-c", "echo the reason; exit 7"].map(str::to_owned).into());
    spec.is_log_secret = true;
    bed.release(&fence);
    let fence = bed.lock("0123456789ab-3");
    let failed = bed.act(&fence, vec![make(&spec)]);
    let Err(PerformError::Failed { status, tail, .. }) = failed else {
        panic!("{failed:?}");
    };
    let said = tail.join("\n");
    assert_eq!(status, 7, "{said}");
    assert!(
        said.contains("its log is secret, and went with it") && !said.contains("the reason"),
        "{said}"
    );
}

#[test]
fn run_that_was_killed_half_way_is_gone_on_with() {
    let fleet = Fleet::up_with_engines(1);
    let bed = Bed::new(&fleet, "root");
    let mut spec = sleeper("app");
    let fence = bed.lock("0123456789ab-1");
    bed.act(&fence, vec![make(&spec)]).expect("it can be made");
    bed.release(&fence);
    spec.settings.command = Some(vec!["sleep".to_owned(), "4000".to_owned()]);
    // As a kill between setting aside and making leaves it, and as one after a making that nobody started leaves it.
    for half in [
        "docker rename trial-app-1 trial-app-1.muster-old",
        "docker rename trial-app-1 trial-app-1.muster-old
         docker create --name trial-app-1 --label dev.muster.run=0123456789ab-0 box:1 sleep 1",
    ] {
        let run = format!("0123456789ab-{}", half.len());
        fleet.sh("h1", half);
        let fence = bed.lock(&run);
        bed.act(&fence, vec![make(&spec)]).expect("it goes on");
        bed.release(&fence);
        assert_eq!(
            fleet.sh("h1", "docker ps -a --format '{{.Names}}'"),
            "trial-app-1\n"
        );
        assert_eq!(
            fleet.sh(
                "h1",
                "docker inspect -f '{{.Config.Cmd}} {{.State.Running}}' trial-app-1"
            ),
            "[sleep 4000] true\n"
        );
    }
}

#[test]
fn run_that_lost_the_host_changes_nothing_more() {
    let fleet = Fleet::up_with_engines(1);
    let bed = Bed::new(&fleet, "root");
    let other = Bed::new(&fleet, "root");
    let spec = sleeper("app");
    let first = bed.lock("0123456789ab-1");
    bed.act(&first, vec![make(&spec)]).expect("it can be made");
    fleet.sh("h1", "sed -i 's/^until .*/until 1/' /var/lib/muster/fence");
    let second = other.lock("0123456789ab-2");
    let late = bed.act(&first, vec![EngineOp::RemoveContainer("trial-app-1".to_owned())]);
    assert!(late.is_err(), "{late:?}");
    assert!(other.inspect(&spec).expect("it is there").state.is_running());
    other
        .act(&second, vec![EngineOp::RemoveContainer("trial-app-1".to_owned())])
        .expect("who has the host may");
}
