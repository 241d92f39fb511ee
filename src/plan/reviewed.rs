//! The deletions that reviewers saw: follows the commits of the applied branch, each with what its plan showed.
//!
//! An object's deletion is reviewed if the plan of one of the commits showed it and no commit since then desires the
//! object. So an object that was removed, added again and removed once more needs the last plan, not the first.

use std::collections::{BTreeMap, BTreeSet};

use crate::object::ident::ObjectKey;

/// The reason why the plan of a commit shows nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unseen {
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
    /// The comment cannot be read now, for this reason of the forge.
    Unread(String),
}

/// A commit of the applied branch that touches the inputs of the root.
pub(crate) struct Landed<'a> {
    /// The commit.
    pub commit: &'a str,
    /// The pull request that it merged, if it is known.
    pub pull: Option<u64>,
    /// The deletions that its plan showed, or the reason why it showed none.
    pub shown: Result<&'a dyn Fn(&ObjectKey) -> bool, Unseen>,
    /// Tells if the tree of the commit desires an object.
    pub desires: &'a dyn Fn(&ObjectKey) -> bool,
}

/// The review of one deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The plan of this pull request showed the deletion.
    Shown(Option<u64>),
    /// The commit that removed the object had a plan that did not show its deletion.
    NotShown {
        /// The commit that removed the object.
        commit: String,
        /// Its pull request.
        pull: Option<u64>,
    },
    /// The commit that removed the object had no plan that counts.
    Unseen {
        /// The commit that removed the object.
        commit: String,
        /// Its pull request.
        pull: Option<u64>,
        /// The reason why its plan shows nothing.
        why: Unseen,
    },
    /// No commit of the walk removed the object. It is left over from before.
    LeftOver,
}

/// Judges the deletions of objects. `landed` are the commits since the last reviewed one, oldest first. `desired_before`
/// tells if the tree before all of them desires an object.
pub(crate) fn judge<'k>(
    objects: impl IntoIterator<Item = &'k ObjectKey>,
    desired_before: &dyn Fn(&ObjectKey) -> bool,
    landed: &[Landed<'_>],
) -> BTreeMap<&'k ObjectKey, Verdict> {
    objects.into_iter().map(|object| (object, judged(object, desired_before(object), landed))).collect()
}

fn judged(object: &ObjectKey, desired_before: bool, landed: &[Landed<'_>]) -> Verdict {
    let (mut verdict, mut is_desired) = (Verdict::LeftOver, desired_before);
    for Landed { commit, pull, shown, desires } in landed {
        let was_desired = std::mem::replace(&mut is_desired, desires(object));
        if is_desired {
            // The object is wanted again. What showed its deletion before showed another one.
            verdict = Verdict::LeftOver;
            continue;
        }
        match shown {
            Ok(shown) if shown(object) => verdict = Verdict::Shown(*pull),
            // A later plan that does not show a deletion takes nothing back, because it may have shown a part only.
            _ if !was_desired => {}
            Ok(_) => verdict = Verdict::NotShown { commit: (*commit).to_owned(), pull: *pull },
            Err(why) => {
                verdict = Verdict::Unseen { commit: (*commit).to_owned(), pull: *pull, why: why.clone() };
            }
        }
    }
    verdict
}

/// Lists the objects whose deletion was shown.
pub(crate) fn shown<'k>(verdicts: &BTreeMap<&'k ObjectKey, Verdict>) -> BTreeSet<&'k ObjectKey> {
    verdicts.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Shown(_))).map(|(key, _)| *key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(number: usize) -> ObjectKey {
        ObjectKey {
            group: String::new(),
            kind: "ConfigMap".into(),
            namespace: Some("x".into()),
            name: format!("c{number}"),
        }
    }

    /// A commit of a generated history: the objects that its tree desires, and those that its plan shows, if it counts.
    #[derive(Clone, Debug)]
    struct Commit {
        desired: BTreeSet<usize>,
        shown: Option<BTreeSet<usize>>,
    }

    const OBJECTS: usize = 5;

    fn history() -> impl Strategy<Value = (BTreeSet<usize>, Vec<Commit>)> {
        let some = || prop::collection::btree_set(0..OBJECTS, 0..=OBJECTS);
        let commit =
            (some(), prop::option::weighted(0.7, some())).prop_map(|(desired, shown)| Commit { desired, shown });
        (some(), prop::collection::vec(commit, 0..8))
    }

    fn verdicts(before: &BTreeSet<usize>, commits: &[Commit]) -> BTreeMap<ObjectKey, Verdict> {
        let number = |key: &ObjectKey| key.name[1..].parse::<usize>().unwrap();
        type Asked = Box<dyn Fn(&ObjectKey) -> bool>;
        let asked = |set: &BTreeSet<usize>| -> Asked {
            let set = set.clone();
            Box::new(move |key| set.contains(&number(key)))
        };
        let names: Vec<String> = (0..commits.len()).map(|index| format!("commit {index}")).collect();
        let desired: Vec<Asked> = commits.iter().map(|commit| asked(&commit.desired)).collect();
        let shown: Vec<Option<Asked>> = commits.iter().map(|commit| commit.shown.as_ref().map(asked)).collect();
        let landed: Vec<Landed<'_>> = names
            .iter()
            .zip(&desired)
            .zip(&shown)
            .enumerate()
            .map(|(index, ((commit, desires), shown))| Landed {
                commit,
                pull: Some(u64::try_from(index).unwrap()),
                shown: shown.as_deref().ok_or(Unseen::NoComment),
                desires: &**desires,
            })
            .collect();
        let objects: Vec<ObjectKey> = (0..OBJECTS).map(key).collect();
        let found = judge(&objects, &*asked(before), &landed);
        found.into_iter().map(|(key, verdict)| (key.clone(), verdict)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        /// The oracle tries every commit as the one that showed the deletion.
        #[test]
        fn f10_a_deletion_is_reviewed_if_a_plan_showed_it_and_nothing_since_wants_the_object(
            (before, commits) in history()
        ) {
            for (object, verdict) in verdicts(&before, &commits) {
                let number: usize = object.name[1..].parse().unwrap();
                let shows = |at: &usize| {
                    let shown = commits[*at].shown.as_ref().is_some_and(|shown| shown.contains(&number));
                    shown && commits[*at..].iter().all(|commit| !commit.desired.contains(&number))
                };
                let by = (0..commits.len()).filter(shows).next_back().map(|at| u64::try_from(at).unwrap());
                match verdict {
                    Verdict::Shown(pull) => prop_assert_eq!((by.is_some(), pull), (true, by)),
                    _ => prop_assert_eq!(by, None),
                }
            }
        }

        /// A reason names the last commit that stopped wanting the object, and whether its plan counted.
        #[test]
        fn f10_what_was_not_shown_names_the_commit_that_removed_it((before, commits) in history()) {
            for (object, verdict) in verdicts(&before, &commits) {
                let number: usize = object.name[1..].parse().unwrap();
                let is_desired = |at: usize| match at {
                    0 => before.contains(&number),
                    _ => commits[at - 1].desired.contains(&number),
                };
                let removed = (1..=commits.len()).filter(|at| is_desired(at - 1) && !is_desired(*at)).next_back();
                let name = removed.map(|at| format!("commit {}", at - 1));
                match verdict {
                    Verdict::NotShown { commit, .. } => {
                        prop_assert_eq!(Some(commit), name);
                        prop_assert!(commits[removed.unwrap() - 1].shown.is_some());
                    }
                    Verdict::Unseen { commit, .. } => {
                        prop_assert_eq!(Some(commit), name);
                        prop_assert!(commits[removed.unwrap() - 1].shown.is_none());
                    }
                    Verdict::LeftOver => {
                        let is_wanted = commits.last().is_some_and(|commit| commit.desired.contains(&number));
                        prop_assert!(is_wanted || removed.is_none(), "{:?}", removed);
                    }
                    Verdict::Shown(_) => {}
                }
            }
        }
    }
}
