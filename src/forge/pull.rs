//! What the forge knows of pull requests, changed files, ancestry and rights. Reads only.

use std::collections::BTreeSet;

use serde_json::Value;

use super::client::{malformed, segment};
use super::{Dialect, Forge, ForgeError};

/// The most files of a pull request that GitHub lists.
const PULL_FILES_LIMIT: usize = 3_000;

/// The most files of a comparison that GitHub lists.
const COMPARE_FILES_LIMIT: usize = 300;

/// The most pages of a list that are read; a look-alike's page may hold 30.
const PAGES: u32 = 100;

/// A pull request as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// Its number.
    pub number: u64,
    /// Whether it is open.
    pub open: bool,
    /// Whether it was merged.
    pub merged: bool,
    /// The commit that merged it, or that would.
    pub merge_commit_sha: Option<String>,
    /// The target branch's name.
    pub base_ref: String,
    /// Its own last commit.
    pub head_sha: String,
    /// Whether it comes from another repository, or from one that is gone.
    pub from_fork: bool,
}

/// Changed paths, old names of renamed files included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// The paths, from the repository's root.
    pub paths: BTreeSet<String>,
    /// Whether there may be more: the forge's limit was reached, or a path cannot be told exactly.
    pub truncated: bool,
}

/// Two commits compared: from their merge base to the second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// How the second commit relates to the first; not every forge says.
    pub relation: Option<Relation>,
    /// Their merge base, where the forge says.
    pub merge_base_sha: Option<String>,
    /// What changed.
    pub files: Files,
}

/// How a commit relates to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// The second descends from the first.
    Ahead,
    /// The second is an ancestor of the first.
    Behind,
    /// They are one commit.
    Identical,
    /// Each has commits that the other lacks.
    Diverged,
}

/// What a user may do with the repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// Nothing that is not public.
    None,
    /// Read it.
    Read,
    /// Push to it.
    Write,
    /// Everything.
    Admin,
}

impl Forge {
    /// Reads one pull request.
    pub async fn pull(&self, number: u64) -> Result<Pull, ForgeError> {
        let operation = format!("read pull request #{number}");
        let answer = self.client.get(&operation, &format!("{}/pulls/{number}", self.repository_url)).await?;
        pull(&answer.body).ok_or_else(|| malformed(&operation, "it is not a pull request"))
    }

    /// Lists the pull requests that brought `sha` into the repository, merged or not.
    pub async fn pulls_of_commit(&self, sha: &str) -> Result<Vec<Pull>, ForgeError> {
        let operation = format!("list the pull requests of commit {sha}");
        let commit = format!("{}/commits/{}", self.repository_url, segment(sha));
        let pulls = match self.client.list(&operation, &format!("{commit}/pulls"), number_key, PAGES).await {
            // Gitea has the singular alone, and 404 there is its word for none.
            Err(error) if self.dialect == Dialect::Gitea && error.status() == Some(404) => {
                match self.client.get(&operation, &format!("{commit}/pull")).await {
                    Err(error) if error.status() == Some(404) => Vec::new(),
                    answer => vec![answer?.body],
                }
            }
            list => list?.items,
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

    /// Compares two commits: their relation, and the paths that changed from their merge base to `head`.
    pub async fn compare_files(&self, base: &str, head: &str) -> Result<Comparison, ForgeError> {
        let operation = format!("compare {base} with {head}");
        // The files stand on the first page whole; the commits, which only fill it, need not.
        let url = format!("{}/compare/{}...{}?per_page=1", self.repository_url, segment(base), segment(head));
        let body = self.client.get(&operation, &url).await?.body;
        let listed = body.get("files").and_then(Value::as_array).map(Vec::as_slice);
        let truncated = Files { truncated: true, ..Files::default() };
        let files = listed.map_or(Some(truncated), |listed| files(listed, COMPARE_FILES_LIMIT));
        Ok(Comparison {
            relation: match body.get("status").and_then(Value::as_str) {
                Some("ahead") => Some(Relation::Ahead),
                Some("behind") => Some(Relation::Behind),
                Some("identical") => Some(Relation::Identical),
                Some("diverged") => Some(Relation::Diverged),
                _ => None,
            },
            merge_base_sha: body.pointer("/merge_base_commit/sha").and_then(Value::as_str).map(str::to_owned),
            files: files.ok_or_else(|| malformed(&operation, "an item is not a file"))?,
        })
    }

    /// Reads what `user` may do with the repository; nothing for a stranger.
    pub async fn permission(&self, user: &str) -> Result<Permission, ForgeError> {
        let operation = format!("read the permission of {user:?}");
        let url = format!("{}/collaborators/{}/permission", self.repository_url, segment(user));
        let body = match self.client.get(&operation, &url).await {
            Err(error) if error.status() == Some(404) => return Ok(Permission::None),
            answer => answer?.body,
        };
        // GitHub counts `maintain` as write and `triage` as read here.
        match body.get("permission").and_then(Value::as_str) {
            Some("owner" | "admin") => Ok(Permission::Admin),
            Some("write") => Ok(Permission::Write),
            Some("read") => Ok(Permission::Read),
            Some("none") => Ok(Permission::None),
            _ => Err(malformed(&operation, "it names no permission")),
        }
    }
}

fn pull(value: &Value) -> Option<Pull> {
    let text = |pointer| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let repository = |side: &str| value.pointer(&format!("/{side}/repo/id")).and_then(Value::as_u64);
    Some(Pull {
        number: value.get("number")?.as_u64()?,
        open: value.get("state")?.as_str()? == "open",
        // Lists carry the time alone.
        merged: value.get("merged").and_then(Value::as_bool).unwrap_or(false) || text("/merged_at").is_some(),
        merge_commit_sha: text("/merge_commit_sha"),
        base_ref: text("/base/ref")?,
        head_sha: text("/head/sha")?,
        from_fork: repository("head").is_none() || repository("head") != repository("base"),
    })
}

fn files(items: &[Value], limit: usize) -> Option<Files> {
    let mut paths = BTreeSet::new();
    for item in items {
        paths.insert(item.get("filename")?.as_str()?.to_owned());
        paths.extend(item.get("previous_filename").and_then(Value::as_str).map(str::to_owned));
    }
    // A name that is no UTF-8 arrives with the replacement character: which file it was is lost.
    let truncated = items.len() >= limit || paths.iter().any(|path| path.contains('\u{fffd}'));
    Some(Files { paths, truncated })
}

fn number_key(item: &Value) -> Option<String> {
    item.get("number")?.as_u64().map(|number| number.to_string())
}

fn filename_key(item: &Value) -> Option<String> {
    item.get("filename")?.as_str().map(str::to_owned)
}
