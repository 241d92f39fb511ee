//! Reads the branches of a remote, and fetches the history that a comparison of commits needs.

use std::collections::BTreeSet;
use std::time::Duration;

use super::command;
use super::commit::Commit;
use super::error::GitError;
use super::repository::{Ancestry, Repository, is_plain};

const ASK_TIME: Duration = Duration::from_secs(30);
pub(super) const FETCH_TIME: Duration = Duration::from_mins(5);

/// The order of two commits, as far as this clone can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Both are the same commit.
    Same,
    /// The first commit descends from the second.
    Newer,
    /// The first commit is a proper ancestor of the second.
    Older,
    /// Neither commit descends from the other.
    Diverged,
    /// The clone is too shallow to tell, or lacks one of the commits.
    Unknown,
}

/// The remote's answer about a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Branch {
    /// The last commit of the branch.
    At(Commit),
    /// The remote has no such branch.
    Absent,
    /// There is no such remote.
    NoRemote,
}

impl Repository {
    /// Returns the order of `one` relative to `other`, as far as this clone can tell.
    ///
    /// # Errors
    ///
    /// Git fails.
    pub async fn order(&self, one: &Commit, other: &Commit) -> Result<Order, GitError> {
        if one == other {
            return Ok(Order::Same);
        }
        // This is the usual case. A clone of any depth can decide it.
        match self.parents(one).await {
            Ok(parents) if parents.contains(other) => return Ok(Order::Newer),
            Ok(_) | Err(GitError::MissingCommit { .. }) => {}
            Err(error) => return Err(error),
        }
        let descends = self.is_ancestor(other, one).await?;
        if descends == Ancestry::Ancestor {
            return Ok(Order::Newer);
        }
        Ok(match (descends, self.is_ancestor(one, other).await?) {
            (_, Ancestry::Ancestor) => Order::Older,
            (Ancestry::NotAncestor, Ancestry::NotAncestor) => Order::Diverged,
            _ => Order::Unknown,
        })
    }

    /// Asks the remote for the last commit of a branch. Fetches nothing.
    ///
    /// If `branch` is `None`, the branch is the default branch of the remote.
    ///
    /// # Errors
    ///
    /// The text cannot be the name of a remote, the remote cannot be reached, or git's configuration includes a file of
    /// the work tree.
    pub async fn remote_branch(&self, remote: &str, branch: Option<&str>) -> Result<Branch, GitError> {
        if !is_plain(remote) {
            return Err(GitError::NotARemote { remote: remote.to_owned() });
        }
        let operation = || format!("ask {remote:?} for its branches");
        let configured = ["config", "--get", &format!("remote.{remote}.url")].map(str::to_owned);
        if !self.run(self.git().arguments(configured), operation).await?.status.success() {
            return Ok(Branch::NoRemote);
        }
        self.refuse_tree_configuration(None)?;
        let reference = branch.map_or_else(|| "HEAD".to_owned(), |branch| format!("refs/heads/{branch}"));
        let ask = self.git().time_limit(ASK_TIME).arguments(["ls-remote", "--quiet"]);
        let ask = ask.arguments(self.upload_pack(remote).await?);
        let listed = self.read(ask.arguments(["--end-of-options", remote, &reference]), operation).await?;
        let line = listed.split(|byte| *byte == b'\n').find_map(|line| {
            let (name, found) = std::str::from_utf8(line).ok()?.split_once('\t')?;
            (found == reference).then(|| name.parse::<Commit>().ok()).flatten()
        });
        Ok(line.map_or(Branch::Absent, Branch::At))
    }

    /// Fetches the whole history of the commits, whatever the depth of the clone.
    ///
    /// # Errors
    ///
    /// The text cannot be the name of a remote, git's configuration includes a file of the work tree, or the fetch
    /// fails. Unlike [`Repository::fetch_commit`], the error does not distinguish the reasons of a failed fetch.
    pub(crate) async fn fetch_history(&self, remote: &str, commits: &BTreeSet<&Commit>) -> Result<(), GitError> {
        if !is_plain(remote) {
            return Err(GitError::NotARemote { remote: remote.to_owned() });
        }
        self.refuse_tree_configuration(commits.first().copied())?;
        let depth = self.is_shallow().await?.then_some("--unshallow");
        let fetch = command::quiet_fetch(self.git()).time_limit(FETCH_TIME).arguments(depth);
        let fetch = fetch.arguments(self.upload_pack(remote).await?).arguments(["--end-of-options", remote]);
        let fetch = fetch.arguments(commits.iter().map(|commit| commit.as_str()));
        self.read(fetch, || format!("fetch the history from {remote:?}")).await.map(drop)
    }
}
