//! The plan: one pure function decides everything that a run does.

pub(crate) mod align;
pub(crate) mod blocking;
pub mod build;
pub mod change;
pub(crate) mod cleanup;
pub(crate) mod cohabiting;
pub(crate) mod collateral;
pub(crate) mod diff;
pub(crate) mod digest;
pub(crate) mod embedded;
pub(crate) mod field_rules;
pub mod guard;
pub(crate) mod leftover_fields;
pub(crate) mod message_redaction;
pub(crate) mod migration;
pub mod observed;
pub(crate) mod obstacle;
pub(crate) mod offline;
pub mod outcome;
pub mod policy;
pub(crate) mod remedy;
pub(crate) mod schema;
pub mod unchanged;
pub(crate) mod unchecked;
pub(crate) mod unreadable_fields;
pub(crate) mod unready;
