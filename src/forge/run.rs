//! The runs of workflows: reads one, and starts it again.

use http::Method;
use serde_json::Value;

use super::client::malformed;
use super::{Forge, ForgeError};

/// A run of a workflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkflowRun {
    /// The name of the event that started it.
    pub event: String,
    /// The commit that it shows its check at. For a pull request, it is the head.
    pub head_sha: String,
    /// The end of the run, for example `success` or `failure`. A run that has not ended has none.
    pub conclusion: Option<String>,
}

/// The jobs of a run that are started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepeatedJobs {
    /// All jobs.
    All,
    /// The jobs that failed, and those that need them.
    Failed,
}

impl Forge {
    /// Reads one run of a workflow of the repository.
    pub async fn workflow_run(&self, id: u64) -> Result<WorkflowRun, ForgeError> {
        let operation = format!("read the run {id}");
        let answer = self.client.get(&operation, &self.run_url(id)).await?;
        run(&answer.body).ok_or_else(|| malformed(&operation, "it is not a run"))
    }

    /// Starts jobs of a run again. A request whose answer is lost is not repeated.
    pub async fn repeat_run(&self, id: u64, jobs: RepeatedJobs) -> Result<(), ForgeError> {
        let operation = format!("run {id} again");
        let action = match jobs {
            RepeatedJobs::All => "rerun",
            RepeatedJobs::Failed => "rerun-failed-jobs",
        };
        let url = format!("{}/{action}", self.run_url(id));
        let mut tries = self.client.tries();
        loop {
            match self.client.once(Method::POST, &url, None).await {
                Ok(_) => return Ok(()),
                Err(failure) if failure.unclear => return Err(ForgeError::Call { operation, source: failure.cause }),
                Err(failure) => tries.again(&operation, failure).await?,
            }
        }
    }

    fn run_url(&self, id: u64) -> String {
        format!("{}/actions/runs/{id}", self.repository_url)
    }
}

fn run(value: &Value) -> Option<WorkflowRun> {
    let text = |field: &str| value.get(field).and_then(Value::as_str).map(str::to_owned);
    let conclusion = if text("status")? == "completed" { text("conclusion") } else { None };
    Some(WorkflowRun { event: text("event")?, head_sha: text("head_sha")?, conclusion })
}
