//! What a run is allowed to do.

use std::collections::BTreeSet;

use crate::object::ident::ObjectKey;
use crate::project::tree::Cleanup;

/// Whether every source of the tree could be rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sources {
    /// All of them.
    Complete,
    /// At least one failed, in scope or not: nothing may be deleted.
    Failed,
}

/// Which deletions were reviewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reviewed {
    /// No review is asked for: the caller consents otherwise, or the plan is itself what is reviewed.
    NotRequired,
    /// These alone may be deleted.
    Only(BTreeSet<ObjectKey>),
}

/// What happens to a live object without a mark that a manifest names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adoption {
    /// It becomes ours.
    Allowed,
    /// The run is refused.
    Refused,
}

/// The guards that the caller opens, each by its own name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gate {
    /// The guard holds.
    #[default]
    Closed,
    /// The caller named its override.
    Open,
}

/// What a run is allowed to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether undesired objects are deleted.
    pub cleanup: Cleanup,
    /// Whether every source could be rendered.
    pub sources: Sources,
    /// Which deletions were reviewed.
    pub reviewed: Reviewed,
    /// Whether unmarked live objects become ours.
    pub adoption: Adoption,
    /// The namespace of state and lock.
    pub state_namespace: String,
    /// Allows an empty desired set: `--allow-empty`.
    pub allow_empty: Gate,
    /// Allows deleting more than a tenth of the root: `--allow-mass-deletion`.
    pub allow_mass_deletion: Gate,
    /// Allows deleting namespaces: `--allow-namespace-deletion`.
    pub allow_namespace_deletion: Gate,
    /// Allows deleting CRDs: `--allow-crd-deletion`.
    pub allow_crd_deletion: Gate,
    /// Allows deleting persistent volumes and their claims: `--allow-volume-deletion`.
    pub allow_volume_deletion: Gate,
}

impl Policy {
    /// The defaults for a root whose cleanup is as given.
    pub fn new(cleanup: Cleanup, state_namespace: &str) -> Self {
        Self {
            cleanup,
            sources: Sources::Complete,
            reviewed: Reviewed::NotRequired,
            adoption: Adoption::Allowed,
            state_namespace: state_namespace.to_owned(),
            allow_empty: Gate::Closed,
            allow_mass_deletion: Gate::Closed,
            allow_namespace_deletion: Gate::Closed,
            allow_crd_deletion: Gate::Closed,
            allow_volume_deletion: Gate::Closed,
        }
    }
}
