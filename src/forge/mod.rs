//! GitHub and look-alikes: the event, the sticky comment, and workflow commands.
//!
//! This module is an adapter: `octocrab::Error` never leaves it. The caller decides on the text of a comment, and on
//! the effect of a forge that fails.
//!
//! **Invariant:** a request that creates something is not repeated before a read from the forge shows that the first
//! request had no effect.

use std::sync::Mutex;
use std::sync::atomic::AtomicU8;

use self::client::Client;

mod client;
mod comment;
mod context;
mod error;
mod hidden;
mod issue;
mod notice;
mod planned;
mod pull;
mod run;
mod status;
mod subject;
mod token;
pub(crate) mod workflow;

pub use self::client::Patience;
pub use self::comment::{BODY_LIMIT, Comment, Posting, Remark, Sticky, Upserted};
pub(crate) use self::context::{Context, IssueComment, PullRequest};
pub use self::context::{Event, Push, RepositorySlug};
pub use self::error::{Cause, ForgeError};
pub(crate) use self::hidden::{DIGEST, REVIEW, SERVER};
pub use self::hidden::{
    Freshness, Marker, PlanPart, hidden_block, part_line, read_hidden_block, read_plan, section_line, sections_end,
};
pub use self::issue::Report as IssueReport;
pub use self::planned::{CommentedPlan, SummarySection};
pub use self::pull::{Files, Permission, Pull, Relation};
pub use self::run::{RepeatedJobs, WorkflowRun};
pub use self::status::{CommitState, CommitStatus};
pub(crate) use self::subject::pull_number;
pub use self::token::Token;

/// The settings of a [`Forge`].
#[derive(Clone, Debug)]
pub struct ForgeSettings {
    /// The API's address: `https://api.github.com`, `https://HOST/api/v3`, `https://HOST/api/v1`.
    pub api_url: String,
    /// The repository that all requests are for.
    pub repository: RepositorySlug,
    /// The token for all requests.
    pub token: Token,
    /// The login of comments that the token writes, if the caller knows it. The forge is asked for it, and another
    /// answer is an error.
    pub author: Option<String>,
    /// The limits on the time that requests may take and on the waits between them.
    pub patience: Patience,
}

/// A client for one repository of a forge.
pub struct Forge {
    client: Client,
    /// The API's address with the repository's path, without a slash at its end.
    repository_url: String,
    api_url: String,
    graphql_url: String,
    dialect: Dialect,
    /// The login of our own comments that the caller named.
    named_author: Option<String>,
    /// The login of our own comments, as soon as it is known.
    author: Mutex<Option<String>>,
    /// The number of content writes so far.
    writes: AtomicU8,
}

/// The API variant. It decides on the paths that differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    GitHub,
    Gitea,
}

impl Dialect {
    /// Returns the variant of an API whose URL ends with `path`. Gitea and Forgejo serve their API below `/api/v1`, and
    /// GitHub does not.
    fn of(path: &str) -> Self {
        if path.ends_with("/api/v1") { Self::Gitea } else { Self::GitHub }
    }
}

impl Forge {
    /// Creates a client for a repository, without sending a request. It needs a running tokio runtime.
    pub fn new(settings: ForgeSettings) -> Result<Self, ForgeError> {
        let ForgeSettings { api_url, repository, token, author, patience } = settings;
        let api_url = api_url.trim_end_matches('/').to_owned();
        let dialect = Dialect::of(address(&api_url)?.path());
        let client = Client::new(&api_url, &token, patience)?;
        Ok(Self {
            client,
            repository_url: format!("{api_url}/repos/{}/{}", repository.owner, repository.name),
            dialect,
            graphql_url: match api_url.strip_suffix("/v3") {
                Some(enterprise) => format!("{enterprise}/graphql"),
                None => format!("{api_url}/graphql"),
            },
            api_url,
            named_author: author.filter(|author| !author.is_empty()),
            author: Mutex::default(),
            writes: AtomicU8::new(0),
        })
    }
}

impl Forge {
    /// Returns the time on the forge's clock, in seconds since 1970, as of its last answer. `None` without an answer.
    pub(crate) fn time(&self) -> Option<i64> {
        self.client.time().and_then(|time| i64::try_from(time).ok())
    }
}

fn address(api_url: &str) -> Result<http::Uri, ForgeError> {
    let refused = |problem| ForgeError::Address { url: api_url.to_owned(), problem };
    let uri: http::Uri = api_url.parse().map_err(|_| refused("it is not a URL"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(refused("it is not an http or https URL"));
    }
    if uri.query().is_some() || uri.authority().is_none_or(|authority| authority.as_str().contains('@')) {
        return Err(refused("it has a query or credentials"));
    }
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f7_addresses_are_checked() {
        for good in ["https://api.github.com", "http://127.0.0.1:3000/api/v1", "https://ghe.example/api/v3"] {
            assert!(address(good).is_ok(), "{good}");
        }
        for bad in ["", "api.github.com", "ftp://x/", "https://user:canary@x/api/v3", "https://x/?a=b", "https://x y/"]
        {
            assert!(address(bad).is_err(), "{bad}");
        }
    }
}
