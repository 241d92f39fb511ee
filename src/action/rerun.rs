//! The check of a plan runs again after a comment has changed what it says.

use super::job::Job;
use crate::conclusion::failure::chain;
use crate::forge::{CommentedPlan, ForgeError, Pull, RepeatedJobs, WorkflowRun};

/// The name of the event of a plan's check.
const EVENT: &str = "pull_request";

impl Job<'_> {
    /// Runs the check of a plan again. Returns a sentence about it, or about the way to do it by hand.
    pub(super) async fn repeat_check(&self, pull: &Pull, plan: &CommentedPlan) -> String {
        let Some(id) = plan.run.as_ref().map(|run| run.run_id) else {
            return "Run the plan's check again to see it there.".to_owned();
        };
        let page = self.around.context.run_page(id);
        match self.repeat(id, pull).await {
            Ok(Repeated::Started) => format!("The plan's check runs again: {page}"),
            Ok(Repeated::Running) => {
                format!("The plan's check is still running. When it has ended, re-run it to see this there: {page}")
            }
            Ok(Repeated::OtherRun) => {
                "The plan does not come from a check of this head. Comment `/ktor plan` to see this in the plan."
                    .to_owned()
            }
            Err(error) => {
                let hint = match error.status() {
                    Some(403 | 404) => " With the permission `actions: write`, ktor does it.",
                    _ => "",
                };
                self.notice(&format!("the plan's check was not repeated: {}", chain(&error)));
                format!("Re-run the plan's check to see this there, on the page of its run: {page}{hint}")
            }
        }
    }

    /// Runs a run again if it is one of the head of a pull request. The number of the run stands in a comment that other
    /// jobs of the repository can write too, and a run of another event may deploy something.
    async fn repeat(&self, id: u64, pull: &Pull) -> Result<Repeated, ForgeError> {
        let Some(WorkflowRun { event, head_sha, conclusion }) = self.reporter.workflow_run(id).await? else {
            return Ok(Repeated::OtherRun);
        };
        if event != EVENT || head_sha != pull.head_sha {
            return Ok(Repeated::OtherRun);
        }
        let Some(conclusion) = conclusion else { return Ok(Repeated::Running) };
        let jobs = if conclusion == "failure" { RepeatedJobs::Failed } else { RepeatedJobs::All };
        self.reporter.repeat_run(id, jobs).await?;
        Ok(Repeated::Started)
    }
}

/// The result of an attempt to run a check again.
enum Repeated {
    /// It runs again.
    Started,
    /// It has not ended yet.
    Running,
    /// It is not a check of the pull request's head.
    OtherRun,
}
