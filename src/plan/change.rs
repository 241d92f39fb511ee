//! The parts of a plan: changes, their actions and their reasons.

use serde::Serialize;

use super::guard::Guard;
use crate::object::ident::{Ident, ObjectKey};
use crate::project::path::ProjectPath;
use crate::project::snapshot::SourcePlace;

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

/// The reason for an action. Its `Display` form is a text for reviewers. It serializes as a stable `kind` and a
/// `subject`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, thiserror::Error)]
#[serde(tag = "kind", content = "subject", rename_all = "kebab-case")]
pub enum Reason {
    /// Create: no such object is live.
    #[error("new")]
    New,
    /// Create, update, move or adopt: the server could not check the change, because the same run first applies the
    /// named object that this change needs. Delete: the same run first deletes the named webhook or policy, which
    /// refuses this deletion.
    #[error("not yet checked by the server: {0} comes first in the same run")]
    Unverified(String),
    /// Update: fields differ.
    #[error("differs")]
    Differs,
    /// Update: fields of an older tool become ours and nothing else differs, or our mark's managed fields were lost.
    /// Adopt: the object has a copied mark.
    #[error("take-over")]
    TakeOver,
    /// Adopt: the caller asked to take the object over from the named owner.
    #[error("taken over from {0}")]
    TakenFrom(String),
    /// Unchanged: the live object is as desired.
    #[error("as desired")]
    AsDesired,
    /// Unchanged: a Job that ran as desired and removed itself.
    #[error("has run and removed itself")]
    Done,
    /// Delete: no manifest contains the object any more.
    #[error("no longer desired")]
    Undesired,
    /// Move: the object comes from the named project.
    #[error("moved from {0}")]
    MovedFrom(String),
    /// Adopt or blocked: the object is live and has no mark.
    #[error("exists without a mark")]
    Unmarked,
    /// Keep: the object would be deleted or replaced, but no merged pull request's plan showed this.
    #[error("kept: no merged pull request's plan showed its deletion")]
    Unreviewed,
    /// Release or blocked: the object has the mark of another root or a copied mark, or its mark is gone.
    #[error("belongs to {0}")]
    Foreign(String),
    /// Release or blocked: the API server serves the object under two groups, and it is desired under the given key.
    #[error("the same object as {0}")]
    SameObject(String),
    /// Keep: something protects the object permanently.
    #[error("kept: {0}")]
    Protected(String),
    /// Keep: this run does not have enough information to delete the object. A later run may delete it.
    #[error("kept: {0}")]
    Withheld(String),
    /// Keep: the branch has later commits, or may have. The run of the last commit decides about deletions.
    #[error("kept: this is not known to be the branch's last commit")]
    LaterCommits,
    /// Keep: a guard keeps the object. The text says what the guard found besides the object itself, and may be empty.
    #[error("kept: {}", guarded(*.0, .1))]
    Guarded(Guard, String),
    /// Keep: the desired object with the given key, in the same project, stays as it is.
    #[error("kept: nothing is deleted in this project while {0} stays as it is")]
    OpenProject(#[serde(serialize_with = "displayed")] ObjectKey),
    /// Keep: the desired object with the given key, in the same project, was not ready before the run and is not ready
    /// now.
    #[error("kept: nothing is deleted in this project while {0} is not ready")]
    NotReady(#[serde(serialize_with = "displayed")] ObjectKey),
    /// Keep: the object with the given key stays and needs this object.
    #[error("kept: {0} stays and needs it")]
    NeededBy(#[serde(serialize_with = "displayed")] ObjectKey),
    /// Blocked: the object needs the object with the given key, which is blocked or kept.
    #[error("needs {0}, which stays as it is")]
    Needs(#[serde(serialize_with = "displayed")] ObjectKey),
    /// Blocked: a file of the object's project cannot be rendered.
    #[error("a file of its project cannot be rendered: {0}")]
    Unrendered(String),
    /// Replace: the server refuses the change with this message, but would accept the same object as a new one.
    #[error("cannot be changed in place: {0}")]
    Immutable(String),
    /// Keep: the change needs a replacement, but something protects the object. The text has the server's message and
    /// the protection.
    #[error("{0}")]
    Irreplaceable(String),
    /// Blocked: the server refused the dry run with this message.
    #[error("refused by the server: {0}")]
    Refused(String),
    /// Blocked: other managers own fields of the object, or fields that conflict with its change.
    #[error("conflict: {0}")]
    Conflict(String),
    /// Blocked: something that the object needs does not exist, and no manifest creates it.
    #[error("{0}")]
    Missing(String),
    /// Blocked or keep: the object could not be read or checked.
    #[error("not known: {0}")]
    Unknown(String),
    /// Blocked or create: the object, or its namespace, is being deleted.
    #[error("is being deleted{0}")]
    Terminating(String),
}

impl Reason {
    /// Returns `true` if it is no problem that the object is kept: the user wants to keep it, or another run will
    /// delete it.
    pub(crate) fn is_no_refusal(&self) -> bool {
        matches!(self, Self::Protected(_) | Self::LaterCommits)
    }

    /// The reason's kind without its subject, as in JSON output.
    pub fn kind(&self) -> String {
        let value = serde_json::to_value(self).unwrap_or_default();
        value.get("kind").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
    }
}

/// One line of a difference: a field and its two values. Secret values are redacted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct FieldChange {
    /// The field's path, such as `spec.template.spec.containers[name=web].image`.
    pub path: String,
    /// The value before, as compact JSON; `None` if the field is new. For a changed order, the items in their old
    /// order.
    pub before: Option<String>,
    /// The value after, as compact JSON; `None` if the field is removed. For a changed secret, both values only say
    /// that it changed.
    pub after: Option<String>,
}

/// The planned action for one object, with its reason.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The action to take.
    pub action: Action,
    /// The reason for the action.
    pub reason: Reason,
    /// The object.
    pub ident: Ident,
    /// The object's project after the run.
    pub project: ProjectPath,
    /// The object's project before the run, if it is another one.
    pub from: Option<ProjectPath>,
    /// The place of the manifest in the source. Offline, for a dropped object, the place in the base tree.
    pub place: Option<SourcePlace>,
    /// The live object's uid, if it is known.
    pub uid: Option<String>,
    /// The live object's resourceVersion, if it is known.
    pub resource_version: Option<String>,
    /// The differences between the object before and after, redacted.
    pub diff: Vec<FieldChange>,
}

impl Change {
    /// The disposition of an object that stays as it is although the plan has something to do with it; `None`
    /// otherwise.
    pub(crate) fn disposition(&self) -> Option<Disposition> {
        match (self.action, &self.reason) {
            (Action::Keep, _) => Some(Disposition::Kept),
            (
                Action::Blocked,
                Reason::Foreign(_) | Reason::Conflict(_) | Reason::Unknown(_) | Reason::Unmarked | Reason::Needs(_),
            ) => Some(Disposition::Blocked),
            (Action::Blocked, _) => Some(Disposition::Failed),
            _ => None,
        }
    }
}

fn displayed<S: serde::Serializer>(key: &ObjectKey, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(key)
}

fn guarded(guard: Guard, met: &str) -> String {
    if met.is_empty() { guard.sentence().to_owned() } else { format!("{}: {met}", guard.sentence()) }
}

#[cfg(test)]
impl Change {
    /// The starting point for tests: the deletion of an object of which only the key and the uid are known.
    pub(super) fn deletion(key: ObjectKey, uid: &str) -> Self {
        Self {
            action: Action::Delete,
            reason: Reason::Undesired,
            ident: Ident { key, version: "v1".to_owned() },
            project: "demo".parse().unwrap(),
            from: None,
            place: None,
            uid: Some(uid.to_owned()),
            resource_version: Some("1".to_owned()),
            diff: Vec::new(),
        }
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
