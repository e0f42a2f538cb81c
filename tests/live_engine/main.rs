//! Real Docker engines on real hosts: what a look says of them, and what each op makes of them.

#[path = "../live/fleet.rs"]
#[allow(dead_code)]
mod fleet;

mod bed;
mod calls;
mod containers;
mod drift;
mod equal;
mod kinds;
mod logs;
mod module;
mod old_tool;
mod once;
mod pin;
mod project;
mod pulls;
mod registry;
mod turnstile;
mod versions;
mod ways;
