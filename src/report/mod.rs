//! Values as text and JSON. Decides nothing, reads nothing, prints nothing: every function returns what `cli` prints.
//!
//! A report is a [`line::Page`]: lines with a tone. How a page looks on a terminal, in Markdown or in HTML is said once,
//! there. Text of hosts and files passes through [`escape`] on its way into a line.

pub mod diagnostic;
pub mod drift;
pub mod escape;
pub mod history;
pub mod line;
pub mod lock;
mod pace;
pub mod plan;
pub mod progress;
pub mod rehearsal;
pub mod render;

mod block;
mod container;
mod contents;
mod keyed;
mod names;
mod narration;
mod settings;
mod switch;

#[cfg(test)]
mod sample;

pub use contents::Extent;
