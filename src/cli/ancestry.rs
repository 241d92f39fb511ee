//! How the commit of a run lies to others: asked of the clone, then of the forge, then of a deeper clone.
//!
//! It finds out and decides nothing: what follows is [`crate::state::lateness`]'s business.

use std::collections::BTreeSet;

use crate::git::commit::Commit;
use crate::git::error::GitError;
use crate::git::history::{Branch, Order};
use crate::git::repository::Repository;
use crate::state::lateness::{CommitOrder, Tip};

const REMOTE: &str = "origin";

/// How `head` lies to `other`.
///
/// `ask` asks the forge how a commit lies to another, or to a branch; it gives nothing where the forge cannot tell.
///
/// # Errors
///
/// Git fails at what needs no remote.
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
    // A remote that does not have one of them, or does not give it away, may still have the history of the other.
    for commits in [BTreeSet::from([head, other]), BTreeSet::from([other]), BTreeSet::from([head])] {
        if repository.fetch_history(REMOTE, &commits).await.is_ok() {
            break;
        }
    }
    Ok(self::known(repository.order(head, other).await?))
}

/// How `head` lies to a branch of the remote, and the branch's last commit where it is known. Without a branch's name, to
/// the one that the remote calls its own.
///
/// # Errors
///
/// As for [`standing`].
pub async fn tip(
    repository: &Repository,
    head: &Commit,
    branch: Option<&str>,
    ask: &impl AsyncFn(&Commit, &str) -> Option<CommitOrder>,
) -> Result<(Tip, Option<Commit>), GitError> {
    let last = match repository.remote_branch(REMOTE, branch).await {
        Ok(Branch::At(commit)) => commit,
        // There is no other place for a later commit to be.
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

/// A commit that is newer than the branch's last one was pushed, and the branch moved back since, or it was never pushed.
fn of_branch(standing: CommitOrder) -> Tip {
    match standing {
        CommitOrder::Same => Tip::Reached,
        CommitOrder::Older => Tip::Behind,
        CommitOrder::Newer | CommitOrder::Diverged => Tip::Elsewhere,
        CommitOrder::Unknown => Tip::Unknown,
    }
}
