//! What a run is allowed to do.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::change::Reason;
use crate::object::ident::ObjectKey;
use crate::object::live::Live;
use crate::object::mark::PROJECT;
use crate::project::field_rule::FieldRule;
use crate::project::path::{InvalidName, ProjectPath, Segment};
use crate::project::tree::Cleanup;

/// The part of the sources that is known. Nothing is deleted unless all of it is, and is the latest there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceCoverage {
    /// Everything.
    Complete,
    /// At least one source of the tree could not be rendered, in scope or not.
    Failed,
    /// The tree that this one is compared with could not be read.
    BaseUnknown,
    /// The branch has, or may have, later ones.
    LaterCommits,
}

impl SourceCoverage {
    /// The reason for which nothing may be deleted.
    pub fn prevents_deletion(self) -> Option<Reason> {
        match self {
            Self::Complete => None,
            Self::Failed => Some(Reason::Withheld("a source of the tree cannot be rendered".to_owned())),
            Self::LaterCommits => Some(Reason::LaterCommits),
            Self::BaseUnknown => {
                Some(Reason::Withheld("the tree that this one is compared with cannot be read".to_owned()))
            }
        }
    }
}

/// Which deletions were reviewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reviewed {
    /// No review is asked for: the caller consents otherwise, or the plan is itself what is reviewed.
    NotRequired,
    /// These alone may be deleted.
    Only(Shown),
}

/// What the plans of merged pull requests showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Objects that would be deleted for good, each with the pull request whose plan showed it.
    pub deleted: BTreeMap<ObjectKey, u64>,
    /// Objects that would be deleted and created anew, each with the pull request whose plan showed it.
    pub replaced: BTreeMap<ObjectKey, u64>,
}

impl Reviewed {
    /// Whether the object may be deleted for good.
    pub fn shows_deletion(&self, key: &ObjectKey) -> bool {
        self.shows(|shown| shown.deleted.contains_key(key))
    }

    /// Whether the object may be deleted and created anew.
    pub fn shows_replacement(&self, key: &ObjectKey) -> bool {
        self.shows(|shown| shown.replaced.contains_key(key))
    }

    /// The pull request whose plan showed the deletion; nothing where no review is asked for.
    pub fn deletion_shown_by(&self, key: &ObjectKey) -> Option<u64> {
        self.shown_by(|shown| shown.deleted.get(key))
    }

    /// The pull request whose plan showed the replacement; nothing where no review is asked for.
    pub fn replacement_shown_by(&self, key: &ObjectKey) -> Option<u64> {
        self.shown_by(|shown| shown.replaced.get(key))
    }

    fn shown_by<'a>(&'a self, find: impl Fn(&'a Shown) -> Option<&'a u64>) -> Option<u64> {
        match self {
            Self::NotRequired => None,
            Self::Only(shown) => find(shown).copied(),
        }
    }

    fn shows(&self, is_shown: impl Fn(&Shown) -> bool) -> bool {
        match self {
            Self::NotRequired => true,
            Self::Only(shown) => is_shown(shown),
        }
    }
}

/// What happens to a live object without a mark that a manifest names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adoption {
    /// It becomes ours.
    Allowed,
    /// It is blocked.
    Refused,
}

/// What may be taken from another root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TakeOver {
    /// Every desired object that is marked by this root.
    Root(Segment),
    /// The object whose key is displayed so: `ConfigMap shop/web`.
    Object(String),
}

impl FromStr for TakeOver {
    type Err = InvalidName;

    /// A key has a space in it, a root's name has none.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words.as_slice() {
            [kind, name] => Ok(Self::Object(format!("{kind} {name}"))),
            _ => Segment::new(text).map(Self::Root),
        }
    }
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
    /// The part of the sources that is known.
    pub sources: SourceCoverage,
    /// Which deletions were reviewed.
    pub reviewed: Reviewed,
    /// Whether unmarked live objects become ours.
    pub adoption: Adoption,
    /// Which objects of other roots become ours.
    pub take_over: Vec<TakeOver>,
    /// Which fields are left to other managers or taken from them.
    pub fields: Vec<FieldRule>,
    /// The managers whose whole objects count as ours.
    pub adopt_managers: Vec<String>,
    /// The namespace of state and lock.
    pub state_namespace: String,
    /// Allows an empty desired set.
    pub allow_empty: Gate,
    /// Allows deleting more than a tenth of the root.
    pub allow_mass_deletion: Gate,
    /// Allows deleting and creating anew what cannot be changed in place.
    pub allow_replacement: Gate,
    /// Allows deleting namespaces.
    pub allow_namespace_deletion: Gate,
    /// Allows deleting CRDs.
    pub allow_crd_deletion: Gate,
    /// Allows deleting persistent volumes and their claims.
    pub allow_volume_deletion: Gate,
    /// Allows deleting what others have in a namespace or of a CRD that is deleted.
    pub allow_foreign_deletion: Gate,
}

impl Policy {
    /// The defaults for a root whose cleanup is as given.
    pub fn new(cleanup: Cleanup, state_namespace: &str) -> Self {
        Self {
            cleanup,
            sources: SourceCoverage::Complete,
            reviewed: Reviewed::NotRequired,
            adoption: Adoption::Allowed,
            take_over: Vec::new(),
            fields: Vec::new(),
            adopt_managers: Vec::new(),
            state_namespace: state_namespace.to_owned(),
            allow_empty: Gate::Closed,
            allow_mass_deletion: Gate::Closed,
            allow_replacement: Gate::Closed,
            allow_namespace_deletion: Gate::Closed,
            allow_crd_deletion: Gate::Closed,
            allow_volume_deletion: Gate::Closed,
            allow_foreign_deletion: Gate::Closed,
        }
    }

    /// Whether an object of another root may become ours.
    pub fn takes_over(&self, key: &ObjectKey, live: &Live) -> bool {
        let owner = live.annotation(PROJECT).and_then(|text| text.parse::<ProjectPath>().ok());
        let owner = owner.map(|project| project.root());
        self.take_over.iter().any(|taken| match taken {
            TakeOver::Root(root) => owner.as_ref() == Some(root),
            TakeOver::Object(text) => *text == key.to_string(),
        })
    }
}
