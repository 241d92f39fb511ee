//! The record of owned objects: its content, its wire form, and how a run changes it.
//!
//! Pure: reading and writing the Secret is elsewhere.

pub mod codec;
pub mod commits;
pub mod done;
pub mod inspect;
pub mod lateness;
pub mod payload;
pub mod provenance;
pub mod rename;
pub mod shard;
pub mod transition;
