//! muster against real hosts: sshd, systemd, apt, sudo. See `tests/fleet/README.md` for what they are.

mod apply;
#[path = "../docs/block.rs"]
mod block;
mod controller;
mod deadman;
mod docs;
mod fence;
mod fleet;
mod hostile;
mod kinds;
mod lesson;
mod login;
mod looks;
mod ownership;
mod restarts;
mod rollback;
mod verbs;
