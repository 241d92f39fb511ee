//! A job that Gitea wants to be run: its event, its commit and its token, as `act_runner` gets them.
//!
//! The runner's protocol is Connect, which also takes JSON over HTTP.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{Gitea, within};
use crate::repository::TestRepository;

/// The name that the runner gives to the version of its list of jobs. Zero asks for a job in any case.
const ANY_VERSION: &str = "0";

/// A runner of one repository's jobs.
pub struct Runner {
    uuid: String,
    token: String,
}

/// A job that runs. Its token is valid until the job is finished.
pub struct Job<'a> {
    gitea: &'a Gitea,
    runner: &'a Runner,
    id: String,
    /// The `github` context of the workflow.
    context: Value,
}

impl Runner {
    /// Registers a runner at a repository.
    pub fn register(gitea: &Gitea, owner: &str, repository: &str) -> Self {
        let path = format!("/repos/{owner}/{repository}/actions/runners/registration-token");
        let answer = gitea.api(owner, "POST", &path, &json!({})).success();
        let labels = ["ubuntu-latest"];
        let request = json!({"name": "tests", "token": answer["token"], "version": "tests", "labels": labels});
        let answer = rpc(gitea, &[], "Register", &request);
        let text = |name: &str| answer["runner"][name].as_str().unwrap().to_owned();
        Self { uuid: text("uuid"), token: text("token") }
    }

    /// Waits for the next job of the repository. The oldest one comes first.
    pub fn next<'a>(&'a self, gitea: &'a Gitea) -> Job<'a> {
        within("a job", || self.offered(gitea))
    }

    fn offered<'a>(&'a self, gitea: &'a Gitea) -> Option<Job<'a>> {
        let mut answer = rpc(gitea, &self.headers(), "FetchTask", &json!({"tasksVersion": ANY_VERSION}));
        let mut task = answer.get_mut("task")?.take();
        let id = task["id"].as_str()?.to_owned();
        Some(Job { gitea, runner: self, id, context: task["context"].take() })
    }

    fn headers(&self) -> [(&str, &str); 2] {
        [("x-runner-uuid", &self.uuid), ("x-runner-token", &self.token)]
    }
}

impl Job<'_> {
    /// Returns a text of the `github` context, for example `sha`.
    pub fn text(&self, name: &str) -> &str {
        self.context[name].as_str().unwrap_or_default()
    }

    /// Returns the payload of the event.
    pub fn event(&self) -> &Value {
        &self.context["event"]
    }

    /// Returns the activity of a pull request's event, or the name of any other event.
    pub fn activity(&self) -> &str {
        self.event()["action"].as_str().unwrap_or_else(|| self.text("event_name"))
    }

    /// Returns the job's token.
    pub fn token(&self) -> &str {
        self.text("token")
    }

    /// Returns the variables that the runner sets from the context.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let named = [
            ("GITHUB_EVENT_NAME", "event_name"),
            ("GITHUB_REPOSITORY", "repository"),
            ("GITHUB_API_URL", "api_url"),
            ("GITHUB_SERVER_URL", "server_url"),
            ("GITHUB_RUN_ID", "run_id"),
            ("GITHUB_RUN_ATTEMPT", "run_attempt"),
            ("GITHUB_SHA", "sha"),
            ("GITHUB_REF", "ref"),
            ("GITHUB_ACTOR", "actor"),
        ];
        named.into_iter().map(|(variable, name)| (variable, self.text(name).to_owned())).collect()
    }

    /// Returns a checkout of the job's commit with one commit of history, and with the job's token for later fetches, as
    /// `actions/checkout` makes it.
    pub fn checkout(&self) -> TestRepository {
        let clone = TestRepository::new();
        let server = self.text("server_url");
        let token = BASE64_STANDARD.encode(format!("x-access-token:{}", self.token()));
        clone.git(["remote", "add", "origin", &format!("{server}{}.git", self.text("repository"))]);
        clone.git(["config", &format!("http.{server}.extraheader"), &format!("AUTHORIZATION: basic {token}")]);
        let fetched = format!("+{}:refs/remotes/origin/checkout", self.text("sha"));
        clone.git(["fetch", "--quiet", "--no-tags", "--depth=1", "origin", &fetched]);
        clone.git(["checkout", "--quiet", "--force", "refs/remotes/origin/checkout"]);
        clone
    }

    /// Tells Gitea how the job ended. Its token is no longer valid.
    pub fn finish(self, exit: i32) {
        let result = if exit == 0 { "RESULT_SUCCESS" } else { "RESULT_FAILURE" };
        let state = json!({"state": {"id": self.id, "result": result}});
        rpc(self.gitea, &self.runner.headers(), "UpdateTask", &state);
    }
}

/// Calls a method of the runners' service.
fn rpc(gitea: &Gitea, headers: &[(&str, &str)], method: &str, request: &Value) -> Value {
    let url = format!("{}/api/actions/runner.v1.RunnerService/{method}", gitea.url());
    gitea.send(headers, "POST", &url, request).success()
}
