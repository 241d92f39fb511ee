//! The statuses of commits of the fake.

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::{Entry, FakeGitHub, State, json_answer, message};

/// A status of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FakeStatus {
    /// The commit.
    pub sha: String,
    /// The name of the status.
    pub context: String,
    /// `pending`, `success`, `failure` or `error`.
    pub state: String,
    /// The description.
    pub description: String,
    /// The URL of the page about it.
    pub target_url: String,
}

impl FakeGitHub {
    /// Returns the statuses that were set, oldest first.
    pub fn statuses(&self) -> Vec<FakeStatus> {
        self.state().statuses.clone()
    }
}

impl State {
    pub(super) fn create_status(&mut self, sha: &str, entry: &Entry) -> Response<Value> {
        let sent: Value = serde_json::from_str(&entry.body).unwrap_or_default();
        let text = |field: &str| sent[field].as_str().unwrap_or_default().to_owned();
        let status = FakeStatus {
            sha: sha.to_owned(),
            context: text("context"),
            state: text("state"),
            description: text("description"),
            target_url: text("target_url"),
        };
        let invalid = |why: &str| message(StatusCode::UNPROCESSABLE_ENTITY, &format!("Validation Failed: {why}"));
        if !["pending", "success", "failure", "error"].contains(&status.state.as_str()) {
            return invalid("state is not included in the list");
        }
        if status.description.chars().count() > 140 {
            return invalid("description is too long (maximum is 140 characters)");
        }
        if sha.len() != 40 || !sha.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return message(StatusCode::UNPROCESSABLE_ENTITY, &format!("No commit found for SHA: {sha}"));
        }
        self.statuses.push(status.clone());
        let FakeStatus { context, state, description, target_url, .. } = status;
        let answer = json!({"context": context, "state": state, "description": description, "target_url": target_url});
        json_answer(StatusCode::CREATED, answer)
    }
}
