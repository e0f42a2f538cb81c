//! Runs of drawn fleets with drawn faults: the real planner and the real driver against a pretend fleet, and after each run the laws.
//!
//! `MUSTER_SIM_RUNS` says how many seeds are run, `MUSTER_SIM_SEED` runs one and tells of it. A seed that fails is kept in
//! `tests/stories/seeds` with the fewest of its faults that still break the law, and is run first from then on.

#[path = "../planner_laws/draw.rs"]
mod draw;
#[path = "../support/host.rs"]
mod host;
#[path = "../support/pretend.rs"]
#[allow(dead_code)]
mod pretend;
#[path = "../support/scenes.rs"]
mod scenes;
#[path = "../support/trip.rs"]
mod trip;
#[path = "../planner_laws/world.rs"]
#[allow(dead_code)]
mod world;

mod kills;
mod laws;
mod run;
mod scenario;
mod seeds;
