//! Reads pull requests, changed files, the relation of commits, and permissions from the forge. It writes nothing.

use std::collections::BTreeSet;

use serde_json::Value;

use super::client::{malformed, segment};
use super::context::is_commit;
use super::{Dialect, Forge, ForgeError};

/// The maximum number of files of a pull request that GitHub lists.
const PULL_FILES_LIMIT: usize = 3_000;

/// The maximum number of files of a comparison that GitHub lists.
const COMPARE_FILES_LIMIT: usize = 300;

/// The maximum number of pages of a list that are read. A page of a look-alike may have only 30 items.
const PAGES: u32 = 100;

/// The number of pages of open pull requests that are read.
const OPEN_PULLS: u32 = 1;

/// The current state of a pull request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// The pull request's number.
    pub number: u64,
    /// `true` if the pull request is open.
    pub open: bool,
    /// `true` if the pull request is merged.
    pub merged: bool,
    /// The time of the merge, in seconds since 1970.
    pub merged_at: Option<i64>,
    /// The merge commit, or the test merge commit if the pull request is not merged.
    pub merge_commit_sha: Option<String>,
    /// The name of the target branch.
    pub base_ref: String,
    /// The commit of the target branch that the forge compares with.
    pub base_sha: String,
    /// The last commit of the pull request's branch.
    pub head_sha: String,
    /// The login of its author. It is empty if the author is deleted.
    pub author: String,
    /// `true` if the pull request comes from another repository, or from a repository that is deleted.
    pub from_fork: bool,
    /// The number of the repository that the pull request is merged into.
    pub repository: u64,
}

/// Changed paths, including the old paths of renamed files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// The paths, relative to the repository's root directory.
    pub paths: BTreeSet<String>,
    /// `true` if the list may be incomplete: the forge's limit is reached, the forge sends no list, or a path is not
    /// valid UTF-8.
    pub truncated: bool,
}

/// The comparison of two commits. The files are the changes from the merge base to the second commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// The relation of the second commit to the first. It is absent if the forge does not tell it.
    pub relation: Option<Relation>,
    /// The merge base. It is absent if the forge does not send it.
    pub merge_base_sha: Option<String>,
    /// The changed files.
    pub files: Files,
}

/// The relation of a second commit to a first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// The second commit descends from the first.
    Ahead,
    /// The second commit is an ancestor of the first.
    Behind,
    /// Both are the same commit.
    Identical,
    /// Each of the two has commits that the other does not have.
    Diverged,
}

/// The permission of a user in the repository, from the lowest to the highest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// No permission. Public information may still be readable.
    None,
    /// Permission to read.
    Read,
    /// Permission to push.
    Write,
    /// Full permission.
    Admin,
}

impl Forge {
    /// Reads one pull request.
    pub async fn pull(&self, number: u64) -> Result<Pull, ForgeError> {
        let operation = format!("read pull request #{number}");
        let answer = self.client.get(&operation, &format!("{}/pulls/{number}", self.repository_url)).await?;
        pull(&answer.body).ok_or_else(|| malformed(&operation, "it is not a pull request"))
    }

    /// Lists the open pull requests into a branch, the newest first. Reads one page.
    pub(crate) async fn open_pulls(&self, branch: &str) -> Result<Vec<Pull>, ForgeError> {
        let operation = "list the open pull requests";
        // Without a state, all kinds of forges list the open ones.
        let list =
            self.client.list(operation, &format!("{}/pulls", self.repository_url), number_key, OPEN_PULLS).await?;
        let pulls: Option<Vec<_>> = list.items.iter().map(pull).collect();
        let pulls = pulls.ok_or_else(|| malformed(operation, "an item is not a pull request"))?;
        Ok(pulls.into_iter().filter(|pull| pull.open && pull.base_ref == branch).collect())
    }

    /// Lists the pull requests that contain the commit `sha`, merged or not.
    pub async fn pulls_of_commit(&self, sha: &str) -> Result<Vec<Pull>, ForgeError> {
        let operation = format!("list the pull requests of commit {sha}");
        let commit = format!("{}/commits/{}", self.repository_url, segment(sha));
        let pulls = match self.dialect {
            Dialect::GitHub => self.client.list(&operation, &format!("{commit}/pulls"), number_key, PAGES).await?.items,
            // Gitea answers with the pull request whose merge made the commit, and with 404 if there is none.
            Dialect::Gitea => match self.client.get(&operation, &format!("{commit}/pull")).await {
                Err(error) if error.status() == Some(404) => Vec::new(),
                answer => vec![answer?.body],
            },
        };
        let pulls: Option<Vec<_>> = pulls.iter().map(pull).collect();
        pulls.ok_or_else(|| malformed(&operation, "an item is not a pull request"))
    }

    /// Lists the paths that a pull request changes.
    pub async fn pull_files(&self, number: u64) -> Result<Files, ForgeError> {
        let operation = format!("list the files of #{number}");
        let url = format!("{}/pulls/{number}/files", self.repository_url);
        let list = self.client.list(&operation, &url, filename_key, PAGES).await?;
        let files =
            files(&list.items, PULL_FILES_LIMIT).ok_or_else(|| malformed(&operation, "an item is not a file"))?;
        Ok(Files { truncated: files.truncated || !list.complete, ..files })
    }

    /// Compares two commits: returns their relation, and the paths that changed from their merge base to `head`.
    pub async fn compare_files(&self, base: &str, head: &str) -> Result<Comparison, ForgeError> {
        let operation = format!("compare {base} with {head}");
        let body = self.compared(&operation, base, head).await?;
        let listed = body.get("files").and_then(Value::as_array).map(Vec::as_slice);
        let truncated = Files { truncated: true, ..Files::default() };
        let files = listed.map_or(Some(truncated), |listed| files(listed, COMPARE_FILES_LIMIT));
        let relation = match body.get("status").and_then(Value::as_str) {
            Some("ahead") => Some(Relation::Ahead),
            Some("behind") => Some(Relation::Behind),
            Some("identical") => Some(Relation::Identical),
            Some("diverged") => Some(Relation::Diverged),
            Some(_) => None,
            None => {
                let reverse = self.compared(&operation, head, base).await?;
                let counts = count(&body).zip(count(&reverse));
                counts.and_then(|(ahead, behind)| relation((base, head), ahead, behind))
            }
        };
        Ok(Comparison {
            relation,
            merge_base_sha: body.pointer("/merge_base_commit/sha").and_then(Value::as_str).map(str::to_owned),
            files: files.ok_or_else(|| malformed(&operation, "an item is not a file"))?,
        })
    }

    async fn compared(&self, operation: &str, base: &str, head: &str) -> Result<Value, ForgeError> {
        let query = match self.dialect {
            // The first page has all files. Further pages contain only commits, which are not needed.
            Dialect::GitHub => "per_page=1",
            // Gitea lists all commits. Without these fields, the list is short and quick.
            Dialect::Gitea => "files=false&verification=false",
        };
        let url = format!("{}/compare/{}...{}?{query}", self.repository_url, segment(base), segment(head));
        Ok(self.client.get(operation, &url).await?.body)
    }

    /// Reads the permission of `user` in the repository. A user who is not known there has [`Permission::None`].
    pub async fn permission(&self, user: &str) -> Result<Permission, ForgeError> {
        let operation = format!("read the permission of {user:?}");
        let url = format!("{}/collaborators/{}/permission", self.repository_url, segment(user));
        let body = match self.client.get(&operation, &url).await {
            Err(error) if error.status() == Some(404) => return Ok(Permission::None),
            answer => answer?.body,
        };
        // GitHub reports `maintain` as write and `triage` as read in this field.
        match body.get("permission").and_then(Value::as_str) {
            Some("owner" | "admin") => Ok(Permission::Admin),
            Some("write") => Ok(Permission::Write),
            Some("read") => Ok(Permission::Read),
            Some("none") => Ok(Permission::None),
            _ => Err(malformed(&operation, "it names no permission")),
        }
    }
}

/// Returns the number of commits that the second commit of a comparison has and the first does not have.
fn count(comparison: &Value) -> Option<u64> {
    comparison.get("total_commits")?.as_u64()
}

/// Derives the relation of the second of two revisions from the number of commits that only it has, and the number that
/// only the first has. A forge that finds no difference between two different commits has not compared them.
fn relation((base, head): (&str, &str), ahead: u64, behind: u64) -> Option<Relation> {
    match (ahead, behind) {
        (0, 0) if base != head && is_commit(base) && is_commit(head) => None,
        (0, 0) => Some(Relation::Identical),
        (_, 0) => Some(Relation::Ahead),
        (0, _) => Some(Relation::Behind),
        (_, _) => Some(Relation::Diverged),
    }
}

fn pull(value: &Value) -> Option<Pull> {
    let text = |pointer| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let repository = |side: &str| value.pointer(&format!("/{side}/repo/id")).and_then(Value::as_u64);
    Some(Pull {
        number: value.get("number")?.as_u64()?,
        open: value.get("state")?.as_str()? == "open",
        // A list of pull requests has only the time of the merge, without the `merged` flag.
        merged: value.get("merged").and_then(Value::as_bool).unwrap_or(false) || text("/merged_at").is_some(),
        merged_at: text("/merged_at").and_then(|time| Some(time.parse::<jiff::Timestamp>().ok()?.as_second())),
        merge_commit_sha: text("/merge_commit_sha"),
        base_ref: text("/base/ref")?,
        base_sha: text("/base/sha")?,
        author: text("/user/login").unwrap_or_default(),
        head_sha: text("/head/sha")?,
        from_fork: repository("head").is_none() || repository("head") != repository("base"),
        repository: repository("base")?,
    })
}

fn files(items: &[Value], limit: usize) -> Option<Files> {
    let mut paths = BTreeSet::new();
    for item in items {
        paths.insert(item.get("filename")?.as_str()?.to_owned());
        paths.extend(item.get("previous_filename").and_then(Value::as_str).map(str::to_owned));
    }
    // If a name is not valid UTF-8, it arrives with the replacement character. The file is then not known.
    let truncated = items.len() >= limit || paths.iter().any(|path| path.contains('\u{fffd}'));
    Some(Files { paths, truncated })
}

fn number_key(item: &Value) -> Option<String> {
    item.get("number")?.as_u64().map(|number| number.to_string())
}

fn filename_key(item: &Value) -> Option<String> {
    item.get("filename")?.as_str().map(str::to_owned)
}
