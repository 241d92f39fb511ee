//! The sentences about the review of a deletion or a replacement.

use super::commit;
use crate::plan::review::{NotReviewed, Unseen};

/// Returns the reason why a deletion or a replacement is not reviewed.
pub(crate) fn unreviewed(why: &NotReviewed) -> String {
    match why {
        NotReviewed::LeftOver => "left over: no merged pull request's plan showed its deletion".to_owned(),
        NotReviewed::NotShown { commit, pull } => {
            format!("{} removed or changed it, and its plan did not show that", subject(commit, *pull))
        }
        NotReviewed::Unseen { commit, pull, why } => {
            format!("{} removed or changed it, and {}", subject(commit, *pull), unseen(why))
        }
        NotReviewed::NoneOf(count) => format!("none of the plans of the last {count} commits showed it"),
        NotReviewed::HistoryUnknown(why) => format!("the commits since the last apply are not known: {why}"),
    }
}

/// Returns the reason why the plan of a commit does not count.
pub(crate) fn unseen_plan(commit: &str, pull: Option<u64>, why: &Unseen) -> String {
    format!("of {}, {}", subject(commit, pull), unseen(why))
}

fn subject(id: &str, pull: Option<u64>) -> String {
    pull.map_or_else(|| format!("commit {}", commit(id)), |number| format!("#{number}"))
}

fn unseen(why: &Unseen) -> String {
    match why {
        Unseen::NoPull => "no pull request of this commit is known".to_owned(),
        Unseen::NoComment => "it has no comment with a plan".to_owned(),
        Unseen::OtherAuthor(login) => format!("its plan comment is by {login}, not by this workflow"),
        Unseen::NotSigned => "its plan is not signed".to_owned(),
        Unseen::WrongSignature => "the signature of its plan is wrong".to_owned(),
        Unseen::OtherSubject => "its plan is of another root, cluster, target or pull request".to_owned(),
        Unseen::OtherHead { shown, merged } => {
            format!("its plan is of {}, but {} was merged", commit(shown), commit(merged))
        }
        Unseen::OtherBranch(branch) => format!("its plan is of a merge into {branch}"),
        Unseen::SignedAfterMerge => "its plan was made after the merge".to_owned(),
        Unseen::OtherText => "its comment shows another text than the plan signed".to_owned(),
        Unseen::ShownAfterMerge => "its comment was written or changed after the merge".to_owned(),
        Unseen::NoKey => "the root has no key yet, so no plan is signed".to_owned(),
        Unseen::Unread(why) => format!("its plan cannot be read now: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x8_each_reason_is_one_sentence_of_its_own() {
        let head = "1".repeat(40);
        let reasons = [
            Unseen::NoPull,
            Unseen::NoComment,
            Unseen::OtherAuthor("mallory".into()),
            Unseen::NotSigned,
            Unseen::WrongSignature,
            Unseen::OtherSubject,
            Unseen::OtherHead { shown: head.clone(), merged: "2".repeat(40) },
            Unseen::OtherBranch("next".into()),
            Unseen::SignedAfterMerge,
            Unseen::NoKey,
            Unseen::Unread("502".into()),
            Unseen::OtherText,
            Unseen::ShownAfterMerge,
        ];
        let of = |why: &Unseen| NotReviewed::Unseen { commit: head.clone(), pull: Some(7), why: why.clone() };
        let mut told: Vec<String> = reasons.iter().map(|why| unreviewed(&of(why))).collect();
        assert_eq!(told[6], "#7 removed or changed it, and its plan is of 111111111111, but 222222222222 was merged");
        told.push(unreviewed(&NotReviewed::NotShown { commit: head.clone(), pull: None }));
        assert_eq!(told[13], "commit 111111111111 removed or changed it, and its plan did not show that");
        told.extend([NotReviewed::LeftOver, NotReviewed::NoneOf(3)].iter().map(unreviewed));
        let distinct: std::collections::BTreeSet<&String> = told.iter().collect();
        assert_eq!(distinct.len(), told.len());
    }
}
