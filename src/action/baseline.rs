//! The commits and the tree before the changes that a job is about.

use std::sync::Arc;

use super::job::Job;
use crate::cluster::connect::Cluster;
use crate::conclusion::failure::Failure;
use crate::forge::Event;
use crate::git::commit::Commit;
use crate::plan::policy::SourceCoverage;
use crate::plan::signature::SigningKeys;
use crate::run::decide::{BaseTree, RunRequest, ScopeBasis};
use crate::run::review::ReviewBasis;
use crate::run::workspace::Workspace;
use crate::state::commits::Commits;
use crate::state::transition::Prior;

impl Job<'_> {
    /// Completes the request with the ledger from the state and the projects that changed since that commit. Returns
    /// the request, the state that was read, and the keys that plans are signed with.
    pub(super) async fn since_ledger(
        &self,
        project: &Workspace,
        cluster: &Cluster,
        head: &Commit,
        request: &RunRequest,
    ) -> Result<(RunRequest, Prior, Option<SigningKeys>), Failure> {
        let (prior, keys) = project.prior_and_keys(cluster).await?;
        self.reporter.believe(keys.as_ref());
        let mut request = request.clone();
        let commits = prior.commits.clone();
        if matches!(request.before, BaseTree::Unknown)
            && let Some(before) = self.before_finalized(project, &commits, head).await?
        {
            request.before = before;
        }
        let Some(ledger) = ledger_of(&commits) else {
            if let (ReviewBasis::Proposed(_), Some(last)) = (&request.review, finalized_at(&commits)) {
                let base = project.base_fetched(&last, head).await?;
                request.review = ReviewBasis::Proposed(base.sources.map(Arc::new));
            }
            request.since = ScopeBasis::Ledger { commits, touched: None };
            return Ok((request, prior, keys));
        };
        let base = project.base_fetched(&ledger, head).await?;
        if matches!(request.before, BaseTree::Unknown) {
            request.before = base.before();
        }
        if let Some(why) = base.unreadable {
            request.policy.sources = SourceCoverage::BaseUnknown;
            request.notices.push(why);
        }
        if matches!(request.review, ReviewBasis::Proposed(_)) {
            request.review = ReviewBasis::Proposed(base.sources.map(Arc::new));
        }
        request.since = ScopeBasis::Ledger { commits, touched: Some(base.touched) };
        Ok((request, prior, keys))
    }

    /// Returns the tree before the push, or [`BaseTree::Unknown`] if the event names no commit that can be read.
    pub(super) async fn before_push(&self, project: &Workspace, head: &Commit) -> Result<BaseTree, Failure> {
        let Event::Push(push) = &self.around.context.event else { return Ok(BaseTree::Unknown) };
        match push.before.parse::<Commit>() {
            Ok(before) if !push.created => told_before(project, &before, head).await,
            _ => Ok(BaseTree::Unknown),
        }
    }

    /// Returns the tree before the run's changes, if neither the event names it nor a current ledger is that tree.
    ///
    /// If the root was last finalized at `head`, a repeated run is about the changes of `head` itself, so the tree is
    /// that of its first parent. A dispatch is the exception: it has no changes of its own. If the ledger is stale, its
    /// commit still tells the tree before. Returns `None` if the caller has to use the ledger, or if there is no such
    /// commit.
    async fn before_finalized(
        &self,
        project: &Workspace,
        commits: &Commits,
        head: &Commit,
    ) -> Result<Option<BaseTree>, Failure> {
        let Some(last) = finalized_at(commits) else { return Ok(None) };
        if last == *head && !self.covers_the_root() {
            let parents = project.repository("an apply")?.parents(head).await?;
            return Ok(Some(match parents.first() {
                Some(parent) => told_before(project, parent, head).await?,
                None => BaseTree::Nothing,
            }));
        }
        match commits.ledger.current() {
            Some(_) => Ok(None),
            None => told_before(project, &last, head).await.map(Some),
        }
    }
}

/// Returns the ledger's commit if the ledger is current.
pub(super) fn ledger_of(commits: &Commits) -> Option<Commit> {
    commits.ledger.current().and_then(|commit| commit.parse().ok())
}

/// Returns the commit that the root was last finalized at, if that is exactly one commit. The ledger may be stale.
fn finalized_at(commits: &Commits) -> Option<Commit> {
    let commits = commits.ledger.commits();
    commits.first().filter(|_| commits.len() == 1)?.parse().ok()
}

/// Returns the tree of `commit` as the tree before the run's changes. A tree that cannot be read counts as unknown.
async fn told_before(project: &Workspace, commit: &Commit, head: &Commit) -> Result<BaseTree, Failure> {
    Ok(match project.base_fetched(commit, head).await?.before() {
        BaseTree::Unreadable => BaseTree::Unknown,
        before => before,
    })
}
