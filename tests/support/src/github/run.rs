//! The runs of workflows of the fake.

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::{FakeGitHub, Flavor, State, json_answer, message, not_found};

/// A run of a workflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FakeRun {
    /// The name of the event that started it.
    pub event: String,
    /// The commit that it shows its check at.
    pub head_sha: String,
    /// The end of the run. A run that has not ended has none.
    pub conclusion: Option<String>,
    /// The ways in which it was started again: `rerun` or `rerun-failed-jobs`.
    pub repeated: Vec<String>,
}

impl FakeRun {
    /// Creates a run of the event `pull_request` that has ended.
    pub fn of_pull(head_sha: &str, conclusion: &str) -> Self {
        let (event, head_sha) = ("pull_request".to_owned(), head_sha.to_owned());
        Self { event, head_sha, conclusion: Some(conclusion.to_owned()), repeated: Vec::new() }
    }
}

impl FakeGitHub {
    /// Adds a run of a workflow, or replaces it.
    pub fn add_run(&self, id: u64, run: FakeRun) {
        self.state().runs.insert(id, run);
    }

    /// Returns a run of a workflow.
    pub fn run(&self, id: u64) -> FakeRun {
        self.state().runs[&id].clone()
    }
}

impl State {
    pub(super) fn workflow_run(&self, id: &str) -> Response<Value> {
        let found = id.parse().ok().and_then(|id: u64| Some((id, self.runs.get(&id)?)));
        found.map_or_else(not_found, |(id, run)| json_answer(StatusCode::OK, run_json(id, run)))
    }

    pub(super) fn repeat_run(&mut self, id: &str, how: &str) -> Response<Value> {
        let flavor = self.flavor;
        let found = id.parse().ok().and_then(|id: u64| Some((id, self.runs.get_mut(&id)?)));
        let Some((id, run)) = found else { return not_found() };
        match run.conclusion.as_deref() {
            None => message(StatusCode::FORBIDDEN, "This workflow is already running"),
            Some("success") if how == "rerun-failed-jobs" => {
                message(StatusCode::FORBIDDEN, "This workflow run cannot be retried")
            }
            Some(_) => {
                run.conclusion = None;
                run.repeated.push(how.to_owned());
                let answer = if flavor == Flavor::Gitea { run_json(id, run) } else { json!({}) };
                json_answer(StatusCode::CREATED, answer)
            }
        }
    }
}

fn run_json(id: u64, run: &FakeRun) -> Value {
    json!({
        "id": id,
        "event": run.event,
        "head_sha": run.head_sha,
        "status": if run.conclusion.is_some() { "completed" } else { "in_progress" },
        "conclusion": run.conclusion,
    })
}
