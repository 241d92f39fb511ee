//! The project tree: its files, projects, settings and inputs, and the scope of a run.
//!
//! This module does no I/O. Other modules read the files and pass their content.

pub mod changed;
pub(crate) mod dns;
pub(crate) mod field_rule;
pub mod files;
pub mod inputs;
pub mod path;
pub(crate) mod pointer;
pub mod scope;
pub mod settings;
pub mod snapshot;
pub mod target;
pub mod tree;
pub mod values;
