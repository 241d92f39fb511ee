//! The status of a commit: one line beside it that tells how the work on one root and target ended.

use http::Method;
use serde_json::json;

use super::client::segment;
use super::{Forge, ForgeError};

/// The largest number of characters of a description. GitHub refuses more.
const DESCRIPTION: usize = 140;

/// The largest number of characters of a context. Forges store it in a short field.
const CONTEXT: usize = 200;

/// The status of a commit in one context. A later one for the same context takes its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitStatus {
    /// The name under which the forge shows the status, and which a rule of the repository can require.
    pub context: String,
    /// The end of the work.
    pub state: CommitState,
    /// The description. Only its first line counts, and it is shortened if it is long.
    pub description: String,
    /// The URL of a page with more about it.
    pub url: String,
}

/// The end of the work on a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitState {
    /// It is done.
    Success,
    /// Something in the commit prevents it.
    Failure,
    /// It broke off.
    Error,
}

impl CommitState {
    fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Error => "error",
        }
    }
}

impl Forge {
    /// Sets the status of a commit. A write whose answer is lost is not repeated.
    pub async fn set_status(&self, commit: &str, status: &CommitStatus) -> Result<(), ForgeError> {
        let operation = format!("set the status of commit {commit}");
        let url = format!("{}/statuses/{}", self.repository_url, segment(commit));
        let body = json!({
            "state": status.state.word(),
            "target_url": status.url,
            "description": shortened(&status.description, DESCRIPTION),
            "context": shortened(&status.context, CONTEXT),
        });
        let mut tries = self.client.tries();
        loop {
            self.pace().await;
            match self.client.once(Method::POST, &url, Some(&body)).await {
                Ok(_) => return Ok(()),
                Err(failure) if failure.unclear => return Err(ForgeError::Call { operation, source: failure.cause }),
                Err(failure) => tries.again(&operation, failure).await?,
            }
        }
    }
}

/// Returns the first line of a text, with at most `most` characters.
fn shortened(text: &str, most: usize) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= most {
        return line.to_owned();
    }
    line.chars().take(most - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f19_a_description_is_one_line_that_the_forge_takes() {
        for (text, expected) in [
            ("", String::new()),
            ("1 created.", "1 created.".to_owned()),
            ("one\ntwo", "one".to_owned()),
            (&"ä".repeat(140), "ä".repeat(140)),
            (&"ä".repeat(141), format!("{}…", "ä".repeat(139))),
        ] {
            assert_eq!(shortened(text, DESCRIPTION), expected);
        }
    }
}
