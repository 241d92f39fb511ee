//! Which paths changed between two commits, or between a commit and the work tree.
//!
//! Paths come from trees, never from rename detection: a rename shows as its old and its new path.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use super::command;
use super::commit::Commit;
use super::error::GitError;
use super::repository::Repository;

const LIST_LIMIT: usize = 256 << 20;

/// The paths that differ between two states of the repository, relative to its top.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The older state.
    pub base: Commit,
    /// The newer state; absent for the work tree.
    pub head: Option<Commit>,
    /// Added, changed and deleted paths.
    pub paths: BTreeSet<PathBuf>,
}

/// The commit that the work tree is compared with, for a revision that a user named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// The commit.
    pub commit: Commit,
    /// What the user should know about it.
    pub notice: Option<BaseNotice>,
}

/// Why a base is the named revision itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseNotice {
    /// The revision as it was named.
    pub revision: String,
    /// Whether a deeper clone might know a common ancestor.
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

    /// What a forge's merge commit of a pull request is to be compared with: its first parent, fetched where this
    /// clone lacks it.
    ///
    /// `None` where `merge` is not the merge of `head` into something: on a forge without merge refs the checked-out
    /// commit is the pull request's own head, and that may be a merge of the author's.
    pub async fn pull_request_base(
        &self,
        remote: &str,
        merge: &Commit,
        head: &Commit,
    ) -> Result<Option<Commit>, GitError> {
        match &self.parents(merge).await?[..] {
            [base, second] if second == head => {
                self.fetch_commit(remote, base).await?;
                Ok(Some(base.clone()))
            }
            _ => Ok(None),
        }
    }

    /// The paths that differ between the trees of two commits.
    pub async fn changed_between(&self, base: &Commit, head: &Commit) -> Result<Changed, GitError> {
        let operation = || format!("compare commit {base} with {head}");
        let diff = self.git().arguments(["diff-tree", "-r", "-z", "--name-only", "--no-renames", "--no-ext-diff"]);
        let diff = diff.arguments(["--no-textconv", "--no-relative", "--ignore-submodules=none"]);
        let diff = diff.arguments(["--end-of-options", base.as_str(), head.as_str(), "--"]).output_limit(LIST_LIMIT);
        let output = self.run(diff, operation).await?;
        if !output.status.success() {
            return Err(self.missing_or(&[base, head], operation, &output).await);
        }
        let paths = command::records(&output.stdout).map(command::path).collect();
        Ok(Changed { base: base.clone(), head: Some(head.clone()), paths })
    }

    /// The paths that differ between a commit and the work tree; untracked files count, ignored ones do not.
    ///
    /// A file that git was told not to look at (`skip-worktree`, as in a sparse checkout, and `assume-unchanged`)
    /// counts as changed: nobody knows.
    pub async fn changed_in_worktree(&self, base: &Commit) -> Result<Changed, GitError> {
        let operation = || format!("compare commit {base} with the work tree");
        let diff = self.git().arguments(["diff", "-z", "--name-only", "--no-renames", "--no-ext-diff"]);
        let diff = diff.arguments(["--no-textconv", "--no-relative", "--ignore-submodules=dirty"]);
        let diff = diff.arguments(["--end-of-options", base.as_str(), "--"]).output_limit(LIST_LIMIT);
        let output = self.run(diff, operation).await?;
        if !output.status.success() {
            return Err(self.missing_or(&[base], operation, &output).await);
        }
        let mut paths: BTreeSet<PathBuf> = command::records(&output.stdout).map(command::path).collect();
        let others = self.git().arguments(["ls-files", "-z", "--others", "--exclude-standard"]);
        let others = self.read(others.output_limit(LIST_LIMIT), || "list untracked files".to_owned()).await?;
        paths.extend(command::records(&others).map(command::path));
        paths.extend(self.unwatched(Path::new("")).await?);
        Ok(Changed { base: base.clone(), head: None, paths })
    }

    /// The paths below `prefix` that are not as in HEAD: changed, staged, untracked, or not looked at by git.
    pub async fn uncommitted_within(&self, prefix: &Path) -> Result<BTreeSet<PathBuf>, GitError> {
        let status = self.git().arguments(["status", "--porcelain=v1", "-z", "--untracked-files=all"]);
        let status = status.arguments(["--no-renames", "--ignore-submodules=none", "--"]);
        let status = status.arguments([command::pathspec(prefix)]).output_limit(LIST_LIMIT);
        let listed = self.read(status, || "look at the state of the work tree".to_owned()).await?;
        // Two letters and a space stand before each path.
        let mut paths: BTreeSet<_> = command::records(&listed).filter_map(|r| r.get(3..)).map(command::path).collect();
        paths.extend(self.unwatched(prefix).await?);
        Ok(paths)
    }

    /// Whether everything below `prefix` is as in HEAD, untracked files included.
    pub async fn is_clean_within(&self, prefix: &Path) -> Result<bool, GitError> {
        Ok(self.uncommitted_within(prefix).await?.is_empty())
    }

    /// Tracked files whose changes git was told not to notice.
    async fn unwatched(&self, prefix: &Path) -> Result<BTreeSet<PathBuf>, GitError> {
        let list = self.git().arguments(["ls-files", "-z", "-v", "--"]).arguments([command::pathspec(prefix)]);
        let list = self.read(list.output_limit(LIST_LIMIT), || "list tracked files".to_owned()).await?;
        let hidden = command::records(&list).filter_map(|record| match record {
            [tag, b' ', path @ ..] if *tag == b'S' || tag.is_ascii_lowercase() => Some(command::path(path)),
            _ => None,
        });
        Ok(hidden.collect())
    }
}
