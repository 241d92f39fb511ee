//! Decides if a run of a commit may still write, given the commits that earlier runs recorded.
//!
//! This module does no I/O. The callers find the order of the commits, and the order may be unknown.
//!
//! **Invariant:** an unknown order never counts as "not late".

/// The order of a run's commit relative to a recorded commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CommitOrder {
    /// Both are the same commit.
    Same,
    /// The run's commit descends from the recorded commit.
    Newer,
    /// The run's commit is a proper ancestor of the recorded commit.
    Older,
    /// Each of the two has commits that the other one lacks.
    Diverged,
    /// The order is not known.
    Unknown,
}

/// The position of a run's commit relative to the branch that is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tip {
    /// The commit is the last one of the branch.
    Reached,
    /// The branch has the commit, and later ones.
    Behind,
    /// The branch does not have the commit.
    Elsewhere,
    /// The position is not known.
    Unknown,
}

/// The caller that asks for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A workflow. It applies only commits of its branch.
    Workflow,
    /// A person, who may also apply a commit that is not merged.
    Person,
}

/// A person's acceptance of a commit. With it, the commit counts as later than the recorded ones, whatever the
/// histories say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// No person accepted this commit.
    None,
    /// A person accepted this commit.
    Given,
}

/// The known facts about a run's commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The order relative to each recorded commit: the commit of the last run that began, and the commit of the ledger.
    /// Empty if no commit is recorded.
    pub recorded: Vec<CommitOrder>,
    /// The position relative to the branch.
    pub tip: Tip,
    /// The caller that asks for the run.
    pub caller: Caller,
    /// A person's acceptance of a history that does not fit.
    pub acceptance: Acceptance,
}

/// The changes that a run of a commit may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitVerdict {
    /// The run may make every change.
    Apply,
    /// The run may make every change except deletions. Later commits of the branch have their own runs.
    ApplyOnly,
    /// The run may make no change. This is not an error: a later commit is already applied, or will be applied.
    Superseded,
    /// The run may make no change, and a person has to look at the reason.
    Refused(CommitRefusal),
}

/// The reason to refuse a run because of its commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitRefusal {
    /// The run's commit is older than a recorded commit. It is also the last commit of the branch, or not on the
    /// branch.
    #[error("the branch was moved back: a later commit than its last one was applied already")]
    MovedBack,
    /// The run's commit and a recorded commit each have commits that the other one lacks.
    #[error("the history was rewritten: the commit that was applied last is not part of it")]
    Diverged,
    /// The order of the run's commit and a recorded commit is not known. Or the run's commit is older, and its position
    /// relative to the branch is not known.
    #[error("it is not known whether this commit is later than the one that was applied last")]
    Unknown,
    /// No commit is recorded, and it is not known if the run's commit is the last one of the branch.
    #[error("it is not known whether this is the branch's last commit, and no earlier run is recorded")]
    TipUnknown,
    /// The run's commit is not merged into the branch that is applied.
    #[error("the commit is not part of the branch that is applied")]
    NotMerged,
}

impl CommitRefusal {
    /// Returns `true` if a person may accept the refused commit. A commit that is not merged has to be merged instead.
    pub(crate) fn is_acceptable(self) -> bool {
        self != Self::NotMerged
    }
}

/// Decides which changes a run of a commit may make.
pub fn judge(facts: &Facts) -> CommitVerdict {
    let Facts { recorded, tip, caller, acceptance } = facts;
    if *caller == Caller::Workflow && *tip == Tip::Elsewhere {
        return CommitVerdict::Refused(CommitRefusal::NotMerged);
    }
    let standing = |wanted: CommitOrder| recorded.contains(&wanted);
    let verdict = if standing(CommitOrder::Diverged) {
        CommitVerdict::Refused(CommitRefusal::Diverged)
    } else if standing(CommitOrder::Unknown) {
        CommitVerdict::Refused(CommitRefusal::Unknown)
    } else if standing(CommitOrder::Older) {
        match tip {
            Tip::Behind => CommitVerdict::Superseded,
            Tip::Reached => CommitVerdict::Refused(CommitRefusal::MovedBack),
            // The commit is not on the branch that is applied, but for example on a person's own branch.
            Tip::Elsewhere => CommitVerdict::Refused(CommitRefusal::MovedBack),
            Tip::Unknown => CommitVerdict::Refused(CommitRefusal::Unknown),
        }
    } else if recorded.is_empty() && *caller == Caller::Workflow {
        match tip {
            Tip::Reached => CommitVerdict::Apply,
            Tip::Behind => CommitVerdict::Superseded,
            Tip::Elsewhere | Tip::Unknown => CommitVerdict::Refused(CommitRefusal::TipUnknown),
        }
    } else {
        CommitVerdict::Apply
    };
    match verdict {
        CommitVerdict::Refused(_) if *acceptance == Acceptance::Given => deleting(*tip, *caller),
        CommitVerdict::Apply => deleting(*tip, *caller),
        verdict => verdict,
    }
}

/// Excludes deletions if the branch has a later commit, because the run of that commit makes them. For a workflow, it
/// also excludes deletions if the branch may have a later commit.
fn deleting(tip: Tip, caller: Caller) -> CommitVerdict {
    match (tip, caller) {
        (Tip::Reached, _) | (Tip::Elsewhere | Tip::Unknown, Caller::Person) => CommitVerdict::Apply,
        _ => CommitVerdict::ApplyOnly,
    }
}

/// The way to record a run's commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recording {
    /// The commit is recorded as begun. If the run covers everything that changed, the commit also becomes the ledger.
    Whole,
    /// The commit does not become the ledger. If a person applies it, its merge base with the branch is recorded as
    /// begun.
    MergeBase,
}

/// Decides how a commit may be recorded. Only a commit that the branch has can become the ledger.
pub fn recording(tip: Tip) -> Recording {
    match tip {
        Tip::Reached | Tip::Behind => Recording::Whole,
        Tip::Elsewhere | Tip::Unknown => Recording::MergeBase,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STANDINGS: [CommitOrder; 5] =
        [CommitOrder::Same, CommitOrder::Newer, CommitOrder::Older, CommitOrder::Diverged, CommitOrder::Unknown];
    const TIPS: [Tip; 4] = [Tip::Reached, Tip::Behind, Tip::Elsewhere, Tip::Unknown];

    fn records() -> Vec<Vec<CommitOrder>> {
        let pairs = STANDINGS.iter().flat_map(|one| STANDINGS.iter().map(|other| vec![*one, *other]));
        [vec![]].into_iter().chain(STANDINGS.iter().map(|one| vec![*one])).chain(pairs).collect()
    }

    fn each(check: impl Fn(&Facts, CommitVerdict)) {
        for recorded in records() {
            for tip in TIPS {
                for caller in [Caller::Workflow, Caller::Person] {
                    for acceptance in [Acceptance::None, Acceptance::Given] {
                        let facts = Facts { recorded: recorded.clone(), tip, caller, acceptance };
                        check(&facts, judge(&facts));
                    }
                }
            }
        }
    }

    #[test]
    fn x4_what_is_unknown_older_or_diverged_is_never_applied_unless_accepted() {
        each(|facts, verdict| {
            let doubtful = facts.recorded.iter().any(|s| !matches!(s, CommitOrder::Same | CommitOrder::Newer));
            let writes = matches!(verdict, CommitVerdict::Apply | CommitVerdict::ApplyOnly);
            assert!(!(doubtful && writes) || facts.acceptance == Acceptance::Given, "{facts:?}");
        });
    }

    #[test]
    fn x4_a_workflow_applies_nothing_that_its_branch_does_not_have() {
        each(|facts, verdict| {
            if facts.caller == Caller::Workflow && facts.tip == Tip::Elsewhere {
                assert_eq!(verdict, CommitVerdict::Refused(CommitRefusal::NotMerged), "{facts:?}");
            }
        });
    }

    #[test]
    fn x4_only_the_branchs_last_commit_deletes_in_a_workflow() {
        each(|facts, verdict| {
            let deletes = verdict == CommitVerdict::Apply && facts.caller == Caller::Workflow;
            assert!(!deletes || facts.tip == Tip::Reached, "{facts:?}");
        });
    }

    #[test]
    fn x4_without_a_record_only_the_branchs_last_commit_is_applied_by_a_workflow() {
        for (tip, expected) in [
            (Tip::Reached, CommitVerdict::Apply),
            (Tip::Behind, CommitVerdict::Superseded),
            (Tip::Elsewhere, CommitVerdict::Refused(CommitRefusal::NotMerged)),
            (Tip::Unknown, CommitVerdict::Refused(CommitRefusal::TipUnknown)),
        ] {
            let (recorded, caller, acceptance) = (Vec::new(), Caller::Workflow, Acceptance::None);
            assert_eq!(judge(&Facts { recorded, tip, caller, acceptance }), expected, "{tip:?}");
        }
    }

    #[test]
    fn x4_an_older_commit_is_superseded_and_the_last_one_of_a_branch_was_moved_back() {
        for (tip, expected) in [
            (Tip::Reached, CommitVerdict::Refused(CommitRefusal::MovedBack)),
            (Tip::Behind, CommitVerdict::Superseded),
            (Tip::Unknown, CommitVerdict::Refused(CommitRefusal::Unknown)),
        ] {
            for recorded in [
                vec![CommitOrder::Older],
                vec![CommitOrder::Older, CommitOrder::Newer],
                vec![CommitOrder::Same, CommitOrder::Older],
            ] {
                let (caller, acceptance) = (Caller::Workflow, Acceptance::None);
                let facts = Facts { recorded, tip, caller, acceptance };
                assert_eq!(judge(&facts), expected, "{facts:?}");
            }
        }
    }

    #[test]
    fn x4_a_run_that_crashed_is_resumed_by_its_own_commit() {
        for recorded in [vec![CommitOrder::Same], vec![CommitOrder::Same, CommitOrder::Newer]] {
            for (tip, expected) in [(Tip::Reached, CommitVerdict::Apply), (Tip::Behind, CommitVerdict::ApplyOnly)] {
                let (caller, acceptance) = (Caller::Workflow, Acceptance::None);
                let facts = Facts { recorded: recorded.clone(), tip, caller, acceptance };
                assert_eq!(judge(&facts), expected, "{facts:?}");
            }
        }
    }

    #[test]
    fn x4_only_what_the_branch_has_becomes_the_ledger() {
        let whole = TIPS.into_iter().filter(|tip| recording(*tip) == Recording::Whole);
        assert_eq!(whole.collect::<Vec<_>>(), [Tip::Reached, Tip::Behind]);
    }
}
