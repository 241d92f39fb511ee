//! The review of a run: which deletions and replacements the plans of the landed commits showed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::object::ident::ObjectKey;
use crate::object::kinds::Kinds;
use crate::object::manifest::Manifest;
use crate::plan::consent::Consent;
use crate::plan::landed::{self, Landed, Wanted, is_unchanged_since, is_undesired_since};
use crate::plan::name_set::NameKey;
use crate::plan::observed::Observed;
use crate::plan::policy::{Policy, Proposed, Reviewed, Shown};
use crate::plan::review::{NotReviewed, Unseen, Verdict};
use crate::plan::signature::Statement;
use crate::run::sources::Sources;
use crate::state::transition::Prior;

/// The review that a run's deletions and replacements need.
#[derive(Clone)]
pub enum ReviewBasis {
    /// The policy says what is reviewed.
    Policy,
    /// The caller has seen the plan, and does not mean what an earlier run kept for a review.
    ByHand,
    /// The plans of these commits were reviewed.
    Landed(LandedCommits),
    /// The commits since the last complete review are not known, for this reason.
    Unknown(String),
    /// The plan is the one to review. The tree is that of the last apply. What the base of the run no longer desires,
    /// and this tree does, is pending.
    Proposed(Option<Arc<Sources>>),
}

/// The commits since the last complete review.
#[derive(Clone)]
pub struct LandedCommits {
    /// The tree before the commits.
    pub before: LandedTree,
    /// The commits, oldest first.
    pub commits: Vec<LandedCommit>,
}

/// A commit of the applied branch that touches the inputs of the root.
#[derive(Clone)]
pub struct LandedCommit {
    /// The commit.
    pub commit: String,
    /// Its pull request.
    pub pull: Option<u64>,
    /// The statement of its plan with the key of the names in it.
    pub(crate) shown: Result<Arc<(Statement, NameKey)>, Unseen>,
    /// The consents that were given in its pull request.
    pub consents: Vec<Consent>,
    /// The tree of the commit.
    pub tree: LandedTree,
}

/// The tree of a landed commit.
#[derive(Clone)]
pub enum LandedTree {
    /// The tree.
    Read(Arc<Sources>),
    /// The commit has no project at the root's place.
    Nothing,
    /// The tree cannot be read.
    Unreadable,
    /// The tree was not needed.
    NotRead,
}

impl ReviewBasis {
    /// Returns `true` if a consent was given for something.
    pub(crate) fn has_consents(&self) -> bool {
        matches!(self, Self::Landed(landed) if landed.commits.iter().any(|commit| !commit.consents.is_empty()))
    }

    /// Judges the deletion of the `undesired` objects and the replacement of the `desired` ones, and puts the result into
    /// the policy. `base` has the objects that the tree before the run's changes desires, if they are known.
    pub(crate) fn judge(
        &self,
        policy: &mut Policy,
        prior: &Prior,
        observed: &Observed,
        undesired: &BTreeSet<&ObjectKey>,
        desired: &BTreeMap<ObjectKey, Manifest>,
        base: Option<&BTreeMap<ObjectKey, Manifest>>,
    ) {
        let kinds = &observed.kinds;
        policy.reviewed = match self {
            Self::Policy => return,
            Self::ByHand if prior.commits.reviewed_from.is_empty() => return,
            Self::ByHand => {
                let kept = prior.entries.iter().filter(|(project, _)| prior.open.contains(*project));
                let kept = kept.map(|(_, ident)| ident.key).filter(|key| undesired.contains(key));
                Reviewed::Proposed(Proposed { pending: BTreeSet::new(), left_over: kept.collect() })
            }
            Self::Unknown(why) => {
                Reviewed::Only(Shown { otherwise: NotReviewed::HistoryUnknown(why.clone()), ..Shown::default() })
            }
            Self::Landed(landed) => Reviewed::Only(landed.shown(policy, observed, undesired, desired)),
            // Without the base, it is not known what is whose. Nothing is deleted then anyway.
            Self::Proposed(ledger) => match base {
                None => Reviewed::Proposed(Proposed::default()),
                Some(base) => {
                    let ledger = ledger.as_ref().map(|sources| wanted(sources, kinds)).unwrap_or_default();
                    let earlier = undesired.iter().filter(|key| !base.contains_key(**key)).map(|key| (*key).clone());
                    let (pending, left_over) = earlier.partition(|key| ledger.contains_key(key));
                    Reviewed::Proposed(Proposed { pending, left_over })
                }
            },
        };
    }
}

impl LandedCommits {
    /// Returns `true` if the tree of every commit was read, as far as it can be read.
    fn are_read(&self) -> bool {
        !self.commits.iter().any(|commit| matches!(commit.tree, LandedTree::NotRead))
    }

    fn shown(
        &self,
        policy: &mut Policy,
        observed: &Observed,
        undesired: &BTreeSet<&ObjectKey>,
        desired: &BTreeMap<ObjectKey, Manifest>,
    ) -> Shown {
        let mut shown = Shown::default();
        if !self.are_read() {
            shown.otherwise = NotReviewed::NoneOf(self.commits.len());
            return shown;
        }
        self.with(&observed.kinds, |before, landed| {
            for key in undesired {
                match landed::deletion(key, before, landed) {
                    Ok(pull) => drop(shown.deleted.insert((*key).clone(), pull)),
                    Err(why) => drop(shown.reasons.insert((*key).clone(), why)),
                }
            }
            for key in desired.keys() {
                match landed::replacement(key, before, landed) {
                    Ok(pull) => drop(shown.replaced.insert(key.clone(), pull)),
                    Err(NotReviewed::LeftOver) => {}
                    Err(why) => drop(shown.reasons.insert(key.clone(), why)),
                }
            }
            let given = self.commits.iter().enumerate();
            for (index, consent) in given.flat_map(|(at, commit)| commit.consents.iter().map(move |one| (at, one))) {
                let deleted = undesired.iter().copied().filter(|key| is_undesired_since(key, index, landed));
                let replaced = desired.keys().filter(|key| is_unchanged_since(key, index, landed));
                for key in deleted.chain(replaced.filter(|_| consent.wish.guard().is_some())) {
                    if !observed.uid(key).is_some_and(|uid| consent.covers(key, uid)) {
                        continue;
                    }
                    // A plan that lists an object as kept by a guard shows its deletion as well.
                    let into = if desired.contains_key(key) { &mut shown.replaced } else { &mut shown.deleted };
                    into.insert(key.clone(), consent.pull);
                    if let Some(guard) = consent.wish.guard() {
                        policy.consented.entry(guard).or_default().insert(key.clone());
                    }
                }
            }
        });
        shown
    }

    /// Returns the verdicts about the deletion of objects.
    pub(crate) fn deletions<'k>(
        &self,
        undesired: impl IntoIterator<Item = &'k ObjectKey>,
        kinds: &Kinds,
    ) -> Vec<(&'k ObjectKey, Verdict)> {
        self.with(kinds, |before, landed| {
            undesired.into_iter().map(|key| (key, landed::deletion(key, before, landed))).collect()
        })
    }

    /// Resolves the trees, and judges with them.
    fn with<R>(&self, kinds: &Kinds, judge: impl FnOnce(Option<&Wanted>, &[Landed<'_>]) -> R) -> R {
        let before = self.before.wanted(kinds);
        let trees: Vec<Option<Wanted>> = self.commits.iter().map(|commit| commit.tree.wanted(kinds)).collect();
        let landed = self.commits.iter().zip(&trees).map(|(LandedCommit { commit, pull, shown, .. }, tree)| Landed {
            commit,
            pull: *pull,
            shown: shown.as_deref().map(|(statement, key)| (statement, key)),
            wanted: tree.as_ref(),
        });
        judge(before.as_ref(), &landed.collect::<Vec<_>>())
    }
}

impl LandedTree {
    fn wanted(&self, kinds: &Kinds) -> Option<Wanted> {
        match self {
            Self::Read(sources) => {
                let desired = sources.resolve(&sources.with_defined_kinds(kinds.clone()));
                desired.failures.is_empty().then(|| hashed(&desired.manifests))
            }
            Self::Nothing => Some(Wanted::new()),
            Self::Unreadable | Self::NotRead => None,
        }
    }
}

/// The objects that a tree desires, as far as its files can be rendered.
fn wanted(sources: &Sources, kinds: &Kinds) -> Wanted {
    hashed(&sources.resolve(&sources.with_defined_kinds(kinds.clone())).manifests)
}

fn hashed(desired: &BTreeMap<ObjectKey, Manifest>) -> Wanted {
    let hash = |manifest: &Manifest| Sha256::digest(manifest.body.json()).into();
    desired.iter().map(|(key, manifest)| (key.clone(), hash(manifest))).collect()
}
