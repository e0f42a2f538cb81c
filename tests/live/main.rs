//! muster against real hosts: sshd, systemd, apt, sudo. See `tests/fleet/README.md` for what they are.

mod apply;
mod fleet;
mod kinds;
mod login;
mod ownership;
