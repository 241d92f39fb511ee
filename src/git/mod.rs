//! The `git` program: commits, trees and changed paths.
//!
//! This module is an adapter. It runs git and decides nothing. Paths consist of the bytes that git has, and git
//! separates the paths of a list with NUL.

pub(crate) mod changed;
mod command;
pub mod commit;
mod discovery;
pub mod error;
pub mod history;
pub(crate) mod remote;
pub mod repository;
pub mod tree;
pub mod worktree;
