//! The guards. A guard keeps objects from deletion until the caller opens it, or refuses a tree that is in doubt.

use crate::state::provenance::Provenance;

/// A reason to refuse the run as a whole: the tree is in doubt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TreeDoubt {
    /// The tree has no desired object at all, but objects would be deleted.
    Empty {
        /// The number of objects that would be deleted.
        deleted: usize,
    },
    /// More than half of the live objects would be deleted.
    MoreThanHalf {
        /// The number of objects that would be deleted.
        deleted: usize,
        /// The number of recorded objects that are live and ours.
        live: usize,
    },
    /// The configured namespace of the state is not the one that contains the state.
    StateMoved {
        /// The namespace that contains the state.
        from: String,
        /// The configured namespace.
        to: String,
    },
    /// The tree comes from another place than the state says.
    Elsewhere {
        /// The recorded place.
        recorded: Provenance,
        /// The place of this tree.
        here: Provenance,
    },
    /// The tree is read for another target than the state says.
    OtherTarget {
        /// The recorded target.
        recorded: String,
        /// The target of this run, if the tree declares targets.
        here: Option<String>,
    },
}

impl TreeDoubt {
    /// The guard that refuses the run.
    pub fn guard(&self) -> Guard {
        match self {
            Self::Empty { .. } => Guard::EmptyDesired,
            Self::MoreThanHalf { .. } => Guard::MassDeletion,
            Self::StateMoved { .. } => Guard::StateNamespace,
            Self::Elsewhere { .. } => Guard::Relocation,
            Self::OtherTarget { .. } => Guard::Retarget,
        }
    }
}

/// The guards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Guard {
    /// The tree has no desired object at all, but something would be deleted.
    EmptyDesired,
    /// More than half of the root would be deleted, or one pull request would delete more than a tenth of it.
    MassDeletion,
    /// An object would be deleted and created anew.
    Replacement,
    /// A namespace would be deleted.
    Namespace,
    /// A CRD would be deleted.
    Crd,
    /// A persistent volume or a persistent volume claim would be deleted.
    Volume,
    /// The configured namespace of the state is not the one that contains the state.
    StateNamespace,
    /// The tree comes from another repository or directory than the state says.
    Relocation,
    /// The tree is read for another target than the state says.
    Retarget,
    /// Deleting a namespace or a CRD would also delete objects that the plan does not delete, or objects that could not
    /// be listed.
    Foreign,
}

/// A row of the table of guards.
struct Rule {
    name: Option<&'static str>,
    prevents: &'static str,
    sentence: &'static str,
}

impl Guard {
    /// Every guard.
    pub const ALL: [Self; 10] = [
        Self::EmptyDesired,
        Self::MassDeletion,
        Self::Replacement,
        Self::Namespace,
        Self::Crd,
        Self::Volume,
        Self::Foreign,
        Self::StateNamespace,
        Self::Relocation,
        Self::Retarget,
    ];

    /// The guard's row in the table of guards.
    fn rule(self) -> Rule {
        let (name, prevents, sentence) = match self {
            Self::EmptyDesired => {
                (Some("empty"), "deletions when the tree contains no manifests", "the tree contains no manifests")
            }
            Self::MassDeletion => (
                Some("mass-deletion"),
                "deleting more than a tenth of the root's objects, and more than ten, in one pull request",
                "one change deletes more than a tenth of the root",
            ),
            Self::Replacement => (
                Some("replacement"),
                "deleting and recreating objects that cannot be changed in place",
                "it would be deleted and recreated",
            ),
            Self::Namespace => {
                (Some("namespace-deletion"), "deleting namespaces", "deleting a namespace deletes all that it holds")
            }
            Self::Crd => (Some("crd-deletion"), "deleting CRDs", "deleting a CRD deletes all its custom resources"),
            Self::Volume => (
                Some("volume-deletion"),
                "deleting PersistentVolumes and PersistentVolumeClaims",
                "deleting it may delete stored data",
            ),
            Self::Foreign => (
                Some("foreign-deletion"),
                "deleting a namespace or a CRD together with objects in it that are outside the plan",
                "deleting it would also delete objects outside the plan",
            ),
            Self::StateNamespace => (None, "", "the state's namespace changes"),
            Self::Relocation => (None, "", "the tree comes from another repository or directory"),
            Self::Retarget => (None, "", "the run is for another target"),
        };
        Rule { name, prevents, sentence }
    }

    /// The name that allows what the guard prevents: `volume-deletion`. A guard without a name cannot be opened by
    /// name.
    pub fn name(self) -> Option<&'static str> {
        self.rule().name
    }

    /// The operation that the guard prevents, to read after "Allow".
    pub fn prevents(self) -> &'static str {
        self.rule().prevents
    }

    /// The reason of the guard, to read after "kept".
    pub fn sentence(self) -> &'static str {
        self.rule().sentence
    }

    /// The guards that a caller can open by name, each with its name.
    pub fn named() -> impl Iterator<Item = (Self, &'static str)> {
        Self::ALL.into_iter().filter_map(|guard| Some((guard, guard.name()?)))
    }
}
