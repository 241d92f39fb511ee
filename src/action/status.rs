//! The status of the commit that a job is about. It is only set if the workflow asks for it, because it needs a permission
//! that a workflow's token does not usually have.

use std::sync::atomic::Ordering;

use super::job::{Job, unopened};
use super::options::{Identity, Work};
use crate::conclusion::exit::Exit;
use crate::conclusion::failure::{Failure, chain};
use crate::forge::{CommitState, CommitStatus, Event};
use crate::report::escape;

impl Job<'_> {
    /// Sets the status of a commit for the root and the target, unless the job has already set one. An error of the forge
    /// is only a notice.
    pub(super) async fn status(&self, commit: &str, exit: Exit, text: &str) {
        if !self.options.sets_status || self.has_status.swap(true, Ordering::Relaxed) {
            return;
        }
        let unopened = unopened(self.options);
        let status = CommitStatus {
            context: context(self.named.get().unwrap_or(&unopened)),
            state: state(exit),
            description: escape::visible(text),
            url: self.around.context.run_url(),
        };
        if let Err(error) = self.reporter.set_status(commit, &status).await {
            let hint = match error.status() {
                Some(403 | 404) => "; the token needs the permission statuses: write",
                _ => "",
            };
            self.notice(&format!("the status of the commit was not set: {}{hint}", chain(&error)));
        }
    }

    /// Sets the status of the commit that a failed job is about.
    pub(super) async fn failed_status(&self, error: &Failure) {
        if let Some(commit) = self.subject() {
            self.status(commit, error.exit, error.first()).await;
        }
    }

    /// Returns the commit that the job is about, if the event tells it.
    fn subject(&self) -> Option<&str> {
        let context = self.around.context;
        match &context.event {
            _ if self.options.work == Work::Drift => None,
            Event::PullRequest(pull) if pull.action == "closed" && !pull.merged => None,
            Event::PullRequest(pull) if pull.action == "closed" => {
                Some(pull.merge_commit_sha.as_ref().unwrap_or(&context.sha))
            }
            Event::PullRequest(pull) => Some(&pull.head_sha),
            Event::MergeGroup { head_sha, .. } => Some(head_sha),
            Event::Push(push) if push.deleted => None,
            Event::Push(_) | Event::WorkflowDispatch | Event::Other(_) => Some(&context.sha),
            // The event of a comment does not tell the head of its pull request.
            Event::Schedule | Event::IssueComment(_) => None,
        }
        .map(String::as_str)
    }
}

/// Returns the name of the status of a root and a target.
fn context(Identity { root, target }: &Identity) -> String {
    match root.as_str() {
        "" => format!("ktor/{target}"),
        root if root == target => format!("ktor/{root}"),
        root => format!("ktor/{root} ({target})"),
    }
}

fn state(exit: Exit) -> CommitState {
    match exit {
        Exit::Success | Exit::ChangesPending => CommitState::Success,
        Exit::Refused | Exit::Locked => CommitState::Failure,
        Exit::Failure | Exit::Interrupted | Exit::Usage => CommitState::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f19_each_root_and_target_has_its_own_status() {
        let named = |root: &str, target: &str| context(&Identity { root: root.into(), target: target.into() });
        assert_eq!(named("shop", "shop"), "ktor/shop");
        assert_eq!(named("shop", "prod"), "ktor/shop (prod)");
        assert_eq!(named("", "k8s"), "ktor/k8s");
    }
}
