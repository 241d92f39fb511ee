//! The commits that a run applies: the pull request of each, and what its plan showed.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use super::baseline::ledger_of;
use super::job::{Job, place};
use super::reporter::{MergedPull, PlanPlace};
use crate::conclusion::failure::{Failure, chain};
use crate::forge::{CommentedPlan, Event, Pull, pull_number};
use crate::git::commit::Commit;
use crate::git::landed::Landed;
use crate::git::repository::{Ancestry, Repository};
use crate::object::kinds::Kinds;
use crate::plan::consent::Consent;
use crate::plan::landed::may_be_late;
use crate::plan::name_set::NameKey;
use crate::plan::review::Unseen;
use crate::plan::signature::{About, SigningKeys, Statement, verify};
use crate::report::wording;
use crate::run::review::{LandedCommit, LandedCommits, LandedTree, ReviewBasis};
use crate::run::workspace::Workspace;
use crate::state::commits::Commits;
use crate::state::transition::Prior;

/// The remote that the history is fetched from.
const REMOTE: &str = "origin";

/// The time to wait for the forge to know the pull request of a commit, and the pause between two questions. GitHub
/// knows it tens of seconds after a merge.
const LAG: Duration = Duration::from_secs(60);
/// The age in seconds from which a commit is not waited for. The forge knows it by then, if it ever does.
const OLD: i64 = 600;
const PAUSE: Duration = Duration::from_secs(5);

/// The commits that a run applies.
pub(super) struct Arrivals {
    /// The review that follows from them.
    pub review: ReviewBasis,
    /// The pull requests that the run applies for the first time, with the pull request of the event.
    pub pulls: Vec<MergedPull>,
    /// The digest of the one plan that showed everything that the run applies for the first time, or the reason why there
    /// is no such plan.
    pub digest: Result<String, String>,
}

/// The plan of a pull request: its statement, if it counts, and its place. The place is absent if the comment cannot be
/// read.
#[derive(Clone)]
struct Planned {
    head: String,
    shown: Result<Arc<(Statement, NameKey)>, Unseen>,
    place: Option<PlanPlace>,
    consents: Vec<Consent>,
}

/// A run's knowledge about the root.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub project: &'a Workspace,
    pub prior: &'a Prior,
    pub keys: Option<&'a SigningKeys>,
    pub target: &'a str,
    pub head: &'a Commit,
}

impl Job<'_> {
    /// Finds the commits since the last complete review, with what their plans showed. Waits for the forge's index while
    /// a deletion depends on it.
    ///
    /// # Errors
    ///
    /// Git fails at an operation that needs no remote. A forge that fails leaves deletions without a review.
    pub(super) async fn arrivals(&self, known: Known<'_>, accepted: Option<&Commit>) -> Result<Arrivals, Failure> {
        let repository = known.project.repository("an apply")?;
        let event = self.event_pull().await;
        let unknown = |why: String| Arrivals {
            digest: Err(why.clone()),
            review: ReviewBasis::Unknown(why),
            pulls: event.iter().cloned().collect(),
        };
        let Some(from) = range_start(repository, &known.prior.commits, accepted).await? else {
            return Ok(unknown("no earlier apply of this root is recorded".to_owned()));
        };
        let landed = match self.history(repository, known, &from).await? {
            Ok(landed) => landed,
            Err(why) => return Ok(unknown(why)),
        };
        let (mut plans, mut trees) = (BTreeMap::new(), BTreeMap::new());
        let mut pulls: Vec<Option<u64>> = vec![None; landed.len()];
        let begun = tokio::time::Instant::now();
        let commits = loop {
            for (landed, pull) in landed.iter().zip(&mut pulls).filter(|(_, pull)| pull.is_none()) {
                *pull = self.pull_of(landed, known, &mut plans).await;
            }
            let commits = self.commits(known, &from, (&landed, &pulls), &plans, &mut trees).await;
            let now = (self.around.now)().as_second();
            let unknown = || landed.iter().zip(&pulls).filter(|(_, pull)| pull.is_none()).map(|(landed, _)| landed);
            let is_recent = unknown().any(|landed| landed.time > now.saturating_sub(OLD));
            let is_late = unknown().any(names_one);
            let waits = self.reporter.has_forge() && !self.options.allows_unreviewed_deletions;
            if begun.elapsed() >= LAG || !waits || !is_recent || !(is_late || depends(known, &commits)) {
                break commits;
            }
            tokio::time::sleep(PAUSE).await;
        };
        let new = self.first_applied(repository, known, &landed).await?;
        let digest = reviewed_digest(commits.commits.get(new..).unwrap_or_default());
        let mut merged: BTreeMap<u64, MergedPull> = event.into_iter().map(|pull| (pull.number, pull)).collect();
        for number in pulls.iter().skip(new).flatten() {
            // A comment that cannot be read is not written either, because it may have the signed plan.
            if let Some(Planned { head, place: Some(plan), .. }) = plans.get(number) {
                let (head, plan) = (head.clone(), plan.clone());
                merged.insert(*number, MergedPull { number: *number, head, plan });
            }
        }
        Ok(Arrivals { review: ReviewBasis::Landed(commits), pulls: merged.into_values().collect(), digest })
    }

    /// Lists the commits after `from`, or returns the reason why they are not known.
    pub(super) async fn history(
        &self,
        repository: &Repository,
        known: Known<'_>,
        from: &Commit,
    ) -> Result<Result<Vec<Landed>, String>, Failure> {
        match repository.reaches(REMOTE, from, known.head).await {
            Ok(true) => {}
            Ok(false) => return Ok(Err(format!("{} does not descend from {}", known.head.short(), from.short()))),
            Err(error) => return Ok(Err(chain(&error))),
        }
        let landed = repository.landed(from, known.head, &known.project.input_paths()).await?;
        if landed.is_cut {
            return Ok(Err(format!("there are more than {} of them", landed.commits.len())));
        }
        Ok(Ok(landed.commits))
    }

    /// The pull request of the event.
    async fn event_pull(&self) -> Option<MergedPull> {
        let Event::PullRequest(pull) = &self.around.context.event else { return None };
        let plan = self.place_of_plan(pull.number).await?;
        Some(MergedPull { number: pull.number, head: pull.head_sha.clone(), plan })
    }

    /// Returns the pull request that landed as a commit, and remembers its plan.
    async fn pull_of(&self, landed: &Landed, known: Known<'_>, plans: &mut BTreeMap<u64, Planned>) -> Option<u64> {
        let pull = self.landed_pull(landed).await?;
        if let Entry::Vacant(plan) = plans.entry(pull.number) {
            plan.insert(self.planned_by(&pull, known).await);
        }
        Some(pull.number)
    }

    /// Returns the pull request that landed as a commit.
    pub(super) async fn landed_pull(&self, landed: &Landed) -> Option<Pull> {
        let branch = self.branch();
        let commit = landed.commit.as_str();
        let is_merged = |pull: &Pull| pull.merged && branch.is_none_or(|branch| branch == pull.base_ref);
        let mut found = None;
        if let Some(number) = pull_number(&landed.subject)
            && let Some(pull) = self.reporter.pull(number).await
            && is_merged(&pull)
        {
            let is_this = pull.merge_commit_sha.as_deref() == Some(commit);
            let is_named = is_this || self.reporter.pulls_of(commit).await.iter().any(|named| named.number == number);
            found = Some(pull).filter(|_| is_named);
        }
        if found.is_none() {
            let named = self.reporter.pulls_of(commit).await.into_iter().filter(is_merged);
            // Of several, the one that says so itself comes first, and then the one that was merged last.
            found = named.max_by_key(|pull| (pull.merge_commit_sha.as_deref() == Some(commit), pull.merged_at));
        }
        found
    }

    /// Reads the plan in the comment of a merged pull request. Another job can add a comment under the same login, so
    /// there may be several. Of those that count, it takes the one that was signed last. If none counts, it gives the
    /// reason for the one of the latest run.
    async fn planned_by(&self, pull: &Pull, known: Known<'_>) -> Planned {
        let head = pull.head_sha.clone();
        let unseen = |place, why| Planned { head: head.clone(), shown: Err(why), place, consents: Vec::new() };
        let nowhere = Some(PlanPlace::nowhere());
        let plans = match self.reporter.commented_plans(pull.number).await {
            Err(error) => return unseen(None, Unseen::Unread(chain(&error))),
            Ok(Err(None)) => return unseen(nowhere, Unseen::NoComment),
            Ok(Err(Some(other))) => return unseen(nowhere, Unseen::OtherAuthor(other)),
            Ok(Ok(plans)) => plans,
        };
        let mut judged: Vec<_> = plans.iter().map(|plan| (shown_by(plan, pull, known), place(plan))).collect();
        judged.sort_by_key(|(shown, _)| {
            Reverse(shown.as_deref().ok().map(|(statement, _)| (statement.time, statement.run, statement.attempt)))
        });
        let Some((shown, place)) = judged.into_iter().next() else { return unseen(nowhere, Unseen::NoComment) };
        let consents = match shown.as_deref() {
            Ok((statement, key)) => self.consents(pull, statement, key).await,
            Err(_) => Vec::new(),
        };
        Planned { head, shown, place: Some(place), consents }
    }

    /// Puts the commits together with their plans. Reads the trees of the commits if something can depend on them.
    async fn commits(
        &self,
        known: Known<'_>,
        from: &Commit,
        (landed, pulls): (&[Landed], &[Option<u64>]),
        plans: &BTreeMap<u64, Planned>,
        trees: &mut BTreeMap<String, LandedTree>,
    ) -> LandedCommits {
        let replaces = plans.values().any(|plan| plan.shown.as_ref().is_ok_and(|shown| !shown.0.replaced.is_empty()));
        let consented = plans.values().any(|plan| !plan.consents.is_empty());
        let is_needed = replaces || consented || landed.len() == 1 || known.project.has_orphans(known.prior);
        let mut commits = Vec::new();
        for (landed, pull) in landed.iter().zip(pulls) {
            let shown = match pull.and_then(|number| plans.get(&number)) {
                Some(plan) => plan.shown.clone(),
                None if self.reporter.has_forge() => Err(Unseen::NoPull),
                None => Err(Unseen::Unread("there is no token".to_owned())),
            };
            let consents = pull.and_then(|number| plans.get(&number)).map(|plan| plan.consents.clone());
            let consents = consents.unwrap_or_default();
            let tree = if is_needed { tree(known, &landed.commit, trees).await } else { LandedTree::NotRead };
            commits.push(LandedCommit { commit: landed.commit.to_string(), pull: *pull, shown, consents, tree });
        }
        let before = if is_needed { tree(known, from, trees).await } else { LandedTree::NotRead };
        LandedCommits { before, commits }
    }

    /// The number of commits at the start of `landed` that an earlier run applied.
    async fn first_applied(
        &self,
        repository: &Repository,
        known: Known<'_>,
        landed: &[Landed],
    ) -> Result<usize, Failure> {
        let since = match (ledger_of(&known.prior.commits), &self.around.context.event) {
            (Some(ledger), _) if ledger != *known.head => Some(ledger),
            (_, Event::Push(push)) if !push.created => push.before.parse().ok(),
            _ => None,
        };
        let Some(since) = since else { return Ok(0) };
        let mut count = 0;
        for landed in landed {
            if repository.is_ancestor(&landed.commit, &since).await? != Ancestry::Ancestor {
                break;
            }
            count += 1;
        }
        Ok(count)
    }
}

/// Returns the statement in the block of a comment, and the key of its names, if the statement counts for a merged pull
/// request and the comment shows it.
fn shown_by(plan: &CommentedPlan, pull: &Pull, known: Known<'_>) -> Result<Arc<(Statement, NameKey)>, Unseen> {
    let block = plan.review.as_deref().ok_or(Unseen::NotSigned)?;
    let keys = known.keys.ok_or(Unseen::NoKey)?;
    let (statement, key) = verify(block, &keys.keys)?;
    let about = about(pull, known.project, keys, known.target);
    let merged_at = pull.merged_at.unwrap_or(i64::MIN);
    statement.check(&about, merged_at)?;
    let section = plan.section.as_ref().map(|section| (section.text.as_str(), section.updated));
    statement.check_shown(section, merged_at)?;
    Ok(Arc::new((statement, key.names().clone())))
}

/// Returns the subject of a plan that counts for a pull request.
pub(super) fn about(pull: &Pull, project: &Workspace, keys: &SigningKeys, target: &str) -> About {
    About {
        root: project.root.to_string(),
        cluster: keys.cluster.clone(),
        target: target.to_owned(),
        repository: pull.repository,
        pull: pull.number,
        branch: pull.base_ref.clone(),
        head: pull.head_sha.clone(),
    }
}

/// Returns the tree of a commit, which is read once.
async fn tree(known: Known<'_>, commit: &Commit, trees: &mut BTreeMap<String, LandedTree>) -> LandedTree {
    if let Some(tree) = trees.get(commit.as_str()) {
        return tree.clone();
    }
    let tree = if commit == known.head {
        LandedTree::Read(Arc::new(known.project.sources.clone()))
    } else {
        match known.project.sources_at(commit).await {
            Ok(Some(sources)) => LandedTree::Read(Arc::new(sources)),
            Ok(None) => LandedTree::Nothing,
            Err(_) => LandedTree::Unreadable,
        }
    };
    trees.insert(commit.to_string(), tree.clone());
    tree
}

/// Returns the digest of the plan of these commits, if one pull request brought all of them and its plan counts.
fn reviewed_digest(commits: &[LandedCommit]) -> Result<String, String> {
    let mut pulls: Vec<Option<u64>> = commits.iter().map(|commit| commit.pull).collect();
    pulls.dedup();
    match (pulls.as_slice(), commits.last()) {
        ([_], Some(LandedCommit { commit, pull, shown, .. })) => match shown {
            Ok(shown) => Ok(shown.0.digest.clone()),
            Err(why) => Err(wording::unseen_plan(commit, *pull, why)),
        },
        ([], _) => Err("no commit is new".to_owned()),
        _ => {
            Err("the commits of several pull requests are applied at once, and no plan showed them together".to_owned())
        }
    }
}

/// Returns `true` if the subject of the commit names a pull request.
fn names_one(landed: &Landed) -> bool {
    pull_number(&landed.subject).is_some()
}

/// Returns `true` if a deletion is not reviewed for a reason that time may change.
fn depends(known: Known<'_>, commits: &LandedCommits) -> bool {
    let kinds = known.project.sources.with_defined_kinds(Kinds::builtin().clone());
    let desired = known.project.sources.resolve(&kinds).manifests;
    let undesired: Vec<_> = known.prior.entries.keys().into_iter().filter(|key| !desired.contains_key(key)).collect();
    let verdicts = commits.deletions(undesired, &kinds);
    verdicts.iter().any(|(_, verdict)| may_be_late(verdict))
}

/// Returns the commit after which the reviewed range begins: the oldest of the recorded ones. `None` if none is
/// recorded, or if it is not known which one is the oldest.
pub(super) async fn range_start(
    repository: &Repository,
    commits: &Commits,
    accepted: Option<&Commit>,
) -> Result<Option<Commit>, Failure> {
    if let Some(accepted) = accepted {
        return Ok(Some(accepted.clone()));
    }
    let recorded =
        if commits.reviewed_from.is_empty() { commits.ledger.commits() } else { commits.reviewed_from.clone() };
    let recorded: Vec<Commit> = recorded.iter().filter_map(|text| text.parse().ok()).collect();
    for candidate in &recorded {
        let mut is_oldest = true;
        for other in &recorded {
            is_oldest &= repository.is_ancestor(candidate, other).await? == Ancestry::Ancestor;
        }
        if is_oldest {
            return Ok(Some(candidate.clone()));
        }
    }
    Ok(None)
}
