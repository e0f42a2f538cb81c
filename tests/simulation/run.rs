//! One seed from its plan to its end, with every law on the way.

use muster::model::event::Event;
use muster::model::id::HostId;
use muster::model::plan::Plan;
use muster::sim::fault::{Fault, What};
use muster::sim::{Deed, Station};

use crate::host::{SECRET, secrets};
use crate::laws::{self, Broken};
use crate::scenario::{Scenario, foreign, scenario};
use crate::trip::{End, Quiet, Trip};

/// What a seed came to, for the sums.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Came {
    pub ops: u64,
    pub struck: usize,
    /// How each of its sessions ended; `None` where it was refused or killed.
    pub exits: Vec<Option<u8>>,
    pub undone: usize,
    pub shut: usize,
    /// Dead-man switches: armed, confirmed by a new login, and come to their time.
    pub armed: usize,
    pub confirmed: usize,
    pub restored: usize,
}

/// Runs a seed.
///
/// # Errors
/// The law that it breaks.
pub fn run(seed: u64, keep: Option<&[usize]>) -> Result<Came, Broken> {
    let mut scene = scenario(seed, keep);
    let plan = scene.plan.clone();
    let before = scene.world.hosts();
    let mut trip = Trip::new(&scene.world, &plan, "0123456789ab-1", secrets());
    let mut end = trip.begin(&mut Quiet);
    let mut exits = vec![exit(&end)];
    check(&scene, &trip, &end)?;
    while is_open(&trip, &end) && exits.len() < 6 {
        // Leases end, hosts come back; from the third session on nothing more goes wrong.
        scene.world.pass(100).map_err(|error| error.to_string())?;
        if exits.len() == 2 {
            scene.world.heal();
        }
        end = trip.resume(&mut Quiet);
        exits.push(exit(&end));
        check(&scene, &trip, &end)?;
    }
    let is_touched = |fault: &Fault| matches!(fault.what, What::ByHand | What::OtherRun);
    if !scene.faults.iter().any(is_touched) {
        laws::put_back(&plan, &trip.events(), &before, &scene.world.hosts())?;
    }
    scene.world.heal();
    scene.world.pass(700).map_err(|error| error.to_string())?;
    stale(&scene, &plan, &trip)?;
    converges(&mut scene, &trip, &end)?;
    let happened = scene.world.happened();
    let struck = happened
        .iter()
        .filter(|happened| matches!(happened.deed, Deed::Struck(_)));
    let events = trip.events();
    let count = |is_one: &dyn Fn(&Event) -> bool| events.iter().filter(|event| is_one(event)).count();
    Ok(Came {
        ops: scene.world.hosts().values().map(|station| station.ops).sum(),
        struck: struck.count(),
        exits,
        undone: count(&|event| matches!(event, Event::Undone { error: None, .. })),
        shut: count(&|event| matches!(event, Event::GateSaid { open: false, .. })),
        armed: count(&|event| matches!(event, Event::Armed { .. })),
        confirmed: count(&|event| matches!(event, Event::Confirmed { .. })),
        restored: count(&|event| matches!(event, Event::Restored { .. })),
    })
}

fn exit(end: &End) -> Option<u8> {
    match end {
        End::Ended(outcome) => Some(outcome.exit),
        End::Refused(_) | End::Killed | End::Left => None,
    }
}

fn is_open(trip: &Trip<'_>, end: &End) -> bool {
    match end {
        End::Refused(_) => false,
        End::Killed | End::Left => !trip.lines.is_empty(),
        End::Ended(_) => trip.recorded().is_unfinished(),
    }
}

fn check(scene: &Scenario, trip: &Trip<'_>, end: &End) -> Result<(), Broken> {
    if std::env::var_os("MUSTER_SIM_SEED").is_some() {
        eprintln!("{}\n{end:?}", trip.lines.join("\n"));
    }
    laws::course(trip.plan, &trip.events())?;
    laws::replays(trip, end)?;
    let happened = scene.world.happened();
    laws::once(trip.plan, &happened, scene.faults.iter().any(disturbs))?;
    let manifests: Vec<_> = scene
        .world
        .hosts()
        .into_values()
        .map(|station| station.guarded.manifest)
        .collect();
    laws::no_secret(
        SECRET,
        &[
            (
                "the plan",
                serde_json::to_string(trip.plan).expect("a plan is plain data"),
            ),
            ("the journal", trip.lines.join("\n")),
            ("the end", format!("{end:?}")),
            ("what happened", format!("{happened:?}")),
            (
                "a manifest",
                serde_json::to_string(&manifests).expect("manifests are plain data"),
            ),
        ],
    )?;
    if foreign(&scene.world) != scene.foreign {
        return Err(format!(
            "foreign: {:?} became {:?}",
            scene.foreign,
            foreign(&scene.world)
        ));
    }
    Ok(())
}

/// Says whether a fault makes work undone or unseen, so that it rightly has its effect again.
fn disturbs(fault: &Fault) -> bool {
    match fault.what {
        What::ByHand | What::OtherRun | What::Reboot | What::Lies => true,
        What::Unreachable
        | What::LostRequest
        | What::LostAnswer
        | What::FullDisk
        | What::Slow
        | What::Fails
        | What::Garbage
        | What::GateShut
        | What::Interrupt
        | What::InterruptTwice
        | What::Kill
        | What::Pause => false,
    }
}

/// The plan again, by another run: it changes nothing where this one was at work.
fn stale(scene: &Scenario, plan: &Plan, trip: &Trip<'_>) -> Result<(), Broken> {
    let touched = |station: &Station| {
        let manifest = station.guarded.manifest.as_ref();
        manifest.is_some_and(|manifest| manifest.last_run.as_ref() == Some(&trip.run))
    };
    let hosts = scene.world.hosts();
    let touched: Vec<&HostId> = hosts
        .iter()
        .filter(|(_, station)| touched(station))
        .map(|(id, _)| id)
        .collect();
    if touched.is_empty() || touched.iter().all(|host| !plan.basis.contains_key(*host)) {
        return Ok(());
    }
    // Where the plan only records, nothing is looked at before its host is locked.
    let is_changed = touched
        .iter()
        .any(|host| plan.changes.keys().any(|id| id.host == **host));
    let mut again = Trip::new(&scene.world, plan, "0123456789ab-2", secrets());
    let looked = again.begin(&mut Quiet);
    let is_refused = match &looked {
        End::Refused(_) => true,
        End::Ended(outcome) => !is_changed && (outcome.exit == 6 || !plan.changes.is_empty()),
        End::Killed | End::Left => false,
    };
    if !is_refused {
        return Err(format!("stale: the plan was not refused again: {looked:?}"));
    }
    let from = scene.world.happened().len();
    let mut forced = Trip::new(&scene.world, plan, "0123456789ab-3", secrets());
    forced.force(&mut Quiet);
    scene.world.pass(100).map_err(|error| error.to_string())?;
    for happened in &scene.world.happened()[from..] {
        let is_here = happened.host.as_ref().is_some_and(|host| touched.contains(&host));
        if is_here && matches!(happened.deed, Deed::Done { .. }) {
            return Err(format!("stale: an old plan did {happened:?}"));
        }
    }
    Ok(())
}

/// With nothing wrong any more, a new plan brings everything about, and the one after it is empty.
fn converges(scene: &mut Scenario, trip: &Trip<'_>, end: &End) -> Result<(), Broken> {
    let next = scene.plan_again();
    let is_clean = matches!(end, End::Ended(outcome) if outcome.exit == 0)
        && !scene
            .faults
            .iter()
            .any(|fault| matches!(fault.what, What::ByHand | What::OtherRun | What::Reboot));
    if is_clean {
        let left: Vec<_> = next
            .changes
            .values()
            .filter(|change| trip.plan.changes.contains_key(&change.target))
            .collect();
        if !left.is_empty() {
            return Err(format!("settled: everything was applied, and again: {left:?}"));
        }
    }
    let mut round = next;
    let mut ends = Vec::new();
    for number in 4..8 {
        if round.changes.is_empty() && round.takes.is_empty() {
            return Ok(());
        }
        let run = format!("0123456789ab-{number}");
        let mut trip = Trip::new(&scene.world, &round, &run, secrets());
        let end = trip.begin(&mut Quiet);
        laws::course(&round, &trip.events())?;
        laws::replays(&trip, &end)?;
        let End::Ended(outcome) = &end else {
            return Err(format!("converges: {end:?}"));
        };
        if !outcome.failed.is_empty() {
            return Err(format!("converges: {:?} {}", outcome, trip.lines.join("\n")));
        }
        ends.push(trip.lines.join("\n"));
        scene.world.pass(100).map_err(|error| error.to_string())?;
        round = scene.plan_again();
    }
    let left: Vec<_> = round
        .changes
        .values()
        .map(|change| (change.target.to_string(), &change.reasons, &change.fields))
        .collect();
    Err(format!(
        "converges: after four more rounds there is still {left:?}, {:?}; the rounds ended {}",
        round.takes,
        ends.join("\n")
    ))
}
