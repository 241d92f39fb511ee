//! The review of a deletion or a replacement: the pull request whose plan showed it, or the reason why none did.

/// The reason why the plan of a commit shows nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unseen {
    /// No pull request of the commit is known.
    NoPull,
    /// The pull request has no comment with a plan.
    NoComment,
    /// The comment was written by someone else.
    OtherAuthor(String),
    /// The plan is not signed, for example because the root had no key yet.
    NotSigned,
    /// The signature is wrong, or it was made with a key that this root does not have.
    WrongSignature,
    /// The plan is of another root, cluster, target, repository or pull request.
    OtherSubject,
    /// The plan is of another head than the one that was merged.
    OtherHead {
        /// The head that the plan shows.
        shown: String,
        /// The head that was merged.
        merged: String,
    },
    /// The plan is of a merge into another branch.
    OtherBranch(String),
    /// The plan was signed after the merge.
    SignedAfterMerge,
    /// The comment of several plans shows another text than the plan signed.
    OtherText,
    /// The comment of several plans was written or changed after the merge.
    ShownAfterMerge,
    /// The root has no key, so no plan can be signed.
    NoKey,
    /// The comment cannot be read now, for this reason of the forge.
    Unread(String),
}

/// The reason why a deletion or a replacement is not reviewed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NotReviewed {
    /// No commit since the last complete review removed or changed the object.
    LeftOver,
    /// The plan of the commit that removed or changed the object did not show it.
    NotShown {
        /// The commit.
        commit: String,
        /// Its pull request.
        pull: Option<u64>,
    },
    /// The commit that removed or changed the object has no plan that counts.
    Unseen {
        /// The commit.
        commit: String,
        /// Its pull request.
        pull: Option<u64>,
        /// The reason why its plan shows nothing.
        why: Unseen,
    },
    /// None of the plans of these many commits showed it.
    NoneOf(usize),
    /// The commits since the last complete review are not known, for this reason.
    HistoryUnknown(String),
}

/// The review of one deletion or replacement: the number of the pull request whose plan showed it, or the reason why
/// it is not reviewed.
pub type Verdict = Result<u64, NotReviewed>;
