//! The host's guard: the real scripts, run by this machine's own shell as root, with their files in a folder of each test.

mod bed;
mod exec;
mod gate;
mod hold;
mod lock;
mod look;
mod manifest;
mod ops;
mod reserve;
mod switch;
mod undo;
