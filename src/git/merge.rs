//! Makes the commit that a merge of two commits would make, without a forge and without a change of the work tree.

use std::path::PathBuf;

use super::command;
use super::commit::Commit;
use super::error::GitError;
use super::repository::{Ancestry, Repository, is_plain};
use crate::process::Environment;

/// The depths of a shallow clone that are tried before the whole history is fetched.
const DEPTHS: [Option<&str>; 3] = [Some("--depth=64"), Some("--depth=1024"), None];

/// The exit code of git for a command line that it does not know.
const USAGE: i32 = 129;

/// The name, address and time in a merge commit that only this clone ever has.
const IDENTITY: [(&str, &str); 6] = [
    ("GIT_AUTHOR_NAME", "ktor"),
    ("GIT_AUTHOR_EMAIL", "ktor@localhost"),
    ("GIT_AUTHOR_DATE", "@0 +0000"),
    ("GIT_COMMITTER_NAME", "ktor"),
    ("GIT_COMMITTER_EMAIL", "ktor@localhost"),
    ("GIT_COMMITTER_DATE", "@0 +0000"),
];

/// The result of a merge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merge {
    /// The merge commit. Only this clone has it, and no branch names it.
    Made(Commit),
    /// Both sides change these files in different ways.
    Conflict(Vec<PathBuf>),
    /// The two commits have no common ancestor that this clone can get.
    NoBase,
    /// This git is older than 2.38, or it cannot merge for another reason.
    Unsupported(String),
}

impl Repository {
    /// Merges `head` into `base` as a forge does. Attributes of the trees, which could select another way to merge, do
    /// not count. Deepens a shallow clone until it has a common ancestor.
    ///
    /// # Errors
    ///
    /// Git fails at an operation that needs no remote, or this clone lacks one of the commits.
    pub async fn merged(&self, remote: &str, base: &Commit, head: &Commit) -> Result<Merge, GitError> {
        let mut found = self.merge_base(base, head).await?;
        for depth in DEPTHS {
            if found.is_some() || !self.is_shallow().await? || self.deepen(remote, &[base, head], depth).await.is_err()
            {
                break;
            }
            found = self.merge_base(base, head).await?;
        }
        if found.is_none() {
            return Ok(Merge::NoBase);
        }
        let operation = || format!("merge {head} into {base}");
        let merge = ["merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", base.as_str(), head.as_str()];
        let git = command::git(&self.without_attributes().await?).arguments(["-c", "core.attributesFile=/dev/null"]);
        let output = self.run(git.arguments(["-c", "attr.tree=none"]).arguments(merge), operation).await?;
        let mut records = command::records(&output.stdout);
        let tree = records.next().and_then(|tree| std::str::from_utf8(tree).ok()?.parse::<Commit>().ok());
        match (output.status.code(), tree) {
            (Some(0), Some(tree)) => self.commit_tree(&tree, [base, head]).await.map(Merge::Made),
            (Some(1), Some(_)) => Ok(Merge::Conflict(records.map(command::path).collect())),
            (Some(USAGE), _) => Ok(Merge::Unsupported("this git is older than 2.38".to_owned())),
            _ => Ok(Merge::Unsupported(output.failure().to_string())),
        }
    }

    /// Gets the history of `head` back to `ancestor`, if `ancestor` is in it. Returns `true` if it is.
    ///
    /// # Errors
    ///
    /// Git fails at an operation that needs no remote, or the history cannot be fetched.
    pub(crate) async fn reaches(&self, remote: &str, ancestor: &Commit, head: &Commit) -> Result<bool, GitError> {
        for depth in DEPTHS {
            match self.is_ancestor(ancestor, head).await? {
                Ancestry::Ancestor => return Ok(true),
                Ancestry::NotAncestor => return Ok(false),
                Ancestry::Unknown => self.deepen(remote, &[head], depth).await?,
            }
        }
        Ok(self.is_ancestor(ancestor, head).await? == Ancestry::Ancestor)
    }

    /// Fetches more history of the commits into a shallow clone. Without a depth, it fetches the whole history.
    async fn deepen(&self, remote: &str, commits: &[&Commit], depth: Option<&str>) -> Result<(), GitError> {
        if !is_plain(remote) {
            return Err(GitError::NotARemote { remote: remote.to_owned() });
        }
        self.refuse_tree_configuration(commits.first().copied())?;
        let fetch = command::quiet_fetch(self.git()).time_limit(super::history::FETCH_TIME);
        let fetch = fetch.arguments([depth.unwrap_or("--unshallow")]).arguments(self.upload_pack(remote).await?);
        let fetch = fetch.arguments(["--end-of-options", remote]);
        let fetch = fetch.arguments(commits.iter().map(|commit| commit.as_str()));
        self.read(fetch, || format!("fetch the history from {remote:?}")).await.map(drop)
    }

    /// Returns the environment with a work tree and an index that have no attribute files. The git directory serves as
    /// the work tree, because no commit can put a file there.
    async fn without_attributes(&self) -> Result<Environment, GitError> {
        let operation = || "find the git directory".to_owned();
        let directory = self.read(self.git().arguments(["rev-parse", "--absolute-git-dir"]), operation).await?;
        let directory = command::path(directory.strip_suffix(b"\n").unwrap_or(&directory));
        let environment = self.environment.clone().with("GIT_INDEX_FILE", directory.join("no-index"));
        Ok(environment.with("GIT_WORK_TREE", directory).with("GIT_ATTR_NOSYSTEM", "1"))
    }

    /// Makes a commit of a tree. The same arguments give the same commit.
    async fn commit_tree(&self, tree: &Commit, parents: [&Commit; 2]) -> Result<Commit, GitError> {
        let operation = || format!("make the merge of {} and {}", parents[0], parents[1]);
        let environment =
            IDENTITY.iter().fold(self.environment.clone(), |known, (name, value)| known.with(*name, *value));
        let commit = command::git(&environment).arguments(["-c", "commit.gpgSign=false", "commit-tree", tree.as_str()]);
        let commit = commit.arguments(parents.iter().flat_map(|parent| ["-p", parent.as_str()]));
        let made = self.read(commit.arguments(["-m", "merge"]), operation).await?;
        let made = std::str::from_utf8(&made).ok().and_then(|made| made.trim_end().parse().ok());
        made.ok_or_else(|| GitError::Answer { operation: operation() })
    }
}
