//! The planner, pure: what people declare and what was seen go in, a plan comes out. Nothing here reads a clock.

pub mod values;
