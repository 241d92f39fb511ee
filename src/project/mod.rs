//! The project tree: names, directories, settings and scope.
//!
//! Pure: it is given files as bytes and never reads one.

pub mod changed;
pub(crate) mod dns;
pub(crate) mod field_rule;
pub mod files;
pub mod inputs;
pub mod path;
pub(crate) mod pointer;
pub mod scope;
pub(crate) mod settings;
pub mod snapshot;
pub mod tree;
