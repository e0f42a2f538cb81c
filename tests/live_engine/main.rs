//! Real Docker engines on real hosts: what a look says of them, and what each op makes of them.

#[path = "../live/fleet.rs"]
#[allow(dead_code)]
mod fleet;

#[path = "../live/controller.rs"]
mod controller;

mod bed;
mod broken_pulls;
mod by_hand;
mod calls;
mod containers;
mod drift;
mod equal;
mod fence;
mod fresh;
mod killed;
mod kinds;
mod logs;
mod module;
mod old_tool;
mod once;
mod others;
mod outages;
mod pin;
mod project;
mod pulls;
mod refusals;
mod registry;
mod toll;
mod trial;
mod turnstile;
mod valve;
mod versions;
mod ways;
