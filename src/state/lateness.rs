//! The decision whether a run of a commit may still write, after the runs that were recorded.
//!
//! Pure: how commits lie to each other is found out elsewhere, and may be unknown. **Invariant:** what is unknown is
//! never taken for "not late".

/// The relation of a run's commit to a recorded commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CommitOrder {
    /// It is the same commit.
    Same,
    /// It descends from the recorded one.
    Newer,
    /// It is a proper ancestor of the recorded one.
    Older,
    /// Each has commits that the other lacks.
    Diverged,
    /// Nobody could tell.
    Unknown,
}

/// The relation of a run's commit to the branch that is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tip {
    /// It is the branch's last commit.
    Reached,
    /// The branch has it, and later ones.
    Behind,
    /// The branch does not have it.
    Elsewhere,
    /// Nobody could tell.
    Unknown,
}

/// The caller of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A workflow: it applies commits of its branch alone.
    Workflow,
    /// A person, who may apply what is not merged.
    Person,
}

/// A person's decision to accept that this commit follows the recorded commits although the histories do not show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// Nobody did.
    None,
    /// For this commit.
    Given,
}

/// The facts about a run's commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The relations to the recorded commits: the last begun commit and the ledger. Empty if none is recorded.
    pub recorded: Vec<CommitOrder>,
    /// The relation to the branch.
    pub tip: Tip,
    /// The caller.
    pub caller: Caller,
    /// The decision about a history that does not fit.
    pub acceptance: Acceptance,
}

/// The permission of a run because of its commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitVerdict {
    /// Everything.
    Apply,
    /// Everything but deletions: later commits of the branch have their own run.
    ApplyOnly,
    /// Nothing, and nothing is wrong: a later commit is or will be applied.
    Superseded,
    /// Nothing, and a person has to look.
    Refused(CommitRefusal),
}

/// The reason why a run is refused because of its commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitRefusal {
    /// The branch's last commit is older than what was applied.
    #[error("the branch was moved back: a later commit than its last one was applied already")]
    MovedBack,
    /// The history has a commit that the applied one lacks, and the other way round.
    #[error("the history was rewritten: the commit that was applied last is not part of it")]
    Diverged,
    /// The order of the two is not known.
    #[error("it is not known whether this commit is later than the one that was applied last")]
    Unknown,
    /// There is nothing to compare with, and the branch's last commit is not known.
    #[error("it is not known whether this is the branch's last commit, and no earlier run is recorded")]
    TipUnknown,
    /// The commit is not merged.
    #[error("the commit is not part of the branch that is applied")]
    NotMerged,
}

impl CommitRefusal {
    /// Returns `true` if a person may accept it. What is not merged is merged, not accepted.
    pub fn is_acceptable(self) -> bool {
        self != Self::NotMerged
    }
}

/// Decides what a run of a commit may do.
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
            // A person's own branch, or a branch that nobody could ask for.
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

/// A run whose commit is not known to be the branch's last one leaves deletions to the run of that one.
fn deleting(tip: Tip, caller: Caller) -> CommitVerdict {
    match (tip, caller) {
        (Tip::Reached, _) | (Tip::Elsewhere | Tip::Unknown, Caller::Person) => CommitVerdict::Apply,
        _ => CommitVerdict::ApplyOnly,
    }
}

/// The way in which a run's commit may be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recording {
    /// As begun, and as the ledger where the run covers all that changed.
    Whole,
    /// Not at all itself: what it has in common with the branch is what was begun.
    MergeBase,
}

/// Decides what a commit may be recorded as: only one that the branch has can become the ledger.
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
