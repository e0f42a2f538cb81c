//! Hostile data in, hostile hosts out: nothing is executed, nothing breaks, nothing wrong is believed.

mod files;
mod frames;
mod keyed;
mod liar;
mod lying;
mod nasty;
#[path = "../support/plans.rs"]
#[allow(dead_code)]
mod plans;
mod quoting;
mod reports;
#[path = "../ssh/sshd.rs"]
#[allow(dead_code)]
mod sshd;
mod stored;
