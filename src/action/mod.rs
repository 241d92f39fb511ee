//! The workflow: dispatches on the event, plans a pull request, applies a push, and writes the comments. It is the only
//! place where a plan becomes a comment.
//!
//! This module knows no command line, environment or terminal: the caller passes them as [`options`].

pub(crate) mod dispatch;
pub(crate) mod options;
pub(crate) mod summary;

mod apply;
mod baseline;
mod chatops;
mod command;
mod consent;
mod drift;
mod job;
mod landed;
mod merge;
mod plan_file;
mod pull_request;
mod reporter;
mod rerun;
mod server;
mod status;
