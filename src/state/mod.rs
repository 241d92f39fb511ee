//! The state of a root, which records the owned objects: its content, its encoding, and its changes during a run.
//!
//! This module does no I/O. Other modules read and write the Secret.

pub(crate) mod annotation;
pub mod codec;
pub mod commits;
pub(crate) mod done;
pub mod error;
pub mod freeze;
pub(crate) mod gzip;
pub(crate) mod inspect;
pub mod lateness;
pub mod payload;
pub mod provenance;
pub(crate) mod rename;
pub mod shard;
pub mod target;
pub mod transition;
