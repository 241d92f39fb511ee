//! The `git` binary: commits, trees, changed paths.
//!
//! Adapter: runs git, decides nothing.
