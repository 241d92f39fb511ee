//! The options of a run as plain values. The command line and other callers produce them.

use std::collections::BTreeSet;

use crate::git::commit::Commit;
use crate::object::redact::Adopted;
use crate::plan::guard::Guard;
use crate::plan::policy::{Adoption, TakeOver};
use crate::project::path::ProjectPath;
use crate::project::pointer::Pointer;
use crate::project::tree::Cleanup;
use crate::state::provenance::Relocation;

/// The projects that a run covers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ScopeOptions {
    /// The projects to cover, with the projects below them. If empty, all projects.
    pub include: Vec<ProjectPath>,
    /// The projects to leave out, with the projects below them.
    pub exclude: Vec<ProjectPath>,
}

/// The parts of a plan that a run allows, refuses, hides or shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PolicyOptions {
    /// The adoption of live objects that have no mark.
    pub adoption: Adoption,
    /// The roots and objects to take over.
    pub take_over: Vec<TakeOver>,
    /// The cleanup, if it is not the one of the root's settings.
    pub cleanup: Option<Cleanup>,
    /// The guards that are opened.
    pub allowed: BTreeSet<Guard>,
    /// The permission for a tree that comes from another place than the recorded one.
    pub relocation: Relocation,
    /// The pointers of more fields to hide.
    pub redact: Vec<Pointer>,
    /// The display of live values of objects that are about to be adopted.
    pub adopted: Adopted,
}

/// The commits that a run may apply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HistoryOptions {
    /// The branch whose commits are applied. If absent, the repository's default branch.
    pub apply_ref: Option<String>,
    /// The commit that is applied although it does not descend from the last applied commit.
    pub accepted: Option<Commit>,
}
