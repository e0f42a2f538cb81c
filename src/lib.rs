//! muster: a declarative provisioner for fleets that earn on decentralised networks.
//!
//! The path of data, each arrow one function:
//! `load` (files → declared) → `plan::desire` (→ desired) → `observe` (→ observation) → `plan::plan` (→ plan) →
//! `apply::drive`, in which `rollout` decides, a crew performs and a journal remembers.
//!
//! Rooms that decide are pure; rooms that touch the world do not decide. `docs/architecture.md` is the map and
//! `tests/architecture.rs` holds the code to it.

pub mod apply;
pub mod cli;
pub mod clock;
pub mod compose;
pub mod hooks;
pub mod keyed;
pub mod load;
pub mod model;
pub mod observe;
pub mod plan;
pub mod ports;
pub mod report;
pub mod resource;
pub mod rollout;
pub mod sim;
pub mod store;
pub mod transport;
pub mod vault;
