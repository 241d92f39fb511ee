//! The commits that are recorded for a root. A run compares its own commit with them to find out if it is late. They
//! also bound the changes that a run has to cover.
//!
//! The commits are in two places: in the annotations of the state's Secret, and in the annotations of the review key's
//! Secret. Kubernator rewrites the first Secret and never the second. This module uses commits as names only and does
//! not run git.

use std::collections::{BTreeMap, BTreeSet};

/// The annotation with the commit of the last run that began.
pub(crate) const BEGUN_ANNOTATION: &str = "kubernator.io/ktor-begun";
/// The annotation with the commit that the root was last finalized at. The value is `COMMIT`, or `stale` with any
/// number of commits after it.
pub(crate) const LEDGER_ANNOTATION: &str = "kubernator.io/ktor-ledger";
/// The annotation with the ledger's commit from before the first run that kept something for a review that is still
/// needed.
pub(crate) const REVIEWED_FROM_ANNOTATION: &str = "kubernator.io/ktor-reviewed-from";

/// The word before the commits of a ledger that does not narrow the scope.
const STALE: &str = "stale";

/// The commit that a root was last finalized at. The ledger is current only if nothing else has touched the state
/// since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ledger {
    /// The root was finalized at this commit, and nothing has touched the state since.
    Current(String),
    /// The next run has to cover the whole root. Either this is the first run, or a crash, a scoped run or another tool
    /// came in between.
    ///
    /// The root was finalized at each of these commits at some time, so nothing older than them is applied.
    Stale(BTreeSet<String>),
}

impl Default for Ledger {
    fn default() -> Self {
        Self::Stale(BTreeSet::new())
    }
}

impl Ledger {
    /// Returns the commits of a current or a stale ledger.
    pub fn commits(&self) -> BTreeSet<String> {
        match self {
            Self::Current(commit) => [commit.clone()].into(),
            Self::Stale(commits) => commits.clone(),
        }
    }

    /// Returns the commit if the ledger is current. Only this commit may narrow the scope.
    pub fn current(&self) -> Option<&str> {
        match self {
            Self::Current(commit) => Some(commit),
            Self::Stale(_) => None,
        }
    }

    /// Returns a stale ledger with the same commits.
    #[must_use]
    pub(crate) fn staled(&self) -> Self {
        Self::Stale(self.commits())
    }
}

/// The three kinds of commits that are recorded for a root.
///
/// If the two places differ, each field holds the commits of both. No commit may be dropped before a run has been
/// judged by all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commits {
    /// The commit of the last run that began, finished or not.
    pub begun: BTreeSet<String>,
    /// The commit that the root was last finalized at.
    pub ledger: Ledger,
    /// The ledger's commit from before the first run that kept something for a review that is still needed. Empty if no
    /// review is needed, or if there was no ledger.
    pub reviewed_from: BTreeSet<String>,
}

impl Commits {
    /// Reads the commits from the annotations of one place. Returns `None` if ktor did not write these annotations.
    pub fn of(annotations: &BTreeMap<String, String>) -> Option<Self> {
        let ledger = annotations.get(LEDGER_ANNOTATION)?;
        let listed = |name: &str| annotations.get(name).map(|text| commits(text)).unwrap_or_default();
        let found = commits(ledger);
        let ledger = match found.first() {
            Some(commit) if found.len() == 1 && !ledger.starts_with(STALE) => Ledger::Current(commit.clone()),
            _ => Ledger::Stale(found),
        };
        Some(Self { begun: listed(BEGUN_ANNOTATION), ledger, reviewed_from: listed(REVIEWED_FROM_ANNOTATION) })
    }

    /// Combines the commits of the two places. Also returns `true` if the places agree.
    ///
    /// The places disagree if a run crashed between the two writes, or if another tool wrote one of them. The combined
    /// ledger is then stale.
    pub fn merged(state: Option<Self>, kept: Option<Self>) -> (Self, bool) {
        match (state, kept) {
            (Some(state), Some(kept)) if state == kept => (state, true),
            (None, None) => (Self::default(), true),
            (state, kept) => {
                let mut merged = Self::default();
                let mut ledger = BTreeSet::new();
                for place in state.into_iter().chain(kept) {
                    merged.begun.extend(place.begun);
                    ledger.extend(place.ledger.commits());
                    merged.reviewed_from.extend(place.reviewed_from);
                }
                merged.ledger = Ledger::Stale(ledger);
                (merged, false)
            }
        }
    }

    /// Returns the annotations that record these commits.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        let listed = |commits: &BTreeSet<String>| commits.iter().cloned().collect::<Vec<_>>().join(" ");
        let ledger = match &self.ledger {
            Ledger::Current(commit) => commit.clone(),
            Ledger::Stale(commits) => format!("{STALE} {}", listed(commits)).trim_end().to_owned(),
        };
        let mut annotations = BTreeMap::from([(LEDGER_ANNOTATION.to_owned(), ledger)]);
        for (name, commits) in [(BEGUN_ANNOTATION, &self.begun), (REVIEWED_FROM_ANNOTATION, &self.reviewed_from)] {
            if !commits.is_empty() {
                annotations.insert(name.to_owned(), listed(commits));
            }
        }
        annotations
    }

    /// Returns every commit that a run must not be older than.
    pub fn measures(&self) -> BTreeSet<String> {
        self.begun.union(&self.ledger.commits()).cloned().collect()
    }

    /// Returns the same commits with a stale ledger.
    #[must_use]
    pub(crate) fn staled(self) -> Self {
        Self { ledger: self.ledger.staled(), ..self }
    }
}

/// Parses the commits that a text lists. Skips every word that is not a full object name of git.
fn commits(text: &str) -> BTreeSet<String> {
    let is_commit = |word: &&str| {
        matches!(word.len(), 40 | 64) && word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    text.split_whitespace().filter(is_commit).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn commit(number: u8) -> String {
        format!("{number:040x}")
    }

    fn any_commits() -> impl Strategy<Value = Commits> {
        let set = || proptest::collection::btree_set((0_u8..6).prop_map(commit), 0..3);
        let ledger = prop_oneof![(0_u8..6).prop_map(|c| Ledger::Current(commit(c))), set().prop_map(Ledger::Stale)];
        (set(), ledger, set()).prop_map(|(begun, ledger, reviewed_from)| Commits { begun, ledger, reviewed_from })
    }

    proptest! {
        #[test]
        fn x4_what_is_written_is_read_again(commits in any_commits()) {
            prop_assert_eq!(Commits::of(&commits.annotations()), Some(commits));
        }

        #[test]
        fn x4_places_that_differ_lose_no_commit_and_narrow_nothing(
            state in proptest::option::of(any_commits()), kept in proptest::option::of(any_commits())
        ) {
            let (merged, agree) = Commits::merged(state.clone(), kept.clone());
            prop_assert_eq!(agree, state == kept);
            for place in state.iter().chain(&kept) {
                prop_assert!(place.measures().is_subset(&merged.measures()));
                prop_assert!(place.reviewed_from.is_subset(&merged.reviewed_from));
            }
            prop_assert!(agree || merged.ledger.current().is_none());
        }
    }

    #[test]
    fn what_is_no_commit_is_passed_over() {
        let read = |ledger: &str| {
            Commits::of(&[(LEDGER_ANNOTATION.to_owned(), ledger.to_owned())].into()).map(|read| read.ledger)
        };
        let (one, both) = (commit(1), format!("{} {}", commit(1), commit(2)));
        assert_eq!(read(&one), Some(Ledger::Current(one.clone())));
        assert_eq!(read(&both), Some(Ledger::Stale([commit(1), commit(2)].into())));
        for text in ["stale", "", "main", "--upload-pack=x", &one.to_uppercase()[..39], "ABCDEF"] {
            assert_eq!(read(text), Some(Ledger::default()), "{text}");
        }
        assert_eq!(Commits::of(&BTreeMap::new()), None);
    }
}
