//! The way to a host: a connection, a root shell on it, and what ops and probes become there.
//!
//! [`shell`] is the seam: below it are connections (SSH, this machine), above it is the only place where a command
//! is spelled. Knows nothing of resources, plans or rollouts.

pub mod shell;
