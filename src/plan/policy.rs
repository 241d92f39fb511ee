//! The policy: what a run is allowed to do.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use super::decision::{Keep, Withheld};
use super::guard::Guard;
use super::review::NotReviewed;
use crate::object::ident::ObjectKey;
use crate::object::live::Live;
use crate::object::mark::PROJECT;
use crate::project::field_rule::FieldRule;
use crate::project::path::{InvalidName, ProjectPath, Segment};
use crate::project::tree::Cleanup;

/// The part of the sources that is known. A run deletes objects only if all sources are known and are the latest ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceCoverage {
    /// All sources are known.
    Complete,
    /// At least one source of the tree, in scope or not, could not be rendered.
    Failed,
    /// The tree with which this tree is compared could not be read.
    BaseUnknown,
    /// The branch has later commits, or may have.
    LaterCommits,
}

impl SourceCoverage {
    /// The reason that forbids all deletions; `None` if deletions are allowed.
    pub(crate) fn prevents_deletion(self) -> Option<Keep> {
        match self {
            Self::Complete => None,
            Self::Failed => Some(Keep::Withheld(Withheld::SourceFailed)),
            Self::LaterCommits => Some(Keep::LaterCommits),
            Self::BaseUnknown => Some(Keep::Withheld(Withheld::BaseUnreadable)),
        }
    }
}

/// The deletions and replacements that a review covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reviewed {
    /// No review is required, because the caller consents in another way.
    NotRequired,
    /// Only these objects may be deleted or replaced.
    Only(Shown),
    /// This plan is itself the one to review. Its merge deletes and replaces what the plan shows, without these objects.
    Proposed(Proposed),
}

/// The deletions and replacements that the plans of merged pull requests showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The objects to delete for good, each with the number of the pull request whose plan showed it.
    pub deleted: BTreeMap<ObjectKey, u64>,
    /// The objects to delete and create anew, each with the number of the pull request whose plan showed it.
    pub replaced: BTreeMap<ObjectKey, u64>,
    /// The reasons why the deletion or replacement of other objects is not reviewed.
    pub reasons: BTreeMap<ObjectKey, NotReviewed>,
    /// The reason for every object that has none of its own.
    pub otherwise: NotReviewed,
}

impl Default for Shown {
    fn default() -> Self {
        let (deleted, replaced, reasons) = Default::default();
        Self { deleted, replaced, reasons, otherwise: NotReviewed::LeftOver }
    }
}

/// The deletions that a plan shows and that are not its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proposed {
    /// The objects that an earlier commit of the branch removed, and whose deletion the next apply decides about.
    pub pending: BTreeSet<ObjectKey>,
    /// The objects that were left over before. No merge deletes them.
    pub left_over: BTreeSet<ObjectKey>,
}

/// The group of deletions and replacements that a plan counts together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Share {
    /// The deletions that no pull request showed, and those that this plan itself proposes.
    Together,
    /// The deletions that an earlier commit of the branch asked for, and that the next apply decides about.
    Pending,
    /// The deletions that the plan of this pull request showed.
    Pull(u64),
}

impl Reviewed {
    /// Returns the reason why the object may not be deleted for good.
    pub(crate) fn refuses_deletion(&self, key: &ObjectKey) -> Option<NotReviewed> {
        match self {
            Self::NotRequired => None,
            Self::Only(shown) => (!shown.deleted.contains_key(key)).then(|| shown.reason(key)),
            Self::Proposed(proposed) => proposed.left_over.contains(key).then_some(NotReviewed::LeftOver),
        }
    }

    /// Returns the reason why the object may not be deleted and created anew.
    pub(crate) fn refuses_replacement(&self, key: &ObjectKey) -> Option<NotReviewed> {
        match self {
            Self::NotRequired | Self::Proposed(_) => None,
            Self::Only(shown) => (!shown.replaced.contains_key(key)).then(|| shown.reason(key)),
        }
    }

    /// Returns `true` if an earlier commit of the branch asked for the deletion, and not this plan's own change.
    pub(crate) fn is_pending(&self, key: &ObjectKey) -> bool {
        matches!(self, Self::Proposed(proposed) if proposed.pending.contains(key))
    }

    /// The group in which a deletion counts.
    pub(crate) fn deletion_share(&self, key: &ObjectKey) -> Share {
        match self {
            Self::NotRequired => Share::Together,
            Self::Only(shown) => shown.deleted.get(key).map_or(Share::Together, |pull| Share::Pull(*pull)),
            Self::Proposed(_) if self.is_pending(key) => Share::Pending,
            Self::Proposed(_) => Share::Together,
        }
    }

    /// The group in which a replacement counts.
    pub(crate) fn replacement_share(&self, key: &ObjectKey) -> Share {
        match self {
            Self::NotRequired | Self::Proposed(_) => Share::Together,
            Self::Only(shown) => shown.replaced.get(key).map_or(Share::Together, |pull| Share::Pull(*pull)),
        }
    }
}

impl Shown {
    fn reason(&self, key: &ObjectKey) -> NotReviewed {
        self.reasons.get(key).unwrap_or(&self.otherwise).clone()
    }
}

/// The treatment of a live object that has no mark and that a manifest names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adoption {
    /// The object becomes ours.
    Allowed,
    /// The object is blocked.
    Refused,
}

/// The objects of other roots that may become ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TakeOver {
    /// Every desired object that has the mark of this root.
    Root(Segment),
    /// The object with this key in its `Display` form, such as `ConfigMap shop/web`.
    Object(String),
}

impl FromStr for TakeOver {
    type Err = InvalidName;

    /// Parses a key or the name of a root. A key contains a space, the name of a root does not.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words.as_slice() {
            [kind, name] => Ok(Self::Object(format!("{kind} {name}"))),
            _ => Segment::new(text).map(Self::Root),
        }
    }
}

/// The permissions and the settings of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// If on, undesired objects are deleted.
    pub cleanup: Cleanup,
    /// The part of the sources that is known.
    pub sources: SourceCoverage,
    /// The deletions and replacements that a review covers.
    pub reviewed: Reviewed,
    /// The treatment of live objects without a mark.
    pub adoption: Adoption,
    /// The objects of other roots that become ours.
    pub take_over: Vec<TakeOver>,
    /// The fields that are left to other managers or taken from them.
    pub fields: Vec<FieldRule>,
    /// The managers whose fields on our objects become ours.
    pub adopt_managers: Vec<String>,
    /// The names without hash of the generated objects whose newest older generation stays.
    pub keep_previous: BTreeSet<ObjectKey>,
    /// The namespace of the state and the lock.
    pub state_namespace: String,
    /// The guards that the caller opens.
    pub allowed: BTreeSet<Guard>,
    /// The objects for which a consent opens a guard.
    pub consented: BTreeMap<Guard, BTreeSet<ObjectKey>>,
}

impl Policy {
    /// Returns `true` if the caller opened the guard. A guard without a name cannot be opened.
    pub(super) fn opens(&self, guard: Guard) -> bool {
        self.allowed.contains(&guard)
    }

    /// Returns `true` if the caller opened the guard, or a consent opens it for this object.
    pub(super) fn opens_for(&self, guard: Guard, key: &ObjectKey) -> bool {
        self.opens(guard) || self.consented.get(&guard).is_some_and(|objects| objects.contains(key))
    }

    /// The default policy for a root with the given cleanup setting.
    pub fn new(cleanup: Cleanup, state_namespace: &str) -> Self {
        Self {
            cleanup,
            sources: SourceCoverage::Complete,
            reviewed: Reviewed::NotRequired,
            adoption: Adoption::Allowed,
            take_over: Vec::new(),
            fields: Vec::new(),
            adopt_managers: Vec::new(),
            keep_previous: BTreeSet::new(),
            state_namespace: state_namespace.to_owned(),
            allowed: BTreeSet::new(),
            consented: BTreeMap::new(),
        }
    }

    /// Returns `true` if the caller asked to take over this object from another root.
    pub(crate) fn takes_over(&self, key: &ObjectKey, live: &Live) -> bool {
        let owner = live.annotation(PROJECT).and_then(|text| text.parse::<ProjectPath>().ok());
        let owner = owner.map(|project| project.root());
        self.take_over.iter().any(|taken| match taken {
            TakeOver::Root(root) => owner.as_ref() == Some(root),
            TakeOver::Object(text) => *text == key.to_string(),
        })
    }
}
