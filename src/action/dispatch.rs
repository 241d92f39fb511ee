//! The dispatch on the event of a workflow.

use std::sync::OnceLock;

use super::job::Job;
use super::options::{ActionOptions, Surroundings};
use super::reporter::Reporter;
use crate::conclusion::exit::Exit;
use crate::conclusion::failure::Failure;
use crate::forge::Event;

/// Does the work that the event asks for, and reports its result.
///
/// # Errors
///
/// Anything that stops the work. The run also reports the error before it ends.
pub(crate) async fn run(options: &ActionOptions, around: &Surroundings<'_>) -> Result<Exit, Failure> {
    let reporter = Reporter::new(options, around)?;
    let job = Job { options, around, reporter: &reporter, named: OnceLock::new() };
    let done = match &around.context.event {
        Event::PullRequest(pull) if pull.action == "closed" && pull.merged => job.merged(pull).await,
        Event::PullRequest(pull) if pull.action == "closed" => job.closed(pull).await,
        Event::PullRequest(pull) => job.pull_request(pull).await,
        Event::Push(push) if job.is_applied(&push.r#ref) && !push.deleted => job.pushed(&push.after).await,
        Event::WorkflowDispatch => job.dispatched().await,
        Event::MergeGroup { head_sha, base_sha } => job.merge_group(head_sha, base_sha).await,
        Event::Push(push) => Ok(job.nothing(&format!("{} is not the branch that is applied", push.r#ref))),
        Event::Schedule => Ok(job.nothing("drift reports on a schedule do not exist yet")),
        Event::IssueComment(comment) => job.commented(comment).await,
        Event::Other(name) => Ok(job.nothing(&format!("the event {name} needs no run"))),
    };
    if let Err(error) = &done {
        reporter.outputs(&[("result", "failed")]);
        if !reporter.has_reported() {
            job.failed(error).await;
        }
    }
    done
}
