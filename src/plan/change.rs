//! What a plan consists of: actions, reasons, changes.

use serde::Serialize;

use super::guard::Guard;
use crate::object::ident::{Ident, ObjectKey};
use crate::project::path::ProjectPath;
use crate::project::snapshot::SourcePlace;

/// What is to be done with one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It does not exist yet.
    Create,
    /// It exists, is ours, and differs.
    Update,
    /// It is ours and can only be changed by deleting and creating it.
    Replace,
    /// It is ours and no longer desired.
    Delete,
    /// It is ours and moves to another project of the same root.
    Move,
    /// It exists without a mark and becomes ours.
    Adopt,
    /// It is recorded and belongs to someone else, or is recorded under its other kind too: the record lets go of it.
    Release,
    /// Nothing is to be done.
    Unchanged,
    /// It would be deleted, and something protects it: it stays, and stays recorded.
    Keep,
    /// It cannot be done; the reason says why.
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

    /// The action's word, as in JSON output.
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

/// How an object stands that stays as it is although something is to be done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Disposition {
    /// The server refuses it, or its file cannot be rendered: the run does not end well.
    Failed,
    /// Something else is in the way: the run goes on, and the project stays open.
    Blocked,
    /// A guard, a review or an annotation keeps it: the run goes on, and the project stays open.
    Kept,
}

/// Why an action is what it is. Displayed as words a reviewer reads; serialized as a stable `kind` and its subject.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, thiserror::Error)]
#[serde(tag = "kind", content = "subject", rename_all = "kebab-case")]
pub enum Reason {
    /// Create: no such object is live.
    #[error("new")]
    New,
    /// Create, update, move or adopt: the same run first brings what it needs, so the server could not check it.
    #[error("not yet checked by the server: {0} comes first in the same run")]
    Unverified(String),
    /// Update or replace: fields differ.
    #[error("differs")]
    Differs,
    /// Update: someone else's mark or an older tool's fields become ours, nothing else differs.
    #[error("take-over")]
    TakeOver,
    /// Adopt: the owner of the given name loses it, as the caller asked.
    #[error("taken over from {0}")]
    TakenFrom(String),
    /// Unchanged.
    #[error("as desired")]
    AsDesired,
    /// Unchanged: a Job that ran as it is desired and removed itself.
    #[error("has run and removed itself")]
    Done,
    /// Delete: no manifest wants it any more.
    #[error("no longer desired")]
    Undesired,
    /// Move: from the project of the given name.
    #[error("moved from {0}")]
    MovedFrom(String),
    /// Adopt or blocked: it is live without a mark.
    #[error("exists without a mark")]
    Unmarked,
    /// Keep: it would be deleted, for good or to be replaced, but no merged pull request's plan showed that.
    #[error("kept: no merged pull request's plan showed its deletion")]
    Unreviewed,
    /// Release or blocked: it carries the mark of another root, or a copied mark.
    #[error("belongs to {0}")]
    Foreign(String),
    /// Release or blocked: it is served under two kinds, and desired as the object of the given key.
    #[error("the same object as {0}")]
    SameObject(String),
    /// Keep: something protects it, for good.
    #[error("kept: {0}")]
    Protected(String),
    /// Keep: this run cannot know that it may go; a later one may.
    #[error("kept: {0}")]
    Withheld(String),
    /// Keep: the branch has later commits, or may have, and what is deleted is the business of the run of the last one.
    #[error("kept: this is not known to be the branch's last commit")]
    LaterCommits,
    /// Keep: a guard keeps it; the text says what the guard met beside the object itself.
    #[error("kept: {}", guarded(*.0, .1))]
    Guarded(Guard, String),
    /// Keep: the desired object of the given key in the same project stays as it is.
    #[error("kept: nothing is deleted in this project while {0} stays as it is")]
    OpenProject(#[serde(serialize_with = "displayed")] ObjectKey),
    /// Keep: the desired object of the given key in the same project was not ready before the run and is not ready now.
    #[error("kept: nothing is deleted in this project while {0} is not ready")]
    NotReady(#[serde(serialize_with = "displayed")] ObjectKey),
    /// Keep: the object of the given key stays and needs it.
    #[error("kept: {0} stays and needs it")]
    NeededBy(#[serde(serialize_with = "displayed")] ObjectKey),
    /// Blocked: it needs the object of the given key, which is blocked or kept.
    #[error("needs {0}, which stays as it is")]
    Needs(#[serde(serialize_with = "displayed")] ObjectKey),
    /// Blocked: a file of its project cannot be rendered.
    #[error("a file of its project cannot be rendered: {0}")]
    Unrendered(String),
    /// Replace: the server refuses the change, in its words, and would accept the same object as a new one.
    #[error("cannot be changed in place: {0}")]
    Immutable(String),
    /// Keep: it could only be replaced, and something protects it: the server's words, and what protects it.
    #[error("{0}")]
    Irreplaceable(String),
    /// Blocked: the server refused the dry run, in its words.
    #[error("refused by the server: {0}")]
    Refused(String),
    /// Blocked: other managers own fields of it.
    #[error("conflict: {0}")]
    Conflict(String),
    /// Blocked: what it needs does not exist and nobody creates it.
    #[error("{0}")]
    Missing(String),
    /// Blocked: it could not be looked at.
    #[error("not known: {0}")]
    Unknown(String),
    /// Blocked or create: it, or what it lies in, is being deleted.
    #[error("is being deleted{0}")]
    Terminating(String),
}

impl Reason {
    /// Whether what it keeps is nobody's concern: the user wants it kept, or another run will delete it.
    pub fn is_no_refusal(&self) -> bool {
        matches!(self, Self::Protected(_) | Self::LaterCommits)
    }

    /// The reason's kind without its subject, as in JSON output.
    pub fn kind(&self) -> String {
        let value = serde_json::to_value(self).unwrap_or_default();
        value.get("kind").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
    }
}

/// One line of a difference: a field and its two values, redacted where they are secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct FieldChange {
    /// The field's path, as `spec.template.spec.containers[name=web].image`.
    pub path: String,
    /// The value before, as compact JSON; absent where the field is new. Of an order, the items as they stood.
    pub before: Option<String>,
    /// The value after, as compact JSON; absent where the field goes away. Of a secret, as before: that it changed.
    pub after: Option<String>,
}

/// What happens to one object and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// What is to be done.
    pub action: Action,
    /// Why.
    pub reason: Reason,
    /// The object.
    pub ident: Ident,
    /// Its project after the run.
    pub project: ProjectPath,
    /// Its project before, where that is another one.
    pub from: Option<ProjectPath>,
    /// Where it is (or, offline, was) written.
    pub place: Option<SourcePlace>,
    /// The live object's uid, where it is known.
    pub uid: Option<String>,
    /// The live object's resourceVersion, where it is known.
    pub resource_version: Option<String>,
    /// What differs, redacted.
    pub diff: Vec<FieldChange>,
}

impl Change {
    /// How the object stands, where it stays as it is although something is to be done with it.
    pub fn standing(&self) -> Option<Disposition> {
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
    /// What tests start from: the deletion of an object of which nothing is known but its key and uid.
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
