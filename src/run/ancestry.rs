//! The order of a run's commit relative to other commits. The clone is asked first, then the forge, then a deeper
//! clone.
//!
//! This module only finds facts. [`crate::state::lateness`] decides what follows from them.

use std::collections::BTreeSet;

use crate::git::commit::Commit;
use crate::git::error::GitError;
use crate::git::history::{Branch, Order};
use crate::git::repository::Repository;
use crate::state::lateness::{CommitOrder, Tip};

const REMOTE: &str = "origin";

/// Returns the order of `head` relative to `other`.
///
/// `ask` asks the forge for the order of a commit relative to another commit or to a branch. It returns `None` if the
/// forge cannot tell.
///
/// # Errors
///
/// Git fails at an operation that needs no remote. A failed fetch is no error.
pub async fn standing(
    repository: &Repository,
    head: &Commit,
    other: &Commit,
    ask: &impl AsyncFn(&Commit, &str) -> Option<CommitOrder>,
) -> Result<CommitOrder, GitError> {
    let known = known(repository.order(head, other).await?);
    if known != CommitOrder::Unknown {
        return Ok(known);
    }
    if let Some(told) = ask(head, other.as_str()).await {
        return Ok(told);
    }
    // The remote may lack or refuse one of the two commits. The history of the other one may still be enough.
    for commits in [BTreeSet::from([head, other]), BTreeSet::from([other]), BTreeSet::from([head])] {
        if repository.fetch_history(REMOTE, &commits).await.is_ok() {
            break;
        }
    }
    Ok(self::known(repository.order(head, other).await?))
}

/// Returns the position of `head` relative to a branch of the remote, and the branch's last commit if it is known.
/// Without a branch name, it uses the remote's default branch.
///
/// # Errors
///
/// The errors of [`standing`].
pub async fn tip(
    repository: &Repository,
    head: &Commit,
    branch: Option<&str>,
    ask: &impl AsyncFn(&Commit, &str) -> Option<CommitOrder>,
) -> Result<(Tip, Option<Commit>), GitError> {
    let last = match repository.remote_branch(REMOTE, branch).await {
        Ok(Branch::At(commit)) => commit,
        // Without a remote, there is no other place that could have a later commit.
        Ok(Branch::NoRemote) if branch.is_none() => return Ok((Tip::Reached, None)),
        Ok(Branch::NoRemote | Branch::Absent) | Err(_) => {
            let told = match branch {
                Some(branch) => ask(head, branch).await,
                None => None,
            };
            return Ok((told.map_or(Tip::Unknown, of_branch), None));
        }
    };
    let standing = standing(repository, head, &last, ask).await?;
    Ok((of_branch(standing), Some(last)))
}

fn known(order: Order) -> CommitOrder {
    match order {
        Order::Same => CommitOrder::Same,
        Order::Newer => CommitOrder::Newer,
        Order::Older => CommitOrder::Older,
        Order::Diverged => CommitOrder::Diverged,
        Order::Unknown => CommitOrder::Unknown,
    }
}

/// Converts the order relative to the branch's last commit to a position relative to the branch.
///
/// A commit that is newer than the branch's last commit is not on the branch: it was never pushed, or it was pushed and
/// the branch was then moved back.
fn of_branch(standing: CommitOrder) -> Tip {
    match standing {
        CommitOrder::Same => Tip::Reached,
        CommitOrder::Older => Tip::Behind,
        CommitOrder::Newer | CommitOrder::Diverged => Tip::Elsewhere,
        CommitOrder::Unknown => Tip::Unknown,
    }
}
