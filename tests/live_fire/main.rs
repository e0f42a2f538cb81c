//! muster under fire: real hosts that reboot, hang, fill up and are cut off, and a controller that is killed at chosen moments.

mod bed;
mod cut;
#[path = "../live/fleet.rs"]
#[allow(dead_code)] // Shared with the other live suite; each uses its part.
mod fleet;
mod full;
mod identity;
mod inside;
mod killed;
mod link;
mod profile;
mod relay;
mod stopper;
