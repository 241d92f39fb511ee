//! The tree that a pull request's plan is of: the one that a merge into the base branch's last commit makes.

use std::path::Path;

use super::job::{Job, at_commit};
use crate::conclusion::failure::{Failure, chain};
use crate::forge::PullRequest;
use crate::git::commit::Commit;
use crate::git::history::Branch;
use crate::git::merge::Merge;
use crate::git::repository::Repository;
use crate::project::snapshot::printable;
use crate::report::markdown::Unsigned;
use crate::run::workspace::{Base, Workspace};

/// The remote that commits are fetched from.
const REMOTE: &str = "origin";

/// The number of files in conflict that are named.
const NAMED: usize = 5;

/// The tree to plan.
pub(super) enum Planned {
    /// A tree.
    Tree(Box<PlannedTree>),
    /// There is no plan, for this reason.
    Nothing(String),
}

/// A tree to plan, and what it is compared with.
pub(super) struct PlannedTree {
    /// The project with the sources of the tree.
    pub project: Workspace,
    /// The base.
    pub base: Base,
    /// The commit of the tree.
    pub head: Commit,
    /// The reason why the tree is not the one that the merge makes.
    pub unsigned: Option<Unsigned>,
}

/// The two sides of a merge.
struct Sides {
    tip: Commit,
    head: Commit,
}

impl Job<'_> {
    /// Finds the tree that the merge of a pull request into `branch` makes now.
    ///
    /// # Errors
    ///
    /// The checkout is of another commit than the event's, or git fails at an operation that needs no remote.
    pub(super) async fn merge_of(
        &self,
        project: Workspace,
        pull: &PullRequest,
        branch: &str,
    ) -> Result<Planned, Failure> {
        let repository = project.repository("a pull request's plan")?.clone();
        let checkout = repository.head().await?;
        let is_expected = [&self.around.context.sha, &pull.head_sha].iter().any(|sha| checkout.as_str() == **sha);
        if !is_expected {
            at_commit(&repository, &self.around.context.sha).await?;
        }
        let sides = match sides(&repository, pull, branch).await {
            Ok(sides) => sides,
            Err(why) => return checked_out(project, &repository, checkout, pull, why).await,
        };
        if repository.parents(&checkout).await? == [sides.tip.clone(), sides.head.clone()] {
            return tree(project, &sides.tip, checkout).await;
        }
        if project.clean_commit().await?.is_none() {
            let why = "the work tree has files that are not in git".to_owned();
            return checked_out(project, &repository, checkout, pull, why).await;
        }
        match repository.merged(REMOTE, &sides.tip, &sides.head).await? {
            Merge::Made(merge) => {
                let project = project.at(&merge).await?;
                tree(project, &sides.tip, merge).await
            }
            Merge::Conflict(files) => {
                let named: Vec<String> = files.iter().take(NAMED).map(|file| printable(Path::new(file))).collect();
                let more = files.len().saturating_sub(NAMED);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                Ok(Planned::Nothing(format!("it conflicts with {branch} in {}{more}", named.join(", "))))
            }
            Merge::NoBase => {
                let why = format!("it has no common commit with {branch}");
                checked_out(project, &repository, checkout, pull, why).await
            }
            Merge::Unsupported(why) => checked_out(project, &repository, checkout, pull, why).await,
        }
    }
}

/// Returns the last commit of the base branch and the head of the pull request, which the clone then has.
async fn sides(repository: &Repository, pull: &PullRequest, branch: &str) -> Result<Sides, String> {
    let head: Commit = pull.head_sha.parse().map_err(|_| "its head is not a commit".to_owned())?;
    let tip = match repository.remote_branch(REMOTE, Some(branch)).await {
        Ok(Branch::At(tip)) => tip,
        Ok(Branch::Absent | Branch::NoRemote) => return Err(format!("the branch {branch} is not known")),
        Err(error) => return Err(chain(&error)),
    };
    for commit in [&tip, &head] {
        repository.fetch_commit(REMOTE, commit).await.map_err(|error| chain(&error))?;
    }
    Ok(Sides { tip, head })
}

async fn tree(project: Workspace, base: &Commit, head: Commit) -> Result<Planned, Failure> {
    let base = project.base_fetched(base, &head).await?;
    Ok(Planned::Tree(Box::new(PlannedTree { project, base, head, unsigned: None })))
}

/// Plans the work tree, which is not known to be the tree that the merge makes.
async fn checked_out(
    project: Workspace,
    repository: &Repository,
    checkout: Commit,
    pull: &PullRequest,
    why: String,
) -> Result<Planned, Failure> {
    let parse = |text: &str| text.parse::<Commit>().map_err(|error| Failure::other(&error));
    let base = if let Some(base) = repository.merged_into(&checkout, &parse(&pull.head_sha)?).await? {
        base
    } else {
        // HEAD is no merge commit: the forge makes none, or the workflow checked out the pull request's own head.
        let target = parse(&pull.base_sha)?;
        match repository.fetch_commit(REMOTE, &target).await {
            Ok(()) => repository.merge_base(&target, &checkout).await?.unwrap_or(target),
            Err(_) => target,
        }
    };
    let base = project.base_fetched(&base, &checkout).await?;
    let unsigned = Some(Unsigned::NotTheMerge(why));
    Ok(Planned::Tree(Box::new(PlannedTree { project, base, head: checkout, unsigned })))
}
