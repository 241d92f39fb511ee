//! Lists the commits of a branch as they landed: merges, squashes and rebased commits, one after another.

use std::path::PathBuf;

use super::command;
use super::commit::Commit;
use super::error::GitError;
use super::repository::Repository;

/// The largest number of commits that are listed.
const MOST: usize = 10_000;

/// A commit that landed on a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Landed {
    /// The commit.
    pub commit: Commit,
    /// The time at which it was made, in seconds since 1970. Whoever made it chose it.
    pub time: i64,
    /// The first line of its message. The text is untrusted.
    pub subject: String,
}

/// The commits that landed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LandedCommits {
    /// The commits, oldest first.
    pub commits: Vec<Landed>,
    /// `true` if there are more than are listed. The older ones are missing.
    pub is_cut: bool,
}

impl Repository {
    /// Lists the first-parent commits after `from` up to `to` that change one of the paths compared with their first
    /// parent. The paths are relative to the repository's top directory. An empty list of paths means every commit.
    ///
    /// # Errors
    ///
    /// Git fails, for example because the clone does not have one of the commits.
    pub async fn landed(&self, from: &Commit, to: &Commit, paths: &[PathBuf]) -> Result<LandedCommits, GitError> {
        let operation = || format!("list the commits from {from} to {to}");
        let count = (MOST + 1).to_string();
        let log = self.git().arguments(["log", "--first-parent", "-m", "--no-show-signature", "--no-notes", "-z"]);
        let log = log.arguments(["--format=%H %ct %s", "--max-count", &count, "--end-of-options"]);
        let log = log.arguments([format!("{from}..{to}"), "--".to_owned()]).arguments(paths);
        let listed = self.read(log, operation).await?;
        let landed = command::records(&listed).map(|record| {
            let text = String::from_utf8_lossy(record);
            let (commit, rest) = text.trim_start_matches('\n').split_once(' ')?;
            let (time, subject) = rest.split_once(' ')?;
            Some(Landed { commit: commit.parse().ok()?, time: time.parse().ok()?, subject: subject.to_owned() })
        });
        let mut commits =
            landed.collect::<Option<Vec<_>>>().ok_or_else(|| GitError::Answer { operation: operation() })?;
        let is_cut = commits.len() > MOST;
        commits.truncate(MOST);
        commits.reverse();
        Ok(LandedCommits { commits, is_cut })
    }
}
