//! Renders Helm releases with the real Helm.
//!
//! This module does not start Helm. It decides which files a release needs and how Helm is started, and it reads the
//! output.
//!
//! A release file is read as it is. Values in it that come from templates are replaced before [`release::read`] in
//! future, and refused there until then.

mod actions;
mod archive;
mod capabilities;
mod chart;
mod entry;
mod hooks;
mod opened;
mod output;
mod release;
mod schema;

pub(super) use archive::Archive;
pub(super) use capabilities::defined;
pub(super) use entry::{Entry, Survey, chart_directories, is_in};
pub(super) use output::{Found, documents, random, refusal};
