//! The commands, one file each. A command turns its arguments into requests, and prints the results.

pub(crate) mod action;
pub(crate) mod apply;
pub(crate) mod confine;
pub(crate) mod drift;
pub(crate) mod freeze;
pub(crate) mod lock;
pub(crate) mod plan;
pub(crate) mod render;
pub(crate) mod scope;
pub(crate) mod state;
pub(crate) mod targets;
pub(crate) mod unlock;
