//! The paths that changed between two commits. The work tree is compared by [`super::worktree`].
//!
//! Paths come from trees, never from rename detection: a rename shows as its old and its new path.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use super::command;
use super::commit::Commit;
use super::error::GitError;
use super::repository::Repository;

const LIST_LIMIT: usize = 256 << 20;

/// The commit that the work tree is compared with, for a revision that a user named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// The commit.
    pub commit: Commit,
    /// A notice about the base for the user.
    pub notice: Option<BaseNotice>,
}

/// The reason why the base is the named revision itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseNotice {
    /// The revision as it was named.
    pub revision: String,
    /// True if a deeper clone might know a common ancestor.
    pub shallow: bool,
}

impl fmt::Display for BaseNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = if self.shallow { "this clone is too shallow to know a" } else { "there is no" };
        write!(f, "compared with {:?} itself: {why} common ancestor of it and HEAD", self.revision)
    }
}

impl Repository {
    /// The commit that `--base REVISION` means: its merge base with HEAD, or itself where none is known.
    pub async fn base_for(&self, revision: &str) -> Result<Base, GitError> {
        let named = self.resolve(revision).await?;
        if let Some(commit) = self.merge_base(&named, &self.head().await?).await? {
            return Ok(Base { commit, notice: None });
        }
        let notice = BaseNotice { revision: revision.to_owned(), shallow: self.is_shallow().await? };
        Ok(Base { commit: named, notice: Some(notice) })
    }

    /// The commit that a forge's merge commit of a pull request merges `head` into: its first parent, which this clone
    /// may lack.
    ///
    /// `None` where `merge` is not the merge of `head` into something: on a forge without merge refs the checked-out
    /// commit is the pull request's own head, and that may be a merge of the author's.
    ///
    /// # Errors
    ///
    /// A commit that is not here.
    pub async fn merged_into(&self, merge: &Commit, head: &Commit) -> Result<Option<Commit>, GitError> {
        Ok(match &self.parents(merge).await?[..] {
            [base, second] if second == head => Some(base.clone()),
            _ => None,
        })
    }

    /// The paths that differ between the trees of two commits, relative to the top: added, changed and deleted ones.
    ///
    /// # Errors
    ///
    /// A commit that is not here.
    pub async fn changed_between(&self, base: &Commit, head: &Commit) -> Result<BTreeSet<PathBuf>, GitError> {
        let operation = || format!("compare commit {base} with {head}");
        let diff = self.git().arguments(["diff-tree", "-r", "-z", "--name-only", "--no-renames", "--no-ext-diff"]);
        let diff = diff.arguments(["--no-textconv", "--no-relative", "--ignore-submodules=none"]);
        let diff = diff.arguments(["--end-of-options", base.as_str(), head.as_str(), "--"]).output_limit(LIST_LIMIT);
        let output = self.run(diff, operation).await?;
        if !output.status.success() {
            return Err(self.missing_or(&[base, head], operation, &output).await);
        }
        Ok(command::records(&output.stdout).map(command::path).collect())
    }
}
