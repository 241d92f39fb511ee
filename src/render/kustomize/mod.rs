//! Renders kustomizations with the real kustomize.
//!
//! This module does not start kustomize. It decides which files a build needs and how kustomize is started, and it reads
//! the output.

mod closure;
mod entry;
mod output;
mod references;

pub(super) use entry::{Entry, Survey, is_kustomization, is_own};
pub(super) use output::Reader as OutputReader;
