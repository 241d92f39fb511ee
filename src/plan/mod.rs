//! The plan: one pure function decides everything that a run does.

pub mod change;
