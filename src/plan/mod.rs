//! The plan: one pure function decides everything that a run does.

pub mod align;
pub mod build;
pub mod change;
pub mod cleanup;
pub mod content;
pub mod diff;
pub mod digest;
pub mod embedded;
pub mod field_rules;
pub mod guard;
pub mod leftover;
pub mod migration;
pub mod observed;
pub mod obstacle;
pub mod offline;
pub mod outcome;
pub mod policy;
pub mod remedy;
pub mod retired;
pub mod schema;
pub mod stops;
pub mod telling;
pub mod twins;
pub mod unchanged;
pub mod unchecked;
pub mod unready;
