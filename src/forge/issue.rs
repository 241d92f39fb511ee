//! The issue that reports a lasting condition: opened, edited in place, and closed when the condition is over.
//!
//! An issue is ours if it is open, starts with the marker **and** its author is the login that our comments have.

use http::Method;
use serde_json::{Value, json};

use super::client::{AttemptFailure, malformed};
use super::{BODY_LIMIT, Forge, ForgeError, Marker};

/// The largest number of pages of open issues that are read.
const PAGES: u32 = 100;

/// An issue that a repository has only once while it is open.
#[derive(Clone, Debug)]
pub struct Report {
    /// The marker that identifies the issue.
    pub marker: Marker,
    /// The title of a new issue.
    pub title: String,
    /// The visible text.
    pub text: String,
}

/// An open issue that we wrote.
struct Issue {
    number: u64,
    url: String,
    body: String,
}

impl Forge {
    /// Writes a report to its issue, and opens the issue if there is none. Returns the URL of the issue.
    ///
    /// If the answer to a write is lost, it reads the issues again before it repeats the write.
    pub async fn report(&self, report: &Report) -> Result<String, ForgeError> {
        let operation = "write the issue";
        let body = format!("{}\n\n{}", report.marker.as_str(), report.text);
        let characters = body.chars().count();
        if characters > BODY_LIMIT {
            return Err(ForgeError::TooLong { operation: operation.to_owned(), characters, limit: BODY_LIMIT });
        }
        let mut tries = self.client.tries();
        loop {
            let issue = self.issue(&report.marker).await?;
            let written = match issue {
                Some(issue) if issue.body.replace("\r\n", "\n").trim_end() == body.trim_end() => return Ok(issue.url),
                Some(issue) => self.write_issue(operation, Some(issue.number), &json!({ "body": body })).await?,
                None => self.write_issue(operation, None, &json!({ "title": report.title, "body": body })).await?,
            };
            match written {
                Ok(url) => return Ok(url),
                Err(failure) => tries.again(operation, failure).await?,
            }
        }
    }

    /// Closes the issue of a report with a last text, if there is one. Returns its URL.
    pub async fn close_report(&self, marker: &Marker, text: &str) -> Result<Option<String>, ForgeError> {
        let operation = "close the issue";
        let change = json!({ "body": format!("{}\n\n{text}", marker.as_str()), "state": "closed" });
        let mut tries = self.client.tries();
        loop {
            let Some(issue) = self.issue(marker).await? else { return Ok(None) };
            match self.write_issue(operation, Some(issue.number), &change).await? {
                Ok(url) => return Ok(Some(url)),
                Err(failure) => tries.again(operation, failure).await?,
            }
        }
    }

    /// Finds our oldest open issue with `marker`. Reads every page of open issues.
    async fn issue(&self, marker: &Marker) -> Result<Option<Issue>, ForgeError> {
        let author = self.login().await?;
        let operation = "list the open issues";
        // Without a state, both kinds of forges list the open issues.
        let list = self.client.list(operation, &format!("{}/issues", self.repository_url), number, PAGES).await?;
        if !list.complete {
            return Err(ForgeError::Endless { operation: operation.to_owned(), pages: PAGES });
        }
        let is_ours = |item: &&Value| {
            let login = item.pointer("/user/login").and_then(Value::as_str);
            item.get("pull_request").is_none_or(Value::is_null)
                && login.is_some_and(|login| login.eq_ignore_ascii_case(&author))
        };
        let issues = list.items.iter().filter(is_ours).filter_map(issue);
        Ok(issues.filter(|issue| marker.opens(&issue.body)).min_by_key(|issue| issue.number))
    }

    /// Sends one write: an edit of an issue, or a new issue.
    async fn write_issue(
        &self,
        operation: &str,
        existing: Option<u64>,
        content: &Value,
    ) -> Result<Result<String, AttemptFailure>, ForgeError> {
        let (method, url) = match existing {
            Some(number) => (Method::PATCH, format!("{}/issues/{number}", self.repository_url)),
            None => (Method::POST, format!("{}/issues", self.repository_url)),
        };
        match self.client.once(method, &url, Some(content)).await {
            Ok(answer) => match issue(&answer.body) {
                Some(issue) => Ok(Ok(issue.url)),
                None => Err(malformed(operation, "it is not an issue")),
            },
            Err(failure) => Ok(Err(failure)),
        }
    }
}

fn issue(value: &Value) -> Option<Issue> {
    let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    Some(Issue { number: value.get("number")?.as_u64()?, url: text("html_url"), body: text("body") })
}

fn number(item: &Value) -> Option<String> {
    item.get("number")?.as_u64().map(|number| number.to_string())
}
