//! The decision about one object: the action, with the facts that led to it.
//!
//! The payloads are keys, names and the server's words. The sentences about them are made elsewhere.

use serde::Serialize;

use super::guard::Guard;
use super::review::NotReviewed;
use crate::object::ident::ObjectKey;
use crate::object::refusal::Refusal;
use crate::project::path::ProjectPath;

/// The action that a run takes on one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// The object does not exist yet and is created.
    Create,
    /// The object is ours and differs from the manifest.
    Update,
    /// The object is ours, and its change is possible only by deleting it and creating it anew.
    Replace,
    /// The object is ours and no longer desired.
    Delete,
    /// The object is ours and moves to another project of the same root.
    Move,
    /// The live object becomes ours. It has no mark, a copied mark, or the mark of an owner from which we take it over.
    Adopt,
    /// The object is recorded, but it is no longer ours, or it is also recorded under its desired key. It is removed
    /// from the state and stays in the cluster.
    Release,
    /// The object needs no change.
    Unchanged,
    /// The object would be deleted or replaced, but something protects it. It stays in the cluster and in the state.
    Keep,
    /// The action is not possible; the reason says why.
    Blocked,
}

impl Action {
    /// Every action, in the order in which reports list them.
    pub const ALL: [Self; 10] = [
        Self::Blocked,
        Self::Delete,
        Self::Replace,
        Self::Create,
        Self::Update,
        Self::Move,
        Self::Adopt,
        Self::Release,
        Self::Keep,
        Self::Unchanged,
    ];

    /// The action's name, as in JSON output.
    pub fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Replace => "replace",
            Self::Delete => "delete",
            Self::Move => "move",
            Self::Adopt => "adopt",
            Self::Release => "release",
            Self::Unchanged => "unchanged",
            Self::Keep => "keep",
            Self::Blocked => "blocked",
        }
    }
}

/// The state of an object that stays as it is although the plan has something to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Disposition {
    /// The server refuses the change, something that the object needs is missing, or its file cannot be rendered. The
    /// run fails.
    Failed,
    /// Something else is in the way. The run continues, and the project stays open.
    Blocked,
    /// A guard, a review or an annotation keeps the object. The run continues, and the project stays open.
    Kept,
}

/// The decision about one object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decision {
    /// Create the object.
    Create(Create),
    /// Update the object.
    Update(Update),
    /// Delete the object and create it anew. The server refuses to change it in place with these words.
    Replace(Refusal),
    /// Delete the object.
    Delete(Delete),
    /// Move the object to another project of the root.
    Move(Move),
    /// Make the object ours.
    Adopt(Adopt),
    /// Remove the object from the state.
    Release(Release),
    /// Do nothing.
    Unchanged(Unchanged),
    /// Leave an object that would be deleted or replaced as it is.
    Keep(Keep),
    /// Leave a desired object, or one that the server does not delete, as it is.
    Blocked(Blocked),
}

/// The object or the guard that a decision is about, besides the decided object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject<'a> {
    /// Another object.
    Object(&'a ObjectKey),
    /// A guard.
    Guard(Guard),
}

impl Decision {
    /// The action.
    pub fn action(&self) -> Action {
        match self {
            Self::Create(_) => Action::Create,
            Self::Update(_) => Action::Update,
            Self::Replace(_) => Action::Replace,
            Self::Delete(_) => Action::Delete,
            Self::Move(_) => Action::Move,
            Self::Adopt(_) => Action::Adopt,
            Self::Release(_) => Action::Release,
            Self::Unchanged(_) => Action::Unchanged,
            Self::Keep(_) => Action::Keep,
            Self::Blocked(_) => Action::Blocked,
        }
    }

    /// The kind of the reason, as in JSON output.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Create(Create::New) => "new",
            Self::Create(Create::AfterItsEnd(_)) => "terminating",
            Self::Create(Create::Unchecked(_))
            | Self::Update(Update::Unchecked(_))
            | Self::Move(Move::Unchecked(_))
            | Self::Adopt(Adopt::Unchecked(_))
            | Self::Delete(Delete::AfterDeletionOf(_)) => "unchecked",
            Self::Update(Update::Differs) => "differs",
            Self::Update(Update::TakeOver) => "take-over",
            Self::Replace(_) => "immutable",
            Self::Delete(Delete::Undesired) => "undesired",
            Self::Move(Move::Checked) => "moved",
            Self::Adopt(Adopt::Unmarked) => "unmarked",
            Self::Adopt(Adopt::Copied) => "copied-mark",
            Self::Adopt(Adopt::From(_)) => "taken-from",
            Self::Release(Release::Foreign(_)) => "foreign",
            Self::Release(Release::Unmarked) => "unmarked",
            Self::Release(Release::SameObject(_)) => "same-object",
            Self::Unchanged(Unchanged::AsDesired) => "as-desired",
            Self::Unchanged(Unchanged::Done) => "done",
            Self::Keep(keep) => keep.kind(),
            Self::Blocked(blocked) => blocked.kind(),
        }
    }

    /// The other object or the guard that the decision is about.
    pub fn subject(&self) -> Option<Subject<'_>> {
        match self {
            Self::Create(Create::Unchecked(key))
            | Self::Update(Update::Unchecked(key))
            | Self::Move(Move::Unchecked(key))
            | Self::Adopt(Adopt::Unchecked(key))
            | Self::Delete(Delete::AfterDeletionOf(key))
            | Self::Release(Release::SameObject(key)) => Some(Subject::Object(key)),
            Self::Keep(keep) => keep.subject(),
            Self::Blocked(Blocked::SameObject { other: key, .. } | Blocked::Needs(key)) => Some(Subject::Object(key)),
            Self::Blocked(Blocked::Unknown(unknown)) => unknown.subject(),
            _ => None,
        }
    }

    /// The object that the same run has to write before the server can check this change.
    pub(crate) fn waits_for(&self) -> Option<&ObjectKey> {
        match self {
            Self::Create(Create::Unchecked(key))
            | Self::Update(Update::Unchecked(key))
            | Self::Move(Move::Unchecked(key))
            | Self::Adopt(Adopt::Unchecked(key)) => Some(key),
            _ => None,
        }
    }

    /// The disposition of an object that stays as it is although the plan has something to do with it; `None`
    /// otherwise.
    pub fn disposition(&self) -> Option<Disposition> {
        match self {
            Self::Keep(_) => Some(Disposition::Kept),
            Self::Blocked(blocked) => Some(blocked.disposition()),
            _ => None,
        }
    }

    /// Returns `true` if it is no problem that the object is kept: the user wants to keep it, or another run will
    /// delete it.
    pub(crate) fn is_no_refusal(&self) -> bool {
        matches!(self, Self::Keep(Keep::Protected(_) | Keep::LaterCommits))
    }

    /// Returns `true` if something protects the object permanently.
    pub(crate) fn is_protected(&self) -> bool {
        matches!(self, Self::Keep(Keep::Protected(_)))
    }

    /// Returns `true` if a review is still needed, because a later run may delete or replace the object. Either the
    /// deletion or replacement is kept and not protected, or the object is blocked for a reason that may hide a
    /// replacement.
    pub(crate) fn awaits_review(&self) -> bool {
        match self {
            Self::Keep(keep) => !matches!(keep, Keep::Protected(_) | Keep::Irreplaceable(..)),
            Self::Blocked(Blocked::Needs(_) | Blocked::Unknown(_)) => true,
            Self::Blocked(Blocked::Refused(refused)) => matches!(refused.refusal, Refusal::Unavailable(_)),
            _ => false,
        }
    }
}

/// The reason to create an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Create {
    /// No such object is live.
    New,
    /// The server could not check the object, because the same run first applies the named object.
    Unchecked(ObjectKey),
    /// The object is being deleted. It is created when it is gone. The texts name what delays its end.
    AfterItsEnd(Vec<String>),
}

/// The reason to update an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Update {
    /// Fields differ.
    Differs,
    /// Fields of an older tool become ours and nothing else differs, or our mark's managed fields were lost.
    TakeOver,
    /// The server could not check the change, because the same run first applies the named object.
    Unchecked(ObjectKey),
}

/// The reason to delete an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Delete {
    /// No manifest contains the object any more.
    Undesired,
    /// As above. The server could not check the deletion, because the same run first deletes the named webhook or policy,
    /// which refuses it.
    AfterDeletionOf(ObjectKey),
}

/// A move between two projects. [`super::change::Change::from`] has the earlier project.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Move {
    /// The server accepts the change.
    Checked,
    /// The server could not check the change, because the same run first applies the named object.
    Unchecked(ObjectKey),
}

/// The reason to adopt an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Adopt {
    /// The object has no mark.
    Unmarked,
    /// The object has a copied mark.
    Copied,
    /// The caller asked to take the object over from the named owner.
    From(String),
    /// The server could not check the change, because the same run first applies the named object.
    Unchecked(ObjectKey),
}

/// The reason to remove an object from the state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Release {
    /// The object has the mark of the named root, or a copied mark.
    Foreign(String),
    /// The object's mark is gone.
    Unmarked,
    /// The API server serves the object under two groups, and it is desired under the named key.
    SameObject(ObjectKey),
}

/// The reason to do nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unchanged {
    /// The live object is as desired.
    AsDesired,
    /// A Job ran as desired and removed itself.
    Done,
}

/// The reason to keep an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Keep {
    /// Something protects the object permanently.
    Protected(Protection),
    /// This run does not have enough information to delete the object. A later run may delete it.
    Withheld(Withheld),
    /// The branch has later commits, or may have. The run of the last commit decides about deletions.
    LaterCommits,
    /// No merged pull request's plan showed the deletion or replacement, for this reason.
    Unreviewed(NotReviewed),
    /// A closed guard keeps the object.
    Guarded(Guard, Finding),
    /// The named desired object, in the same project, stays as it is.
    OpenProject(ObjectKey),
    /// The named desired object, in the same project, was not ready before the run and is not ready now.
    NotReady(ObjectKey),
    /// The named object stays and needs this object.
    NeededBy(ObjectKey),
    /// The server refuses to change the object in place, and something prevents its replacement.
    Irreplaceable(Refusal, Protection),
    /// The server refuses to change the object in place, and this run does not have enough information to replace it.
    ReplacementWithheld(Refusal, Withheld),
    /// The object could not be read or checked.
    Unknown(Unknown),
}

impl Keep {
    fn kind(&self) -> &'static str {
        match self {
            Self::Protected(_) => "protected",
            Self::Withheld(_) => "withheld",
            Self::LaterCommits => "later-commits",
            Self::Unreviewed(_) => "unreviewed",
            Self::Guarded(..) => "guarded",
            Self::OpenProject(_) => "open-project",
            Self::NotReady(_) => "not-ready",
            Self::NeededBy(_) => "needed-by",
            Self::Irreplaceable(..) => "irreplaceable",
            Self::ReplacementWithheld(..) => "replacement-withheld",
            Self::Unknown(_) => "unknown",
        }
    }

    fn subject(&self) -> Option<Subject<'_>> {
        match self {
            Self::Guarded(guard, _) => Some(Subject::Guard(*guard)),
            Self::OpenProject(key) | Self::NotReady(key) | Self::NeededBy(key) => Some(Subject::Object(key)),
            Self::Protected(protection) | Self::Irreplaceable(_, protection) => protection.subject(),
            Self::Withheld(withheld) | Self::ReplacementWithheld(_, withheld) => withheld.subject(),
            Self::Unknown(unknown) => unknown.subject(),
            Self::LaterCommits | Self::Unreviewed(_) => None,
        }
    }
}

/// A permanent protection of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protection {
    /// The root's settings switch cleanup off.
    CleanupOff,
    /// The object is a namespace of the system or of the state.
    SystemNamespace,
    /// The object has this annotation.
    Annotation(&'static str),
    /// The object is a volume or a claim, which is never replaced.
    Volume,
    /// The managed fields of the object's mark were lost, so nothing shows that this root applied it.
    LostFields,
    /// The object's mark names this project, which is out of scope.
    OutOfScope(ProjectPath),
    /// The object is the same object as the named one, which is desired.
    SameObject(ObjectKey),
    /// The object contains the named object, which is protected.
    Contains(ObjectKey),
    /// The object is the newest older generation of a desired object, and the tree's settings keep it.
    PreviousGeneration,
}

impl Protection {
    fn subject(&self) -> Option<Subject<'_>> {
        match self {
            Self::SameObject(key) | Self::Contains(key) => Some(Subject::Object(key)),
            _ => None,
        }
    }
}

/// The information that a run lacks to delete an object, or the object that prevents the deletion for now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Withheld {
    /// A source of the tree cannot be rendered.
    SourceFailed,
    /// The tree with which this tree is compared cannot be read.
    BaseUnreadable,
    /// The object contains the named object, which is desired.
    ContainsDesired(ObjectKey),
    /// The object contains the named object, which stays.
    Contains(ObjectKey),
    /// The named webhook or policy, which refuses the deletion, stays.
    RefusedBy(ObjectKey),
}

impl Withheld {
    fn subject(&self) -> Option<Subject<'_>> {
        match self {
            Self::ContainsDesired(key) | Self::Contains(key) | Self::RefusedBy(key) => Some(Subject::Object(key)),
            Self::SourceFailed | Self::BaseUnreadable => None,
        }
    }
}

/// The finding of a guard, besides the object itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// The object itself is what the guard keeps.
    Object,
    /// Deleting the object would also delete these objects.
    Contents(Contents),
    /// One change would delete and replace more objects than the guard allows.
    Share {
        /// The number of objects.
        count: usize,
        /// The number of recorded objects that are live and ours.
        live: usize,
        /// The number of objects that the guard allows.
        most: usize,
    },
}

/// The contents of a namespace or a CRD that are outside the plan.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Contents {
    /// The contents were not listed.
    NotListed,
    /// The contents that the plan does not delete.
    Listed {
        /// The first objects.
        first: Vec<ObjectKey>,
        /// The number of objects.
        count: usize,
        /// The groups, versions and kinds that could not be listed, each with the reason.
        unseen: Vec<String>,
    },
}

/// The reason to leave an object as it is that the plan cannot change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blocked {
    /// The object has the mark of the named root.
    Foreign(String),
    /// The object has no mark, and the caller does not want to adopt such objects.
    Unmarked,
    /// The API server serves the object under two groups, and the named desired object is the same.
    SameObject {
        /// The other key.
        other: ObjectKey,
        /// The place of the other manifest.
        place: Option<String>,
    },
    /// The named object, which this object needs, stays as it is.
    Needs(ObjectKey),
    /// A file of the object's project cannot be rendered, for this reason.
    Unrendered(String),
    /// The server refuses the change or the deletion.
    Refused(ServerRefusal),
    /// The object could not be read or checked.
    Unknown(Unknown),
}

impl Blocked {
    fn kind(&self) -> &'static str {
        match self {
            Self::Foreign(_) => "foreign",
            Self::Unmarked => "unmarked",
            Self::SameObject { .. } => "same-object",
            Self::Needs(_) => "needs",
            Self::Unrendered(_) => "unrendered",
            Self::Refused(refused) => match refused.refusal {
                Refusal::Conflict(_) | Refusal::Beside(_) => "conflict",
                Refusal::NoNamespace(_) | Refusal::Absent(_) | Refusal::NoKind(_) | Refusal::NoVersion(_) => "missing",
                Refusal::Terminating(_) => "terminating",
                Refusal::Unavailable(_) => "unknown",
                _ => "refused",
            },
            Self::Unknown(_) => "unknown",
        }
    }

    fn disposition(&self) -> Disposition {
        match self {
            Self::Foreign(_) | Self::Unmarked | Self::Needs(_) | Self::Unknown(_) => Disposition::Blocked,
            Self::Refused(refused) => match refused.refusal {
                Refusal::Conflict(_) | Refusal::Beside(_) | Refusal::Unavailable(_) => Disposition::Blocked,
                _ => Disposition::Failed,
            },
            Self::SameObject { .. } | Self::Unrendered(_) => Disposition::Failed,
        }
    }
}

/// A refusal of the server, with what the plan knows about its cause.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerRefusal {
    /// The server's refusal, redacted.
    pub refusal: Refusal,
    /// The place of a null in the manifest. Server-side apply treats a null as a value, so it may be the cause.
    pub null: Option<String>,
    /// An object that stands in the way, and that the same run deletes.
    pub obstacle: Option<ObjectKey>,
}

/// The reason why an object is not known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unknown {
    /// The server's words.
    Message(String),
    /// The object was not read.
    NotRead,
    /// No dry run was made.
    NotTried,
    /// The object appeared and vanished while the plan was made.
    Vanished,
    /// The object may be the same as the named one, which could not be read.
    MayBeSame(ObjectKey),
}

impl Unknown {
    fn subject(&self) -> Option<Subject<'_>> {
        match self {
            Self::MayBeSame(key) => Some(Subject::Object(key)),
            Self::Message(_) | Self::NotRead | Self::NotTried | Self::Vanished => None,
        }
    }
}

impl From<Refusal> for ServerRefusal {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, null: None, obstacle: None }
    }
}

impl From<Refusal> for Decision {
    fn from(refusal: Refusal) -> Self {
        Self::Blocked(Blocked::Refused(refusal.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_actions_are_those_of_the_json() {
        for action in Action::ALL {
            assert_eq!(serde_json::to_value(action).unwrap(), action.word());
        }
    }
}
