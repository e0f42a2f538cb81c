//! muster against real hosts: sshd, systemd, apt, sudo. See `tests/fleet/README.md` for what they are.

mod fleet;
mod kinds;
