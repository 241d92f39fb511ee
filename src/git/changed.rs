//! Lists the paths that changed between two commits. [`super::worktree`] compares the work tree with a commit.
//!
//! The paths come from trees, never from rename detection. A renamed file appears with its old and its new path.

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
    /// The notice about this commit that the user should see.
    pub notice: Option<BaseNotice>,
}

/// The notice that a base is the named revision itself, because no common ancestor of it and HEAD is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseNotice {
    /// The revision as the user named it.
    pub revision: String,
    /// `true` if the clone is shallow. A deeper clone might have a common ancestor.
    pub shallow: bool,
}

impl fmt::Display for BaseNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = if self.shallow { "this clone is too shallow to know a" } else { "there is no" };
        write!(f, "compared with {:?} itself: {why} common ancestor of it and HEAD", self.revision)
    }
}

impl Repository {
    /// Returns the commit to compare with, for a revision that a user named. It is the merge base of the revision and
    /// HEAD, or the revision itself if no merge base is known.
    pub async fn base_for(&self, revision: &str) -> Result<Base, GitError> {
        let named = self.resolve(revision).await?;
        if let Some(commit) = self.merge_base(&named, &self.head().await?).await? {
            return Ok(Base { commit, notice: None });
        }
        let notice = BaseNotice { revision: revision.to_owned(), shallow: self.is_shallow().await? };
        Ok(Base { commit: named, notice: Some(notice) })
    }

    /// Returns the commit that a forge's merge commit of a pull request merges `head` into. This is the first parent of
    /// the merge commit. The clone may lack it.
    ///
    /// Returns `None` if `merge` is not the merge of `head` into another commit. On a forge without merge refs, the
    /// checked-out commit is the pull request's own head, and that may be a merge commit of the author.
    ///
    /// # Errors
    ///
    /// The clone does not have `merge`.
    pub async fn merged_into(&self, merge: &Commit, head: &Commit) -> Result<Option<Commit>, GitError> {
        Ok(match &self.parents(merge).await?[..] {
            [base, second] if second == head => Some(base.clone()),
            _ => None,
        })
    }

    /// Returns the paths that differ between the trees of two commits, relative to the top directory. They are the
    /// paths of added, changed and deleted files.
    ///
    /// # Errors
    ///
    /// The clone does not have one of the commits.
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
