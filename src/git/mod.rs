//! The `git` binary: commits, trees, changed paths.
//!
//! Adapter: runs git, decides nothing. Paths are bytes as git has them; every list comes NUL-separated.

pub mod changed;
mod command;
pub mod commit;
mod discovery;
pub mod error;
pub mod history;
pub mod remote;
pub mod repository;
pub mod tree;
pub mod worktree;

pub use command::reads_variable;
