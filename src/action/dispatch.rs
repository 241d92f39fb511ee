//! The dispatch on the event of a workflow.

use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use super::job::{Job, unopened};
use super::options::{ActionOptions, Surroundings, Told, Work};
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
    let (token, author) = (options.token.as_deref(), options.comment_author.as_deref());
    let reporter = Reporter::new(token, author, options.commenting, unopened(options), around)?;
    let (named, prefix, has_status) = (OnceLock::new(), OnceLock::new(), AtomicBool::new(false));
    let job = Job { options, around, reporter: &reporter, named, prefix, has_status };
    let done = match options.work {
        Work::OfTheEvent => Box::pin(of_the_event(&job)).await,
        Work::Plan => plan(&job).await,
        Work::Apply => Box::pin(apply(&job)).await,
        Work::Drift => Box::pin(job.drift()).await,
    };
    if let Err(error) = &done {
        reporter.outputs(&[("result", if error.exit == Exit::Refused { "refused" } else { "failed" })]);
        if !reporter.has_reported() {
            job.failed(error).await;
        }
        job.failed_status(error).await;
    }
    done.map_err(|error| job.in_repository(error))
}

/// Does what the event asks for. An event that clearly means to do something and does not say what is an error.
async fn of_the_event(job: &Job<'_>) -> Result<Exit, Failure> {
    match &job.around.context.event {
        Event::PullRequest(pull) if pull.action == "closed" && pull.merged => job.merged(pull).await,
        Event::PullRequest(pull) if pull.action == "closed" => job.closed(pull).await,
        // A plan would replace the outcome in the comment.
        Event::PullRequest(pull) if pull.merged => Ok(job.nothing("the pull request is merged already")),
        Event::PullRequest(pull) => job.pull_request(pull).await,
        Event::Push(push) if job.is_applied(&push.r#ref) && !push.deleted => job.pushed(push).await,
        Event::WorkflowDispatch => job.dispatched().await,
        Event::MergeGroup { head_sha, base_sha } => job.merge_group(head_sha, base_sha).await,
        Event::Push(push) if push.r#ref.starts_with("refs/tags/") => {
            let why = format!("{} is not among the refs that are applied: name it as apply-ref", push.r#ref);
            (job.around.tell)(Told::Warning(&why));
            Ok(job.nothing(&why))
        }
        Event::Push(push) => Ok(job.nothing(&format!("{} is not the branch that is applied", push.r#ref))),
        Event::IssueComment(comment) => Box::pin(job.commented(comment)).await,
        Event::Schedule => Box::pin(job.drift()).await,
        Event::Other(name) => Err(unclear(name)),
    }
}

/// Plans what the event is about.
async fn plan(job: &Job<'_>) -> Result<Exit, Failure> {
    match &job.around.context.event {
        Event::PullRequest(pull) if pull.action == "closed" && !pull.merged => job.closed(pull).await,
        Event::PullRequest(pull) if pull.action != "closed" => job.pull_request(pull).await,
        Event::MergeGroup { head_sha, base_sha } => job.merge_group(head_sha, base_sha).await,
        Event::Other(name) if name == "pull_request_target" => Err(unclear(name)),
        _ => job.plan_of_checkout().await,
    }
}

/// Applies what the event is about.
async fn apply(job: &Job<'_>) -> Result<Exit, Failure> {
    match &job.around.context.event {
        Event::PullRequest(pull) if pull.action == "closed" && pull.merged => job.merged(pull).await,
        Event::PullRequest(_) | Event::MergeGroup { .. } => Err(Failure::usage(
            "mode is apply, but the event is about a change that is not merged: start the job on push, or set mode to auto",
        )),
        Event::Push(push) if job.is_applied(&push.r#ref) && !push.deleted => job.pushed(push).await,
        Event::Push(push) => Err(Failure::usage(format!(
            "mode is apply, but {} is not the ref that is applied: name it as apply-ref, or start the job for that ref \
             alone",
            push.r#ref
        ))),
        Event::Other(name) if name == "pull_request_target" => Err(unclear(name)),
        Event::IssueComment(comment) => Box::pin(job.commented(comment)).await,
        _ => job.dispatched().await,
    }
}

fn unclear(event: &str) -> Failure {
    Failure::usage(match event {
        // Such a run has the secrets of the repository and the code of a stranger.
        "pull_request_target" => "the event pull_request_target is not safe here: use pull_request, and plan the pull \
                                  requests of forks with a comment /ktor plan"
            .to_owned(),
        event => format!("the event {event} does not say what to do: set mode to plan or apply"),
    })
}
