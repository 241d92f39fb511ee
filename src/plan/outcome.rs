//! The outcomes of a run: one for each object, and the run as a whole.

use super::decision::{Action, Contents, Decision, Protection};
use crate::object::ident::ObjectKey;
use crate::project::path::ProjectPath;

/// The result for one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The change failed; the message says why.
    Failed,
    /// The change was not started, because something that the object needs failed or the run was interrupted.
    Skipped,
    /// The run left the object as it is. The object was not ready before the run and is not ready now; the message says
    /// why.
    Unready,
    /// Something else is in the way. The object stays as it is.
    Blocked,
    /// A guard, a review or an annotation keeps the object as it is.
    Kept,
    /// The object was created.
    Created,
    /// The object was changed.
    Configured,
    /// The object was moved to another project of the root.
    Moved,
    /// The object became ours.
    Adopted,
    /// The object was deleted and created anew.
    Replaced,
    /// The object was deleted.
    Deleted,
    /// The object was already as desired.
    Unchanged,
}

impl Verdict {
    /// Every verdict, in the order in which reports count them.
    pub const ALL: [Self; 12] = [
        Self::Failed,
        Self::Skipped,
        Self::Unready,
        Self::Blocked,
        Self::Kept,
        Self::Created,
        Self::Configured,
        Self::Moved,
        Self::Adopted,
        Self::Replaced,
        Self::Deleted,
        Self::Unchanged,
    ];

    /// The verdict's name in reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Unready => "unready",
            Self::Blocked => "blocked",
            Self::Kept => "kept",
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Moved => "moved",
            Self::Adopted => "adopted",
            Self::Replaced => "replaced",
            Self::Deleted => "deleted",
            Self::Unchanged => "unchanged",
        }
    }

    /// Returns `true` if the object is now as desired. A blocked, kept or unready object does not count.
    pub(crate) fn is_carried_out(self) -> bool {
        matches!(
            self,
            Self::Created | Self::Configured | Self::Moved | Self::Adopted | Self::Replaced | Self::Unchanged
        )
    }

    /// The verdict for an object that the run changed in place.
    pub(crate) fn of_change(action: Action) -> Self {
        match action {
            Action::Move => Self::Moved,
            Action::Adopt => Self::Adopted,
            _ => Self::Configured,
        }
    }

    /// Returns `true` if this verdict stops the run: nothing is deleted after it, and the next run continues the work.
    pub(crate) fn ends_the_run(self) -> bool {
        matches!(self, Self::Failed | Self::Skipped)
    }
}

/// The reason for a verdict, or a remark about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detail {
    /// A message, redacted.
    Message(String),
    /// The plan's decision, which the run did not have to carry out.
    Planned(Box<Decision>),
    /// By now, the namespace or CRD holds objects that are outside the plan.
    NowHolds(Contents),
    /// By now, the object is protected.
    NowProtected(Protection),
}

/// The outcome of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectOutcome {
    /// The object.
    pub key: ObjectKey,
    /// The object's project.
    pub project: ProjectPath,
    /// The result.
    pub verdict: Verdict,
    /// The reason for the verdict, or a remark about it.
    pub detail: Option<Detail>,
}

/// The outcomes of a run, object by object, in the order in which the run handled them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The outcomes of desired objects.
    pub applied: Vec<ObjectOutcome>,
    /// The outcomes of undesired objects.
    pub cleaned: Vec<ObjectOutcome>,
}

impl Outcome {
    /// Lists the desired objects that are now as desired.
    pub fn carried_out(&self) -> impl Iterator<Item = &ObjectKey> {
        self.applied.iter().filter(|outcome| outcome.verdict.is_carried_out()).map(|outcome| &outcome.key)
    }

    /// Lists the outcomes of all objects.
    pub fn all(&self) -> impl Iterator<Item = &ObjectOutcome> {
        self.applied.iter().chain(&self.cleaned)
    }

    /// The number of objects with the given verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.all().filter(|outcome| outcome.verdict == verdict).count()
    }

    /// The first object that failed.
    pub(crate) fn first_failure(&self) -> Option<&ObjectOutcome> {
        self.all().find(|outcome| outcome.verdict == Verdict::Failed)
    }

    /// The first object that was not ready before the run and is not ready now.
    pub(crate) fn first_unready(&self) -> Option<&ObjectOutcome> {
        self.all().find(|outcome| outcome.verdict == Verdict::Unready)
    }

    /// Returns `true` if everything was started and nothing failed.
    pub(crate) fn is_carried_through(&self) -> bool {
        self.all().all(|outcome| !outcome.verdict.ends_the_run())
    }

    /// Returns `true` if the run was carried through and left no object unready.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_carried_through() && self.first_unready().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(verdict: Verdict) -> ObjectOutcome {
        let key = ObjectKey { group: String::new(), kind: "Secret".into(), namespace: None, name: "x".into() };
        ObjectOutcome { key, project: "demo".parse().unwrap(), verdict, detail: None }
    }

    #[test]
    fn a_run_is_complete_where_nothing_failed_and_nothing_was_left_out() {
        for verdict in Verdict::ALL {
            for (applied, cleaned) in [(verdict, Verdict::Deleted), (Verdict::Created, verdict)] {
                let ran = Outcome { applied: vec![outcome(applied)], cleaned: vec![outcome(cleaned)] };
                let through = !matches!(verdict, Verdict::Failed | Verdict::Skipped);
                assert_eq!(ran.is_carried_through(), through, "{verdict:?}");
                assert_eq!(ran.is_complete(), through && verdict != Verdict::Unready, "{verdict:?}");
                assert_eq!(ran.first_unready().is_some(), verdict == Verdict::Unready, "{verdict:?}");
                assert_eq!(ran.first_failure().is_some(), verdict == Verdict::Failed, "{verdict:?}");
                assert_eq!(ran.count(verdict), 1 + usize::from(applied == cleaned), "{verdict:?}");
            }
        }
    }

    #[test]
    fn r4_only_what_is_as_it_is_to_be_counts_as_carried_out() {
        let done = [
            Verdict::Created,
            Verdict::Configured,
            Verdict::Moved,
            Verdict::Adopted,
            Verdict::Replaced,
            Verdict::Unchanged,
        ];
        for verdict in Verdict::ALL {
            let ran = Outcome { applied: vec![outcome(verdict)], cleaned: Vec::new() };
            assert_eq!(ran.carried_out().count(), usize::from(done.contains(&verdict)), "{verdict:?}");
        }
    }
}
