//! The plan: one pure function decides everything that a run does.

pub mod align;
pub mod blocking;
pub mod build;
pub mod change;
pub mod cleanup;
pub mod cohabiting;
pub mod collateral;
pub mod diff;
pub mod digest;
pub mod embedded;
pub mod field_rules;
pub mod guard;
pub mod leftover_fields;
pub mod message_redaction;
pub mod migration;
pub mod observed;
pub mod obstacle;
pub mod offline;
pub mod outcome;
pub mod policy;
pub mod remedy;
pub mod schema;
pub mod unchanged;
pub mod unchecked;
pub mod unreadable_fields;
pub mod unready;
