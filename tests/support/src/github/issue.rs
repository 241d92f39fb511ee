//! The issues of the fake. A pull request is in the list too, as on GitHub.

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::{Entry, FakeGitHub, REPOSITORY, State, json_answer, message, not_found, written};

/// An issue of the fake.
#[derive(Clone, Debug)]
pub struct FakeIssue {
    /// The number in the repository.
    pub number: u64,
    /// The login of the author.
    pub author: String,
    /// The title.
    pub title: String,
    /// The text.
    pub body: String,
    /// `true` until someone closes it.
    pub is_open: bool,
}

impl FakeGitHub {
    /// Returns the issues, oldest first.
    pub fn issues(&self) -> Vec<FakeIssue> {
        self.state().issues.clone()
    }

    /// Opens an issue. Returns its number.
    pub fn add_issue(&self, author: &str, title: &str, body: &str) -> u64 {
        self.state().open_issue(author, title, body).number
    }
}

impl State {
    fn open_issue(&mut self, author: &str, title: &str, body: &str) -> FakeIssue {
        self.next_id += 1;
        let (author, title, body) = (author.to_owned(), title.to_owned(), body.to_owned());
        let issue = FakeIssue { number: self.next_id, author, title, body, is_open: true };
        self.issues.push(issue.clone());
        issue
    }

    pub(super) fn list_issues(&self, path: &str, query: &str) -> Response<Value> {
        let issues = self.issues.iter().filter(|issue| issue.is_open).map(|issue| self.issue_json(issue));
        let pulls = self.pulls.values().filter(|pull| pull.open).map(|pull| {
            let mut item = pull.json();
            item["pull_request"] = json!({"url": "x"});
            item["user"] = json!({"login": self.login});
            item
        });
        let mut items: Vec<Value> = issues.chain(pulls).collect();
        items.sort_by_key(|item| std::cmp::Reverse(item["number"].as_u64()));
        self.page(&items, path, query)
    }

    pub(super) fn create_issue(&mut self, entry: &Entry) -> Response<Value> {
        let sent: Value = serde_json::from_str(&entry.body).unwrap_or_default();
        let Some(title) = sent["title"].as_str().filter(|title| !title.trim().is_empty() && title.len() <= 256) else {
            return message(StatusCode::UNPROCESSABLE_ENTITY, "Validation Failed: title");
        };
        let body = match written(&entry.body) {
            Ok(body) => body,
            Err((status, why)) => return message(status, why),
        };
        let author = self.login.clone();
        let issue = self.open_issue(&author, title, &body);
        self.writes.push(entry.clone());
        json_answer(StatusCode::CREATED, self.issue_json(&issue))
    }

    pub(super) fn edit_issue(&mut self, number: &str, entry: &Entry) -> Response<Value> {
        let body = match written(&entry.body) {
            Ok(body) => body,
            Err((status, why)) => return message(status, why),
        };
        let sent: Value = serde_json::from_str(&entry.body).unwrap_or_default();
        let Some(issue) = self.issues.iter_mut().find(|issue| issue.number.to_string() == number) else {
            return not_found();
        };
        issue.body = body;
        issue.is_open = sent["state"] != "closed";
        let issue = issue.clone();
        self.writes.push(entry.clone());
        json_answer(StatusCode::OK, self.issue_json(&issue))
    }

    fn issue_json(&self, issue: &FakeIssue) -> Value {
        let FakeIssue { number, author, title, body, is_open } = issue;
        json!({
            "number": number,
            "html_url": format!("http://{}/{REPOSITORY}/issues/{number}", self.address),
            "user": {"login": author},
            "title": title,
            "body": body,
            "state": if *is_open { "open" } else { "closed" },
        })
    }
}
