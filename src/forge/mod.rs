//! GitHub and look-alikes: the event, the sticky comment, workflow commands.
//!
//! Adapter: `octocrab::Error` never leaves it. It decides nothing: what a comment says, and whether a failing forge
//! matters, is the caller's business.
//!
//! **Invariant:** no request that creates something is sent twice unless the forge was asked in between whether the first
//! one took effect.

use std::sync::Mutex;
use std::sync::atomic::AtomicU8;

use self::client::Client;

mod client;
mod comment;
mod context;
mod error;
mod hidden;
mod pull;
mod token;
pub mod workflow;

pub use self::client::Patience;
pub use self::comment::{BODY_LIMIT, Comment, Sticky, Upserted, WRITE_LIMIT};
pub use self::context::{Context, Event, IssueComment, PullRequest, Push, RepositorySlug};
pub use self::error::{Cause, ForgeError};
pub use self::hidden::{Freshness, Marker, hidden_block, read_hidden_block};
pub use self::pull::{Comparison, Files, Permission, Pull, Relation};
pub use self::token::Token;

/// The login that comments of an Actions token carry.
pub const ACTIONS_BOT: &str = "github-actions[bot]";

/// What a [`Forge`] is opened with.
#[derive(Clone, Debug)]
pub struct ForgeSettings {
    /// The API's address: `https://api.github.com`, `https://HOST/api/v3`, `https://HOST/api/v1`.
    pub api_url: String,
    /// The repository that everything is about.
    pub repository: RepositorySlug,
    /// The token of all requests.
    pub token: Token,
    /// The login under which the token comments; asked of the forge where absent.
    pub author: Option<String>,
    /// How long a struggling forge is waited for.
    pub patience: Patience,
}

/// An open connection to one repository of a forge.
pub struct Forge {
    client: Client,
    /// The API's address with the repository's path, without a slash at its end.
    repository_url: String,
    api_url: String,
    dialect: Dialect,
    /// The login of our own comments, once it is known.
    author: Mutex<Option<String>>,
    /// Content writes so far.
    writes: AtomicU8,
}

/// Whose API it is, as far as paths differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    GitHub,
    Gitea,
}

impl Forge {
    /// Opens a repository. Sends nothing yet; must run inside a tokio runtime.
    pub fn new(settings: ForgeSettings) -> Result<Self, ForgeError> {
        let ForgeSettings { api_url, repository, token, author, patience } = settings;
        let api_url = api_url.trim_end_matches('/').to_owned();
        let path = address(&api_url)?.path().to_owned();
        let client = Client::new(&api_url, &token, patience)?;
        Ok(Self {
            client,
            repository_url: format!("{api_url}/repos/{}/{}", repository.owner, repository.name),
            // Gitea and Forgejo serve their API below this path, GitHub never does.
            dialect: if path.ends_with("/api/v1") { Dialect::Gitea } else { Dialect::GitHub },
            api_url,
            author: Mutex::new(author.filter(|author| !author.is_empty())),
            writes: AtomicU8::new(0),
        })
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
