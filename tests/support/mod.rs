//! What several suites share: plans made by hand, and a fleet in memory.
// Each suite is a program of its own and uses a part of this.
#![allow(dead_code)]

pub mod fleet;
pub mod plans;
