//! The deletions that reviewers saw: follows the commits of the applied branch, each with what its plan showed.
//!
//! The deletion of an object is reviewed if the plan of one of the commits showed it and no commit since then desires
//! the object. So an object that was removed, added again and removed once more needs the last plan, not the first. A
//! replacement is reviewed if the plan of one of the commits showed it and no commit since then changes the object.

use std::collections::BTreeMap;

use super::name_set::NameKey;
use super::review::{NotReviewed, Unseen, Verdict};
use super::signature::Statement;
use crate::object::generated::any_generation;
use crate::object::ident::ObjectKey;

/// The objects that a tree desires, each with a hash of its manifest.
pub(crate) type Wanted = BTreeMap<ObjectKey, [u8; 32]>;

/// A commit of the applied branch that touches the inputs of the root.
pub(crate) struct Landed<'a> {
    /// The commit.
    pub commit: &'a str,
    /// The pull request that it merged, if it is known.
    pub pull: Option<u64>,
    /// The statement of its plan with the key of the names in it, or the reason why its plan shows nothing.
    pub shown: Result<(&'a Statement, &'a NameKey), &'a Unseen>,
    /// The objects that the tree of the commit desires. `None` if the tree cannot be rendered. It then counts as a tree
    /// that desires every object and changes every object.
    pub wanted: Option<&'a Wanted>,
}

impl Landed<'_> {
    fn desires(&self, object: &ObjectKey) -> bool {
        self.wanted.is_none_or(|wanted| wanted.contains_key(object))
    }

    fn reason(&self) -> NotReviewed {
        let (commit, pull) = (self.commit.to_owned(), self.pull);
        match self.shown {
            Ok(_) => NotReviewed::NotShown { commit, pull },
            Err(why) => NotReviewed::Unseen { commit, pull, why: why.clone() },
        }
    }
}

/// Judges the deletion of an object that the last commit does not desire. `landed` are the commits since the last
/// complete review, oldest first. `before` has the objects that the tree before all of them desires, if it is known.
pub(crate) fn deletion(object: &ObjectKey, before: Option<&Wanted>, landed: &[Landed<'_>]) -> Verdict {
    let mut verdict = Err(NotReviewed::LeftOver);
    let mut is_desired = before.is_none_or(|before| before.contains_key(object));
    for commit in landed {
        let was_desired = std::mem::replace(&mut is_desired, commit.desires(object));
        if is_desired {
            // The object is wanted again. What showed its deletion before showed another one.
            verdict = Err(NotReviewed::LeftOver);
            continue;
        }
        match commit.shown {
            Ok((statement, key)) if statement.deleted.contains(&any_generation(object), key) => {
                verdict = Ok(statement.about.pull);
            }
            // A later plan that does not show a deletion takes nothing back, because it may have shown a part only.
            _ if !was_desired => {}
            _ => verdict = Err(commit.reason()),
        }
    }
    verdict
}

/// Judges the replacement of an object that the last commit desires. The arguments are those of [`deletion`].
pub(crate) fn replacement(object: &ObjectKey, before: Option<&Wanted>, landed: &[Landed<'_>]) -> Verdict {
    let mut verdict = Err(NotReviewed::LeftOver);
    let mut last = before.map(|before| before.get(object));
    for commit in landed {
        let now = commit.wanted.map(|wanted| wanted.get(object));
        let is_changed = now.is_none() || now != last;
        last = now;
        match commit.shown {
            Ok((statement, key)) if statement.replaced.contains(object, key) => verdict = Ok(statement.about.pull),
            _ if is_changed => verdict = Err(commit.reason()),
            _ => {}
        }
    }
    verdict
}

/// Returns `true` if no commit after the one at `index` desires the object. A consent that came with that commit then
/// still holds for its deletion.
pub(crate) fn is_undesired_since(object: &ObjectKey, index: usize, landed: &[Landed<'_>]) -> bool {
    !landed.iter().skip(index).any(|commit| commit.desires(object))
}

/// Returns `true` if no commit after the one at `index` changes the object. A consent that came with that commit then
/// still holds for its replacement.
pub(crate) fn is_unchanged_since(object: &ObjectKey, index: usize, landed: &[Landed<'_>]) -> bool {
    let contents = landed.iter().skip(index).map(|commit| commit.wanted.map(|wanted| wanted.get(object)));
    let contents: Vec<_> = contents.collect();
    contents.iter().all(|content| content.is_some() && *content == contents[0])
}

/// Returns `true` if the reason can change without a new commit: the forge may not know yet which pull request a commit
/// belongs to.
pub(crate) fn may_be_late(verdict: &Verdict) -> bool {
    matches!(verdict, Err(NotReviewed::Unseen { why: Unseen::NoPull | Unseen::Unread(_), .. }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::name_set::NameSet;
    use crate::plan::signature::{About, SigningKey};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn key(number: usize) -> ObjectKey {
        ObjectKey {
            group: String::new(),
            kind: "ConfigMap".into(),
            namespace: Some("x".into()),
            name: format!("c{number}"),
        }
    }

    /// A commit of a generated history: the content of the objects that its tree desires, and the deletions and
    /// replacements that its plan shows, if it counts. The tree may be one that cannot be rendered.
    #[derive(Clone, Debug)]
    struct Commit {
        wanted: Option<BTreeMap<usize, u8>>,
        shown: Option<(BTreeSet<usize>, BTreeSet<usize>)>,
    }

    const OBJECTS: usize = 4;

    fn tree() -> impl Strategy<Value = BTreeMap<usize, u8>> {
        prop::collection::btree_map(0..OBJECTS, 0_u8..3, 0..=OBJECTS)
    }

    fn history() -> impl Strategy<Value = (BTreeMap<usize, u8>, Vec<Commit>)> {
        let some = || prop::collection::btree_set(0..OBJECTS, 0..=OBJECTS);
        let commit = (prop::option::weighted(0.9, tree()), prop::option::weighted(0.7, (some(), some())))
            .prop_map(|(wanted, shown)| Commit { wanted, shown });
        (tree(), prop::collection::vec(commit, 0..8))
    }

    fn wanted(tree: &BTreeMap<usize, u8>) -> Wanted {
        tree.iter().map(|(number, content)| (key(*number), [*content; 32])).collect()
    }

    fn verdicts(
        before: &BTreeMap<usize, u8>,
        commits: &[Commit],
        judge: fn(&ObjectKey, Option<&Wanted>, &[Landed<'_>]) -> Verdict,
    ) -> Vec<Verdict> {
        let signing = SigningKey::of(b"key");
        let names = |numbers: &BTreeSet<usize>| {
            let keys: Vec<ObjectKey> = numbers.iter().map(|number| key(*number)).collect();
            NameSet::of(&keys, signing.names())
        };
        let statement = |pull: usize, shown: &(BTreeSet<usize>, BTreeSet<usize>)| Statement {
            about: About {
                root: "demo".into(),
                cluster: "c".into(),
                target: "demo".into(),
                repository: 1,
                pull: u64::try_from(pull).unwrap(),
                branch: "main".into(),
                head: "h".into(),
            },
            tree: String::new(),
            run: 1,
            attempt: 1,
            time: 0,
            deleted: names(&shown.0),
            replaced: names(&shown.1),
            texts: Vec::new(),
            digest: String::new(),
            kept: BTreeMap::new(),
        };
        let ids: Vec<String> = (0..commits.len()).map(|index| format!("commit {index}")).collect();
        let trees: Vec<Option<Wanted>> = commits.iter().map(|commit| commit.wanted.as_ref().map(wanted)).collect();
        let plans: Vec<Option<Statement>> = commits
            .iter()
            .enumerate()
            .map(|(index, commit)| commit.shown.as_ref().map(|shown| statement(index, shown)))
            .collect();
        let landed: Vec<Landed<'_>> = (0..commits.len())
            .map(|index| Landed {
                commit: &ids[index],
                pull: None,
                shown: plans[index].as_ref().map(|plan| (plan, signing.names())).ok_or(&Unseen::NoComment),
                wanted: trees[index].as_ref(),
            })
            .collect();
        let before = wanted(before);
        (0..OBJECTS).map(|number| judge(&key(number), Some(&before), &landed)).collect()
    }

    fn desires(commit: &Commit, number: usize) -> bool {
        commit.wanted.as_ref().is_none_or(|wanted| wanted.contains_key(&number))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        /// The oracle tries every commit as the one that showed the deletion.
        #[test]
        fn f10_a_deletion_is_reviewed_if_a_plan_showed_it_and_nothing_since_wants_the_object(
            (before, commits) in history()
        ) {
            for (number, verdict) in verdicts(&before, &commits, deletion).into_iter().enumerate() {
                let shows = |at: &usize| {
                    let shown = commits[*at].shown.as_ref().is_some_and(|(deleted, _)| deleted.contains(&number));
                    shown && commits[*at..].iter().all(|commit| !desires(commit, number))
                };
                let by = (0..commits.len()).rfind(shows).map(|at| u64::try_from(at).unwrap());
                prop_assert_eq!(verdict.ok(), by);
            }
        }

        /// The oracle tries every commit as the one that showed the replacement.
        #[test]
        fn f10_a_replacement_is_reviewed_if_a_plan_showed_it_and_nothing_since_changes_the_object(
            (before, commits) in history()
        ) {
            let content = |at: usize, number: usize| match at {
                0 => Some(before.get(&number)),
                _ => commits[at - 1].wanted.as_ref().map(|wanted| wanted.get(&number)),
            };
            for (number, verdict) in verdicts(&before, &commits, replacement).into_iter().enumerate() {
                let shows = |at: &usize| {
                    let shown = commits[*at].shown.as_ref().is_some_and(|(_, replaced)| replaced.contains(&number));
                    let later = *at + 2..=commits.len();
                    let same = |at: usize| content(at, number).is_some() && content(at, number) == content(at - 1, number);
                    shown && later.into_iter().all(same)
                };
                let by = (0..commits.len()).rfind(shows).map(|at| u64::try_from(at).unwrap());
                prop_assert_eq!(verdict.ok(), by);
            }
        }

        /// A reason names the last commit that stopped wanting the object, and whether its plan counted.
        #[test]
        fn f10_what_was_not_shown_names_the_commit_that_removed_it((before, commits) in history()) {
            for (number, verdict) in verdicts(&before, &commits, deletion).into_iter().enumerate() {
                let is_desired = |at: usize| match at {
                    0 => before.contains_key(&number),
                    _ => desires(&commits[at - 1], number),
                };
                let removed = (1..=commits.len()).rfind(|at| is_desired(at - 1) && !is_desired(*at));
                let name = removed.map(|at| format!("commit {}", at - 1));
                match verdict {
                    Err(NotReviewed::NotShown { commit, .. }) => {
                        prop_assert_eq!(Some(commit), name);
                        prop_assert!(commits[removed.unwrap() - 1].shown.is_some());
                    }
                    Err(NotReviewed::Unseen { commit, .. }) => {
                        prop_assert_eq!(Some(commit), name);
                        prop_assert!(commits[removed.unwrap() - 1].shown.is_none());
                    }
                    Err(NotReviewed::LeftOver) => {
                        let is_wanted = commits.last().is_some_and(|commit| desires(commit, number));
                        prop_assert!(is_wanted || removed.is_none(), "{:?}", removed);
                    }
                    Err(other) => prop_assert!(false, "{:?}", other),
                    Ok(_) => {}
                }
            }
        }
    }
}
