//! A repository on disk: its location, its commits, and the relations of the commits.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::command::{self, Transports};
use super::commit::{self, Commit};
use super::error::GitError;
use crate::process::{Environment, Output, ProcessError, Program};

const FETCH_TIME: Duration = Duration::from_mins(2);

/// The messages of git when it needs credentials and has none, or has wrong ones.
const REFUSALS: [&str; 8] = [
    "could not read Username",
    "could not read Password",
    "Authentication failed",
    "Permission denied",
    "Host key verification failed",
    "returned error: 401",
    "returned error: 403",
    "Repository not found",
];

/// A repository with a work tree.
#[derive(Clone, Debug)]
pub struct Repository {
    pub(super) top: PathBuf,
    /// The environment for git. It names the git directory and the work tree that were found.
    pub(super) environment: Environment,
    /// A file of the work tree that git's configuration includes, if there is one.
    pub(super) tree_configuration: Option<PathBuf>,
}

/// The relation of a possible ancestor to another commit, as far as this clone can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ancestry {
    /// The commit is in the history of the other one. Each commit is its own ancestor.
    Ancestor,
    /// The commit is not in the history of the other one.
    NotAncestor,
    /// The clone is too shallow to tell, or lacks the other commit.
    Unknown,
}

impl Repository {
    /// Returns the top directory of the work tree, without symbolic links in it.
    pub fn top(&self) -> &Path {
        &self.top
    }

    /// Returns the path of `directory` relative to the top directory. It is empty for the top directory itself.
    pub fn prefix(&self, directory: &Path) -> Result<PathBuf, GitError> {
        let real = |path: &Path| {
            path.canonicalize().map_err(|source| GitError::Directory { directory: path.to_owned(), source })
        };
        match real(directory)?.strip_prefix(real(&self.top)?) {
            Ok(prefix) => Ok(prefix.to_owned()),
            Err(_) => Err(GitError::Outside { directory: directory.to_owned(), top: self.top.clone() }),
        }
    }

    /// Returns the commit that is checked out.
    pub async fn head(&self) -> Result<Commit, GitError> {
        self.lookup("HEAD").await?.ok_or(GitError::NoCommitYet)
    }

    /// Returns the commit that a revision names. Git never takes a user's text for an option.
    pub async fn resolve(&self, revision: &str) -> Result<Commit, GitError> {
        if !is_plain(revision) {
            return Err(GitError::NotARevision { revision: revision.to_owned() });
        }
        match self.lookup(revision).await? {
            Some(commit) => Ok(commit),
            None => Err(GitError::UnknownRevision { revision: revision.to_owned(), shallow: self.is_shallow().await? }),
        }
    }

    /// Returns `true` if this clone has the commit.
    pub async fn has_commit(&self, commit: &Commit) -> Result<bool, GitError> {
        Ok(self.lookup(commit.as_str()).await?.is_some())
    }

    /// Returns the parents that a commit names, in order. This clone may lack them.
    pub async fn parents(&self, commit: &Commit) -> Result<Vec<Commit>, GitError> {
        let operation = || format!("read the parents of commit {commit}");
        let output = self.run(self.git().arguments(["cat-file", "commit", commit.as_str()]), operation).await?;
        if !output.status.success() {
            return Err(self.missing_or(&[commit], operation, &output).await);
        }
        commit::parents(&output.stdout).ok_or_else(|| GitError::Answer { operation: operation() })
    }

    /// Returns the best common ancestor that this clone has, or `None` if it has none.
    pub async fn merge_base(&self, one: &Commit, other: &Commit) -> Result<Option<Commit>, GitError> {
        let operation = || format!("find the merge base of {one} and {other}");
        let output = self.run(self.git().arguments(["merge-base", one.as_str(), other.as_str()]), operation).await?;
        match output.status.code() {
            Some(0) => only_commit(&output.stdout).map(Some).ok_or_else(|| GitError::Answer { operation: operation() }),
            Some(1) => Ok(None),
            _ => Err(self.missing_or(&[one, other], operation, &output).await),
        }
    }

    /// Returns the relation of `ancestor` to the history of `descendant`.
    pub async fn is_ancestor(&self, ancestor: &Commit, descendant: &Commit) -> Result<Ancestry, GitError> {
        if ancestor == descendant {
            return Ok(Ancestry::Ancestor);
        }
        let operation = || format!("compare the histories of {ancestor} and {descendant}");
        let names = ["merge-base", "--is-ancestor", ancestor.as_str(), descendant.as_str()];
        let output = self.run(self.git().arguments(names), operation).await?;
        match output.status.code() {
            Some(0) => return Ok(Ancestry::Ancestor),
            Some(1) => {}
            // Git fails if the clone lacks one of the commits.
            _ if !self.has_commit(descendant).await? => return Ok(Ancestry::Unknown),
            _ if !self.has_commit(ancestor).await? => {}
            _ => return Err(ran(operation, output.failure())),
        }
        // A complete clone has all ancestors of its commits. A commit that it lacks or does not reach is not an
        // ancestor.
        Ok(if self.is_shallow().await? { Ancestry::Unknown } else { Ancestry::NotAncestor })
    }

    /// Returns `true` if the clone has only the end of the history.
    pub async fn is_shallow(&self) -> Result<bool, GitError> {
        let operation = || "look at the depth of the clone".to_owned();
        let answer = self.read(self.git().arguments(["rev-parse", "--is-shallow-repository"]), operation).await?;
        Ok(answer.starts_with(b"true"))
    }

    /// Fetches one commit that this clone lacks. Writes no branch, tag or `FETCH_HEAD`.
    ///
    /// A shallow clone gets only the commit. A complete clone also gets the history of the commit. A fetch with depth 1
    /// would make the clone shallow, and the clone could then no longer tell which commit descends from which.
    pub async fn fetch_commit(&self, remote: &str, commit: &Commit) -> Result<(), GitError> {
        if !is_plain(remote) {
            return Err(GitError::NotARemote { remote: remote.to_owned() });
        }
        if self.has_commit(commit).await? {
            return Ok(());
        }
        self.refuse_tree_configuration(Some(commit))?;
        let depth = self.is_shallow().await?.then_some("--depth=1");
        let fetch = command::quiet_fetch(self.git()).time_limit(FETCH_TIME).arguments(depth);
        let fetch = fetch.arguments(self.upload_pack(remote).await?);
        let fetch = fetch.arguments(["--end-of-options", remote, commit.as_str()]);
        let operation = || format!("fetch commit {commit} from {remote:?}");
        let output = self.run(fetch, operation).await?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let (commit, remote, source) = (commit.clone(), remote.to_owned(), output.failure());
        if REFUSALS.iter().any(|refusal| said.contains(refusal)) {
            Err(GitError::NoAccess { commit, remote, source })
        } else if said.contains("does not appear to be a git repository") {
            Err(GitError::NoRemote { commit, remote, source })
        } else if said.contains("not our ref") || said.contains("unadvertised object") {
            Err(GitError::NotOffered { commit, remote, source })
        } else {
            Err(ran(operation, source))
        }
    }

    /// Returns an error if git's configuration includes a file of the work tree. This file could decide how git
    /// contacts a remote.
    pub(super) fn refuse_tree_configuration(&self, commit: Option<&Commit>) -> Result<(), GitError> {
        match &self.tree_configuration {
            Some(file) => Err(GitError::TreeConfiguration { commit: commit.cloned(), file: file.clone() }),
            None => Ok(()),
        }
    }

    /// Returns the option that names the program for a fetch to run on the remote. It is git's own program, even if
    /// `remote.NAME.uploadpack` names another one.
    pub(super) async fn upload_pack(&self, remote: &str) -> Result<Option<&'static str>, GitError> {
        let address = self.git().arguments(["ls-remote", "--get-url", "--end-of-options", remote]);
        let address = self.read(address, || format!("look up the address of {remote:?}")).await?;
        // Over HTTP, there is no such program, and git would print a warning.
        Ok((!address.starts_with(b"http")).then_some("--upload-pack=git-upload-pack"))
    }

    /// Returns a git command for this repository. Git cannot find another repository.
    pub(super) fn git(&self) -> Program {
        let environment = self.environment.clone();
        // Without this, git would fetch a missing object of a partial clone in the way that a file of the tree
        // configures.
        let transports = if self.tree_configuration.is_some() { Transports::None } else { Transports::Usual };
        command::git(&command::transports(environment, transports))
    }

    /// Runs a git command that may end without success in normal operation.
    pub(super) async fn run(&self, git: Program, operation: impl Fn() -> String) -> Result<Output, GitError> {
        git.run().await.map_err(|source| ran(operation, source))
    }

    /// Runs a git command that has no reason to fail. Returns its stdout.
    pub(super) async fn read(&self, git: Program, operation: impl Fn() -> String) -> Result<Vec<u8>, GitError> {
        git.stdout().await.map_err(|source| ran(operation, source))
    }

    /// Returns the error of a failed command about `commits`: one of them is missing, or the command failed for another
    /// reason.
    pub(super) async fn missing_or(
        &self,
        commits: &[&Commit],
        operation: impl Fn() -> String,
        output: &Output,
    ) -> GitError {
        for commit in commits {
            if matches!(self.has_commit(commit).await, Ok(false)) {
                return GitError::MissingCommit { commit: (*commit).clone() };
            }
        }
        ran(operation, output.failure())
    }

    async fn lookup(&self, revision: &str) -> Result<Option<Commit>, GitError> {
        let operation = || format!("resolve the revision {revision:?}");
        let peeled = format!("{revision}^{{commit}}");
        let arguments = ["rev-parse", "--verify", "--quiet", "--end-of-options", &peeled];
        let output = self.run(self.git().arguments(arguments), operation).await?;
        match output.status.code() {
            // Git answers `^REV` with `^` and a name. This answer is not a commit.
            Some(0) => Ok(only_commit(&output.stdout)),
            Some(1) => Ok(None),
            _ => Err(ran(operation, output.failure())),
        }
    }
}

/// Converts the error of a program run into an error of git.
pub(super) fn ran(operation: impl Fn() -> String, source: ProcessError) -> GitError {
    match source {
        ProcessError::NotFound { .. } => GitError::NoGit(source),
        source => GitError::Run { operation: operation(), source },
    }
}

/// Returns `true` if git can take the text only for a name: it is one line and not an option.
pub(super) fn is_plain(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('-') && !text.chars().any(char::is_control)
}

/// Parses the commit from an answer of one line.
fn only_commit(answer: &[u8]) -> Option<Commit> {
    std::str::from_utf8(answer).ok()?.strip_suffix('\n')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_and_several_lines_are_no_names() {
        for text in ["", "-h", "--upload-pack=touch x", "a\nb", "a\0"] {
            assert!(!is_plain(text), "{text:?}");
        }
        assert!(is_plain("HEAD~1"));
    }
}
