//! A pretend fleet: hosts, faults and time, behind the same traits as the real one.
//!
//! The planner and the driver that run against it are the real ones. Hosts understand ops and probes themselves, so what is
//! left out is the shell: how an op is spelled is tried against real hosts, and `tests/conformance` holds the two to each other.
//!
//! Nothing here reads a clock or waits. Whatever takes time stands in one queue; the world goes from one moment to the next, and
//! the seed of its [`dice`] says how long everything takes, and so who ends next. One seed is one run, for ever.

mod account;
pub mod dice;
mod engine;
mod estimate;
pub mod fault;
mod guard;
mod host;
mod look;
mod pace;
mod rehearsal;

mod session;
mod station;
mod switch;
mod unit;
mod veil;
mod work;
mod world;

pub use account::Account;
pub use engine::{Container, Engine};
pub use guard::{Guarded, Lock, Reservation};
pub use host::{Host, Kind, Node, Scripted, fill};

pub use rehearsal::{Rehearsal, rehearse};
pub use session::{Boundary, Fate, Session};
pub use station::{Deed, Happened, Station};
pub use switch::Switch;
pub use unit::Unit;
pub use veil::Veil;
pub use world::{Stuck, World};
