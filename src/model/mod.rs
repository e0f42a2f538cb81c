//! The nouns of muster: plain data with parse and display, and no logic.
//!
//! Every other room speaks in these types. Nothing here reads a clock, a file or the network, and nothing here
//! uses another room. Start with [`inventory`] and [`module`] (what people declare), [`observation`] and
//! [`manifest`] (what hosts say), [`change`], [`op`] and [`plan`] (what muster decides), [`event`] (what came of it).

pub mod aim;
pub mod body;
pub mod change;
pub mod code;
pub mod container;
pub mod container_part;
pub mod diagnostic;
pub mod digest;
pub mod engine;
pub mod event;
pub mod gate;
pub mod holder;
pub mod hook;
pub mod id;
pub mod inspected;
pub mod inventory;
pub mod known;
pub mod manifest;
pub mod manifest_text;
pub mod module;
pub mod network;
pub mod observation;
pub mod op;
mod op_text;
pub mod plan;
pub mod pulling;
pub mod quantity;
pub mod redaction;
pub mod registry;
pub mod secret;
pub mod selector;
pub mod switch;
pub mod target;
pub mod undo;
pub mod value;
pub mod volume;
pub mod wave;
