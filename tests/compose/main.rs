//! Compose files: read, compared with what engines said of containers, and held against Debian's docker-compose.
//!
//! `cases/*.case` each have a file that a container was made from (`was`), what the engine then said (`engine`, recorded:
//! docker-compose 1.29 made the container), what is declared now (`now`), what somebody changed by hand (`drift`) and what
//! must come of it (`changes`). `mistakes/*.case` have a file and what is wrong with it.
//!
//! `MUSTER_UPDATE=1` writes what comes of it anew. `MUSTER_RECORD=all` asks a real engine again, with the old tool.

mod case;
mod cases;
mod keys;
mod laws;
mod mistakes;
mod old_tool;
mod record;
mod today;
