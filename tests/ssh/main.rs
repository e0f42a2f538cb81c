//! The SSH transport against real sshds, each private to one test.

mod client;
mod faults;
mod gate;
mod host_key;
mod jump;
mod login;
#[path = "../support/plans.rs"]
#[allow(dead_code)]
mod plans;
mod root;
mod run;
mod sshd;
mod trips;
