//! A repository of the real Gitea: its branches, pull requests, comments and jobs.

use serde_json::{Value, json};

use super::job::{Job, Runner};
use super::{Answer, Gitea, within};
use crate::repository::TestRepository;

/// A way to merge a pull request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergeStyle {
    /// A merge commit.
    Merge,
    /// One new commit with all changes.
    Squash,
    /// A new commit for each commit of the pull request.
    Rebase,
}

/// A comment in its current form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GiteaComment {
    /// The ID.
    pub id: u64,
    /// The login of the author.
    pub author: String,
    /// The text.
    pub body: String,
    /// The time of the last change.
    pub updated: String,
    /// The address of the web page.
    pub url: String,
}

/// A repository, its members and its runner.
pub struct GiteaRepository {
    gitea: &'static Gitea,
    owner: String,
    name: String,
    runner: Runner,
}

impl GiteaRepository {
    /// Creates a public repository of `owner` whose `main` has one commit. Its runner is the caller.
    pub fn create(gitea: &'static Gitea, owner: &str, name: &str) -> Self {
        // Gitea starts no job for the first push to an empty repository.
        let request = json!({"name": name, "default_branch": "main", "auto_init": true});
        gitea.api(owner, "POST", "/user/repos", &request).success();
        let runner = Runner::register(gitea, owner, name);
        Self { gitea, owner: owner.to_owned(), name: name.to_owned(), runner }
    }

    /// Lets a user push to the repository.
    pub fn add_writer(&self, login: &str) {
        self.gitea.token(login);
        self.api(&self.owner, "PUT", &format!("/collaborators/{login}"), &json!({"permission": "write"})).success();
    }

    /// Returns the Gitea of the repository.
    pub fn gitea(&self) -> &'static Gitea {
        self.gitea
    }

    /// Returns a clone with the whole history of `main`, whose remote needs no token.
    pub fn clone_of_main(&self) -> TestRepository {
        let clone = TestRepository::new();
        clone.git(["remote", "add", "origin", &format!("{}/{}.git", self.gitea.url(), self.full_name())]);
        clone.git(["pull", "--quiet", "origin", "main"]);
        clone
    }

    /// Returns the name with the owner.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// Sends a request about the repository as a user.
    pub fn api(&self, login: &str, method: &str, path: &str, body: &Value) -> Answer {
        self.gitea.api(login, method, &format!("/repos/{}{path}", self.full_name()), body)
    }

    /// Creates a fork that belongs to a user.
    pub fn fork(&self, login: &str) {
        self.api(login, "POST", "/forks", &json!({"name": self.name})).success();
    }

    /// Pushes a revision of a clone to a ref, as a user and by force.
    pub fn push(&self, login: &str, clone: &TestRepository, refspec: &str, options: &[&str]) {
        self.push_to(&self.owner, login, clone, refspec, options);
    }

    /// Pushes a revision of a clone to a ref of a user's fork, as that user and by force.
    pub fn push_to_fork(&self, login: &str, clone: &TestRepository, refspec: &str) {
        self.push_to(login, login, clone, refspec, &[]);
    }

    fn push_to(&self, owner: &str, login: &str, clone: &TestRepository, refspec: &str, options: &[&str]) {
        let address = self.gitea.url().replace("://", &format!("://{login}:{}@", self.gitea.token(login)));
        let url = format!("{address}/{owner}/{}.git", self.name);
        let options = options.iter().flat_map(|option| ["--push-option", *option]);
        let arguments = ["push", "--quiet", "--force"].into_iter().chain(options).chain([url.as_str(), refspec]);
        clone.git(arguments);
    }

    /// Opens a pull request of a branch onto `main` as a user. Returns its number. The name of a fork's branch is
    /// `OWNER:BRANCH`.
    pub fn open_pull(&self, login: &str, branch: &str) -> u64 {
        let request = json!({"title": branch, "head": branch, "base": "main"});
        self.api(login, "POST", "/pulls", &request).success()["number"].as_u64().unwrap()
    }

    /// Returns a pull request.
    pub fn pull(&self, number: u64) -> Value {
        self.api(&self.owner, "GET", &format!("/pulls/{number}"), &Value::Null).success()
    }

    /// Merges a pull request as the owner, as soon as Gitea knows that it can be merged. Returns the new commit.
    pub fn merge(&self, number: u64, style: MergeStyle) -> String {
        let style = match style {
            MergeStyle::Merge => "merge",
            MergeStyle::Squash => "squash",
            MergeStyle::Rebase => "rebase",
        };
        let path = format!("/pulls/{number}/merge");
        within("a pull request that can be merged", || {
            let answer = self.api(&self.owner, "POST", &path, &json!({"Do": style}));
            // While Gitea looks for conflicts, it refuses the merge for now.
            (answer.status != 405).then(|| answer.success())
        });
        self.pull(number)["merge_commit_sha"].as_str().unwrap().to_owned()
    }

    /// Closes a pull request without a merge, as the owner.
    pub fn close(&self, number: u64) {
        self.api(&self.owner, "PATCH", &format!("/pulls/{number}"), &json!({"state": "closed"})).success();
    }

    /// Creates a label and adds it to a pull request, as the owner.
    pub fn label(&self, number: u64, name: &str) {
        let label = self.api(&self.owner, "POST", "/labels", &json!({"name": name, "color": "#00aabb"})).success();
        let path = format!("/issues/{number}/labels");
        self.api(&self.owner, "POST", &path, &json!({"labels": [label["id"]]})).success();
    }

    /// Writes a comment on a pull request as a user.
    pub fn comment(&self, login: &str, number: u64, body: &str) {
        self.api(login, "POST", &format!("/issues/{number}/comments"), &json!({"body": body})).success();
    }

    /// Writes a comment on a pull request with the token of a job.
    pub fn comment_with(&self, token: &str, number: u64, body: &str) {
        let path = format!("/repos/{}/issues/{number}/comments", self.full_name());
        self.gitea.api_with(token, "POST", &path, &json!({"body": body})).success();
    }

    /// Returns the comments of a pull request, the oldest first.
    pub fn comments(&self, number: u64) -> Vec<GiteaComment> {
        let listed = self.api(&self.owner, "GET", &format!("/issues/{number}/comments"), &Value::Null).success();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let comments = listed.as_array().unwrap().iter().map(|comment| GiteaComment {
            id: comment["id"].as_u64().unwrap(),
            author: text(&comment["user"]["login"]),
            body: text(&comment["body"]),
            updated: text(&comment["updated_at"]),
            url: text(&comment["html_url"]),
        });
        comments.collect()
    }

    /// Waits for the next job. The oldest one comes first.
    pub fn job(&self) -> Job<'_> {
        self.runner.next(self.gitea)
    }

    /// Starts a run of the workflow again, as the owner.
    pub fn run_again(&self, run: &str) {
        self.api(&self.owner, "POST", &format!("/actions/runs/{run}/rerun"), &Value::Null).success();
    }
}
